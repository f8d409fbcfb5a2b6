#include "api/client.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/document.h"
#include "api/text.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "model/name.h"
#include "sdk/entity.h"

/* A hub that is being taken over has no owner for a moment; that is not the caller's concern. */
enum { TRIES = 6 };
#define FIRST_PAUSE (50 * TH_MILLISECOND)

struct th_client {
    struct th_client_options options;
    char *default_version;
    pthread_mutex_t mutex;
    struct call *calls;
    bool stopped;
};

/* A command under way. Lives on the caller's stack; guarded by the client's mutex. */
struct call {
    struct th_client *client;
    struct call *next, *previous;
    pthread_cond_t changed;
    bool answered;
    struct th_arena arena;
    struct th_kept reply;
};

struct th_client *th_client_new(const struct th_client_options *options)
{
    struct th_client *client = TH_NEW(struct th_client);
    const char *version = options->default_version;
    if (!version && options->app) {
        version = th_app_get_version(options->app);
    }
    client->options = *options;
    client->default_version = th_str_dup(th_str_of(version));
    client->options.reuse = options->reuse ? options->reuse : TH_REUSE_TERMINAL;
    pthread_mutex_init(&client->mutex, NULL);
    return client;
}

void th_client_stop(struct th_client *client)
{
    pthread_mutex_lock(&client->mutex);
    client->stopped = true;
    for (struct call *call = client->calls; call; call = call->next) {
        pthread_cond_signal(&call->changed);
    }
    pthread_mutex_unlock(&client->mutex);
}

void th_client_free(struct th_client *client)
{
    if (client) {
        pthread_mutex_destroy(&client->mutex);
        free(client->default_version);
        free(client);
    }
}

/* ---- one command --------------------------------------------------------------------------- */

static void call_init(struct call *call, struct th_client *client)
{
    *call = (struct call){.client = client};
    pthread_cond_init(&call->changed, NULL);
    pthread_mutex_lock(&client->mutex);
    call->next = client->calls;
    if (call->next) {
        call->next->previous = call;
    }
    client->calls = call;
    pthread_mutex_unlock(&client->mutex);
}

static void call_deinit(struct call *call)
{
    struct th_client *client = call->client;
    pthread_mutex_lock(&client->mutex);
    *(call->previous ? &call->previous->next : &client->calls) = call->next;
    if (call->next) {
        call->next->previous = call->previous;
    }
    pthread_mutex_unlock(&client->mutex);
    pthread_cond_destroy(&call->changed);
    th_arena_deinit(&call->arena);
}

#define CALL __attribute__((cleanup(call_deinit))) struct call

/* On the gateway's thread. */
static void take_reply(void *argument, const struct th_reply *reply)
{
    struct call *call = argument;
    th_kept_copy(&call->reply, &call->arena, reply);
    pthread_mutex_lock(&call->client->mutex);
    call->answered = true;
    pthread_cond_signal(&call->changed);
    pthread_mutex_unlock(&call->client->mutex);
}

/* True when the reply came, false when the client was stopped first. */
static bool await_reply(struct call *call)
{
    struct th_client *client = call->client;
    pthread_mutex_lock(&client->mutex);
    while (!call->answered && !client->stopped) {
        pthread_cond_wait(&call->changed, &client->mutex);
    }
    bool answered = call->answered;
    pthread_mutex_unlock(&client->mutex);
    return answered;
}

static void pause_for(struct call *call, th_time duration)
{
    th_time until = th_monotonic() + duration;
    struct timespec deadline = {.tv_sec = until / TH_SECOND, .tv_nsec = (until % TH_SECOND) * 1000};
    pthread_mutex_lock(&call->client->mutex);
    int late = 0;
    while (!call->client->stopped && !late) {
        late = pthread_cond_clockwait(&call->changed, &call->client->mutex, CLOCK_MONOTONIC,
                                      &deadline);
    }
    pthread_mutex_unlock(&call->client->mutex);
}

static bool is_stopped(struct th_client *client)
{
    pthread_mutex_lock(&client->mutex);
    bool stopped = client->stopped;
    pthread_mutex_unlock(&client->mutex);
    return stopped;
}

