/*
 * rewind: takes a failed instance back to before its failures (contracts 2.6). Failed activities
 * lose their result and their scheduling, so the code schedules them again; failed
 * sub-orchestrations lose their result and are rewound themselves; calls of entities that failed,
 * or were not answered by the end, are made again; the completion goes. The
 * execution id is new, so answers meant for the old execution are stale, and every child still
 * waited for is told the new one.
 */
#include <stdlib.h>

#include "engine/internal.h"

/* An event that answers another: which, where it stands, and whether it is good news. */
struct answer {
    int32_t id;
    size_t at;
    enum th_event_kind kind;
};

struct answers {
    struct answer *items;
    size_t count;
};

static int by_id_and_place(const void *left, const void *right)
{
    const struct answer *a = left, *b = right;

    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

static bool is_answer(enum th_event_kind kind)
{
    return kind == TH_EVENT_TASK_COMPLETED || kind == TH_EVENT_TASK_FAILED ||
           kind == TH_EVENT_CHILD_COMPLETED || kind == TH_EVENT_CHILD_FAILED ||
           kind == TH_EVENT_ENTITY_COMPLETED || kind == TH_EVENT_ENTITY_FAILED;
}

static struct answers answers_of(const struct th_engine_in *in, struct th_arena *arena)
{
    struct answers all = {.items = TH_ARENA_ARRAY(arena, struct answer, in->past_count)};

    for (size_t i = 0; i < in->past_count; i++)
        if (is_answer(in->past[i].kind))
            all.items[all.count++] =
                (struct answer){.id = in->past[i].related_id, .at = i, .kind = in->past[i].kind};
    qsort(all.items, all.count, sizeof(*all.items), by_id_and_place);
    return all;
}

/* Whether the first answer behind `at` to the event `id` is of this kind. A retry uses an id
 * again, so that one id may have several answers. */
static bool answered(const struct answers *all, int32_t id, size_t at, enum th_event_kind kind)
{
    const struct answer wanted = {.id = id, .at = at};
    size_t low = 0, high = all->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (by_id_and_place(&all->items[middle], &wanted) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < all->count && all->items[low].id == id && all->items[low].kind == kind;
}

static bool removed(const struct answers *all, const struct th_event *event, size_t at)
{
    switch (event->kind) {
    case TH_EVENT_TASK_FAILED:
    case TH_EVENT_CHILD_FAILED:
    case TH_EVENT_EXECUTION_COMPLETED:
        return true;
    case TH_EVENT_ENTITY_FAILED:
        return true;
    case TH_EVENT_TASK_SCHEDULED:
        return answered(all, event->id, at, TH_EVENT_TASK_FAILED);
    case TH_EVENT_ENTITY_CALLED: /* an answer that came after the end is lost: it is asked again */
        return !answered(all, event->id, at, TH_EVENT_ENTITY_COMPLETED);
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

/* An earlier rewind named an execution of the parent's that nobody waits in any more. */
static struct th_event rewound_before(const struct th_event *earlier,
                                      const struct th_event *rewound)
{
    struct th_event event = *earlier;

    if (rewound->parent && earlier->parent)
        event.parent = rewound->parent;
    return event;
}

/* Whether the last episode began in a critical section, or asked for one. */
static bool failed_in_section(const struct th_engine_in *in)
{
    struct th_instance_info info = {0};
    bool within = false;

    for (size_t i = 0; i < in->past_count; i++) {
        if (in->past[i].kind == TH_EVENT_ORCHESTRATOR_STARTED)
            within = th_str_present(info.section);
        within |= in->past[i].kind == TH_EVENT_ENTITY_LOCK_REQUESTED;
        if (in->past[i].kind != TH_EVENT_EXECUTION_COMPLETED)
            th_info_apply(&info, &in->past[i]);
    }
    return within;
}

bool th_engine_rewind(const struct th_engine_in *in, const struct th_event *rewound,
                      struct th_arena *arena, struct th_outcome *out)
{
    const struct answers all = answers_of(in, arena);

    if (failed_in_section(in))
        return false;
    for (size_t i = 0; i < in->past_count; i++) {
        const struct th_event *event = &in->past[i];

        if (removed(&all, event, i))
            continue;
        if (event->kind == TH_EVENT_EXECUTION_STARTED)
            th_arena_event(arena, &out->past, restarted(in, event, rewound, arena));
        else if (event->kind == TH_EVENT_EXECUTION_REWOUND)
            th_arena_event(arena, &out->past, rewound_before(event, rewound));
        else
            th_arena_event(arena, &out->past, *event);
        if (event->kind == TH_EVENT_CHILD_CREATED &&
            !answered(&all, event->id, i, TH_EVENT_CHILD_COMPLETED))
            rewind_child(in, event, rewound, arena, out);
    }
    out->replace_history = true;
    out->execution_id = in->new_execution_id;
    return true;
}
