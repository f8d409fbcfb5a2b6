/*
 * gone: workers that are no more, to whom activities of our partitions were left. What they had
 * finished is in the inbox as a message, perhaps not delivered yet: who would start an activity
 * again at the first word of its worker's end would run it twice. So first the end of the inbox is
 * asked for, and what lies before it is taken.
 */
#include "node/internal.h"

struct parting {
    struct parting *prev, *next; /* part->partings */
    char *worker;
    int64_t inbox_end; /* as it was when the worker was known to be gone; -1: not known yet */
    bool asked;
    th_time ask_at;
};

static struct parting *find(const struct part *part, const char *worker)
{
    struct parting *g;

    DL_FOREACH(part->partings, g) {
        if (th_str_eq(th_str_of(g->worker), th_str_of(worker)))
            return g;
    }
    return NULL;
}

static void parting_free(struct part *part, struct parting *g)
{
    DL_DELETE(part->partings, g);
    free(g->worker);
    free(g);
}

void gone_add(struct th_node *node, struct part *part, struct th_str worker)
{
    TH_AUTOFREE char *name = th_str_dup(worker);
    struct parting *g = find(part, name);

    if (!g) {
        g = TH_NEW(struct parting);
        g->worker = th_str_dup(worker);
        DL_APPEND(part->partings, g);
    }
    g->inbox_end = -1;
    g->asked = false;
    g->ask_at = node->now;
}

static void ask(struct th_node *node, struct part *part, struct parting *g)
{
    g->asked = true;
    node->provider->ops->state(node->provider, part->index,
                               node_op(node, OP_GONE, part->index, th_str_of(g->worker), 0));
}

/* Without the projection there are the ends all the same, and a log that is ours is not empty. */
void gone_state(struct th_node *node, struct part *part, const char *worker,
                const struct th_completion *c)
{
    struct parting *g = find(part, worker);

    if (!g || !g->asked)
        return;
    if (c->error.code == TH_OK || c->log_end > 0) {
        g->inbox_end = c->inbox_end;
        return;
    }
    g->asked = false;
    g->ask_at = node->now + ASK_AGAIN;
}

th_time gone_step(struct th_node *node, struct part *part)
{
    struct parting *g, *next;
    th_time again = TH_TIME_NONE;

    DL_FOREACH_SAFE(part->partings, g, next) {
        if (g->inbox_end >= 0 && part->delivered >= g->inbox_end) {
            th_partition_worker_gone(part->core, th_str_of(g->worker), node->now);
            parting_free(part, g);
            again = node->now;
        } else if (!g->asked && g->ask_at <= node->now) {
            ask(node, part, g);
        } else if (!g->asked) {
            again = earlier(again, g->ask_at);
        }
    }
    return again;
}

void gone_drop(struct part *part)
{
    while (part->partings)
        parting_free(part, part->partings);
}

bool gone_is_alive(void *argument, struct th_str worker)
{
    struct part *part = argument;
    const struct th_node_hooks *h = &part->node->options.hooks;

    if (!h->is_alive(h->argument, worker))
        gone_add(part->node, part, worker);
    return true;
}
