/*
 * internal: what the files of this folder share. Not for others.
 *
 *   database.c    a connection: opening, pragmas, schema, errors, prepared statements
 *   hub.c         hubs of a file               lock.c   one process per hub
 *   sqlite.c      the provider's table: submissions in, completions out (node's thread)
 *   outlet.c      completions on their way to the node's thread
 *   writer.c      the writer thread            store.c  its logs and inboxes
 *   projection.c  its rows of instances
 *   pack.c        many records in one row     runs.c   where a log's rows are
 *   reader.c      the reader and searcher threads            query.c  queries
 *
 * An item is one submission. It travels node → writer or reader → outlet → node, and becomes the
 * completion there; whoever holds it owns it, so its fields need no lock.
 */
#pragma once

#include <sqlite3.h>

#include "base/log.h"
#include "base/queue.h"
#include "provider/contract.h"
#include "provider/sqlite/sqlite.h"

/* "Thub" */
#define TH_SQLITE_APPLICATION 0x54687562
/* 2: instances are placed by TH_PLACEMENT 2. */
#define TH_SQLITE_SCHEMA 2

/* Of 4, 8 and 16 KiB: at 60,000 appends and 10,000 rows a second 8 takes a tenth less CPU than 4,
 * 16 gains nothing more, and a single append writes one page. */
#define TH_SQLITE_PAGE 8192

/* A message's place among all inboxes of a file: stream in the high bits, offset in the low ones.
 * At 60,000 messages a second 2^45 offsets last for 18 years. A stream is a partition of a hub. */
#define TH_SQLITE_OFFSET_BITS    45
#define TH_SQLITE_OFFSET_MAX     ((INT64_C(1) << TH_SQLITE_OFFSET_BITS) - 1)
#define TH_SQLITE_STREAMS        (UINT32_C(1) << 18)
#define TH_SQLITE_MAX_PARTITIONS 1024
#define TH_SQLITE_MAX_RECORD     ((size_t)512 << 20)

static inline int64_t th_sqlite_key(uint32_t stream, int64_t offset)
{
    return (int64_t)stream << TH_SQLITE_OFFSET_BITS | offset;
}

/* Keys of an instance's history chunks and long values, made of its row number. */
#define TH_SQLITE_CHUNK_BITS 22
#define TH_SQLITE_VALUE_BITS 2

/* ---- runs.c ---- */

/*
 * The rows of `log` lie in the order in which they were written, those of all partitions together:
 * a commit then fills a few pages at the table's end instead of one or more per partition. Where
 * each partition's records are is kept in memory, read at opening: 16 bytes per row that is not
 * trimmed. Writer's thread.
 */
struct th_sqlite_run {
    int64_t first; /* offset; up to the next run's */
    int64_t row;
};

struct th_sqlite_runs {
    struct th_sqlite_run *items;
    size_t first, end, capacity; /* items[first..end) */
};

size_t th_sqlite_runs_count(const struct th_sqlite_runs *runs);
void th_sqlite_runs_add(struct th_sqlite_runs *runs, int64_t first, int64_t row);
/* How many of the oldest lie wholly below `start`; never all of them. */
size_t th_sqlite_runs_below(const struct th_sqlite_runs *runs, int64_t start);
/* Those that hold offsets in [from, to), at most `max`; the caller frees *out. */
size_t th_sqlite_runs_copy(const struct th_sqlite_runs *runs, int64_t from, int64_t to, size_t max,
                           struct th_sqlite_run **out);
void th_sqlite_runs_deinit(struct th_sqlite_runs *runs);

/* ---- database.c ---- */

struct th_sqlite_db {
    sqlite3 *handle;
    const char *file; /* borrowed, for messages */
};

enum th_sqlite_mode { TH_SQLITE_CREATE, TH_SQLITE_EXISTING };

bool th_sqlite_db_open(struct th_sqlite_db *db, const char *file, const char *vfs,
                       enum th_sqlite_mode mode, struct th_error *error);
void th_sqlite_db_close(struct th_sqlite_db *db);
#define TH_SQLITE_DB __attribute__((cleanup(th_sqlite_db_close))) struct th_sqlite_db

enum th_code th_sqlite_code(int result);
/* Fills `error` from the connection's last error and returns false. `what`: "write to", … */
bool th_sqlite_fail(struct th_error *error, const struct th_sqlite_db *db, const char *what);
bool th_sqlite_exec(const struct th_sqlite_db *db, const char *sql, struct th_error *error);
/* One prepared statement per SQL text; `out` is NULL after a failure. */
bool th_sqlite_prepare(const struct th_sqlite_db *db, const char *sql, sqlite3_stmt **out,
                       struct th_error *error);
void th_sqlite_finalize(sqlite3_stmt **statement);
#define TH_SQLITE_STMT __attribute__((cleanup(th_sqlite_finalize))) sqlite3_stmt
/* Steps a statement that yields no rows and resets it. */
bool th_sqlite_run(const struct th_sqlite_db *db, sqlite3_stmt *statement, const char *what,
                   struct th_error *error);

