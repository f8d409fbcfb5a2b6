/*
 * project: what an owner does with the projection: taking it over, reading rows, batches, making
 * it again. Every change is one call that compares the watermark and moves it.
 */
#include "tests/model/model.h"

#include <string.h>

static struct watermark point(u8 offset, const struct owner *o, u8 index)
{
    return (struct watermark){
        .offset = (u8)(offset + 1), .epoch = o->epoch, .nonce = (u8)(index + 1)};
}

/* The newest acknowledged checkpoint that the rows reflect; else what was known. */
static u8 floor_for(const struct part *p, const struct owner *o, u8 seq, u8 otherwise)
{
    const u32 valid = valid_records(p);
    u8 floor = otherwise;

    for (u8 n = 0; n < o->expected; n++)
        if (valid >> n & 1 && p->log[n].kind == CHECKPOINT && n > floor &&
            (p->log[n].seq < seq || !RULE(FLOOR_BELOW)))
            floor = n;
    return floor;
}

static u8 count_of(const struct row *rows)
{
    u8 count = 0;

    for (u8 n = 0; n < INSTANCES; n++)
        count = (u8)(count + (rows[n].history != 0));
    return count;
}

static struct row truth_of(const struct part *p, u8 part, u8 instance, u8 stamp)
{
    struct fold truth;

    fold_truth(p, part, p->count, stamp, &truth);
    return truth.instances[instance];
}

/* ---- own batches ---- */

/* First record of an instance that its row does not reflect. */
static u8 first_missing(const struct part *p, const struct owner *o, u8 index, u8 instance)
{
    struct validity v = {0};

    for (u8 n = 0; n < p->count; n++) {
        const struct record *r = &p->log[n];
        const bool known = n < o->epoch ? validity_feed(&v, n, r, false)
                                        : r->owner == index + 1 && r->kind != CLAIM;
        if (known && r->instance == instance && r->seq >= o->stamps[instance])
            return (u8)(r->seq + 1);
    }
    for (u8 n = 0; n < o->flying; n++)
        if (o->flight[n].instance == instance && o->flight[n].seq >= o->stamps[instance])
            return (u8)(o->flight[n].seq + 1);
    return NONE;
}

/* Everything before the first record left out is in the rows then. */
static u8 sequence_without(const struct part *p, const struct owner *o, u8 index,
                           const struct fold *memory, u8 set)
{
    u8 left = NONE;

    for (u8 n = 0; n < INSTANCES; n++) {
        const bool dirty = memory->instances[n].last > o->stamps[n];
        const u8 first = dirty && !(set >> n & 1) ? first_missing(p, o, index, n) : NONE;

        left = first < left ? first : left;
    }
    if (left > acked_stamp(o))
        return acked_stamp(o);
    return (u8)(left - 1) > o->w.seq ? (u8)(left - 1) : o->w.seq;
}

static struct batch batch_of(const struct part *p, u8 part, const struct owner *o, u8 index,
                             const struct fold *memory, u8 set)
{
    struct batch b = {.kind = OWN_ROWS, .set = set, .upto = acked_stamp(o), .previous = o->w};
    u8 rows = 0;

    if (!RULE(ROWS_ACKED))
        b.upto = memory->next;
    memcpy(b.stamps, o->stamps, sizeof(b.stamps));
    memcpy(b.dropped, o->dropped, sizeof(b.dropped));
    for (u8 n = 0; n < INSTANCES; n++)
        rows =
            (u8)(rows + (truth_of(p, part, n, set >> n & 1 ? b.upto : o->stamps[n]).history != 0));
    b.next = point((u8)(o->expected - 1), o, index);
    if (!RULE(OFFSET) && o->w.offset > 0)
        b.next.offset = o->w.offset;
    b.next.seq = sequence_without(p, o, index, memory, set);
    b.next.floor = floor_for(p, o, b.next.seq, o->w.floor);
    b.next.rows = rows;
    return b;
}

static void send_batch(struct steps *steps, u8 part, u8 index, const struct batch *b, u8 act)
{
    change(steps, part)->owners[index].batch = *b;
    emit(steps, (enum act)act, part, index, b->set);
}

