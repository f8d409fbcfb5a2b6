/*
 * commands: one ticket per command. Those that change an instance become a message to its owner,
 * whose answer comes back by the ticket's number in `reply_to`, from this process or another one.
 * How those that look do that depends on the hub: look.c where it is this process's alone, remote.c
 * where it is shared.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/uuid.h"
#include "model/name.h"
#include "node/internal.h"

#define MAX_ID   256
#define PATIENCE (15 * TH_SECOND) /* without an owner or storage for so long: UNAVAILABLE */
/* An owner may die between the record of a start and its answer: without one for so long the start
 * is sent again, which its request id makes harmless. */
#define START_AGAIN (500 * TH_MILLISECOND)

struct ticket *ticket_find(struct th_node *node, uint64_t number)
{
    struct ticket *t;

    HASH_FIND(hh, node->tickets, &number, sizeof(number), t);
    return t;
}

/* ---- lists: tickets to look at in every step, and those that wait for a change ---- */

static void leave_waiters(struct th_node *node, struct ticket *t)
{
    struct waiters *w = t->waiters;

    if (node->traits.shared)
        remote_waits_no_more(node, node_part_of(node, t->command.instance_id));
    DL_DELETE(w->first, t);
    t->waiters = NULL;
    if (w->first)
        return;
    HASH_DELETE(hh, node->waiting, w);
    free(w->id);
    free(w);
}

void ticket_unlist(struct th_node *node, struct ticket *t)
{
    if (t->waiters)
        leave_waiters(node, t);
    else if (t->listed)
        DL_DELETE(node->looking, t);
    t->listed = false;
}

void ticket_list_looking(struct th_node *node, struct ticket *t)
{
    if (t->listed && !t->waiters)
        return;
    ticket_unlist(node, t);
    t->listed = true;
    DL_APPEND(node->looking, t);
}

struct waiters *waiters_of(struct th_node *node, struct th_str id)
{
    struct waiters *w;

    HASH_FIND(hh, node->waiting, id.data, id.len, w);
    return w;
}

void ticket_list_waiting(struct th_node *node, struct ticket *t)
{
    const struct th_str id = t->command.instance_id;
    struct waiters *w;

    if (t->waiters)
        return;
    ticket_unlist(node, t);
    w = waiters_of(node, id);
    if (!w) {
        w = TH_NEW(struct waiters);
        w->id = th_str_dup(id);
        HASH_ADD_KEYPTR(hh, node->waiting, w->id, id.len, w);
    }
    DL_APPEND(w->first, t);
    t->waiters = w;
    t->listed = true;
    if (node->traits.shared)
        remote_waits(node, node_part_of(node, id));
}

void ticket_look_later(struct th_node *node, struct ticket *t, th_time delay)
{
    t->state = TICKET_LATER;
    t->again_at = node->now + delay;
    ticket_list_looking(node, t);
}

static void ticket_free(struct th_node *node, struct ticket *t)
{
    ticket_unlist(node, t);
    HASH_DELETE(hh, node->tickets, t);
    job_free(t);
    th_arena_deinit(&t->arena);
    free(t);
}

void ticket_finish(struct th_node *node, struct ticket *t, const struct th_reply *reply)
{
    struct th_reply filled = *reply;

    if (!th_str_present(filled.instance_id))
        filled.instance_id = t->command.instance_id;
    t->reply(t->argument, &filled);
    ticket_free(node, t);
}

void ticket_fail(struct th_node *node, struct ticket *t, enum th_code code, const char *format, ...)
{
    struct th_reply reply = {.error = {.code = code}};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reply.error.message, sizeof(reply.error.message), format, arguments);
    va_end(arguments);
    ticket_finish(node, t, &reply);
}

/* ---- commands that become a message ---- */

static struct th_message message_of(struct th_node *node, struct ticket *t)
{
    static const enum th_event_kind kinds[] = {
        [TH_COMMAND_START] = TH_EVENT_EXECUTION_STARTED,
        [TH_COMMAND_RAISE] = TH_EVENT_EVENT_RAISED,
        [TH_COMMAND_TERMINATE] = TH_EVENT_EXECUTION_TERMINATED,
        [TH_COMMAND_SUSPEND] = TH_EVENT_EXECUTION_SUSPENDED,
        [TH_COMMAND_RESUME] = TH_EVENT_EXECUTION_RESUMED,
        [TH_COMMAND_REWIND] = TH_EVENT_EXECUTION_REWOUND,
        [TH_COMMAND_PURGE] = TH_EVENT_PURGE_REQUESTED,
        [TH_COMMAND_SIGNAL] = TH_EVENT_ENTITY_SIGNALED,
    };
    const struct th_command *c = &t->command;
    struct th_message m = {.instance_id = c->instance_id,
                           .request_id = c->request_id,
                           .origin = {.partition = TH_FROM_CLIENT},
                           .reuse = c->reuse};

