/*
 * The relay against a fake of another process, which takes what it is sent, or is late, refuses or
 * vanishes. Programs are connected to the hub's own endpoint.
 */
#include "rpc/relay.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "rpc/endpoint.h"
#include "rpc/work.h"
#include "unit/base_test.h"
#include "unit/grpc_wire.h"

#define SERVICE "/TaskHubSidecarService/"
#define FIRST   "11111111111111111111111111111111"
#define SECOND  "22222222222222222222222222222222"

enum { MOST = 32 };

static const struct th_grpc_metadata none;

/* ---- the other process ---- */

static struct {
    struct th_grpc_server *server;
    int port;
    pthread_mutex_t lock;        /* of what follows */
    enum th_grpc_status refusal; /* of streams; OK: they are taken */
    bool late;                   /* answers are kept waiting */
    struct th_grpc_call *stream; /* the newest; referenced */
    struct th_blob *asked;       /* what it asks for */
    size_t streams, streams_ended;
    th_time began[MOST];
    char hub[64], name[64], key[64]; /* of the newest stream */
    struct told {
        const char *method;
        char token[64], result[64];
        struct th_grpc_call *waits; /* for its acknowledgement; referenced */
    } told[MOST];
    size_t told_count;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void copy_field(char *out, const struct th_grpc_request *request, const char *name)
{
    snprintf(out, sizeof(fake.hub), "%.*s", TH_PRI(th_grpc_metadata_get(request->metadata, name)));
}

static void on_stream(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    pthread_mutex_lock(&fake.lock);
    assert_true(fake.streams < MOST);
    copy_field(fake.hub, request, "taskhub");
    copy_field(fake.name, request, "x-taskhub-relay");
    copy_field(fake.key, request, "authorization");
    fake.began[fake.streams++] = th_monotonic();
    pthread_mutex_unlock(&fake.lock);
}

static void on_asked(struct th_grpc_call *call, struct th_blob *message)
{
    pthread_mutex_lock(&fake.lock);
    enum th_grpc_status refusal = fake.refusal;
    if (refusal == TH_GRPC_OK) {
        th_blob_unref(fake.asked);
        th_grpc_unref(fake.stream);
        fake.asked = th_blob_ref(message);
        fake.stream = th_grpc_ref(call);
        th_grpc_headers(call, none);
    }
    pthread_mutex_unlock(&fake.lock);
    if (refusal != TH_GRPC_OK) {
        th_grpc_finish(call, refusal, TH_STR("not here"), none);
    }
}

static void on_stream_ended(struct th_grpc_call *call, enum th_grpc_end why)
{
    pthread_mutex_lock(&fake.lock);
    fake.streams_ended++;
    pthread_mutex_unlock(&fake.lock);
}

static void acknowledge(struct th_grpc_call *call)
{
    struct th_blob *nothing = th_blob_new("", 0);
    th_grpc_send(call, nothing);
    th_blob_unref(nothing);
    th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), none);
}

static void read_told(struct told *told, const char *method, struct th_blob *message)
{
    TH_ARENA arena = {0};
    struct th_error error;
    told->method = method;
    if (strcmp(method, "CompleteActivityTask") == 0) {
        const ActivityResponse *r =
            th_rpc_unpack(&arena, &activity_response__descriptor, th_blob_view(message), &error);
        snprintf(told->token, sizeof(told->token), "%s", r->completion_token);
        snprintf(told->result, sizeof(told->result), "%s", r->result ? r->result->value : "");
    } else {
        const AbandonOrchestrationTaskRequest *r = th_rpc_unpack(
            &arena, &abandon_orchestration_task_request__descriptor, th_blob_view(message), &error);
        snprintf(told->token, sizeof(told->token), "%s", r->completion_token);
    }
}

static void on_told(struct th_grpc_call *call, struct th_blob *message)
{
    pthread_mutex_lock(&fake.lock);
    assert_true(fake.told_count < MOST);
    struct told *told = &fake.told[fake.told_count++];
    read_told(told, th_grpc_user(call), message);
    told->waits = fake.late ? th_grpc_ref(call) : NULL;
    pthread_mutex_unlock(&fake.lock);
    if (!told->waits) {
        acknowledge(call);
    }
}

static const struct th_grpc_handler stream_of_fake = {
    .begin = on_stream, .message = on_asked, .ended = on_stream_ended};
static const struct th_grpc_handler telling = {.message = on_told};

