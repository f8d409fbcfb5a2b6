/*
 * What the Kafka half does when its broker dies, freezes or comes back, and with large and many
 * messages: on a real broker, which is killed and started again in between.
 */
#include "base/hash.h"
#include "contract/rig.h"
#include "contract/subject_kafka.h"
#include "provider/kafka/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Longer than a broker takes to come back. */
static const struct th_kafka_options patient = {.append_deadline = 90 * TH_SECOND};
static const struct th_kafka_options hasty = {.append_deadline = 4 * TH_SECOND,
                                              .client_timeout = 4 * TH_SECOND};

static struct th_kafka *kafka_of(struct fixture *f)
{
    return th_kafka_of(f->provider);
}

static bool has_failed(const struct th_completion *done, enum th_code code)
{
    return done && done->error.code == code && done->error.message[0] != '\0';
}

static bool went_well(const struct th_completion *done)
{
    return done && done->error.code == TH_OK;
}

/* ---- the broker dies and comes back ---- */

enum { LOTS = 5000 };

static void append_lots(struct fixture *f, const uint64_t epochs[PARTITIONS], unsigned from,
                        uint64_t tags[][PARTITIONS])
{
    for (unsigned i = from; i < from + LOTS; i++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            tags[i][p] = ask_append(f, p, epochs[p], text_of(f, "%u", i));
        }
    }
}

static bool claim_all(struct fixture *f, uint64_t epochs[PARTITIONS])
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        REQUIRE(f, claimed(f, p, &epochs[p]));
    }
    return true;
}

/* Every record is there, at the offset that was acknowledged. */
static bool log_holds(struct fixture *f, uint32_t partition, uint64_t epoch, unsigned count)
{
    struct records log;
    REQUIRE(f, read_all(f, partition, (int64_t)epoch + 1, INT64_MAX, &log));
    REQUIRE(f, log.count == count);
    for (unsigned i = 0; i < count; i++) {
        REQUIRE(f, log.items[i].offset == (int64_t)epoch + 1 + i);
        REQUIRE(f, blob_is(log.items[i].bytes, text_of(f, "%u", i)));
    }
    return true;
}

/* What is acknowledged over the new connection comes behind the doubt. */
static bool doubt_comes_first(struct fixture *f, uint32_t partition, uint64_t tags[][PARTITIONS],
                              uint64_t before)
{
    uint64_t first = 0;
    for (unsigned i = 0; i < 2 * LOTS && first == 0; i++) {
        uint64_t at = arrival(f, tags[i][partition]);
        first = at > before ? at : 0;
    }
    REQUIRE(f, first > 0);
    REQUIRE(f, f->doubted[partition] > before && f->doubted[partition] < first);
    return true;
}

static void broker_killed(struct fixture *f)
{
    static uint64_t tags[2 * LOTS][PARTITIONS];
    uint64_t epochs[PARTITIONS];
    EXPECT(f, claim_all(f, epochs));
    append_lots(f, epochs, 0, tags);
    EXPECT(f, went_well(result(f, tags[LOTS / 10][0])));
    rig_broker("kill");
    append_lots(f, epochs, LOTS, tags);
    while (collect(f) > 0) {
    }
    uint64_t before = f->arrived; /* the broker is dead, and what it said has been heard */
    rig_broker("start");
    for (unsigned i = 0; i < 2 * LOTS; i++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            const struct th_completion *done = result(f, tags[i][p]);
            EXPECT(f, went_well(done) && done->offset == (int64_t)epochs[p] + 1 + i);
        }
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        EXPECT(f, doubt_comes_first(f, p, tags, before));
        EXPECT(f, log_holds(f, p, epochs[p], 2 * LOTS));
    }
}

static bool all_states(struct fixture *f)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        REQUIRE(f, went_well(result(f, ask_state(f, p))));
    return true;
}

/* Of three brokers one dies: its logs go on at the others, over connections that were never cut.
 * Where a partition ends is asked of whoever leads it now, also when the old leader is back. */
