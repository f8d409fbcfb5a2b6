#include "rpc/client.h"
#include "rpc/dapr.pb-c.h"

#include "unit/base_test.h"

#include "base/memory.h"

#define EXCHANGE(x) __attribute__((cleanup(th_rpc_end))) struct th_rpc_exchange x = {0}

/* Only for building requests. */
static struct th_arena built;

static int free_built(void **state)
{
    th_arena_deinit(&built);
    return 0;
}

static Google__Protobuf__StringValue *value(const char *text)
{
    return th_rpc_value(&built, th_str_of(text));
}

static enum th_rpc_step begin(struct th_rpc_exchange *x, const char *method, const void *request)
{
    struct th_blob *bytes = th_rpc_pack(request);
    const struct th_rpc_method *m = th_rpc_method(th_str_of(method));
    assert_non_null(m);
    enum th_rpc_step step = th_rpc_begin(x, m, th_blob_view(bytes), 12345);
    th_blob_unref(bytes);
    return step;
}

static enum th_rpc_step answer(struct th_rpc_exchange *x, enum th_code code)
{
    struct th_reply reply = {.instance_id = TH_STR("i")};
    th_fail(&reply.error, code, code == TH_OK ? "" : "because");
    return th_rpc_reply(x, &reply);
}

static const void *response_of(struct th_rpc_exchange *x, const ProtobufCMessageDescriptor *kind)
{
    struct th_error error;
    assert_int_equal(x->status, TH_GRPC_OK);
    assert_non_null(x->response);
    const void *message = th_rpc_unpack(&x->arena, kind, th_blob_view(x->response), &error);
    assert_non_null(message);
    return message;
}

static bool says(const struct th_rpc_exchange *x, const char *words)
{
    return th_str_present(x->message) && strstr(x->message.data, words);
}

/* ---- the table ---- */

static void methods_are_found(void **state)
{
    size_t count = 0;
    for (; th_rpc_method_at(count); count++) {
        const struct th_rpc_method *m = th_rpc_method_at(count);
        assert_ptr_equal(th_rpc_method(th_str_of(th_rpc_method_name(m))), m);
        assert_non_null(th_rpc_method_request(m));
    }
    assert_int_equal(count, 22);
    assert_null(th_rpc_method(TH_STR("GetWorkItems")));
    assert_null(th_rpc_method(TH_STR("startinstance")));
}

static void bytes_that_are_no_request_are_refused(void **state)
{
    for (size_t i = 0; th_rpc_method_at(i); i++) {
        EXCHANGE(x);
        assert_int_equal(th_rpc_begin(&x, th_rpc_method_at(i), TH_STR("\x0a"), TH_TIME_NONE),
                         TH_RPC_DONE);
        assert_int_equal(x.status, TH_GRPC_INVALID_ARGUMENT);
        assert_true(says(&x, "cut off"));
        assert_null(x.response);
    }
}

/* ---- what each asks, and what becomes of each error ---- */

enum { OK = TH_GRPC_OK };

struct request {
    const char *method;
    const void *message;
    enum th_command_kind command;
    /* status by code: OK, INVALID, NOT_FOUND, EXISTS, PRECONDITION, GONE, TIMEOUT, UNAVAILABLE */
    int statuses[8];
};

