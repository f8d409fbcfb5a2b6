/*
 * write: records are built here, submitted and folded at once. What a turn consumed goes into the
 * marks; every record takes along the marks gathered so far, so that position, vector and
 * consumption always move together with what they led to.
 */
#include "partition/internal.h"

/* ---- the inbox's slots ---- */

static struct slot *slot_at(struct th_partition *p, int64_t offset)
{
    const int64_t n = offset - p->position;

    if (n < 0 || (size_t)n >= p->slot_count)
        return NULL;
    return &p->slots[p->slot_first + (size_t)n];
}

void slot_consume(struct th_partition *p, int64_t offset)
{
    struct slot *s = slot_at(p, offset);

    if (!s)
        return;
    s->consumed = true;
    s->letter = NULL;
}

void slots_advance(struct th_partition *p)
{
    while (p->slot_count > 0) {
        const struct slot *s = &p->slots[p->slot_first];

        if (!s->consumed)
            break;
        if (s->accepted && s->origin.partition >= 0)
            p->vector_position[s->origin.partition] =
                (struct th_vector_entry){.partition = (uint32_t)s->origin.partition,
                                         .sequence = s->origin.sequence + 1,
                                         .index = s->origin.index};
        p->slot_first++;
        p->slot_count--;
        p->position++;
    }
    if (p->slot_count == 0)
        p->slot_first = 0;
}

/* ---- marks ---- */

static void add_consumed(struct marks *m, int64_t offset)
{
    m->consumed =
        th_grow(m->consumed, &m->consumed_capacity, m->consumed_count + 1, sizeof(*m->consumed));
    m->consumed[m->consumed_count++] = offset;
}

static void add_local(struct marks *m, struct th_local_ref ref)
{
    m->local = th_grow(m->local, &m->local_capacity, m->local_count + 1, sizeof(*m->local));
    m->local[m->local_count++] = ref;
}

static void marks_close_task(struct th_partition *p, const struct pending *d)
{
    struct marks *m = &p->marks;

    m->closed = th_grow(m->closed, &m->closed_capacity, m->closed_count + 1, sizeof(*m->closed));
    m->closed[m->closed_count++] =
        (struct th_task_ref){.instance_id = th_arena_str(&m->arena, instance_id(d->instance)),
                             .execution_id = th_arena_str(&m->arena, th_str_of(d->execution_id)),
                             .event_id = d->event_id};
}

static struct th_record_message *add_message(struct marks *m)
{
    m->messages =
        th_grow(m->messages, &m->message_capacity, m->message_count + 1, sizeof(*m->messages));
    return &m->messages[m->message_count++];
}

static void add_reply(struct marks *m, const struct th_offer *offer)
{
    struct th_effect *e;

    if (!th_str_present(offer->message->reply_to))
        return;
    m->replies = th_grow(m->replies, &m->reply_capacity, m->reply_count + 1, sizeof(*m->replies));
    e = &m->replies[m->reply_count++];
    *e = (struct th_effect){.kind = TH_EFFECT_REPLY,
                            .id = th_str_dup(offer->message->instance_id),
                            .reply_to = th_str_dup(offer->message->reply_to)};
    if (offer->error.code != TH_OK && offer->verdict == TH_VERDICT_DROPPED)
        e->error = th_memdup(&offer->error, sizeof(offer->error));
}

/* What came in a newer format stays in it. */
static void encode_message(struct th_partition *p, const struct th_message *message,
                           struct th_record_message *out)
{
    struct th_message stamped = *message;

    if (stamped.format < p->options.formats.writes)
        stamped.format = p->options.formats.writes;
    p->scratch.len = 0;
    th_encode_message(&p->scratch, &stamped);
    out->bytes = th_arena_str(&p->marks.arena, th_buffer_view(&p->scratch));
}

/* Takes the letter out of I[p]; it becomes a local message of the next record. */
static void park_durably(struct th_partition *p, const struct letter *l, th_time not_before)
{
    struct th_record_message *m = add_message(&p->marks);
    struct th_message message = l->message;

    *m = (struct th_record_message){
        .destination = p->options.index, .parked = true, .not_before = not_before};
    message.reply_to = TH_STR_ABSENT; /* it is answered when the record is durable */
    encode_message(p, &message, m);
}

