/* Cases about the hub, its logs, and completions in general. */
#include "contract/conformance.h"

void case_hub_record(struct fixture *f)
{
    struct th_hub_record hub = f->provider->hub;
    EXPECT(f, hub.partitions == PARTITIONS);
    EXPECT(f, hub.name[0] != '\0' && memchr(hub.name, 0, sizeof(hub.name)));
    EXPECT(f, hub.incarnation != 0);
    EXPECT(f, hub.created != TH_TIME_NONE);
    struct th_provider_traits traits = f->provider->ops->traits(f->provider);
    EXPECT(f, traits.name && traits.name[0] != '\0');

    EXPECT(f, reopen(f));
    EXPECT(f, f->provider->hub.incarnation == hub.incarnation);
    EXPECT(f, f->provider->hub.partitions == hub.partitions);
    EXPECT(f, f->provider->hub.created == hub.created);
    EXPECT(f, strcmp(f->provider->hub.name, hub.name) == 0);

    f->provider->ops->close(f->provider);
    f->provider = NULL;
    f->subject->destroy(f->storage);
    f->storage = f->subject->create(f->subject, PARTITIONS, 1);
    EXPECT(f, reopen(f));
    EXPECT(f, f->provider->hub.incarnation != hub.incarnation);
}

void case_claim_offsets_grow(struct fixture *f)
{
    uint64_t first;
    uint64_t second;
    uint64_t other;
    EXPECT(f, claimed(f, 1, &first));
    EXPECT(f, claimed(f, 2, &other));
    EXPECT(f, claimed(f, 1, &second));
    EXPECT(f, second > first);

    struct records log;
    EXPECT(f, read_all(f, 1, 0, INT64_MAX, &log));
    EXPECT(f, log.count == 2);
    EXPECT(f, log.items[0].offset == (int64_t)first);
    EXPECT(f, log.items[1].offset == (int64_t)second);
    EXPECT(f, blob_is(log.items[0].bytes, "claim"));
    EXPECT(f, read_all(f, 2, 0, INT64_MAX, &log));
    EXPECT(f, log.count == 1);
}

void case_append_order(struct fixture *f)
{
    enum { COUNT = 60 };
    uint64_t epochs[2];
    uint64_t tags[2][COUNT];
    EXPECT(f, claimed(f, 0, &epochs[0]) && claimed(f, 1, &epochs[1]));
    for (unsigned i = 0; i < COUNT; i++) {
        for (uint32_t p = 0; p < 2; p++) {
            tags[p][i] = ask_append(f, p, epochs[p], text_of(f, "record %u of %u", i, p));
        }
    }
    for (uint32_t p = 0; p < 2; p++) {
        uint64_t arrived = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            const struct th_completion *done = result(f, tags[p][i]);
            EXPECT(f, done && done->error.code == TH_OK);
            EXPECT(f, done->partition == p);
            EXPECT(f, done->offset == (int64_t)epochs[p] + 1 + i);
            uint64_t now = arrival(f, tags[p][i]);
            EXPECT(f, now > arrived);
            arrived = now;
        }
    }
}

void case_read_back(struct fixture *f)
{
    enum { COUNT = 150 };
    uint64_t epoch;
    int64_t offsets[COUNT];
    EXPECT(f, claimed(f, 3, &epoch));
    EXPECT(f, appended(f, 3, epoch, "a", COUNT, offsets));

    struct records log;
    EXPECT(f, read_all(f, 3, (int64_t)epoch + 1, INT64_MAX, &log));
    EXPECT(f, log.count == COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT(f, log.items[i].offset == offsets[i]);
        EXPECT(f, blob_is(log.items[i].bytes, text_of(f, "p3 a %zu", i)));
    }
    EXPECT(f, read_all(f, 2, 0, INT64_MAX, &log));
    EXPECT(f, log.count == 0);
}

void case_read_bounds(struct fixture *f)
{
    uint64_t epoch;
    int64_t at[10];
    struct records log;
    EXPECT(f, claimed(f, 0, &epoch));
    EXPECT(f, appended(f, 0, epoch, "a", 10, at));

    EXPECT(f, read_all(f, 0, at[3], at[7], &log)); /* from included, to not */
    EXPECT(f, log.count == 4);
    EXPECT(f, blob_is(log.items[0].bytes, "p0 a 3") && blob_is(log.items[3].bytes, "p0 a 6"));
    EXPECT(f, read_all(f, 0, at[9], at[9] + 1, &log));
    EXPECT(f, log.count == 1);
    EXPECT(f, read_all(f, 0, at[4], at[4], &log));
    EXPECT(f, log.count == 0);
    EXPECT(f, read_all(f, 0, at[9] + 1, at[9] + 1000, &log)); /* past the end: it ends there */
    EXPECT(f, log.count == 0);
    EXPECT(f, read_all(f, 0, -5, at[0], &log)); /* below the start: from the start */
    EXPECT(f, log.count == 1 && blob_is(log.items[0].bytes, "claim"));
}

