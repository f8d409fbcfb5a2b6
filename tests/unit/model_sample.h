/* Events for the tests of model: any event from a seeded generator, every field of it in use now
 * and then, and what an event holds that no wire may lose. */
#pragma once

#include "base/hash.h"
#include "model/message.h"

/* Bytes of all values, present and empty, absent, long and short. */
struct th_str sample_str(struct th_random *random, struct th_arena *arena);
struct th_event sample_event(struct th_random *random, struct th_arena *arena);
struct th_message sample_message(struct th_random *random, struct th_arena *arena);
