/*
 * An application that misbehaves in every way the hub promises to survive, and some functions that
 * behave, to see that they are not harmed.
 */
#include <taskhub.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what takes the process down ------------------------------------------------------------- */

static int fall(volatile char *above)
{
    volatile char frame[2048];
    frame[0] = above[0];
    if (frame[0] == 0)
        fall(frame);
    return above[0] + frame[0];
}

static void misbehave(const char *how)
{
    volatile int zero = 0;
    char start = 0;
    if (strcmp(how, "segfault") == 0)
        *(volatile int *)(intptr_t)(zero + 64) = 1; /* no page, and no sanitizer's business */
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "divide") == 0)
        raise(SIGFPE);
    if (strcmp(how, "overflow") == 0)
        fall(&start);
    if (strcmp(how, "exit") == 0)
        exit(0);
    if (strcmp(how, "_exit") == 0)
        _exit(0);
    while (strcmp(how, "spin") == 0 && zero == 0) {
    }
}

static int crash_activity(struct th_activity *activity)
{
    const char *how = json_string_value(th_activity_input(activity));
    if (how)
        misbehave(how);
    return th_activity_return_bytes(activity, "1", 1);
}

/* The activity is what crashes. */
static int bad_activity(struct th_context *ctx)
{
    json_auto_t *result = th_call(ctx, "crash_activity", json_incref(th_input(ctx)));
    return result ? th_return(ctx, result) : TH_FAILED;
}

/* As above, but the orchestrator copes with the failure. */
static int survivor(struct th_context *ctx)
{
    json_auto_t *result = th_call(ctx, "crash_activity", json_incref(th_input(ctx)));
    if (result)
        return th_return(ctx, result);
    return th_return_new(ctx,
                         json_sprintf("survived: %s", th_failure_message(th_last_failure(ctx))));
}

/* The orchestrator itself crashes, after one good step. */
static int bad_orchestrator(struct th_context *ctx)
{
    json_auto_t *result = th_call(ctx, "echo", json_integer(1));
    const char *how = json_string_value(th_input(ctx));
    if (result && how)
        misbehave(how);
    return th_return_bytes(ctx, "1", 1);
}

static int fragile_crash(struct th_entity *entity)
{
    const char *how = json_string_value(th_entity_input(entity));
    th_entity_set_state(entity, json_integer(-1));
    if (how)
        misbehave(how);
    return 0;
}

static int fragile_add(struct th_entity *entity)
{
    json_auto_t *count = th_entity_state_or(entity, json_integer(0));
    return th_entity_set_state(entity, json_integer(json_integer_value(count) + 1));
}

static int fragile_get(struct th_entity *entity)
{
    return th_entity_return(entity, th_entity_state(entity));
}

static const struct th_method fragile[] = {
    {"crash", fragile_crash}, {"add", fragile_add}, {"get", fragile_get}, {NULL, NULL}};

/* One operation of several crashes; the others count. */
static int bad_entity(struct th_context *ctx)
{
    char id[TH_ENTITY_ID_SIZE];
    th_make_entity_id(id, "fragile", th_instance_id(ctx));
    for (int i = 0; i < 3; i++)
        th_signal_entity(ctx, id, "add", NULL);
    struct th_task *crash = th_schedule_entity(ctx, id, "crash", json_incref(th_input(ctx)));
    th_signal_entity(ctx, id, "add", NULL);
    if (th_await(ctx, crash))
        return th_fail_with(ctx, "NoCrash", "it did not crash");
    const struct th_failure *why = th_task_failure(crash);
    json_auto_t *count = th_call_entity(ctx, id, "get", NULL);
    if (json_integer_value(count) != 4)
        return th_fail_with(ctx, "WrongCount", "%lld", (long long)json_integer_value(count));
    return th_fail_with(ctx, th_failure_type(why), "%s", th_failure_message(why));
}

/* ---- what behaves ---------------------------------------------------------------------------- */

static int echo(struct th_activity *activity)
{
    json_t *input = th_activity_input(activity);
    return th_activity_return(activity, input ? json_incref(input) : json_null());
}

/* Appends a line to the file named in the input and makes it durable: the outside world. */
static int record(struct th_activity *activity)
{
    const json_t *input = th_activity_input(activity);
    const char *path = json_string_value(json_object_get(input, "file"));
    const char *line = json_string_value(json_object_get(input, "line"));
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || !line)
        return th_activity_fail_for_good(activity, "BadInput", "cannot record");
    ssize_t n = write(fd, line, strlen(line));
    bool ok = n == (ssize_t)strlen(line) && fsync(fd) == 0;
    close(fd);
    if (!ok)
        return th_activity_fail(activity, "Disk", "cannot record");
    return th_activity_return(activity, json_string(line));
}

/* Five recorded steps, one after the other; the output repeats them all. */
static int ledger(struct th_context *ctx)
{
    json_auto_t *steps = json_array();
    for (int i = 0; i < 5; i++) {
        json_t *input = json_pack("{s:s, s:o}", "file", json_string_value(th_input(ctx)), "line",
                                  json_sprintf("%s %d\n", th_instance_id(ctx), i));
        json_t *step = th_call(ctx, "record", input);
        if (!step || json_array_append_new(steps, step))
            return TH_FAILED;
    }
    return th_return(ctx, steps);
}

static int nap(struct th_context *ctx)
{
    if (th_sleep(ctx, json_integer_value(th_input(ctx))))
        return TH_FAILED;
    return th_return_bytes(ctx, "\"rested\"", 8);
}

static int approval(struct th_context *ctx)
{
    json_auto_t *answer = th_wait_event(ctx, "Approval", -1);
    return answer ? th_return(ctx, answer) : TH_FAILED;
}

/* Fails while the file named in the input is missing: for rewind. */
static int needs_file(struct th_activity *activity)
{
    const char *path = json_string_value(th_activity_input(activity));
    if (!path || access(path, R_OK) != 0)
        return th_activity_fail(activity, "Missing", "%s is not there", path ? path : "?");
    return th_activity_return_bytes(activity, "\"found\"", 7);
}

static int wants_file(struct th_context *ctx)
{
    json_auto_t *result = th_call(ctx, "needs_file", json_incref(th_input(ctx)));
    return result ? th_return(ctx, result) : TH_FAILED;
}

TH_APPLICATION(app)
{
    th_activity(app, "crash_activity", crash_activity);
    th_activity(app, "echo", echo);
    th_activity(app, "record", record);
    th_activity(app, "needs_file", needs_file);
    th_orchestrator(app, "bad_activity", bad_activity);
    th_orchestrator(app, "survivor", survivor);
    th_orchestrator(app, "bad_orchestrator", bad_orchestrator);
    th_orchestrator(app, "bad_entity", bad_entity);
    th_entity_methods(app, "fragile", fragile);
    th_orchestrator(app, "ledger", ledger);
    th_orchestrator(app, "nap", nap);
    th_orchestrator(app, "approval", approval);
    th_orchestrator(app, "wants_file", wants_file);
}
