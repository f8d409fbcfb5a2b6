/*
 * arguments: what `taskhub-worker` is told on its command line, in the environment and in
 * host.json, and what it makes of it: the options of worker/fleet.h.
 */
#pragma once

#include "control/options.h"
#include "model/name.h"
#include "model/settings.h"
#include "worker/fleet.h"

#define TH_WORKER_ARGUMENTS(X)                                                                     \
    X(app, TEXT, "app", 'a', "APP.so", "TASKHUB_APP", 0,                                           \
      "the application: a shared object built against taskhub.h; default: none, programs with an " \
      "SDK run everything")                                                                        \
    TH_RPC_ARGUMENTS(X, "4001 without --app, else any free one")                                   \
    X(host_json, TEXT, "host-json", 0, "DIR", "TASKHUB_HOST_JSON", 0,                              \
      "where host.json and local.settings.json lie; default: beside the application")              \
    X(port, COUNT, "port", 'P', "N", "TASKHUB_PORT", 65535,                                        \
      "HTTP: the application's routes, the management API, /healthz, /readyz, /metrics; 0: any "   \
      "free port; default: none")                                                                  \
    X(address, TEXT, "address", 0, "IP", "TASKHUB_ADDRESS", 0,                                     \
      "where to listen; default 127.0.0.1; any other needs --key")                                 \
    X(key, TEXT, "key", 'k', "KEY", "TASKHUB_KEY", 0, "API key that callers have to give")         \
    X(placement, TEXT, "placement", 0, "HOW", "TASKHUB_PLACEMENT", 0,                              \
      "where activities run: auto (here while threads are free, else wherever there are), shared " \
      "(always wherever), local (always here); default host.json's, else auto")                    \
    X(activities, COUNT, "activities", 0, "N", "TASKHUB_ACTIVITIES", 10000,                        \
      "activities at once; default host.json's, else 2 per processor, at least 4")                 \
    X(threads, COUNT, "threads", 0, "N", "TASKHUB_THREADS", 64,                                    \
      "threads that run orchestrators, each with its share of the partitions; default 1")          \
    X(session_timeout, PERIOD, "session-timeout", 0, "TIME", "TASKHUB_SESSION_TIMEOUT", 0,         \
      "a worker that is silent for so long loses its partitions to the others; default 1s")        \
    X(create, FLAG, "create", 0, NULL, "TASKHUB_CREATE", 0,                                        \
      "make the hub when it is missing, instead of waiting for it")                                \
    X(partitions, COUNT, "partitions", 0, "N", "TASKHUB_PARTITIONS", 1024,                         \
      "of a hub that is made; default host.json's, else 12")                                       \
    X(replication, COUNT, "replication", 0, "N", "TASKHUB_REPLICATION", 100,                       \
      "copies of its topics; default the brokers'")                                                \
    X(drain, PERIOD, "drain", 0, "TIME", "TASKHUB_DRAIN", 0,                                       \
      "at a stop, activities that run get so long to end; default 30s")                            \
    X(function_timeout, PERIOD, "function-timeout", 0, "TIME", "TASKHUB_FUNCTION_TIMEOUT", 0,      \
      "an activity without a heartbeat for so long fails; default host.json's, else 30m")          \
    X(episode_limit, PERIOD, "episode-limit", 0, "TIME", "TASKHUB_EPISODE_LIMIT", 0,               \
      "an orchestrator that does not come back within it is stopped; default 10s")                 \
    X(isolate, FLAG, "isolate", 0, NULL, "TASKHUB_ISOLATE", 0,                                     \
      "run the application in a process of its own: its crashes cost no partitions")               \
    X(replay_always, FLAG, "replay-always", 0, NULL, NULL, 0,                                      \
      "replay every episode from its start and compare: finds orchestrators that are not "         \
      "deterministic")                                                                             \
    X(no_supervisor, FLAG, "no-supervisor", 0, NULL, NULL, 0,                                      \
      "run in one process (for debuggers)")                                                        \
    X(state, TEXT, "state", 0, "DIR", "TASKHUB_STATE", 0,                                          \
      "folder for the flight recorder, which finds who brings the process down; default "          \
      "$STATE_DIRECTORY, else taskhub below $XDG_STATE_HOME or ~/.local/state")

struct th_worker_arguments {
    struct th_fleet_options fleet;
    TH_WORKER_ARGUMENTS(TH_ARGUMENT_FIELD)
};

/* All that a start needs; strings lie in the arguments, the settings or here. */
struct th_worker_setup {
    struct th_worker_arguments arguments;
    struct th_settings settings;
    struct th_log log;
    struct th_fleet_place place;
    struct th_hub_names hubs; /* more than one: for programs with an SDK */
    char *default_version, *route_prefix, *flight;
    int flight_lock; /* file descriptor */
    enum th_placement placement;
    unsigned activity_threads;
};

enum th_setup_result { TH_SETUP_DONE, TH_SETUP_HELP, TH_SETUP_USAGE, TH_SETUP_FAILED };

/* Reads all of it; says on standard error what is wrong, on standard output what was asked for. */
enum th_setup_result th_worker_setup(struct th_worker_setup *setup, int argc, char **argv);
void th_worker_setup_deinit(struct th_worker_setup *setup);

/* Of a worker for this hub (NULL: not known yet), the first of them; what knows the application is
 * left to the caller.
 */
struct th_fleet_worker_options th_worker_options(struct th_worker_setup *setup,
                                                 const struct th_kafka_hub *hub);
struct th_kafka_hub_options th_worker_hub_options(const struct th_worker_setup *setup,
                                                  const char *hub);
