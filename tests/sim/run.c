/*
 * run: one run. Trouble first: for a number of steps the seed lets things happen and go wrong. Then
 * calm: faults stop, the dead are restarted, everything under way has to finish. Then judgement.
 *
 * A step is: perhaps a disaster; one event of the simulated world, or time moves on to the next
 * thing that is due; clients and activities have their turn; the processes are stepped.
 */
#include <stdarg.h>

#include "tests/sim/bank.h"

/* Steps of calm after which whatever is not finished never will be. */
#define CALM_STEPS 400000
#define CALM_TIME  (1200 * TH_SECOND)

/* ---- small things ---- */

void run_fail(struct run *run, const char *format, ...)
{
    va_list arguments;

    if (run->report->failed)
        return;
    run->report->failed = true;
    va_start(arguments, format);
    vsnprintf(run->report->why, sizeof(run->report->why), format, arguments);
    va_end(arguments);
    run_trace(run, "WRONG: %s", run->report->why);
}

static void print_line(const struct run *run, const char *line)
{
    if (run->options->trace)
        fprintf(run->options->trace, "%6llu %12lld %s\n", (unsigned long long)run->step,
                (long long)(run_now(run) - run->plan.world.start), line);
}

static void trace_line(void *argument, const char *line)
{
    struct run *run = argument;

    run->hash = th_hash(th_str_of(line), run->hash);
    print_line(run, line);
}

void run_trace(struct run *run, const char *format, ...)
{
    TH_BUFFER line = {0};
    va_list arguments;

    va_start(arguments, format);
    th_buffer_vformat(&line, format, arguments);
    va_end(arguments);
    th_buffer_add(&line, "", 1);
    trace_line(run, line.data);
}

void run_show(struct run *run, const char *format, ...)
{
    TH_BUFFER line = {0};
    va_list arguments;

    va_start(arguments, format);
    th_buffer_vformat(&line, format, arguments);
    va_end(arguments);
    th_buffer_add(&line, "", 1);
    print_line(run, line.data);
}

static void log_line(void *argument, enum th_level level, const char *category, const char *line)
{
    run_trace(argument, "log %d %s: %s", (int)level, category, line);
}

th_time run_now(const struct run *run)
{
    return th_sim_now(run->world);
}

th_time process_now(const struct process *process)
{
    return run_now(process->run) + process->skew;
}

bool run_chance(struct run *run, double probability)
{
    return th_random_unit(&run->random) < probability;
}

uint64_t run_below(struct run *run, uint64_t bound)
{
    return th_random_below(&run->random, bound);
}

uint32_t run_partition(const struct run *run, const char *id)
{
    return th_partition_of(th_str_of(id), run->plan.world.partitions);
}

static th_time earlier(th_time a, th_time b)
{
    return a == TH_TIME_NONE || (b != TH_TIME_NONE && b < a) ? b : a;
}

/* ---- processes ---- */

static void take(struct run *run, struct process *p, uint32_t partition)
{
    if (!p->node || p->taken[partition])
        return;
    run_trace(run, "process %u takes partition %u", p->number, partition);
    p->taken[partition] = true;
    th_node_take(p->node, partition);
}

static void release(struct run *run, struct process *p, uint32_t partition)
{
    if (!p->node || !p->taken[partition])
        return;
    run_trace(run, "process %u releases partition %u", p->number, partition);
    p->taken[partition] = false;
    th_node_release(p->node, partition,
                    process_now(p) + (th_time)run_below(run, 200 * TH_MILLISECOND));
}

static struct th_executor *executor_new(struct run *run)
{
    const struct th_executor_options options = {.app = run->app,
                                                .log = &run->log,
                                                .max_warm = run->plan.max_warm,
                                                .stack_bytes = 64 << 10,
                                                .replay_always = run->plan.replay_always};

    return th_executor_new(&options);
}

/* Without its past nobody knows whose it is: the executor asks for what it does not have warm. */
static enum th_executor_result code(struct process *p, const struct th_episode *episode,
                                    struct th_arena *arena, struct th_actions *out)
{
    if (episode->entity)
        return bank_serve(episode, arena, out);
    if (foreign_is(episode))
        return foreign_run(episode, arena, out);
    return th_executor_run(p->executor, episode, arena, out);
}

