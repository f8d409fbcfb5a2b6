/*
 * instance: what each instance waits for, and whether that can come. An answer can come as long as
 * whoever owes it has not given it, or it is on its way: in a mailbox, in an inbox, in an outbox.
 */
#include <stdarg.h>

#include "doctor/internal.h"

/* What is being said of one instance. */
struct verdict {
    struct th_doctor *d;
    struct part *part;
    struct seat *seat;
    struct th_str id;
    struct th_instance_info info;
    struct address *address; /* NULL: nothing travels to it, it waits for no answer */
    struct th_buffer waits, stuck;
};

static void say(struct th_buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct th_buffer *out, const char *format, ...)
{
    va_list arguments;

    if (out->len > 0)
        th_buffer_text(out, "; ");
    va_start(arguments, format);
    th_buffer_vformat(out, format, arguments);
    va_end(arguments);
}

struct when {
    char text[40];
};

static struct when when(th_time t)
{
    struct when out = {"an unknown time"};

    if (t != TH_TIME_NONE)
        th_time_format(t, 3, out.text);
    return out;
}

static bool overdue(const struct th_doctor *d, th_time since)
{
    return since == TH_TIME_NONE || since + d->options.grace < d->options.now;
}

static struct part *part_of(struct th_doctor *d, struct th_str id)
{
    return &d->parts[th_partition_of(id, d->options.partitions)];
}

static struct address *address_find(const struct th_doctor *d, struct th_str id)
{
    struct address *a;

    HASH_FIND(hh, d->addresses, id.data, id.len, a);
    return a;
}

/* ---- what is under way ---- */

static void letter_travels(void *argument, const struct th_inspect_letter *letter)
{
    note_travelling(argument, letter->message, "mailbox", letter);
}

static struct th_str keep(struct th_doctor *d, struct th_str s)
{
    return th_arena_str(&d->kept, s);
}

static void keep_pending(void *argument, const struct th_inspect_pending *pending)
{
    struct th_doctor *d = argument;
    struct address *a = address_get(d, pending->instance_id);
    struct th_inspect_pending *p;

    if (pending->orphan)
        return;
    a->pending =
        th_grow(a->pending, &a->pending_capacity, a->pending_count + 1, sizeof(*a->pending));
    p = &a->pending[a->pending_count++];
    *p = *pending;
    p->instance_id = keep(d, p->instance_id);
    p->execution_id = keep(d, p->execution_id);
    p->name = keep(d, p->name);
    p->child_id = keep(d, p->child_id);
    p->worker = keep(d, p->worker);
}

struct unsent {
    struct th_doctor *d;
    struct part *part;
};

/* One that is in the inbox already counts there. */
static void outgoing_travels(void *argument, const struct th_inspect_outgoing *o)
{
    struct unsent *u = argument;
    struct th_message m;
    struct th_reader reader = th_reader_of(o->bytes, &u->d->arena, NULL);

    if (o->sequence < th_inspect_marks(u->part->core).sent ||
        o->destination >= u->d->options.partitions || !th_decode_message(&reader, &m))
        return;
    const struct sent_key key = {.sequence = m.origin.sequence,
                                 .partition = (uint32_t)m.origin.partition,
                                 .index = m.origin.index};
    const struct sent *s = sent_find(u->d, key);
    if (!s || !s->there)
        note_travelling(u->d, &m, "outbox", NULL);
    th_arena_reset(&u->d->arena);
}

static void gather(struct th_doctor *d, struct part *part)
{
    struct unsent unsent = {.d = d, .part = part};

    th_inspect_letters(part->core, letter_travels, d);
    th_inspect_pending(part->core, keep_pending, d);
    th_inspect_outbox(part->core, outgoing_travels, &unsent);
}

