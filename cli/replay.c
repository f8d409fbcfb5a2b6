/*
 * `taskhub replay`: a recorded history is cut into its episodes, as it was written: the events
 * shown to the orchestrator, then those it produced, then OrchestratorCompleted. Each episode is
 * given to the executor again; what it asks for now must be what it asked for then.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "cli/run.h"
#include "model/json.h"
#include "sdk/actions.h"
#include "sdk/application.h"
#include "sdk/executor.h"

struct replay {
    const struct cli_options *options;
    const char *file;
    struct th_executor *executor;
    struct th_arena arena;  /* the history */
    struct th_arena answer; /* one episode's actions */
    struct th_events history;
    struct th_str instance_id, execution_id, name;
    size_t episodes;
    char trouble[1024]; /* the first mismatch */
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_file(struct replay *r, struct th_buffer *text)
{
    char piece[65536];
    size_t n;
    FILE *in = fopen(r->file, "re");
    if (!in) {
        fprintf(stderr, "taskhub replay: cannot read %s: %s\n", r->file, strerror(errno));
        return false;
    }
    while ((n = fread(piece, 1, sizeof piece, in)) > 0)
        th_buffer_add(text, piece, n);
    fclose(in);
    return true;
}

/* Who it was: from the start's event. */
static bool identify(struct replay *r)
{
    for (size_t i = 0; i < r->history.count; i++) {
        const struct th_event *event = &r->history.items[i];
        if (event->kind != TH_EVENT_EXECUTION_STARTED)
            continue;
        r->name = event->name;
        r->instance_id = event->instance_id.len ? event->instance_id : TH_STR("replay");
        r->execution_id = event->execution_id.len ? event->execution_id : TH_STR("replay");
        return true;
    }
    fprintf(stderr, "taskhub replay: %s holds no ExecutionStarted event\n", r->file);
    return false;
}

