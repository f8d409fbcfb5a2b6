/*
 * How fast the projection half in Redis takes rows and answers, and what a row costs there. The
 * rows are as those of a completed hello5: info of 250 bytes, a history of 1,500, input and output
 * of 50. Starts a redis-server of its own, without persistence.
 *
 *   redis_projection [--rows N] [--partitions N] [--seconds N]
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "contract/redis_server.h"
#include "provider/provider.h"
#include "provider/redis/redis.h"

enum { MOST_PARTITIONS = 1024, MOST_BATCH = 500, INFO = 250, HISTORY = 1500, PAYLOAD = 50 };
enum { LARGE = 8 << 20, LARGE_ROWS = 8, SAMPLES = 4096 };

#define FIRST INT64_C(1700000000000000) /* a day in 2023 */

struct options {
    double seconds;
    unsigned rows, partitions;
};

struct bench {
    struct options options;
    struct redis_server *server;
    struct th_provider *provider;
    int wake;
    struct th_random random;
    struct th_watermark marks[MOST_PARTITIONS];
    uint64_t there[MOST_PARTITIONS]; /* rows of each partition */
    struct th_blob *info, *history, *payload;
    uint64_t rows; /* that are there; also their number */
    unsigned waiting;
    struct th_completion last;
    uint32_t latency[SAMPLES];
    size_t samples;
    char some_id[33];
};

/* ---- waiting ---- */

static void on_wake(void *argument)
{
    uint64_t one = 1;
    if (write(((struct bench *)argument)->wake, &one, sizeof(one)) < 0) {
        return; /* the counter is full: it wakes all the same */
    }
}

static void take(struct bench *b, struct th_completion *done)
{
    if (done->error.code != TH_OK) {
        fprintf(stderr, "%s\n", done->error.message);
        exit(1);
    }
    b->waiting--;
    th_completion_deinit(&b->last);
    b->last = *done;
}

/* Until no more than `left` are under way. */
static void wait_for(struct bench *b, unsigned left)
{
    while (b->waiting > left) {
        struct th_completion done;
        if (b->provider->ops->poll(b->provider, &done, 1) == 1) {
            take(b, &done);
            continue;
        }
        struct pollfd fd = {.fd = b->wake, .events = POLLIN};
        uint64_t count;
        if (poll(&fd, 1, -1) < 0 || read(b->wake, &count, sizeof(count)) < 0) {
            exit(1);
        }
    }
}

/* ---- rows ---- */

/* One is created every 100 us, in any partition. */
static struct th_row hello5(struct bench *b, uint32_t partition, char id[static 33])
{
    uint64_t turn = 100 * b->options.partitions;
    th_id_hex(th_random_next(&b->random), th_random_next(&b->random), id);
    th_time created =
        FIRST + (th_time)(b->there[partition]++ * turn + th_random_below(&b->random, turn));
    bool rare = b->rows % 1000 == 0;
    return (struct th_row){
        .instance_id = th_str_n(id, 32),
        .last = b->rows,
        .full = b->rows,
        .status = rare ? TH_STATUS_RUNNING : TH_STATUS_COMPLETED,
        .created = created,
        .updated = created + 5000,
        .completed = rare ? TH_TIME_NONE : created + 5000,
        .name = rare ? TH_STR("rare") : TH_STR("hello5"),
        .info = b->info,
        .input = b->payload,
        .output = b->payload,
        .history = &b->history,
        .history_count = 1,
    };
}

static void submit(struct bench *b, uint32_t partition, const struct th_row *rows, size_t count,
                   int64_t more)
{
    struct th_projection batch = {.partition = partition,
                                  .previous = b->marks[partition],
                                  .next = b->marks[partition],
                                  .rows = rows,
                                  .count = count};
    batch.next.offset++;
    batch.next.rows += (uint64_t)more;
    b->marks[partition] = batch.next;
    b->waiting++;
    b->provider->ops->project(b->provider, &batch, 0);
}

