/*
 * Writes seeds for the fuzzer of the sidecar's messages: an event of each kind, alone and among the
 * actions of a response, and requests of clients.
 *
 *     rpc_seeds tests/fuzz/corpus/fuzz_rpc
 */
#include <stdio.h>
#include <stdlib.h>

#include "rpc/client.h"
#include "rpc/work.h"
#include "unit/rpc_sample.h"

/* As in fuzz_rpc.c. */
enum { EVENT = 0, RESPONSE = 1, BATCH = 2, KINDS = 12 };

static void save(const char *corpus, const char *name, char which, const void *message)
{
    char path[512];
    struct th_blob *bytes = th_rpc_pack(message);
    snprintf(path, sizeof(path), "%s/%s", corpus, name);
    FILE *file = fopen(path, "wb");
    if (!file || fputc(which, file) == EOF || fputc(0, file) == EOF ||
        fwrite(bytes->data, 1, bytes->len, file) != bytes->len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
    th_blob_unref(bytes);
}

static void save_events(const char *corpus, struct th_arena *arena)
{
    struct th_random random;
    th_random_seed(&random, 3);
    for (int kind = 0; kind <= TH_EVENT_ENTITY_UNLOCK_SENT; kind++) {
        struct th_event event;
        if (rpc_sample_event(&random, arena, (enum th_event_kind)kind, &event)) {
            save(corpus, th_event_kind_text(event.kind), EVENT, th_rpc_event(arena, &event));
        }
    }
}

static void save_response(const char *corpus, struct th_arena *arena)
{
    OrchestratorResponse response = ORCHESTRATOR_RESPONSE__INIT;
    OrchestratorAction items[3] = {ORCHESTRATOR_ACTION__INIT, ORCHESTRATOR_ACTION__INIT,
                                   ORCHESTRATOR_ACTION__INIT};
    OrchestratorAction *actions[] = {&items[0], &items[1], &items[2]};
    ScheduleTaskAction task = SCHEDULE_TASK_ACTION__INIT;
    SendEntityMessageAction message = SEND_ENTITY_MESSAGE_ACTION__INIT;
    EntityLockRequestedEvent lock = ENTITY_LOCK_REQUESTED_EVENT__INIT;
    CompleteOrchestrationAction end = COMPLETE_ORCHESTRATION_ACTION__INIT;
    char *set[] = {(char *)"@a@1", (char *)"@b@2"};
    task.name = (char *)"F";
    task.input = th_rpc_value(arena, TH_STR("1"));
    lock.lock_set = set;
    lock.n_lock_set = 2;
    lock.critical_section_id = (char *)"s";
    message.entity_message_type_case =
        SEND_ENTITY_MESSAGE_ACTION__ENTITY_MESSAGE_TYPE_ENTITY_LOCK_REQUESTED;
    message.entity_lock_requested = &lock;
    end.orchestration_status = ORCHESTRATION_STATUS__ORCHESTRATION_STATUS_COMPLETED;
    end.result = th_rpc_value(arena, TH_STR("2"));
    items[0].orchestrator_action_type_case =
        ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_SCHEDULE_TASK;
    items[0].schedule_task = &task;
    items[1].orchestrator_action_type_case =
        ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_SEND_ENTITY_MESSAGE;
    items[1].send_entity_message = &message;
    items[2].orchestrator_action_type_case =
        ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_COMPLETE_ORCHESTRATION;
    items[2].complete_orchestration = &end;
    response.actions = actions;
    response.n_actions = 3;
    response.custom_status = th_rpc_value(arena, TH_STR("half"));
    save(corpus, "response", RESPONSE, &response);
}

static void save_batch(const char *corpus, struct th_arena *arena)
{
    EntityBatchResult batch = ENTITY_BATCH_RESULT__INIT;
    OperationResult result = OPERATION_RESULT__INIT, *results[] = {&result};
    OperationResultSuccess success = OPERATION_RESULT_SUCCESS__INIT;
    OperationAction action = OPERATION_ACTION__INIT, *actions[] = {&action};
    SendSignalAction signal = SEND_SIGNAL_ACTION__INIT;
    success.result = th_rpc_value(arena, TH_STR("1"));
    result.result_type_case = OPERATION_RESULT__RESULT_TYPE_SUCCESS;
    result.success = &success;
    signal.instance_id = (char *)"@a@1";
    signal.name = (char *)"add";
    signal.scheduled_time = th_rpc_time(arena, 1);
    action.operation_action_type_case = OPERATION_ACTION__OPERATION_ACTION_TYPE_SEND_SIGNAL;
    action.send_signal = &signal;
    batch.results = results;
    batch.n_results = 1;
    batch.actions = actions;
    batch.n_actions = 1;
    batch.entity_state = th_rpc_value(arena, TH_STR("0"));
    save(corpus, "batch", BATCH, &batch);
}

static void save_start(const char *corpus, struct th_arena *arena)
{
    CreateInstanceRequest start = CREATE_INSTANCE_REQUEST__INIT;
    OrchestrationIdReusePolicy policy = ORCHESTRATION_ID_REUSE_POLICY__INIT;
    OrchestrationStatus statuses[] = {1, 5};
    start.name = (char *)"Hello";
    start.input = th_rpc_value(arena, TH_STR("1"));
    start.scheduled_start_timestamp = th_rpc_time(arena, 7);
    policy.replaceable_status = statuses;
    policy.n_replaceable_status = 2;
    start.orchestration_id_reuse_policy = &policy;
    save(corpus, "start", KINDS, &start);
}

/* One with only an id will do for most: their fields are alike. */
static void save_others(const char *corpus)
{
    GetInstanceRequest get = GET_INSTANCE_REQUEST__INIT;
    get.instance_id = (char *)"i";
    for (size_t i = 1; th_rpc_method_at(i); i++) {
        save(corpus, th_rpc_method_name(th_rpc_method_at(i)), (char)(KINDS + i), &get);
    }
}

int main(int argc, char **argv)
{
    TH_ARENA arena = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: %s <corpus>\n", argv[0]);
        return 2;
    }
    save_events(argv[1], &arena);
    save_response(argv[1], &arena);
    save_batch(argv[1], &arena);
    save_start(argv[1], &arena);
    save_others(argv[1]);
    return 0;
}
