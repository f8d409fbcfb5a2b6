/*
 * writer: what writer.c and store.c share. The writer decides what a batch does (who may write,
 * which offsets there are, what fails); the store puts it into the tables and takes trimmed rows
 * out. All on the writer's thread.
 */
#pragma once

#include <pthread.h>

#include "provider/sqlite/internal.h"

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

/* ---- store.c: each false leaves its reason in w->error, unless there is an `error` ---- */

/* Prepares the statements and reads where every partition stands. */
bool th_sqlite_store_open(struct th_sqlite_writer *w, struct th_error *error);
void th_sqlite_store_close(struct th_sqlite_writer *w);
/* Writes the batch, within a transaction; with `trim` also everything that could wait. */
bool th_sqlite_store_write(struct th_sqlite_writer *w, bool trim);
/* After the transaction: `written` says whether there was one. Forgets the batch. */
void th_sqlite_store_settle(struct th_sqlite_writer *w, bool committed, bool written);
/* Whether something waits for th_sqlite_store_write with `trim`. */
bool th_sqlite_store_untidy(const struct th_sqlite_writer *w);
