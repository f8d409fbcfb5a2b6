/*
 * failover: one of the workers that deploy/fleet.sh has started is killed with -9, again and again,
 * while a client per partition starts one short instance after the other. A sample is the time from
 * the kill until instances of every partition that the victim owned move again: until a round that
 * began after the kill has ended.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "cli/bench_fleet.h"

#define KILLS         20
#define MOVE_PATIENCE (60 * TH_SECOND)
#define SETTLE_TIME   (2 * TH_SECOND) /* undisturbed, before the next kill */
#define RETRY_TIME    (20 * TH_MILLISECOND)
#define MOST_WORKERS  16

struct probe {
    struct bench *bench;
    uint32_t partition;
    uint64_t round;
    char id[64];
    th_time began;
    _Atomic th_time moved; /* began and end of the last round: the latest that is over */
    _Atomic th_time ended;
    _Atomic bool idle; /* the last round failed; the main thread starts the next one */
};

/* ---- probes: node's thread ------------------------------------------------------------------- */

/* An id of this partition that nobody has used. */
static void choose_id(struct probe *probe)
{
    uint32_t partitions = probe->bench->fleet->hub.record.partitions;
    do
        snprintf(probe->id, sizeof probe->id, "probe-%" PRIu32 "-%ld-%" PRIu64, probe->partition,
                 (long)getpid(), probe->round++);
    while (th_partition_of(th_str_of(probe->id), partitions) != probe->partition);
}

static void begin_probe(struct probe *probe);

static void end_probe(struct probe *probe, const struct th_error *error)
{
    struct bench *b = probe->bench;
    if (error->code == TH_OK) {
        probe->ended = th_monotonic();
        probe->moved = probe->began;
        b->completed++;
    } else {
        probe->idle = true;
    }
    if (error->code == TH_OK && !b->stopping)
        begin_probe(probe);
    else if (--b->outstanding == 0)
        th_queue_wake(&b->wake);
}

static void on_probe_ended(void *argument, const struct th_reply *reply)
{
    end_probe(argument, &reply->error);
}

static void on_probe_started(void *argument, const struct th_reply *reply)
{
    struct probe *probe = argument;
    struct th_gateway *gateway = probe->bench->gateway;
    if (reply->error.code != TH_OK) {
        end_probe(probe, &reply->error);
        return;
    }
    const struct th_command wait = bench_command(TH_COMMAND_WAIT, probe->id);
    gateway->submit(gateway, &wait, on_probe_ended, probe);
}

/* The caller has counted it as outstanding. */
static void begin_probe(struct probe *probe)
{
    struct th_gateway *gateway = probe->bench->gateway;
    choose_id(probe);
    struct th_command start = bench_command(TH_COMMAND_START, probe->id);
    start.name = TH_STR("child");
    probe->began = th_monotonic();
    gateway->submit(gateway, &start, on_probe_started, probe);
}

/* ---- main thread ----------------------------------------------------------------------------- */

static void restart_idle(struct probe *probes, uint32_t count)
{
    for (uint32_t p = 0; p < count; p++) {
        if (!probes[p].idle || probes[p].bench->stopping)
            continue;
        probes[p].idle = false;
        probes[p].bench->outstanding++;
        begin_probe(&probes[p]);
    }
}

static const char *fleet_folder(void)
{
    const char *folder = getenv("TASKHUB_FLEET");
    return folder && *folder ? folder : "build/fleet";
}

/* The folder of fleet.sh whose process group the worker belongs to; false: none. */
static bool folder_of(pid_t worker, char *out, size_t size)
{
    for (int n = 1; n <= MOST_WORKERS; n++) {
        char path[4096];
        long pid = 0;
        snprintf(path, sizeof path, "%s/worker-%d/pid", fleet_folder(), n);
        FILE *in = fopen(path, "re");
        if (in && fscanf(in, "%ld", &pid) != 1)
            pid = 0;
        if (in)
            fclose(in);
        if (pid > 0 && getpgid(worker) == (pid_t)pid) {
            snprintf(out, size, "%s/worker-%d", fleet_folder(), n);
            return true;
        }
    }
    return false;
}

static bool restart_worker(struct bench *b, const char *folder)
{
    char command[4200];
    snprintf(command, sizeof command, "'%s/start' >/dev/null", folder);
    if (system(command) == 0)
        return true;
    bench_fail(b, "a worker could not be started again");
    return false;
}