static void project(struct bench *b, uint32_t partition, size_t count)
{
    static char ids[MOST_BATCH][33];
    static struct th_row rows[MOST_BATCH];
    for (size_t i = 0; i < count; i++) {
        rows[i] = hello5(b, partition, ids[i]);
        b->rows++;
    }
    memcpy(b->some_id, ids[0], 33);
    submit(b, partition, rows, count, (int64_t)count);
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

static void sample(struct bench *b, th_time start)
{
    if (b->samples < SAMPLES) {
        b->latency[b->samples++] = (uint32_t)(th_monotonic() - start);
    }
}

/* A figure of INFO; 0: there is none. */
static double info(struct bench *b, const char *section, const char *field)
{
    char *text = redis_server_say(b->server, "INFO %s", section);
    char *found = strstr(text, field);
    double value = found ? atof(found + strlen(field)) : 0;
    free(text);
    return value;
}

static double server_seconds(struct bench *b)
{
    return info(b, "cpu", "used_cpu_user:") + info(b, "cpu", "used_cpu_sys:");
}

/* ---- batches ---- */

static void latency_run(struct bench *b, size_t size)
{
    b->samples = 0;
    for (unsigned i = 0; i < 1000; i++) {
        th_time start = th_monotonic();
        project(b, i % b->options.partitions, size);
        wait_for(b, 0);
        sample(b, start);
    }
    qsort(b->latency, b->samples, sizeof(b->latency[0]), by_value);
}

/* Each partition has one batch under way, as the node has it. */
static void batch_run(struct bench *b, size_t size)
{
    double memory = info(b, "memory", "used_memory:");
    uint64_t before = b->rows;
    latency_run(b, size);
    uint64_t first = b->rows;
    double cpu = server_seconds(b);
    th_time start = th_monotonic();
    th_time end = start + (th_time)(b->options.seconds * 1e6);
    for (uint32_t i = 0; th_monotonic() < end; i++) {
        wait_for(b, b->options.partitions - 1);
        project(b, i % b->options.partitions, size);
    }
    wait_for(b, 0);
    double seconds = (double)(th_monotonic() - start) / 1e6;
    double rows = (double)(b->rows - first);
    printf("batches of %3zu: %7.0f rows/s, server %4.1f us/row; alone p50 %.2f p99 %.2f ms; "
           "%.0f bytes/row\n",
           size, rows / seconds, (server_seconds(b) - cpu) / rows * 1e6, percentile(b, 0.5),
           percentile(b, 0.99),
           (info(b, "memory", "used_memory:") - memory) / (double)(b->rows - before));
    fflush(stdout);
}

static void large_run(struct bench *b)
{
    struct th_blob *history = th_blob_alloc(LARGE);
    memset(history->data, 'h', LARGE);
    struct th_row rows[LARGE_ROWS];
    char ids[LARGE_ROWS][33];
    for (size_t i = 0; i < LARGE_ROWS; i++) {
        rows[i] = hello5(b, 0, ids[i]);
        rows[i].history = &history;
    }
    th_time start = th_monotonic();
    submit(b, 0, rows, LARGE_ROWS, LARGE_ROWS);
    th_time submitted = th_monotonic();
    wait_for(b, 0);
    printf("a batch of 64 MiB: %.0f ms, of which the caller's thread %.2f ms\n",
           (double)(th_monotonic() - start) / 1e3, (double)(submitted - start) / 1e3);
    for (size_t i = 0; i < LARGE_ROWS; i++) {
        rows[i].deleted = true;
    }
    submit(b, 0, rows, LARGE_ROWS, -LARGE_ROWS);
    wait_for(b, 0);
    th_blob_unref(history);
}

static void fill(struct bench *b)
{
    for (uint32_t i = 0; b->rows < b->options.rows; i++) {
        wait_for(b, b->options.partitions - 1);
        project(b, i % b->options.partitions, MOST_BATCH);
    }
    wait_for(b, 0);
}

/* ---- reads ---- */

static struct th_query everything(uint32_t limit)
{
    return (struct th_query){.from = TH_TIME_NONE,
                             .to = TH_TIME_NONE,
                             .completed_from = TH_TIME_NONE,
                             .completed_to = TH_TIME_NONE,
                             .limit = limit};
}

static void ask_query(struct bench *b, const struct th_query *query)
{
    b->waiting++;
    b->provider->ops->query(b->provider, query, 0);
    wait_for(b, 0);
}

static void reset(struct bench *b)
{
    free(redis_server_say(b->server, "CONFIG RESETSTAT"));
    b->samples = 0;
}

/* The longest call says how long others may have waited. */
static void report(struct bench *b, const char *what)
{
    qsort(b->latency, b->samples, sizeof(b->latency[0]), by_value);
    printf("%-44s %4zu rows: p50 %8.2f p99 %8.2f ms, %5.0f calls, the longest %.2f ms\n", what,
           b->last.row_count, percentile(b, 0.5), percentile(b, 0.99),
           info(b, "commandstats", "cmdstat_fcall:calls=") / (double)b->samples,
           info(b, "latencystats", "latency_percentiles_usec_fcall:p100=") / 1e3);
    fflush(stdout);
}

static void query_run(struct bench *b, const char *what, struct th_query query, unsigned times)
{
    reset(b);
    for (unsigned i = 0; i < times; i++) {
        th_time start = th_monotonic();
        ask_query(b, &query);
        sample(b, start);
    }
    report(b, what);
}

/* Page after page. */
static void pages_run(struct bench *b, unsigned times)
{
    struct th_query query = everything(100);
    char *token = NULL;
    reset(b);
    for (unsigned i = 0; i < times; i++) {
        th_time start = th_monotonic();
        query.continuation = th_str_of(token);
        ask_query(b, &query);
        sample(b, start);
        free(token);
        token = th_str_dup(th_str_of(b->last.continuation));
    }
    free(token);
    report(b, "page after page");
}

static void queries(struct bench *b)
{
    struct th_query query = everything(100);
    query_run(b, "no condition", query, 500);
    pages_run(b, 500);
    query.limit = 1000;
    query_run(b, "no condition", query, 100);
    query.payloads = true;
    query_run(b, "no condition, payloads", query, 100);
    query = everything(100);
    query.statuses = TH_STATUS_BIT(TH_STATUS_RUNNING);
    query_run(b, "status of one in a thousand", query, 500);
    query = everything(100);
    query.from = FIRST + (th_time)b->rows * 50;
    query.to = query.from + 10000;
    query_run(b, "a range of creation", query, 500);
    query = everything(100);
    query.id_prefix = TH_STR("abc");
    query_run(b, "prefix of one in 4096, first page", query, 10);
    query.id_prefix = TH_STR("none");
    query_run(b, "prefix of none: reads the whole index", query, 3);
    query = everything(100);
    query.name = TH_STR("rare");
    query_run(b, "name of one in a thousand, first page", query, 5);
    query.name = TH_STR("nobody");
    query_run(b, "name of none: reads through all rows", query, 2);
    query = everything(100);
    query.completed_to = FIRST;
    query_run(b, "end before all: reads through all rows", query, 2);
}

/* Of partition 0, where `some_id` is put first. */
static void loads(struct bench *b)
{
    for (int history = 0; history < 2; history++) {
        reset(b);
        for (unsigned i = 0; i < 2000; i++) {
            th_time start = th_monotonic();
            b->waiting++;
            b->provider->ops->load(b->provider, 0, th_str_of(b->some_id), history, 0);
            wait_for(b, 0);
            sample(b, start);
        }
        report(b, history ? "load with history" : "load without history");
    }
    reset(b);
    for (unsigned i = 0; i < 200; i++) {
        th_time start = th_monotonic();
        b->waiting++;
        b->provider->ops->walk(b->provider, 0, UINT64_MAX, 100, 0);
        wait_for(b, 0);
        sample(b, start);
    }
    report(b, "walk of 100");
}

/* One partition after the other; what they held is freed behind their backs. */
static void clears(struct bench *b)
{
    reset(b);
    for (uint32_t p = 0; p < b->options.partitions; p++) {
        th_time start = th_monotonic();
        struct th_projection batch = {
            .partition = p, .previous = b->marks[p], .next = b->marks[p], .clear = true};
        batch.next.offset++;
        batch.next.rows = 0;
        b->waiting++;
        b->provider->ops->project(b->provider, &batch, 0);
        wait_for(b, 0);
        sample(b, start);
    }
    report(b, "a partition is cleared");
}

/* ---- opening and closing ---- */

static void open_bench(struct bench *b)
{
    static const char *const measured[] = {"--latency-tracking-info-percentiles", "100", NULL};
    struct th_error error = {0};
    b->server = redis_server_start(measured);
    struct th_redis_options options = {.url = redis_server_url(b->server, NULL)};
    struct th_hub_record hub = {
        .name = "bench", .incarnation = 1, .partitions = b->options.partitions};
    b->provider = th_redis_open(&options, &hub, &error);
    if (!b->provider) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    b->wake = eventfd(0, EFD_NONBLOCK);
    b->provider->wake = on_wake;
    b->provider->wake_argument = b;
    for (uint32_t p = 0; p < b->options.partitions; p++) {
        b->marks[p] = TH_WATERMARK_NONE;
    }
    struct th_blob **blobs[] = {&b->info, &b->history, &b->payload};
    static const size_t sizes[] = {INFO, HISTORY, PAYLOAD};
    for (size_t i = 0; i < TH_COUNT(blobs); i++) {
        *blobs[i] = th_blob_alloc(sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++) {
            (*blobs[i])->data[k] = (char)th_random_next(&b->random);
        }
    }
}

static void close_bench(struct bench *b)
{
    th_completion_deinit(&b->last);
    b->provider->ops->close(b->provider);
    redis_server_stop(b->server);
    th_blob_unref(b->info);
    th_blob_unref(b->history);
    th_blob_unref(b->payload);
    close(b->wake);
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {{"rows", 1, NULL, 'r'},
                                          {"partitions", 1, NULL, 'p'},
                                          {"seconds", 1, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'r':
            o->rows = (unsigned)atoi(optarg);
            break;
        case 'p':
            o->partitions = (unsigned)atoi(optarg);
            break;
        case 's':
            o->seconds = atof(optarg);
            break;
        default:
            return false;
        }
    }
    return o->partitions >= 1 && o->partitions <= MOST_PARTITIONS && o->seconds > 0;
}

int main(int argc, char **argv)
{
    static struct bench b = {.options = {.rows = 1000000, .partitions = 12, .seconds = 5}};
    if (!parse(argc, argv, &b.options)) {
        fprintf(stderr, "usage: redis_projection [--rows N] [--partitions N] [--seconds N]\n");
        return 2;
    }
    th_random_seed(&b.random, 1);
    open_bench(&b);
    batch_run(&b, 1);
    batch_run(&b, 20);
    batch_run(&b, MOST_BATCH);
    fill(&b);
    large_run(&b);
    project(&b, 0, 1);
    wait_for(&b, 0);
    printf("%llu rows\n", (unsigned long long)b.rows);
    queries(&b);
    loads(&b);
    clears(&b);
    close_bench(&b);
    return 0;
}
