/*
 * internal: a node's state.
 *
 *   node.c      making, stepping, draining; what comes in by function call
 *   lease.c     one partition's way from a claim to work, and how it is lost
 *   reader.c    folds a log piece by piece: before a lease's work, or beside it
 *   project.c   an owner's rows, and what is to be done when the projection does not follow
 *   complete.c  completions: whom they are for
 *   effects.c   carries out what the cores decided; runs episodes
 *   gone.c      workers that are no more, and what was left to them
 *   version.c   which versions of an orchestrator this process may run
 *   results.c   of activities that run for a partition of another process
 *   commands.c  clients' commands: one ticket each, from message to answer
 *   look.c      commands that look, where everything known is in this process
 *   remote.c    commands that look, where the partition may be anybody's
 *   view.c      the hub at a moment
 *   jobs.c      commands made of others: restart, recursive purge, purge by filter
 *
 * A provider's tag is the partition's generation in the high 16 bits and the core's own tag, or
 * the number of an operation, below: what comes back for an earlier lease is recognised.
 */
#pragma once

#include <uthash.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/memory.h"
#include "node/node.h"
#include "partition/partition.h"
#include "provider/provider.h"

#define GENERATION_SHIFT 48
#define VALUE_MASK       ((UINT64_C(1) << GENERATION_SHIFT) - 1)
/* Client sends carry their operation in a generation no lease uses. */
#define CLIENT_TAG (UINT64_C(0xffff) << GENERATION_SHIFT)

/* After something did not answer it is asked again. */
#define ASK_AGAIN (100 * TH_MILLISECOND)

enum part_state {
    PART_IDLE,     /* not ours */
    PART_CLAIMING, /* the claim is under way */
    PART_READING,  /* it stands; the log is folded */
    PART_ACTIVE,
    PART_BACKOFF, /* lost; claimed again at retry_at */
    PART_STOPPED, /* its log lost its end, or is a newer program's: somebody has to look at it */
};

/* Folds a log piece by piece: see reader.c. */
struct reader {
    struct th_partition *core; /* of a lease: the partition's; beside one: its own. NULL: none */
    bool beside;
    enum {
        READER_STATE,
        READER_CHECKS,
        READER_TAKES,
        READER_LOOKS,
        READER_READS,
        READER_ROWS,
        READER_STORES
    } state;
    uint64_t serial; /* of this attempt: what comes back for another one is ignored */
    int64_t at, to;
    int64_t looked, log_end;        /* how far it looked for claims; where the log ended then */
    bool begun;                     /* has seen its first record */
    bool rebuild;                   /* no row is believed but those it made itself */
    bool stored;                    /* it has made some */
    size_t fed;                     /* records of the piece */
    size_t rows_missing;            /* answers of loads still to come */
    struct th_watermark expected;   /* every row has to be of this one */
    struct th_watermark projecting; /* where the batch under way leads */
    th_time again_at;               /* to do again what failed; NONE: nothing has */
};

/* The projection as seen by those of this process who look at it. */
struct outlook {
    int64_t seen;        /* rows at lower watermarks are older than what was shown before */
    unsigned waiters;    /* tickets that wait for a change */
    bool watching;       /* news are wanted */
    th_time watch_until; /* without waiters */
    th_time poll_at;     /* look again although no news came */
    struct peek *starts; /* unconsumed starts in the inbox, by instance id */
    bool peeking;
    int64_t peeked; /* offset after the last message that was looked at */
    th_time peek_until;
};

struct part {
    struct th_node *node;
    uint32_t index;
    enum part_state state;
    struct th_partition *core;
    uint16_t generation;
    int64_t epoch;
    struct reader lease, rebuild;
    struct th_watermark watermark;
    th_time retry_at;
    uint32_t losses;   /* in a row: none of these leases was kept for long */
    char trouble[256]; /* what the last loss was about; empty: none since the partition is ours */
    char said[256];    /* what was logged of it last */
    th_time said_at;
    bool distrusted;    /* its projection was found damaged: the next lease makes it again */
    bool doubted;       /* the connection to the log was cut since the claim */
    bool releasing;     /* given up as soon as what is under way is durable … */
    bool take_again;    /* … and then taken anew */
    th_time release_by; /* … and at the latest then */

