/*
 * engine: the second half of an episode. Each action of the orchestrator becomes an event of the
 * history and, where it reaches beyond the instance, a message (contracts 2.4).
 */
#include "engine/engine.h"

#include "engine/internal.h"
#include "model/name.h"

void *th_arena_grow(struct th_arena *arena, void *items, size_t count, size_t *capacity,
                    size_t size)
{
    void *larger;

    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 8;
    larger = th_arena_alloc(arena, *capacity * size);
    if (count > 0)
        memcpy(larger, items, count * size);
    return larger;
}

void th_arena_event(struct th_arena *arena, struct th_events *list, struct th_event event)
{
    list->items =
        th_arena_grow(arena, list->items, list->count, &list->capacity, sizeof(*list->items));
    list->items[list->count++] = event;
}

struct th_action *th_actions_add(struct th_actions *list, struct th_arena *arena,
                                 enum th_action_kind kind, int32_t id)
{
    struct th_action *action;

    list->items =
        th_arena_grow(arena, list->items, list->count, &list->capacity, sizeof(*list->items));
    action = &list->items[list->count++];
    *action = (struct th_action){.kind = kind, .id = id, .fire_at = TH_TIME_NONE};
    return action;
}

void th_actions_fail(struct th_actions *out, struct th_arena *arena, bool entity,
                     const struct th_failure *failure)
{
    struct th_action *only;

    *out = (struct th_actions){0};
    failure = th_failure_copy(arena, failure);
    if (entity) {
        out->failure = failure;
        return;
    }
    only = th_actions_add(out, arena, TH_ACTION_COMPLETE, -1);
    only->status = TH_STATUS_FAILED;
    only->failure = failure;
}

struct th_outgoing *th_outcome_send(struct th_outcome *out, struct th_arena *arena,
                                    struct th_str instance_id)
{
    struct th_outgoing *sent;

    out->outgoing = th_arena_grow(arena, out->outgoing, out->outgoing_count,
                                  &out->outgoing_capacity, sizeof(*out->outgoing));
    sent = &out->outgoing[out->outgoing_count++];
    *sent = (struct th_outgoing){.not_before = TH_TIME_NONE};
    sent->message.instance_id = instance_id;
    return sent;
}

void th_outcome_mark_refusals(struct th_outcome *out, size_t from, enum th_verdict verdict)
{
    for (size_t n = from; n < out->outgoing_count; n++)
        out->outgoing[n].refusal = verdict == TH_VERDICT_DROPPED;
}

void th_outcome_answer_parent(struct th_outcome *out, struct th_arena *arena,
                              const struct th_parent *parent, enum th_status status,
                              struct th_str output, const struct th_failure *failure, th_time now)
{
    static const struct th_failure ended_otherwise = {
        .type = {"Terminated", 10},
        .message = {"the sub-orchestration was terminated", 36},
    };
    struct th_message *answer;

    if (!parent)
        return;
    answer = &th_outcome_send(out, arena, parent->instance_id)->message;
    answer->execution_id = parent->execution_id;
    if (status == TH_STATUS_COMPLETED) {
        answer->event = th_event_of(TH_EVENT_CHILD_COMPLETED, now);
        answer->event.data = output;
    } else {
        answer->event = th_event_of(TH_EVENT_CHILD_FAILED, now);
        answer->event.failure = failure ? failure : &ended_otherwise;
    }
    answer->event.related_id = parent->task_id;
}

void th_outcome_terminate_children(const struct th_engine_in *in, struct th_outcome *out,
                                   struct th_arena *arena, const struct th_event *terminated)
{
    struct th_str child;

    for (size_t i = 0; in->pending.child(in->pending.argument, i, &child); i++) {
        struct th_message *message = &th_outcome_send(out, arena, child)->message;
        message->event = *terminated;
        message->event.timestamp = in->now;
        message->event.recurse = true;
    }
}

void th_outcome_unlock(struct th_outcome *out, struct th_arena *arena,
                       const struct th_instance_info *info, th_time now)
{
    for (size_t n = 0; n < info->locked.count; n++) {
        struct th_message *m;

        if (info->unlocked >> n & 1)
            continue;
        m = &th_outcome_send(out, arena, info->locked.items[n])->message;
        m->event = th_event_of(TH_EVENT_ENTITY_UNLOCK_SENT, now);
        m->event.request_id = info->section;
        m->event.instance_id = m->instance_id;
    }
}

/* ---- actions ---- */

