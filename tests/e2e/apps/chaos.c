/*
 * What runs while everything around it is killed, paused and wiped (tests/chaos). Each execution of
 * an activity, and each that ends, leaves a line in a ledger outside of the hub, synced to the disk
 * before anything follows from it: "begin KEY PID" and "end KEY PID". The ledger's path comes from
 * the environment, TASKHUB_CHAOS_LEDGER; every process has a file of its own.
 *
 * Outputs follow from inputs alone, so that whoever started an instance knows them beforehand.
 */
#include <taskhub.h>

#include <fcntl.h>
#include <stdio.h>
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
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

/* ---- activities ---- */

static void note(struct th_activity *activity, const char *what)
{
    char path[4096], line[512];
    const char *folder = getenv("TASKHUB_CHAOS_LEDGER");
    if (!folder)
        abort();
    snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
    int len = snprintf(line, sizeof line, "%s %s/%s %d\n", what, th_activity_instance_id(activity),
                       th_activity_key(activity), (int)getpid());
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, (size_t)len) != len || fdatasync(fd) != 0)
        abort();
    close(fd);
}

/* {"ms", "n"}: works so long, gives n + 1. */
static int step(struct th_activity *activity)
{
    const json_t *input = th_activity_input(activity);
    json_int_t ms = number(input, "ms");
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    note(activity, "begin");
    nanosleep(&pause, NULL);
    note(activity, "end");
    return th_activity_return(activity, json_integer(number(input, "n") + 1));
}

static json_t *step_input(const json_t *input, json_int_t n)
{
    return json_pack("{s:I, s:I}", "ms", number(input, "ms"), "n", n);
}

/* ---- orchestrators ---- */

/* {"steps", "ms"}: one after the other; gives their number. */
static int chain(struct th_context *ctx)
{
    json_int_t steps = number(th_input(ctx), "steps"), n = 0;
    while (n < steps) {
        json_t *result = th_call(ctx, "step", step_input(th_input(ctx), n));
        if (!result)
            return TH_FAILED;
        n = json_integer_value(result);
        json_decref(result);
    }
    return th_return_new(ctx, json_integer(n));
}

/* {"width", "ms"}: all at once; gives 1 + … + width. */
static int fan(struct th_context *ctx)
{
    size_t width = (size_t)number(th_input(ctx), "width");
    struct th_task **tasks = calloc(width + 1, sizeof *tasks);
    json_int_t sum = 0;
    for (size_t i = 0; i < width; i++)
        tasks[i] = th_schedule(ctx, "step", step_input(th_input(ctx), (json_int_t)i), NULL);
    bool good = th_await(ctx, th_all(ctx, tasks, width));
    for (size_t i = 0; good && i < width; i++) {
        json_t *result = th_result(tasks[i]);
        sum += json_integer_value(result);
        json_decref(result);
    }
    free(tasks);
    return good ? th_return_new(ctx, json_integer(sum)) : TH_FAILED;
}

/* {"width", "steps", "ms"}: chains as sub-orchestrations; gives the sum of theirs. */
static int family(struct th_context *ctx)
{
    size_t width = (size_t)number(th_input(ctx), "width");
    struct th_task **tasks = calloc(width + 1, sizeof *tasks);
    json_int_t sum = 0;
    for (size_t i = 0; i < width; i++)
        tasks[i] = th_schedule_child(ctx, "chain", json_incref(th_input(ctx)), NULL);
    bool good = th_await(ctx, th_all(ctx, tasks, width));
    for (size_t i = 0; good && i < width; i++) {
        json_t *result = th_result(tasks[i]);
        sum += json_integer_value(result);
        json_decref(result);
    }
    free(tasks);
    return good ? th_return_new(ctx, json_integer(sum)) : TH_FAILED;
}

/* {"events"}: takes events "e" until each number below that has come, and gives all of them in the
 * order they came: one whose sender got no answer may have been sent twice. */
static int collect(struct th_context *ctx)
{
    json_int_t events = number(th_input(ctx), "events");
    uint64_t missing = (UINT64_C(1) << events) - 1;
    json_t *seen = json_array();
    while (missing) {
        json_t *data = th_wait_event(ctx, "e", -1);
        missing &= data ? ~(UINT64_C(1) << json_integer_value(data)) : missing;
        if (!data) {
            json_decref(seen);
            return TH_FAILED;
        }
        json_array_append_new(seen, data);
    }
    return th_return_new(ctx, seen);
}