/* The answer to this, for the execution that waits. */
static const struct travelling *answer_travels(const struct verdict *v,
                                               const struct th_inspect_pending *p)
{
    const struct travelling *t = v->address ? v->address->first : NULL;

    for (; t; t = t->next)
        if (t->related_id == p->event_id &&
            (!t->execution_id || th_str_eq(th_str_of(t->execution_id), p->execution_id)))
            return t;
    return NULL;
}

/* Anything at all for this instance, that it may answer. */
static bool has_something(const struct th_doctor *d, struct th_str id)
{
    const struct address *a = address_find(d, id);

    return a && a->first;
}

/* ---- functions ---- */

static bool nobody_serves(const struct th_doctor *d, enum th_function_kind kind, struct th_str name)
{
    for (size_t n = 0; n < d->function_count; n++)
        if (d->functions[n].kind == kind && th_str_eq_nocase(th_str_of(d->functions[n].name), name))
            return true;
    return false;
}

/* Why nothing at all goes on in this partition now; NULL: it can. */
static const char *halted(const struct th_doctor *d, const struct part *part)
{
    if (part->owner)
        return NULL;
    if (part->trouble)
        return part->trouble;
    return d->counts.workers > 0 ? "no worker owns its partition" : "no worker is there";
}

/* ---- activities ---- */

/* Finished, as far as its topic goes: its result was sent before. */
static bool is_finished(const struct th_doctor *d, const struct sent *s)
{
    const struct activities *a = s->there ? &d->activities[s->place] : NULL;

    return a && s->offset < a->committed;
}

static bool is_any_trimmed(const struct th_doctor *d)
{
    for (uint32_t n = 0; n < d->options.activity_partitions; n++)
        if (d->activities[n].start > 0)
            return true;
    return false;
}

static void lose_activity(struct verdict *v, const struct th_inspect_pending *p, const char *why)
{
    say(&v->stuck, "activity %.*s (%d) %s", TH_PRI(p->name), p->event_id, why);
    note_finding(v->d, TH_DOCTOR_ACTIVITY_LOST, v->part, v->id,
                 "activity %.*s (%d) of %.*s, scheduled by record number %llu of partition %u, %s",
                 TH_PRI(p->name), p->event_id, TH_PRI(v->id), (unsigned long long)(p->stamp - 1),
                 v->part->index, why);
}

static void judge_shared(struct verdict *v, const struct th_inspect_pending *p)
{
    const struct th_doctor *d = v->d;
    const struct sent_key key = {.sequence = p->stamp - 1,
                                 .partition = v->part->index,
                                 .index = (uint32_t)p->event_id,
                                 .activity = 1};
    const struct sent *s = sent_find(v->d, key);
    const bool counts_as_sent = p->stamp - 1 < th_inspect_marks(v->part->core).sent;

    if (d->options.activity_partitions == 0)
        say(&v->waits, "activity %.*s (%d), sent to all workers", TH_PRI(p->name), p->event_id);
    else if (s && is_finished(d, s))
        lose_activity(v, p, "was finished by a worker, but its result is nowhere");
    else if (s && s->there)
        say(&v->waits, "activity %.*s (%d), message %lld of partition %u of the activities",
            TH_PRI(p->name), p->event_id, (long long)s->offset, s->place);
    else if (!counts_as_sent)
        say(&v->waits, "activity %.*s (%d), still to be sent to all workers", TH_PRI(p->name),
            p->event_id);
    else if (is_any_trimmed(d))
        lose_activity(v, p,
                      "was sent to all workers and dropped as finished, but its result is "
                      "nowhere");
    else
        lose_activity(v, p, "counts as sent to all workers, but its message is nowhere");
}

static void judge_task(struct verdict *v, const struct th_inspect_pending *p)
{
    if (nobody_serves(v->d, TH_FUNCTION_ACTIVITY, p->name))
        say(&v->waits, "a program that serves activity %.*s (%d)", TH_PRI(p->name), p->event_id);
    else if (p->shared)
        judge_shared(v, p);
    else if (th_str_present(p->worker))
        say(&v->waits, "activity %.*s (%d), running on former owner %.*s", TH_PRI(p->name),
            p->event_id, TH_PRI(p->worker));
    else
        say(&v->waits, "activity %.*s (%d), with its owner %s", TH_PRI(p->name), p->event_id,
            v->part->owner ? v->part->owner : "to come");
    if (p->crashes > 0)
        say(&v->waits, "which cost %u processes", p->crashes);
}