/* An answer that no event of a history will ever tell of: its task would run again. */
static void close_task(struct th_partition *p, const struct letter *l, bool continued)
{
    const enum th_event_kind kind = l->message.event.kind;
    const struct pending *d;

    if (kind != TH_EVENT_TASK_COMPLETED && kind != TH_EVENT_TASK_FAILED)
        return;
    d = pending_find(l->instance, l->message.execution_id, l->message.event.related_id);
    if (d && d->kind == TH_PENDING_TASK && (d->orphan || continued))
        marks_close_task(p, d);
}

static void consume(struct th_partition *p, struct letter *l, bool continued)
{
    switch (l->from) {
    case LETTER_INBOX:
        slot_consume(p, l->offset);
        add_consumed(&p->marks, l->offset);
        break;
    case LETTER_LOCAL:
        add_local(&p->marks, l->local);
        break;
    case LETTER_ANSWER: /* its event is the record */
        break;
    }
    close_task(p, l, continued);
}

static bool is_timer(const struct letter *l)
{
    return l->message.event.kind == TH_EVENT_TIMER_FIRED;
}

/* Whether it is durable already, as what it is. A start leaves a placeholder by the record that
 * parks it, so that it can be looked for, and is known again. */
static bool is_parked_by_record(const struct letter *l)
{
    const bool start = l->message.event.kind == TH_EVENT_EXECUTION_STARTED;

    return (l->from == LETTER_LOCAL && (l->was_parked || !start)) ||
           (l->from == LETTER_ANSWER && is_timer(l));
}

/* What is durable stays in memory. True: as for settle. */
static bool settle_parked(struct th_partition *p, struct letter *l, const struct th_offer *offer)
{
    if (is_parked_by_record(l)) {
        l->message.reply_to = TH_STR_ABSENT;
        letter_park(l, offer->not_before);
        return true;
    }
    park_durably(p, l, offer->not_before);
    consume(p, l, false);
    return l->from == LETTER_LOCAL;
}

/* True when the letter stays with its instance, or goes by the fold of the record. */
static bool settle(struct th_partition *p, struct turn *t, struct letter *l,
                   const struct th_offer *offer)
{
    if (offer->verdict == TH_VERDICT_LEFT) {
        l->offered = false;
        return true;
    }
    add_reply(&p->marks, offer);
    if (offer->verdict == TH_VERDICT_PARKED)
        return settle_parked(p, l, offer);
    consume(p, l, t->outcome.continued);
    return l->from == LETTER_LOCAL;
}

void marks_settle(struct th_partition *p, struct turn *t)
{
    for (size_t n = 0; n < t->count; n++)
        if (settle(p, t, t->letters[n], &t->offers[n]))
            t->letters[n] = NULL;
    slots_advance(p);
}

void write_acceptance(struct th_partition *p, struct letter *l)
{
    const struct th_offer offer = {.message = &l->message, .verdict = TH_VERDICT_PARKED};

    add_reply(&p->marks, &offer);
    park_durably(p, l, TH_TIME_NONE);
    consume(p, l, false);
    letter_free(l);
}

void write_refusal(struct th_partition *p, struct letter *l, const struct th_offer *offer)
{
    add_reply(&p->marks, offer);
    consume(p, l, false);
    letter_free(l);
}

/* Letters whose consumption is recorded, or about to be: nothing points at them any more. */
static void free_letters(struct turn *t)
{
    for (size_t n = 0; n < t->count; n++)
        if (t->letters[n])
            letter_free(t->letters[n]);
    t->count = 0;
}

static bool vector_moved(const struct th_vector_entry *a, const struct th_vector_entry *b)
{
    return a->sequence != b->sequence || a->index != b->index;
}

/* What the position has passed needs no mark. */
static void drop_passed(struct th_partition *p)
{
    struct marks *m = &p->marks;
    size_t kept = 0;

    for (size_t n = 0; n < m->consumed_count; n++)
        if (m->consumed[n] >= p->position)
            m->consumed[kept++] = m->consumed[n];
    m->consumed_count = kept;
}

