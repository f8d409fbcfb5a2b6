/* partition: making and freeing, the inputs that bring letters, and views. */
#include "partition/partition.h"

#include "partition/internal.h"

struct th_partition *th_partition_new(const struct th_partition_options *options)
{
    struct th_partition *p = TH_NEW(struct th_partition);

    p->options = *options;
    p->options.formats = th_formats_or_own(options->formats);
    th_random_seed(&p->random, options->seed);
    p->runnable_last = &p->runnable;
    p->vector_read = th_alloc(options->count * sizeof(*p->vector_read));
    p->vector_position = th_alloc(options->count * sizeof(*p->vector_read));
    p->vector_recorded = th_alloc(options->count * sizeof(*p->vector_read));
    for (uint32_t n = 0; n < options->count; n++)
        p->vector_position[n].partition = n;
    p->watermark = (struct th_watermark){.offset = -1, .floor = -1};
    p->stored = p->watermark;
    p->checkpoint.offset = p->floor.offset = -1;
    p->moved_since = TH_TIME_NONE;
    p->absent_since = p->verify_at = TH_TIME_NONE;
    p->parts_next = UINT32_MAX;
    return p;
}

static void free_effects(struct th_effect *items, size_t first, size_t count)
{
    for (size_t n = 0; n < count; n++)
        th_effect_deinit(&items[first + n]);
    free(items);
}

static void free_turns(struct th_partition *p)
{
    while (p->free_turns) {
        struct turn *t = p->free_turns;
        p->free_turns = t->next_free;
        th_arena_deinit(&t->arena);
        free(t);
    }
}

static void free_marks(struct marks *m)
{
    for (size_t n = 0; n < m->reply_count; n++)
        th_effect_deinit(&m->replies[n]);
    free(m->replies);
    free(m->consumed);
    free(m->local);
    free(m->closed);
    free(m->messages);
    th_arena_deinit(&m->arena);
}

void th_partition_free(struct th_partition *p)
{
    struct th_instance *i, *next;

    if (!p)
        return;
    p->active = false;
    rows_put_back(p);
    HASH_ITER(hh, p->instances, i, next)
        instance_free(i);
    requests_free(p);
    outbox_free(p);
    for (size_t n = 0; n < p->loaded_count; n++)
        th_blob_unref(p->loaded[n].blob);
    wanted_free(p);
    free_effects(p->effects, p->effect_first, p->effect_count);
    free_effects(p->ready, p->ready_first, p->ready_count);
    free_turns(p);
    free_marks(&p->marks);
    free(p->wanted);
    free(p->loaded);
    free(p->heap);
    free(p->slots);
    free(p->flights);
    free(p->early);
    free(p->rows);
    free(p->vector_read);
    free(p->vector_position);
    free(p->vector_recorded);
    th_arena_deinit(&p->load_arena);
    th_arena_deinit(&p->fold_arena);
    th_buffer_deinit(&p->scratch);
    th_buffer_deinit(&p->parts);
    free(p);
}

void th_partition_each(const struct th_partition *p,
                       void (*visit)(void *argument, struct th_str instance_id), void *argument)
{
    const struct th_instance *i, *next;

    HASH_ITER(hh, p->instances, i, next)
        visit(argument, instance_id(i));
    for (size_t n = 0; n < p->ready_count; n++) {
        const struct th_effect *e = &p->ready[p->ready_first + n];

        if (e->kind == TH_EFFECT_FORGET)
            visit(argument, th_str_of(e->id));
    }
}

/* ---- the inbox ---- */

static struct slot *add_slot(struct th_partition *p)
{
    if (p->slot_first > 1024 && p->slot_first > p->slot_count) {
        memmove(p->slots, p->slots + p->slot_first, p->slot_count * sizeof(*p->slots));
        p->slot_first = 0;
    }
    p->slots =
        th_grow(p->slots, &p->slot_capacity, p->slot_first + p->slot_count + 1, sizeof(*p->slots));
    p->slots[p->slot_first + p->slot_count] = (struct slot){.arrived = p->now};
    return &p->slots[p->slot_first + p->slot_count++];
}

/* I3: accepted iff above the highest accepted from its source. */
static bool accept(struct th_partition *p, const struct th_origin *origin)
{
    struct th_vector_entry *last;

    if (origin->partition < 0)
        return true;
    if ((uint32_t)origin->partition >= p->options.count)
        return false;
    last = &p->vector_read[origin->partition];
    if (!MUTANT(p, SKIP_DEDUPLICATION) &&
        (origin->sequence + 1 < last->sequence ||
         (origin->sequence + 1 == last->sequence && origin->index <= last->index)))
        return false;
    last->partition = (uint32_t)origin->partition;
    last->sequence = origin->sequence + 1;
    last->index = origin->index;
    return true;
}

/* Asked in order of offsets; each is asked for once. */
static bool consumed_before(struct th_partition *p, int64_t offset)
{
    bool found;

    early_drop_below(p, offset);
    found = p->early_first < p->early_count && p->early[p->early_first] == offset;
    early_drop_below(p, offset + 1);
    return found;
}