static void try_once(struct call *call, const struct th_command *command)
{
    struct th_gateway *gateway = call->client->options.gateway;
    call->answered = false;
    if (!is_stopped(call->client)) {
        uint64_t ticket = gateway->submit(gateway, command, take_reply, call);
        if (await_reply(call)) {
            return;
        }
        gateway->cancel(gateway, ticket);
    }
    call->reply = (struct th_kept){0};
    th_fail(&call->reply.error, TH_UNAVAILABLE, "the hub is shutting down");
}

bool th_client_ask(struct th_client *client, const struct th_command *command,
                   struct th_arena *arena, struct th_kept *out)
{
    CALL call;
    call_init(&call, client);
    try_once(&call, command);
    *out = call.reply;
    th_arena_deinit(arena);
    *arena = call.arena;
    call.arena = (struct th_arena){0};
    return out->error.code == TH_OK;
}

/* Doing it twice is as good as once: it asks only, sets a state, or is recognised as a repeat. */
static bool repeatable(const struct th_command *command)
{
    switch (command->kind) {
    case TH_COMMAND_RAISE:
    case TH_COMMAND_SIGNAL:
    case TH_COMMAND_REWIND:
    case TH_COMMAND_RESTART:
    case TH_COMMAND_PURGE:
    case TH_COMMAND_PURGE_BY:
    case TH_COMMAND_TERMINATE:
        return false;
    default:
        return true;
    }
}

static bool report(const struct th_error *from, struct th_client_error *error)
{
    if (from->code == TH_OK) {
        return true;
    }
    if (error) {
        const char *message = from->message[0] ? from->message : th_code_text(from->code);
        error->status = th_code_http(from->code);
        snprintf(error->message, sizeof(error->message), "%s", message);
    }
    return false;
}

static bool run(struct call *call, const struct th_command *command, struct th_client_error *error)
{
    th_time pause = FIRST_PAUSE;
    for (int left = TRIES; left > 0; left--, pause *= 2) {
        try_once(call, command);
        if (call->reply.error.code != TH_UNAVAILABLE || !repeatable(command) || left == 1 ||
            is_stopped(call->client)) {
            break;
        }
        pause_for(call, pause);
        th_arena_reset(&call->arena);
    }
    return report(&call->reply.error, error);
}

static bool refuse(struct th_client_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(struct th_client_error *error, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = 400;
        vsnprintf(error->message, sizeof(error->message), format, arguments);
        va_end(arguments);
    }
    return false;
}

static void new_id(char out[static 33])
{
    th_id_hex(th_random_system(), th_random_system(), out);
}

static void put_id(char out[static TH_ID_MAX], struct th_str id)
{
    size_t len = id.len < TH_ID_MAX ? id.len : TH_ID_MAX - 1;
    memcpy(out, id.data ? id.data : "", len);
    out[len] = '\0';
}

/* Takes over `value`; absent for NULL. False: it cannot be written. */
static bool dump(json_t *value, char **out, struct th_client_error *error)
{
    *out = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    bool failed = value && !*out;
    json_decref(value);
    return failed ? refuse(error, "the value cannot be written as JSON") : true;
}

/* ---- start --------------------------------------------------------------------------------- */

static struct th_tags tags_of(const char *const *pairs, struct th_arena *arena)
{
    size_t count = 0;
    while (pairs && pairs[2 * count] && pairs[2 * count + 1]) {
        count++;
    }
    struct th_tag *tags = TH_ARENA_ARRAY(arena, struct th_tag, count);
    for (size_t i = 0; i < count; i++) {
        tags[i] = (struct th_tag){th_str_of(pairs[2 * i]), th_str_of(pairs[2 * i + 1])};
    }
    return (struct th_tags){tags, count};
}

static th_reuse reuse_of(const struct th_client *client, const struct th_start *options)
{
    if (options->keep_existing) {
        return TH_REUSE_NEVER;
    }
    return options->replace_running ? TH_REUSE_ANY : client->options.reuse;
}

static bool check_start(const struct th_client *client, struct th_str name, struct th_str id,
                        struct th_client_error *error)
{
    const struct th_app *app = client->options.app;
    struct th_error wrong = {.code = TH_OK};
    if (!th_function_name_check(name, &wrong) || !th_instance_id_check(id, &wrong)) {
        return report(&wrong, error);
    }
    if (!app || th_app_orchestrator(app, name)) {
        return true;
    }
    TH_AUTOFREE char *names = th_app_orchestrator_names(app);
    return refuse(error, "there is no orchestrator '%.*s'; there are: %s", TH_PRI(name),
                  names && *names ? names : "(none)");
}

