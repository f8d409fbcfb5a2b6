/*
 * history: what every stored history looks like, whatever happened to the hub: episodes in
 * brackets, answers after what they answer, each once; and the code of the orchestrator agrees with
 * it: fed from its start, it asks for the same things again.
 */
#include "tests/sim/sim.h"

struct look {
    struct run *run;
    const struct fact *fact;
    const struct th_event *events;
    size_t count;
};

static void bad(const struct look *l, size_t at, const char *why)
{
    run_fail(l->run, "history of \"%s\", event %zu (%s): %s", l->fact->id, at,
             at < l->count ? th_event_kind_text(l->events[at].kind) : "the end", why);
}

static bool is_scheduled(enum th_event_kind kind)
{
    return kind == TH_EVENT_TASK_SCHEDULED || kind == TH_EVENT_CHILD_CREATED ||
           kind == TH_EVENT_TIMER_CREATED || kind == TH_EVENT_EVENT_SENT;
}

/* What an answer answers; the number of another kind: it is no answer. */
static enum th_event_kind asked_by(enum th_event_kind kind)
{
    switch (kind) {
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
        return TH_EVENT_TASK_SCHEDULED;
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
        return TH_EVENT_CHILD_CREATED;
    case TH_EVENT_TIMER_FIRED:
        return TH_EVENT_TIMER_CREATED;
    default:
        return kind;
    }
}

static void check_answer(const struct look *l, size_t at)
{
    const struct th_event *answer = &l->events[at];
    const enum th_event_kind asked = asked_by(answer->kind);
    bool found = false;

    for (size_t n = 0; n < at; n++) {
        const struct th_event *e = &l->events[n];

        if (e->kind == asked && e->id == answer->related_id) {
            found = true;
            if (asked == TH_EVENT_TIMER_CREATED && answer->timestamp < e->fire_at)
                bad(l, at, "it fired too early");
        } else if (asked_by(e->kind) == asked && e->kind != asked &&
                   e->related_id == answer->related_id) {
            bad(l, at, "a second answer");
        }
    }
    if (!found)
        bad(l, at, "it answers nothing that was asked");
}

static void check_scheduled(const struct look *l, size_t at)
{
    for (size_t n = 0; n < at; n++)
        if (is_scheduled(l->events[n].kind) && l->events[n].id == l->events[at].id)
            bad(l, at, "its id was used before");
}

static void check_brackets(const struct look *l)
{
    bool open = false;

    for (size_t n = 0; n < l->count; n++) {
        const enum th_event_kind kind = l->events[n].kind;

        if (kind == TH_EVENT_ORCHESTRATOR_STARTED ? open : !open)
            bad(l, n, "outside an episode");
        open = kind != TH_EVENT_ORCHESTRATOR_COMPLETED;
    }
    if (open && l->count > 0)
        bad(l, l->count, "its last episode is open");
}

static void check_end_event(const struct look *l)
{
    const bool ended = th_status_terminal(l->fact->info.status);
    size_t ends = 0;

    for (size_t n = 0; n < l->count; n++)
        ends += l->events[n].kind == TH_EVENT_EXECUTION_COMPLETED;
    if (ends != (ended ? 1u : 0u))
        bad(l, l->count, "its end does not agree with the status");
    if (ended && l->events[l->count - 2].kind != TH_EVENT_EXECUTION_COMPLETED)
        bad(l, l->count, "it goes on after the end");
}

void history_check(struct run *run, const struct fact *fact)
{
    const struct look l = {
        .run = run, .fact = fact, .events = fact->history.items, .count = fact->history.count};

    if (fact->info.event_count != l.count)
        bad(&l, l.count, "the instance counts another number of events");
    if (l.count == 0)
        return;
    check_brackets(&l);
    check_end_event(&l);
    for (size_t n = 0; n < l.count && !run->report->failed && !foreign_name(fact->info.name); n++) {
        if (is_scheduled(l.events[n].kind))
            check_scheduled(&l, n);
        if (asked_by(l.events[n].kind) != l.events[n].kind)
            check_answer(&l, n);
    }
}

/* ---- replay ---- */

static bool was_decided(const struct look *l)
{
    for (size_t n = 0; n < l->count; n++)
        if (l->events[n].kind == TH_EVENT_EXECUTION_TERMINATED)
            return true;
    return false;
}

static size_t fresh_end(const struct look *l, size_t at)
{
    while (at < l->count && !is_scheduled(l->events[at].kind) &&
           l->events[at].kind != TH_EVENT_EXECUTION_COMPLETED &&
           l->events[at].kind != TH_EVENT_ORCHESTRATOR_COMPLETED)
        at++;
    return at;
}

static bool same(const struct th_action *a, const struct th_event *e)
{
    static const enum th_event_kind kinds[] = {
        [TH_ACTION_SCHEDULE_TASK] = TH_EVENT_TASK_SCHEDULED,
        [TH_ACTION_CREATE_CHILD] = TH_EVENT_CHILD_CREATED,
        [TH_ACTION_CREATE_TIMER] = TH_EVENT_TIMER_CREATED,
        [TH_ACTION_SEND_EVENT] = TH_EVENT_EVENT_SENT,
        [TH_ACTION_COMPLETE] = TH_EVENT_EXECUTION_COMPLETED,
    };

    if (a->kind == TH_ACTION_COMPLETE)
        return e->kind == TH_EVENT_EXECUTION_COMPLETED && e->status == a->status &&
               th_str_eq(e->data, a->data);
    return e->kind == kinds[a->kind] && e->id == a->id && th_str_eq(e->name, a->name) &&
           th_str_eq(e->data, a->data) && e->fire_at == a->fire_at;
}

static void compare(const struct look *l, size_t at, const struct th_actions *actions)
{
    for (size_t n = 0; n < actions->count; n++, at++)
        if (at >= l->count || !same(&actions->items[n], &l->events[at])) {
            bad(l, at, "the code asks for something else at its replay");
            return;
        }
    if (l->events[at].kind != TH_EVENT_ORCHESTRATOR_COMPLETED)
        bad(l, at, "the code does not ask for it at its replay");
}

static void replay_episode(const struct look *l, struct th_executor *executor, size_t at)
{
    TH_ARENA arena = {0};
    struct th_actions actions = {0};
    const size_t end = fresh_end(l, at + 1);
    const struct th_episode episode = {.instance_id = th_str_of(l->fact->id),
                                       .execution_id = l->fact->info.execution_id,
                                       .past_loaded = true,
                                       .past = l->events,
                                       .past_count = at,
                                       .fresh = l->events + at,
                                       .fresh_count = end - at};

    th_executor_run(executor, &episode, &arena, &actions);
    compare(l, end, &actions);
}

/* A rewound history lost what its episodes had asked for: only its last one can be compared. */
#define MOST_REPLAYS 40

void history_replay(struct run *run, const struct fact *fact)
{
    const struct look l = {
        .run = run, .fact = fact, .events = fact->history.items, .count = fact->history.count};
    const struct th_executor_options options = {
        .app = run->app, .log = &run->log, .always_cold = true};
    struct th_executor *executor;
    size_t replays = 0;

    if (l.count == 0 || was_decided(&l) || foreign_name(fact->info.name))
        return;
    executor = th_executor_new(&options);
    for (size_t n = l.count; n-- > 0 && replays < MOST_REPLAYS && !run->report->failed;)
        if (l.events[n].kind == TH_EVENT_ORCHESTRATOR_STARTED) {
            replay_episode(&l, executor, n);
            replays += fact->rewound ? MOST_REPLAYS : 1;
        }
    th_executor_free(executor);
}