static void own_batches(struct steps *steps, u8 part, u8 index)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    struct fold memory;
    struct batch b;
    u8 ready = 0;

    if (!owner_acts(o) || o->rebuilding || o->batch.kind != NO_BATCH)
        return;
    fold_memory(p, part, o, index, &memory);
    for (u8 n = 0; n < INSTANCES; n++)
        if (memory.instances[n].last > o->stamps[n] &&
            (memory.instances[n].last <= acked_stamp(o) || !RULE(ROWS_ACKED)))
            ready = (u8)(ready | 1u << n);
    for (u8 set = 1; set < ready && config->subset; set++) {
        if (set & ~ready)
            continue;
        b = batch_of(p, part, o, index, &memory, set);
        send_batch(steps, part, index, &b, ACT_BATCH);
    }
    b = batch_of(p, part, o, index, &memory, ready);
    if (ready || (o->w.offset && b.next.floor > o->w.floor)) /* or only the floor moves */
        send_batch(steps, part, index, &b, ACT_BATCH_ALL);
}

/* ---- making it again ---- */

static void begin_again(struct owner *o, const struct watermark *stored)
{
    o->begun = o->start = o->covered = 0;
    o->w = *stored;
}

/* What is stored is not what the owner left there. */
static void lost_projection(struct part *p, u8 part, u8 index)
{
    struct owner *o = &p->owners[index];

    if (RULE(EPOCH) && p->now.w.epoch > o->epoch && p->now.w.offset > 0) {
        owner_die(p, part, index);
        return;
    }
    if (!o->rebuilding) {
        o->target = RULE(TARGET_ACKED) ? acked_stamp(o) : o->w.seq;
        o->rebuilding = 1;
    }
    begin_again(o, &p->now.w);
}

static bool may_notice(const struct owner *o)
{
    return owner_acts(o) && !o->rebuilding && o->batch.kind == NO_BATCH;
}

static void look(struct steps *steps, u8 part, u8 index)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];

    if (!may_notice(o) || (watermark_equal(&p->now.w, &o->w) && count_is_right(&p->now)))
        return;
    lost_projection(change(steps, part), part, index);
    emit(steps, ACT_LOOK, part, index, 0);
}

/* Where the window after stamp `covered` begins to read. */
static u8 next_offset(const struct part *p, const struct owner *o)
{
    return o->begun ? offset_of_stamp(p, (u8)(o->covered + 1)) : p->start;
}

static struct batch window_of(const struct part *p, const struct owner *o, u8 index)
{
    struct batch b = {.kind = WINDOW, .clear = !o->begun, .previous = o->w};
    struct row rows[INSTANCES];

    b.start = p->start;
    b.covered = b.start > 0 ? p->log[b.start].seq : 0;
    if (o->begun && next_offset(p, o) >= p->start) {
        b.start = o->start;
        b.covered = o->covered;
    }
    b.upto = (u8)(b.covered + config->window);
    if (b.upto > o->target)
        b.upto = o->target;
    fold_instances(p, b.start, b.upto, rows);
    b.next = point(o->epoch, o, index);
    b.next.seq = b.upto;
    b.next.floor = b.start;
    b.next.rows = count_of(rows);
    b.next.building = 1;
    return b;
}

static struct batch final_of(const struct part *p, const struct owner *o, u8 index)
{
    struct batch b = {.kind = FINAL,
                      .start = o->start,
                      .covered = o->covered,
                      .upto = o->target,
                      .previous = o->w};
    struct row rows[INSTANCES];

    fold_instances(p, o->start, o->target, rows);
    b.next = point(o->target > o->base ? offset_of_stamp(p, o->target) : o->epoch, o, index);
    b.next.seq = o->target;
    b.next.floor = floor_for(p, o, o->target, o->start);
    b.next.rows = count_of(rows);
    return b;
}

