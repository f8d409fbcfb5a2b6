/*
 * check: what must hold. Effects exactly once, nothing lost, log and projection tell the truth.
 */
#include "tests/model/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char violation[256];

void violate(const char *format, ...)
{
    va_list arguments;

    if (violation[0])
        return;
    va_start(arguments, format);
    vsnprintf(violation, sizeof(violation), format, arguments);
    va_end(arguments);
}

/* ---- steps ---- */

/* I2: what an owner believes is what every reader will. */
void check_acknowledged(const struct state *s, u8 part, u8 offset)
{
    if (!(valid_records(&s->parts[part]) >> offset & 1))
        violate("an owner believes its record at offset %u, which is not valid", offset);
}

/* What leaves follows from a valid record of its sender, or of one before it. */
void check_sent(const struct state *s, u8 part, u8 index, const struct out *o)
{
    const struct part *p = &s->parts[part];
    const u8 offset = offset_of_stamp(p, (u8)(o->seq + 1));

    if (s->damaged)
        return;
    if (offset == NONE || (p->log[offset].owner != index + 1 && offset >= p->owners[index].epoch))
        violate("message %u.%u leaves without a valid record", o->seq, o->index);
}

/* ---- the log ---- */

static void check_consumption(const struct part *p, const struct record *r,
                              const struct fold *before, u16 *messages)
{
    const struct entry *e = r->source == FROM_INBOX ? &p->inbox[r->from] : NULL;

    if (r->source == FROM_INBOX && before->consumed >> r->from & 1)
        violate("inbox offset %u is consumed twice", r->from);
    if (r->source == FROM_LOCAL && !(before->locals >> r->from & 1))
        violate("local message %u.%u is consumed twice, or was never sent", r->from / 2,
                r->from % 2);
    if (r->flags & ACCEPTS && before->pending[r->instance] != e->seq)
        violate("a completion is accepted that the instance does not wait for");
    if (r->source == FROM_NOTHING || r->kind == PARK || (e && e->source == ACTIVITY))
        return;
    if (*messages >> r->message & 1)
        violate("message m%u takes effect twice", r->message);
    *messages = (u16)(*messages | 1u << r->message);
}

/* What a new owner would take from the inbox: it begins at the recorded position with the recorded
 * vector, and leaves out what is marked. */
static u16 taken_by_new_owner(const struct part *p, const struct fold *recovered)
{
    u16 taken = 0;
    u8 highest = recovered->vec;

    for (u8 n = recovered->pos; n < p->inbox_count; n++) {
        const struct entry *e = &p->inbox[n];
        const u8 key = origin_key(e->seq, e->index);

        if (e->source == PARTITION && RULE(DEDUPE) && key <= highest)
            continue;
        if (e->source == PARTITION)
            highest = key;
        if (!(recovered->consumed >> n & 1))
            taken = (u16)(taken | 1u << n);
    }
    return taken;
}

static void check_inbox_is_recovered(const struct part *p, const struct fold *recovered,
                                     const struct fold *truth)
{
    const u16 taken = taken_by_new_owner(p, recovered);
    const u16 right = (u16)(inbox_accepted(p) & ~truth->consumed);

    for (u8 n = 0; n < p->inbox_count; n++) {
        if (!((taken ^ right) >> n & 1))
            continue;
        violate(right >> n & 1 ? "a new owner would never take m%u at inbox offset %u"
                               : "a new owner would take m%u at inbox offset %u again",
                p->inbox[n].message, n);
    }
}

/* Everything the outbox takes for sent is in its receiver's inbox. */
static void check_sent_mark(const struct state *s, u8 part, const struct fold *truth)
{
    for (u8 n = 0; n < truth->out_count && truth->outs[n].seq < truth->sent; n++) {
        const struct out *o = &truth->outs[n];
        const struct part *q;
        bool there = false;

        if (o->message == NONE)
            continue; /* whether activities are lost shows when everything else is done */
        q = &s->parts[workload->messages[o->message].part];
        for (u8 k = 0; k < q->inbox_count; k++)
            there = there || (q->inbox[k].source == PARTITION && q->inbox[k].seq == o->seq &&
                              q->inbox[k].index == o->index);
        if (!there)
            violate("`sent` of partition %u passes message %u.%u, which is nowhere", part, o->seq,
                    o->index);
    }
}

