/*
 * recover: from a claim to a working partition. Records of the log are fed and kept if valid; the
 * rows of the instances they speak of are asked for; then everything is folded in order. A
 * checkpoint, the first record of a log that was cleaned, holds all state but the instances.
 */
#include "partition/internal.h"

struct th_blob *th_partition_claim(struct th_partition *p, th_time now)
{
    const struct th_record claim = {.kind = TH_RECORD_CLAIM,
                                    .incarnation = p->options.incarnation,
                                    .time = now,
                                    .worker = th_str_of(p->options.worker),
                                    .nonce = th_random_next(&p->random)};

    p->scratch.len = 0;
    th_encode_record(&p->scratch, &claim);
    return th_blob_new(p->scratch.data, p->scratch.len);
}

/* ---- reading the log ---- */

static void want(struct th_partition *p, struct th_str id)
{
    struct wanted *w;

    if (id.len == 0)
        return; /* of a message or a checkpoint that is refused when it is folded */
    HASH_FIND(hh, p->wanted_by_id, id.data, id.len, w);
    if (w)
        return;
    w = TH_NEW(struct wanted);
    w->id = th_str_dup(id);
    p->wanted = th_grow(p->wanted, &p->wanted_capacity, p->wanted_count + 1, sizeof(*p->wanted));
    p->wanted[p->wanted_count++] = w;
    HASH_ADD_KEYPTR(hh, p->wanted_by_id, w->id, id.len, w);
}

struct th_str th_partition_wanted(const struct th_partition *p, size_t index)
{
    const struct wanted *w = index < p->wanted_count ? p->wanted[index] : NULL;

    return w ? th_str_n(w->id, w->hh.keylen) : TH_STR_ABSENT;
}

/* Executions that continue-as-new left waiting run again without any message. */
static void want_starting(struct th_partition *p, struct th_str body)
{
    struct th_reader in = th_reader_of(body, &p->load_arena, NULL);
    uint32_t n = th_read_array(&in);

    for (; n > 0 && !in.failed; n--)
        want(p, th_read_str(&in));
}

static void want_parked_starts(struct th_partition *p, const struct th_record *r)
{
    for (uint32_t n = 0; n < r->message_count; n++) {
        struct th_reader in = th_reader_of(r->messages[n].bytes, &p->load_arena, NULL);
        struct th_message message;

        if (r->messages[n].parked && th_decode_message(&in, &message))
            want(p, message.instance_id);
    }
}

static void keep(struct th_partition *p, int64_t offset, struct th_blob *blob,
                 const struct th_record *record)
{
    p->loaded = th_grow(p->loaded, &p->loaded_capacity, p->loaded_count + 1, sizeof(*p->loaded));
    p->loaded[p->loaded_count++] =
        (struct loaded_record){.offset = offset, .blob = th_blob_ref(blob), .record = *record};
    if (record->kind == TH_RECORD_EPISODE || record->kind == TH_RECORD_PURGE)
        want(p, record->instance_id);
    if (record->kind == TH_RECORD_CHECKPOINT && p->loaded_count == 1)
        want_starting(p, record->body);
    want_parked_starts(p, record);
}

static bool decode(struct th_partition *p, int64_t offset, struct th_str bytes,
                   struct th_record *out, struct th_error *error)
{
    struct th_error why = {.code = TH_OK};
    struct th_reader reader = th_reader_of(bytes, &p->load_arena, &why);

    if (th_decode_record(&reader, out))
        return true;
    return th_fail(error, TH_CORRUPT, "record %lld of partition %u: %s", (long long)offset,
                   p->options.index, why.message);
}

/* Collects the parts of a large record; the last one makes it count. */
static bool feed_part(struct th_partition *p, int64_t offset, const struct th_record *part,
                      struct th_error *error)
{
    struct th_record whole;
    struct th_blob *blob;
    bool ok;

    if (part->part == 0)
        p->parts.len = p->parts_next = 0;
    if (part->part != p->parts_next)
        return true; /* the rest of a large record whose beginning another claim cut off */
    p->parts_next++;
    th_buffer_str(&p->parts, part->body);
    if (part->part + 1 < part->parts)
        return true;
    blob = th_blob_new(p->parts.data, p->parts.len);
    ok = decode(p, offset, th_blob_view(blob), &whole, error);
    if (ok)
        keep(p, offset, blob, &whole);
    th_blob_unref(blob);
    return ok;
}

bool th_partition_feed(struct th_partition *p, int64_t offset, struct th_blob *bytes, bool first,
                       struct th_error *error)
{
    struct th_record record;
    bool valid;

