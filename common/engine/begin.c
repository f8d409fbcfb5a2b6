/*
 * begin: decides every message that is offered to an instance. One small function per kind of
 * message looks at the instance as the messages before it left it, and either takes the message
 * into the episode, drops it with the answer its sender should get, parks it, or leaves it.
 */
#include "engine/internal.h"
#include "model/name.h"

struct begin {
    const struct th_engine_in *in;
    struct th_arena *arena;
    struct th_outcome *out;
    struct th_instance_info info; /* as the messages taken so far leave it */
    bool needs_code;              /* something was taken that only the orchestrator can answer */
    bool ended;                   /* terminated, or a purge: nothing more in this episode */
    struct th_offer *rewound;
    bool purge;
};

static enum th_verdict drop(struct th_offer *offer, enum th_code code, const char *why)
{
    const struct th_str id = offer->message->instance_id;

    if (code != TH_OK)
        th_fail(&offer->error, code, "instance \"%.*s\" %s", TH_PRI(id), why);
    return TH_VERDICT_DROPPED;
}

static enum th_verdict drop_ended(struct begin *b, struct th_offer *offer)
{
    th_fail(&offer->error, TH_GONE, "instance \"%.*s\" has already ended: it is %s",
            TH_PRI(offer->message->instance_id), th_status_text(b->info.status));
    return TH_VERDICT_DROPPED;
}

static enum th_verdict take(struct begin *b, const struct th_event *event)
{
    th_arena_event(b->arena, &b->out->fresh, *event);
    th_info_apply(&b->info, event);
    return TH_VERDICT_TAKEN;
}

static enum th_verdict take_for_code(struct begin *b, const struct th_event *event)
{
    b->needs_code = true;
    return take(b, event);
}

static bool take_pending(const struct begin *b, enum th_pending_kind kind,
                         const struct th_message *answer)
{
    return b->in->pending.take(b->in->pending.argument, kind, answer->event.related_id,
                               answer->scheduled);
}

/* ---- one function per kind of message ---- */

static enum th_verdict start_new(struct begin *b, const struct th_message *message)
{
    struct th_event event = message->event;
    const bool replaces = th_info_exists(&b->info) && !th_status_terminal(b->info.status) &&
                          b->info.status != TH_STATUS_PENDING;

    if (replaces) {
        const struct th_event terminated = th_event_of(TH_EVENT_EXECUTION_TERMINATED, b->in->now);
        th_outcome_answer_parent(b->out, b->arena, b->info.parent, TH_STATUS_TERMINATED,
                                 TH_STR("\"replaced by a new instance\""), NULL, b->in->now);
        th_outcome_terminate_children(b->in, b->out, b->arena, &terminated);
        th_outcome_unlock(b->out, b->arena, &b->info, b->in->now);
    }
    event.instance_id = message->instance_id;
    if (!th_str_present(event.execution_id))
        event.execution_id = b->in->new_execution_id;
    event.request_id = message->request_id;
    b->out->replace_history = true;
    return take_for_code(b, &event);
}

/* A child that cannot be made fails its parent's call instead of leaving it waiting. */
static enum th_verdict refuse_start(struct begin *b, struct th_offer *offer, struct th_str type)
{
    const struct th_failure failure = {
        .type = type, .message = th_str_of(offer->error.message), .non_retriable = true};

    th_outcome_answer_parent(b->out, b->arena, offer->message->event.parent, TH_STATUS_FAILED,
                             TH_STR_ABSENT, th_failure_copy(b->arena, &failure), b->in->now);
    return TH_VERDICT_DROPPED;
}

static enum th_verdict refuse_existing(struct begin *b, struct th_offer *offer)
{
    th_fail(&offer->error, TH_EXISTS, "instance \"%.*s\" already exists: it is %s",
            TH_PRI(offer->message->instance_id), th_status_text(b->info.status));
    return refuse_start(b, offer, TH_STR("InstanceExists"));
}

static enum th_verdict refuse_nameless(struct begin *b, struct th_offer *offer)
{
    th_fail(&offer->error, TH_INVALID, "instance \"%.*s\" cannot start: no orchestrator is named",
            TH_PRI(offer->message->instance_id));
    return refuse_start(b, offer, TH_STR("InvalidStart"));
}

/* A later start that replaces a running instance ends it now; it is offered again after that. */
static enum th_verdict end_first(struct begin *b)
{
    struct th_event terminated = th_event_of(TH_EVENT_EXECUTION_TERMINATED, b->in->now);

    terminated.data = TH_STR("\"replaced by a new instance\"");
    b->out->terminated = true;
    b->ended = true;
    th_outcome_terminate_children(b->in, b->out, b->arena, &terminated);
    take(b, &terminated);
    return TH_VERDICT_LEFT;
}

