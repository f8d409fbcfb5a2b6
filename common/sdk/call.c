/*
 * What the code asks for, one thing at a time, and the calls that ask and wait in one.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "sdk/actions.h"
#include "sdk/context.h"
#include "sdk/payload.h"

/* ---- actions -------------------------------------------------------------------------------- */

struct th_action *th_turn_add(struct th_turn *turn, const struct th_action *wanted)
{
    return th_actions_put(turn->out, turn->arena, wanted);
}

/* ---- does the history agree? ---------------------------------------------------------------- */

static const struct known *known_as(struct th_turn *turn, int32_t id)
{
    while (turn->known_at < turn->known_count && turn->known[turn->known_at].event->id < id) {
        turn->known_at++;
    }
    const struct known *k = &turn->known[turn->known_at];
    return turn->known_at < turn->known_count && k->event->id == id ? k : NULL;
}

static bool same_kind(enum th_event_kind event, const struct th_action *action)
{
    switch (action->kind) {
    case TH_ACTION_SCHEDULE_TASK:
        return event == TH_EVENT_TASK_SCHEDULED;
    case TH_ACTION_CREATE_CHILD:
        return event == TH_EVENT_CHILD_CREATED;
    case TH_ACTION_CREATE_TIMER:
        return event == TH_EVENT_TIMER_CREATED;
    case TH_ACTION_SEND_EVENT:
        return event == TH_EVENT_EVENT_SENT;
    case TH_ACTION_ENTITY:
        return event == action->entity->kind;
    default:
        return false;
    }
}

/* Inputs and times may change between versions of the code; what is done, and to whom, may not.
 * A rewind changes the execution id, and with it ids that the code derives. */
static bool agrees(const struct th_turn *turn, const struct th_event *e, const struct th_action *a)
{
    if (!same_kind(e->kind, a)) {
        return false;
    }
    if (a->kind != TH_ACTION_CREATE_TIMER && !th_str_eq_nocase(e->name, th_action_name(a))) {
        return false;
    }
    struct th_str target = th_action_target(a);
    return turn->rewound || ((!th_str_present(target) || th_str_eq(e->instance_id, target)) &&
                             (!a->entity || th_section_same(e->lock_set, a->entity->lock_set)));
}

static struct th_str action_words(const struct th_action *a, struct th_arena *arena)
{
    struct th_str id = a->instance_id;
    switch (a->kind) {
    case TH_ACTION_SCHEDULE_TASK:
        return th_arena_format(arena, "called activity \"%.*s\"", TH_PRI(a->name));
    case TH_ACTION_CREATE_CHILD:
        return th_arena_format(arena, "called sub-orchestration \"%.*s\"%s%.*s%s", TH_PRI(a->name),
                               id.data ? " as \"" : "", TH_PRI(id), id.data ? "\"" : "");
    case TH_ACTION_SEND_EVENT:
        return th_arena_format(arena, "sent event \"%.*s\" to \"%.*s\"", TH_PRI(a->name),
                               TH_PRI(id));
    case TH_ACTION_ENTITY:
        return th_arena_format(arena, "asked for %.*s", TH_PRI(th_request_words(a->entity, arena)));
    default:
        return TH_STR("started a timer");
    }
}

static struct th_str target_words(const struct th_event *e, struct th_arena *arena)
{
    switch (e->kind) {
    case TH_EVENT_CHILD_CREATED:
    case TH_EVENT_EVENT_SENT:
        return th_arena_format(arena, " for instance \"%.*s\"", TH_PRI(e->instance_id));
    case TH_EVENT_ENTITY_CALLED:
    case TH_EVENT_ENTITY_SIGNALED:
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        return th_arena_format(arena, " for entity \"%.*s\"", TH_PRI(e->instance_id));
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        return th_arena_format(arena, " over %.*s", TH_PRI(th_section_words(e->lock_set, arena)));
    default:
        return TH_STR("");
    }
}

static void disagree(struct th_context *ctx, const struct known *k, const struct th_action *a)
{
    const struct th_event *e = k->event;
    struct th_arena *arena = ctx->turn->arena;
    struct th_str whom = target_words(e, arena);
    th_context_mismatch(ctx,
                        "event %zu of the history is %s%s%.*s%s%.*s, but the code %.*s (id %d); "
                        "the code was changed while this instance was running, or does not decide "
                        "alike every time",
                        k->position, th_event_kind_text(e->kind), e->name.data ? " \"" : "",
                        TH_PRI(e->name), e->name.data ? "\"" : "", TH_PRI(whom),
                        TH_PRI(action_words(a, arena)), e->id);
}

int32_t th_issue(struct th_context *ctx, const struct th_action *wanted)
{
    int32_t id = ctx->next_id++;
    const struct known *k = known_as(ctx->turn, id);
    if (!k) {
        th_turn_add(ctx->turn, wanted)->id = id;
    } else if (!agrees(ctx->turn, k->event, wanted)) {
        disagree(ctx, k, wanted);
    }
    return id;
}

