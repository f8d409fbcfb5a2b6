/*
 * partition: pure core 2. Everything the owner of one partition decides: mailboxes,
 * de-duplication, timers, dispatch, outbox, what to append to the log, and what may leave when an
 * append is acknowledged. Inputs are function calls that carry the time; results are effects,
 * which the caller takes one by one and carries out. It reads no clock, socket or global, logs
 * nothing, and its only randomness is a seed. One thread at a time.
 *
 * The state is a fold of the valid records of L[p] (architecture 3.7): live, a record is encoded,
 * appended and folded; after a crash the same fold runs over what the log holds. Folding is
 * speculative until the append is acknowledged; effects that leave the partition are held until
 * then (I2).
 */
#pragma once

#include "engine/engine.h"
#include "model/name.h"
#include "partition/record.h"
#include "provider/contract.h"

struct th_partition;
struct th_instance; /* an instance in memory; a handle for the calls below */

/* Deliberate defects, for the simulation to prove that it would notice each (tests/sim). */
#define TH_MUTATIONS(X)                                                                       \
    X(NONE, "")                                                                               \
    X(RELEASE_BEFORE_ACK, "effects leave before the record they follow from is acknowledged") \
    X(SKIP_GAP_CHECK, "an acknowledgement behind a foreign claim is believed")                \
    X(IGNORE_SEQUENCE, "recovery accepts records out of sequence")                            \
    X(SKIP_DEDUPLICATION, "messages of other partitions are accepted twice")                  \
    X(VECTOR_AHEAD, "the vector is stored as of the last read, not as of the position")       \
    X(POSITION_AHEAD, "the position passes messages that are not consumed")                   \
    X(FORGET_MARKS, "recovery forgets what was consumed above the position")                  \
    X(FORGET_LOCAL, "recovery forgets unconsumed local messages")                             \
    X(FORGET_OUTBOX, "recovery does not resend what was not acknowledged")                    \
    X(FORGET_PENDING, "recovery does not dispatch pending activities again")                  \
    X(FORGET_TIMERS, "recovery forgets timers")                                               \
    X(ACCEPT_STALE, "answers for an earlier execution are accepted")                          \
    X(TRIM_LOG_EARLY, "the log is trimmed before the projection holds it")                    \
    X(TRIM_INBOX_EARLY, "the inbox is trimmed up to what was read")                           \
    X(FOLD_TWICE, "recovery folds into a row what the row already holds")                     \
    X(CHECKPOINT_WITHOUT_TIMERS, "checkpoints leave the timers out")                          \
    X(CHECKPOINT_WITHOUT_PENDING, "checkpoints leave pending activities out")                 \
    X(FLOOR_EARLY, "the floor passes what the projection does not hold")                      \
    X(CLEAN_EARLY, "the log is cleaned before its snapshots are stored")                      \
    X(CLEAN_SKIPS, "the cleaning of the log leaves instances out")                            \
    X(BELIEVE_DOUBT, "after a broken connection acknowledgements are believed at once")       \
    X(REBUILD_SHORT, "a rebuilt projection is taken to hold more than it does")               \
    X(ACCEPT_RESCHEDULED, "results of an earlier scheduling of an activity are accepted")     \
    X(DROP_LEFT_OVER, "operations that an entity's code left are taken for done")             \
    X(KEEP_PARKED, "what waited for an entity's lock is not offered again")

enum th_mutation {
#define X(name, text) TH_MUTATION_##name,
    TH_MUTATIONS(X)
#undef X
};

struct th_partition_options {
    uint32_t index, count;
    uint64_t incarnation;
    struct th_provider_traits traits;
    uint64_t seed;
    const char *worker;
    size_t max_instances;      /* in memory before idle ones leave */
    size_t checkpoint_records; /* a checkpoint after at least so many records … */
    size_t checkpoint_bytes; /* … and so many bytes (at least twice the last checkpoint's size) */
    size_t clean_bytes;      /* the log is cleaned after at least so many bytes, where it is */
    size_t max_unacked;      /* records in flight before no new episode begins */
    size_t max_rows;         /* of one batch for the projection */
    size_t max_kept_bytes; /* of histories that stay in memory when they are in rows, because their
                              code begins from the start each time; 0: none */
    size_t max_payload_bytes;
    uint32_t max_crashes;
    size_t max_operations;     /* of an entity in one episode; 0: any number */
    struct th_formats formats; /* of records and messages */
    /* Whether an activity goes out to all processes (TH_SEND_ACTIVITIES) instead of running beside
     * this partition; NULL: never. Asked once per activity, before its record is written. */
    bool (*goes_out)(void *argument, struct th_str name, struct th_str version);
    /* Whether a worker to which activities were left may still be running them; NULL: no. */
    bool (*is_alive)(void *argument, struct th_str worker);
    void *argument;
    enum th_mutation mutation;
};