/* The part of every record: marks as of now. */
static void fill_marks(struct th_partition *p, struct th_record *r, struct th_arena *arena)
{
    struct marks *m = &p->marks;
    struct th_vector_entry *moved = TH_ARENA_ARRAY(arena, struct th_vector_entry, p->options.count);
    const struct th_vector_entry *vector =
        MUTANT(p, VECTOR_AHEAD) ? p->vector_read : p->vector_position;

    r->position = p->position;
    if (MUTANT(p, POSITION_AHEAD))
        r->position += (int64_t)p->slot_count;
    r->sent = p->outbox ? p->outbox->sequence : p->next_sequence;
    p->unsealed = p->outbox != NULL;
    for (uint32_t n = 0; n < p->options.count; n++) {
        if (!vector_moved(&vector[n], &p->vector_recorded[n]))
            continue;
        moved[r->vector_count++] = vector[n];
        p->vector_recorded[n] = vector[n];
    }
    r->vector = moved;
    drop_passed(p);
    r->consumed = m->consumed;
    r->consumed_count = (uint32_t)m->consumed_count;
    r->consumed_local = m->local;
    r->consumed_local_count = (uint32_t)m->local_count;
    r->closed_tasks = m->closed;
    r->closed_task_count = (uint32_t)m->closed_count;
    r->messages = m->messages;
    r->message_count = (uint32_t)m->message_count;
    p->previous_position = p->recorded_position;
    p->recorded_position = p->position;
}

/* Whoever asked for a change looks for it next. */
static void expect_a_look(struct th_partition *p, const char *id)
{
    struct th_instance *i = instance_find(p, th_str_of(id));

    if (i)
        instance_news(i);
}

static void release_marks(struct th_partition *p)
{
    struct marks *m = &p->marks;

    for (size_t n = 0; n < m->reply_count; n++) {
        struct th_effect *e = effect_hold(p, TH_EFFECT_REPLY, p->next_sequence);
        const uint64_t stamp = e->stamp;
        *e = m->replies[n];
        e->stamp = stamp;
        expect_a_look(p, e->id);
    }
    m->consumed_count = m->local_count = m->closed_count = m->message_count = m->reply_count = 0;
    th_arena_reset(&m->arena);
}

/* ---- appending ---- */

static void submit(struct th_partition *p, struct th_blob *blob, uint64_t sequence)
{
    struct th_effect *e = effect_now(p, TH_EFFECT_APPEND);

    e->blob = blob;
    e->tag = sequence;
    flight_add(p, sequence);
    p->stats.records++;
    p->records_since_checkpoint++;
    p->bytes_since_checkpoint += blob->len;
    p->bytes_since_clean += blob->len;
}

static struct th_blob *encode(struct th_partition *p, const struct th_record *r)
{
    p->scratch.len = 0;
    th_encode_record(&p->scratch, r);
    return th_blob_new(p->scratch.data, p->scratch.len);
}

/* Room that the head of a PART takes beside its bytes. */
#define PART_OVERHEAD 96

/* Too large for one append: parts, void without the last, whose sequence the whole carries. */
static struct th_blob *submit_parts(struct th_partition *p, struct th_record *r, size_t size)
{
    const size_t room = p->options.traits.max_record_bytes > 2 * PART_OVERHEAD
                            ? p->options.traits.max_record_bytes - PART_OVERHEAD
                            : PART_OVERHEAD;
    const uint32_t parts = (uint32_t)((size + 16 + room - 1) / room);
    const uint64_t first = p->next_sequence;
    struct th_blob *whole;

    r->sequence = first + parts - 1;
    whole = encode(p, r);
    if (r->kind == TH_RECORD_CHECKPOINT)
        p->checkpoint.first = first;
    for (uint32_t n = 0; n < parts; n++) {
        const size_t from = n * room < whole->len ? n * room : whole->len;
        const size_t len = whole->len - from < room ? whole->len - from : room;
        const struct th_record part = {.format = r->format,
                                       .kind = TH_RECORD_PART,
                                       .incarnation = p->options.incarnation,
                                       .epoch = p->epoch,
                                       .nonce = p->claim_nonce,
                                       .sequence = first + n,
                                       .time = p->now,
                                       .part = n,
                                       .parts = parts,
                                       .body = th_str_n(whole->data + from, len)};
        submit(p, encode(p, &part), first + n);
    }
    p->next_sequence = first + parts;
    return whole;
}

static struct th_blob *submit_whole(struct th_partition *p, struct th_record *r)
{
    const size_t limit = p->options.traits.max_record_bytes;
    struct th_blob *blob;