    if (!decode(p, offset, th_blob_view(bytes), &record, error))
        return false;
    if (record.incarnation != p->options.incarnation)
        return true; /* of a hub of the same name that was deleted */
    if (first)
        p->log_start = offset;
    valid = th_validity_feed(&p->validity, offset, &record, first);
    if (record.kind == TH_RECORD_CLAIM)
        p->parts_next = UINT32_MAX;
    if (MUTANT(p, IGNORE_SEQUENCE) && record.kind != TH_RECORD_CLAIM && !valid) {
        valid = true;
        p->validity.next = record.sequence + 1;
    }
    if (!valid)
        return true;
    if (record.kind == TH_RECORD_PART)
        return feed_part(p, offset, &record, error);
    keep(p, offset, bytes, &record);
    return true;
}

/* ---- rows ---- */

bool th_partition_base(struct th_partition *p, struct th_str id, const struct th_row *row,
                       struct th_error *error)
{
    struct th_instance *i = instance_get(p, id);
    struct th_instance_info info;
    struct th_reader reader;
    TH_ARENA arena = {0};

    i->known = true;
    if (!row)
        return true;
    reader = th_reader_of(th_blob_view(row->info), &arena, error);
    if (!th_decode_info(&reader, &info))
        return false;
    info.input = th_blob_view(row->input);
    info.output = th_blob_view(row->output);
    i->row = row->last;
    i->last = i->last > row->last ? i->last : row->last;
    instance_set_info(i, &info);
    return true;
}

/* ---- checkpoints ---- */

struct writer {
    struct th_partition *p;
    struct th_buffer *out;
};

static void put_starting(struct writer *w)
{
    struct th_instance *i, *next;
    uint32_t count = 0;

    HASH_ITER(hh, w->p->instances, i, next)
        count += i->info.starting;
    th_write_array(w->out, count);
    HASH_ITER(hh, w->p->instances, i, next)
        if (i->info.starting)
            th_write_str(w->out, instance_id(i));
}

static void put_vector(struct writer *w)
{
    th_write_array(w->out, w->p->options.count * 2);
    for (uint32_t n = 0; n < w->p->options.count; n++) {
        th_write_u64(w->out, w->p->vector_position[n].sequence);
        th_write_u64(w->out, w->p->vector_position[n].index);
    }
}

static void put_consumed(struct writer *w)
{
    const struct th_partition *p = w->p;
    uint32_t count = (uint32_t)(p->early_count - p->early_first);

    for (size_t n = 0; n < p->slot_count; n++)
        count += p->slots[p->slot_first + n].consumed;
    th_write_array(w->out, count);
    for (size_t n = 0; n < p->slot_count; n++)
        if (p->slots[p->slot_first + n].consumed)
            th_write_i64(w->out, p->position + (int64_t)n);
    for (size_t n = p->early_first; n < p->early_count; n++)
        th_write_i64(w->out, p->early[n]);
}

/* Whether a letter is parked, or was and is offered again: a start that was parked is known by
 * its placeholder, another one would be taken for its repetition. */
enum parking { NEVER_PARKED, PARKED, WAS_PARKED };

static enum parking parking_of(const struct letter *l)
{
    return l->parked ? PARKED : l->was_parked ? WAS_PARKED : NEVER_PARKED;
}

static void put_locals(struct writer *w)
{
    struct letter *l, *next;
    TH_BUFFER bytes = {0};

    th_write_array(w->out, (uint32_t)HASH_COUNT(w->p->locals) * 5);
    HASH_ITER(hh, w->p->locals, l, next) {
        bytes.len = 0;
        th_encode_message(&bytes, &l->message);
        th_write_u64(w->out, l->local.sequence);
        th_write_u64(w->out, l->local.index);
        th_write_u64(w->out, parking_of(l));
        th_write_i64(w->out, l->not_before);
        th_write_str(w->out, th_buffer_view(&bytes));
    }
}

static void put_outbox(struct writer *w)
{
    struct outgoing *o;

    th_write_array(w->out, (uint32_t)w->p->outbox_count * 4);
    DL_FOREACH(w->p->outbox, o) {
        th_write_u64(w->out, o->sequence);
        th_write_u64(w->out, o->index);
        th_write_u64(w->out, o->destination);
        th_write_str(w->out, th_blob_view(o->blob));
    }
}