static void errors_become_statuses(void **state)
{
    static const enum th_code codes[8] = {TH_OK,      TH_INVALID,      TH_NOT_FOUND,
                                          TH_EXISTS,  TH_PRECONDITION, TH_GONE,
                                          TH_TIMEOUT, TH_UNAVAILABLE};
    static CreateInstanceRequest create = CREATE_INSTANCE_REQUEST__INIT;
    static GetInstanceRequest get = GET_INSTANCE_REQUEST__INIT;
    static RaiseEventRequest raise = RAISE_EVENT_REQUEST__INIT;
    static TerminateRequest terminate = TERMINATE_REQUEST__INIT;
    static SuspendRequest suspend = SUSPEND_REQUEST__INIT;
    static ResumeRequest resume = RESUME_REQUEST__INIT;
    static RewindInstanceRequest rewind = REWIND_INSTANCE_REQUEST__INIT;
    static RestartInstanceRequest restart = RESTART_INSTANCE_REQUEST__INIT;
    static QueryInstancesRequest query = QUERY_INSTANCES_REQUEST__INIT;
    static ListInstanceIdsRequest ids = LIST_INSTANCE_IDS_REQUEST__INIT;
    static PurgeInstancesRequest purge = PURGE_INSTANCES_REQUEST__INIT;
    static SignalEntityRequest signal = SIGNAL_ENTITY_REQUEST__INIT;
    static GetEntityRequest entity = GET_ENTITY_REQUEST__INIT;
    static QueryEntitiesRequest entities = QUERY_ENTITIES_REQUEST__INIT;
    static StreamInstanceHistoryRequest history = STREAM_INSTANCE_HISTORY_REQUEST__INIT;
    static DaprListRequest all = DAPR_LIST_REQUEST__INIT;
    static DeleteTaskHubRequest hub = DELETE_TASK_HUB_REQUEST__INIT;
    create.name = raise.name = signal.name = (char *)"n";
    get.instance_id = raise.instance_id = terminate.instance_id = suspend.instance_id =
        resume.instance_id = rewind.instance_id = restart.instance_id = history.instance_id =
            (char *)"i";
    signal.instance_id = entity.instance_id = (char *)"@e@k";
    purge.request_case = PURGE_INSTANCES_REQUEST__REQUEST_INSTANCE_ID;
    purge.instance_id = (char *)"i";
    static const struct request requests[] = {
        {"StartInstance", &create, TH_COMMAND_START, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"GetInstance", &get, TH_COMMAND_STATUS, {-1, 3, OK, 6, 9, 9, 4, 14}},
        {"WaitForInstanceStart", &get, TH_COMMAND_WAIT, {-1, 3, OK, 6, 9, 9, 4, 14}},
        {"WaitForInstanceCompletion", &get, TH_COMMAND_WAIT, {-1, 3, OK, 6, 9, 9, 4, 14}},
        {"RaiseEvent", &raise, TH_COMMAND_RAISE, {OK, 3, OK, 6, 9, OK, 4, 14}},
        {"TerminateInstance", &terminate, TH_COMMAND_TERMINATE, {OK, 3, OK, 6, 9, OK, 4, 14}},
        {"SuspendInstance", &suspend, TH_COMMAND_SUSPEND, {OK, 3, 5, 6, 9, OK, 4, 14}},
        {"ResumeInstance", &resume, TH_COMMAND_RESUME, {OK, 3, 5, 6, 9, OK, 4, 14}},
        {"RewindInstance", &rewind, TH_COMMAND_REWIND, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"RestartInstance", &restart, TH_COMMAND_RESTART, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"QueryInstances", &query, TH_COMMAND_QUERY, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"ListInstanceIds", &ids, TH_COMMAND_QUERY, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"PurgeInstances", &purge, TH_COMMAND_PURGE, {OK, 3, OK, 6, OK, 9, 4, 14}},
        {"SignalEntity", &signal, TH_COMMAND_SIGNAL, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"GetEntity", &entity, TH_COMMAND_STATUS, {OK, 3, OK, 6, 9, 9, 4, 14}},
        {"QueryEntities", &entities, TH_COMMAND_QUERY, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"StreamInstanceHistory", &history, TH_COMMAND_STATUS, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"DeleteTaskHub", &hub, TH_COMMAND_QUERY, {-1, 3, 5, 6, 9, 9, 4, 14}},
        {"ListInstanceIDs", &all, TH_COMMAND_QUERY, {OK, 3, 5, 6, 9, 9, 4, 14}},
        {"GetInstanceHistory", &history, TH_COMMAND_STATUS, {OK, 3, 5, 6, 9, 9, 4, 14}},
    };
    for (size_t r = 0; r < TH_COUNT(requests); r++) {
        for (size_t c = 0; c < TH_COUNT(codes); c++) {
            EXCHANGE(x);
            if (requests[r].statuses[c] < 0) {
                continue; /* needs an instance, see below */
            }
            assert_int_equal(begin(&x, requests[r].method, requests[r].message), TH_RPC_COMMAND);
            assert_int_equal(x.command.kind, requests[r].command);
            assert_int_equal(answer(&x, codes[c]), TH_RPC_DONE);
            if ((int)x.status != requests[r].statuses[c]) {
                fail_msg("%s, %s: status %d", requests[r].method, th_code_text(codes[c]), x.status);
            }
            assert_int_equal(x.status == TH_GRPC_OK || says(&x, "because"), true);
        }
    }
}

/* ---- start ---- */

static void a_start_is_asked_for(void **state)
{
    EXCHANGE(x);
    CreateInstanceRequest r = CREATE_INSTANCE_REQUEST__INIT;
    TraceContext trace = TRACE_CONTEXT__INIT;
    CreateInstanceRequest__TagsEntry tag = CREATE_INSTANCE_REQUEST__TAGS_ENTRY__INIT, *tags = &tag;
    r.name = (char *)"Hello";
    r.version = value("2");
    r.input = value("");
    r.scheduled_start_timestamp = th_rpc_time(&built, 0); /* JavaScript's "now" */
    trace.trace_parent = (char *)"00-a-b-01";
    r.parent_trace_context = &trace;
    tag.key = (char *)"k";
    tag.value = (char *)"v";
    r.tags = &tags;
    r.n_tags = 1;
    assert_int_equal(begin(&x, "StartInstance", &r), TH_RPC_COMMAND);
    assert_false(th_str_present(x.command.instance_id)); /* the hub gives one */
    assert_str(x.command.name, "Hello");
    assert_str(x.command.version, "2");
    assert_true(th_str_present(x.command.data));
    assert_true(x.command.start_at == 0);
    assert_str(x.command.trace, "00-a-b-01");
    assert_int_equal(x.command.tags.count, 1);
    assert_int_equal(x.command.reuse, TH_REUSE_NEVER);
    assert_int_equal(answer(&x, TH_OK), TH_RPC_DONE);
    const CreateInstanceResponse *out = response_of(&x, &create_instance_response__descriptor);
    assert_string_equal(out->instance_id, "i");
}

static void some_clients_need_no_policy_for_what_has_ended(void **state)
{
    CreateInstanceRequest r = CREATE_INSTANCE_REQUEST__INIT;
    OrchestrationIdReusePolicy none = ORCHESTRATION_ID_REUSE_POLICY__INIT;
    r.name = (char *)"n";
    for (size_t i = 0; i < 2; i++) {
        EXCHANGE(x);
        x.reuses_ended = true;
        r.orchestration_id_reuse_policy = i ? &none : NULL;
        assert_int_equal(begin(&x, "StartInstance", &r), TH_RPC_COMMAND);
        assert_int_equal(x.command.reuse, i ? TH_REUSE_NEVER : TH_REUSE_TERMINAL);
    }
}

/* As Go's SDK sends it: field 2 of the policy. */
static enum th_rpc_step start_with_action(struct th_rpc_exchange *x, int action,
                                          OrchestrationStatus status)
{
    CreateInstanceRequest r = CREATE_INSTANCE_REQUEST__INIT;
    OrchestrationIdReusePolicy policy = ORCHESTRATION_ID_REUSE_POLICY__INIT;
    uint8_t value = (uint8_t)action;
    ProtobufCMessageUnknownField field = {
        .tag = 2, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = &value};
    r.name = (char *)"n";
    r.instance_id = (char *)"i";
    policy.replaceable_status = &status;
    policy.n_replaceable_status = 1;
    policy.base.unknown_fields = &field;
    policy.base.n_unknown_fields = action ? 1 : 0;
    r.orchestration_id_reuse_policy = &policy;
    x->has_actions = true;
    return begin(x, "StartInstance", &r);
}

