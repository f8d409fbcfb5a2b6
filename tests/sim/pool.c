/*
 * pool: the activities of all processes. An activity takes a while, then hands its result to the
 * process that started it, unless that process died. What it answers depends on its input alone and
 * on which attempt of its step it is; the input is the step of the program (see program.c).
 *
 * Activity messages are handed to any process, and again to another one as long as no result of
 * theirs is durable. That a process is gone, its peers hear a while later.
 */
#include <utlist.h>

#include "tests/sim/sim.h"

/* A message of the topic of activities. */
struct posted {
    struct posted *prev, *next;
    struct pool *pool;
    struct th_blob *blob;
    uint64_t life; /* of the process that has it; 0: none */
    th_time due;   /* when somebody takes it */
};

/* A process that is no more. */
struct lost {
    struct lost *prev, *next;
    char name[32];
    th_time due; /* when its peers hear of it */
};

struct work {
    struct work *prev, *next;
    struct process *process;
    uint64_t life, token;
    struct posted *posted; /* NULL: started by the partition's owner */
    th_time due;
    char *result;       /* JSON; NULL: failed */
    const char *failed; /* type of the failure */
    bool again;         /* hand it over a second time later: it must be ignored */
};

/* The attempts at a step so far, by task id. */
struct attempts {
    UT_hash_handle hh;
    char *key;
    int32_t *ids;
    size_t count, capacity;
};

struct healed {
    struct healed *next;
    char *session;
};

struct pool {
    struct run *run;
    struct work *open;
    struct posted *posted;
    struct lost *lost;
    int64_t taken; /* messages of the topic that were seen */
    struct attempts *attempts;
    struct healed *healed;
    struct dispatched *dispatched;
    size_t dispatched_count, dispatched_capacity;
};

struct pool *pool_new(struct run *run)
{
    struct pool *pool = TH_NEW(struct pool);

    pool->run = run;
    return pool;
}

static void posted_free(struct posted *p)
{
    DL_DELETE(p->pool->posted, p);
    th_blob_unref(p->blob);
    free(p);
}

static void work_free(struct pool *pool, struct work *w)
{
    DL_DELETE(pool->open, w);
    free(w->result);
    free(w);
}

void pool_free(struct pool *pool)
{
    struct attempts *a, *next;

    while (pool->open)
        work_free(pool, pool->open);
    while (pool->posted)
        posted_free(pool->posted);
    while (pool->lost) {
        struct lost *l = pool->lost;
        DL_DELETE(pool->lost, l);
        free(l);
    }
    HASH_ITER(hh, pool->attempts, a, next) {
        HASH_DEL(pool->attempts, a);
        free(a->key);
        free(a->ids);
        free(a);
    }
    while (pool->healed) {
        struct healed *h = pool->healed;
        pool->healed = h->next;
        free(h->session);
        free(h);
    }
    for (size_t n = 0; n < pool->dispatched_count; n++) {
        free(pool->dispatched[n].instance_id);
        free(pool->dispatched[n].execution_id);
    }
    free(pool->dispatched);
    free(pool);
}

/* ---- what an activity answers ---- */

static json_int_t number(const json_t *step, const char *key)
{
    return json_integer_value(json_object_get(step, key));
}

/* Which attempt of its step this task is, from 0. Attempts follow each other. */
static size_t attempt_of(struct pool *pool, const struct th_activity_work *work, json_int_t step)
{
    TH_BUFFER key = {0};
    struct attempts *a;

    th_buffer_format(&key, "%.*s/%.*s/%lld", TH_PRI(work->instance_id), TH_PRI(work->execution_id),
                     (long long)step);
    HASH_FIND(hh, pool->attempts, key.data, key.len, a);
    if (!a) {
        a = TH_NEW(struct attempts);
        a->key = th_str_dup(th_buffer_view(&key));
        HASH_ADD_KEYPTR(hh, pool->attempts, a->key, key.len, a);
    }
    for (size_t n = 0; n < a->count; n++)
        if (a->ids[n] == work->task_id)
            return n;
    a->ids = th_grow(a->ids, &a->capacity, a->count + 1, sizeof(*a->ids));
    a->ids[a->count] = work->task_id;
    return a->count++;
}

static bool is_healed(const struct pool *pool, const char *session)
{
    for (const struct healed *h = pool->healed; h; h = h->next)
        if (strcmp(h->session, session) == 0)
            return true;
    return false;
}

void pool_heal(struct pool *pool, const char *session)
{
    struct healed *h;

    if (is_healed(pool, session))
        return;
    h = TH_NEW(struct healed);

    h->session = th_str_dup(th_str_of(session));
    h->next = pool->healed;
    pool->healed = h;
}

static char *result_of(const json_t *step)
{
    const json_int_t n = work_result(number(step, "n")), size = number(step, "pad");
    json_t *result = json_integer(n);
    char *text;

    if (json_object_get(step, "pad")) {
        char *pad = th_alloc((size_t)size + 1);

        memset(pad, 'x', (size_t)size);
        json_decref(result);
        result = json_pack("{sIss}", "n", n, "pad", pad);
        free(pad);
    }
    text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(result);
    return text;
}

