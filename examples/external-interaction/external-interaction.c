/*
 * External interaction: an orchestration that waits for people. An expense needs an approval; when
 * nobody answers in time it goes to the manager, and after that it is refused.
 *
 * Input: {"amount": 120, "who": "anna", "seconds": 60}
 */
#include <taskhub.h>

#include <string.h>

/* Stands for sending a mail with two links. */
static int ask(struct th_activity *activity)
{
    json_t *input = th_activity_input(activity);
    const char *whom = json_string_value(json_object_get(input, "whom"));

    th_activity_log(activity, "%s, please approve or refuse %s", whom ? whom : "somebody",
                    th_activity_instance_id(activity));
    return 0;
}

/* Asks and waits. NULL: no answer in time. */
static json_t *decision_of(struct th_context *ctx, const char *whom, json_int_t seconds)
{
    th_set_custom_status(ctx, json_sprintf("waiting for %s", whom));
    json_decref(th_call(ctx, "ask", json_pack("{s:s}", "whom", whom)));
    return th_wait_event(ctx, "approval", seconds * 1000);
}

static int expense(struct th_context *ctx)
{
    json_t *input = th_input(ctx);
    json_int_t seconds = json_integer_value(json_object_get(input, "seconds"));
    const char *by = "a colleague";

    if (seconds <= 0)
        seconds = 60;
    json_auto_t *decision = decision_of(ctx, by, seconds);
    if (!decision) {
        by = "the manager";
        decision = decision_of(ctx, by, seconds);
    }
    th_set_custom_status(ctx, NULL);
    if (!decision)
        return th_return_new(ctx, json_pack("{s:b, s:s}", "approved", 0, "by", "nobody in time"));
    return th_return_new(ctx,
                         json_pack("{s:b, s:s}", "approved", json_is_true(decision), "by", by));
}

static int hand_in(struct th_request *request)
{
    json_t *input = json_incref(th_request_json(request));
    struct th_client_error error;
    char id[TH_ID_MAX];

    if (!th_client_start(th_request_client(request), "expense", input, NULL, id, &error))
        return th_respond_error(request, &error);
    return th_respond_check_status(request, id);
}

/* What the links of the mail lead to: POST /api/expenses/{id}/approve or …/refuse. */
static int decide(struct th_request *request)
{
    const char *id = th_request_param(request, "id");
    const char *answer = th_request_param(request, "answer");
    struct th_client_error error;
    bool yes = strcmp(answer, "approve") == 0;

    if (!yes && strcmp(answer, "refuse") != 0)
        return th_respond_text(request, 404, "approve or refuse, not %s", answer);
    if (!th_client_raise_event(th_request_client(request), id, "approval", json_boolean(yes),
                               &error))
        return th_respond_error(request, &error);
    return th_respond_text(request, 202, "thank you");
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "expense", expense);
    th_activity(app, "ask", ask);
    th_http_route(app, "POST", "expenses", hand_in);
    th_http_route(app, "POST", "expenses/{id}/{answer}", decide);
}
