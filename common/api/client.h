/*
 * client: th_client_* of sdk/taskhub.h over a gateway. A client only makes commands and waits for
 * their replies, so it may be shared by any number of threads. Calls block the calling thread:
 * never call them from an orchestrator or on the gateway's thread.
 */
#pragma once

#include "api/kept.h"
#include "sdk/application.h"

struct th_client_options {
    struct th_gateway *gateway;  /* outlives the client */
    const struct th_app *app;    /* names that may be started, and the version; NULL: any, none */
    const char *default_version; /* of starts that name none; NULL: the application's */
    th_reuse reuse;              /* what a start may replace; 0: TH_REUSE_TERMINAL */
};

struct th_client *th_client_new(const struct th_client_options *options);

/* Any command, carried out once, and its reply, which lives in the arena. False: see out->error. */
bool th_client_ask(struct th_client *client, const struct th_command *command,
                   struct th_arena *arena, struct th_kept *out);

/* Every call that waits, and every later one, fails at once with status 503. Any thread. */
void th_client_stop(struct th_client *client);

/* No call may be running. NULL is fine. */
void th_client_free(struct th_client *client);
