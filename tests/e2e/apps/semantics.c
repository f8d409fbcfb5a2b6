/*
 * One small orchestrator per promise that the end-to-end tests check over HTTP. Inputs say what to
 * do, so that the tests read as a whole; files named in inputs stand for the outside world.
 */
#include <taskhub.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Appends one line; gives the file's size before, -1: cannot. */
static long append(const char *path, const char *line)
{
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return -1;
    long before = (long)lseek(fd, 0, SEEK_END);
    bool ok = write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    close(fd);
    return ok ? before : -1;
}

static char *filled(size_t len)
{
    char *bytes = malloc(len + 3);
    if (!bytes)
        return NULL;
    memset(bytes, 'x', len + 2);
    bytes[0] = bytes[len + 1] = '"';
    bytes[len + 2] = 0;
    return bytes;
}

/* ---- activities ---- */

static int echo(struct th_activity *activity)
{
    json_t *input = th_activity_input(activity);
    return th_activity_return(activity, input ? json_incref(input) : json_null());
}

/* {"file", "failures", "type", "final"}: fails so often, then succeeds; counts in the file. */
static int flaky(struct th_activity *activity)
{
    const json_t *input = th_activity_input(activity);
    long before = append(text(input, "file"), ".");
    const char *type = text(input, "type");
    if (before < 0)
        return th_activity_fail_for_good(activity, "BadInput", "cannot count");
    if (before >= number(input, "failures"))
        return th_activity_return(activity, json_integer(before + 1));
    if (json_is_true(json_object_get(input, "final")))
        return th_activity_fail_for_good(activity, "Final", "no more of this");
    return th_activity_fail(activity, type ? type : "Transient", "attempt %ld", before + 1);
}

/* Fails while the file is not there. */
static int needs_file(struct th_activity *activity)
{
    const char *path = json_string_value(th_activity_input(activity));
    if (!path || access(path, R_OK) != 0)
        return th_activity_fail(activity, "Missing", "%s is not there", path ? path : "?");
    return th_activity_return(activity, json_string("found"));
}

static int payload(struct th_activity *activity)
{
    size_t len = (size_t)json_integer_value(th_activity_input(activity));
    char *bytes = filled(len);
    int code = bytes ? th_activity_return_bytes(activity, bytes, len + 2)
                     : th_activity_fail(activity, "Memory", "no memory");
    free(bytes);
    return code;
}

/* {"file", "beats", "pause_ms", "silent"}: works on in small steps until done or told to stop. */
static int labour(struct th_activity *activity)
{
    const json_t *input = th_activity_input(activity);
    json_int_t beats = number(input, "beats"), pause = number(input, "pause_ms");
    struct timespec step = {.tv_sec = pause / 1000, .tv_nsec = pause % 1000 * 1000000};
    append(text(input, "file"), "began\n");
    for (json_int_t i = 0; i < beats; i++) {
        nanosleep(&step, NULL);
        bool silent = json_is_true(json_object_get(input, "silent"));
        bool wanted = silent ? !th_activity_canceled(activity) : th_activity_heartbeat(activity);
        if (!wanted) {
            append(text(input, "file"), "canceled\n");
            return th_activity_fail(activity, "Canceled", "told to stop");
        }
    }
    append(text(input, "file"), "done\n");
    return th_activity_return(activity, json_string("done"));
}

/* ---- failing and trying again ---- */

static bool only_transient(const struct th_failure *failure, void *argument)
{
    return th_failure_is(failure, "Transient");
}

/* {"attempts", "first_ms", "backoff", "timeout_ms", "predicate", "activity": {…}} */
static int retry(struct th_context *ctx)
{
    json_t *input = th_input(ctx);
    struct th_retry policy = {
        .max_attempts = (int)number(input, "attempts"),
        .first_interval_ms = number(input, "first_ms"),
        .backoff_coefficient = json_number_value(json_object_get(input, "backoff")),
        .timeout_ms = number(input, "timeout_ms"),
        .retry_if = json_is_true(json_object_get(input, "predicate")) ? only_transient : NULL,
    };
    struct th_options options = {.retry = &policy};
    return th_return_new(
        ctx, th_call_with(ctx, "flaky", json_incref(json_object_get(input, "activity")), &options));
}

static int wants_file(struct th_context *ctx)
{
    return th_return_new(ctx, th_call(ctx, "needs_file", json_incref(th_input(ctx))));
}

