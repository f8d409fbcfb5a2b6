/*
 * database: one connection. SQLite keeps no promise between threads here (NOMUTEX): a connection
 * is used by one thread at a time. Every failure becomes a th_error that names the file.
 *
 * The tables:
 *   hubs        name → hub number, incarnation, streams
 *   partitions  per stream: what the log and the inbox hold, and the projection's watermark
 *   log         packed records of all partitions, in the order of writing (runs.c)
 *   inbox       packed messages; the key is stream and first offset (internal.h)
 *   instances   the projection; rows are numbered in order of arrival, so that instances that run
 *               at the same time share pages; short histories lie in the row itself
 *   history     what no longer fits there, keyed by row and chunk
 *   long_values infos, states, inputs and outputs that are long, keyed by row and which
 * Text is compared bytewise. The index `listing` covers what queries filter by, so that a row is
 * read only when it is part of the answer.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "provider/sqlite/internal.h"

static const char schema[] =
    "CREATE TABLE hubs(hub INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " incarnation INTEGER NOT NULL, partitions INTEGER NOT NULL, base INTEGER NOT NULL,"
    " created INTEGER NOT NULL);"
    "CREATE TABLE partitions(stream INTEGER PRIMARY KEY, log_start INTEGER NOT NULL,"
    " log_end INTEGER NOT NULL, inbox_start INTEGER NOT NULL, inbox_end INTEGER NOT NULL,"
    " mark_offset INTEGER NOT NULL, mark_epoch INTEGER NOT NULL, mark_sequence INTEGER NOT NULL);"
    "CREATE TABLE log(row INTEGER PRIMARY KEY, stream INTEGER NOT NULL, first INTEGER NOT NULL,"
    " count INTEGER NOT NULL, crc INTEGER NOT NULL, records BLOB NOT NULL);"
    "CREATE TABLE inbox(key INTEGER PRIMARY KEY, count INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " records BLOB NOT NULL);"
    "CREATE TABLE instances(row INTEGER PRIMARY KEY, hub INTEGER NOT NULL,"
    " stream INTEGER NOT NULL, status INTEGER NOT NULL, created INTEGER, updated INTEGER,"
    " completed INTEGER, last INTEGER NOT NULL, chunks INTEGER NOT NULL, id TEXT NOT NULL,"
    " name TEXT, info BLOB, state BLOB, history BLOB, input BLOB, output BLOB);"
    "CREATE UNIQUE INDEX instance ON instances(stream, id);"
    "CREATE INDEX listing ON instances(hub, created, id, status, completed, name);"
    "CREATE TABLE history(key INTEGER PRIMARY KEY, chunks BLOB NOT NULL);"
    "CREATE TABLE long_values(key INTEGER PRIMARY KEY, bytes BLOB NOT NULL);";

/* ---- errors ---- */

enum th_code th_sqlite_code(int result)
{
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_FULL: /* until somebody makes room */
        return TH_UNAVAILABLE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return TH_CORRUPT;
    case SQLITE_TOOBIG:
        return TH_TOO_LARGE;
    case SQLITE_INTERRUPT:
        return TH_CANCELED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOLFS:
        return TH_IO;
    default:
        return TH_INTERNAL;
    }
}

/* What a person should do about it; SQLite's own words say only what happened. */
static const char *advice(int result)
{
    switch (result & 0xff) {
    case SQLITE_NOTADB:
        return ": choose another file, or move this one away";
    case SQLITE_CORRUPT:
        return ": restore the file from a copy";
    case SQLITE_FULL:
        return ": make room on its disk";
    case SQLITE_BUSY:
        return ": another process keeps it locked";
    default:
        return "";
    }
}

