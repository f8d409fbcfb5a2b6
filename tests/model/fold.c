/*
 * fold: which records are valid, what they make of a partition, and what a loader gets to see.
 */
#include "tests/model/model.h"

#include <string.h>

bool validity_feed(struct validity *v, u8 offset, const struct record *r, bool trusted)
{
    if (r->kind == CLAIM) {
        v->epoch = offset;
        v->nonce = r->owner;
        v->started = true;
        return false;
    }
    if (trusted) {
        v->epoch = r->epoch;
        v->nonce = r->owner;
        v->next = r->seq;
        v->started = true;
    }
    if (!v->started || r->epoch != v->epoch || (RULE(NONCE) && r->owner != v->nonce) ||
        (RULE(SEQUENCE) && r->seq != v->next))
        return false;
    v->next = (u8)(r->seq + 1);
    return true;
}

u32 valid_records(const struct part *p)
{
    struct validity v = {0};
    u32 valid = 0;

    for (u8 n = 0; n < p->count; n++)
        if (validity_feed(&v, n, &p->log[n], false))
            valid |= 1u << n;
    return valid;
}

u8 last_claim(const struct part *p)
{
    u8 owner = NONE;

    for (u8 n = 0; n < p->count; n++)
        if (p->log[n].kind == CLAIM)
            owner = (u8)(p->log[n].owner - 1);
    return owner;
}

u8 offset_of_stamp(const struct part *p, u8 stamp)
{
    const u32 valid = valid_records(p);

    for (u8 n = 0; n < p->count; n++)
        if (valid >> n & 1 && p->log[n].seq + 1 == stamp)
            return n;
    return NONE;
}

/* ---- the inbox ---- */

u8 origin_key(u8 seq, u8 index)
{
    return (u8)(seq * 4 + index + 1);
}

u16 inbox_accepted(const struct part *p)
{
    u16 accepted = 0;
    u8 highest = 0;

    for (u8 n = 0; n < p->inbox_count; n++) {
        const struct entry *e = &p->inbox[n];
        const u8 key = origin_key(e->seq, e->index);

        if (e->source == PARTITION && RULE(DEDUPE) && key <= highest)
            continue;
        if (e->source == PARTITION)
            highest = key;
        accepted = (u16)(accepted | 1u << n);
    }
    return accepted;
}

u8 inbox_position(const struct part *p, u16 consumed, u16 accepted)
{
    u8 position = 0;

    while (position < p->inbox_count && (consumed >> position & 1 || !(accepted >> position & 1)))
        position++;
    return position;
}

u8 inbox_vector(const struct part *p, u8 position)
{
    u8 highest = 0;

    for (u8 n = 0; n < position; n++) {
        const struct entry *e = &p->inbox[n];
        const u8 key = origin_key(e->seq, e->index);

        if (e->source == PARTITION && key > highest)
            highest = key;
    }
    return highest;
}

/* ---- partition state ---- */

static u8 local_ref(u8 seq, u8 index)
{
    return (u8)(seq * 2 + index);
}

static void add_local(struct fold *f, u8 seq, u8 index, u8 message)
{
    const u8 ref = local_ref(seq, index);

    f->locals |= 1u << ref;
    f->local_message[ref] = message;
}

static void add_out(struct fold *f, u8 seq, u8 index, u8 message)
{
    if (f->out_count == OUT_MAX)
        out_of_bounds("OUT_MAX");
    f->outs[f->out_count++] = (struct out){seq, index, message};
}

static void fold_outputs(struct fold *f, u8 part, const struct record *r)
{
    const struct message *m = &workload->messages[r->message];

    for (u8 n = 0; n < 2; n++) {
        const u8 to = (u8)(m->out[n] - 1);

        if (m->out[n] == 0)
            continue;
        if (workload->messages[to].part == part)
            add_local(f, r->seq, n, to);
        else
            add_out(f, r->seq, n, to);
    }
    if (m->activity > 0) {
        f->pending[r->instance] = (u8)(r->seq + 1);
        f->pending_message[r->instance] = (u8)(m->activity - 1);
        add_out(f, r->seq, 2, NONE);
    }
}

static void fold_partition(struct fold *f, u8 part, const struct record *r)
{
    f->next = (u8)(r->seq + 1);
    f->pos = r->pos > f->pos ? r->pos : f->pos;
    f->vec = r->vec;
    f->sent = r->sent > f->sent ? r->sent : f->sent;
    if (r->source == FROM_INBOX)
        f->consumed = (u16)(f->consumed | 1u << r->from);
    if (r->source == FROM_LOCAL)
        f->locals &= ~(1u << r->from);
    if (r->flags & ACCEPTS || r->kind == PURGE)
        f->pending[r->instance] = f->pending_message[r->instance] = 0;
    if (r->kind == EPISODE)
        fold_outputs(f, part, r);
    if (r->kind == PARK)
        add_local(f, r->seq, 0, r->message);
}

/* False: it is in the history already. */
static bool fold_instance(struct row *i, const struct record *r)
{
    const u8 stamp = (u8)(r->seq + 1);

    switch (r->kind) {
    case EPISODE:
        if (r->flags & CREATES) {
            *i = (struct row){.last = stamp, .full = stamp, .history = (u16)(1u << r->seq)};
            return true;
        }
        if (i->history == 0) /* a change without its base: the full copy comes later */
            return true;
        if (i->history >> r->seq & 1)
            return false;
        i->history = (u16)(i->history | 1u << r->seq);
        i->last = stamp;
        return true;
    case PURGE:
        *i = (struct row){.last = stamp};
        return true;
    case SNAPSHOT:
        *i = (struct row){.last = stamp, .full = stamp, .history = r->history};
        return true;
    default:
        return true;
    }
}

