/*
 * A batch runs operation by operation, and each sees the state that those before it left. What one
 * of them does is undone when it fails: its state is dropped for the one before, and the actions it
 * asked for are cut off. States are on the heap, so that a batch needs memory for two of them and
 * not for one per operation; everything that is handed out goes to the caller's arena.
 */
#include "sdk/entity.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "model/name.h"
#include "sdk/actions.h"
#include "sdk/payload.h"

enum { NAME_MAX_BYTES = 256 };

/* The state, as bytes; `heap` is what has to be freed. */
struct value {
    struct th_str bytes;
    char *heap;
};

struct th_entity {
    const struct th_app *app;
    const struct th_log *log;
    const char *version;
    struct th_entity_code code;
    struct th_arena *arena;
    struct th_actions *out;
    struct th_str id, name, key; /* NUL-terminated */
    struct value state, before;  /* now; before this operation, once it was `set` */

    /* The operation under way. */
    const struct th_event *operation;
    char *operation_name; /* NUL-terminated */
    struct th_operation_result *result;
    json_t *input;
    bool input_parsed, set;
    bool broken; /* what it asked for is impossible: it fails, whatever it returns */
};

/* ---- what it was called with ---------------------------------------------------------------- */

const char *th_entity_operation(struct th_entity *entity)
{
    return entity->operation_name;
}

bool th_entity_is(struct th_entity *entity, const char *operation)
{
    return th_str_eq_nocase(entity->operation->name, th_str_of(operation));
}

bool th_entity_is_signal(struct th_entity *entity)
{
    return entity->operation->kind == TH_EVENT_ENTITY_SIGNALED;
}

json_t *th_entity_input(struct th_entity *entity)
{
    if (!entity->input_parsed) {
        entity->input_parsed = true;
        entity->input = th_payload_parse(entity->operation->data);
    }
    return entity->input;
}

const void *th_entity_input_bytes(struct th_entity *entity, size_t *len)
{
    *len = entity->operation->data.len;
    return entity->operation->data.data;
}

const char *th_entity_own_id(struct th_entity *entity)
{
    return entity->id.data;
}

const char *th_entity_own_name(struct th_entity *entity)
{
    return entity->name.data;
}

const char *th_entity_own_key(struct th_entity *entity)
{
    return entity->key.data;
}

th_time th_entity_time(struct th_entity *entity)
{
    return th_now();
}

void th_entity_log(struct th_entity *entity, const char *format, ...)
{
    TH_BUFFER line = {0};
    TH_BUFFER category = {0};
    va_list arguments;
    va_start(arguments, format);
    th_buffer_format(&line, "[%s] ", entity->id.data);
    th_buffer_vformat(&line, format, arguments);
    va_end(arguments);
    th_buffer_format(&category, "Function.%s", entity->name.data);
    th_buffer_add(&category, "", 1);
    th_log(entity->log, TH_LOG_INFO, category.data, "%.*s", TH_PRI(th_buffer_view(&line)));
}

/* ---- its result: the last one given counts --------------------------------------------------- */

static void fail(struct th_entity *entity, const char *type, const char *format, va_list arguments)
{
    struct th_failure *failure = TH_ARENA_NEW(entity->arena, struct th_failure);
    TH_BUFFER message = {0};
    th_buffer_vformat(&message, format, arguments);
    failure->type = th_arena_str(entity->arena, th_str_of(type ? type : "OperationFailed"));
    failure->message = th_arena_str(entity->arena, th_buffer_view(&message));
    *entity->result = (struct th_operation_result){.failure = failure};
}

int th_entity_fail(struct th_entity *entity, const char *type, const char *format, ...)
{
    if (!entity->broken) {
        va_list arguments;
        va_start(arguments, format);
        fail(entity, type, format, arguments);
        va_end(arguments);
    }
    return TH_FAILED;
}

/* The first thing impossible counts, and for good. */
__attribute__((format(printf, 3, 4))) static int refuse(struct th_entity *entity, const char *type,
                                                        const char *format, ...)
{
    if (!entity->broken) {
        va_list arguments;
        va_start(arguments, format);
        fail(entity, type, format, arguments);
        va_end(arguments);
        entity->broken = true;
    }
    return TH_FAILED;
}

static int give(struct th_entity *entity, struct th_str output)
{
    if (entity->broken) {
        return TH_FAILED;
    }
    *entity->result = (struct th_operation_result){.data = th_arena_str(entity->arena, output)};
    return 0;
}

int th_entity_return(struct th_entity *entity, json_t *output)
{
    struct th_str words = th_payload_print(output);
    int code = output && !th_str_present(words)
                   ? th_entity_fail(entity, "InvalidOutput",
                                    "the output of operation \"%s\" cannot be written as JSON",
                                    entity->operation_name)
                   : give(entity, words);
    free((char *)words.data);
    json_decref(output);
    return code;
}

