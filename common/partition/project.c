/*
 * project: rows for the projection, and which instances may leave memory. Changes wait a little,
 * so that an instance that runs for some milliseconds costs one row and not one per episode.
 *
 * A row may hold only what is durable. Where submissions take effect in order, a row submitted
 * after a record is durable after it, so the present state can go out as it is. Elsewhere an
 * instance with unacknowledged records is held: it runs no further episode until its row is out.
 */
#include "partition/internal.h"

void instance_dirty(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    if (i->dirty)
        return;
    i->dirty = true;
    i->dirty_since = p->now;
    i->dirty_stamp = i->last;
    instance_not_idle(i);
    DL_APPEND2(p->dirty, i, dirty_prev, dirty_next);
}

void instance_undirty(struct th_instance *i)
{
    if (!i->dirty)
        return;
    i->dirty = false;
    DL_DELETE2(i->partition->dirty, i, dirty_prev, dirty_next);
}

bool th_partition_dirty(const struct th_partition *p)
{
    return p->dirty != NULL;
}

th_time th_partition_dirty_since(const struct th_partition *p)
{
    return p->dirty ? p->dirty->dirty_since : TH_TIME_NONE;
}

/* What is under way counts by the time of its changes: it may have been submitted just now. */
bool th_partition_flushed(const struct th_partition *p, th_time when)
{
    return !(p->dirty && p->dirty->dirty_since <= when) &&
           !(p->projecting && p->projecting_since <= when);
}

/* ---- rows ---- */

static struct th_blob *blob_of(struct th_str s)
{
    return th_str_present(s) ? th_blob_new(s.data, s.len) : NULL;
}

static struct th_blob *encode_info(struct th_partition *p, const struct th_instance_info *info)
{
    p->scratch.len = 0;
    th_encode_info(&p->scratch, info, false);
    return th_blob_new(p->scratch.data, p->scratch.len);
}

static bool chunk_is_new(const struct th_instance *i, const struct chunk *c)
{
    return i->replace_stored || c->stamp > i->row;
}

/* What the projection does not hold yet, as one piece. */
static struct th_blob *new_history(const struct th_instance *i)
{
    size_t size = 0, at = 0;
    struct th_blob *blob;

    for (size_t n = 0; n < i->chunk_count; n++)
        size += chunk_is_new(i, &i->chunks[n]) ? i->chunks[n].bytes.len : 0;
    if (size == 0)
        return NULL;
    blob = th_blob_alloc(size);
    for (size_t n = 0; n < i->chunk_count; n++) {
        const struct th_str bytes = i->chunks[n].bytes;

        if (!chunk_is_new(i, &i->chunks[n]) || bytes.len == 0)
            continue;
        memcpy(blob->data + at, bytes.data, bytes.len);
        at += bytes.len;
    }
    return blob;
}

static void fill_row(struct th_partition *p, struct th_instance *i, struct th_row *row)
{
    struct th_blob *history;

    *row = (struct th_row){.instance_id = instance_id(i),
                           .last = i->last,
                           .deleted = i->purged,
                           .replace_history = i->replace_stored,
                           .completed = TH_TIME_NONE};
    if (i->purged)
        return;
    row->status = i->info.status;
    row->created = i->info.created;
    row->updated = i->info.updated;
    row->completed = i->info.completed;
    row->name = th_str_n(th_str_dup(i->info.name), i->info.name.len);
    row->info = encode_info(p, &i->info);
    row->input = blob_of(i->info.input);
    row->output = blob_of(i->info.output);
    history = new_history(i);
    if (history) {
        struct th_blob **chunks = TH_NEW(struct th_blob *);
        chunks[0] = history;
        row->history = chunks;
        row->history_count = 1;
    }
}

static void free_row(struct th_row *row)
{
    th_blob_unref(row->info);
    th_blob_unref(row->state);
    th_blob_unref(row->input);
    th_blob_unref(row->output);
    for (size_t n = 0; n < row->history_count; n++)
        th_blob_unref(row->history[n]);
    free((void *)row->history);
    free((void *)row->name.data);
    memset(row, 0, sizeof(*row));
}

static bool may_project(const struct th_partition *p, const struct th_instance *i)
{
    return p->options.traits.ordered || i->last <= p->acked;
}

/*
 * Where the projection stands after this batch. The sequence says what is in it: everything before
 * the first record left out. The offset is that of the last acknowledged record, left out or not:
 * so it grows with every batch, no two states of the projection have the same watermark, and a
 * batch of an earlier owner, or one repeated because its answer was lost, is refused.
 */
