/*
 * writer: the only thread that writes. It takes everything submitted since its last look, makes
 * one transaction of it, commits, and hands the batch on as completions: while a commit waits for
 * the disk, the next batch gathers.
 *
 * The records that one batch appends to one partition become one row (pack.c), and so do the
 * messages of one inbox. Messages that a trim in the same batch covers are not written. Log
 * offsets are given here; a failed batch gives its offsets back, so they stay dense. Inbox offsets
 * are given at submission, where the message is delivered; a failed batch leaves a hole there.
 *
 * A failed batch breaks every partition until its next claim (sqlite.h says what is refused
 * then). All of them, because what was submitted later may rest on what was lost without being
 * about the same partition: a message may have been delivered, and answered, in memory. For the
 * same reason a refused send breaks its destination, which may be claimed again already.
 *
 * What trims leave behind is deleted in runs of rows, and the bounds are written along with other
 * work, at the latest after a second without any. The last row of a log or inbox always stays:
 * with `partitions` it says where the next offset is.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/provider.h"
#include "provider/sqlite/internal.h"

enum {
    BATCH_ITEMS = 8192,
    ROWS_BEFORE_TRIM = 256, /* of all logs together */
    INBOX_ROWS_BEFORE_TRIM = 32,
    READ_RUNS = 4096,
    WAL_FRAMES = 4096, /* copied back into the database file from there on: 16 MiB */
};
#define BATCH_BYTES       ((size_t)32 << 20)
#define BYTES_BEFORE_TRIM ((size_t)8 << 20) /* or so much, whichever comes first */

/* What one batch puts into a log or an inbox; borrowed from its items. */
struct gathered {
    struct th_blob **items;
    int64_t *offsets;
    size_t count, capacity, offset_capacity;
};

struct state {
    int64_t log_start, log_end, inbox_start, inbox_end;
    struct th_watermark mark;
    uint64_t epoch;
};

struct partition {
    struct state now, before; /* `before` the batch; only while `touched` */
    struct gathered log, inbox;
    struct th_sqlite_runs runs; /* of the log */
    size_t runs_added;          /* by this batch */
    size_t runs_dropped;        /* by this batch; they leave `runs` after the commit */
    int64_t inbox_deleted;      /* rows wholly below this are gone */
    int inbox_rows;             /* written since the last deletion */
    size_t inbox_bytes;
    bool broken; /* until its next claim */
    bool touched;
    bool dirty; /* `now` is not what stands in the table */
};

struct th_sqlite_writer {
    struct th_sqlite_db db;
    char *file;
    struct th_sqlite_hub_row hub;
    struct th_sqlite_writer_options options;
    struct th_sqlite_projector *projector;
    sqlite3_stmt *begin, *commit, *rollback, *save;
    sqlite3_stmt *put_log, *put_inbox, *drop_log, *trim_inbox;
    int64_t *drops; /* rows of `log` to delete */
    size_t drop_count, drop_capacity;
    size_t log_bytes; /* written since the last deletion */
    struct partition *partitions;
    struct th_queue queue;
    struct th_link *rest; /* taken from the queue, above this batch's size */
    atomic_bool stopping;
    bool started;
    pthread_t thread;
    bool active;       /* inside a transaction */
    bool needed;       /* the batch holds something to commit */
    int frames;        /* in the WAL */
    int checkpoint_at; /* frames */
    struct th_buffer packed;
    struct th_blob *refused; /* why a broken partition's items fail */
    struct th_error error;   /* of this batch */
};

/* ---- transactions ---- */

static bool enter(struct th_sqlite_writer *w)
{
    if (!w->active) {
        w->active = th_sqlite_run(&w->db, w->begin, "write to", &w->error);
    }
    return w->active;
}

static void delay(uint32_t microseconds)
{
    struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000L};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static bool leave(struct th_sqlite_writer *w)
{
    if (!w->active) {
        return true;
    }
    th_time start = th_monotonic();
    if (!th_sqlite_run(&w->db, w->commit, "commit to", &w->error)) {
        return false;
    }
    if (w->options.fsync_delay_us) {
        delay(w->options.fsync_delay_us);
    }
    w->active = false;
    w->options.counters->commits++;
    w->options.counters->commit_us += (uint64_t)(th_monotonic() - start);
    return true;
}

