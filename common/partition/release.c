/*
 * release: I2. Effects that leave the partition are held until the record they follow from is
 * acknowledged and known valid. Acknowledgements carry offsets: an expected one says that nobody
 * wrote in between; a skipped one is read back before it is believed (architecture 3.3).
 */
#include <stdarg.h>
#include <stdio.h>

#include "partition/internal.h"

/* ---- rings of effects ---- */

static struct th_effect *ring_push(struct th_effect **items, size_t *first, size_t *count,
                                   size_t *capacity)
{
    struct th_effect *added;

    if (*first > *count && *first + *count == *capacity) { /* seldom: it pays for itself */
        memmove(*items, *items + *first, *count * sizeof(**items));
        *first = 0;
    }
    *items = th_grow(*items, capacity, *first + *count + 1, sizeof(**items));
    added = &(*items)[*first + (*count)++];
    memset(added, 0, sizeof(*added));
    return added;
}

struct th_effect *effect_hold(struct th_partition *p, enum th_effect_kind kind, uint64_t stamp)
{
    struct th_effect *e =
        ring_push(&p->effects, &p->effect_first, &p->effect_count, &p->effect_capacity);

    e->kind = kind;
    e->stamp = MUTANT(p, RELEASE_BEFORE_ACK) ? 0 : stamp;
    return e;
}

struct th_effect *effect_now(struct th_partition *p, enum th_effect_kind kind)
{
    struct th_effect *e =
        ring_push(&p->ready, &p->ready_first, &p->ready_count, &p->ready_capacity);

    e->kind = kind;
    return e;
}

void effects_release(struct th_partition *p)
{
    while (p->effect_count > 0 && p->effects[p->effect_first].stamp <= p->acked) {
        struct th_effect *e =
            ring_push(&p->ready, &p->ready_first, &p->ready_count, &p->ready_capacity);

        *e = p->effects[p->effect_first++];
        p->effect_count--;
    }
    if (p->effect_count == 0)
        p->effect_first = 0;
}

/* A RUN that was interrupted before it was taken. */
static bool is_over(const struct th_effect *e)
{
    return e->kind == TH_EFFECT_RUN && (!e->instance->turn || e->instance->turn->id != e->tag);
}

bool th_partition_effect(struct th_partition *p, struct th_effect *out)
{
    effects_release(p);
    while (p->ready_count > 0) {
        *out = p->ready[p->ready_first++];
        p->ready_count--;
        if (!is_over(out))
            return true;
    }
    p->ready_first = 0;
    return false;
}

void th_effect_deinit(struct th_effect *effect)
{
    th_blob_unref(effect->blob);
    free(effect->id);
    free(effect->reply_to);
    free(effect->error);
    memset(effect, 0, sizeof(*effect));
}

static bool stands_after_fence(enum th_effect_kind kind)
{
    return kind == TH_EFFECT_SEND || kind == TH_EFFECT_REPLY || kind == TH_EFFECT_CHANGED ||
           kind == TH_EFFECT_CANCEL || kind == TH_EFFECT_FORGET;
}

/* Nothing that is not durable leaves any more, nothing new begins, nothing more is appended.
 * What was released follows from valid records. */
static void drop_speculation(struct th_partition *p)
{
    size_t kept = p->ready_first;

    while (p->effect_count > 0) {
        th_effect_deinit(&p->effects[p->effect_first++]);
        p->effect_count--;
    }
    for (size_t n = p->ready_first; n < p->ready_first + p->ready_count; n++) {
        if (stands_after_fence(p->ready[n].kind))
            p->ready[kept++] = p->ready[n];
        else
            th_effect_deinit(&p->ready[n]);
    }
    p->ready_count = kept - p->ready_first;
}

void fence(struct th_partition *p, enum th_code code, const char *format, ...)
{
    struct th_effect *e;
    va_list arguments;

    if (p->fenced)
        return;
    p->fenced = true;
    p->active = false;
    drop_speculation(p);
    e = effect_now(p, TH_EFFECT_FENCED);
    e->error = TH_NEW(struct th_error);
    e->error->code = code;
    va_start(arguments, format);
    vsnprintf(e->error->message, sizeof(e->error->message), format, arguments);
    va_end(arguments);
}

/* ---- the outbox ---- */

void outbox_add(struct th_partition *p, uint64_t sequence, uint32_t index, uint32_t destination,
                struct th_str bytes)
{
    struct outgoing *o = TH_NEW(struct outgoing);

    o->tag = ++p->next_tag;
    o->sequence = sequence;
    o->index = index;
    o->destination = destination;
    o->blob = th_blob_new(bytes.data, bytes.len);
    DL_APPEND(p->outbox, o);
    HASH_ADD(hh, p->outbox_by_tag, tag, sizeof(o->tag), o);
    if (!p->unreleased)
        p->unreleased = o;
    p->outbox_count++;
    p->unsealed = true;
}

