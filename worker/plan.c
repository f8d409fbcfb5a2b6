#include "worker/plan.h"

#include <stdlib.h>

#include "base/memory.h"

#define WAIT     (500 * TH_MILLISECOND)
#define SILENCE  (600 * TH_MILLISECOND)
#define PATIENCE (10 * TH_SECOND)
/* Between two looks at a former owner: what it says comes as an event, its silence does not. */
#define LOOK (20 * TH_MILLISECOND)

enum holding {
    NOT_OURS,
    EXPECTED, /* assigned; waits for its former owner */
    TAKEN,
    TO_RELEASE,
};

struct part {
    enum holding holding;
    th_time since; /* EXPECTED */
};

struct th_plan {
    struct th_plan_options options;
    struct part *parts;
    bool assigned, ended; /* there is an assignment that was not revoked */
    th_time revoked_at;   /* TH_TIME_NONE: not, or dealt with */
};

struct th_plan *th_plan_new(const struct th_plan_options *options)
{
    struct th_plan *plan = TH_NEW(struct th_plan);
    struct th_plan_options *o = &plan->options;
    *o = *options;
    o->wait = o->wait ? o->wait : WAIT;
    o->silence = o->silence ? o->silence : SILENCE;
    o->patience = o->patience ? o->patience : PATIENCE;
    plan->parts = th_alloc((o->partitions + 1) * sizeof *plan->parts);
    plan->revoked_at = TH_TIME_NONE;
    return plan;
}

void th_plan_free(struct th_plan *plan)
{
    if (plan)
        free(plan->parts);
    free(plan);
}

/* ---- the group's word ------------------------------------------------------------------------ */

static void give_up(struct part *part)
{
    part->holding = part->holding == TAKEN || part->holding == TO_RELEASE ? TO_RELEASE : NOT_OURS;
}

static void expect(struct part *part, th_time now)
{
    if (part->holding == TAKEN || part->holding == EXPECTED)
        return;
    *part = (struct part){.holding = EXPECTED, .since = now};
}

static bool lists(const uint32_t *partitions, size_t count, uint32_t partition)
{
    for (size_t i = 0; i < count; i++)
        if (partitions[i] == partition)
            return true;
    return false;
}

void th_plan_assigned(struct th_plan *plan, const uint32_t *partitions, size_t count, th_time now)
{
    plan->assigned = !plan->ended;
    plan->revoked_at = TH_TIME_NONE;
    for (uint32_t p = 0; p < plan->options.partitions; p++) {
        if (plan->ended || !lists(partitions, count, p))
            give_up(&plan->parts[p]);
        else
            expect(&plan->parts[p], now);
    }
}

/* What waits for its former owner is not ours any more, and was not yet. */
void th_plan_revoked(struct th_plan *plan, th_time now)
{
    plan->assigned = false;
    plan->revoked_at = now;
    for (uint32_t p = 0; p < plan->options.partitions; p++)
        if (plan->parts[p].holding == EXPECTED)
            plan->parts[p].holding = NOT_OURS;
}

void th_plan_lost(struct th_plan *plan)
{
    plan->assigned = false;
    plan->revoked_at = TH_TIME_NONE;
    for (uint32_t p = 0; p < plan->options.partitions; p++)
        give_up(&plan->parts[p]);
}

void th_plan_end(struct th_plan *plan)
{
    plan->ended = true;
    th_plan_lost(plan);
}

/* ---- what to do ------------------------------------------------------------------------------ */

static bool may_take(const struct th_plan *plan, const struct part *part, struct th_former former,
                     th_time now)
{
    return !former.owns || former.silent >= plan->options.silence ||
           now - part->since >= plan->options.wait;
}

static bool was_forgotten(const struct th_plan *plan, th_time now)
{
    return plan->revoked_at != TH_TIME_NONE && now - plan->revoked_at >= plan->options.patience;
}

enum th_plan_step th_plan_next(struct th_plan *plan, bool known, th_former_fn former,
                               void *argument, th_time now, uint32_t *partition)
{
    if (was_forgotten(plan, now))
        th_plan_lost(plan);
    for (uint32_t p = 0; p < plan->options.partitions; p++) {
        struct part *part = &plan->parts[p];
        *partition = p;
        if (part->holding == TO_RELEASE) {
            part->holding = NOT_OURS;
            return TH_PLAN_RELEASE;
        }
        if (part->holding == EXPECTED && known && may_take(plan, part, former(argument, p), now)) {
            part->holding = TAKEN;
            return TH_PLAN_TAKE;
        }
    }
    return TH_PLAN_NOTHING;
}

th_time th_plan_deadline(const struct th_plan *plan, th_time now)
{
    for (uint32_t p = 0; p < plan->options.partitions; p++)
        if (plan->parts[p].holding == EXPECTED || plan->parts[p].holding == TO_RELEASE)
            return now + LOOK;
    return plan->revoked_at == TH_TIME_NONE ? TH_TIME_NONE
                                            : plan->revoked_at + plan->options.patience;
}

bool th_plan_wants(const struct th_plan *plan, uint32_t partition)
{
    enum holding holding = plan->parts[partition].holding;
    return holding == TAKEN || holding == EXPECTED;
}

bool th_plan_taken(const struct th_plan *plan, uint32_t partition)
{
    return plan->parts[partition].holding == TAKEN;
}

bool th_plan_is_assigned(const struct th_plan *plan)
{
    return plan->assigned;
}

bool th_plan_settled(const struct th_plan *plan)
{
    for (uint32_t p = 0; p < plan->options.partitions; p++)
        if (plan->parts[p].holding == EXPECTED)
            return false;
    return plan->assigned;
}
