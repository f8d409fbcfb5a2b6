/*
 * Power cuts under load, seeded. A run submits appends, sends, trims and projections to three
 * partitions, each with a global number in it; somewhere the disk dies. What is on it afterwards
 * must hold all that was completed, dense and in order; and, because the provider is ordered, if
 * it holds number n, then all below n.
 *
 *     unit_sqlite_powercut [ROUNDS [FIRST_SEED]]
 *
 * The same with synchronous=OFF must find losses: otherwise the test would prove nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/memory.h"
#include "unit/sqlite_rig.h"
#include "unit/sqlite_vfs.h"

enum { INSTANCES = 5, STEPS = 400, CUTS_PER_HUB = 4 };

static uint64_t rounds = 40;
static uint64_t first_seed = 1;

enum what { APPEND, SEND, PROJECT };

/* One submission that was made; its number is its index. */
struct deed {
    enum what what;
    uint32_t partition;
    uint64_t tag;   /* of this run */
    uint64_t order; /* SEND, PROJECT: the how-manieth of its partition */
    int64_t offset; /* APPEND: when completed; SEND: when delivered; -1 */
    bool completed;
    bool found;
};

struct trial {
    struct rig rig;
    struct th_random random;
    struct deed *deeds;
    size_t count, capacity;
    size_t run; /* first deed of this run */
    uint64_t epochs[RIG_PARTITIONS];
    struct th_watermark marks[RIG_PARTITIONS];
    uint64_t projections[RIG_PARTITIONS];
    int64_t taken[RIG_PARTITIONS]; /* inbox position that trims may use */
    int64_t log_start[RIG_PARTITIONS], inbox_start[RIG_PARTITIONS]; /* after the cut */
    const char *loss;                                               /* what was found missing */
};

/* ---- submitting ---- */

static struct deed *deed(struct trial *t, enum what what, uint32_t partition)
{
    t->deeds = th_grow(t->deeds, &t->capacity, t->count + 1, sizeof(*t->deeds));
    t->deeds[t->count] = (struct deed){.what = what, .partition = partition, .offset = -1};
    return &t->deeds[t->count++];
}

static void text_of(struct trial *t, char out[static 700])
{
    int n = snprintf(out, 700, "%zu:", t->count);
    size_t more = th_random_below(&t->random, 600);
    memset(out + n, 'x', more);
    out[(size_t)n + more] = '\0';
}

/* Projection k of a partition writes instance k % INSTANCES: status text k, one chunk "k;". */
static void submit_projection(struct trial *t, uint32_t partition)
{
    char id[16], number[32], chunk[40];
    uint64_t k = ++t->projections[partition];
    snprintf(id, sizeof(id), "i%llu", (unsigned long long)(k % INSTANCES));
    snprintf(number, sizeof(number), "%llu", (unsigned long long)k);
    snprintf(chunk, sizeof(chunk), "%llu;", (unsigned long long)k);
    struct th_blob *info = th_blob_new(number, strlen(number));
    struct th_blob *history = th_blob_new(chunk, strlen(chunk));
    struct th_row row = {
        .instance_id = th_str_of(id),
        .last = k,
        .status = TH_STATUS_RUNNING,
        .created = 1,
        .updated = (th_time)k,
        .completed = TH_TIME_NONE,
        .name = TH_STR("cut"),
        .info = info,
        .history = &history,
        .history_count = 1,
    };
    struct th_watermark next = {(int64_t)t->count, 0, k}; /* offset: the global number */
    struct th_projection batch = {.partition = partition,
                                  .previous = t->marks[partition],
                                  .next = next,
                                  .rows = &row,
                                  .count = 1};
    t->marks[partition] = next;
    struct deed *d = deed(t, PROJECT, partition);
    d->order = k;
    d->tag = rig_project(&t->rig, &batch);
    th_blob_unref(info);
    th_blob_unref(history);
}

/* Logs are trimmed below something completed, inboxes below what was delivered. */
static void submit_trim(struct trial *t, uint32_t partition)
{
    const struct th_provider_ops *ops = t->rig.provider->ops;
    if (th_random_below(&t->random, 2)) {
        ops->trim_inbox(t->rig.provider, partition, t->taken[partition]);
        return;
    }
    int64_t end = 0;
    for (size_t i = t->run; i < t->count; i++) {
        const struct deed *d = &t->deeds[i];
        if (d->what == APPEND && d->partition == partition && d->offset > end) {
            end = d->offset;
        }
    }
    ops->trim_log(t->rig.provider, partition, end - (int64_t)th_random_below(&t->random, 20));
}

static void submit_something(struct trial *t)
{
    uint32_t partition = (uint32_t)th_random_below(&t->random, RIG_PARTITIONS);
    char text[700];
    text_of(t, text);
    switch (th_random_below(&t->random, 8)) {
    case 0:
    case 1:
        deed(t, SEND, partition)->tag = rig_send(
            &t->rig, (uint32_t)th_random_below(&t->random, RIG_PARTITIONS + 1), partition, text);
        break;
    case 2:
        submit_projection(t, partition);
        break;
    case 3:
        submit_trim(t, partition);
        break;
    default:
        deed(t, APPEND, partition)->tag =
            rig_append(&t->rig, partition, t->epochs[partition], text);
    }
}

