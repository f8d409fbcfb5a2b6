/*
 * replay_always: finds code that does not decide alike every time, on the day it is written and
 * not on the day a process restarts. Every episode is run a second time from its start, by a
 * context that is thrown away, and must ask for the same things. The history for that is kept in
 * the context, made of what was fed and what was asked for.
 */
#include "base/memory.h"
#include "sdk/actions.h"
#include "sdk/context.h"

static void see(struct th_context *ctx, const struct th_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        th_events_add(&ctx->seen, th_event_copy(&ctx->seen_arena, &events[i]));
    }
}

/* What the engine writes for an action. */
static void see_action(struct th_context *ctx, const struct th_action *a)
{
    static const enum th_event_kind kinds[] = {
        [TH_ACTION_SCHEDULE_TASK] = TH_EVENT_TASK_SCHEDULED,
        [TH_ACTION_CREATE_CHILD] = TH_EVENT_CHILD_CREATED,
        [TH_ACTION_CREATE_TIMER] = TH_EVENT_TIMER_CREATED,
        [TH_ACTION_SEND_EVENT] = TH_EVENT_EVENT_SENT,
        [TH_ACTION_COMPLETE] = TH_EVENT_EXECUTION_COMPLETED,
    };
    if (a->entity) {
        struct th_event request = *a->entity;
        request.id = a->id;
        see(ctx, &request, 1);
        return;
    }
    struct th_event e = th_event_of(kinds[a->kind], ctx->now);
    e.id = a->id;
    e.name = a->name;
    e.instance_id = a->instance_id;
    e.fire_at = a->fire_at;
    e.status = a->status;
    see(ctx, &e, 1);
}

static bool same_failure(const struct th_failure *a, const struct th_failure *b)
{
    return !a || !b ? a == b : th_str_eq(a->type, b->type) && th_str_eq(a->message, b->message);
}

static const char *difference_of_requests(const struct th_event *a, const struct th_event *b)
{
    if (!a || !b || a->kind != b->kind) {
        return "kind";
    }
    if (!th_section_same(a->lock_set, b->lock_set)) {
        return "set";
    }
    return a->fire_at != b->fire_at ? "time" : NULL;
}

static const char *difference(const struct th_action *a, const struct th_action *b)
{
    if (a->kind != b->kind || a->id != b->id) {
        return "kind";
    }
    if (!th_str_eq(th_action_name(a), th_action_name(b))) {
        return "name";
    }
    if (!th_str_eq(th_action_data(a), th_action_data(b))) {
        return a->kind == TH_ACTION_COMPLETE ? "output" : "input";
    }
    if (!th_str_eq(th_action_target(a), th_action_target(b))) {
        return a->entity ? "entity" : "instance id";
    }
    if (a->entity || b->entity) {
        return difference_of_requests(a->entity, b->entity);
    }
    if (a->fire_at != b->fire_at) {
        return "time";
    }
    if (a->status != b->status || !same_failure(a->failure, b->failure)) {
        return "end";
    }
    return NULL;
}

static struct th_str words(const struct th_action *a, struct th_arena *arena)
{
    static const char *const nouns[] = {
        [TH_ACTION_SCHEDULE_TASK] = "activity", [TH_ACTION_CREATE_CHILD] = "sub-orchestration",
        [TH_ACTION_CREATE_TIMER] = "a timer",   [TH_ACTION_SEND_EVENT] = "sent event",
        [TH_ACTION_COMPLETE] = "the end",
    };
    struct th_str data = th_action_data(a);
    data.len = data.len < 60 ? data.len : 60;
    if (a->entity) {
        return th_arena_format(arena, "%.*s (%.*s)", TH_PRI(th_request_words(a->entity, arena)),
                               TH_PRI(data));
    }
    return th_arena_format(arena, "%s %.*s (%.*s)", nouns[a->kind], TH_PRI(a->name), TH_PRI(data));
}

static void compare(struct th_context *ctx, struct th_arena *arena, const struct th_actions *first,
                    const struct th_actions *second)
{
    size_t common = first->count < second->count ? first->count : second->count;
    for (size_t i = 0; i < common && !th_str_present(ctx->mismatch); i++) {
        const char *what = difference(&first->items[i], &second->items[i]);
        if (what) {
            th_context_mismatch(ctx,
                                "run again, the code decides otherwise: the %s differs: first "
                                "%.*s, then %.*s",
                                what, TH_PRI(words(&first->items[i], arena)),
                                TH_PRI(words(&second->items[i], arena)));
        }
    }
    if (first->count != second->count) {
        th_context_mismatch(ctx,
                            "run again, the code decides otherwise: first it asked for %zu things, "
                            "then for %zu",
                            first->count, second->count);
    } else if (!th_str_eq(first->custom_status, second->custom_status)) {
        th_context_mismatch(ctx, "run again, the code sets another custom status");
    }
}

void th_verify(struct th_context *ctx, const struct th_episode *episode, bool cold,
               struct th_arena *arena, struct th_actions *out)
{
    if (th_str_present(ctx->mismatch)) {
        return;
    }
    if (cold) {
        see(ctx, episode->past, episode->past_count);
    }
    struct th_episode again = *episode;
    again.past = ctx->seen.items;
    again.past_count = ctx->seen.count;
    struct th_actions second;
    struct th_context *twin = th_context_new(ctx->executor);
    twin->muted = true;
    th_replay(twin, &again, true, arena, &second);
    if (th_str_present(twin->mismatch)) {
        th_context_mismatch(ctx, "run again, the code decides otherwise: %.*s",
                            TH_PRI(twin->mismatch));
    } else {
        compare(ctx, arena, out, &second);
    }
    if (th_str_present(ctx->mismatch)) {
        th_replay_mismatch(ctx, arena, out);
    } else {
        see(ctx, episode->fresh, episode->fresh_count);
        for (size_t i = 0; i < out->count; i++) {
            see_action(ctx, &out->items[i]);
        }
        struct th_event completed = th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, ctx->now);
        see(ctx, &completed, 1);
    }
    th_executor_drop(twin);
}