static void abandon(struct th_sqlite_writer *w)
{
    if (w->active && !sqlite3_get_autocommit(w->db.handle)) {
        sqlite3_step(w->rollback);
        sqlite3_reset(w->rollback);
    }
    w->active = false;
    w->options.counters->failed_commits++;
}

static int wal_grew(void *argument, sqlite3 *handle, const char *schema, int frames)
{
    struct th_sqlite_writer *w = argument;
    /* Fewer than before: it has started over. */
    w->options.counters->pages += (uint64_t)(frames > w->frames ? frames - w->frames : frames);
    w->frames = frames;
    return SQLITE_OK;
}

/*
 * A checkpoint beside a busy writer never catches up with it, and the WAL starts over only once it
 * has been copied completely. So the searcher copies most of it while commits go on, and then the
 * writer copies the small remainder between two commits.
 */
static void bound_wal(struct th_sqlite_writer *w)
{
    struct th_sqlite_counters *c = w->options.counters;
    c->wal_bytes = (uint64_t)w->frames * 4096;
    if (w->frames < w->checkpoint_at) {
        w->checkpoint_at = w->frames < WAL_FRAMES ? WAL_FRAMES : w->checkpoint_at;
        return;
    }
    enum th_sqlite_checkpoint phase = c->checkpoint;
    if (phase == TH_CHECKPOINT_NONE) {
        c->checkpoint = TH_CHECKPOINT_ASKED;
        th_sqlite_reader_submit(w->options.searcher, th_sqlite_item_new(TH_ITEM_CHECKPOINT, 0, 0));
    } else if (phase == TH_CHECKPOINT_COPIED) {
        sqlite3_wal_checkpoint_v2(w->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        c->checkpoint = TH_CHECKPOINT_NONE;
        c->checkpoints++;
        /* A long read can keep the WAL from starting over: do not try at every commit. */
        w->checkpoint_at = w->frames + WAL_FRAMES;
    }
}

/* ---- taking a batch's items in ---- */

static struct partition *touch(struct th_sqlite_writer *w, uint32_t partition)
{
    struct partition *p = &w->partitions[partition];
    if (!p->touched) {
        p->touched = true;
        p->before = p->now;
    }
    return p;
}

static void gather(struct gathered *s, struct th_blob *item, int64_t offset)
{
    s->items = th_grow(s->items, &s->capacity, s->count + 1, sizeof(*s->items));
    s->offsets = th_grow(s->offsets, &s->offset_capacity, s->count + 1, sizeof(*s->offsets));
    s->items[s->count] = item;
    s->offsets[s->count++] = offset;
}

static void fail_item(struct th_sqlite_item *item, enum th_code code, const char *message)
{
    struct th_blob *why = th_sqlite_reason(message);
    th_sqlite_item_fail(item, code, why);
    th_blob_unref(why);
}

static void refuse(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    th_sqlite_item_fail(item, TH_UNAVAILABLE, w->refused);
}

static void add_record(struct th_sqlite_writer *w, struct partition *p, struct th_sqlite_item *item)
{
    item->offset = p->now.log_end++;
    gather(&p->log, item->blob, item->offset);
    w->needed = true;
    w->options.counters->appends++;
}

static void take_claim(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    if (item->code != TH_OK) { /* too large, found at submission */
        return;
    }
    struct partition *p = touch(w, item->partition);
    p->broken = false;
    add_record(w, p, item);
    p->now.epoch = (uint64_t)item->offset;
}

static void take_append(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    struct partition *p = touch(w, item->partition);
    if (item->epoch < p->now.epoch) {
        fail_item(item, TH_FENCED, "the partition has been claimed again since");
    } else if (item->code != TH_OK) { /* too large, found at submission */
        p->broken = true;             /* a suffix may be lost, never a middle */
    } else if (p->broken) {
        refuse(w, item);
    } else {
        add_record(w, p, item);
    }
}

static void take_send(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    if (item->code != TH_OK) {
        return;
    }
    struct partition *p = touch(w, item->partition);
    if (item->source < w->hub.record.partitions && w->partitions[item->source].broken) {
        p->broken = true;
        refuse(w, item);
        return;
    }
    p->now.inbox_end = item->offset + 1;
    gather(&p->inbox, item->blob, item->offset);
    w->needed = true;
    w->options.counters->sends++;
}

static bool take_projection(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    struct partition *p = touch(w, item->partition);
    const struct th_sqlite_rows *rows = item->projection;
    if (item->code != TH_OK) {
        return true;
    }
    if (p->broken) {
        refuse(w, item);
        return true;
    }
    if (!th_watermark_equal(&p->now.mark, &rows->previous)) {
        fail_item(item, TH_FENCED, "the projection stands at another watermark");
        return true;
    }
    bool done = enter(w);
    for (size_t i = 0; done && i < rows->count; i++) {
        done = th_sqlite_projector_put(w->projector, item->partition, &rows->rows[i], &w->error);
    }
    p->now.mark = rows->next;
    p->dirty = true;
    w->needed = true;
    w->options.counters->rows += rows->count;
    return done;
}

static void raise_bound(struct partition *p, int64_t *start, int64_t end, int64_t below)
{
    below = below < end ? below : end;
    if (below > *start) {
        *start = below;
        p->dirty = true;
    }
}

static void take_trim(struct th_sqlite_writer *w, const struct th_sqlite_item *item)
{
    struct partition *p = touch(w, item->partition);
    if (p->broken) {
        return; /* it may rest on a record that was lost */
    }
    if (item->kind == TH_ITEM_TRIM_LOG) {
        raise_bound(p, &p->now.log_start, p->now.log_end, item->offset);
    } else {
        raise_bound(p, &p->now.inbox_start, p->now.inbox_end, item->offset);
    }
}

/* False: the database failed, and with it the whole batch. */
static bool take(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    switch (item->kind) {
    case TH_ITEM_CLAIM:
        take_claim(w, item);
        return true;
    case TH_ITEM_APPEND:
        take_append(w, item);
        return true;
    case TH_ITEM_SEND:
        take_send(w, item);
        return true;
    case TH_ITEM_PROJECT:
        return take_projection(w, item);
    case TH_ITEM_TRIM_LOG:
    case TH_ITEM_TRIM_INBOX:
        take_trim(w, item);
        return true;
    default:
        return true; /* passes through, see hand_on */
    }
}

/* ---- writing what was taken in ---- */

/* Packs items[from..from+count) into one row. Its first two parameters are the caller's. */
static bool put_row(struct th_sqlite_writer *w, sqlite3_stmt *statement, const struct gathered *g,
                    size_t from, size_t count)
{
    th_sqlite_pack(&w->packed, g->items + from, count);
    sqlite3_bind_int64(statement, 3, (int64_t)count);
    sqlite3_bind_int64(statement, 4, th_crc32c(0, w->packed.data, w->packed.len));
    th_sqlite_bind_blob(statement, 5, th_buffer_view(&w->packed));
    return th_sqlite_run(&w->db, statement, "write to", &w->error);
}

static bool put_log(struct th_sqlite_writer *w, struct partition *p, uint32_t stream)
{
    const struct gathered *g = &p->log;
    size_t from = 0;
    while (from < g->count) {
        size_t n = th_sqlite_pack_count(g->items + from, g->count - from);
        sqlite3_bind_int64(w->put_log, 1, stream);
        sqlite3_bind_int64(w->put_log, 2, g->offsets[from]);
        if (!put_row(w, w->put_log, g, from, n)) {
            return false;
        }
        th_sqlite_runs_add(&p->runs, g->offsets[from], sqlite3_last_insert_rowid(w->db.handle));
        p->runs_added++;
        w->log_bytes += w->packed.len;
        w->options.counters->log_rows++;
        from += n;
    }
    return true;
}

/* How many items from `from` on have consecutive offsets: refused sends leave holes. */
static size_t consecutive(const struct gathered *g, size_t from)
{
    size_t end = from + 1;
    while (end < g->count && g->offsets[end] == g->offsets[end - 1] + 1) {
        end++;
    }
    return end - from;
}

static bool put_inbox(struct th_sqlite_writer *w, struct partition *p, uint32_t stream)
{
    const struct gathered *g = &p->inbox;
    size_t from = 0;
    while (from < g->count && g->offsets[from] < p->now.inbox_start) {
        from++;
    }
    if (from > 0) {
        p->dirty = true; /* no row tells the end then */
        w->options.counters->sends_skipped += from;
    }
    while (from < g->count) {
        size_t n = th_sqlite_pack_count(g->items + from, consecutive(g, from));
        sqlite3_bind_int64(w->put_inbox, 1, th_sqlite_key(stream, g->offsets[from]));
        if (!put_row(w, w->put_inbox, g, from, n)) {
            return false;
        }
        p->inbox_rows++;
        p->inbox_bytes += w->packed.len;
        w->options.counters->inbox_rows++;
        from += n;
    }
    return true;
}

static bool trim_inbox(struct th_sqlite_writer *w, struct partition *p, uint32_t stream, bool now)
{
    if (p->now.inbox_start <= p->inbox_deleted ||
        !(now || p->inbox_rows >= INBOX_ROWS_BEFORE_TRIM || p->inbox_bytes >= BYTES_BEFORE_TRIM)) {
        return true;
    }
    sqlite3_bind_int64(w->trim_inbox, 1, th_sqlite_key(stream, 0));
    sqlite3_bind_int64(w->trim_inbox, 2, th_sqlite_key(stream, p->now.inbox_start));
    p->inbox_deleted = p->now.inbox_start;
    p->inbox_rows = 0;
    p->inbox_bytes = 0;
    return th_sqlite_run(&w->db, w->trim_inbox, "write to", &w->error);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static size_t droppable(const struct th_sqlite_writer *w)
{
    size_t count = 0;
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        const struct partition *p = &w->partitions[i];
        count += th_sqlite_runs_below(&p->runs, p->now.log_start);
    }
    return count;
}

/* Marks the rows of one log that lie below its start. */
static void drop_runs(struct th_sqlite_writer *w, struct partition *p)
{
    p->runs_dropped = th_sqlite_runs_below(&p->runs, p->now.log_start);
    w->drops =
        th_grow(w->drops, &w->drop_capacity, w->drop_count + p->runs_dropped, sizeof(*w->drops));
    for (size_t i = 0; i < p->runs_dropped; i++) {
        w->drops[w->drop_count++] = p->runs.items[p->runs.first + i].row;
    }
}

/* Deletes the trimmed rows of all logs together and in their order: they share pages. */
static bool trim_logs(struct th_sqlite_writer *w, bool now)
{
    size_t count = droppable(w);
    if (count == 0 || !(now || count >= ROWS_BEFORE_TRIM || w->log_bytes >= BYTES_BEFORE_TRIM)) {
        return true;
    }
    w->log_bytes = 0;
    w->drop_count = 0;
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        drop_runs(w, &w->partitions[i]);
    }
    qsort(w->drops, w->drop_count, sizeof(*w->drops), by_number);
    bool done = true;
    for (size_t i = 0; done && i < w->drop_count; i++) {
        sqlite3_bind_int64(w->drop_log, 1, w->drops[i]);
        done = th_sqlite_run(&w->db, w->drop_log, "write to", &w->error);
    }
    return done;
}