static void fake_start(void)
{
    static char complete[] = "CompleteActivityTask", abandon[] = "AbandonTaskOrchestratorWorkItem";
    static const struct th_grpc_method methods[] = {
        {SERVICE "GetWorkItems", &stream_of_fake, NULL, true},
        {SERVICE "CompleteActivityTask", &telling, complete, true},
        {SERVICE "AbandonTaskOrchestratorWorkItem", &telling, abandon, true},
    };
    struct th_error error = {0};
    const struct th_grpc_server_options options = {
        .methods = methods, .method_count = TH_COUNT(methods), .port = fake.port};
    fake.server = th_grpc_server_start(&options, &error);
    if (!fake.server) {
        fail_msg("%s", error.message);
    }
    fake.port = th_grpc_server_port(fake.server);
}

static void fake_stop(void)
{
    th_grpc_server_stop(fake.server, 0);
    fake.server = NULL;
}

static void fake_forget(void)
{
    for (size_t i = 0; i < fake.told_count; i++) {
        th_grpc_unref(fake.told[i].waits);
        fake.told[i] = (struct told){.method = NULL};
    }
    th_grpc_unref(fake.stream);
    th_blob_unref(fake.asked);
    fake.stream = NULL;
    fake.asked = NULL;
    fake.told_count = fake.streams = fake.streams_ended = 0;
    fake.refusal = TH_GRPC_OK;
    fake.late = false;
    fake.port = 0;
}

static size_t figure(const size_t *of)
{
    pthread_mutex_lock(&fake.lock);
    size_t value = *of;
    pthread_mutex_unlock(&fake.lock);
    return value;
}

static void fake_send(struct th_str bytes)
{
    struct th_blob *message = th_blob_new(bytes.data, bytes.len);
    pthread_mutex_lock(&fake.lock);
    th_grpc_send(fake.stream, message);
    pthread_mutex_unlock(&fake.lock);
    th_blob_unref(message);
}

static void fake_gives(const char *activity, const char *token)
{
    const struct th_activity_work work = {.instance_id = TH_STR("i"),
                                          .execution_id = TH_STR("e"),
                                          .name = th_str_of(activity),
                                          .input = TH_STR("1")};
    struct th_blob *item = th_rpc_activity_item(&work, th_str_of(token));
    fake_send(th_blob_view(item));
    th_blob_unref(item);
}

static void fake_acknowledges(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.late = false;
    for (size_t i = 0; i < fake.told_count; i++) {
        if (fake.told[i].waits) {
            acknowledge(fake.told[i].waits);
        }
    }
    pthread_mutex_unlock(&fake.lock);
}

/* Whether the newest stream asks for this activity. */
static bool fake_is_asked_for(const char *activity)
{
    TH_ARENA arena = {0};
    struct th_error error;
    bool found = false;
    pthread_mutex_lock(&fake.lock);
    const GetWorkItemsRequest *r = fake.asked
                                       ? th_rpc_unpack(&arena, &get_work_items_request__descriptor,
                                                       th_blob_view(fake.asked), &error)
                                       : NULL;
    for (size_t i = 0; r && i < r->work_item_filters->n_activities; i++) {
        found |= strcmp(r->work_item_filters->activities[i]->name, activity) == 0;
    }
    pthread_mutex_unlock(&fake.lock);
    return found;
}

/* ---- this process ---- */

struct rig {
    struct th_hub_record record;
    struct th_gateway gateway;
    struct th_rpc_hub *hub;
    struct th_rpc_endpoint *endpoint;
    struct th_relay *relay;
    struct grpc_wire *wire;    /* programs' */
    struct grpc_reply *stream; /* of the one that takes "work" */
    char token[64];            /* of the last item that came */
};

static int rig_begin(void **state)
{
    struct rig *rig = TH_NEW(struct rig);
    struct th_error error = {0};
    strcpy(rig->record.name, "Relayed");
    rig->gateway.hub = &rig->record;
    rig->hub = th_rpc_hub_new(&(struct th_rpc_hub_options){.nonce = 7});
    th_rpc_hub_open(rig->hub, &rig->gateway);
    rig->endpoint = th_rpc_endpoint_start(
        &(struct th_rpc_endpoint_options){.hubs = &rig->hub, .hub_count = 1}, &error);
    assert_non_null(rig->endpoint);
    rig->wire = grpc_wire_open("127.0.0.1", th_rpc_endpoint_port(rig->endpoint), NULL);
    assert_non_null(rig->wire);
    fake_start();
    rig->relay = th_relay_start(
        &(struct th_relay_options){
            .hub = rig->hub, .hub_name = "Relayed", .name = "worker-1", .key = "secret"},
        &error);
    assert_non_null(rig->relay);
    *state = rig;
    return 0;
}

static int rig_end(void **state)
{
    struct rig *rig = *state;
    th_relay_stop(rig->relay);
    grpc_wire_close(rig->wire);
    th_rpc_endpoint_stop(rig->endpoint);
    th_rpc_hub_free(rig->hub);
    fake_stop();
    fake_forget();
    free(rig);
    return 0;
}