static struct th_watermark watermark_without(const struct th_partition *p, uint64_t left)
{
    struct th_watermark next = p->watermark;

    if (p->acked == 0)
        return next;
    next.offset = p->acked_offset;
    next.epoch = p->epoch;
    if (left > p->acked)
        next.sequence = p->acked - 1;
    else if (left > 1 && left - 2 > next.sequence)
        next.sequence = left - 2;
    return next;
}

bool th_partition_project(struct th_partition *p, struct th_projection *out)
{
    struct th_instance *i, *next;
    uint64_t left = UINT64_MAX; /* first record that the batch leaves out */

    if (p->projecting || !p->dirty || !p->active)
        return false;
    p->row_count = 0;
    p->projecting_since = p->dirty->dirty_since;
    DL_FOREACH_SAFE2(p->dirty, i, next, dirty_next)
    {
        if (!may_project(p, i)) {
            i->hold = true;
            left = left < i->dirty_stamp ? left : i->dirty_stamp;
            continue;
        }
        p->rows = th_grow(p->rows, &p->row_capacity, p->row_count + 1, sizeof(*p->rows));
        fill_row(p, i, &p->rows[p->row_count++]);
        i->projecting_since = i->dirty_since;
        i->projecting_first = i->dirty_stamp;
        instance_undirty(i);
        i->projecting = true;
        i->projecting_stamp = i->last;
        i->replacing = i->replace_stored;
        i->replace_stored = i->hold = false;
    }
    run_deferred(p); /* those that are no longer held */
    if (p->row_count == 0)
        return false;
    p->projecting = true;
    p->next_watermark = watermark_without(p, left);
    *out = (struct th_projection){.partition = p->options.index,
                                  .previous = p->watermark,
                                  .next = p->next_watermark,
                                  .rows = p->rows,
                                  .count = p->row_count};
    return true;
}

/* ---- afterwards ---- */

static void drop_stored_chunks(struct th_instance *i)
{
    size_t kept = 0;

    for (size_t n = 0; n < i->chunk_count; n++) {
        if (i->chunks[n].stamp > i->projecting_stamp)
            i->chunks[kept++] = i->chunks[n];
        else
            th_blob_unref(i->chunks[n].blob);
    }
    if (kept < i->chunk_count)
        i->whole = false;
    i->chunk_count = kept;
}

static void projected(struct th_instance *i)
{
    i->row = i->purged ? 0 : i->projecting_stamp;
    if (!i->busy)
        drop_stored_chunks(i);
}

static void leave_memory(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    if (!th_status_terminal(i->info.status) && th_info_exists(&i->info)) {
        effect_now(p, TH_EFFECT_FORGET)->id = th_str_dup(instance_id(i));
        p->stats.evictions++;
    }
    instance_not_idle(i);
    instance_forget_info(i);
    instance_free_if_empty(i);
}

/* It could not be projected: as dirty as before. */
static void put_back(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    i->replace_stored |= i->replacing;
    instance_dirty(i);
    DL_DELETE2(p->dirty, i, dirty_prev, dirty_next);
    DL_PREPEND2(p->dirty, i, dirty_prev, dirty_next);
    i->dirty_since = i->projecting_since;
    i->dirty_stamp = i->projecting_first;
}

static void after_row(struct th_partition *p, struct th_row *row, bool done)
{
    struct th_instance *i = instance_find(p, row->instance_id);

    if (!i)
        return;
    i->projecting = false;
    if (!done) {
        put_back(i);
        return;
    }
    projected(i);
    instance_touch(i);
    if (i->idle && (i->purged || th_status_terminal(i->info.status)))
        leave_memory(i);
}

void th_partition_projected(struct th_partition *p, const struct th_error *error)
{
    const bool done = !error || error->code == TH_OK;

    if (!p->projecting)
        return;
    p->projecting = false;
    if (done)
        p->watermark = p->next_watermark;
    while (p->row_count > 0) { /* from the last, so that the oldest comes to stand first again */
        struct th_row *row = &p->rows[--p->row_count];

        after_row(p, row, done);
        free_row(row);
    }
    trim_log_maybe(p);
    if (!done && error->code == TH_FENCED)
        fence(p, TH_FENCED, "the projection of partition %u was moved by another owner: %s",
              p->options.index, error->message);
}

void evict_idle(struct th_partition *p)
{
    while (p->idle_count > p->options.max_instances)
        leave_memory(p->idle);
}
