/*
 * project: what an owner does with the projection: taking it over, reading rows, batches, making
 * it again. Every change is one call that compares the watermark and moves it.
 */
#include "tests/model/model.h"

#include <string.h>

static u8 larger(u8 a, u8 b)
{
    return a > b ? a : b;
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

/* What the owner takes for stored: nothing, when its first batch clears. */
static struct row stored_row(const struct part *p, u8 part, const u8 *stamps, bool clear, u8 n)
{
    return clear ? (struct row){0} : truth_of(p, part, n, stamps[n]);
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
    const u8 before = o->clear ? 0 : o->w.seq;
    u8 left = NONE;

    for (u8 n = 0; n < INSTANCES; n++) {
        const bool dirty = memory->instances[n].last > o->stamps[n];
        const u8 first = dirty && !(set >> n & 1) ? first_missing(p, o, index, n) : NONE;

        left = first < left ? first : left;
    }
    return left > acked_stamp(o) ? acked_stamp(o) : larger((u8)(left - 1), before);
}

static struct batch batch_of(const struct part *p, u8 part, const struct owner *o, u8 index,
                             const struct fold *memory, u8 set)
{
    struct batch b = {.kind = OWN_ROWS,
                      .set = set,
                      .upto = RULE(ROWS_ACKED) ? acked_stamp(o) : memory->next,
                      .clear = o->clear,
                      .previous = o->w};

    memcpy(b.stamps, o->stamps, sizeof(b.stamps));
    memcpy(b.dropped, o->dropped, sizeof(b.dropped));
    b.next = (struct watermark){
        .offset = o->expected, .epoch = o->epoch, .batch = (u8)(larger(o->number, o->w.batch) + 1)};
    b.next.seq = sequence_without(p, o, index, memory, set);
    b.next.floor = floor_for(p, o, b.next.seq, o->clear ? 0 : o->w.floor);
    b.next.building = o->building && b.next.seq < o->until;
    for (u8 n = 0; n < INSTANCES; n++) {
        const struct row row = set >> n & 1 ? truth_of(p, part, n, b.upto)
                                            : stored_row(p, part, o->stamps, o->clear, n);
        b.next.rows = (u8)(b.next.rows + (row.history != 0));
    }
    return b;
}

static void send_batch(struct steps *steps, u8 part, u8 index, const struct batch *b, enum act act)
{
    struct owner *o = &change(steps, part)->owners[index];

    if (b->kind == OWN_ROWS) {
        o->batch = *b;
        o->number = b->next.batch;
    } else {
        o->window = *b;
    }
    emit(steps, act, part, index, b->set);
}

static void own_batches(struct steps *steps, u8 part, u8 index)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    struct fold memory;
    struct batch b;
    u8 ready = 0;

    if (!owner_acts(o) || o->beside || o->batch.kind != NO_BATCH)
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
    if (ready || o->clear || o->building != b.next.building || b.next.floor > o->w.floor)
        send_batch(steps, part, index, &b, ACT_BATCH_ALL);
}

/* ---- what the projection says of itself ---- */

static bool is_of_later_owner(const struct watermark *stored, const struct owner *o)
{
    return RULE(LATER) && stored->offset > 0 && stored->epoch > o->epoch;
}

static void make_again(struct part *p, u8 index)
{
    struct owner *o = &p->owners[index];

    if (o->unresolved) {
        memset(&o->batch, 0, sizeof(o->batch));
        o->unresolved = 0;
    }
    o->beside = 1;
    o->target = RULE(TARGET_ACKED) ? acked_stamp(o) : o->w.seq;
    o->begun = o->start = o->covered = 0;
}

static void settle(const struct part *p, u8 part, struct owner *o, bool done)
{
    const struct batch b = o->batch;

    memset(&o->batch, 0, sizeof(o->batch));
    o->unresolved = 0;
    if (!done)
        return;
    o->w = b.next;
    o->clear = 0;
    o->building = b.next.building;
    for (u8 n = 0; n < INSTANCES; n++)
        if (b.set >> n & 1)
            o->stamps[n] = truth_of(p, part, n, b.upto).last;
}

