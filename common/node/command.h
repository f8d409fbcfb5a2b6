/*
 * command: what clients ask of a hub, and the answers. The HTTP API, the C client and later the
 * gRPC endpoint make commands; a gateway carries them out (gateway below). One shape for the
 * embedded hub and for the fleet, so that every operation works the same in both.
 */
#pragma once

#include "base/error.h"
#include "engine/engine.h"
#include "model/name.h"
#include "provider/contract.h"

enum th_command_kind {
    TH_COMMAND_START, /* instance_id (absent: generated) name version data start_at tags reuse */
    TH_COMMAND_RAISE, /* instance_id name data */
    TH_COMMAND_TERMINATE, /* instance_id data(output) recursive */
    TH_COMMAND_SUSPEND,   /* instance_id reason */
    TH_COMMAND_RESUME,    /* instance_id reason */
    TH_COMMAND_REWIND,    /* instance_id reason */
    TH_COMMAND_RESTART,   /* instance_id new_id */
    TH_COMMAND_PURGE,     /* instance_id recursive */
    TH_COMMAND_PURGE_BY,  /* query (limit and continuation ignored) recursive */
    TH_COMMAND_SIGNAL,    /* instance_id(an entity) name(operation) data start_at */
    TH_COMMAND_STATUS,    /* instance_id(of an entity, too) payloads history */
    TH_COMMAND_WAIT,      /* instance_id payloads until_started deadline */
    TH_COMMAND_QUERY,     /* query; without statuses: of orchestrations, not of entities */
    TH_COMMAND_HUB,       /* nothing: th_reply.hub */
};

struct th_command {
    enum th_command_kind kind;
    struct th_str instance_id, name, version, data, reason;
    struct th_str request_id; /* a repeated START with the same one is no duplicate; absent: none */
    struct th_str trace;
    th_time start_at; /* TH_TIME_NONE or past: now */
    th_time deadline; /* WAIT: wall clock; TH_TIME_NONE: none */
    struct th_tags tags;
    th_reuse reuse;
    bool recursive, new_id, payloads, history, until_started;
    struct th_query query;
};

/* Work that waits because nothing here serves its function. */
struct th_unserved {
    enum th_function_kind kind;
    struct th_str name;
    uint64_t waiting;
};

/* A hub at a moment (contracts section 7: "a hub can be inspected at any moment"). The answer to
 * HUB has what this process owns; of the other partitions of a shared hub it has the ends, and the
 * position that the projection has reached. */
struct th_hub_view {
    struct th_hub_record record;
    uint64_t instance_messages; /* durable, not yet taken by an instance */
    uint64_t activity_messages; /* scheduled, not yet completed */
    uint64_t timers;
    uint64_t instances_in_memory;
    const struct th_unserved *unserved;
    size_t unserved_count;
    struct th_hub_partition_view {
        uint32_t partition;
        bool owned;
        struct th_str owner; /* its name, where that is known */
        uint64_t epoch;
        int64_t inbox_position, inbox_end; /* the difference is the lag in messages; a position of
                                              -1: not known */
        int64_t log_start, log_end;
        th_time oldest; /* arrival of the oldest unprocessed message; TH_TIME_NONE: none, or not
                           known */
        struct th_str trouble; /* why nobody owns it, or its owner cannot go on; absent: nothing */
    } * partitions;            /* record.partitions items */
};

/* The answer. Everything it points to is valid during the call of the callback only. */
struct th_reply {
    struct th_error error; /* TH_OK, or what the client did wrong or should know */
    struct th_str instance_id;
    const struct th_instance_info *info;  /* STATUS, WAIT */
    struct th_events history;             /* STATUS with `history` */
    const struct th_instance_info *infos; /* QUERY */
    size_t info_count;
    struct th_str continuation; /* QUERY; absent: no more */
    uint64_t count;             /* PURGE, PURGE_BY: instances gone */
    const struct th_hub_view *hub;
};

typedef void (*th_reply_fn)(void *argument, const struct th_reply *reply);

/*
 * Errors by command (code → meaning):
 *   START      EXISTS: the id is in use and `reuse` does not cover it. INVALID: bad id, name.
 *   RAISE, TERMINATE, SUSPEND, RESUME  NOT_FOUND; GONE: the instance has ended.
 *   REWIND     NOT_FOUND; PRECONDITION: it has not failed. RESTART  NOT_FOUND; PRECONDITION: same
 *              id while it has not ended. PURGE  NOT_FOUND; PRECONDITION: it has not ended.
 *   STATUS     NOT_FOUND. WAIT: waits for an unknown id to appear; TIMEOUT at the deadline.
 *   SIGNAL     INVALID: bad id. Answered when durable: the entity need not exist.
 *   QUERY      INVALID: bad continuation.    any  UNAVAILABLE: no owner or storage in time;
 *              TOO_LARGE: a payload above 16 MiB.
 * A start is answered when durable; "not found" and "exists" rest on durable state only.
 */
struct th_gateway {
    /* Takes the command (copies what it keeps) and answers it once, on a thread of the gateway's,
     * perhaps before returning. `reply` must not block. Any thread may call. Returns a ticket. */
    uint64_t (*submit)(struct th_gateway *gateway, const struct th_command *command,
                       th_reply_fn reply, void *argument);
    /* Gives up waiting for an answer: after return the callback is not running and will not be
     * called. False: it was already answered. */
    bool (*cancel)(struct th_gateway *gateway, uint64_t ticket);
    const struct th_hub_record *hub;
};