static bool save(struct th_sqlite_writer *w, const struct partition *p, uint32_t stream)
{
    const struct state *s = &p->now;
    const int64_t values[] = {stream,
                              s->log_start,
                              s->log_end,
                              s->inbox_start,
                              s->inbox_end,
                              s->mark.offset,
                              (int64_t)s->mark.epoch,
                              (int64_t)s->mark.sequence};
    for (size_t i = 0; i < TH_COUNT(values); i++) {
        sqlite3_bind_int64(w->save, (int)i + 1, values[i]);
    }
    return th_sqlite_run(&w->db, w->save, "write to", &w->error);
}

static bool full(struct th_sqlite_writer *w, const struct partition *p)
{
    return (p->now.log_end <= TH_SQLITE_OFFSET_MAX && p->now.inbox_end <= TH_SQLITE_OFFSET_MAX) ||
           th_fail(&w->error, TH_IO, "a partition in %s has used up its offsets", w->file);
}

static bool write_partition(struct th_sqlite_writer *w, struct partition *p, bool trim)
{
    uint32_t stream = w->hub.base + (uint32_t)(p - w->partitions);
    return full(w, p) && put_log(w, p, stream) && put_inbox(w, p, stream) &&
           trim_inbox(w, p, stream, trim) && (!p->dirty || save(w, p, stream));
}

