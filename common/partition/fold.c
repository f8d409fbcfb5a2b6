/*
 * fold: what a record does to the state. The writer folds its own record right after submitting
 * it; recovery folds what the log holds. Two things differ, and only these: live, the inbox's
 * slots already moved; in recovery, rows may already hold what a record says about its instance.
 */
#include "model/name.h"
#include "partition/internal.h"

struct fold {
    struct th_partition *p;
    const struct th_record *r;
    struct th_blob *blob;
    uint64_t stamp;
    bool live;
};

/* ---- marks ---- */

void early_add(struct th_partition *p, int64_t offset)
{
    size_t n = p->early_count;

    while (n > p->early_first && p->early[n - 1] > offset)
        n--;
    if (n > p->early_first && p->early[n - 1] == offset)
        return; /* folded before */
    p->early = th_grow(p->early, &p->early_capacity, p->early_count + 1, sizeof(*p->early));
    memmove(p->early + n + 1, p->early + n, (p->early_count - n) * sizeof(*p->early));
    p->early[n] = offset;
    p->early_count++;
}

void early_drop_below(struct th_partition *p, int64_t position)
{
    while (p->early_first < p->early_count && p->early[p->early_first] < position)
        p->early_first++;
    if (p->early_first == p->early_count)
        p->early_first = p->early_count = 0;
}

static void fold_marks(struct fold *f)
{
    struct th_partition *p = f->p;
    const struct th_record *r = f->r;

    p->previous_position = p->position;
    if (r->position > p->position)
        p->position = r->position;
    if (r->sent > p->sent)
        p->sent = r->sent;
    for (uint32_t n = 0; n < r->vector_count; n++)
        if (r->vector[n].partition < p->options.count)
            p->vector_position[r->vector[n].partition] = r->vector[n];
    for (uint32_t n = 0; n < r->consumed_count && !MUTANT(p, FORGET_MARKS); n++)
        early_add(p, r->consumed[n]);
    early_drop_below(p, p->position);
}

static void fold_consumed_local(struct th_partition *p, struct th_local_ref ref)
{
    struct letter *l;

    HASH_FIND(hh, p->locals, &ref, sizeof(ref), l);
    if (l)
        letter_free(l);
}

static void fold_closed_tasks(struct fold *f)
{
    for (uint32_t n = 0; n < f->r->closed_task_count; n++) {
        const struct th_task_ref *c = &f->r->closed_tasks[n];
        struct th_instance *i = instance_find(f->p, c->instance_id);
        struct pending *d = i ? pending_find(i, c->execution_id, c->event_id) : NULL;

        if (d)
            pending_close(d);
    }
}

/* ---- messages ---- */

static void note_answered(struct letter *l)
{
    const enum th_event_kind kind = l->message.event.kind;
    struct pending *d;

    if (kind != TH_EVENT_TASK_COMPLETED && kind != TH_EVENT_TASK_FAILED)
        return;
    d = pending_find(l->instance, l->message.execution_id, l->message.event.related_id);
    if (d)
        d->answered = d->answer_parked = true;
}

static void mark_changed(struct fold *f, struct th_instance *i)
{
    i->last = f->stamp;
    instance_dirty(i);
}

/* Whether the row of a base already holds what this record says. */
static bool is_in_row(const struct fold *f, const struct th_instance *i)
{
    return i->row >= f->stamp && !MUTANT(f->p, FOLD_TWICE);
}

/* A start that waits for its time leaves a placeholder: the hub shows it as Pending. */
static void fold_placeholder(struct fold *f, struct letter *l)
{
    const struct th_instance_info info = th_info_pending(&l->message);
    struct th_instance *i = l->instance;

    if (l->message.event.kind != TH_EVENT_EXECUTION_STARTED || !i->known || i->row >= f->stamp)
        return;
    instance_drop_chunks(i);
    i->whole = true;
    i->replace_stored = true;
    i->purged = false;
    i->full = f->stamp;
    instance_set_info(i, &info);
    mark_changed(f, i);
}