/* In log order, each once per lease. */
void outbox_release(struct th_partition *p)
{
    for (; p->unreleased; p->unreleased = p->unreleased->next) {
        struct outgoing *o = p->unreleased;
        struct th_effect *e;

        if (o->sequence >= p->acked && !MUTANT(p, RELEASE_BEFORE_ACK))
            break;
        e = effect_now(p, TH_EFFECT_SEND);
        e->destination = o->destination;
        e->tag = o->tag;
        e->blob = th_blob_ref(o->blob);
    }
}

static void outgoing_free(struct th_partition *p, struct outgoing *o)
{
    if (p->unreleased == o)
        p->unreleased = o->next;
    DL_DELETE(p->outbox, o);
    HASH_DELETE(hh, p->outbox_by_tag, o);
    th_blob_unref(o->blob);
    free(o);
    p->outbox_count--;
}

void th_partition_sent(struct th_partition *p, uint64_t tag)
{
    struct outgoing *o;

    HASH_FIND(hh, p->outbox_by_tag, &tag, sizeof(tag), o);
    if (o)
        outgoing_free(p, o);
}

void outbox_free(struct th_partition *p)
{
    while (p->outbox)
        outgoing_free(p, p->outbox);
}

/* ---- acknowledgements ---- */

void flight_add(struct th_partition *p, uint64_t sequence)
{
    if (p->flight_first > 1024 && p->flight_first > p->flight_count) {
        memmove(p->flights, p->flights + p->flight_first, p->flight_count * sizeof(*p->flights));
        p->flight_first = 0;
    }
    p->flights = th_grow(p->flights, &p->flight_capacity, p->flight_first + p->flight_count + 1,
                         sizeof(*p->flights));
    p->flights[p->flight_first + p->flight_count++] =
        (struct flight){.sequence = sequence, .offset = -1, .position = p->recorded_position};
}

void run_deferred(struct th_partition *p)
{
    struct th_instance *i = p->deferred;

    p->deferred = NULL;
    while (i) {
        struct th_instance *next = i->next_runnable;
        i->queued = false;
        instance_ready(i);
        i = next;
    }
}

static void acknowledge(struct th_partition *p, const struct flight *f)
{
    p->acked = f->sequence + 1;
    p->acked_offset = f->offset;
    p->acked_position = f->position;
    p->expected_offset = f->offset + 1;
    if (p->checkpoint.stamp > 0 && f->sequence == p->checkpoint.first)
        p->checkpoint.offset = f->offset;
}

static void read_gap(struct th_partition *p, int64_t to)
{
    struct th_effect *e = effect_now(p, TH_EFFECT_READ);

    p->reading_gap = true;
    p->gap_end = to;
    e->from = p->expected_offset;
    e->to = to;
}

static void fence_truncated(struct th_partition *p, const char *what, int64_t offset)
{
    fence(p, TH_TRUNCATED,
          "the log of partition %u lost its end: %s at %lld, expected %lld or later",
          p->options.index, what, (long long)offset, (long long)p->expected_offset);
}

static void take_acknowledgements(struct th_partition *p)
{
    while (p->flight_count > 0 && !p->reading_gap && !p->verifying && !p->fenced) {
        const struct flight f = p->flights[p->flight_first];

        if (f.offset < 0)
            break;
        if (f.offset < p->expected_offset) {
            fence_truncated(p, "an append came to stand", f.offset);
            return;
        }
        if (f.offset > p->expected_offset && !MUTANT(p, SKIP_GAP_CHECK)) {
            read_gap(p, f.offset);
            return;
        }
        p->flight_first++;
        p->flight_count--;
        acknowledge(p, &f);
    }
    if (p->flight_count == 0)
        p->flight_first = 0;
}

static void after_acknowledgement(struct th_partition *p)
{
    if (p->fenced)
        return;
    effects_release(p);
    outbox_release(p);
    run_deferred(p);
    watermark_moved(p);
    trim_log_maybe(p);
}

/* Sequences in flight follow each other without a hole. */
static struct flight *flight_of(struct th_partition *p, uint64_t sequence)
{
    const uint64_t first = p->flight_count > 0 ? p->flights[p->flight_first].sequence : 0;

    if (p->flight_count == 0 || sequence < first || sequence - first >= p->flight_count)
        return NULL;
    return &p->flights[p->flight_first + (size_t)(sequence - first)];
}

void th_partition_acked(struct th_partition *p, uint64_t tag, int64_t offset, th_time now)
{
    struct flight *f = flight_of(p, tag);

    p->now = now > p->now ? now : p->now;
    if (!f)
        return;
    if (offset < 0) {
        fence(p, TH_UNAVAILABLE, "partition %u: an append was acknowledged without its offset",
              p->options.index);
        return;
    }
    f->offset = offset;
    take_acknowledgements(p);
    after_acknowledgement(p);
}

void th_partition_append_failed(struct th_partition *p, const struct th_error *error)
{
    fence(p, error->code, "an append to partition %u failed: %s", p->options.index, error->message);
}

