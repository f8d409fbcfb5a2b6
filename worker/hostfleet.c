/*
 * What a fleet asks of a host, as errands to the node's thread: partitions that come and go,
 * activity messages, looks at the node.
 */
#include "worker/hostinternal.h"

#include <stdlib.h>

static void send_errand(struct th_host *host, struct errand *errand)
{
    errand->mail.kind = MAIL_ERRAND;
    th_queue_push(&host->mail, &errand->mail.link);
}

/* ---- partitions ------------------------------------------------------------------------------ */

/* A partition to take or to release, or a worker that is gone. */
struct lease {
    struct errand errand;
    enum { LEASE_TAKE, LEASE_RELEASE, LEASE_GONE } what;
    uint32_t partition;
    th_time by; /* wall clock */
    char *worker;
};

static void lease_drop(struct errand *errand)
{
    struct lease *lease = (struct lease *)errand;
    free(lease->worker);
    free(lease);
}

static void lease_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    struct lease *lease = (struct lease *)errand;
    if (lease->what == LEASE_GONE)
        th_node_worker_gone(host->node, th_str_of(lease->worker), now);
    else if (lease->what == LEASE_RELEASE)
        th_node_release(host->node, lease->partition, lease->by);
    else if (!host->draining)
        th_node_take(host->node, lease->partition);
    lease_drop(errand);
}

static void send_lease(struct th_host *host, struct lease lease)
{
    lease.errand = (struct errand){.carry_out = lease_carry_out, .drop = lease_drop};
    send_errand(host, th_memdup(&lease, sizeof lease));
}

void th_host_take(struct th_host *host, uint32_t partition)
{
    send_lease(host, (struct lease){.what = LEASE_TAKE, .partition = partition});
}

void th_host_release(struct th_host *host, uint32_t partition, int64_t within_ms)
{
    send_lease(host, (struct lease){.what = LEASE_RELEASE,
                                    .partition = partition,
                                    .by = th_now() + within_ms * TH_MILLISECOND});
}

void th_host_worker_gone(struct th_host *host, const char *worker)
{
    send_lease(host, (struct lease){.what = LEASE_GONE, .worker = th_str_dup(th_str_of(worker))});
}

/* ---- activity messages ----------------------------------------------------------------------- */

/* From its arrival to the time when its result is durable. */
struct shared_run {
    struct errand errand;
    UT_hash_handle hh; /* host->runs, by token */
    struct th_host *host;
    uint64_t token;
    struct th_blob *blob;
    struct th_arena arena;
    struct th_message message; /* points into both */
    void (*done)(void *argument);
    void *argument;
};

static void run_free(struct shared_run *run)
{
    th_arena_deinit(&run->arena);
    th_blob_unref(run->blob);
    free(run);
}

static void run_drop(struct errand *errand)
{
    run_free((struct shared_run *)errand);
}

static void run_is_durable(void *argument)
{
    struct shared_run *run = argument;
    HASH_DELETE(hh, run->host->runs, run);
    run->done(run->argument);
    run_free(run);
}

static struct shared_run *find_run(struct th_host *host, uint64_t token)
{
    struct shared_run *run;
    HASH_FIND(hh, host->runs, &token, sizeof token, run);
    return run;
}

void host_enter_run_result(struct th_host *host, const struct th_activity_answer *answer,
                           th_time now)
{
    struct shared_run *run = find_run(host, answer->token);
    if (!run)
        return;
    const struct th_shared_result result = {
        .instance_id = run->message.instance_id,
        .execution_id = run->message.execution_id,
        .task_id = run->message.event.id,
        .scheduled = run->message.scheduled,
        .data = answer->data,
        .failure = answer->failure,
    };
    th_node_result(host->node, &result, run_is_durable, run, now);
}

/* Crashes of an activity are counted by its partition's owner, whom a process that dies cannot
 * tell; so what the flight recorder has seen here often enough fails here. */
static const struct th_flight_culprit *culprit_of(const struct th_host *host,
                                                  const struct th_message *m)
{
    const struct th_flight *flight = host->options.flight;
    for (size_t i = 0; flight && i < th_flight_culprits(flight); i++) {
        const struct th_flight_culprit *c = th_flight_culprit(flight, i);
        if (c->task_id == m->event.id && c->count >= host->options.max_crashes &&
            th_str_eq(th_str_of(c->instance_id), m->instance_id))
            return c;
    }
    return NULL;
}

static void fail_culprit(struct th_host *host, const struct shared_run *run,
                         const struct th_flight_culprit *culprit, th_time now)
{
    const struct th_failure failure = {
        .type = TH_STR("ActivityCrashed"),
        .message = th_str_of(culprit->reason),
        .non_retriable = true,
    };
    const struct th_activity_answer answer = {.token = run->token, .failure = &failure};
    host_enter_run_result(host, &answer, now);
}

static void run_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    struct shared_run *run = (struct shared_run *)errand;
    const struct th_message *m = &run->message;
    const struct th_flight_culprit *culprit = culprit_of(host, m);
    const struct th_activity_work work = {
        .token = run->token,
        .instance_id = m->instance_id,
        .execution_id = m->execution_id,
        .name = m->event.name,
        .version = m->event.version,
        .input = m->event.data,
        .task_id = m->event.id,
        .tags = m->event.tags,
    };
    HASH_ADD(hh, host->runs, token, sizeof run->token, run);
    if (culprit)
        fail_culprit(host, run, culprit, now);
    else if (host->pool)
        th_pool_submit(host->pool, &work);
    else
        host->runner.activity(host->runner.argument, &work);
}