static bool run_start(struct th_client *client, struct th_command *command,
                      const struct th_start *options, char id[static TH_ID_MAX],
                      struct th_client_error *error)
{
    TH_ARENA arena = {0};
    char request_id[33];
    CALL call;
    call_init(&call, client);
    new_id(request_id);
    command->request_id = th_str_of(request_id);
    command->tags = tags_of(options->tags, &arena);
    if (!run(&call, command, error)) {
        return false;
    }
    put_id(id, command->instance_id);
    return true;
}

bool th_client_start(struct th_client *client, const char *orchestrator, json_t *input,
                     const struct th_start *options, char id[static TH_ID_MAX],
                     struct th_client_error *error)
{
    static const struct th_start defaults;
    TH_AUTOFREE char *data = NULL;
    char generated[33];
    options = options ? options : &defaults;
    new_id(generated);
    struct th_command command = {
        .kind = TH_COMMAND_START,
        .instance_id = th_str_of(options->instance_id ? options->instance_id : generated),
        .name = th_str_of(orchestrator),
        .version = th_str_of(options->version ? options->version : client->default_version),
        .start_at = options->start_at ? options->start_at : TH_TIME_NONE,
        .deadline = TH_TIME_NONE,
        .reuse = reuse_of(client, options),
    };
    if (!dump(input, &data, error) ||
        !check_start(client, command.name, command.instance_id, error)) {
        return false;
    }
    command.data = th_str_of(data);
    return run_start(client, &command, options, id, error);
}

/* ---- messages ------------------------------------------------------------------------------ */

static bool run_simple(struct th_client *client, struct th_command *command, const char *id,
                       struct th_client_error *error)
{
    CALL call;
    call_init(&call, client);
    command->instance_id = th_str_of(id);
    command->deadline = command->start_at = TH_TIME_NONE;
    return run(&call, command, error);
}

bool th_client_raise_event(struct th_client *client, const char *id, const char *name, json_t *data,
                           struct th_client_error *error)
{
    TH_AUTOFREE char *text = NULL;
    struct th_error wrong = {.code = TH_OK};
    if (!dump(data, &text, error)) {
        return false;
    }
    if (!th_function_name_check(th_str_of(name), &wrong)) {
        return report(&wrong, error);
    }
    struct th_command command = {
        .kind = TH_COMMAND_RAISE, .name = th_str_of(name), .data = th_str_of(text)};
    return run_simple(client, &command, id, error);
}

bool th_client_terminate(struct th_client *client, const char *id, json_t *output, bool recursive,
                         struct th_client_error *error)
{
    TH_AUTOFREE char *text = NULL;
    if (!dump(output, &text, error)) {
        return false;
    }
    struct th_command command = {
        .kind = TH_COMMAND_TERMINATE, .data = th_str_of(text), .recursive = recursive};
    return run_simple(client, &command, id, error);
}

static bool run_reason(struct th_client *client, enum th_command_kind kind, const char *id,
                       const char *reason, struct th_client_error *error)
{
    struct th_command command = {.kind = kind, .reason = th_str_of(reason)};
    return run_simple(client, &command, id, error);
}

bool th_client_suspend(struct th_client *client, const char *id, const char *reason,
                       struct th_client_error *error)
{
    return run_reason(client, TH_COMMAND_SUSPEND, id, reason, error);
}

bool th_client_resume(struct th_client *client, const char *id, const char *reason,
                      struct th_client_error *error)
{
    return run_reason(client, TH_COMMAND_RESUME, id, reason, error);
}

bool th_client_rewind(struct th_client *client, const char *id, const char *reason,
                      struct th_client_error *error)
{
    return run_reason(client, TH_COMMAND_REWIND, id, reason, error);
}

bool th_client_restart(struct th_client *client, const char *id, bool with_new_id,
                       char id_out[static TH_ID_MAX], struct th_client_error *error)
{
    CALL call;
    call_init(&call, client);
    struct th_command command = {
        .kind = TH_COMMAND_RESTART, .instance_id = th_str_of(id), .new_id = with_new_id};
    if (!run(&call, &command, error)) {
        return false;
    }
    put_id(id_out,
           th_str_present(call.reply.instance_id) ? call.reply.instance_id : command.instance_id);
    return true;
}