    m.event = th_event_of(kinds[c->kind], node->now);
    m.event.data = c->data;
    m.event.name = c->name;
    m.event.version = c->version;
    m.event.reason = c->reason;
    m.event.recurse = c->recursive;
    m.event.tags = c->tags;
    m.event.trace = c->trace;
    if (c->kind == TH_COMMAND_START || c->kind == TH_COMMAND_SIGNAL) {
        m.event.instance_id = c->instance_id;
        if (c->start_at != TH_TIME_NONE && c->start_at > node->now)
            m.event.fire_at = c->start_at;
    }
    if (c->kind == TH_COMMAND_SIGNAL)
        m.event.request_id = c->request_id;
    return m;
}

/* Durability is all there is to wait for: its owner cannot refuse it. */
static bool needs_no_owner(const struct ticket *t)
{
    return t->command.kind == TH_COMMAND_SIGNAL ||
           (t->command.kind == TH_COMMAND_START && t->command.new_id);
}

/* `fresh`: the id was just generated here. */
static void send_message(struct th_node *node, struct ticket *t, bool fresh)
{
    const struct part *part = node_part_of(node, t->command.instance_id);
    struct th_message m = message_of(node, t);
    TH_BUFFER bytes = {0};
    struct th_blob *blob;

    m.fresh = fresh;
    m.format = node->options.formats.writes;
    if (!needs_no_owner(t))
        m.reply_to =
            th_arena_format(&t->arena, "%s %016llx:%llu", node->provider->address,
                            (unsigned long long)node->options.seed, (unsigned long long)t->number);
    th_encode_message(&bytes, &m);
    blob = th_blob_new(bytes.data, bytes.len);
    t->state = TICKET_MESSAGE;
    node->provider->ops->send(node->provider, TH_SEND_FROM_CLIENT, part->index, blob,
                              CLIENT_TAG | t->number);
    th_blob_unref(blob);
}

static void start_again_later(struct th_node *node, struct ticket *t)
{
    const th_time waited = node->now - t->asked;

    t->again_at = node->now + (waited > START_AGAIN ? waited : START_AGAIN);
    ticket_list_looking(node, t);
}

/* The message is durable in the inbox, or could not be put there. */
void tickets_sent(struct th_node *node, uint64_t number, const struct th_error *error)
{
    struct ticket *t = ticket_find(node, number);
    struct th_reply reply = {.error = *error};

    if (!t) {
        results_sent(node, number, error);
        return;
    }
    if (t->state != TICKET_MESSAGE)
        return;
    if (error->code != TH_OK || needs_no_owner(t))
        ticket_finish(node, t, &reply);
    else if (t->command.kind == TH_COMMAND_START && node->traits.shared)
        start_again_later(node, t);
}

/* ---- answers of owners ---- */

/* `place`: "seed:number" of a ticket. What was asked by a process that is gone finds nothing. */
static void reply_to_ticket(struct th_node *node, const char *place, struct th_str id,
                            const struct th_error *error)
{
    struct th_reply reply = {.error = *error, .instance_id = id};
    unsigned long long seed, number;
    struct ticket *t;

    if (sscanf(place, "%16llx:%llu", &seed, &number) != 2 || seed != node->options.seed)
        return;
    t = ticket_find(node, number);
    if (!t || t->state != TICKET_MESSAGE)
        return;
    reply.count = t->command.kind == TH_COMMAND_PURGE && error->code == TH_OK;
    ticket_finish(node, t, &reply);
}

/* Between processes: place, code, message, instance, partition, log offset that it rests on. */
static struct th_blob *encode_reply(const struct part *part, const char *place, struct th_str id,
                                    const struct th_error *error, int64_t offset)
{
    TH_BUFFER bytes = {0};

    th_write_array(&bytes, 6);
    th_write_str(&bytes, th_str_of(place));
    th_write_u64(&bytes, error->code);
    th_write_str(&bytes, th_str_of(error->message));
    th_write_str(&bytes, id);
    th_write_u64(&bytes, part->index);
    th_write_i64(&bytes, offset);
    return th_blob_new(bytes.data, bytes.len);
}