    r->sequence = p->next_sequence;
    blob = encode(p, r);
    if (limit > 0 && blob->len > limit) {
        const size_t size = blob->len;
        th_blob_unref(blob);
        return submit_parts(p, r, size);
    }
    if (r->kind == TH_RECORD_CHECKPOINT)
        p->checkpoint.first = r->sequence;
    p->next_sequence++;
    submit(p, th_blob_ref(blob), r->sequence);
    return blob;
}

static void trim_inbox(struct th_partition *p)
{
    const int64_t below =
        MUTANT(p, TRIM_INBOX_EARLY) ? p->position + (int64_t)p->slot_count : p->recorded_position;
    struct th_effect *e;

    if (below <= p->trimmed_inbox)
        return;
    p->trimmed_inbox = below;
    /* Where everything takes effect in order, the trim cannot overtake the record. */
    e = p->options.traits.ordered || MUTANT(p, TRIM_INBOX_EARLY)
            ? effect_now(p, TH_EFFECT_TRIM_INBOX)
            : effect_hold(p, TH_EFFECT_TRIM_INBOX, p->next_sequence);
    e->to = below;
}

/* Submits `r` with the marks, then folds what was submitted. */
static void write_record(struct th_partition *p, struct th_record *r)
{
    struct th_record decoded;
    struct th_reader reader;
    struct th_blob *blob;

    r->format = p->options.formats.writes;
    r->incarnation = p->options.incarnation;
    r->epoch = p->epoch;
    r->nonce = p->claim_nonce;
    r->time = p->now;
    blob = submit_whole(p, r);
    reader = partition_reader(p, th_blob_view(blob), &p->fold_arena, NULL);
    if (th_decode_record(&reader, &decoded))
        fold_record(p, &decoded, blob, true);
    th_blob_unref(blob);
    release_marks(p);
    trim_inbox(p);
}

/* The sequence of the messages is that of the record that comes next; when it is written in parts
 * the last part's is larger, which keeps the order (I3 needs no more). */
void marks_outgoing(struct th_partition *p, const struct th_outcome *outcome)
{
    const uint64_t sequence = p->next_sequence;

    for (size_t n = 0; n < outcome->outgoing_count; n++) {
        struct th_message message = outcome->outgoing[n].message;
        const uint32_t index = (uint32_t)p->marks.message_count;
        struct th_record_message *m = add_message(&p->marks);

        *m = (struct th_record_message){.destination =
                                            th_partition_of(message.instance_id, p->options.count),
                                        .not_before = outcome->outgoing[n].not_before};
        message.origin = (struct th_origin){
            .partition = (int32_t)p->options.index, .sequence = sequence, .index = index};
        encode_message(p, &message, m);
    }
}

static void encode_history(struct th_partition *p, const struct th_outcome *o, struct th_record *r,
                           struct th_arena *arena)
{
    struct th_buffer *b = &p->scratch;

    b->len = 0;
    if (o->continued) { /* of the old execution only activities under way are kept */
        for (size_t n = 0; n < o->produced.count; n++)
            if (o->produced.items[n].kind == TH_EVENT_TASK_SCHEDULED)
                th_encode_event(b, &o->produced.items[n]);
    } else {
        th_encode_events(b, o->past.items, o->past.count);
        th_encode_events(b, o->fresh.items, o->fresh.count);
        th_encode_events(b, o->produced.items, o->produced.count);
    }
    r->events = th_arena_str(arena, th_buffer_view(b));
    r->replace_history = o->replace_history && !o->continued;
    if (o->continued) {
        b->len = 0;
        th_encode_info(b, &o->next, true);
        r->next = th_arena_str(arena, th_buffer_view(b));
    }
}

/* Where each new activity runs is decided here and stands in the record. */
static void place_tasks(struct th_partition *p, struct turn *t, struct th_record *r)
{
    const struct th_events *produced = &t->outcome.produced;
    int32_t *out;

    if (!p->options.goes_out)
        return;
    out = TH_ARENA_ARRAY(&t->arena, int32_t, produced->count);
    for (size_t n = 0; n < produced->count; n++) {
        const struct th_event *e = &produced->items[n];

        if (e->kind == TH_EVENT_TASK_SCHEDULED &&
            p->options.goes_out(p->options.argument, e->name, e->version))
            out[r->shared_task_count++] = e->id;
    }
    r->shared_tasks = out;
}

