/*
 * plan: which partitions a worker takes and which it gives up, from what the group assigns to it,
 * what others say of themselves, and the time. Pure: it knows no Kafka and no clock; lease.c feeds
 * it and carries out what it says. The group only suggests; the claim in a partition's log decides.
 *
 *   - A revocation changes nothing: an eager rebalance takes all partitions from everybody and
 *     gives most of them back. The next assignment tells what is really lost; without one, what was
 *     revoked is given up after a while.
 *   - A new partition is taken when its former owner says that it has it no longer, or is gone, and
 *     after a short wait in any case; at once from one who has been silent, as the dead are.
 *   - An assignment that is lost, because the session expired, is given up at once: the partitions
 *     are somebody else's by now.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct th_plan;

struct th_plan_options {
    uint32_t partitions;
    th_time wait;     /* for a former owner; 0: 500 ms */
    th_time silence;  /* of a former owner that makes waiting useless; 0: 600 ms */
    th_time patience; /* after a revocation, for the next assignment; 0: 10 s */
};

/* Times are monotonic. */
struct th_plan *th_plan_new(const struct th_plan_options *options);
void th_plan_free(struct th_plan *plan);

/* The group's word: these partitions, and no others. */
void th_plan_assigned(struct th_plan *plan, const uint32_t *partitions, size_t count, th_time now);
void th_plan_revoked(struct th_plan *plan, th_time now);
void th_plan_lost(struct th_plan *plan);
/* The worker ends: all of it is given up, and nothing taken any more. */
void th_plan_end(struct th_plan *plan);

/* What is known of whoever else has a partition. */
struct th_former {
    bool owns;      /* another process that is alive says that the partition is its own */
    th_time silent; /* for how long it has said nothing, by the brokers' time */
};
typedef struct th_former (*th_former_fn)(void *argument, uint32_t partition);

enum th_plan_step { TH_PLAN_NOTHING, TH_PLAN_TAKE, TH_PLAN_RELEASE };

/* The next thing to do, one partition after the other. `known`: it is known who else works on the
 * hub; until then nothing is taken. */
enum th_plan_step th_plan_next(struct th_plan *plan, bool known, th_former_fn former,
                               void *argument, th_time now, uint32_t *partition);
/* When to ask again though nothing happened; TH_TIME_NONE: never. */
th_time th_plan_deadline(const struct th_plan *plan, th_time now);

bool th_plan_wants(const struct th_plan *plan, uint32_t partition); /* taken, or to be taken */
bool th_plan_taken(const struct th_plan *plan, uint32_t partition);
/* There is an assignment, and it was not revoked since. */
bool th_plan_is_assigned(const struct th_plan *plan);
/* Every partition of the last assignment is taken, and it was not revoked since. */
bool th_plan_settled(const struct th_plan *plan);
