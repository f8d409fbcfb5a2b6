/*
 * Tasks: what the code can wait for. A task is waiting, and then over: succeeded, failed or
 * cancelled. Who is told:
 *
 *   pending   answers come by id, so waiting tasks hang in buckets by id
 *   waiters   events come by name, so waiting event tasks hang in a list, oldest first
 *   links     composites hang in a list of each of their children
 *
 * When a task is over it is queued, and the queue is worked off (settle): its composites are told,
 * which may end them too. A queue rather than recursion, because composites nest as deep as the
 * author likes.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "sdk/actions.h"
#include "sdk/context.h"
#include "sdk/payload.h"

/* ---- buckets by id -------------------------------------------------------------------------- */

static void push(struct th_task **list, struct th_task *task)
{
    task->next = *list;
    task->previous = list;
    if (task->next) {
        task->next->previous = &task->next;
    }
    *list = task;
}

static void grow_buckets(struct th_context *ctx)
{
    size_t count = ctx->pending_buckets ? ctx->pending_buckets * 2 : 4;
    struct th_task **buckets = th_alloc(count * sizeof(struct th_task *));
    for (size_t i = 0; i < ctx->pending_buckets; i++) {
        struct th_task *next;
        for (struct th_task *t = ctx->pending[i]; t; t = next) {
            next = t->next;
            push(&buckets[(size_t)t->id & (count - 1)], t);
        }
    }
    free(ctx->pending);
    ctx->pending = buckets;
    ctx->pending_buckets = count;
}

static void wait_for_id(struct th_task *task, int32_t id)
{
    struct th_context *ctx = task->ctx;
    if (ctx->pending_count >= ctx->pending_buckets) {
        grow_buckets(ctx);
    }
    task->id = id;
    push(&ctx->pending[(size_t)id & (ctx->pending_buckets - 1)], task);
    ctx->pending_count++;
}

struct th_task *th_task_pending(const struct th_context *ctx, int32_t id)
{
    if (!ctx->pending_buckets || id < 0) {
        return NULL;
    }
    struct th_task *task = ctx->pending[(size_t)id & (ctx->pending_buckets - 1)];
    while (task && task->id != id) {
        task = task->next;
    }
    return task;
}

static void wait_for_event(struct th_task *task)
{
    struct th_context *ctx = task->ctx;
    task->next = NULL;
    task->previous = ctx->last_waiter;
    *ctx->last_waiter = task;
    ctx->last_waiter = &task->next;
}