/* The child fails; the parent with it. {"file", "child"} */
static int child_wants_file(struct th_context *ctx)
{
    struct th_options options = {.instance_id = text(th_input(ctx), "child")};
    return th_return_new(ctx, th_call_child(ctx, "wants_file",
                                            json_incref(json_object_get(th_input(ctx), "file")),
                                            &options));
}

static int calls_nobody(struct th_context *ctx)
{
    return th_return_new(ctx, th_call(ctx, "no_such_activity", NULL));
}

static int bears_nobody(struct th_context *ctx)
{
    return th_return_new(ctx, th_call_child(ctx, "no_such_orchestrator", NULL, NULL));
}

/* ---- events ---- */

/* Collects n events named "Item". */
static int collect(struct th_context *ctx)
{
    json_auto_t *items = json_array();
    th_set_custom_status(ctx, json_string("collecting"));
    for (json_int_t i = json_integer_value(th_input(ctx)); i > 0; i--) {
        json_t *item = th_wait_event(ctx, "Item", -1);
        if (!item || json_array_append_new(items, item))
            return TH_FAILED;
    }
    return th_return(ctx, items);
}

/* {"count", "items"}: one event per generation. */
static int collect_anew(struct th_context *ctx)
{
    json_auto_t *next = json_deep_copy(th_input(ctx));
    json_t *items = json_object_get(next, "items");
    json_t *item = th_wait_event(ctx, "item", -1);
    if (!item || json_array_append_new(items, item))
        return TH_FAILED;
    if (json_array_size(items) == (size_t)number(next, "count"))
        return th_return(ctx, items);
    return th_continue_as_new(ctx, json_incref(next), true);
}

static int patient(struct th_context *ctx)
{
    json_auto_t *event = th_wait_event(ctx, "Item", json_integer_value(th_input(ctx)));
    return event ? th_return(ctx, event)
                 : th_return_new(ctx, json_string(th_failure_type(th_last_failure(ctx))));
}

static int approval(struct th_context *ctx)
{
    return th_return_new(ctx, th_wait_event(ctx, "Approval", -1));
}

/* ---- families ---- */

/* Input: the child's id; an array: a chain of them. */
static int family(struct th_context *ctx)
{
    json_t *ids = th_input(ctx);
    json_auto_t *rest = json_array();
    for (size_t i = 1; i < json_array_size(ids); i++)
        json_array_append(rest, json_array_get(ids, i));
    if (json_array_size(ids) == 0)
        return th_return_new(ctx, th_wait_event(ctx, "Approval", -1));
    struct th_options options = {.instance_id = json_string_value(json_array_get(ids, 0))};
    return th_return_new(ctx, th_call_child(ctx, "family", json_incref(rest), &options));
}

/* ---- time, generations, versions, logs ---- */

static int nap(struct th_context *ctx)
{
    if (th_sleep(ctx, json_integer_value(th_input(ctx))))
        return TH_FAILED;
    return th_return_new(ctx, json_string("rested"));
}

static int generations(struct th_context *ctx)
{
    json_int_t left = json_integer_value(th_input(ctx));
    if (left <= 1)
        return th_return_new(ctx, json_string("the last of its kind"));
    return th_continue_as_new(ctx, json_integer(left - 1), false);
}

/* One activity in each generation, so that each is a piece of history for itself. */
static int working_generations(struct th_context *ctx)
{
    json_int_t left = json_integer_value(th_input(ctx));
    json_auto_t *result = th_call(ctx, "echo", json_integer(left));
    if (!result)
        return TH_FAILED;
    if (left <= 1)
        return th_return(ctx, result);
    return th_continue_as_new(ctx, json_integer(left - 1), false);
}

static int whoami(struct th_context *ctx)
{
    const char *version = th_version(ctx), *tag = th_tag(ctx, "colour");
    return th_return_new(ctx, json_pack("{s:s, s:s?, s:s?, s:s?}", "name", th_name(ctx), "version",
                                        version, "tag", tag, "parent", th_parent_id(ctx)));
}

static int stages(struct th_context *ctx)
{
    th_set_custom_status(ctx, json_pack("{s:i}", "stage", 1));
    json_auto_t *go = th_wait_event(ctx, "Go", -1);
    if (!go)
        return TH_FAILED;
    th_set_custom_status(ctx, json_pack("{s:i, s:O}", "stage", 2, "go", go));
    json_auto_t *end = th_wait_event(ctx, "Go", -1);
    return end ? th_return(ctx, end) : TH_FAILED;
}