static bool write_batch(struct th_sqlite_writer *w, bool trim)
{
    bool done = enter(w);
    for (uint32_t i = 0; done && i < w->hub.record.partitions; i++) {
        struct partition *p = &w->partitions[i];
        done = !(p->touched || p->dirty || trim) || write_partition(w, p, trim);
    }
    return done && trim_logs(w, trim) && leave(w);
}

/* ---- the end of a batch ---- */

static void settle(struct partition *p, bool committed, bool written)
{
    if (committed) {
        p->dirty = p->dirty && !written;
        p->runs.first += p->runs_dropped;
    } else {
        p->now = p->touched ? p->before : p->now;
        p->runs.end -= p->runs_added;
        p->inbox_deleted = 0;
    }
    p->touched = false;
    p->runs_added = p->runs_dropped = 0;
    p->log.count = p->inbox.count = 0;
}

static void settle_all(struct th_sqlite_writer *w, bool committed, bool written)
{
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        settle(&w->partitions[i], committed, written);
    }
    if (w->packed.capacity > 4 * TH_SQLITE_PACK_BYTES) {
        th_buffer_deinit(&w->packed); /* do not keep what one huge record needed */
        w->packed = (struct th_buffer){0};
    }
}

static void break_all(struct th_sqlite_writer *w)
{
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        w->partitions[i].broken = true;
    }
    th_log(w->options.log, TH_LOG_ERROR, "sqlite", "%s", w->error.message);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Names the rows the reader should look at. */
