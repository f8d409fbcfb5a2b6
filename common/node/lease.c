/*
 * lease: one partition's way from a claim to work, and how it is lost: to another owner, to a
 * storage that fails, or because it is given up. Lost leases are claimed again after a back-off;
 * one whose log lost its end is not, since what was acknowledged is gone and somebody has to know;
 * neither is one that holds what only a newer program knows.
 */
#include <stdio.h>
#include <string.h>

#include "node/internal.h"

#define FIRST_BACKOFF  (50 * TH_MILLISECOND)
#define LAST_BACKOFF   (5 * TH_SECOND)
#define CHECK_INTERVAL (2 * TH_SECOND)
#define SAY_AGAIN      (10 * TH_SECOND) /* the same sentence */

/* ---- losing ---- */

static void drop_gap(struct part *part)
{
    for (size_t n = 0; n < part->gap_count; n++)
        th_blob_unref(part->gap[n].bytes);
    part->gap_count = 0;
}

static void forget(void *argument, struct th_str instance_id)
{
    node_forget(argument, instance_id);
}

static void tell_lease(struct th_node *node, const struct part *part, int64_t epoch)
{
    const struct th_node_hooks *h = &node->options.hooks;

    if (h->lease)
        h->lease(h->argument, part->index, epoch);
}

void part_drop(struct th_node *node, struct part *part)
{
    const bool owned = part->state == PART_ACTIVE;

    if (owned)
        node->provider->ops->inbox_close(node->provider, part->index);
    reader_stop(&part->lease);
    reader_stop(&part->rebuild);
    away_drop(node, part);
    if (part->core) {
        node_keep_counts(node, part);
        th_partition_each(part->core, forget, node);
    }
    th_partition_free(part->core);
    part->core = NULL;
    part->generation++;
    part->releasing = part->take_again = part->unresolved = part->checking = part->intake_stopped =
        false;
    part->state = PART_IDLE;
    drop_gap(part);
    gone_drop(part);
    if (owned)
        tell_lease(node, part, -1);
}

static th_time backoff(struct th_node *node, uint32_t losses)
{
    th_time wait = FIRST_BACKOFF;

    while (losses-- > 1 && wait < LAST_BACKOFF)
        wait *= 2;
    return wait + (th_time)th_random_below(&node->random, (uint64_t)wait);
}

void part_trouble(struct part *part, const char *what)
{
    snprintf(part->trouble, sizeof(part->trouble), "%.*s", (int)sizeof(part->trouble) - 1, what);
}

/* Another attempt would end in the same way. */
static bool is_final(enum th_code code)
{
    return code == TH_TRUNCATED || code == TH_UNSUPPORTED;
}

static void note_trouble(struct th_node *node, struct part *part, const struct th_error *error)
{
    const bool stopped = is_final(error->code);

    part_trouble(part, error->message);
    if (strcmp(part->said, part->trouble) != 0 || node->now - part->said_at >= SAY_AGAIN) {
        memcpy(part->said, part->trouble, sizeof(part->said));
        part->said_at = node->now;
        node_say(node, stopped ? TH_LOG_ERROR : TH_LOG_WARN, "partition %u%s: %s", part->index,
                 stopped ? " stops" : "", error->message);
    }
    if (node->options.hooks.trouble)
        node->options.hooks.trouble(node->options.hooks.argument, part->index, error);
}

void part_lose(struct th_node *node, struct part *part, const struct th_error *error)
{
    const struct th_error why = *error; /* may lie in what is dropped */
    const bool given_up = part->releasing && !part->take_again;

    if (part->state == PART_ACTIVE && node->now - part->active_since >= LAST_BACKOFF)
        part->losses = 0; /* it was well meanwhile */
    node->stats.leases_lost += part->state == PART_ACTIVE;
    part->distrusted |= why.code == TH_CORRUPT;
    part_drop(node, part);
    note_trouble(node, part, &why);
    if (given_up)
        return;
    part->state = is_final(why.code) ? PART_STOPPED : PART_BACKOFF;
    part->losses++;
    part->retry_at = node->now + backoff(node, part->losses);
}

/* ---- claiming ---- */

void part_claim(struct th_node *node, struct part *part)
{
    struct th_blob *claim;

    remote_stop_peeking(node, part);
    part->core = node_core_new(node, part);
    part->state = PART_CLAIMING;
    part->doubted = false;
    claim = th_partition_claim(part->core, node->now);
    node->provider->ops->claim(node->provider, part->index, claim, part_tag(part, 0));
    th_blob_unref(claim);
}

void part_claimed(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_CLAIMING)
        return;
    part->epoch = c->offset;
    part->state = PART_READING;
    reader_start(node, part, &part->lease, part->epoch);
}

