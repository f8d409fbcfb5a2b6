/*
 * kafka_append: what the Kafka half of the fleet's provider takes from a real broker.
 *
 *     tests/contract/with_fleet.sh build/release/bin/kafka_append [--runs N] [--partitions N]
 *         [--compression NAME]
 *
 * One line each: an append at a time, from its submission to the poll that shows it; a message at a
 * time, from its submission to its delivery; appends with a window of submissions under way; the
 * backlog that is left, read page by page, by a node that takes some time for each record; the last
 * record alone, as an owner reads back; the ends of a partition. CPU is this process's.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "provider/kafka/kafka.h"

enum { RECORD = 300, WINDOW = 20000, PIPELINED = 1000000, WARM = 2000 };

struct bench {
    unsigned runs;
    uint32_t partitions;
    const char *compression;
    struct th_kafka_cluster cluster;
    struct th_provider *provider;
    int wake;
    uint64_t epochs[64];
    uint64_t tag, outstanding, delivered;
    int64_t last_offset;
    struct th_completion page; /* of the last read: where to go on */
    uint64_t records;
    uint32_t *samples;
};

static void die(const char *what)
{
    fprintf(stderr, "kafka_append: %s\n", what);
    exit(1);
}

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
        die(c->error.message);
    }
    if (c->kind == TH_DONE_DELIVER) {
        b->delivered++;
    } else if (c->kind != TH_DONE_DOUBT) {
        b->outstanding--;
    }
    if (c->kind == TH_DONE_CLAIM) {
        b->epochs[c->partition] = (uint64_t)c->offset;
    } else if (c->kind == TH_DONE_APPEND) {
        b->last_offset = c->offset;
    } else if (c->kind == TH_DONE_READ) {
        b->records += c->record_count;
        b->page.offset = c->offset;
        b->page.last = c->last;
    }
    th_completion_deinit(c);
}

/* Takes what there is, and waits for something when there is nothing. */
static void drain(struct bench *b)
{
    static struct th_completion done[256];
    size_t count = b->provider->ops->poll(b->provider, done, TH_COUNT(done));
    for (size_t i = 0; i < count; i++) {
        take(b, &done[i]);
    }
    if (count == 0) {
        struct pollfd fd = {.fd = b->wake, .events = POLLIN};
        uint64_t counter;
        if (poll(&fd, 1, 20000) <= 0 || read(b->wake, &counter, sizeof(counter)) < 0) {
            die("nothing came for 20 s");
        }
    }
}

static void drain_all(struct bench *b)
{
    while (b->outstanding > 0) {
        drain(b);
    }
}