static enum th_executor_result orchestrate(void *argument, const struct th_episode *episode,
                                           struct th_arena *arena, struct th_actions *out)
{
    return away_run(argument, episode, arena, out, code);
}

static void forget(void *argument, struct th_str instance_id)
{
    const struct process *p = argument;

    th_executor_forget(p->executor, instance_id);
}

/* A partition that stops for good, by a process that errs. */
static void trouble_told(void *argument, uint32_t partition, const struct th_error *error)
{
    struct process *p = argument;

    if (error->code == TH_TRUNCATED && !p->run->truncated)
        run_fail(p->run, "partition %u stops, though its log lost nothing: %s", partition,
                 error->message);
}

static void process_open(struct run *run, struct process *p)
{
    struct th_error error;
    struct th_node_options options = {.log = &run->log,
                                      .worker = p->name,
                                      .max_instances = run->plan.max_instances,
                                      .project_interval = run->plan.project_interval,
                                      .checkpoint_records = run->plan.checkpoint_records,
                                      .checkpoint_bytes = run->plan.checkpoint_bytes,
                                      .clean_bytes = run->plan.clean_bytes,
                                      .piece_records = run->plan.piece_records,
                                      .max_rows = run->plan.max_rows,
                                      .max_kept_bytes = run->plan.max_kept_bytes,
                                      .max_unprojected = run->plan.max_unprojected,
                                      .max_operations = run->plan.max_operations,
                                      .max_entities = run->plan.max_entities,
                                      .mutation = run->options->mutation};

    p->provider = th_sim_open(run->world, &error);
    if (!p->provider) {
        run_fail(run, "a process cannot open the hub: %s", error.message);
        return;
    }
    p->life = ++run->lives;
    snprintf(p->name, sizeof(p->name), "process%u.%llu", p->number, (unsigned long long)p->life);
    p->skew = (th_time)run_below(run, 2 * (uint64_t)run->plan.skew + 1) - run->plan.skew;
    p->release = release_draw(run);
    options.formats = release_formats(p->release);
    options.provider = p->provider;
    options.seed = th_random_next(&run->random);
    options.hooks.argument = p;
    options.hooks.activity = pool_activity;
    options.hooks.activity_canceled = pool_canceled;
    options.hooks.orchestrate = orchestrate;
    options.hooks.forget = forget;
    options.hooks.trouble = trouble_told;
    options.hooks.episode_canceled = away_canceled;
    options.hooks.serves = run->plan.strike > 0 ? away_serves : NULL;
    options.hooks.runs_elsewhere = run->plan.away > 0 ? away_runs_elsewhere : NULL;
    if (run->plan.world.shared) {
        options.hooks.goes_out = pool_goes_out;
        options.hooks.is_alive = pool_is_alive;
    }
    p->served_at = TH_TIME_NONE;
    p->node = th_node_new(&options);
    p->executor = executor_new(run);
    p->next = run_now(run);
    th_node_set_executor(p->node, p->executor);
    run_trace(run, "process %u lives (%llu), release %u", p->number, (unsigned long long)p->life,
              p->release);
    for (uint32_t n = 0; n < run->plan.world.partitions; n++)
        if (run->owner[n] == p->number)
            take(run, p, n);
}

static void add_stats(struct run *run, const struct process *p)
{
    struct th_node_stats s;

    th_node_get_stats(p->node, &s);
    run->report->episodes += s.episodes;
    run->report->records += s.records;
    run->report->loads += s.loads;
    run->report->replays += s.replays;
    run->report->evictions += s.evictions;
    run->report->projections += s.projections;
    run->report->snapshots += s.snapshots;
    run->report->cleanings += s.cleanings;
}

static void process_close(struct run *run, struct process *p)
{
    if (!p->node)
        return;
    add_stats(run, p);
    th_sim_kill(p->provider);
    pool_lost(run->pool, p);
    away_lost(run, p);
    th_node_free(p->node);
    th_executor_free(p->executor);
    clients_lost(run->clients, p);
    p->node = NULL;
    p->paused = p->stopping = false;
    memset(p->taken, 0, sizeof(p->taken));
}