static void leader_moves(struct fixture *f)
{
    static uint64_t tags[2 * LOTS][PARTITIONS];
    uint64_t epochs[PARTITIONS];
    EXPECT(f, claim_all(f, epochs));
    append_lots(f, epochs, 0, tags);
    EXPECT(f, wait_all(f));
    EXPECT(f, all_states(f));
    uint64_t before = f->arrived;
    rig_broker("kill --node 1");
    append_lots(f, epochs, LOTS, tags);
    EXPECT(f, wait_all(f));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        EXPECT(f, doubt_comes_first(f, p, tags, before));
        for (unsigned i = 0; i < 2 * LOTS; i++) {
            const struct th_completion *done = result(f, tags[i][p]);
            EXPECT(f, went_well(done) && done->offset == (int64_t)epochs[p] + 1 + i);
        }
        EXPECT(f, log_holds(f, p, epochs[p], 2 * LOTS));
    }
    EXPECT(f, all_states(f));
    rig_broker("start --node 1");
    EXPECT(f, all_states(f));
}

/* A doubt also comes when there is nothing to acknowledge, and only for what is claimed. */
static void doubt_at_rest(struct fixture *f)
{
    uint64_t epoch;
    EXPECT(f, claimed(f, 2, &epoch));
    rig_broker("kill");
    rig_broker("start");
    while (f->doubted[2] == 0) {
        EXPECT(f, let_happen(f));
    }
    EXPECT(f, f->doubted[0] == 0 && f->doubted[1] == 0 && f->doubted[3] == 0);
    EXPECT(f, appended(f, 2, epoch, "a", 10, NULL)); /* the lease goes on */
}

static void messages_survive(struct fixture *f)
{
    enum { MESSAGES = 3000 };
    static uint64_t tags[2 * MESSAGES];
    f->provider->ops->inbox_open(f->provider, 1, 0);
    for (unsigned i = 0; i < MESSAGES; i++) {
        tags[i] = ask_send(f, 0, 1, text_of(f, "%u", i));
    }
    EXPECT(f, went_well(result(f, tags[MESSAGES / 10])));
    rig_broker("kill");
    for (unsigned i = MESSAGES; i < 2 * MESSAGES; i++) {
        tags[i] = ask_send(f, 0, 1, text_of(f, "%u", i));
    }
    rig_broker("start");
    EXPECT(f, wait_all(f) && wait_deliveries(f, 2 * MESSAGES) && settle(f));
    EXPECT(f, f->delivery_count == 2 * MESSAGES); /* each once, in order */
    for (unsigned i = 0; i < 2 * MESSAGES; i++) {
        EXPECT(f, f->asked[i]->completion.error.code == TH_OK);
        EXPECT(f, blob_is(f->deliveries[i].blob, text_of(f, "%u", i)));
    }
}

/* ---- the broker stays away for longer than the deadline ---- */

static void deadline(struct fixture *f)
{
    uint64_t epoch;
    uint64_t other;
    struct records log;
    EXPECT(f, claimed(f, 0, &epoch) && claimed(f, 1, &other));
    EXPECT(f, appended(f, 0, epoch, "a", 1, NULL));
    rig_broker("kill");
    uint64_t late = ask_append(f, 0, epoch, "late");
    uint64_t behind = ask_append(f, 0, epoch, "behind");
    uint64_t claim = ask_claim(f, 2, "claim");
    uint64_t message = ask_send(f, 0, 1, "kept");
    EXPECT(f, has_failed(result(f, late), TH_UNAVAILABLE));
    EXPECT(f, has_failed(result(f, behind), TH_UNAVAILABLE));
    EXPECT(f, has_failed(result(f, claim), TH_UNAVAILABLE));
    EXPECT(f, has_failed(result(f, ask_append(f, 0, epoch, "never")), TH_UNAVAILABLE));

    rig_broker("start");
    uint64_t again = 0;
    do { /* as an owner does; a machine that is busy may need more than one deadline */
        again = ask_claim(f, 0, "claim");
    } while (has_failed(result(f, again), TH_UNAVAILABLE));
    EXPECT(f, went_well(result(f, again)));
    uint64_t next = (uint64_t)result(f, again)->offset;
    EXPECT(f, next > epoch && appended(f, 0, next, "b", 5, NULL));
    EXPECT(f, has_failed(result(f, ask_append(f, 0, epoch, "never")), TH_UNAVAILABLE));
    EXPECT(f, appended(f, 1, other, "c", 5, NULL)); /* had nothing under way: its lease lives */
    EXPECT(f, f->doubted[1] > 0);
    EXPECT(f, went_well(result(f, message)));
    EXPECT(f, read_all(f, 0, 0, INT64_MAX, &log));
    for (size_t i = 0; i < log.count; i++) {
        EXPECT(f, !blob_is(log.items[i].bytes, "never"));
    }
    EXPECT(f, blob_is(log.items[log.count - 1].bytes, "p0 b 4"));
}

