/*
 * provisioning: makes, checks, lists and removes hubs of the embedded kind, a file of SQLite that
 * holds one or more of them. A hub is made with all it needs at its first start, is never removed
 * by stopping, and can be removed by command. Blocking; any thread; holds no state of its own.
 */
#pragma once

#include "api/http.h"
#include "base/log.h"
#include "provider/contract.h"

/* Refuses a bad name (INVALID), a partition count outside 1-1024 (INVALID), a hub that is there
 * (EXISTS), one that a process runs (UNAVAILABLE). `out` may be NULL. */
bool th_provision_create(const char *file, const char *name, uint32_t partitions,
                         struct th_hub_record *out, struct th_error *error);

/* For a start: creates the hub when it is missing and checks it when it is there. A hub keeps its
 * partition count; another one that was `asked` for is a warning in the log. 0: no wish, and
 * `fallback` for a new hub. */
bool th_provision_ensure(const char *file, const char *name, uint32_t asked, uint32_t fallback,
                         const struct th_log *log, struct th_hub_record *out,
                         struct th_error *error);

/* NOT_FOUND: no such hub, and which there are. UNAVAILABLE: a process runs it. */
bool th_provision_delete(const char *file, const char *name, struct th_error *error);

bool th_provision_show(const char *file, const char *name, struct th_hub_record *out,
                       struct th_error *error);

/* By name; the caller frees *hubs. */
bool th_provision_list(const char *file, struct th_hub_record **hubs, size_t *count,
                       struct th_error *error);

/* {"name", "incarnation", "partitions", "created"}: a new reference. */
json_t *th_provision_json(const struct th_hub_record *hub);

/* What the HTTP API needs to manage the hubs of a file. The hub that the process itself runs is
 * not removed. Lives as long as the API. */
struct th_provisioning {
    const char *file;
    const char *running; /* name of the hub that this process runs; NULL: none */
    uint32_t partitions; /* of a new hub whose request does not say */
};

struct th_http_hubs th_provision_http(struct th_provisioning *provisioning);
