/*
 * Any bytes as a message of clients and workers: unpacked, converted, and answered. The first byte
 * says which one; a client's RPC is answered by a hub that the second byte makes up.
 */
#include "tests/fuzz/fuzz.h"

#include "rpc/client.h"
#include "rpc/dapr.h"
#include "rpc/work.h"

/* What is converted must be converted again, to the same. */
static void event(struct th_arena *arena, const void *message)
{
    struct th_event first, second;
    struct th_error error = {0};
    if (!th_rpc_event_from(arena, message, &first, &error)) {
        MUST(error.code == TH_INVALID && error.message[0]);
        return;
    }
    HistoryEvent *again = th_rpc_event(arena, &first);
    MUST(again);
    struct th_blob *bytes = th_rpc_pack(&again->base);
    again = th_rpc_unpack(arena, &history_event__descriptor, th_blob_view(bytes), &error);
    th_blob_unref(bytes);
    MUST(again && th_rpc_event_from(arena, again, &second, &error));
    MUST(th_event_equal(&first, &second));
}

static void response(struct th_arena *arena, const void *message)
{
    struct th_actions actions = {0};
    struct th_error error = {0};
    if (!th_rpc_actions(arena, message, &actions, &error)) {
        MUST(error.code == TH_INVALID && error.message[0]);
        th_rpc_refused(arena, &error, &actions);
    }
    for (size_t i = 0; i < actions.count; i++) {
        MUST(actions.items[i].kind != TH_ACTION_ENTITY || actions.items[i].entity);
        MUST(actions.items[i].kind != TH_ACTION_CREATE_TIMER ||
             actions.items[i].fire_at != TH_TIME_NONE);
    }
}

static void batch(struct th_arena *arena, const void *message)
{
    struct th_actions actions;
    struct th_error error = {0};
    if (th_rpc_entity_result(arena, message, 3, &actions, &error)) {
        MUST(actions.result_count <= 3);
    } else {
        MUST(error.code == TH_INVALID && error.message[0]);
    }
}

static void activity(struct th_arena *arena, const void *message)
{
    struct th_activity_answer answer;
    th_rpc_activity_answer(arena, message, &answer);
}

static void work(struct th_arena *arena, const void *message)
{
    th_rpc_is_dapr(message, TH_STR("agent"));
}

static void nothing(struct th_arena *arena, const void *message)
{
}

static const struct {
    const ProtobufCMessageDescriptor *kind;
    void (*convert)(struct th_arena *arena, const void *message);
} kinds[] = {
    {&history_event__descriptor, event},
    {&orchestrator_response__descriptor, response},
    {&entity_batch_result__descriptor, batch},
    {&activity_response__descriptor, activity},
    {&get_work_items_request__descriptor, work},
    {&abandon_activity_task_request__descriptor, nothing},
    {&abandon_orchestration_task_request__descriptor, nothing},
    {&abandon_entity_task_request__descriptor, nothing},
    {&create_task_hub_request__descriptor, nothing},
    {&delete_task_hub_request__descriptor, nothing},
    {&skip_graceful_orchestration_terminations_request__descriptor, nothing},
    {&work_item__descriptor, nothing},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), METHODS = 22 };

static void exchange(const struct th_rpc_method *method, struct th_str bytes, uint8_t hub)
{
    static struct th_event history[] = {{.kind = TH_EVENT_TIMER_FIRED}};
    struct th_rpc_exchange x = {0};
    struct th_instance_info info = {.instance_id = TH_STR("i"),
                                    .status = hub & 16 ? TH_STATUS_ENTITY : TH_STATUS_COMPLETED,
                                    .completed = hub,
                                    .has_state = hub & 32,
                                    .output = TH_STR("\xff")};
    struct th_reply reply = {.error = {.code = (enum th_code)(hub & 15)},
                             .instance_id = TH_STR("i"),
                             .info = &info,
                             .infos = &info,
                             .info_count = 1,
                             .history = {history, 1, 1},
                             .continuation = hub & 64 ? TH_STR("more") : TH_STR_ABSENT};
    enum th_rpc_step step = th_rpc_begin(&x, method, bytes, TH_TIME_NONE);
    for (int i = 0; step == TH_RPC_COMMAND && i < 100; i++) {
        step = th_rpc_reply(&x, &reply);
    }
    MUST(step == TH_RPC_COMMAND || x.status != TH_GRPC_OK || x.response || x.chunk_count);
    MUST(step == TH_RPC_COMMAND || x.status == TH_GRPC_OK || !x.response);
    th_rpc_end(&x);
}

/* What the dialect leaves is a message as good as before. */
static void dialect(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                    struct th_str bytes, bool good)
{
    struct th_error error = {0};
    struct th_str left, again;
    if (th_rpc_dapr(arena, kind, bytes, &left, &error)) {
        MUST(left.len <= bytes.len);
        MUST(!good || th_rpc_unpack(arena, kind, left, &error));
        MUST(th_rpc_dapr(arena, kind, left, &again, &error) && th_str_eq(left, again));
    } else {
        MUST(!good && error.message[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TH_ARENA arena = {0};
    struct th_error error = {0};
    if (size < 2) {
        return 0;
    }
    struct th_str bytes = input_of(data + 2, size - 2);
    unsigned which = data[0] % (KINDS + METHODS);
    if (which >= KINDS) {
        exchange(th_rpc_method_at(which - KINDS), bytes, data[1]);
        return 0;
    }
    void *message = th_rpc_unpack(&arena, kinds[which].kind, bytes, &error);
    if (message) {
        kinds[which].convert(&arena, message);
    } else {
        MUST(error.code == TH_INVALID && error.message[0]);
    }
    dialect(&arena, kinds[which].kind, bytes, message != NULL);
    return 0;
}
