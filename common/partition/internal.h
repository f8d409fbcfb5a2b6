/*
 * internal: the state of a partition and what its files share.
 *
 *   table.c       instances, letters, pending answers, the timer heap: plain bookkeeping
 *   fold.c        a record changes the state; the only way it changes for good
 *   write.c       builds records from turns and marks, appends and folds them
 *   turn.c        episodes: which letters, what the engine says, what it becomes
 *   release.c     acknowledgements, gaps, doubt, held effects, the outbox
 *   requests.c    starts that must not be repeated
 *   handover.c    activities that go on when the partition is given up
 *   inspect.c     the fold as outsiders may see it
 *   size.c        what is too large to be carried
 *   recover.c     claim, reading the log, rows, activation
 *   checkpoint.c  all state but the instances as one record, and back; the floor
 *   clean.c       copies forward what only the log's beginning holds, and drops that
 *   project.c     rows for the projection, eviction
 *   rebuild.c     a projection that lost its rows beside a living owner
 *
 * A stamp is a sequence plus one, so that 0 means "before every record".
 */
#pragma once

#include <uthash.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/memory.h"
#include "partition/partition.h"

#define MUTANT(p, name) ((p)->options.mutation == TH_MUTATION_##name)

/* Where a letter came from, that is, what its consumption has to record. */
enum letter_from {
    LETTER_INBOX,  /* offset of I[p] */
    LETTER_LOCAL,  /* a record of this log */
    LETTER_ANSWER, /* a pending task or timer of this partition: its event in history is the record
                    */
};

/* A message waiting for its instance. */
struct letter {
    struct letter *prev, *next; /* in the instance's mailbox or its parked list */
    struct th_message message;  /* points into `blob` and `nested` */
    struct th_blob *blob;
    struct th_arena nested;
    enum letter_from from;
    int64_t offset;            /* INBOX */
    struct th_local_ref local; /* LOCAL; its key in p->locals */
    UT_hash_handle hh;         /* p->locals */
    bool parked;               /* in the parked list: until due or resumed */
    bool was_parked;           /* and is offered again */
    bool offered;              /* part of the turn under way */
    th_time not_before;
    size_t heap_at; /* parked until a time: its place in the heap, plus one */
    th_time arrived;
    struct th_instance *instance;
};

/* An answer an execution waits for; for tasks also the work itself. */
struct pending {
    UT_hash_handle hh;           /* instance->pending, by event_id */
    UT_hash_handle hh_token;     /* p->tokens */
    struct pending *prev, *next; /* instance->orphans */
    uint64_t token;
    enum th_pending_kind kind;
    int32_t event_id;
    struct th_instance *instance;
    char *execution_id;
    size_t heap_at;       /* TIMER: its place in the heap, plus one; 0: it fired */
    struct th_blob *blob; /* what name, version, data, trace, child_id point into */
    struct th_arena nested;
    struct th_str name, version, data, trace, child_id; /* of a child or an entity */
    struct th_tags tags;
    th_time fire_at;
    uint64_t stamp; /* of the record that opened it */
    bool shared;    /* TASK: sent to all processes; its result is a message */
    char *worker;   /* TASK: a former owner that runs it; its result is a message; NULL: none */
    uint32_t crashes;
    char *crash_reason;  /* of the last one */
    bool orphan;         /* its execution is over: run it, ignore the result */
    bool dispatched;     /* the caller was told to start it */
    bool answered;       /* its answer is a letter */
    bool answer_parked;  /* a durable one */
    uint64_t taken_turn; /* see th_pending_view.take */
};

/* A piece of an instance's history, as encoded in a record or a row. */
struct chunk {
    struct th_blob *blob;
    struct th_str bytes;
    uint64_t stamp; /* record it came with; 0: from the projection */
};

/* One episode under way. */
struct turn {
    struct turn *next_free;
    struct th_arena arena;
    struct th_offer *offers;
    struct letter **letters;
    size_t count;
    uint64_t id;
    struct th_engine_in in;
    struct th_outcome outcome;
    struct th_events past;
    const struct th_actions *actions;
    char execution_id[33], next_execution_id[33];
};