/* ---- what has come back ---- */

static struct deed *named_by(struct trial *t, const struct th_blob *blob)
{
    TH_AUTOFREE char *text = th_str_dup(th_blob_view(blob));
    char *end = NULL;
    size_t number = strtoul(text, &end, 10);
    return end && *end == ':' && number < t->count ? &t->deeds[number] : NULL;
}

static void note_completions(struct trial *t)
{
    rig_poll(&t->rig);
    for (size_t i = t->run; i < t->count; i++) {
        struct deed *d = &t->deeds[i];
        if (!d->completed && t->rig.seen[d->tag] && t->rig.done[d->tag].error.code == TH_OK) {
            d->completed = true;
            d->offset = d->what == APPEND ? t->rig.done[d->tag].offset : d->offset;
        }
    }
    for (size_t i = 0; i < t->rig.delivery_count; i++) {
        const struct th_completion *c = &t->rig.deliveries[i];
        if (c->offset >= t->taken[c->partition]) {
            t->taken[c->partition] = c->offset + 1;
        }
        struct deed *d = named_by(t, c->blob);
        if (d) {
            d->offset = c->offset;
        }
    }
}

static void begin_run(struct trial *t)
{
    t->run = t->count;
    for (uint32_t i = 0; i < RIG_PARTITIONS; i++) {
        t->epochs[i] = (uint64_t)rig_offset(&t->rig, rig_claim(&t->rig, i));
        const struct th_completion *c = rig_wait(&t->rig, rig_state(&t->rig, i));
        t->marks[i] = c->watermark;
        t->projections[i] = c->watermark.offset < 0 ? 0 : c->watermark.sequence;
        t->taken[i] = c->inbox_start;
        t->rig.provider->ops->inbox_open(t->rig.provider, i, c->inbox_start);
    }
}

/* The disk dies while the writer is at work: at a random number of steps, with random pauses. */
static void run_until_cut(struct trial *t)
{
    uint64_t steps = 1 + th_random_below(&t->random, STEPS);
    for (uint64_t i = 0; i < steps; i++) {
        submit_something(t);
        if (th_random_below(&t->random, 20) == 0) {
            note_completions(t);
        }
        if (th_random_below(&t->random, 60) == 0 && t->count > t->run) {
            rig_wait(&t->rig, t->deeds[t->count - 1].tag);
        }
    }
    faulty_disk_cut();
    note_completions(t); /* what was acknowledged up to here counts; what comes later failed */
}

/* ---- what is there afterwards ---- */

static void lost(struct trial *t, const char *what)
{
    if (!t->loss) {
        t->loss = what;
    }
}

/* A log's records are dense, each is what was submitted, in order. */
static void check_log(struct trial *t, uint32_t partition)
{
    const struct th_completion *s = rig_wait(&t->rig, rig_state(&t->rig, partition));
    int64_t next = t->log_start[partition] = s->log_start;
    int64_t end = s->log_end;
    const struct deed *last = NULL;
    while (next < end) {
        const struct th_completion *c =
            rig_wait(&t->rig, rig_read(&t->rig, partition, next, INT64_MAX));
        if (c->error.code != TH_OK || c->record_count == 0) {
            return lost(t, "the log cannot be read");
        }
        for (size_t i = 0; i < c->record_count; i++, next++) {
            struct deed *d = named_by(t, c->records[i].bytes);
            bool claim = rig_blob_is(c->records[i].bytes, "claim");
            if (c->records[i].offset != next || (!claim && !d)) {
                return lost(t, "a log is not dense");
            }
            if (d) {
                if (d <= last || d->partition != partition || d->what != APPEND ||
                    (d->offset >= 0 && d->offset != next)) {
                    return lost(t, "a log is out of order");
                }
                d->found = true;
                last = d;
            }
        }
    }
}

/* Everything sent from the last trim on comes again, in order. */
static void check_inbox(struct trial *t, uint32_t partition)
{
    const struct th_completion *s = rig_wait(&t->rig, rig_state(&t->rig, partition));
    t->inbox_start[partition] = s->inbox_start;
    t->rig.provider->ops->inbox_open(t->rig.provider, partition, s->inbox_start);
    size_t before = t->rig.delivery_count;
    /* A message behind the others says that all have come. */
    rig_wait(&t->rig, rig_send(&t->rig, RIG_CLIENT, partition, "end"));
    rig_wait_deliveries(&t->rig, before + 1);
    while (!rig_blob_is(t->rig.deliveries[t->rig.delivery_count - 1].blob, "end")) {
        rig_wait_deliveries(&t->rig, t->rig.delivery_count + 1);
    }
    const struct deed *last = NULL;
    for (size_t i = before; i + 1 < t->rig.delivery_count; i++) {
        const struct th_completion *c = &t->rig.deliveries[i];
        struct deed *d = c->blob ? named_by(t, c->blob) : NULL;
        if (rig_blob_is(c->blob, "end")) {
            continue; /* of an earlier check */
        }
        if (!d || d <= last || d->what != SEND || d->partition != partition ||
            c->offset >= s->inbox_end) {
            return lost(t, "an inbox is out of order");
        }
        d->found = true;
        last = d;
    }
}

