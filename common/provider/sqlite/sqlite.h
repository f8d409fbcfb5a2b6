/*
 * sqlite: the embedded provider. Logs, inboxes and the projection of one or more hubs live in one
 * SQLite file (WAL, synchronous=FULL); one process at a time opens a hub of it.
 *
 * Three threads besides the caller's: the writer commits in one transaction whatever was submitted
 * while the previous one was being committed (group commit without any delay of its own); the
 * reader answers reads, loads and inbox backlogs; the searcher answers queries and copies the WAL
 * back into the database file. Reads see everything whose completion has been handed out.
 *
 * Beyond contract.h:
 *   - `ordered` holds for everything: submissions take effect in submission order, also across
 *     partitions and kinds. So a node may send what follows from an append, or trim the inbox up
 *     to the position an append states, right behind that append.
 *   - A message is delivered at submission, before it is durable; SEND still completes after the
 *     commit. What its receiver writes is durable no earlier. If a trim_inbox that covers it
 *     arrives soon enough, it is never written at all.
 *   - When a commit fails (disk full, I/O error), everything in it fails, and every partition must
 *     be claimed again: until then its appends, projections, trims and the sends it is the source
 *     of are refused with UNAVAILABLE. This is what keeps `ordered` true in spite of the failure.
 *   - When a stored inbox cannot be read, one DELIVER comes with the error and without a blob, and
 *     that inbox delivers nothing more until it is opened again.
 *   - A page of a query ends early when its payloads reach 16 MiB. QUERY leaves out `state`.
 *   - `source` of send at or above the hub's partition count means a client: never refused so.
 *   - An append under an older epoch than the partition's latest claim is refused as FENCED.
 */
#pragma once

#include "base/log.h"
#include "provider/contract.h"

/* ---- hubs in a file: blocking, from any thread, also while another process runs a hub ---- */

/* Creates the file when there is none, and the hub in it. EXISTS when the hub is there, unless
 * `replace`, which drops it first with all it holds. UNAVAILABLE while a process has it open.
 * INVALID: the name (letter, then letters and digits, below 64) or partitions (1 to 1024). */
bool th_sqlite_create_hub(const char *file, const char *name, uint32_t partitions, bool replace,
                          struct th_error *error);

/* NOT_FOUND: no such file or hub. UNAVAILABLE: a process has it open. */
bool th_sqlite_delete_hub(const char *file, const char *name, struct th_error *error);

/* By name. The caller frees *hubs. A file that does not exist holds no hubs. */
bool th_sqlite_list_hubs(const char *file, struct th_hub_record **hubs, size_t *count,
                         struct th_error *error);

bool th_sqlite_hub(const char *file, const char *name, struct th_hub_record *out,
                   struct th_error *error);

/* ---- one hub ---- */

struct th_sqlite_options {
    const char *file;
    const char *hub;
    const struct th_log *log; /* borrowed until close; may be NULL */
    uint32_t fsync_delay_us;  /* for benchmarks: each commit takes so much longer */
    const char *vfs;          /* for tests: name of an SQLite VFS; NULL: the default */
    bool no_sync;             /* for tests: synchronous=OFF, which loses data at a power cut */
};

/* Opens an existing hub. NULL with NOT_FOUND, UNAVAILABLE (another process has it, named with its
 * pid), CORRUPT (no SQLite database, or damaged), PRECONDITION (another application's file),
 * UNSUPPORTED (a newer Taskhub's file), IO. Blocks. */
struct th_provider *th_sqlite_open(const struct th_sqlite_options *options, struct th_error *error);

/* Counters since open; any thread. */
struct th_sqlite_stats {
    uint64_t commits, failed_commits;
    uint64_t commit_us;            /* time spent in commits' COMMIT, for the mean */
    uint64_t appends;              /* log records, claims included */
    uint64_t sends;                /* messages */
    uint64_t sends_skipped;        /* of those, never written: consumed before their commit */
    uint64_t rows;                 /* projected rows */
    uint64_t log_rows, inbox_rows; /* rows of SQLite that hold the records and messages */
    uint64_t checkpoints;
    uint64_t pages;     /* written to the WAL */
    uint64_t wal_bytes; /* now */
};
void th_sqlite_stats(const struct th_provider *provider, struct th_sqlite_stats *out);