/* Sometimes the supervisor believes to know what the process died of. */
static void blame(struct run *run, struct process *p)
{
    const char *id = clients_suspect(run->clients, th_random_next(&run->random));

    if (!id || !p->node || !run_chance(run, run->plan.blame))
        return;
    run_trace(run, "process %u is said to have died running \"%s\"", p->number, id);
    th_node_report_crash(p->node, th_str_of(id), run_below(run, 2) == 0 ? -1 : 0, "signal 9");
}

/* A process dies; another comes, or it comes again. */
static void process_kill(struct run *run, struct process *p)
{
    run->report->kills++;
    run_trace(run, "process %u is killed", p->number);
    process_close(run, p);
    process_open(run, p);
    blame(run, p);
}

static void replace_old(struct run *run)
{
    for (unsigned n = 0; n < run->plan.processes; n++)
        if (release_is_over(run, &run->processes[n]))
            process_kill(run, &run->processes[n]);
}

/* A process is asked to end: it finishes what is under way, then it goes. */
static void process_stop(struct run *run, struct process *p)
{
    if (p->stopping || !p->node)
        return;
    run->report->stops++;
    run_trace(run, "process %u is asked to end", p->number);
    p->stopping = true;
    th_node_drain(p->node);
}

static void finish_stops(struct run *run)
{
    for (unsigned n = 0; n < run->plan.processes; n++) {
        struct process *p = &run->processes[n];

        if (!p->stopping || p->paused || !th_node_drained(p->node))
            continue;
        run_trace(run, "process %u ends", p->number);
        process_close(run, p);
        process_open(run, p);
    }
}

/* ---- disasters ---- */

static bool settled(const struct run *run)
{
    return clients_done(run->clients) && pool_open(run->pool) == 0 && !run->away;
}

static void pause_process(struct run *run, struct process *p)
{
    if (p->paused)
        return;
    run->report->pauses++;
    p->paused = true;
    p->resume_at = run_now(run) + (th_time)run_below(run, 500 * TH_MILLISECOND);
    run_trace(run, "process %u is paused", p->number);
    th_sim_pause(p->provider);
}

static void resume_process(struct run *run, struct process *p)
{
    if (!p->paused)
        return;
    p->paused = false;
    p->next = run_now(run);
    run_trace(run, "process %u goes on", p->number);
    th_sim_resume(p->provider);
}

/* Another process is told to own a partition; the old owner hears of it later. */
static void move_to(struct run *run, uint32_t partition, unsigned to)
{
    if (to == run->owner[partition])
        return;
    run->report->moves++;
    run->owner[partition] = to;
    run->release_at[partition] = run_now(run) + (th_time)run_below(run, 300 * TH_MILLISECOND);
    take(run, &run->processes[to], partition);
}

static void move(struct run *run, uint32_t partition)
{
    move_to(run, partition, (unsigned)run_below(run, run->plan.processes));
}

void run_move(struct run *run, uint32_t partition)
{
    move_to(run, partition, (run->owner[partition] + 1) % run->plan.processes);
}

static void release_former(struct run *run, uint32_t partition)
{
    run->release_at[partition] = TH_TIME_NONE;
    for (unsigned n = 0; n < run->plan.processes; n++)
        if (n != run->owner[partition])
            release(run, &run->processes[n], partition);
}

static void projection_down(struct run *run, bool down)
{
    run->down = down;
    run->up_at = run_now(run) + (th_time)run_below(run, 300 * TH_MILLISECOND);
    run_trace(run, "the projection is %s", down ? "down" : "up");
    th_sim_projection_down(run->world, down);
}

static void wipe(struct run *run, uint32_t partition)
{
    run->report->wipes++;
    run_trace(run, "the projection of partition %u is wiped", partition);
    th_sim_wipe_projection(run->world, partition);
}

static void lose_row(struct run *run, uint32_t partition)
{
    if (th_sim_lose_row(run->world, partition))
        run_trace(run, "the projection of partition %u lost a row", partition);
}