void tickets_reply(struct th_node *node, const struct part *part, const char *reply_to,
                   const char *id, const struct th_error *error)
{
    static const struct th_error fine = {.code = TH_OK};
    const char *place = strchr(reply_to, ' ');
    TH_AUTOFREE char *address = NULL;
    struct th_blob *blob;

    if (!place)
        return;
    error = error ? error : &fine;
    address = th_str_dup(th_str_n(reply_to, (size_t)(place - reply_to)));
    if (strcmp(address, node->provider->address) == 0) {
        reply_to_ticket(node, place + 1, th_str_of(id), error);
        return;
    }
    if (!node->traits.shared)
        return;
    blob =
        encode_reply(part, place + 1, th_str_of(id), error, th_partition_acked_offset(part->core));
    node->provider->ops->reply(node->provider, address, blob);
    th_blob_unref(blob);
}

void tickets_replied(struct th_node *node, struct th_completion *c)
{
    TH_ARENA arena = {0};
    struct th_error error = {.code = TH_OK};
    struct th_reader in = th_reader_of(th_blob_view(c->blob), &arena, NULL);
    TH_AUTOFREE char *place = NULL;
    struct th_str message, id;
    uint64_t partition;
    int64_t offset;

    if (th_read_array(&in) < 6)
        return;
    place = th_str_dup(th_read_str(&in));
    error.code = (enum th_code)th_read_u64(&in);
    message = th_read_str(&in);
    id = th_read_str(&in);
    partition = th_read_u64(&in);
    offset = th_read_i64(&in);
    if (in.failed || !place || partition >= node->part_count)
        return;
    snprintf(error.message, sizeof(error.message), "%.*s", TH_PRI(message));
    remote_seen(&node->parts[partition], offset);
    reply_to_ticket(node, place, id, &error);
}

/* ---- answers to those that look ---- */

void ticket_answer_info(struct th_node *node, struct ticket *t, const struct th_instance_info *info)
{
    struct th_instance_info shown = *info;
    struct th_reply reply = {.error = {.code = TH_OK}, .info = &shown};

    if (!t->command.payloads)
        shown.input = shown.output = TH_STR_ABSENT;
    ticket_finish(node, t, &reply);
}

bool ticket_wait_is_over(const struct ticket *t, const struct th_instance_info *info)
{
    return t->command.until_started ? info->status != TH_STATUS_PENDING
                                    : th_status_terminal(info->status);
}

void ticket_keep_waiting(struct th_node *node, struct ticket *t)
{
    t->state = TICKET_WAIT;
    ticket_list_waiting(node, t);
    if (t->command.deadline != TH_TIME_NONE &&
        (node->next_deadline == TH_TIME_NONE || t->command.deadline < node->next_deadline))
        node->next_deadline = t->command.deadline;
}

/* Known for sure. A wait goes on until it comes into being. */
void ticket_absent(struct th_node *node, struct ticket *t)
{
    if (t->command.kind == TH_COMMAND_WAIT)
        ticket_keep_waiting(node, t);
    else
        ticket_fail(node, t, TH_NOT_FOUND, "%s \"%.*s\" does not exist",
                    th_is_entity(t->command.instance_id) ? "entity" : "instance",
                    TH_PRI(t->command.instance_id));
}

static bool decode_row(const struct th_row *row, struct th_arena *arena, bool payloads,
                       struct th_instance_info *out)
{
    struct th_reader reader = th_reader_of(th_blob_view(row->info), arena, NULL);

    if (!th_decode_info(&reader, out))
        return false;
    if (payloads) {
        out->input = th_blob_view(row->input);
        out->output = th_blob_view(row->output);
    }
    return true;
}

static bool decode_history(const struct th_row *row, struct th_arena *arena, struct th_events *out)
{
    for (size_t n = 0; n < row->history_count; n++) {
        struct th_reader reader = th_reader_of(th_blob_view(row->history[n]), arena, NULL);

        if (!th_decode_events(&reader, out))
            return false;
    }
    return true;
}