static bool have_moved(const struct probe *probes, const struct bench_worker *victim, th_time since)
{
    for (size_t i = 0; i < victim->partition_count; i++)
        if (probes[victim->partitions[i]].moved < since)
            return false;
    return true;
}

static th_time last_end(const struct probe *probes, const struct bench_worker *victim)
{
    th_time last = 0;
    for (size_t i = 0; i < victim->partition_count; i++) {
        th_time ended = probes[victim->partitions[i]].ended;
        last = ended > last ? ended : last;
    }
    return last;
}

/* Every partition's probe has moved of late. */
static bool all_move(const struct probe *probes, uint32_t count, th_time since)
{
    for (uint32_t p = 0; p < count; p++)
        if (probes[p].moved < since)
            return false;
    return true;
}

/* Two workers at least, each of which owns something, and nothing has changed for a while. */
static bool await_settled(struct bench *b, struct probe *probes, struct bench_worker **out,
                          size_t *count)
{
    uint32_t partitions = b->fleet->hub.record.partitions;
    th_time deadline = th_monotonic() + MOVE_PATIENCE;
    th_time since = th_monotonic();
    size_t owned_before = 0;
    while (th_monotonic() < deadline) {
        size_t owners = 0, owned = 0;
        *count = bench_fleet_workers(b, out);
        for (size_t i = 0; i < *count; i++) {
            owners += (*out)[i].partition_count > 0;
            owned = owned * 1025 + (*out)[i].partition_count;
        }
        if (owners < 2 || owned != owned_before)
            since = th_monotonic();
        owned_before = owned;
        if (th_monotonic() - since > SETTLE_TIME && all_move(probes, partitions, since))
            return true;
        bench_workers_free(*out, *count);
        *out = NULL;
        *count = 0;
        restart_idle(probes, partitions);
        bench_pause(b, RETRY_TIME);
    }
    return false;
}

static bool kill_one(struct bench *b, struct probe *probes, const struct bench_worker *victim)
{
    char folder[4096];
    uint32_t partitions = b->fleet->hub.record.partitions;
    if (!folder_of(victim->pid, folder, sizeof folder)) {
        bench_fail(b, "the workers are none of deploy/fleet.sh's: is TASKHUB_FLEET its folder?");
        return false;
    }
    th_time killed = th_monotonic();
    kill(-getpgid(victim->pid), SIGKILL);
    while (!have_moved(probes, victim, killed) && th_monotonic() < killed + MOVE_PATIENCE) {
        restart_idle(probes, partitions);
        bench_pause(b, 2 * TH_MILLISECOND);
    }
    bool moved = have_moved(probes, victim, killed);
    if (moved)
        bench_sample(b, last_end(probes, victim) - killed);
    else
        bench_fail(b, "instances of a killed worker did not move again");
    return restart_worker(b, folder) && moved;
}

static void start_probes(struct bench *b, struct probe *probes, uint32_t count)
{
    for (uint32_t p = 0; p < count; p++) {
        probes[p].bench = b;
        probes[p].partition = p;
        probes[p].idle = true;
    }
    restart_idle(probes, count);
}

bool bench_failover(struct bench *b)
{
    uint32_t partitions = b->fleet->hub.record.partitions;
    int64_t kills = bench_given(b->options->count, KILLS);
    TH_AUTOFREE struct probe *probes = th_alloc(partitions * sizeof *probes);
    th_time began = th_monotonic();
    bool ok = true;
    start_probes(b, probes, partitions);
    for (int64_t i = 0; ok && i < kills; i++) {
        struct bench_worker *workers = NULL;
        size_t count = 0;
        ok = await_settled(b, probes, &workers, &count) &&
             kill_one(b, probes, &workers[(size_t)i % count]);
        bench_workers_free(workers, count);
    }
    b->stopping = true;
    b->seconds = bench_seconds_since(began);
    json_object_set_new(b->extra, "kills", json_integer(kills));
    bench_figure(b, "p95_ms", bench_percentile_ms(b, 0.95));
    if (!ok)
        bench_fail(b, "the fleet did not settle");
    return bench_wait_all(b, th_monotonic() + MOVE_PATIENCE);
}