bool th_sqlite_fail(struct th_error *error, const struct th_sqlite_db *db, const char *what)
{
    int result = db->handle ? sqlite3_extended_errcode(db->handle) : SQLITE_NOMEM;
    int system = db->handle ? sqlite3_system_errno(db->handle) : 0;
    bool tell = system && th_sqlite_code(result) == TH_IO;
    return th_fail(error, th_sqlite_code(result), "cannot %s %s: %s%s%s%s%s", what, db->file,
                   db->handle ? sqlite3_errmsg(db->handle) : "out of memory", tell ? " (" : "",
                   tell ? strerror(system) : "", tell ? ")" : "", advice(result));
}

/* ---- statements ---- */

bool th_sqlite_exec(const struct th_sqlite_db *db, const char *sql, struct th_error *error)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ||
           th_sqlite_fail(error, db, "use");
}

bool th_sqlite_prepare(const struct th_sqlite_db *db, const char *sql, sqlite3_stmt **out,
                       struct th_error *error)
{
    return sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) ==
               SQLITE_OK ||
           th_sqlite_fail(error, db, "use");
}

void th_sqlite_finalize(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
    *statement = NULL;
}

bool th_sqlite_run(const struct th_sqlite_db *db, sqlite3_stmt *statement, const char *what,
                   struct th_error *error)
{
    int result = sqlite3_step(statement);
    bool done = result == SQLITE_DONE || result == SQLITE_ROW || th_sqlite_fail(error, db, what);
    sqlite3_reset(statement);
    return done;
}

/* SQLite gives a null pointer for an empty value that is present. */
struct th_str th_sqlite_column(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL) {
        return TH_STR_ABSENT;
    }
    const char *data = sqlite3_column_blob(statement, column);
    return th_str_n(data ? data : "", (size_t)sqlite3_column_bytes(statement, column));
}

struct th_blob *th_sqlite_column_blob(sqlite3_stmt *statement, int column)
{
    struct th_str bytes = th_sqlite_column(statement, column);
    return th_str_present(bytes) ? th_blob_new(bytes.data, bytes.len) : NULL;
}