int32_t th_issue_call(struct th_context *ctx, const struct call *call, int32_t step)
{
    struct th_action wanted = {.kind = call->kind,
                               .fire_at = TH_TIME_NONE,
                               .name = call->name,
                               .version = call->version,
                               .instance_id = call->instance_id,
                               .data = call->data,
                               .tags = call->tags};
    if (step >= 0 && call->kind == TH_ACTION_SCHEDULE_TASK) {
        struct th_arena *arena = ctx->turn->arena;
        struct th_tag *tags = TH_ARENA_ARRAY(arena, struct th_tag, call->tags.count + 1);
        memcpy(tags, call->tags.items, call->tags.count * sizeof(*tags));
        tags[call->tags.count] =
            (struct th_tag){TH_STR(TH_STEP_TAG), th_arena_format(arena, "%d", step)};
        wanted.tags = (struct th_tags){tags, call->tags.count + 1};
    }
    return th_issue(ctx, &wanted);
}

int32_t th_issue_timer(struct th_context *ctx, th_time when)
{
    struct th_action wanted = {.kind = TH_ACTION_CREATE_TIMER, .fire_at = when};
    return th_issue(ctx, &wanted);
}

void th_send_event(struct th_context *ctx, const char *instance_id, const char *name, json_t *data)
{
    struct th_str words = th_payload_print(data);
    if (!th_context_refuses(ctx)) {
        struct th_action wanted = {.kind = TH_ACTION_SEND_EVENT,
                                   .fire_at = TH_TIME_NONE,
                                   .instance_id = th_str_of(instance_id ? instance_id : ""),
                                   .name = th_str_of(name ? name : ""),
                                   .data = words};
        th_issue(ctx, &wanted);
    }
    free((char *)words.data);
    json_decref(data);
}

/* ---- waiting -------------------------------------------------------------------------------- */

bool th_await(struct th_context *ctx, struct th_task *task)
{
    if (th_context_refuses(ctx)) {
        return false;
    }
    if (!task || !ctx->inside) {
        th_context_failed(ctx, th_context_failure(ctx, "InvalidTask", "%s",
                                                  task ? "only an orchestrator can await"
                                                       : "there is no task to await"));
        return false;
    }
    if (!th_done(task)) {
        ctx->awaited = task;
        th_coroutine_suspend(ctx->coroutine);
        ctx->awaited = NULL;
        if (th_context_refuses(ctx)) {
            return false;
        }
    }
    if (!th_succeeded(task)) {
        th_context_failed(ctx, th_task_failure(task));
        return false;
    }
    ctx->call_failed = false;
    return true;
}

json_t *th_await_result(struct th_context *ctx, struct th_task *task)
{
    json_t *result = NULL;
    if (th_await(ctx, task)) {
        result = th_result(task);
        if (!result) {
            th_context_failed(ctx, th_context_failure(ctx, "InvalidResult",
                                                      "the result of %s is neither JSON nor text",
                                                      task->name ? task->name : "a task"));
        }
    }
    th_task_free(task);
    return result;
}

json_t *th_call(struct th_context *ctx, const char *activity, json_t *input)
{
    return th_call_with(ctx, activity, input, NULL);
}

json_t *th_call_with(struct th_context *ctx, const char *activity, json_t *input,
                     const struct th_options *options)
{
    return th_await_result(ctx, th_schedule(ctx, activity, input, options));
}

json_t *th_call_child(struct th_context *ctx, const char *orchestrator, json_t *input,
                      const struct th_options *options)
{
    return th_await_result(ctx, th_schedule_child(ctx, orchestrator, input, options));
}

int th_sleep(struct th_context *ctx, int64_t milliseconds)
{
    struct th_task *timer = th_timer_in(ctx, milliseconds);
    bool slept = th_await(ctx, timer);
    th_task_free(timer);
    return slept ? 0 : TH_FAILED;
}

static const struct th_failure timed_out = {
    .type = {"Timeout", 7},
    .message = {"the event did not come in time", 30},
};

/* Whether the event came first. */
static bool race(struct th_context *ctx, struct th_task *event, int64_t timeout_ms)
{
    struct th_task *timer = th_timer_in(ctx, timeout_ms);
    struct th_task *any = th_any(ctx, (struct th_task *const[]){event, timer}, 2);
    bool over = th_await(ctx, any);
    bool won = over && th_winner(any) == event;
    if (over && !won) {
        th_context_failed(ctx, &timed_out);
    }
    th_task_free(any);
    th_task_free(timer);
    return won;
}

json_t *th_wait_event(struct th_context *ctx, const char *name, int64_t timeout_ms)
{
    struct th_task *event = th_event_task(ctx, name);
    if (timeout_ms >= 0 && !th_done(event) && !race(ctx, event, timeout_ms)) {
        th_task_free(event);
        return NULL;
    }
    return th_await_result(ctx, event);
}
