/*
 * hub: a task hub as programs with a Durable Task SDK see it over RPC (sidecar.proto). Those that
 * run functions take work by GetWorkItems streams; the hub's owners (the hosts that have its
 * partitions) put it in here and get the answers.
 *
 *     owner ──th_rpc_orchestrate, th_rpc_activity──▶ hub ──work items──▶ streams
 *           ◀──────────── ran, done ─────────────────    ◀──Complete…──  programs
 *
 * Any thread, unless said otherwise; nothing here blocks for longer than a lock is held.
 */
#pragma once

#include "base/log.h"
#include "node/node.h"

struct th_rpc_hub;

/* The lock may be held in these: they must not call back, nor block. Any thread. */
struct th_rpc_owner {
    void *argument;
    /* An episode's actions; `arena` has all that they point to, and is the owner's then. */
    void (*ran)(void *argument, uint64_t episode, struct th_arena *arena,
                const struct th_actions *actions);
    /* It came to nothing: nobody takes it (any more). */
    void (*back)(void *argument, uint64_t episode);
    /* An activity's result, as `ran`. */
    void (*done)(void *argument, struct th_arena *arena, const struct th_activity_answer *answer);
    /* More functions are served than before; NULL: it does not care. */
    void (*served)(void *argument);
    /* Of a relay (relay.h), in place of `ran` and `done`: an answer as it came, an
     * OrchestratorResponse, ActivityResponse or EntityBatchResult. `last`: no other part follows.
     */
    void (*answered)(void *argument, uint64_t ticket, enum th_function_kind kind, void *response,
                     bool last);
    void (*changed)(void *argument); /* th_rpc_functions has changed; NULL: it does not care */
};

struct th_rpc_hub_options {
    struct th_gateway *gateway; /* may be given later, by th_rpc_hub_open */
    const struct th_log *log;   /* NULL: silent */
    uint64_t nonce;             /* random, of this process */
    size_t message_bytes;       /* largest message that programs are sent; 0: 32 MiB */
};

struct th_rpc_hub *th_rpc_hub_new(const struct th_rpc_hub_options *options);
/* After the endpoint has stopped, and all owners have left. */
void th_rpc_hub_free(struct th_rpc_hub *hub);
/* From now on clients are answered, too. Before the endpoint starts. */
void th_rpc_hub_open(struct th_rpc_hub *hub, struct th_gateway *gateway);

/* ---- for an owner; its address is its name here ---- */

void th_rpc_join(struct th_rpc_hub *hub, const struct th_rpc_owner *owner);
/* All of its work is forgotten; after return none of its functions is called. */
void th_rpc_leave(struct th_rpc_hub *hub, const struct th_rpc_owner *owner);

/* Whether some program takes this function now. */
bool th_rpc_serves(struct th_rpc_hub *hub, enum th_function_kind kind, struct th_str name,
                   struct th_str version);

/* As the node's hook: LATER (`ran` or `back` follows), NEEDS_HISTORY, or DONE: it is too large for
 * a message, and fails. */
enum th_executor_result th_rpc_orchestrate(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                                           const struct th_episode *episode, struct th_arena *arena,
                                           struct th_actions *out);
void th_rpc_episode_canceled(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                             uint64_t episode);
/* `done` follows, perhaps before the return. It waits while nobody takes it. */
void th_rpc_activity(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                     const struct th_activity_work *work);
void th_rpc_activity_canceled(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                              uint64_t token);
/* Takes an activity back that no program has: true, and `done` does not follow. */
bool th_rpc_withdraw(struct th_rpc_hub *hub, const struct th_rpc_owner *owner, uint64_t token);
/* The activities of this owner that wait for a program which serves them, by name; the same one
 * perhaps twice. `visit` is called with the lock held. */
void th_rpc_unserved(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                     void (*visit)(void *argument, struct th_str name, size_t waiting),
                     void *argument);
/* What programs are busy with, of this owner. */
size_t th_rpc_under_way(struct th_rpc_hub *hub, const struct th_rpc_owner *owner);

/* ---- for a relay ---- */

/* Puts in a work item of another process, `item`, whose bytes end with that process's token (it is
 * taken over). False: INVALID, it is none. */
bool th_rpc_relay(struct th_rpc_hub *hub, const struct th_rpc_owner *owner, uint64_t ticket,
                  struct th_blob *item, struct th_error *error);
/* What the programs here take, as packed GetWorkItemsRequests: one for all that take the same. The
 * blobs and the array are the caller's; the order may be another one each time. */
struct th_blob **th_rpc_functions(struct th_rpc_hub *hub, size_t *count);

/* ---- stopping, and looks ---- */

/* Programs are given nothing more. Blocks until they have finished what they have, or until
 * `deadline` (monotonic). Not on a node's thread. */
void th_rpc_quiet(struct th_rpc_hub *hub, th_time deadline);