static void client_times_out(struct fixture *f)
{
    f->provider->ops->inbox_open(f->provider, 1, 0);
    EXPECT(f, sent(f, TH_SEND_FROM_CLIENT, 1, "early", 1) && wait_deliveries(f, 1));
    rig_freeze(true);
    uint64_t client = ask_send(f, TH_SEND_FROM_CLIENT, 1, "may be late");
    uint64_t worker = ask_send(f, 2, 1, "kept");
    const struct th_completion *failed = result(f, client);
    bool kept_waiting = arrival(f, worker) == 0;
    rig_freeze(false);
    EXPECT(f, has_failed(failed, TH_UNAVAILABLE) && kept_waiting);
    EXPECT(f, went_well(result(f, worker)));
    EXPECT(f, sent(f, TH_SEND_FROM_CLIENT, 1, "again", 3) && sent(f, 2, 1, "more", 3));
    EXPECT(f, wait_deliveries(f, 8));
}

/* While the broker does not answer, nothing makes the node wait for it. */
static void nothing_blocks(struct fixture *f)
{
    uint64_t epoch;
    const struct th_provider_ops *ops = f->provider->ops;
    EXPECT(f, claimed(f, 0, &epoch));
    ops->inbox_open(f->provider, 1, 0);
    ask_read(f, 0, 0, INT64_MAX);
    rig_freeze(true);
    th_time start = th_monotonic();
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        ask_append(f, 0, epoch, "a");
        ask_claim(f, p, "claim");
        ask_send(f, p, 0, "m");
        ask_send(f, TH_SEND_FROM_CLIENT, p, "m");
        ask_read(f, p, 0, INT64_MAX);
        ask_state(f, p);
        ops->inbox_open(f->provider, p, 0);
        ops->inbox_close(f->provider, p);
        ops->trim_log(f->provider, p, 1);
        ops->trim_inbox(f->provider, p, 1);
        collect(f);
    }
    th_time took = th_monotonic() - start;
    rig_freeze(false);
    EXPECT(f, took < TH_SECOND / 2);
    EXPECT(f, wait_all(f)); /* well or not */
}

/* A producer that librdkafka stops for good is replaced; the rest is as after any failure. */
static void fatal_error(struct fixture *f)
{
    uint64_t epoch;
    f->provider->ops->inbox_open(f->provider, 1, 0);
    EXPECT(f, claimed(f, 0, &epoch) && sent(f, 0, 1, "a", 3));
    rd_kafka_test_fatal_error(kafka_of(f)->slots[TH_KAFKA_LOG].writer->client.rk,
                              RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "a test's");
    rd_kafka_test_fatal_error(kafka_of(f)->slots[TH_KAFKA_MESSAGES].writer->client.rk,
                              RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "a test's");
    uint64_t append = ask_append(f, 0, epoch, "never");
    uint64_t message = ask_send(f, 0, 1, "never");
    EXPECT(f, has_failed(result(f, append), TH_UNAVAILABLE));
    EXPECT(f, has_failed(result(f, message), TH_UNAVAILABLE));
    EXPECT(f, claimed(f, 0, &epoch) && appended(f, 0, epoch, "b", 3, NULL));
    EXPECT(f, sent(f, 0, 1, "b", 3) && wait_deliveries(f, 6) && settle(f));
    EXPECT(f, f->delivery_count == 6 && blob_is(f->deliveries[3].blob, "s0 b 0"));
}

/* ---- sizes ---- */

static struct th_blob *large(size_t len)
{
    struct th_blob *blob = th_blob_alloc(len);
    for (size_t i = 0; i < len; i++) { /* what no compression makes smaller */
        blob->data[i] = (char)(th_hash(th_str_n((const char *)&i, sizeof(i)), 1) & 0xff);
    }
    return blob;
}

