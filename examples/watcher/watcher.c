/*
 * Watcher: a job that comes round for ever. Each round is a generation of its own: it ends with
 * th_continue_as_new, which hands its state to the next and drops the history, so a watcher of
 * ten years is as small as one of ten minutes.
 *
 * Input: {"path": "/tmp", "every": 5}; the event "stop" ends it.
 */
#include <taskhub.h>

#include <dirent.h>
#include <errno.h>
#include <string.h>

static int count_files(struct th_activity *activity)
{
    const char *path = json_string_value(th_activity_input(activity));
    DIR *dir = path ? opendir(path) : NULL;
    json_int_t count = 0;

    if (!dir)
        return th_activity_fail(activity, "NoFolder", "%s: %s", path ? path : "no path given",
                                strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return th_activity_return(activity, json_integer(count));
}

static int report(struct th_activity *activity)
{
    const char *words = json_string_value(th_activity_input(activity));

    th_activity_log(activity, "%s", words ? words : "?");
    return 0;
}

/* A folder that cannot be read now may be back in the next round. */
static json_int_t look(struct th_context *ctx, json_t *state, json_int_t before)
{
    json_auto_t *seen = th_call(ctx, "count_files", json_incref(json_object_get(state, "path")));
    json_int_t now = seen ? json_integer_value(seen) : before;

    if (now != before)
        json_decref(
            th_call(ctx, "report",
                    json_sprintf("%lld files, %lld before", (long long)now, (long long)before)));
    return now;
}

static int watcher(struct th_context *ctx)
{
    json_t *state = th_input(ctx); /* the first round's input, then what a round left */
    json_int_t every = json_integer_value(json_object_get(state, "every"));
    json_int_t rounds = json_integer_value(json_object_get(state, "rounds")) + 1;
    json_int_t files = look(ctx, state, json_integer_value(json_object_get(state, "files")));

    th_set_custom_status(ctx, json_pack("{s:I, s:I}", "rounds", rounds, "files", files));
    json_auto_t *stop = th_wait_event(ctx, "stop", (every > 0 ? every : 5) * 1000);
    if (stop)
        return th_return_new(ctx, json_pack("{s:I, s:I}", "rounds", rounds, "files", files));

    json_t *next = json_deep_copy(state);
    json_object_set_new(next, "rounds", json_integer(rounds));
    json_object_set_new(next, "files", json_integer(files));
    return th_continue_as_new(ctx, next, true);
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "watcher", watcher);
    th_activity(app, "count_files", count_files);
    th_activity(app, "report", report);
}
