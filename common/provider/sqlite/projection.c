/*
 * projection: one instance's row, written or dropped.
 *
 * The old row is found first: its number keys everything else, its columns say what has changed.
 * A change that leaves the listed columns alone touches no index. A history grows inside the row
 * until it is INLINE_HISTORY long; then what has gathered becomes one row of `history`. So a short
 * history costs one row write per change, a long one a row of its own every few kilobytes, and
 * never a rewrite of what is old. Stored chunks are (4 bytes length, bytes), so they come back as
 * they were given.
 */
#include <endian.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/sqlite/internal.h"

enum { INLINE_HISTORY = 2048, INLINE_VALUE = 1024, VALUES = 4 };

struct th_sqlite_projector {
    struct th_sqlite_db db; /* the writer's */
    struct th_sqlite_hub_row hub;
    sqlite3_stmt *find, *insert, *update, *update_listed, *erase;
    sqlite3_stmt *put_chunk, *drop_chunks, *put_value, *drop_value;
    struct th_buffer history;
};

/* The parameters of insert and of both updates. */
enum {
    P_HUB = 1,
    P_STREAM,
    P_ID,
    P_STATUS,
    P_CREATED,
    P_UPDATED,
    P_COMPLETED,
    P_LAST,
    P_CHUNKS,
    P_NAME,
    P_HISTORY,
    P_VALUES, /* info, state, input, output */
    P_ROW = P_VALUES + VALUES
};

static const char sql_find[] =
    "SELECT row, status, created, completed, name, chunks, history, info, state, input, output"
    " FROM instances WHERE stream=?1 AND id=?2";
static const char sql_insert[] =
    "INSERT INTO instances(hub, stream, id, status, created, updated, completed, last, chunks,"
    " name, history, info, state, input, output)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
#define SQL_UPDATE                                                                           \
    "UPDATE instances SET updated=?6, last=?8, chunks=?9, history=?11, info=?12, state=?13," \
    " input=?14, output=?15"
static const char sql_update[] = SQL_UPDATE " WHERE row=?16";
static const char sql_update_listed[] =
    SQL_UPDATE ", status=?4, created=?5, completed=?7, name=?10 WHERE row=?16";
_Static_assert(P_HISTORY == 11 && P_VALUES == 12 && P_ROW == 16, "as the texts above have it");

/* What is stored; for a new instance all zero. */
struct stored {
    int64_t row;
    bool exists, listed_same;
    int64_t chunks;
    bool is_long[VALUES];
    int64_t fingerprint[VALUES];
};

void th_sqlite_projector_free(struct th_sqlite_projector *p)
{
    sqlite3_stmt **all[] = {&p->find,      &p->insert,     &p->update,
                            &p->erase,     &p->put_chunk,  &p->drop_chunks,
                            &p->put_value, &p->drop_value, &p->update_listed};
    for (size_t i = 0; i < TH_COUNT(all); i++) {
        th_sqlite_finalize(all[i]);
    }
    th_buffer_deinit(&p->history);
    free(p);
}

struct th_sqlite_projector *th_sqlite_projector_new(const struct th_sqlite_db *db,
                                                    const struct th_sqlite_hub_row *hub,
                                                    struct th_error *error)
{
    struct th_sqlite_projector *p = TH_NEW(struct th_sqlite_projector);
    p->db = *db;
    p->hub = *hub;
    if (th_sqlite_prepare(db, sql_find, &p->find, error) &&
        th_sqlite_prepare(db, sql_insert, &p->insert, error) &&
        th_sqlite_prepare(db, sql_update, &p->update, error) &&
        th_sqlite_prepare(db, sql_update_listed, &p->update_listed, error) &&
        th_sqlite_prepare(db, "DELETE FROM instances WHERE row=?1", &p->erase, error) &&
        th_sqlite_prepare(db, "INSERT INTO history VALUES(?1, ?2)", &p->put_chunk, error) &&
        th_sqlite_prepare(db, "DELETE FROM history WHERE key BETWEEN ?1 AND ?2", &p->drop_chunks,
                          error) &&
        th_sqlite_prepare(db, "REPLACE INTO long_values VALUES(?1, ?2)", &p->put_value, error) &&
        th_sqlite_prepare(db, "DELETE FROM long_values WHERE key=?1", &p->drop_value, error)) {
        return p;
    }
    th_sqlite_projector_free(p);
    return NULL;
}

/* ---- finding ---- */