static void a_policy_may_have_an_action(void **state)
{
    const uint32_t running = TH_STATUS_BIT(TH_STATUS_RUNNING);
    const uint32_t completed = TH_STATUS_BIT(TH_STATUS_COMPLETED);
    const uint32_t terminated = TH_STATUS_BIT(TH_STATUS_TERMINATED);
    static const struct {
        int action;
        enum th_status status;
    } cases[] = {{0, TH_STATUS_COMPLETED},
                 {1, TH_STATUS_RUNNING},
                 {2, TH_STATUS_RUNNING},
                 {2, TH_STATUS_COMPLETED}};
    const uint32_t reuse[] = {TH_REUSE_NEVER, TH_REUSE_NEVER, running | terminated, completed};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        EXCHANGE(x);
        assert_int_equal(
            start_with_action(&x, cases[i].action, (OrchestrationStatus)cases[i].status),
            TH_RPC_COMMAND);
        assert_int_equal(x.command.reuse, reuse[i]);
    }
    EXCHANGE(x);
    assert_int_equal(start_with_action(&x, 3, 0), TH_RPC_DONE);
    assert_int_equal(x.status, TH_GRPC_INVALID_ARGUMENT);
}

static void a_start_is_ignored(void **state)
{
    static const struct {
        enum th_status status;
        int told;
    } cases[] = {{TH_STATUS_RUNNING, TH_GRPC_OK}, {TH_STATUS_COMPLETED, TH_GRPC_ALREADY_EXISTS}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        EXCHANGE(x);
        const struct th_instance_info info = {.status = cases[i].status};
        const struct th_reply reply = {.info = &info};
        assert_int_equal(start_with_action(&x, 1, (OrchestrationStatus)TH_STATUS_RUNNING),
                         TH_RPC_COMMAND);
        assert_int_equal(answer(&x, TH_EXISTS), TH_RPC_COMMAND);
        assert_int_equal(x.command.kind, TH_COMMAND_STATUS);
        assert_int_equal(th_rpc_reply(&x, &reply), TH_RPC_DONE);
        assert_int_equal(x.status, cases[i].told);
    }
}

static void a_start_may_replace(void **state)
{
    static const struct {
        OrchestrationStatus statuses[3];
        size_t count;
        int status; /* -1: a command */
        th_reuse reuse;
    } cases[] = {
        {{1, 3}, 2, -1, TH_STATUS_BIT(1) | TH_STATUS_BIT(3)},
        {{0}, 1, TH_GRPC_INVALID_ARGUMENT, 0},
        {{6}, 1, TH_GRPC_INVALID_ARGUMENT, 0},
        {{7, 1}, 2, TH_GRPC_INVALID_ARGUMENT, 0},
        {{0, 5}, 2, -1, TH_STATUS_BIT(0) | TH_STATUS_BIT(5)},
        {{8}, 1, TH_GRPC_INVALID_ARGUMENT, 0},
        {{(OrchestrationStatus)-1}, 1, TH_GRPC_INVALID_ARGUMENT, 0},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        EXCHANGE(x);
        CreateInstanceRequest r = CREATE_INSTANCE_REQUEST__INIT;
        OrchestrationIdReusePolicy policy = ORCHESTRATION_ID_REUSE_POLICY__INIT;
        r.name = (char *)"Hello";
        policy.replaceable_status = (OrchestrationStatus *)cases[i].statuses;
        policy.n_replaceable_status = cases[i].count;
        r.orchestration_id_reuse_policy = &policy;
        bool command = begin(&x, "StartInstance", &r) == TH_RPC_COMMAND;
        assert_int_equal(command, cases[i].status < 0);
        if (command) {
            assert_int_equal(x.command.reuse, cases[i].reuse);
        } else {
            assert_int_equal(x.status, cases[i].status);
        }
    }
}

static void bad_requests_are_named(void **state)
{
    static char long_id[TH_INSTANCE_ID_MAX + 2];
    static CreateInstanceRequest no_name = CREATE_INSTANCE_REQUEST__INIT,
                                 bad_id = CREATE_INSTANCE_REQUEST__INIT,
                                 bad_time = CREATE_INSTANCE_REQUEST__INIT;
    static Google__Protobuf__Timestamp never = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    static GetInstanceRequest no_id = GET_INSTANCE_REQUEST__INIT,
                              too_long = GET_INSTANCE_REQUEST__INIT,
                              an_entity = GET_INSTANCE_REQUEST__INIT;
    static SignalEntityRequest no_entity = SIGNAL_ENTITY_REQUEST__INIT,
                               no_operation = SIGNAL_ENTITY_REQUEST__INIT;
    static PurgeInstancesRequest nothing = PURGE_INSTANCES_REQUEST__INIT;
    static QueryInstancesRequest bad_token = QUERY_INSTANCES_REQUEST__INIT;
    static InstanceQuery query = INSTANCE_QUERY__INIT;
    static DaprListRequest bad_list = DAPR_LIST_REQUEST__INIT;
    static ListInstanceIdsRequest bad_key = LIST_INSTANCE_IDS_REQUEST__INIT;
    memset(long_id, 'x', TH_INSTANCE_ID_MAX + 1);
    bad_id.name = bad_time.name = (char *)"n";
    bad_id.instance_id = (char *)"@b";
    never.nanos = -1;
    bad_time.scheduled_start_timestamp = &never;
    too_long.instance_id = long_id;
    an_entity.instance_id = (char *)"@e@k";
    no_entity.instance_id = (char *)"counter";
    no_operation.instance_id = (char *)"@e@k";
    query.continuation_token = value("%");
    bad_token.query = &query;
    bad_list.continuation_token = (char *)"%";
    bad_key.last_instance_key = value("nonsense");
    static const struct {
        const char *method;
        const void *request;
        const char *words;
    } cases[] = {
        {"StartInstance", &no_name, "name has 1 to"},
        {"StartInstance", &bad_id, "instance id"},
        {"StartInstance", &bad_time, "scheduledStartTimestamp"},
        {"GetInstance", &no_id, "instanceId"},
        {"GetInstance", &too_long, "instanceId"},
        {"WaitForInstanceStart", &no_id, "instanceId"},
        {"WaitForInstanceCompletion", &an_entity, "entity"},
        {"SignalEntity", &no_entity, "@name@key"},
        {"SignalEntity", &no_operation, "name has 1 to"},
        {"PurgeInstances", &nothing, "instanceBatch"},
        {"QueryInstances", &bad_token, "continuationToken"},
        {"ListInstanceIds", &bad_key, "lastInstanceKey"},
        {"ListInstanceIDs", &bad_list, "continuationToken"},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        EXCHANGE(x);
        assert_int_equal(begin(&x, cases[i].method, cases[i].request), TH_RPC_DONE);
        assert_int_equal(x.status, TH_GRPC_INVALID_ARGUMENT);
        if (!says(&x, cases[i].words)) {
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, x.message.data, cases[i].words);
        }
    }
}

