/*
 * sqlite_append: what the embedded provider can take, on the disk of the given folder.
 *
 *     sqlite_append [--seconds N] [--dir FOLDER] [--fsync-delay US] [--partitions N]
 *                   [--appends N] [--rows N] [--sends N]     per second, for the mixed load
 *
 * Three measurements, one line each: the latency of one append at a time; appends with a window of
 * submissions under way; and a mixed load at fixed rates, shaped like a node's: records of 300
 * bytes, rows that are inserted and later completed, messages that are taken and trimmed at once.
 * CPU is the whole process's, the generator included.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "provider/sqlite/sqlite.h"

enum { RECORD = 300, MESSAGE = 250, WINDOW = 4096, LATENCY_RUNS = 3000, SAMPLES = 1 << 22 };

struct options {
    const char *folder;
    double seconds;
    uint32_t delay, partitions;
    double appends, rows, sends;
};

struct bench {
    struct options options;
    char *file;
    struct th_provider *provider;
    int wake;
    uint64_t epochs[1024];
    int64_t inbox[1024], trimmed[1024], log_end[1024];
    struct th_watermark marks[1024];
    th_time *sent_at; /* by tag */
    uint32_t *latency;
    size_t samples;
    uint64_t tag, appended, outstanding, failed, projected, delivered;
    struct th_random random;
};

static void on_wake(void *argument)
{
    struct bench *b = argument;
    uint64_t one = 1;
    if (write(b->wake, &one, sizeof(one)) < 0) {
        return; /* the counter is full: it wakes all the same */
    }
}

static void take(struct bench *b, struct th_completion *c)
{
    if (c->error.code != TH_OK) {
        b->failed++;
        fprintf(stderr, "%s\n", c->error.message);
    } else if (c->kind == TH_DONE_CLAIM) {
        b->epochs[c->partition] = (uint64_t)c->offset;
    } else if (c->kind == TH_DONE_APPEND) {
        b->appended++;
        b->log_end[c->partition] = c->offset + 1;
        if (b->samples < SAMPLES) {
            b->latency[b->samples++] = (uint32_t)(th_monotonic() - b->sent_at[c->tag % SAMPLES]);
        }
    } else if (c->kind == TH_DONE_DELIVER) {
        b->inbox[c->partition] = c->offset + 1;
        b->delivered++;
    } else if (c->kind == TH_DONE_PROJECT) {
        b->projected++;
    }
    b->outstanding -= c->kind != TH_DONE_DELIVER;
    th_completion_deinit(c);
}

/* Takes what there is; waits up to `microseconds` for something when there is nothing. */
static size_t drain(struct bench *b, int64_t microseconds)
{
    static struct th_completion done[256];
    size_t total = 0;
    for (;;) {
        size_t n = b->provider->ops->poll(b->provider, done, TH_COUNT(done));
        for (size_t i = 0; i < n; i++) {
            take(b, &done[i]);
        }
        total += n;
        if (n == 0 && (total > 0 || microseconds <= 0)) {
            return total;
        }
        if (n == 0) {
            struct pollfd fd = {.fd = b->wake, .events = POLLIN};
            struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000};
            uint64_t count;
            if (ppoll(&fd, 1, &t, NULL) <= 0 || read(b->wake, &count, sizeof(count)) < 0) {
                return total;
            }
        }
    }
}

static void drain_all(struct bench *b)
{
    while (b->outstanding > 0) {
        drain(b, 1000000);
    }
}

static void append(struct bench *b, uint32_t partition, struct th_blob *record)
{
    b->sent_at[b->tag % SAMPLES] = th_monotonic();
    b->outstanding++;
    b->provider->ops->append(b->provider, partition, b->epochs[partition], record, b->tag++);
}