static void aim(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    const struct partition *p = &w->partitions[item->partition];
    item->offset = clamp(item->offset, p->now.log_start, p->now.log_end);
    item->to = clamp(item->to, item->offset, p->now.log_end);
    item->run_count = th_sqlite_runs_copy(&p->runs, item->offset, item->to, READ_RUNS, &item->runs);
    if (item->run_count == READ_RUNS) { /* as far as these go */
        int64_t last = item->runs[--item->run_count].first;
        item->to = last;
        item->partial = true;
    }
    th_sqlite_reader_submit(w->options.reader, item);
}

static void fill_state(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    const struct state *s = &w->partitions[item->partition].now;
    item->answer = TH_NEW(struct th_completion);
    item->answer->watermark = s->mark;
    item->answer->log_start = s->log_start;
    item->answer->log_end = s->log_end;
    item->answer->inbox_start = s->inbox_start;
    item->answer->inbox_end = s->inbox_end;
}

/* Where an item goes after its batch: openings of inboxes and reads to the reader, trims nowhere,
 * all others to the node. */
static void hand_one_on(struct th_sqlite_writer *w, struct th_sqlite_item *item,
                        struct th_sqlite_list *done)
{
    switch (item->kind) {
    case TH_ITEM_BACKLOG:
        th_sqlite_reader_submit(w->options.reader, item);
        break;
    case TH_ITEM_READ:
        aim(w, item);
        break;
    case TH_ITEM_TRIM_LOG:
    case TH_ITEM_TRIM_INBOX:
        th_sqlite_item_free(item);
        break;
    case TH_ITEM_STATE:
        fill_state(w, item);
        th_sqlite_list_add(done, &item->link);
        break;
    default:
        th_sqlite_list_add(done, &item->link);
    }
}

static bool writes(const struct th_sqlite_item *item)
{
    return item->kind <= TH_ITEM_PROJECT;
}