/* ---- one instance ---- */

static const struct th_failure failure = {.type = TH_STR("E"), .message = TH_STR("m")};
static const struct th_parent parent = {.instance_id = TH_STR("p")};
static const struct th_tag tag = {TH_STR("k"), TH_STR("v")};

static struct th_instance_info an_instance(void)
{
    return (struct th_instance_info){.instance_id = TH_STR("i"),
                                     .execution_id = TH_STR("e"),
                                     .name = TH_STR("Hello"),
                                     .version = TH_STR("1"),
                                     .status = TH_STATUS_FAILED,
                                     .created = 1000000,
                                     .updated = 2000000,
                                     .completed = 3000000,
                                     .scheduled = TH_TIME_NONE,
                                     .input = TH_STR("in"),
                                     .output = TH_STR("out"),
                                     .custom_status = TH_STR(""),
                                     .failure = &failure,
                                     .parent = &parent,
                                     .tags = {&tag, 1}};
}

static void a_state_is_shown(void **state)
{
    for (int payloads = 0; payloads < 2; payloads++) {
        EXCHANGE(x);
        GetInstanceRequest r = GET_INSTANCE_REQUEST__INIT;
        struct th_instance_info info = an_instance();
        r.instance_id = (char *)"i";
        r.get_inputs_and_outputs = payloads;
        assert_int_equal(begin(&x, "GetInstance", &r), TH_RPC_COMMAND);
        assert_int_equal(x.command.payloads, payloads);
        const struct th_reply reply = {.info = &info};
        assert_int_equal(th_rpc_reply(&x, &reply), TH_RPC_DONE);
        const GetInstanceResponse *out = response_of(&x, &get_instance_response__descriptor);
        const OrchestrationState *s = out->orchestration_state;
        assert_true(out->exists);
        assert_string_equal(s->instance_id, "i");
        assert_string_equal(s->name, "Hello");
        assert_string_equal(s->version->value, "1");
        assert_int_equal(s->orchestration_status, 3);
        assert_null(s->scheduled_start_timestamp);
        assert_true(s->created_timestamp->seconds == 1);
        assert_true(s->last_updated_timestamp->seconds == 2);
        assert_true(s->completed_timestamp->seconds == 3);
        assert_string_equal(s->custom_status->value, "");
        assert_string_equal(s->failure_details->error_type, "E");
        assert_string_equal(s->execution_id->value, "e");
        assert_string_equal(s->parent_instance_id->value, "p");
        assert_int_equal(s->n_tags, 1);
        assert_int_equal(s->input != NULL, payloads);
        assert_int_equal(s->output != NULL, payloads);
    }
}

static void what_is_not_there_is_no_error(void **state)
{
    static const char *const ids[] = {"unknown", "@e@k"};
    for (size_t i = 0; i < 2; i++) {
        EXCHANGE(x);
        GetInstanceRequest r = GET_INSTANCE_REQUEST__INIT;
        r.instance_id = (char *)ids[i];
        if (begin(&x, "GetInstance", &r) == TH_RPC_COMMAND) {
            answer(&x, TH_NOT_FOUND);
        }
        const GetInstanceResponse *out = response_of(&x, &get_instance_response__descriptor);
        assert_false(out->exists);
        assert_null(out->orchestration_state);
    }
}

static void waits_have_the_calls_deadline(void **state)
{
    static const char *const methods[] = {"WaitForInstanceCompletion", "WaitForInstanceStart"};
    for (int started = 0; started < 2; started++) {
        EXCHANGE(x);
        GetInstanceRequest r = GET_INSTANCE_REQUEST__INIT;
        struct th_instance_info info = an_instance();
        r.instance_id = (char *)"i";
        assert_int_equal(begin(&x, methods[started], &r), TH_RPC_COMMAND);
        assert_true(x.command.deadline == 12345);
        assert_int_equal(x.command.until_started, started);
        const struct th_reply reply = {.info = &info};
        assert_int_equal(th_rpc_reply(&x, &reply), TH_RPC_DONE);
        const GetInstanceResponse *out = response_of(&x, &get_instance_response__descriptor);
        assert_true(out->exists);
    }
}