struct th_instance {
    UT_hash_handle hh; /* p->instances */
    struct th_partition *partition;
    char *id;
    size_t id_len;
    bool known;    /* info is complete; otherwise only pending answers and letters are in memory */
    bool loading;  /* a LOAD is under way */
    bool queued;   /* in p->runnable */
    bool busy;     /* an episode is with the executor */
    bool hold;     /* no new episode until its records are acknowledged: it waits to be projected */
    bool unserved; /* put back: nobody runs its code here */
    bool wants_code;                   /* waits for the end of th_partition_hold */
    struct th_instance *next_runnable; /* in p->runnable or p->deferred */

    struct th_instance_info info;
    struct th_arena memory; /* what info points into */
    uint64_t last;          /* stamp of the last record that touched it */
    uint64_t full;          /* stamp of the last record that holds it whole */
    uint64_t row;           /* stamp its projected row reflects */
    uint64_t load_row;      /* and did when the row was last asked for */
    uint32_t crashes;       /* processes lost in a row by its episodes */
    uint64_t crash_stamp;   /* no episode before the last count is durable */
    char *crash_reason;
    uint32_t careful; /* an entity that cost a process: so many more operations run one by one, each
                         when the one before is durable, so that none is blamed for another */

    struct letter *mailbox; /* utlist DL, in order of arrival */
    struct letter *parked;
    size_t parked_untimed;   /* of them, without a time to wait for */
    struct pending *pending; /* of the current execution, by event id */
    struct pending *orphans;
    size_t open_tasks;

    struct chunk *chunks;
    size_t chunk_count, chunk_capacity;
    size_t kept;         /* bytes of those that are in its row, too */
    bool whole;          /* chunks hold the history from its start */
    bool replays;        /* the last episode began from the start */
    bool replace_stored; /* stored chunks are out of date as a whole */
    bool replacing;      /* and a row that says so is under way */
    bool purged;

    struct th_instance *dirty_prev, *dirty_next; /* p->dirty */
    bool dirty, projecting;
    uint64_t projecting_stamp;
    th_time dirty_since, projecting_since;
    uint64_t dirty_stamp, projecting_first;      /* stamp of the oldest record not in its row */
    int64_t dirty_position, projecting_position; /* of the inbox before that record */
    struct th_instance *news_prev, *news_next;   /* p->news */
    bool news, projecting_news;                  /* it started or ended since its row */
    struct th_instance *lru_prev, *lru_next;     /* p->idle: may leave memory */
    bool idle;
    struct turn *turn;
};

/* An inbox offset at or above the position. */
struct slot {
    bool consumed;
    bool accepted; /* its origin counts for the vector */
    struct th_origin origin;
    struct letter *letter;
    th_time arrived;
};

struct outgoing {
    struct outgoing *prev, *next;
    UT_hash_handle hh; /* p->outbox_by_tag */
    uint64_t tag;
    uint64_t sequence;
    uint32_t index;
    uint32_t destination;
    struct th_blob *blob;
};

/* An append not yet acknowledged. */
struct flight {
    uint64_t sequence;
    int64_t offset;   /* -1: not acknowledged; set while a gap before it is being read */
    int64_t position; /* of the inbox, as the record has it */
};

/* A checkpoint on its way to be the floor, or to be where the log begins. */
struct checkpoint {
    uint64_t first; /* sequence of its first part, while that is not acknowledged */
    uint64_t stamp; /* 0: none */
    int64_t offset; /* of its first part; -1: not acknowledged */
};

/* Cleaning by copying forward: see clean.c. */
struct cleaning {
    bool on, walking;
    struct checkpoint below; /* the log's new beginning */
    uint64_t last;           /* stamp of the last snapshot */
    size_t bytes;            /* of all snapshots */
    th_time not_before;      /* the next one */
};

/* An entry of the heap; it goes when its timer or letter goes. */
struct due {
    th_time when;
    uint64_t order;        /* of adding: what is due at one time fires in this order */
    struct pending *timer; /* a timer … */
    struct letter *letter; /* … or a parked letter */
};

/* Consumption that no episode recorded yet. */
struct marks {
    int64_t *consumed;
    size_t consumed_count, consumed_capacity;
    struct th_local_ref *local;
    size_t local_count, local_capacity;
    struct th_task_ref *closed;
    size_t closed_count, closed_capacity;
    struct th_record_message *messages;
    size_t message_count, message_capacity;
    struct th_effect *replies;
    size_t reply_count, reply_capacity;
    struct th_arena arena; /* what the above point into */
};

struct loaded_record {
    int64_t offset;
    struct th_blob *blob;
    struct th_record record;
};

struct wanted {
    UT_hash_handle hh;
    char *id;
};