/* Whether this is the start whose placeholder stands: it may have been replaced meanwhile. */
static bool is_placeholder_of(const struct th_instance_info *info, const struct th_message *start)
{
    return info->status == TH_STATUS_PENDING && th_str_eq(start->request_id, info->request_id) &&
           start->event.fire_at == info->scheduled && start->event.timestamp == info->created;
}

static enum th_verdict park_start(struct begin *b, struct th_offer *offer)
{
    const bool running = th_info_exists(&b->info) && b->info.status != TH_STATUS_PENDING &&
                         !th_status_terminal(b->info.status);

    if (running)
        return refuse_existing(b, offer);
    offer->not_before = offer->message->event.fire_at;
    b->ended = true; /* what comes behind it meets the placeholder */
    return TH_VERDICT_PARKED;
}

/* The instance has come and gone already. */
static bool repeated(const struct begin *b, const struct th_message *start)
{
    const struct th_pending_view *view = &b->in->pending;

    return view->repeated && th_str_present(start->request_id) &&
           view->repeated(view->argument, start->request_id);
}

/* A start that replaces what this episode would run: nobody needs what its code makes of the news.
 */
static bool ends_episode(const struct begin *b, const struct th_message *start)
{
    const enum th_status status = b->info.status;
    const th_reuse needed = TH_STATUS_BIT(status) | TH_STATUS_BIT(TH_STATUS_TERMINATED);

    return start->event.kind == TH_EVENT_EXECUTION_STARTED && th_str_present(start->event.name) &&
           th_info_exists(&b->info) && status != TH_STATUS_PENDING && !th_status_terminal(status) &&
           (start->reuse & needed) == needed &&
           !(th_str_present(start->request_id) &&
             th_str_eq(start->request_id, b->info.request_id)) &&
           !b->out->terminated && !b->rewound && !b->purge;
}

static enum th_verdict offer_start(struct begin *b, struct th_offer *offer)
{
    const struct th_message *m = offer->message;
    const bool exists = th_info_exists(&b->info);
    const bool same = exists && th_str_eq(m->request_id, b->info.request_id);
    const bool due = m->event.fire_at == TH_TIME_NONE || m->event.fire_at <= b->in->now;

    if (!th_str_present(m->event.name))
        return refuse_nameless(b, offer);
    if (offer->parked) {
        if (!exists || !is_placeholder_of(&b->info, m))
            return drop(offer, TH_OK, "");
    } else if ((same && th_str_present(m->request_id)) || (!exists && repeated(b, m))) {
        return drop(offer, TH_OK, ""); /* the client asked twice; it is one start */
    } else if (exists && !(m->reuse & TH_STATUS_BIT(b->info.status))) {
        return refuse_existing(b, offer);
    }
    if (ends_episode(b, m))
        return end_first(b);
    if (b->out->fresh.count > 1)
        return TH_VERDICT_LEFT; /* one execution per episode */
    if (!due)
        return park_start(b, offer);
    b->ended = offer->parked; /* what was parked behind the start is older than what comes now */
    return start_new(b, m);
}

static enum th_verdict offer_raised(struct begin *b, struct th_offer *offer)
{
    if (!th_info_exists(&b->info))
        return drop(offer, TH_NOT_FOUND, "does not exist");
    if (th_status_terminal(b->info.status))
        return drop_ended(b, offer);
    if (b->info.status == TH_STATUS_SUSPENDED || b->info.status == TH_STATUS_PENDING)
        return TH_VERDICT_PARKED;
    return take_for_code(b, &offer->message->event);
}

static enum th_verdict offer_terminated(struct begin *b, struct th_offer *offer)
{
    struct th_event event = offer->message->event;

    if (!th_info_exists(&b->info))
        return drop(offer, TH_NOT_FOUND, "does not exist");
    if (th_status_terminal(b->info.status))
        return drop_ended(b, offer);
    b->out->terminated = true;
    b->ended = true;
    if (event.recurse)
        th_outcome_terminate_children(b->in, b->out, b->arena, &event);
    return take(b, &event);
}

static enum th_verdict offer_suspended(struct begin *b, struct th_offer *offer)
{
    if (!th_info_exists(&b->info))
        return drop(offer, TH_NOT_FOUND, "does not exist");
    if (th_status_terminal(b->info.status))
        return drop_ended(b, offer);
    if (b->info.status == TH_STATUS_SUSPENDED)
        return drop(offer, TH_OK, "");
    if (b->info.status == TH_STATUS_PENDING)
        return TH_VERDICT_PARKED;
    b->out->suspended = true;
    return take(b, &offer->message->event);
}

