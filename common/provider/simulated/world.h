/*
 * world: the moving parts around the truth. Private to simulated/.
 *
 * An operation (sim_op) is one submission. It waits in a lane: a queue that keeps its order and
 * whose head may be the next thing to happen. Landing takes it from its first lane (APPEND, SEND,
 * PROJECT, TRIM, or COMMIT for all of them in an ordered world) to the truth and then to the lane
 * of its acknowledgement, from where it becomes a completion. Lanes of the dead belong to the
 * world and end at the truth.
 */
#pragma once

#include "provider/simulated/truth.h"

struct sim_op {
    struct sim_op *next;
    bool trim;                    /* TRIM_LOG or TRIM_INBOX, no completion; `kind` says which */
    enum th_completion_kind kind; /* trim: APPEND for the log, SEND for the inbox */
    uint32_t partition;           /* sends: the destination */
    uint32_t source;
    unsigned handle;
    uint64_t epoch, tag;
    int64_t from, to; /* READ; trim: `to`; early send: `from` is the offset it was delivered at;
                         STATE: where the log began and ended when it was asked */
    struct th_blob *blob;
    struct th_projection batch; /* PROJECT; owns rows */
    char *text;                 /* LOAD: the id; `text_len` bytes */
    size_t text_len;
    bool history;          /* LOAD */
    struct th_query query; /* strings are heap copies */
    bool doomed;           /* will fail without landing, and its failure is counted already */
    enum th_code code;     /* of the acknowledgement */
    const char *why;
    int64_t offset;
};

void sim_op_free(struct sim_op *op);

struct sim_lane {
    enum th_sim_event event;
    uint32_t a, b;
    struct sim_op *first, *last;
};

struct sim_lanes {
    struct sim_lane *items;
    size_t count, capacity;
};

/* Appends to the lane (event, a, b), which it makes if need be. */
void sim_lanes_push(struct sim_lanes *lanes, enum th_sim_event event, uint32_t a, uint32_t b,
                    struct sim_op *op);
/* Puts a chain of operations into a lane of its own. */
void sim_lanes_add(struct sim_lanes *lanes, enum th_sim_event event, struct sim_op *first,
                   struct sim_op *last);
struct sim_op *sim_lanes_shift(struct sim_lanes *lanes, size_t lane);
void sim_lanes_deinit(struct sim_lanes *lanes);

struct sim_handle {
    struct th_provider provider;
    struct th_sim_world *world;
    unsigned number;
    bool dead, paused;
    struct sim_lanes lanes;
    struct th_completions done;
    int64_t *cursor;        /* per inbox: offset of the next delivery; CLOSED */
    uint64_t *broken_below; /* per log: appends of epochs below this fail */
    bool *watching;         /* per partition */
    size_t unseen;          /* failures that doom what is submitted until poll has shown them */
};

#define SIM_CLOSED (-1)

/* One more than the hub has: the inbox of the last one is the topic of activity messages. */
struct sim_partition {
    struct truth_topic log, inbox;
    struct truth_projection projection, dump;
    bool dumped;
};

struct th_sim_world {
    struct th_sim_options options;
    char hub[64];
    uint64_t incarnation;
    struct th_random random;
    th_time now;
    uint64_t steps, hash;
    bool projection_down;
    unsigned opened; /* handles ever opened */
    struct sim_handle **handles;
    size_t handle_count, handle_capacity;
    struct sim_lanes zombies;
    struct sim_partition *partitions;
    void (*sink)(void *argument, const char *line);
    void *sink_argument;
};

bool sim_chance(struct th_sim_world *world, double probability);
void sim_trace(struct th_sim_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "append p0 e3 12 bytes 8a1f…": an operation as the trace shows it. */
void sim_trace_op(struct th_sim_world *world, unsigned handle, const char *verb,
                  const struct sim_op *op);

extern const struct th_provider_ops sim_ops;
struct sim_handle *sim_handle_of(struct th_provider *provider);

/* handle.c */
/* A reply, or news of a partition (without blob: some may have been missed), on its way. */
void sim_handle_word(struct sim_handle *handle, enum th_completion_kind kind, uint32_t partition,
                     struct th_blob *blob);
void sim_hear(struct sim_handle *handle, struct sim_op *op);
void sim_handle_complete(struct sim_handle *handle, const struct th_completion *completion);
/* What is in flight lands or is lost; completions and inboxes are dropped. */
void sim_handle_die(struct sim_handle *handle);

/* land.c: what becomes of an operation */
void sim_submit(struct sim_handle *handle, struct sim_op *op); /* a mutation; takes `op` */
void sim_land(struct sim_handle *handle, struct sim_op *op);
void sim_acknowledge(struct sim_handle *handle, struct sim_op *op);
void sim_zombie_land(struct th_sim_world *world, struct sim_op *op);
void sim_leave_behind(struct sim_handle *handle);
bool sim_failure_was_counted(const struct sim_handle *handle, const struct th_completion *done);

/* answer.c: reads */
void sim_answer(struct sim_handle *handle, struct sim_op *op);