struct th_str th_sqlite_column(sqlite3_stmt *statement, int column); /* until the next step */
struct th_blob *th_sqlite_column_blob(sqlite3_stmt *statement, int column); /* NULL stays NULL */
void th_sqlite_bind_str(sqlite3_stmt *statement, int index, struct th_str text);   /* borrowed */
void th_sqlite_bind_blob(sqlite3_stmt *statement, int index, struct th_str bytes); /* borrowed */
void th_sqlite_bind_time(sqlite3_stmt *statement, int index, th_time t); /* none is NULL */
th_time th_sqlite_column_time(sqlite3_stmt *statement, int column);

/* ---- lock.c ---- */

/* Takes the hub for this process; the descriptor to give to th_sqlite_unlock, or -1. */
int th_sqlite_lock(const char *file, const char *hub, struct th_error *error);
void th_sqlite_unlock(int lock);
void th_sqlite_lock_remove(const char *file, const char *hub); /* by its holder */

/* ---- hub.c ---- */

struct th_sqlite_hub_row {
    struct th_hub_record record;
    int64_t hub;
    uint32_t base; /* stream of partition 0 */
};

bool th_sqlite_find_hub(const struct th_sqlite_db *db, const char *name,
                        struct th_sqlite_hub_row *out, struct th_error *error);

/* ---- items ---- */

enum th_sqlite_kind {
    TH_ITEM_CLAIM,
    TH_ITEM_APPEND,
    TH_ITEM_SEND,
    TH_ITEM_PROJECT,
    TH_ITEM_TRIM_LOG,
    TH_ITEM_TRIM_INBOX,
    TH_ITEM_BACKLOG, /* inbox_open: read what is stored, from `offset` up to `to` */
    TH_ITEM_DELIVER,
    TH_ITEM_READ,
    TH_ITEM_LOAD,
    TH_ITEM_QUERY,
    TH_ITEM_STATE,
    TH_ITEM_CHECKPOINT, /* searcher only */
};

struct th_sqlite_rows {
    struct th_watermark previous, next;
    struct th_row *rows; /* th_row_copy */
    size_t count;
};

struct th_sqlite_question {
    struct th_query query; /* strings are heap copies */
};

struct th_sqlite_item {
    struct th_link link;
    enum th_sqlite_kind kind;
    enum th_code code;
    uint32_t partition; /* of a send: the destination */
    uint32_t source;
    uint64_t tag;
    uint64_t epoch; /* APPEND: the claim; BACKLOG, DELIVER: which opening of the inbox */
    int64_t offset; /* in or out, as the kind has it */
    int64_t to;
    struct th_blob *blob;
    struct th_blob *why; /* message of a failure, shared by all it failed */
    struct th_sqlite_rows *projection;
    struct th_sqlite_question *question;
    char *instance_id; /* LOAD */
    size_t instance_id_len;
    bool history;               /* LOAD: wanted */
    struct th_sqlite_run *runs; /* READ: where the records are, found by the writer */
    size_t run_count;
    bool partial;                 /* READ: `to` is nearer than asked for */
    struct th_completion *answer; /* READ, LOAD, QUERY, STATE: all but partition and tag */
};

static inline struct th_sqlite_item *th_sqlite_item_of(struct th_link *link)
{
    return (struct th_sqlite_item *)link; /* its first member */
}

struct th_sqlite_item *th_sqlite_item_new(enum th_sqlite_kind kind, uint32_t partition,
                                          uint64_t tag);
void th_sqlite_item_free(struct th_sqlite_item *item);
void th_sqlite_items_free(struct th_link *first);
void th_sqlite_item_fail(struct th_sqlite_item *item, enum th_code code, struct th_blob *why);
struct th_blob *th_sqlite_reason(const char *message);

/* ---- outlet.c ---- */

struct th_sqlite_list {
    struct th_link *first;
    struct th_link **last;
};

void th_sqlite_list_init(struct th_sqlite_list *list);
void th_sqlite_list_add(struct th_sqlite_list *list, struct th_link *link);
void th_sqlite_list_append(struct th_sqlite_list *list, struct th_sqlite_list *more); /* empties */

/* Any thread puts, the node's thread takes. The wake-up hook is called outside the lock. */
struct th_sqlite_outlet {
    const struct th_provider *provider;
    pthread_mutex_t mutex;
    struct th_sqlite_list items;
    bool drained; /* the node found nothing: wake it for the next */
};

void th_sqlite_outlet_init(struct th_sqlite_outlet *o, const struct th_provider *provider);
void th_sqlite_outlet_deinit(struct th_sqlite_outlet *o); /* frees what is in it */
void th_sqlite_outlet_put(struct th_sqlite_outlet *o, struct th_sqlite_list *items);
void th_sqlite_outlet_put_one(struct th_sqlite_outlet *o, struct th_sqlite_item *item);
/* Moves everything to `to`; remembers when that was nothing. */
void th_sqlite_outlet_take(struct th_sqlite_outlet *o, struct th_sqlite_list *to);

/* ---- pack.c ---- */

/* Rows stay below this many bytes unless one record alone is larger. */
#define TH_SQLITE_PACK_BYTES ((size_t)1 << 20)