static enum th_verdict offer_resumed(struct begin *b, struct th_offer *offer)
{
    if (!th_info_exists(&b->info))
        return drop(offer, TH_NOT_FOUND, "does not exist");
    if (th_status_terminal(b->info.status))
        return drop_ended(b, offer);
    if (b->info.status == TH_STATUS_PENDING)
        return TH_VERDICT_PARKED;
    if (b->info.status != TH_STATUS_SUSPENDED)
        return drop(offer, TH_OK, "");
    b->out->suspended = false;
    b->ended = true; /* what was parked meanwhile is older than what comes behind */
    return take(b, &offer->message->event);
}

static enum th_pending_kind awaited_as(enum th_event_kind answer)
{
    switch (answer) {
    case TH_EVENT_TIMER_FIRED:
        return TH_PENDING_TIMER;
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
        return TH_PENDING_TASK;
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        return TH_PENDING_ENTITY;
    default:
        return TH_PENDING_CHILD;
    }
}

static enum th_verdict offer_answer(struct begin *b, struct th_offer *offer)
{
    const struct th_message *m = offer->message;

    /* Late after continue-as-new, re-creation or the end: nobody waits (contracts 2.2). */
    if (!th_info_exists(&b->info) || th_status_terminal(b->info.status) ||
        b->out->replace_history || !th_str_eq(m->execution_id, b->in->info->execution_id))
        return drop(offer, TH_OK, "");
    if (b->info.status == TH_STATUS_SUSPENDED)
        return TH_VERDICT_PARKED;
    if (!take_pending(b, awaited_as(m->event.kind), m))
        return drop(offer, TH_OK, "");
    return take_for_code(b, &m->event);
}

/* The child its parent waits for is gone, or its id is another's: as when it was made first. */
static enum th_verdict start_again(struct begin *b, struct th_offer *offer)
{
    struct th_message *start = th_arena_dup(b->arena, offer->message, sizeof(*start));
    const struct th_message *rewound = offer->message;
    enum th_verdict verdict;

    start->event.kind = TH_EVENT_EXECUTION_STARTED;
    start->event.reason = TH_STR_ABSENT;
    start->reuse = TH_REUSE_TERMINAL;
    offer->message = start;
    verdict = offer_start(b, offer);
    offer->message = rewound;
    return verdict;
}

static bool is_child_of(const struct th_instance_info *info, const struct th_parent *parent)
{
    return info->parent && info->parent->task_id == parent->task_id &&
           th_str_eq(info->parent->instance_id, parent->instance_id);
}

static enum th_verdict offer_rewound(struct begin *b, struct th_offer *offer)
{
    const struct th_message *m = offer->message;
    const struct th_parent *parent = m->event.parent;

    if (parent && !(th_info_exists(&b->info) && is_child_of(&b->info, parent)))
        return start_again(b, offer);
    if (!th_info_exists(&b->info))
        return drop(offer, TH_NOT_FOUND, "does not exist");
    if (b->out->fresh.count > 1)
        return TH_VERDICT_LEFT;
    if (b->info.status == TH_STATUS_FAILED) {
        b->rewound = offer;
        b->ended = true;
        return TH_VERDICT_TAKEN;
    }
    if (parent && th_status_terminal(b->info.status)) { /* its answer came too early: repeat it */
        th_outcome_answer_parent(b->out, b->arena, parent, b->info.status, b->info.output,
                                 b->info.failure, b->in->now);
        return drop(offer, TH_OK, "");
    }
    if (parent && b->info.status == TH_STATUS_PENDING) /* its start names the old one */
        return TH_VERDICT_PARKED;
    if (parent)
        return take(b, &m->event); /* still running: it answers the new execution of its parent */
    th_fail(&offer->error, TH_PRECONDITION,
            "instance \"%.*s\" cannot be rewound: it is %s, only Failed can",
            TH_PRI(m->instance_id), th_status_text(b->info.status));
    return TH_VERDICT_DROPPED;
}

static enum th_verdict offer_purge(struct begin *b, struct th_offer *offer)
{
    if (!th_info_exists(&b->info))
        return drop(offer, TH_NOT_FOUND, "does not exist");
    if (b->out->fresh.count > 1)
        return TH_VERDICT_LEFT;
    if (!th_status_terminal(b->info.status)) {
        th_fail(&offer->error, TH_PRECONDITION,
                "instance \"%.*s\" cannot be purged: it is %s, only ended instances can",
                TH_PRI(offer->message->instance_id), th_status_text(b->info.status));
        return TH_VERDICT_DROPPED;
    }
    b->purge = true;
    b->ended = true;
    return TH_VERDICT_TAKEN;
}

/* Behind what ended the episode nothing is taken but what makes all before it pointless: code that
 * takes long would keep it waiting. */
