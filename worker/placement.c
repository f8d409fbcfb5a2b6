#include "worker/placement.h"

#include <string.h>

/* A message to another worker and its answer cost about as much as this, with all its threads free;
 * waiting longer here is worth the trip. */
#define SHORT_WAIT (50 * TH_MILLISECOND)
/* Of activities that have never run here. */
#define UNKNOWN_MEAN (10 * TH_MILLISECOND)
/* Completed attempts weigh as many as these against those that still run. */
#define COMPLETED_WEIGHT 8

bool th_placement_parse(const char *text, enum th_placement *out)
{
#define X(name, word, meaning)      \
    if (strcmp(text, word) == 0) {  \
        *out = TH_PLACEMENT_##name; \
        return true;                \
    }
    TH_PLACEMENTS(X)
#undef X
    return false;
}

/* Of recent attempts, and of those under way, which may be much longer than any that has ended. */
static th_time mean_duration(const struct th_pool_load *load)
{
    th_time mean = load->mean == TH_TIME_NONE ? UNKNOWN_MEAN : load->mean;
    th_time count = COMPLETED_WEIGHT + (th_time)load->running;
    return (mean * COMPLETED_WEIGHT + load->elapsed) / count;
}

th_time th_placement_wait(const struct th_pool_load *load)
{
    size_t busy = load->running + load->waiting;
    if (load->threads == 0)
        return INT64_MAX / 2;
    if (busy < load->threads)
        return 0;
    return (th_time)(busy - load->threads + 1) * mean_duration(load) / load->threads;
}

bool th_placement_goes_out(enum th_placement placement, bool known, const struct th_pool_load *load,
                           bool (*others)(void *argument, struct th_str name), void *argument,
                           struct th_str name)
{
    if (placement != TH_PLACEMENT_AUTO)
        return placement == TH_PLACEMENT_SHARED;
    if (!known)
        return true;
    return th_placement_wait(load) >= SHORT_WAIT && others(argument, name);
}
