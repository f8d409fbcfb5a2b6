/*
 * Feeds events to the code, one by one, and hands out what it asked for. Positions in messages
 * count a history's events from 0, as its JSON form does.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "sdk/application.h"
#include "sdk/context.h"

/* ---- what the history knows ----------------------------------------------------------------- */

/* Whether the code asked for this event, under the event's id. */
static bool asked_for(enum th_event_kind kind)
{
    return kind == TH_EVENT_TASK_SCHEDULED || kind == TH_EVENT_CHILD_CREATED ||
           kind == TH_EVENT_TIMER_CREATED || kind == TH_EVENT_EVENT_SENT ||
           th_event_is_entity_request(kind);
}

static void collect(struct th_turn *turn, const struct th_event *events, size_t count, size_t base)
{
    for (size_t i = 0; i < count; i++) {
        if (asked_for(events[i].kind)) {
            turn->known[turn->known_count++] = (struct known){&events[i], base + i};
        }
    }
}

static int by_id(const void *a, const void *b)
{
    const struct known *x = a;
    const struct known *y = b;
    if (x->event->id != y->event->id) {
        return x->event->id < y->event->id ? -1 : 1;
    }
    return x->position < y->position ? -1 : x->position > y->position;
}

static bool ascending(const struct th_turn *turn)
{
    for (size_t i = 1; i < turn->known_count; i++) {
        if (turn->known[i - 1].event->id >= turn->known[i].event->id) {
            return false;
        }
    }
    return true;
}

static size_t count_asked(const struct th_event *events, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += asked_for(events[i].kind);
    }
    return n;
}

/*
 * A rewind removes failures and what led to them from the middle of a history, so what the code
 * asks for there is not in it. Such a history shows it: it holds ExecutionRewound, or a turn that
 * began with no news.
 */
static bool was_rewound(const struct th_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum th_event_kind next = i + 1 < count ? events[i + 1].kind : TH_EVENT_GENERIC;
        if (events[i].kind == TH_EVENT_EXECUTION_REWOUND) {
            return true;
        }
        if (events[i].kind == TH_EVENT_ORCHESTRATOR_STARTED &&
            (asked_for(next) || next == TH_EVENT_GENERIC || next == TH_EVENT_ORCHESTRATOR_STARTED ||
             next == TH_EVENT_ORCHESTRATOR_COMPLETED || next == TH_EVENT_EXECUTION_COMPLETED)) {
            return true;
        }
    }
    return false;
}

static void look_ahead(struct th_turn *turn, const struct th_episode *e, bool cold)
{
    size_t past = cold ? e->past_count : 0;
    size_t n = count_asked(e->past, past) + count_asked(e->fresh, e->fresh_count);
    turn->known = TH_ARENA_ARRAY(turn->arena, struct known, n + 1);
    collect(turn, e->past, past, 0);
    collect(turn, e->fresh, e->fresh_count, e->past_count);
    if (!ascending(turn)) {
        qsort(turn->known, turn->known_count, sizeof(*turn->known), by_id);
    }
    turn->rewound = cold && (was_rewound(e->past, past) || was_rewound(e->fresh, e->fresh_count));
}

/* ---- the code ------------------------------------------------------------------------------- */

static void run_code(void *argument)
{
    struct th_context *ctx = argument;
    ctx->returned = ctx->function(ctx);
    ctx->ended = true;
}

static void function_not_found(struct th_context *ctx)
{
    TH_AUTOFREE char *names = th_app_orchestrator_names(th_executor_config(ctx->executor)->app);
    th_fail_with(ctx, "FunctionNotFound",
                 "orchestrator \"%s\" is not registered; this application has: %s", th_name(ctx),
                 *names ? names : "none");
    ctx->ended = true;
    ctx->returned = TH_FAILED;
}

static void start(struct th_context *ctx, const struct th_event *event,
                  const struct th_episode *episode)
{
    if (ctx->identity) {
        return;
    }
    th_context_identify(ctx, event, episode);
    ctx->function = th_app_orchestrator(th_executor_config(ctx->executor)->app, ctx->name);
    if (!ctx->function) {
        function_not_found(ctx);
        return;
    }
    ctx->coroutine = th_executor_coroutine(ctx, run_code);
    th_context_resume(ctx);
}

/* Lets the code go on if what it waits for is there. */
static void go_on(struct th_context *ctx)
{
    if (ctx->coroutine && ctx->awaited && th_done(ctx->awaited)) {
        th_context_resume(ctx);
    }
}

/* ---- the end -------------------------------------------------------------------------------- */

static enum th_status end_status(const struct th_context *ctx)
{
    if (ctx->returned || ctx->outcome == OUTCOME_FAILED) {
        return TH_STATUS_FAILED;
    }
    return ctx->outcome == OUTCOME_CONTINUED ? TH_STATUS_CONTINUED_AS_NEW : TH_STATUS_COMPLETED;
}