/* ---- purge --------------------------------------------------------------------------------- */

static bool run_purge(struct th_client *client, const struct th_command *command, size_t *purged,
                      struct th_client_error *error)
{
    CALL call;
    call_init(&call, client);
    bool done = run(&call, command, error);
    if (purged) {
        *purged = done ? (size_t)call.reply.count : 0;
    }
    return done;
}

bool th_client_purge(struct th_client *client, const char *id, bool recursive, size_t *purged,
                     struct th_client_error *error)
{
    struct th_command command = {
        .kind = TH_COMMAND_PURGE, .instance_id = th_str_of(id), .recursive = recursive};
    return run_purge(client, &command, purged, error);
}

static bool parse_statuses(const char *text, uint32_t *out, struct th_client_error *error)
{
    *out = text ? 0 : TH_REUSE_TERMINAL;
    for (const char *at = text; at && *at;) {
        size_t len = strcspn(at, ",");
        enum th_status status;
        if (!th_status_parse(th_str_n(at, len), &status)) {
            return refuse(error, "there is no status \"%.*s\"", (int)len, at);
        }
        *out |= TH_STATUS_BIT(status);
        at += len + (at[len] == ',');
    }
    *out &= TH_REUSE_TERMINAL;
    return *out ? true : refuse(error, "only instances that have ended can be purged");
}

bool th_client_purge_by(struct th_client *client, th_time from, th_time to, const char *statuses,
                        size_t *purged, struct th_client_error *error)
{
    struct th_command command = {.kind = TH_COMMAND_PURGE_BY};
    command.query.from = from ? from : TH_TIME_NONE;
    command.query.to = to ? to : TH_TIME_NONE;
    command.query.completed_from = command.query.completed_to = TH_TIME_NONE;
    return parse_statuses(statuses, &command.query.statuses, error) &&
           run_purge(client, &command, purged, error);
}

/* ---- status -------------------------------------------------------------------------------- */

static json_t *parse(const struct th_buffer *text, struct th_client_error *error)
{
    const size_t flags = JSON_ALLOW_NUL | JSON_DECODE_ANY;
    json_t *document = json_loadb(text->data, text->len, flags, NULL);
    if (!document) { /* an integer of more than 64 bits in a payload */
        document = json_loadb(text->data, text->len, flags | JSON_DECODE_INT_AS_REAL, NULL);
    }
    if (!document) {
        refuse(error, "the answer holds JSON that cannot be read");
    }
    return document;
}

static json_t *status_document(const struct th_kept *reply, struct th_client_error *error)
{
    static const struct th_status_form form = {.input = true};
    TH_BUFFER text = {0};
    if (reply->info_count == 0) {
        report(&(struct th_error){.code = TH_INTERNAL}, error);
        return NULL;
    }
    th_document_status(&text, &reply->infos[0], &form, NULL, 0);
    return parse(&text, error);
}

static bool ask_status(struct call *call, struct th_str id, struct th_client_error *error)
{
    struct th_command command = {
        .kind = TH_COMMAND_STATUS, .instance_id = id, .deadline = TH_TIME_NONE, .payloads = true};
    return run(call, &command, error);
}

json_t *th_client_status(struct th_client *client, const char *id, struct th_client_error *error)
{
    CALL call;
    call_init(&call, client);
    return ask_status(&call, th_str_of(id), error) ? status_document(&call.reply, error) : NULL;
}

json_t *th_client_wait(struct th_client *client, const char *id, int64_t timeout_ms,
                       struct th_client_error *error)
{
    const int64_t longest = INT64_C(100) * 366 * 86400 * 1000;
    CALL call;
    call_init(&call, client);
    th_time deadline = TH_TIME_NONE;
    if (timeout_ms >= 0 && timeout_ms < longest) {
        deadline = th_now() + timeout_ms * TH_MILLISECOND;
    }
    /* An instance that was started is known: an unknown one would be waited for in vain. */
    if (!ask_status(&call, th_str_of(id), error)) {
        return NULL;
    }
    struct th_command command = {.kind = TH_COMMAND_WAIT,
                                 .instance_id = th_str_of(id),
                                 .deadline = deadline,
                                 .payloads = true};
    bool ended = call.reply.info_count && th_status_terminal(call.reply.infos[0].status);
    if (!ended && !run(&call, &command, error)) {
        return NULL;
    }
    return status_document(&call.reply, error);
}

