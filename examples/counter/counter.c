/*
 * Counter: the smallest entity. Each counter is a number with a name; operations on one run one at
 * a time, so that nothing is lost when many add to it at once.
 */
#include <taskhub.h>

static json_int_t value_of(struct th_entity *counter)
{
    json_auto_t *state = th_entity_state_or(counter, json_integer(0));

    return json_integer_value(state);
}

static int add(struct th_entity *counter)
{
    json_t *amount = th_entity_input(counter);

    if (!json_is_integer(amount))
        return th_entity_fail(counter, "NoNumber", "add needs a whole number");
    json_int_t value = value_of(counter) + json_integer_value(amount);
    if (th_entity_set_state(counter, json_integer(value)))
        return TH_FAILED;
    return th_entity_return(counter, json_integer(value));
}

static int reset(struct th_entity *counter)
{
    return th_entity_set_state(counter, json_integer(0));
}

static int get(struct th_entity *counter)
{
    return th_entity_return(counter, json_integer(value_of(counter)));
}

/* Calls give results, so an orchestrator can work with a counter as with a variable. Its input is
 * a key. */
static int double_it(struct th_context *ctx)
{
    char id[TH_ENTITY_ID_SIZE];
    const char *key = json_string_value(th_input(ctx));

    th_make_entity_id(id, "counter", key ? key : "");
    json_t *value = th_call_entity(ctx, id, "get", NULL);
    return th_return_new(ctx, value ? th_call_entity(ctx, id, "add", value) : NULL);
}

/* POST /api/counters/{key}/{amount}: a client signals and does not wait. */
static int count(struct th_request *request)
{
    struct th_client *client = th_request_client(request);
    const char *amount = th_request_param(request, "amount");
    struct th_client_error error;
    char id[TH_ENTITY_ID_SIZE];

    th_make_entity_id(id, "counter", th_request_param(request, "key"));
    if (!th_client_signal_entity(client, id, "add", json_loads(amount, JSON_DECODE_ANY, NULL), 0,
                                 &error))
        return th_respond_error(request, &error);
    return th_respond_text(request, 202, "it will be counted");
}

/* GET /api/counters */
static int list(struct th_request *request)
{
    const struct th_entity_query counters = {.name = "counter", .states = true};
    struct th_client_error error;
    json_t *found = th_client_list_entities(th_request_client(request), &counters, &error);

    return found ? th_respond_json(request, 200, found) : th_respond_error(request, &error);
}

/* GET /api/counters/{key} */
static int show(struct th_request *request)
{
    struct th_client_error error;
    char id[TH_ENTITY_ID_SIZE];

    th_make_entity_id(id, "counter", th_request_param(request, "key"));
    json_t *value = th_client_entity_state(th_request_client(request), id, &error);
    return value ? th_respond_json(request, 200, value) : th_respond_error(request, &error);
}

TH_APPLICATION(app)
{
    static const struct th_method methods[] = {
        {"add", add}, {"reset", reset}, {"get", get}, {NULL, NULL}};

    th_entity_methods(app, "counter", methods);
    th_orchestrator(app, "double_it", double_it);
    th_http_route(app, "POST", "counters/{key}/{amount}", count);
    th_http_route(app, "GET", "counters/{key}", show);
    th_http_route(app, "GET", "counters", list);
}
