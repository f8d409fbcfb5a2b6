/*
 * away: episodes that run in another program. Here they are run at once, and their actions come
 * later: after a while, or not at all. A program also comes and goes; while it is gone, what only
 * it serves has to wait.
 */
#include <utlist.h>

#include "base/hash.h"
#include "tests/sim/sim.h"

struct away {
    struct away *prev, *next;
    struct process *process;
    uint64_t number;
    char *instance_id;
    struct th_arena arena;
    struct th_actions actions;
    bool back; /* it comes to nothing */
    th_time due;
};

static void away_free(struct run *run, struct away *a)
{
    DL_DELETE(run->away, a);
    th_arena_deinit(&a->arena);
    free(a->instance_id);
    free(a);
}

/* Of one process. */
static size_t entities(const struct run *run, const struct process *p)
{
    const struct away *a;
    size_t count = 0;

    DL_FOREACH(run->away, a)
        count += a->process == p && a->instance_id[0] == '@';
    return count;
}

static void check_limits(struct run *run, const struct process *p, const struct th_episode *e)
{
    if (!e->entity)
        return;
    if (run->plan.max_operations > 0 && e->fresh_count > run->plan.max_operations)
        run_fail(run, "an entity is given %zu operations at once, not %zu", e->fresh_count,
                 run->plan.max_operations);
    if (run->plan.max_entities > 0 && entities(run, p) >= run->plan.max_entities)
        run_fail(run, "more than %zu entities are away from process %u", run->plan.max_entities,
                 p->number);
}

enum th_executor_result away_run(struct process *p, const struct th_episode *episode,
                                 struct th_arena *arena, struct th_actions *out, away_code *code)
{
    struct run *run = p->run;
    struct away *a;

    check_limits(run, p, episode);
    if (!run_chance(run, run->plan.away))
        return code(p, episode, arena, out);
    a = TH_NEW(struct away);
    if (code(p, episode, &a->arena, &a->actions) == TH_EXECUTOR_NEEDS_HISTORY) {
        th_arena_deinit(&a->arena);
        free(a);
        return TH_EXECUTOR_NEEDS_HISTORY;
    }
    if (!episode->entity && run_below(run, 2) == 0)
        a->actions.turn_trace =
            th_arena_format(&a->arena, "span %llu", (unsigned long long)episode->number);
    a->process = p;
    a->number = episode->number;
    a->instance_id = th_str_dup(episode->instance_id);
    a->back = run_below(run, 8) == 0;
    a->due = run_now(run) + (th_time)run_below(run, 20 * TH_MILLISECOND);
    DL_APPEND(run->away, a);
    run_trace(run, "process %u episode of \"%s\" is away", p->number, a->instance_id);
    return TH_EXECUTOR_LATER;
}

/* What its code has decided never was. */
static void forget(const struct away *a)
{
    th_executor_forget(a->process->executor, th_str_of(a->instance_id));
}

void away_canceled(void *process, uint64_t episode)
{
    struct process *p = process;
    struct away *a, *next;

    DL_FOREACH_SAFE(p->run->away, a, next) {
        if (a->process != p || a->number != episode)
            continue;
        run_trace(p->run, "process %u episode of \"%s\" is canceled", p->number, a->instance_id);
        forget(a);
        away_free(p->run, a);
    }
}

void away_lost(struct run *run, const struct process *process)
{
    struct away *a, *next;

    DL_FOREACH_SAFE(run->away, a, next) {
        if (a->process == process)
            away_free(run, a);
    }
}

static void come_back(struct run *run, struct away *a)
{
    struct process *p = a->process;

    run_trace(run, "process %u episode of \"%s\" %s", p->number, a->instance_id,
              a->back ? "came to nothing" : "is back");
    if (a->back) {
        forget(a);
        th_node_away_back(p->node, a->number, process_now(p));
    } else {
        th_node_away_ran(p->node, a->number, &a->actions, process_now(p));
    }
    away_free(run, a);
}

/* ---- programs that come and go ---- */

/* Half of all functions, by name. */
bool away_runs_elsewhere(void *process, enum th_function_kind kind, struct th_str name)
{
    return th_hash(name, 0) % 2 == 0;
}

bool away_serves(void *process, enum th_function_kind kind, struct th_str name,
                 struct th_str version)
{
    const struct process *p = process;

    return p->served_at == TH_TIME_NONE || th_str_eq(name, TH_STR("endless"));
}

void away_strike(struct run *run, struct process *p)
{
    if (p->served_at != TH_TIME_NONE || !p->node)
        return;
    run_trace(run, "process %u serves nothing", p->number);
    p->served_at = run_now(run) + (th_time)run_below(run, 100 * TH_MILLISECOND);
}

static void serve(struct run *run, struct process *p)
{
    run_trace(run, "process %u serves again", p->number);
    p->served_at = TH_TIME_NONE;
    if (p->node)
        th_node_served(p->node, process_now(p));
}

/* ---- time ---- */

th_time away_next(const struct run *run)
{
    th_time next = TH_TIME_NONE;
    const struct away *a;

    DL_FOREACH(run->away, a)
        if (!a->process->paused && (next == TH_TIME_NONE || a->due < next))
            next = a->due;
    for (unsigned n = 0; n < run->plan.processes; n++) {
        const struct process *p = &run->processes[n];

        if (p->served_at != TH_TIME_NONE && !p->paused &&
            (next == TH_TIME_NONE || p->served_at < next))
            next = p->served_at;
    }
    return next;
}

void away_step(struct run *run)
{
    struct away *a, *next;

    for (unsigned n = 0; n < run->plan.processes; n++) {
        struct process *p = &run->processes[n];

        if (p->served_at != TH_TIME_NONE && !p->paused && p->served_at <= run_now(run))
            serve(run, p);
    }
    DL_FOREACH_SAFE(run->away, a, next)
        if (a->due <= run_now(run) && !a->process->paused)
            come_back(run, a);
}
