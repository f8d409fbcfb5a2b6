#include "unit/sdk_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct th_str instance = {"instance-1", 10};

void sdk_driver_init(struct sdk_driver *d, void (*registration)(struct th_app *),
                     struct th_executor_options options)
{
    struct th_error error = {.code = TH_OK};
    *d = (struct sdk_driver){.now = 1700000000 * TH_SECOND};
    d->app = th_app_from(registration, &error);
    if (!d->app) {
        fail_msg("%s", error.message);
    }
    options.app = d->app;
    d->executor = th_executor_new(&options);
    strcpy(d->execution_id, "exec-0");
}

void sdk_driver_deinit(struct sdk_driver *d)
{
    th_executor_free(d->executor);
    th_app_free(d->app);
    th_events_deinit(&d->history);
    th_events_deinit(&d->fresh);
    th_arena_deinit(&d->arena);
}

void sdk_event(struct sdk_driver *d, struct th_event event)
{
    event.timestamp = d->now;
    th_events_add(&d->fresh, th_event_copy(&d->arena, &event));
}

void sdk_start(struct sdk_driver *d, const char *name, const char *json)
{
    struct th_event event = th_event_of(TH_EVENT_EXECUTION_STARTED, d->now);
    event.name = th_str_of(name);
    event.data = th_str_of(json);
    event.instance_id = instance;
    event.execution_id = th_str_of(d->execution_id);
    sdk_event(d, event);
}

static struct th_event *asked(struct sdk_driver *d, int32_t id)
{
    for (size_t i = d->history.count; i-- > 0;) {
        if (d->history.items[i].id == id) {
            return &d->history.items[i];
        }
    }
    fail_msg("nothing was asked for under id %d", id);
    return NULL;
}

static enum th_event_kind answer_kind(enum th_event_kind request, bool failed)
{
    switch (request) {
    case TH_EVENT_CHILD_CREATED:
        return failed ? TH_EVENT_CHILD_FAILED : TH_EVENT_CHILD_COMPLETED;
    case TH_EVENT_ENTITY_CALLED:
        return failed ? TH_EVENT_ENTITY_FAILED : TH_EVENT_ENTITY_COMPLETED;
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        return TH_EVENT_ENTITY_LOCK_GRANTED;
    default:
        return failed ? TH_EVENT_TASK_FAILED : TH_EVENT_TASK_COMPLETED;
    }
}

static struct th_event answer(struct sdk_driver *d, int32_t id, bool failed)
{
    const struct th_event *request = asked(d, id);
    struct th_event event = th_event_of(answer_kind(request->kind, failed), d->now);
    event.related_id = id;
    event.request_id = request->request_id;
    return event;
}

void sdk_done(struct sdk_driver *d, int32_t id, const char *json)
{
    struct th_event event = answer(d, id, false);
    event.data = th_str_of(json);
    sdk_event(d, event);
}

void sdk_failed(struct sdk_driver *d, int32_t id, const char *type, const char *message)
{
    struct th_event event = answer(d, id, true);
    struct th_failure failure = {.type = th_str_of(type), .message = th_str_of(message)};
    event.failure = &failure;
    sdk_event(d, event);
}

void sdk_fired(struct sdk_driver *d, int32_t id)
{
    struct th_event event = th_event_of(TH_EVENT_TIMER_FIRED, d->now);
    event.related_id = id;
    event.fire_at = asked(d, id)->fire_at;
    sdk_event(d, event);
}

void sdk_raised(struct sdk_driver *d, const char *name, const char *data)
{
    struct th_event event = th_event_of(TH_EVENT_EVENT_RAISED, d->now);
    event.name = th_str_of(name);
    event.data = th_str_of(data);
    sdk_event(d, event);
}

/* ---- episodes ------------------------------------------------------------------------------- */

/* The event the engine writes for an action. */
static struct th_event produced(struct sdk_driver *d, const struct th_action *a)
{
    static const enum th_event_kind kinds[] = {
        [TH_ACTION_SCHEDULE_TASK] = TH_EVENT_TASK_SCHEDULED,
        [TH_ACTION_CREATE_CHILD] = TH_EVENT_CHILD_CREATED,
        [TH_ACTION_CREATE_TIMER] = TH_EVENT_TIMER_CREATED,
        [TH_ACTION_SEND_EVENT] = TH_EVENT_EVENT_SENT,
        [TH_ACTION_COMPLETE] = TH_EVENT_EXECUTION_COMPLETED,
    };
    if (a->kind == TH_ACTION_ENTITY) {
        struct th_event request = *a->entity;
        request.id = a->id;
        return request;
    }
    struct th_event event = th_event_of(kinds[a->kind], d->now);
    event.id = a->id;
    event.name = a->name;
    event.version = a->version;
    event.data = a->data;
    event.instance_id = a->instance_id;
    event.fire_at = a->fire_at;
    event.status = a->status;
    event.failure = a->failure;
    event.tags = a->tags;
    if (a->kind == TH_ACTION_CREATE_CHILD && !th_str_present(a->instance_id)) {
        event.instance_id = th_arena_format(&d->arena, "exec:%04x", (unsigned)a->id);
    }
    return event;
}

static void append(struct sdk_driver *d, struct th_event event)
{
    th_events_add(&d->history, th_event_copy(&d->arena, &event));
}

static void write_down(struct sdk_driver *d, const struct th_episode *e)
{
    for (size_t i = 0; i < e->fresh_count; i++) {
        append(d, e->fresh[i]);
    }
    for (size_t i = 0; i < d->last.count; i++) {
        append(d, produced(d, &d->last.items[i]));
        if (d->last.items[i].kind == TH_ACTION_COMPLETE) {
            d->ended = true;
            d->end = d->last.items[i];
        }
    }
    append(d, th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, d->now));
    d->fresh.count = 0;
}