void case_two_epochs(struct fixture *f)
{
    uint64_t old;
    uint64_t young;
    EXPECT(f, claimed(f, 0, &old));
    EXPECT(f, appended(f, 0, old, "old", 1, NULL));
    EXPECT(f, claimed(f, 0, &young));
    const struct th_completion *late = result(f, ask_append(f, 0, old, "late"));
    EXPECT(f, late && (late->error.code == TH_OK || late->error.code == TH_FENCED));
    bool landed = late->error.code == TH_OK;
    int64_t offset = late->offset;
    EXPECT(f, appended(f, 0, young, "young", 1, NULL)); /* the owner is not disturbed */

    struct records log;
    EXPECT(f, read_all(f, 0, 0, INT64_MAX, &log));
    EXPECT(f, log.count == (landed ? 5u : 4u));
    EXPECT(f, blob_is(log.items[1].bytes, "p0 old 0"));
    EXPECT(f, log.items[2].offset == (int64_t)young);
    EXPECT(f, !landed || (log.items[3].offset == offset && blob_is(log.items[3].bytes, "late")));
    EXPECT(f, blob_is(log.items[log.count - 1].bytes, "p0 young 0"));
}

static bool failed(const struct th_completion *done)
{
    return done && done->error.code != TH_OK && done->error.message[0] != '\0';
}

void case_failed_append(struct fixture *f)
{
    if (!f->subject->fail_appends) {
        return; /* cannot be provoked from outside */
    }
    uint64_t epoch;
    EXPECT(f, claimed(f, 0, &epoch));
    EXPECT(f, appended(f, 0, epoch, "a", 1, NULL));
    f->subject->fail_appends(f->storage, true);
    uint64_t b = ask_append(f, 0, epoch, "b");
    EXPECT(f, failed(result(f, b)));
    f->subject->fail_appends(f->storage, false);
    EXPECT(f, failed(result(f, ask_append(f, 0, epoch, "c"))));
    uint64_t d = ask_append(f, 0, epoch, "d");
    uint64_t e = ask_append(f, 0, epoch, "e");
    EXPECT(f, failed(result(f, d)) && failed(result(f, e)));

    struct records log;
    EXPECT(f, claimed(f, 0, &epoch)); /* the next lease works again */
    EXPECT(f, appended(f, 0, epoch, "f", 1, NULL));
    EXPECT(f, read_all(f, 0, 0, INT64_MAX, &log));
    for (size_t i = 0; i < log.count; i++) {
        EXPECT(f, !blob_is(log.items[i].bytes, "c") && !blob_is(log.items[i].bytes, "d"));
        EXPECT(f, !blob_is(log.items[i].bytes, "e"));
    }
    EXPECT(f, blob_is(log.items[log.count - 1].bytes, "p0 f 0"));
}

/* `ordered`: what is submitted behind something is durable no earlier than it. So a message that
 * was sent before the failure of an append was known must not arrive either. */
void case_failed_is_ordered(struct fixture *f)
{
    if (!f->subject->fail_appends || !f->provider->ops->traits(f->provider).ordered) {
        return;
    }
    uint64_t epoch;
    EXPECT(f, claimed(f, 0, &epoch));
    f->subject->fail_appends(f->storage, true);
    uint64_t append = ask_append(f, 0, epoch, "never");
    uint64_t send = ask_send(f, 0, 1, "follows from it");
    EXPECT(f, failed(result(f, append)));
    EXPECT(f, failed(result(f, send)));
    f->subject->fail_appends(f->storage, false);
    EXPECT(f, claimed(f, 2, &epoch)); /* a lease may be needed again before anything works */
    EXPECT(f, sent(f, 2, 1, "after", 1));
    EXPECT(f, reopen(f));
    f->provider->ops->inbox_open(f->provider, 1, 0);
    EXPECT(f, wait_deliveries(f, 1) && settle(f));
    EXPECT(f, f->delivery_count == 1 && blob_is(f->deliveries[0].blob, "s2 after 0"));
}

