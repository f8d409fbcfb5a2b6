/*
 * appproc: an application in a process of its own, seen from the hub's side. The hub never loads
 * the shared object: a child process does (worker/appmain.h), and is started again, with a growing
 * delay, whenever it dies. What it costs is its own work: activities in flight are handed to the
 * next process, the episode is put back, client functions that were running fail; whoever brought
 * it down is named by the flight recorder, counted in the hub's log and failed after a few times.
 *
 *     node's thread ──episodes (one out, one back)──▶ ┌─────────────┐
 *                   ──activities──▶ ┌─────────┐       │ application │
 *     HTTP threads ──requests─────▶ │ manager │◀─────▶│   process   │
 *     gateway ◀─────commands─────── └─────────┘ work  └─────────────┘
 *
 * The manager is a thread that starts the process, carries the work channel and buries the dead. It
 * never blocks on the application. Episodes have a channel of their own, so that they cost no
 * change of threads on this side.
 */
#pragma once

#include "api/http.h"
#include "worker/host.h"

struct th_appproc;

/* The word after the program's name that makes it an application's process. */
#define TH_APPLICATION_COMMAND "application-process"

/* How the supervisor of any kind is asked for a fresh process. */
#define TH_APPLICATION_RESTART 75

struct th_appproc_options {
    const char *application; /* path of the shared object */
    const char *flight;      /* path of the flight recorder */
    const char *default_version;
    th_reuse reuse; /* of starts by its clients */
    /* Of these: log, activity_threads, function_timeout_ms, limits, limit_count, episode_limit_ms,
     * max_warm, replay_always. */
    const struct th_host_options *host;
};

/* Starts the process and waits until it has loaded the application. What the options point to must
 * outlive it, `host` apart. NULL: it could not; INVALID, or INTERNAL when it died of it. */
struct th_appproc *th_appproc_start(const struct th_appproc_options *options,
                                    struct th_error *error);

/* The names, routes and schedules of the application as it was first loaded; its functions must not
 * be called. Lives as long as the process. */
const struct th_app *th_appproc_app(const struct th_appproc *proc);

/* For th_host_options and th_http_options. */
struct th_runner th_appproc_runner(struct th_appproc *proc);
struct th_http_remote th_appproc_remote(struct th_appproc *proc);

/* Client functions that wait for the application are answered 503, now and from now on. Before the
 * HTTP server is stopped; any thread. */
void th_appproc_quiet(struct th_appproc *proc);

/* Ends the process, by force if it must be. After the host and the HTTP server have stopped. NULL
 * is fine. */
void th_appproc_free(struct th_appproc *proc);