void write_turn(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    struct th_record r = {.kind = TH_RECORD_EPISODE,
                          .instance_id = instance_id(i),
                          .execution_id = t->outcome.execution_id};
    const struct th_actions *actions = t->actions;

    marks_settle(p, t);
    marks_outgoing(p, &t->outcome);
    encode_history(p, &t->outcome, &r, &t->arena);
    place_tasks(p, t, &r);
    if (actions && actions->has_custom_status) {
        r.has_custom_status = true;
        r.custom_status = actions->custom_status;
    }
    if (actions && !t->outcome.continued)
        r.turn_trace = actions->turn_trace;
    fill_marks(p, &r, &t->arena);
    p->stats.episodes++;
    write_record(p, &r);
    free_letters(t);
}

void write_purge(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    struct th_record r = {
        .kind = TH_RECORD_PURGE, .instance_id = instance_id(i), .reason = i->info.request_id};

    marks_settle(p, t);
    marks_outgoing(p, &t->outcome);
    fill_marks(p, &r, &t->arena);
    write_record(p, &r);
    free_letters(t);
}

/* Whether messages behind it have to meet the placeholder of a start that waits for its time. */
static bool parked_a_start(const struct turn *t)
{
    for (size_t n = 0; n < t->count; n++)
        if (t->offers[n].verdict == TH_VERDICT_PARKED &&
            t->offers[n].message->event.kind == TH_EVENT_EXECUTION_STARTED)
            return true;
    return false;
}

void write_nothing(struct th_partition *p, struct turn *t)
{
    const bool at_once = parked_a_start(t);

    marks_settle(p, t);
    marks_outgoing(p, &t->outcome); /* a refused child still owes its parent an answer */
    free_letters(t);
    if (at_once)
        write_marks(p);
}

static bool marks_pending(const struct th_partition *p)
{
    const struct marks *m = &p->marks;

    return m->consumed_count || m->local_count || m->closed_count || m->message_count ||
           m->reply_count;
}

void write_marks(struct th_partition *p)
{
    struct th_record r = {.kind = TH_RECORD_MARKS};
    TH_ARENA arena = {0};

    if (!marks_pending(p))
        return;
    fill_marks(p, &r, &arena);
    write_record(p, &r);
}

/* The next owner sends again whatever no record calls sent, and of work for all processes nobody
 * could tell that it comes a second time. */
void write_seal(struct th_partition *p)
{
    struct th_record r = {.kind = TH_RECORD_MARKS};
    TH_ARENA arena = {0};

    if (!p->handed_over || !p->unsealed || p->outbox)
        return;
    fill_marks(p, &r, &arena);
    write_record(p, &r);
}

void write_running(struct th_partition *p, const struct th_task_ref *tasks, uint32_t count)
{
    struct th_record r = {.kind = TH_RECORD_MARKS,
                          .worker = th_str_of(p->options.worker),
                          .running_tasks = tasks,
                          .running_task_count = count};
    TH_ARENA arena = {0};

    fill_marks(p, &r, &arena);
    write_record(p, &r);
}

void write_crash(struct th_partition *p, struct th_instance *i, struct th_str execution_id,
                 int32_t task_id, uint32_t crashes, struct th_str reason)
{
    struct th_record r = {.kind = TH_RECORD_CRASH,
                          .instance_id = instance_id(i),
                          .execution_id = execution_id,
                          .task_id = task_id,
                          .crashes = crashes,
                          .reason = reason};
    TH_ARENA arena = {0};

    fill_marks(p, &r, &arena);
    write_record(p, &r);
}

void write_checkpoint(struct th_partition *p, struct th_str body)
{
    struct th_record r = {.kind = TH_RECORD_CHECKPOINT, .body = body};
    TH_ARENA arena = {0};

    fill_marks(p, &r, &arena);
    write_record(p, &r);
}

size_t write_snapshot(struct th_partition *p, struct th_instance *i, struct th_str history)
{
    struct th_record r = {
        .kind = TH_RECORD_SNAPSHOT, .instance_id = instance_id(i), .events = history};
    TH_ARENA arena = {0};
    TH_BUFFER info = {0};

    th_encode_info(&info, &i->info, true);
    r.next = th_buffer_view(&info);
    fill_marks(p, &r, &arena);
    write_record(p, &r);
    p->stats.snapshots++;
    return info.len + history.len;
}