static void hand_on(struct th_sqlite_writer *w, struct th_link *items, bool failed)
{
    struct th_sqlite_list done;
    th_sqlite_list_init(&done);
    struct th_blob *why = failed ? th_sqlite_reason(w->error.message) : NULL;
    while (items) {
        struct th_sqlite_item *item = th_sqlite_item_of(items);
        items = items->next;
        if (failed && writes(item) && item->code == TH_OK) {
            th_sqlite_item_fail(item, w->error.code, why);
        }
        hand_one_on(w, item, &done);
    }
    th_blob_unref(why);
    th_sqlite_outlet_put(w->options.outlet, &done);
}

static void run_batch(struct th_sqlite_writer *w, struct th_link *items)
{
    bool good = true;
    w->needed = false;
    for (struct th_link *l = items; good && l; l = l->next) {
        good = take(w, th_sqlite_item_of(l));
    }
    good = good && (!w->needed || write_batch(w, false));
    if (!good) {
        abandon(w);
        break_all(w);
    }
    settle_all(w, good, w->needed);
    hand_on(w, items, !good);
    if (w->needed && good) {
        bound_wal(w);
    }
}

/* Nothing was submitted for a while: write the bounds, delete what is below them. */
static void tidy(struct th_sqlite_writer *w)
{
    bool good = write_batch(w, true);
    if (!good) {
        abandon(w);
        th_log(w->options.log, TH_LOG_WARN, "sqlite", "%s", w->error.message);
    }
    settle_all(w, good, true);
}

static bool untidy(const struct th_sqlite_writer *w)
{
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        const struct partition *p = &w->partitions[i];
        if (p->dirty || p->inbox_deleted < p->now.inbox_start) {
            return true;
        }
    }
    return droppable(w) > 0;
}

/* ---- the thread ---- */

static size_t item_bytes(const struct th_sqlite_item *item)
{
    return item->blob ? item->blob->len : 0;
}

/* Cuts the list where the batch is large enough; the rest comes next. */
static struct th_link *cut(struct th_sqlite_writer *w, struct th_link *items)
{
    size_t count = 0;
    size_t bytes = 0;
    for (struct th_link *l = items; l; l = l->next) {
        bytes += item_bytes(th_sqlite_item_of(l));
        if (++count >= BATCH_ITEMS || bytes >= BATCH_BYTES) {
            w->rest = l->next;
            l->next = NULL;
            break;
        }
    }
    return items;
}

static struct th_link *next_batch(struct th_sqlite_writer *w)
{
    struct th_link *items = w->rest;
    w->rest = NULL;
    if (!items) {
        th_time deadline = untidy(w) ? th_monotonic() + TH_SECOND : TH_TIME_NONE;
        items = w->stopping ? th_queue_take(&w->queue) : th_queue_wait(&w->queue, deadline);
    }
    return cut(w, items);
}

static void *writer_main(void *argument)
{
    struct th_sqlite_writer *w = argument;
    pthread_setname_np(pthread_self(), "sqlite-writer");
    for (;;) {
        bool stopping = w->stopping;
        struct th_link *items = next_batch(w);
        if (items) {
            run_batch(w, items);
        } else if (untidy(w)) {
            tidy(w);
        }
        if (stopping && !items) {
            return NULL;
        }
    }
}

/* ---- opening and closing ---- */

static bool prepare(struct th_sqlite_writer *w, struct th_error *error)
{
    const struct th_sqlite_db *db = &w->db;
    static const char put_log_sql[] =
        "INSERT INTO log(stream, first, count, crc, records) VALUES(?1, ?2, ?3, ?4, ?5)";
    static const char trim_inbox[] = "DELETE FROM inbox WHERE key>=?1 AND key<"
                                     "(SELECT max(key) FROM inbox WHERE key BETWEEN ?1 AND ?2)";
    static const char save_sql[] =
        "UPDATE partitions SET log_start=?2, log_end=?3, inbox_start=?4, inbox_end=?5,"
        " mark_offset=?6, mark_epoch=?7, mark_sequence=?8 WHERE stream=?1";
    return th_sqlite_prepare(db, "BEGIN IMMEDIATE", &w->begin, error) &&
           th_sqlite_prepare(db, "COMMIT", &w->commit, error) &&
           th_sqlite_prepare(db, "ROLLBACK", &w->rollback, error) &&
           th_sqlite_prepare(db, put_log_sql, &w->put_log, error) &&
           th_sqlite_prepare(db, "INSERT INTO inbox VALUES(?1, ?3, ?4, ?5)", &w->put_inbox,
                             error) &&
           th_sqlite_prepare(db, "DELETE FROM log WHERE row=?1", &w->drop_log, error) &&
           th_sqlite_prepare(db, trim_inbox, &w->trim_inbox, error) &&
           th_sqlite_prepare(db, save_sql, &w->save, error);
}