void ticket_answer_row(struct th_node *node, struct ticket *t, const struct th_row *row)
{
    struct th_instance_info info;
    struct th_reply reply = {.error = {.code = TH_OK}, .info = &info};
    TH_ARENA arena = {0};

    if (!decode_row(row, &arena, t->command.payloads, &info) ||
        !decode_history(row, &arena, &reply.history)) {
        th_events_deinit(&reply.history);
        ticket_fail(node, t, TH_CORRUPT, "the row of instance \"%.*s\" cannot be read",
                    TH_PRI(t->command.instance_id));
        return;
    }
    if (t->command.kind == TH_COMMAND_WAIT && !ticket_wait_is_over(t, &info)) {
        th_events_deinit(&reply.history);
        ticket_keep_waiting(node, t);
    } else {
        struct th_events history = reply.history;
        ticket_finish(node, t, &reply);
        th_events_deinit(&history);
    }
}

void ticket_query(struct th_node *node, struct ticket *t)
{
    ticket_unlist(node, t);
    t->state = TICKET_QUERY;
    node->provider->ops->query(node->provider, &t->command.query,
                               node_op(node, OP_TICKET, 0, TH_STR_ABSENT, t->number));
}

void ticket_answer_query(struct th_node *node, struct ticket *t, struct th_completion *c)
{
    struct th_reply reply = {
        .error = c->error, .info_count = c->row_count, .continuation = th_str_of(c->continuation)};
    TH_ARENA arena = {0};
    struct th_instance_info *infos;

    infos = TH_ARENA_ARRAY(&arena, struct th_instance_info, c->row_count);
    for (size_t n = 0; n < c->row_count; n++) {
        if (!decode_row(&c->rows[n], &arena, t->command.query.payloads, &infos[n])) {
            ticket_fail(node, t, TH_CORRUPT, "the row of instance \"%.*s\" cannot be read",
                        TH_PRI(c->rows[n].instance_id));
            return;
        }
    }
    reply.infos = infos;
    ticket_finish(node, t, &reply);
}

void tickets_completed(struct th_node *node, uint64_t number, struct part *part, bool current,
                       struct th_completion *c)
{
    struct ticket *t = ticket_find(node, number);

    if (!t)
        return;
    if (t->command.kind == TH_COMMAND_HUB)
        view_state(node, t, part, c);
    else if (node->traits.shared)
        remote_completed(node, t, part, c);
    else if (t->state == TICKET_LOAD)
        look_row(node, t, part, current, c);
    else if (t->state == TICKET_QUERY)
        ticket_answer_query(node, t, c);
}

/* ---- patience ---- */

static bool needs_id(enum th_command_kind kind)
{
    return kind != TH_COMMAND_START && kind != TH_COMMAND_QUERY && kind != TH_COMMAND_PURGE_BY &&
           kind != TH_COMMAND_HUB;
}

/* Waiting commands bring their own deadline, jobs consist of commands. */
static bool is_impatient(const struct ticket *t)
{
    return t->command.kind != TH_COMMAND_WAIT && !t->job;
}

static const struct part *culprit_of(struct th_node *node, const struct ticket *t)
{
    if (needs_id(t->command.kind) || t->command.kind == TH_COMMAND_START)
        return node_part_of(node, t->command.instance_id);
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].trouble[0])
            return &node->parts[n];
    return NULL;
}

static void give_up(struct th_node *node, struct ticket *t)
{
    const struct part *part = culprit_of(node, t);

    if (part && part->trouble[0])
        ticket_fail(node, t, TH_UNAVAILABLE, "partition %u cannot be used now: %s", part->index,
                    part->trouble);
    else if (part && node->traits.shared && t->state == TICKET_MESSAGE)
        ticket_fail(node, t, TH_UNAVAILABLE,
                    "no owner of partition %u has answered within %d s; what was sent is carried "
                    "out when there is one",
                    part->index, (int)(PATIENCE / TH_SECOND));
    else
        ticket_fail(node, t, TH_UNAVAILABLE, "the storage did not answer within %d s",
                    (int)(PATIENCE / TH_SECOND));
}

/* Tickets are kept in the order in which they were asked. */
static void lose_patience(struct th_node *node)
{
    struct ticket *t, *next;
    uint64_t *overdue = NULL;
    size_t count = 0, capacity = 0;

    if (node->next_patience == TH_TIME_NONE || node->next_patience > node->now)
        return;
    node->next_patience = TH_TIME_NONE;
    HASH_ITER(hh, node->tickets, t, next) {
        if (!is_impatient(t))
            continue;
        if (t->asked + PATIENCE > node->now) {
            node->next_patience = t->asked + PATIENCE;
            break;
        }
        overdue = th_grow(overdue, &capacity, count + 1, sizeof(*overdue));
        overdue[count++] = t->number;
    }
    for (size_t n = 0; n < count; n++) { /* an answer may be the end of others, too */
        t = ticket_find(node, overdue[n]);
        if (t)
            give_up(node, t);
    }
    free(overdue);
}