int th_entity_return_bytes(struct th_entity *entity, const void *output, size_t len)
{
    return give(entity, th_str_n(output || len ? output : "", len));
}

/* ---- state ---------------------------------------------------------------------------------- */

bool th_entity_exists(struct th_entity *entity)
{
    return th_str_present(entity->state.bytes);
}

json_t *th_entity_state(struct th_entity *entity)
{
    return th_payload_parse(entity->state.bytes);
}

json_t *th_entity_state_or(struct th_entity *entity, json_t *otherwise)
{
    if (!th_entity_exists(entity)) {
        return otherwise;
    }
    json_t *state = th_entity_state(entity);
    if (!state) {
        refuse(entity, "InvalidState", "the state of \"%s\" is no JSON", entity->id.data);
        return otherwise;
    }
    json_decref(otherwise);
    return state;
}

const void *th_entity_state_bytes(struct th_entity *entity, size_t *len)
{
    *len = entity->state.bytes.len;
    return entity->state.bytes.data;
}

/* Takes over `heap`, which `bytes` points into; absent: none. */
static void set_state(struct th_entity *entity, struct th_str bytes, char *heap)
{
    if (entity->set) {
        free(entity->state.heap);
    } else {
        entity->before = entity->state;
        entity->set = true;
    }
    entity->state = (struct value){bytes, heap};
}

int th_entity_set_state(struct th_entity *entity, json_t *state)
{
    struct th_str words = th_payload_print(state);
    json_decref(state);
    if (!th_str_present(words)) {
        return refuse(entity, "InvalidState",
                      "the state that operation \"%s\" sets cannot be written as JSON",
                      entity->operation_name);
    }
    set_state(entity, words, (char *)words.data);
    return 0;
}

int th_entity_set_state_bytes(struct th_entity *entity, const void *state, size_t len)
{
    if (!state) {
        return th_entity_delete(entity);
    }
    char *copy = th_alloc(len + 1);
    if (len) {
        memcpy(copy, state, len);
    }
    set_state(entity, th_str_n(copy, len), copy);
    return 0;
}

int th_entity_delete(struct th_entity *entity)
{
    set_state(entity, TH_STR_ABSENT, NULL);
    return 0;
}

/* ---- what it asks for ----------------------------------------------------------------------- */

bool th_entity_id_of(struct th_arena *arena, const char *text, struct th_str *out,
                     struct th_error *error)
{
    struct th_str id = th_str_of(text);
    *out = TH_STR("");
    if (id.len > 1 && id.data[0] == '@' && memchr(id.data + 1, '@', id.len - 1)) {
        *out = th_entity_id(arena, th_entity_name(id), th_entity_key(id));
        return th_entity_id_check(*out, error);
    }
    return th_fail(error, TH_INVALID, "entity id \"%.100s\" must have the form @name@key",
                   text ? text : "");
}

static bool name_is_good(struct th_entity *entity, const char *what, const char *name)
{
    size_t len = name ? strlen(name) : 0;
    if (len == 0 || len > NAME_MAX_BYTES) {
        refuse(entity, "InvalidName", "the name of %s has 1 to %d bytes, not %zu", what,
               NAME_MAX_BYTES, len);
        return false;
    }
    return true;
}

/* Appends the action unless its input (stolen) cannot be sent. */
static int ask(struct th_entity *entity, const struct th_action *action, json_t *input)
{
    struct th_str words = th_payload_print(input);
    bool broken = input && !th_str_present(words);
    json_decref(input);
    if (broken) {
        return refuse(entity, "InvalidInput", "the input of \"%.*s\" cannot be written as JSON",
                      TH_PRI(action->name));
    }
    struct th_action *added = th_actions_put(entity->out, entity->arena, action);
    added->data = th_arena_str(entity->arena, words);
    free((char *)words.data);
    return 0;
}

int th_entity_signal_at(struct th_entity *entity, const char *id, const char *operation,
                        json_t *input, th_time when)
{
    struct th_action action = {
        .kind = TH_ACTION_SIGNAL, .id = -1, .fire_at = when, .name = th_str_of(operation)};
    struct th_error error = {.code = TH_OK};
    if (!name_is_good(entity, "an operation", operation)) {
        json_decref(input);
        return TH_FAILED;
    }
    if (!th_entity_id_of(entity->arena, id, &action.instance_id, &error)) {
        json_decref(input);
        return refuse(entity, "InvalidEntityId", "%s", error.message);
    }
    return ask(entity, &action, input);
}

int th_entity_signal(struct th_entity *entity, const char *id, const char *operation, json_t *input)
{
    return th_entity_signal_at(entity, id, operation, input, TH_TIME_NONE);
}

static const char *version_of(const struct th_entity *entity, const struct th_start *options)
{
    if (options->version) {
        return options->version;
    }
    return entity->version ? entity->version : th_app_get_version(entity->app);
}

