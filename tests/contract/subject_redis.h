/* The Redis half as a subject of the suite: hubs on one server, which the test has started. */
#pragma once

#include "contract/conformance.h"
#include "contract/redis_server.h"

/* `server` is borrowed. */
struct subject redis_subject(struct redis_server *server);