static void decide(struct pool *pool, const struct th_activity_work *work, struct work *w)
{
    json_auto_t *step = json_loadb(work->input.data, work->input.len, 0, NULL);
    const char *flaky = json_string_value(json_object_get(step, "flaky"));

    if (!json_is_object(step))
        run_fail(pool->run, "activity %d of instance %.*s has no input", work->task_id,
                 TH_PRI(work->instance_id));
    if (flaky && !is_healed(pool, flaky))
        w->failed = "Flaky";
    else if (json_object_get(step, "fail") &&
             attempt_of(pool, work, number(step, "step")) < (size_t)number(step, "fail"))
        w->failed = "Broken";
    else
        w->result = result_of(step);
}

/* ---- starting ---- */

static void note(struct pool *pool, const struct th_activity_work *work)
{
    struct dispatched *d;

    pool->dispatched = th_grow(pool->dispatched, &pool->dispatched_capacity,
                               pool->dispatched_count + 1, sizeof(*pool->dispatched));
    d = &pool->dispatched[pool->dispatched_count++];
    *d = (struct dispatched){.partition = work->partition,
                             .instance_id = th_str_dup(work->instance_id),
                             .execution_id = th_str_dup(work->execution_id),
                             .task_id = work->task_id,
                             .log_end = th_sim_log(pool->run->world, work->partition).end};
}

const struct dispatched *pool_dispatched(const struct pool *pool, size_t index)
{
    return index < pool->dispatched_count ? &pool->dispatched[index] : NULL;
}

size_t pool_dispatched_count(const struct pool *pool)
{
    return pool->dispatched_count;
}

static th_time duration(struct run *run)
{
    const uint64_t most = run_below(run, 10) == 0 ? 400 : 10;

    return (th_time)run_below(run, most * TH_MILLISECOND);
}

static struct work *begin(struct process *p, const struct th_activity_work *work)
{
    struct pool *pool = p->run->pool;
    struct work *w = TH_NEW(struct work);

    p->run->report->activities++;
    run_trace(p->run, "process %u activity %.*s/%d token %llx", p->number,
              TH_PRI(work->instance_id), work->task_id, (unsigned long long)work->token);
    w->process = p;
    w->life = p->life;
    w->token = work->token;
    w->due = run_now(p->run) + duration(p->run);
    w->again = run_below(p->run, 20) == 0;
    decide(pool, work, w);
    note(pool, work);
    DL_APPEND(pool->open, w);
    return w;
}

void pool_activity(void *process, const struct th_activity_work *work)
{
    begin(process, work);
}

bool pool_goes_out(void *process, struct th_str name, struct th_str version)
{
    struct process *p = process;

    return run_chance(p->run, p->run->plan.goes_out);
}

/* ---- activities of nobody's own ---- */

static void post(struct pool *pool, struct th_blob *blob)
{
    struct posted *p = TH_NEW(struct posted);

    p->pool = pool;
    p->blob = th_blob_ref(blob);
    p->due = run_now(pool->run) + duration(pool->run) / 4;
    DL_APPEND(pool->posted, p);
}

static void take_posts(struct pool *pool)
{
    const struct th_sim_topic topic = th_sim_activities(pool->run->world);

    for (; pool->taken < (int64_t)topic.count; pool->taken++) {
        post(pool, topic.records[pool->taken].bytes);
        pool->run->report->out++;
    }
}

static void start(struct pool *pool, struct posted *posted, struct process *p)
{
    TH_ARENA arena = {0};
    struct th_reader in = sim_reader(th_blob_view(posted->blob), &arena, NULL);
    struct th_message m;
    struct th_activity_work work;

    if (!th_decode_message(&in, &m)) {
        run_fail(pool->run, "an activity message cannot be read");
        return;
    }
    work = (struct th_activity_work){
        .partition = th_partition_of(m.instance_id, pool->run->plan.world.partitions),
        .instance_id = m.instance_id,
        .execution_id = m.execution_id,
        .name = m.event.name,
        .input = m.event.data,
        .task_id = m.event.id};
    posted->life = p->life;
    begin(p, &work)->posted = posted;
}

static void hand_out(struct pool *pool, th_time now)
{
    struct posted *p;

    DL_FOREACH(pool->posted, p) {
        struct process *to = &pool->run->processes[run_below(pool->run, pool->run->plan.processes)];

        if (p->due > now || p->life > 0 || !to->node || to->paused)
            continue;
        start(pool, p, to);
    }
}

static void shared_result_is_durable(void *argument)
{
    posted_free(argument);
}