/* The instances are what so many projections make of them. */
static void check_projection(struct trial *t, uint32_t partition)
{
    const struct th_completion *s = rig_wait(&t->rig, rig_state(&t->rig, partition));
    uint64_t k = s->watermark.offset < 0 ? 0 : s->watermark.sequence;
    for (uint64_t i = 0; i < INSTANCES; i++) {
        TH_BUFFER history = {0};
        uint64_t last = 0;
        for (uint64_t j = 1; j <= k; j++) {
            if (j % INSTANCES == i) {
                th_buffer_format(&history, "%llu;", (unsigned long long)j);
                last = j;
            }
        }
        char id[16];
        snprintf(id, sizeof(id), "i%llu", (unsigned long long)i);
        const struct th_completion *c = rig_wait(&t->rig, rig_load(&t->rig, partition, id));
        if ((c->error.code == TH_OK) != (last > 0)) {
            return lost(t, "a row is missing, or too many");
        }
        TH_BUFFER got = {0};
        for (size_t n = 0; last > 0 && n < c->rows->history_count; n++) {
            th_buffer_str(&got, th_blob_view(c->rows->history[n]));
        }
        if (last > 0 &&
            (c->rows->last != last || !th_str_eq(th_buffer_view(&got), th_buffer_view(&history)))) {
            return lost(t, "a row is not its watermark's");
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        struct deed *d = &t->deeds[i];
        if (d->what == PROJECT && d->partition == partition && d->order <= k) {
            d->found = true;
        }
    }
}

static bool trimmed(const struct trial *t, const struct deed *d)
{
    const int64_t *start = d->what == APPEND ? t->log_start : t->inbox_start;
    return d->what != PROJECT && d->offset >= 0 && d->offset < start[d->partition];
}

/* What was completed is there; and below the highest number that survived of this run, everything
 * is. */
static void check_prefix(struct trial *t)
{
    size_t highest = 0;
    for (size_t i = t->run; i < t->count; i++) {
        highest = t->deeds[i].found ? i : highest;
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct deed *d = &t->deeds[i];
        bool expected = d->completed || (i >= t->run && i < highest);
        if (expected && !d->found && !trimmed(t, d)) {
            lost(t, d->completed ? "something completed is gone" : "a middle is gone");
        }
    }
}

static void check_all(struct trial *t)
{
    for (uint32_t i = 0; i < RIG_PARTITIONS; i++) {
        check_log(t, i);
        check_inbox(t, i);
        check_projection(t, i);
    }
    check_prefix(t);
}

/* ---- rounds ---- */

static bool openable(struct trial *t)
{
    struct th_sqlite_options options = {.file = t->rig.file, .hub = "Rig", .vfs = FAULTY_DISK};
    struct th_error error = {0};
    struct th_provider *p = th_sqlite_open(&options, &error);
    if (!p) {
        return false;
    }
    p->ops->close(p);
    return true;
}

static void one_cut(struct trial *t, uint64_t seed, bool no_sync)
{
    rig_open(&t->rig, FAULTY_DISK, no_sync);
    begin_run(t);
    run_until_cut(t);
    rig_close(&t->rig);
    faulty_disk_restore(seed);
    if (!openable(t)) {
        return lost(t, "the file cannot be opened");
    }
    rig_open(&t->rig, FAULTY_DISK, no_sync);
    check_all(t);
    rig_close(&t->rig);
}

/* One hub through several cuts; what was lost, or NULL. */
static const char *trial(uint64_t seed, bool no_sync)
{
    struct trial t = {0};
    rig_init(&t.rig);
    th_random_seed(&t.random, seed);
    for (int i = 0; i < CUTS_PER_HUB && !t.loss; i++) {
        for (size_t j = 0; j < t.count; j++) {
            t.deeds[j].found = false;
        }
        one_cut(&t, seed * CUTS_PER_HUB + (uint64_t)i, no_sync);
    }
    rig_deinit(&t.rig);
    faulty_disk_reset();
    free(t.deeds);
    return t.loss;
}

static void nothing_completed_is_lost(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + rounds; seed++) {
        const char *loss = trial(seed, false);
        if (loss) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, loss);
        }
    }
}

static void without_syncs_losses_are_found(void **state)
{
    unsigned found = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        found += trial(seed, true) != NULL;
    }
    assert_true(found >= 5);
}

int main(int argc, char **argv)
{
    rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : rounds;
    first_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : first_seed;
    faulty_disk_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_completed_is_lost),
        cmocka_unit_test(without_syncs_losses_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
