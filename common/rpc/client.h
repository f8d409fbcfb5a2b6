/*
 * client: the RPCs of clients. Each call is an exchange: the request's bytes become a command for
 * the gateway (node/command.h); its reply becomes another command, or the response and a status of
 * gRPC (contracts 1.1). No I/O: whoever has the call submits the commands and sends the response.
 *
 *     th_rpc_begin ──COMMAND──▶ gateway ──reply──▶ th_rpc_reply ──DONE──▶ status, response
 *          └──DONE (bad request, or nothing to ask)                  └──COMMAND──▶ …
 *
 * One thread at a time. Memory is the exchange's arena; th_rpc_end frees all of it.
 */
#pragma once

#include "grpc/grpc.h"
#include "node/command.h"
#include "rpc/event.h"

/* name, the one in C, request. All are unary but StreamInstanceHistory, whose response is
 * any number of chunks; the last two are Dapr's. The other RPCs of the service are the dispatcher's
 * or the service's own. */
#define TH_RPC_CLIENT(X)                                                               \
    X(StartInstance, start_instance, create_instance_request)                          \
    X(GetInstance, get_instance, get_instance_request)                                 \
    X(RewindInstance, rewind_instance, rewind_instance_request)                        \
    X(RestartInstance, restart_instance, restart_instance_request)                     \
    X(WaitForInstanceStart, wait_for_instance_start, get_instance_request)             \
    X(WaitForInstanceCompletion, wait_for_instance_completion, get_instance_request)   \
    X(RaiseEvent, raise_event, raise_event_request)                                    \
    X(TerminateInstance, terminate_instance, terminate_request)                        \
    X(SuspendInstance, suspend_instance, suspend_request)                              \
    X(ResumeInstance, resume_instance, resume_request)                                 \
    X(QueryInstances, query_instances, query_instances_request)                        \
    X(ListInstanceIds, list_instance_ids, list_instance_ids_request)                   \
    X(PurgeInstances, purge_instances, purge_instances_request)                        \
    X(SignalEntity, signal_entity, signal_entity_request)                              \
    X(GetEntity, get_entity, get_entity_request)                                       \
    X(QueryEntities, query_entities, query_entities_request)                           \
    X(CleanEntityStorage, clean_entity_storage, clean_entity_storage_request)          \
    X(StreamInstanceHistory, stream_instance_history, stream_instance_history_request) \
    X(CreateTaskHub, create_task_hub, create_task_hub_request)                         \
    X(DeleteTaskHub, delete_task_hub, delete_task_hub_request)                         \
    X(ListInstanceIDs, list_all_ids, dapr_list_request)                                \
    X(GetInstanceHistory, get_instance_history, stream_instance_history_request)

struct th_rpc_method; /* of the table above */

/* The method of that name ("StartInstance"); NULL: it is none of these. */
const struct th_rpc_method *th_rpc_method(struct th_str name);
/* By its place in the table, from 0; NULL: behind its end. */
const struct th_rpc_method *th_rpc_method_at(size_t index);
const char *th_rpc_method_name(const struct th_rpc_method *method);
const ProtobufCMessageDescriptor *th_rpc_method_request(const struct th_rpc_method *method);

enum th_rpc_step {
    TH_RPC_COMMAND, /* submit `command`, then th_rpc_reply with the reply */
    TH_RPC_DONE,    /* `status`, `message` and, with OK, `response` or `chunks` */
};

/* Zeroed at first. */
struct th_rpc_exchange {
    /* The caller's, of a start: without a policy it may replace what has ended; a policy without an
     * action replaces nothing. */
    bool reuses_ended, has_actions;

    struct th_arena arena;
    const struct th_rpc_method *method;
    void *request;

    struct th_command command; /* points into the arena */

    enum th_grpc_status status;
    struct th_str message;    /* for a person; absent with OK */
    struct th_blob *response; /* NULL: none */
    struct th_blob **chunks;  /* StreamInstanceHistory */
    size_t chunk_count, chunk_capacity;

    /* its own: */
    th_time deadline;
    size_t done;                  /* commands answered so far */
    uint64_t count;               /* instances purged so far */
    struct th_rpc_listed *listed; /* ListInstanceIds: the first ones found so far, in order … */
    size_t listed_count, listed_wanted;
    th_time after_time; /* … behind this one */
    struct th_str after_id;
    char **ids; /* ListInstanceIDs: all found so far */
    size_t id_count, id_capacity, id_bytes;
    uint32_t ignored;        /* StartInstance: bits of statuses in which an instance may stay */
    struct th_str next_page; /* CreateTaskHub, DeleteTaskHub: absent when there is none … */
    bool purged;             /* … and whether only entities are left */
};

/* Takes a request. `deadline`: the call's, by the wall clock; TH_TIME_NONE: none. The bytes are not
 * used after return. */
enum th_rpc_step th_rpc_begin(struct th_rpc_exchange *exchange, const struct th_rpc_method *method,
                              struct th_str bytes, th_time deadline);

/* Takes the reply to the last command; it is not used after return, so this may be called within
 * the gateway's callback. */
enum th_rpc_step th_rpc_reply(struct th_rpc_exchange *exchange, const struct th_reply *reply);

/* Frees everything in it, in any state, and zeroes it. A response that is to live longer needs a
 * reference of its own. */
void th_rpc_end(struct th_rpc_exchange *exchange);

/* OrchestrationState of an instance; without `payloads` input and output stay absent. */
OrchestrationState *th_rpc_state(struct th_arena *arena, const struct th_instance_info *info,
                                 bool payloads);