static void look(struct steps *steps, u8 part, u8 index)
{
    const struct part *from = &steps->from->parts[part];
    const struct watermark *stored = &from->now.w;
    const struct owner *was = &from->owners[index];
    const bool older = watermark_older(stored, &was->w);
    struct part *p;
    struct owner *o;

    if (!owner_acts(was) || was->beside)
        return;
    if (!was->unresolved && !is_of_later_owner(stored, was) && !older &&
        (was->clear || count_is_right(&from->now)))
        return;
    p = change(steps, part);
    o = &p->owners[index];
    if (o->unresolved && watermark_equal(stored, &o->batch.next))
        settle(p, part, o, true);
    else if (o->unresolved && watermark_equal(stored, &o->w))
        settle(p, part, o, false);
    else if (is_of_later_owner(stored, o))
        owner_die(p, part, index);
    else if (older || o->unresolved)
        make_again(p, index);
    else
        owner_die(p, part, index); /* rows are missing: the next owner makes them again */
    emit(steps, ACT_LOOK, part, index, 0);
}

/* ---- a reader makes it again: for a new owner, or beside one that goes on ---- */

/* Where the window after stamp `covered` begins to read. */
static u8 next_offset(const struct part *p, const struct owner *o)
{
    return o->begun ? offset_of_stamp(p, (u8)(o->covered + 1)) : p->start;
}

static bool is_overtaken(const struct part *p, const struct owner *o)
{
    return o->begun && next_offset(p, o) < p->start;
}

/* One that came to nothing counts, too: its watermark must stay its own. */
static u8 known_batch(const struct owner *o)
{
    return RULE(ABOVE) ? larger(o->w.batch, o->number) : o->w.batch;
}

static struct batch window_of(const struct part *p, const struct owner *o)
{
    struct batch b = {.kind = WINDOW, .clear = !o->begun};
    const u8 end = o->beside ? o->target : o->base;
    struct row rows[INSTANCES];

    b.previous = o->begun ? o->seen : p->now.w;
    b.start = p->start;
    b.covered = b.start > 0 ? p->log[b.start].seq : 0;
    if (o->begun && !is_overtaken(p, o)) {
        b.start = o->start;
        b.covered = o->covered;
    }
    b.upto = (u8)(b.covered + config->window);
    if (b.upto > end || config->window == 0)
        b.upto = end;
    fold_instances(p, b.start, b.upto, rows);
    b.next = (struct watermark){.offset = (u8)(o->epoch + 1),
                                .epoch = o->epoch,
                                .seq = b.upto,
                                .batch = (u8)(larger(known_batch(o), b.previous.batch) + 1),
                                .floor = b.start,
                                .rows = count_of(rows),
                                .building = 1};
    return b;
}

/* All windows are stored: the owner goes on from the target. */
static void made_again(struct part *p, u8 part, struct owner *o)
{
    struct fold truth;

    fold_truth(p, part, p->count, o->target, &truth);
    for (u8 n = 0; n < INSTANCES && RULE(TARGET_STAMPS); n++) {
        if (o->stamps[n] > truth.instances[n].last) /* what a row had taken left memory */
            o->dropped[n] = o->stamps[n];
        o->stamps[n] = truth.instances[n].last;
    }
    o->w = o->seen;
    o->number = larger(o->number, o->w.batch);
    o->clear = 0;
    o->building = 1;
    o->until = o->target;
    o->beside = o->target = o->begun = o->start = o->covered = 0;
    memset(&o->seen, 0, sizeof(o->seen));
}

static void become_active(const struct part *p, u8 part, struct owner *o)
{
    struct fold truth;
    u8 unsent = 0;

    fold_truth(p, part, o->epoch, NONE, &truth);
    while (unsent < truth.out_count && truth.outs[unsent].seq < truth.sent)
        unsent++;
    o->sent = unsent;
    o->w = o->seen;
    o->number = o->w.batch;
    o->begun = o->start = o->covered = 0;
    memset(&o->seen, 0, sizeof(o->seen));
    o->phase = ACTIVE;
}

/* A new owner has the rest in memory: its own batches bring it. */
static void take_rest(struct steps *steps, u8 part, u8 index)
{
    struct part *p = change(steps, part);
    struct owner *o = &p->owners[index];
    struct fold loaded, truth;
    const char *difference;

    fold_truth(p, part, o->epoch, NONE, &truth);
    fold_load(p, part, p->start, o->epoch, NONE, NULL, &loaded);
    difference = fold_difference(&loaded, &truth);
    if (difference && !steps->from->damaged)
        violate("a new owner reads of the log what differs in %s", difference);
    fold_instances(p, o->start, o->covered, loaded.instances);
    for (u8 n = 0; n < INSTANCES; n++)
        o->stamps[n] = o->begun ? loaded.instances[n].last : 0;
    if (!o->begun)
        o->seen = p->now.w;
    o->clear = !o->begun;
    o->building = 1;
    o->until = o->base;
    become_active(p, part, o);
    emit(steps, ACT_LOAD_REST, part, index, 0);
}

