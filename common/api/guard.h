/*
 * guard: who may ask, and under which address they asked. Pure.
 */
#pragma once

#include "api/management.h"

/* False: answered with 401 or 403. */
bool th_guard_admit(struct th_operation *op);

/* Whether the request holds the API key, or none is demanded. */
bool th_guard_knows_key(struct th_operation *op);

/* "http://host:port" as the caller wrote it, from Host or, behind a trusted proxy, from
 * X-Forwarded-*; the server's own address when what they say is no host. Lives in op's arena. */
struct th_str th_guard_origin(struct th_operation *op);