static bool same_listed(sqlite3_stmt *found, const struct th_row *row)
{
    struct th_str name = th_sqlite_column(found, 4);
    return sqlite3_column_int(found, 1) == (int)row->status &&
           th_sqlite_column_time(found, 2) == row->created &&
           th_sqlite_column_time(found, 3) == row->completed &&
           th_str_present(name) == th_str_present(row->name) && th_str_eq(name, row->name);
}

static void read_found(struct th_sqlite_projector *p, const struct th_row *row, struct stored *out)
{
    out->exists = true;
    out->row = sqlite3_column_int64(p->find, 0);
    out->listed_same = same_listed(p->find, row);
    out->chunks = sqlite3_column_int64(p->find, 5);
    if (!row->replace_history) {
        th_buffer_str(&p->history, th_sqlite_column(p->find, 6));
    }
    for (int i = 0; i < VALUES; i++) {
        if (sqlite3_column_type(p->find, 7 + i) == SQLITE_INTEGER) {
            out->is_long[i] = true;
            out->fingerprint[i] = sqlite3_column_int64(p->find, 7 + i);
        }
    }
}

static bool find(struct th_sqlite_projector *p, uint32_t stream, const struct th_row *row,
                 struct stored *out, struct th_error *error)
{
    *out = (struct stored){0};
    p->history.len = 0;
    sqlite3_bind_int64(p->find, 1, stream);
    th_sqlite_bind_str(p->find, 2, row->instance_id);
    int result = sqlite3_step(p->find);
    if (result == SQLITE_ROW) {
        read_found(p, row, out);
    }
    bool good =
        result == SQLITE_ROW || result == SQLITE_DONE || th_sqlite_fail(error, &p->db, "read");
    sqlite3_reset(p->find);
    return good;
}

/* ---- history ---- */

static int64_t chunk_key(int64_t row, int64_t chunk)
{
    return row << TH_SQLITE_CHUNK_BITS | chunk;
}

static bool drop_chunks(struct th_sqlite_projector *p, const struct stored *stored,
                        struct th_error *error)
{
    if (stored->chunks == 0) {
        return true;
    }
    sqlite3_bind_int64(p->drop_chunks, 1, chunk_key(stored->row, 0));
    sqlite3_bind_int64(p->drop_chunks, 2, chunk_key(stored->row + 1, 0) - 1);
    return th_sqlite_run(&p->db, p->drop_chunks, "write to", error);
}

static void gather_history(struct th_sqlite_projector *p, const struct th_row *row)
{
    for (size_t i = 0; i < row->history_count; i++) {
        uint32_t len = htole32((uint32_t)row->history[i]->len);
        th_buffer_add(&p->history, &len, sizeof(len));
        th_buffer_add(&p->history, row->history[i]->data, row->history[i]->len);
    }
}

/* Moves what has gathered out of the row. */
static bool put_chunk(struct th_sqlite_projector *p, int64_t row, int64_t chunk,
                      struct th_error *error)
{
    if (chunk >= INT64_C(1) << TH_SQLITE_CHUNK_BITS) {
        return th_fail(error, TH_TOO_LARGE, "an instance's history in %s is too long", p->db.file);
    }
    sqlite3_bind_int64(p->put_chunk, 1, chunk_key(row, chunk));
    th_sqlite_bind_blob(p->put_chunk, 2, th_buffer_view(&p->history));
    bool done = th_sqlite_run(&p->db, p->put_chunk, "write to", error);
    sqlite3_clear_bindings(p->put_chunk);
    return done;
}

/* ---- long values ---- */

static bool is_long(const struct th_blob *blob)
{
    return blob && blob->len > INLINE_VALUE;
}

/* Seeded per hub: nobody outside can make two values that look the same. */
static int64_t fingerprint(const struct th_sqlite_projector *p, const struct th_blob *blob)
{
    return (int64_t)th_hash(th_blob_view(blob), p->hub.record.incarnation ^ blob->len);
}

static void bind_value(const struct th_sqlite_projector *p, sqlite3_stmt *statement, int index,
                       const struct th_blob *blob)
{
    if (is_long(blob)) {
        sqlite3_bind_int64(statement, index, fingerprint(p, blob));
    } else if (blob) {
        th_sqlite_bind_blob(statement, index, th_blob_view(blob));
    } else {
        sqlite3_bind_null(statement, index);
    }
}

static bool drop_value(struct th_sqlite_projector *p, int64_t row, int kind, struct th_error *error)
{
    sqlite3_bind_int64(p->drop_value, 1, row << TH_SQLITE_VALUE_BITS | kind);
    return th_sqlite_run(&p->db, p->drop_value, "write to", error);
}