static void rebuild(struct steps *steps, u8 part, u8 index)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    struct batch b;

    if (!o->rebuilding || o->lost || o->batch.kind != NO_BATCH)
        return;
    if (!o->begun && last_claim(p) != index && RULE(READ_TO_END)) {
        owner_die(change(steps, part), part, index);
        emit(steps, ACT_WINDOW, part, index, 0);
        return;
    }
    if (o->begun && o->covered >= o->target) {
        if (RULE(COPIES) && !copies_complete(p, part, o->start, o->target)) {
            change(steps, part)->stopped = 1;
            owner_die(&steps->to.parts[part], part, index);
            emit(steps, ACT_WINDOW, part, index, 1);
            return;
        }
        b = final_of(p, o, index);
    } else if (o->begun && next_offset(p, o) < p->start && RULE(OVERTAKEN)) {
        begin_again(&change(steps, part)->owners[index], &o->w);
        emit(steps, ACT_WINDOW, part, index, 0);
        return;
    } else {
        b = window_of(p, o, index);
    }
    send_batch(steps, part, index, &b, ACT_WINDOW);
}

/* ---- the projection's side ---- */

/* A snapshot that was loaded replaces the stored history, one's own adds nothing to it. */
static bool replaces(const struct part *p, u8 instance, u8 after, u8 upto, u8 index)
{
    const u32 valid = valid_records(p);

    for (u8 n = 0; n < p->count; n++) {
        const struct record *r = &p->log[n];

        if (!(valid >> n & 1) || r->instance != instance || r->seq < after || r->seq >= upto)
            continue;
        if (r->flags & CREATES || (r->kind == SNAPSHOT && r->owner != index + 1))
            return true;
    }
    return false;
}

/* What is added to a row is the difference to what it is believed to hold. */
static void change_row(struct row *row, const struct row *before, const struct row *after,
                       bool replace, u16 gone, u8 instance)
{
    const u16 missing = (u16)(after->history & ~gone);
    const u16 added = (u16)(before->history ? missing & ~before->history : missing);

    if (after->history == 0) {
        memset(row, 0, sizeof(*row));
        return;
    }
    if (!replace && row->history & added)
        violate("the row of instance %c gets a part of its history twice", 'a' + instance);
    row->history = replace ? missing : (u16)(row->history | added);
    row->last = after->last;
    row->full = after->full;
}

struct change {
    struct row before[INSTANCES], after[INSTANCES];
    bool touched[INSTANCES], replace[INSTANCES];
    u16 gone[INSTANCES]; /* sequences whose history the sender does not have any more */
};

static void changes_of(const struct part *p, u8 part, u8 index, const struct batch *b,
                       struct change *c)
{
    memset(c, 0, sizeof(*c));
    if (b->kind == WINDOW) {
        if (!b->clear || b->start > 0)
            fold_instances(p, b->start, b->covered, c->before);
        if (b->clear)
            memset(c->before, 0, sizeof(c->before));
        fold_instances(p, b->start, b->upto, c->after);
    }
    for (u8 n = 0; n < INSTANCES; n++) {
        if (b->kind == OWN_ROWS && b->set >> n & 1) {
            c->before[n] = truth_of(p, part, n, b->stamps[n]);
            c->after[n] = truth_of(p, part, n, b->upto);
            c->touched[n] = true;
            c->gone[n] = (u16)((1u << b->dropped[n]) - 1);
            c->replace[n] = replaces(p, n, b->stamps[n], b->upto, index);
        } else if (b->kind == WINDOW) {
            c->touched[n] = c->before[n].last != c->after[n].last;
            c->replace[n] = c->after[n].full != c->before[n].full;
        }
    }
}

static bool guards_hold(const struct projection *r, const struct batch *b, const struct change *c)
{
    for (u8 n = 0; n < INSTANCES && RULE(GUARD) && !b->clear; n++) {
        const u8 last = c->before[n].history ? c->before[n].last : 0;

        if (c->touched[n] && r->rows[n].last != last)
            return false;
    }
    return true;
}

/* False: refused. */
static bool batch_lands(struct part *p, u8 part, u8 index, const struct batch *b)
{
    struct projection *r = &p->now;
    struct change c;

    if (!watermark_equal(&r->w, &b->previous))
        return false;
    changes_of(p, part, index, b, &c);
    if (!guards_hold(r, b, &c))
        return false;
    if (b->clear && RULE(CLEAR))
        memset(r->rows, 0, sizeof(r->rows));
    for (u8 n = 0; n < INSTANCES; n++)
        if (c.touched[n])
            change_row(&r->rows[n], &c.before[n], &c.after[n], c.replace[n], c.gone[n], n);
    r->w = b->next;
    return true;
}