void case_record_too_large(struct fixture *f)
{
    size_t limit = f->provider->ops->traits(f->provider).max_record_bytes;
    uint64_t epoch;
    if (limit == 0 || limit > 64 << 20) {
        return;
    }
    EXPECT(f, claimed(f, 0, &epoch));
    struct th_blob *fits = th_blob_alloc(limit);
    struct th_blob *over = th_blob_alloc(limit + 1);
    memset(fits->data, 'x', limit);
    memset(over->data, 'x', limit + 1);
    const struct th_completion *done = result(f, ask_append_blob(f, 0, epoch, fits));
    bool fitted = done && done->error.code == TH_OK;
    done = result(f, ask_append_blob(f, 0, epoch, over));
    EXPECT(f, fitted);
    EXPECT(f, done && done->error.code == TH_TOO_LARGE);
}

void case_trim_log(struct fixture *f)
{
    uint64_t epoch;
    int64_t at[20];
    struct records log;
    EXPECT(f, claimed(f, 0, &epoch));
    EXPECT(f, appended(f, 0, epoch, "a", 20, at));
    f->provider->ops->trim_log(f->provider, 0, at[12]);
    EXPECT(f, settle(f));

    const struct th_completion *state = result(f, ask_state(f, 0));
    EXPECT(f, state && state->error.code == TH_OK);
    EXPECT(f, state->log_start <= at[12] && state->log_end == at[19] + 1);
    EXPECT(f, read_all(f, 0, 0, INT64_MAX, &log));
    EXPECT(f, log.count >= 8 && log.items[log.count - 8].offset == at[12]);
    EXPECT(f, blob_is(log.items[log.count - 8].bytes, "p0 a 12"));
    EXPECT(f, blob_is(log.items[log.count - 1].bytes, "p0 a 19"));

    f->provider->ops->trim_log(f->provider, 0, at[19] + 1); /* everything */
    EXPECT(f, settle(f) && reopen(f));
    EXPECT(f, claimed(f, 0, &epoch));
    EXPECT(f, (int64_t)epoch == at[19] + 1); /* offsets never go back */
}

void case_state_ends(struct fixture *f)
{
    const struct th_completion *state = result(f, ask_state(f, 2));
    EXPECT(f, state && state->error.code == TH_OK && state->partition == 2);
    EXPECT(f, state->log_start == state->log_end && state->inbox_start == state->inbox_end);
    EXPECT(f, state->watermark.offset == -1);

    uint64_t epoch;
    int64_t at[3];
    EXPECT(f, claimed(f, 2, &epoch) && appended(f, 2, epoch, "a", 3, at));
    f->provider->ops->inbox_open(f->provider, 2, 0);
    EXPECT(f, sent(f, 0, 2, "m", 5) && wait_deliveries(f, 5));
    EXPECT(f, projected(f, 2, 0, NULL, 0));
    state = result(f, ask_state(f, 2));
    EXPECT(f, state && state->error.code == TH_OK);
    EXPECT(f, state->log_start <= (int64_t)epoch && state->log_end == at[2] + 1);
    EXPECT(f, state->inbox_start <= f->deliveries[0].offset);
    EXPECT(f, state->inbox_end == f->deliveries[4].offset + 1);
    struct th_watermark expected = mark(0);
    EXPECT(f, th_watermark_equal(&state->watermark, &expected));
}

void case_wake_up(struct fixture *f)
{
    EXPECT(f, settle(f));
    for (int round = 0; round < 3; round++) {
        unsigned before = atomic_load(&f->wakes);
        uint64_t tag = ask_state(f, 0);
        EXPECT(f, result(f, tag));
        EXPECT(f, atomic_load(&f->wakes) > before);
        EXPECT(f, settle(f));
    }
}

static void ask_one_of_each(struct fixture *f, uint32_t p, uint64_t epoch, unsigned n)
{
    struct th_query query = {.from = TH_TIME_NONE,
                             .to = TH_TIME_NONE,
                             .completed_from = TH_TIME_NONE,
                             .completed_to = TH_TIME_NONE,
                             .limit = 10};
    struct plain_row row = {
        .id = text_of(f, "i%u", n), .name = "n", .info = "info", .completed = TH_TIME_NONE};
    ask_append(f, p, epoch, text_of(f, "%u", n));
    ask_send(f, p, (p + 1) % PARTITIONS, text_of(f, "%u", n));
    ask_read(f, p, 0, INT64_MAX);
    ask_load(f, p, row.id, true);
    ask_state(f, p);
    ask_query(f, &query);
    ask_project(f, p, mark((int64_t)n - 1), mark(n), &row, 1);
}

