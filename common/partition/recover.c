/*
 * recover: from a claim to a working partition. Records of the log are fed and kept if valid; the
 * rows of the instances they speak of are asked for; then everything is folded in order. That may
 * be repeated with piece after piece of the log, and rows may be projected and leave memory in
 * between. A reading that does not begin with the log begins with a checkpoint, which holds all
 * state but the instances.
 */
#include "partition/internal.h"

struct th_blob *th_partition_claim(struct th_partition *p, th_time now)
{
    const struct th_record claim = {.kind = TH_RECORD_CLAIM,
                                    .incarnation = p->options.incarnation,
                                    .time = now,
                                    .worker = th_str_of(p->options.worker),
                                    .nonce = th_random_next(&p->random)};

    p->claim_nonce = claim.nonce;
    p->scratch.len = 0;
    th_encode_record(&p->scratch, &claim);
    return th_blob_new(p->scratch.data, p->scratch.len);
}

struct th_partition *th_partition_again(const struct th_partition *p)
{
    struct th_partition *again = th_partition_new(&p->options);

    again->claim_nonce = p->claim_nonce;
    return again;
}

void th_partition_begin(struct th_partition *p, int64_t epoch, int64_t log_start,
                        const struct th_watermark *stored, uint64_t batch, bool rebuild,
                        th_time now)
{
    p->now = now;
    p->epoch = (uint64_t)epoch;
    p->log_start = log_start;
    p->acked_offset = epoch;
    p->begun = true;
    p->stored = *stored;
    p->watermark = rebuild ? (struct th_watermark){.offset = -1, .floor = -1} : *stored;
    p->batch = batch > stored->batch ? batch : stored->batch;
    p->rebuild = p->clear = rebuild;
    p->floor = (struct checkpoint){.offset = rebuild ? -1 : stored->floor};
}

/* ---- reading the log ---- */

/* Of any format: whose a record is, is said alike in all of them. */
static bool head_of(const struct th_log_record *r, struct th_arena *arena, struct th_record *out)
{
    struct th_reader reader = th_reader_of(th_blob_view(r->bytes), arena, NULL);

    reader.format = UINT32_MAX;
    return th_decode_record(&reader, out);
}

bool th_partition_reflected(const struct th_log_record *r, const struct th_watermark *w)
{
    TH_ARENA arena = {0};
    struct th_record record;

    if (!head_of(r, &arena, &record) || r->offset != w->offset)
        return false;
    if (record.kind == TH_RECORD_CLAIM)
        return (uint64_t)r->offset == w->epoch;
    return record.epoch == w->epoch && record.sequence + 1 >= w->sequence;
}

bool th_partition_is_claim(const struct th_log_record *r)
{
    TH_ARENA arena = {0};
    struct th_record record;

    return head_of(r, &arena, &record) && record.kind == TH_RECORD_CLAIM;
}

