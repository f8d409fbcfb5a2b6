/*
 * foreign: orchestrators that are not written against taskhub.h. Some SDKs give the attempts of an
 * activity all the same number (contracts 2.2), so that a late result of one attempt looks like
 * that of the next. "same-number" calls the activity "work" as often as its input says, always as
 * number 0, and wants each result to be that of its own call. "transfer" is in bank.c. They are
 * functions of the events alone.
 */
#include "tests/sim/bank.h"

static const struct th_event *event_at(const struct th_episode *e, size_t n)
{
    if (n < e->past_count)
        return &e->past[n];
    n -= e->past_count;
    return n < e->fresh_count ? &e->fresh[n] : NULL;
}

static void call(struct th_actions *out, struct th_arena *arena, json_int_t n)
{
    struct th_action *action = th_actions_add(out, arena, TH_ACTION_SCHEDULE_TASK, 0);

    action->name = TH_STR("work");
    action->data = th_arena_format(arena, "{\"n\":%lld,\"step\":%lld}", (long long)n, (long long)n);
}

static void finish(struct th_actions *out, struct th_arena *arena, json_int_t n)
{
    struct th_action *action = th_actions_add(out, arena, TH_ACTION_COMPLETE, 1);

    action->status = TH_STATUS_COMPLETED;
    action->data = th_arena_format(arena, "%lld", (long long)n);
}

static void same_number(const struct th_episode *episode, struct th_arena *arena,
                        struct th_actions *out)
{
    const struct th_event *e;
    json_int_t times = 0, done = 0;
    bool wrong = false;

    for (size_t n = 0; (e = event_at(episode, n)); n++) {
        json_auto_t *data = json_loadb(e->data.data, e->data.len, JSON_DECODE_ANY, NULL);

        if (e->kind == TH_EVENT_EXECUTION_STARTED)
            times = json_integer_value(json_object_get(data, "times"));
        if (e->kind == TH_EVENT_TASK_COMPLETED)
            wrong |= json_integer_value(data) != work_result(done++);
    }
    if (wrong || done >= times)
        finish(out, arena, wrong ? -1 : done);
    else
        call(out, arena, done);
}

static struct th_str name_of(const struct th_episode *episode)
{
    const struct th_event *e;

    for (size_t n = 0; (e = event_at(episode, n)); n++)
        if (e->kind == TH_EVENT_EXECUTION_STARTED)
            return e->name;
    return TH_STR_ABSENT;
}

enum th_executor_result foreign_run(const struct th_episode *episode, struct th_arena *arena,
                                    struct th_actions *out)
{
    if (!episode->past_loaded && episode->past_count > 0)
        return TH_EXECUTOR_NEEDS_HISTORY;
    if (th_str_eq(name_of(episode), TH_STR("transfer")))
        bank_transfer(episode, arena, out);
    else
        same_number(episode, arena, out);
    return TH_EXECUTOR_DONE;
}

bool foreign_is(const struct th_episode *episode)
{
    return foreign_name(name_of(episode));
}

bool foreign_name(struct th_str name)
{
    return th_str_eq(name, TH_STR("same-number")) || th_str_eq(name, TH_STR("transfer"));
}
