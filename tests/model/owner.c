/*
 * owner: what an owner does with log, inbox and outbox; and what of it may still happen when it is
 * dead. A claim is written and acknowledged in one step: until then a claimant does nothing, so a
 * claim that comes late is one whose claimant died at once.
 */
#include "tests/model/model.h"

#include <string.h>

u8 acked_stamp(const struct owner *o)
{
    return (u8)(o->base + o->acked);
}

bool owner_acts(const struct owner *o)
{
    return o->phase == ACTIVE && !o->lost;
}

static u8 landed(const struct part *p, u8 index)
{
    u8 count = 0;

    for (u8 n = 0; n < p->count; n++)
        count = (u8)(count + (p->log[n].owner == index + 1 && p->log[n].kind != CLAIM));
    return count;
}

/* ---- the outbox ---- */

static u8 released(const struct owner *o, const struct fold *memory)
{
    u8 count = 0;

    if (o->phase == DEAD)
        return o->released;
    if (!RULE(RELEASE_ACKED))
        return memory->out_count;
    while (count < memory->out_count && memory->outs[count].seq < acked_stamp(o))
        count++;
    return count;
}

static void add_work(struct part *p, u8 stamp)
{
    u8 n = p->work_count;

    if (n == WORK_MAX)
        out_of_bounds("WORK_MAX");
    for (; n > 0 && p->work[n - 1] > stamp; n--)
        p->work[n] = p->work[n - 1];
    p->work[n] = stamp;
    p->work_count++;
}

static void deliver(struct state *to, u8 part, const struct out *out)
{
    struct part *q;

    if (out->message == NONE) {
        add_work(&to->parts[part], (u8)(out->seq + 1));
        return;
    }
    q = &to->parts[workload->messages[out->message].part];
    if (q->inbox_count == INBOX_MAX)
        out_of_bounds("INBOX_MAX");
    q->inbox[q->inbox_count++] = (struct entry){PARTITION, out->seq, out->index, out->message};
}

/* What the dead released may arrive at any later time, in order. */
static void send_steps(struct steps *steps, u8 part, u8 index, const struct fold *memory)
{
    const struct owner *o = &steps->from->parts[part].owners[index];

    if (o->lost || o->sent >= released(o, memory))
        return;
    change(steps, part)->owners[index].sent++;
    check_sent(&steps->to, part, index, &memory->outs[o->sent]);
    deliver(&steps->to, part, &memory->outs[o->sent]);
    emit(steps, ACT_SEND, part, index, o->sent);
}

/* ---- death ---- */

static void bury(struct owner *o)
{
    struct owner grave = {.phase = DEAD, .epoch = o->epoch, .flying = o->flying, .trim = o->trim};

    if (o->sent < o->released) {
        grave.sent = o->sent;
        grave.released = o->released;
    }
    memcpy(grave.flight, o->flight, sizeof(grave.flight));
    if (!o->unresolved)
        grave.batch = o->batch;
    grave.window = o->window;
    grave.late = o->late;
    if (grave.flying == 0 && grave.released == 0 && grave.trim == 0 && grave.batch.kind == 0 &&
        grave.window.kind == 0 && grave.late.kind == 0)
        grave.epoch = 0;
    *o = grave;
}

void owner_die(struct part *p, u8 part, u8 index)
{
    struct owner *o = &p->owners[index];
    struct fold memory;

    if (o->phase == ACTIVE && !o->lost) {
        fold_memory(p, part, o, index, &memory);
        o->released = released(o, &memory);
    } else if (o->phase != DEAD) {
        o->released = o->sent = 0;
    }
    bury(o);
}

/* ---- appends ---- */

static void land(struct steps *steps, u8 part, u8 index)
{
    struct part *p;
    struct owner *o;

    if (steps->from->parts[part].owners[index].flying == 0)
        return;
    p = change(steps, part);
    o = &p->owners[index];
    if (p->count == LOG_MAX)
        out_of_bounds("LOG_MAX");
    p->log[p->count++] = o->flight[0];
    memmove(o->flight, o->flight + 1, sizeof(o->flight) - sizeof(*o->flight));
    memset(&o->flight[FLIGHT_MAX - 1], 0, sizeof(*o->flight));
    o->flying--;
    if (o->phase == DEAD)
        bury(o);
    emit(steps, ACT_LAND, part, index, 0);
}

