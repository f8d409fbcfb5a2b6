#include "rpc/dapr.h"

#include "unit/base_test.h"

#include "base/memory.h"

#define BYTES(text)              \
    {                            \
        (text), sizeof(text) - 1 \
    }

static void numbers_that_mean_something_else_are_left_out(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *kind;
        struct th_str in, out;
    } cases[] = {
        /* a task execution id where tags would be */
        {&activity_request__descriptor, BYTES("\x0a\x01n\x3a\x01x\x28\x02"),
         BYTES("\x0a\x01n\x28\x02")},
        /* patches where a trace would be: no message at all */
        {&orchestrator_response__descriptor, BYTES("\x0a\x01i\x32\x01\xff"), BYTES("\x0a\x01i")},
        /* within a list within an action */
        {&orchestrator_response__descriptor,
         BYTES("\x12\x0a\x08\x01\x12\x06\x0a\x01n\x2a\x01x\x22\x01t"),
         BYTES("\x12\x07\x08\x01\x12\x03\x0a\x01n\x22\x01t")},
        /* a number instead of a batch */
        {&purge_instances_request__descriptor, BYTES("\x0a\x01i\x20\x01"), BYTES("\x0a\x01i")},
        /* a router is no rewind */
        {&history_event__descriptor, BYTES("\x08\x01\xf2\x01\x01r"), BYTES("\x08\x01")},
        /* unknown to both: stays */
        {&history_event__descriptor, BYTES("\x08\x01\xfa\x01\x01r"),
         BYTES("\x08\x01\xfa\x01\x01r")},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct th_error error;
        struct th_str out;
        assert_true(th_rpc_dapr(&arena, cases[i].kind, cases[i].in, &out, &error));
        if (!th_str_eq(out, cases[i].out)) {
            fail_msg("case %zu differs", i);
        }
    }
}

static void malformed_bytes_are_refused(void **state)
{
    static const struct th_str cases[] = {BYTES("\x0a"), BYTES("\x12\x05\x12"),
                                          BYTES("\x12\x02\x12\x05")};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct th_error error;
        struct th_str out;
        assert_false(
            th_rpc_dapr(&arena, &orchestrator_response__descriptor, cases[i], &out, &error));
        assert_int_equal(error.code, TH_INVALID);
    }
}

static void a_worker_is_recognised(void **state)
{
    static const struct {
        struct th_str request, agent;
        bool dapr;
    } cases[] = {{BYTES("\x20\x02"), BYTES("grpc-go/1.80.0"), true},
                 {BYTES("\x50\x01"), BYTES("grpc-dotnet/2.60"), false},
                 {BYTES(""), BYTES("Dapr-sdk/1"), true},
                 {BYTES(""), {NULL, 0}, false}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct th_error error;
        const GetWorkItemsRequest *request =
            th_rpc_unpack(&arena, &get_work_items_request__descriptor, cases[i].request, &error);
        assert_non_null(request);
        assert_int_equal(th_rpc_is_dapr(request, cases[i].agent), cases[i].dapr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_mean_something_else_are_left_out),
        cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(a_worker_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
