/*
 * Aggregator: one entity per device takes in a stream of measurements, in any order and from any
 * number of senders, and keeps what is to be known of them: how many, their mean, least and most,
 * and how hot the last ten were. Above a threshold it starts an orchestration that raises an
 * alarm, once until it has cooled down again. When nothing comes for a while it closes the books:
 * a signal to itself, delayed, hands the totals to the entity of all devices.
 *
 * State: {"count", "sum", "least", "most", "last": [...], "alarmed", "idle_ms", "due"}
 */
#include <taskhub.h>

#define LAST      10
#define THRESHOLD 80.0
#define IDLE_MS   10000

/* ---- the aggregate --------------------------------------------------------------------------- */

static double real_of(const json_t *state, const char *name)
{
    return json_number_value(json_object_get(state, name));
}

static void take_in(json_t *state, double value)
{
    json_int_t count = json_integer_value(json_object_get(state, "count"));
    json_t *last = json_object_get(state, "last");

    if (count == 0 || value < real_of(state, "least"))
        json_object_set_new(state, "least", json_real(value));
    if (count == 0 || value > real_of(state, "most"))
        json_object_set_new(state, "most", json_real(value));
    json_object_set_new(state, "count", json_integer(count + 1));
    json_object_set_new(state, "sum", json_real(real_of(state, "sum") + value));
    json_array_append_new(last, json_real(value));
    if (json_array_size(last) > LAST)
        json_array_remove(last, 0);
}

static double mean_of(const json_t *values)
{
    double sum = 0;
    size_t i;
    json_t *value;

    json_array_foreach(values, i, value)
        sum += json_number_value(value);
    return json_array_size(values) ? sum / (double)json_array_size(values) : 0;
}

/* An action of an operation leaves together with its state, or not at all. */
static int alarm_if_hot(struct th_entity *device, json_t *state)
{
    double mean = mean_of(json_object_get(state, "last"));
    bool was = json_is_true(json_object_get(state, "alarmed"));
    bool hot = mean > THRESHOLD;

    json_object_set_new(state, "alarmed", json_boolean(hot));
    if (!hot || was)
        return 0;
    return th_entity_start(
        device, "alarm", json_pack("{s:s, s:f}", "device", th_entity_own_key(device), "mean", mean),
        NULL);
}

/* Each measurement puts the end off; only the signal of the last one finds that it is due. */
static int close_later(struct th_entity *device, json_t *state)
{
    json_int_t idle = json_integer_value(json_object_get(state, "idle_ms"));
    th_time due = th_entity_time(device) + (th_time)(idle > 0 ? idle : IDLE_MS) * 1000;

    json_object_set_new(state, "due", json_integer(due));
    return th_entity_signal_at(device, th_entity_own_id(device), "close", NULL, due);
}

static json_t *fresh(void)
{
    return json_pack("{s:i, s:f, s:[]}", "count", 0, "sum", 0.0, "last");
}

/* {"value": 21.5}, and perhaps "idle_ms" */
static int measured(struct th_entity *device)
{
    json_t *input = th_entity_input(device);
    json_t *value = json_object_get(input, "value"), *idle = json_object_get(input, "idle_ms");
    json_auto_t *state = th_entity_state_or(device, fresh());

    if (!json_is_number(value))
        return th_entity_fail(device, "NoNumber", "a measurement needs a number as \"value\"");
    if (json_is_integer(idle))
        json_object_set(state, "idle_ms", idle);
    take_in(state, json_number_value(value));
    if (alarm_if_hot(device, state) || close_later(device, state))
        return TH_FAILED;
    return th_entity_set_state(device, json_incref(state));
}

/* Hands the totals on and forgets them. */
static int close_books(struct th_entity *device)
{
    json_auto_t *state = th_entity_state(device);

    if (!state || json_integer_value(json_object_get(state, "due")) > th_entity_time(device))
        return 0;
    if (th_entity_signal(device, "@fleet@all", "report",
                         json_pack("{s:s, s:O, s:O}", "device", th_entity_own_key(device), "count",
                                   json_object_get(state, "count"), "sum",
                                   json_object_get(state, "sum"))))
        return TH_FAILED;
    return th_entity_delete(device);
}

static int summary(struct th_entity *device)
{
    json_auto_t *state = th_entity_state(device);
    json_int_t count = json_integer_value(json_object_get(state, "count"));

    if (count == 0)
        return th_entity_return(device, json_null());
    return th_entity_return(device,
                            json_pack("{s:I, s:f, s:f, s:f}", "count", count, "mean",
                                      real_of(state, "sum") / (double)count, "least",
                                      real_of(state, "least"), "most", real_of(state, "most")));
}

/* ---- all devices ----------------------------------------------------------------------------- */

static int report(struct th_entity *fleet)
{
    json_t *input = th_entity_input(fleet);
    json_auto_t *state = th_entity_state_or(fleet, json_object());
    const char *device = json_string_value(json_object_get(input, "device"));
    json_t *before = device ? json_object_get(state, device) : NULL;

    if (!device)
        return th_entity_fail(fleet, "NoDevice", "a report names its device");
    json_int_t count = json_integer_value(json_object_get(input, "count")) +
                       json_integer_value(json_object_get(before, "count"));
    double sum = real_of(input, "sum") + real_of(before, "sum");
    json_object_set_new(state, device, json_pack("{s:I, s:f}", "count", count, "sum", sum));
    return th_entity_set_state(fleet, json_incref(state));
}

/* ---- the alarm ------------------------------------------------------------------------------- */

static int ring(struct th_activity *activity)
{
    json_t *input = th_activity_input(activity);

    th_activity_log(activity, "%s is too hot: %.1f",
                    json_string_value(json_object_get(input, "device")), real_of(input, "mean"));
    return 0;
}

static int alarm_of(struct th_context *ctx)
{
    return th_return_new(ctx, th_call(ctx, "ring", json_incref(th_input(ctx))));
}

TH_APPLICATION(app)
{
    static const struct th_method device[] = {
        {"measured", measured}, {"close", close_books}, {"summary", summary}, {NULL, NULL}};
    static const struct th_method fleet[] = {{"report", report}, {NULL, NULL}};

    th_entity_methods(app, "device", device);
    th_entity_methods(app, "fleet", fleet);
    th_orchestrator(app, "alarm", alarm_of);
    th_activity(app, "ring", ring);
}