struct finish {
    const struct th_engine_in *in;
    struct th_arena *arena;
    struct th_outcome *out;
    struct th_instance_info info; /* with the fresh events applied */
    bool ended;
};

static void produce(struct finish *f, struct th_event event)
{
    th_arena_event(f->arena, &f->out->produced, event);
}

static struct th_event event_of_action(const struct finish *f, enum th_event_kind kind,
                                       const struct th_action *action)
{
    struct th_event event = th_event_of(kind, f->in->now);

    event.id = action->id;
    event.name = action->name;
    event.version = action->version;
    event.data = action->data;
    event.instance_id = action->instance_id;
    event.fire_at = action->fire_at;
    event.tags = action->tags;
    event.trace = action->trace;
    return event;
}

static void schedule_task(struct finish *f, const struct th_action *action)
{
    struct th_event event = event_of_action(f, TH_EVENT_TASK_SCHEDULED, action);

    event.instance_id = TH_STR_ABSENT;
    if (!th_str_present(event.version))
        event.version = f->info.version;
    produce(f, event);
}

static void create_child(struct finish *f, const struct th_action *action)
{
    struct th_event event = event_of_action(f, TH_EVENT_CHILD_CREATED, action);
    struct th_parent *parent = TH_ARENA_NEW(f->arena, struct th_parent);
    struct th_message *start;

    if (!th_str_present(event.instance_id) || event.instance_id.len == 0)
        event.instance_id = th_arena_format(f->arena, "%.*s:%04x", TH_PRI(f->info.execution_id),
                                            (unsigned)action->id);
    if (!th_str_present(event.version))
        event.version = f->info.version;
    produce(f, event);

    *parent = (struct th_parent){.instance_id = f->info.instance_id,
                                 .execution_id = f->info.execution_id,
                                 .name = f->info.name,
                                 .version = f->info.version,
                                 .task_id = action->id};
    start = &th_outcome_send(f->out, f->arena, event.instance_id)->message;
    start->reuse = TH_REUSE_TERMINAL; /* a retry uses the id again (contracts 2.2) */
    start->event = th_event_of(TH_EVENT_EXECUTION_STARTED, f->in->now);
    start->event.name = event.name;
    start->event.version = event.version;
    start->event.data = event.data;
    start->event.instance_id = event.instance_id;
    start->event.parent = parent;
    start->event.tags = event.tags;
    start->event.trace = th_str_present(event.trace) ? event.trace : f->info.trace;
}

static void create_timer(struct finish *f, const struct th_action *action)
{
    struct th_event event = event_of_action(f, TH_EVENT_TIMER_CREATED, action);

    event.name = event.version = event.data = event.instance_id = TH_STR_ABSENT;
    produce(f, event);
}

static void send_event(struct finish *f, const struct th_action *action)
{
    struct th_message *message;

    produce(f, event_of_action(f, TH_EVENT_EVENT_SENT, action));
    message = &th_outcome_send(f->out, f->arena, action->instance_id)->message;
    message->event = th_event_of(TH_EVENT_EVENT_RAISED, f->in->now);
    message->event.name = action->name;
    message->event.data = action->data;
}

static void terminate_other(struct finish *f, const struct th_action *action)
{
    struct th_message *message = &th_outcome_send(f->out, f->arena, action->instance_id)->message;

    message->event = th_event_of(TH_EVENT_EXECUTION_TERMINATED, f->in->now);
    message->event.data = action->data;
    message->event.recurse = action->recurse;
}

static void continue_as_new(struct finish *f, const struct th_action *action)
{
    struct th_instance_info *next = &f->out->next;
    struct th_buffer carried = {0};

    *next = f->info;
    next->execution_id = f->in->next_execution_id;
    next->status = TH_STATUS_RUNNING;
    next->input = action->data;
    if (th_str_present(action->version))
        next->version = action->version;
    next->output = TH_STR_ABSENT;
    next->failure = NULL;
    next->turn_trace = TH_STR_ABSENT;
    next->updated = f->in->now;
    next->generation++;
    next->event_count = 0;
    next->starting = true;
    th_encode_events(&carried, action->carryover, action->carryover_count);
    if (f->info.status == TH_STATUS_SUSPENDED) { /* in this very episode: it stays suspended */
        const struct th_event suspended = th_event_of(TH_EVENT_EXECUTION_SUSPENDED, f->in->now);
        th_encode_event(&carried, &suspended);
    }
    next->carryover = th_arena_str(f->arena, th_buffer_view(&carried));
    th_buffer_deinit(&carried);
    th_outcome_unlock(f->out, f->arena, &f->info, f->in->now);
    next->section = TH_STR_ABSENT;
    next->locked = (struct th_strs){0};
    next->unlocked = 0;
    f->out->continued = true;
    f->ended = true;
}

