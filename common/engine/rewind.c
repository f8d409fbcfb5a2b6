/*
 * rewind: takes a failed instance back to before its failures (contracts 2.6). Failed activities
 * lose their result and their scheduling, so the code schedules them again; failed
 * sub-orchestrations lose their result and are rewound themselves; the completion goes. The
 * execution id is new, so answers meant for the old execution are stale, and every child still
 * waited for is told the new one.
 */
#include "engine/internal.h"

/* Whether a later event of `kind` answers the event `id`. */
static bool answered(const struct th_engine_in *in, int32_t id, enum th_event_kind kind)
{
    for (size_t i = 0; i < in->past_count; i++)
        if (in->past[i].kind == kind && in->past[i].related_id == id)
            return true;
    return false;
}

static bool removed(const struct th_engine_in *in, const struct th_event *event)
{
    switch (event->kind) {
    case TH_EVENT_TASK_FAILED:
    case TH_EVENT_CHILD_FAILED:
    case TH_EVENT_EXECUTION_COMPLETED:
        return true;
    case TH_EVENT_TASK_SCHEDULED:
        return answered(in, event->id, TH_EVENT_TASK_FAILED);
    default:
        return false;
    }
}

static void rewind_child(const struct th_engine_in *in, const struct th_event *created,
                         const struct th_event *rewound, struct th_arena *arena,
                         struct th_outcome *out)
{
    struct th_parent *parent = TH_ARENA_NEW(arena, struct th_parent);
    struct th_message *message = &th_outcome_send(out, arena, created->instance_id)->message;

    *parent = (struct th_parent){.instance_id = in->info->instance_id,
                                 .execution_id = in->new_execution_id,
                                 .name = in->info->name,
                                 .version = in->info->version,
                                 .task_id = created->id};
    message->event = th_event_of(TH_EVENT_EXECUTION_REWOUND, in->now);
    message->event.reason = rewound->reason;
    message->event.parent = parent;
    message->event.name = created->name;
    message->event.version = created->version;
    message->event.data = created->data;
    message->event.tags = created->tags;
}

static struct th_event restarted(const struct th_engine_in *in, const struct th_event *started,
                                 const struct th_event *rewound, struct th_arena *arena)
{
    struct th_event event = *started;

    event.execution_id = in->new_execution_id;
    if (rewound->parent && started->parent) {
        struct th_parent *parent = th_arena_dup(arena, started->parent, sizeof(*parent));
        parent->execution_id = rewound->parent->execution_id;
        event.parent = parent;
    }
    return event;
}

void th_engine_rewind(const struct th_engine_in *in, const struct th_event *rewound,
                      struct th_arena *arena, struct th_outcome *out)
{
    for (size_t i = 0; i < in->past_count; i++) {
        const struct th_event *event = &in->past[i];

        if (removed(in, event))
            continue;
        if (event->kind == TH_EVENT_EXECUTION_STARTED)
            th_arena_event(arena, &out->past, restarted(in, event, rewound, arena));
        else
            th_arena_event(arena, &out->past, *event);
        if (event->kind == TH_EVENT_CHILD_CREATED &&
            !answered(in, event->id, TH_EVENT_CHILD_COMPLETED))
            rewind_child(in, event, rewound, arena, out);
    }
    out->replace_history = true;
    out->execution_id = in->new_execution_id;
}
