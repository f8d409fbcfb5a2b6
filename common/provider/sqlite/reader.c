/*
 * reader: a thread with a connection of its own that answers one item after the other, each from
 * one snapshot. There are two of them: one for what partitions wait for, one for queries, which
 * may take long, and for copying the WAL back.
 */
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"
#include "provider/provider.h"
#include "provider/sqlite/internal.h"

enum { PIECE_RECORDS = 4096, CHECKPOINT_PASSES = 2 };
#define PIECE_BYTES ((size_t)4 << 20)

struct th_sqlite_reader {
    struct th_sqlite_db db;
    char *file;
    struct th_sqlite_hub_row hub;
    struct th_sqlite_outlet *outlet;
    struct th_sqlite_counters *counters;
    sqlite3_stmt *begin, *end, *partition, *log_row, *inbox, *load, *history, *values;
    struct th_queue queue;
    atomic_bool stopping;
    bool started;
    pthread_t thread;
};

/* ---- rows of instances; query.c uses these too ---- */

bool th_sqlite_value(const struct th_sqlite_db *db, sqlite3_stmt *values, sqlite3_stmt *statement,
                     int column, enum th_sqlite_value kind, struct th_blob **out,
                     struct th_error *error)
{
    *out = NULL;
    if (sqlite3_column_type(statement, column) != SQLITE_INTEGER) {
        *out = th_sqlite_column_blob(statement, column);
        return true;
    }
    int64_t row = sqlite3_column_int64(statement, TH_COLUMN_ROW);
    sqlite3_bind_int64(values, 1, row << TH_SQLITE_VALUE_BITS | (int64_t)kind);
    int result = sqlite3_step(values);
    if (result == SQLITE_ROW) {
        *out = th_sqlite_column_blob(values, 0);
    } else if (result == SQLITE_DONE) {
        th_fail(error, TH_CORRUPT, "a value of an instance is missing in %s", db->file);
    } else {
        th_sqlite_fail(error, db, "read");
    }
    sqlite3_reset(values);
    return result == SQLITE_ROW;
}

static struct th_str copy_text(sqlite3_stmt *statement, int column)
{
    struct th_str text = th_sqlite_column(statement, column);
    return (struct th_str){th_str_dup(text), text.len};
}

bool th_sqlite_row(const struct th_sqlite_db *db, sqlite3_stmt *values, sqlite3_stmt *statement,
                   struct th_row *out, struct th_error *error)
{
    *out = (struct th_row){
        .instance_id = copy_text(statement, TH_COLUMN_ID),
        .status = (enum th_status)sqlite3_column_int(statement, TH_COLUMN_STATUS),
        .created = th_sqlite_column_time(statement, TH_COLUMN_CREATED),
        .updated = th_sqlite_column_time(statement, TH_COLUMN_UPDATED),
        .completed = th_sqlite_column_time(statement, TH_COLUMN_COMPLETED),
        .last = (uint64_t)sqlite3_column_int64(statement, TH_COLUMN_LAST),
        .name = copy_text(statement, TH_COLUMN_NAME),
    };
    return th_sqlite_value(db, values, statement, TH_COLUMN_INFO, TH_VALUE_INFO, &out->info, error);
}

/* ---- partitions and packed rows ---- */

/* The bounds and the watermark of a partition, as they are stored. */
static bool read_state(struct th_sqlite_reader *r, uint32_t partition, struct th_watermark *mark,
                       int64_t *log_start, struct th_error *error)
{
    sqlite3_stmt *s = r->partition;
    sqlite3_bind_int64(s, 1, r->hub.base + partition);
    bool found = sqlite3_step(s) == SQLITE_ROW;
    if (found) {
        *log_start = sqlite3_column_int64(s, 0);
        *mark =
            (struct th_watermark){sqlite3_column_int64(s, 1), (uint64_t)sqlite3_column_int64(s, 2),
                                  (uint64_t)sqlite3_column_int64(s, 3)};
    } else {
        th_sqlite_fail(error, &r->db, "read");
    }
    sqlite3_reset(s);
    return found;
}