int th_entity_start(struct th_entity *entity, const char *orchestrator, json_t *input,
                    const struct th_start *options)
{
    static const struct th_start none;
    const struct th_start *o = options ? options : &none;
    struct th_error error = {.code = TH_OK};
    struct th_action action = {
        .kind = TH_ACTION_START,
        .id = -1,
        .fire_at = o->start_at ? o->start_at : TH_TIME_NONE,
        .name = th_str_of(orchestrator),
        .version = th_str_of(version_of(entity, o)),
        .instance_id = th_str_of(o->instance_id),
        .tags = th_tags_of(entity->arena, o->tags),
    };
    if (!name_is_good(entity, "an orchestrator", orchestrator)) {
        json_decref(input);
        return TH_FAILED;
    }
    if (o->instance_id && !th_instance_id_check(action.instance_id, &error)) {
        json_decref(input);
        return refuse(entity, "InvalidInstanceId", "%s", error.message);
    }
    return ask(entity, &action, input);
}

/* ---- one operation --------------------------------------------------------------------------- */

static int unknown_operation(struct th_entity *entity)
{
    TH_BUFFER names = {0};
    for (const struct th_method *m = entity->code.methods; m->operation; m++) {
        th_buffer_format(&names, "%s, ", m->operation);
    }
    return th_entity_fail(
        entity, "UnknownOperation", "entity \"%s\" has no operation \"%s\"; it has: %.*sdelete",
        entity->name.data, entity->operation_name, TH_PRI(th_buffer_view(&names)));
}

static int call_code(struct th_entity *entity)
{
    if (!entity->code.methods) {
        return entity->code.function(entity);
    }
    for (const struct th_method *m = entity->code.methods; m->operation; m++) {
        if (th_entity_is(entity, m->operation)) {
            return m->function(entity);
        }
    }
    return th_entity_is(entity, "delete") ? th_entity_delete(entity) : unknown_operation(entity);
}

/* The state goes back to what it was, or what it was goes. */
static void settle_state(struct th_entity *entity, bool failed)
{
    struct value *dropped = failed ? &entity->state : &entity->before;
    if (!entity->set) {
        return;
    }
    free(dropped->heap);
    if (failed) {
        entity->state = entity->before;
    }
    entity->before = (struct value){.heap = NULL};
}

static void run_operation(struct th_entity *entity, const struct th_event *operation,
                          struct th_operation_result *result)
{
    size_t asked = entity->out->count;
    entity->operation = operation;
    entity->operation_name = th_str_dup(operation->name.data ? operation->name : TH_STR(""));
    entity->result = result;
    entity->input = NULL;
    entity->input_parsed = entity->set = entity->broken = false;
    int code = call_code(entity);
    if (code != 0 && !result->failure) {
        th_entity_fail(entity, "OperationFailed",
                       "operation \"%s\" of entity \"%s\" returned %d without saying why",
                       entity->operation_name, entity->id.data, code);
    }
    if (result->failure) {
        entity->out->count = asked;
    }
    settle_state(entity, result->failure != NULL);
    json_decref(entity->input);
    free(entity->operation_name);
}

/* ---- the batch ------------------------------------------------------------------------------- */

static void not_found(const struct th_app *app, const struct th_entity *entity,
                      struct th_actions *out)
{
    TH_AUTOFREE char *names = th_app_entity_names(app);
    const struct th_failure failure = {
        .type = TH_STR("EntityNotFound"),
        .message = th_arena_format(entity->arena,
                                   "entity \"%s\" is not registered; this application has: %s",
                                   entity->name.data, *names ? names : "none"),
        .non_retriable = true};
    out->failure = th_failure_copy(entity->arena, &failure);
}

void th_entity_run(const struct th_app *app, const struct th_log *log, const char *version,
                   const struct th_episode *episode, struct th_arena *arena, struct th_actions *out)
{
    struct th_entity entity = {
        .app = app,
        .log = log,
        .version = version,
        .arena = arena,
        .out = out,
        .id = th_arena_str(arena, episode->instance_id),
        .state = {.bytes = episode->state},
    };
    *out = (struct th_actions){0};
    entity.name = th_arena_str(arena, th_entity_name(entity.id));
    entity.key = th_entity_key(entity.id); /* ends where the id does */
    if (!th_app_entity(app, entity.name, &entity.code)) {
        not_found(app, &entity, out);
        return;
    }
    struct th_operation_result *results =
        TH_ARENA_ARRAY(arena, struct th_operation_result, episode->fresh_count);
    for (size_t i = 0; i < episode->fresh_count; i++) {
        run_operation(&entity, &episode->fresh[i], &results[i]);
    }
    out->results = results;
    out->result_count = episode->fresh_count;
    out->state = th_arena_str(arena, entity.state.bytes);
    free(entity.state.heap);
}
