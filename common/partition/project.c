/*
 * project: rows for the projection, and which instances may leave memory. Changes wait a little,
 * so that an instance that runs for some milliseconds costs one row and not one per episode; only
 * starts and ends, for which somebody may be waiting, go out at once.
 *
 * A row may hold only what is durable. Where submissions take effect in order, a row submitted
 * after a record is durable after it, so the present state can go out as it is. Elsewhere an
 * instance with unacknowledged records is held: it runs no further episode until its row is out.
 */
#include "partition/internal.h"

/* What a row says at once to those who wait, payloads included, up to this size. */
#define MAX_NEWS_BYTES (64u << 10)
/* Of one batch, so that the projection is not busy with it for long. */
#define MAX_BATCH_BYTES (8u << 20)

void instance_dirty(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    if (i->dirty)
        return;
    i->dirty = true;
    i->dirty_since = p->now;
    i->dirty_stamp = i->last;
    i->dirty_position = p->previous_position;
    instance_not_idle(i);
    DL_APPEND2(p->dirty, i, dirty_prev, dirty_next);
    p->dirty_count++;
}

static void forget_news(struct th_instance *i)
{
    if (!i->news)
        return;
    i->news = false;
    DL_DELETE2(i->partition->news, i, news_prev, news_next);
}

void instance_undirty(struct th_instance *i)
{
    if (!i->dirty)
        return;
    i->dirty = false;
    forget_news(i);
    DL_DELETE2(i->partition->dirty, i, dirty_prev, dirty_next);
    i->partition->dirty_count--;
}

/* Told with the row, where others wait for it. */
void instance_news(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    if (i->news || !p->options.traits.shared || !i->dirty)
        return;
    i->news = true;
    DL_APPEND2(p->news, i, news_prev, news_next);
}

static int by_stamp(const struct th_instance *a, const struct th_instance *b)
{
    return a->dirty_stamp < b->dirty_stamp ? -1 : a->dirty_stamp > b->dirty_stamp;
}

void sort_dirty(struct th_partition *p)
{
    DL_SORT2(p->dirty, by_stamp, dirty_prev, dirty_next);
}

static bool may_project(const struct th_partition *p, const struct th_instance *i)
{
    return p->options.traits.ordered || i->last <= p->acked;
}

static th_time first_news(const struct th_partition *p)
{
    const struct th_instance *i;

    DL_FOREACH2(p->news, i, news_next)
    if (may_project(p, i))
        return i->dirty_since;
    return TH_TIME_NONE;
}

th_time th_partition_dirty_since(const struct th_partition *p, bool news)
{
    const th_time rows = p->dirty ? p->dirty->dirty_since : TH_TIME_NONE;

    if (p->rebuilding)
        return TH_TIME_NONE;
    if (news)
        return first_news(p);
    if (rows == TH_TIME_NONE || (p->moved_since != TH_TIME_NONE && p->moved_since < rows))
        return p->moved_since;
    return rows;
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

/* The offset of the watermark that comes with the row, whether payloads are in it, the instance. */
static struct th_blob *encode_news(struct th_partition *p, const struct th_instance_info *info)
{
    const bool payloads = info->input.len + info->output.len <= MAX_NEWS_BYTES;

    p->scratch.len = 0;
    th_write_i64(&p->scratch, p->acked_offset);
    th_write_bool(&p->scratch, payloads);
    th_encode_info(&p->scratch, info, payloads);
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
                           .full = i->full,
                           .stored = i->row > 0,
                           .deleted = i->purged,
                           .replace_history = i->replace_stored,
                           .completed = TH_TIME_NONE};
    if (i->purged)
        return;
    row->news = i->news ? encode_news(p, &i->info) : NULL;
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
    th_blob_unref(row->news);
    for (size_t n = 0; n < row->history_count; n++)
        th_blob_unref(row->history[n]);
    free((void *)row->history);
    free((void *)row->name.data);
    memset(row, 0, sizeof(*row));
}

/* ---- the watermark ---- */

/*
 * Where the projection stands after this batch. The sequence says what is in it: every record with
 * a lower one. It is that of the first record left out, the oldest of those that stay dirty. The
 * offset is that of the last acknowledged record, left out or not. The number of the batch makes
 * each state of the projection another one: a batch of an earlier owner, or one repeated because
 * its answer was lost, is refused, and a reader notices when rows changed between its questions.
 * When nothing was left out, all that the log holds up to that offset is settled.
 */
