/*
 * handover: a partition moves while both workers live. What the former owner runs for it goes on
 * there, however long it takes: a record says what and where, and the result comes as a message.
 * The next owner starts it again only when it hears that this worker is gone. A worker that dies
 * without a word leaves no such record, and everything it ran is started again at once.
 */
#include "partition/internal.h"

/* The result of a task as it waits in the mailbox; NULL: there is none. */
static const struct letter *answer_of(const struct pending *d)
{
    const struct letter *l;

    DL_FOREACH(d->instance->mailbox, l) {
        const struct th_message *m = &l->message;
        const enum th_event_kind kind = m->event.kind;

        if ((kind == TH_EVENT_TASK_COMPLETED || kind == TH_EVENT_TASK_FAILED) &&
            m->event.related_id == d->event_id &&
            th_str_eq(m->execution_id, th_str_of(d->execution_id)) &&
            (l->from == LETTER_ANSWER || m->scheduled == d->stamp))
            return l;
    }
    return NULL;
}

static bool runs_here(const struct pending *d)
{
    return d->kind == TH_PENDING_TASK && d->dispatched && !d->answer_parked && !d->shared &&
           !d->worker;
}

static struct th_task_ref ref_of(const struct pending *d)
{
    return (struct th_task_ref){.instance_id = instance_id(d->instance),
                                .execution_id = th_str_of(d->execution_id),
                                .event_id = d->event_id};
}

static struct th_running_task running_of(const struct pending *d)
{
    const struct letter *answer = d->answered ? answer_of(d) : NULL;
    struct th_running_task task = {.token = d->token,
                                   .scheduled = d->stamp,
                                   .instance_id = instance_id(d->instance),
                                   .execution_id = th_str_of(d->execution_id),
                                   .task_id = d->event_id};

    if (answer) {
        task.answered = true;
        task.data = answer->message.event.data;
        task.failure = answer->message.event.failure;
    }
    return task;
}

void th_partition_hand_over(struct th_partition *p,
                            bool (*visit)(void *argument, const struct th_running_task *task),
                            void *argument, th_time now)
{
    TH_ARENA arena = {0};
    struct th_task_ref *tasks = TH_ARENA_ARRAY(&arena, struct th_task_ref, p->task_count);
    struct pending *d, *next;
    uint32_t count = 0;

    p->now = now > p->now ? now : p->now;
    if (!p->active || p->handed_over)
        return;
    th_partition_pause(p);
    p->handed_over = true;
    HASH_ITER(hh_token, p->tokens, d, next) {
        const struct th_running_task task = running_of(d);

        if (runs_here(d) && d->answered == task.answered && visit(argument, &task))
            tasks[count++] = ref_of(d);
    }
    if (count > 0)
        write_running(p, tasks, count);
}

void fold_running(struct th_partition *p, const struct th_record *r)
{
    for (uint32_t n = 0; n < r->running_task_count; n++) {
        const struct th_task_ref *t = &r->running_tasks[n];
        struct th_instance *i = instance_find(p, t->instance_id);
        struct pending *d = i ? pending_find(i, t->execution_id, t->event_id) : NULL;

        if (d)
            keep_reason(&d->worker, r->worker);
    }
}

static bool was_left_to(const struct pending *d, struct th_str worker)
{
    return d->kind == TH_PENDING_TASK && !d->answered && d->worker &&
           th_str_eq(th_str_of(d->worker), worker);
}

void th_partition_worker_gone(struct th_partition *p, struct th_str worker, th_time now)
{
    struct pending *d, *next;

    p->now = now > p->now ? now : p->now;
    HASH_ITER(hh_token, p->tokens, d, next) {
        if (!p->active || !was_left_to(d, worker) || answer_of(d))
            continue;
        keep_reason(&d->worker, TH_STR_ABSENT);
        effect_hold(p, TH_EFFECT_ACTIVITY, p->next_sequence)->token = d->token;
    }
}
