/* Events for the tests of rpc: of each kind that may leave, with every field of it in use now and
 * then, and only values that the protocol can carry. */
#pragma once

#include "base/hash.h"
#include "model/event.h"

/* False: no event of this kind leaves. */
bool rpc_sample_event(struct th_random *random, struct th_arena *arena, enum th_event_kind kind,
                      struct th_event *out);
