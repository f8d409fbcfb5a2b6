/*
 * internal: a node's state.
 *
 *   node.c      partitions: claim, recover, step, effects, projection
 *   commands.c  clients' commands: one ticket each, from message to answer
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

enum part_state {
    PART_IDLE,     /* not ours */
    PART_CLAIMING, /* the claim is under way */
    PART_STATE,    /* asking where log and projection stand */
    PART_READING,
    PART_ROWS, /* waiting for the rows the fold needs */
    PART_ACTIVE,
    PART_BACKOFF, /* lost; claimed again at retry_at */
};

struct part {
    uint32_t index;
    enum part_state state;
    struct th_partition *core;
    uint16_t generation;
    int64_t epoch;
    int64_t read_at;
    bool seen_first;
    struct th_watermark watermark;
    size_t rows_missing;
    th_time retry_at;
    uint32_t losses;   /* in a row */
    char trouble[256]; /* what the last loss was about; empty: none since the partition is ours */
    bool release;
    bool flush;                     /* project at once */
    th_time project_after;          /* not before, because the last one failed; NONE: any time */
    struct th_watermark projecting; /* where the batch under way leads */
    struct th_log_record *gap;
    size_t gap_count, gap_capacity;
    int64_t gap_end;
    int64_t delivered; /* offset after the last delivery */
    int64_t promised;  /* inbox offset below which everything was durable before the claim, or was
                        * acknowledged to a client of ours: absence can be believed from there on */
    th_time active_since;
    th_time check_at; /* when to look whether the partition is still ours */
    bool checking;
    struct th_watermark checked; /* where the projection stood when the look began */
};

enum op_kind { OP_ROW, OP_LOAD, OP_GAP, OP_TICKET, OP_START };

/* A submission whose completion needs more than its tag says. */
struct op {
    UT_hash_handle hh;
    uint64_t number;
    enum op_kind kind;
    uint32_t partition;
    char *id;
    uint64_t ticket;
};

struct crash_report {
    struct crash_report *next;
    char *id;
    int32_t task_id;
    char *reason;
};

enum ticket_state {
    TICKET_MESSAGE, /* its message is under way; the owner, or durability, answers */
    TICKET_LOOK,    /* look again at every step until the view is durable */
    TICKET_LOAD,    /* a row is being read */
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

struct ticket {
    UT_hash_handle hh;          /* node->tickets */
    struct ticket *prev, *next; /* node->looking, or waiters->first */
    uint64_t number;
    enum ticket_state state;
    struct th_command command; /* strings in `arena` */
    struct th_arena arena;
    th_reply_fn reply;
    void *argument;
    th_time asked;
    bool listed;
    struct waiters *waiters; /* listed there; NULL: in node->looking */
    struct job *job;
};

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
    struct op *ops;
    uint64_t next_op;
    struct ticket *tickets;
    uint64_t next_ticket;
    struct ticket *looking;
    struct waiters *waiting;
    th_time next_deadline;
    th_time next_patience; /* when to look for commands that went unanswered for too long */
    struct crash_report *crashes;
    struct th_node_stats stats;
};

/* ---- node.c ---- */
struct part *node_part_of(struct th_node *node, struct th_str instance_id);
uint64_t node_op(struct th_node *node, enum op_kind kind, uint32_t partition, struct th_str id,
                 uint64_t ticket);
uint64_t part_tag(const struct part *part, uint64_t value);

/* ---- commands.c ---- */
void ticket_finish(struct th_node *node, struct ticket *t, const struct th_reply *reply);
void ticket_fail(struct th_node *node, struct ticket *t, enum th_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct ticket *ticket_find(struct th_node *node, uint64_t number);
void tickets_reply(struct th_node *node, const char *reply_to, const char *id,
                   const struct th_error *error);
void tickets_changed(struct th_node *node, struct th_str id);
void tickets_look(struct th_node *node, uint64_t number); /* what it read is not to be believed */
void tickets_completed(struct th_node *node, uint64_t number, struct th_completion *completion);
void tickets_sent(struct th_node *node, uint64_t number, const struct th_error *error);
void tickets_step(struct th_node *node);
void tickets_free(struct th_node *node);

/* ---- jobs.c ---- */
void job_start(struct th_node *node, struct ticket *t);
void job_free(struct ticket *t);