static void answer_posted(struct pool *pool, const struct work *w)
{
    TH_ARENA arena = {0};
    const struct th_failure failure = {.type = th_str_of(w->failed),
                                       .message = TH_STR("it was to fail")};
    struct th_reader in = sim_reader(th_blob_view(w->posted->blob), &arena, NULL);
    struct th_message m;
    struct th_shared_result result;

    if (!th_decode_message(&in, &m))
        return;
    result = (struct th_shared_result){.instance_id = m.instance_id,
                                       .execution_id = m.execution_id,
                                       .task_id = m.event.id,
                                       .scheduled = m.scheduled,
                                       .data = th_str_of(w->result),
                                       .failure = w->failed ? &failure : NULL};
    run_trace(pool->run, "process %u result of %.*s/%d: %s", w->process->number,
              TH_PRI(m.instance_id), m.event.id, w->failed ? w->failed : "ok");
    th_node_result(w->process->node, &result, shared_result_is_durable, w->posted,
                   process_now(w->process));
}

/* ---- processes that are gone ---- */

static void mourn(struct pool *pool, const struct process *process)
{
    struct lost *l = TH_NEW(struct lost);

    snprintf(l->name, sizeof(l->name), "%s", process->name);
    l->due = run_now(pool->run) + (th_time)run_below(pool->run, 300 * TH_MILLISECOND);
    DL_APPEND(pool->lost, l);
}

static void tell_peers(struct pool *pool, const struct lost *l)
{
    struct run *run = pool->run;

    for (unsigned n = 0; n < run->plan.processes; n++) {
        struct process *p = &run->processes[n];

        if (p->node)
            th_node_worker_gone(p->node, th_str_of(l->name), process_now(p));
    }
}

static void tell_of_the_lost(struct pool *pool, th_time now)
{
    struct lost *l, *next;

    DL_FOREACH_SAFE(pool->lost, l, next) {
        if (l->due > now)
            continue;
        DL_DELETE(pool->lost, l);
        tell_peers(pool, l);
        free(l);
    }
}

/* Its peers believe in it until they are told. */
bool pool_is_alive(void *process, struct th_str worker)
{
    const struct run *run = ((struct process *)process)->run;
    const struct lost *l;

    for (unsigned n = 0; n < run->plan.processes; n++)
        if (run->processes[n].node && th_str_eq(worker, th_str_of(run->processes[n].name)))
            return true;
    DL_FOREACH(run->pool->lost, l)
        if (th_str_eq(worker, th_str_of(l->name)))
            return true;
    return false;
}

/* The result comes all the same, or never: both must do. */
void pool_canceled(void *process, uint64_t token)
{
    struct process *p = process;
    struct work *w, *next;

    DL_FOREACH_SAFE(p->run->pool->open, w, next)
        if (w->process == p && w->token == token && run_below(p->run, 2) == 0)
            work_free(p->run->pool, w);
}

void pool_lost(struct pool *pool, const struct process *process)
{
    struct work *w, *next;
    struct posted *p;

    DL_FOREACH_SAFE(pool->open, w, next)
        if (w->process == process)
            work_free(pool, w);
    DL_FOREACH(pool->posted, p)
        if (p->life == process->life)
            p->life = 0;
    mourn(pool, process);
}

/* ---- handing over ---- */

static void answer(struct pool *pool, const struct work *w)
{
    const struct th_failure failure = {.type = th_str_of(w->failed),
                                       .message = TH_STR("it was to fail")};
    const struct th_activity_answer done = {
        .token = w->token, .data = th_str_of(w->result), .failure = w->failed ? &failure : NULL};

    run_trace(pool->run, "process %u result of token %llx: %s", w->process->number,
              (unsigned long long)w->token, w->failed ? w->failed : "ok");
    th_node_activity_done(w->process->node, &done, process_now(w->process));
}

static th_time sooner(th_time a, th_time b)
{
    return a == TH_TIME_NONE || b < a ? b : a;
}

th_time pool_next(const struct pool *pool)
{
    const struct work *w;
    const struct posted *p;
    const struct lost *l;
    th_time next = TH_TIME_NONE;

    DL_FOREACH(pool->posted, p)
        if (p->life == 0)
            next = sooner(next, p->due);
    DL_FOREACH(pool->lost, l)
        next = sooner(next, l->due);

    DL_FOREACH(pool->open, w)
        if (!w->process->paused && (next == TH_TIME_NONE || w->due < next))
            next = w->due;
    return next;
}

void pool_step(struct pool *pool, th_time now)
{
    struct work *w, *next;

    take_posts(pool);
    hand_out(pool, now);
    tell_of_the_lost(pool, now);
    DL_FOREACH_SAFE(pool->open, w, next) {
        if (w->due > now || w->process->paused)
            continue;
        if (w->posted) {
            if (w->again) /* another process takes it, too, and is late */
                post(pool, w->posted->blob);
            answer_posted(pool, w);
            work_free(pool, w);
            continue;
        }
        answer(pool, w);
        if (w->again) {
            w->again = false;
            w->due = now + duration(pool->run);
            continue;
        }
        work_free(pool, w);
    }
}

size_t pool_open(const struct pool *pool)
{
    const struct work *w;
    const struct posted *p;
    size_t count, posted;

    DL_COUNT(pool->open, w, count);
    DL_COUNT(pool->posted, p, posted);
    return count + posted;
}