/* What a walk over packed rows does with each record; false ends it. */
struct walk {
    int64_t next; /* offset wanted next; afterwards, where to go on */
    int64_t to;
    size_t records, bytes;
    bool dense; /* a hole is damage */
    bool full;
    void (*take)(struct walk *walk, int64_t offset, struct th_str record);
    struct th_completion *out; /* log */
    size_t capacity;
    struct th_sqlite_list *list; /* inbox */
    const struct th_sqlite_item *opening;
};

static bool damaged(const struct th_sqlite_reader *r, int64_t offset, struct th_error *error)
{
    return th_fail(error, TH_CORRUPT,
                   "the records around offset %lld of a partition in %s are damaged: restore the "
                   "file from a copy",
                   (long long)offset, r->file);
}

static bool walk_row(struct th_sqlite_reader *r, struct walk *w, sqlite3_stmt *s,
                     struct th_error *error)
{
    int64_t offset = sqlite3_column_int64(s, 0) & TH_SQLITE_OFFSET_MAX;
    int64_t count = sqlite3_column_int64(s, 1);
    struct th_sqlite_pack_view view;
    if (!th_sqlite_unpack(&view, th_sqlite_column(s, 3), count,
                          (uint32_t)sqlite3_column_int64(s, 2)) ||
        (w->dense && offset > w->next)) {
        return damaged(r, offset, error);
    }
    for (; view.next < view.count && offset < w->to && !w->full; offset++) {
        struct th_str record = th_sqlite_packed_next(&view);
        if (offset >= w->next) {
            w->take(w, offset, record);
            w->next = offset + 1;
            w->bytes += record.len;
            w->full = ++w->records >= PIECE_RECORDS || w->bytes >= PIECE_BYTES;
        }
    }
    return true;
}

/* ---- READ ---- */

static void take_record(struct walk *w, int64_t offset, struct th_str record)
{
    struct th_completion *out = w->out;
    out->records =
        th_grow(out->records, &w->capacity, out->record_count + 1, sizeof(*out->records));
    out->records[out->record_count++] =
        (struct th_log_record){offset, th_blob_new(record.data, record.len)};
}

/* A row that is gone was trimmed since the writer named it, or is lost. */
static bool walk_run(struct th_sqlite_reader *r, uint32_t stream, const struct th_sqlite_run *run,
                     int64_t end, int64_t log_start, struct walk *w, struct th_error *error)
{
    sqlite3_bind_int64(r->log_row, 1, run->row);
    sqlite3_bind_int64(r->log_row, 2, stream);
    sqlite3_bind_int64(r->log_row, 3, run->first);
    int result = sqlite3_step(r->log_row);
    bool good;
    if (result == SQLITE_ROW) {
        good = walk_row(r, w, r->log_row, error);
    } else if (result == SQLITE_DONE) {
        good = end <= log_start || damaged(r, run->first, error);
        w->next = end;
    } else {
        good = th_sqlite_fail(error, &r->db, "read");
    }
    sqlite3_reset(r->log_row);
    return good;
}

/* The writer has set the bounds and the rows to look at. */
static bool read_log(struct th_sqlite_reader *r, struct th_sqlite_item *item,
                     struct th_completion *out, struct th_error *error)
{
    int64_t log_start;
    if (!read_state(r, item->partition, &out->watermark, &log_start, error)) {
        return false;
    }
    int64_t to = item->to;
    struct walk w = {
        .next = item->offset, .to = to, .dense = true, .take = take_record, .out = out};
    for (size_t i = 0; i < item->run_count && !w.full && w.next < to; i++) {
        int64_t end = i + 1 < item->run_count ? item->runs[i + 1].first : to;
        if (!walk_run(r, r->hub.base + item->partition, &item->runs[i], end, log_start, &w,
                      error)) {
            return false;
        }
    }
    if (item->run_count == 0 && w.next < to) {
        return damaged(r, w.next, error);
    }
    out->offset = w.next;
    out->last = w.next >= to && !item->partial;
    return true;
}

/* ---- BACKLOG ---- */