static void restore(struct run *run, uint32_t partition)
{
    struct rolled_back *r = &run->rolled_back[partition];

    if (!th_sim_restore_projection(run->world, partition))
        return;
    run_trace(run, "the projection of partition %u is restored", partition);
    r->offset = r->highest;
}

#define OLD_ANSWERS (1 * TH_SECOND) /* that were under way when it was noticed */

static void watch_rolled_back(struct run *run)
{
    for (uint32_t n = 0; n < run->plan.world.partitions; n++) {
        struct rolled_back *r = &run->rolled_back[n];
        const struct th_watermark w = th_sim_projection(run->world, n).watermark;

        if (w.offset > r->highest)
            r->highest = w.offset;
        if (r->offset < 0)
            continue;
        r->until = run_now(run) + OLD_ANSWERS;
        if (w.offset >= r->offset && !w.building)
            r->offset = -1;
    }
}

bool run_may_be_old(struct run *run, uint32_t partition)
{
    return run->rolled_back[partition].until > run_now(run);
}

static void disasters(struct run *run)
{
    const struct plan *plan = &run->plan;
    struct process *p = &run->processes[run_below(run, plan->processes)];
    const uint32_t partition = (uint32_t)run_below(run, plan->world.partitions);

    replace_old(run);
    if (run_chance(run, plan->kill))
        process_kill(run, p);
    if (run_chance(run, plan->stop))
        process_stop(run, p);
    if (run_chance(run, plan->pause))
        pause_process(run, p);
    if (run_chance(run, plan->strike))
        away_strike(run, p);
    if (run_chance(run, plan->move))
        move(run, partition);
    if (run_chance(run, plan->wipe))
        wipe(run, partition);
    if (run_chance(run, plan->dump))
        th_sim_dump_projection(run->world, partition);
    if (run_chance(run, plan->restore))
        restore(run, partition);
    if (settled(run) && run_chance(run, plan->lose_row)) /* what is read meanwhile is wrong */
        lose_row(run, partition);
    if (run_chance(run, plan->doubt))
        th_sim_doubt(run->world, partition);
    if (plan->truncate && run->step > run->options->steps / 8)
        truncation_happen(run);
    if (!run->down && run_chance(run, plan->down))
        projection_down(run, true);
    if (run_chance(run, plan->power_cut))
        for (unsigned n = 0; n < plan->processes; n++)
            process_kill(run, &run->processes[n]);
}

/* One kill and nothing else: the process that owns a partition, at exactly this step. */
static void crash(struct run *run)
{
    if (run->step == run->options->crash_at)
        process_kill(run, &run->processes[run->options->crash_at % run->plan.processes]);
}

/* What trouble has started ends by itself. */
static void recover(struct run *run)
{
    const th_time now = run_now(run);

    for (unsigned n = 0; n < run->plan.processes; n++)
        if (run->processes[n].paused && run->processes[n].resume_at <= now)
            resume_process(run, &run->processes[n]);
    for (uint32_t n = 0; n < run->plan.world.partitions; n++)
        if (run->release_at[n] != TH_TIME_NONE && run->release_at[n] <= now)
            release_former(run, n);
    if (run->down && run->up_at <= now)
        projection_down(run, false);
}

static void calm_down(struct run *run)
{
    struct th_sim_options *o = th_sim_options(run->world);

    run->calm = true;
    run_trace(run, "calm");
    o->lose_append = o->lose_append_ack = o->lose_send = o->lose_send_ack = 0;
    o->duplicate_send = o->lose_project = o->lose_project_ack = o->fail_answer = o->lose_trim = 0;
    o->lose_word = 0;
    run->plan.astray = run->plan.impatient = 0;
    for (unsigned n = 0; n < run->plan.processes; n++)
        resume_process(run, &run->processes[n]);
    replace_old(run);
    for (uint32_t n = 0; n < run->plan.world.partitions; n++)
        release_former(run, n);
    for (uint32_t n = 0; n < run->plan.world.partitions && run->plan.wipe > 0; n++)
        wipe(run, n); /* in the end every row has to come from the log */
    if (run->down)
        projection_down(run, false);
}