/* Fenced by a claim; also by a hole: only an owner trims, and it keeps its own claim's records. */
static void check_foreign(struct th_partition *p, const struct th_log_record *r, int64_t expected)
{
    struct th_error error = {.code = TH_OK};
    struct th_reader reader = partition_reader(p, th_blob_view(r->bytes), &p->fold_arena, &error);
    struct th_record record;

    if (r->offset != expected)
        fence(p, TH_FENCED,
              "the log of partition %u was trimmed by another owner up to offset %lld",
              p->options.index, (long long)r->offset);
    else if (!th_decode_record(&reader, &record))
        fence(p, error.code, "record %lld of partition %u: %s", (long long)r->offset,
              p->options.index, error.message);
    else if (record.kind == TH_RECORD_CLAIM)
        fence(p, TH_FENCED, "worker \"%.*s\" claimed partition %u at offset %lld",
              TH_PRI(record.worker), p->options.index, (long long)r->offset);
}

void th_partition_gap(struct th_partition *p, const struct th_log_record *records, size_t count,
                      th_time now)
{
    p->now = now > p->now ? now : p->now;
    for (size_t n = 0; n < count; n++)
        check_foreign(p, &records[n], p->expected_offset + (int64_t)n);
    th_arena_reset(&p->fold_arena);
    p->reading_gap = false;
    if (p->fenced)
        return;
    if (p->expected_offset + (int64_t)count != p->gap_end) {
        fence(p, TH_FENCED, "the log of partition %u lacks records before offset %lld",
              p->options.index, (long long)p->gap_end);
        return;
    }
    p->expected_offset = p->gap_end;
    take_acknowledgements(p);
    after_acknowledgement(p);
}

void th_partition_log_end(struct th_partition *p, int64_t known, int64_t end, th_time now)
{
    p->now = now > p->now ? now : p->now;
    if (!p->active || p->reading_gap || p->verifying || p->flight_count > 0)
        return; /* the next acknowledgement tells */
    if (end <= known)
        fence_truncated(p, "it ends", end);
    else if (end > p->expected_offset && !MUTANT(p, SKIP_GAP_CHECK))
        read_gap(p, end);
}

/* ---- doubt ---- */

void th_partition_doubt(struct th_partition *p)
{
    if (!p->active || p->verifying || MUTANT(p, BELIEVE_DOUBT))
        return;
    p->verifying = true;
    effect_now(p, TH_EFFECT_VERIFY)->from = p->acked_offset;
}

/* Whether this is the last record that was acknowledged to this object, or its claim. */
static bool is_own(struct th_partition *p, const struct th_log_record *r)
{
    struct th_reader reader = partition_reader(p, th_blob_view(r->bytes), &p->fold_arena, NULL);
    struct th_record record;
    bool own;

    if (r->offset != p->acked_offset || !th_decode_record(&reader, &record))
        return false;
    if (p->acked_offset == (int64_t)p->epoch)
        own = record.kind == TH_RECORD_CLAIM;
    else
        own = record.kind != TH_RECORD_CLAIM && record.epoch == p->epoch &&
              record.sequence + 1 == p->acked;
    return own && record.nonce == p->claim_nonce && record.incarnation == p->options.incarnation;
}

/* A new leader shows its followers' common end before its own, so a record may be there and not be
 * shown yet: only another one in its place, or a long absence, says that it is lost. */
#define ABSENT_PATIENCE (10 * TH_SECOND)
#define LOOK_AGAIN      (100 * TH_MILLISECOND)

static bool look_again(struct th_partition *p)
{
    if (p->absent_since == TH_TIME_NONE)
        p->absent_since = p->now;
    if (p->now - p->absent_since >= ABSENT_PATIENCE)
        return false;
    p->verifying = true;
    p->verify_at = p->now + LOOK_AGAIN;
    return true;
}

th_time verify_due(struct th_partition *p, th_time next)
{
    if (p->verify_at == TH_TIME_NONE)
        return next;
    if (p->verify_at > p->now)
        return next == TH_TIME_NONE || p->verify_at < next ? p->verify_at : next;
    p->verify_at = TH_TIME_NONE;
    effect_now(p, TH_EFFECT_VERIFY)->from = p->acked_offset;
    return next;
}

void th_partition_verified(struct th_partition *p, const struct th_log_record *records,
                           size_t count, int64_t next, th_time now)
{
    const bool own = count > 0 && is_own(p, &records[0]);
    const bool cleaned = count == 0 && next > p->acked_offset;

    p->now = now > p->now ? now : p->now;
    th_arena_reset(&p->fold_arena);
    p->verifying = false;
    if (!p->active)
        return;
    if (cleaned) {
        fence(p, TH_FENCED, "the log of partition %u was cleaned by another owner",
              p->options.index);
        return;
    }
    if (count == 0 && look_again(p))
        return;
    p->absent_since = TH_TIME_NONE;
    if (!own) {
        fence(p, TH_TRUNCATED,
              "the log of partition %u lost its end: the record acknowledged at %lld is not there",
              p->options.index, (long long)p->acked_offset);
        return;
    }
    take_acknowledgements(p);
    after_acknowledgement(p);
}