/* Out of whichever list it waits in. */
static void stop_waiting(struct th_task *task)
{
    if (!task->previous) {
        return;
    }
    *task->previous = task->next;
    if (task->next) {
        task->next->previous = task->previous;
    } else if (task->kind == TASK_EVENT) {
        task->ctx->last_waiter = task->previous;
    }
    task->previous = NULL;
    if (task->id >= 0) {
        task->id = -1;
        task->ctx->pending_count--;
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static struct th_task *task_new(struct th_context *ctx, enum task_kind kind)
{
    struct th_task *task = TH_NEW(struct th_task);
    task->ctx = ctx;
    task->kind = kind;
    task->id = -1;
    task->next_owned = ctx->tasks;
    task->previous_owned = &ctx->tasks;
    if (ctx->tasks) {
        ctx->tasks->previous_owned = &task->next_owned;
    }
    ctx->tasks = task;
    return task;
}

static void unlink_one(struct link *link)
{
    if (link->previous) {
        *link->previous = link->next;
        if (link->next) {
            link->next->previous = link->previous;
        }
        link->previous = NULL;
    }
}

/* A composite that is over no longer waits for the rest. */
static void unlink_children(struct th_task *composite)
{
    for (size_t i = 0; i < composite->count; i++) {
        unlink_one(&composite->links[i]);
    }
}

static void retry_free(struct retry *retry)
{
    if (retry) {
        free(retry->call);
        free(retry);
    }
}

void th_task_free(struct th_task *task)
{
    stop_waiting(task);
    while (task->waiting) {
        unlink_one(task->waiting);
    }
    if (task->links) {
        unlink_children(task);
        free(task->links);
    }
    *task->previous_owned = task->next_owned;
    if (task->next_owned) {
        task->next_owned->previous_owned = task->previous_owned;
    }
    retry_free(task->retry);
    free(task->name);
    free(task->data);
    free(task);
}

/* ---- the end of a task ---------------------------------------------------------------------- */

static const struct th_failure canceled = {
    .type = {"Canceled", 8},
    .message = {"the task was cancelled", 22},
};

static void queue_finished(struct th_task *task)
{
    struct th_context *ctx = task->ctx;
    task->next_finished = NULL;
    *ctx->last_finished = task;
    ctx->last_finished = &task->next_finished;
}

static void mark(struct th_task *task, enum task_state state, const struct th_failure *failure)
{
    stop_waiting(task);
    task->state = state;
    task->failure = failure;
    if (task->links) {
        unlink_children(task);
    }
    queue_finished(task);
}

/* `any` keeps its winner only: a loop over "whichever is next" makes one per round. */
static void any_won(struct th_task *any, struct th_task *winner)
{
    any->winner = winner;
    mark(any, TASK_SUCCEEDED, NULL);
    free(any->links);
    any->links = NULL;
    any->count = 0;
}

static void child_done(struct th_task *composite, struct th_task *child)
{
    composite->open--;
    if (composite->kind == TASK_ANY) {
        if (child->state != TASK_CANCELED) {
            any_won(composite, child);
        } else if (composite->open == 0) {
            mark(composite, TASK_CANCELED, child->failure);
        }
    } else if (child->state != TASK_SUCCEEDED) {
        mark(composite, TASK_FAILED, child->failure);
    } else if (composite->open == 0) {
        mark(composite, TASK_SUCCEEDED, NULL);
    }
}

static void settle(struct th_context *ctx)
{
    while (ctx->finished) {
        struct th_task *task = ctx->finished;
        ctx->finished = task->next_finished;
        if (!ctx->finished) {
            ctx->last_finished = &ctx->finished;
        }
        while (task->waiting) {
            struct th_task *composite = task->waiting->composite;
            unlink_one(task->waiting);
            child_done(composite, task);
        }
    }
}

static void finish(struct th_task *task, enum task_state state, const struct th_failure *failure)
{
    mark(task, state, failure);
    settle(task->ctx);
}

static void succeed(struct th_task *task, struct th_str data)
{
    if (th_str_present(data)) {
        task->data = th_alloc(data.len + 1);
        memcpy(task->data, data.data, data.len);
        task->len = data.len;
    }
    finish(task, TASK_SUCCEEDED, NULL);
}

static struct th_task *fail_at_once(struct th_task *task, const struct th_failure *failure)
{
    finish(task, TASK_FAILED, failure);
    return task;
}

/* ---- retries -------------------------------------------------------------------------------- */

th_time th_time_after(th_time t, int64_t milliseconds)
{
    th_time result;
    if (__builtin_mul_overflow(milliseconds, TH_MILLISECOND, &result) ||
        __builtin_add_overflow(t, result, &result)) {
        return milliseconds < 0 ? INT64_MIN + 1 : INT64_MAX; /* INT64_MIN means "none" */
    }
    return result == TH_TIME_NONE ? result + 1 : result;
}

static void attempt(struct th_task *task)
{
    struct retry *r = task->retry;
    r->backing_off = false;
    r->attempts++;
    wait_for_id(task, th_issue_call(task->ctx, r->call, r->attempts > 1 ? r->first_id : -1));
}

static bool wants_another(const struct th_task *task, const struct th_failure *failure)
{
    const struct retry *r = task->retry;
    const struct th_retry *p = &r->policy;
    if (r->attempts >= p->max_attempts) {
        return false;
    }
    if (p->timeout_ms > 0 &&
        th_time_after(task->ctx->now, r->delay_ms) > th_time_after(r->first, p->timeout_ms)) {
        return false;
    }
    if (failure->non_retriable) {
        return false;
    }
    return !p->retry_if || p->retry_if(failure, p->argument);
}

static int64_t next_delay(const struct retry *r)
{
    const struct th_retry *p = &r->policy;
    const double most = 3.2e14; /* ten thousand years */
    double next = (double)r->delay_ms * (p->backoff_coefficient > 0 ? p->backoff_coefficient : 1);
    int64_t delay = next < most ? (int64_t)next : (int64_t)most;
    return p->max_interval_ms > 0 && delay > p->max_interval_ms ? p->max_interval_ms : delay;
}

static void back_off(struct th_task *task)
{
    struct retry *r = task->retry;
    stop_waiting(task);
    r->backing_off = true;
    wait_for_id(task, th_issue_timer(task->ctx, th_time_after(task->ctx->now, r->delay_ms)));
    r->delay_ms = next_delay(r);
}

static struct retry *retry_new(const struct th_retry *policy, struct call *call, th_time now)
{
    struct retry *r = TH_NEW(struct retry);
    r->policy = *policy;
    r->call = call;
    r->first = now;
    r->delay_ms = policy->first_interval_ms > 0 ? policy->first_interval_ms : 1000;
    if (policy->max_interval_ms > 0 && r->delay_ms > policy->max_interval_ms) {
        r->delay_ms = policy->max_interval_ms;
    }
    return r;
}

void th_task_answer(struct th_task *task, struct th_str data, const struct th_failure *failure)
{
    if (task->retry && task->retry->backing_off) {
        stop_waiting(task);
        attempt(task);
    } else if (!failure) {
        succeed(task, data);
    } else if (task->retry && wants_another(task, failure)) {
        back_off(task);
    } else {
        finish(task, TASK_FAILED, th_failure_copy(&task->ctx->kept, failure));
    }
}

/* ---- events --------------------------------------------------------------------------------- */

static void buffer_event(struct th_context *ctx, const struct th_event *event)
{
    struct th_str name = event->name;
    struct th_str data = event->data;
    struct inbox_event *e = th_alloc(sizeof(*e) + name.len + data.len + 1);
    if (name.len) {
        memcpy(e->bytes, name.data, name.len);
    }
    if (data.len) {
        memcpy(e->bytes + name.len, data.data, data.len);
    }
    e->timestamp = event->timestamp;
    e->name = th_str_n(e->bytes, name.len);
    e->data = th_str_present(data) ? th_str_n(e->bytes + name.len, data.len) : TH_STR_ABSENT;
    *ctx->last_inbox = e;
    ctx->last_inbox = &e->next;
}

/* Code that ended waits for nothing: what still comes is for its next generation. */
void th_task_raise(struct th_context *ctx, const struct th_event *event)
{
    for (struct th_task *t = ctx->ended ? NULL : ctx->waiters; t; t = t->next) {
        if (th_str_eq_nocase(th_str_of(t->name), event->name)) {
            succeed(t, event->data);
            return;
        }
    }
    buffer_event(ctx, event);
}

/* Unlinks the oldest buffered event of this name; the caller frees it. */
static struct inbox_event *take_event(struct th_context *ctx, struct th_str name)
{
    for (struct inbox_event **at = &ctx->inbox; *at; at = &(*at)->next) {
        struct inbox_event *e = *at;
        if (th_str_eq_nocase(e->name, name)) {
            *at = e->next;
            if (!e->next) {
                ctx->last_inbox = at;
            }
            return e;
        }
    }
    return NULL;
}

struct th_task *th_event_task(struct th_context *ctx, const char *name)
{
    struct th_task *task = task_new(ctx, TASK_EVENT);
    task->name = th_str_dup(th_str_of(name ? name : ""));
    struct inbox_event *e = take_event(ctx, th_str_of(task->name));
    if (e) {
        succeed(task, e->data);
        free(e);
    } else {
        wait_for_event(task);
    }
    return task;
}

/* ---- composites ----------------------------------------------------------------------------- */

static void link_child(struct th_task *composite, struct th_task *child, size_t i)
{
    struct link *link = &composite->links[i];
    *link = (struct link){.child = child, .composite = composite, .next = child->waiting};
    link->previous = &child->waiting;
    if (link->next) {
        link->next->previous = &link->next;
    }
    child->waiting = link;
}

static bool all_given(struct th_task *const *tasks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!tasks[i]) {
            return false;
        }
    }
    return true;
}