/* ---- the loop ---- */

static void step_process(struct run *run, struct process *p)
{
    if (!p->node || p->paused)
        return;
    p->next = th_node_step(p->node, process_now(p));
    if (p->next != TH_TIME_NONE)
        p->next -= p->skew;
}

static void step_processes(struct run *run, bool all)
{
    for (unsigned n = 0; n < run->plan.processes; n++)
        if (all || !run_chance(run, run->plan.lazy))
            step_process(run, &run->processes[n]);
}

void run_step_all(struct run *run)
{
    step_processes(run, true);
}

/* When something happens although the world is idle. */
static th_time next_due(const struct run *run)
{
    th_time next =
        earlier(away_next(run), earlier(pool_next(run->pool), clients_next(run->clients)));

    for (unsigned n = 0; n < run->plan.processes; n++) {
        const struct process *p = &run->processes[n];

        next = earlier(next, p->paused ? p->resume_at : p->next);
    }
    for (uint32_t n = 0; n < run->plan.world.partitions; n++)
        next = earlier(next, run->release_at[n]);
    return run->down ? earlier(next, run->up_at) : next;
}

static void have_turns(struct run *run)
{
    recover(run);
    finish_stops(run);
    pool_step(run->pool, run_now(run));
    away_step(run);
    clients_step(run->clients, run_now(run));
}

/* Time moves on to what is due next; false: nothing ever will be. */
static bool wait_for_time(struct run *run)
{
    th_time next;

    step_processes(run, true);
    if (!th_sim_idle(run->world))
        return true;
    next = next_due(run);
    if (next == TH_TIME_NONE)
        return false;
    th_sim_advance(run->world, next > run_now(run) ? next : run_now(run) + 1);
    return true;
}

static bool once(struct run *run)
{
    bool more = true;

    run->step++;
    if (run->options->crash_at > 0)
        crash(run);
    else if (!run->calm)
        disasters(run);
    if (!th_sim_step(run->world))
        more = wait_for_time(run);
    log_watch(run);
    watch_rolled_back(run);
    have_turns(run);
    step_processes(run, false);
    return more || !th_sim_idle(run->world);
}

/* Trouble goes on for a while after everything has ended: a hub at rest can lose things, too. */
#define STEPS_AT_REST 200

static void trouble(struct run *run)
{
    unsigned rest = 0;

    while (run->step < run->options->steps && rest < STEPS_AT_REST && !run->report->failed)
        if (once(run))
            rest += settled(run);
        else if (clients_done(run->clients))
            break;
}

static void show_history(struct run *run, const struct fact *f)
{
    for (size_t n = 0; n < f->history.count; n++) {
        const struct th_event *e = &f->history.items[n];

        run_show(run, "    %s %d %d %.*s %.*s", th_event_kind_text(e->kind), e->id, e->related_id,
                 TH_PRI(e->name), TH_PRI(e->data));
    }
}

/* For the reader of a trace: what the logs say in the end. */
static void show_instances(struct run *run)
{
    struct report scratch = {.failed = true};
    struct report *report = run->report;
    const struct fact *f, *next;
    struct facts facts;

    run->report = &scratch; /* what is wrong with an unfinished run says nothing */
    log_read(run, &facts);
    HASH_ITER(hh, facts.instances, f, next) {
        if (!f->exists)
            continue;
        run_show(run, "%s \"%s\" %.*s partition %u %s, generation %u, %u events: %.*s",
                 th_status_terminal(f->info.status) ? "ended" : "not ended", f->id,
                 TH_PRI(f->info.name), f->partition, th_status_text(f->info.status),
                 f->info.generation, f->info.event_count, TH_PRI(f->info.input));
        show_history(run, f);
    }
    log_free(&facts);
    run->report = report;
}

static void stuck(struct run *run)
{
    char *waiting = clients_waiting(run->clients);

    run_fail(run, "stuck: %s", waiting ? waiting : "an activity never ends");
    free(waiting);
}

