/*
 * model: the commit protocol as it is built, checked by visiting every state within bounds. One
 * state holds what is durable (logs, inboxes, projections, the topic of activities), what every
 * owner knows, and what is still under way from owners long dead.
 *
 *   rules.h      the rules of the protocol; each can be broken on purpose
 *   workload.c   messages and what each leads to
 *   config.c     configurations: workload, bounds, disasters; and what each mutation needs
 *   fold.c       validity, the fold of a log, what a loader makes of log and rows
 *   owner.c      claim, episodes, appends, acknowledgements, sends
 *   project.c    batches of rows, taking over a projection, making it again, cleaning the log
 *   world.c      disasters, activities, and who may act next
 *   check.c      what must hold in every state
 *   search.c     breadth-first search, shortest counter-examples, "can all work still be finished?"
 *   print.c      traces
 *   main.c       the command line
 *
 * What an owner has in memory is not stored: as long as the model is right it is the fold of the
 * valid records before its claim and of its own. Each load computes what the rules really yield
 * and is compared with that, so a difference ends the search at once.
 *
 * A stamp is a sequence plus one, so that 0 means "before every record".
 *
 * Left out, because it decides nothing here: time, payloads, what an orchestrator's code does;
 * large records in parts (the last one counts); the record that seals the outbox at a hand-over
 * (the mark `sent` rides on every record); the embedded provider, where everything takes effect in
 * order. An activity may run again at any time, so a hand-over, which only saves runs, changes
 * nothing: what counts is that one result is accepted. Answers of the log and of the projection are
 * read at the moment at which they are used: answers that come late are the simulation's. That a
 * partition stops where its log lost its end is checked; what is left of a log that had been
 * cleaned, too, is not. Without taking the projection over (READER_TAKES) everything here holds as
 * well: batches have numbers. It spares a rebuild.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/model/rules.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum {
    PARTS = 2,
    OWNERS = 4, /* of one partition, in the order of their claims; the last only for finishing */
    INSTANCES = 3,
    LOG_MAX = 22,
    STAMP_MAX = 16, /* a row's history is a set of sequences */
    INBOX_MAX = 12,
    FLIGHT_MAX = 2,
    WORK_MAX = 6,
    OUT_MAX = 12,
    MESSAGES = 12,
    NONE = 0xff,
};

/* ---- the state ----
 * Bytes only: a state is compared, hashed and stored as it lies in memory. */

enum kind { CLAIM, EPISODE, PURGE, MARKS, PARK, CHECKPOINT, SNAPSHOT };
enum source { FROM_NOTHING, FROM_INBOX, FROM_LOCAL };
enum { CREATES = 1, ACCEPTS = 2 };

struct record {
    u8 kind, owner; /* index of the writer plus one: the nonce of its claim */
    u8 epoch, seq;
    u8 instance, message; /* message: of the workload; NONE */
    u8 source, from;      /* what it consumes: offset, or local reference */
    u8 pos, vec, sent;    /* marks */
    u8 flags;
    u16 history; /* SNAPSHOT: the copy */
};

enum inbox_source { CLIENT, PARTITION, ACTIVITY };

struct entry {
    u8 source, seq, index, message; /* ACTIVITY: seq is the stamp of the scheduling record */
};

struct watermark {
    u8 offset; /* plus one; 0: there is none */
    u8 epoch, seq, batch, floor, rows, building;
};

struct row {
    u8 last, full; /* stamps; last 0: no row */
    u16 history;   /* sequences of the episodes in it */
};

struct projection {
    struct watermark w;
    u8 pad;
    struct row rows[INSTANCES];
};

enum batch_kind { NO_BATCH, OWN_ROWS, WINDOW, TAKE };

/* A call to the projection under way: all it needs to take effect without its sender. */
struct batch {
    u8 kind, set, upto, clear;
    u8 start, covered; /* WINDOW: where the log began, stamp of the window before */
    u8 stamps[INSTANCES], dropped[INSTANCES];
    struct watermark previous, next;
};

enum phase { UNUSED, CLAIMED, TAKING, ADOPTED, REBUILDING, ACTIVE, DEAD };