static const struct th_failure *end_failure(struct th_context *ctx)
{
    if (ctx->outcome == OUTCOME_FAILED) {
        return ctx->outcome_failure;
    }
    if (ctx->last_failure) {
        return ctx->last_failure;
    }
    return th_context_failure(ctx, "OrchestratorFailed",
                              "orchestrator \"%s\" returned %d without saying why", th_name(ctx),
                              ctx->returned);
}

static void carry_over(struct th_context *ctx, struct th_action *end)
{
    struct th_arena *arena = ctx->turn->arena;
    size_t count = 0;
    for (struct inbox_event *e = ctx->inbox; e; e = e->next) {
        count++;
    }
    struct th_event *events = TH_ARENA_ARRAY(arena, struct th_event, count);
    size_t i = 0;
    for (struct inbox_event *e = ctx->inbox; e; e = e->next, i++) {
        events[i] = th_event_of(TH_EVENT_EVENT_RAISED, e->timestamp);
        events[i].name = th_arena_str(arena, e->name);
        events[i].data = th_arena_str(arena, e->data);
    }
    end->carryover = events;
    end->carryover_count = count;
}

static int32_t unused_id(const struct th_context *ctx)
{
    const struct th_turn *turn = ctx->turn;
    int32_t last = turn->known_count ? turn->known[turn->known_count - 1].event->id : -1;
    return last >= ctx->next_id && last < INT32_MAX ? last + 1 : ctx->next_id;
}

static void add_end(struct th_context *ctx)
{
    struct th_action end = {.kind = TH_ACTION_COMPLETE,
                            .id = unused_id(ctx),
                            .fire_at = TH_TIME_NONE,
                            .status = end_status(ctx)};
    if (end.status == TH_STATUS_FAILED) {
        end.failure = end_failure(ctx);
    } else {
        end.data = ctx->output;
    }
    struct th_action *added = th_turn_add(ctx->turn, &end);
    if (end.status == TH_STATUS_CONTINUED_AS_NEW && ctx->keep_events) {
        carry_over(ctx, added);
    }
}

/* Nothing the code asked for in this episode may happen: it is not what the history was made by. */
static void add_mismatch(struct th_context *ctx)
{
    const struct th_failure failure = {
        .type = TH_STR("NonDeterminism"),
        .message = ctx->mismatch,
        .non_retriable = true,
    };
    struct th_action end = {.kind = TH_ACTION_COMPLETE,
                            .id = unused_id(ctx),
                            .fire_at = TH_TIME_NONE,
                            .status = TH_STATUS_FAILED,
                            .failure = &failure};
    *ctx->turn->out = (struct th_actions){0};
    th_turn_add(ctx->turn, &end);
}

/* ---- events --------------------------------------------------------------------------------- */

static struct th_str doing(struct th_context *ctx)
{
    struct th_arena *arena = ctx->turn->arena;
    if (ctx->ended) {
        return TH_STR("has ended");
    }
    if (!ctx->awaited) {
        return TH_STR("has not started");
    }
    return th_arena_format(arena, "waits for %.*s", TH_PRI(th_task_words(ctx->awaited, arena)));
}

/* The history says the code asked for this; it must have by now. */
static void check_asked(struct th_context *ctx, const struct th_event *event)
{
    if (event->id >= ctx->next_id) {
        th_context_mismatch(ctx,
                            "event %zu of the history is %s%s%.*s%s (id %d), but the code did not "
                            "ask for it and %.*s; the code was changed while this instance was "
                            "running, or does not decide alike every time",
                            ctx->turn->position, th_event_kind_text(event->kind),
                            event->name.data ? " \"" : "", TH_PRI(event->name),
                            event->name.data ? "\"" : "", event->id, TH_PRI(doing(ctx)));
    }
}

static struct th_str extra_words(const struct th_action *extra, struct th_arena *arena)
{
    if (extra->entity) {
        return th_request_words(extra->entity, arena);
    }
    if (extra->name.data) {
        return th_arena_format(arena, "\"%.*s\"", TH_PRI(extra->name));
    }
    return TH_STR("a timer");
}

/* Between two turns of the past: all that was asked for in the first stands in the history. */
static void check_turn(struct th_context *ctx)
{
    const struct th_turn *turn = ctx->turn;
    if (turn->rewound || !ctx->identity) {
        return;
    }
    if (turn->out->count) {
        const struct th_action *extra = &turn->out->items[0];
        th_context_mismatch(ctx,
                            "before event %zu of the history the code asked for %.*s (id %d), "
                            "which the history does not have; the code was changed while this "
                            "instance was running, or does not decide alike every time",
                            turn->position, TH_PRI(extra_words(extra, turn->arena)), extra->id);
    } else if (ctx->ended && !ctx->confirmed) {
        th_context_mismatch(ctx,
                            "the code ended before event %zu of the history, which goes on; the "
                            "code was changed while this instance was running, or does not decide "
                            "alike every time",
                            turn->position);
    }
}