/* How many of `records` go into the next row. */
size_t th_sqlite_pack_count(struct th_blob *const *records, size_t count);
void th_sqlite_pack(struct th_buffer *out, struct th_blob *const *records, size_t count);

/* A packed row under inspection: th_sqlite_unpack checks all of it, then th_sqlite_packed gives
 * record `index` of `count`, which point into the row. */
struct th_sqlite_pack_view {
    struct th_str bytes;
    size_t count;
    size_t next; /* index of the record at `position` */
    size_t position;
};
bool th_sqlite_unpack(struct th_sqlite_pack_view *view, struct th_str bytes, int64_t count,
                      uint32_t crc);
struct th_str th_sqlite_packed_next(struct th_sqlite_pack_view *view);

/* ---- projection.c: on the writer's connection and thread ---- */

struct th_sqlite_projector;

struct th_sqlite_projector *th_sqlite_projector_new(const struct th_sqlite_db *db,
                                                    const struct th_sqlite_hub_row *hub,
                                                    struct th_error *error);
void th_sqlite_projector_free(struct th_sqlite_projector *projector);
bool th_sqlite_projector_put(struct th_sqlite_projector *projector, uint32_t partition,
                             const struct th_row *row, struct th_error *error);

/* Where an instance's columns stand in the SELECTs of reader.c and query.c. */
#define TH_SQLITE_COLUMNS "row, id, status, created, updated, completed, last, name, info"
enum {
    TH_COLUMN_ROW,
    TH_COLUMN_ID,
    TH_COLUMN_STATUS,
    TH_COLUMN_CREATED,
    TH_COLUMN_UPDATED,
    TH_COLUMN_COMPLETED,
    TH_COLUMN_LAST,
    TH_COLUMN_NAME,
    TH_COLUMN_INFO,
    TH_COLUMNS
};

/* Long values live in a table of their own, so that they are written once and not with each
 * change of their instance; the column holds their fingerprint. */
enum th_sqlite_value { TH_VALUE_INFO, TH_VALUE_STATE, TH_VALUE_INPUT, TH_VALUE_OUTPUT };

/* ---- writer.c ---- */

/* Copying the WAL back: the writer asks, the searcher copies, the writer finishes. */
enum th_sqlite_checkpoint { TH_CHECKPOINT_NONE, TH_CHECKPOINT_ASKED, TH_CHECKPOINT_COPIED };

struct th_sqlite_counters {
    _Atomic uint64_t commits, failed_commits, commit_us, appends, sends, sends_skipped, rows,
        log_rows, inbox_rows, checkpoints, pages, wal_bytes;
    atomic_int checkpoint; /* enum th_sqlite_checkpoint */
};

struct th_sqlite_reader;

struct th_sqlite_writer_options {
    const struct th_sqlite_hub_row *hub; /* copied */
    const char *file, *vfs;
    const struct th_log *log;
    uint32_t fsync_delay_us;
    bool no_sync;
    struct th_sqlite_outlet *outlet;
    struct th_sqlite_reader *reader;   /* takes BACKLOG and READ items from the writer */
    struct th_sqlite_reader *searcher; /* takes CHECKPOINT items */
    struct th_sqlite_counters *counters;
};

struct th_sqlite_writer;

struct th_sqlite_writer *th_sqlite_writer_new(const struct th_sqlite_writer_options *options,
                                              struct th_error *error);
/* Where the next message of a partition's inbox goes, before anything was submitted. */
int64_t th_sqlite_writer_inbox_end(const struct th_sqlite_writer *w, uint32_t partition);
bool th_sqlite_writer_start(struct th_sqlite_writer *w, struct th_error *error);
void th_sqlite_writer_submit(struct th_sqlite_writer *w, struct th_sqlite_item *item);
/* Commits what was submitted, ends the thread and closes the connection. */
void th_sqlite_writer_free(struct th_sqlite_writer *w);

/* ---- reader.c ---- */

struct th_sqlite_reader *th_sqlite_reader_new(const struct th_sqlite_hub_row *hub, const char *file,
                                              const char *vfs, struct th_sqlite_outlet *outlet,
                                              struct th_sqlite_counters *counters,
                                              struct th_error *error);
void th_sqlite_reader_submit(struct th_sqlite_reader *r, struct th_sqlite_item *item);
/* Interrupts what it does, drops what waits, ends the thread. */
void th_sqlite_reader_free(struct th_sqlite_reader *r);

/* Reads the value that `column` of a row of instances stands for. */
bool th_sqlite_value(const struct th_sqlite_db *db, sqlite3_stmt *values, sqlite3_stmt *statement,
                     int column, enum th_sqlite_value kind, struct th_blob **out,
                     struct th_error *error);
/* The columns TH_SQLITE_COLUMNS; strings copied as th_completion_deinit expects. */
bool th_sqlite_row(const struct th_sqlite_db *db, sqlite3_stmt *values, sqlite3_stmt *statement,
                   struct th_row *out, struct th_error *error);

/* ---- query.c ---- */

bool th_sqlite_query(const struct th_sqlite_db *db, int64_t hub, sqlite3_stmt *values,
                     const struct th_query *query, struct th_completion *out,
                     struct th_error *error);
