/*
 * Any bytes as a log and an inbox: a partition recovers from them and works for a while. Each
 * input is cut into pieces by a length of two bytes and a kind in front of each: a record of the
 * log whose epoch and sequence are made to fit, a record as it is, a message, or a row's info.
 */
#include "tests/fuzz/fuzz.h"

#include "base/memory.h"
#include "partition/partition.h"

enum piece { FITTING_RECORD, ANY_RECORD, MESSAGE, TIME, PIECES };

struct pieces {
    const uint8_t *at;
    size_t left;
};

static bool next_piece(struct pieces *p, enum piece *kind, struct th_str *bytes)
{
    size_t len;

    if (p->left < 3)
        return false;
    *kind = (enum piece)(p->at[0] % PIECES);
    len = (size_t)p->at[1] << 8 | p->at[2];
    len = len < p->left - 3 ? len : p->left - 3;
    *bytes = th_str_n((const char *)p->at + 3, len);
    p->at += 3 + len;
    p->left -= 3 + len;
    return true;
}

/* The record of these bytes, made valid; NULL when they are none. */
static struct th_blob *fit(struct th_str bytes, uint64_t sequence)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_record record;
    struct th_reader in = th_reader_of(bytes, &arena, NULL);

    if (!th_decode_record(&in, &record) || record.kind == TH_RECORD_CLAIM)
        return NULL;
    record.incarnation = 1;
    record.epoch = 0;
    record.sequence = sequence;
    th_encode_record(&out, &record);
    return th_blob_new(out.data, out.len);
}

static struct th_partition *partition_new(void)
{
    const struct th_partition_options options = {
        .index = 0,
        .count = 3,
        .incarnation = 1,
        .traits = {.max_record_bytes = 2000, .durable_projection = true, .ordered = true},
        .seed = 1,
        .worker = "w",
        .max_instances = 2,
        .checkpoint_records = 5,
        .max_unacked = 100,
        .max_rows = 100,
        .max_crashes = 3,
    };

    return th_partition_new(&options);
}

static void feed(struct th_partition *p, int64_t offset, struct th_blob *blob)
{
    struct th_error error = {0};

    if (!th_partition_feed(p, offset, blob, false, &error))
        MUST(error.code == TH_CORRUPT && error.message[0]);
    th_blob_unref(blob);
}

/* The log: a claim, then what the input holds. Returns its end. */
static int64_t feed_log(struct th_partition *p, struct pieces pieces)
{
    struct th_blob *claim = th_partition_claim(p, 1);
    uint64_t sequence = 0;
    int64_t offset = 0;
    enum piece kind;
    struct th_str bytes;

    feed(p, offset++, claim);
    while (next_piece(&pieces, &kind, &bytes)) {
        struct th_blob *blob = NULL;

        if (kind == FITTING_RECORD)
            blob = fit(bytes, sequence);
        else if (kind == ANY_RECORD)
            blob = th_blob_new(bytes.data, bytes.len);
        if (!blob)
            continue;
        sequence += kind == FITTING_RECORD;
        feed(p, offset++, blob);
    }
    return offset;
}

struct world {
    struct th_partition *p;
    int64_t log_end;
    th_time now;
};

static void run(struct world *w, struct th_instance *instance)
{
    struct th_episode episode;
    struct th_actions actions = {0};
    struct th_arena *arena = th_partition_arena(instance);

    if (!th_partition_episode(w->p, instance, true, &episode))
        return;
    if (episode.past_count == 0) {
        th_actions_add(&actions, arena, TH_ACTION_SCHEDULE_TASK, 0)->name = TH_STR("t");
        th_actions_add(&actions, arena, TH_ACTION_CREATE_TIMER, 1)->fire_at = w->now + 5;
        th_actions_add(&actions, arena, TH_ACTION_CREATE_CHILD, 2)->name = TH_STR("c");
    } else if (episode.past_count > 20) {
        th_actions_add(&actions, arena, TH_ACTION_COMPLETE, -1)->status =
            TH_STATUS_CONTINUED_AS_NEW;
    }
    th_partition_ran(w->p, instance, &actions, w->now);
}

static bool carry_out(struct world *w, struct th_effect *e)
{
    switch (e->kind) {
    case TH_EFFECT_APPEND:
        th_partition_acked(w->p, e->tag, w->log_end++, w->now);
        break;
    case TH_EFFECT_SEND:
        th_partition_sent(w->p, e->tag);
        break;
    case TH_EFFECT_ACTIVITY:
        th_partition_answer(w->p, e->token, TH_STR("1"), NULL, w->now);
        break;
    case TH_EFFECT_RUN:
        run(w, e->instance);
        break;
    case TH_EFFECT_LOAD:
        th_partition_loaded(w->p, th_str_of(e->id), NULL, w->now);
        break;
    case TH_EFFECT_FENCED:
        return false;
    default:
        break;
    }
    return true;
}

/* False: fenced. Bounded: two instances may send each other work for ever. */
static bool work(struct world *w)
{
    struct th_effect e;
    struct th_projection batch;
    bool fine = true;

    for (int n = 0; n < 200; n++) {
        th_partition_work(w->p, w->now);
        if (!th_partition_effect(w->p, &e))
            break;
        do {
            fine = carry_out(w, &e);
            th_effect_deinit(&e);
        } while (fine && th_partition_effect(w->p, &e));
        if (!fine)
            return false;
    }
    if (th_partition_project(w->p, false, INT64_MAX, &batch))
        th_partition_projected(w->p, NULL);
    return true;
}

static void live(struct world *w, struct pieces pieces)
{
    int64_t offset = th_partition_activate(w->p, w->now);
    enum piece kind;
    struct th_str bytes;
    bool fine;

    w->log_end++;
    fine = work(w);
    while (fine && offset < 10000 && next_piece(&pieces, &kind, &bytes)) {
        if (kind == TIME)
            w->now += 1 + (th_time)bytes.len;
        if (kind == MESSAGE) {
            struct th_blob *blob = th_blob_new(bytes.data, bytes.len);
            th_partition_deliver(w->p, offset++, blob, w->now);
            th_blob_unref(blob);
        }
        fine = work(w);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pieces pieces = {.at = data, .left = size};
    struct world w = {.p = partition_new(), .now = 1000};
    struct th_error error = {0};
    struct th_str id;

    w.log_end = feed_log(w.p, pieces);
    th_partition_begin(w.p, w.log_end, 0, &(struct th_watermark){.offset = -1, .floor = -1}, 0,
                       false, w.now);
    for (size_t n = 0; th_str_present(id = th_partition_wanted(w.p, n)); n++)
        MUST(th_partition_base(w.p, id, NULL, &error));
    live(&w, pieces);
    th_partition_free(w.p);
    return 0;
}
