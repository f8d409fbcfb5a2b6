/*
 * operation: from a request's path to what serves it: the management API, the application's
 * routes, and a few pages for people and supervisors.
 */
#include "api/guard.h"
#include "api/request.h"
#include "api/route.h"

#include <stdlib.h>

void th_operation_init(struct th_operation *op, const struct th_api *api, struct th_str method,
                       struct th_str target)
{
    *op = (struct th_operation){.api = api};
    th_exchange_init(&op->x, method, target);
}

void th_operation_deinit(struct th_operation *op)
{
    th_exchange_deinit(&op->x);
}

/* ---- pages --------------------------------------------------------------------------------- */

static void put_lines(struct th_operation *op)
{
    const struct th_api *api = op->api;
    struct th_buffer *out = &op->x.answer;
    th_buffer_format(out, "Taskhub serves the task hub %s.\n\n", api->options.gateway->hub->name);
    th_buffer_format(out, "Try (the base is %s" TH_MANAGEMENT_PATH "):\n", op->origin.data);
    th_buffer_text(out,
                   "  GET    /instances                            what runs and ran\n"
                   "  GET    /instances/{id}                       one instance\n"
                   "  GET    /instances/{id}/wait?timeout=30       the same, when it has ended\n"
                   "  POST   /orchestrators/{functionName}/{id?}   start one, body: JSON input\n"
                   "  POST   /instances/{id}/raiseEvent/{name}     body: JSON\n"
                   "  POST   /instances/{id}/terminate?reason=...  also suspend, resume, rewind, "
                   "restart\n"
                   "  DELETE /instances/{id}                       purge\n"
                   "  GET    /hub                                  the hub right now\n"
                   "  GET    /lag                                  how far behind it is\n");
    th_buffer_format(out, "and %s/healthz, /readyz, /metrics\n", op->origin.data);
}

static void put_application(struct th_operation *op)
{
    const struct th_api *api = op->api;
    struct th_buffer *out = &op->x.answer;
    if (!api->options.app || !th_guard_knows_key(op)) {
        return;
    }
    char *names = th_app_orchestrator_names(api->options.app);
    th_buffer_format(out, "\nOrchestrators: %s\n", names ? names : "");
    free(names);
    for (size_t i = 0; i < api->route_count; i++) {
        const struct th_http_function *http = th_app_http(api->options.app, i);
        th_buffer_format(out, "%s  %-6s %s/%s\n", i ? "" : "Routes:\n", http->methods,
                         op->origin.data, api->route_patterns[i]);
    }
}

static enum th_step show_index(struct th_operation *op)
{
    op->x.answer.len = 0;
    put_lines(op);
    put_application(op);
    th_answer_built(&op->x, 200, "text/plain; charset=utf-8");
    return TH_STEP_DONE;
}

static enum th_step show_health(struct th_operation *op)
{
    th_answer(&op->x, 200, "text/plain; charset=utf-8", TH_STR("ok\n"));
    return TH_STEP_DONE;
}

/* ---- the application's routes -------------------------------------------------------------- */

static enum th_step refuse_method(struct th_operation *op)
{
    struct th_str message = th_arena_format(&op->x.arena, "%.*s does not allow the method %.*s",
                                            TH_PRI(op->x.target.path), TH_PRI(op->x.method));
    th_answer_failure(&op->x, 405, message);
    return TH_STEP_DONE;
}

static bool allows(const struct th_http_function *http, struct th_str method)
{
    bool head = th_str_eq(method, TH_STR("HEAD"));
    return th_route_allows(http->methods, method) ||
           (head && th_route_allows(http->methods, TH_STR("GET")));
}

static enum th_step begin_function(struct th_operation *op, const struct th_http_function *http)
{
    if (!th_guard_admit(op)) {
        return TH_STEP_DONE;
    }
    op->function = http;
    op->next = th_request_serve;
    return TH_STEP_FUNCTION;
}

/* The first route that fits wins; routes that fit but for the method make it a 405. */
static enum th_step begin_route(struct th_operation *op)
{
    TH_BUFFER allowed = {0};
    for (size_t i = 0; i < op->api->route_count; i++) {
        const struct th_http_function *http = th_app_http(op->api->options.app, i);
        op->params.count = 0;
        if (!th_route_match(op->api->route_patterns[i], &op->x.target, 0, &op->x.arena,
                            &op->params)) {
            continue;
        }
        if (allows(http, op->x.method)) {
            return begin_function(op, http);
        }
        th_buffer_format(&allowed, "%s%s", allowed.len ? "," : "", http->methods);
    }
    if (allowed.len) {
        th_answer_header(&op->x, "Allow", th_buffer_view(&allowed));
        return refuse_method(op);
    }
    th_answer_failure(
        &op->x, 404,
        th_arena_format(&op->x.arena, "nothing is at %.*s", TH_PRI(op->x.target.path)));
    return TH_STEP_DONE;
}

/* ---- routing ------------------------------------------------------------------------------- */

static bool segment_is(const struct th_operation *op, size_t i, const char *text)
{
    return i < op->x.target.segment_count &&
           th_str_eq_nocase(op->x.target.segments[i], th_str_of(text));
}

/* Segments before the management API's own; 0: the path is not below it. */
static size_t management_depth(const struct th_operation *op)
{
    if (segment_is(op, 0, "durabletask")) {
        return 1;
    }
    return segment_is(op, 0, "runtime") && segment_is(op, 1, "webhooks") &&
                   segment_is(op, 2, "durabletask")
               ? 3
               : 0;
}

static bool reads(const struct th_operation *op)
{
    return th_str_eq(op->x.method, TH_STR("GET")) || th_str_eq(op->x.method, TH_STR("HEAD"));
}

static enum th_step route(struct th_operation *op)
{
    size_t depth = management_depth(op);
    if (depth) {
        return th_guard_admit(op) ? th_management_begin(op, depth) : TH_STEP_DONE;
    }
    if (reads(op) && op->x.target.segment_count == 1 && segment_is(op, 0, "healthz")) {
        return show_health(op);
    }
    if (reads(op) && op->x.target.segment_count == 1 && segment_is(op, 0, "readyz")) {
        return th_report_ready(op);
    }
    if (reads(op) && op->x.target.segment_count == 1 && segment_is(op, 0, "metrics")) {
        return th_guard_admit(op) ? th_report_metrics(op) : TH_STEP_DONE;
    }
    if (reads(op) && op->x.target.segment_count == 0) {
        return show_index(op);
    }
    return begin_route(op);
}

enum th_step th_operation_step(struct th_operation *op)
{
    if (op->x.refused.code != TH_OK) {
        th_answer_error(&op->x, &op->x.refused);
        return TH_STEP_DONE;
    }
    if (op->next) {
        enum th_step (*next)(struct th_operation *) = op->next;
        op->next = NULL;
        return next(op);
    }
    op->origin = th_guard_origin(op);
    return route(op);
}