static struct th_event pending_event(const struct pending *d)
{
    static const enum th_event_kind kinds[] = {[TH_PENDING_TASK] = TH_EVENT_TASK_SCHEDULED,
                                               [TH_PENDING_CHILD] = TH_EVENT_CHILD_CREATED,
                                               [TH_PENDING_TIMER] = TH_EVENT_TIMER_CREATED};
    struct th_event event = th_event_of(kinds[d->kind], 0);

    event.id = d->event_id;
    event.name = d->name;
    event.version = d->version;
    event.data = d->data;
    event.instance_id = d->child_id;
    event.fire_at = d->fire_at;
    event.tags = d->tags;
    return event;
}

static void put_pending(struct writer *w, const struct pending *d)
{
    const struct th_event event = pending_event(d);
    TH_BUFFER bytes = {0};

    th_encode_event(&bytes, &event);
    th_write_str(w->out, instance_id(d->instance));
    th_write_str(w->out, th_str_of(d->execution_id));
    th_write_u64(w->out, d->kind);
    th_write_bool(w->out, d->orphan);
    th_write_bool(w->out, d->answer_parked);
    th_write_u64(w->out, d->crashes);
    th_write_str(w->out, th_str_of(d->crash_reason));
    th_write_u64(w->out, d->stamp);
    th_write_str(w->out, th_buffer_view(&bytes));
}

#define PENDING_FIELDS 9

static bool checkpointed(const struct th_partition *p, const struct pending *d)
{
    return !(MUTANT(p, CHECKPOINT_WITHOUT_TIMERS) && d->kind == TH_PENDING_TIMER) &&
           !(MUTANT(p, CHECKPOINT_WITHOUT_PENDING) && d->kind == TH_PENDING_TASK);
}

static void put_all_pending(struct writer *w)
{
    struct pending *d, *next;
    uint32_t count = 0;

    HASH_ITER(hh_token, w->p->tokens, d, next)
        count += checkpointed(w->p, d);
    th_write_array(w->out, count * PENDING_FIELDS);
    HASH_ITER(hh_token, w->p->tokens, d, next)
        if (checkpointed(w->p, d))
            put_pending(w, d);
}

static void put_crashes(struct writer *w)
{
    struct th_instance *i, *next;
    uint32_t count = 0;

    HASH_ITER(hh, w->p->instances, i, next)
        count += i->crashes > 0;
    th_write_array(w->out, count * 3);
    HASH_ITER(hh, w->p->instances, i, next)
        if (i->crashes > 0) {
            th_write_str(w->out, instance_id(i));
            th_write_u64(w->out, i->crashes);
            th_write_str(w->out, th_str_of(i->crash_reason));
        }
}

static void checkpoint(struct th_partition *p)
{
    TH_BUFFER body = {0};
    struct writer w = {.p = p, .out = &body};

    put_starting(&w);
    th_write_i64(&body, p->position);
    put_vector(&w);
    put_consumed(&w);
    put_locals(&w);
    put_outbox(&w);
    put_all_pending(&w);
    put_crashes(&w);
    requests_put(p, &body);
    write_checkpoint(p, th_buffer_view(&body));
    p->stats.checkpoints++;
    p->records_since_checkpoint = p->bytes_since_checkpoint = 0;
    p->last_checkpoint_bytes = body.len;
    p->checkpoint_stamp = p->next_sequence;
    p->checkpoint_offset = -1;
}

void checkpoint_maybe(struct th_partition *p)
{
    if (p->checkpoint_stamp > 0 || p->records_since_checkpoint < p->options.checkpoint_records ||
        p->bytes_since_checkpoint < p->options.checkpoint_bytes ||
        p->bytes_since_checkpoint < 2 * p->last_checkpoint_bytes)
        return;
    write_marks(p);
    checkpoint(p);
}

/* Below an acknowledged checkpoint nothing is needed once the projection holds every instance as
 * of it. A projection that can vanish holds nothing, so there the log stays. */
void trim_log_maybe(struct th_partition *p)
{
    const bool projected =
        (!p->dirty && !p->projecting) || p->watermark.sequence + 1 >= p->checkpoint_stamp;
    struct th_effect *e;

    if (p->checkpoint_stamp == 0 || p->checkpoint_offset < 0 || p->acked < p->checkpoint_stamp)
        return;
    if (!p->options.traits.durable_projection || (!projected && !MUTANT(p, TRIM_LOG_EARLY)))
        return;
    e = effect_now(p, TH_EFFECT_TRIM_LOG);
    e->to = p->log_start = p->checkpoint_offset;
    p->checkpoint_stamp = 0;
}

/* ---- folding a checkpoint ---- */

