/*
 * purge: removes instances that ended long enough ago, again and again. Off unless a policy gives
 * an age. It is a client like any other: it asks for a page of instances and purges them one by
 * one, so a rate bounds what it costs the hub. Several processes may follow the same policy.
 */
#pragma once

#include "api/client.h"
#include "base/log.h"

struct th_purge_policy {
    int64_t age_ms;    /* since the end; negative: nothing is purged */
    uint32_t statuses; /* bits TH_STATUS_BIT of ends; 0: any end */
    bool recursive;    /* sub-orchestrations, too, however long ago they ended */
    unsigned rate;     /* instances a second, at most; 0: 100 */
};

/* "Completed,Failed": the bits. INVALID: a word that is no end of an instance. */
bool th_purge_statuses(const char *text, uint32_t *out, struct th_error *error);

/* What a policy asks for at a moment. */
struct th_query th_purge_query(const struct th_purge_policy *policy, th_time now);
/* How long to rest between two rounds: old instances are noticed within a tenth of the age. */
th_time th_purge_interval(const struct th_purge_policy *policy);

struct th_purge;

/* Starts the thread; client and log outlive it, the policy is copied. NULL: INTERNAL. */
struct th_purge *th_purge_start(const struct th_purge_policy *policy, struct th_client *client,
                                const struct th_log *log, struct th_error *error);
/* After th_client_stop, so that nothing is waited for. Blocks. NULL is fine. */
void th_purge_stop(struct th_purge *purge);
/* How many it has removed; any thread. NULL is fine. */
uint64_t th_purge_count(const struct th_purge *purge);