static void begin_again(struct owner *o)
{
    if (!o->beside)
        o->phase = CLAIMED;
    o->begun = o->start = o->covered = 0;
    memset(&o->seen, 0, sizeof(o->seen));
}

static void read_windows(struct steps *steps, u8 part, u8 index)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    const bool newer_claim = last_claim(p) != index && RULE(READ_TO_END);
    struct batch b;

    if (!(o->beside || o->phase == REBUILDING) || o->lost || o->window.kind != NO_BATCH)
        return;
    if (newer_claim || p->start > o->epoch || (!o->begun && is_of_later_owner(&p->now.w, o))) {
        owner_die(change(steps, part), part, index);
        emit(steps, ACT_WINDOW, part, index, 0);
        return;
    }
    if (o->beside && o->begun && o->covered >= o->target) {
        made_again(change(steps, part), part, &steps->to.parts[part].owners[index]);
        emit(steps, ACT_WINDOW, part, index, 0);
        return;
    }
    if (is_overtaken(p, o) && RULE(OVERTAKEN)) {
        begin_again(&change(steps, part)->owners[index]);
        emit(steps, ACT_WINDOW, part, index, 0);
        return;
    }
    b = window_of(p, o);
    if (o->beside || b.upto < o->base)
        send_batch(steps, part, index, &b, ACT_WINDOW);
    if (!o->beside)
        take_rest(steps, part, index);
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
        if (!b->clear)
            fold_instances(p, b->start, b->covered, c->before);
        fold_instances(p, b->start, b->upto, c->after);
    }
    for (u8 n = 0; n < INSTANCES; n++) {
        if (b->kind == OWN_ROWS && b->set >> n & 1) {
            c->before[n] = stored_row(p, part, b->stamps, b->clear, n);
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

/* Whether the rows are those that the changes were made for. */
static bool rows_fit(const struct projection *r, const struct batch *b, const struct change *c)
{
    u8 rows = 0;

    for (u8 n = 0; n < INSTANCES; n++) {
        const bool there = r->rows[n].last > 0 && !b->clear;

        if (RULE(STORED) && c->touched[n] && there != (c->before[n].history != 0))
            return false;
        rows = (u8)(rows + (c->touched[n] ? c->after[n].history != 0 : there));
    }
    return !RULE(ROW_COUNT) || rows == b->next.rows;
}

enum verdict { FENCED, TAKEN, CORRUPT };

static enum verdict batch_lands(struct part *p, u8 part, u8 index, const struct batch *b)
{
    struct projection *r = &p->now;
    struct change c;

    if (!watermark_equal(&r->w, &b->previous))
        return FENCED;
    changes_of(p, part, index, b, &c);
    if (!rows_fit(r, b, &c))
        return CORRUPT;
    if (b->clear && RULE(CLEAR))
        memset(r->rows, 0, sizeof(r->rows));
    for (u8 n = 0; n < INSTANCES; n++)
        if (c.touched[n])
            change_row(&r->rows[n], &c.before[n], &c.after[n], c.replace[n], c.gone[n], n);
    r->w = b->next;
    return TAKEN;
}

/* ---- and the owner's again ---- */

static void reader_answered(struct owner *o, enum verdict verdict)
{
    const struct batch b = o->window;

    memset(&o->window, 0, sizeof(o->window));
    if (verdict != TAKEN) {
        begin_again(o);
    } else if (b.kind == TAKE) {
        o->seen = b.next;
        o->phase = ADOPTED;
    } else {
        o->seen = b.next;
        o->begun = 1;
        o->start = b.start;
        o->covered = b.upto;
    }
}

static void answered(struct part *p, u8 part, u8 index, enum verdict verdict)
{
    struct owner *o = &p->owners[index];

    if (verdict == TAKEN)
        settle(p, part, o, true);
    else if (verdict == CORRUPT)
        owner_die(p, part, index);
    else
        o->unresolved = 1;
}

enum slot { OWN, READER, LATE };

static struct batch *slot_of(struct owner *o, enum slot slot)
{
    return slot == OWN ? &o->batch : slot == READER ? &o->window : &o->late;
}

static void lands(struct steps *steps, u8 part, u8 index, enum slot slot)
{
    struct owner was = steps->from->parts[part].owners[index];
    const struct batch b = *slot_of(&was, slot);
    struct part *p;
    struct owner *o;
    enum verdict verdict;

    if (b.kind == NO_BATCH || (slot == OWN && was.unresolved))
        return;
    p = change(steps, part);
    o = &p->owners[index];
    verdict = batch_lands(p, part, index, &b);
    if (slot == LATE || o->phase == DEAD)
        memset(slot_of(o, slot), 0, sizeof(b));
    else if (slot == READER)
        reader_answered(o, verdict);
    else
        answered(p, part, index, verdict);
    if (o->phase == DEAD)
        owner_die(p, part, index);
    emit(steps, slot == LATE ? ACT_LATE_LANDS : ACT_BATCH_LANDS, part, index, (u8)verdict);
}

/* No answer in time: it may have arrived, or may yet. */
static void times_out(struct steps *steps, u8 part, u8 index, enum slot slot)
{
    struct owner was = steps->from->parts[part].owners[index], *o;

    if (steps->finishing || steps->from->timeouts >= config->timeouts || was.phase == DEAD ||
        slot_of(&was, slot)->kind == NO_BATCH || (slot == OWN && was.unresolved) ||
        was.late.kind != NO_BATCH)
        return;
    o = &change(steps, part)->owners[index];
    steps->to.timeouts++;
    o->late = *slot_of(o, slot);
    if (slot == READER)
        reader_answered(o, FENCED);
    else
        o->unresolved = 1;
    emit(steps, ACT_TIMEOUT, part, index, 0);
}

void project_steps(struct steps *steps, u8 part, u8 index)
{
    own_batches(steps, part, index);
    look(steps, part, index);
    read_windows(steps, part, index);
    lands(steps, part, index, OWN);
    lands(steps, part, index, READER);
    lands(steps, part, index, LATE);
    times_out(steps, part, index, OWN);
    times_out(steps, part, index, READER);
}

/* ---- loading ---- */

/* The first look at the projection: it becomes the new owner's unless it must be made again. */
static void adopt(struct steps *steps, u8 part, u8 index)
{
    const struct watermark stored = steps->from->parts[part].now.w;
    struct part *p = change(steps, part);
    struct owner *o = &p->owners[index];
    const bool believed = rows_are_believed(p);

    if (!config->project[part]) {
        become_active(p, part, o);
    } else if (p->start > o->epoch || is_of_later_owner(&stored, o)) {
        owner_die(p, part, index);
    } else if (!believed) {
        o->phase = REBUILDING;
    } else if (RULE(WATERMARK_THERE) && !watermark_is_there(p, o->epoch)) {
        p->stopped = 1;
        owner_die(p, part, index);
    } else if (stored.epoch == o->epoch) {
        o->seen = stored;
        o->phase = ADOPTED;
    } else {
        o->phase = TAKING;
        o->window = (struct batch){.kind = TAKE, .previous = stored, .next = stored};
        o->window.next.offset = (u8)(o->epoch + 1);
        o->window.next.epoch = o->epoch;
        o->window.next.batch++;
    }
    emit(steps, ACT_ADOPT, part, index, believed);
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
    const u8 from = p->start > o->seen.floor ? p->start : o->seen.floor;
    struct fold loaded, truth;
    const char *difference = NULL;

    if (!watermark_equal(&p->now.w, &o->seen) || !rows_are_believed(p)) {
        begin_again(o);
        emit(steps, ACT_LOAD, part, index, 0);
        return;
    }
    if (log_lost_its_end(p, part, o->epoch)) {
        p->stopped = 1;
        owner_die(p, part, index);
        emit(steps, ACT_LOAD, part, index, 2);
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
    emit(steps, ACT_LOAD, part, index, 1);
}

void project_load_steps(struct steps *steps, u8 part, u8 index)
{
    const struct owner *o = &steps->from->parts[part].owners[index];

    if (o->phase == CLAIMED)
        adopt(steps, part, index);
    else if (o->phase == ADOPTED)
        load(steps, part, index);
}
