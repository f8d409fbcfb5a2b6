/* The Redis half as a subject of the suite: hubs named "contract" on a server that the test has
 * started. */
#pragma once

#include "base/log.h"
#include "contract/conformance.h"
#include "contract/redis_server.h"

struct redis_access {
    struct redis_server *server; /* borrowed */
    const char *user;            /* "name:password"; NULL: none */
    uint32_t timeout_ms;         /* 0: the default */
    const struct th_log *log;    /* may be NULL */
};

struct subject redis_subject(const struct redis_access *access);

/* For cases that know where they run. */
const struct redis_access *redis_access_of(const struct fixture *f);
/* The beginning of a partition's keys, for redis_server_say; alive until the case ends. */
const char *redis_keys_of(struct fixture *f, uint32_t partition);