/* ---- other answers ---- */

static void judge_timer(struct verdict *v, const struct th_inspect_pending *p)
{
    if (!overdue(v->d, p->fire_at))
        say(&v->waits, "timer (%d) due at %s", p->event_id, when(p->fire_at).text);
    else if (halted(v->d, v->part))
        say(&v->waits, "timer (%d) that was due at %s", p->event_id, when(p->fire_at).text);
    else
        say(&v->stuck, "timer (%d) was due at %s, and its owner %s did not fire it", p->event_id,
            when(p->fire_at).text, v->part->owner);
}

static bool is_ended(const struct th_doctor *d, const struct seat *s, enum th_status *status)
{
    const struct image *image = s && (d->options.traits.durable_projection || !s->folded.present)
                                    ? &s->stored
                                : s ? &s->folded
                                    : NULL;

    if (!image || !image->present)
        return true;
    *status = image->row.status;
    return th_status_terminal(image->row.status);
}

static void judge_child(struct verdict *v, const struct th_inspect_pending *p)
{
    const struct part *part = part_of(v->d, p->child_id);
    const struct seat *s = seat_find(part, p->child_id);
    enum th_status status = TH_STATUS_CANCELED;

    if (!is_ended(v->d, s, &status))
        say(&v->waits, "child %.*s (%d), which is %s", TH_PRI(p->child_id), p->event_id,
            th_status_text(status));
    else if (has_something(v->d, p->child_id))
        say(&v->waits, "child %.*s (%d), which is about to begin", TH_PRI(p->child_id),
            p->event_id);
    else if (s && (s->folded.present || s->stored.present))
        say(&v->stuck, "child %.*s (%d) is %s, but its answer is nowhere", TH_PRI(p->child_id),
            p->event_id, th_status_text(status));
    else
        say(&v->stuck, "child %.*s (%d) does not exist, and no start of it is under way",
            TH_PRI(p->child_id), p->event_id);
}

static void judge_entity(struct verdict *v, const struct th_inspect_pending *p)
{
    if (th_str_present(p->child_id) && has_something(v->d, p->child_id))
        say(&v->waits, "entity %.*s (%d)", TH_PRI(p->child_id), p->event_id);
    else if (th_str_present(p->child_id))
        say(&v->stuck, "entity %.*s was called (%d), but neither call nor answer are under way",
            TH_PRI(p->child_id), p->event_id);
    else
        say(&v->waits, "the lock of several entities (%d)", p->event_id);
}

static void judge_pending(struct verdict *v, const struct th_inspect_pending *p)
{
    const struct travelling *t = answer_travels(v, p);

    if (t || p->answered) {
        say(&v->waits, "the answer to event %d, which is in its %s", p->event_id,
            t ? t->where : "mailbox");
        return;
    }
    switch (p->kind) {
    case TH_PENDING_TASK:
        judge_task(v, p);
        break;
    case TH_PENDING_TIMER:
        judge_timer(v, p);
        break;
    case TH_PENDING_CHILD:
        judge_child(v, p);
        break;
    case TH_PENDING_ENTITY:
        judge_entity(v, p);
        break;
    }
}

/* ---- messages that wait ---- */

static bool is_held(const struct verdict *v)
{
    return v->info.status == TH_STATUS_SUSPENDED ||
           (th_is_entity(v->id) && th_str_present(v->info.section));
}

