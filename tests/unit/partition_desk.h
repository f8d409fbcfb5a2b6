/*
 * desk: drives one partition core by hand. The desk plays the storage (log, inbox, projection),
 * the executor and the clock; every effect is carried out only when the test says so and leaves
 * one line in a trace:
 *
 *     desk_open ──▶ desk_deliver, desk_answer ──▶ desk_work ──▶ trace ──▶ desk_ack, desk_sent, …
 *
 * An append lands in the log when it is acknowledged. desk_crash drops the core and what was not
 * acknowledged; desk_open recovers from log and rows as a node does.
 */
#pragma once

#include "unit/base_test.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "partition/internal.h"
#include "provider/provider.h"

struct desk;

/* An orchestrator: a function of all events, so that it needs no memory of its own. */
typedef void desk_code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                       struct th_actions *out);

struct desk_append {
    uint64_t tag;
    struct th_blob *blob;
    int64_t trim; /* of the inbox, behind this append; 0: none */
};

struct desk_send {
    uint64_t tag;
    uint32_t destination;
    struct th_blob *blob;
};

struct desk_activity {
    uint64_t token;
    char *id;
    int32_t task_id;
};

struct desk_row {
    struct th_row row; /* strings and blobs are the desk's */
    char *id, *name;
    struct th_blob **history;
    size_t count, capacity;
};

struct desk {
    struct th_partition_options options;
    struct th_partition *p;
    desk_code *code;
    th_time now;
    struct th_buffer trace;
    bool quiet_trace; /* no lines: for long runs */

    struct th_log_record *log;
    size_t log_count, log_capacity;
    int64_t log_end;

    struct th_blob **inbox; /* by offset */
    size_t inbox_count, inbox_capacity;
    int64_t inbox_start;

    struct desk_row *rows;
    size_t row_count, row_capacity;
    struct th_watermark watermark;
    struct th_projection batch;
    bool projecting;

    struct desk_append *appends;
    size_t append_count, append_capacity;
    struct desk_send *sends;
    size_t send_count, send_capacity;
    struct desk_activity *activities;
    size_t activity_count, activity_capacity;
    char **loads;
    size_t load_count, load_capacity;
    bool hold_loads; /* LOAD waits for desk_load */
    struct th_instance **runs;
    size_t run_count, run_capacity;
    bool hold_runs;  /* RUN waits for desk_run */
    bool may_refuse; /* desk_try_open says whether what is read can be folded */
    bool warm;       /* the code is not given the past */

    int64_t read_from, read_to; /* -1: no gap is being read */
    int64_t verify;             /* the record to read back; -1: none */
    uint64_t walk;              /* rows asked for: `full` below this; 0: none */
    bool fenced;
    struct th_error fence;
    size_t largest_append;
};

/* Partition 0 of `count`; small limits off, ordered and durable as SQLite. */
void desk_init(struct desk *d, uint32_t count, desk_code *code);
void desk_deinit(struct desk *d);

void desk_open(struct desk *d);
/* False: the core refuses what log or rows hold; its claim stands in the log all the same. */
bool desk_try_open(struct desk *d, struct th_error *error);
void desk_crash(struct desk *d);

/* ---- inputs ---- */
void desk_deliver(struct desk *d, struct th_message message);
void desk_deliver_bytes(struct desk *d, struct th_str bytes);
void desk_work(struct desk *d); /* until nothing happens any more */
void desk_pull(struct desk *d); /* only takes effects */
void desk_ack(struct desk *d, size_t count);
void desk_sent(struct desk *d, size_t count);
/* The oldest start of this activity that is open; false when there is none. */
bool desk_answer(struct desk *d, const char *id, int32_t task_id, const char *data);
bool desk_fail(struct desk *d, const char *id, int32_t task_id, const char *message);
void desk_load(struct desk *d); /* all that wait */
void desk_run(struct desk *d);  /* all that wait */
/* What another writer put into the log. */
void desk_foreign(struct desk *d, const struct th_record *record);
void desk_gap(struct desk *d);
bool desk_project(struct desk *d);                      /* begins a batch */
void desk_projected(struct desk *d, enum th_code code); /* ends it; OK stores the rows */
void desk_store(struct desk *d, const struct th_projection *batch);
void desk_wipe(struct desk *d);
void desk_walk(struct desk *d, size_t limit); /* answers WALK */
void desk_verify(struct desk *d);             /* answers VERIFY */
/* The rows a core wants; `none`: it is to make them itself. */
void desk_bases(struct desk *d, struct th_partition *p, bool none);
/* Acknowledges, sends, loads, projects until all is quiet; activities stay as they are. */
void desk_settle(struct desk *d);

/* ---- checks ---- */
/* The trace since the last check; each line ends in a newline. */
void desk_expect_at(struct desk *d, const char *expected, const char *file, int line);
#define desk_expect(d, expected) desk_expect_at(d, expected, __FILE__, __LINE__)
void desk_forget(struct desk *d); /* the trace */
/* All events of the instance's history, decoded into `arena`. */
struct th_events desk_history(struct desk *d, const char *id, struct th_arena *arena);
/* "OrchestratorStarted ExecutionStarted | …" : a bar after each OrchestratorCompleted. */
void desk_expect_history(struct desk *d, const char *id, const char *expected);
enum th_status desk_status(struct desk *d, const char *id);
const struct th_instance_info *desk_info(struct desk *d, const char *id);
const struct desk_row *desk_row(const struct desk *d, const char *id);
/* The whole fold as text: what two partitions that agree have in common. */
char *desk_dump(struct desk *d);
/* Everything acknowledged: a second core, fed with log and rows, must come to the same fold. */
void desk_expect_recovery(struct desk *d);

/* ---- messages ---- */
struct th_message desk_message(const char *id, enum th_event_kind kind);
struct th_message desk_start(const char *id, const char *name);
struct th_message desk_raise(const char *id, const char *name, const char *data);
struct th_message desk_asked(struct th_message message, const char *request); /* with a reply */
struct th_message desk_from(struct th_message message, int32_t partition, uint64_t sequence,
                            uint32_t index);
/* An instance id that belongs to this partition: `stem`, or with a number behind it. */
const char *desk_id(const struct desk *d, const char *stem, uint32_t partition, char out[40]);

/* ---- for codes ---- */
size_t code_count(const struct th_episode *e, enum th_event_kind kind);       /* past and fresh */
size_t code_fresh_count(const struct th_episode *e, enum th_event_kind kind); /* fresh */
const struct th_event *code_last(const struct th_episode *e, enum th_event_kind kind);
bool code_is(const struct th_episode *e, const char *name); /* the orchestrator's name */
struct th_action *code_task(struct th_actions *out, struct th_arena *arena, int32_t id,
                            const char *name);
void code_complete(struct th_actions *out, struct th_arena *arena, const char *result);
void code_continue(struct th_actions *out, struct th_arena *arena, const char *input);