static void messages_carry_what_they_say(void **state)
{
    RaiseEventRequest raise = RAISE_EVENT_REQUEST__INIT;
    TerminateRequest terminate = TERMINATE_REQUEST__INIT;
    SuspendRequest suspend = SUSPEND_REQUEST__INIT;
    RestartInstanceRequest restart = RESTART_INSTANCE_REQUEST__INIT;
    raise.instance_id = terminate.instance_id = suspend.instance_id = restart.instance_id =
        (char *)"i";
    raise.name = (char *)"go";
    raise.input = value("1");
    terminate.output = value("\"x\"");
    terminate.recursive = true;
    suspend.reason = value("why");
    restart.restart_with_new_instance_id = true;
    {
        EXCHANGE(x);
        begin(&x, "RaiseEvent", &raise);
        assert_str(x.command.instance_id, "i");
        assert_str(x.command.name, "go");
        assert_str(x.command.data, "1");
    }
    {
        EXCHANGE(x);
        begin(&x, "TerminateInstance", &terminate);
        assert_str(x.command.data, "\"x\"");
        assert_true(x.command.recursive);
    }
    {
        EXCHANGE(x);
        begin(&x, "SuspendInstance", &suspend);
        assert_str(x.command.reason, "why");
    }
    {
        EXCHANGE(x);
        begin(&x, "RestartInstance", &restart);
        assert_true(x.command.new_id);
        answer(&x, TH_OK);
        const RestartInstanceResponse *out =
            response_of(&x, &restart_instance_response__descriptor);
        assert_string_equal(out->instance_id, "i");
    }
}

/* ---- history ---- */

static void a_history_is_streamed(void **state)
{
    EXCHANGE(x);
    StreamInstanceHistoryRequest r = STREAM_INSTANCE_HISTORY_REQUEST__INIT;
    struct th_instance_info info = an_instance();
    struct th_event events[250];
    for (size_t i = 0; i < TH_COUNT(events); i++) {
        events[i] = th_event_of(TH_EVENT_TIMER_FIRED, 1);
    }
    r.instance_id = (char *)"i";
    r.execution_id = value("e");
    assert_int_equal(begin(&x, "StreamInstanceHistory", &r), TH_RPC_COMMAND);
    assert_true(x.command.history);
    const struct th_reply reply = {.info = &info, .history = {events, 250, 250}};
    assert_int_equal(th_rpc_reply(&x, &reply), TH_RPC_DONE);
    assert_int_equal(x.status, TH_GRPC_OK);
    assert_int_equal(x.chunk_count, 3);
    assert_null(x.response);
}

static void a_history_is_of_one_execution(void **state)
{
    EXCHANGE(x);
    StreamInstanceHistoryRequest r = STREAM_INSTANCE_HISTORY_REQUEST__INIT;
    struct th_instance_info info = an_instance();
    r.instance_id = (char *)"i";
    r.execution_id = value("earlier");
    begin(&x, "StreamInstanceHistory", &r);
    const struct th_reply reply = {.info = &info};
    th_rpc_reply(&x, &reply);
    assert_int_equal(x.status, TH_GRPC_NOT_FOUND);
}

/* ---- queries ---- */

static void a_query_asks_for_what_it_says(void **state)
{
    EXCHANGE(x);
    QueryInstancesRequest r = QUERY_INSTANCES_REQUEST__INIT;
    InstanceQuery q = INSTANCE_QUERY__INIT;
    OrchestrationStatus statuses[] = {1, 3};
    r.query = &q;
    q.runtime_status = statuses;
    q.n_runtime_status = 2;
    q.created_time_from = th_rpc_time(&built, 10);
    q.created_time_to = th_rpc_time(&built, 20);
    q.max_instance_count = 7;
    q.instance_id_prefix = value("ab");
    q.fetch_inputs_and_outputs = true;
    q.continuation_token = value("AAE=");
    assert_int_equal(begin(&x, "QueryInstances", &r), TH_RPC_COMMAND);
    assert_int_equal(x.command.query.statuses, TH_STATUS_BIT(1) | TH_STATUS_BIT(3));
    assert_true(x.command.query.from == 10 && x.command.query.to == 20);
    assert_true(x.command.query.completed_from == TH_TIME_NONE);
    assert_int_equal(x.command.query.limit, 7);
    assert_str(x.command.query.id_prefix, "ab");
    assert_true(x.command.query.payloads);
    assert_int_equal(x.command.query.continuation.len, 2);
    assert_memory_equal(x.command.query.continuation.data, "\0\1", 2);

    struct th_instance_info infos[] = {an_instance(), an_instance()};
    infos[1].status = TH_STATUS_ENTITY;
    const struct th_reply reply = {.infos = infos, .info_count = 2, .continuation = {"\0\2", 2}};
    assert_int_equal(th_rpc_reply(&x, &reply), TH_RPC_DONE);
    const QueryInstancesResponse *out = response_of(&x, &query_instances_response__descriptor);
    assert_int_equal(out->n_orchestration_state, 1);
    assert_string_equal(out->orchestration_state[0]->input->value, "in");
    assert_string_equal(out->continuation_token->value, "AAI=");
}

static void a_query_ends_without_a_token(void **state)
{
    EXCHANGE(x);
    QueryInstancesRequest r = QUERY_INSTANCES_REQUEST__INIT;
    assert_int_equal(begin(&x, "QueryInstances", &r), TH_RPC_COMMAND);
    assert_int_equal(x.command.query.limit, 100);
    assert_int_equal(x.command.query.statuses, 0);
    answer(&x, TH_OK);
    const QueryInstancesResponse *out = response_of(&x, &query_instances_response__descriptor);
    assert_null(out->continuation_token);
}

/* Instances as the hub lists them: by creation. They end in another order. */
static const struct th_reply *page_of(size_t page)
{
    static struct th_instance_info infos[2][3];
    static struct th_reply replies[2];
    static const struct {
        const char *id;
        th_time completed;
    } all[2][3] = {{{"a", 50}, {"b", 20}, {"c", 40}}, {{"d", 10}, {"e", 40}, {"f", 30}}};
    for (size_t i = 0; i < 3; i++) {
        infos[page][i] = (struct th_instance_info){.instance_id = th_str_of(all[page][i].id),
                                                   .status = TH_STATUS_COMPLETED,
                                                   .completed = all[page][i].completed};
    }
    replies[page] = (struct th_reply){.infos = infos[page], .info_count = 3};
    replies[page].continuation = page == 0 ? TH_STR("next") : TH_STR_ABSENT;
    return &replies[page];
}