static void set_peer(struct rig *rig, bool there)
{
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", fake.port);
    const struct th_str urls[] = {th_str_of(url)};
    th_relay_set_peers(rig->relay, urls, there ? 1 : 0);
}

static struct grpc_reply *call(struct rig *rig, const char *path, const ProtobufCMessage *message)
{
    struct th_blob *bytes = th_rpc_pack(message);
    struct grpc_reply *reply =
        grpc_client_unary(rig->wire->client, path, NULL, th_blob_view(bytes));
    th_blob_unref(bytes);
    return reply;
}

/* A program that takes one activity. Its stream is open once headers have come. */
static struct grpc_reply *take(struct rig *rig, const char *activity)
{
    GetWorkItemsRequest request = GET_WORK_ITEMS_REQUEST__INIT;
    WorkItemFilters filters = WORK_ITEM_FILTERS__INIT;
    ActivityFilter filter = ACTIVITY_FILTER__INIT, *all = &filter;
    filter.name = (char *)activity;
    filters.activities = &all;
    filters.n_activities = 1;
    request.work_item_filters = &filters;
    struct grpc_reply *stream = call(rig, SERVICE "GetWorkItems", &request.base);
    grpc_wire_until(rig->wire, stream->http == 200);
    return stream;
}

/* One that takes "work", and the peer whose stream asks for it. */
static void connect_all(struct rig *rig)
{
    rig->stream = take(rig, "work");
    set_peer(rig, true);
    grpc_wire_until(rig->wire, fake_is_asked_for("work"));
}

static void await_item(struct rig *rig)
{
    TH_ARENA arena = {0};
    struct th_error error;
    struct th_str bytes = TH_STR_ABSENT;
    grpc_wire_until(rig->wire,
                    th_str_present(bytes) || th_str_present(bytes = grpc_reply_next(rig->stream)));
    const WorkItem *item = th_rpc_unpack(&arena, &work_item__descriptor, bytes, &error);
    assert_non_null(item);
    assert_int_equal(item->request_case, WORK_ITEM__REQUEST_ACTIVITY_REQUEST);
    assert_string_equal(item->activity_request->name, "work");
    snprintf(rig->token, sizeof(rig->token), "%s", item->completion_token);
}

/* The last item's; the program is always told OK. */
static void answer(struct rig *rig, const char *result)
{
    ActivityResponse response = ACTIVITY_RESPONSE__INIT;
    Google__Protobuf__StringValue value = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    value.value = (char *)result;
    response.instance_id = (char *)"i";
    response.result = &value;
    response.completion_token = rig->token;
    struct grpc_reply *reply = call(rig, SERVICE "CompleteActivityTask", &response.base);
    assert_true(grpc_wire_finish(rig->wire, reply));
    assert_int_equal(reply->status, TH_GRPC_OK);
}

static void expect_told(struct rig *rig, size_t place, const char *method, const char *token,
                        const char *result)
{
    grpc_wire_until(rig->wire, figure(&fake.told_count) > place);
    assert_string_equal(fake.told[place].method, method);
    assert_string_equal(fake.told[place].token, token);
    assert_string_equal(fake.told[place].result, result);
}

/* ---- tests ---- */

static void work_comes_and_answers_go_back(void **state)
{
    struct rig *rig = *state;
    connect_all(rig);
    assert_string_equal(fake.hub, "Relayed");
    assert_string_equal(fake.name, "worker-1");
    assert_string_equal(fake.key, "Bearer secret");
    fake_gives("work", FIRST);
    await_item(rig);
    assert_string_not_equal(rig->token, FIRST); /* this hub's own */
    answer(rig, "one");
    expect_told(rig, 0, "CompleteActivityTask", FIRST, "one");
}

static void what_nobody_here_takes_is_given_back(void **state)
{
    struct rig *rig = *state;
    connect_all(rig);
    fake_gives("other", FIRST);
    expect_told(rig, 0, "AbandonTaskOrchestratorWorkItem", FIRST, "");
    fake_gives("work", SECOND);
    await_item(rig);
}

/* The one that served it is gone, and with it all that was to be relayed. */
static void a_program_that_leaves_ends_its_part(void **state)
{
    struct rig *rig = *state;
    connect_all(rig);
    fake_gives("work", FIRST);
    await_item(rig);
    grpc_client_reset(rig->stream, NGHTTP2_CANCEL);
    grpc_wire_until(rig->wire, figure(&fake.streams_ended) == 1); /* so it gives it to others */
    assert_int_equal(figure(&fake.streams), 1);
    rig->stream = take(rig, "work");
    grpc_wire_until(rig->wire, figure(&fake.streams) == 2);
}