/* Raises *end to behind the last row of an inbox. */
static bool inbox_end(const struct th_sqlite_db *db, uint32_t stream, int64_t *end,
                      struct th_error *error)
{
    TH_SQLITE_STMT *s = NULL;
    if (!th_sqlite_prepare(db,
                           "SELECT key, count FROM inbox WHERE key BETWEEN ?1 AND ?2"
                           " ORDER BY key DESC LIMIT 1",
                           &s, error)) {
        return false;
    }
    sqlite3_bind_int64(s, 1, th_sqlite_key(stream, 0));
    sqlite3_bind_int64(s, 2, th_sqlite_key(stream, TH_SQLITE_OFFSET_MAX));
    int result = sqlite3_step(s);
    if (result == SQLITE_ROW) {
        int64_t stored = (sqlite3_column_int64(s, 0) & TH_SQLITE_OFFSET_MAX) +
                         (sqlite3_column_int64(s, 1) & UINT32_MAX);
        *end = stored > *end ? stored : *end;
    }
    return result == SQLITE_ROW || result == SQLITE_DONE || th_sqlite_fail(error, db, "read");
}

static bool read_state(const struct th_sqlite_db *db, uint32_t stream, struct state *out,
                       struct th_error *error)
{
    TH_SQLITE_STMT *s = NULL;
    if (!th_sqlite_prepare(db, "SELECT * FROM partitions WHERE stream=?1", &s, error)) {
        return false;
    }
    sqlite3_bind_int64(s, 1, stream);
    int result = sqlite3_step(s);
    if (result != SQLITE_ROW) {
        return result == SQLITE_DONE
                   ? th_fail(error, TH_CORRUPT, "a partition is missing in %s", db->file)
                   : th_sqlite_fail(error, db, "read");
    }
    *out = (struct state){
        .log_start = sqlite3_column_int64(s, 1),
        .log_end = sqlite3_column_int64(s, 2),
        .inbox_start = sqlite3_column_int64(s, 3),
        .inbox_end = sqlite3_column_int64(s, 4),
        .mark = {sqlite3_column_int64(s, 5), (uint64_t)sqlite3_column_int64(s, 6),
                 (uint64_t)sqlite3_column_int64(s, 7)},
    };
    return inbox_end(db, stream, &out->inbox_end, error);
}

static bool add_run(struct th_sqlite_writer *w, sqlite3_stmt *s, struct th_error *error)
{
    struct partition *p = &w->partitions[sqlite3_column_int64(s, 1) - w->hub.base];
    int64_t first = sqlite3_column_int64(s, 2);
    int64_t count = sqlite3_column_int64(s, 3);
    size_t runs = th_sqlite_runs_count(&p->runs);
    if (first < 0 || count < 1 || count > UINT32_MAX || first > TH_SQLITE_OFFSET_MAX ||
        (runs > 0 && first != p->now.log_end)) {
        return th_fail(error, TH_CORRUPT, "a log in %s is damaged: restore the file from a copy",
                       w->file);
    }
    th_sqlite_runs_add(&p->runs, first, sqlite3_column_int64(s, 0));
    p->now.log_end = first + count;
    return true;
}

