/*
 * look: commands that look, where the hub is this process's alone. The core's view comes first,
 * then the projection; what rests on records not yet durable is looked at again.
 */
#include "node/internal.h"

static void ask_row(struct th_node *node, struct ticket *t)
{
    const struct part *part = node_part_of(node, t->command.instance_id);

    t->state = TICKET_LOAD;
    ticket_unlist(node, t);
    node->provider->ops->load(node->provider, part->index, t->command.instance_id,
                              t->command.history,
                              node_op(node, OP_TICKET, part->index, TH_STR_ABSENT, t->number));
}

static void look_present(struct th_node *node, struct ticket *t,
                         const struct th_instance_info *info, bool durable)
{
    if (t->command.kind == TH_COMMAND_WAIT && !ticket_wait_is_over(t, info))
        ticket_keep_waiting(node, t);
    else if (durable)
        ticket_answer_info(node, t, info);
    else
        ticket_list_looking(node, t);
}

/* A start that was acknowledged may still be on its way from the inbox, above all after a restart;
 * until it is here, nobody can say that the instance does not exist. */
static bool caught_up(const struct part *part)
{
    return part->state == PART_ACTIVE && part->delivered >= part->promised;
}

/* Histories are read from the projection, once it is up to date. */
static void look_for_history(struct th_node *node, struct ticket *t, struct part *part)
{
    if (th_partition_stored(part->core, t->command.instance_id)) {
        ask_row(node, t);
        return;
    }
    part->flush = true;
    ticket_list_looking(node, t);
}

void look(struct th_node *node, struct ticket *t)
{
    struct part *part = node_part_of(node, t->command.instance_id);
    const struct th_instance_info *info = NULL;
    bool durable = true;

    t->state = TICKET_LOOK;
    if (!caught_up(part)) {
        ticket_list_looking(node, t);
        return;
    }
    if (t->command.history) {
        look_for_history(node, t, part);
        return;
    }
    switch (th_partition_view(part->core, t->command.instance_id, &info, &durable)) {
    case TH_VIEW_PRESENT:
        look_present(node, t, info, durable);
        break;
    case TH_VIEW_ABSENT:
        if (durable)
            ticket_absent(node, t);
        else
            ticket_list_looking(node, t);
        break;
    case TH_VIEW_UNKNOWN:
        ask_row(node, t);
        break;
    }
}

/* It may have come into being since the row was asked for. */
static bool is_known_now(struct part *part, const struct ticket *t)
{
    const struct th_instance_info *info;
    bool durable;

    return part->state != PART_ACTIVE || th_partition_view(part->core, t->command.instance_id,
                                                           &info, &durable) != TH_VIEW_UNKNOWN;
}

void look_row(struct th_node *node, struct ticket *t, struct part *part, bool current,
              struct th_completion *c)
{
    const struct th_reply failed = {.error = c->error};

    if (c->error.code == TH_OK && c->row_count > 0) {
        ticket_answer_row(node, t, &c->rows[0]);
    } else if (c->error.code != TH_OK && c->error.code != TH_NOT_FOUND) {
        ticket_finish(node, t, &failed);
    } else if (!current || is_known_now(part, t)) {
        t->command.history = t->command.history && part->state != PART_ACTIVE;
        look(node, t);
    } else {
        ticket_absent(node, t);
    }
}

void look_changed(struct th_node *node, struct th_str id)
{
    struct waiters *w = node->traits.shared ? NULL : waiters_of(node, id);
    size_t count = 0;
    struct ticket *t;

    if (!w)
        return;
    DL_COUNT(w->first, t, count);
    for (; count > 0; count--) { /* those that go on waiting come back at the end of the list */
        w = waiters_of(node, id);
        t = w->first;
        ticket_unlist(node, t);
        look(node, t);
    }
}

/* ---- queries ---- */

static bool is_flushed(const struct part *part, const struct ticket *t)
{
    return th_partition_flushed(part->core,
                                t->asked < part->active_since ? part->active_since : t->asked);
}

/* Everything that changed before the question was asked has to be in the projection. */
static bool flushed(struct th_node *node, const struct ticket *t)
{
    bool all = true;

    for (uint32_t n = 0; n < node->part_count; n++) {
        struct part *part = &node->parts[n];

        if (part->state == PART_IDLE)
            continue;
        if (!caught_up(part)) {
            all = false;
        } else if (!is_flushed(part, t)) {
            part->flush = true;
            all = false;
        }
    }
    return all;
}

void look_query(struct th_node *node, struct ticket *t)
{
    if (flushed(node, t)) {
        ticket_query(node, t);
        return;
    }
    t->state = TICKET_FLUSH;
    ticket_list_looking(node, t);
}