/* One that its instance could take, and does not. */
static void judge_letter(struct verdict *v, const struct travelling *t, size_t *waiting)
{
    const char *kind = th_event_kind_text(t->kind);

    if (t->not_before != TH_TIME_NONE && t->not_before > v->d->options.now)
        say(&v->waits, "%s at %s", kind, when(t->not_before).text);
    else if (halted(v->d, v->part) || is_held(v))
        (*waiting)++;
    else if (t->not_before != TH_TIME_NONE
                 ? overdue(v->d, t->not_before)
                 : overdue(v->d, t->since) && overdue(v->d, v->part->last_record))
        say(&v->stuck, "%s from %s is in its %s, and its owner %s does not take it", kind,
            when(t->since).text, t->where, v->part->owner);
    else
        (*waiting)++;
}

static bool judge_unserved(struct verdict *v)
{
    const struct th_str name = th_is_entity(v->id) ? th_entity_name(v->id)
                               : th_str_present(v->info.name)
                                   ? v->info.name
                                   : th_str_of(v->address ? v->address->name : NULL);
    const enum th_function_kind kind = th_function_kind_of(v->id);

    if (!nobody_serves(v->d, kind, name))
        return false;
    say(&v->waits, "a program that serves %s %.*s", th_function_kind_text(kind), TH_PRI(name));
    return true;
}

static void judge_letters(struct verdict *v)
{
    size_t waiting = 0;

    if (!v->address || !v->address->first || judge_unserved(v))
        return;
    for (const struct travelling *t = v->address->first; t; t = t->next)
        judge_letter(v, t, &waiting);
    if (waiting > 0)
        say(&v->waits, "%zu messages to be taken", waiting);
}

/* ---- entities ---- */

/* A section is held by an orchestration that has not ended. */
static void judge_lock(struct verdict *v)
{
    const struct th_str by = v->info.locked_by;
    enum th_status status = TH_STATUS_CANCELED;

    if (!th_str_present(v->info.section) || !th_str_present(by))
        return;
    if (!is_ended(v->d, seat_find(part_of(v->d, by), by), &status) || has_something(v->d, by))
        say(&v->waits, "its lock, which %.*s holds", TH_PRI(by));
    else if (!has_something(v->d, v->id))
        say(&v->stuck, "%.*s holds its lock, but has ended, and no release is under way",
            TH_PRI(by));
}

/* ---- one instance ---- */

static void judge_waits(struct verdict *v)
{
    if (v->info.status == TH_STATUS_SUSPENDED)
        say(&v->waits, "being resumed");
    for (size_t n = 0; v->address && n < v->address->pending_count; n++)
        judge_pending(v, &v->address->pending[n]);
    judge_letters(v);
    judge_lock(v);
    if (v->waits.len == 0 && v->stuck.len == 0 && v->info.starting)
        say(&v->waits, "its next execution to begin");
    if (v->waits.len == 0 && v->stuck.len == 0 && v->info.status == TH_STATUS_RUNNING)
        say(&v->waits, "an event");
    if (v->waits.len == 0 && v->stuck.len == 0 && v->info.status == TH_STATUS_PENDING)
        say(&v->stuck, "it was to be started, but its start is nowhere");
    if (v->waits.len > 0 && halted(v->d, v->part))
        say(&v->waits, "%s", halted(v->d, v->part));
}

static enum th_doctor_state conclude(struct verdict *v)
{
    if (v->stuck.len > 0)
        return TH_DOCTOR_STUCK_STATE;
    if (th_status_terminal(v->info.status))
        return TH_DOCTOR_ENDED;
    return v->waits.len > 0 ? TH_DOCTOR_WAITING : TH_DOCTOR_RESTING;
}

static void count(struct th_doctor_counts *c, enum th_doctor_state state)
{
    switch (state) {
    case TH_DOCTOR_ENDED:
        c->ended++;
        break;
    case TH_DOCTOR_RESTING:
        c->resting++;
        break;
    case TH_DOCTOR_WAITING:
        c->waiting_instances++;
        break;
    case TH_DOCTOR_STUCK_STATE:
        c->stuck++;
        break;
    }
}