/* ---- taking commands ---- */

static void copy_command(struct ticket *t, const struct th_command *c)
{
    struct th_event nested = th_event_of(TH_EVENT_GENERIC, 0);
    struct th_command *to = &t->command;

    *to = *c;
    to->instance_id = th_arena_str(&t->arena, c->instance_id);
    to->name = th_arena_str(&t->arena, c->name);
    to->version = th_arena_str(&t->arena, c->version);
    to->data = th_arena_str(&t->arena, c->data);
    to->reason = th_arena_str(&t->arena, c->reason);
    to->request_id = th_arena_str(&t->arena, c->request_id);
    to->trace = th_arena_str(&t->arena, c->trace);
    to->query.id_prefix = th_arena_str(&t->arena, c->query.id_prefix);
    to->query.name = th_arena_str(&t->arena, c->query.name);
    to->query.continuation = th_arena_str(&t->arena, c->query.continuation);
    nested.tags = c->tags;
    to->tags = th_event_copy(&t->arena, &nested).tags;
    if (c->query.statuses == 0)
        to->query.statuses = TH_STATUS_ORCHESTRATIONS;
}

/* What is for orchestrations or for entities only. */
static bool check_target(const struct th_command *c, struct th_error *error)
{
    if (c->kind == TH_COMMAND_SIGNAL)
        return th_entity_id_check(c->instance_id, error);
    if (!th_is_entity(c->instance_id) || c->kind == TH_COMMAND_STATUS ||
        c->kind == TH_COMMAND_PURGE)
        return true;
    return th_fail(error, TH_INVALID,
                   "instance id: \"%.*s\" is an entity's; entities can be signalled, read and "
                   "purged",
                   TH_PRI(c->instance_id));
}

static bool has_name(enum th_command_kind kind)
{
    return kind == TH_COMMAND_START || kind == TH_COMMAND_RAISE || kind == TH_COMMAND_SIGNAL;
}

/* False: `error` says what is wrong with the command. */
static bool check(struct th_node *node, const struct th_command *c, struct th_error *error)
{
    if (node->closing)
        return th_fail(error, TH_UNAVAILABLE, "the hub is closing");
    if (needs_id(c->kind) && c->instance_id.len == 0)
        return th_fail(error, TH_INVALID, "instance id: must not be empty");
    if (c->instance_id.len > MAX_ID)
        return th_fail(error, TH_INVALID, "instance id: %zu bytes are above the limit of %d",
                       c->instance_id.len, MAX_ID);
    if (!check_target(c, error))
        return false;
    if (has_name(c->kind) && (c->name.len == 0 || c->name.len > MAX_ID))
        return th_fail(error, TH_INVALID, "name: must be 1 to %d bytes, not %zu", MAX_ID,
                       c->name.len);
    if (c->data.len > node->options.max_payload_bytes)
        return th_fail(error, TH_TOO_LARGE, "payload: %zu bytes are above the limit of %zu bytes",
                       c->data.len, node->options.max_payload_bytes);
    return true;
}

static void start(struct th_node *node, struct ticket *t)
{
    struct th_command *c = &t->command;
    const bool generated = c->instance_id.len == 0;

    if (generated) {
        char id[33];
        th_id_hex(th_random_next(&node->random), th_random_next(&node->random), id);
        c->instance_id = th_arena_str(&t->arena, th_str_of(id));
    }
    if (!th_str_present(c->request_id)) {
        char id[33];
        th_id_hex(th_random_next(&node->random), th_random_next(&node->random), id);
        c->request_id = th_arena_str(&t->arena, th_str_of(id));
    }
    if (!th_str_present(c->version) && node->options.version)
        c->version = th_str_of(node->options.version);
    c->new_id = generated;
    send_message(node, t, generated);
}

static void look_at(struct th_node *node, struct ticket *t)
{
    if (node->traits.shared)
        remote_look(node, t);
    else
        look(node, t);
}

static void look_at_all(struct th_node *node, struct ticket *t)
{
    if (node->traits.shared)
        remote_query(node, t);
    else
        look_query(node, t);
}

