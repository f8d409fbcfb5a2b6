/* A relay between a peer that the test plays and a hub with one program, on real sockets; and how
 * that hub comes to rest. */
#include "rpc/relay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "unit/base_test.h"

#include "base/memory.h"
#include "rpc/endpoint.h"
#include "rpc/message.h"
#include "unit/grpc_wire.h"

#define SERVICE "/TaskHubSidecarService/"
#define TOKEN   "0123456789abcdef0123456789abcdef" /* the peer's, of what it sends */

static const struct th_grpc_metadata none;

/* ---- the peer ---- */

static struct {
    pthread_mutex_t mutex;
    struct th_grpc_call *stream; /* the last one; referenced */
    unsigned streams, ended, answers;
    enum th_grpc_status status; /* of the next answer */
} peer = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void on_stream(struct th_grpc_call *call, struct th_blob *message)
{
    struct th_blob *ping = th_blob_new("", 0);
    pthread_mutex_lock(&peer.mutex);
    th_grpc_unref(peer.stream);
    peer.stream = th_grpc_ref(call);
    peer.streams++;
    pthread_mutex_unlock(&peer.mutex);
    th_grpc_send(call, ping);
    th_blob_unref(ping);
}

static void on_answer(struct th_grpc_call *call, struct th_blob *message)
{
    pthread_mutex_lock(&peer.mutex);
    peer.answers++;
    th_grpc_finish(call, peer.status, TH_STR(""), none);
    pthread_mutex_unlock(&peer.mutex);
}

static void on_ended(struct th_grpc_call *call, enum th_grpc_end why)
{
    pthread_mutex_lock(&peer.mutex);
    peer.ended++;
    pthread_mutex_unlock(&peer.mutex);
}

static const struct th_grpc_handler streams = {.message = on_stream, .ended = on_ended};
static const struct th_grpc_handler answers = {.message = on_answer};
static const struct th_grpc_method methods[] = {
    {.path = SERVICE "GetWorkItems", .handler = &streams, .single_request = true},
    {.path = SERVICE "CompleteActivityTask", .handler = &answers, .single_request = true},
};

static unsigned figure(const unsigned *of_peer)
{
    pthread_mutex_lock(&peer.mutex);
    unsigned value = *of_peer;
    pthread_mutex_unlock(&peer.mutex);
    return value;
}

static void set_status(enum th_grpc_status status)
{
    pthread_mutex_lock(&peer.mutex);
    peer.status = status;
    pthread_mutex_unlock(&peer.mutex);
}

static struct th_blob *activity(void)
{
    WorkItem item;
    ActivityRequest request;
    OrchestrationInstance instance;
    work_item__init(&item);
    activity_request__init(&request);
    orchestration_instance__init(&instance);
    instance.instance_id = (char *)"one";
    request.name = (char *)"work";
    request.orchestration_instance = &instance;
    item.request_case = WORK_ITEM__REQUEST_ACTIVITY_REQUEST;
    item.activity_request = &request;
    item.completion_token = (char *)TOKEN;
    return th_rpc_pack(&item.base);
}

static void send_activity(void)
{
    struct th_blob *item = activity();
    pthread_mutex_lock(&peer.mutex);
    th_grpc_send(peer.stream, item);
    pthread_mutex_unlock(&peer.mutex);
    th_blob_unref(item);
}

/* ---- everything else ---- */

struct rig {
    struct th_grpc_server *server;
    struct th_rpc_hub *hub;
    struct th_rpc_endpoint *endpoint;
    struct th_relay *relay;
    struct grpc_wire *program;
    struct grpc_reply *work;
};

/* A program that takes this activity, and nothing else. */
static struct grpc_reply *ask_for_work(struct rig *rig, const char *name)
{
    GetWorkItemsRequest request;
    WorkItemFilters filters;
    ActivityFilter filter, *one = &filter;
    get_work_items_request__init(&request);
    work_item_filters__init(&filters);
    activity_filter__init(&filter);
    filter.name = (char *)name;
    filters.activities = &one;
    filters.n_activities = 1;
    request.work_item_filters = &filters;
    struct th_blob *message = th_rpc_pack(&request.base);
    struct grpc_reply *reply = grpc_client_unary(rig->program->client, SERVICE "GetWorkItems", NULL,
                                                 th_blob_view(message));
    th_blob_unref(message);
    return reply;
}

