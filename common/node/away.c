/*
 * away: episodes that run outside of this thread, in a program of their own. The instance waits;
 * everything else goes on. What comes back is taken if it is still wanted: the partition is ours,
 * and nothing has ended the episode meanwhile. Entities beyond the limit wait here, in the order in
 * which their turns came.
 */
#include "node/internal.h"

struct away {
    UT_hash_handle hh; /* node->away, by number */
    uint64_t number;
    struct part *part;
    struct th_instance *instance;
    bool entity;
    bool waits; /* it has not begun */
};

static void add(struct th_node *node, struct part *part, struct th_instance *instance,
                uint64_t number, bool waits)
{
    struct away *a = TH_NEW(struct away);

    *a = (struct away){.number = number,
                       .part = part,
                       .instance = instance,
                       .entity = th_is_entity(th_partition_instance_id(instance)),
                       .waits = waits};
    node->entities_away += a->entity && !waits;
    node->entities_waiting += waits;
    HASH_ADD(hh, node->away, number, sizeof(a->number), a);
}

static void away_free(struct th_node *node, struct away *a)
{
    node->entities_away -= a->entity && !a->waits;
    node->entities_waiting -= a->waits;
    HASH_DELETE(hh, node->away, a);
    free(a);
}

void away_add(struct th_node *node, struct part *part, struct th_instance *instance,
              uint64_t number)
{
    add(node, part, instance, number, false);
}

static bool is_full(const struct th_node *node)
{
    const size_t most = node->options.max_entities;

    return most > 0 && node->entities_away >= most;
}

bool away_must_wait(struct th_node *node, struct part *part, struct th_instance *instance)
{
    if (!is_full(node) || !th_is_entity(th_partition_instance_id(instance)))
        return false;
    add(node, part, instance, ++node->next_episode, true);
    return true;
}

static struct away *first_waiting(struct th_node *node)
{
    struct away *a = node->away;

    while (a && !a->waits)
        a = a->hh.next;
    return a;
}

bool away_take_waiting(struct th_node *node, struct part **part, struct th_instance **instance)
{
    struct away *a = node->entities_waiting > 0 && !is_full(node) ? first_waiting(node) : NULL;

    if (!a)
        return false;
    *part = a->part;
    *instance = a->instance;
    away_free(node, a);
    return true;
}

static struct away *find(struct th_node *node, uint64_t number)
{
    struct away *a;

    HASH_FIND(hh, node->away, &number, sizeof(number), a);
    return a && !a->waits ? a : NULL;
}

static void cancel(struct th_node *node, struct away *a)
{
    const struct th_node_hooks *h = &node->options.hooks;

    if (h->episode_canceled && !a->waits)
        h->episode_canceled(h->argument, a->number);
    away_free(node, a);
}

void away_drop(struct th_node *node, const struct part *part)
{
    struct away *a, *next;

    HASH_ITER(hh, node->away, a, next) {
        if (a->part == part)
            cancel(node, a);
    }
}

void away_interrupt(struct th_node *node, struct part *part, struct th_str instance_id,
                    uint64_t tag)
{
    const struct th_instance *instance =
        th_partition_interrupt(part->core, instance_id, tag, node->now);
    struct away *a, *next;

    HASH_ITER(hh, node->away, a, next) {
        if (a->instance == instance)
            cancel(node, a);
    }
}

struct th_arena *th_node_away_arena(struct th_node *node, uint64_t episode)
{
    const struct away *a = find(node, episode);

    return a ? th_partition_arena(a->instance) : NULL;
}

void th_node_away_ran(struct th_node *node, uint64_t episode, const struct th_actions *actions,
                      th_time now)
{
    struct away *a = find(node, episode);

    if (now > node->now)
        node->now = now;
    if (!a)
        return;
    node->stats.episodes++;
    th_partition_ran(a->part->core, a->instance, actions, node->now);
    away_free(node, a);
}

void th_node_away_back(struct th_node *node, uint64_t episode, th_time now)
{
    struct away *a = find(node, episode);

    if (now > node->now)
        node->now = now;
    if (!a)
        return;
    th_partition_interrupted(a->part->core, a->instance, node->now);
    away_free(node, a);
}

void th_node_served(struct th_node *node, th_time now)
{
    if (now > node->now)
        node->now = now;
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].state == PART_ACTIVE)
            th_partition_serve_again(node->parts[n].core, node->now);
}
