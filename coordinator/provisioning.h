/*
 * provisioning: makes, checks, lists and removes hubs where they are kept: in a file of SQLite
 * (embedded) or in the topics of a Kafka cluster (fleet). A hub is made with all it needs at its
 * first start, is never removed by stopping, and can be removed by command. Blocking; any thread;
 * holds no state of its own.
 */
#pragma once

#include "api/http.h"
#include "base/log.h"
#include "provider/contract.h"

/* A place that keeps hubs. What its functions are told about names and numbers was checked before;
 * errors as those of the functions below. */
struct th_hub_store {
    const char *where;  /* the file, or the brokers; for sentences */
    const char *option; /* with which the command line is told of it: "--db" */
    bool (*list)(const struct th_hub_store *store, struct th_hub_record **hubs, size_t *count,
                 struct th_error *error);
    bool (*find)(const struct th_hub_store *store, const char *name, struct th_hub_record *out,
                 struct th_error *error);
    /* EXISTS: somebody else made it meanwhile; `out` is filled then, too. */
    bool (*create)(const struct th_hub_store *store, const char *name, uint32_t partitions,
                   struct th_hub_record *out, struct th_error *error);
    bool (*remove)(const struct th_hub_store *store, const char *name, struct th_error *error);
};

/* A file of SQLite, which need not exist yet. The name is borrowed. */
struct th_hub_store th_file_store(const char *file);

/* Refuses a bad name (INVALID), a partition count outside 1-1024 (INVALID), a hub that is there
 * (EXISTS), one that a process runs (UNAVAILABLE). `out` may be NULL. */
bool th_provision_create(const struct th_hub_store *store, const char *name, uint32_t partitions,
                         struct th_hub_record *out, struct th_error *error);

/* For a start: creates the hub when it is missing and checks it when it is there. A hub keeps its
 * partition count; another one that was `asked` for is a warning in the log. 0: no wish, and
 * `fallback` for a new hub. Several may do so at once. */
bool th_provision_ensure(const struct th_hub_store *store, const char *name, uint32_t asked,
                         uint32_t fallback, const struct th_log *log, struct th_hub_record *out,
                         struct th_error *error);

/* NOT_FOUND: no such hub, and which there are. UNAVAILABLE: a process runs it. */
bool th_provision_delete(const struct th_hub_store *store, const char *name,
                         struct th_error *error);

bool th_provision_show(const struct th_hub_store *store, const char *name,
                       struct th_hub_record *out, struct th_error *error);

/* By name; the caller frees *hubs. */
bool th_provision_list(const struct th_hub_store *store, struct th_hub_record **hubs, size_t *count,
                       struct th_error *error);

/* {"name", "incarnation", "partitions", "created"}: a new reference. */
json_t *th_provision_json(const struct th_hub_record *hub);

/* What the HTTP API needs to manage the hubs of a store. The hub that the process itself runs is
 * not removed. Lives as long as the API. */
struct th_provisioning {
    const struct th_hub_store *store;
    const char *running; /* name of the hub that this process runs; NULL: none */
    uint32_t partitions; /* of a new hub whose request does not say */
};

struct th_http_hubs th_provision_http(struct th_provisioning *provisioning);