/* Whoever knows it has to be the owner. */
static void refuse_newer(struct th_partition *p, struct letter *l, const struct th_error *why)
{
    const int64_t offset = l->offset;

    letter_discard(p, l);
    fence(p, TH_UNSUPPORTED, "message %lld of the inbox of partition %u: %s", (long long)offset,
          p->options.index, why->message);
}

/* A message nobody can read is consumed, so that it blocks nothing. */
static void consume_unreadable(struct th_partition *p, struct slot *s, struct letter *l)
{
    s->consumed = true;
    letter_discard(p, l);
}

void th_partition_deliver(struct th_partition *p, int64_t offset, struct th_blob *message,
                          th_time now)
{
    struct th_error error = {.code = TH_OK};
    struct slot *s;
    struct letter *l;
    bool consumed;

    p->now = now > p->now ? now : p->now;
    if (!p->active || offset < p->position + (int64_t)p->slot_count)
        return;
    if (p->slot_count == 0)
        p->position = offset;
    while (offset > p->position + (int64_t)p->slot_count)
        add_slot(p)->consumed = true; /* offsets that hold no message */
    consumed = consumed_before(p, offset);
    s = add_slot(p);
    l = letter_new(p, LETTER_INBOX);
    l->offset = offset;
    p->stats.messages++;
    if (!letter_decode(p, l, message, th_blob_view(message), &error)) {
        if (error.code == TH_UNSUPPORTED) {
            refuse_newer(p, l, &error);
            return;
        }
        consume_unreadable(p, s, l);
    } else {
        s->origin = l->message.origin;
        s->accepted = accept(p, &s->origin);
        if (!s->accepted || consumed) {
            consume_unreadable(p, s, l);
        } else {
            s->letter = l;
            letter_deliver(l, instance_get(p, l->message.instance_id));
            instance_ready(l->instance);
            instance_touch(l->instance);
            turn_meanwhile(l);
        }
    }
    slots_advance(p);
}

/* ---- cold instances ---- */

static void resume_after_load(struct th_partition *p, struct th_instance *i)
{
    i->loading = false;
    if (i->turn)
        effect_run(i);
    else
        instance_ready(i);
    instance_touch(i);
    instance_free_if_empty(i);
}

/* Stored chunks in front of those that came since. */
static void prepend_history(struct th_instance *i, const struct th_row *row)
{
    struct chunk *later = i->chunks;
    const size_t later_count = i->chunk_count;

    i->chunks = NULL;
    i->chunk_count = i->chunk_capacity = 0;
    for (size_t n = 0; n < row->history_count; n++)
        instance_add_chunk(i, row->history[n], th_blob_view(row->history[n]), 0);
    for (size_t n = 0; n < later_count; n++) {
        if (later[n].stamp > row->last)
            instance_add_chunk(i, later[n].blob, later[n].bytes, later[n].stamp);
        th_blob_unref(later[n].blob);
    }
    free(later);
    i->whole = true;
}

/* Whether a row that was asked for can be used. The answer may be older than a row that was
 * stored meanwhile: then it is asked for again. It must not be older than the question. */
static bool usable(struct th_partition *p, struct th_instance *i, const struct th_row *row)
{
    const uint64_t last = row ? row->last : 0;

    if (last < i->load_row || (i->known && !i->whole && !row)) {
        fence(p, TH_CORRUPT, "the projection lost the row of instance \"%.*s\"",
              TH_PRI(instance_id(i)));
        return false;
    }
    if (last < i->row) {
        instance_load(i);
        return false;
    }
    return true;
}

void th_partition_loaded(struct th_partition *p, struct th_str id, const struct th_row *row,
                         th_time now)
{
    struct th_instance *i = instance_find(p, id);
    struct th_error error = {.code = TH_OK};

    p->now = now > p->now ? now : p->now;
    if (!i || !i->loading || !p->active || p->rebuilding || !usable(p, i, row))
        return;
    if (!i->known && !th_partition_base(p, id, row, &error)) {
        fence(p, error.code, "the row of instance \"%.*s\": %s", TH_PRI(id), error.message);
        return;
    }
    if (row && !i->whole)
        prepend_history(i, row);
    resume_after_load(p, i);
}

/* ---- activities ---- */

void th_partition_answer(struct th_partition *p, uint64_t token, struct th_str data,
                         const struct th_failure *failure, th_time now)
{
    struct pending *d = pending_by_token(p, token);
    struct letter *l;

    p->now = now > p->now ? now : p->now;
    if (!d || d->kind != TH_PENDING_TASK || d->answered || !p->active)
        return;
    l = letter_answer(d, failure ? TH_EVENT_TASK_FAILED : TH_EVENT_TASK_COMPLETED, data);
    l->message.event.failure = failure ? th_failure_copy(&l->nested, failure) : NULL;
}