static u8 next_to_acknowledge(const struct part *p, u8 index)
{
    u8 skip = p->owners[index].acked;

    for (u8 n = 0; n < p->count; n++) {
        if (p->log[n].owner != index + 1 || p->log[n].kind == CLAIM)
            continue;
        if (skip == 0)
            return n;
        skip--;
    }
    return NONE;
}

static bool claim_between(const struct part *p, u8 from, u8 to)
{
    for (u8 n = from; n < to; n++)
        if (p->log[n].kind == CLAIM)
            return true;
    return false;
}

/* The last own record that was acknowledged, the claim included, is where it was. */
static bool last_is_there(const struct part *p, u8 index)
{
    const u8 offset = (u8)(p->owners[index].expected - 1);

    return offset < p->count && p->log[offset].owner == index + 1;
}

static void read_back(struct steps *steps, u8 part, u8 index)
{
    struct part *p = change(steps, part);

    if (last_is_there(p, index))
        p->owners[index].doubt = 0;
    else
        owner_die(p, part, index);
    emit(steps, ACT_READ_BACK, part, index, 0);
}

static void acknowledge(struct steps *steps, u8 part, u8 index)
{
    const u8 offset = next_to_acknowledge(&steps->from->parts[part], index);
    struct part *p;
    struct owner *o;

    if (offset == NONE || (steps->from->parts[part].owners[index].doubt && RULE(READ_BACK)))
        return;
    p = change(steps, part);
    o = &p->owners[index];
    if (RULE(ACK_CHECK) && (offset < o->expected || claim_between(p, o->expected, offset))) {
        owner_die(p, part, index);
        emit(steps, ACT_ACK, part, index, offset);
        return;
    }
    check_acknowledged(&steps->to, part, offset);
    o->acked++;
    o->expected = (u8)(offset + 1);
    if (p->acked_end < o->expected)
        p->acked_end = o->expected;
    if (p->inbox_start < p->log[offset].pos)
        p->inbox_start = p->log[offset].pos;
    emit(steps, ACT_ACK, part, index, offset);
}

/* A record is given up although the one behind it arrives; the owner stops. */
static void hole(struct steps *steps, u8 part, u8 index)
{
    struct owner *o;

    if (steps->finishing || steps->from->holes >= config->holes ||
        steps->from->parts[part].owners[index].flying < 2)
        return;
    o = &change(steps, part)->owners[index];
    steps->to.holes++;
    o->flight[0] = o->flight[1];
    memset(&o->flight[1], 0, sizeof(o->flight[1]));
    o->flying--;
    if (o->phase == ACTIVE)
        owner_die(&steps->to.parts[part], part, index);
    emit(steps, ACT_HOLE, part, index, 0);
}

/* ---- writing records ---- */

static bool has_room(const struct part *p, const struct owner *o, u8 index)
{
    const u8 under_way = (u8)(landed(p, index) - o->acked + o->flying);

    return under_way < config->flight && o->flying < FLIGHT_MAX;
}

/* Fills in the marks as of after this record's consumption, and submits it. */
static void submit(struct part *p, u8 index, const struct fold *memory, struct record r)
{
    struct owner *o = &p->owners[index];
    const u16 accepted = inbox_accepted(p);
    u16 consumed = memory->consumed;

    if (memory->next >= STAMP_MAX - 1)
        out_of_bounds("STAMP_MAX");
    if (r.source == FROM_INBOX)
        consumed = (u16)(consumed | 1u << r.from);
    r.owner = (u8)(index + 1);
    r.epoch = o->epoch;
    r.seq = memory->next;
    r.pos = RULE(POSITION_CONSUMED) ? inbox_position(p, consumed, accepted) : p->inbox_count;
    r.vec = inbox_vector(p, RULE(VECTOR_AT_POSITION) ? r.pos : p->inbox_count);
    r.sent = RULE(SENT_MARK) && o->sent < memory->out_count ? memory->outs[o->sent].seq : r.seq;
    if (!RULE(TRIM_ACKED) && p->inbox_start < r.pos)
        p->inbox_start = r.pos;
    o->flight[o->flying++] = r;
}

static bool is_cold(const struct owner *o, const struct fold *memory, u8 part, u8 instance)
{
    return config->project[part] && config->evict &&
           memory->instances[instance].last <= o->stamps[instance];
}