static void want(struct th_partition *p, struct th_str id)
{
    const struct th_instance *i = instance_find(p, id);
    struct wanted *w;

    if (id.len == 0)
        return; /* of a message or a checkpoint that is refused when it is folded */
    if (i && i->known)
        return;
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

static void want_parked_starts(struct th_partition *p, const struct th_record *r)
{
    for (uint32_t n = 0; n < r->message_count; n++) {
        struct th_reader in = partition_reader(p, r->messages[n].bytes, &p->load_arena, NULL);
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
    if (record->kind == TH_RECORD_EPISODE || record->kind == TH_RECORD_PURGE ||
        record->kind == TH_RECORD_SNAPSHOT)
        want(p, record->instance_id);
    if (record->kind == TH_RECORD_CHECKPOINT && p->loaded_count == 1 && !p->folded)
        checkpoint_starting(p, record->body, want);
    want_parked_starts(p, record);
}

static bool decode(struct th_partition *p, int64_t offset, struct th_str bytes,
                   struct th_record *out, struct th_error *error)
{
    struct th_error why = {.code = TH_OK};
    struct th_reader reader = partition_reader(p, bytes, &p->load_arena, &why);

    if (th_decode_record(&reader, out))
        return true;
    return th_fail(error, why.code, "record %lld of partition %u: %s", (long long)offset,
                   p->options.index, why.message);
}

/* Collects the parts of a large record; the last one makes it count. */
static bool feed_part(struct th_partition *p, int64_t offset, const struct th_record *part,
                      struct th_error *error)
{
    struct th_record whole;
    struct th_blob *blob;
    bool ok;

    if (part->part == 0) {
        p->parts.len = p->parts_next = 0;
        p->parts_offset = offset;
    }
    if (part->part != p->parts_next)
        return true; /* the rest of a large record whose beginning another claim cut off */
    p->parts_next++;
    th_buffer_str(&p->parts, part->body);
    if (part->part + 1 < part->parts)
        return true;
    blob = th_blob_new(p->parts.data, p->parts.len);
    ok = decode(p, offset, th_blob_view(blob), &whole, error);
    if (ok)
        keep(p, p->parts_offset, blob, &whole);
    th_blob_unref(blob);
    return ok;
}

static bool begins_log(const struct th_record *r)
{
    return r->kind == TH_RECORD_CHECKPOINT || (r->kind == TH_RECORD_PART && r->part == 0);
}

bool th_partition_feed(struct th_partition *p, int64_t offset, struct th_blob *bytes, bool first,
                       struct th_error *error)
{
    struct th_record record;
    bool valid;

    if (!decode(p, offset, th_blob_view(bytes), &record, error))
        return false;
    if (first && !begins_log(&record))
        return th_fail(error, TH_TRUNCATED,
                       "the log of partition %u lost its end: the checkpoint at %lld is not there",
                       p->options.index, (long long)offset);
    if (record.incarnation != p->options.incarnation)
        return true; /* of a hub of the same name that was deleted */
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
    reader = partition_reader(p, th_blob_view(row->info), &arena, error);
    if (!th_decode_info(&reader, &info))
        return false;
    info.input = th_blob_view(row->input);
    info.output = th_blob_view(row->output);
    i->row = row->last;
    i->full = row->full;
    i->last = i->last > row->last ? i->last : row->last;
    instance_set_info(i, &info);
    return true;
}

/* ---- activation ---- */

/* Only the first one says what its reader does not know. */
static void fold_checkpoint(struct th_partition *p, const struct loaded_record *l)
{
    struct th_error error = {.code = TH_OK};

    if (!p->folded && !checkpoint_fold(p, l->record.body, l->blob, &error))
        fence(p, error.code, "the checkpoint at %lld of partition %u: %s", (long long)l->offset,
              p->options.index, error.message);
    checkpoint_found(p, l->record.sequence + 1, l->offset);
}

/* What is not to be projected may leave memory between the pieces of a log. */
static void let_go(struct th_partition *p, const struct th_record *record)
{
    struct th_instance *i = instance_find(p, record->instance_id);

    if (i)
        instance_touch(i);
}

bool th_partition_fold(struct th_partition *p)
{
    for (size_t n = 0; n < p->loaded_count; n++) {
        struct loaded_record *l = &p->loaded[n];

        if (l->record.kind == TH_RECORD_CHECKPOINT)
            fold_checkpoint(p, l);
        fold_record(p, &l->record, l->blob, false);
        p->folded = true;
        p->acked_offset = l->offset;
        p->records_since_checkpoint++;
        p->bytes_since_checkpoint += l->blob->len;
        p->bytes_since_clean += l->blob->len;
        let_go(p, &l->record);
        th_blob_unref(l->blob);
    }
    p->loaded_count = 0;
    th_arena_reset(&p->load_arena);
    wanted_free(p);
    p->acked = p->validity.next;
    p->acked_position = p->position;
    return !p->fenced;
}

size_t th_partition_loaded_instances(const struct th_partition *p)
{
    return HASH_COUNT(p->instances);
}

static void drop_sent(struct th_partition *p)
{
    struct outgoing *o, *next;

    DL_FOREACH_SAFE(p->outbox, o, next)
        if (o->sequence < p->sent || MUTANT(p, FORGET_OUTBOX))
            th_partition_sent(p, o->tag);
}

/* A former owner may still be at it. */
static bool is_left_to_another(const struct th_partition *p, struct pending *d)
{
    const struct th_partition_options *o = &p->options;

    if (d->worker && o->is_alive && o->is_alive(o->argument, th_str_of(d->worker)))
        return true;
    keep_reason(&d->worker, TH_STR_ABSENT);
    return false;
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
        if (d->kind != TH_PENDING_TASK || d->answered || d->shared || MUTANT(p, FORGET_PENDING))
            continue;
        if (is_left_to_another(p, d))
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

/* Rows are written of durable records only: if they know more than the log, that lost its end; or
 * another owner wrote them, of records behind this one's claim. */
static void check_end(struct th_partition *p)
{
    if (p->stored.offset >= 0 && p->stored.epoch > p->epoch)
        fence(p, TH_FENCED, "the projection of partition %u was moved by the owner of epoch %llu",
              p->options.index, (unsigned long long)p->stored.epoch);
    if (p->watermark.offset >= 0 && !p->rebuild && p->watermark.sequence > p->validity.next)
        fence(p, TH_TRUNCATED,
              "the log of partition %u lost its end: it holds %llu records, the projection %llu",
              p->options.index, (unsigned long long)p->validity.next,
              (unsigned long long)p->watermark.sequence);
}

int64_t th_partition_activate(struct th_partition *p, th_time now)
{
    p->now = now > p->now ? now : p->now;
    th_partition_fold(p);
    check_end(p);
    if (MUTANT(p, FORGET_LOCAL))
        forget_locals(p);
    p->next_sequence = p->validity.next;
    p->acked_offset = (int64_t)p->epoch;
    p->expected_offset = (int64_t)p->epoch + 1;
    p->recorded_position = p->previous_position = p->trimmed_inbox = p->position;
    memcpy(p->vector_read, p->vector_position, p->options.count * sizeof(*p->vector_read));
    memcpy(p->vector_recorded, p->vector_position, p->options.count * sizeof(*p->vector_read));
    drop_sent(p);
    if (p->fenced)
        return p->position;
    p->active = true;
    p->redispatch = true;
    p->rebuild_until = p->acked;
    watermark_moved(p);
    outbox_release(p);
    take_up(p);
    return p->position;
}