static void ids_are_listed_as_instances_end(void **state)
{
    static const char *const wanted[] = {"db", "fc", "ea"}; /* at 10 20, 30 40, 40 50 */
    char key[64] = "";
    for (size_t p = 0; p < TH_COUNT(wanted); p++) {
        EXCHANGE(x);
        ListInstanceIdsRequest r = LIST_INSTANCE_IDS_REQUEST__INIT;
        r.page_size = 2;
        r.last_instance_key = *key ? value(key) : NULL;
        assert_int_equal(begin(&x, "ListInstanceIds", &r), TH_RPC_COMMAND);
        assert_int_equal(x.command.query.statuses, TH_REUSE_TERMINAL);
        assert_int_equal(th_rpc_reply(&x, page_of(0)), TH_RPC_COMMAND);
        assert_str(x.command.query.continuation, "next");
        assert_int_equal(th_rpc_reply(&x, page_of(1)), TH_RPC_DONE);
        const ListInstanceIdsResponse *out =
            response_of(&x, &list_instance_ids_response__descriptor);
        assert_int_equal(out->n_instance_ids, 2);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(out->instance_ids[i][0], wanted[p][i]);
        }
        assert_int_equal(out->last_instance_key != NULL, p < 2);
        if (out->last_instance_key) {
            snprintf(key, sizeof(key), "%s", out->last_instance_key->value);
        }
    }
}

static void running_instances_are_not_listed(void **state)
{
    EXCHANGE(x);
    ListInstanceIdsRequest r = LIST_INSTANCE_IDS_REQUEST__INIT;
    OrchestrationStatus running[] = {0};
    r.runtime_status = running;
    r.n_runtime_status = 1;
    assert_int_equal(begin(&x, "ListInstanceIds", &r), TH_RPC_DONE);
    const ListInstanceIdsResponse *out = response_of(&x, &list_instance_ids_response__descriptor);
    assert_int_equal(out->n_instance_ids, 0);
}

static void all_ids_are_listed(void **state)
{
    EXCHANGE(x);
    EXCHANGE(paged);
    DaprListRequest r = DAPR_LIST_REQUEST__INIT;
    assert_int_equal(begin(&x, "ListInstanceIDs", &r), TH_RPC_COMMAND);
    assert_int_equal(x.command.query.statuses, 0);
    assert_int_equal(x.command.query.limit, 1000);
    assert_int_equal(th_rpc_reply(&x, page_of(0)), TH_RPC_COMMAND);
    assert_str(x.command.query.continuation, "next");
    assert_int_equal(th_rpc_reply(&x, page_of(1)), TH_RPC_DONE);
    const DaprListResponse *out = response_of(&x, &dapr_list_response__descriptor);
    assert_int_equal(out->n_instance_ids, 6);
    assert_string_equal(out->instance_ids[5], "f");
    assert_string_equal(out->continuation_token, "");

    r.page_size = 3;
    assert_int_equal(begin(&paged, "ListInstanceIDs", &r), TH_RPC_COMMAND);
    assert_int_equal(paged.command.query.limit, 3);
    assert_int_equal(th_rpc_reply(&paged, page_of(0)), TH_RPC_DONE);
    out = response_of(&paged, &dapr_list_response__descriptor);
    assert_int_equal(out->n_instance_ids, 3);
    assert_string_equal(out->continuation_token, "bmV4dA==");
}

/* A client takes 4 MiB by itself. */
static void a_long_list_goes_on_in_another_answer(void **state)
{
    EXCHANGE(x);
    static char id[TH_INSTANCE_ID_MAX + 1];
    static struct th_instance_info infos[1000];
    const struct th_reply reply = {
        .infos = infos, .info_count = TH_COUNT(infos), .continuation = TH_STR("next")};
    DaprListRequest r = DAPR_LIST_REQUEST__INIT;
    memset(id, 'x', TH_INSTANCE_ID_MAX);
    for (size_t i = 0; i < TH_COUNT(infos); i++) {
        infos[i] = (struct th_instance_info){.instance_id = th_str_of(id)};
    }
    enum th_rpc_step step = begin(&x, "ListInstanceIDs", &r);
    for (size_t pages = 0; step == TH_RPC_COMMAND && pages < 100; pages++) {
        step = th_rpc_reply(&x, &reply);
    }
    const DaprListResponse *out = response_of(&x, &dapr_list_response__descriptor);
    assert_string_not_equal(out->continuation_token, "");
    assert_true(out->n_instance_ids > 10000);
    assert_true(x.response->len < 4 << 20);
}

/* What Microsoft's SDKs call tags is another thing in Dapr's. */
static void a_history_in_one_message(void **state)
{
    EXCHANGE(x);
    struct th_event events[] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, 1),
                                th_event_of(TH_EVENT_TASK_SCHEDULED, 1),
                                th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, 1)};
    StreamInstanceHistoryRequest r = STREAM_INSTANCE_HISTORY_REQUEST__INIT;
    r.instance_id = (char *)"i";
    events[1].name = TH_STR("work");
    events[1].tags = (struct th_tags){&tag, 1};
    const struct th_reply reply = {.history = {.items = events, .count = 3}};
    assert_int_equal(begin(&x, "GetInstanceHistory", &r), TH_RPC_COMMAND);
    assert_true(x.command.history);
    assert_int_equal(th_rpc_reply(&x, &reply), TH_RPC_DONE);
    const HistoryChunk *out = response_of(&x, &history_chunk__descriptor);
    assert_int_equal(out->n_events, 2);
    assert_string_equal(out->events[1]->task_scheduled->name, "work");
    assert_int_equal(out->events[1]->task_scheduled->n_tags, 0);
}

/* ---- hubs ---- */

static void a_hub_that_is_served_exists(void **state)
{
    EXCHANGE(x);
    CreateTaskHubRequest r = CREATE_TASK_HUB_REQUEST__INIT;
    assert_int_equal(begin(&x, "CreateTaskHub", &r), TH_RPC_DONE);
    response_of(&x, &create_task_hub_response__descriptor);
}

