/*
 * The state of a host, and what its files share.
 *
 *   host.c       the node's thread and its hooks, the watchdog, start and stop
 *   hostwork.c   who runs what: the pool and the executor here, a runner, or programs over RPC
 *   hostrpc.c    answers of programs over RPC
 *   hostcalls.c  commands from any thread, and their answers
 *   hostfleet.c  what a fleet asks: partitions that come and go, activity messages, looks
 *
 * What reaches the node's thread lies in one queue: struct mail, or a result of the pool, which
 * begins like one.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <uthash.h>

#include "base/memory.h"
#include "rpc/hub.h"
#include "worker/host.h"

#define CALL_BUCKETS 4096

enum mail_kind {
    MAIL_RESULT,
    MAIL_COMMAND,
    MAIL_CANCEL,
    MAIL_STATS,
    MAIL_STOP,
    MAIL_CRASH,
    MAIL_UP,
    MAIL_ERRAND,
};

struct mail {
    struct th_link link;
    int kind;
};

_Static_assert(offsetof(struct mail, kind) == offsetof(struct th_pool_result, kind),
               "a result begins like a mail");

/* Something to be done on the node's thread, which frees it; or only to be freed, when the node is
 * no more. */
struct errand {
    struct mail mail;
    void (*carry_out)(struct th_host *host, struct errand *errand, th_time now);
    void (*drop)(struct errand *errand);
};

struct call;
struct shared_run;

struct th_host {
    struct th_gateway gateway;
    struct th_host_options options;
    struct th_runner runner; /* `orchestrate` is NULL: none */
    char *worker;
    struct th_hub_record hub;
    struct th_node *node;
    struct th_executor *executor;
    struct th_pool *pool;
    struct th_rpc_owner rpc; /* what this host is at options.rpc */
    struct th_queue mail;
    _Atomic uint64_t last_run;
    pthread_t thread;
    pthread_t watchdog;
    struct th_queue watchdog_wake; /* holds nothing */
    atomic_bool watchdog_stop;

    pthread_mutex_t calls_lock;
    struct call *calls[CALL_BUCKETS]; /* by ticket, while the caller may cancel them */
    uint64_t last_ticket;
    bool closed;

    /* The node's thread only. */
    struct shared_run *runs;
    size_t announced; /* activities that will be given to the pool in a moment */
    th_time announced_at;
    struct th_flight_slot *slot;
    struct th_counter *counter; /* of the episode under way */
    th_time episode_began;
    bool draining;
    th_time drain_deadline;
};

/* ---- hostcalls.c ---- */

uint64_t host_submit(struct th_gateway *gateway, const struct th_command *command,
                     th_reply_fn reply, void *argument);
bool host_cancel(struct th_gateway *gateway, uint64_t ticket);
/* Node's thread. */
void host_enter_command(struct th_host *host, struct mail *mail, th_time now);
void host_enter_cancel(struct th_host *host, struct mail *mail);

/* ---- hostrpc.c ---- */

/* With options.rpc only. */
void host_rpc_join(struct th_host *host);
void host_rpc_leave(struct th_host *host);

static inline bool host_has_runner(const struct th_host *host)
{
    return host->runner.orchestrate != NULL;
}

/* ---- hostwork.c: who runs what; node's thread where nothing else is said ---- */

void host_activity(struct th_host *host, const struct th_activity_work *work);
void host_activity_canceled(struct th_host *host, uint64_t token);
bool host_withdraw(struct th_host *host, uint64_t token); /* any thread */
enum th_executor_result host_orchestrate(struct th_host *host, const struct th_episode *episode,
                                         struct th_arena *arena, struct th_actions *out);
void host_forget(struct th_host *host, struct th_str instance_id);
void host_episode_canceled(struct th_host *host, uint64_t episode);
/* In a program that is connected over RPC. */
bool host_runs_elsewhere(const struct th_host *host, enum th_function_kind kind,
                         struct th_str name);
bool host_serves(const struct th_host *host, enum th_function_kind kind, struct th_str name,
                 struct th_str version);
size_t host_running(struct th_host *host);

/* ---- hostfleet.c ---- */

void host_send_errand(struct th_host *host, struct errand *errand);

/* Tokens of activity messages; the node's have partition and lease up there. */
#define RUN_TOKEN (UINT64_C(1) << 63)

/* Node's thread. */
void host_enter_run_result(struct th_host *host, const struct th_activity_answer *answer,
                           th_time now);
bool host_goes_out(void *host, struct th_str name, struct th_str version);
void host_not_announced(struct th_host *host); /* one was given to the pool */
void host_drop_runs(struct th_host *host);     /* after the node */