static void begin(struct th_node *node, struct ticket *t)
{
    switch (t->command.kind) {
    case TH_COMMAND_START:
        start(node, t);
        break;
    case TH_COMMAND_RAISE:
    case TH_COMMAND_TERMINATE:
    case TH_COMMAND_SUSPEND:
    case TH_COMMAND_RESUME:
    case TH_COMMAND_REWIND:
    case TH_COMMAND_SIGNAL:
        send_message(node, t, false);
        break;
    case TH_COMMAND_PURGE:
        if (t->command.recursive && !th_is_entity(t->command.instance_id))
            job_start(node, t);
        else
            send_message(node, t, false);
        break;
    case TH_COMMAND_RESTART:
    case TH_COMMAND_PURGE_BY:
        job_start(node, t);
        break;
    case TH_COMMAND_STATUS:
    case TH_COMMAND_WAIT:
        look_at(node, t);
        break;
    case TH_COMMAND_QUERY:
        look_at_all(node, t);
        break;
    case TH_COMMAND_HUB:
        view_ask(node, t);
        break;
    }
}

uint64_t th_node_command(struct th_node *node, const struct th_command *command, th_reply_fn reply,
                         void *argument, th_time now)
{
    struct th_reply refusal = {.instance_id = command->instance_id};
    struct ticket *t;
    uint64_t number;

    if (now > node->now)
        node->now = now;
    if (!check(node, command, &refusal.error)) {
        reply(argument, &refusal);
        return 0;
    }
    t = TH_NEW(struct ticket);
    number = t->number = ++node->next_ticket;
    t->reply = reply;
    t->argument = argument;
    t->asked = node->now;
    copy_command(t, command);
    HASH_ADD(hh, node->tickets, number, sizeof(t->number), t);
    if (node->next_patience == TH_TIME_NONE && is_impatient(t))
        node->next_patience = t->asked + PATIENCE;
    begin(node, t);
    return number;
}

bool th_node_cancel(struct th_node *node, uint64_t ticket)
{
    struct ticket *t = ticket_find(node, ticket);

    if (!t)
        return false;
    ticket_free(node, t);
    return true;
}

/* ---- every step ---- */

static bool is_over(const struct th_node *node, const struct ticket *t)
{
    return t->command.deadline != TH_TIME_NONE && t->command.deadline <= node->now;
}

static void expire_one(struct th_node *node, struct ticket *t)
{
    const th_time deadline = t->command.deadline;

    if (deadline == TH_TIME_NONE)
        return;
    if (is_over(node, t))
        ticket_fail(node, t, TH_TIMEOUT, "instance \"%.*s\" has not %s in time",
                    TH_PRI(t->command.instance_id), t->command.until_started ? "started" : "ended");
    else if (node->next_deadline == TH_TIME_NONE || deadline < node->next_deadline)
        node->next_deadline = deadline;
}

static void expire(struct th_node *node)
{
    struct waiters *w, *next_waiters;
    struct ticket *t, *next;

    if (node->next_deadline == TH_TIME_NONE || node->next_deadline > node->now)
        return;
    node->next_deadline = TH_TIME_NONE;
    HASH_ITER(hh, node->waiting, w, next_waiters) {
        t = w->first;
        while (t) {
            next = t->next; /* the group goes with its last ticket */
            expire_one(node, t);
            t = next;
        }
    }
}

static void step_ticket(struct th_node *node, struct ticket *t)
{
    if (t->command.kind == TH_COMMAND_WAIT && is_over(node, t)) {
        expire_one(node, t);
    } else if (t->state == TICKET_MESSAGE) {
        ticket_unlist(node, t);
        send_message(node, t, false);
    } else if (t->state == TICKET_FLUSH || t->command.kind == TH_COMMAND_QUERY) {
        look_at_all(node, t);
    } else {
        look_at(node, t);
    }
}

th_time tickets_step(struct th_node *node)
{
    struct ticket *t, *next;
    th_time again = TH_TIME_NONE;

    expire(node);
    lose_patience(node);
    DL_FOREACH_SAFE(node->looking, t, next) {
        const bool rests = t->state == TICKET_LATER || t->state == TICKET_MESSAGE;

        if (rests && t->again_at > node->now)
            again = earlier(again, t->again_at);
        else
            step_ticket(node, t);
    }
    return again;
}

/* Failing one may finish or cancel others: the commands of a job go with it. */
void tickets_free(struct th_node *node)
{
    node->closing = true;
    while (node->tickets)
        ticket_fail(node, node->tickets, TH_UNAVAILABLE, "the hub is closing");
}