static bool put_value(struct th_sqlite_projector *p, const struct stored *stored, int kind,
                      const struct th_blob *blob, struct th_error *error)
{
    if (!is_long(blob)) {
        return !stored->is_long[kind] || drop_value(p, stored->row, kind, error);
    }
    if (stored->is_long[kind] && stored->fingerprint[kind] == fingerprint(p, blob)) {
        return true;
    }
    sqlite3_bind_int64(p->put_value, 1, stored->row << TH_SQLITE_VALUE_BITS | kind);
    th_sqlite_bind_blob(p->put_value, 2, th_blob_view(blob));
    bool done = th_sqlite_run(&p->db, p->put_value, "write to", error);
    sqlite3_clear_bindings(p->put_value);
    return done;
}

/* ---- rows ---- */

static bool erase(struct th_sqlite_projector *p, const struct stored *stored,
                  struct th_error *error)
{
    sqlite3_bind_int64(p->erase, 1, stored->row);
    bool done = th_sqlite_run(&p->db, p->erase, "write to", error) && drop_chunks(p, stored, error);
    for (int i = 0; done && i < VALUES; i++) {
        done = !stored->is_long[i] || drop_value(p, stored->row, i, error);
    }
    return done;
}

static void bind_row(struct th_sqlite_projector *p, sqlite3_stmt *s, uint32_t stream,
                     const struct th_row *row)
{
    sqlite3_bind_int64(s, P_HUB, p->hub.hub);
    sqlite3_bind_int64(s, P_STREAM, stream);
    th_sqlite_bind_str(s, P_ID, row->instance_id);
    sqlite3_bind_int(s, P_STATUS, (int)row->status);
    th_sqlite_bind_time(s, P_CREATED, row->created);
    th_sqlite_bind_time(s, P_UPDATED, row->updated);
    th_sqlite_bind_time(s, P_COMPLETED, row->completed);
    sqlite3_bind_int64(s, P_LAST, (int64_t)row->last);
    th_sqlite_bind_str(s, P_NAME, row->name);
    bind_value(p, s, P_VALUES + TH_VALUE_INFO, row->info);
    bind_value(p, s, P_VALUES + TH_VALUE_STATE, row->state);
    bind_value(p, s, P_VALUES + TH_VALUE_INPUT, row->input);
    bind_value(p, s, P_VALUES + TH_VALUE_OUTPUT, row->output);
}

/* Writes the row itself; `chunks` and `inlined` are its history columns. Sets stored->row. */
static bool put_row(struct th_sqlite_projector *p, uint32_t stream, const struct th_row *row,
                    struct stored *stored, int64_t chunks, struct th_str inlined,
                    struct th_error *error)
{
    sqlite3_stmt *s = !stored->exists       ? p->insert
                      : stored->listed_same ? p->update
                                            : p->update_listed;
    bind_row(p, s, stream, row);
    sqlite3_bind_int64(s, P_CHUNKS, chunks);
    th_sqlite_bind_blob(s, P_HISTORY, inlined);
    if (stored->exists) {
        sqlite3_bind_int64(s, P_ROW, stored->row);
    }
    bool done = th_sqlite_run(&p->db, s, "write to", error);
    if (!stored->exists) {
        stored->row = sqlite3_last_insert_rowid(p->db.handle);
    }
    sqlite3_clear_bindings(s);
    return done;
}

static bool put_values(struct th_sqlite_projector *p, const struct stored *stored,
                       const struct th_row *row, struct th_error *error)
{
    return put_value(p, stored, TH_VALUE_INFO, row->info, error) &&
           put_value(p, stored, TH_VALUE_STATE, row->state, error) &&
           put_value(p, stored, TH_VALUE_INPUT, row->input, error) &&
           put_value(p, stored, TH_VALUE_OUTPUT, row->output, error);
}

bool th_sqlite_projector_put(struct th_sqlite_projector *p, uint32_t partition,
                             const struct th_row *row, struct th_error *error)
{
    uint32_t stream = p->hub.base + partition;
    struct stored stored;
    if (!find(p, stream, row, &stored, error)) {
        return false;
    }
    if (row->deleted) {
        return !stored.exists || erase(p, &stored, error);
    }
    if (row->replace_history) {
        if (!drop_chunks(p, &stored, error)) {
            return false;
        }
        stored.chunks = 0;
    }
    gather_history(p, row);
    bool spill = p->history.len > INLINE_HISTORY;
    struct th_str inlined =
        spill || p->history.len == 0 ? TH_STR_ABSENT : th_buffer_view(&p->history);
    return put_row(p, stream, row, &stored, stored.chunks + spill, inlined, error) &&
           (!spill || put_chunk(p, stored.row, stored.chunks, error)) &&
           put_values(p, &stored, row, error);
}