struct owner {
    u8 phase, epoch, base; /* base: stamps before its claim */
    u8 acked, expected;    /* own records believed; next offset */
    u8 doubt, lost;        /* must read back; its acknowledged records are gone */
    u8 flying;
    u8 sent, released;    /* messages of the outbox, counted from the log's start; released: DEAD */
    u8 trim;              /* DeleteRecords under way, below this offset; 0: none */
    u8 stamps[INSTANCES]; /* what each row reflects, as it believes */
    u8 dropped[INSTANCES]; /* history it no longer has although no row does; 0 if all is well */
    u8 number;             /* of its last batch */
    u8 unresolved;         /* what became of the batch is to be looked up */
    u8 clear, building;    /* the first batch drops what is stored; not all is there again yet */
    u8 until;              /* building: up to this stamp */
    u8 beside, target;     /* a reader beside it makes the projection again, up to this stamp */
    u8 begun, start,
        covered; /* reader: its first window is out; from this offset, up to this stamp */
    struct watermark w, seen;   /* seen: as its reader left the projection */
    struct batch batch, window; /* its own, and that of its reader */
    struct batch late;          /* without an answer in time, on its way perhaps */
    struct record flight[FLIGHT_MAX];
};

struct part {
    u8 count, start; /* log */
    u8 inbox_count, inbox_start;
    u8 acked_end; /* no acknowledged record lies at or above */
    u8 work_count;
    u8 checkpoints, snapshots, claims, stopped;
    u8 env_next, env_back;
    u8 pad;
    u8 work[WORK_MAX]; /* activities in A: stamps of the records that scheduled them, sorted */
    u8 pad2;
    struct projection now, saved;
    struct record log[LOG_MAX];
    struct entry inbox[INBOX_MAX];
    struct owner owners[OWNERS];
};

struct state {
    u8 wipes, saves, losses, cuts, holes, timeouts, again, damaged;
    struct part parts[PARTS];
};

/* ---- workload.c, config.c ---- */

enum message_kind { START, EVENT, REMOVE };
enum arrival {
    OUTPUT,
    BY_CLIENT,
    BY_STREAM
}; /* BY_STREAM: an in-order source that repeats itself */

struct message {
    u8 part, instance, kind, arrival;
    u8 out[2];   /* messages it leads to, plus one */
    u8 activity; /* message that the completion of the activity it starts is handled as, plus one */
    bool parked; /* first becomes a local message */
};

struct workload {
    const char *name;
    struct message messages[MESSAGES];
    u8 count;
};

struct config {
    const char *name, *workload, *about;
    u8 parts, claims[PARTS];
    u8 flight;           /* records under way of one owner */
    bool project[PARTS]; /* whether the partition has a projection */
    bool evict;          /* an instance whose row is up to date leaves memory at once */
    bool subset;         /* a batch may leave out any instance */
    bool clean;          /* cleaning by copying forward */
    bool settled;        /* begins when all is done, with a floor */
    u8 checkpoints, snapshots;
    u8 window; /* records in one window of making the projection again */
    u8 wipes, saves, losses, cuts, holes, timeouts, again, backs;
    bool long_run;  /* not among the quick ones */
    bool no_finish; /* does not ask whether all work can still be finished */
    u8 table_bits;  /* of the table of states seen; 0: 22 */
};

extern const struct config *config;                 /* of this run */
extern const struct workload *workload;             /* its */
const struct config *config_find(const char *name); /* NULL: none */
const struct config *config_at(size_t index);       /* NULL: no more */
const struct workload *workload_find(const char *name);

/* Rules broken together: some back each other up. */
struct mutation {
    enum rule rules[2];
    u8 count;
    const char *config; /* that must show it */
};

const struct mutation *mutation_at(size_t index);
enum rule rule_find(const char *name); /* RULES_TOTAL: none */
const char *rule_name(enum rule rule);
const char *rule_text(enum rule rule);

extern bool broken[RULES_TOTAL];
#define RULE(name) (!broken[RULE_##name])

/* ---- fold.c ---- */

struct out {
    u8 seq, index, message; /* message NONE: work for A */
};

/* Partition state: a fold. `history` 0: the instance is not there. */
struct fold {
    u8 next, pos, vec, sent;
    u16 consumed;
    u32 locals; /* by reference: sequence * 2 + index */
    u8 local_message[2 * STAMP_MAX];
    struct row instances[INSTANCES];
    u8 pending[INSTANCES], pending_message[INSTANCES]; /* stamp that scheduled it; handled as */
    u8 out_count;
    struct out outs[OUT_MAX];
};

struct validity {
    bool started;
    u8 epoch, nonce, next;
};

bool validity_feed(struct validity *v, u8 offset, const struct record *r, bool trusted);
/* Bit per offset. */
u32 valid_records(const struct part *p);
/* What a valid record or one's own does. */
void fold_record(struct fold *f, u8 part, const struct record *r);
/* All valid records below `end` with a stamp of at most `stamp`, from offset 0: the truth. */
void fold_truth(const struct part *p, u8 part, u8 end, u8 stamp, struct fold *out);
/* The memory of an owner: with its own records, landed and in flight. */
void fold_memory(const struct part *p, u8 part, const struct owner *o, u8 index, struct fold *out);
/* What a loader sees: from offset `from` to `end`, up to `stamp`, onto rows (NULL: onto nothing).
 * False: what stands at `from` cannot be trusted, or a record came twice into an instance. */