static struct th_str read_id(struct th_reader *in)
{
    const struct th_str id = th_read_str(in);

    if (!in->failed && id.len == 0)
        th_read_fail(in, "an instance without an id");
    return id;
}

static void get_locals(struct th_partition *p, struct th_reader *in, struct th_blob *blob)
{
    for (uint32_t n = th_read_groups(in, 5); n > 0 && !in->failed; n--) {
        struct letter *l = letter_new(p, LETTER_LOCAL);
        uint64_t parking;
        th_time not_before;

        l->local.sequence = th_read_u64(in);
        l->local.index = th_read_u64(in);
        parking = th_read_u64(in);
        not_before = th_read_i64(in);
        if (!letter_decode(l, blob, th_read_str(in), in->error)) {
            letter_discard(p, l);
            th_read_fail(in, "a local message that cannot be read");
            return;
        }
        HASH_ADD(hh, p->locals, local, sizeof(l->local), l);
        letter_deliver(l, instance_get(p, l->message.instance_id));
        l->was_parked = parking == WAS_PARKED;
        if (parking == PARKED)
            letter_park(l, not_before);
    }
}

static void get_outbox(struct th_partition *p, struct th_reader *in)
{
    for (uint32_t n = th_read_groups(in, 4); n > 0 && !in->failed; n--) {
        const uint64_t sequence = th_read_u64(in);
        const uint32_t index = th_read_u32(in);
        const uint32_t destination = th_read_u32(in);
        const struct th_str bytes = th_read_str(in);

        if (!in->failed && destination < p->options.count)
            outbox_add(p, sequence, index, destination, bytes);
    }
}

static void make_orphan(struct pending *d)
{
    struct th_instance *i = d->instance;

    HASH_DEL(i->pending, d);
    i->open_tasks--;
    d->orphan = true;
    DL_APPEND(i->orphans, d);
}

static void get_pending(struct th_partition *p, struct th_reader *in, struct th_blob *blob)
{
    const struct th_str id = read_id(in);
    const struct th_str execution = th_read_str(in);
    const uint32_t kind = th_read_u32(in);
    const bool orphan = th_read_bool(in);
    const bool answered = th_read_bool(in);
    const uint32_t crashes = th_read_u32(in);
    const struct th_str reason = th_read_str(in);
    const uint64_t stamp = th_read_u64(in);
    struct th_reader nested = th_reader_of(th_read_str(in), &p->fold_arena, in->error);
    struct th_event event;
    struct pending *d;

    if (!in->failed && (kind > TH_PENDING_TIMER || (orphan && kind != TH_PENDING_TASK)))
        th_read_fail(in, "a pending answer of kind %u", kind);
    if (!in->failed && !th_decode_event(&nested, &event))
        th_read_fail(in, "a pending answer without its event");
    if (in->failed)
        return;
    d = pending_open(instance_get(p, id), (enum th_pending_kind)kind, &event, execution, blob,
                     stamp);
    d->answered = d->answer_parked = answered;
    d->crashes = crashes;
    d->crash_reason = th_str_dup(reason);
    if (orphan)
        make_orphan(d);
}

static void get_position(struct th_partition *p, struct th_reader *in)
{
    const int64_t position = th_read_i64(in);

    if (position < 0 || position > TH_POSITION_MAX)
        th_read_fail(in, "%lld is no position", (long long)position);
    else
        p->position = position;
}

static void get_vector(struct th_partition *p, struct th_reader *in)
{
    for (uint32_t n = th_read_groups(in, 2), at = 0; at < n && !in->failed; at++) {
        const struct th_vector_entry entry = {
            .partition = at, .sequence = th_read_u64(in), .index = th_read_u32(in)};
        if (at < p->options.count)
            p->vector_position[at] = entry;
    }
}

static void get_consumed(struct th_partition *p, struct th_reader *in)
{
    for (uint32_t n = th_read_groups(in, 1); n > 0 && !in->failed; n--) {
        const int64_t offset = th_read_i64(in);
        if (!in->failed && offset >= p->position)
            early_add(p, offset);
    }
}

static void get_crashes(struct th_partition *p, struct th_reader *in)
{
    for (uint32_t n = th_read_groups(in, 3); n > 0 && !in->failed; n--) {
        const struct th_str id = read_id(in);
        const uint32_t crashes = th_read_u32(in);
        const struct th_str reason = th_read_str(in);
        struct th_instance *i = in->failed ? NULL : instance_get(p, id);

        if (!i)
            return;
        i->crashes = crashes;
        keep_reason(&i->crash_reason, reason);
    }
}