static void rig_start(struct rig *rig)
{
    struct th_error error = {0};
    char url[64];
    rig->server = th_grpc_server_start(
        &(struct th_grpc_server_options){.methods = methods, .method_count = TH_COUNT(methods)},
        &error);
    assert_non_null(rig->server);
    rig->hub = th_rpc_hub_new(&(struct th_rpc_hub_options){.nonce = 7});
    rig->endpoint = th_rpc_endpoint_start(
        &(struct th_rpc_endpoint_options){.hubs = &rig->hub, .hub_count = 1}, &error);
    assert_non_null(rig->endpoint);
    rig->relay = th_relay_start(
        &(struct th_relay_options){.hub = rig->hub, .hub_name = "Relayed", .name = "test"}, &error);
    assert_non_null(rig->relay);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", th_grpc_server_port(rig->server));
    struct th_str peers[] = {th_str_of(url)};
    th_relay_set_peers(rig->relay, peers, 1);
    rig->program = grpc_wire_open("127.0.0.1", th_rpc_endpoint_port(rig->endpoint), NULL);
    assert_non_null(rig->program);
    rig->work = ask_for_work(rig, "work");
    grpc_wire_until(rig->program, figure(&peer.streams) == 1);
}

static void rig_stop(struct rig *rig)
{
    grpc_wire_close(rig->program);
    th_relay_stop(rig->relay);
    th_rpc_endpoint_stop(rig->endpoint);
    th_rpc_hub_free(rig->hub);
    th_grpc_unref(peer.stream);
    th_grpc_server_stop(rig->server, 0);
    peer.stream = NULL;
    peer.streams = peer.ended = peer.answers = 0;
}

/* What the program was sent; until more comes for it. */
static struct th_str take_item(struct rig *rig)
{
    struct th_str item = {0};
    grpc_wire_until(rig->program, item.len > 0 || (item = grpc_reply_next(rig->work)).len > 0);
    return item;
}

/* The program has done it. */
static void answer(struct rig *rig, struct th_str item)
{
    TH_ARENA arena = {0};
    struct th_error error;
    const WorkItem *work = th_rpc_unpack(&arena, &work_item__descriptor, item, &error);
    assert_non_null(work);
    ActivityResponse response;
    activity_response__init(&response);
    response.instance_id = (char *)"one";
    response.completion_token = work->completion_token;
    struct th_blob *message = th_rpc_pack(&response.base);
    struct grpc_reply *reply = grpc_client_unary(
        rig->program->client, SERVICE "CompleteActivityTask", NULL, th_blob_view(message));
    th_blob_unref(message);
    assert_true(grpc_wire_finish(rig->program, reply));
    assert_int_equal(reply->status, TH_GRPC_OK);
}

static void do_work(struct rig *rig)
{
    answer(rig, take_item(rig));
}

/* ---- answers ---- */

static void an_answer_gets_back(void **state)
{
    struct rig rig;
    set_status(TH_GRPC_OK);
    rig_start(&rig);
    send_activity();
    do_work(&rig);
    grpc_wire_until(rig.program, figure(&peer.answers) == 1);
    send_activity();
    do_work(&rig);
    grpc_wire_until(rig.program, figure(&peer.answers) == 2);
    assert_int_equal(figure(&peer.streams), 1);
    rig_stop(&rig);
}

/* The peer would wait for ever for work that it believes to be here: with the stream it learns that
 * it is not. */
static void a_lost_answer_ends_the_stream(void **state)
{
    struct rig rig;
    set_status(TH_GRPC_UNAVAILABLE);
    rig_start(&rig);
    send_activity();
    do_work(&rig);
    grpc_wire_until(rig.program, figure(&peer.streams) == 2);
    set_status(TH_GRPC_OK);
    send_activity();
    do_work(&rig);
    grpc_wire_until(rig.program, figure(&peer.answers) == 2);
    rig_stop(&rig);
}

/* It came, and made no sense; the peer has dealt with it. */
static void a_refused_answer_does_not(void **state)
{
    struct rig rig;
    set_status(TH_GRPC_INVALID_ARGUMENT);
    rig_start(&rig);
    send_activity();
    do_work(&rig);
    send_activity();
    do_work(&rig);
    grpc_wire_until(rig.program, figure(&peer.answers) == 2);
    assert_int_equal(figure(&peer.streams), 1);
    rig_stop(&rig);
}

