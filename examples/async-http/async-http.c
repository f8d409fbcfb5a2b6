/*
 * Long work behind HTTP. POST /api/jobs starts a job and, if it ends within two seconds, answers
 * with the result, else with 202 and the addresses to ask later. GET /api/jobs/{id} shows how far
 * it is.
 *
 * Input: {"steps": 10}
 */
#include <taskhub.h>

#include <string.h>

static int work(struct th_activity *activity)
{
    json_int_t step = json_integer_value(th_activity_input(activity));

    th_activity_log(activity, "step %lld", (long long)step);
    return th_activity_return(activity, json_integer(step * step));
}

static int job(struct th_context *ctx)
{
    json_int_t steps = json_integer_value(json_object_get(th_input(ctx), "steps"));
    json_int_t total = 0;

    for (json_int_t step = 1; step <= steps; step++) {
        json_auto_t *result = th_call(ctx, "work", json_integer(step));
        if (!result || th_sleep(ctx, 500))
            return TH_FAILED;
        total += json_integer_value(result);
        th_set_custom_status(ctx, json_pack("{s:I, s:I}", "done", step, "of", steps));
    }
    return th_return_new(ctx, json_integer(total));
}

/* The output if it ended well, else the whole status. */
static int answer(struct th_request *request, json_t *status)
{
    const char *state = json_string_value(json_object_get(status, "runtimeStatus"));

    if (!state || strcmp(state, "Completed") != 0)
        return th_respond_json(request, 200, status);
    json_t *output = json_incref(json_object_get(status, "output"));
    json_decref(status);
    return th_respond_json(request, 200, output);
}

static int start_job(struct th_request *request)
{
    struct th_client *client = th_request_client(request);
    json_t *input = json_incref(th_request_json(request));
    struct th_client_error error;
    char id[TH_ID_MAX];

    if (!th_client_start(client, "job", input, NULL, id, &error))
        return th_respond_error(request, &error);
    json_t *status = th_client_wait(client, id, 2000, &error);
    if (status)
        return answer(request, status);
    return error.status == 504 ? th_respond_check_status(request, id)
                               : th_respond_error(request, &error);
}

static int show_job(struct th_request *request)
{
    struct th_client_error error;
    const char *id = th_request_param(request, "id");
    json_auto_t *status = th_client_status(th_request_client(request), id, &error);

    if (!status)
        return th_respond_error(request, &error);
    return th_respond_json(request, 200,
                           json_pack("{s:O?, s:O?, s:O?}", "state",
                                     json_object_get(status, "runtimeStatus"), "progress",
                                     json_object_get(status, "customStatus"), "result",
                                     json_object_get(status, "output")));
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "job", job);
    th_activity(app, "work", work);
    th_http_route(app, "POST", "jobs", start_job);
    th_http_route(app, "GET", "jobs/{id}", show_job);
}