static struct th_task *compose(struct th_context *ctx, enum task_kind kind,
                               struct th_task *const *tasks, size_t count)
{
    struct th_task *c = task_new(ctx, kind);
    if (!all_given(tasks, count) || (count == 0 && kind == TASK_ANY)) {
        return fail_at_once(
            c,
            th_context_failure(ctx, "InvalidTask", "%s: %s", kind == TASK_ANY ? "th_any" : "th_all",
                               count ? "one of the tasks is NULL" : "nothing to wait for"));
    }
    c->links = th_alloc(count * sizeof(*c->links) + 1);
    c->count = c->open = count;
    for (size_t i = 0; i < count; i++) {
        c->links[i] = (struct link){.child = tasks[i], .composite = c};
    }
    for (size_t i = 0; i < count && c->state == TASK_WAITING; i++) {
        if (tasks[i]->state == TASK_WAITING) {
            link_child(c, tasks[i], i);
        } else {
            child_done(c, tasks[i]);
        }
    }
    if (count == 0) {
        mark(c, TASK_SUCCEEDED, NULL);
    }
    settle(ctx);
    return c;
}

struct th_task *th_all(struct th_context *ctx, struct th_task *const *tasks, size_t count)
{
    return compose(ctx, TASK_ALL, tasks, count);
}

