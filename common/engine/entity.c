/*
 * entity: the engine for entities. Messages to an entity are operations, which its code answers in
 * batches, and the requests and releases of critical sections, which need no code:
 *
 *     section over {a, b, c}:  owner ──request──▶ a ──request──▶ b ──request──▶ c ──granted──▶
 * owner owner ──release──▶ a, b and c
 *
 * An entity that is locked answers its owner's calls only; everything else is parked until the
 * release. All sets are in the same order, so that two owners cannot wait for each other. Each
 * member of a set gets one request and one release, but a release may overtake the request, which
 * comes from another entity: then the section is void, and its request is passed on without
 * locking, until it has met every release.
 *
 * An entity has no history. Its state is the `output` of its info, and an episode replaces the info
 * as continue-as-new does.
 */
#include "engine/internal.h"
#include "model/name.h"

struct batch {
    const struct th_engine_in *in;
    struct th_arena *arena;
    struct th_outcome *out;
    struct th_instance_info *next; /* as the messages taken so far leave it */
    bool moved;                    /* a section began, ended or was voided */
    bool ended;                    /* nothing more in this episode */
    bool purge;
};

static enum th_verdict refuse(struct th_offer *offer, enum th_code code, const char *why)
{
    th_fail(&offer->error, code, "entity \"%.*s\" %s", TH_PRI(offer->message->instance_id), why);
    return TH_VERDICT_DROPPED;
}

/* What comes behind operations, and changes the lock, waits until they are answered: of a batch the
 * end may be left. */
static enum th_verdict after_operations(struct batch *b)
{
    b->ended = true;
    return TH_VERDICT_LEFT;
}

/* ---- operations ---- */

static bool is_locked_for(const struct batch *b, const struct th_event *operation)
{
    const struct th_parent *caller = operation->parent;
    const bool owner = operation->kind == TH_EVENT_ENTITY_CALLED && caller &&
                       th_str_eq(caller->instance_id, b->next->locked_by);

    return th_str_present(b->next->section) && !owner;
}

static enum th_verdict offer_operation(struct batch *b, struct th_offer *offer)
{
    const struct th_event *operation = &offer->message->event;

    if (operation->fire_at != TH_TIME_NONE && operation->fire_at > b->in->now) {
        offer->not_before = operation->fire_at;
        return TH_VERDICT_PARKED;
    }
    if (is_locked_for(b, operation))
        return TH_VERDICT_PARKED;
    if (b->in->max_operations > 0 && b->out->fresh.count >= b->in->max_operations)
        return after_operations(b);
    th_arena_event(b->arena, &b->out->fresh, *operation);
    return TH_VERDICT_TAKEN;
}

/* ---- critical sections ---- */

static void grant(struct batch *b, const struct th_event *request)
{
    const struct th_parent *owner = request->parent;
    struct th_message *m = &th_outcome_send(b->out, b->arena, owner->instance_id)->message;

    m->execution_id = owner->execution_id;
    m->event = th_event_of(TH_EVENT_ENTITY_LOCK_GRANTED, b->in->now);
    m->event.request_id = request->request_id;
    m->event.related_id = owner->task_id;
}

/* To the next entity of the set. A void request has no owner any more. */
static void pass_on(struct batch *b, const struct th_event *request, const struct th_parent *owner)
{
    const size_t next = (size_t)request->related_id + 1;
    struct th_message *m;

    if (next < request->lock_set.count) {
        m = &th_outcome_send(b->out, b->arena, request->lock_set.items[next])->message;
        m->event = *request;
        m->event.timestamp = b->in->now;
        m->event.instance_id = m->instance_id;
        m->event.related_id++;
        m->event.parent = owner;
    } else if (owner) {
        grant(b, request);
    }
}

static bool is_voided(const struct th_instance_info *info, struct th_str section, size_t *at)
{
    for (*at = 0; *at < info->voided.count; (*at)++)
        if (th_str_eq(info->voided.items[*at], section))
            return true;
    return false;
}

static void set_voided(struct batch *b, struct th_str *sections, size_t count)
{
    b->next->voided = (struct th_strs){.items = sections, .count = count};
    b->moved = true;
}

static void add_voided(struct batch *b, struct th_str section)
{
    const struct th_strs old = b->next->voided;
    struct th_str *sections = TH_ARENA_ARRAY(b->arena, struct th_str, old.count + 1);

    for (size_t n = 0; n < old.count; n++)
        sections[n] = old.items[n];
    sections[old.count] = section;
    set_voided(b, sections, old.count + 1);
}

static void drop_voided(struct batch *b, size_t at)
{
    const struct th_strs old = b->next->voided;
    struct th_str *sections = TH_ARENA_ARRAY(b->arena, struct th_str, old.count);

    for (size_t n = 0; n < old.count; n++)
        if (n != at)
            sections[n - (n > at)] = old.items[n];
    set_voided(b, sections, old.count - 1);
}