/* A cold instance is read from the projection, absence included. False: it has to wait. */
static bool load_cold(const struct part *p, const struct owner *o, const struct fold *memory,
                      u8 instance)
{
    const struct row *row = &p->now.rows[instance], *truth = &memory->instances[instance];

    if (o->beside || !count_is_right(&p->now) ||
        (RULE(COLD_LOOK) && (p->now.w.building || watermark_older(&p->now.w, &o->w))))
        return false;
    if (p->now.w.epoch > o->epoch) /* of a later owner: nothing that follows becomes valid */
        return true;
    if (row->history != truth->history || (row->history && row->last != truth->last))
        violate("a cold load of instance %c is not what the log says", 'a' + instance);
    return true;
}

static void episode_of(const struct fold *memory, struct record *r)
{
    const struct message *m = &workload->messages[r->message];
    const bool exists = memory->instances[m->instance].history != 0;

    r->instance = m->instance;
    r->kind = MARKS;
    if (m->kind == START && !exists) {
        r->kind = EPISODE;
        r->flags = CREATES;
    } else if (m->kind == EVENT && exists) {
        r->kind = EPISODE;
    } else if (m->kind == REMOVE && exists) {
        r->kind = PURGE;
    }
    if (r->kind == MARKS)
        r->instance = NONE;
}

/* A completion counts for the activity it was made for, and once. */
static void completion_of(const struct fold *memory, const struct entry *e, struct record *r)
{
    const u8 instance = workload->messages[e->message].instance;
    const u8 pending = memory->pending[instance];

    r->kind = MARKS;
    if (pending == 0 || (RULE(SCHEDULING) && pending != e->seq))
        return;
    r->kind = EPISODE;
    r->flags = ACCEPTS;
    r->instance = instance;
    r->message = memory->pending_message[instance];
}

static void consume(struct steps *steps, u8 part, u8 index, const struct fold *memory, u8 source,
                    u8 from, u8 message)
{
    const struct message *m = &workload->messages[message];
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    struct record r = {.instance = NONE, .message = message, .source = source, .from = from};

    if (is_cold(o, memory, part, m->instance) && !load_cold(p, o, memory, m->instance))
        return;
    if (source == FROM_INBOX && p->inbox[from].source == ACTIVITY)
        completion_of(memory, &p->inbox[from], &r);
    else if (source == FROM_INBOX && m->parked)
        r.kind = PARK;
    else
        episode_of(memory, &r);
    submit(change(steps, part), index, memory, r);
    emit(steps, ACT_EPISODE, part, index, message);
}

/* Messages of one instance in order of arrival; instances in any order. */
static void consume_inbox(struct steps *steps, u8 part, u8 index, const struct fold *memory)
{
    const struct part *p = &steps->from->parts[part];
    const u16 accepted = inbox_accepted(p);
    u8 seen = 0;

    for (u8 n = 0; n < p->inbox_count; n++) {
        const u8 instance = workload->messages[p->inbox[n].message].instance;

        if (memory->consumed >> n & 1 || !(accepted >> n & 1) || seen >> instance & 1)
            continue;
        seen = (u8)(seen | 1u << instance);
        consume(steps, part, index, memory, FROM_INBOX, n, p->inbox[n].message);
    }
}

static void consume_locals(struct steps *steps, u8 part, u8 index, const struct fold *memory)
{
    u8 seen = 0;

    for (u8 n = 0; n < 2 * STAMP_MAX; n++) {
        const u8 instance = workload->messages[memory->local_message[n]].instance;

        if (!(memory->locals >> n & 1) || seen >> instance & 1)
            continue;
        seen = (u8)(seen | 1u << instance);
        consume(steps, part, index, memory, FROM_LOCAL, n, memory->local_message[n]);
    }
}

static void checkpoint(struct steps *steps, u8 part, u8 index, const struct fold *memory)
{
    struct part *p;

    if (steps->finishing || steps->from->parts[part].checkpoints >= config->checkpoints ||
        memory->next == 0)
        return;
    p = change(steps, part);
    p->checkpoints++;
    submit(p, index, memory,
           (struct record){.kind = CHECKPOINT, .instance = NONE, .message = NONE});
    emit(steps, ACT_CHECKPOINT, part, index, 0);
}

