/*
 * bench: what the workloads of `taskhub bench` share. The bench is a client like any other: it
 * starts instances through a gateway and counts what it reads back as Completed. Its clients are
 * closed loops made of callbacks; no thread waits for any of them. The embedded hub is the bench's
 * own; of a fleet it is a process without an application, so that messages and answers go over
 * Kafka and Redis, and workers that have apps/bench.so run the functions.
 *
 * Callbacks run on the node's thread, one at a time, so the figures need no lock; the main thread
 * reads them when no call is outstanding any more.
 */
#pragma once

#include "cli/bench_functions.h"
#include "cli/options.h"
#include "worker/hub.h"

struct bench {
    const struct cli_options *options;
    const char *workload;
    struct th_log log;
    struct th_gateway *gateway; /* of the hub that is measured */
    struct th_queue wake;       /* the main thread's; holds nothing */

    /* the embedded hub */
    char directory[256]; /* removed at the end; empty: --db was given */
    char database[4096];
    struct th_app *app;
    struct th_embedded *hub;
    /* a fleet's; NULL: embedded */
    struct bench_fleet *fleet;

    _Atomic bool measuring, stopping;
    _Atomic int64_t outstanding; /* clients that still wait for an answer */
    _Atomic int64_t completed;   /* while measuring */
    int64_t failed;
    int64_t *samples; /* microseconds */
    size_t sample_count, sample_capacity;
    char trouble[512]; /* the first failure */

    double seconds; /* that were measured */
    json_t *extra;  /* figures of this workload alone */
};

/* One closed loop: start, wait, again. */
struct bench_client {
    struct bench *bench;
    const char *orchestrator;
    const char *input; /* JSON or NULL */
    size_t input_len;
    th_time began;
    th_time due; /* lateness is counted from here; TH_TIME_NONE: latency from `began` */
    bool once;   /* one round only */
};

bool bench_open(struct bench *b, struct th_error *error);
bool bench_close(struct bench *b);

/* Begins the client's first round. */
void bench_client_start(struct bench_client *client);
/* Main thread: until the monotonic deadline, or until nothing is outstanding. */
void bench_sleep_until(struct bench *b, th_time deadline);
bool bench_wait_all(struct bench *b, th_time deadline);
/* Main thread: a moment, whatever is outstanding. */
void bench_pause(struct bench *b, th_time duration);

void bench_sample(struct bench *b, int64_t microseconds);
double bench_percentile_ms(struct bench *b, double share); /* sorts the samples */
void bench_fail(struct bench *b, const char *words);       /* counts it; the first one is shown */
void bench_figure(struct bench *b, const char *name, double value);
int64_t bench_given(int64_t option, int64_t otherwise);
double bench_seconds_since(th_time monotonic);
/* Of the processes that run the functions: this one, or the fleet's workers on this machine. */
double bench_resident_mb(struct bench *b);

/* ---- one command at a time; main thread ---- */

/* What is kept of a reply. */
struct bench_answer {
    struct bench *bench;
    struct th_error error;
    char id[257];
    enum th_status status;
    bool ready;          /* the custom status says so */
    int64_t early, late; /* of a history: microseconds per step near the start and the end */
    int64_t inbox_end;   /* of a hub: ends of all inboxes together */
    double log_records;  /* … and what their logs hold */
    bool projected;      /* … and every partition's projection stands */
};

/* False: failed, and counted. */
bool bench_ask(struct bench *b, const struct th_command *command, struct bench_answer *out);
struct th_command bench_command(enum th_command_kind kind, const char *id);

/* ---- a fleet (bench_fleet.c) ---- */

bool bench_fleet_open(struct bench *b, struct th_error *error);
void bench_fleet_close(struct bench *b);
double bench_fleet_resident_mb(struct bench *b);
double bench_fleet_cpu_seconds(struct bench *b);
/* What belongs to a fleet's report. */
void bench_fleet_report(struct bench *b, json_t *result);

/* ---- the workloads ---- */

bool bench_loop(struct bench *b);
bool bench_timers(struct bench *b);
bool bench_long_history(struct bench *b);
bool bench_sleepers(struct bench *b);
bool bench_cold_rebuild(struct bench *b);
bool bench_lag(struct bench *b);
bool bench_failover(struct bench *b);