void fold_record(struct fold *f, u8 part, const struct record *r)
{
    fold_partition(f, part, r);
    if (r->instance < INSTANCES)
        fold_instance(&f->instances[r->instance], r);
}

void fold_truth(const struct part *p, u8 part, u8 end, u8 stamp, struct fold *out)
{
    struct validity v = {0};

    memset(out, 0, sizeof(*out));
    for (u8 n = 0; n < end; n++)
        if (validity_feed(&v, n, &p->log[n], false) && p->log[n].seq < stamp)
            fold_record(out, part, &p->log[n]);
}

void fold_memory(const struct part *p, u8 part, const struct owner *o, u8 index, struct fold *out)
{
    fold_truth(p, part, o->epoch, NONE, out);
    for (u8 n = (u8)(o->epoch + 1); n < p->count; n++)
        if (p->log[n].owner == index + 1)
            fold_record(out, part, &p->log[n]);
    for (u8 n = 0; n < o->flying; n++)
        fold_record(out, part, &o->flight[n]);
}

/* ---- what a loader sees ---- */

/* Its body holds what its writer had in memory: for a valid checkpoint the truth before it. */
static void fold_checkpoint(const struct part *p, u8 part, u8 offset, struct fold *out)
{
    struct row none[INSTANCES] = {0};

    fold_truth(p, part, offset, NONE, out);
    memcpy(out->instances, none, sizeof(none));
}

bool fold_load(const struct part *p, u8 part, u8 from, u8 end, u8 stamp, const struct row *rows,
               struct fold *out)
{
    struct validity v = {0};
    bool once = true;

    memset(out, 0, sizeof(*out));
    if (from > 0) {
        if (from >= end || p->log[from].kind != CHECKPOINT)
            return false;
        fold_checkpoint(p, part, from, out);
    }
    if (rows)
        memcpy(out->instances, rows, sizeof(out->instances));
    for (u8 n = from; n < end; n++) {
        const struct record *r = &p->log[n];

        if (!validity_feed(&v, n, r, from > 0 && n == from) || r->seq >= stamp)
            continue;
        fold_partition(out, part, r);
        if (r->instance < INSTANCES && (r->seq >= out->instances[r->instance].last || !RULE(SKIP)))
            once = fold_instance(&out->instances[r->instance], r) && once;
    }
    if (!RULE(MARKS))
        out->consumed = 0;
    if (!RULE(LOCALS))
        out->locals = 0;
    return once;
}

void fold_instances(const struct part *p, u8 from, u8 stamp, struct row *out)
{
    struct validity v = {0};

    memset(out, 0, INSTANCES * sizeof(*out));
    for (u8 n = from; n < p->count; n++) {
        const struct record *r = &p->log[n];

        if (validity_feed(&v, n, r, from > 0 && n == from) && r->seq < stamp &&
            r->instance < INSTANCES)
            fold_instance(&out[r->instance], r);
    }
}

static bool rows_differ(const struct row *a, const struct row *b)
{
    if (a->history == 0 || b->history == 0)
        return a->history != b->history;
    return a->last != b->last || a->full != b->full || a->history != b->history;
}

static bool locals_differ(const struct fold *a, const struct fold *b)
{
    if (a->locals != b->locals)
        return true;
    for (u8 n = 0; n < 2 * STAMP_MAX; n++)
        if (a->locals >> n & 1 && a->local_message[n] != b->local_message[n])
            return true;
    return false;
}

static u8 first_unsent(const struct fold *f)
{
    u8 n = 0;

    while (n < f->out_count && f->outs[n].seq < f->sent)
        n++;
    return n;
}

static bool outboxes_differ(const struct fold *a, const struct fold *b)
{
    const u8 from_a = first_unsent(a), from_b = first_unsent(b);
    const u8 count = (u8)(a->out_count - from_a);

    return count != b->out_count - from_b ||
           memcmp(a->outs + from_a, b->outs + from_b, count * sizeof(*a->outs)) != 0;
}

const char *fold_difference(const struct fold *a, const struct fold *b)
{
    const u16 above = (u16) ~((1u << b->pos) - 1);

    if (a->next != b->next)
        return "the next sequence";
    if (a->pos != b->pos)
        return "the position";
    if (a->vec != b->vec)
        return "the vector";
    if ((a->consumed ^ b->consumed) & above)
        return "the marks";
    if (locals_differ(a, b))
        return "the local messages";
    if (outboxes_differ(a, b))
        return "the outbox";
    if (memcmp(a->pending, b->pending, sizeof(a->pending)) != 0)
        return "the pending activities";
    for (u8 n = 0; n < INSTANCES; n++)
        if (rows_differ(&a->instances[n], &b->instances[n]))
            return "the instances";
    return NULL;
}

/* ---- watermarks ---- */

bool watermark_equal(const struct watermark *a, const struct watermark *b)
{
    return a->offset == b->offset && a->seq == b->seq && a->epoch == b->epoch &&
           (!RULE(NUMBER) || a->batch == b->batch);
}

/* Numbers count within an epoch. */
bool watermark_older(const struct watermark *stored, const struct watermark *known)
{
    return stored->epoch < known->epoch ||
           (stored->epoch == known->epoch && stored->batch < known->batch);
}

bool count_is_right(const struct projection *r)
{
    u8 count = 0;

    for (u8 n = 0; n < INSTANCES; n++)
        count = (u8)(count + (r->rows[n].last > 0));
    return !RULE(ROW_COUNT) || count == r->w.rows;
}