static enum th_rpc_step hub_page(struct th_rpc_exchange *x, uint32_t statuses, const char *id,
                                 const char *continuation)
{
    const struct th_instance_info info = {.instance_id = th_str_of(id)};
    const struct th_reply reply = {
        .infos = &info, .info_count = 1, .continuation = th_str_of(continuation)};
    assert_int_equal(x->command.kind, TH_COMMAND_QUERY);
    assert_int_equal(x->command.query.statuses, statuses);
    return th_rpc_reply(x, &reply);
}

static void ends(struct th_rpc_exchange *x, enum th_command_kind kind, const char *id,
                 enum th_code code)
{
    assert_int_equal(x->command.kind, kind);
    assert_str(x->command.instance_id, id);
    assert_int_equal(answer(x, code), TH_RPC_COMMAND);
}

static void a_hub_made_anew_is_emptied(void **state)
{
    const uint32_t open = TH_STATUS_BIT(TH_STATUS_RUNNING) | TH_STATUS_BIT(TH_STATUS_PENDING) |
                          TH_STATUS_BIT(TH_STATUS_SUSPENDED) |
                          TH_STATUS_BIT(TH_STATUS_CONTINUED_AS_NEW);
    const uint32_t entities = TH_STATUS_BIT(TH_STATUS_ENTITY);
    EXCHANGE(x);
    CreateTaskHubRequest r = CREATE_TASK_HUB_REQUEST__INIT;
    r.recreate_if_exists = true;
    assert_int_equal(begin(&x, "CreateTaskHub", &r), TH_RPC_COMMAND);
    assert_int_equal(hub_page(&x, open, "a", "more"), TH_RPC_COMMAND);
    ends(&x, TH_COMMAND_TERMINATE, "a", TH_OK);
    assert_str(x.command.query.continuation, "more");
    assert_int_equal(hub_page(&x, open, "b", NULL), TH_RPC_COMMAND);
    ends(&x, TH_COMMAND_TERMINATE, "b", TH_GONE);
    assert_int_equal(x.command.kind, TH_COMMAND_PURGE_BY);
    assert_int_equal(x.command.query.statuses, TH_REUSE_TERMINAL);
    assert_int_equal(answer(&x, TH_OK), TH_RPC_COMMAND);
    assert_int_equal(hub_page(&x, entities, "@e@k", NULL), TH_RPC_COMMAND);
    assert_int_equal(x.command.kind, TH_COMMAND_PURGE);
    assert_str(x.command.instance_id, "@e@k");
    assert_int_equal(answer(&x, TH_NOT_FOUND), TH_RPC_DONE);
    response_of(&x, &create_task_hub_response__descriptor);
}

/* ---- purge ---- */

static const PurgeInstancesResponse *purged(struct th_rpc_exchange *x)
{
    return response_of(x, &purge_instances_response__descriptor);
}

static void a_batch_is_purged_one_by_one(void **state)
{
    EXCHANGE(x);
    PurgeInstancesRequest r = PURGE_INSTANCES_REQUEST__INIT;
    InstanceBatch batch = INSTANCE_BATCH__INIT;
    char *ids[] = {(char *)"a", (char *)"b", (char *)"c", (char *)"d"};
    static const enum th_code codes[] = {TH_OK, TH_NOT_FOUND, TH_PRECONDITION, TH_OK};
    batch.instance_ids = ids;
    batch.n_instance_ids = 4;
    r.request_case = PURGE_INSTANCES_REQUEST__REQUEST_INSTANCE_BATCH;
    r.instance_batch = &batch;
    r.recursive = true;
    enum th_rpc_step step = begin(&x, "PurgeInstances", &r);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(step, TH_RPC_COMMAND);
        assert_int_equal(x.command.kind, TH_COMMAND_PURGE);
        assert_str(x.command.instance_id, ids[i]);
        assert_true(x.command.recursive);
        struct th_reply reply = {.count = 2};
        th_fail(&reply.error, codes[i], "-");
        step = th_rpc_reply(&x, &reply);
    }
    assert_int_equal(step, TH_RPC_DONE);
    assert_int_equal(purged(&x)->deleted_instance_count, 4);
    assert_true(purged(&x)->is_complete->value);
}

static void a_filter_purges_what_has_ended(void **state)
{
    static const struct {
        OrchestrationStatus status;
        int count;
        uint32_t statuses; /* 0: nothing is asked */
    } cases[] = {{0, 0, TH_REUSE_TERMINAL}, {1, 1, TH_STATUS_BIT(1)}, {0, 1, 0}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        EXCHANGE(x);
        PurgeInstancesRequest r = PURGE_INSTANCES_REQUEST__INIT;
        PurgeInstanceFilter filter = PURGE_INSTANCE_FILTER__INIT;
        OrchestrationStatus status = cases[i].status;
        filter.runtime_status = &status;
        filter.n_runtime_status = (size_t)cases[i].count;
        filter.created_time_from = th_rpc_time(&built, 5);
        r.request_case = PURGE_INSTANCES_REQUEST__REQUEST_PURGE_INSTANCE_FILTER;
        r.purge_instance_filter = &filter;
        if (begin(&x, "PurgeInstances", &r) == TH_RPC_COMMAND) {
            assert_int_equal(x.command.kind, TH_COMMAND_PURGE_BY);
            assert_int_equal(x.command.query.statuses, cases[i].statuses);
            assert_true(x.command.query.from == 5 && x.command.query.to == TH_TIME_NONE);
            const struct th_reply reply = {.count = 3};
            assert_int_equal(th_rpc_reply(&x, &reply), TH_RPC_DONE);
            assert_int_equal(purged(&x)->deleted_instance_count, 3);
        } else {
            assert_int_equal(cases[i].statuses, 0);
            assert_int_equal(purged(&x)->deleted_instance_count, 0);
        }
    }
}

/* ---- entities ---- */