static void crash_report_free(struct crash_report *c)
{
    free(c->id);
    free(c->reason);
    free(c);
}

void part_report_crashes(struct th_node *node, struct part *part)
{
    for (struct crash_report **at = &node->crashes; *at;) {
        struct crash_report *c = *at;

        if (part && node_part_of(node, th_str_of(c->id)) != part) {
            at = &c->next;
            continue;
        }
        if (part)
            th_partition_crashed(part->core, th_str_of(c->id), c->task_id, th_str_of(c->reason),
                                 node->now);
        *at = c->next;
        crash_report_free(c);
    }
}

void part_activate(struct th_node *node, struct part *part)
{
    int64_t position;

    part->lease = (struct reader){.core = NULL};
    position = th_partition_activate(part->core, node->now);
    part->state = PART_ACTIVE;
    node->stats.leases_taken++;
    part->distrusted = false;
    part->delivered = position;
    part->active_since = node->now;
    part->project_after = TH_TIME_NONE;
    part->check_at = node->now + CHECK_INTERVAL;
    part->checked_end = 0;
    part->trouble[0] = '\0';
    part_report_crashes(node, part);
    th_partition_hold(part->core, node->held);
    if (node->draining)
        th_partition_pause(part->core);
    if (part->doubted)
        th_partition_doubt(part->core);
    node->provider->ops->inbox_open(node->provider, part->index, position);
    node_say(node, TH_LOG_DEBUG, "partition %u is ours from epoch %lld", part->index,
             (long long)part->epoch);
    tell_lease(node, part, part->epoch);
}

void part_doubt(struct th_node *node, struct part *part)
{
    part->doubted = true;
    if (part->state == PART_ACTIVE)
        th_partition_doubt(part->core);
}

/* ---- looking after a lease ---- */

/*
 * An owner notices at its first acknowledgement that another one took over, but one that writes
 * nothing has none: it would answer from memory for ever while the partition goes on elsewhere, or
 * nowhere. So it looks at the log's end now and then, and whether the projection was wiped.
 */
th_time part_check(struct th_node *node, struct part *part)
{
    if (node->traits.ordered || part->checking)
        return TH_TIME_NONE;
    if (part->check_at > node->now)
        return part->check_at;
    part->checking = true;
    part->checked = part->watermark;
    part->checked_offset = th_partition_acked_offset(part->core);
    node->provider->ops->state(node->provider, part->index,
                               node_op(node, OP_STATE, part->index, TH_STR_ABSENT, 0));
    return TH_TIME_NONE;
}

/* A stream of deliveries may come to rest without a word, as librdkafka's have where a leader died:
 * what was there at two looks and did not come in between is asked for again. */
static void mind_inbox(struct th_node *node, struct part *part, int64_t end)
{
    const bool rests = part->delivered == part->checked_delivered && part->delivered < end &&
                       part->delivered < part->checked_end && !part->intake_stopped;

    if (node->now < part->inbox_check_at)
        return;
    part->inbox_check_at = node->now + (rests ? 5 : 1) * CHECK_INTERVAL;
    part->checked_delivered = part->delivered;
    part->checked_end = end;
    if (!rests || part->state != PART_ACTIVE || part->releasing)
        return;
    node_say(node, TH_LOG_WARN, "partition %u: nothing of its inbox came from %lld on: asked again",
             part->index, (long long)part->delivered);
    node->provider->ops->inbox_open(node->provider, part->index, part->delivered);
}

void part_checked(struct th_node *node, struct part *part, struct th_completion *c)
{
    part->checking = false;
    part->check_at = node->now + (part->unresolved ? ASK_AGAIN : CHECK_INTERVAL);
    if (c->error.code != TH_OK)
        return;
    th_partition_log_end(part->core, part->checked_offset, c->log_end, node->now);
    mind_inbox(node, part, c->inbox_end);
    if (!node->traits.durable_projection)
        project_looked(node, part, &c->watermark, c->stored_rows);
}

/* ---- giving up ---- */

th_time part_step_release(struct th_node *node, struct part *part)
{
    const bool done = part->state != PART_ACTIVE || th_partition_quiet(part->core);
    bool take_again;

    if (!part->releasing)
        return TH_TIME_NONE;
    if (part->state == PART_CLAIMING) /* what it is for would come too late for a new lease */
        return TH_TIME_NONE;
    if (!done && part->release_by > node->now)
        return part->release_by;
    take_again = part->take_again && !node->draining;
    part_drop(node, part);
    if (take_again)
        part_claim(node, part);
    return TH_TIME_NONE;
}
