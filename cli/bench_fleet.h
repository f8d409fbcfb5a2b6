/*
 * bench_fleet: the fleet that a bench measures: a host without application as the bench's gateway,
 * and what the workers' heartbeats say of them. Workers on this machine are looked at by their
 * process ids.
 */
#pragma once

#include "cli/bench.h"
#include "cli/fleet.h"
#include "control/control.h"

struct bench_fleet {
    struct cli_fleet place;
    struct th_kafka_hub hub;
    struct th_host *host;
    struct th_control *control;
    double cpu_before; /* of the workers, when the bench began */
};

/* Each worker of this machine, in the order of their names. */
struct bench_worker {
    char name[TH_MEMBER_NAME];
    pid_t pid;
    uint32_t *partitions; /* that it owns */
    size_t partition_count;
};
size_t bench_fleet_workers(struct bench *b, struct bench_worker **out);
void bench_workers_free(struct bench_worker *workers, size_t count);