static bool load(struct replay *r)
{
    struct th_error error = {.code = TH_OK};
    TH_BUFFER text = {NULL, 0, 0};
    if (!read_file(r, &text))
        return false;
    struct th_str owned = th_arena_str(&r->arena, th_buffer_view(&text));
    if (!th_history_from_json(owned, &r->arena, &r->history, &error)) {
        fprintf(stderr, "taskhub replay: %s: %s\n", r->file, error.message);
        return false;
    }
    return identify(r);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool is_produced(enum th_event_kind kind)
{
    switch (kind) {
    case TH_EVENT_TASK_SCHEDULED:
    case TH_EVENT_CHILD_CREATED:
    case TH_EVENT_TIMER_CREATED:
    case TH_EVENT_EVENT_SENT:
    case TH_EVENT_ENTITY_CALLED:
    case TH_EVENT_ENTITY_SIGNALED:
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
    case TH_EVENT_ENTITY_UNLOCK_SENT:
    case TH_EVENT_EXECUTION_COMPLETED:
    case TH_EVENT_EXECUTION_FAILED:
    case TH_EVENT_CONTINUE_AS_NEW:
        return true;
    default:
        return false;
    }
}

static const char *kind_of(const struct th_action *action)
{
    switch (action->kind) {
    case TH_ACTION_SCHEDULE_TASK:
        return "TaskScheduled";
    case TH_ACTION_CREATE_CHILD:
        return "SubOrchestrationInstanceCreated";
    case TH_ACTION_CREATE_TIMER:
        return "TimerCreated";
    case TH_ACTION_SEND_EVENT:
        return "EventSent";
    case TH_ACTION_ENTITY:
        return th_event_kind_text(action->entity->kind);
    case TH_ACTION_COMPLETE:
        return action->status == TH_STATUS_CONTINUED_AS_NEW ? "ContinueAsNew"
                                                            : "ExecutionCompleted";
    default:
        return "another action";
    }
}

static void describe(const char *kind, struct th_str name, const struct th_event *request,
                     int32_t id, char out[static 320])
{
    struct th_str entity = request ? request->instance_id : TH_STR_ABSENT;
    snprintf(out, 320, "%s%s%.*s%s%s%.*s%s (id %d)", kind, name.len ? " \"" : "", TH_PRI(name),
             name.len ? "\"" : "", entity.len ? " for entity \"" : "", TH_PRI(entity),
             entity.len ? "\"" : "", id);
}

static void describe_action(const struct th_action *action, char out[static 320])
{
    if (action->kind == TH_ACTION_COMPLETE)
        snprintf(out, 320, "%s (%s)", kind_of(action), th_status_text(action->status));
    else
        describe(kind_of(action), th_action_name(action), action->entity, action->id, out);
}

static void describe_event(const struct th_event *event, char out[static 320])
{
    const char *kind = th_event_kind_text(event->kind);
    if (event->kind == TH_EVENT_EXECUTION_COMPLETED)
        snprintf(out, 320, "%s (%s)", kind, th_status_text(event->status));
    else
        describe(kind, event->name, th_event_is_entity_request(event->kind) ? event : NULL,
                 event->id, out);
}

static bool same_request(const struct th_event *event, const struct th_action *action)
{
    const struct th_event *request = action->entity;
    bool same = action->kind == TH_ACTION_ENTITY && event->id == action->id &&
                event->kind == request->kind &&
                th_str_eq(event->instance_id, request->instance_id) &&
                th_str_eq_nocase(event->name, request->name) &&
                event->lock_set.count == request->lock_set.count;
    for (size_t i = 0; same && i < event->lock_set.count; i++)
        same = th_str_eq(event->lock_set.items[i], request->lock_set.items[i]);
    return same;
}

static bool same_call(const struct th_event *event, const struct th_action *action)
{
    return event->id == action->id && th_str_eq_nocase(event->name, action->name);
}

static bool same(const struct th_event *event, const struct th_action *action)
{
    switch (event->kind) {
    case TH_EVENT_TASK_SCHEDULED:
        return action->kind == TH_ACTION_SCHEDULE_TASK && same_call(event, action);
    case TH_EVENT_CHILD_CREATED:
        return action->kind == TH_ACTION_CREATE_CHILD && same_call(event, action);
    case TH_EVENT_TIMER_CREATED:
        return action->kind == TH_ACTION_CREATE_TIMER && event->id == action->id &&
               event->fire_at == action->fire_at;
    case TH_EVENT_EVENT_SENT:
        return action->kind == TH_ACTION_SEND_EVENT && same_call(event, action) &&
               th_str_eq(event->instance_id, action->instance_id);
    case TH_EVENT_ENTITY_CALLED:
    case TH_EVENT_ENTITY_SIGNALED:
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        return same_request(event, action);
    case TH_EVENT_EXECUTION_COMPLETED:
        return action->kind == TH_ACTION_COMPLETE && event->status == action->status;
    case TH_EVENT_EXECUTION_FAILED:
        return action->kind == TH_ACTION_COMPLETE && action->status == TH_STATUS_FAILED;
    case TH_EVENT_CONTINUE_AS_NEW:
        return action->kind == TH_ACTION_COMPLETE && action->status == TH_STATUS_CONTINUED_AS_NEW;
    default:
        return false;
    }
}

static bool mismatch(struct replay *r, size_t at, const struct th_event *event,
                     const struct th_action *action)
{
    char then[320] = "nothing more";
    char now[320] = "nothing";
    if (event)
        describe_event(event, then);
    if (action)
        describe_action(action, now);
    snprintf(r->trouble, sizeof r->trouble,
             "event %zu: the history has %s, but the code now asks for %s", at, then, now);
    return false;
}

/* The executor saw it by itself: its sentence is the better one. */
static const struct th_failure *non_determinism(const struct th_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        const struct th_failure *failure = actions->items[i].failure;
        if (failure && th_str_eq(failure->type, TH_STR("NonDeterminism")))
            return failure;
    }
    return NULL;
}

static bool compare(struct replay *r, size_t at, size_t end, const struct th_actions *actions)
{
    const struct th_failure *failure = non_determinism(actions);
    if (failure) {
        snprintf(r->trouble, sizeof r->trouble, "%.*s", TH_PRI(failure->message));
        return false;
    }
    size_t next = 0;
    for (; at < end; at++) {
        const struct th_event *event = &r->history.items[at];
        if (!is_produced(event->kind))
            continue;
        const struct th_action *action = next < actions->count ? &actions->items[next] : NULL;
        if (!action || !same(event, action))
            return mismatch(r, at, event, action);
        next++;
    }
    return next == actions->count || mismatch(r, end, NULL, &actions->items[next]);
}