/* ---- and the owner's again ---- */

static void accepted_own(const struct part *p, u8 part, struct owner *o, const struct batch *b)
{
    for (u8 n = 0; n < INSTANCES; n++)
        if (b->set >> n & 1)
            o->stamps[n] = truth_of(p, part, n, b->upto).last;
}

static void accepted_final(const struct part *p, u8 part, struct owner *o)
{
    struct fold truth;

    fold_truth(p, part, p->count, o->target, &truth);
    for (u8 n = 0; n < INSTANCES && (RULE(TARGET_STAMPS) || o->phase == REBUILDING); n++) {
        if (o->stamps[n] > truth.instances[n].last) /* what a row had taken left memory */
            o->dropped[n] = o->stamps[n];
        o->stamps[n] = truth.instances[n].last;
    }
    o->rebuilding = o->target = 0;
    begin_again(o, &o->w);
    o->phase = ACTIVE;
}

static void batch_answered(struct part *p, u8 part, u8 index, const struct batch *b, bool done)
{
    struct owner *o = &p->owners[index];

    if (!done) {
        lost_projection(p, part, index);
        return;
    }
    o->w = b->next;
    if (b->kind == OWN_ROWS) {
        accepted_own(p, part, o, b);
    } else if (b->kind == WINDOW) {
        o->begun = 1;
        o->start = b->start;
        o->covered = b->upto;
    } else {
        accepted_final(p, part, o);
    }
}

/* A batch that was sent twice is refused the second time, with its own watermark there. */
static void lands(struct steps *steps, u8 part, u8 index, bool late)
{
    const struct owner *from = &steps->from->parts[part].owners[index];
    const struct batch b = late ? from->late : from->batch;
    struct part *p;
    struct owner *o;
    bool done;

    if (b.kind == NO_BATCH)
        return;
    p = change(steps, part);
    o = &p->owners[index];
    memset(late ? &o->late : &o->batch, 0, sizeof(b));
    done = batch_lands(p, part, index, &b);
    if (!late && o->phase != DEAD)
        batch_answered(p, part, index, &b, done || watermark_equal(&p->now.w, &b.next));
    if (o->phase == DEAD)
        owner_die(p, part, index);
    emit(steps, late ? ACT_LATE_LANDS : ACT_BATCH_LANDS, part, index, done);
}

/* No answer in time: it may have arrived, or may yet. */
static void times_out(struct steps *steps, u8 part, u8 index)
{
    struct owner *o;
    const struct owner *from = &steps->from->parts[part].owners[index];

    if (steps->finishing || steps->from->timeouts >= config->timeouts || from->phase == DEAD ||
        from->batch.kind == NO_BATCH || from->late.kind != NO_BATCH)
        return;
    o = &change(steps, part)->owners[index];
    steps->to.timeouts++;
    o->late = o->batch;
    if (!RULE(RESEND_SAME))
        memset(&o->batch, 0, sizeof(o->batch));
    emit(steps, ACT_TIMEOUT, part, index, 0);
}

void batch_steps(struct steps *steps, u8 part, u8 index)
{
    lands(steps, part, index, false);
    lands(steps, part, index, true);
    times_out(steps, part, index);
}

void project_steps(struct steps *steps, u8 part, u8 index)
{
    own_batches(steps, part, index);
    look(steps, part, index);
    rebuild(steps, part, index);
}

/* ---- loading ---- */

static void become_active(const struct part *p, u8 part, struct owner *o)
{
    struct fold truth;
    u8 unsent = 0;

    fold_truth(p, part, o->epoch, NONE, &truth);
    while (unsent < truth.out_count && truth.outs[unsent].seq < truth.sent)
        unsent++;
    o->sent = unsent;
    o->phase = ACTIVE;
}

static void start_rebuilding(const struct part *p, u8 part, struct owner *o)
{
    become_active(p, part, o);
    o->phase = REBUILDING;
    o->rebuilding = 1;
    o->target = o->base;
    begin_again(o, &p->now.w);
}

