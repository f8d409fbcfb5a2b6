/*
 * store: a batch's records and messages into their tables, and trimmed ones out of them.
 *
 * The records that one batch appends to one partition become one row (pack.c), and so do the
 * messages of one inbox. Messages that a trim in the same batch covers are not written.
 *
 * What trims leave behind is deleted in runs of rows, and the bounds are written along with other
 * work, at the latest after a second without any. The last row of a log or inbox always stays:
 * with `partitions` it says where the next offset is.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/sqlite/writer.h"

enum {
    ROWS_BEFORE_TRIM = 256, /* of all logs together */
    INBOX_ROWS_BEFORE_TRIM = 32,
};
#define BYTES_BEFORE_TRIM ((size_t)8 << 20) /* or so much, whichever comes first */

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

bool th_sqlite_store_write(struct th_sqlite_writer *w, bool trim)
{
    bool done = true;
    for (uint32_t i = 0; done && i < w->hub.record.partitions; i++) {
        struct partition *p = &w->partitions[i];
        done = !(p->touched || p->dirty || trim) || write_partition(w, p, trim);
    }
    return done && trim_logs(w, trim);
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

void th_sqlite_store_settle(struct th_sqlite_writer *w, bool committed, bool written)
{
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        settle(&w->partitions[i], committed, written);
    }
    if (w->packed.capacity > 4 * TH_SQLITE_PACK_BYTES) {
        th_buffer_deinit(&w->packed); /* do not keep what one huge record needed */
        w->packed = (struct th_buffer){0};
    }
}

bool th_sqlite_store_untidy(const struct th_sqlite_writer *w)
{
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        const struct partition *p = &w->partitions[i];
        if (p->dirty || p->inbox_deleted < p->now.inbox_start) {
            return true;
        }
    }
    return droppable(w) > 0;
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
    return th_sqlite_prepare(db, put_log_sql, &w->put_log, error) &&
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

static void gathered_deinit(struct gathered *s)
{
    free(s->items);
    free(s->offsets);
}

bool th_sqlite_store_open(struct th_sqlite_writer *w, struct th_error *error)
{
    return prepare(w, error) && read_partitions(w, error);
}

void th_sqlite_store_close(struct th_sqlite_writer *w)
{
    for (uint32_t i = 0; i < w->hub.record.partitions; i++) {
        gathered_deinit(&w->partitions[i].log);
        gathered_deinit(&w->partitions[i].inbox);
        th_sqlite_runs_deinit(&w->partitions[i].runs);
    }
    sqlite3_stmt **all[] = {&w->save, &w->put_log, &w->put_inbox, &w->drop_log, &w->trim_inbox};
    for (size_t i = 0; i < TH_COUNT(all); i++) {
        th_sqlite_finalize(all[i]);
    }
    free(w->drops);
    th_buffer_deinit(&w->packed);
}