static void check_log(const struct state *s, u8 part, struct fold *truth)
{
    const struct part *p = &s->parts[part];
    struct validity v = {0};
    u16 messages = 0;

    memset(truth, 0, sizeof(*truth));
    for (u8 n = 0; n < p->count; n++) {
        const struct record *r = &p->log[n];

        if (!validity_feed(&v, n, r, false))
            continue;
        if (!s->damaged)
            check_consumption(p, r, truth, &messages);
        if (r->kind == SNAPSHOT && r->history != truth->instances[r->instance].history)
            violate("the snapshot at offset %u is not what instance %c was", n, 'a' + r->instance);
        fold_record(truth, part, r);
    }
    if (!s->damaged) {
        check_sent_mark(s, part, truth);
        if (p->inbox_start > truth->pos)
            violate("the inbox is trimmed to %u, above the position %u", p->inbox_start,
                    truth->pos);
    }
}

/* An entry that is dropped as old came before. */
static void check_inbox(const struct part *p)
{
    const u16 accepted = inbox_accepted(p);

    for (u8 n = 0; n < p->inbox_count; n++) {
        bool earlier = false;

        for (u8 k = 0; k < n; k++)
            earlier = earlier || (p->inbox[k].source == PARTITION &&
                                  p->inbox[k].message == p->inbox[n].message);
        if (!(accepted >> n & 1) && !earlier)
            violate("inbox offset %u is dropped as old, but never came before", n);
    }
}

/* I4: a log, cleaned or not, says without any rows what it said from its beginning. */
static void check_readable(const struct state *s, u8 part, const struct fold *truth)
{
    const struct part *p = &s->parts[part];
    struct fold loaded;
    const char *difference;

    if (s->damaged && p->start > 0)
        return; /* snapshots may be among what is lost; whoever loads stops */
    if (p->start > 0 &&
        (!(valid_records(p) >> p->start & 1) || p->log[p->start].kind != CHECKPOINT)) {
        violate("the log begins at offset %u, which is no valid checkpoint", p->start);
        return;
    }
    if (!fold_load(p, part, p->start, p->count, NONE, NULL, &loaded))
        violate("a record of the cleaned log comes twice into an instance");
    if (!s->damaged)
        check_inbox_is_recovered(p, &loaded, truth);
    difference = fold_difference(&loaded, truth);
    if (difference)
        violate("what is read of the log from offset %u differs from the truth in %s", p->start,
                difference);
}

/* ---- the projection ---- */

bool rows_are_believed(const struct part *p)
{
    const struct watermark *w = &p->now.w;

    return w->offset > 0 && !(RULE(BUILDING) && w->building) && count_is_right(&p->now) &&
           (w->floor >= p->start || !RULE(FLOOR_OFFSET));
}

/* What a watermark points at is the claim of its owner, or a record of it. */
bool watermark_is_there(const struct part *p, u8 end)
{
    const struct watermark *w = &p->now.w;
    const u8 offset = (u8)(w->offset - 1);
    const struct record *r = &p->log[offset];

    return offset < end && r->epoch == w->epoch && (r->kind == CLAIM || r->seq + 1 >= w->seq);
}

/* Records of the same owner may have filled the place of those that were lost. */
bool log_lost_its_end(const struct part *p, u8 part, u8 end)
{
    struct fold truth;

    fold_truth(p, part, end, NONE, &truth);
    return RULE(SEQUENCE_THERE) && p->now.w.seq > truth.next;
}

static bool touched_between(const struct part *p, u8 instance, u8 after, u8 upto)
{
    const u32 valid = valid_records(p);

    for (u8 n = 0; n < p->count; n++)
        if (valid >> n & 1 && p->log[n].instance == instance && p->log[n].seq >= after &&
            p->log[n].seq < upto)
            return true;
    return false;
}

/* What is not there was not there at some time since the watermark. */
static void check_absence(const struct part *p, u8 part, u8 instance, const struct fold *truth)
{
    struct fold then;

    for (u8 stamp = p->now.w.seq; stamp <= truth->next; stamp++) {
        fold_truth(p, part, p->count, stamp, &then);
        if (then.instances[instance].history == 0)
            return;
    }
    violate("the projection does not know instance %c, which exists", 'a' + instance);
}

