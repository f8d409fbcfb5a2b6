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
    ROWS_BEFORE_TRIM = 32,
    WAL_SOFT_FRAMES = 1024, /* the searcher starts to copy back */
    WAL_HARD_FRAMES = 8192, /* the writer finishes that itself, so that the WAL starts over */
};
#define BATCH_BYTES ((size_t)32 << 20)

/* A log or an inbox. */
struct stream {
    sqlite3_stmt *put;
    sqlite3_stmt *trim;
    struct th_blob **items; /* of this batch; borrowed from its items */
    int64_t *offsets;
    size_t count, capacity, offset_capacity;
    int64_t deleted; /* rows wholly below this are gone */
    int rows;        /* written since the last deletion */
};

struct state {
    int64_t log_start, log_end, inbox_start, inbox_end;
    struct th_watermark mark;
    uint64_t epoch;
};

struct partition {
    struct state now, before; /* `before` the batch; only while `touched` */
    struct stream log, inbox;
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
    sqlite3_stmt *put_log, *put_inbox, *trim_log, *trim_inbox;
    struct partition *partitions;
    struct th_queue queue;
    struct th_link *rest; /* taken from the queue, above this batch's size */
    atomic_bool stopping;
    bool started;
    pthread_t thread;
    bool active;     /* inside a transaction */
    bool needed;     /* the batch holds something to commit */
    int frames;      /* in the WAL */
    int hard_frames; /* the writer copies back when the WAL has so many */
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
    w->frames = frames;
    return SQLITE_OK;
}

/*
 * A checkpoint beside a busy writer never catches up with it, and the WAL starts over only once it
 * has been copied completely. So the searcher copies most of it while commits go on; when the WAL
 * grows all the same, the writer copies the remainder between two commits.
 */