/* {"naps", "ms"}: timers one after the other; gives their number. */
static int sleeper(struct th_context *ctx)
{
    json_int_t naps = number(th_input(ctx), "naps");
    for (json_int_t i = 0; i < naps; i++)
        if (th_sleep(ctx, number(th_input(ctx), "ms")) != 0)
            return TH_FAILED;
    return th_return_new(ctx, json_integer(naps));
}

/* {"rounds", "round", "ms"}: an execution and a step for each round; gives their number. */
static int generations(struct th_context *ctx)
{
    json_t *input = th_input(ctx);
    json_int_t round = number(input, "round");
    if (round >= number(input, "rounds"))
        return th_return_new(ctx, json_integer(round));
    json_t *result = th_call(ctx, "step", step_input(input, round));
    if (!result)
        return TH_FAILED;
    json_t *next = json_pack("{s:I, s:I, s:I}", "rounds", number(input, "rounds"), "ms",
                             number(input, "ms"), "round", json_integer_value(result));
    json_decref(result);
    return th_continue_as_new(ctx, next, true);
}

/* {"peer", "n"}: sends an event to another instance; gives n. */
static int sender(struct th_context *ctx)
{
    th_send_event(ctx, text(th_input(ctx), "peer"), "e",
                  json_incref(json_object_get(th_input(ctx), "n")));
    return th_return_new(ctx, json_incref(json_object_get(th_input(ctx), "n")));
}

/* ---- the bank ---- */

static int balance(struct th_entity *entity)
{
    return th_entity_return(entity, th_entity_state_or(entity, json_integer(0)));
}

/* Below zero is allowed: the sum over all accounts is what has to stay. */
static int add(struct th_entity *entity)
{
    json_t *state = th_entity_state_or(entity, json_integer(0));
    json_int_t now = json_integer_value(state) + json_integer_value(th_entity_input(entity));
    json_decref(state);
    if (th_entity_set_state(entity, json_integer(now)) != 0)
        return TH_FAILED;
    return th_entity_return(entity, json_integer(now));
}

/* {"from", "to", "amount"}: moves it under the locks of both; gives the sum of the two, which must
 * be the same before and after. */
static int transfer(struct th_context *ctx)
{
    const json_t *input = th_input(ctx);
    char from[TH_ENTITY_ID_SIZE], to[TH_ENTITY_ID_SIZE];
    const char *const both[] = {th_make_entity_id(from, "account", text(input, "from")),
                                th_make_entity_id(to, "account", text(input, "to"))};
    json_int_t amount = number(input, "amount"), before = 0, after = 0;
    if (th_lock(ctx, both, 2) != 0)
        return TH_FAILED;
    for (int i = 0; i < 2; i++) {
        json_t *value = th_call_entity(ctx, both[i], "balance", NULL);
        if (!value)
            return TH_FAILED;
        before += json_integer_value(value);
        json_decref(value);
    }
    for (int i = 0; i < 2; i++) {
        json_t *value =
            th_call_entity(ctx, both[i], "add", json_integer(i == 0 ? -amount : amount));
        if (!value)
            return TH_FAILED;
        after += json_integer_value(value);
        json_decref(value);
    }
    if (before != after)
        return th_fail_with(ctx, "BrokenLock", "%lld before, %lld after", (long long)before,
                            (long long)after);
    if (th_unlock(ctx) != 0)
        return TH_FAILED;
    return th_return_new(ctx, json_integer(amount));
}

/* {"key", "times"}: signals a counter so often, and asks it then: gives how much it has counted. */
static int counter_user(struct th_context *ctx)
{
    char id[TH_ENTITY_ID_SIZE];
    th_make_entity_id(id, "account", text(th_input(ctx), "key"));
    for (json_int_t i = 0; i < number(th_input(ctx), "times"); i++)
        if (th_signal_entity(ctx, id, "add", json_integer(1)) != 0)
            return TH_FAILED;
    return th_return_new(ctx, th_call_entity(ctx, id, "balance", NULL));
}

TH_APPLICATION(app)
{
    static const struct th_method account[] = {{"balance", balance}, {"add", add}, {NULL, NULL}};
    th_activity(app, "step", step);
    th_orchestrator(app, "chain", chain);
    th_orchestrator(app, "fan", fan);
    th_orchestrator(app, "family", family);
    th_orchestrator(app, "collect", collect);
    th_orchestrator(app, "sleeper", sleeper);
    th_orchestrator(app, "generations", generations);
    th_orchestrator(app, "sender", sender);
    th_orchestrator(app, "transfer", transfer);
    th_orchestrator(app, "counter_user", counter_user);
    th_entity_methods(app, "account", account);
}
