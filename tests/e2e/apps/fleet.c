/*
 * What the tests of a fleet run. Each execution of an activity leaves two lines in a ledger, which
 * stands for the outside world: "begin KEY PID" and "end KEY PID", KEY being the step's own, so
 * that a second execution of any step shows. Inputs: {"ledger", "ms", "steps" or "width"}.
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

/* ---- activities ---- */

/* One write, at the end of the file: lines of several processes do not mix. */
static void note(struct th_activity *activity, const char *what)
{
    const char *path = json_string_value(json_object_get(th_activity_input(activity), "ledger"));
    char line[512];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int len = snprintf(line, sizeof(line), "%s %s:%s %d %lld\n", what,
                       th_activity_instance_id(activity), th_activity_key(activity), (int)getpid(),
                       (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || write(fd, line, (size_t)len) != len) {
        abort();
    }
    close(fd);
}

static int step(struct th_activity *activity)
{
    json_int_t left = number(th_activity_input(activity), "ms");
    note(activity, "begin");
    for (; left > 0; left -= 20) {
        json_int_t now = left < 20 ? left : 20;
        struct timespec pause = {.tv_nsec = now * 1000000};
        nanosleep(&pause, NULL);
    }
    note(activity, "end");
    return th_activity_return(activity, json_integer(getpid()));
}

/* ---- orchestrators ---- */

/* One step after the other. */
static int chain(struct th_context *ctx)
{
    json_int_t steps = number(th_input(ctx), "steps");
    for (json_int_t i = 0; i < steps; i++) {
        json_t *result = th_call(ctx, "step", json_incref(th_input(ctx)));
        if (!result) {
            return TH_FAILED;
        }
        json_decref(result);
    }
    return th_return_new(ctx, json_integer(steps));
}

/* All at once; the output is who ran them, {"pid": how many}. */
static int fan(struct th_context *ctx)
{
    size_t width = (size_t)number(th_input(ctx), "width");
    const char *activity = json_string_value(json_object_get(th_input(ctx), "activity"));
    struct th_task **tasks = calloc(width + 1, sizeof(*tasks));
    for (size_t i = 0; i < width; i++) {
        tasks[i] = th_schedule(ctx, activity ? activity : "step", json_incref(th_input(ctx)), NULL);
    }
    bool good = th_await(ctx, th_all(ctx, tasks, width));
    json_t *who = json_object();
    for (size_t i = 0; good && i < width; i++) {
        char pid[24];
        json_t *result = th_result(tasks[i]);
        snprintf(pid, sizeof(pid), "%lld", (long long)json_integer_value(result));
        json_object_set_new(who, pid,
                            json_integer(json_integer_value(json_object_get(who, pid)) + 1));
        json_decref(result);
    }
    free(tasks);
    if (!good) {
        json_decref(who);
        return TH_FAILED;
    }
    return th_return_new(ctx, who);
}

/* ---- cron ---- */

static int every_second(struct th_request *request)
{
    const char *path = getenv("TASKHUB_TEST_CRON");
    char line[64];
    int len = snprintf(line, sizeof(line), "%lld %d\n", (long long)time(NULL), (int)getpid());
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        if (write(fd, line, (size_t)len) != len) {
            abort();
        }
        close(fd);
    }
    return 0;
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "chain", chain);
    th_orchestrator(app, "fan", fan);
    th_activity(app, "step", step);
    th_cron(app, "every_second", "* * * * * *", every_second);
}