static void bound_wal(struct th_sqlite_writer *w)
{
    struct th_sqlite_counters *c = w->options.counters;
    c->wal_bytes = (uint64_t)w->frames * 4096;
    if (w->frames >= WAL_SOFT_FRAMES && !c->checkpointing) {
        c->checkpointing = true;
        th_sqlite_reader_submit(w->options.searcher, th_sqlite_item_new(TH_ITEM_CHECKPOINT, 0, 0));
    }
    if (w->frames < WAL_HARD_FRAMES) {
        w->hard_frames = WAL_HARD_FRAMES;
    } else if (w->frames >= w->hard_frames) {
        /* A long read can keep the WAL from starting over: do not try at every commit. */
        w->hard_frames = w->frames + WAL_SOFT_FRAMES;
        sqlite3_wal_checkpoint_v2(w->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        c->checkpoints++;
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

static void stream_add(struct stream *s, struct th_blob *item, int64_t offset)
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
    stream_add(&p->log, item->blob, item->offset);
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
    stream_add(&p->inbox, item->blob, item->offset);
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

static bool put_rows(struct th_sqlite_writer *w, struct stream *s, uint32_t stream, size_t from,
                     size_t count, _Atomic uint64_t *counter)
{
    bool done = true;
    while (done && count > 0) {
        size_t n = th_sqlite_pack_count(s->items + from, count);
        th_sqlite_pack(&w->packed, s->items + from, n);
        sqlite3_bind_int64(s->put, 1, th_sqlite_key(stream, s->offsets[from]));
        sqlite3_bind_int64(s->put, 2, (int64_t)n);
        sqlite3_bind_int64(s->put, 3, th_crc32c(0, w->packed.data, w->packed.len));
        th_sqlite_bind_blob(s->put, 4, th_buffer_view(&w->packed));
        done = th_sqlite_run(&w->db, s->put, "write to", &w->error);
        from += n;
        count -= n;
        s->rows++;
        (*counter)++;
    }
    return done;
}

/* Runs of consecutive offsets from `from` on. */
static bool put_runs(struct th_sqlite_writer *w, struct stream *s, uint32_t stream, size_t from,
                     _Atomic uint64_t *counter)
{
    bool done = true;
    while (done && from < s->count) {
        size_t end = from + 1;
        while (end < s->count && s->offsets[end] == s->offsets[end - 1] + 1) {
            end++;
        }
        done = put_rows(w, s, stream, from, end - from, counter);
        from = end;
    }
    return done;
}

static bool put_inbox(struct th_sqlite_writer *w, struct partition *p, uint32_t stream)
{
    size_t from = 0;
    while (from < p->inbox.count && p->inbox.offsets[from] < p->now.inbox_start) {
        from++;
    }
    if (from > 0) {
        p->dirty = true; /* no row tells the end then */
        w->options.counters->sends_skipped += from;
    }
    return put_runs(w, &p->inbox, stream, from, &w->options.counters->inbox_rows);
}

static bool delete_below(struct th_sqlite_writer *w, struct stream *s, uint32_t stream,
                         int64_t start, bool now)
{
    if (start <= s->deleted || !(now || s->rows >= ROWS_BEFORE_TRIM)) {
        return true;
    }
    sqlite3_bind_int64(s->trim, 1, th_sqlite_key(stream, 0));
    sqlite3_bind_int64(s->trim, 2, th_sqlite_key(stream, start));
    s->deleted = start;
    s->rows = 0;
    return th_sqlite_run(&w->db, s->trim, "write to", &w->error);
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
    return full(w, p) && put_runs(w, &p->log, stream, 0, &w->options.counters->log_rows) &&
           put_inbox(w, p, stream) && delete_below(w, &p->log, stream, p->now.log_start, trim) &&
           delete_below(w, &p->inbox, stream, p->now.inbox_start, trim) &&
           (!p->dirty || save(w, p, stream));
}

static bool write_batch(struct th_sqlite_writer *w, bool trim)
{
    bool done = enter(w);
    for (uint32_t i = 0; done && i < w->hub.record.partitions; i++) {
        struct partition *p = &w->partitions[i];
        done = !(p->touched || p->dirty || trim) || write_partition(w, p, trim);
    }
    return done && leave(w);
}

/* ---- the end of a batch ---- */

static void settle(struct partition *p, bool committed, bool written)
{
    if (p->touched && !committed) {
        p->now = p->before;
    }
    if (!committed) {
        p->log.deleted = p->inbox.deleted = 0;
    } else if (written) {
        p->dirty = false;
    }
    p->touched = false;
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

/* Completions go to the node, openings of inboxes to the reader, trims nowhere. */
static void hand_on(struct th_sqlite_writer *w, struct th_link *items, bool failed)
{
    struct th_sqlite_list done;
    th_sqlite_list_init(&done);
    struct th_blob *why = failed ? th_sqlite_reason(w->error.message) : NULL;
    while (items) {
        struct th_sqlite_item *item = th_sqlite_item_of(items);
        items = items->next;
        if (item->kind == TH_ITEM_BACKLOG) {
            th_sqlite_reader_submit(w->options.reader, item);
        } else if (item->kind == TH_ITEM_TRIM_LOG || item->kind == TH_ITEM_TRIM_INBOX) {
            th_sqlite_item_free(item);
        } else {
            if (failed && item->code == TH_OK) {
                th_sqlite_item_fail(item, w->error.code, why);
            }
            th_sqlite_list_add(&done, &item->link);
        }
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
        if (p->dirty || p->log.deleted < p->now.log_start ||
            p->inbox.deleted < p->now.inbox_start) {
            return true;
        }
    }
    return false;
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
    static const char trim_log[] = "DELETE FROM log WHERE key>=?1 AND key<"
                                   "(SELECT max(key) FROM log WHERE key BETWEEN ?1 AND ?2)";
    static const char trim_inbox[] = "DELETE FROM inbox WHERE key>=?1 AND key<"
                                     "(SELECT max(key) FROM inbox WHERE key BETWEEN ?1 AND ?2)";
    static const char save_sql[] =
        "UPDATE partitions SET log_start=?2, log_end=?3, inbox_start=?4, inbox_end=?5,"
        " mark_offset=?6, mark_epoch=?7, mark_sequence=?8 WHERE stream=?1";
    return th_sqlite_prepare(db, "BEGIN IMMEDIATE", &w->begin, error) &&
           th_sqlite_prepare(db, "COMMIT", &w->commit, error) &&
           th_sqlite_prepare(db, "ROLLBACK", &w->rollback, error) &&
           th_sqlite_prepare(db, "INSERT INTO log VALUES(?1, ?2, ?3, ?4)", &w->put_log, error) &&
           th_sqlite_prepare(db, "INSERT INTO inbox VALUES(?1, ?2, ?3, ?4)", &w->put_inbox,
                             error) &&
           th_sqlite_prepare(db, trim_log, &w->trim_log, error) &&
           th_sqlite_prepare(db, trim_inbox, &w->trim_inbox, error) &&
           th_sqlite_prepare(db, save_sql, &w->save, error);
}

/* Raises *end to behind the last row of a log or inbox. */
static bool last_row(const struct th_sqlite_db *db, const char *sql, uint32_t stream, int64_t *end,
                     struct th_error *error)
{
    TH_SQLITE_STMT *s = NULL;
    if (!th_sqlite_prepare(db, sql, &s, error)) {
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
    return last_row(db,
                    "SELECT key, count FROM log WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC"
                    " LIMIT 1",
                    stream, &out->log_end, error) &&
           last_row(db,
                    "SELECT key, count FROM inbox WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC"
                    " LIMIT 1",
                    stream, &out->inbox_end, error);
}

static bool read_partitions(struct th_sqlite_writer *w, struct th_error *error)
{
    bool done = true;
    for (uint32_t i = 0; done && i < w->hub.record.partitions; i++) {
        struct partition *p = &w->partitions[i];
        p->log.put = w->put_log;
        p->log.trim = w->trim_log;
        p->inbox.put = w->put_inbox;
        p->inbox.trim = w->trim_inbox;
        done = read_state(&w->db, w->hub.base + i, &p->now, error);
    }
    return done;
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

static void stream_deinit(struct stream *s)
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
        stream_deinit(&w->partitions[i].log);
        stream_deinit(&w->partitions[i].inbox);
    }
    free(w->partitions);
    if (w->projector) {
        th_sqlite_projector_free(w->projector);
    }
    sqlite3_stmt **all[] = {&w->begin,   &w->commit,    &w->rollback, &w->save,
                            &w->put_log, &w->put_inbox, &w->trim_log, &w->trim_inbox};
    for (size_t i = 0; i < TH_COUNT(all); i++) {
        th_sqlite_finalize(all[i]);
    }
    th_sqlite_db_close(&w->db);
    th_buffer_deinit(&w->packed);
    th_blob_unref(w->refused);
    free(w->file);
    free(w);
}