/* ---- episodes -------------------------------------------------------------------------------- */

static bool is_decided_by_hub(const struct th_event *event)
{
    return event->kind == TH_EVENT_EXECUTION_TERMINATED;
}

/* events[from..produced) were shown, events[produced..end) were the answer. */
static bool run_episode(struct replay *r, size_t from, size_t produced, size_t end)
{
    struct th_episode episode = {
        .instance_id = r->instance_id,
        .execution_id = r->execution_id,
        .past_loaded = true,
        .past = r->history.items,
        .past_count = from,
        .fresh = r->history.items + from,
        .fresh_count = produced - from,
    };
    for (size_t i = from; i < produced; i++)
        if (is_decided_by_hub(&r->history.items[i]))
            return true;
    struct th_actions actions = {.items = NULL};
    th_arena_reset(&r->answer);
    th_executor_run(r->executor, &episode, &r->answer, &actions);
    r->episodes++;
    return compare(r, produced, end, &actions);
}

static bool run_all(struct replay *r)
{
    size_t count = r->history.count;
    for (size_t from = 0; from < count;) {
        size_t produced = from;
        while (produced < count && !is_produced(r->history.items[produced].kind) &&
               r->history.items[produced].kind != TH_EVENT_ORCHESTRATOR_COMPLETED)
            produced++;
        size_t end = produced;
        while (end < count && r->history.items[end].kind != TH_EVENT_ORCHESTRATOR_COMPLETED)
            end++;
        end += end < count;
        if (!run_episode(r, from, produced, end))
            return false;
        from = end;
    }
    return true;
}

/* ---- the command ----------------------------------------------------------------------------- */

static void report(const struct replay *r, bool same_steps)
{
    if (r->options->json) {
        json_t *line =
            json_pack("{s:s, s:s%, s:b, s:I, s:s?}", "file", r->file, "orchestrator", r->name.data,
                      r->name.len, "matches", same_steps, "episodes", (json_int_t)r->episodes,
                      "mismatch", same_steps ? NULL : r->trouble);
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(line);
    } else if (same_steps) {
        printf("%s: %.*s: %zu episodes, the same steps\n", r->file, TH_PRI(r->name), r->episodes);
    } else {
        printf("%s: %.*s: %s\n", r->file, TH_PRI(r->name), r->trouble);
    }
}

static int replay_file(const struct cli_options *options, const struct th_app *app,
                       const struct th_log *log, const char *file)
{
    struct th_executor_options executor = {.app = app, .log = log, .max_warm = 1};
    struct replay r = {.options = options, .file = file};
    int code = CLI_ERROR;
    r.executor = th_executor_new(&executor);
    if (load(&r)) {
        bool same_steps = run_all(&r);
        report(&r, same_steps);
        code = same_steps ? CLI_OK : CLI_ERROR;
    }
    th_executor_free(r.executor);
    th_events_deinit(&r.history);
    th_arena_deinit(&r.arena);
    th_arena_deinit(&r.answer);
    return code;
}

int cli_replay(const struct cli_options *options)
{
    struct th_error error = {.code = TH_OK};
    struct th_log log = {.level = TH_LOG_WARN, .fd = STDERR_FILENO};
    if (options->log_level && !th_level_parse(th_str_of(options->log_level), &log.level)) {
        fprintf(stderr, "taskhub replay: --log-level is error, warn, info or debug\n");
        return CLI_USAGE;
    }
    struct th_app *app = th_app_load(options->arguments[0], &error);
    if (!app) {
        fprintf(stderr, "taskhub replay: %s\n", error.message);
        return CLI_ERROR;
    }
    int code = CLI_OK;
    for (int i = 1; i < options->argument_count; i++)
        if (replay_file(options, app, &log, options->arguments[i]) != CLI_OK)
            code = CLI_ERROR;
    th_app_free(app);
    return code;
}