static uint64_t ask_send_blob(struct fixture *f, uint32_t source, uint32_t destination,
                              struct th_blob *blob)
{
    uint64_t tag = ask(f, TH_DONE_SEND);
    f->provider->ops->send(f->provider, source, destination, blob, tag);
    return tag;
}

static void large_messages(struct fixture *f)
{
    size_t limit = f->provider->ops->traits(f->provider).max_message_bytes;
    EXPECT(f, limit >= (17 << 20));
    f->provider->ops->inbox_open(f->provider, 1, 0);
    struct th_blob *fits = large(limit);
    struct th_blob *over = large(limit + 1);
    uint64_t tags[] = {
        ask_send_blob(f, 0, 1, fits),
        ask_send_blob(f, TH_SEND_FROM_CLIENT, 1, fits),
        ask_send_blob(f, 0, TH_SEND_ACTIVITIES, fits),
        ask_send_blob(f, 0, 1, over),
    };
    uint64_t behind = ask_send(f, 0, 1, "behind one that fails");
    bool sent_all = went_well(result(f, tags[0])) && went_well(result(f, tags[1])) &&
                    went_well(result(f, tags[2]));
    bool delivered = wait_deliveries(f, 2) &&
                     th_str_eq(th_blob_view(f->deliveries[0].blob), th_blob_view(fits)) &&
                     th_str_eq(th_blob_view(f->deliveries[1].blob), th_blob_view(fits));
    th_blob_unref(fits);
    th_blob_unref(over);
    EXPECT(f, sent_all && delivered);
    EXPECT(f, has_failed(result(f, tags[3]), TH_TOO_LARGE));
    EXPECT(f, has_failed(result(f, behind), TH_UNAVAILABLE));
    EXPECT(f, sent(f, 0, 1, "after", 1) && wait_deliveries(f, 3));
}

static size_t resident(void)
{
    long total;
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &pages) != 2) {
        pages = 0;
    }
    if (file) {
        fclose(file);
    }
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The broker has been asked often enough to have sent everything, had it been asked for it. */
static bool let_it_fetch(struct fixture *f)
{
    struct th_kafka_cluster cluster = rig_cluster();
    for (int i = 0; i < 30; i++) {
        struct th_kafka_hub hub;
        struct th_error error;
        REQUIRE(f, th_kafka_find_hub(&cluster, f->provider->hub.name, &hub, &error));
    }
    return true;
}

static void flow_control(struct fixture *f)
{
    enum { MESSAGES = 2000, BYTES = 40000, BOUND = 24 << 20 }; /* 80 MB in all */
    struct th_blob *message = large(BYTES);
    for (unsigned i = 0; i < MESSAGES; i++) {
        ask_send_blob(f, 0, 1, message);
    }
    th_blob_unref(message);
    EXPECT(f, wait_all(f));
    size_t before = resident();
    f->provider->ops->inbox_open(f->provider, 1, 0);
    EXPECT(f, let_it_fetch(f));
    size_t after = resident();
    EXPECT(f, after < before + BOUND);
    EXPECT(f, wait_deliveries(f, MESSAGES) && settle(f));
    EXPECT(f, f->delivery_count == MESSAGES);
    for (size_t i = 1; i < f->delivery_count; i++) {
        EXPECT(f, f->deliveries[i].offset == f->deliveries[i - 1].offset + 1);
    }
}

/* ---- places that are not there ---- */

static void behind_the_end(struct fixture *f)
{
    uint64_t epoch;
    EXPECT(f, claimed(f, 1, &epoch) && sent(f, 0, 1, "a", 3));
    const struct th_completion *done = result(f, ask_read(f, 1, 1000, 2000));
    EXPECT(f, went_well(done) && done->last && done->record_count == 0);
    f->provider->ops->inbox_open(f->provider, 1, 1000);
    EXPECT(f, wait_deliveries(f, 1));
    EXPECT(f, has_failed(&f->deliveries[0], TH_CORRUPT) && !f->deliveries[0].blob);
    EXPECT(f, sent(f, 0, 1, "b", 1) && settle(f) && f->delivery_count == 1);
    f->provider->ops->inbox_open(f->provider, 1, 0);
    EXPECT(f, wait_deliveries(f, 5)); /* the error, and four messages */
}