/* The start of an instance that was purged. */
struct request {
    UT_hash_handle hh; /* p->requests, oldest first */
    char *id;
    size_t len;
    th_time until;
};

struct th_partition {
    struct th_partition_options options;
    struct th_random random;
    uint64_t epoch;
    uint64_t next_sequence;
    uint64_t next_token;
    uint64_t next_tag;
    uint64_t next_turn;
    struct request *requests;
    bool redispatch; /* recovery found activities to start again */
    bool begun, active, fenced, paused, held;
    bool handed_over; /* nothing is started any more */
    th_time now;

    struct th_instance *instances;
    struct letter *locals;
    struct pending *tokens;
    size_t letter_count, task_count, timer_count;
    struct due *heap;
    size_t heap_count, heap_capacity;
    uint64_t next_due;
    struct th_instance *runnable, **runnable_last;
    struct th_instance *deferred; /* run again after an acknowledgement */

    /* inbox: slots[i] is offset position + i */
    int64_t position, recorded_position;
    int64_t previous_position; /* as the record before the last one has it */
    struct slot *slots;
    size_t slot_first, slot_count, slot_capacity;
    struct th_vector_entry *vector_read, *vector_position, *vector_recorded; /* by source */
    int64_t *early; /* sorted offsets at or above the position that recovery found consumed */
    size_t early_first, early_count, early_capacity; /* early[first..count) */

    /* log */
    struct flight *flights;
    size_t flight_first, flight_count, flight_capacity;
    int64_t expected_offset;
    bool reading_gap;
    int64_t gap_end;
    uint64_t acked; /* stamp of the last durable record */
    int64_t acked_offset, acked_position;
    uint64_t claim_nonce;
    bool verifying;                  /* whether the last durable record is still there */
    th_time absent_since, verify_at; /* it was not to be read; when it is looked for again */
    struct th_buffer scratch;

    struct th_effect *effects; /* ring: ready and held, in order */
    size_t effect_first, effect_count, effect_capacity;
    struct th_effect *ready;
    size_t ready_first, ready_count, ready_capacity;

    struct outgoing *outbox;     /* in log order */
    struct outgoing *unreleased; /* the first that is not on its way */
    struct outgoing *outbox_by_tag;
    size_t outbox_count;
    uint64_t sent; /* every message of records below this sequence is sent */
    bool unsealed; /* messages went out since, and no record says that they are sent */

    struct marks marks;
    struct turn *free_turns;
    size_t turn_count, free_turn_count; /* under way; kept for the next ones */

    /* checkpoints */
    size_t records_since_checkpoint, bytes_since_checkpoint, last_checkpoint_bytes;
    struct checkpoint checkpoint; /* not yet used for trimming, or as the floor */
    struct checkpoint floor;      /* that of `watermark` */
    int64_t log_start;
    int64_t trimmed_inbox;

    /* cleaning */
    struct cleaning cleaning;
    size_t bytes_since_clean, last_clean_bytes;

    /* projection */
    struct th_instance *dirty; /* by dirty_stamp */
    size_t dirty_count;
    struct th_instance *news; /* those whose start or end is to be told */
    bool projecting;
    th_time projecting_since; /* the oldest change in the batch under way */
    th_time moved_since;      /* the watermark alone is out of date; NONE: it is not */
    struct th_row *rows;
    size_t row_count, row_capacity;
    size_t kept_bytes; /* of all instances */
    struct th_watermark watermark, next_watermark;
    struct th_watermark stored; /* what the storage has to have for the next batch: `watermark`, but
                                   for rows that are not believed */
    struct checkpoint next_floor;
    uint64_t batch;         /* number of the last one */
    bool clear;             /* what is stored goes with the first batch */
    bool rebuild;           /* rows are made again, by this object */
    bool rebuilding;        /* … by another one; the own ones wait */
    uint64_t rebuild_until; /* stamp of the last record that has to be in them */
    struct th_instance *idle;
    size_t idle_count;

    /* recovery */
    struct th_validity validity;
    bool folded; /* the first record is folded */
    struct loaded_record *loaded;
    size_t loaded_count, loaded_capacity;
    struct th_arena load_arena, fold_arena;
    struct th_buffer parts;
    uint32_t parts_next;
    int64_t parts_offset; /* of the first */
    struct wanted *wanted_by_id, **wanted;
    size_t wanted_count, wanted_capacity;

    struct th_instance_info placeholder; /* of the last view of a start not yet taken */
    struct th_partition_stats stats;
};