static void complete(struct finish *f, enum th_status status, struct th_str result,
                     const struct th_failure *failure)
{
    struct th_event event = th_event_of(TH_EVENT_EXECUTION_COMPLETED, f->in->now);

    event.status = status;
    event.data = result;
    event.failure = failure;
    produce(f, event);
    th_outcome_answer_parent(f->out, f->arena, f->info.parent, status, result, failure, f->in->now);
    th_outcome_unlock(f->out, f->arena, &f->info, f->in->now);
    f->ended = true;
}

/* ---- entities ---- */

static void fail_for_entity(struct finish *f, const struct th_error *error)
{
    const struct th_failure failure = {.type = TH_STR("InvalidEntityOperation"),
                                       .message = th_str_of(error->message),
                                       .non_retriable = true};

    if (!f->ended)
        complete(f, TH_STATUS_FAILED, TH_STR_ABSENT, th_failure_copy(f->arena, &failure));
}

/* All sets are in the same order, whoever made them. */
static struct th_strs in_order(struct th_arena *arena, struct th_strs set)
{
    struct th_str *items = TH_ARENA_ARRAY(arena, struct th_str, set.count);
    size_t count = 0;

    for (size_t n = 0; n < set.count; n++) {
        size_t at = count;

        while (at > 0 && th_str_cmp(items[at - 1], set.items[n]) > 0)
            at--;
        if (at > 0 && th_str_eq(items[at - 1], set.items[n]))
            continue;
        memmove(items + at + 1, items + at, (count - at) * sizeof(*items));
        items[at] = set.items[n];
        count++;
    }
    return (struct th_strs){.items = items, .count = count};
}

static bool check_lock(const struct finish *f, const struct th_event *event, struct th_error *error)
{
    if (th_str_present(f->info.section))
        return th_fail(error, TH_INVALID, "a critical section within another one is not possible");
    if (event->lock_set.count == 0 || event->lock_set.count > TH_LOCK_SET_MAX)
        return th_fail(error, TH_INVALID, "a critical section has 1 to %d entities, not %zu",
                       TH_LOCK_SET_MAX, event->lock_set.count);
    if (!th_str_present(event->request_id))
        return th_fail(error, TH_INVALID, "a critical section needs an id");
    for (size_t n = 0; n < event->lock_set.count; n++)
        if (!th_entity_id_check(event->lock_set.items[n], error))
            return false;
    return true;
}

static bool check_entity(const struct finish *f, const struct th_event *event,
                         struct th_error *error)
{
    switch (event->kind) {
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        return check_lock(f, event, error);
    case TH_EVENT_ENTITY_CALLED:
    case TH_EVENT_ENTITY_SIGNALED:
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        return th_entity_id_check(event->instance_id, error);
    default:
        return th_fail(error, TH_INVALID, "%s is nothing an orchestrator can ask of an entity",
                       th_event_kind_text(event->kind));
    }
}

/* Whether the entity is in the section and was not released: it gets one release, not two. */
static bool holds(const struct th_instance_info *info, const struct th_event *unlock)
{
    for (size_t n = 0; n < info->locked.count; n++)
        if (th_str_eq(info->locked.items[n], unlock->instance_id))
            return th_str_eq(info->section, unlock->request_id) && !(info->unlocked >> n & 1);
    return false;
}

static const struct th_parent *self_of(const struct finish *f, int32_t id)
{
    const struct th_parent self = {
        .instance_id = f->info.instance_id, .execution_id = f->info.execution_id, .task_id = id};

    return th_arena_dup(f->arena, &self, sizeof(self));
}

static void send_to_entity(struct finish *f, const struct th_action *action)
{
    struct th_event event = *action->entity;
    struct th_error error = {.code = TH_OK};
    struct th_message *m;

    if (!check_entity(f, &event, &error)) {
        fail_for_entity(f, &error);
        return;
    }
    event.id = action->id;
    event.timestamp = f->in->now;
    event.lock_set = in_order(f->arena, event.lock_set);
    if (event.kind == TH_EVENT_ENTITY_CALLED || event.kind == TH_EVENT_ENTITY_LOCK_REQUESTED)
        event.parent = self_of(f, action->id);
    if (event.kind == TH_EVENT_ENTITY_LOCK_REQUESTED)
        event.instance_id = event.lock_set.items[0];
    produce(f, event);
    if (event.kind == TH_EVENT_ENTITY_UNLOCK_SENT && !holds(&f->info, &event))
        return;
    th_info_apply(&f->info, &event);
    m = &th_outcome_send(f->out, f->arena, event.instance_id)->message;
    m->event = event;
    m->event.id = -1;
    if (event.kind == TH_EVENT_ENTITY_LOCK_REQUESTED)
        m->event.related_id = 0;
}