    /* projecting, of an owner */
    bool flush;                     /* project at once */
    th_time project_after;          /* not before, because the last one failed; NONE: any time */
    struct th_watermark projecting; /* where the batch under way leads */
    bool unresolved;                /* whether it is there is not known */
    bool intake_stopped;            /* too much waits to be projected: the inbox has to wait */

    struct th_log_record *gap;
    size_t gap_count, gap_capacity;
    int64_t gap_end;
    int64_t delivered; /* offset after the last delivery */
    int64_t promised;  /* inbox offset below which everything was durable before the claim, or was
                        * acknowledged to a client of ours: absence can be believed from there on */
    th_time active_since;
    th_time check_at; /* when to look whether the partition is still ours */
    bool checking;
    struct th_watermark checked;            /* where the projection stood when the look began */
    int64_t checked_offset;                 /* and the last record that was acknowledged */
    int64_t checked_delivered, checked_end; /* of the inbox, at the last look … */
    th_time inbox_check_at;                 /* … and when the next one is */

    struct parting *partings; /* workers that are gone: see gone.c */
    struct outlook outlook;
};

enum op_kind {
    OP_READ,  /* of a reader; `ticket` is its serial, as for the next three */
    OP_STATE, /* ticket 0: an owner's check */
    OP_ROW,   /* `id` */
    OP_STORE, /* a batch; ticket 0: the owner's */
    OP_LOAD,  /* `id`, for the core */
    OP_GAP,
    OP_GONE, /* STATE; `id` is a worker */
    OP_VERIFY,
    OP_WALK,
    OP_TICKET, /* for a command */
};

/* A submission whose completion needs more than its tag says. */
struct op {
    UT_hash_handle hh;
    struct op *prev, *next; /* node->later */
    uint64_t number;
    enum op_kind kind;
    uint32_t partition;
    char *id;
    uint64_t ticket;
    uint16_t generation; /* of the partition, when it was submitted */
    th_time due;         /* LOAD, ROW that failed: when to ask again */
};

struct crash_report {
    struct crash_report *next;
    char *id;
    int32_t task_id;
    char *reason;
};

/* An activity that runs on for a partition that was handed over. */
struct handed {
    UT_hash_handle hh; /* node->handed, by token */
    uint64_t token, scheduled;
    char *instance_id, *execution_id;
    int32_t task_id;
};

struct handing {
    struct th_node *node;
    struct part *part;
};

enum ticket_state {
    TICKET_MESSAGE, /* its message is under way; the owner, or durability, answers */
    TICKET_LOOK,    /* look again at every step until the view is durable */
    TICKET_LOAD,    /* a row is being read */
    TICKET_ENDS,    /* the ends of an inbox are being read */
    TICKET_LATER,   /* look again at a moment */
    TICKET_WAIT,    /* waits for a change of the instance */
    TICKET_FLUSH,   /* waits for the projection, then queries */
    TICKET_QUERY,   /* the query is under way */
    TICKET_JOB,     /* made of other commands */
};

/* Tickets that wait for a change of one instance. */
struct waiters {
    UT_hash_handle hh; /* node->waiting, by id */
    char *id;
    struct ticket *first;
};

/* How far a partition's inbox and log reached when a question was asked. */
struct reach {
    int64_t inbox, log;
};

struct ticket {
    UT_hash_handle hh;          /* node->tickets */
    struct ticket *prev, *next; /* node->looking, or waiters->first */
    uint64_t number;
    enum ticket_state state;
    struct th_command command; /* strings in `arena` */
    struct th_arena arena;
    th_reply_fn reply;
    void *argument;
    th_time asked, again_at;
    bool listed;
    struct waiters *waiters; /* listed there; NULL: in node->looking */
    struct job *job;
    /* looking through the projection */
    int64_t position;   /* of the inbox, as the row that was not there has it */
    struct reach *ends; /* what has to be in the answer; a QUERY's by partition; NULL: not known */
    uint32_t ends_missing;
    struct th_hub_partition_view *states; /* HUB: of partitions that are not ours; by partition */
};

struct away; /* an episode that runs elsewhere */

