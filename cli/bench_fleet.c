#include "cli/bench_fleet.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "provider/fleet/connect.h"

#define MEMBERS_PATIENCE (15 * TH_SECOND)

/* ---- opening --------------------------------------------------------------------------------- */

static bool serves_bench(struct bench *b)
{
    bool found = false;
    TH_CONTROL_VIEW view = {.members = NULL};
    th_control_look(b->fleet->control, &view);
    for (size_t i = 0; view.ready && i < view.count; i++)
        found =
            found || th_member_serves(view.members[i], TH_FUNCTION_ORCHESTRATOR, TH_STR("hello5"));
    return found;
}

static bool await_workers(struct bench *b, struct th_error *error)
{
    th_time deadline = th_monotonic() + MEMBERS_PATIENCE;
    while (!serves_bench(b)) {
        if (th_monotonic() > deadline)
            return th_fail(error, TH_UNAVAILABLE,
                           "no worker of hub %s runs apps/bench.so; `deploy/fleet.sh up` starts a "
                           "fleet with two of them",
                           b->fleet->hub.record.name);
        bench_pause(b, 20 * TH_MILLISECOND);
    }
    return true;
}

static bool start_host(struct bench *b, struct th_error *error)
{
    struct bench_fleet *fleet = b->fleet;
    const struct th_kafka_options kafka = {.cluster = fleet->place.place.cluster,
                                           .hub = fleet->hub.record.name};
    struct th_host_options host = {.log = &b->log, .activity_threads = 1, .leases = true};
    host.provider = th_fleet_connect(&kafka, fleet->place.place.redis, error);
    fleet->host = host.provider ? th_host_start(&host, error) : NULL;
    b->gateway = fleet->host ? th_host_gateway(fleet->host) : NULL;
    return fleet->host != NULL;
}

static bool start_control(struct bench_fleet *fleet, struct th_error *error)
{
    const struct th_control_options options = {.cluster = &fleet->place.place.cluster,
                                               .hub = &fleet->hub.record};
    fleet->control = th_control_open(&options, error);
    return fleet->control != NULL;
}

bool bench_fleet_open(struct bench *b, struct th_error *error)
{
    struct bench_fleet *fleet = b->fleet = TH_NEW(struct bench_fleet);
    if (!cli_fleet_init(&fleet->place, b->options))
        return th_fail(error, TH_INVALID, "it is not known where the fleet is");
    if (th_kafka_find_hub(&fleet->place.place.cluster, cli_fleet_hub(&fleet->place), &fleet->hub,
                          error) &&
        start_control(fleet, error) && await_workers(b, error) && start_host(b, error)) {
        fleet->cpu_before = bench_fleet_cpu_seconds(b);
        return true;
    }
    bench_fleet_close(b);
    return false;
}

void bench_fleet_close(struct bench *b)
{
    th_control_close(b->fleet->control);
    th_host_stop(b->fleet->host, 1000);
    cli_fleet_deinit(&b->fleet->place);
    free(b->fleet);
    b->fleet = NULL;
}

/* ---- workers --------------------------------------------------------------------------------- */

static bool is_here(const struct th_member *m)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    return m->kind == TH_MEMBER_WORKER && th_str_eq(m->host, th_str_of(host));
}

static void take_worker(struct bench_worker *worker, const struct th_member *m)
{
    *worker = (struct bench_worker){.pid = (pid_t)m->pid};
    snprintf(worker->name, sizeof worker->name, "%.*s", TH_PRI(m->name));
    worker->partitions = th_alloc((m->partitions_count + 1) * sizeof *worker->partitions);
    for (size_t i = 0; i < m->partitions_count; i++)
        if (m->partitions[i].epoch >= 0)
            worker->partitions[worker->partition_count++] = m->partitions[i].index;
}

size_t bench_fleet_workers(struct bench *b, struct bench_worker **out)
{
    TH_CONTROL_VIEW view = {.members = NULL};
    size_t count = 0;
    th_control_look(b->fleet->control, &view);
    *out = th_alloc((view.count + 1) * sizeof **out);
    for (size_t i = 0; i < view.count; i++)
        if (is_here(view.members[i]))
            take_worker(&(*out)[count++], view.members[i]);
    return count;
}

void bench_workers_free(struct bench_worker *workers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(workers[i].partitions);
    free(workers);
}

/* ---- what they cost -------------------------------------------------------------------------- */

static double resident_mb_of(pid_t pid)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    FILE *in = fopen(path, "re");
    if (in && fscanf(in, "%*d %ld", &pages) != 1)
        pages = 0;
    if (in)
        fclose(in);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1024 * 1024);
}

/* proc(5): user and system time are fields 14 and 15, in ticks; the name before may hold blanks. */
static double cpu_seconds_of(pid_t pid)
{
    char path[64];
    char line[1024] = "";
    unsigned long user = 0;
    unsigned long system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *in = fopen(path, "re");
    const char *at = in && fgets(line, sizeof line, in) ? strrchr(line, ')') : NULL;
    if (in)
        fclose(in);
    if (!at ||
        sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double sum_of(struct bench *b, double (*figure)(pid_t pid))
{
    struct bench_worker *workers;
    size_t count = bench_fleet_workers(b, &workers);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += figure(workers[i].pid);
    bench_workers_free(workers, count);
    return sum;
}

double bench_fleet_resident_mb(struct bench *b)
{
    return sum_of(b, resident_mb_of);
}

double bench_fleet_cpu_seconds(struct bench *b)
{
    return sum_of(b, cpu_seconds_of);
}

void bench_fleet_report(struct bench *b, json_t *result)
{
    struct bench_worker *workers;
    size_t count = bench_fleet_workers(b, &workers);
    bench_workers_free(workers, count);
    json_object_set_new(result, "partitions", json_integer(b->fleet->hub.record.partitions));
    json_object_set_new(result, "workers", json_integer((json_int_t)count));
    double cpu = bench_fleet_cpu_seconds(b) - b->fleet->cpu_before;
    bench_figure(b, "workers_rss_mb", bench_fleet_resident_mb(b));
    if (cpu >= 0) /* not when some were killed */
        bench_figure(b, "workers_cpu_seconds", cpu);
}