static void complete_as_asked(struct finish *f, const struct th_action *action)
{
    static const struct th_failure no_end = {
        .type = {"InvalidCompletion", 17},
        .message = {"the orchestrator completed with a status that is no end", 55},
        .non_retriable = true,
    };

    if (action->status == TH_STATUS_CONTINUED_AS_NEW)
        continue_as_new(f, action);
    else if (th_status_terminal(action->status))
        complete(f, action->status, action->data, action->failure);
    else
        complete(f, TH_STATUS_FAILED, TH_STR_ABSENT, &no_end);
}

static void apply_action(struct finish *f, const struct th_action *action)
{
    switch (action->kind) {
    case TH_ACTION_SCHEDULE_TASK:
        schedule_task(f, action);
        break;
    case TH_ACTION_CREATE_CHILD:
        create_child(f, action);
        break;
    case TH_ACTION_CREATE_TIMER:
        create_timer(f, action);
        break;
    case TH_ACTION_SEND_EVENT:
        send_event(f, action);
        break;
    case TH_ACTION_TERMINATE:
        terminate_other(f, action);
        break;
    case TH_ACTION_ENTITY:
        send_to_entity(f, action);
        break;
    case TH_ACTION_COMPLETE: /* after all the others, see apply_all */
    case TH_ACTION_SIGNAL:   /* of entities */
    case TH_ACTION_START:
        break;
    }
}

/* The end comes last, wherever the orchestrator put it: what is asked for beside it happens, and
 * nothing is opened behind the event that closes everything. */
static void apply_all(struct finish *f, const struct th_actions *actions)
{
    for (size_t i = 0; i < actions->count && !f->ended; i++)
        apply_action(f, &actions->items[i]);
    for (size_t i = 0; i < actions->count && !f->ended; i++)
        if (actions->items[i].kind == TH_ACTION_COMPLETE)
            complete_as_asked(f, &actions->items[i]);
}

static struct finish finish_of(const struct th_engine_in *in, struct th_arena *arena,
                               struct th_outcome *out)
{
    struct finish f = {.in = in, .arena = arena, .out = out, .info = *in->info};

    f.info.starting |= out->past.count > 0; /* a rewind keeps what a new start resets */
    for (size_t i = 0; i < out->past.count; i++)
        th_info_apply(&f.info, &out->past.items[i]);
    for (size_t i = 0; i < out->fresh.count; i++)
        th_info_apply(&f.info, &out->fresh.items[i]);
    return f;
}

static void close_turn(struct finish *f)
{
    produce(f, th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, f->in->now));
}

void th_engine_finish(const struct th_engine_in *in, const struct th_actions *actions,
                      struct th_arena *arena, struct th_outcome *out)
{
    struct finish f;

    if (th_is_entity(in->info->instance_id)) {
        th_engine_entity_finish(in, actions, arena, out);
        return;
    }
    f = finish_of(in, arena, out);
    if (out->terminated) {
        const struct th_event *last = &out->fresh.items[out->fresh.count - 1];
        complete(&f, TH_STATUS_TERMINATED, last->data, NULL);
    } else if (actions) {
        apply_all(&f, actions);
        if (out->continued && actions->has_custom_status)
            out->next.custom_status = actions->custom_status;
    }
    close_turn(&f);
}

void th_engine_fail(const struct th_engine_in *in, struct th_str type, struct th_str message,
                    struct th_arena *arena, struct th_outcome *out)
{
    const struct th_failure failure = {.type = type, .message = message, .non_retriable = true};
    struct finish f;

    if (th_is_entity(in->info->instance_id)) {
        th_engine_entity_fail(in, th_failure_copy(arena, &failure), arena, out);
        return;
    }
    f = finish_of(in, arena, out);
    complete(&f, TH_STATUS_FAILED, TH_STR_ABSENT, th_failure_copy(arena, &failure));
    close_turn(&f);
}
