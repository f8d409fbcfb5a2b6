/*
 * traffic: every message that a valid record sends is looked for where it was sent to, and every
 * message that is there for the record that sent it. A receiver takes from each source what is
 * above the last it took (I3): so what came only behind a later one is lost.
 */
#include "doctor/internal.h"

/* ---- what was sent ---- */

struct sent *sent_find(struct th_doctor *d, struct sent_key key)
{
    struct sent *s;

    HASH_FIND(hh, d->sent, &key, sizeof(key), s);
    return s;
}

static void sent_add(struct th_doctor *d, struct sent_key key, uint64_t record,
                     uint32_t destination)
{
    struct sent *s;

    if (sent_find(d, key))
        return;
    s = TH_NEW(struct sent);
    *s = (struct sent){.key = key, .record = record, .destination = destination};
    HASH_ADD(hh, d->sent, key, sizeof(s->key), s);
    d->counts.sent += !key.activity;
}

static bool read_message(struct th_doctor *d, struct th_str bytes, struct th_message *out)
{
    struct th_reader reader = th_reader_of(bytes, &d->arena, NULL);

    return th_decode_message(&reader, out);
}

static struct sent_key key_of(const struct th_origin *origin, bool activity)
{
    return (struct sent_key){.sequence = origin->sequence,
                             .partition = (uint32_t)origin->partition,
                             .index = origin->index,
                             .activity = activity};
}

void note_sent(struct th_doctor *d, struct part *part, const struct th_record *r)
{
    struct th_message message;

    for (uint32_t n = 0; n < r->message_count; n++) {
        const struct th_record_message *m = &r->messages[n];

        if (m->destination == part->index || m->destination >= d->options.partitions)
            continue;
        if (read_message(d, m->bytes, &message))
            sent_add(d, key_of(&message.origin, false), r->sequence, m->destination);
        else
            note_finding(d, TH_DOCTOR_LOG_UNREADABLE, part, r->instance_id,
                         "message %u of record number %llu of partition %u cannot be read", n,
                         (unsigned long long)r->sequence, part->index);
    }
    for (uint32_t n = 0; n < r->shared_task_count; n++) {
        const struct sent_key key = {.sequence = r->sequence,
                                     .partition = part->index,
                                     .index = (uint32_t)r->shared_tasks[n],
                                     .activity = 1};
        sent_add(d, key, r->sequence, TH_SEND_ACTIVITIES);
    }
}

struct outbox {
    struct th_doctor *d;
    struct part *part;
};

static void note_unsent(void *argument, const struct th_inspect_outgoing *o)
{
    struct outbox *box = argument;
    struct th_message message;

    if (read_message(box->d, o->bytes, &message))
        sent_add(box->d, key_of(&message.origin, o->destination == TH_SEND_ACTIVITIES), o->sequence,
                 o->destination);
}

/* A checkpoint at the log's beginning holds what was still to be sent then. */
void note_outbox(struct th_doctor *d, struct part *part)
{
    struct outbox box = {.d = d, .part = part};

    th_inspect_outbox(part->core, note_unsent, &box);
}

/* ---- inboxes ---- */

void th_doctor_inbox(struct th_doctor *d, uint32_t partition, int64_t start, int64_t end)
{
    struct part *part = &d->parts[partition];
    const struct th_inspect_marks marks = th_inspect_marks(part->core);

    part->inbox_start = start;
    part->inbox_end = end;
    if (marks.position > end)
        note_finding(d, TH_DOCTOR_POSITION_AHEAD, part, TH_STR_ABSENT,
                     "the inbox position of partition %u is %lld, but its inbox ends at %lld",
                     part->index, (long long)marks.position, (long long)end);
    if (start > marks.position)
        note_finding(
            d, TH_DOCTOR_INBOX_TRIMMED, part, TH_STR_ABSENT,
            "the inbox of partition %u begins at %lld, but only those below %lld were consumed",
            part->index, (long long)start, (long long)marks.position);
}

static bool above(const struct th_origin *origin, const struct th_vector_entry *last)
{
    return origin->sequence + 1 > last->sequence ||
           (origin->sequence + 1 == last->sequence && origin->index > last->index);
}

static void set_entry(struct th_vector_entry *entry, const struct th_origin *origin)
{
    *entry = (struct th_vector_entry){.partition = (uint32_t)origin->partition,
                                      .sequence = origin->sequence + 1,
                                      .index = origin->index};
}

/* Of a record behind the end of the log as it was when that was read, before this. */
static bool is_newer(const struct part *source, const struct th_origin *origin)
{
    return origin->sequence >= source->validity.next;
}

