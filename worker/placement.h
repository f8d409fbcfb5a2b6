/*
 * placement: whether an activity runs beside its partition or goes out, to whichever worker takes
 * it. Here it costs a call and no message; out there are free threads, and other applications.
 * Pure; asked once per scheduled activity.
 */
#pragma once

#include "worker/pool.h"

/* name, text, meaning */
#define TH_PLACEMENTS(X)                                                                \
    X(AUTO, "auto", "here while threads are free or soon will be, else to all workers") \
    X(SHARED, "shared", "always to all workers")                                        \
    X(LOCAL, "local", "always in the worker that owns the instance")

enum th_placement {
#define X(name, text, meaning) TH_PLACEMENT_##name,
    TH_PLACEMENTS(X)
#undef X
};

bool th_placement_parse(const char *text, enum th_placement *out);

/* How long an activity would wait here, before anything is known of it. */
th_time th_placement_wait(const struct th_pool_load *load);

/* Whether it goes out. `known`: the application here has it. `others`: whether another live worker
 * serves it; asked last, and only when that decides. */
bool th_placement_goes_out(enum th_placement placement, bool known, const struct th_pool_load *load,
                           bool (*others)(void *argument, struct th_str name), void *argument,
                           struct th_str name);