static void open_bench(struct bench *b)
{
    struct th_error error = {0};
    TH_BUFFER path = {0};
    th_buffer_format(&path, "%s/sqlite_append.db", b->options.folder);
    b->file = th_buffer_take(&path);
    struct th_sqlite_options options = {
        .file = b->file, .hub = "Bench", .fsync_delay_us = b->options.delay};
    if (!th_sqlite_create_hub(b->file, "Bench", b->options.partitions, true, &error) ||
        !(b->provider = th_sqlite_open(&options, &error))) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    b->wake = eventfd(0, EFD_NONBLOCK);
    b->provider->wake = on_wake;
    b->provider->wake_argument = b;
    struct th_blob *claim = th_blob_new("claim", 5);
    for (uint32_t i = 0; i < b->options.partitions; i++) {
        b->marks[i].offset = -1;
        b->outstanding++;
        b->provider->ops->claim(b->provider, i, claim, 0);
        b->provider->ops->inbox_open(b->provider, i, 0);
    }
    th_blob_unref(claim);
    drain_all(b);
}

static void close_bench(struct bench *b)
{
    b->provider->ops->close(b->provider);
    static const char *const suffixes[] = {"", "-wal", "-shm", "-Bench.lock"};
    for (size_t i = 0; i < TH_COUNT(suffixes); i++) {
        TH_BUFFER path = {0};
        th_buffer_format(&path, "%s%s", b->file, suffixes[i]);
        TH_AUTOFREE char *name = th_buffer_take(&path);
        unlink(name);
    }
    free(b->file);
    close(b->wake);
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(struct bench *b, double p)
{
    return b->samples ? b->latency[(size_t)(p * (double)(b->samples - 1))] / 1000.0 : 0;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct measure {
    th_time start;
    double cpu;
    uint64_t appended, projected, delivered;
    struct th_sqlite_stats stats;
};

static struct measure begin(struct bench *b)
{
    b->samples = 0;
    struct measure m = {.start = th_monotonic(),
                        .cpu = cpu_seconds(),
                        .appended = b->appended,
                        .delivered = b->delivered};
    th_sqlite_stats(b->provider, &m.stats);
    return m;
}

static void report(struct bench *b, const struct measure *m, const char *what)
{
    double seconds = (double)(th_monotonic() - m->start) / 1e6;
    struct th_sqlite_stats s;
    th_sqlite_stats(b->provider, &s);
    qsort(b->latency, b->samples, sizeof(*b->latency), by_value);
    uint64_t commits = s.commits - m->stats.commits;
    printf(
        "%-8s %8.0f appends/s %6.0f rows/s %6.0f sends/s (%2.0f%% written) %6.0f commits/s "
        "of %.0f pages, commit %.2f ms  append p50 %.2f p99 %.2f max %.2f ms  cpu %3.0f%%  failed %llu\n",
        what, (double)(b->appended - m->appended) / seconds,
        (double)(s.rows - m->stats.rows) / seconds, (double)(b->delivered - m->delivered) / seconds,
        100.0 - 100.0 * (double)(s.sends_skipped - m->stats.sends_skipped) /
                    (double)(s.sends - m->stats.sends + (s.sends == m->stats.sends)),
        (double)commits / seconds,
        (double)(s.pages - m->stats.pages) / (double)(commits + !commits),
        (double)(s.commit_us - m->stats.commit_us) / 1000.0 / (double)(commits + !commits),
        percentile(b, 0.5), percentile(b, 0.99), percentile(b, 1),
        100.0 * (cpu_seconds() - m->cpu) / seconds, (unsigned long long)b->failed);
    fflush(stdout);
}

static void report_files(struct bench *b)
{
    struct stat file = {0};
    struct stat wal = {0};
    TH_BUFFER path = {0};
    th_buffer_format(&path, "%s-wal%c", b->file, 0);
    stat(b->file, &file);
    stat(path.data, &wal);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    struct th_sqlite_stats s;
    th_sqlite_stats(b->provider, &s);
    printf("files    database %.1f MB, WAL %.1f MB, checkpoints %llu, peak memory %.1f MB\n",
           (double)file.st_size / 1e6, (double)wal.st_size / 1e6, (unsigned long long)s.checkpoints,
           (double)u.ru_maxrss / 1e3);
}

/* ---- loads ---- */

static void latency_run(struct bench *b, struct th_blob *record)
{
    struct measure m = begin(b);
    for (int i = 0; i < LATENCY_RUNS; i++) {
        append(b, (uint32_t)i % b->options.partitions, record);
        drain_all(b);
    }
    report(b, &m, "single");
}

static void trim_logs(struct bench *b)
{
    for (uint32_t i = 0; i < b->options.partitions; i++) {
        b->provider->ops->trim_log(b->provider, i, b->log_end[i] - 1000);
    }
}

static void window_run(struct bench *b, struct th_blob *record)
{
    struct measure m = begin(b);
    th_time end = m.start + (th_time)(b->options.seconds * 1e6);
    uint32_t partition = 0;
    while (th_monotonic() < end) {
        for (int i = 0; i < 256 && b->outstanding < WINDOW; i++) {
            append(b, partition++ % b->options.partitions, record);
        }
        trim_logs(b);
        drain(b, 1000000);
    }
    drain_all(b);
    report(b, &m, "window");
}

/* Instances live for two rows: one running, one completed 50 ms later with the rest of the
 * history. The ids of the running ones wait here. */
struct rows {
    char (*ids)[33];
    size_t first, count, capacity;
    struct th_blob *info, *state, *history, *input;
};

static void fill_row(struct rows *r, struct th_row *row, const char *id, bool completed,
                     th_time now)
{
    *row = (struct th_row){
        .instance_id = th_str_n(id, 32),
        .status = completed ? TH_STATUS_COMPLETED : TH_STATUS_RUNNING,
        .created = now,
        .updated = now,
        .completed = completed ? now : TH_TIME_NONE,
        .name = TH_STR("hello5"),
        .info = r->info,
        .state = r->state,
        .input = r->input,
        .output = completed ? r->input : NULL,
        .history = &r->history,
        .history_count = 1,
    };
}

static void project(struct bench *b, struct rows *r, uint32_t partition, size_t count)
{
    struct th_row *rows = th_alloc(count * sizeof(*rows));
    char(*ids)[33] = th_alloc(count * sizeof(*ids));
    th_time now = th_now();
    for (size_t i = 0; i < count; i++) {
        if (i % 2 == 0) {
            th_id_hex(th_random_next(&b->random), th_random_next(&b->random), ids[i]);
            fill_row(r, &rows[i], ids[i], false, now);
            if (r->count < r->capacity) {
                memcpy(r->ids[(r->first + r->count++) % r->capacity], ids[i], 33);
            }
        } else {
            memcpy(ids[i], r->ids[r->first], 33);
            r->first = (r->first + 1) % r->capacity;
            r->count--;
            fill_row(r, &rows[i], ids[i], true, now);
        }
    }
    struct th_watermark next = {b->marks[partition].offset + 1, 0, 0};
    struct th_projection batch = {.partition = partition,
                                  .previous = b->marks[partition],
                                  .next = next,
                                  .rows = rows,
                                  .count = count};
    b->marks[partition] = next;
    b->outstanding++;
    b->provider->ops->project(b->provider, &batch, 0);
    free(rows);
    free(ids);
}

static void tick(struct bench *b, struct rows *r, struct th_blob *record, struct th_blob *message,
                 uint64_t ticks, double interval)
{
    uint32_t n = b->options.partitions;
    double before = (double)ticks * interval;
    double after = before + interval;
    for (uint64_t i = (uint64_t)(b->options.sends * before);
         i < (uint64_t)(b->options.sends * after); i++) {
        b->outstanding++;
        b->provider->ops->send(b->provider, UINT32_MAX, (uint32_t)(i % n), message, 0);
    }
    for (uint64_t i = (uint64_t)(b->options.appends * before);
         i < (uint64_t)(b->options.appends * after); i++) {
        append(b, (uint32_t)(i % n), record);
    }
    drain(b, 0);
    for (uint32_t i = 0; i < n; i++) {
        if (b->inbox[i] > b->trimmed[i]) {
            b->trimmed[i] = b->inbox[i];
            b->provider->ops->trim_inbox(b->provider, i, b->inbox[i]);
        }
    }
    /* Each partition projects every 48 ticks of a millisecond, one after the other. */
    size_t rows = (size_t)(b->options.rows * interval * 4) & ~(size_t)1;
    if (rows > 0 && ticks % 4 == 0) {
        project(b, r, (uint32_t)(ticks / 4 % n), rows);
    }
    if (ticks % 50 == 0) {
        trim_logs(b);
    }
}

static void mixed_run(struct bench *b, struct th_blob *record)
{
    struct rows r = {.capacity = 1 << 16};
    r.ids = th_alloc(r.capacity * sizeof(*r.ids));
    for (r.count = 0; r.count < 500; r.count++) {
        th_id_hex(th_random_next(&b->random), 1, r.ids[r.count]);
    }
    r.info = th_blob_new(record->data, 200);
    r.state = th_blob_new(record->data, 60);
    r.input = th_blob_new("\"world\"", 7);
    r.history = th_blob_alloc(600);
    memset(r.history->data, 'h', r.history->len);
    struct th_blob *message = th_blob_new(record->data, MESSAGE);
    struct measure m = begin(b);
    uint64_t ticks = (uint64_t)(b->options.seconds * 1000);
    for (uint64_t i = 0; i < ticks; i++) {
        tick(b, &r, record, message, i, 0.001);
        int64_t left;
        while ((left = m.start + (th_time)(i + 1) * 1000 - th_monotonic()) > 0) {
            drain(b, left);
        }
    }
    drain_all(b);
    report(b, &m, "mixed");
    th_blob_unref(r.info);
    th_blob_unref(r.state);
    th_blob_unref(r.input);
    th_blob_unref(r.history);
    th_blob_unref(message);
    free(r.ids);
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"seconds", 1, NULL, 's'},    {"dir", 1, NULL, 'd'},     {"fsync-delay", 1, NULL, 'f'},
        {"partitions", 1, NULL, 'p'}, {"appends", 1, NULL, 'a'}, {"rows", 1, NULL, 'r'},
        {"sends", 1, NULL, 'm'},      {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 's':
            o->seconds = atof(optarg);
            break;
        case 'd':
            o->folder = optarg;
            break;
        case 'f':
            o->delay = (uint32_t)atoi(optarg);
            break;
        case 'p':
            o->partitions = (uint32_t)atoi(optarg);
            break;
        case 'a':
            o->appends = atof(optarg);
            break;
        case 'r':
            o->rows = atof(optarg);
            break;
        case 'm':
            o->sends = atof(optarg);
            break;
        default:
            return false;
        }
    }
    return o->partitions >= 1 && o->partitions <= 1024 && o->seconds > 0;
}

int main(int argc, char **argv)
{
    struct bench b = {.options = {.folder = "/tmp",
                                  .seconds = 5,
                                  .partitions = 12,
                                  .appends = 60000,
                                  .rows = 10000,
                                  .sends = 10000}};
    if (!parse(argc, argv, &b.options)) {
        fprintf(stderr, "usage: sqlite_append [--seconds N] [--dir FOLDER] [--fsync-delay US] "
                        "[--partitions N] [--appends N] [--rows N] [--sends N]\n");
        return 2;
    }
    th_random_seed(&b.random, 1);
    b.sent_at = th_alloc(SAMPLES * sizeof(*b.sent_at));
    b.latency = th_alloc(SAMPLES * sizeof(*b.latency));
    struct th_blob *record = th_blob_alloc(RECORD);
    for (size_t i = 0; i < RECORD; i++) {
        record->data[i] = (char)th_random_next(&b.random);
    }
    open_bench(&b);
    latency_run(&b, record);
    window_run(&b, record);
    mixed_run(&b, record);
    report_files(&b);
    close_bench(&b);
    th_blob_unref(record);
    free(b.sent_at);
    free(b.latency);
    return b.failed > 0;
}
