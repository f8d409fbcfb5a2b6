/*
 * simulated: a hub whose storage, network and time are one value, for tests of everything above
 * the contract. A world holds the durable truth (logs, inboxes, projections), one virtual clock
 * and one seeded generator; each simulated process attaches to it through a handle, which is a
 * th_provider. Nothing happens by itself: th_sim_step lets one pending thing happen, chosen by
 * the seed among all that the contract's ordering rules allow. So the same seed and the same
 * calls give the same run, byte for byte; th_sim_hash tells whether they did.
 *
 * What a submission goes through:
 *
 *     submitted ──lands in the truth──▶ ──acknowledgement travels──▶ completion waits for poll
 *
 * Unordered worlds are like a broker with a separate projection: each pair (handle, partition) of
 * appends, each triple (handle, source, destination) of sends, each pair of projections is a lane
 * that keeps its order, and nothing else does. What a process leaves behind when it dies may
 * still land, a prefix of each lane, mixed with the traffic of its successors ("zombies"). Ordered
 * worlds are like one embedded file: one lane per process, one process at a time.
 *
 * Words between processes (replies, news) may be lost or late, in any order. Activity messages lie
 * in a topic of their own, from which whoever simulates the processes hands them out.
 *
 * Failures beyond the contract's words, chosen so that no real provider behaves worse:
 *   - unordered: when a send fails, those submitted behind it in its lane fail too, and so does
 *     every send of that handle submitted before the node has polled the failures;
 *   - ordered: when something fails, all that was in flight fails, and all that is submitted
 *     before the node has polled the failures;
 *   - STATE fails while the projection is down, but carries the ends of log and inbox even so.
 *
 * One thread. A world is freed after all of its handles are closed.
 */
#pragma once

#include "base/clock.h"
#include "base/hash.h"
#include "provider/contract.h"

struct th_sim_world;

/* What can happen in a step: name, word in the trace. */
#define TH_SIM_EVENTS(X)                                                                   \
    X(APPEND, "append")         /* a claim or record lands in the log */                   \
    X(APPEND_ACK, "append-ack") /* its completion reaches the node */                      \
    X(SEND, "send")             /* a message lands in its inbox */                         \
    X(SEND_ACK, "send-ack")                                                                \
    X(PROJECT, "project") /* a projection is applied or refused */                         \
    X(PROJECT_ACK, "project-ack")                                                          \
    X(ANSWER, "answer")   /* a read, load, query or state is answered */                   \
    X(DELIVER, "deliver") /* a message is delivered from an open inbox */                  \
    X(TRIM, "trim")                                                                        \
    X(COMMIT, "commit") /* ordered: the oldest submission lands, whatever it is */         \
    X(ZOMBIE, "zombie") /* what a dead or fenced process, or a retry, left behind lands */ \
    X(WORD, "word")     /* a reply or news reach another process */

enum th_sim_event {
#define X(name, text) TH_SIM_##name,
    TH_SIM_EVENTS(X)
#undef X
        TH_SIM_EVENT_COUNT
};

struct th_sim_options {
    const char *hub; /* copied */
    uint32_t partitions;
    th_time start;   /* of the virtual clock; the hub's creation */
    th_time step_us; /* a step takes 0 to this many microseconds */

    bool durable_projection;
    bool ordered;
    bool early_delivery;      /* ordered only: deliver a message before it is durable */
    bool keep_trimmed;        /* trimmed records stay visible to th_sim_log and th_sim_inbox */
    bool shared;              /* several processes; never together with `ordered` */
    size_t max_record_bytes;  /* 0: no limit; larger records fail TOO_LARGE */
    size_t max_message_bytes; /* the same for messages */
    uint32_t read_records;    /* most records of one READ completion */

    /* Probabilities, 0 to 1. */
    double lose_append;      /* a claim or append fails and never lands */
    double lose_append_ack;  /* it landed, the node is told that it failed */
    double lose_send;        /* a message fails and never lands */
    double lose_send_ack;    /* it landed, the node is told that it failed */
    double duplicate_send;   /* a partition's message lands a second time, at any later moment */
    double lose_project;     /* a projection fails and is not applied */
    double lose_project_ack; /* it was applied, the node is told that it failed */
    double fail_answer;      /* a read, load, query or state fails */
    double lose_trim;        /* a trim is forgotten */
    double lose_word;        /* a reply or news are lost */
    double zombie;           /* what a dying process has in flight on a lane may still land */