static enum th_verdict offer_lock(struct batch *b, struct th_offer *offer)
{
    const struct th_event *request = &offer->message->event;
    const bool in_set =
        request->related_id >= 0 && (size_t)request->related_id < request->lock_set.count;
    size_t at;

    if (!in_set || !th_str_present(request->request_id))
        return refuse(offer, TH_INVALID, "is not in the set that is to be locked");
    if (is_voided(b->next, request->request_id, &at)) {
        drop_voided(b, at);
        pass_on(b, request, NULL);
        return TH_VERDICT_TAKEN;
    }
    if (th_str_present(b->next->section))
        return TH_VERDICT_PARKED;
    if (b->out->fresh.count > 0)
        return after_operations(b);
    b->next->section = request->request_id;
    b->next->locked_by = request->parent ? request->parent->instance_id : TH_STR_ABSENT;
    b->moved = true;
    pass_on(b, request, request->parent);
    return TH_VERDICT_TAKEN;
}

static enum th_verdict offer_unlock(struct batch *b, struct th_offer *offer)
{
    const struct th_str section = offer->message->event.request_id;

    if (!th_str_present(section))
        return refuse(offer, TH_INVALID, "is unlocked by nobody");
    if (!th_str_present(b->next->section) || !th_str_eq(b->next->section, section)) {
        add_voided(b, section);
        return TH_VERDICT_TAKEN;
    }
    if (b->out->fresh.count > 0)
        return after_operations(b);
    b->next->section = b->next->locked_by = TH_STR_ABSENT;
    b->moved = true;
    b->ended = true; /* what was parked meanwhile is older than what comes behind */
    return TH_VERDICT_TAKEN;
}

/* ---- the rest ---- */

static enum th_verdict offer_purge(struct batch *b, struct th_offer *offer)
{
    if (!th_info_exists(b->next))
        return refuse(offer, TH_NOT_FOUND, "does not exist");
    if (b->out->fresh.count > 0 || b->moved)
        return after_operations(b);
    if (th_str_present(b->next->section) || b->next->voided.count > 0)
        return refuse(offer, TH_PRECONDITION,
                      "cannot be purged: an orchestration has locked it, or is about to");
    b->purge = b->ended = true;
    return TH_VERDICT_TAKEN;
}

/* Its parent must not wait for ever. */
static enum th_verdict refuse_start(struct batch *b, struct th_offer *offer)
{
    struct th_failure *failure = TH_ARENA_NEW(b->arena, struct th_failure);

    refuse(offer, TH_INVALID, "cannot be started: its id is no orchestration's");
    *failure = (struct th_failure){.type = TH_STR("InvalidStart"),
                                   .message = th_str_of(offer->error.message),
                                   .non_retriable = true};
    th_outcome_answer_parent(b->out, b->arena, offer->message->event.parent, TH_STATUS_FAILED,
                             TH_STR_ABSENT, th_failure_copy(b->arena, failure), b->in->now);
    return TH_VERDICT_DROPPED;
}

static enum th_verdict decide(struct batch *b, struct th_offer *offer)
{
    if (b->ended)
        return TH_VERDICT_LEFT;
    switch (offer->message->event.kind) {
    case TH_EVENT_ENTITY_SIGNALED:
    case TH_EVENT_ENTITY_CALLED:
        return offer_operation(b, offer);
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        return offer_lock(b, offer);
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        return offer_unlock(b, offer);
    case TH_EVENT_PURGE_REQUESTED:
        return offer_purge(b, offer);
    case TH_EVENT_EXECUTION_STARTED:
        return refuse_start(b, offer);
    default:
        return refuse(offer, TH_INVALID, "takes operations only: this is for orchestrations");
    }
}

enum th_begin th_engine_entity_begin(const struct th_engine_in *in, struct th_offer *offers,
                                     size_t count, struct th_arena *arena, struct th_outcome *out)
{
    struct batch b = {.in = in, .arena = arena, .out = out, .next = &out->next};

    out->next = *in->info;
    for (size_t i = 0; i < count; i++) {
        offers[i].error = (struct th_error){.code = TH_OK};
        offers[i].not_before = TH_TIME_NONE;
        const size_t sent = out->outgoing_count;
        offers[i].verdict = decide(&b, &offers[i]);
        th_outcome_mark_refusals(out, sent, offers[i].verdict);
    }
    if (b.purge)
        return out->begin = TH_BEGIN_PURGE;
    if (out->fresh.count > 0)
        return out->begin = TH_BEGIN_RUN;
    return out->begin = b.moved ? TH_BEGIN_DECIDED : TH_BEGIN_NOTHING;
}

/* ---- what the code answered ---- */