static void check_end(struct th_context *ctx, const struct th_event *event)
{
    enum th_status status =
        event->kind == TH_EVENT_CONTINUE_AS_NEW ? TH_STATUS_CONTINUED_AS_NEW : event->status;
    if (!ctx->ended || status != end_status(ctx)) {
        if (ctx->turn->rewound) {
            return;
        }
        th_context_mismatch(
            ctx, "event %zu of the history is the end as %s, but the code %.*s",
            ctx->turn->position, th_status_text(status),
            TH_PRI(ctx->ended ? th_str_of(th_status_text(end_status(ctx))) : doing(ctx)));
    }
    ctx->confirmed = true;
}

static bool answers(enum th_event_kind kind, const struct th_task *task)
{
    bool timer = task->kind == TASK_TIMER || (task->retry && task->retry->backing_off);
    switch (kind) {
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
        return task->kind == TASK_ACTIVITY && !timer;
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
        return task->kind == TASK_CHILD && !timer;
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
        return task->kind == TASK_ENTITY;
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        return task->kind == TASK_LOCK;
    default:
        return timer;
    }
}

static void answer(struct th_context *ctx, const struct th_event *event)
{
    static const struct th_failure unknown = {
        .type = {"Unknown", 7},
        .message = {"it failed without saying why", 28},
    };
    struct th_task *task = th_task_pending(ctx, event->related_id);
    th_section_answered(ctx, event->related_id);
    if (ctx->ended || !task || !answers(event->kind, task)) {
        return;
    }
    bool failed = event->kind == TH_EVENT_TASK_FAILED || event->kind == TH_EVENT_CHILD_FAILED ||
                  event->kind == TH_EVENT_ENTITY_FAILED;
    const struct th_failure *why = event->failure ? event->failure : &unknown;
    th_task_answer(task, event->data, failed ? why : NULL);
}

static void apply(struct th_context *ctx, const struct th_event *event,
                  const struct th_episode *episode)
{
    switch (event->kind) {
    case TH_EVENT_ORCHESTRATOR_STARTED:
        ctx->now = event->timestamp;
        break;
    case TH_EVENT_EXECUTION_STARTED:
        start(ctx, event, episode);
        break;
    case TH_EVENT_TASK_SCHEDULED:
    case TH_EVENT_CHILD_CREATED:
    case TH_EVENT_TIMER_CREATED:
    case TH_EVENT_EVENT_SENT:
    case TH_EVENT_ENTITY_CALLED:
    case TH_EVENT_ENTITY_SIGNALED:
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        check_asked(ctx, event);
        break;
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
    case TH_EVENT_TIMER_FIRED:
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        answer(ctx, event);
        break;
    case TH_EVENT_EVENT_RAISED:
        th_task_raise(ctx, event);
        break;
    case TH_EVENT_EXECUTION_COMPLETED:
    case TH_EVENT_CONTINUE_AS_NEW:
        check_end(ctx, event);
        break;
    default:
        break; /* the engine's business */
    }
    go_on(ctx);
}

static bool ends_turn(const struct th_event *event)
{
    return event->kind == TH_EVENT_ORCHESTRATOR_STARTED ||
           event->kind == TH_EVENT_ORCHESTRATOR_COMPLETED;
}

/* A function that is not there can neither agree nor disagree. */
static bool hopeless(const struct th_context *ctx)
{
    return th_str_present(ctx->mismatch) || (ctx->identity && !ctx->function);
}

static void feed(struct th_context *ctx, const struct th_event *events, size_t count,
                 const struct th_episode *episode)
{
    struct th_turn *turn = ctx->turn;
    for (size_t i = 0; i < count && !hopeless(ctx); i++, turn->position++) {
        if (turn->replaying && ends_turn(&events[i])) {
            check_turn(ctx);
        }
        if (!hopeless(ctx)) {
            apply(ctx, &events[i], episode);
        }
    }
}

bool th_context_over(const struct th_context *ctx)
{
    return !ctx->coroutine || th_str_present(ctx->mismatch);
}

static void conclude(struct th_context *ctx)
{
    if (th_str_present(ctx->mismatch)) {
        add_mismatch(ctx);
    } else if (!ctx->identity) {
        th_context_mismatch(ctx, "the history has no ExecutionStarted");
        add_mismatch(ctx);
    } else if (ctx->ended && !ctx->confirmed) {
        add_end(ctx);
    }
}

void th_replay(struct th_context *ctx, const struct th_episode *episode, bool cold,
               struct th_arena *arena, struct th_actions *out)
{
    struct th_turn turn = {.arena = arena, .out = out, .replaying = cold};
    *out = (struct th_actions){0};
    look_ahead(&turn, episode, cold);
    ctx->turn = &turn;
    if (cold) {
        feed(ctx, episode->past, episode->past_count, episode);
        if (episode->past_count && episode->fresh_count && !hopeless(ctx)) {
            check_turn(ctx);
        }
    }
    turn.replaying = false;
    turn.position = episode->past_count;
    feed(ctx, episode->fresh, episode->fresh_count, episode);
    conclude(ctx);
    ctx->turn = NULL;
}

void th_replay_mismatch(struct th_context *ctx, struct th_arena *arena, struct th_actions *out)
{
    struct th_turn turn = {.arena = arena, .out = out};
    ctx->turn = &turn;
    add_mismatch(ctx);
    ctx->turn = NULL;
}
