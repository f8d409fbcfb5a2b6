/*
 * checkpoint: a record that holds all state but the instances, so that the log above it, together
 * with instances from elsewhere, is all there is. Elsewhere is a durable projection, and then the
 * log below goes as soon as the projection has caught up; or a projection that may vanish, and then
 * the checkpoint is its floor: where a reader begins while the rows are there. The log below it
 * goes when the instances were copied forward (clean.c).
 */
#include "partition/internal.h"

/* ---- writing ---- */

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

static void put_pending(struct writer *w, const struct pending *d)
{
    const struct th_event event = pending_event(d);
    TH_BUFFER bytes = {0};

    th_encode_event(&bytes, &event);
    th_write_str(w->out, instance_id(d->instance));
    th_write_str(w->out, th_str_of(d->execution_id));
    th_write_u64(w->out, d->kind);
    th_write_bool(w->out, d->orphan);
    th_write_bool(w->out, d->shared);
    th_write_bool(w->out, d->answer_parked);
    th_write_u64(w->out, d->crashes);
    th_write_str(w->out, th_str_of(d->crash_reason));
    th_write_str(w->out, th_str_of(d->worker));
    th_write_u64(w->out, d->stamp);
    th_write_str(w->out, th_buffer_view(&bytes));
}

#define PENDING_FIELDS 11

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

static void put_cleaning(struct writer *w)
{
    th_write_u64(w->out, w->p->bytes_since_clean);
    th_write_u64(w->out, w->p->last_clean_bytes);
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
    put_cleaning(&w);
    write_checkpoint(p, th_buffer_view(&body));
    p->stats.checkpoints++;
    p->records_since_checkpoint = p->bytes_since_checkpoint = 0;
    p->last_checkpoint_bytes = body.len;
    p->checkpoint.stamp = p->next_sequence;
    p->checkpoint.offset = -1;
}

void checkpoint_maybe(struct th_partition *p)
{
    if (p->checkpoint.stamp > 0 || p->records_since_checkpoint < p->options.checkpoint_records ||
        p->bytes_since_checkpoint < p->options.checkpoint_bytes ||
        p->bytes_since_checkpoint < 2 * p->last_checkpoint_bytes)
        return;
    write_marks(p);
    checkpoint(p);
}

/* ---- using ---- */

static bool is_durable(const struct th_partition *p, const struct checkpoint *c)
{
    return c->stamp > 0 && c->offset >= 0 && p->acked >= c->stamp;
}

void checkpoint_found(struct th_partition *p, uint64_t stamp, int64_t offset)
{
    p->records_since_checkpoint = p->bytes_since_checkpoint = 0;
    if (offset == p->floor.offset)
        p->floor.stamp = stamp;
    else if (offset > p->log_start || !p->options.traits.durable_projection)
        p->checkpoint = (struct checkpoint){.stamp = stamp, .offset = offset};
}

/* A reader that begins there finds no record of what came before: it has to be in the rows. */
struct checkpoint checkpoint_floor(const struct th_partition *p, uint64_t sequence)
{
    const struct checkpoint *c = &p->checkpoint;
    const bool held = sequence >= c->stamp || MUTANT(p, FLOOR_EARLY);

    return is_durable(p, c) && held ? *c : p->floor;
}

/* Below a durable checkpoint nothing is needed once a durable projection holds every instance as
 * of it. */
void trim_log_maybe(struct th_partition *p)
{
    const bool projected =
        (!p->dirty && !p->projecting) || p->watermark.sequence >= p->checkpoint.stamp;
    struct th_effect *e;

    if (!p->options.traits.durable_projection || !is_durable(p, &p->checkpoint))
        return;
    if (!projected && !MUTANT(p, TRIM_LOG_EARLY))
        return;
    e = effect_now(p, TH_EFFECT_TRIM_LOG);
    e->to = p->log_start = p->checkpoint.offset;
    p->checkpoint = (struct checkpoint){.offset = -1};
}

/* ---- folding ---- */

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
        struct th_error why = {.code = TH_OK};
        uint64_t parking;
        th_time not_before;

        l->local.sequence = th_read_u64(in);
        l->local.index = th_read_u64(in);
        parking = th_read_u64(in);
        not_before = th_read_i64(in);
        if (!letter_decode(p, l, blob, th_read_str(in), &why)) {
            letter_discard(p, l);
            th_read_fail(in, "a local message: %s", why.message);
            if (in->error && why.code == TH_UNSUPPORTED)
                in->error->code = why.code;
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

        if (!in->failed && (destination < p->options.count || destination == TH_SEND_ACTIVITIES))
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
    const bool shared = th_read_bool(in);
    const bool answered = th_read_bool(in);
    const uint32_t crashes = th_read_u32(in);
    const struct th_str reason = th_read_str(in);
    const struct th_str worker = th_read_str(in);
    const uint64_t stamp = th_read_u64(in);
    struct th_reader nested = partition_reader(p, th_read_str(in), &p->fold_arena, in->error);
    struct th_event event;
    struct pending *d;

    if (!in->failed && (kind > TH_PENDING_ENTITY || (orphan && kind != TH_PENDING_TASK)))
        th_read_fail(in, "a pending answer of kind %u", kind);
    if (!in->failed && !th_decode_event(&nested, &event))
        th_read_fail(in, "a pending answer without its event");
    if (in->failed)
        return;
    d = pending_open(instance_get(p, id), (enum th_pending_kind)kind, &event, execution, blob,
                     stamp);
    d->answered = d->answer_parked = answered;
    d->shared = shared;
    d->crashes = crashes;
    d->crash_reason = th_str_dup(reason);
    d->worker = th_str_dup(worker);
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
        instance_crashes(i, crashes, reason);
    }
}

static void get_cleaning(struct th_partition *p, struct th_reader *in)
{
    p->bytes_since_clean = (size_t)th_read_u64(in);
    p->last_clean_bytes = (size_t)th_read_u64(in);
}

void checkpoint_starting(struct th_partition *p, struct th_str body,
                         void (*visit)(struct th_partition *p, struct th_str instance_id))
{
    struct th_reader in = partition_reader(p, body, &p->load_arena, NULL);

    for (uint32_t n = th_read_array(&in); n > 0 && !in.failed; n--)
        visit(p, th_read_str(&in));
}

bool checkpoint_fold(struct th_partition *p, struct th_str body, struct th_blob *blob,
                     struct th_error *error)
{
    struct th_reader in = partition_reader(p, body, &p->fold_arena, error);

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
    get_cleaning(p, &in);
    return !in.failed;
}