static void note_founded(struct th_doctor *d, struct part *part, int64_t offset,
                         const struct th_message *m, bool accepted)
{
    const struct part *source = &d->parts[m->origin.partition];
    struct sent *s = sent_find(d, key_of(&m->origin, false));

    if (!s && m->origin.sequence < source->first_sequence) {
        d->counts.from_before++;
        return;
    }
    if (!s && is_newer(source, &m->origin))
        return;
    if (!s || s->destination != part->index) {
        note_finding(
            d, TH_DOCTOR_MESSAGE_UNFOUNDED, part, m->instance_id,
            "message %lld in the inbox of partition %u, %s for %.*s, says it is number %llu.%u of "
            "partition %u, but no valid record sent it",
            (long long)offset, part->index, th_event_kind_text(m->event.kind),
            TH_PRI(m->instance_id), (unsigned long long)m->origin.sequence, m->origin.index,
            source->index);
        return;
    }
    s->there = true;
    s->accepted |= accepted;
}

/* Whether the receiver takes it, as far as its origin goes. */
static bool accept(struct th_doctor *d, struct part *part, int64_t offset,
                   const struct th_message *m)
{
    const int64_t position = th_inspect_marks(part->core).position;
    const int32_t source = m->origin.partition;
    bool accepted;

    if (source < 0)
        return true;
    if ((uint32_t)source >= d->options.partitions)
        return false;
    accepted = above(&m->origin, &part->highest[source]);
    if (part->lowest[source].sequence == 0)
        set_entry(&part->lowest[source], &m->origin);
    if (accepted)
        set_entry(&part->highest[source], &m->origin);
    else
        d->counts.repeated++;
    if (accepted && offset < position)
        part->accepted[source] = part->highest[source];
    note_founded(d, part, offset, m, accepted);
    return accepted;
}

static bool is_consumed(const struct part *part, int64_t offset)
{
    const struct th_inspect_marks marks = th_inspect_marks(part->core);

    for (size_t n = 0; n < marks.early_count; n++)
        if (marks.early[n] == offset)
            return true;
    return offset < marks.position;
}

/* What its vector as of the position does not yet exclude. */
static bool will_be_dropped(const struct part *part, const struct th_message *m)
{
    const struct th_inspect_marks marks = th_inspect_marks(part->core);

    return m->origin.partition >= 0 && !above(&m->origin, &marks.vector[m->origin.partition]);
}

void th_doctor_message(struct th_doctor *d, uint32_t partition, int64_t offset,
                       struct th_blob *bytes)
{
    struct part *part = &d->parts[partition];
    struct th_message m;

    d->counts.messages++;
    if (!bytes || !read_message(d, th_blob_view(bytes), &m)) {
        note_finding(d, TH_DOCTOR_MESSAGE_UNREADABLE, part, TH_STR_ABSENT,
                     "message %lld in the inbox of partition %u cannot be read", (long long)offset,
                     part->index);
    } else if (accept(d, part, offset, &m) && !is_consumed(part, offset) &&
               !will_be_dropped(part, &m)) {
        d->counts.waiting++;
        note_travelling(d, &m, "inbox", NULL);
    }
    th_arena_reset(&d->arena);
}

/* ---- activities ---- */

void th_doctor_activities(struct th_doctor *d, uint32_t partition, int64_t start, int64_t end,
                          int64_t committed)
{
    if (partition < d->options.activity_partitions)
        d->activities[partition] =
            (struct activities){.start = start, .end = end, .committed = committed};
}

static void take_activity(struct th_doctor *d, uint32_t place, int64_t offset,
                          const struct th_message *m)
{
    struct sent *s;

    if (m->origin.partition < 0 || (uint32_t)m->origin.partition >= d->options.partitions)
        return;
    s = sent_find(d, key_of(&m->origin, true));
    if (!s && m->origin.sequence < d->parts[m->origin.partition].first_sequence) {
        d->counts.from_before++;
    } else if (!s && is_newer(&d->parts[m->origin.partition], &m->origin)) {
        return;
    } else if (!s) {
        note_finding(
            d, TH_DOCTOR_MESSAGE_UNFOUNDED, NULL, m->instance_id,
            "message %lld in partition %u of the activities, %.*s for %.*s, says it is of record "
            "number %llu of partition %d, but no valid record scheduled it",
            (long long)offset, place, TH_PRI(m->event.name), TH_PRI(m->instance_id),
            (unsigned long long)m->origin.sequence, m->origin.partition);
    } else if (s->there) {
        d->counts.activities_repeated++;
    } else {
        s->there = true;
        s->offset = offset;
        s->place = place;
    }
}

void th_doctor_activity(struct th_doctor *d, uint32_t partition, int64_t offset,
                        struct th_blob *bytes)
{
    struct th_message m;