enum th_effect_kind {
    TH_EFFECT_APPEND,     /* blob; acknowledge with th_partition_acked(tag) */
    TH_EFFECT_SEND,       /* blob to partition `destination`, or to TH_SEND_ACTIVITIES; then
                             th_partition_sent(tag) */
    TH_EFFECT_ACTIVITY,   /* start it: th_partition_activity(token) */
    TH_EFFECT_CANCEL,     /* its result is no longer wanted: token */
    TH_EFFECT_REPLY,      /* reply_to, error, id */
    TH_EFFECT_CHANGED,    /* id: it started or ended, durably */
    TH_EFFECT_RUN,        /* run an episode of `instance`, then th_partition_ran */
    TH_EFFECT_INTERRUPT,  /* a RUN of `id` is not worth waiting for: th_partition_interrupt(tag) */
    TH_EFFECT_FORGET,     /* id: the executor may drop it */
    TH_EFFECT_LOAD,       /* id, with history; then th_partition_loaded */
    TH_EFFECT_READ,       /* the log in [from, to): th_partition_gap */
    TH_EFFECT_VERIFY,     /* the record at `from`, if it is there: th_partition_verified */
    TH_EFFECT_WALK,       /* rows whose `full` is below `tag`: th_partition_walked */
    TH_EFFECT_TRIM_INBOX, /* below `to` */
    TH_EFFECT_TRIM_LOG,   /* below `to` */
    TH_EFFECT_FENCED,     /* the lease is lost: drop this object; error says why */
};

struct th_effect {
    enum th_effect_kind kind;
    uint32_t destination;
    uint64_t tag;
    uint64_t token;
    struct th_instance *instance;
    struct th_blob *blob;
    char *id;
    char *reply_to;
    struct th_error *error; /* REPLY, FENCED; NULL: no error */
    int64_t from, to;
    uint64_t stamp; /* internal: held until this many records are acknowledged */
};

void th_effect_deinit(struct th_effect *effect);

struct th_partition *th_partition_new(const struct th_partition_options *options);
void th_partition_free(struct th_partition *p);

/* Every instance that an executor may still hold on behalf of this object. Who drops it has them
 * forgotten: what the executor ran last may never become valid. */
void th_partition_each(const struct th_partition *p,
                       void (*visit)(void *argument, struct th_str instance_id), void *argument);

/* ---- recovery: claim → begin → (feed … → rows → fold → project) … → activate ---------------- */

/* The claim to append, with a nonce from the seed. The caller unrefs it. */
struct th_blob *th_partition_claim(struct th_partition *p, th_time now);
/* A new object for the same claim, to begin again with. */
struct th_partition *th_partition_again(const struct th_partition *p);

/*
 * The claim stands at `epoch`, the log begins at `log_start`; `stored` is the projection's
 * watermark. `rebuild`: the rows are not to be believed and will be made again, which needs the log
 * from its * start; otherwise it is read from the watermark's floor on, if it has one. `batch`: the
 * highest number of a batch that is known; those of this object are higher.
 */
void th_partition_begin(struct th_partition *p, int64_t epoch, int64_t log_start,
                        const struct th_watermark *stored, uint64_t batch, bool rebuild,
                        th_time now);

/* Whether the projection at this watermark can have been made of a log that holds `record` at the
 * watermark's offset: the claim of the epoch, or a record of it. A log that lost its end holds
 * another one there, or none. */
bool th_partition_reflected(const struct th_log_record *record,
                            const struct th_watermark *watermark);
bool th_partition_is_claim(const struct th_log_record *record);

/* Feeds one record of the log, in order, up to (not including) the own claim. `first` marks the
 * record at which the reading began, if that is not offset 0: it is a checkpoint and believed to be
 * valid. False: corrupt, or TRUNCATED: `first` is something else, so the log lost its end. */
bool th_partition_feed(struct th_partition *p, int64_t offset, struct th_blob *bytes, bool first,
                       struct th_error *error);

/* The instances whose rows are needed to fold what was fed, by index; absent at the end. */
struct th_str th_partition_wanted(const struct th_partition *p, size_t index);
/* A row of a wanted instance, NULL when the projection has none, or holds nothing yet. */
bool th_partition_base(struct th_partition *p, struct th_str instance_id, const struct th_row *row,
                       struct th_error *error);

/* Folds what was fed. More may be fed after it, and rows may go out (th_partition_project) in
 * between, so that a log of any length is folded in bounded memory. False: the log is corrupt;
 * activation will say so. */
bool th_partition_fold(struct th_partition *p);
/* Instances in memory, for deciding when to project in between. */
size_t th_partition_loaded_instances(const struct th_partition *p);

/* Folds what is left, takes up what was under way, and returns the inbox offset to go on from. */
int64_t th_partition_activate(struct th_partition *p, th_time now);

