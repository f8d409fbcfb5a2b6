#include "rpc/message.h"

#include "unit/base_test.h"

#include "base/memory.h"

static const void *unpack(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                          const void *bytes, size_t len, struct th_error *error)
{
    *error = (struct th_error){0};
    return th_rpc_unpack(arena, kind, th_str_n(bytes, len), error);
}

/* TaskFailureDetails whose innerFailure (4) is one, and so on: written from the inside out. */
static struct th_str nested(struct th_arena *arena, size_t levels)
{
    size_t size = levels * 6 + 1;
    char *bytes = th_arena_alloc(arena, size);
    char *at = bytes + size;
    for (size_t i = 0; i < levels; i++) {
        size_t len = (size_t)(bytes + size - at);
        char head[6];
        size_t n = 0;
        head[n++] = 0x22;
        do {
            head[n++] = (char)((len & 0x7f) | (len > 0x7f ? 0x80 : 0));
            len >>= 7;
        } while (len);
        at -= n;
        memcpy(at, head, n);
    }
    return th_str_n(at, (size_t)(bytes + size - at));
}

static void nesting_has_a_limit(void **state)
{
    static const struct {
        size_t levels;
        bool good;
    } cases[] = {{1, true}, {TH_RPC_DEPTH, true}, {TH_RPC_DEPTH + 1, false}, {20000, false}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct th_error error;
        struct th_str bytes = nested(&arena, cases[i].levels);
        const void *message =
            unpack(&arena, &task_failure_details__descriptor, bytes.data, bytes.len, &error);
        assert_int_equal(message != NULL, cases[i].good);
        if (!cases[i].good) {
            assert_int_equal(error.code, TH_INVALID);
            assert_non_null(strstr(error.message, "64"));
        }
    }
}

#define BYTES(text) (text), sizeof(text) - 1

static void what_is_wrong_is_named(void **state)
{
    /* OrchestratorResponse: actions 2 { id 1, schedule_task 2 { name 1, version 2 { value 1 } } }
     */
    static const struct {
        const char *bytes;
        size_t len;
        const char *words[2];
    } cases[] = {
        {BYTES("\x0a\x02\xc3\x28"), {"instance_id", "UTF-8"}},
        {BYTES("\x0a\x02\x00x"), {"instance_id", "zero byte"}},
        {BYTES("\x0a\x05"
               "ab"),
         {"OrchestratorResponse", "cut off"}},
        {BYTES("\x0a"), {"OrchestratorResponse", "cut off"}},
        {BYTES("\x12\x05\x12\x03\x0a\x01\xff"), {"actions.schedule_task.name", "UTF-8"}},
        {BYTES("\x12\x07\x12\x05\x12\x03\x0a\x01\xff"),
         {"actions.schedule_task.version.value", "UTF-8"}},
        {BYTES("\x12\x04\x12\x03\x0a\x01"), {"actions.", "cut off"}},
        {BYTES("\x08\x01"), {"instance_id", "wire type 0"}},
        {BYTES("\x1a\x00\x1a\x00"), {"custom_status", "twice"}},
        {BYTES("\x0b\x0c"), {"OrchestratorResponse", "malformed"}}, /* a group */
        {BYTES("\x02\x00"), {"OrchestratorResponse", "malformed"}}, /* number 0 */
        {BYTES("\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
         {"OrchestratorResponse", "malformed"}},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct th_error error;
        assert_null(unpack(&arena, &orchestrator_response__descriptor, cases[i].bytes, cases[i].len,
                           &error));
        assert_int_equal(error.code, TH_INVALID);
        for (int w = 0; w < 2; w++) {
            if (!strstr(error.message, cases[i].words[w])) {
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, error.message, cases[i].words[w]);
            }
        }
    }
}

static void too_many_parts_are_refused(void **state)
{
    size_t count = TH_RPC_PARTS_MAX + 1;
    TH_BUFFER bytes = {0};
    TH_ARENA arena = {0};
    struct th_error error;
    for (size_t i = 0; i < count; i++) {
        th_buffer_add(&bytes, "\x12\x00", 2); /* an empty action */
    }
    assert_null(unpack(&arena, &orchestrator_response__descriptor, bytes.data, bytes.len, &error));
    assert_non_null(strstr(error.message, "parts"));

    bytes.len = 0;
    th_buffer_add(&bytes, "\x0a\x81\x80\x40", 4); /* the same number of statuses in one run */
    for (size_t i = 0; i < count; i++) {
        th_buffer_add(&bytes, "\x01", 1);
    }
    assert_null(
        unpack(&arena, &orchestration_id_reuse_policy__descriptor, bytes.data, bytes.len, &error));
    assert_non_null(strstr(error.message, "replaceable_status"));
}

