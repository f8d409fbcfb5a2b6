/*
 * log: each record is judged by itself (I1), then what it consumed against what there was to
 * consume, then it is folded.
 */
#include "doctor/internal.h"

/* ---- offsets ---- */

void th_doctor_log(struct th_doctor *d, uint32_t partition, int64_t start, int64_t end)
{
    struct part *part = &d->parts[partition];

    part->log_start = part->next_offset = start;
    part->log_end = end;
    th_partition_begin(part->core, TH_POSITION_MAX, start, &part->mark, 0,
                       !d->options.traits.durable_projection, d->options.now);
}

static void check_offset(struct th_doctor *d, struct part *part, int64_t offset)
{
    if (offset != part->next_offset)
        note_finding(d, TH_DOCTOR_LOG_HOLE, part, TH_STR_ABSENT,
                     "the log of partition %u lacks the records from %lld up to %lld", part->index,
                     (long long)part->next_offset, (long long)offset - 1);
    part->next_offset = offset + 1;
}

/* ---- I1 ---- */

/* A record of the current owner is the next one; those of owners before it are void. */
static void check_invalid(struct th_doctor *d, struct part *part, int64_t offset,
                          const struct th_record *r)
{
    const struct th_validity *v = &part->validity;

    if (!v->started || r->epoch > v->epoch)
        note_finding(
            d, TH_DOCTOR_EPOCH_UNKNOWN, part, r->instance_id,
            "record %lld of partition %u is of epoch %llu, but no claim stands at that offset",
            (long long)offset, part->index, (unsigned long long)r->epoch);
    else if (r->epoch < v->epoch || r->nonce != v->nonce)
        d->counts.fenced++;
    else if (r->sequence > v->next)
        note_finding(
            d, TH_DOCTOR_SEQUENCE_SKIPPED, part, r->instance_id,
            "record %lld of partition %u has number %llu, but number %llu is missing before it",
            (long long)offset, part->index, (unsigned long long)r->sequence,
            (unsigned long long)v->next);
    else
        note_finding(d, TH_DOCTOR_SEQUENCE_REPEATED, part, r->instance_id,
                     "record %lld of partition %u has number %llu, as an earlier one of its owner",
                     (long long)offset, part->index, (unsigned long long)r->sequence);
}

/* ---- what a record consumed ---- */

static bool is_early(const struct th_inspect_marks *marks, int64_t offset)
{
    for (size_t n = 0; n < marks->early_count; n++)
        if (marks->early[n] == offset)
            return true;
    return false;
}

static void check_inbox_marks(struct th_doctor *d, struct part *part, int64_t offset,
                              const struct th_record *r)
{
    const struct th_inspect_marks marks = th_inspect_marks(part->core);

    if (r->position < marks.position)
        note_finding(
            d, TH_DOCTOR_POSITION_BACK, part, r->instance_id,
            "record %lld of partition %u has inbox position %lld, but it was at %lld before",
            (long long)offset, part->index, (long long)r->position, (long long)marks.position);
    for (uint32_t n = 0; n < r->consumed_count; n++)
        if (r->consumed[n] < marks.position || is_early(&marks, r->consumed[n]))
            note_finding(
                d, TH_DOCTOR_CONSUMED_TWICE, part, r->instance_id,
                "record %lld of partition %u consumes message %lld of the inbox a second time",
                (long long)offset, part->index, (long long)r->consumed[n]);
}

static void check_locals(struct th_doctor *d, struct part *part, int64_t offset,
                         const struct th_record *r)
{
    d->counts.consumed_locally += r->consumed_local_count;
    for (uint32_t n = 0; n < r->consumed_local_count; n++) {
        const struct th_local_ref ref = r->consumed_local[n];
        bool again = !th_inspect_is_letter(part->core, ref);

        for (uint32_t m = 0; m < n && !again; m++)
            again = r->consumed_local[m].sequence == ref.sequence &&
                    r->consumed_local[m].index == ref.index;
        if (again)
            note_finding(
                d, TH_DOCTOR_LOCAL_TWICE, part, r->instance_id,
                "record %lld of partition %u consumes local message %llu.%llu, which is not there "
                "or was consumed before",
                (long long)offset, part->index, (unsigned long long)ref.sequence,
                (unsigned long long)ref.index);
    }
}

