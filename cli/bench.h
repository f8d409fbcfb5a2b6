/*
 * bench: what the workloads of `taskhub bench` share. The bench is a client like any other: it
 * starts instances through the gateway and counts what it reads back as Completed. Its clients are
 * closed loops made of callbacks; no thread waits for any of them.
 *
 * Callbacks run on the node's thread, one at a time, so the figures need no lock; the main thread
 * reads them when no call is outstanding any more.
 */
#pragma once

#include "cli/options.h"
#include "worker/hub.h"

struct bench {
    const struct cli_options *options;
    const char *workload;
    char directory[256]; /* removed at the end; empty: --db was given */
    char database[4096];
    struct th_app *app;
    struct th_log log;
    struct th_embedded *hub;
    struct th_queue wake; /* the main thread's; holds nothing */

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

void bench_sample(struct bench *b, int64_t microseconds);
double bench_percentile_ms(struct bench *b, double share); /* sorts the samples */

/* The workloads. */
bool bench_loop(struct bench *b);
bool bench_timers(struct bench *b);
bool bench_long_history(struct bench *b);

/* The functions they run. */
void bench_register(struct th_app *app);