/* A row is the truth as of its own last record, and that is no older than the watermark says. */
static void check_row(const struct part *p, u8 part, u8 instance, const struct fold *truth)
{
    const struct row *row = &p->now.rows[instance];
    struct fold then;

    if (row->last > truth->next) {
        violate("the row of instance %c reflects a record that is not valid", 'a' + instance);
        return;
    }
    if (row->last == 0) {
        check_absence(p, part, instance, truth);
        return;
    }
    fold_truth(p, part, p->count, row->last, &then);
    if (memcmp(&then.instances[instance], row, sizeof(*row)) != 0)
        violate("the row of instance %c is not what the log says", 'a' + instance);
    if (touched_between(p, instance, row->last, p->now.w.seq))
        violate("the row of instance %c is older than the watermark", 'a' + instance);
}

/* Whoever asks the projection sees its watermark, and no log. */
static bool outsider_believes(const struct part *p, u8 part, bool damaged)
{
    if (damaged) /* only those who read the log can know */
        return rows_are_believed(p) && watermark_is_there(p, p->count) &&
               !log_lost_its_end(p, part, p->count);
    return p->now.w.offset > 0 && !(RULE(BUILDING) && p->now.w.building) && count_is_right(&p->now);
}

static void check_rows(const struct part *p, u8 part, bool damaged, const struct fold *truth)
{
    struct fold loaded;
    const char *difference;

    if (!outsider_believes(p, part, damaged))
        return;
    if (p->now.w.seq > truth->next)
        violate("the watermark reflects records that are not valid");
    for (u8 n = 0; n < INSTANCES; n++)
        check_row(p, part, n, truth);
    if (!rows_are_believed(p))
        return;
    if (!fold_load(p, part, p->start > p->now.w.floor ? p->start : p->now.w.floor, p->count, NONE,
                   p->now.rows, &loaded)) {
        violate("the log from the floor %u on does not fit the rows", p->now.w.floor);
        return;
    }
    difference = fold_difference(&loaded, truth);
    if (difference)
        violate("rows and log from the floor on differ from the whole log in %s", difference);
}

void check_state(const struct state *s)
{
    struct fold truth;

    for (u8 n = 0; n < config->parts; n++) {
        const struct part *p = &s->parts[n];

        if (p->stopped && s->cuts == 0)
            violate("partition %u stops although its log lost nothing", n);
        check_log(s, n, &truth);
        if (!s->damaged)
            check_inbox(p);
        check_readable(s, n, &truth);
        if (config->project[n])
            check_rows(p, n, s->damaged, &truth);
    }
}

/* ---- the end ---- */

static bool rows_are_done(const struct part *p, const struct fold *truth)
{
    if (truth->next == 0)
        return true;
    if (!rows_are_believed(p))
        return false;
    for (u8 n = 0; n < INSTANCES; n++)
        if (p->now.rows[n].history != truth->instances[n].history)
            return false;
    return true;
}

static bool part_is_done(const struct state *s, u8 part)
{
    const struct part *p = &s->parts[part];
    const u16 accepted = inbox_accepted(p);
    struct fold f;

    fold_truth(p, part, p->count, NONE, &f);
    for (u8 n = 0; n < p->inbox_count; n++)
        if (accepted >> n & 1 && !(f.consumed >> n & 1))
            return false;
    for (u8 n = 0; n < f.out_count; n++)
        if (f.outs[n].message != NONE) {
            const struct part *q = &s->parts[workload->messages[f.outs[n].message].part];
            bool there = false;

            for (u8 k = 0; k < q->inbox_count; k++)
                there = there || q->inbox[k].message == f.outs[n].message;
            if (!there)
                return false;
        }
    for (u8 n = 0; n < INSTANCES; n++)
        if (f.pending[n])
            return false;
    return f.locals == 0 && (!config->project[part] || rows_are_done(p, &f));
}

bool everything_done(const struct state *s)
{
    for (u8 n = 0; n < workload->count; n++) {
        const struct message *m = &workload->messages[n];
        const struct part *p = &s->parts[m->part];
        bool there = m->arrival == OUTPUT;

        for (u8 k = 0; k < p->inbox_count; k++)
            there = there || p->inbox[k].message == n;
        if (!there)
            return false;
    }
    for (u8 n = 0; n < config->parts; n++)
        if (!part_is_done(s, n))
            return false;
    return true;
}