static bool walk_inbox(struct th_sqlite_reader *r, uint32_t stream, struct walk *w,
                       struct th_error *error)
{
    sqlite3_stmt *s = r->inbox;
    sqlite3_bind_int64(s, 1, th_sqlite_key(stream, 0));
    sqlite3_bind_int64(s, 2, th_sqlite_key(stream, w->next));
    sqlite3_bind_int64(s, 3, th_sqlite_key(stream, w->to));
    bool good = true;
    int result = SQLITE_DONE;
    while (good && !w->full && (result = sqlite3_step(s)) == SQLITE_ROW) {
        good = walk_row(r, w, s, error);
    }
    if (good && result != SQLITE_ROW && result != SQLITE_DONE) {
        good = th_sqlite_fail(error, &r->db, "read");
    }
    sqlite3_reset(s);
    return good;
}

static void take_message(struct walk *w, int64_t offset, struct th_str record)
{
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_DELIVER, w->opening->partition, 0);
    item->epoch = w->opening->epoch;
    item->offset = offset;
    item->blob = th_blob_new(record.data, record.len);
    th_sqlite_list_add(w->list, &item->link);
}

/* Deliveries of one piece, then the item itself, which says where the next piece begins. After a
 * failure a delivery carries the error, and the inbox stays where it is. */
static void read_backlog(struct th_sqlite_reader *r, struct th_sqlite_item *item)
{
    struct th_sqlite_list list;
    th_sqlite_list_init(&list);
    struct walk w = {.next = item->offset < 0 ? 0 : item->offset,
                     .to = item->to,
                     .take = take_message,
                     .list = &list,
                     .opening = item};
    struct th_error error = {0};
    if (w.next < w.to && !walk_inbox(r, r->hub.base + item->partition, &w, &error)) {
        item->kind = TH_ITEM_DELIVER;
        item->offset = w.next;
        item->code = error.code;
        item->why = th_sqlite_reason(error.message);
    } else {
        item->offset = w.full ? w.next : item->to;
    }
    th_sqlite_list_add(&list, &item->link);
    th_sqlite_outlet_put(r->outlet, &list);
}

/* ---- LOAD ---- */

static bool add_chunks(const struct th_sqlite_reader *r, struct th_str packed, struct th_row *row,
                       size_t *capacity, struct th_error *error)
{
    struct th_blob **history = (struct th_blob **)row->history;
    size_t at = 0;
    while (at < packed.len) {
        uint32_t len;
        if (packed.len - at < sizeof(len)) {
            break;
        }
        memcpy(&len, packed.data + at, sizeof(len));
        len = le32toh(len);
        at += sizeof(len);
        if (len > packed.len - at) {
            break;
        }
        history = th_grow(history, capacity, row->history_count + 1, sizeof(*history));
        history[row->history_count++] = th_blob_new(packed.data + at, len);
        row->history = history;
        at += len;
    }
    return at == packed.len || th_fail(error, TH_CORRUPT, "the history of %.*s in %s is damaged",
                                       TH_PRI(row->instance_id), r->file);
}

static bool read_history(struct th_sqlite_reader *r, sqlite3_stmt *found, struct th_row *row,
                         struct th_error *error)
{
    int64_t key = sqlite3_column_int64(found, TH_COLUMN_ROW) << TH_SQLITE_CHUNK_BITS;
    int64_t chunks = sqlite3_column_int64(found, TH_COLUMNS + 3);
    size_t capacity = 0;
    bool good = true;
    int64_t seen = 0;
    int result = SQLITE_DONE;
    sqlite3_bind_int64(r->history, 1, key);
    sqlite3_bind_int64(r->history, 2, key + chunks);
    while (good && chunks > 0 && (result = sqlite3_step(r->history)) == SQLITE_ROW) {
        seen++;
        good = add_chunks(r, th_sqlite_column(r->history, 0), row, &capacity, error);
    }
    if (good && result != SQLITE_DONE) {
        good = th_sqlite_fail(error, &r->db, "read");
    } else if (good && seen != chunks) {
        good = th_fail(error, TH_CORRUPT, "the history of %.*s in %s has lost parts",
                       TH_PRI(row->instance_id), r->file);
    }
    sqlite3_reset(r->history);
    return good && add_chunks(r, th_sqlite_column(found, TH_COLUMNS + 4), row, &capacity, error);
}