static void a_peer_of_another_hub_is_asked_again(void **state)
{
    struct rig *rig = *state;
    fake.refusal = TH_GRPC_NOT_FOUND;
    rig->stream = take(rig, "work");
    set_peer(rig, true);
    grpc_wire_until(rig->wire, figure(&fake.streams) >= 4);
    for (size_t i = 1; i < 4; i++) { /* 50 ms, doubled */
        assert_true(fake.began[i] - fake.began[i - 1] >= (25 << i) * TH_MILLISECOND);
    }
    pthread_mutex_lock(&fake.lock);
    fake.refusal = TH_GRPC_OK;
    pthread_mutex_unlock(&fake.lock);
    grpc_wire_until(rig->wire, fake_is_asked_for("work"));
    fake_gives("work", FIRST);
    await_item(rig);
    answer(rig, "one");
    expect_told(rig, 0, "CompleteActivityTask", FIRST, "one");
}

/* What it had given is its others' then; what it gives when it is back is new. */
static void a_peer_vanishes_and_comes_back(void **state)
{
    struct rig *rig = *state;
    char old[64];
    connect_all(rig);
    fake_gives("work", FIRST);
    await_item(rig);
    strcpy(old, rig->token);
    fake_stop();
    fake_start(); /* at the same port */
    grpc_wire_until(rig->wire, figure(&fake.streams) == 2 && fake_is_asked_for("work"));
    fake_gives("work", SECOND);
    await_item(rig);
    assert_string_not_equal(rig->token, old);
    answer(rig, "two");
    expect_told(rig, 0, "CompleteActivityTask", SECOND, "two");
    strcpy(rig->token, old);
    answer(rig, "late");
    fake_gives("work", FIRST); /* behind it */
    await_item(rig);
    answer(rig, "one");
    expect_told(rig, 1, "CompleteActivityTask", FIRST, "one");
}

/* While an answer is on its way the stream stays, or the work would be given to others. */
static void a_late_peer_keeps_its_stream(void **state)
{
    struct rig *rig = *state;
    connect_all(rig);
    fake.late = true;
    fake_gives("work", FIRST);
    await_item(rig);
    answer(rig, "one");
    expect_told(rig, 0, "CompleteActivityTask", FIRST, "one");
    take(rig, "other"); /* something else is to be asked for, too */
    grpc_wire_until(rig->wire, figure(&fake.streams) == 2 && fake_is_asked_for("other"));
    fake_acknowledges();
    assert_int_equal(figure(&fake.streams_ended), 0);
}

static void a_late_peer_does_not_hold_up_the_end(void **state)
{
    struct rig *rig = *state;
    connect_all(rig);
    fake.late = true;
    fake_gives("work", FIRST);
    await_item(rig);
    answer(rig, "one");
    expect_told(rig, 0, "CompleteActivityTask", FIRST, "one");
    th_time before = th_monotonic();
    th_relay_stop(rig->relay);
    rig->relay = NULL;
    assert_true(th_monotonic() - before < 10 * TH_SECOND);
}

static void a_peer_that_is_no_longer_one_is_left(void **state)
{
    struct rig *rig = *state;
    connect_all(rig);
    fake_gives("work", FIRST);
    await_item(rig);
    set_peer(rig, false); /* what is in hand is still brought to its end */
    answer(rig, "one");
    expect_told(rig, 0, "CompleteActivityTask", FIRST, "one");
    grpc_wire_until(rig->wire, figure(&fake.streams_ended) == 1);
    set_peer(rig, true);
    grpc_wire_until(rig->wire, figure(&fake.streams) == 2 && fake_is_asked_for("work"));
    fake_gives("work", SECOND);
    await_item(rig);
    answer(rig, "two");
    expect_told(rig, 1, "CompleteActivityTask", SECOND, "two");
}

static void nonsense_is_passed_over(void **state)
{
    struct rig *rig = *state;
    char bytes[64];
    connect_all(rig);
    memset(bytes, 0xff, sizeof(bytes));
    fake_send(th_str_n(bytes, sizeof(bytes)));
    fake_send(TH_STR("ping"));
    fake_gives("work", FIRST);
    await_item(rig);
    answer(rig, "one");
    expect_told(rig, 0, "CompleteActivityTask", FIRST, "one");
    assert_int_equal(figure(&fake.streams), 1);
}

int main(void)
{
#define RELAY(test) cmocka_unit_test_setup_teardown(test, rig_begin, rig_end)
    const struct CMUnitTest tests[] = {
        RELAY(work_comes_and_answers_go_back),
        RELAY(what_nobody_here_takes_is_given_back),
        RELAY(a_program_that_leaves_ends_its_part),
        RELAY(a_peer_of_another_hub_is_asked_again),
        RELAY(a_peer_vanishes_and_comes_back),
        RELAY(a_late_peer_keeps_its_stream),
        RELAY(a_late_peer_does_not_hold_up_the_end),
        RELAY(a_peer_that_is_no_longer_one_is_left),
        RELAY(nonsense_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
