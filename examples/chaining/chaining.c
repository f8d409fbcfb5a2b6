/*
 * Chaining: each step works on the result of the one before. When a later step fails, what the
 * earlier ones did is undone, and the order fails with the reason.
 *
 * Input: {"item": "lamp", "price": 30, "address": "Main Street 1"}
 */
#include <taskhub.h>

#include <string.h>

static int reserve(struct th_activity *activity)
{
    const char *item = json_string_value(json_object_get(th_activity_input(activity), "item"));

    if (!item)
        return th_activity_fail_for_good(activity, "BadOrder", "the order names no item");
    return th_activity_return(activity, json_sprintf("reservation of one %s", item));
}

/* The key is the same if this very step is tried again: a payment service that remembers keys
 * never charges twice. */
static int charge(struct th_activity *activity)
{
    json_t *order = th_activity_input(activity);
    double price = json_number_value(json_object_get(order, "price"));

    if (price > 1000)
        return th_activity_fail_for_good(activity, "CardDeclined", "no cover for %.2f", price);
    return th_activity_return(
        activity, json_pack("{s:s, s:f}", "payment", th_activity_key(activity), "price", price));
}

static int ship(struct th_activity *activity)
{
    json_t *order = th_activity_input(activity);
    const char *address = json_string_value(json_object_get(order, "address"));

    if (!address || !*address)
        return th_activity_fail_for_good(activity, "NoAddress", "where should it go?");
    return th_activity_return(activity, json_sprintf("on its way to %s", address));
}

static int undo(struct th_activity *activity)
{
    const char *what = th_activity_name(activity);

    th_activity_log(activity, "%s done", what);
    return th_activity_return(activity, json_string(what));
}

static int order(struct th_context *ctx)
{
    struct th_retry thrice = {.max_attempts = 3, .first_interval_ms = 500};
    struct th_options options = {.retry = &thrice};
    json_t *input = th_input(ctx);
    json_auto_t *reservation = th_call(ctx, "reserve", json_incref(input));

    if (!reservation)
        return TH_FAILED;

    json_auto_t *payment = th_call_with(ctx, "charge", json_incref(input), &options);
    if (!payment) {
        json_decref(th_call(ctx, "release", json_incref(reservation)));
        return TH_FAILED; /* with the failure of "charge" */
    }

    json_auto_t *parcel = th_call(ctx, "ship", json_incref(input));
    if (!parcel) {
        json_decref(th_call(ctx, "refund", json_incref(payment)));
        json_decref(th_call(ctx, "release", json_incref(reservation)));
        return TH_FAILED;
    }
    return th_return_new(ctx, json_pack("{s:O, s:O, s:O}", "reservation", reservation, "payment",
                                        payment, "parcel", parcel));
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "order", order);
    th_activity(app, "reserve", reserve);
    th_activity(app, "charge", charge);
    th_activity(app, "ship", ship);
    th_activity(app, "release", undo);
    th_activity(app, "refund", undo);
}