uint64_t th_host_run(struct th_host *host, struct th_blob *message, void (*done)(void *argument),
                     void *argument)
{
    struct shared_run *run = TH_NEW(struct shared_run);
    run->errand = (struct errand){.carry_out = run_carry_out, .drop = run_drop};
    run->host = host;
    run->token = RUN_TOKEN | ++host->last_run;
    run->blob = th_blob_ref(message);
    run->done = done;
    run->argument = argument;
    uint64_t token = run->token;
    struct th_reader in = th_reader_of(th_blob_view(message), &run->arena, NULL);
    if (!th_decode_message(&in, &run->message) ||
        run->message.event.kind != TH_EVENT_TASK_SCHEDULED) {
        run_free(run);
        return 0;
    }
    send_errand(host, &run->errand);
    return token;
}

struct forget {
    struct errand errand;
    uint64_t token;
};

static void forget_drop(struct errand *errand)
{
    free(errand);
}

static void forget_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    struct shared_run *run = find_run(host, ((struct forget *)errand)->token);
    if (run) {
        HASH_DELETE(hh, host->runs, run);
        run_free(run);
    }
    free(errand);
}

bool th_host_withdraw(struct th_host *host, uint64_t token)
{
    if (!host->pool || !th_pool_withdraw(host->pool, token))
        return false;
    struct forget *forget = TH_NEW(struct forget);
    *forget = (struct forget){{.carry_out = forget_carry_out, .drop = forget_drop}, token};
    send_errand(host, &forget->errand);
    return true;
}

struct forward {
    struct errand errand;
    struct th_blob *message;
    uint32_t partition;
    void (*done)(void *argument);
    void *argument;
};

static void forward_drop(struct errand *errand)
{
    th_blob_unref(((struct forward *)errand)->message);
    free(errand);
}

static void forward_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    struct forward *f = (struct forward *)errand;
    th_node_forward(host->node, f->message, f->partition, f->done, f->argument, now);
    forward_drop(errand);
}

void th_host_forward(struct th_host *host, struct th_blob *message, uint32_t activity_partition,
                     void (*done)(void *argument), void *argument)
{
    struct forward *f = TH_NEW(struct forward);
    *f = (struct forward){.errand = {.carry_out = forward_carry_out, .drop = forward_drop},
                          .message = th_blob_ref(message),
                          .partition = activity_partition,
                          .done = done,
                          .argument = argument};
    send_errand(host, &f->errand);
}

void host_drop_runs(struct th_host *host)
{
    struct shared_run *run, *next;
    HASH_ITER(hh, host->runs, run, next) {
        HASH_DELETE(hh, host->runs, run);
        run_free(run);
    }
}

/* ---- looks ----------------------------------------------------------------------------------- */

struct look {
    struct errand errand;
    void (*seen)(void *argument, const struct th_node *node);
    void *argument;
};

static void look_drop(struct errand *errand)
{
    struct look *look = (struct look *)errand;
    look->seen(look->argument, NULL);
    free(look);
}

static void look_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    struct look *look = (struct look *)errand;
    look->seen(look->argument, host->node);
    free(look);
}

void th_host_look(struct th_host *host, void (*seen)(void *argument, const struct th_node *node),
                  void *argument)
{
    struct look *look = TH_NEW(struct look);
    *look = (struct look){.errand = {.carry_out = look_carry_out, .drop = look_drop},
                          .seen = seen,
                          .argument = argument};
    send_errand(host, &look->errand);
}

/* ---- where activities run -------------------------------------------------------------------- */

/* What was placed here reaches the pool when its record is durable, a moment later. What never
 * does, because its instance ended, must not count for ever. */
#define ANNOUNCED_FOR (1 * TH_SECOND)

bool host_goes_out(void *argument, struct th_str name, struct th_str version)
{
    struct th_host *host = argument;
    if (host->options.goes_out(host->options.argument, host, name, version))
        return true;
    host->announced++;
    host->announced_at = th_monotonic();
    return false;
}

void host_not_announced(struct th_host *host)
{
    if (host->announced > 0)
        host->announced--;
}

static void look_at_runner(struct th_host *host, struct th_pool_load *out)
{
    size_t all = host->runner.running(host->runner.argument);
    size_t running = all < host->options.activity_threads ? all : host->options.activity_threads;
    *out = (struct th_pool_load){.threads = host->options.activity_threads,
                                 .running = running,
                                 .waiting = all - running,
                                 .mean = TH_TIME_NONE};
}

void th_host_get_load(struct th_host *host, struct th_pool_load *out)
{
    if (host->pool)
        th_pool_get_load(host->pool, out);
    else
        look_at_runner(host, out);
    if (host->announced > 0 && th_monotonic() - host->announced_at > ANNOUNCED_FOR)
        host->announced = 0;
    out->waiting += host->announced;
}

size_t th_host_load(struct th_host *host)
{
    if (!host->pool)
        return host->runner.running(host->runner.argument);
    return th_pool_running(host->pool) + th_pool_waiting(host->pool);
}