bool checkpoint_fold(struct th_partition *p, struct th_str body, struct th_blob *blob,
                     struct th_error *error)
{
    struct th_reader in = th_reader_of(body, &p->fold_arena, error);

    for (uint32_t n = th_read_array(&in); n > 0 && !in.failed; n--)
        th_read_str(&in); /* those that start: known from their rows */
    get_position(p, &in);
    p->last_checkpoint_bytes = body.len;
    get_vector(p, &in);
    get_consumed(p, &in);
    get_locals(p, &in, blob);
    get_outbox(p, &in);
    for (uint32_t n = th_read_groups(&in, PENDING_FIELDS); n > 0 && !in.failed; n--)
        get_pending(p, &in, blob);
    get_crashes(p, &in);
    requests_get(p, &in);
    return !in.failed;
}

/* ---- activation ---- */

static void fold_first_checkpoint(struct th_partition *p, const struct loaded_record *l)
{
    struct th_error error = {.code = TH_OK};

    if (!checkpoint_fold(p, l->record.body, l->blob, &error))
        fence(p, TH_CORRUPT, "the checkpoint at %lld of partition %u: %s", (long long)l->offset,
              p->options.index, error.message);
}

static void fold_loaded(struct th_partition *p)
{
    for (size_t n = 0; n < p->loaded_count; n++) {
        struct loaded_record *l = &p->loaded[n];

        if (l->record.kind == TH_RECORD_CHECKPOINT && n == 0)
            fold_first_checkpoint(p, l);
        fold_record(p, &l->record, l->blob, false);
        p->records_since_checkpoint++;
        p->bytes_since_checkpoint += l->blob->len;
        th_blob_unref(l->blob);
    }
    p->loaded_count = 0;
    th_arena_reset(&p->load_arena);
}

static void drop_sent(struct th_partition *p)
{
    struct outgoing *o, *next;

    DL_FOREACH_SAFE(p->outbox, o, next)
        if (o->sequence < p->sent || MUTANT(p, FORGET_OUTBOX))
            th_partition_sent(p, o->tag);
}

/* Held behind what was written since: crashes that were reported count before anything they may
 * concern runs again. */
void dispatch_again(struct th_partition *p)
{
    struct pending *d, *next;

    p->redispatch = false;
    HASH_ITER(hh_token, p->tokens, d, next) {
        if (MUTANT(p, FORGET_TIMERS) && d->kind == TH_PENDING_TIMER)
            d->answered = true;
        if (d->kind != TH_PENDING_TASK || d->answered || MUTANT(p, FORGET_PENDING))
            continue;
        if (d->crashes >= p->options.max_crashes)
            fail_crashed_task(p, d);
        else
            effect_hold(p, TH_EFFECT_ACTIVITY, p->next_sequence)->token = d->token;
    }
}

static void forget_locals(struct th_partition *p)
{
    struct letter *l, *next;

    HASH_ITER(hh, p->locals, l, next)
        letter_free(l);
}

void wanted_free(struct th_partition *p)
{
    struct wanted *w, *next;

    HASH_ITER(hh, p->wanted_by_id, w, next) {
        HASH_DELETE(hh, p->wanted_by_id, w);
        free(w->id);
        free(w);
    }
    p->wanted_count = 0;
}

static void take_up(struct th_partition *p)
{
    struct th_instance *i, *next;

    HASH_ITER(hh, p->instances, i, next) {
        instance_unpark(i); /* what was put back is offered again; what is suspended parks again */
        instance_ready(i);
        instance_touch(i);
        instance_free_if_empty(i);
    }
}

int64_t th_partition_activate(struct th_partition *p, int64_t epoch,
                              const struct th_watermark *stored, th_time now)
{
    p->now = now;
    p->watermark = *stored;
    fold_loaded(p);
    wanted_free(p);
    if (MUTANT(p, FORGET_LOCAL))
        forget_locals(p);
    p->epoch = (uint64_t)epoch;
    p->next_sequence = p->validity.next;
    p->acked = p->next_sequence;
    p->acked_offset = epoch;
    p->expected_offset = epoch + 1;
    p->recorded_position = p->trimmed_inbox = p->position;
    memcpy(p->vector_read, p->vector_position, p->options.count * sizeof(*p->vector_read));
    memcpy(p->vector_recorded, p->vector_position, p->options.count * sizeof(*p->vector_read));
    drop_sent(p);
    if (p->fenced)
        return p->position;
    p->active = true;
    p->redispatch = true;
    outbox_release(p);
    take_up(p);
    return p->position;
}
