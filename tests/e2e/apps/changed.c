/* hello_cities after a careless change: the second city is asked for twice. For `taskhub replay`.
 */
#include <taskhub.h>

static int say_hello(struct th_activity *activity)
{
    return th_activity_return(
        activity, json_sprintf("Hello %s!", json_string_value(th_activity_input(activity))));
}

static int say_goodbye(struct th_activity *activity)
{
    return th_activity_return(activity, json_string("Goodbye"));
}

static int hello_cities(struct th_context *ctx)
{
    json_auto_t *first = th_call(ctx, "say_hello", json_string("Tokyo"));
    json_auto_t *second = first ? th_call(ctx, "say_goodbye", json_string("Seattle")) : NULL;
    return second ? th_return(ctx, second) : TH_FAILED;
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "hello_cities", hello_cities);
    th_activity(app, "say_hello", say_hello);
    th_activity(app, "say_goodbye", say_goodbye);
}