static void answer(const struct th_engine_in *in, struct th_arena *arena, struct th_outcome *out,
                   const struct th_event *operation, const struct th_operation_result *result)
{
    const struct th_parent *caller = operation->parent;
    struct th_message *m;

    if (operation->kind != TH_EVENT_ENTITY_CALLED || !caller)
        return;
    m = &th_outcome_send(out, arena, caller->instance_id)->message;
    m->execution_id = caller->execution_id;
    m->event =
        th_event_of(result->failure ? TH_EVENT_ENTITY_FAILED : TH_EVENT_ENTITY_COMPLETED, in->now);
    m->event.request_id = operation->request_id;
    m->event.related_id = caller->task_id;
    m->event.data = result->data;
    m->event.failure = result->failure;
}

static void fail_all(const struct th_engine_in *in, struct th_arena *arena, struct th_outcome *out,
                     const struct th_failure *failure)
{
    const struct th_operation_result failed = {.failure = failure};

    for (size_t n = 0; n < out->fresh.count; n++)
        answer(in, arena, out, &out->fresh.items[n], &failed);
}

static void send_signal(const struct th_engine_in *in, struct th_arena *arena,
                        struct th_outcome *out, const struct th_action *action)
{
    struct th_message *m = &th_outcome_send(out, arena, action->instance_id)->message;

    m->event = th_event_of(TH_EVENT_ENTITY_SIGNALED, in->now);
    m->event.instance_id = action->instance_id;
    m->event.name = action->name;
    m->event.data = action->data;
    m->event.fire_at = action->fire_at;
}

/* Without an id it gets one from this episode's. */
static void start_orchestration(const struct th_engine_in *in, struct th_arena *arena,
                                struct th_outcome *out, const struct th_action *action,
                                size_t index)
{
    const struct th_str id =
        action->instance_id.len > 0
            ? action->instance_id
            : th_arena_format(arena, "%.*s:%04zx", TH_PRI(in->new_execution_id), index);
    struct th_message *m = &th_outcome_send(out, arena, id)->message;

    m->reuse = TH_REUSE_TERMINAL;
    m->event = th_event_of(TH_EVENT_EXECUTION_STARTED, in->now);
    m->event.instance_id = id;
    m->event.name = action->name;
    m->event.version = action->version;
    m->event.data = action->data;
    m->event.tags = action->tags;
    m->event.trace = action->trace;
    m->event.fire_at = action->fire_at;
}

static void carry_out(const struct th_engine_in *in, struct th_arena *arena, struct th_outcome *out,
                      const struct th_actions *actions)
{
    for (size_t n = 0; n < actions->count; n++) {
        if (actions->items[n].kind == TH_ACTION_SIGNAL)
            send_signal(in, arena, out, &actions->items[n]);
        else if (actions->items[n].kind == TH_ACTION_START)
            start_orchestration(in, arena, out, &actions->items[n], n);
    }
}

static void commit(const struct th_engine_in *in, struct th_arena *arena, struct th_outcome *out,
                   const struct th_actions *actions)
{
    const size_t count =
        actions->result_count < out->fresh.count ? actions->result_count : out->fresh.count;

    for (size_t n = 0; n < count; n++)
        answer(in, arena, out, &out->fresh.items[n], &actions->results[n]);
    out->left_over = out->fresh.count - count;
    out->next.output = actions->state;
    carry_out(in, arena, out, actions);
}

static bool is_nothing(const struct th_instance_info *info)
{
    return !th_str_present(info->output) && !th_str_present(info->section) &&
           info->voided.count == 0;
}

/* The rest of the info, whatever happened. */
static void close_batch(const struct th_engine_in *in, struct th_outcome *out)
{
    struct th_instance_info *next = &out->next;

    if (!th_info_exists(next))
        next->created = in->now;
    next->name = th_entity_name(next->instance_id);
    next->status = TH_STATUS_ENTITY;
    next->updated = next->completed = in->now;
    next->scheduled = TH_TIME_NONE;
    next->has_state = th_str_present(next->output);
    out->continued = true;
    out->gone = is_nothing(next);
}

void th_engine_entity_finish(const struct th_engine_in *in, const struct th_actions *actions,
                             struct th_arena *arena, struct th_outcome *out)
{
    static const struct th_failure no_answer = {
        .type = {"NoResult", 8},
        .message = {"the entity's code answered none of the operations it was given", 62},
        .non_retriable = true,
    };

    if (actions && actions->failure)
        fail_all(in, arena, out, actions->failure);
    else if (actions && actions->result_count == 0)
        fail_all(in, arena, out, &no_answer);
    else if (actions)
        commit(in, arena, out, actions);
    close_batch(in, out);
}

void th_engine_entity_fail(const struct th_engine_in *in, const struct th_failure *failure,
                           struct th_arena *arena, struct th_outcome *out)
{
    fail_all(in, arena, out, failure);
    close_batch(in, out);
}