static void fold_local(struct fold *f, uint32_t index)
{
    const struct th_record_message *m = &f->r->messages[index];
    struct letter *l = letter_new(f->p, LETTER_LOCAL);
    struct th_error error = {.code = TH_OK};

    l->local = (struct th_local_ref){.sequence = f->r->sequence, .index = index};
    if (!letter_decode(f->p, l, f->blob, m->bytes, &error)) {
        if (error.code == TH_UNSUPPORTED)
            fence(f->p, error.code, "a message in the log of partition %u: %s", f->p->options.index,
                  error.message);
        letter_discard(f->p, l); /* a record of ours that decodes but holds no message */
        return;
    }
    HASH_ADD(hh, f->p->locals, local, sizeof(l->local), l);
    letter_deliver(l, instance_get(f->p, l->message.instance_id));
    if (m->parked) {
        fold_placeholder(f, l);
        note_answered(l);
        letter_park(l, m->not_before);
    } else if (f->live) {
        instance_ready(l->instance);
    }
}

static void fold_messages(struct fold *f)
{
    for (uint32_t n = 0; n < f->r->message_count; n++) {
        const struct th_record_message *m = &f->r->messages[n];

        if (m->destination == f->p->options.index)
            fold_local(f, n);
        else if (m->destination < f->p->options.count)
            outbox_add(f->p, f->r->sequence, n, m->destination, m->bytes);
    }
}

/* ---- episodes: pending answers ---- */

/* Whether this activity was placed among all processes. */
static bool goes_out(const struct fold *f, int32_t event_id)
{
    for (uint32_t n = 0; n < f->r->shared_task_count; n++)
        if (f->r->shared_tasks[n] == event_id)
            return true;
    return false;
}

/* Its message is not in the record: the event says it all. */
static void send_out(struct fold *f, const struct pending *d)
{
    struct th_message work = {.instance_id = instance_id(d->instance),
                              .execution_id = th_str_of(d->execution_id),
                              .scheduled = d->stamp,
                              .origin = {.partition = (int32_t)f->p->options.index,
                                         .sequence = f->r->sequence,
                                         .index = (uint32_t)d->event_id}};
    TH_BUFFER bytes = {0};

    work.event = pending_event(d);
    work.event.timestamp = f->r->time;
    work.format = f->p->options.formats.writes;
    th_encode_message(&bytes, &work);
    outbox_add(f->p, f->r->sequence, (uint32_t)d->event_id, TH_SEND_ACTIVITIES,
               th_buffer_view(&bytes));
}

static void open_pending(struct fold *f, struct th_instance *i, enum th_pending_kind kind,
                         const struct th_event *event)
{
    struct pending *d;

    HASH_FIND_INT(i->pending, &event->id, d);
    if (d)
        pending_close(d);
    d = pending_open(i, kind, event, f->r->execution_id, f->blob, f->stamp);
    if (kind != TH_PENDING_TASK)
        return;
    d->shared = goes_out(f, event->id);
    if (d->shared)
        send_out(f, d);
    else if (f->live)
        effect_hold(f->p, TH_EFFECT_ACTIVITY, f->stamp)->token = d->token;
}

static void close_pending(struct th_instance *i, int32_t event_id)
{
    struct pending *d;

    HASH_FIND_INT(i->pending, &event_id, d);
    if (d)
        pending_close(d);
}

static void fold_pending_event(struct fold *f, struct th_instance *i, const struct th_event *event)
{
    switch (event->kind) {
    case TH_EVENT_TASK_SCHEDULED:
        open_pending(f, i, TH_PENDING_TASK, event);
        break;
    case TH_EVENT_CHILD_CREATED:
        open_pending(f, i, TH_PENDING_CHILD, event);
        break;
    case TH_EVENT_TIMER_CREATED:
        open_pending(f, i, TH_PENDING_TIMER, event);
        break;
    case TH_EVENT_ENTITY_CALLED:
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        open_pending(f, i, TH_PENDING_ENTITY, event);
        break;
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
    case TH_EVENT_TIMER_FIRED:
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        close_pending(i, event->related_id);
        break;
    case TH_EVENT_EXECUTION_COMPLETED:
        pending_close_all(i, event->status == TH_STATUS_TERMINATED, f->stamp);
        if (event->status == TH_STATUS_TERMINATED)
            pending_cancel_orphans(i, f->stamp);
        break;
    default:
        break;
    }
}