/* ---- table.c ---- */
struct th_instance *instance_find(struct th_partition *p, struct th_str id);
struct th_instance *instance_get(struct th_partition *p, struct th_str id); /* made when missing */
struct th_str instance_id(const struct th_instance *i);
void instance_set_info(struct th_instance *i, const struct th_instance_info *info);
void instance_forget_info(struct th_instance *i); /* back to a stub */
void instance_drop_chunks(struct th_instance *i);
/* So many bytes of its history stay in memory though they are in its row. */
void instance_keeps(struct th_instance *i, size_t bytes);
void instance_add_chunk(struct th_instance *i, struct th_blob *blob, struct th_str bytes,
                        uint64_t stamp);
void instance_free(struct th_instance *i);
void instance_free_if_empty(struct th_instance *i);
void instance_touch(struct th_instance *i); /* idle or not, after any change */
void instance_ready(struct th_instance *i); /* queue it when it can run */
void instance_load(struct th_instance *i);  /* ask for its row, with history */
void instance_not_idle(struct th_instance *i);
/* Offers what is parked again, but for what still waits for its time. */
void instance_unpark(struct th_instance *i);
void instance_unpark_due(struct letter *l); /* this one's time has come */

struct letter *letter_new(struct th_partition *p, enum letter_from from);
/* Of the formats that this program knows. */
struct th_reader partition_reader(const struct th_partition *p, struct th_str bytes,
                                  struct th_arena *arena, struct th_error *error);
/* UNSUPPORTED: a newer program's, not to be lost. */
bool letter_decode(struct th_partition *p, struct letter *l, struct th_blob *blob,
                   struct th_str bytes, struct th_error *error);
void letter_deliver(struct letter *l, struct th_instance *i);
void letter_park(struct letter *l, th_time not_before);
void letter_free(struct letter *l);
void letter_discard(struct th_partition *p, struct letter *l); /* never delivered */
/* The answer to `d`, once: a letter for its instance, which is made ready. */
struct letter *letter_answer(struct pending *d, enum th_event_kind kind, struct th_str data);

struct pending *pending_open(struct th_instance *i, enum th_pending_kind kind,
                             const struct th_event *event, struct th_str execution_id,
                             struct th_blob *blob, uint64_t stamp);
struct pending *pending_find(struct th_instance *i, struct th_str execution_id, int32_t event_id);
void pending_close(struct pending *d);
void pending_close_all(struct th_instance *i, bool cancel_tasks, uint64_t keep_stamp);
void pending_cancel_orphans(struct th_instance *i, uint64_t keep_stamp);
struct pending *pending_by_token(struct th_partition *p, uint64_t token);
struct th_event pending_event(const struct pending *d); /* that opened it; points into it */

void heap_add_timer(struct pending *d);
void heap_add_letter(struct letter *l);
bool heap_due(struct th_partition *p, th_time now, struct due *out);
th_time heap_next(const struct th_partition *p);

/* ---- partition.c ---- */
void fail_crashed_task(struct th_partition *p, struct pending *d);

/* ---- size.c ---- */
/* The actions, or in their place one that fails the instance with words. */
const struct th_actions *actions_in_size(const struct th_partition *p,
                                         const struct th_actions *actions, bool has_parent,
                                         struct th_arena *arena);
/* The answer of an entity; a result that is too large becomes a failure of its operation, a state
 * or an action one of the batch. */
const struct th_actions *results_in_size(const struct th_partition *p,
                                         const struct th_actions *actions, struct th_arena *arena);

/* ---- handover.c ---- */
void fold_running(struct th_partition *p, const struct th_record *record);

/* ---- fold.c ---- */
void fold_record(struct th_partition *p, const struct th_record *record, struct th_blob *blob,
                 bool live);
void early_add(struct th_partition *p, int64_t offset);
void early_drop_below(struct th_partition *p, int64_t position);

/* Replaces what is kept; absent: nothing is. */
void keep_reason(char **kept, struct th_str reason);
/* So many processes were lost in a row by its episodes. */
void instance_crashes(struct th_instance *i, uint32_t crashes, struct th_str reason);

/* ---- write.c ---- */
void write_turn(struct th_partition *p, struct th_instance *i, struct turn *t);
void write_purge(struct th_partition *p, struct th_instance *i, struct turn *t);
void write_marks(struct th_partition *p);
void write_seal(struct th_partition *p);
void write_running(struct th_partition *p, const struct th_task_ref *tasks, uint32_t count);
void write_crash(struct th_partition *p, struct th_instance *i, struct th_str execution_id,
                 int32_t task_id, uint32_t crashes, struct th_str reason);
