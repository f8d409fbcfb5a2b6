/*
 * writer: the only thread that writes. It takes everything submitted since its last look, makes
 * one transaction of it, commits, and hands the batch on as completions: while a commit waits for
 * the disk, the next batch gathers.
 *
 * Log offsets are given here; a failed batch gives its offsets back, so they stay dense. Inbox
 * offsets are given at submission, where the message is delivered; a failed batch leaves a hole
 * there.
 *
 * A failed batch breaks every partition until its next claim (sqlite.h says what is refused
 * then). All of them, because what was submitted later may rest on what was lost without being
 * about the same partition: a message may have been delivered, and answered, in memory. For the
 * same reason a refused send breaks its destination, which may be claimed again already.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "provider/provider.h"
#include "provider/sqlite/writer.h"

enum {
    BATCH_ITEMS = 8192,
    READ_RUNS = 4096,
    WAL_FRAMES = 4096, /* copied back into the database file from there on: 32 MiB */
};
#define BATCH_BYTES ((size_t)32 << 20)

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
    c->wal_bytes = (uint64_t)w->frames * TH_SQLITE_PAGE;
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

static bool write_batch(struct th_sqlite_writer *w, bool trim)
{
    return enter(w) && th_sqlite_store_write(w, trim) && leave(w);
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

/* ---- the end of a batch ---- */

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
    th_sqlite_store_settle(w, good, w->needed);
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
    th_sqlite_store_settle(w, good, true);
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
        th_time deadline = th_sqlite_store_untidy(w) ? th_monotonic() + TH_SECOND : TH_TIME_NONE;
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
        } else if (th_sqlite_store_untidy(w)) {
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
    return th_sqlite_prepare(&w->db, "BEGIN IMMEDIATE", &w->begin, error) &&
           th_sqlite_prepare(&w->db, "COMMIT", &w->commit, error) &&
           th_sqlite_prepare(&w->db, "ROLLBACK", &w->rollback, error);
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
    return w->projector && prepare(w, error) && th_sqlite_store_open(w, error);
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

void th_sqlite_writer_free(struct th_sqlite_writer *w)
{
    if (w->started) {
        w->stopping = true;
        th_queue_wake(&w->queue);
        pthread_join(w->thread, NULL);
    }
    th_sqlite_items_free(th_queue_take(&w->queue));
    th_queue_deinit(&w->queue);
    th_sqlite_store_close(w);
    free(w->partitions);
    if (w->projector) {
        th_sqlite_projector_free(w->projector);
    }
    th_sqlite_finalize(&w->begin);
    th_sqlite_finalize(&w->commit);
    th_sqlite_finalize(&w->rollback);
    th_sqlite_db_close(&w->db);
    th_blob_unref(w->refused);
    free(w->file);
    free(w);
}
