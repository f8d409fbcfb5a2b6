/*
 * relay: brings the programs that are connected here the work of a hub's other processes, and the
 * answers back. To each of those it is one more program: it takes work by GetWorkItems, with what
 * the programs here take as its filters.
 *
 *     other process ──GetWorkItems──▶ relay ──▶ hub ──▶ programs here
 *                   ◀──Complete…─────       ◀──      ◀──
 *
 * What was relayed is not relayed once more. When a connection is lost, the other process gives its
 * work to somebody else, and what comes for it from here is nobody's.
 *
 * It has a thread of its own. Any thread may call.
 */
#pragma once

#include "base/log.h"
#include "rpc/hub.h"

struct th_relay;

/* Strings are copied; hub and log outlive the relay. */
struct th_relay_options {
    struct th_rpc_hub *hub;
    const char *hub_name;
    const char *name;        /* of this process, for the others' logs */
    const char *key;         /* theirs; NULL: none */
    const char *ca;          /* PEM: who signs their certificates; NULL: the system's */
    const char *certificate; /* PEM: ours, if they want one; NULL: none */
    const char *private_key;
    const struct th_log *log;
};

/* NULL: INTERNAL (no thread, no memory). */
struct th_relay *th_relay_start(const struct th_relay_options *options, struct th_error *error);

/* The others, all of them, by the URLs of their endpoints ("http://10.0.0.2:4001"); copied. */
void th_relay_set_peers(struct th_relay *relay, const struct th_str *urls, size_t count);

/* Sends what was answered, for up to a second, and ends. Blocks. NULL is fine. */
void th_relay_stop(struct th_relay *relay);