static void append(struct bench *b, uint32_t partition, struct th_blob *record)
{
    b->outstanding++;
    b->provider->ops->append(b->provider, partition, b->epochs[partition], record, b->tag++);
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report_latency(struct bench *b, const char *what, double cpu)
{
    qsort(b->samples, b->runs, sizeof(*b->samples), by_value);
    printf("%-22s p50 %.3f  p90 %.3f  p99 %.3f  max %.3f ms   cpu %.0f us each\n", what,
           b->samples[b->runs / 2] / 1e3, b->samples[b->runs * 9 / 10] / 1e3,
           b->samples[b->runs * 99 / 100] / 1e3, b->samples[b->runs - 1] / 1e3,
           cpu * 1e6 / b->runs);
    fflush(stdout);
}

/* Runs `once` some times unmeasured, then measures. */
static void measure(struct bench *b, const char *what, void (*once)(struct bench *))
{
    for (unsigned i = 0; i < WARM; i++) {
        once(b);
    }
    double cpu = cpu_seconds();
    for (unsigned i = 0; i < b->runs; i++) {
        th_time start = th_monotonic();
        once(b);
        b->samples[i] = (uint32_t)(th_monotonic() - start);
    }
    report_latency(b, what, cpu_seconds() - cpu);
}

static struct th_blob *record_of(size_t len)
{
    struct th_blob *blob = th_blob_alloc(len);
    for (size_t i = 0; i < len; i++) {
        blob->data[i] = (char)(32 + i * i * 7 % 91);
    }
    return blob;
}

static struct th_blob *record;

static void one_append(struct bench *b)
{
    append(b, 0, record);
    drain_all(b);
}

static void one_message(struct bench *b)
{
    uint64_t before = b->delivered;
    b->outstanding++;
    b->provider->ops->send(b->provider, 0, 1, record, b->tag++);
    while (b->delivered == before) {
        drain(b);
    }
}

static void one_read_back(struct bench *b)
{
    b->outstanding++;
    b->provider->ops->read(b->provider, 0, b->last_offset, b->last_offset + 1, b->tag++);
    drain_all(b);
}

static void one_state(struct bench *b)
{
    b->outstanding++;
    b->provider->ops->state(b->provider, 0, b->tag++);
    drain_all(b);
}

static void pipelined(struct bench *b)
{
    double cpu = cpu_seconds();
    th_time start = th_monotonic();
    for (unsigned sent = 0; sent < PIPELINED; sent++) {
        append(b, sent % b->partitions, record);
        while (b->outstanding >= WINDOW) {
            drain(b);
        }
    }
    drain_all(b);
    double seconds = (double)(th_monotonic() - start) / 1e6;
    printf("%-22s %.0f records/s, %.0f MB/s   cpu %.2f us each\n", "appends, pipelined",
           PIPELINED / seconds, PIPELINED / seconds * RECORD / 1e6,
           (cpu_seconds() - cpu) * 1e6 / PIPELINED);
}

/* `fold`: how long the node takes for a record. */
static void backlog(struct bench *b, const char *what, th_time fold)
{
    th_time start = th_monotonic();
    b->records = 0;
    b->page.offset = 0;
    do {
        uint64_t before = b->records;
        b->outstanding++;
        b->provider->ops->read(b->provider, 0, b->page.offset, INT64_MAX, b->tag++);
        drain_all(b);
        th_time until = th_monotonic() + (th_time)(b->records - before) * fold;
        while (th_monotonic() < until) {
        }
    } while (!b->page.last);
    double seconds = (double)(th_monotonic() - start) / 1e6;
    printf("%-22s %llu records in %.2f s, %.0f records/s, of which the node took %.2f s\n", what,
           (unsigned long long)b->records, seconds, (double)b->records / seconds,
           (double)b->records * (double)fold / 1e6);
}

/* ---- the run ---- */

static void options(struct bench *b, int argc, char **argv)
{
    static const struct option known[] = {{"runs", required_argument, NULL, 'r'},
                                          {"partitions", required_argument, NULL, 'p'},
                                          {"compression", required_argument, NULL, 'c'},
                                          {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'r') {
            b->runs = (unsigned)atoi(optarg);
        } else if (c == 'p') {
            b->partitions = (uint32_t)atoi(optarg);
        } else if (c == 'c') {
            b->compression = optarg;
        } else {
            die("usage: kafka_append [--runs N] [--partitions N] [--compression NAME]");
        }
    }
    if (b->runs < 1 || b->partitions < 2 || b->partitions > TH_COUNT(b->epochs)) {
        die("at least one run, 2 to 64 partitions");
    }
}

static void start(struct bench *b)
{
    struct th_error error;
    b->cluster.brokers = getenv("TASKHUB_KAFKA");
    struct th_kafka_hub_options hub = {.name = "Bench", .partitions = b->partitions};
    struct th_kafka_options open = {
        .cluster = b->cluster, .hub = "Bench", .compression = b->compression};
    th_kafka_delete_hub(&b->cluster, "Bench", NULL);
    if (!th_kafka_create_hub(&b->cluster, &hub, NULL, &error) ||
        !(b->provider = th_kafka_open(&open, &error))) {
        die(error.message);
    }
    b->wake = eventfd(0, EFD_NONBLOCK);
    b->provider->wake = on_wake;
    b->provider->wake_argument = b;
    for (uint32_t p = 0; p < b->partitions; p++) {
        b->outstanding++;
        b->provider->ops->claim(b->provider, p, record, b->tag++);
        b->provider->ops->inbox_open(b->provider, p, 0);
    }
    drain_all(b);
}

int main(int argc, char **argv)
{
    struct bench b = {.runs = 5000, .partitions = 4};
    options(&b, argc, argv);
    b.samples = th_alloc(b.runs * sizeof(*b.samples));
    record = record_of(RECORD);
    start(&b);
    measure(&b, "append, acknowledged", one_append);
    measure(&b, "send, delivered", one_message);
    drain_all(&b);
    measure(&b, "record, read back", one_read_back);
    measure(&b, "ends of a partition", one_state);
    pipelined(&b);
    backlog(&b, "backlog, node at once", 0);
    backlog(&b, "backlog, 10 us each", 10);
    b.provider->ops->close(b.provider);
    th_kafka_delete_hub(&b.cluster, "Bench", NULL);
    th_blob_unref(record);
    free(b.samples);
    close(b.wake);
    return 0;
}