struct th_node {
    struct th_node_options options;
    struct th_provider *provider;
    struct th_provider_traits traits;
    struct th_executor *executor;
    struct th_random random;
    struct part *parts;
    uint32_t part_count;
    th_time now;
    bool draining, held, closing;
    struct op *ops, *later;
    uint64_t next_op, next_serial;
    struct ticket *tickets;
    uint64_t next_ticket;
    struct ticket *looking;
    struct waiters *waiting;
    th_time next_deadline;
    th_time next_patience; /* when to look for commands that went unanswered for too long */
    struct crash_report *crashes;
    struct result *results;
    struct handed *handed;
    struct th_node_stats stats;
    struct away *away;
    size_t entities_away, entities_waiting; /* of those: that run, that wait to */
    uint64_t next_episode;
    th_time waited; /* when an instance was last said to wait for a function */
};

/* ---- node.c ---- */
struct part *node_part_of(struct th_node *node, struct th_str instance_id);
void node_say(const struct th_node *node, enum th_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void node_forget(struct th_node *node, struct th_str instance_id);
uint64_t node_token(const struct part *part, uint64_t token);
void node_keep_counts(struct th_node *node, const struct part *part);
struct th_partition *node_core_new(struct th_node *node, struct part *part);
th_time earlier(th_time a, th_time b);

/* ---- lease.c ---- */
void part_claim(struct th_node *node, struct part *part);
void part_drop(struct th_node *node, struct part *part);
void part_trouble(struct part *part, const char *what); /* for whoever has to wait for it */
void part_lose(struct th_node *node, struct part *part, const struct th_error *error);
void part_activate(struct th_node *node, struct part *part);
void part_claimed(struct th_node *node, struct part *part, struct th_completion *c);
void part_doubt(struct th_node *node, struct part *part);
/* Whether the partition is still ours is looked at now and then, and when something is amiss. */
th_time part_check(struct th_node *node, struct part *part);
void part_checked(struct th_node *node, struct part *part, struct th_completion *c);
void part_report_crashes(struct th_node *node, struct part *part);
th_time part_step_release(struct th_node *node, struct part *part);

/* ---- reader.c ---- */
/* Folds the log into the partition's core, or beside it up to `to` into one of its own. */
void reader_start(struct th_node *node, struct part *part, struct reader *r, int64_t to);
void reader_stop(struct reader *r);
struct reader *reader_of(struct part *part, uint64_t serial); /* NULL: that attempt is over */
void reader_state(struct th_node *node, struct part *part, struct reader *r,
                  struct th_completion *c);
void reader_read(struct th_node *node, struct part *part, struct reader *r,
                 struct th_completion *c);
/* False: it was no answer; ask again. */
bool reader_row(struct th_node *node, struct part *part, struct reader *r, const struct op *op,
                struct th_completion *c);
void reader_stored(struct th_node *node, struct part *part, struct reader *r,
                   struct th_completion *c);
th_time reader_step(struct th_node *node, struct part *part, struct reader *r);

/* ---- project.c ---- */
void project_stored(struct th_node *node, struct part *part, struct th_completion *c);
/* Whether a projection stands before where it is known to have stood. */
bool projection_is_older(const struct th_watermark *stored, const struct th_watermark *known);
/* What a look at the projection says of it, and of a batch whose fate is not known. */
void project_looked(struct th_node *node, struct part *part, const struct th_watermark *stored,
                    uint64_t rows);
th_time project_step(struct th_node *node, struct part *part);

/* ---- complete.c ---- */
uint64_t part_tag(const struct part *part, uint64_t value);
uint64_t node_op(struct th_node *node, enum op_kind kind, uint32_t partition, struct th_str id,
                 uint64_t ticket);
uint64_t send_tag(const struct part *part, uint64_t tag);
void complete(struct th_node *node, struct th_completion *c);
th_time later_step(struct th_node *node);
void ops_free(struct th_node *node);

/* ---- effects.c ---- */
bool effects_carry_out(struct th_node *node, struct part *part);
/* Entities that waited for others to come back (away.c). */
void effects_run_waiting(struct th_node *node);
void effects_read_gap(struct th_node *node, struct part *part, int64_t from);

/* ---- version.c ---- */
bool version_fits(const struct th_node_options *o, struct th_str version);

/* ---- gone.c ---- */
void gone_add(struct th_node *node, struct part *part, struct th_str worker);
void gone_state(struct th_node *node, struct part *part, const char *worker,
                const struct th_completion *c);
th_time gone_step(struct th_node *node, struct part *part);
void gone_drop(struct part *part);
/* For the core, with the part: a worker that is not is left its activities for the moment. */
bool gone_is_alive(void *part, struct th_str worker);

/* ---- results.c ---- */
void node_result(struct th_node *node, const struct th_shared_result *result,
                 void (*done)(void *argument), void *argument);
void results_sent(struct th_node *node, uint64_t number, const struct th_error *error);
th_time results_step(struct th_node *node);
void results_free(struct th_node *node);
bool handed_add(void *handing, const struct th_running_task *task);
bool handed_done(struct th_node *node, const struct th_activity_answer *answer);
void handed_free_all(struct th_node *node);

/* ---- commands.c ---- */
void ticket_finish(struct th_node *node, struct ticket *t, const struct th_reply *reply);
void ticket_fail(struct th_node *node, struct ticket *t, enum th_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct ticket *ticket_find(struct th_node *node, uint64_t number);
void ticket_look_later(struct th_node *node, struct ticket *t, th_time delay);
void ticket_list_looking(struct th_node *node, struct ticket *t);
void ticket_list_waiting(struct th_node *node, struct ticket *t);
void ticket_unlist(struct th_node *node, struct ticket *t);
void ticket_answer_info(struct th_node *node, struct ticket *t,
                        const struct th_instance_info *info);
void ticket_answer_row(struct th_node *node, struct ticket *t, const struct th_row *row);
bool ticket_wait_is_over(const struct ticket *t, const struct th_instance_info *info);
void ticket_keep_waiting(struct th_node *node, struct ticket *t);
void ticket_absent(struct th_node *node, struct ticket *t);
void ticket_query(struct th_node *node, struct ticket *t);
void ticket_answer_query(struct th_node *node, struct ticket *t, struct th_completion *c);
struct waiters *waiters_of(struct th_node *node, struct th_str id);
/* The owner answers a message: to a ticket here, or to the process that asked. */
void tickets_reply(struct th_node *node, const struct part *part, const char *reply_to,
                   const char *id, const struct th_error *error);
void tickets_replied(struct th_node *node, struct th_completion *c);
void tickets_completed(struct th_node *node, uint64_t number, struct part *part, bool current,
                       struct th_completion *completion);
void tickets_sent(struct th_node *node, uint64_t number, const struct th_error *error);
th_time tickets_step(struct th_node *node);
void tickets_free(struct th_node *node);

/* ---- look.c ---- */
void look(struct th_node *node, struct ticket *t);
void look_row(struct th_node *node, struct ticket *t, struct part *part, bool current,
              struct th_completion *c);
void look_query(struct th_node *node, struct ticket *t);
void look_changed(struct th_node *node, struct th_str id);

/* ---- remote.c ---- */
void remote_look(struct th_node *node, struct ticket *t);
void remote_completed(struct th_node *node, struct ticket *t, struct part *part,
                      struct th_completion *c);
void remote_query(struct th_node *node, struct ticket *t);
void remote_waits(struct th_node *node, struct part *part);
void remote_waits_no_more(struct th_node *node, struct part *part);
void remote_news(struct th_node *node, struct part *part, struct th_completion *c);
void remote_seen(struct part *part, int64_t offset);
void remote_peek(struct th_node *node, struct part *part, struct th_completion *c);
void remote_stop_peeking(struct th_node *node, struct part *part);
th_time remote_step(struct th_node *node, struct part *part);

/* ---- view.c ---- */
void view_ask(struct th_node *node, struct ticket *t);
void view_state(struct th_node *node, struct ticket *t, struct part *part, struct th_completion *c);

/* ---- jobs.c ---- */
void job_start(struct th_node *node, struct ticket *t);
void job_free(struct ticket *t);

/* ---- away.c ---- */
void away_add(struct th_node *node, struct part *part, struct th_instance *instance,
              uint64_t number);
/* Whether as many entities as may be are away; then this one waits with them. */
bool away_must_wait(struct th_node *node, struct part *part, struct th_instance *instance);
/* The next of these that may begin. False: none. */
bool away_take_waiting(struct th_node *node, struct part **part, struct th_instance **instance);
/* All of a partition, which is being given up. */
void away_drop(struct th_node *node, const struct part *part);
/* That of an instance, which is told something that cannot wait. */
void away_interrupt(struct th_node *node, struct part *part, struct th_str instance_id,
                    uint64_t tag);