static void run(struct sdk_driver *d, bool loaded)
{
    struct th_events fresh = {0};
    d->now += TH_SECOND;
    th_events_add(&fresh, th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, d->now));
    for (size_t i = 0; i < d->fresh.count; i++) {
        th_events_add(&fresh, d->fresh.items[i]);
    }
    struct th_episode episode = {.instance_id = instance,
                                 .execution_id = th_str_of(d->execution_id),
                                 .past_count = d->history.count,
                                 .fresh = fresh.items,
                                 .fresh_count = fresh.count};
    if (!loaded) {
        loaded = th_executor_run(d->executor, &episode, &d->arena, &d->last) ==
                 TH_EXECUTOR_NEEDS_HISTORY;
        if (!loaded) {
            goto done;
        }
    }
    d->cold_runs++;
    episode.past_loaded = true;
    episode.past = d->history.items;
    assert_int_equal(TH_EXECUTOR_DONE, th_executor_run(d->executor, &episode, &d->arena, &d->last));
done:
    write_down(d, &episode);
    th_events_deinit(&fresh);
}

void sdk_run(struct sdk_driver *d)
{
    run(d, false);
}

void sdk_run_cold(struct sdk_driver *d)
{
    run(d, true);
}

void sdk_forget(struct sdk_driver *d)
{
    th_executor_forget(d->executor, instance);
}

void sdk_continue(struct sdk_driver *d)
{
    assert_true(d->ended && d->end.status == TH_STATUS_CONTINUED_AS_NEW);
    struct th_event started = d->history.items[1];
    d->history.count = 0;
    d->fresh.count = 0;
    d->ended = false;
    snprintf(d->execution_id, sizeof(d->execution_id), "exec-%d", ++d->generation);
    started.execution_id = th_str_of(d->execution_id);
    started.data = d->end.data;
    sdk_event(d, started);
    for (size_t i = 0; i < d->end.carryover_count; i++) {
        sdk_event(d, d->end.carryover[i]);
    }
    sdk_run(d);
}

/* ---- reading -------------------------------------------------------------------------------- */

static void describe_request(struct sdk_driver *d, int32_t id, const struct th_event *request,
                             struct th_buffer *out)
{
    switch (request->kind) {
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        th_buffer_format(out, "lock %d", id);
        for (size_t i = 0; i < request->lock_set.count; i++) {
            th_buffer_format(out, " %.*s", TH_PRI(request->lock_set.items[i]));
        }
        return;
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        th_buffer_format(out, "unlock %d %.*s", id, TH_PRI(request->instance_id));
        return;
    default:
        th_buffer_format(out, "%s %d %.*s of %.*s",
                         request->kind == TH_EVENT_ENTITY_CALLED ? "call" : "signal", id,
                         TH_PRI(request->name), TH_PRI(request->instance_id));
    }
    if (request->fire_at != TH_TIME_NONE) {
        th_buffer_format(out, " +%lldms", (long long)(request->fire_at - d->now) / 1000);
    }
    if (th_str_present(request->data)) {
        th_buffer_format(out, " %.*s", TH_PRI(request->data));
    }
}

static void describe(struct sdk_driver *d, const struct th_action *a, struct th_buffer *out)
{
    switch (a->kind) {
    case TH_ACTION_ENTITY:
        describe_request(d, a->id, a->entity, out);
        return;
    case TH_ACTION_CREATE_TIMER:
        th_buffer_format(out, "timer %d +%lldms", a->id, (long long)(a->fire_at - d->now) / 1000);
        return;
    case TH_ACTION_COMPLETE:
        th_buffer_format(out, "end %s", th_status_text(a->status));
        if (a->failure) {
            th_buffer_format(out, " %.*s", TH_PRI(a->failure->type));
        }
        break;
    case TH_ACTION_SEND_EVENT:
        th_buffer_format(out, "send %d %.*s to %.*s", a->id, TH_PRI(a->name),
                         TH_PRI(a->instance_id));
        break;
    default:
        th_buffer_format(out, "%s %d %.*s", a->kind == TH_ACTION_CREATE_CHILD ? "child" : "task",
                         a->id, TH_PRI(a->name));
        break;
    }
    if (th_str_present(a->data)) {
        th_buffer_format(out, " %.*s", TH_PRI(a->data));
    }
}

const char *sdk_text(struct sdk_driver *d)
{
    TH_BUFFER out = {0};
    th_buffer_text(&out, "");
    for (size_t i = 0; i < d->last.count; i++) {
        th_buffer_text(&out, i ? "; " : "");
        describe(d, &d->last.items[i], &out);
    }
    return th_arena_str(&d->arena, th_buffer_view(&out)).data;
}

void sdk_expect_at(struct sdk_driver *d, const char *text, const char *file, int line)
{
    const char *got = sdk_text(d);
    if (strcmp(got, text) != 0) {
        if (d->ended && d->end.failure) {
            print_message("failure: %.*s\n", TH_PRI(d->end.failure->message));
        }
        print_message("%s:%d: expected: %s\n%s:%d:      got: %s\n", file, line, text, file, line,
                      got);
        _fail(file, line);
    }
}

const char *sdk_failure_at(struct sdk_driver *d, const char *type, const char *file, int line)
{
    if (!d->ended || !d->end.failure || !th_str_eq(d->end.failure->type, th_str_of(type))) {
        print_message("%s:%d: expected a failure %s, got: %s\n", file, line, type, sdk_text(d));
        _fail(file, line);
    }
    return th_arena_str(&d->arena, d->end.failure->message).data;
}