static bool read_instance(struct th_sqlite_reader *r, sqlite3_stmt *s, bool history,
                          struct th_completion *out, struct th_error *error)
{
    out->rows = TH_NEW(struct th_row);
    out->row_count = 1;
    struct th_row *row = out->rows;
    return th_sqlite_row(&r->db, r->values, s, row, error) &&
           th_sqlite_value(&r->db, r->values, s, TH_COLUMNS, TH_VALUE_STATE, &row->state, error) &&
           th_sqlite_value(&r->db, r->values, s, TH_COLUMNS + 1, TH_VALUE_INPUT, &row->input,
                           error) &&
           th_sqlite_value(&r->db, r->values, s, TH_COLUMNS + 2, TH_VALUE_OUTPUT, &row->output,
                           error) &&
           (!history || read_history(r, s, row, error));
}

static bool load(struct th_sqlite_reader *r, struct th_sqlite_item *item, struct th_completion *out,
                 struct th_error *error)
{
    int64_t log_start;
    if (!read_state(r, item->partition, &out->watermark, &log_start, error)) {
        return false;
    }
    sqlite3_bind_int64(r->load, 1, r->hub.base + item->partition);
    th_sqlite_bind_str(r->load, 2, th_str_n(item->instance_id, item->instance_id_len));
    bool good = false;
    switch (sqlite3_step(r->load)) {
    case SQLITE_ROW:
        good = read_instance(r, r->load, item->history, out, error);
        break;
    case SQLITE_DONE:
        th_fail(error, TH_NOT_FOUND, "there is no instance %.*s", (int)item->instance_id_len,
                item->instance_id);
        break;
    default:
        th_sqlite_fail(error, &r->db, "read");
    }
    sqlite3_reset(r->load);
    sqlite3_clear_bindings(r->load);
    return good;
}

/* ---- the thread ---- */

static bool respond(struct th_sqlite_reader *r, struct th_sqlite_item *item,
                    struct th_completion *out, struct th_error *error)
{
    switch (item->kind) {
    case TH_ITEM_READ:
        return read_log(r, item, out, error);
    case TH_ITEM_LOAD:
        return load(r, item, out, error);
    case TH_ITEM_QUERY:
        return th_sqlite_query(&r->db, r->hub.hub, r->values, &item->question->query, out, error);
    default:
        return th_fail(error, TH_INTERNAL, "no such read");
    }
}

/* A failed answer says nothing but the failure; except the watermark, which makes an absence
 * believable. */
static void clear(struct th_completion *out, struct th_error *error)
{
    struct th_watermark mark = out->watermark;
    th_completion_deinit(out);
    out->watermark = mark;
    out->error = *error;
}

static void answer(struct th_sqlite_reader *r, struct th_sqlite_item *item)
{
    struct th_error error = {0};
    if (!item->answer) {
        item->answer = TH_NEW(struct th_completion);
    }
    bool good = th_sqlite_run(&r->db, r->begin, "read", &error);
    if (good) {
        good = respond(r, item, item->answer, &error);
        sqlite3_step(r->end);
        sqlite3_reset(r->end);
    }
    if (!good) {
        clear(item->answer, &error);
    }
    th_sqlite_outlet_put_one(r->outlet, item);
}