/* The fixture itself notices completions that are wanting, doubled, or nobody's. */
void case_exactly_one_completion(struct fixture *f)
{
    uint64_t epochs[PARTITIONS];
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        EXPECT(f, claimed(f, p, &epochs[p]));
        f->provider->ops->inbox_open(f->provider, p, 0);
    }
    for (unsigned n = 0; n < 10; n++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            ask_one_of_each(f, p, epochs[p], n);
        }
        collect(f);
    }
    f->provider->ops->inbox_close(f->provider, 1); /* drops deliveries, not completions */
    EXPECT(f, wait_all(f) && settle(f));
}

static size_t known_prefix(struct fixture *f, const struct records *log)
{
    size_t n = 0;
    while (n + 1 < log->count && blob_is(log->items[n + 1].bytes, text_of(f, "%zu", n))) {
        n++;
    }
    return n;
}

/* A close may drop what is under way: what it keeps is a prefix, and all that had completed. */
void case_close_under_way(struct fixture *f)
{
    enum { COUNT = 40 };
    uint64_t epoch;
    uint64_t first = 0;
    EXPECT(f, claimed(f, 0, &epoch));
    for (unsigned n = 0; n < COUNT; n++) {
        uint64_t tag = ask_append(f, 0, epoch, text_of(f, "%u", n));
        first = n == 0 ? tag : first;
        ask_send(f, 0, 1, text_of(f, "%u", n));
        ask_state(f, 2);
    }
    size_t acknowledged = 0;
    EXPECT(f, result(f, first + 3 * 9));
    while (acknowledged < COUNT && arrival(f, first + 3 * acknowledged) > 0) {
        acknowledged++;
    }
    struct records log;
    EXPECT(f, acknowledged >= 10 && reopen(f));
    EXPECT(f, read_all(f, 0, 0, INT64_MAX, &log));
    size_t kept = known_prefix(f, &log);
    EXPECT(f, kept >= acknowledged && kept <= COUNT);
}

void case_reopen_keeps_log(struct fixture *f)
{
    enum { COUNT = 100 };
    uint64_t epoch;
    int64_t at[COUNT];
    struct records log;
    EXPECT(f, claimed(f, 0, &epoch) && appended(f, 0, epoch, "a", COUNT, at));
    EXPECT(f, reopen(f));
    EXPECT(f, read_all(f, 0, 0, INT64_MAX, &log));
    EXPECT(f, log.count == COUNT + 1);
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT(f, log.items[i + 1].offset == at[i]);
        EXPECT(f, blob_is(log.items[i + 1].bytes, text_of(f, "p0 a %zu", i)));
    }
    EXPECT(f, claimed(f, 0, &epoch));
    EXPECT(f, (int64_t)epoch == at[COUNT - 1] + 1);
}

static struct th_blob *large_blob(size_t len, unsigned seed)
{
    struct th_blob *blob = th_blob_alloc(len);
    for (size_t i = 0; i < len; i++) {
        blob->data[i] = (char)((i * 31 + (i >> 12) + seed) & 0xff);
    }
    return blob;
}

static bool same_bytes(const struct th_blob *a, const struct th_blob *b)
{
    return a && b && th_str_eq(th_blob_view(a), th_blob_view(b));
}

void case_big_records(struct fixture *f)
{
    size_t limit = f->provider->ops->traits(f->provider).max_record_bytes;
    size_t len = limit > 0 && limit < 20 << 20 ? limit : 20 << 20;
    uint64_t epoch;
    struct records log;
    EXPECT(f, claimed(f, 0, &epoch));
    struct th_blob *big = large_blob(len, 1);
    uint64_t append = ask_append_blob(f, 0, epoch, th_blob_ref(big));
    uint64_t send = ask(f, TH_DONE_SEND);
    f->provider->ops->send(f->provider, 0, 1, big, send);
    f->provider->ops->inbox_open(f->provider, 1, 0);
    const struct th_completion *appended_big = result(f, append);
    const struct th_completion *sent_big = result(f, send);
    bool same = appended_big && appended_big->error.code == TH_OK && sent_big &&
                sent_big->error.code == TH_OK && wait_deliveries(f, 1) &&
                read_all(f, 0, (int64_t)epoch + 1, INT64_MAX, &log) && log.count == 1 &&
                same_bytes(log.items[0].bytes, big) && same_bytes(f->deliveries[0].blob, big);
    th_blob_unref(big);
    EXPECT(f, same);
}
