/*
 * options: what `taskhub-coordinator` is told by its command line, the environment and host.json,
 * in this order of precedence.
 */
#pragma once

#include "control/options.h"
#include "coordinator/coordinator.h"
#include "model/name.h"
#include "model/settings.h"

#define TH_COORDINATOR_ARGUMENTS(X)                                                              \
    X(port, COUNT, "port", 'P', "N", "TASKHUB_PORT", 65535,                                      \
      "port of the HTTP API; default 7071, 0: any free one")                                     \
    TH_RPC_ARGUMENTS(X, "none")                                                                  \
    X(address, TEXT, "address", 0, "IP", "TASKHUB_ADDRESS", 0,                                   \
      "where to listen; default 127.0.0.1; any other needs --key")                               \
    X(key, TEXT, "key", 'k', "KEY", "TASKHUB_KEY", 0, "API key that clients have to give")       \
    X(url, TEXT, "url", 'u', "URL", "TASKHUB_ADVERTISED_URL", 0,                                 \
      "under which others reach this API, for the list of members; default: where it listens")   \
    X(host_json, TEXT, "host-json", 0, "DIR", "TASKHUB_HOST_JSON", 0,                            \
      "where host.json and local.settings.json lie; default: none are read")                     \
    X(partitions, COUNT, "partitions", 0, "N", "TASKHUB_PARTITIONS", 1024,                       \
      "partitions that the hub has, or gets when it is made; default host.json's, else 12")      \
    X(activity_partitions, COUNT, "activity-partitions", 0, "N", "TASKHUB_ACTIVITY_PARTITIONS",  \
      1024, "partitions of a new hub's activities; default as many")                             \
    X(replication, COUNT, "replication", 0, "N", "TASKHUB_REPLICATION", 32,                      \
      "copies of a new hub's topics; default the brokers' default.replication.factor")           \
    X(purge_after, PERIOD, "purge-after", 0, "TIME", "TASKHUB_PURGE_AFTER", 0,                   \
      "remove instances that ended so long ago (12h, 30d); default host.json's, else never")     \
    X(purge_status, TEXT, "purge-status", 0, "LIST", "TASKHUB_PURGE_STATUS", 0,                  \
      "only those that ended as Completed, Failed, Terminated or Canceled; several with commas") \
    X(purge_recursive, FLAG, "purge-recursive", 0, NULL, "TASKHUB_PURGE_RECURSIVE", 0,           \
      "with their sub-orchestrations, whenever those ended")                                     \
    X(purge_rate, COUNT, "purge-rate", 0, "N", "TASKHUB_PURGE_RATE", 100000,                     \
      "instances a second, at most; default 100")

struct th_coordinator_arguments {
    TH_COORDINATOR_ARGUMENTS(TH_ARGUMENT_FIELD)
};

/* All that the program knows of how it is meant to run. Begins zeroed. */
struct th_coordinator_program {
    struct th_fleet_options fleet;
    struct th_coordinator_arguments own;
    struct th_settings settings;
    struct th_log log;
    struct th_fleet_place place;
    struct th_hub_names hubs; /* more than one: clients with an SDK are served all of them */
    char *default_version;    /* NULL: none */
};

enum th_told { TH_TOLD_RUN, TH_TOLD_HELP, TH_TOLD_WRONG };

/* Reads all of it; --help is printed. WRONG: see `error`. What the program holds is for
 * th_coordinator_program_deinit, whatever the result. */
enum th_told th_coordinator_read(struct th_coordinator_program *program, int argc, char **argv,
                                 struct th_error *error);
void th_coordinator_program_deinit(struct th_coordinator_program *program);

/* Of the first hub. Borrows the program. INVALID: a status that is none, an address that is none or
 * needs a key. */
bool th_coordinator_options_of(const struct th_coordinator_program *program,
                               struct th_coordinator_options *out, struct th_error *error);