/*
 * The projection lost its rows while this object is the owner. It goes on; its own rows wait. The
 * caller makes the rows again beside it, with a second object that is begun with `rebuild` and fed
 * up to (not including) the offset that is returned here, all of it valid records.
 */
int64_t th_partition_projection_lost(struct th_partition *p);
/* It is done: `copy` is the second object, whose rows are all stored. */
void th_partition_projection_rebuilt(struct th_partition *p, const struct th_partition *copy);
bool th_partition_rebuilding(const struct th_partition *p);
/* Whether its next batch drops what is stored: that is known to be wrong. */
bool th_partition_clears(const struct th_partition *p);

/* ---- inputs -------------------------------------------------------------------------------- */

/* A message of I[p], in order of offsets. One that cannot be read (NULL, or bytes that are no
 * message) is consumed, so that it blocks nothing. */
void th_partition_deliver(struct th_partition *p, int64_t offset, struct th_blob *message,
                          th_time now);
/* Appends are acknowledged in order. A failed one ends the lease. */
void th_partition_acked(struct th_partition *p, uint64_t tag, int64_t offset, th_time now);
void th_partition_append_failed(struct th_partition *p, const struct th_error *error);
/* What stands where an acknowledgement skipped offsets. */
void th_partition_gap(struct th_partition *p, const struct th_log_record *records, size_t count,
                      th_time now);
/* The connection to the log was cut: it may have lost its end, and other records may stand where
 * those were. Nothing is believed until the own last record was read back (architecture 3.3). */
void th_partition_doubt(struct th_partition *p);
/* `next`: where reading goes on; behind the record that is not there, because the log begins later.
 */
void th_partition_verified(struct th_partition *p, const struct th_log_record *records,
                           size_t count, int64_t next, th_time now);
/* Where the log ended at some time after th_partition_acked_offset was `known`: the answer may have
 * been on its way while records were acknowledged. An owner that writes nothing learns in this way
 * that another one does. */
void th_partition_log_end(struct th_partition *p, int64_t known, int64_t end, th_time now);
void th_partition_sent(struct th_partition *p, uint64_t tag);
/* The row of an instance asked for by LOAD, with history; NULL: there is none. */
void th_partition_loaded(struct th_partition *p, struct th_str instance_id,
                         const struct th_row *row, th_time now);
/* The result of an activity; unknown tokens are ignored. */
void th_partition_answer(struct th_partition *p, uint64_t token, struct th_str data,
                         const struct th_failure *failure, th_time now);
/* A process died running this: an episode (task_id -1) or an activity. Counted in the log; at
 * max_crashes it fails. An activity that was dispatched before is dispatched again, when the count
 * is durable. */
void th_partition_crashed(struct th_partition *p, struct th_str instance_id, int32_t task_id,
                          struct th_str reason, th_time now);

/* Rows asked for by WALK, with history, of a projection that stands at this watermark and really
 * holds `stored` of them; an error: none could be read. */
void th_partition_walked(struct th_partition *p, const struct th_row *rows, size_t count,
                         const struct th_watermark *watermark, uint64_t stored,
                         const struct th_error *error, th_time now);

/* Fires timers, runs what can run, writes marks and checkpoints. Returns when it has to be called
 * again at the latest; TH_TIME_NONE: on the next input. */
th_time th_partition_work(struct th_partition *p, th_time now);

/* The next effect that may be carried out now; the caller deinits it. */
bool th_partition_effect(struct th_partition *p, struct th_effect *out);

/* ---- episodes ------------------------------------------------------------------------------- */

/* What the executor needs for the RUN of `instance`; valid until th_partition_ran. `history`:
 * decode the past, if it is in memory; false when it has to be loaded first (a LOAD follows, and
 * RUN comes again). */
bool th_partition_episode(struct th_partition *p, struct th_instance *instance, bool history,
                          struct th_episode *out);
struct th_arena *th_partition_arena(struct th_instance *instance); /* for the actions */
void th_partition_ran(struct th_partition *p, struct th_instance *instance,
                      const struct th_actions *actions, th_time now);
/* Nobody here serves this function (or this version of it): its messages are parked, and wait until
 * the partition is taken up again or th_partition_serve_again. What needs no code goes on. */
void th_partition_put_back(struct th_partition *p, struct th_instance *instance, th_time now);
void th_partition_serve_again(struct th_partition *p, th_time now);
/* This RUN may take long. True: what it was started by, or what somebody waits for an answer to, is
 * written down as accepted first, and RUN comes again. */
bool th_partition_accept(struct th_partition *p, struct th_instance *instance, th_time now);
/* The function of this RUN is served. False: there are older messages that waited for this; RUN
 * comes again with them. */
bool th_partition_served(struct th_partition *p, struct th_instance *instance, th_time now);
/* Ends a RUN that runs elsewhere, because something has come that cannot wait. The handle of its
 * instance; NULL: it has ended by itself meanwhile. */