/* ---- entities ------------------------------------------------------------------------------ */

static bool name_entity(struct th_arena *arena, const char *id, struct th_str *out,
                        struct th_client_error *error)
{
    struct th_error wrong = {.code = TH_OK};
    return th_entity_id_of(arena, id, out, &wrong) || report(&wrong, error);
}

bool th_client_signal_entity(struct th_client *client, const char *id, const char *operation,
                             json_t *input, th_time when, struct th_client_error *error)
{
    TH_AUTOFREE char *text = NULL;
    struct th_error wrong = {.code = TH_OK};
    struct th_command command = {.kind = TH_COMMAND_SIGNAL,
                                 .name = th_str_of(operation),
                                 .start_at = when ? when : TH_TIME_NONE,
                                 .deadline = TH_TIME_NONE};
    CALL call;
    TH_ARENA arena = {0};
    call_init(&call, client);
    if (!dump(input, &text, error) || !name_entity(&arena, id, &command.instance_id, error)) {
        return false;
    }
    if (!th_function_name_check(command.name, &wrong)) {
        return refuse(error, "the operation: %s", wrong.message);
    }
    command.data = th_str_of(text);
    return run(&call, &command, error);
}

json_t *th_client_entity_state(struct th_client *client, const char *id,
                               struct th_client_error *error)
{
    TH_ARENA arena = {0};
    TH_BUFFER text = {0};
    struct th_str name;
    CALL call;
    call_init(&call, client);
    if (!name_entity(&arena, id, &name, error) || !ask_status(&call, name, error)) {
        return NULL;
    }
    if (call.reply.info_count == 0 || !th_str_present(call.reply.infos[0].output)) {
        struct th_error none;
        th_fail(&none, TH_NOT_FOUND, "entity \"%.*s\" has no state", TH_PRI(name));
        report(&none, error);
        return NULL;
    }
    th_json_put_payload(&text, call.reply.infos[0].output);
    return parse(&text, error);
}

enum { ENTITY_PAGE = 100 };

static bool add_entities(json_t *all, const struct th_kept *reply, size_t limit,
                         struct th_client_error *error)
{
    for (size_t i = 0; i < reply->info_count && (!limit || json_array_size(all) < limit); i++) {
        TH_BUFFER text = {0};
        if (!reply->infos[i].has_state) {
            continue;
        }
        th_document_entity(&text, &reply->infos[i]);
        if (json_array_append_new(all, parse(&text, error)) != 0) {
            return false;
        }
    }
    return true;
}

static struct th_command entity_command(const struct th_entity_query *query, struct th_arena *arena)
{
    struct th_command command = {.kind = TH_COMMAND_QUERY, .deadline = TH_TIME_NONE};
    command.query = (struct th_query){
        .statuses = TH_STATUS_BIT(TH_STATUS_ENTITY),
        .from = TH_TIME_NONE,
        .to = TH_TIME_NONE,
        .completed_from = query->from ? query->from : TH_TIME_NONE,
        .completed_to = query->to ? query->to : TH_TIME_NONE,
        .payloads = query->states,
        .limit = ENTITY_PAGE,
    };
    if (query->name) {
        command.query.id_prefix = th_entity_id(arena, th_str_of(query->name), TH_STR(""));
    }
    return command;
}

json_t *th_client_list_entities(struct th_client *client, const struct th_entity_query *query,
                                struct th_client_error *error)
{
    static const struct th_entity_query everything;
    TH_ARENA arena = {0};
    struct th_error wrong = {.code = TH_OK};
    query = query ? query : &everything;
    if (query->name && !th_entity_name_check(th_str_of(query->name), &wrong)) {
        report(&wrong, error);
        return NULL;
    }
    struct th_command command = entity_command(query, &arena);
    json_auto_t *all = json_array();
    do {
        CALL call;
        call_init(&call, client);
        if (!run(&call, &command, error) || !add_entities(all, &call.reply, query->limit, error)) {
            return NULL;
        }
        command.query.continuation = th_arena_str(&arena, call.reply.continuation);
    } while (command.query.continuation.len &&
             (!query->limit || json_array_size(all) < query->limit));
    return json_incref(all);
}
