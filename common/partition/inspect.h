/*
 * inspect: what a folded partition holds, for those who explain a hub from outside (doctor). The
 * object was fed and folded, and need not be activated. Strings live until its next input. Visitors
 * must not change it. No I/O; the thread of the object.
 */
#pragma once

#include "partition/partition.h"

/* An answer that an execution waits for. */
struct th_inspect_pending {
    enum th_pending_kind kind;
    struct th_str instance_id, execution_id;
    struct th_str name;     /* of the activity, the child's orchestrator, the operation */
    struct th_str child_id; /* CHILD, ENTITY: whose answer it is; absent for locks of several */
    int32_t event_id;
    th_time fire_at;      /* TIMER */
    uint64_t stamp;       /* of the record that opened it: its sequence plus one */
    bool shared;          /* TASK: it was sent to all processes */
    struct th_str worker; /* TASK: a former owner that went on running it; absent: none */
    uint32_t crashes;     /* TASK: how often a process died running it */
    bool orphan;          /* its execution is over, nobody waits */
    bool answered;        /* the answer is a letter */
};
void th_inspect_pending(const struct th_partition *p,
                        void (*visit)(void *argument, const struct th_inspect_pending *pending),
                        void *argument);

/* Whether this execution waits for this answer, or an activity of it is still to end. */
bool th_inspect_is_pending(struct th_partition *p, struct th_str instance_id,
                           struct th_str execution_id, int32_t event_id);

/* A message of this log that no record has consumed. */
struct th_inspect_letter {
    const struct th_message *message;
    uint64_t sequence, index; /* where it stands */
    bool parked;
    th_time not_before; /* TH_TIME_NONE: whenever its instance can take it */
};
void th_inspect_letters(const struct th_partition *p,
                        void (*visit)(void *argument, const struct th_inspect_letter *letter),
                        void *argument);
bool th_inspect_is_letter(struct th_partition *p, struct th_local_ref ref);

/* A message to another partition, or to TH_SEND_ACTIVITIES, that no later record calls sent. */
struct th_inspect_outgoing {
    uint64_t sequence; /* of its record */
    uint32_t destination;
    struct th_str bytes; /* encoded th_message */
};
void th_inspect_outbox(const struct th_partition *p,
                       void (*visit)(void *argument, const struct th_inspect_outgoing *outgoing),
                       void *argument);

/* Where the inbox stands, as the last record has it. */
struct th_inspect_marks {
    int64_t position;
    uint64_t sent;                        /* all messages of records below are sent */
    const struct th_vector_entry *vector; /* by source; sequences plus one */
    const int64_t *early;                 /* consumed at or above the position, sorted */
    size_t early_count;
};
struct th_inspect_marks th_inspect_marks(const struct th_partition *p);

/* The instance as the fold has it, and the stamp of its last record; NULL: not in memory, or there
 * is none. */
const struct th_instance_info *th_inspect_instance(struct th_partition *p,
                                                   struct th_str instance_id, uint64_t *last);
