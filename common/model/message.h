/*
 * message: what travels to an instance: an event, the instance it is for, and where it came from.
 * The event's kind says what is asked: EXECUTION_STARTED starts, EVENT_RAISED raises,
 * EXECUTION_TERMINATED terminates, TASK_COMPLETED answers, PURGE_REQUESTED purges, …
 *
 * Identity (architecture section 3.8): an answer names the execution it is for, so that a late one
 * is ignored after continue-as-new or re-creation. A client's message carries a request id.
 */
#pragma once

#include "model/event.h"

/* A message's place in the log of its sender: record sequence and index within that record.
 * Totally ordered per source partition; the receiver accepts only what is above the last. */
struct th_origin {
    int32_t partition; /* source partition; TH_FROM_CLIENT: none, not de-duplicated by order */
    uint32_t index;
    uint64_t sequence;
};

#define TH_FROM_CLIENT (-1)

/* What a start does when the id is taken: refuse, or replace an instance in one of these states.
 * Bits of TH_STATUS_BIT. Running states replaced this way are terminated first. */
typedef uint32_t th_reuse;
#define TH_REUSE_NEVER 0u
#define TH_REUSE_TERMINAL                                                   \
    (TH_STATUS_BIT(TH_STATUS_COMPLETED) | TH_STATUS_BIT(TH_STATUS_FAILED) | \
     TH_STATUS_BIT(TH_STATUS_CANCELED) | TH_STATUS_BIT(TH_STATUS_TERMINATED))
#define TH_REUSE_ANY 0xffu

#define TH_MESSAGE_FIELDS(X)    \
    X(1, instance_id, STR)      \
    X(2, execution_id, STR)     \
    X(3, request_id, STR)       \
    X(4, reply_to, STR)         \
    X(5, origin_partition, I32) \
    X(6, origin_sequence, U64)  \
    X(7, origin_index, U32)     \
    X(8, reuse, U32)            \
    X(9, fresh, BOOL)           \
    X(10, scheduled, U64) /* 11: the format, see codec.c */

struct th_message {
    struct th_str instance_id;
    struct th_str execution_id; /* only for this execution; absent: whichever is current */
    struct th_str request_id;   /* client's; absent: no answer is wanted and none de-duplicated */
    struct th_str reply_to;     /* opaque to all but the gateway that waits */
    struct th_origin origin;
    uint64_t scheduled; /* TASK_*: which scheduling of the task, since its number may come again;
                           0: whichever is open */
    th_reuse reuse;     /* EXECUTION_STARTED only */
    bool fresh;         /* EXECUTION_STARTED only: the id was just generated, nothing can exist */
    uint32_t format;    /* what a reader has to know; 0: 1 */
    struct th_event event;
};