    /* How likely each event is against the others; 0: it does not happen. */
    uint32_t weight[TH_SIM_EVENT_COUNT];
};

/* No faults, every weight 8, one partition, 64 records a read, 10 us a step. */
struct th_sim_options th_sim_defaults(void);

struct th_sim_world *th_sim_world_new(uint64_t seed, const struct th_sim_options *options);
void th_sim_world_free(struct th_sim_world *world);

/* The live options: rates and weights may be changed between steps, the rest must not. */
struct th_sim_options *th_sim_options(struct th_sim_world *world);

/* A process attaches. NULL with UNAVAILABLE when the world is ordered and a process lives. The
 * provider is freed by its close, dead or not. */
struct th_provider *th_sim_open(struct th_sim_world *world, struct th_error *error);

/* ---- time ---- */

/* Lets one thing happen; false when nothing can. */
bool th_sim_step(struct th_sim_world *world);
bool th_sim_idle(const struct th_sim_world *world);
th_time th_sim_now(const struct th_sim_world *world);
void th_sim_advance(struct th_sim_world *world, th_time to); /* earlier than now: nothing */

/* ---- disasters ---- */

/* The process dies: it gets no further completion and its calls do nothing. What had not landed is
 * lost or, a prefix of each lane, still lands: later when unordered, at once when ordered. */
void th_sim_kill(struct th_provider *handle);
void th_sim_power_cut(struct th_sim_world *world); /* kills every handle */

/* A paused process gets no completions; what it submitted goes on landing. */
void th_sim_pause(struct th_provider *handle);
void th_sim_resume(struct th_provider *handle);

/* Empties the projection of a partition, watermark included. False, and nothing happens, when
 * the projection is durable. */
bool th_sim_wipe_projection(struct th_sim_world *world, uint32_t partition);
/* Takes a copy of the projection, and puts the last copy back: a store restarted from an old dump.
 * Without a copy, or when the projection is durable, false. */
void th_sim_dump_projection(struct th_sim_world *world, uint32_t partition);
bool th_sim_restore_projection(struct th_sim_world *world, uint32_t partition);
/* While it is down, projections, loads, queries and states fail. */
void th_sim_projection_down(struct th_sim_world *world, bool down);
/* One row is lost, and nothing says so. False: there is none, or the projection is durable. */
bool th_sim_lose_row(struct th_sim_world *world, uint32_t partition);
/* The log loses its records from `end` on (an unclean leader election). What was on its way to be
 * acknowledged went with the connection: it fails. */
void th_sim_truncate_log(struct th_sim_world *world, uint32_t partition, int64_t end);
/* The connections to a log were cut, and are there again. */
void th_sim_doubt(struct th_sim_world *world, uint32_t partition);

/* ---- what happened ---- */

/* One line per submission and event, without newline, the same for the same seed. */
void th_sim_trace(struct th_sim_world *world, void (*sink)(void *argument, const char *line),
                  void *argument);
uint64_t th_sim_hash(const struct th_sim_world *world); /* of all lines so far */
uint64_t th_sim_steps(const struct th_sim_world *world);

/* ---- the truth, for checkers; borrowed until the next call that changes the world ---- */

struct th_sim_record {
    int64_t offset;
    struct th_blob *bytes;
    bool durable;    /* false: delivered early, not yet in the inbox */
    unsigned handle; /* who wrote it: 1, 2, … in the order of opening */
};

struct th_sim_topic {
    int64_t start, end;                  /* first retained offset, next offset */
    const struct th_sim_record *records; /* those below `start` were trimmed (keep_trimmed) */
    size_t count;
};

struct th_sim_projection {
    struct th_watermark watermark;
    struct th_row *const *rows; /* by instance id; `history` is the whole history */
    size_t count;
};

struct th_sim_topic th_sim_log(const struct th_sim_world *world, uint32_t partition);
struct th_sim_topic th_sim_inbox(const struct th_sim_world *world, uint32_t partition);
struct th_sim_topic th_sim_activities(const struct th_sim_world *world); /* TH_SEND_ACTIVITIES */
struct th_sim_projection th_sim_projection(const struct th_sim_world *world, uint32_t partition);