struct th_task *th_any(struct th_context *ctx, struct th_task *const *tasks, size_t count)
{
    return compose(ctx, TASK_ANY, tasks, count);
}

struct th_task *th_winner(const struct th_task *any)
{
    return any ? any->winner : NULL;
}

/* ---- scheduling ----------------------------------------------------------------------------- */

/* Copies everything `call` refers to into one block. */
static struct call *call_copy(const struct call *call)
{
    size_t size = sizeof(*call) + call->tags.count * sizeof(struct th_tag) + call->name.len +
                  call->version.len + call->instance_id.len + call->data.len;
    for (size_t i = 0; i < call->tags.count; i++) {
        size += call->tags.items[i].key.len + call->tags.items[i].value.len;
    }
    struct call *copy = th_alloc(size + 1);
    struct th_tag *tags = (struct th_tag *)(copy + 1);
    char *at = (char *)(tags + call->tags.count);
    *copy = *call;
    copy->tags.items = tags;
    struct th_str *strings[] = {&copy->name, &copy->version, &copy->instance_id, &copy->data};
    for (size_t i = 0; i < TH_COUNT(strings); i++) {
        if (strings[i]->data) {
            memcpy(at, strings[i]->data, strings[i]->len);
            strings[i]->data = at;
            at += strings[i]->len;
        }
    }
    for (size_t i = 0; i < call->tags.count; i++) {
        struct th_str *pair[] = {&tags[i].key, &tags[i].value};
        tags[i] = call->tags.items[i];
        for (size_t k = 0; k < 2; k++) {
            memcpy(at, pair[k]->data, pair[k]->len);
            pair[k]->data = at;
            at += pair[k]->len;
        }
    }
    return copy;
}

/* NULL, or why this cannot be called. */
static const struct th_failure *objection(struct th_context *ctx, const char *function)
{
    if (ctx->ending) {
        th_context_refuses(ctx);
        return ctx->last_failure;
    }
    size_t len = function ? strlen(function) : 0;
    if (len == 0 || len > 256) {
        return th_context_failure(ctx, "InvalidName",
                                  "a function's name has 1 to 256 bytes, not %zu", len);
    }
    return NULL;
}

static struct th_task *schedule(struct th_context *ctx, enum task_kind kind, const char *function,
                                struct th_str data, const struct th_options *options)
{
    static const struct th_options none;
    const struct th_options *o = options ? options : &none;
    struct th_task *task = task_new(ctx, kind);
    const struct th_failure *why = objection(ctx, function);
    if (!why && kind == TASK_CHILD) {
        why = th_section_forbids(ctx, SECTION_CHILD, TH_STR_ABSENT);
    }
    if (why) {
        return fail_at_once(task, why);
    }
    struct call call = {
        .kind = kind == TASK_CHILD ? TH_ACTION_CREATE_CHILD : TH_ACTION_SCHEDULE_TASK,
        .name = th_str_of(function),
        .version = th_str_of(o->version),
        .instance_id = kind == TASK_CHILD ? th_str_of(o->instance_id) : TH_STR_ABSENT,
        .data = data,
        .tags = th_tags_of(ctx->turn->arena, o->tags),
    };
    task->name = th_str_dup(call.name);
    if (o->retry && o->retry->max_attempts > 1) {
        task->retry = retry_new(o->retry, call_copy(&call), ctx->now);
        attempt(task);
        task->retry->first_id = task->id;
    } else {
        wait_for_id(task, th_issue_call(ctx, &call, -1));
    }
    return task;
}