static void fold_pending(struct fold *f, struct th_instance *i, const struct th_events *events)
{
    if (f->r->replace_history)
        pending_close_all(i, true, 0);
    for (size_t n = 0; n < events->count; n++)
        fold_pending_event(f, i, &events->items[n]);
    if (th_str_present(f->r->next))
        pending_close_all(i, false, 0);
}

/* ---- episodes: the instance ---- */

/* Whether applying this event makes info point at strings of the event. */
static bool changes_strings(const struct th_event *event)
{
    return event->kind == TH_EVENT_EXECUTION_STARTED ||
           event->kind == TH_EVENT_EXECUTION_COMPLETED ||
           event->kind == TH_EVENT_EXECUTION_REWOUND ||
           event->kind == TH_EVENT_ENTITY_LOCK_REQUESTED;
}

/* A new execution begins with its first episode; a mended history holds more of them. */
static bool is_rewind(const struct th_events *events)
{
    size_t episodes = 0;

    for (size_t n = 0; n < events->count; n++)
        episodes += events->items[n].kind == TH_EVENT_ORCHESTRATOR_STARTED;
    return episodes > 1;
}

static void fold_history(struct fold *f, struct th_instance *i, const struct th_events *events)
{
    struct th_instance_info info = i->info;
    bool strings = f->r->has_custom_status || th_str_present(f->r->turn_trace);

    if (f->r->replace_history) {
        instance_drop_chunks(i);
        i->whole = true;
        i->replace_stored = true;
        info.event_count = 0;
        info.starting |= is_rewind(events); /* keeps its age and custom status */
    }
    if (f->r->replace_history && !is_rewind(events) && !info.starting)
        i->full = f->stamp; /* what keeps its age is no whole */
    instance_add_chunk(i, f->blob, f->r->events, f->stamp);
    for (size_t n = 0; n < events->count; n++) {
        th_info_apply(&info, &events->items[n]);
        strings |= changes_strings(&events->items[n]);
    }
    if (f->r->has_custom_status)
        info.custom_status = f->r->custom_status;
    if (th_str_present(f->r->turn_trace))
        info.turn_trace = f->r->turn_trace;
    if (strings)
        instance_set_info(i, &info);
    else
        i->info = info;
}

static void fold_continued(struct fold *f, struct th_instance *i)
{
    struct th_instance_info next;
    struct th_error error = {.code = TH_OK};
    struct th_reader reader = partition_reader(f->p, f->r->next, &f->p->fold_arena, &error);

    if (!th_decode_info(&reader, &next)) {
        if (error.code == TH_UNSUPPORTED)
            fence(f->p, error.code, "an instance in the log of partition %u: %s",
                  f->p->options.index, error.message);
        return;
    }
    instance_drop_chunks(i);
    i->whole = true;
    i->replace_stored = true;
    i->full = f->stamp;
    instance_set_info(i, &next);
}

static void tell_change(struct fold *f, struct th_instance *i, enum th_status was)
{
    const bool ended = th_status_terminal(i->info.status);
    const bool began = was == TH_STATUS_PENDING && i->info.status != TH_STATUS_PENDING;

    if (!f->live || !(ended || began) || i->info.status == TH_STATUS_ENTITY)
        return;
    instance_news(i);
    effect_hold(f->p, TH_EFFECT_CHANGED, f->stamp)->id = th_str_dup(instance_id(i));
}

void keep_reason(char **kept, struct th_str reason)
{
    free(*kept);
    *kept = th_str_dup(reason);
}

/* As many operations as the batch may have had. */
#define CAREFUL 4096

void instance_crashes(struct th_instance *i, uint32_t crashes, struct th_str reason)
{
    const size_t batch = i->partition->options.max_operations;

    i->crashes = crashes;
    keep_reason(&i->crash_reason, reason);
    if (th_is_entity(instance_id(i)))
        i->careful = batch > 0 && batch < CAREFUL ? (uint32_t)batch : CAREFUL;
}

static void forget_crashes(struct th_instance *i)
{
    i->crashes = 0;
    i->careful -= i->careful > 0;
    keep_reason(&i->crash_reason, TH_STR_ABSENT);
}

