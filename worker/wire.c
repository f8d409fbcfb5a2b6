/*
 * Lists are read item by item into memory that grows with what was really there, so that a false
 * count costs nothing. Tags, failures and the numbers of an action ride in an event, whose codec
 * knows them.
 */
#include "worker/wire.h"

#include <stdlib.h>

#include "base/memory.h"
#include "model/name.h"

#define LENGTH_BYTES 4

/* ---- frames ---------------------------------------------------------------------------------- */

size_t th_wire_begin(struct th_buffer *out, enum th_frame_kind kind)
{
    size_t begin = out->len;
    th_buffer_add(out, "\0\0\0", LENGTH_BYTES);
    th_write_u64(out, kind);
    return begin;
}

bool th_wire_end(struct th_buffer *out, size_t begin)
{
    size_t len = out->len - begin - LENGTH_BYTES;
    if (len > TH_WIRE_MAX) {
        out->len = begin;
        return false;
    }
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        out->data[begin + i] = (char)(unsigned char)(len >> (8 * i));
    return true;
}

static uint32_t length_at(const char *bytes)
{
    uint32_t len = 0;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        len |= (uint32_t)(unsigned char)bytes[i] << (8 * i);
    return len;
}

enum th_wire_next th_wire_next(struct th_wire *wire, struct th_str *frame)
{
    size_t left = wire->bytes.len - wire->at;
    if (left < LENGTH_BYTES)
        return TH_WIRE_MORE;
    uint32_t len = length_at(wire->bytes.data + wire->at);
    if (len == 0 || len > TH_WIRE_MAX)
        return TH_WIRE_BROKEN;
    if (left - LENGTH_BYTES < len)
        return TH_WIRE_MORE;
    *frame = th_str_n(wire->bytes.data + wire->at + LENGTH_BYTES, len);
    wire->at += LENGTH_BYTES + len;
    return TH_WIRE_FRAME;
}

char *th_wire_room(struct th_wire *wire, size_t size)
{
    struct th_buffer *bytes = &wire->bytes;
    size_t left = bytes->len - wire->at;
    if (wire->at > 0) {
        if (left > 0)
            memmove(bytes->data, bytes->data + wire->at, left);
        bytes->len = left;
        wire->at = 0;
    }
    /* What one large frame needed is not kept for ever. */
    if (left == 0 && bytes->capacity > (4u << 20))
        th_wire_deinit(wire);
    th_buffer_reserve(bytes, size);
    return bytes->data + bytes->len;
}

void th_wire_deinit(struct th_wire *wire)
{
    th_buffer_deinit(&wire->bytes);
    *wire = (struct th_wire){.at = 0};
}

bool th_wire_open(struct th_str frame, struct th_arena *arena, struct th_error *error,
                  struct th_reader *in, enum th_frame_kind *kind)
{
    *in = th_reader_of(frame, arena, error);
    uint64_t number = th_read_u64(in);
    *kind = (enum th_frame_kind)number;
    if (!in->failed && (number < TH_FRAME_HELLO || number > TH_FRAME_LAST))
        th_read_fail(in, "there is no frame of kind %llu", (unsigned long long)number);
    return !in->failed;
}