bool th_partition_activity(struct th_partition *p, uint64_t token, struct th_partition_task *out)
{
    struct pending *d = pending_by_token(p, token);

    if (!d || d->kind != TH_PENDING_TASK || d->answered || !p->active || p->handed_over)
        return false;
    d->dispatched = true;
    p->stats.activities++;
    *out = (struct th_partition_task){.instance_id = instance_id(d->instance),
                                      .execution_id = th_str_of(d->execution_id),
                                      .name = d->name,
                                      .version = d->version,
                                      .input = d->data,
                                      .tags = d->tags,
                                      .trace = d->trace,
                                      .task_id = d->event_id,
                                      .crashes = d->crashes};
    return true;
}

void fail_crashed_task(struct th_partition *p, struct pending *d)
{
    TH_ARENA arena = {0};
    const struct th_failure failure = {
        .type = TH_STR("ActivityCrashed"),
        .message = th_arena_format(&arena,
                                   "the process died %u times running this activity (the last "
                                   "time: %s); it is not tried again",
                                   d->crashes, d->crash_reason ? d->crash_reason : "unknown"),
        .non_retriable = true,
    };

    th_partition_answer(p, d->token, TH_STR_ABSENT, &failure, p->now);
}

/* An open task of the current execution, or of an earlier one that still runs. */
static struct pending *pending_task(struct th_instance *i, int32_t task_id)
{
    struct pending *d;

    HASH_FIND_INT(i->pending, &task_id, d);
    if (d)
        return d->kind == TH_PENDING_TASK ? d : NULL;
    DL_SEARCH_SCALAR(i->orphans, d, event_id, task_id);
    return d;
}

static void dispatch_crashed(struct th_partition *p, struct pending *d)
{
    d->dispatched = false;
    effect_hold(p, TH_EFFECT_ACTIVITY, p->next_sequence)->token = d->token;
}

void th_partition_crashed(struct th_partition *p, struct th_str id, int32_t task_id,
                          struct th_str reason, th_time now)
{
    struct th_instance *i = instance_find(p, id);
    struct pending *d;

    p->now = now > p->now ? now : p->now;
    if (!p->active)
        return;
    if (task_id < 0) {
        i = instance_get(p, id);
        write_crash(p, i, TH_STR_ABSENT, -1, i->crashes + 1, reason);
        return;
    }
    d = i ? pending_task(i, task_id) : NULL;
    if (!d)
        return;
    write_crash(p, i, th_str_of(d->execution_id), task_id, d->crashes + 1, reason);
    if (d->crashes >= p->options.max_crashes)
        fail_crashed_task(p, d);
    else if (d->dispatched && !d->answered)
        dispatch_crashed(p, d);
}

/* ---- views ---- */

static const struct letter *waiting_start(const struct th_instance *i)
{
    const struct letter *l;

    DL_FOREACH(i->mailbox, l)
        if (l->message.event.kind == TH_EVENT_EXECUTION_STARTED)
            return l;
    return NULL;
}

enum th_view_state th_partition_view(struct th_partition *p, struct th_str id,
                                     const struct th_instance_info **info, bool *durable)
{
    struct th_instance *i = instance_find(p, id);
    const struct letter *start;

    *durable = true;
    if (!i || (!i->known && !i->mailbox))
        return TH_VIEW_UNKNOWN;
    *durable = i->known && i->last <= p->acked;
    if (i->known && th_info_exists(&i->info)) {
        *info = &i->info;
        return TH_VIEW_PRESENT;
    }
    start = waiting_start(i);
    if (start) { /* durable in the inbox, not yet taken */
        p->placeholder = th_info_pending(&start->message);
        *info = &p->placeholder;
        return TH_VIEW_PRESENT;
    }
    return i->known ? TH_VIEW_ABSENT : TH_VIEW_UNKNOWN;
}

bool th_partition_stored(struct th_partition *p, struct th_str id)
{
    const struct th_instance *i = instance_find(p, id);

    return !i || (!i->dirty && !i->projecting && (!i->mailbox || i->busy) && i->last <= p->acked);
}

void th_partition_get_stats(const struct th_partition *p, struct th_partition_stats *out)
{
    *out = p->stats;
    out->epoch = p->epoch;
    out->instances = HASH_COUNT(p->instances);
    out->letters = p->letter_count;
    out->pending_tasks = p->task_count;
    out->timers = p->timer_count;
    out->unacked = p->flight_count;
    out->outbox = p->outbox_count;
    out->unprojected = p->dirty_count;
    out->position = p->position;
    out->next_offset = p->expected_offset;
    out->log_start = p->log_start;
    out->oldest = TH_TIME_NONE;
    for (size_t n = 0; n < p->slot_count && out->oldest == TH_TIME_NONE; n++)
        if (!p->slots[p->slot_first + n].consumed)
            out->oldest = p->slots[p->slot_first + n].arrived;
}

int64_t th_partition_acked_offset(const struct th_partition *p)
{
    return p->acked_offset;
}

bool th_partition_quiet(const struct th_partition *p)
{
    return p->flight_count == 0 && p->outbox_count == 0 && !p->dirty && !p->projecting &&
           p->ready_count == 0 && p->effect_count == 0 && !(p->handed_over && p->unsealed);
}