const struct th_instance *th_partition_interrupt(struct th_partition *p, struct th_str instance_id,
                                                 uint64_t tag, th_time now);
/* The run came to nothing; its messages are offered again. */
void th_partition_interrupted(struct th_partition *p, struct th_instance *instance, th_time now);
struct th_str th_partition_instance_id(const struct th_instance *instance);
/* The name and version the instance of a RUN was started under, or the name of an entity; valid
 * until th_partition_ran. */
void th_partition_function(struct th_instance *instance, struct th_str *name,
                           struct th_str *version);

/* ---- views ---------------------------------------------------------------------------------- */

struct th_partition_task {
    struct th_str instance_id, execution_id, name, version, input, trace;
    struct th_tags tags;
    int32_t task_id;
    uint32_t crashes;
};
/* False: no longer wanted. Strings live until the next input. */
bool th_partition_activity(struct th_partition *p, uint64_t token, struct th_partition_task *out);

enum th_view_state {
    TH_VIEW_UNKNOWN, /* not in memory: ask the projection */
    TH_VIEW_ABSENT,  /* does not exist, durably known */
    TH_VIEW_PRESENT, /* `info` */
};
/* `durable` is false when `info` rests on records not yet acknowledged: ask again later. */
enum th_view_state th_partition_view(struct th_partition *p, struct th_str instance_id,
                                     const struct th_instance_info **info, bool *durable);

/* Orchestrations put back, one by one; false at the end. `cursor` begins as NULL. */
bool th_partition_next_unserved(struct th_partition *p, void **cursor, enum th_function_kind *kind,
                                struct th_str *name);

/* The projection holds everything about this instance (nothing at all included). */
bool th_partition_stored(struct th_partition *p, struct th_str instance_id);

struct th_partition_stats {
    uint64_t epoch, episodes, records, activities, messages, loads, evictions, checkpoints;
    uint64_t snapshots, cleanings;
    size_t instances, letters, pending_tasks, timers, unacked, outbox, unprojected;
    int64_t position, next_offset, log_start;
    th_time oldest; /* arrival of the oldest unconsumed message */
};
void th_partition_get_stats(const struct th_partition *p, struct th_partition_stats *out);
/* Log offset up to which everything is durable. */
int64_t th_partition_acked_offset(const struct th_partition *p);
/* Nothing runs, nothing waits to be acknowledged, sent or projected. */
bool th_partition_quiet(const struct th_partition *p);
/* While held, nothing that needs an orchestrator's code begins; what needs none goes on. */
void th_partition_hold(struct th_partition *p, bool held);
/* Stops beginning episodes and starting activities. */
void th_partition_pause(struct th_partition *p);

/*
 * The partition is to be given up while this process lives. What runs in it goes on: that is noted
 * in the log, so that the next owner does not start it a second time but waits for its result, a
 * message (th_message.scheduled). `visit` is told of each, also of those whose result came and is
 * in no record yet, and answers whether it does run; what had only been waiting is left to the next
 * owner. Pauses; when th_partition_quiet, or at any time, the
 * object can be dropped.
 */
struct th_running_task {
    uint64_t token, scheduled;
    struct th_str instance_id, execution_id;
    int32_t task_id;
    bool answered; /* it has ended, too late for a record of this owner: */
    struct th_str data;
    const struct th_failure *failure; /* NULL: succeeded */
};
void th_partition_hand_over(struct th_partition *p,
                            bool (*visit)(void *argument, const struct th_running_task *task),
                            void *argument, th_time now);
/* This worker is no more, and all that it sent has been delivered: what was left to it, and has no
 * result, is started again. */
void th_partition_worker_gone(struct th_partition *p, struct th_str worker, th_time now);

/* ---- projection ------------------------------------------------------------------------------ */

/* Every change made at or before `when` is in the projection. */
bool th_partition_flushed(const struct th_partition *p, th_time when);
/* Since when something waits to be projected: a row, or the watermark alone. TH_TIME_NONE: nothing
 * does. `news`: only instances that have started or ended. */
th_time th_partition_dirty_since(const struct th_partition *p, bool news);
/*
 * Rows of what changed at or before `until`; at most one batch under way. `news`: only of durable
 * starts and ends, for which somebody may be waiting. False: nothing can be projected now. The rows
 * live until th_partition_projected.
 */
bool th_partition_project(struct th_partition *p, bool news, th_time until,
                          struct th_projection *out);
/* `error` NULL or TH_OK: done. Otherwise the rows stay dirty. FENCED (the stored watermark is
 * another one) ends the lease; a caller that finds out that the projection lost its rows says
 * th_partition_projection_lost instead, before or after. */
void th_partition_projected(struct th_partition *p, const struct th_error *error);
