/*
 * project: an owner's rows on their way to the projection. Starts and ends go at once, for somebody
 * may be waiting; the rest gathers for a moment. Where a projection can vanish, a batch that failed
 * may have come through all the same, and the projection may have lost what it held: what it says
 * of itself decides. One that lost its rows is made again beside the owner (reader.c).
 */
#include "node/internal.h"

#define PROJECT_AGAIN (100 * TH_MILLISECOND) /* after a projection failed */

static void submit(struct th_node *node, struct part *part, const struct th_projection *batch)
{
    node->stats.projections++;
    part->projecting = batch->next;
    node->provider->ops->project(node->provider, batch,
                                 node_op(node, OP_STORE, part->index, TH_STR_ABSENT, 0));
}

static void settle(struct th_node *node, struct part *part, const struct th_error *error)
{
    part->unresolved = false;
    if (!error)
        part->watermark = part->projecting;
    else
        part->project_after = node->now + PROJECT_AGAIN;
    th_partition_projected(part->core, error);
}

/* ---- what the projection says of itself ---- */

static void look_now(struct th_node *node, struct part *part)
{
    part->unresolved = true;
    part->check_at = node->now;
}

static void lose_to(struct th_node *node, struct part *part, const struct th_watermark *stored)
{
    struct th_error error;

    th_fail(&error, TH_FENCED,
            "the projection of partition %u was moved by the owner of epoch %llu", part->index,
            (unsigned long long)stored->epoch);
    part_lose(node, part, &error);
}

/* Single rows are missing, since who knows when: what was loaded meanwhile may be wrong, too. The
 * next lease takes everything from the log. */
static void lose_holes(struct th_node *node, struct part *part, const struct th_error *error)
{
    if (part->unresolved)
        settle(node, part, error);
    part_lose(node, part, error);
}

static void make_again(struct th_node *node, struct part *part)
{
    const struct th_error lost = {.code = TH_UNAVAILABLE};

    if (part->unresolved)
        settle(node, part, &lost);
    if (th_partition_rebuilding(part->core))
        return;
    part_trouble(part, "its projection lost rows: it is made again from the log");
    node_say(node, TH_LOG_WARN, "partition %u: %s", part->index, part->trouble);
    part->rebuild.beside = true;
    node->stats.rebuilds++;
    reader_start(node, part, &part->rebuild, th_partition_projection_lost(part->core));
}

void project_stored(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (c->error.code == TH_OK) {
        settle(node, part, NULL);
    } else if (node->traits.durable_projection) {
        settle(node, part, &c->error);
    } else if (c->error.code == TH_CORRUPT) {
        lose_holes(node, part, &c->error);
    } else {
        look_now(node, part);
    }
}

/* Numbers of batches count within an epoch: a former owner's may be higher. */
bool projection_is_older(const struct th_watermark *stored, const struct th_watermark *known)
{
    return stored->epoch < known->epoch ||
           (stored->epoch == known->epoch && stored->batch < known->batch);
}

/* The look began when the owner's watermark was `checked`; only its own batches lead on. */
void project_looked(struct th_node *node, struct part *part, const struct th_watermark *stored,
                    uint64_t rows)
{
    const struct th_error again = {.code = TH_UNAVAILABLE};
    const struct th_error holes = {.code = TH_UNAVAILABLE,
                                   .message = "its projection lacks rows: it is made again"};

    if (part->state != PART_ACTIVE || th_partition_rebuilding(part->core))
        return;
    if (part->unresolved && th_watermark_equal(stored, &part->projecting))
        settle(node, part, NULL);
    else if (part->unresolved && th_watermark_equal(stored, &part->watermark))
        settle(node, part, &again);
    else if (stored->offset >= 0 && stored->epoch > (uint64_t)part->epoch)
        lose_to(node, part, stored);
    else if (projection_is_older(stored, &part->checked) || part->unresolved)
        make_again(node, part);
    else if (rows != stored->rows && !th_partition_clears(part->core))
        lose_holes(node, part, &holes);
}

/* ---- when ---- */

static bool project(struct th_node *node, struct part *part, bool news)
{
    struct th_projection batch;

    if (!th_partition_project(part->core, news, node->now, &batch))
        return false;
    submit(node, part, &batch);
    effects_carry_out(node, part); /* of instances that were held */
    return true;
}

/* What waits to be projected is pinned in memory: there is a limit to what may come in. */
static void mind_intake(struct th_node *node, struct part *part)
{
    struct th_partition_stats s;

    if (node->traits.durable_projection)
        return;
    th_partition_get_stats(part->core, &s);
    if (!part->intake_stopped && s.unprojected > node->options.max_unprojected) {
        part->intake_stopped = true;
        node->provider->ops->inbox_close(node->provider, part->index);
        node_say(node, TH_LOG_WARN,
                 "partition %u takes no messages: %zu instances wait to be projected", part->index,
                 s.unprojected);
    } else if (part->intake_stopped && s.unprojected < node->options.max_unprojected / 2) {
        part->intake_stopped = false;
        node->provider->ops->inbox_open(node->provider, part->index, part->delivered);
        node_say(node, TH_LOG_INFO, "partition %u takes messages again", part->index);
    }
}

th_time project_step(struct th_node *node, struct part *part)
{
    const bool in_haste = part->flush || node->draining || part->releasing;
    th_time since;

    mind_intake(node, part);
    if (part->unresolved)
        return TH_TIME_NONE;
    if (part->project_after > node->now)
        return part->project_after;
    if (th_partition_dirty_since(part->core, true) != TH_TIME_NONE && project(node, part, true))
        return TH_TIME_NONE;
    if (part->state != PART_ACTIVE)
        return TH_TIME_NONE;
    since = th_partition_dirty_since(part->core, false);
    if (since == TH_TIME_NONE)
        return TH_TIME_NONE;
    if (in_haste || since + node->options.project_interval <= node->now) {
        part->flush = !project(node, part, false) && part->flush;
        return TH_TIME_NONE; /* what could not go out waits for an acknowledgement */
    }
    return since + node->options.project_interval;
}