/* ---- answers in a history ---- */

static bool is_answer(enum th_event_kind kind)
{
    switch (kind) {
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
    case TH_EVENT_TIMER_FIRED:
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        return true;
    default:
        return false;
    }
}

static bool opens(enum th_event_kind kind)
{
    switch (kind) {
    case TH_EVENT_TASK_SCHEDULED:
    case TH_EVENT_CHILD_CREATED:
    case TH_EVENT_TIMER_CREATED:
    case TH_EVENT_ENTITY_CALLED:
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        return true;
    default:
        return false;
    }
}

struct answered {
    UT_hash_handle hh;
    int32_t id;
};

/* Answers of one record: those of earlier ones are no longer pending. */
struct answers {
    struct answered *seen;
    struct th_arena *arena;
};

static bool seen_before(struct answers *a, int32_t id)
{
    struct answered *s;

    HASH_FIND_INT(a->seen, &id, s);
    if (s)
        return true;
    s = th_arena_alloc(a->arena, sizeof(*s));
    *s = (struct answered){.id = id};
    HASH_ADD_INT(a->seen, id, s);
    return false;
}

static bool opened_within(const struct th_events *events, size_t before, int32_t id)
{
    for (size_t n = 0; n < before; n++)
        if (opens(events->items[n].kind) && events->items[n].id == id)
            return true;
    return false;
}

static void check_events(struct th_doctor *d, struct part *part, int64_t offset,
                         const struct th_record *r, const struct th_events *events)
{
    struct answers answers = {.arena = &d->arena};

    for (size_t n = 0; n < events->count; n++) {
        const struct th_event *e = &events->items[n];

        if (!is_answer(e->kind))
            continue;
        if (!seen_before(&answers, e->related_id) &&
            (opened_within(events, n, e->related_id) ||
             th_inspect_is_pending(part->core, r->instance_id, r->execution_id, e->related_id)))
            continue;
        note_finding(
            d, TH_DOCTOR_ANSWER_TWICE, part, r->instance_id,
            "record %lld of partition %u: %s answers event %d of %.*s, which waits for nothing",
            (long long)offset, part->index, th_event_kind_text(e->kind), e->related_id,
            TH_PRI(r->instance_id));
    }
    HASH_CLEAR(hh, answers.seen);
}

/* A mended history, and that of an instance whose beginning was cleaned away, are not judged. */
static void check_history(struct th_doctor *d, struct part *part, int64_t offset,
                          const struct th_record *r)
{
    struct th_events events = {0};
    struct th_reader reader = th_reader_of(r->events, &d->arena, NULL);
    const struct seat *s = seat_find(part, r->instance_id);
    const bool known = s && (s->folded.present || s->stored.present);

    if (r->kind != TH_RECORD_EPISODE || r->replace_history || th_str_present(r->next) ||
        !th_str_present(r->events) || th_is_entity(r->instance_id) || !known)
        return;
    if (th_decode_events(&reader, &events))
        check_events(d, part, offset, r, &events);
    th_events_deinit(&events);
}

/* ---- folding ---- */

static void fold(struct th_doctor *d, struct part *part)
{
    struct th_str id;
    struct th_error error = {.code = TH_OK};

    for (size_t n = 0; th_str_present(id = th_partition_wanted(part->core, n)); n++) {
        seat_get(part, id); /* its row may be still to come */
        if (!th_partition_base(part->core, id, base_row(d, part, id), &error))
            note_finding(d, TH_DOCTOR_ROW_DIFFERS, part, id, "the row of %.*s cannot be read: %s",
                         TH_PRI(id), error.message);
    }
    th_partition_fold(part->core);
    take_rows(d, part);
}