static void unknown_fields_are_passed_over(void **state)
{
    TH_ARENA arena = {0};
    struct th_error error;
    const GetInstanceRequest *message = unpack(&arena, &get_instance_request__descriptor,
                                               BYTES("\x0a\x01i\xfa\x06\x03"
                                                     "abc"
                                                     "\x10\x01"),
                                               &error);
    assert_non_null(message);
    assert_string_equal(message->instance_id, "i");
    assert_true(message->get_inputs_and_outputs);
    assert_int_equal(message->base.n_unknown_fields, 1);
}

static void numbers_come_one_by_one_or_in_a_run(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {{BYTES("\x0a\x02\x03\x05")}, {BYTES("\x08\x03\x08\x05")}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct th_error error;
        const OrchestrationIdReusePolicy *message =
            unpack(&arena, &orchestration_id_reuse_policy__descriptor, cases[i].bytes, cases[i].len,
                   &error);
        assert_non_null(message);
        assert_int_equal(message->n_replaceable_status, 2);
        assert_int_equal(message->replaceable_status[0], 3);
        assert_int_equal(message->replaceable_status[1], 5);
    }
}

static struct th_blob *a_response(void)
{
    OrchestratorResponse response = ORCHESTRATOR_RESPONSE__INIT;
    OrchestratorAction action = ORCHESTRATOR_ACTION__INIT, *actions = &action;
    ScheduleTaskAction task = SCHEDULE_TASK_ACTION__INIT;
    Google__Protobuf__StringValue input = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    input.value = (char *)"\"in\"";
    task.name = (char *)"hello";
    task.input = &input;
    action.orchestrator_action_type_case =
        ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_SCHEDULE_TASK;
    action.schedule_task = &task;
    action.id = 7;
    response.instance_id = (char *)"i";
    response.n_actions = 1;
    response.actions = &actions;
    return th_rpc_pack(&response.base);
}

static void a_message_comes_back(void **state)
{
    TH_ARENA arena = {0};
    struct th_error error;
    struct th_blob *bytes = a_response();
    const OrchestratorResponse *r =
        unpack(&arena, &orchestrator_response__descriptor, bytes->data, bytes->len, &error);
    th_blob_unref(bytes);
    assert_non_null(r);
    assert_int_equal(r->n_actions, 1);
    assert_int_equal(r->actions[0]->id, 7);
    assert_string_equal(r->actions[0]->schedule_task->name, "hello");
    assert_string_equal(r->actions[0]->schedule_task->input->value, "\"in\"");
    assert_null(r->actions[0]->schedule_task->version);
}

/* Cut anywhere it is refused, but between two fields. */
static void a_message_that_is_cut_is_refused(void **state)
{
    struct th_blob *bytes = a_response();
    for (size_t len = 0; len < bytes->len; len++) {
        TH_ARENA arena = {0};
        struct th_error error;
        TH_AUTOFREE char *cut = th_memdup(bytes->data, len); /* a sanitizer sees reads behind it */
        bool between = len == 0 || len == 3;
        const void *message = unpack(&arena, &orchestrator_response__descriptor, cut, len, &error);
        assert_int_equal(message != NULL, between);
    }
    th_blob_unref(bytes);
}

static void no_bytes_are_the_empty_message(void **state)
{
    TH_ARENA arena = {0};
    struct th_error error;
    const GetInstanceRequest *message =
        unpack(&arena, &get_instance_request__descriptor, NULL, 0, &error);
    assert_non_null(message);
    assert_string_equal(message->instance_id, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(too_many_parts_are_refused),
        cmocka_unit_test(unknown_fields_are_passed_over),
        cmocka_unit_test(numbers_come_one_by_one_or_in_a_run),
        cmocka_unit_test(a_message_comes_back),
        cmocka_unit_test(a_message_that_is_cut_is_refused),
        cmocka_unit_test(no_bytes_are_the_empty_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