static int talkative(struct th_context *ctx)
{
    for (int i = 0; i < 3; i++) {
        th_log_info(ctx, "step %d of %s", i, th_instance_id(ctx));
        json_auto_t *result = th_call(ctx, "echo", json_integer(i));
        if (!result)
            return TH_FAILED;
    }
    th_log_info(ctx, "end of %s", th_instance_id(ctx));
    return th_return_new(ctx, json_true());
}

static int works(struct th_context *ctx)
{
    return th_return_new(ctx, th_call(ctx, "labour", json_incref(th_input(ctx))));
}

/* ---- sizes ---- */

static int big_result(struct th_context *ctx)
{
    json_auto_t *result = th_call(ctx, "payload", json_incref(th_input(ctx)));
    return result ? th_return_new(ctx, json_integer((json_int_t)json_string_length(result)))
                  : TH_FAILED;
}

static int big_output(struct th_context *ctx)
{
    size_t len = (size_t)json_integer_value(th_input(ctx));
    char *bytes = filled(len);
    int code = bytes ? th_return_bytes(ctx, bytes, len + 2) : TH_FAILED;
    free(bytes);
    return code;
}

static int big_input(struct th_context *ctx)
{
    size_t len = (size_t)json_integer_value(th_input(ctx));
    char *bytes = filled(len);
    struct th_task *task = bytes ? th_schedule_bytes(ctx, "echo", bytes, len + 2, NULL) : NULL;
    free(bytes);
    if (!task || !th_await(ctx, task))
        return TH_FAILED;
    return th_return_new(ctx, json_string("taken"));
}

/* ---- client functions ---- */

/* ?in_ms=…, ?tag=…, ?keep, ?replace, ?version=… on top of what the management API takes. */
static int start(struct th_request *request)
{
    char id[TH_ID_MAX];
    struct th_client_error error;
    const char *in_ms = th_request_query(request, "in_ms");
    const char *tag = th_request_query(request, "tag");
    const char *tags[] = {"colour", tag, NULL};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    th_time micros = (th_time)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    struct th_start options = {
        .instance_id = th_request_param(request, "id"),
        .version = th_request_query(request, "version"),
        .start_at = in_ms ? micros + strtol(in_ms, NULL, 10) * 1000 : 0,
        .tags = tag ? tags : NULL,
        .keep_existing = th_request_query(request, "keep") != NULL,
        .replace_running = th_request_query(request, "replace") != NULL,
    };
    json_t *input = th_request_json(request);
    if (!th_client_start(th_request_client(request), th_request_param(request, "name"),
                         input ? json_incref(input) : NULL, &options, id, &error))
        return th_respond_error(request, &error);
    return th_respond_check_status(request, id);
}

/* Leaves a trace in the file named by the environment. */
static int tick(struct th_request *request)
{
    const char *path = getenv("SEMANTICS_TICKS");
    if (path)
        append(path, "tick\n");
    return 0;
}

TH_APPLICATION(app)
{
    th_activity(app, "echo", echo);
    th_activity(app, "flaky", flaky);
    th_activity(app, "needs_file", needs_file);
    th_activity(app, "payload", payload);
    th_activity(app, "labour", labour);
    th_orchestrator(app, "retry", retry);
    th_orchestrator(app, "wants_file", wants_file);
    th_orchestrator(app, "child_wants_file", child_wants_file);
    th_orchestrator(app, "calls_nobody", calls_nobody);
    th_orchestrator(app, "bears_nobody", bears_nobody);
    th_orchestrator(app, "collect", collect);
    th_orchestrator(app, "collect_anew", collect_anew);
    th_orchestrator(app, "patient", patient);
    th_orchestrator(app, "approval", approval);
    th_orchestrator(app, "family", family);
    th_orchestrator(app, "nap", nap);
    th_orchestrator(app, "generations", generations);
    th_orchestrator(app, "working_generations", working_generations);
    th_orchestrator(app, "whoami", whoami);
    th_orchestrator(app, "stages", stages);
    th_orchestrator(app, "talkative", talkative);
    th_orchestrator(app, "works", works);
    th_orchestrator(app, "big_result", big_result);
    th_orchestrator(app, "big_output", big_output);
    th_orchestrator(app, "big_input", big_input);
    th_http_route(app, "POST", "start/{name}/{id}", start);
    th_cron(app, "tick", "* * * * * *", tick);
}
