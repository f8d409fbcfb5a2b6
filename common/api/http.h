/*
 * http: the management API of a hub over HTTP/1.1, and an application's own HTTP routes and cron
 * functions. Programs start one server per hub; docs/api.md is the reference of what it serves.
 *
 *     socket ──▶ two event threads ──command──▶ gateway ──reply──▶ event threads ──▶ socket
 *                       │
 *                       ├──▶ client-function threads: the application's routes and cron functions
 *                       └──▶ desk threads: the program's callbacks about hubs and reports
 *
 * A request that waits for the gateway occupies no thread: its connection is set aside until the
 * reply comes. Only functions of the application, and the program's callbacks below, may block;
 * they run on threads of their own.
 */
#pragma once

#include "api/client.h"

struct th_http;

/* Management of the hubs beside this one, given by the program. A callback that is NULL makes its
 * endpoint answer 501. They run on desk threads and may block; several at once.
 * Documents are new references; NULL or false: failed, see `error`. */
struct th_http_hubs {
    void *argument;
    json_t *(*list)(void *argument, struct th_error *error); /* an array */
    json_t *(*show)(void *argument, const char *name, struct th_error *error);
    /* `options` is the request's JSON object, perhaps empty: {"partitions": 4}. */
    json_t *(*create)(void *argument, const char *name, const json_t *options,
                      struct th_error *error);
    bool (*remove)(void *argument, const char *name, struct th_error *error);
};

/* What the program knows of the hub beyond its gateway: where other processes work on it, too. A
 * callback that is NULL: what the gateway shows is all there is. They run on threads of their own,
 * may block for a while, several at once; text is added to `out`. False: failed, see `error`. */
struct th_http_reports {
    void *argument;
    bool (*hub)(void *argument, struct th_buffer *out, struct th_error *error); /* a JSON object */
    bool (*lag)(void *argument, struct th_buffer *out,
                struct th_error *error); /* th_document_lag */
    /* Families of api/metrics.h; without `lag`, those of the hub come from the gateway. NULL: of
     * this process only what the system knows. */
    bool (*metrics)(void *argument, struct th_buffer *out, struct th_error *error);
    bool (*ready)(void *argument, struct th_error *error); /* false: why not */
};

struct th_operation;

/* Runs the application's functions elsewhere: in the process that has loaded it. */
struct th_http_remote {
    void *argument;
    /* Serves op->function or, when that is NULL, the cron function named by the path: fills in the
     * answer and returns the function's verdict. On a client-function thread; blocks. NULL: the
     * functions are called here. */
    int (*serve)(void *argument, struct th_operation *op);
};

#define TH_HTTP_CLOSED (-1)

/* Strings are copied; gateway, client, app, log and what `hubs` needs must outlive the server. */
struct th_http_options {
    struct th_gateway *gateway;
    struct th_client *client; /* for the application's functions; NULL: the server makes one */
    const struct th_app *app; /* NULL: no routes, no cron, any orchestrator name may be started */
    const struct th_log *log; /* NULL: silent */
    const char *address;      /* numeric; default "127.0.0.1" */
    int port;                 /* 0: any free one, see th_http_port; TH_HTTP_CLOSED: nobody is
                                 listened to, only cron functions run */
    const char *api_key;      /* NULL or "": none; demanded when `address` is no loopback */
    const char *route_prefix; /* of the application's routes; default "api"; "": none */
    const char *default_version; /* of starts that name none; NULL: the application's */
    th_reuse reuse;              /* what a start may replace; 0: TH_REUSE_TERMINAL */
    unsigned event_threads;      /* default 2 */
    unsigned function_threads;   /* for client functions; default 4 */
    unsigned max_connections;    /* default 16384, never more than the process may open */
    unsigned idle_seconds;       /* a client that sends or takes nothing this long; default 30 */
    size_t max_body_bytes;       /* default 16 MiB plus 64 KiB */
    bool trust_forwarded;        /* X-Forwarded-Host and -Proto name the origin: only behind a proxy
                                    that sets them */
    bool any_orchestrator;       /* starts of functions that `app` lacks: others may serve them */
    bool no_cron;                /* leave the application's cron functions alone */
    /* Whether this process is the one of several that runs them now; NULL: it is. Any thread. */
    bool (*cron_is_here)(void *argument);
    void *cron_argument;
    struct th_http_hubs hubs;
    struct th_http_reports reports;
    struct th_http_remote remote;
};

/* Listens and serves at once. NULL: an address that is no loopback without a key (INVALID), a bad
 * address (INVALID), or one in use (UNAVAILABLE). Any thread. */
struct th_http *th_http_start(const struct th_http_options *options, struct th_error *error);

/* Whether th_http_start will take address, port and key; INVALID otherwise. Opens nothing, so a
 * program can say what is wrong before it waits for anybody. Any thread. */
bool th_http_check(const struct th_http_options *options, struct th_error *error);

int th_http_port(const struct th_http *http); /* TH_HTTP_CLOSED: none */

/* "http://127.0.0.1:7071", without a slash at the end; lives as long as the server. NULL:
 * it listens to nobody. */
const char *th_http_url(const struct th_http *http);

/* Stops listening, answers 503 to what waits, lets running functions of the application finish, and
 * frees the server. Calls of theirs that wait fail with 503 when the client is the server's own; a
 * program stops its own client first (th_client_stop), or a function that waits for ever would be
 * waited for. Blocks; call it while the gateway still answers. NULL is fine. */
void th_http_stop(struct th_http *http);