static void a_signal_is_sent(void **state)
{
    EXCHANGE(x);
    SignalEntityRequest r = SIGNAL_ENTITY_REQUEST__INIT;
    r.instance_id = (char *)"@Counter@K";
    r.name = (char *)"Add";
    r.input = value("1");
    r.request_id = (char *)"r";
    r.scheduled_time = th_rpc_time(&built, 44);
    assert_int_equal(begin(&x, "SignalEntity", &r), TH_RPC_COMMAND);
    assert_str(x.command.instance_id, "@counter@K");
    assert_str(x.command.name, "Add");
    assert_str(x.command.data, "1");
    assert_str(x.command.request_id, "r");
    assert_true(x.command.start_at == 44);
}

static struct th_instance_info an_entity(void)
{
    return (struct th_instance_info){.instance_id = TH_STR("@e@k"),
                                     .name = TH_STR("e"),
                                     .status = TH_STATUS_ENTITY,
                                     .created = 1,
                                     .updated = 2000000,
                                     .completed = 2000000,
                                     .output = TH_STR("0"),
                                     .has_state = true,
                                     .locked_by = TH_STR("i")};
}

static void an_entity_with_state_exists(void **state)
{
    for (int has_state = 0; has_state < 2; has_state++) {
        EXCHANGE(x);
        GetEntityRequest r = GET_ENTITY_REQUEST__INIT;
        struct th_instance_info info = an_entity();
        info.has_state = has_state;
        r.instance_id = (char *)"@e@k";
        r.include_state = true;
        assert_int_equal(begin(&x, "GetEntity", &r), TH_RPC_COMMAND);
        const struct th_reply reply = {.info = &info};
        th_rpc_reply(&x, &reply);
        const GetEntityResponse *out = response_of(&x, &get_entity_response__descriptor);
        assert_int_equal(out->exists, has_state);
        if (has_state) {
            assert_string_equal(out->entity->serialized_state->value, "0");
            assert_string_equal(out->entity->locked_by->value, "i");
            assert_true(out->entity->last_modified_time->seconds == 2);
        }
    }
}

static void entities_are_listed(void **state)
{
    for (int transient = 0; transient < 2; transient++) {
        EXCHANGE(x);
        QueryEntitiesRequest r = QUERY_ENTITIES_REQUEST__INIT;
        EntityQuery q = ENTITY_QUERY__INIT;
        Google__Protobuf__Int32Value size = GOOGLE__PROTOBUF__INT32_VALUE__INIT;
        struct th_instance_info infos[] = {an_entity(), an_entity()};
        infos[1].has_state = false;
        size.value = 100000;
        q.page_size = &size;
        q.instance_id_starts_with = value("@e@");
        q.last_modified_from = th_rpc_time(&built, 3);
        q.include_transient = transient;
        r.query = &q;
        assert_int_equal(begin(&x, "QueryEntities", &r), TH_RPC_COMMAND);
        assert_int_equal(x.command.query.statuses, TH_STATUS_BIT(TH_STATUS_ENTITY));
        assert_int_equal(x.command.query.limit, 1000);
        assert_str(x.command.query.id_prefix, "@e@");
        assert_true(x.command.query.completed_from == 3);
        const struct th_reply reply = {.infos = infos, .info_count = 2};
        th_rpc_reply(&x, &reply);
        const QueryEntitiesResponse *out = response_of(&x, &query_entities_response__descriptor);
        assert_int_equal(out->n_entities, transient ? 2 : 1);
        assert_null(out->entities[0]->serialized_state); /* not asked for */
    }
}

static void there_is_nothing_to_clean(void **state)
{
    EXCHANGE(x);
    CleanEntityStorageRequest r = CLEAN_ENTITY_STORAGE_REQUEST__INIT;
    assert_int_equal(begin(&x, "CleanEntityStorage", &r), TH_RPC_DONE);
    const CleanEntityStorageResponse *out =
        response_of(&x, &clean_entity_storage_response__descriptor);
    assert_int_equal(out->empty_entities_removed, 0);
    assert_null(out->continuation_token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_are_found),
        cmocka_unit_test(bytes_that_are_no_request_are_refused),
        cmocka_unit_test(errors_become_statuses),
        cmocka_unit_test(a_start_is_asked_for),
        cmocka_unit_test(some_clients_need_no_policy_for_what_has_ended),
        cmocka_unit_test(a_start_may_replace),
        cmocka_unit_test(a_policy_may_have_an_action),
        cmocka_unit_test(a_start_is_ignored),
        cmocka_unit_test(bad_requests_are_named),
        cmocka_unit_test(a_state_is_shown),
        cmocka_unit_test(what_is_not_there_is_no_error),
        cmocka_unit_test(waits_have_the_calls_deadline),
        cmocka_unit_test(messages_carry_what_they_say),
        cmocka_unit_test(a_history_is_streamed),
        cmocka_unit_test(a_history_is_of_one_execution),
        cmocka_unit_test(a_query_asks_for_what_it_says),
        cmocka_unit_test(a_query_ends_without_a_token),
        cmocka_unit_test(ids_are_listed_as_instances_end),
        cmocka_unit_test(running_instances_are_not_listed),
        cmocka_unit_test(all_ids_are_listed),
        cmocka_unit_test(a_long_list_goes_on_in_another_answer),
        cmocka_unit_test(a_history_in_one_message),
        cmocka_unit_test(a_hub_that_is_served_exists),
        cmocka_unit_test(a_hub_made_anew_is_emptied),
        cmocka_unit_test(a_batch_is_purged_one_by_one),
        cmocka_unit_test(a_filter_purges_what_has_ended),
        cmocka_unit_test(a_signal_is_sent),
        cmocka_unit_test(an_entity_with_state_exists),
        cmocka_unit_test(entities_are_listed),
        cmocka_unit_test(there_is_nothing_to_clean),
    };
    return cmocka_run_group_tests(tests, NULL, free_built);
}