static void judge(struct verdict *v)
{
    v->address = address_find(v->d, v->id);
    if (!th_status_terminal(v->info.status))
        judge_waits(v);
    v->seat->state = conclude(v);
    count(&v->d->counts, v->seat->state);
    if (v->seat->state == TH_DOCTOR_STUCK_STATE)
        note_finding(v->d, TH_DOCTOR_INSTANCE_STUCK, v->part, v->id, "%.*s is stuck: %.*s",
                     TH_PRI(v->id), (int)v->stuck.len, v->stuck.data);
    if (v->stuck.len > 0 && v->waits.len > 0)
        say(&v->stuck, "also waits for %.*s", (int)v->waits.len, v->waits.data);
    v->seat->name = th_str_dup(v->info.name);
    v->seat->status = v->info.status;
    v->seat->created = v->info.created;
    v->seat->updated = v->info.updated;
    v->seat->text = th_buffer_take(v->stuck.len > 0 ? &v->stuck : &v->waits);
    th_buffer_deinit(&v->waits);
    th_buffer_deinit(&v->stuck);
}

static const struct image *image_of(const struct th_doctor *d, const struct seat *s)
{
    return d->options.traits.durable_projection ? &s->stored : &s->folded;
}

/* What the fold has in memory is newer than a row below its log. */
static bool known_info(struct verdict *v, struct th_arena *arena)
{
    const struct image *image = image_of(v->d, v->seat);
    const struct th_instance_info *info;
    struct th_reader reader;
    uint64_t last;

    info = th_inspect_instance(v->part->core, v->id, &last);
    if (info) {
        v->info = *info;
        return true;
    }
    if (!image->present)
        return false;
    reader = th_reader_of(th_blob_view(image->row.info), arena, NULL);
    return th_decode_info(&reader, &v->info);
}

static void judge_part_instances(struct th_doctor *d, struct part *part)
{
    struct seat *s, *next;
    TH_ARENA arena = {0};

    HASH_ITER(hh, part->seats, s, next) {
        struct verdict v = {.d = d, .part = part, .seat = s, .id = th_str_of(s->id)};

        if (known_info(&v, &arena))
            judge(&v);
        th_arena_reset(&arena);
    }
}

/* A start that is in an inbox is durable: its instance is there, and Pending. */
static void judge_arrivals(struct th_doctor *d)
{
    struct address *a, *next;

    HASH_ITER(hh, d->addresses, a, next) {
        const struct th_str id = th_str_of(a->id);
        struct part *part = part_of(d, id);
        struct verdict v = {.d = d, .part = part, .id = id};

        if (!a->name || (seat_find(part, id) && seat_find(part, id)->text))
            continue;
        v.seat = seat_get(part, id);
        v.info = (struct th_instance_info){.name = th_str_of(a->name),
                                           .status = TH_STATUS_PENDING,
                                           .created = TH_TIME_NONE,
                                           .updated = TH_TIME_NONE};
        judge(&v);
    }
}

void judge_instances(struct th_doctor *d)
{
    for (uint32_t p = 0; p < d->options.partitions; p++)
        gather(d, &d->parts[p]);
    for (uint32_t p = 0; p < d->options.partitions; p++)
        judge_part_instances(d, &d->parts[p]);
    judge_arrivals(d);
}

/* ---- all of them ---- */

void th_doctor_each(const struct th_doctor *d,
                    void (*visit)(void *argument, const struct th_doctor_instance *instance),
                    void *argument)
{
    for (uint32_t p = 0; p < d->options.partitions; p++) {
        const struct seat *s, *next;

        HASH_ITER(hh, d->parts[p].seats, s, next) {
            const struct th_doctor_instance view = {.instance_id = th_str_of(s->id),
                                                    .name = th_str_of(s->name),
                                                    .status = s->status,
                                                    .state = s->state,
                                                    .created = s->created,
                                                    .updated = s->updated,
                                                    .partition = p,
                                                    .text = s->text};

            if (s->text)
                visit(argument, &view);
        }
    }
}
