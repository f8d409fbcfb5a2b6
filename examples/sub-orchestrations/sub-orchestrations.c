/*
 * Sub-orchestrations: an orchestrator as a building block of another. Setting up a device takes
 * three steps; setting up a building is that for all its devices at once.
 *
 * Input of "building": {"name": "north", "devices": ["door", "lamp", "heater"]}
 */
#include <taskhub.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int step(struct th_activity *activity)
{
    const char *device = json_string_value(th_activity_input(activity));

    if (!device || !*device)
        return th_activity_fail_for_good(activity, "BadDevice", "a device has a name");
    if (strcmp(device, "broken") == 0)
        return th_activity_fail(activity, "NoAnswer", "%s does not answer", device);
    return th_activity_return(activity,
                              json_sprintf("%s: %s done", device, th_activity_name(activity)));
}

static int device(struct th_context *ctx)
{
    static const char *const steps[] = {"register", "configure", "test"};
    json_auto_t *done = json_array();

    for (int i = 0; i < 3; i++)
        if (json_array_append_new(done, th_call(ctx, steps[i], json_incref(th_input(ctx)))))
            return TH_FAILED;
    return th_return(ctx, done);
}

/* The child's id says where it belongs, so it can be looked up by hand. */
static struct th_task *set_up(struct th_context *ctx, json_t *name)
{
    struct th_retry twice = {.max_attempts = 2, .first_interval_ms = 1000};
    struct th_options options = {.retry = &twice};
    char id[TH_ID_MAX];

    snprintf(id, sizeof(id), "%s-%s", th_instance_id(ctx), json_string_value(name));
    options.instance_id = id;
    return th_schedule_child(ctx, "device", json_incref(name), &options);
}

/* One device that fails does not stop the others: each is asked how it went. */
static int building(struct th_context *ctx)
{
    json_t *devices = json_object_get(th_input(ctx), "devices");
    size_t count = json_array_size(devices);
    json_auto_t *ready = json_array();
    json_auto_t *failed = json_object();
    struct th_task **tasks = calloc(count + 1, sizeof(struct th_task *));

    for (size_t i = 0; i < count; i++)
        tasks[i] = set_up(ctx, json_array_get(devices, i));
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(devices, i));
        if (th_await(ctx, tasks[i]))
            json_array_append_new(ready, json_string(name));
        else
            json_object_set_new(failed, name,
                                json_string(th_failure_message(th_task_failure(tasks[i]))));
    }
    free(tasks);
    return th_return_new(ctx, json_pack("{s:O, s:O}", "ready", ready, "failed", failed));
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "building", building);
    th_orchestrator(app, "device", device);
    th_activity(app, "register", step);
    th_activity(app, "configure", step);
    th_activity(app, "test", step);
}