static void take_valid(struct th_doctor *d, struct part *part, int64_t offset,
                       const struct th_record *r)
{
    check_inbox_marks(d, part, offset, r);
    check_locals(d, part, offset, r);
    check_history(d, part, offset, r);
    note_sent(d, part, r);
    part->last_record = r->time;
}

/* A large record counts with its last part. */
static void take_part(struct th_doctor *d, struct part *part, int64_t offset,
                      const struct th_record *r)
{
    struct th_record whole;
    struct th_reader reader;

    if (r->part == 0)
        part->parts.len = part->parts_next = 0;
    if (r->part != part->parts_next)
        return;
    part->parts_next++;
    th_buffer_str(&part->parts, r->body);
    if (r->part + 1 < r->parts)
        return;
    reader = th_reader_of(th_buffer_view(&part->parts), &d->arena, NULL);
    if (th_decode_record(&reader, &whole))
        take_valid(d, part, offset, &whole);
}

/* The first one of a log that was cleaned. */
static void check_first(struct th_doctor *d, struct part *part, int64_t offset,
                        const struct th_record *r)
{
    if (offset > 0 && r->kind != TH_RECORD_CHECKPOINT && r->kind != TH_RECORD_PART)
        note_finding(d, TH_DOCTOR_LOG_START, part, TH_STR_ABSENT,
                     "the log of partition %u begins at %lld with a record that is no checkpoint",
                     part->index, (long long)offset);
    part->first_sequence = r->kind == TH_RECORD_CLAIM ? 0 : r->sequence;
}

static void take_record(struct th_doctor *d, struct part *part, int64_t offset,
                        const struct th_record *r, struct th_blob *bytes)
{
    struct th_error error = {.code = TH_OK};
    const bool first = !part->begun && offset > 0;
    const bool valid = th_validity_feed(&part->validity, offset, r, first);

    if (!part->begun)
        check_first(d, part, offset, r);
    part->begun = true;
    if (r->kind == TH_RECORD_CLAIM) {
        d->counts.claims++;
        part->parts_next = UINT32_MAX;
    } else if (!valid) {
        check_invalid(d, part, offset, r);
    } else {
        d->counts.valid++;
        if (r->kind == TH_RECORD_PART)
            take_part(d, part, offset, r);
        else
            take_valid(d, part, offset, r);
    }
    if (!th_partition_feed(part->core, offset, bytes, first, &error)) {
        note_finding(d, TH_DOCTOR_LOG_UNREADABLE, part, TH_STR_ABSENT, "%s", error.message);
        return;
    }
    fold(d, part);
    if (first)
        note_outbox(d, part);
}

void th_doctor_record(struct th_doctor *d, uint32_t partition, int64_t offset,
                      struct th_blob *bytes)
{
    struct part *part = &d->parts[partition];
    struct th_error why = {.code = TH_OK};
    struct th_reader reader = th_reader_of(th_blob_view(bytes), &d->arena, &why);
    struct th_record record;

    check_offset(d, part, offset);
    if (!th_decode_record(&reader, &record))
        note_finding(d, TH_DOCTOR_LOG_UNREADABLE, part, TH_STR_ABSENT,
                     "record %lld of partition %u: %s", (long long)offset, part->index,
                     why.message);
    else if (record.incarnation != d->options.incarnation)
        d->counts.foreign++;
    else
        take_record(d, part, offset, &record, bytes);
    th_arena_reset(&d->arena);
}

void th_doctor_log_done(struct th_doctor *d, uint32_t partition)
{
    struct part *part = &d->parts[partition];

    part->done = true;
    check_offset(d, part, part->log_end);
    if (part->mark.offset >= 0 && part->mark.sequence > part->validity.next)
        note_finding(
            d, TH_DOCTOR_LOG_END, part, TH_STR_ABSENT,
            "the projection of partition %u holds %llu records, its log only %llu: it lost its "
            "end",
            part->index, (unsigned long long)part->mark.sequence,
            (unsigned long long)part->validity.next);
    check_rows(d, part);
}