/* Its claim is in the log: one that is not was lost with the log's end. */
static bool claimed_by_newer(const struct part *p, const struct owner *o)
{
    const struct watermark *w = &p->now.w;

    return RULE(EPOCH) && w->offset > 0 && w->epoch > o->epoch && w->epoch < p->count &&
           p->log[w->epoch].kind == CLAIM && p->log[w->epoch].owner == w->nonce;
}

/* The first look at the projection; it becomes the new owner's unless it must be made again. */
static void adopt(struct steps *steps, u8 part, u8 index)
{
    struct part *p = change(steps, part);
    struct owner *o = &p->owners[index];
    struct watermark *w = &p->now.w;
    enum belief belief;

    if (!config->project[part] || (w->offset == 0 && o->base == 0)) {
        become_active(p, part, o);
        emit(steps, ACT_ADOPT, part, index, 0);
        return;
    }
    belief = believe_rows(p, (u8)(o->epoch + 1));
    if (claimed_by_newer(p, o)) {
        owner_die(p, part, index);
    } else if (belief == TRUNCATED) {
        p->stopped = 1;
        owner_die(p, part, index);
    } else if (belief == NOT_BELIEVED) {
        start_rebuilding(p, part, o);
    } else {
        if (RULE(ADOPT)) {
            w->offset = (u8)(o->epoch + 1);
            w->epoch = o->epoch;
            w->nonce = (u8)(index + 1);
        }
        o->w = *w;
        o->phase = ADOPTED;
    }
    emit(steps, ACT_ADOPT, part, index, (u8)belief);
}

/* What each row reflects; that of an instance that is not there cannot be newer than its start. */
static void take_stamps(const struct projection *r, const struct fold *loaded, struct owner *o)
{
    for (u8 n = 0; n < INSTANCES; n++) {
        const struct row *i = &loaded->instances[n];

        if (r->rows[n].last > 0)
            o->stamps[n] = r->rows[n].last;
        else if (i->history == 0)
            o->stamps[n] = i->last;
        else
            o->stamps[n] = (u8)__builtin_ctz(i->history);
    }
}

static void load(struct steps *steps, u8 part, u8 index)
{
    struct part *p = change(steps, part);
    struct owner *o = &p->owners[index];
    const u8 from = p->start > o->w.floor ? p->start : o->w.floor;
    struct fold loaded, truth;
    const char *difference = NULL;

    if (!watermark_equal(&p->now.w, &o->w) || believe_rows(p, (u8)(o->epoch + 1)) != BELIEVED) {
        o->phase = CLAIMED;
        memset(&o->w, 0, sizeof(o->w));
        emit(steps, ACT_LOAD, part, index, 0);
        return;
    }
    fold_truth(p, part, o->epoch, NONE, &truth);
    if (!fold_load(p, part, from, o->epoch, NONE, p->now.rows, &loaded))
        difference = "an instance, which got a record twice";
    else
        difference = fold_difference(&loaded, &truth);
    if (difference)
        violate("a new owner loads what differs from the log in %s", difference);
    take_stamps(&p->now, &truth, o);
    become_active(p, part, o);
    if (!RULE(ADOPT))
        o->phase = HALF_LOADED;
    emit(steps, ACT_LOAD, part, index, 1);
}

/* Without taking the watermark over, rows are read at more than one moment. */
static void load_rest(struct steps *steps, u8 part, u8 index)
{
    struct part *p = change(steps, part);
    struct owner *o = &p->owners[index];

    o->phase = ACTIVE;
    if (!p->now.w.building && p->now.w.seq >= o->w.seq)
        o->w = p->now.w;
    emit(steps, ACT_LOAD_REST, part, index, 0);
}

void project_load_steps(struct steps *steps, u8 part, u8 index)
{
    const struct owner *o = &steps->from->parts[part].owners[index];

    if (o->phase == CLAIMED)
        adopt(steps, part, index);
    else if (o->phase == ADOPTED)
        load(steps, part, index);
    else if (o->phase == HALF_LOADED)
        load_rest(steps, part, index);
}