    d->counts.activities++;
    if (bytes && read_message(d, th_blob_view(bytes), &m))
        take_activity(d, partition, offset, &m);
    else
        note_finding(d, TH_DOCTOR_MESSAGE_UNREADABLE, NULL, TH_STR_ABSENT,
                     "message %lld in partition %u of the activities cannot be read",
                     (long long)offset, partition);
    th_arena_reset(&d->arena);
}

/* ---- what is missing ---- */

/* As far as is known it was accepted, and has been dropped with the beginning of the inbox. */
static bool may_be_trimmed(const struct th_doctor *d, const struct sent *s)
{
    const struct part *to = &d->parts[s->destination];
    const struct th_vector_entry *lowest = &to->lowest[s->key.partition];
    const struct th_inspect_marks marks = th_inspect_marks(to->core);
    const struct th_origin origin = {
        .partition = (int32_t)s->key.partition, .sequence = s->key.sequence, .index = s->key.index};

    if (to->inbox_start == 0 && !d->options.traits.ordered)
        return false;
    if (lowest->sequence > 0 && above(&origin, lowest))
        return false;
    return !above(&origin, &marks.vector[s->key.partition]);
}

static void check_message(struct th_doctor *d, const struct sent *s)
{
    const struct part *from = &d->parts[s->key.partition];
    const struct part *to = &d->parts[s->destination];

    if (s->there && s->accepted) {
        d->counts.found++;
    } else if (s->there) {
        note_finding(
            d, TH_DOCTOR_MESSAGE_LOST, to, TH_STR_ABSENT,
            "message %llu.%u of partition %u came to partition %u only behind a later one, and "
            "was dropped",
            (unsigned long long)s->key.sequence, s->key.index, from->index, to->index);
    } else if (s->record >= th_inspect_marks(from->core).sent) {
        return; /* a new owner sends it again */
    } else if (may_be_trimmed(d, s)) {
        d->counts.trimmed++;
    } else {
        note_finding(
            d, TH_DOCTOR_MESSAGE_LOST, to, TH_STR_ABSENT,
            "message %llu.%u of partition %u counts as sent, but partition %u never got it",
            (unsigned long long)s->key.sequence, s->key.index, from->index, to->index);
    }
}

static void check_vector(struct th_doctor *d, struct part *part)
{
    const struct th_inspect_marks marks = th_inspect_marks(part->core);

    for (uint32_t n = 0; n < d->options.partitions; n++) {
        const struct th_vector_entry *have = &marks.vector[n], *seen = &part->accepted[n];
        const struct th_origin origin = {.sequence = seen->sequence - 1, .index = seen->index};
        const bool same = have->sequence == seen->sequence && have->index == seen->index;

        if (n == part->index || same || (part->inbox_start > 0 && seen->sequence == 0))
            continue;
        if (seen->sequence > 0 && part->inbox_start > 0 && !above(&origin, have))
            continue; /* what is retained was sent again */
        note_finding(
            d, TH_DOCTOR_VECTOR, part, TH_STR_ABSENT,
            "partition %u says that it accepted messages of partition %u up to %lld.%u, its inbox "
            "holds them up to %lld.%u",
            part->index, n, (long long)have->sequence - 1, have->index,
            (long long)seen->sequence - 1, seen->index);
    }
}

void check_traffic(struct th_doctor *d)
{
    const struct sent *s, *next;

    if (!d->options.traits.shared && d->options.partitions == 1)
        return;
    HASH_ITER(hh, d->sent, s, next)
        if (!s->key.activity)
            check_message(d, s);
    for (uint32_t p = 0; p < d->options.partitions; p++)
        if (!d->options.traits.ordered)
            check_vector(d, &d->parts[p]);
}

/* ---- on the way to an instance ---- */

struct address *address_get(struct th_doctor *d, struct th_str id)
{
    struct address *a;

    HASH_FIND(hh, d->addresses, id.data, id.len, a);
    if (a)
        return a;
    a = TH_NEW(struct address);
    a->id = th_str_dup(id);
    HASH_ADD_KEYPTR(hh, d->addresses, a->id, id.len, a);
    return a;
}

void note_travelling(struct th_doctor *d, const struct th_message *m, const char *where,
                     const struct th_inspect_letter *letter)
{
    struct address *a = address_get(d, m->instance_id);
    struct travelling *t = TH_NEW(struct travelling);

    *t = (struct travelling){.next = a->first,
                             .kind = m->event.kind,
                             .related_id = m->event.related_id,
                             .execution_id = th_str_dup(m->execution_id),
                             .where = where,
                             .parked = letter && letter->parked,
                             .taken_up = letter != NULL,
                             .not_before = letter ? letter->not_before : TH_TIME_NONE,
                             .since = m->event.timestamp};
    a->first = t;
    if (m->event.kind == TH_EVENT_EXECUTION_STARTED) {
        free(a->name);
        a->name = th_str_dup(m->event.name);
    }
}