/* ---- cleaning ---- */

/* A full copy at the log's end: of what is in memory, or of the row of a cold instance. */
static void snapshot(struct steps *steps, u8 part, u8 index, const struct fold *memory, u8 instance)
{
    struct record r = {.kind = SNAPSHOT, .instance = instance, .message = NONE};
    struct part *p;

    if (steps->finishing || steps->from->parts[part].snapshots >= config->snapshots)
        return;
    p = change(steps, part);
    p->snapshots++;
    r.history = is_cold(&p->owners[index], memory, part, instance)
                    ? p->now.rows[instance].history
                    : memory->instances[instance].history;
    submit(p, index, memory, r);
    emit(steps, ACT_SNAPSHOT, part, index, instance);
}

static bool walk_is_believed(const struct part *p, const struct owner *o)
{
    if (o->beside || o->building)
        return false;
    return !RULE(CLEAN_LOOK) || (!p->now.w.building && count_is_right(&p->now) &&
                                 p->now.w.epoch == o->epoch && p->now.w.batch >= o->w.batch);
}

/* What a walk over the rows shows is either still to be copied or keeps the log as it is. */
static void clean_below(struct steps *steps, u8 part, u8 index, const struct fold *memory, u8 k)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    const u8 stamp = (u8)(p->log[k].seq + 1);
    bool ready = true;

    for (u8 n = 0; n < INSTANCES; n++) {
        const struct row *copy = &memory->instances[n];

        if (p->now.rows[n].last == 0 || p->now.rows[n].full >= stamp)
            continue;
        if (RULE(CLEAN_ACKED) || copy->full < stamp)
            ready = false;
        if (copy->full < stamp && copy->history && has_room(p, o, index))
            snapshot(steps, part, index, memory, n);
    }
    if (ready && o->trim == 0) {
        change(steps, part)->owners[index].trim = k;
        emit(steps, ACT_CLEAN, part, index, k);
    }
}

static void clean(struct steps *steps, u8 part, u8 index, const struct fold *memory)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    const u32 valid = valid_records(p);

    if (!config->clean || steps->finishing || !walk_is_believed(p, o))
        return;
    for (u8 n = (u8)(p->start + 1); n < o->expected; n++)
        if (valid >> n & 1 && (p->log[n].kind == CHECKPOINT || !RULE(CLEAN_CHECKPOINT)) &&
            (n <= o->w.floor || !RULE(CLEAN_FLOOR)))
            clean_below(steps, part, index, memory, n);
}

static void delete_lands(struct steps *steps, u8 part, u8 index)
{
    struct part *p;
    struct owner *o;

    if (steps->from->parts[part].owners[index].trim == 0)
        return;
    p = change(steps, part);
    o = &p->owners[index];
    if (p->start < o->trim)
        p->start = o->trim;
    o->trim = 0;
    if (o->phase == DEAD)
        bury(o);
    emit(steps, ACT_DELETE, part, index, p->start);
}

/* ---- all of them ---- */

static void active_steps(struct steps *steps, u8 part, u8 index)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    struct fold memory;

    if (o->doubt && RULE(READ_BACK))
        read_back(steps, part, index);
    acknowledge(steps, part, index);
    if (o->lost)
        return;
    fold_memory(p, part, o, index, &memory);
    send_steps(steps, part, index, &memory);
    if (has_room(p, o, index)) {
        consume_inbox(steps, part, index, &memory);
        consume_locals(steps, part, index, &memory);
        checkpoint(steps, part, index, &memory);
    }
    clean(steps, part, index, &memory);
}

void owner_steps(struct steps *steps, u8 part, u8 index)
{
    const struct part *p = &steps->from->parts[part];
    const struct owner *o = &p->owners[index];
    struct fold memory;

    land(steps, part, index);
    hole(steps, part, index);
    delete_lands(steps, part, index);
    if (o->phase == ACTIVE)
        active_steps(steps, part, index);
    if (o->phase == DEAD && o->sent < o->released) {
        fold_memory(p, part, o, index, &memory);
        send_steps(steps, part, index, &memory);
    }
    if (o->phase != UNUSED && o->phase != DEAD && (!steps->finishing || last_claim(p) != index)) {
        owner_die(change(steps, part), part, index);
        emit(steps, ACT_DIE, part, index, 0);
    }
}
