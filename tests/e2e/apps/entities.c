/*
 * entities: what entities_test.py asks of entities. "@log@KEY" keeps a list of what it was told;
 * the orchestrators call it, signal it, and lock it.
 */
#include <taskhub.h>

#include <string.h>

/* ---- the entity ------------------------------------------------------------------------------ */

static int append(struct th_entity *log)
{
    json_auto_t *state = th_entity_state_or(log, json_array());
    json_t *input = th_entity_input(log);

    json_array_append_new(state, input ? json_incref(input) : json_null());
    return th_entity_set_state(log, json_incref(state));
}

static int get(struct th_entity *log)
{
    json_t *state = th_entity_state(log);

    return th_entity_return(log, state ? state : json_null());
}

/* Does all that can be done, and then fails. */
static int fail(struct th_entity *log)
{
    if (append(log) || th_entity_signal(log, "@log@leaked", "append", json_true()) ||
        th_entity_start(log, "leak", NULL, NULL))
        return TH_FAILED;
    return th_entity_fail(log, "Refused", "it does not want to");
}

/* {"to", "operation", "input"} */
static int pass(struct th_entity *log)
{
    json_t *input = th_entity_input(log);

    return th_entity_signal(log, json_string_value(json_object_get(input, "to")),
                            json_string_value(json_object_get(input, "operation")),
                            json_incref(json_object_get(input, "input")));
}

/* {"id", "name", "input"} */
static int start(struct th_entity *log)
{
    json_t *input = th_entity_input(log);
    const struct th_start options = {.instance_id =
                                         json_string_value(json_object_get(input, "id"))};

    return th_entity_start(log, json_string_value(json_object_get(input, "name")),
                           json_incref(json_object_get(input, "input")), &options);
}

/* ---- orchestrators --------------------------------------------------------------------------- */

/* {"id", "operation", "input"}; gives the result. */
static int call(struct th_context *ctx)
{
    json_t *input = th_input(ctx);

    return th_return_new(ctx, th_call_entity(ctx, json_string_value(json_object_get(input, "id")),
                                             json_string_value(json_object_get(input, "operation")),
                                             json_incref(json_object_get(input, "input"))));
}

/* {"id", "count"}: so many signals, and what the entity had then. */
static int many(struct th_context *ctx)
{
    json_t *input = th_input(ctx);
    const char *id = json_string_value(json_object_get(input, "id"));
    json_int_t count = json_integer_value(json_object_get(input, "count"));

    for (json_int_t i = 0; i < count; i++)
        if (th_signal_entity(ctx, id, "append", json_integer(i)))
            return TH_FAILED;
    return th_return_new(ctx, th_call_entity(ctx, id, "get", NULL));
}

/* An id: two signals, the first not before a second has passed. */
static int later(struct th_context *ctx)
{
    const char *id = json_string_value(th_input(ctx));

    if (th_signal_entity_at(ctx, id, "append", json_string("later"),
                            th_current_time(ctx) + 1000000) ||
        th_signal_entity(ctx, id, "append", json_string("now")))
        return TH_FAILED;
    return 0;
}

static size_t ids_of(const json_t *list, const char **out, size_t most)
{
    size_t count = json_array_size(list) < most ? json_array_size(list) : most;

    for (size_t i = 0; i < count; i++)
        out[i] = json_string_value(json_array_get(list, i));
    return count;
}

/* {"ids", "how", "name"}: locks them, adds its name to each, and leaves as "how" says. */
static int section(struct th_context *ctx)
{
    json_t *input = th_input(ctx);
    const char *how = json_string_value(json_object_get(input, "how"));
    json_t *name = json_object_get(input, "name");
    const char *ids[8];
    size_t count = ids_of(json_object_get(input, "ids"), ids, 8);

    if (strcmp(how, "done") == 0)
        return 0;
    if (th_lock(ctx, ids, count))
        return TH_FAILED;
    th_set_custom_status(ctx, json_string("inside"));
    for (size_t i = 0; i < count; i++)
        json_decref(th_call_entity(ctx, ids[i], "append", json_incref(name)));
    if (strcmp(how, "throw") == 0)
        return th_fail_with(ctx, "Thrown", "inside the section");
    if (strcmp(how, "wait") == 0)
        return th_return_new(ctx, th_wait_event(ctx, "go", -1));
    if (strcmp(how, "again") == 0) {
        json_t *next = json_deep_copy(input);
        json_object_set_new(next, "how", json_string("done"));
        return th_continue_as_new(ctx, next, false);
    }
    return strcmp(how, "unlock") == 0 ? th_unlock(ctx) : 0;
}

static int leak(struct th_context *ctx)
{
    (void)ctx;
    return 0;
}

/* ---- the rules of sections ------------------------------------------------------------------- */

static void note(struct th_context *ctx, json_t *out, const char *what, bool refused)
{
    const char *type = refused ? th_failure_type(th_last_failure(ctx)) : "";
    const char *message = refused ? th_failure_message(th_last_failure(ctx)) : "";

    json_object_set_new(out, what, json_pack("[s, s]", type, message));
}

/* Breaks each rule; gives what each got for it. */
static int rules(struct th_context *ctx)
{
    static const char *const ids[] = {"@log@rules-b", "@log@rules-a"};
    static const char *const bad[] = {"nobody"};
    json_auto_t *out = json_object();

    note(ctx, out, "unlock outside", th_unlock(ctx));
    note(ctx, out, "nothing", th_lock(ctx, ids, 0));
    note(ctx, out, "no entity", th_lock(ctx, bad, 1));
    if (th_lock(ctx, ids, 2))
        return TH_FAILED;
    note(ctx, out, "lock inside", th_lock(ctx, ids, 1));
    note(ctx, out, "signal", th_signal_entity(ctx, ids[0], "append", NULL));
    json_t *other = th_call_entity(ctx, "@log@other", "get", NULL);
    note(ctx, out, "call of another", !other);
    json_decref(other);
    json_t *child = th_call_child(ctx, "leak", NULL, NULL);
    note(ctx, out, "child", !child);
    json_decref(child);
    struct th_task *one = th_schedule_entity(ctx, ids[0], "get", NULL);
    struct th_task *two = th_schedule_entity(ctx, ids[0], "get", NULL);
    note(ctx, out, "two calls", !th_await(ctx, two));
    if (!th_await(ctx, one))
        return TH_FAILED;
    note(ctx, out, "unlock", th_unlock(ctx));
    return th_return(ctx, out);
}

TH_APPLICATION(app)
{
    static const struct th_method log[] = {{"append", append}, {"get", get},     {"fail", fail},
                                           {"pass", pass},     {"start", start}, {NULL, NULL}};

    th_entity_methods(app, "log", log);
    th_orchestrator(app, "call", call);
    th_orchestrator(app, "many", many);
    th_orchestrator(app, "later", later);
    th_orchestrator(app, "section", section);
    th_orchestrator(app, "rules", rules);
    th_orchestrator(app, "leak", leak);
}