static bool trimmed(struct fixture *f, int64_t log_start, int64_t inbox_start)
{
    const struct th_completion *state;
    do { /* a trim is done late, and tells nobody */
        state = result(f, ask_state(f, 1));
        REQUIRE(f, went_well(state));
    } while (state->log_start < log_start || state->inbox_start < inbox_start);
    return true;
}

static void below_the_start(struct fixture *f)
{
    uint64_t epoch;
    int64_t at[20];
    struct records log;
    EXPECT(f, claimed(f, 1, &epoch) && appended(f, 1, epoch, "a", 20, at));
    EXPECT(f, sent(f, 0, 1, "m", 20));
    f->provider->ops->trim_log(f->provider, 1, at[5]);
    f->provider->ops->trim_log(f->provider, 1, at[12]);
    f->provider->ops->trim_inbox(f->provider, 1, 15);
    EXPECT(f, trimmed(f, at[12], 15));
    EXPECT(f, read_all(f, 1, 0, INT64_MAX, &log) && log.count == 8);
    EXPECT(f, log.items[0].offset == at[12]);
    f->provider->ops->inbox_open(f->provider, 1, 3);
    EXPECT(f, wait_deliveries(f, 5) && settle(f) && f->delivery_count == 5);
    EXPECT(f, f->deliveries[0].offset == 15);
}

/* A long log, read while it grows: an end is never older than the question. */
static void long_log(struct fixture *f)
{
    enum { RECORDS = 4000, BYTES = 5000 };
    uint64_t epoch;
    struct th_blob *record = large(BYTES);
    EXPECT(f, claimed(f, 0, &epoch));
    for (unsigned i = 0; i < RECORDS; i++) {
        ask_append_blob(f, 0, epoch, th_blob_ref(record));
    }
    th_blob_unref(record);
    EXPECT(f, wait_all(f));
    int64_t next = 0;
    size_t count = 0;
    const struct th_completion *page;
    do {
        EXPECT(f, appended(f, 0, epoch, "more", 1, NULL));
        page = result(f, ask_read(f, 0, next, INT64_MAX));
        EXPECT(f, went_well(page) && (page->last || page->offset > next));
        next = page->offset;
        count += page->record_count;
    } while (!page->last);
    const struct th_completion *state = result(f, ask_state(f, 0));
    EXPECT(f, went_well(state) && state->log_end == next && count == (size_t)next);
}

/* ---- the run ---- */

static const struct trouble {
    const char *name;
    conformance_case *run;
    const struct th_kafka_options *options;
    bool apart; /* needs another rig: only when it is named */
} troubles[] = {
    {"broker_killed", broker_killed, &patient},
    {"leader_moves", leader_moves, &patient, true},
    {"doubt_at_rest", doubt_at_rest, &patient},
    {"messages_survive", messages_survive, &patient},
    {"deadline", deadline, &hasty},
    {"client_times_out", client_times_out, &hasty},
    {"nothing_blocks", nothing_blocks, &patient},
    {"fatal_error", fatal_error, &patient},
    {"large_messages", large_messages, &patient},
    {"flow_control", flow_control, &patient},
    {"behind_the_end", behind_the_end, &patient},
    {"below_the_start", below_the_start, &patient},
    {"long_log", long_log, &patient},
};

static void run_trouble(void **state)
{
    const struct trouble *trouble = *state;
    const struct named_case named = {.name = trouble->name, .run = trouble->run};
    struct subject subject = kafka_subject("kafka", trouble->options);
    char failure[512];
    bool good = conformance_run(&subject, &named, failure);
    if (!good) {
        rig_broker("start"); /* for the others */
        fail_msg("%s: %s", trouble->name, failure);
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[TH_COUNT(troubles)];
    size_t count = 0;
    for (size_t i = 0; i < TH_COUNT(troubles); i++) {
        if (argc < 2 ? !troubles[i].apart : strcmp(argv[1], troubles[i].name) == 0) {
            tests[count++] = (struct CMUnitTest){.name = troubles[i].name,
                                                 .test_func = run_trouble,
                                                 .initial_state = (void *)&troubles[i]};
        }
    }
    return _cmocka_run_group_tests("trouble", tests, count, NULL, NULL);
}