void th_sqlite_bind_str(sqlite3_stmt *statement, int index, struct th_str text)
{
    sqlite3_bind_text64(statement, index, text.data, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

void th_sqlite_bind_blob(sqlite3_stmt *statement, int index, struct th_str bytes)
{
    sqlite3_bind_blob64(statement, index, bytes.data, bytes.len, SQLITE_STATIC);
}

void th_sqlite_bind_time(sqlite3_stmt *statement, int index, th_time t)
{
    if (t == TH_TIME_NONE) {
        sqlite3_bind_null(statement, index);
    } else {
        sqlite3_bind_int64(statement, index, t);
    }
}

th_time th_sqlite_column_time(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? TH_TIME_NONE
               : sqlite3_column_int64(statement, column);
}

/* ---- opening ---- */

static bool number(const struct th_sqlite_db *db, const char *sql, int64_t *out,
                   struct th_error *error)
{
    TH_SQLITE_STMT *statement = NULL;
    if (!th_sqlite_prepare(db, sql, &statement, error)) {
        return false;
    }
    if (sqlite3_step(statement) != SQLITE_ROW) {
        return th_sqlite_fail(error, db, "read");
    }
    *out = sqlite3_column_int64(statement, 0);
    return true;
}

/* page_size must stand before the first table, WAL before the first commit of ours. */
static bool create_tables(const struct th_sqlite_db *db, struct th_error *error)
{
    TH_BUFFER sql = {0};
    th_buffer_format(&sql, "%s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;%c", schema,
                     TH_SQLITE_APPLICATION, TH_SQLITE_SCHEMA, 0);
    return th_sqlite_exec(db, sql.data, error);
}

static bool create_schema(const struct th_sqlite_db *db, struct th_error *error)
{
    if (!th_sqlite_exec(db, "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE", error)) {
        return false;
    }
    int64_t version = 0; /* another process may have been quicker */
    bool done = number(db, "PRAGMA user_version", &version, error) &&
                (version != 0 ? th_sqlite_exec(db, "COMMIT", error) : create_tables(db, error));
    if (!done) {
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    return done;
}

/* A hub of one partition does not depend on where instances are placed; others are as they were
 * made. */
static bool take_over(const struct th_sqlite_db *db, struct th_error *error)
{
    int64_t spread = 0;
    TH_BUFFER sql = {0};
    if (!number(db, "SELECT count(*) FROM hubs WHERE partitions>1", &spread, error)) {
        return false;
    }
    if (spread > 0) {
        return th_fail(error, TH_PRECONDITION,
                       "%s holds hubs of several partitions, made by a version that places "
                       "instances in another way: let that version bring them to their end",
                       db->file);
    }
    th_buffer_format(&sql, "PRAGMA user_version=%d%c", TH_SQLITE_SCHEMA, 0);
    return th_sqlite_exec(db, sql.data, error);
}

static bool check_schema(const struct th_sqlite_db *db, enum th_sqlite_mode mode,
                         struct th_error *error)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t tables = 0;
    if (!number(db, "PRAGMA application_id", &application, error) ||
        !number(db, "PRAGMA user_version", &version, error) ||
        !number(db, "SELECT count(*) FROM sqlite_master", &tables, error)) {
        return false;
    }
    if (application == 0 && version == 0 && tables == 0) {
        return mode == TH_SQLITE_CREATE
                   ? create_schema(db, error)
                   : th_fail(error, TH_NOT_FOUND, "there is no hub in %s", db->file);
    }
    if (application != TH_SQLITE_APPLICATION) {
        return th_fail(error, TH_PRECONDITION,
                       "%s is the database of another application: choose another file", db->file);
    }
    if (version > TH_SQLITE_SCHEMA) {
        return th_fail(error, TH_UNSUPPORTED,
                       "%s was written by a newer version (schema %lld, this program knows %d): "
                       "use that version",
                       db->file, (long long)version, TH_SQLITE_SCHEMA);
    }
    return version == TH_SQLITE_SCHEMA || take_over(db, error);
}

static bool configure(const struct th_sqlite_db *db, struct th_error *error)
{
    sqlite3_busy_timeout(db->handle, 10000);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_wal_autocheckpoint(db->handle, 0); /* writer.c and reader.c do it */
    TH_BUFFER sql = {0};
    th_buffer_format(&sql,
                     "PRAGMA page_size=%d; PRAGMA synchronous=FULL; PRAGMA mmap_size=0;"
                     "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-1024;"
                     "PRAGMA trusted_schema=OFF%c",
                     TH_SQLITE_PAGE, 0);
    return th_sqlite_exec(db, sql.data, error);
}

/* SQLite writes a "-wal" of a file that is none at its first use; do not even try. */
static bool exists(const char *file, enum th_sqlite_mode mode, struct th_error *error)
{
    if (mode == TH_SQLITE_CREATE || access(file, F_OK) == 0) {
        return true;
    }
    return th_fail(error, errno == ENOENT ? TH_NOT_FOUND : TH_IO, "cannot open %s: %s", file,
                   strerror(errno));
}

bool th_sqlite_db_open(struct th_sqlite_db *db, const char *file, const char *vfs,
                       enum th_sqlite_mode mode, struct th_error *error)
{
    *db = (struct th_sqlite_db){.file = file};
    if (!exists(file, mode, error)) {
        return false;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                (mode == TH_SQLITE_CREATE ? SQLITE_OPEN_CREATE : 0);
    bool opened = sqlite3_open_v2(file, &db->handle, flags, vfs) == SQLITE_OK ||
                  th_sqlite_fail(error, db, "open");
    if (opened && configure(db, error) && check_schema(db, mode, error)) {
        return true;
    }
    th_sqlite_db_close(db);
    return false;
}

void th_sqlite_db_close(struct th_sqlite_db *db)
{
    sqlite3_close(db->handle);
    db->handle = NULL;
}