/* The writer goes on meanwhile; the second pass leaves it little to finish. */
static void checkpoint(struct th_sqlite_reader *r)
{
    for (int i = 0; i < CHECKPOINT_PASSES; i++) {
        sqlite3_wal_checkpoint_v2(r->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    r->counters->checkpoint = TH_CHECKPOINT_COPIED;
}

static void handle(struct th_sqlite_reader *r, struct th_sqlite_item *item)
{
    if (r->stopping) {
        th_sqlite_item_free(item);
    } else if (item->kind == TH_ITEM_CHECKPOINT) {
        checkpoint(r);
        th_sqlite_item_free(item);
    } else if (item->kind == TH_ITEM_BACKLOG) {
        read_backlog(r, item);
    } else {
        answer(r, item);
    }
}

static void *reader_main(void *argument)
{
    struct th_sqlite_reader *r = argument;
    pthread_setname_np(pthread_self(), "sqlite-reader");
    while (!r->stopping) {
        struct th_link *items = th_queue_wait(&r->queue, TH_TIME_NONE);
        while (items) {
            struct th_link *next = items->next;
            handle(r, th_sqlite_item_of(items));
            items = next;
        }
    }
    return NULL;
}

/* ---- opening and closing ---- */

static bool prepare(struct th_sqlite_reader *r, struct th_error *error)
{
    const struct th_sqlite_db *db = &r->db;
    return th_sqlite_prepare(db, "BEGIN", &r->begin, error) &&
           th_sqlite_prepare(db, "COMMIT", &r->end, error) &&
           th_sqlite_prepare(db,
                             "SELECT first, count, crc, records FROM log"
                             " WHERE row=?1 AND stream=?2 AND first=?3",
                             &r->log_row, error) &&
           th_sqlite_prepare(db,
                             "SELECT key, count, crc, records FROM inbox WHERE key<?3 AND key>="
                             "coalesce((SELECT max(key) FROM inbox WHERE key BETWEEN ?1 AND ?2),"
                             " ?2) ORDER BY key",
                             &r->inbox, error) &&
           th_sqlite_prepare(db,
                             "SELECT log_start, mark_offset, mark_epoch, mark_sequence"
                             " FROM partitions WHERE stream=?1",
                             &r->partition, error) &&
           th_sqlite_prepare(db,
                             "SELECT " TH_SQLITE_COLUMNS ", state, input, output, chunks, history"
                             " FROM instances WHERE stream=?1 AND id=?2",
                             &r->load, error) &&
           th_sqlite_prepare(db, "SELECT chunks FROM history WHERE key>=?1 AND key<?2 ORDER BY key",
                             &r->history, error) &&
           th_sqlite_prepare(db, "SELECT bytes FROM long_values WHERE key=?1", &r->values, error);
}

struct th_sqlite_reader *th_sqlite_reader_new(const struct th_sqlite_hub_row *hub, const char *file,
                                              const char *vfs, struct th_sqlite_outlet *outlet,
                                              struct th_sqlite_counters *counters,
                                              struct th_error *error)
{
    struct th_sqlite_reader *r = TH_NEW(struct th_sqlite_reader);
    r->hub = *hub;
    r->file = th_str_dup(th_str_of(file));
    r->outlet = outlet;
    r->counters = counters;
    th_queue_init(&r->queue);
    if (!th_sqlite_db_open(&r->db, r->file, vfs, TH_SQLITE_EXISTING, error) || !prepare(r, error)) {
        th_sqlite_reader_free(r);
        return NULL;
    }
    r->started = pthread_create(&r->thread, NULL, reader_main, r) == 0;
    if (!r->started) {
        th_fail(error, TH_UNAVAILABLE, "cannot start a thread");
        th_sqlite_reader_free(r);
        return NULL;
    }
    return r;
}

void th_sqlite_reader_submit(struct th_sqlite_reader *r, struct th_sqlite_item *item)
{
    th_queue_push(&r->queue, &item->link);
}

void th_sqlite_reader_free(struct th_sqlite_reader *r)
{
    if (r->started) {
        r->stopping = true;
        sqlite3_interrupt(r->db.handle);
        th_queue_wake(&r->queue);
        pthread_join(r->thread, NULL);
        /* An interrupt stays until a statement runs; it would stop the checkpoint at closing. */
        sqlite3_exec(r->db.handle, "SELECT 1", NULL, NULL, NULL);
    }
    th_sqlite_items_free(th_queue_take(&r->queue));
    th_queue_deinit(&r->queue);
    sqlite3_stmt **all[] = {&r->begin, &r->end,  &r->partition, &r->log_row,
                            &r->inbox, &r->load, &r->history,   &r->values};
    for (size_t i = 0; i < TH_COUNT(all); i++) {
        th_sqlite_finalize(all[i]);
    }
    th_sqlite_db_close(&r->db);
    free(r->file);
    free(r);
}