/* Everything under way finishes; then nothing more happens. Owners of a cluster go on looking after
 * their leases, so there it is enough that for long nothing else happened: what a back-off, a look
 * or a projection has still to do is done by then. */
#define REST (30 * TH_SECOND)

static void quiesce(struct run *run)
{
    const uint64_t last = run->step + CALM_STEPS;
    const th_time end = run_now(run) + CALM_TIME;
    th_time since = TH_TIME_NONE;

    while (!run->report->failed) {
        const bool more = once(run);

        if (!settled(run))
            since = TH_TIME_NONE;
        else if (since == TH_TIME_NONE)
            since = run_now(run);
        if (since != TH_TIME_NONE && (!more || run_now(run) - since > REST))
            return;
        if (!more || run->step > last || run_now(run) > end) {
            stuck(run);
            return;
        }
    }
}

/* ---- a run ---- */

static void plan_crash(struct plan *plan)
{
    struct th_sim_options *w = &plan->world;

    plan->kill = plan->power_cut = plan->pause = plan->move = plan->wipe = plan->restore = 0;
    plan->stop = plan->blame = plan->down = plan->impatient = plan->astray = plan->doubt = 0;
    plan->lose_row = 0;
    plan->sessions = plan->sessions > 3 ? 3 : plan->sessions;
    w->lose_append = w->lose_append_ack = w->lose_send = w->lose_send_ack = w->lose_project = 0;
    w->lose_project_ack = w->fail_answer = w->duplicate_send = w->lose_trim = w->lose_word = 0;
}

/* With a generator of its own, so that each seed's run is as long as it was without. */
static size_t draw_kept_bytes(uint64_t seed)
{
    struct th_random random;

    th_random_seed(&random, ~seed);
    return th_random_below(&random, 2) == 0 ? 1 : 1 + (size_t)th_random_below(&random, 30000);
}

static void open_run(struct run *run)
{
    const struct sim_options *o = run->options;
    struct th_error error;

    th_random_seed(&run->random, o->seed);
    o->profile->draw(&run->plan, &run->random);
    run->plan.max_kept_bytes = draw_kept_bytes(o->seed);
    if (o->crash_at > 0)
        plan_crash(&run->plan);
    run->world = th_sim_world_new(th_random_next(&run->random), &run->plan.world);
    th_sim_trace(run->world, trace_line, run);
    run->log = (struct th_log){.level = TH_LOG_DEBUG, .fd = -1, .sink = log_line, .argument = run};
    run->app = th_app_from(orchestrators_register, &error);
    run->pool = pool_new(run);
    run->clients = clients_new(run);
    for (uint32_t n = 0; n < run->plan.world.partitions; n++) {
        run->owner[n] = (unsigned)run_below(run, run->plan.processes);
        run->release_at[n] = TH_TIME_NONE;
        run->rolled_back[n] = (struct rolled_back){.offset = -1, .highest = -1};
    }
    for (unsigned n = 0; n < run->plan.processes; n++) {
        run->processes[n].run = run;
        run->processes[n].number = n;
        process_open(run, &run->processes[n]);
    }
}

static void close_run(struct run *run)
{
    run->report->steps = run->step;
    run->report->elapsed = run_now(run) - run->plan.world.start;
    for (unsigned n = 0; n < run->plan.processes; n++)
        process_close(run, &run->processes[n]);
    run->report->hash = th_sim_hash(run->world) ^ run->hash;
    clients_free(run->clients);
    pool_free(run->pool);
    th_app_free(run->app);
    th_sim_world_free(run->world);
    for (size_t n = 0; n < MAX_PARTITIONS; n++)
        free(run->landings[n]);
}

void sim_run(const struct sim_options *options, struct report *report)
{
    struct run *run = TH_NEW(struct run);

    memset(report, 0, sizeof(*report));
    run->options = options;
    run->report = report;
    open_run(run);
    trouble(run);
    if (run->truncated) {
        truncation_check(run);
    } else {
        calm_down(run);
        quiesce(run);
        if (!report->failed)
            check_end(run);
    }
    if (options->trace)
        show_instances(run);
    close_run(run);
    free(run);
}