void write_checkpoint(struct th_partition *p, struct th_str body);
/* A full copy of an instance that is known: its history, all of it. Returns the size. */
size_t write_snapshot(struct th_partition *p, struct th_instance *i, struct th_str history);
/* Records the verdicts of a turn that changed no instance among the marks. */
void write_nothing(struct th_partition *p, struct turn *t);
/* Among the marks, too: a letter of I[p] that is parked, or was dropped, outside of a turn. It is
 * freed. */
void write_acceptance(struct th_partition *p, struct letter *l);
void write_refusal(struct th_partition *p, struct letter *l, const struct th_offer *offer);
void marks_settle(struct th_partition *p, struct turn *t);
/* Adds the messages of an outcome to those of the next record. */
void marks_outgoing(struct th_partition *p, const struct th_outcome *outcome);
/* Moves the position over what is consumed. */
void slots_advance(struct th_partition *p);
void slot_consume(struct th_partition *p, int64_t offset);

/* ---- turn.c ---- */
bool turn_can_run(const struct th_instance *i);
void turn_run(struct th_partition *p, struct th_instance *i);
void turn_free(struct th_partition *p, struct turn *t);
void effect_run(struct th_instance *i); /* of its turn */
/* It runs elsewhere, perhaps for ever, and is not to be waited for. */
void turn_interrupt(struct th_instance *i);
/* A letter of I[p] has come while its instance runs. If somebody waits for the answer it is given
 * now: what the run cannot change is decided, what will be news for the next one is parked (the
 * letter is freed then). What makes the run pointless ends it. */
void turn_meanwhile(struct letter *l);

/* ---- release.c ---- */
struct th_effect *effect_hold(struct th_partition *p, enum th_effect_kind kind, uint64_t stamp);
struct th_effect *effect_now(struct th_partition *p, enum th_effect_kind kind);
void effects_release(struct th_partition *p);
void flight_add(struct th_partition *p, uint64_t sequence);
void outbox_add(struct th_partition *p, uint64_t sequence, uint32_t index, uint32_t destination,
                struct th_str bytes);
void outbox_release(struct th_partition *p);
void outbox_free(struct th_partition *p);
void run_deferred(struct th_partition *p);
/* Looks for the last durable record again when it is time. The earlier of `next` and that time. */
th_time verify_due(struct th_partition *p, th_time next);
void fence(struct th_partition *p, enum th_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- requests.c ---- */
void request_remember(struct th_partition *p, struct th_str id, th_time now);
bool request_remembered(struct th_partition *p, struct th_str id);
void requests_put(const struct th_partition *p, struct th_buffer *out);
void requests_get(struct th_partition *p, struct th_reader *in);
void requests_free(struct th_partition *p);

/* ---- recover.c ---- */
void wanted_free(struct th_partition *p);
void dispatch_again(struct th_partition *p);

/* ---- checkpoint.c ---- */
void checkpoint_maybe(struct th_partition *p);
/* Those that start, of a checkpoint not yet folded: executions left by continue-as-new run again
 * without any message. */
void checkpoint_starting(struct th_partition *p, struct th_str body,
                         void (*visit)(struct th_partition *p, struct th_str instance_id));
/* False: corrupt; what was folded until then stays. */
bool checkpoint_fold(struct th_partition *p, struct th_str body, struct th_blob *blob,
                     struct th_error *error);
/* A checkpoint is in the log, at this stamp and offset. */
void checkpoint_found(struct th_partition *p, uint64_t stamp, int64_t offset);
/* The floor that goes with a watermark of this sequence. */
struct checkpoint checkpoint_floor(const struct th_partition *p, uint64_t sequence);
void trim_log_maybe(struct th_partition *p);

/* ---- clean.c ---- */
void clean_maybe(struct th_partition *p);
void clean_stop(struct th_partition *p);

/* ---- project.c ---- */
void instance_dirty(struct th_instance *i);
void instance_undirty(struct th_instance *i);
void instance_news(struct th_instance *i); /* it started or ended */
void watermark_moved(struct th_partition *p);
void evict_idle(struct th_partition *p);
void rows_put_back(struct th_partition *p); /* the batch under way came to nothing */
void sort_dirty(struct th_partition *p);
