/*
 * `taskhub invoke APP @name@key`: one operation of an entity on a state that is given, without a
 * hub. What would have become of it is printed, and nothing of it is done.
 */
#include <stdio.h>
#include <string.h>

#include "cli/print.h"
#include "cli/run.h"
#include "sdk/entity.h"
#include "sdk/payload.h"

static json_t *value_of(struct th_str bytes)
{
    json_t *value = th_payload_value(bytes);
    return value ? value : json_sprintf("(%zu bytes that are no text)", bytes.len);
}

static json_t *text_of(struct th_str text)
{
    return th_str_present(text) ? json_stringn(text.data, text.len) : json_null();
}

static json_t *time_of(th_time time)
{
    char text[40];
    if (time == TH_TIME_NONE)
        return json_null();
    th_time_format(time, 6, text);
    return json_string(text);
}

static json_t *action_of(const struct th_action *action)
{
    bool signal = action->kind == TH_ACTION_SIGNAL;
    return json_pack("{s:o, s:o, s:o, s:o}", signal ? "entity" : "instanceId",
                     text_of(action->instance_id), signal ? "operation" : "orchestrator",
                     text_of(action->name), "input", value_of(action->data), "at",
                     time_of(action->fire_at));
}

static json_t *actions_of(const struct th_actions *out, enum th_action_kind kind)
{
    json_t *list = json_array();
    for (size_t i = 0; i < out->count; i++)
        if (out->items[i].kind == kind)
            json_array_append_new(list, action_of(&out->items[i]));
    return list;
}

static json_t *failure_of(const struct th_failure *failure)
{
    if (!failure)
        return json_null();
    return json_pack("{s:o, s:o}", "type", text_of(failure->type), "message",
                     text_of(failure->message));
}

static json_t *document_of(const struct th_actions *out)
{
    const struct th_operation_result *result = &out->results[0];
    json_t *state = th_str_present(out->state) ? value_of(out->state) : NULL;
    return json_pack("{s:o, s:o, s:b, s:o, s:o, s:o}", "result", value_of(result->data), "failure",
                     failure_of(result->failure), "exists", state != NULL, "state",
                     state ? state : json_null(), "signals", actions_of(out, TH_ACTION_SIGNAL),
                     "starts", actions_of(out, TH_ACTION_START));
}

static void say_each(const char *what, const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item) {
        char *line = json_dumps(item, JSON_COMPACT);
        fprintf(stderr, "%s: %s\n", what, line ? line : "");
        free(line);
    }
}

/* The result to standard output, the rest to standard error. */
static void print(const json_t *document)
{
    char *state = json_dumps(json_object_get(document, "state"), JSON_COMPACT | JSON_ENCODE_ANY);
    if (json_is_null(json_object_get(document, "failure")))
        cli_print_json(json_object_get(document, "result"));
    fprintf(stderr, "state: %s\n",
            json_is_true(json_object_get(document, "exists")) && state ? state : "none");
    free(state);
    say_each("signal", json_object_get(document, "signals"));
    say_each("start", json_object_get(document, "starts"));
}

static int show(const struct cli_options *options, const struct th_actions *out)
{
    const struct th_failure *failure = out->results[0].failure;
    json_t *document = document_of(out);
    if (options->json)
        cli_print_json(document);
    else
        print(document);
    json_decref(document);
    if (failure)
        fprintf(stderr, "taskhub: the operation failed: %.*s: %.*s\n", TH_PRI(failure->type),
                TH_PRI(failure->message));
    return failure ? CLI_FAILED : CLI_OK;
}

static int run(const struct cli_options *options, const struct th_app *app,
               const struct th_log *log, struct th_str id, const char *input, const char *state)
{
    TH_ARENA arena = {0};
    struct th_actions out;
    struct th_event operation = th_event_of(TH_EVENT_ENTITY_CALLED, th_now());
    const struct th_episode episode = {.instance_id = id,
                                       .past_loaded = true,
                                       .fresh = &operation,
                                       .fresh_count = 1,
                                       .entity = true,
                                       .state = th_str_of(state)};
    operation.instance_id = id;
    operation.name = th_str_of(options->operation);
    operation.data = th_str_of(input);
    th_entity_run(app, log, NULL, &episode, &arena, &out);
    if (!out.failure)
        return show(options, &out);
    fprintf(stderr, "taskhub invoke: %.*s\n", TH_PRI(out.failure->message));
    return CLI_NOT_FOUND;
}

int cli_invoke_entity(const struct cli_options *options, const struct th_app *app,
                      const struct th_log *log, const char *input, const char *state)
{
    TH_ARENA arena = {0};
    struct th_error error = {.code = TH_OK};
    struct th_str id;
    if (!options->operation || !*options->operation) {
        fprintf(stderr, "taskhub invoke: say which --operation of the entity\n");
        return CLI_USAGE;
    }
    if (!th_entity_id_of(&arena, options->arguments[1], &id, &error)) {
        fprintf(stderr, "taskhub invoke: %s\n", error.message);
        return CLI_USAGE;
    }
    return run(options, app, log, id, input, state);
}