/* Takes over `input`. */
static struct th_task *schedule_json(struct th_context *ctx, enum task_kind kind,
                                     const char *function, json_t *input,
                                     const struct th_options *options)
{
    struct th_str words = th_payload_print(input);
    bool broken = input && !th_str_present(words);
    json_decref(input);
    if (broken) {
        return th_task_failed(ctx, kind,
                              th_context_failure(ctx, "InvalidInput",
                                                 "the input of %s cannot be written as JSON",
                                                 function ? function : "?"));
    }
    struct th_task *task = schedule(ctx, kind, function, words, options);
    free((char *)words.data);
    return task;
}

struct th_task *th_schedule(struct th_context *ctx, const char *activity, json_t *input,
                            const struct th_options *options)
{
    return schedule_json(ctx, TASK_ACTIVITY, activity, input, options);
}

struct th_task *th_schedule_bytes(struct th_context *ctx, const char *activity, const void *input,
                                  size_t len, const struct th_options *options)
{
    return schedule(ctx, TASK_ACTIVITY, activity, th_str_n(input, len), options);
}

struct th_task *th_schedule_child(struct th_context *ctx, const char *orchestrator, json_t *input,
                                  const struct th_options *options)
{
    return schedule_json(ctx, TASK_CHILD, orchestrator, input, options);
}

struct th_task *th_task_waiting(struct th_context *ctx, enum task_kind kind, struct th_str name,
                                int32_t id)
{
    struct th_task *task = task_new(ctx, kind);
    task->name = th_str_dup(name);
    wait_for_id(task, id);
    return task;
}

struct th_task *th_task_failed(struct th_context *ctx, enum task_kind kind,
                               const struct th_failure *failure)
{
    return fail_at_once(task_new(ctx, kind), failure);
}

struct th_task *th_timer_at(struct th_context *ctx, th_time when)
{
    struct th_task *task = task_new(ctx, TASK_TIMER);
    if (th_context_refuses(ctx)) {
        return fail_at_once(task, ctx->last_failure);
    }
    wait_for_id(task, th_issue_timer(ctx, when));
    return task;
}

struct th_task *th_timer_in(struct th_context *ctx, int64_t milliseconds)
{
    return th_timer_at(ctx, th_time_after(ctx->now, milliseconds));
}

void th_cancel(struct th_context *ctx, struct th_task *task)
{
    if (task && task->state == TASK_WAITING && !ctx->ending) {
        finish(task, TASK_CANCELED, &canceled);
    }
}

/* ---- what became of it ---------------------------------------------------------------------- */

bool th_done(const struct th_task *task)
{
    return task && task->state != TASK_WAITING;
}

bool th_succeeded(const struct th_task *task)
{
    return task && task->state == TASK_SUCCEEDED;
}

const struct th_failure *th_task_failure(const struct th_task *task)
{
    return task ? task->failure : NULL;
}

const void *th_result_bytes(struct th_task *task, size_t *len)
{
    if (task && task->winner) {
        return th_result_bytes(task->winner, len);
    }
    *len = task ? task->len : 0;
    return task ? task->data : NULL;
}

static json_t *result_of_all(struct th_task *task)
{
    json_t *list = json_array();
    for (size_t i = 0; i < task->count; i++) {
        json_t *item = th_result(task->links[i].child);
        if (!item || json_array_append_new(list, item)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *th_result(struct th_task *task)
{
    if (!th_succeeded(task)) {
        return NULL;
    }
    if (task->kind == TASK_ANY) {
        return th_result(task->winner);
    }
    if (task->kind == TASK_ALL) {
        return result_of_all(task);
    }
    return th_payload_value(th_str_n(task->data, task->len));
}

struct th_str th_task_words(const struct th_task *task, struct th_arena *arena)
{
    static const char *const nouns[] = {
        [TASK_ACTIVITY] = "activity",
        [TASK_CHILD] = "sub-orchestration",
        [TASK_TIMER] = "a timer",
        [TASK_EVENT] = "event",
        [TASK_ENTITY] = "an operation of entity",
        [TASK_LOCK] = "a critical section",
        [TASK_ALL] = "all of several tasks",
        [TASK_ANY] = "any of several tasks",
    };
    struct th_str words = th_str_of(nouns[task->kind]);
    if (task->name) {
        words = th_arena_format(arena, "%s \"%s\"", nouns[task->kind], task->name);
    }
    return task->id < 0 ? words : th_arena_format(arena, "%.*s (id %d)", TH_PRI(words), task->id);
}
