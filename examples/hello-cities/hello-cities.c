/* The first steps: one orchestrator that calls an activity three times, and a way to start it. */
#include <taskhub.h>

static int say_hello(struct th_activity *activity)
{
    const char *city = json_string_value(th_activity_input(activity));

    if (!city)
        return th_activity_fail_for_good(activity, "BadInput", "say_hello needs a city's name");
    return th_activity_return(activity, json_sprintf("Hello %s!", city));
}

/* Ordinary code, but each call is durable: after a crash the function goes on behind the last
 * greeting it got, on whichever process takes it up. */
static int hello_cities(struct th_context *ctx)
{
    static const char *const cities[] = {"Tokyo", "Seattle", "London"};
    json_auto_t *greetings = json_array();

    for (int i = 0; i < 3; i++)
        if (json_array_append_new(greetings, th_call(ctx, "say_hello", json_string(cities[i]))))
            return TH_FAILED;
    return th_return(ctx, greetings);
}

/* POST /api/orchestrators/{functionName}: starts it and answers where to watch it. */
static int http_start(struct th_request *request)
{
    const char *name = th_request_param(request, "functionName");
    json_t *input = json_incref(th_request_json(request));
    struct th_client_error error;
    char id[TH_ID_MAX];

    if (!th_client_start(th_request_client(request), name, input, NULL, id, &error))
        return th_respond_error(request, &error);
    return th_respond_check_status(request, id);
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "hello_cities", hello_cities);
    th_activity(app, "say_hello", say_hello);
    th_http_route(app, "POST", "orchestrators/{functionName}", http_start);
}
