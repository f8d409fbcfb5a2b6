/*
 * Monitor: look again and again until something is so, or it is too late. Waits for a file to
 * appear, asking ever less often.
 *
 * Input: {"path": "/tmp/ready", "seconds": 120, "every": 2}
 */
#include <taskhub.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int file_exists(struct th_activity *activity)
{
    const char *path = json_string_value(th_activity_input(activity));
    struct stat st;

    if (!path)
        return th_activity_fail_for_good(activity, "BadInput", "file_exists needs a path");
    if (stat(path, &st) == 0)
        return th_activity_return(activity, json_true());
    if (errno == ENOENT)
        return th_activity_return(activity, json_false());
    return th_activity_fail(activity, "CannotLook", "%s: %s", path, strerror(errno));
}

static json_int_t number(json_t *input, const char *key, json_int_t otherwise)
{
    json_int_t value = json_integer_value(json_object_get(input, key));
    return value > 0 ? value : otherwise;
}

/* The time comes from the context: at a replay it is what it was. */
static int monitor(struct th_context *ctx)
{
    struct th_retry patient = {.max_attempts = 5, .backoff_coefficient = 2};
    struct th_options options = {.retry = &patient};
    json_t *input = th_input(ctx);
    json_t *path = json_object_get(input, "path");
    json_int_t wait = number(input, "every", 2) * 1000;
    th_time deadline = th_current_time(ctx) + number(input, "seconds", 120) * 1000000;

    for (int looks = 1; th_current_time(ctx) < deadline; looks++) {
        json_auto_t *there = th_call_with(ctx, "file_exists", json_incref(path), &options);
        if (!there)
            return TH_FAILED;
        if (json_is_true(there))
            return th_return_new(ctx, json_pack("{s:b, s:i}", "found", 1, "looks", looks));
        th_set_custom_status(ctx, json_sprintf("looked %d times", looks));
        if (th_sleep(ctx, wait))
            return TH_FAILED;
        wait = wait < 30000 ? wait * 3 / 2 : wait;
    }
    return th_fail_with(ctx, "TooLate", "%s did not appear in time", json_string_value(path));
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "monitor", monitor);
    th_activity(app, "file_exists", file_exists);
}