/* Everything was read, and nothing else was there. */
static bool ended(struct th_reader *in)
{
    if (!in->failed && in->at != in->end)
        th_read_fail(in, "%zu bytes too many in a frame", (size_t)(in->end - in->at));
    return !in->failed;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static uint32_t get_u32(struct th_reader *in)
{
    uint64_t value = th_read_u64(in);
    if (value > UINT32_MAX)
        th_read_fail(in, "%llu is above 32 bits", (unsigned long long)value);
    return in->failed ? 0 : (uint32_t)value;
}

static int32_t get_i32(struct th_reader *in)
{
    int64_t value = th_read_i64(in);
    if (value < INT32_MIN || value > INT32_MAX)
        th_read_fail(in, "%lld is above 32 bits", (long long)value);
    return in->failed ? 0 : (int32_t)value;
}

/* Strings that C code is going to read: ended by a NUL. */
static struct th_str get_name(struct th_reader *in)
{
    return th_arena_str(in->arena, th_read_str(in));
}

static void put_names(struct th_buffer *out, const struct th_str *names, size_t count)
{
    th_write_array(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        th_write_str(out, names[i]);
}

static struct th_str *get_names(struct th_reader *in, size_t *count)
{
    struct th_pairs list = {.items = NULL};
    for (uint32_t n = th_read_array(in); n > 0 && !in->failed; n--)
        th_pairs_add(&list, in->arena, get_name(in), TH_STR_ABSENT);
    struct th_str *names = TH_ARENA_ARRAY(in->arena, struct th_str, list.count);
    for (size_t i = 0; i < list.count; i++)
        names[i] = list.items[i].name;
    *count = list.count;
    return names;
}

static void put_pairs(struct th_buffer *out, const struct th_pairs *pairs)
{
    th_write_array(out, (uint32_t)pairs->count);
    for (size_t i = 0; i < pairs->count; i++) {
        th_write_str(out, pairs->items[i].name);
        th_write_str(out, pairs->items[i].value);
    }
}

static void get_pairs(struct th_reader *in, struct th_pairs *pairs)
{
    *pairs = (struct th_pairs){.items = NULL};
    for (uint32_t n = th_read_array(in); n > 0 && !in->failed; n--) {
        struct th_str name = get_name(in);
        struct th_str value = get_name(in);
        if (!th_str_present(name) || !th_str_present(value))
            th_read_fail(in, "a pair without a name or a value");
        else
            th_pairs_add(pairs, in->arena, name, value);
    }
}

static void put_tags(struct th_buffer *out, struct th_tags tags)
{
    struct th_event carrier = th_event_of(TH_EVENT_GENERIC, TH_TIME_NONE);
    carrier.tags = tags;
    th_encode_event(out, &carrier);
}

static struct th_tags get_tags(struct th_reader *in)
{
    struct th_event carrier;
    bool ok = th_decode_event(in, &carrier);
    return ok ? carrier.tags : (struct th_tags){.items = NULL};
}

/* ---- HELLO, BEGIN ---------------------------------------------------------------------------- */

void th_put_hello(struct th_buffer *out, const struct th_hello *hello)
{
    th_write_str(out, hello->error);
    th_write_bool(out, hello->missing);
    th_write_str(out, hello->version);
    put_names(out, hello->orchestrators, hello->orchestrator_count);
    put_names(out, hello->activities, hello->activity_count);
    put_names(out, hello->entities, hello->entity_count);
    put_pairs(out, &hello->routes);
    put_pairs(out, &hello->crons);
}

bool th_get_hello(struct th_reader *in, struct th_hello *hello)
{
    hello->error = get_name(in);
    hello->missing = th_read_bool(in);
    hello->version = get_name(in);
    hello->orchestrators = get_names(in, &hello->orchestrator_count);
    hello->activities = get_names(in, &hello->activity_count);
    hello->entities = get_names(in, &hello->entity_count);
    get_pairs(in, &hello->routes);
    get_pairs(in, &hello->crons);
    return ended(in);
}

void th_put_begin(struct th_buffer *out, const struct th_begin_run *begin)
{
    th_write_str(out, begin->flight);
    th_write_str(out, begin->default_version);
    th_write_u64(out, begin->threads);
    th_write_u64(out, begin->reuse);
    th_write_i64(out, begin->function_timeout_ms);
    th_write_u64(out, begin->max_warm);
    th_write_bool(out, begin->replay_always);
    th_write_bool(out, begin->log_json);
    th_write_u64(out, begin->log_level);
    th_write_array(out, (uint32_t)begin->limit_count);
    for (size_t i = 0; i < begin->limit_count; i++) {
        th_write_str(out, begin->limits[i].name);
        th_write_u64(out, begin->limits[i].max);
    }
}

bool th_get_begin(struct th_reader *in, struct th_begin_run *begin)
{
    begin->flight = get_name(in);
    begin->default_version = get_name(in);
    begin->threads = get_u32(in);
    begin->reuse = get_u32(in);
    begin->function_timeout_ms = th_read_i64(in);
    begin->max_warm = th_read_u64(in);
    begin->replay_always = th_read_bool(in);
    begin->log_json = th_read_bool(in);
    begin->log_level = get_u32(in);
    begin->limit_count = th_read_array(in);
    begin->limits = th_arena_alloc_array(in->arena, sizeof *begin->limits, begin->limit_count);
    for (size_t i = 0; i < begin->limit_count && !in->failed; i++) {
        begin->limits[i].name = get_name(in);
        begin->limits[i].max = get_u32(in);
    }
    return ended(in);
}

/* ---- activities ------------------------------------------------------------------------------ */

void th_put_activity(struct th_buffer *out, const struct th_activity_work *work)
{
    th_write_u64(out, work->token);
    th_write_i64(out, work->task_id);
    th_write_str(out, work->instance_id);
    th_write_str(out, work->execution_id);
    th_write_str(out, work->name);
    th_write_str(out, work->version);
    th_write_str(out, work->input);
    put_tags(out, work->tags);
}

bool th_get_activity(struct th_reader *in, struct th_activity_work *work)
{
    *work = (struct th_activity_work){.token = th_read_u64(in)};
    work->task_id = get_i32(in);
    work->instance_id = th_read_str(in);
    work->execution_id = th_read_str(in);
    work->name = th_read_str(in);
    work->version = th_read_str(in);
    work->input = th_read_str(in);
    work->tags = get_tags(in);
    return ended(in);
}

void th_put_result(struct th_buffer *out, const struct th_wire_result *result)
{
    th_write_u64(out, result->token);
    th_write_bool(out, result->failed);
    th_write_bool(out, result->non_retriable);
    th_write_str(out, result->data);
    th_write_str(out, result->failure_type);
    th_write_str(out, result->failure_message);
}

bool th_get_result(struct th_reader *in, struct th_wire_result *result)
{
    result->token = th_read_u64(in);
    result->failed = th_read_bool(in);
    result->non_retriable = th_read_bool(in);
    result->data = th_read_str(in);
    result->failure_type = th_read_str(in);
    result->failure_message = th_read_str(in);
    return ended(in);
}

void th_put_number(struct th_buffer *out, uint64_t number)
{
    th_write_u64(out, number);
}

bool th_get_number(struct th_reader *in, uint64_t *number)
{
    *number = th_read_u64(in);
    return ended(in);
}

void th_put_text(struct th_buffer *out, struct th_str text)
{
    th_write_str(out, text);
}

bool th_get_text(struct th_reader *in, struct th_str *text)
{
    *text = th_read_str(in);
    return ended(in);
}

/* ---- client functions ------------------------------------------------------------------------ */

#define REQUEST_TEXTS(X) X(methods) X(route) X(method) X(target) X(body) X(origin) X(hub) X(key)

void th_put_request(struct th_buffer *out, const struct th_wire_request *request)
{
    th_write_u64(out, request->number);
    th_write_bool(out, request->cron);
#define X(field) th_write_str(out, request->field);
    REQUEST_TEXTS(X)
#undef X
    put_pairs(out, &request->headers);
    put_pairs(out, &request->params);
}

bool th_get_request(struct th_reader *in, struct th_wire_request *request)
{
    request->number = th_read_u64(in);
    request->cron = th_read_bool(in);
#define X(field) request->field = get_name(in);
    REQUEST_TEXTS(X)
#undef X
    get_pairs(in, &request->headers);
    get_pairs(in, &request->params);
    return ended(in);
}

void th_put_answer(struct th_buffer *out, const struct th_wire_answer *answer)
{
    th_write_u64(out, answer->number);
    th_write_i64(out, answer->verdict);
    th_write_i64(out, answer->status);
    put_pairs(out, &answer->headers);
    th_write_str(out, answer->body);
    th_write_bool(out, answer->file);
}

bool th_get_answer(struct th_reader *in, struct th_wire_answer *answer)
{
    answer->number = th_read_u64(in);
    answer->verdict = get_i32(in);
    answer->status = get_i32(in);
    get_pairs(in, &answer->headers);
    answer->body = th_read_str(in);
    answer->file = th_read_bool(in);
    if (answer->status != 0 && (answer->status < 200 || answer->status > 599))
        th_read_fail(in, "%d is no status of an answer", answer->status);
    return ended(in);
}

/* ---- clients --------------------------------------------------------------------------------- */

#define COMMAND_TEXTS(X) \
    X(instance_id)       \
    X(name)              \
    X(version)           \
    X(data) X(reason) X(request_id) X(trace) X(query.id_prefix) X(query.name) X(query.continuation)
#define COMMAND_TIMES(X) \
    X(start_at) X(deadline) X(query.from) X(query.to) X(query.completed_from) X(query.completed_to)
#define COMMAND_FLAGS(X) X(recursive) X(new_id) X(payloads) X(until_started) X(query.payloads)

void th_put_command(struct th_buffer *out, uint64_t number, const struct th_command *command)
{
    th_write_u64(out, number);
    th_write_u64(out, command->kind);
#define X(field) th_write_str(out, command->field);
    COMMAND_TEXTS(X)
#undef X
#define X(field) th_write_i64(out, command->field);
    COMMAND_TIMES(X)
#undef X
#define X(field) th_write_bool(out, command->field);
    COMMAND_FLAGS(X)
#undef X
    th_write_u64(out, command->reuse);
    th_write_u64(out, command->query.statuses);
    th_write_u64(out, command->query.limit);
    put_tags(out, command->tags);
}

bool th_get_command(struct th_reader *in, uint64_t *number, struct th_command *command)
{
    *command = (struct th_command){.kind = TH_COMMAND_START};
    *number = th_read_u64(in);
    uint32_t kind = get_u32(in);
    if (kind > TH_COMMAND_QUERY)
        th_read_fail(in, "a client makes no command of kind %u", kind);
    command->kind = (enum th_command_kind)kind;
#define X(field) command->field = th_read_str(in);
    COMMAND_TEXTS(X)
#undef X
#define X(field) command->field = th_read_i64(in);
    COMMAND_TIMES(X)
#undef X
#define X(field) command->field = th_read_bool(in);
    COMMAND_FLAGS(X)
#undef X
    command->reuse = get_u32(in);
    command->query.statuses = get_u32(in);
    command->query.limit = get_u32(in);
    command->tags = get_tags(in);
    if (kind == TH_COMMAND_QUERY && (command->query.limit < 1 || command->query.limit > 1000))
        th_read_fail(in, "a page has 1 to 1000 rows, not %u", command->query.limit);
    return ended(in);
}

void th_put_reply(struct th_buffer *out, uint64_t number, const struct th_reply *reply)
{
    th_write_u64(out, number);
    th_write_u64(out, reply->error.code);
    th_write_str(out, th_str_of(reply->error.message));
    th_write_str(out, reply->instance_id);
    th_write_u64(out, reply->count);
    th_write_bool(out, reply->info != NULL);
    if (reply->info)
        th_encode_info(out, reply->info, true);
    th_write_str(out, reply->continuation);
    th_write_array(out, (uint32_t)reply->info_count);
    for (size_t i = 0; i < reply->info_count; i++)
        th_encode_info(out, &reply->infos[i], true);
}

static enum th_code get_code(struct th_reader *in)
{
    uint32_t code = get_u32(in);
    if (code > TH_INTERNAL)
        th_read_fail(in, "there is no error of code %u", code);
    return in->failed ? TH_INTERNAL : (enum th_code)code;
}

static void get_infos(struct th_reader *in, struct th_reply *reply)
{
    uint32_t count = th_read_array(in);
    struct th_instance_info *infos = TH_ARENA_ARRAY(in->arena, struct th_instance_info, count);
    for (uint32_t i = 0; i < count && !in->failed; i++)
        th_decode_info(in, &infos[i]);
    reply->infos = infos;
    reply->info_count = in->failed ? 0 : count;
}

bool th_get_reply(struct th_reader *in, uint64_t *number, struct th_reply *reply,
                  struct th_instance_info *info)
{
    *reply = (struct th_reply){.count = 0};
    *number = th_read_u64(in);
    enum th_code code = get_code(in);
    struct th_str message = th_read_str(in);
    if (code != TH_OK)
        th_fail(&reply->error, code, "%.*s", TH_PRI(message));
    reply->instance_id = th_read_str(in);
    reply->count = th_read_u64(in);
    if (th_read_bool(in) && th_decode_info(in, info))
        reply->info = info;
    reply->continuation = th_read_str(in);
    get_infos(in, reply);
    return ended(in);
}

/* ---- episodes -------------------------------------------------------------------------------- */

static void put_events(struct th_buffer *out, const struct th_event *events, size_t count)
{
    th_write_array(out, (uint32_t)count);
    th_encode_events(out, events, count);
}

static void get_events(struct th_reader *in, struct th_events *events)
{
    struct th_event event;
    for (uint32_t n = th_read_array(in); n > 0 && !in->failed; n--)
        if (th_decode_event(in, &event))
            th_events_add(events, event);
}

void th_put_episode(struct th_buffer *out, const struct th_episode *episode)
{
    th_write_str(out, episode->instance_id);
    th_write_str(out, episode->execution_id);
    th_write_bool(out, episode->past_loaded);
    th_write_u64(out, episode->past_count);
    put_events(out, episode->past, episode->past_loaded ? episode->past_count : 0);
    put_events(out, episode->fresh, episode->fresh_count);
    th_write_bool(out, episode->entity);
    th_write_str(out, episode->state);
}

bool th_get_episode(struct th_reader *in, struct th_episode *episode, struct th_events *past,
                    struct th_events *fresh)
{
    episode->instance_id = th_read_str(in);
    episode->execution_id = th_read_str(in);
    episode->past_loaded = th_read_bool(in);
    episode->past_count = th_read_u64(in);
    past->count = fresh->count = 0;
    get_events(in, past);
    get_events(in, fresh);
    episode->entity = th_read_bool(in);
    episode->state = th_read_str(in);
    if (episode->past_loaded && episode->past_count != past->count)
        th_read_fail(in, "an episode with %zu past events instead of %zu", past->count,
                     episode->past_count);
    episode->past = past->items;
    episode->fresh = fresh->items;
    episode->fresh_count = fresh->count;
    return ended(in);
}

static void put_action(struct th_buffer *out, const struct th_action *action)
{
    struct th_event carrier = th_event_of(TH_EVENT_GENERIC, TH_TIME_NONE);
    carrier.id = action->id;
    carrier.status = action->status;
    carrier.recurse = action->recurse;
    carrier.fire_at = action->fire_at;
    carrier.name = action->name;
    carrier.version = action->version;
    carrier.data = action->data;
    carrier.instance_id = action->instance_id;
    carrier.failure = action->failure;
    carrier.tags = action->tags;
    th_write_u64(out, action->kind);
    th_encode_event(out, &carrier);
    put_events(out, action->carryover, action->carryover_count);
    if (action->kind == TH_ACTION_ENTITY)
        th_encode_event(out, action->entity);
}

static struct th_event result_event(struct th_str data, const struct th_failure *failure)
{
    struct th_event carrier = th_event_of(TH_EVENT_GENERIC, TH_TIME_NONE);
    carrier.data = data;
    carrier.failure = failure;
    return carrier;
}

/* What an entity answers beside actions: results, state, and a failure of all. */
static void put_answer_of_entity(struct th_buffer *out, const struct th_actions *actions)
{
    struct th_event all = result_event(actions->state, actions->failure);
    th_write_array(out, (uint32_t)actions->result_count);
    for (size_t i = 0; i < actions->result_count; i++) {
        struct th_event one = result_event(actions->results[i].data, actions->results[i].failure);
        th_encode_event(out, &one);
    }
    th_encode_event(out, &all);
}

void th_put_actions(struct th_buffer *out, enum th_executor_result result,
                    const struct th_actions *actions)
{
    th_write_u64(out, result);
    th_write_bool(out, actions->has_custom_status);
    th_write_str(out, actions->custom_status);
    th_write_array(out, (uint32_t)actions->count);
    for (size_t i = 0; i < actions->count; i++)
        put_action(out, &actions->items[i]);
    put_answer_of_entity(out, actions);
}

static void get_carryover(struct th_reader *in, struct th_action *action)
{
    struct th_events events = {0};
    get_events(in, &events);
    for (size_t i = 0; i < events.count && !in->failed; i++)
        if (events.items[i].kind != TH_EVENT_EVENT_RAISED)
            th_read_fail(in, "a \"%s\" that is carried over",
                         th_event_kind_text(events.items[i].kind));
    action->carryover = th_arena_dup(in->arena, events.items, events.count * sizeof *events.items);
    action->carryover_count = events.count;
    th_events_deinit(&events);
}

/* The rest of the request is the engine's to fill in. */
static void get_request(struct th_reader *in, struct th_action *action)
{
    struct th_event sent;
    struct th_event *request = TH_ARENA_NEW(in->arena, struct th_event);
    if (!th_decode_event(in, &sent))
        return;
    if (!th_event_is_entity_request(sent.kind))
        th_read_fail(in, "a \"%s\" that is to be sent to an entity", th_event_kind_text(sent.kind));
    *request = th_event_of(sent.kind, TH_TIME_NONE);
    request->instance_id = sent.instance_id;
    request->name = sent.name;
    request->data = sent.data;
    request->request_id = sent.request_id;
    request->fire_at = sent.fire_at;
    request->lock_set = sent.lock_set;
    action->entity = request;
}

static void check_action(struct th_reader *in, const struct th_action *action)
{
    struct th_error error = {.code = TH_OK};
    if (action->kind == TH_ACTION_SIGNAL && !th_entity_id_check(action->instance_id, &error))
        th_read_fail(in, "a signal: %s", error.message);
    if (action->kind == TH_ACTION_START && action->name.len == 0)
        th_read_fail(in, "a start without a name");
}

static bool is_action(uint64_t kind)
{
    return (kind >= TH_ACTION_SCHEDULE_TASK && kind <= TH_ACTION_ENTITY) ||
           kind == TH_ACTION_SIGNAL || kind == TH_ACTION_START;
}

static void get_action(struct th_reader *in, struct th_actions *actions)
{
    struct th_event carrier;
    uint64_t kind = th_read_u64(in);
    if (!in->failed && !is_action(kind))
        th_read_fail(in, "there is no action of kind %llu", (unsigned long long)kind);
    if (!th_decode_event(in, &carrier))
        return;
    struct th_action *action =
        th_actions_add(actions, in->arena, (enum th_action_kind)kind, carrier.id);
    action->status = carrier.status;
    action->recurse = carrier.recurse;
    action->fire_at = carrier.fire_at;
    action->name = carrier.name;
    action->version = carrier.version;
    action->data = carrier.data;
    action->instance_id = carrier.instance_id;
    action->failure = carrier.failure;
    action->tags = carrier.tags;
    get_carryover(in, action);
    if (action->kind == TH_ACTION_ENTITY)
        get_request(in, action);
    check_action(in, action);
}

static void get_answer_of_entity(struct th_reader *in, struct th_actions *actions)
{
    struct th_events events = {0};
    struct th_event all;
    get_events(in, &events);
    struct th_operation_result *results =
        TH_ARENA_ARRAY(in->arena, struct th_operation_result, events.count);
    for (size_t i = 0; i < events.count; i++)
        results[i] = (struct th_operation_result){.data = events.items[i].data,
                                                  .failure = events.items[i].failure};
    actions->results = results;
    actions->result_count = events.count;
    if (th_decode_event(in, &all)) {
        actions->state = all.data;
        actions->failure = all.failure;
    }
    th_events_deinit(&events);
}

bool th_get_actions(struct th_reader *in, enum th_executor_result *result,
                    struct th_actions *actions)
{
    *actions = (struct th_actions){.items = NULL};
    uint32_t value = get_u32(in);
    if (value > TH_EXECUTOR_NEEDS_HISTORY)
        th_read_fail(in, "there is no result %u of an episode", value);
    *result = (enum th_executor_result)value;
    actions->has_custom_status = th_read_bool(in);
    actions->custom_status = th_read_str(in);
    for (uint32_t n = th_read_array(in); n > 0 && !in->failed; n--)
        get_action(in, actions);
    get_answer_of_entity(in, actions);
    return ended(in);
}