/* What a program has in hand goes on when others come: one like it needs nothing of the peer, and
 * one of another kind has a stream of its own. */
static void other_programs_change_nothing(void **state)
{
    struct rig rig;
    set_status(TH_GRPC_OK);
    rig_start(&rig);
    send_activity();
    struct th_str item = take_item(&rig);
    struct grpc_reply *more = ask_for_work(&rig, "work");
    grpc_wire_until(rig.program, more->http == 200);
    ask_for_work(&rig, "other");
    grpc_wire_until(rig.program, figure(&peer.streams) == 2);
    assert_int_equal(figure(&peer.ended), 0);
    answer(&rig, item);
    grpc_wire_until(rig.program, figure(&peer.answers) == 1);
    assert_int_equal(figure(&peer.ended), 0);
    rig_stop(&rig);
}

/* The stream for a program that is gone ends, and not before what it is still needed for. */
static void a_program_that_goes_takes_its_stream_along(void **state)
{
    struct rig rig;
    set_status(TH_GRPC_OK);
    rig_start(&rig);
    struct grpc_reply *other = ask_for_work(&rig, "other");
    grpc_wire_until(rig.program, figure(&peer.streams) == 2);
    send_activity(); /* by the other's stream */
    struct th_str item = take_item(&rig);
    grpc_client_reset(other, NGHTTP2_CANCEL);
    struct grpc_reply *third = ask_for_work(&rig, "third");
    grpc_wire_until(rig.program, third->http == 200 && figure(&peer.streams) == 3);
    assert_int_equal(figure(&peer.ended), 0);
    answer(&rig, item);
    grpc_wire_until(rig.program, figure(&peer.answers) == 1 && figure(&peer.ended) == 1);
    rig_stop(&rig);
}

/* ---- rest ---- */

struct rest {
    struct rig *rig;
    pthread_t thread;
    atomic_bool over;
};

static void *rest_main(void *argument)
{
    struct rest *rest = argument;
    th_rpc_quiet(rest->rig->hub, th_monotonic() + 3600 * TH_SECOND);
    atomic_store(&rest->over, true);
    return NULL;
}

static bool is_quiet(struct th_rpc_hub *hub)
{
    size_t count;
    struct th_blob **functions = th_rpc_functions(hub, &count);
    for (size_t i = 0; i < count; i++)
        th_blob_unref(functions[i]);
    free(functions);
    return count == 0;
}

/* From now on th_rpc_quiet waits for what the program has. */
static void rest_begin(struct rest *rest, struct rig *rig)
{
    *rest = (struct rest){.rig = rig};
    assert_int_equal(pthread_create(&rest->thread, NULL, rest_main, rest), 0);
    grpc_wire_until(rig->program, is_quiet(rig->hub));
    assert_false(atomic_load(&rest->over));
}

static void rest_end(struct rest *rest)
{
    grpc_wire_until(rest->rig->program, atomic_load(&rest->over));
    pthread_join(rest->thread, NULL);
}

static void a_relayed_answer_is_the_last(void **state)
{
    struct rig rig;
    struct rest rest;
    set_status(TH_GRPC_OK);
    rig_start(&rig);
    send_activity();
    struct th_str item = take_item(&rig);
    rest_begin(&rest, &rig);
    answer(&rig, item);
    rest_end(&rest);
    rig_stop(&rig);
}

static void canceled_work_is_the_last(void **state)
{
    static const struct th_rpc_owner owner;
    const struct th_activity_work work = {
        .token = 1, .name = TH_STR("work"), .instance_id = TH_STR("two"), .task_id = 0};
    struct rig rig;
    struct rest rest;
    rig_start(&rig);
    th_rpc_join(rig.hub, &owner);
    th_rpc_activity(rig.hub, &owner, &work);
    take_item(&rig);
    rest_begin(&rest, &rig);
    th_rpc_activity_canceled(rig.hub, &owner, work.token);
    rest_end(&rest);
    th_rpc_leave(rig.hub, &owner);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_gets_back),
        cmocka_unit_test(a_lost_answer_ends_the_stream),
        cmocka_unit_test(a_refused_answer_does_not),
        cmocka_unit_test(other_programs_change_nothing),
        cmocka_unit_test(a_program_that_goes_takes_its_stream_along),
        cmocka_unit_test(a_relayed_answer_is_the_last),
        cmocka_unit_test(canceled_work_is_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