static void set_sequence(const struct th_partition *p, struct th_watermark *next)
{
    const uint64_t left = p->dirty ? p->dirty->dirty_stamp : UINT64_MAX;

    if (left > p->acked) {
        next->sequence = p->acked;
        next->position = p->acked_position;
        if (p->acked_offset > next->settled)
            next->settled = p->acked_offset;
    } else if (left - 1 > next->sequence) {
        next->sequence = left - 1;
        next->position = p->dirty->dirty_position;
    }
}

/* Rows are made again until everything is there that the log held when that began. */
static bool still_building(const struct th_partition *p, uint64_t sequence)
{
    return p->rebuild && !(p->active && sequence >= p->rebuild_until);
}

static struct th_watermark next_watermark(const struct th_partition *p)
{
    struct th_watermark next = p->watermark;

    if (p->acked == 0 && p->options.traits.durable_projection)
        return next;
    if (p->acked_offset > next.offset) /* recovery comes from behind */
        next.offset = p->acked_offset;
    next.epoch = p->epoch;
    set_sequence(p, &next);
    if (!p->options.traits.durable_projection)
        next.floor = checkpoint_floor(p, next.sequence).offset;
    next.building = still_building(p, next.sequence);
    return next;
}

static bool says_more(const struct th_watermark *next, const struct th_watermark *now)
{
    return next->position != now->position || next->settled != now->settled ||
           next->floor != now->floor || next->building != now->building || now->offset < 0;
}

/* Clients and lag tools read positions from it, and the next owner its floor: it moves also when no
 * row does. */
void watermark_moved(struct th_partition *p)
{
    const struct checkpoint *c = &p->checkpoint;

    if (p->moved_since != TH_TIME_NONE || p->options.traits.durable_projection || !p->active)
        return;
    if (p->acked_position != p->watermark.position || p->acked_offset != p->watermark.settled ||
        p->watermark.building || p->watermark.offset < 0 || (c->stamp > 0 && c->offset >= 0))
        p->moved_since = p->now;
}

/* ---- batches ---- */

static size_t row_bytes(const struct th_row *row)
{
    return (row->input ? row->input->len : 0) + (row->output ? row->output->len : 0) +
           (row->history_count > 0 ? row->history[0]->len : 0);
}

static int64_t change_of_rows(const struct th_instance *i)
{
    return i->purged ? -(int64_t)(i->row > 0) : (int64_t)(i->row == 0);
}

struct batch {
    struct th_partition *p;
    size_t bytes;
    int64_t rows; /* more than there were */
};

static bool is_full(const struct batch *b)
{
    return b->p->row_count >= b->p->options.max_rows || b->bytes > MAX_BATCH_BYTES;
}

static void add_row(struct batch *b, struct th_instance *i)
{
    struct th_partition *p = b->p;
    struct th_row *row;

    p->rows = th_grow(p->rows, &p->row_capacity, p->row_count + 1, sizeof(*p->rows));
    row = &p->rows[p->row_count++];
    fill_row(p, i, row);
    b->bytes += row_bytes(row);
    b->rows += change_of_rows(i);
    if (p->projecting_since == TH_TIME_NONE || i->dirty_since < p->projecting_since)
        p->projecting_since = i->dirty_since;
    i->projecting_since = i->dirty_since;
    i->projecting_first = i->dirty_stamp;
    i->projecting_position = i->dirty_position;
    i->projecting_news = i->news;
    instance_undirty(i);
    i->projecting = true;
    i->projecting_stamp = i->last;
    i->replacing = i->replace_stored;
    i->replace_stored = i->hold = false;
}

static void add_news(struct batch *b)
{
    struct th_instance *i, *next;

    DL_FOREACH_SAFE2(b->p->news, i, next, news_next)
    {
        if (is_full(b))
            return;
        if (may_project(b->p, i))
            add_row(b, i);
    }
}

static void add_dirty(struct batch *b, th_time until)
{
    struct th_instance *i, *next;

    DL_FOREACH_SAFE2(b->p->dirty, i, next, dirty_next)
    {
        if (is_full(b) || i->dirty_since > until)
            return;
        if (may_project(b->p, i))
            add_row(b, i);
        else
            i->hold = true;
    }
}