/* Rows are in the order of writing, so each log's are in the order of their offsets. */
static bool read_runs(struct th_sqlite_writer *w, struct th_error *error)
{
    TH_SQLITE_STMT *s = NULL;
    if (!th_sqlite_prepare(&w->db,
                           "SELECT row, stream, first, count FROM log"
                           " WHERE stream>=?1 AND stream<?2 ORDER BY row",
                           &s, error)) {
        return false;
    }
    sqlite3_bind_int64(s, 1, w->hub.base);
    sqlite3_bind_int64(s, 2, w->hub.base + w->hub.record.partitions);
    int result;
    while ((result = sqlite3_step(s)) == SQLITE_ROW) {
        if (!add_run(w, s, error)) {
            return false;
        }
    }
    return result == SQLITE_DONE || th_sqlite_fail(error, &w->db, "read");
}

static bool read_partitions(struct th_sqlite_writer *w, struct th_error *error)
{
    bool done = true;
    for (uint32_t i = 0; done && i < w->hub.record.partitions; i++) {
        struct partition *p = &w->partitions[i];
        done = read_state(&w->db, w->hub.base + i, &p->now, error);
    }
    return done && read_runs(w, error);
}

static bool open_connection(struct th_sqlite_writer *w, struct th_error *error)
{
    if (!th_sqlite_db_open(&w->db, w->file, w->options.vfs, TH_SQLITE_EXISTING, error) ||
        !th_sqlite_exec(&w->db, "PRAGMA cache_size=-8192", error) ||
        (w->options.no_sync && !th_sqlite_exec(&w->db, "PRAGMA synchronous=OFF", error))) {
        return false;
    }
    sqlite3_wal_hook(w->db.handle, wal_grew, w);
    w->projector = th_sqlite_projector_new(&w->db, &w->hub, error);
    return w->projector && prepare(w, error) && read_partitions(w, error);
}

struct th_sqlite_writer *th_sqlite_writer_new(const struct th_sqlite_writer_options *options,
                                              struct th_error *error)
{
    struct th_sqlite_writer *w = TH_NEW(struct th_sqlite_writer);
    w->options = *options;
    w->hub = *options->hub;
    w->file = th_str_dup(th_str_of(options->file));
    w->partitions = th_alloc(w->hub.record.partitions * sizeof(*w->partitions));
    w->refused = th_sqlite_reason("an earlier write failed: claim the partition again");
    w->checkpoint_at = WAL_FRAMES;
    th_queue_init(&w->queue);
    if (!open_connection(w, error)) {
        th_sqlite_writer_free(w);
        return NULL;
    }
    return w;
}

int64_t th_sqlite_writer_inbox_end(const struct th_sqlite_writer *w, uint32_t partition)
{
    return w->partitions[partition].now.inbox_end;
}

bool th_sqlite_writer_start(struct th_sqlite_writer *w, struct th_error *error)
{
    w->started = pthread_create(&w->thread, NULL, writer_main, w) == 0;
    return w->started || th_fail(error, TH_UNAVAILABLE, "cannot start a thread");
}

void th_sqlite_writer_submit(struct th_sqlite_writer *w, struct th_sqlite_item *item)
{
    th_queue_push(&w->queue, &item->link);
}

static void gathered_deinit(struct gathered *s)
{
    free(s->items);
    free(s->offsets);
}

void th_sqlite_writer_free(struct th_sqlite_writer *w)
{
    if (w->started) {
        w->stopping = true;
        th_queue_wake(&w->queue);
        pthread_join(w->thread, NULL);
    }
    th_sqlite_items_free(th_queue_take(&w->queue));
    th_queue_deinit(&w->queue);
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        gathered_deinit(&w->partitions[i].log);
        gathered_deinit(&w->partitions[i].inbox);
        th_sqlite_runs_deinit(&w->partitions[i].runs);
    }
    free(w->partitions);
    free(w->drops);
    if (w->projector) {
        th_sqlite_projector_free(w->projector);
    }
    sqlite3_stmt **all[] = {&w->begin,   &w->commit,    &w->rollback, &w->save,
                            &w->put_log, &w->put_inbox, &w->drop_log, &w->trim_inbox};
    for (size_t i = 0; i < TH_COUNT(all); i++) {
        th_sqlite_finalize(all[i]);
    }
    th_sqlite_db_close(&w->db);
    th_buffer_deinit(&w->packed);
    th_blob_unref(w->refused);
    free(w->file);
    free(w);
}