static void fold_episode(struct fold *f)
{
    struct th_instance *i = instance_get(f->p, f->r->instance_id);
    const bool existed = th_info_exists(&i->info);
    const enum th_status was = existed ? i->info.status : TH_STATUS_PENDING;
    struct th_events events = {0};
    struct th_reader reader = partition_reader(f->p, f->r->events, &f->p->fold_arena, NULL);

    if (th_str_present(f->r->events))
        th_decode_events(&reader, &events);
    fold_pending(f, i, &events);
    forget_crashes(i);
    /* A row that is ahead of the log already holds this; a delta without a base is skipped. */
    if (!is_in_row(f, i) && (existed || f->r->replace_history || th_str_present(f->r->next))) {
        i->known = true;
        i->purged = false;
        if (th_str_present(f->r->next))
            fold_continued(f, i);
        else
            fold_history(f, i, &events);
        mark_changed(f, i);
        tell_change(f, i, was);
    }
    th_events_deinit(&events);
}

static void fold_purge(struct fold *f)
{
    struct th_instance *i = instance_get(f->p, f->r->instance_id);

    request_remember(f->p, f->r->reason, f->r->time);
    pending_close_all(i, true, 0);
    pending_cancel_orphans(i, 0);
    forget_crashes(i); /* an episode that left nothing is a purge, too */
    if (i->row >= f->stamp)
        return;
    instance_forget_info(i);
    i->known = true;
    i->purged = true;
    i->replace_stored = true;
    mark_changed(f, i);
}

/* A full copy: news to a reader that lacks what was below, and the new place of the instance. */
static void fold_snapshot(struct fold *f)
{
    struct th_instance *i = instance_get(f->p, f->r->instance_id);

    if (is_in_row(f, i))
        return;
    if (!f->live) {
        i->known = true;
        i->purged = false;
        fold_continued(f, i);
        instance_add_chunk(i, f->blob, f->r->events, f->stamp);
    }
    i->full = f->stamp;
    mark_changed(f, i);
}

static void fold_crash(struct fold *f)
{
    struct th_instance *i = instance_get(f->p, f->r->instance_id);
    struct pending *d;

    if (f->r->task_id < 0) {
        instance_crashes(i, f->r->crashes, f->r->reason);
        i->crash_stamp = f->stamp;
        return;
    }
    d = pending_find(i, f->r->execution_id, f->r->task_id);
    if (!d)
        return;
    d->crashes = f->r->crashes;
    keep_reason(&d->crash_reason, f->r->reason);
}

static bool takes_again(const struct fold *f, const struct th_instance *i)
{
    if (th_is_entity(f->r->instance_id)) /* only a lock keeps what waits for no time */
        return i->parked_untimed > 0 && !th_str_present(i->info.section) &&
               !MUTANT(f->p, KEEP_PARKED);
    return f->r->kind == TH_RECORD_EPISODE && i->known && i->info.status != TH_STATUS_SUSPENDED &&
           i->info.status != TH_STATUS_PENDING;
}

/* Behind the messages: some of them may have been parked by this very record. What was parked is
 * taken now, or dropped if the instance ended. */
static void fold_unparked(struct fold *f)
{
    struct th_instance *i = instance_get(f->p, f->r->instance_id);

    if (takes_again(f, i))
        instance_unpark(i);
}

void fold_record(struct th_partition *p, const struct th_record *record, struct th_blob *blob,
                 bool live)
{
    struct fold f = {
        .p = p, .r = record, .blob = blob, .stamp = record->sequence + 1, .live = live};

    if (!live)
        fold_marks(&f);
    for (uint32_t n = 0; n < record->consumed_local_count; n++)
        fold_consumed_local(p, record->consumed_local[n]);
    fold_closed_tasks(&f);
    fold_running(p, record);
    switch (record->kind) {
    case TH_RECORD_EPISODE:
        fold_episode(&f);
        break;
    case TH_RECORD_PURGE:
        fold_purge(&f);
        break;
    case TH_RECORD_CRASH:
        fold_crash(&f);
        break;
    case TH_RECORD_SNAPSHOT:
        fold_snapshot(&f);
        break;
    default:
        break;
    }
    fold_messages(&f);
    if (record->kind == TH_RECORD_EPISODE || record->kind == TH_RECORD_PURGE)
        fold_unparked(&f);
    th_arena_reset(&p->fold_arena);
}
