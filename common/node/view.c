/*
 * view: the hub at a moment, as far as this process owns it. Of the partitions of a shared hub that
 * it does not own, the storage is asked.
 */
#include "node/internal.h"

static void view_part(const struct th_node *node, const struct part *part, const struct ticket *t,
                      struct th_hub_view *view)
{
    struct th_hub_partition_view *v = &view->partitions[part->index];
    struct th_partition_stats s = {.oldest = TH_TIME_NONE};

    *v = (struct th_hub_partition_view){.partition = part->index, .oldest = TH_TIME_NONE};
    if (part->state != PART_ACTIVE && t->states)
        *v = t->states[part->index];
    if (part->state != PART_IDLE && part->trouble[0])
        v->trouble = th_str_of(part->trouble);
    if (part->state != PART_ACTIVE)
        return;
    th_partition_get_stats(part->core, &s);
    v->owned = true;
    v->owner = th_str_of(node->options.worker);
    v->epoch = s.epoch;
    v->inbox_position = s.position;
    v->inbox_end = part->delivered;
    v->log_start = s.log_start;
    v->log_end = s.next_offset;
    v->oldest = s.oldest;
    view->instance_messages += s.letters;
    view->activity_messages += s.pending_tasks;
    view->timers += s.timers;
    view->instances_in_memory += s.instances;
}

/* Work that nobody serves, by the name of its function. */
struct count {
    struct th_arena *arena; /* has the names */
    struct th_unserved *found;
    size_t count, capacity;
};

static void count_one(void *argument, enum th_function_kind kind, struct th_str name,
                      size_t waiting)
{
    struct count *c = argument;
    size_t at = 0;

    while (at < c->count && !(c->found[at].kind == kind && th_str_eq(c->found[at].name, name)))
        at++;
    if (at == c->count) {
        c->found = th_grow(c->found, &c->capacity, at + 1, sizeof(*c->found));
        c->found[c->count++] =
            (struct th_unserved){.kind = kind, .name = th_arena_str(c->arena, name)};
    }
    c->found[at].waiting += waiting;
}

static void count_unserved(struct th_node *node, struct ticket *t, struct th_hub_view *view)
{
    struct count c = {.arena = &t->arena};

    th_node_unserved(node, count_one, &c);
    view->unserved = th_arena_dup(&t->arena, c.found, c.count * sizeof(*c.found));
    view->unserved_count = c.count;
    free(c.found);
}

static void view_answer(struct th_node *node, struct ticket *t)
{
    struct th_hub_view view = {.record = node->provider->hub};
    const struct th_reply reply = {.error = {.code = TH_OK}, .hub = &view};

    view.partitions = TH_ARENA_ARRAY(&t->arena, struct th_hub_partition_view, node->part_count);
    for (uint32_t n = 0; n < node->part_count; n++)
        view_part(node, &node->parts[n], t, &view);
    count_unserved(node, t, &view);
    ticket_finish(node, t, &reply);
}

/* ---- a shared hub ---- */

static void ask_state(struct th_node *node, struct ticket *t, const struct part *part)
{
    t->states[part->index] = (struct th_hub_partition_view){
        .partition = part->index, .inbox_position = -1, .oldest = TH_TIME_NONE};
    if (part->state == PART_ACTIVE)
        return;
    t->ends_missing++;
    node->provider->ops->state(node->provider, part->index,
                               node_op(node, OP_TICKET, part->index, TH_STR_ABSENT, t->number));
}

void view_ask(struct th_node *node, struct ticket *t)
{
    if (node->traits.shared) {
        t->state = TICKET_ENDS;
        t->states = TH_ARENA_ARRAY(&t->arena, struct th_hub_partition_view, node->part_count);
        for (uint32_t n = 0; n < node->part_count; n++)
            ask_state(node, t, &node->parts[n]);
    }
    if (t->ends_missing == 0)
        view_answer(node, t);
}

/* Without the projection there are ends; without the log's storage there is nothing. */
void view_state(struct th_node *node, struct ticket *t, struct part *part, struct th_completion *c)
{
    struct th_hub_partition_view *v = &t->states[part->index];

    if (c->kind != TH_DONE_STATE)
        return;
    v->inbox_end = c->inbox_end;
    v->log_start = c->log_start;
    v->log_end = c->log_end;
    if (c->error.code == TH_OK && c->watermark.offset < 0 && c->log_end == 0)
        v->inbox_position = 0;
    else if (c->error.code == TH_OK && !c->watermark.building && c->watermark.offset >= 0)
        v->inbox_position = c->watermark.position;
    else if (c->error.code != TH_OK)
        v->trouble = th_arena_str(&t->arena, th_str_of(c->error.message));
    if (--t->ends_missing == 0)
        view_answer(node, t);
}

void th_node_look(const struct th_node *node, uint32_t partition, struct th_node_partition *out)
{
    const struct part *part = &node->parts[partition];
    struct th_partition_stats s;

    *out = (struct th_node_partition){.trouble = part->state == PART_IDLE ? "" : part->trouble,
                                      .epoch = -1};
    if (part->state != PART_ACTIVE)
        return;
    th_partition_get_stats(part->core, &s);
    *out = (struct th_node_partition){.trouble = part->trouble,
                                      .active = true,
                                      .epoch = part->epoch,
                                      .position = s.position,
                                      .log_start = s.log_start,
                                      .log_end = s.next_offset,
                                      .end = part->delivered,
                                      .oldest = s.oldest,
                                      .instances = s.instances,
                                      .pending_activities = s.pending_tasks};
}

/* The visit to an activity, as one to any function. */
struct activities {
    th_node_unserved_visit *visit;
    void *argument;
};

static void visit_activity(void *argument, struct th_str name, size_t waiting)
{
    const struct activities *a = argument;

    a->visit(a->argument, TH_FUNCTION_ACTIVITY, name, waiting);
}

void th_node_unserved(const struct th_node *node, th_node_unserved_visit *visit, void *argument)
{
    struct activities activities = {.visit = visit, .argument = argument};
    const struct th_node_hooks *hooks = &node->options.hooks;

    for (uint32_t n = 0; n < node->part_count; n++) {
        void *cursor = NULL;
        enum th_function_kind kind;
        struct th_str name;

        while (node->parts[n].state == PART_ACTIVE &&
               th_partition_next_unserved(node->parts[n].core, &cursor, &kind, &name))
            visit(argument, kind, name, 1);
    }
    if (hooks->unserved)
        hooks->unserved(hooks->argument, visit_activity, &activities);
}