static enum th_verdict decide_end(struct begin *b, struct th_offer *offer)
{
    const bool runs = th_info_exists(&b->info) && !th_status_terminal(b->info.status) &&
                      b->info.status != TH_STATUS_PENDING && !b->out->terminated && !b->rewound &&
                      !b->purge;

    if (!offer->parked && ends_episode(b, offer->message))
        return end_first(b);
    if (runs && offer->message->event.kind == TH_EVENT_EXECUTION_TERMINATED)
        return offer_terminated(b, offer);
    return TH_VERDICT_LEFT;
}

static enum th_verdict decide(struct begin *b, struct th_offer *offer)
{
    const struct th_message *m = offer->message;
    const enum th_event_kind kind = m->event.kind;

    if (b->ended)
        return decide_end(b, offer);
    switch (kind) {
    case TH_EVENT_EXECUTION_STARTED:
        return offer_start(b, offer);
    case TH_EVENT_EVENT_RAISED:
        return offer_raised(b, offer);
    case TH_EVENT_EXECUTION_TERMINATED:
        return offer_terminated(b, offer);
    case TH_EVENT_EXECUTION_SUSPENDED:
        return offer_suspended(b, offer);
    case TH_EVENT_EXECUTION_RESUMED:
        return offer_resumed(b, offer);
    case TH_EVENT_EXECUTION_REWOUND:
        return offer_rewound(b, offer);
    case TH_EVENT_PURGE_REQUESTED:
        return offer_purge(b, offer);
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
    case TH_EVENT_TIMER_FIRED:
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        return offer_answer(b, offer);
    default:
        th_fail(&offer->error, TH_INVALID, "a message of kind %s is not for orchestrations",
                th_event_kind_text(kind));
        return TH_VERDICT_DROPPED;
    }
}

/* The first events of an execution that continue-as-new left waiting. */
static void begin_continued(struct begin *b)
{
    struct th_event started = th_event_of(TH_EVENT_EXECUTION_STARTED, b->in->now);
    struct th_events carried = {0};
    struct th_reader reader = th_reader_of(b->info.carryover, b->arena, NULL);

    started.name = b->info.name;
    started.version = b->info.version;
    started.data = b->info.input;
    started.instance_id = b->info.instance_id;
    started.execution_id = b->info.execution_id;
    started.parent = b->info.parent;
    started.tags = b->info.tags;
    started.trace = b->info.trace;
    started.request_id = b->info.request_id;
    b->out->replace_history = true;
    th_decode_events(&reader, &carried);
    take_for_code(b, &started);
    for (size_t i = 0; i < carried.count; i++)
        take_for_code(b, &carried.items[i]);
    th_events_deinit(&carried);
}

/* Its critical section is over, and code that believes to be in it cannot go on. */
static enum th_begin refuse_rewind(struct begin *b)
{
    th_fail(&b->rewound->error, TH_PRECONDITION,
            "instance \"%.*s\" cannot be rewound: it failed in a critical section",
            TH_PRI(b->rewound->message->instance_id));
    b->rewound->verdict = TH_VERDICT_DROPPED;
    return TH_BEGIN_NOTHING;
}

static enum th_begin rewind_failed(struct begin *b)
{
    if (!b->in->past)
        return TH_BEGIN_HISTORY;
    if (!th_engine_rewind(b->in, &b->rewound->message->event, b->arena, b->out))
        return refuse_rewind(b);
    return TH_BEGIN_RUN;
}

enum th_begin th_engine_begin(const struct th_engine_in *in, struct th_offer *offers, size_t count,
                              struct th_arena *arena, struct th_outcome *out)
{
    struct begin b = {.in = in, .arena = arena, .out = out, .info = *in->info};
    const struct th_event turn = th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, in->now);
    size_t decided;

    if (th_is_entity(in->info->instance_id))
        return th_engine_entity_begin(in, offers, count, arena, out);
    th_arena_event(arena, &out->fresh, turn);
    if (in->info->starting)
        begin_continued(&b);
    for (size_t i = 0; i < count; i++) {
        offers[i].error = (struct th_error){.code = TH_OK};
        offers[i].not_before = TH_TIME_NONE;
        const size_t sent = out->outgoing_count;
        offers[i].verdict = decide(&b, &offers[i]);
        th_outcome_mark_refusals(out, sent, offers[i].verdict);
    }
    out->execution_id = b.info.execution_id;
    decided = out->fresh.count - 1;
    if (b.purge)
        return out->begin = TH_BEGIN_PURGE;
    if (b.rewound)
        return out->begin = rewind_failed(&b);
    if (decided == 0)
        return out->begin = TH_BEGIN_NOTHING;
    return out->begin = b.needs_code && !out->terminated ? TH_BEGIN_RUN : TH_BEGIN_DECIDED;
}