bool fold_load(const struct part *p, u8 part, u8 from, u8 end, u8 stamp, const struct row *rows,
               struct fold *out);
/* Instances only, from a log that was cleaned. */
void fold_instances(const struct part *p, u8 from, u8 stamp, struct row *out);
/* NULL: equal; else what differs. */
const char *fold_difference(const struct fold *a, const struct fold *b);

u8 offset_of_stamp(const struct part *p, u8 stamp); /* of a valid record; NONE */
u8 last_claim(const struct part *p);                /* owner index; NONE */

/* Inbox: which entries are accepted, and the position after what is consumed. */
u16 inbox_accepted(const struct part *p);
u8 inbox_position(const struct part *p, u16 consumed, u16 accepted);
u8 inbox_vector(const struct part *p, u8 position);
u8 origin_key(u8 seq, u8 index);

bool watermark_equal(const struct watermark *a, const struct watermark *b);
bool watermark_older(const struct watermark *stored, const struct watermark *known);
bool count_is_right(const struct projection *r);

/* ---- the search's side of a step ---- */

enum act {
    ACT_CLAIM,
    ACT_DIE,
    ACT_DROP,
    ACT_ADOPT,
    ACT_LOAD,
    ACT_LOAD_REST,
    ACT_EPISODE,
    ACT_CHECKPOINT,
    ACT_SNAPSHOT,
    ACT_CLEAN,
    ACT_LAND,
    ACT_ACK,
    ACT_READ_BACK,
    ACT_SEND,
    ACT_BATCH,
    ACT_BATCH_ALL,
    ACT_BATCH_LANDS,
    ACT_LATE_LANDS,
    ACT_TIMEOUT,
    ACT_LOOK,
    ACT_WINDOW,
    ACT_DELETE,
    ACT_WIPE,
    ACT_SAVE,
    ACT_ROLLBACK,
    ACT_LOSE_ROW,
    ACT_CUT,
    ACT_HOLE,
    ACT_WORK,
    ACT_WORK_AGAIN,
    ACT_STREAM,
    ACT_STREAM_BACK,
    ACT_COUNT
};

struct step {
    u8 act, part, owner, arg;
};

struct steps {
    const struct state *from;
    bool finishing; /* no disasters any more, one claim more */
    void (*take)(struct steps *steps, const struct state *to, struct step step);
    struct state to; /* the successor under construction */
};

/* Calls `take` for every successor. */
void successors(struct steps *steps);
void owner_steps(struct steps *steps, u8 part, u8 index);
void project_steps(struct steps *steps, u8 part, u8 index);
void project_load_steps(struct steps *steps, u8 part, u8 index);

/* A fresh copy of the state, to be changed and then emitted. */
struct part *change(struct steps *steps, u8 part);
void emit(struct steps *steps, enum act act, u8 part, u8 owner, u8 arg);
void owner_die(struct part *p, u8 part, u8 index);
/* Stamps its acknowledged records reach. */
u8 acked_stamp(const struct owner *o);
bool owner_acts(const struct owner *o);
void out_of_bounds(const char *what) __attribute__((noreturn));

/* ---- check.c ---- */

/* The first violation of the step or state at hand; empty: none. */
extern char violation[256];
void violate(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_state(const struct state *s);
void check_acknowledged(const struct state *s, u8 part, u8 offset);
void check_sent(const struct state *s, u8 part, u8 index, const struct out *o);
/* Whether a loader may begin with these rows, and whether they know more than the log. */
bool rows_are_believed(const struct part *p);
bool watermark_is_there(const struct part *p, u8 end);
bool log_lost_its_end(const struct part *p, u8 part, u8 end);
bool everything_done(const struct state *s);

/* ---- search.c, print.c ---- */

struct result {
    u64 states, edges, finished; /* finished: states in which everything is done */
    u32 depth;
    bool failed, limited;
    double seconds;
    u64 bytes;
};

struct limits {
    u64 states; /* stop after so many */
    u32 table_bits;
    bool finish; /* whether all work can still be finished from each state */
    bool trace;  /* print the counter-example */
};

void search(const struct limits *limits, struct result *result);
/* Kinds of steps that no search has taken so far, by their outcome where that matters: printed. */
size_t print_steps_never_taken(void);
void initial(struct state *s);
size_t state_size(void);

const char *step_words(u8 act);
void print_step(struct step step, const struct state *after);
void print_state(const struct state *s);