/* False: there is nothing to say. */
static bool close_batch(struct batch *b)
{
    struct th_partition *p = b->p;

    p->next_watermark = next_watermark(p);
    p->next_watermark.rows += (uint64_t)b->rows;
    p->next_watermark.batch = p->batch + 1;
    p->next_floor = checkpoint_floor(p, p->next_watermark.sequence);
    p->moved_since = TH_TIME_NONE;
    return p->row_count > 0 || (!p->options.traits.durable_projection &&
                                (p->clear || says_more(&p->next_watermark, &p->watermark)));
}

static bool can_project(const struct th_partition *p)
{
    return p->begun && !p->projecting && !p->rebuilding && !p->fenced;
}

bool th_partition_project(struct th_partition *p, bool news, th_time until,
                          struct th_projection *out)
{
    struct batch batch = {.p = p};
    bool any;

    if (!can_project(p))
        return false;
    p->row_count = 0;
    p->projecting_since = TH_TIME_NONE;
    if (news)
        add_news(&batch);
    else
        add_dirty(&batch, until);
    any = close_batch(&batch);
    run_deferred(p); /* those that are no longer held */
    if (!any)
        return false;
    p->projecting = true;
    p->batch++;
    *out = (struct th_projection){.partition = p->options.index,
                                  .previous = p->stored,
                                  .next = p->next_watermark,
                                  .clear = p->clear,
                                  .rows = p->rows,
                                  .count = p->row_count};
    return true;
}

/* ---- afterwards ---- */

/* The next episode of code that runs elsewhere would ask for all of it again. */
static bool keep_chunks(struct th_instance *i)
{
    const struct th_partition *p = i->partition;
    size_t bytes = 0;

    if (!i->replays || !i->whole || i->purged || th_status_terminal(i->info.status))
        return false;
    for (size_t n = 0; n < i->chunk_count; n++)
        bytes += i->chunks[n].blob->len;
    if (p->kept_bytes - i->kept + bytes > p->options.max_kept_bytes)
        return false;
    instance_keeps(i, bytes);
    return true;
}

static void drop_stored_chunks(struct th_instance *i)
{
    size_t kept = 0;

    instance_keeps(i, 0);
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
    if (!i->busy && !keep_chunks(i))
        drop_stored_chunks(i);
}

static void leave_memory(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    if (p->active && !th_status_terminal(i->info.status) && th_info_exists(&i->info)) {
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
    i->replace_stored |= i->replacing;
    instance_dirty(i);
    i->dirty_since = i->projecting_since;
    i->dirty_stamp = i->projecting_first;
    i->dirty_position = i->projecting_position;
    if (i->projecting_news)
        instance_news(i);
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

static void end_batch(struct th_partition *p, bool done)
{
    p->projecting = false;
    while (p->row_count > 0) {
        struct th_row *row = &p->rows[--p->row_count];

        after_row(p, row, done);
        free_row(row);
    }
    if (!done)
        sort_dirty(p);
}

void rows_put_back(struct th_partition *p)
{
    if (p->projecting)
        end_batch(p, false);
}

static void batch_stored(struct th_partition *p)
{
    p->watermark = p->stored = p->next_watermark;
    p->floor = p->next_floor;
    p->clear = false;
    p->rebuild = p->watermark.building;
    if (p->floor.stamp == p->checkpoint.stamp && !p->options.traits.durable_projection)
        p->checkpoint = (struct checkpoint){.offset = -1};
    end_batch(p, true);
    if (!p->active)
        evict_idle(p);
    watermark_moved(p);
    trim_log_maybe(p);
}

void th_partition_projected(struct th_partition *p, const struct th_error *error)
{
    if (!p->projecting)
        return;
    if (!error || error->code == TH_OK) {
        batch_stored(p);
        return;
    }
    end_batch(p, false);
    watermark_moved(p);
    if (p->active)
        trim_log_maybe(p);
    if (error->code == TH_FENCED)
        fence(p, TH_FENCED, "the projection of partition %u was moved by another owner: %s",
              p->options.index, error->message);
}

void evict_idle(struct th_partition *p)
{
    while (p->idle_count > p->options.max_instances)
        leave_memory(p->idle);
}
