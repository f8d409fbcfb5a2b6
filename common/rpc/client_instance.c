/* client_instance: RPCs about one instance. */
#include "model/name.h"
#include "rpc/exchange.h"

#define CODE_BIT(code) (1u << (code))

/* Orchestrations only, except where `entities` says otherwise. False: it has failed. */
static bool take_id(struct th_rpc_exchange *x, const char *instance_id, bool entities)
{
    struct th_str id = th_rpc_text_of(instance_id);
    if (id.len == 0 || id.len > TH_INSTANCE_ID_MAX) {
        th_rpc_fail_field(x, "instanceId has 1 to %d bytes, not %zu", TH_INSTANCE_ID_MAX, id.len);
        return false;
    }
    if (!entities && th_is_entity(id)) {
        th_rpc_fail_field(x, "instanceId: \"%.*s\" is an entity's", TH_PRI(id));
        return false;
    }
    x->command =
        (struct th_command){.instance_id = id, .start_at = TH_TIME_NONE, .deadline = TH_TIME_NONE};
    return true;
}

static bool take_name(struct th_rpc_exchange *x, const char *name)
{
    x->command.name = th_rpc_text_of(name);
    if (x->command.name.len > 0 && x->command.name.len <= TH_FUNCTION_NAME_MAX) {
        return true;
    }
    th_rpc_fail_field(x, "name has 1 to %d bytes, not %zu", TH_FUNCTION_NAME_MAX,
                      x->command.name.len);
    return false;
}

/* `fine`: CODE_BITs of errors that are none for this RPC. */
static enum th_rpc_step answer_empty(struct th_rpc_exchange *x, const struct th_reply *reply,
                                     unsigned fine)
{
    return CODE_BIT(reply->error.code) & (fine | CODE_BIT(TH_OK)) ? th_rpc_respond_empty(x)
                                                                  : th_rpc_fail(x, &reply->error);
}

/* ---- start ---- */

/* Policies once had an action, which says what the statuses are for; Go's SDK still sends it. As an
 * enumeration's first value, ERROR does not travel. */
enum { ACTION = 2, ACTION_ERROR = 0, ACTION_IGNORE, ACTION_TERMINATE };

static int action_of(const struct th_rpc_exchange *x, const OrchestrationIdReusePolicy *policy)
{
    for (unsigned i = 0; i < policy->base.n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &policy->base.unknown_fields[i];
        if (field->tag == ACTION && field->len == 1) {
            return field->data[0];
        }
    }
    return x->has_actions ? ACTION_ERROR : -1;
}

static bool take_action(struct th_rpc_exchange *x, int action, uint32_t statuses)
{
    switch (action) {
    case ACTION_ERROR:
        return true;
    case ACTION_IGNORE:
        x->ignored = statuses;
        return true;
    case ACTION_TERMINATE: /* what runs is Terminated on the way */
        x->command.reuse = statuses & ~TH_REUSE_TERMINAL
                               ? statuses | TH_STATUS_BIT(TH_STATUS_TERMINATED)
                               : statuses;
        return true;
    default:
        th_rpc_fail_field(x, "orchestrationIdReusePolicy: %d is no action", action);
        return false;
    }
}

/* Whoever may replace a running instance ends it first, so that it is Terminated on the way. The
 * words are the Durable Task Scheduler's, which clients look for. */
static bool take_reuse(struct th_rpc_exchange *x, const OrchestrationIdReusePolicy *policy)
{
    const uint32_t running = TH_STATUS_BIT(TH_STATUS_RUNNING) | TH_STATUS_BIT(TH_STATUS_PENDING) |
                             TH_STATUS_BIT(TH_STATUS_SUSPENDED);
    uint32_t statuses;
    if (!policy) {
        x->command.reuse = x->reuses_ended ? TH_REUSE_TERMINAL : TH_REUSE_NEVER;
        return true;
    }
    if (!th_rpc_statuses(x, "orchestrationIdReusePolicy", policy->replaceable_status,
                         policy->n_replaceable_status, &statuses)) {
        return false;
    }
    int action = action_of(x, policy);
    if (action >= 0) {
        return take_action(x, action, statuses);
    }
    if (statuses & running && !(statuses & TH_STATUS_BIT(TH_STATUS_TERMINATED))) {
        th_rpc_fail_field(x, "Invalid reusable statuses: cannot exclude 'Terminated' while also "
                             "allowing reuse of running instances");
        return false;
    }
    x->command.reuse = statuses;
    return true;
}

enum th_rpc_step th_rpc_ask_start_instance(struct th_rpc_exchange *x)
{
    const CreateInstanceRequest *r = x->request;
    struct th_error error;
    x->command = (struct th_command){
        .instance_id = th_rpc_text_or_absent(r->instance_id),
        .version = th_rpc_value_of(r->version),
        .data = th_rpc_value_of(r->input),
        .deadline = TH_TIME_NONE,
        .tags = th_rpc_tags_from(&x->arena, r->tags, r->n_tags),
        .trace = th_rpc_trace_from(&x->arena, r->parent_trace_context),
    };
    if (th_str_present(x->command.instance_id) &&
        !th_instance_id_check_any(x->command.instance_id, &error)) {
        return th_rpc_fail(x, &error);
    }
    /* JavaScript clients always send a time, 1970 for "now"; a past one is now to the hub. */
    if (!take_name(x, r->name) || !take_reuse(x, r->orchestration_id_reuse_policy) ||
        !th_rpc_take_time(x, "scheduledStartTimestamp", r->scheduled_start_timestamp,
                          &x->command.start_at)) {
        return TH_RPC_DONE;
    }
    return th_rpc_submit(x, TH_COMMAND_START);
}

/* The id is in use; perhaps by an instance that makes the start one to be ignored. */
static enum th_rpc_step answer_ignored(struct th_rpc_exchange *x, const struct th_reply *reply)
{
    CreateInstanceResponse response = CREATE_INSTANCE_RESPONSE__INIT;
    struct th_error exists;
    if (reply->error.code == TH_OK && reply->info &&
        x->ignored & TH_STATUS_BIT(reply->info->status)) {
        response.instance_id = th_rpc_text(&x->arena, x->command.instance_id);
        return th_rpc_respond(x, &response.base);
    }
    th_fail(&exists, TH_EXISTS, "instance \"%.*s\" already exists", TH_PRI(x->command.instance_id));
    return th_rpc_fail(x, &exists);
}

enum th_rpc_step th_rpc_answer_start_instance(struct th_rpc_exchange *x,
                                              const struct th_reply *reply)
{
    CreateInstanceResponse response = CREATE_INSTANCE_RESPONSE__INIT;
    if (x->command.kind == TH_COMMAND_STATUS) {
        return answer_ignored(x, reply);
    }
    if (reply->error.code == TH_EXISTS && x->ignored) {
        return th_rpc_submit(x, TH_COMMAND_STATUS);
    }
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    response.instance_id = th_rpc_text(&x->arena, reply->instance_id);
    return th_rpc_respond(x, &response.base);
}

/* ---- status, and waiting for one ---- */

OrchestrationState *th_rpc_state(struct th_arena *arena, const struct th_instance_info *info,
                                 bool payloads)
{
    OrchestrationState *out = RPC_NEW(arena, OrchestrationState, orchestration_state);
    out->instance_id = th_rpc_text(arena, info->instance_id);
    out->name = th_rpc_text(arena, info->name);
    out->version = th_rpc_value(arena, info->version);
    out->orchestration_status = (OrchestrationStatus)info->status;
    out->scheduled_start_timestamp = th_rpc_time(arena, info->scheduled);
    out->created_timestamp = th_rpc_time(arena, info->created);
    out->last_updated_timestamp = th_rpc_time(arena, info->updated);
    out->completed_timestamp = th_rpc_time(arena, info->completed);
    out->input = payloads ? th_rpc_value(arena, info->input) : NULL;
    out->output = payloads ? th_rpc_value(arena, info->output) : NULL;
    out->custom_status = th_rpc_value(arena, info->custom_status);
    out->failure_details = th_rpc_failure(arena, info->failure);
    out->execution_id = th_rpc_value(arena, info->execution_id);
    out->parent_instance_id = info->parent ? th_rpc_value(arena, info->parent->instance_id) : NULL;
    out->n_tags = info->tags.count;
    out->tags = th_rpc_tags(arena, &orchestration_state__tags_entry__descriptor, info->tags);
    return out;
}

/* NULL: it does not exist. */
static enum th_rpc_step respond_state(struct th_rpc_exchange *x,
                                      const struct th_instance_info *info, bool payloads)
{
    GetInstanceResponse response = GET_INSTANCE_RESPONSE__INIT;
    response.exists = info != NULL;
    response.orchestration_state = info ? th_rpc_state(&x->arena, info, payloads) : NULL;
    return th_rpc_respond(x, &response.base);
}

static enum th_rpc_step answer_state(struct th_rpc_exchange *x, const struct th_reply *reply,
                                     bool payloads)
{
    bool entity = reply->info && reply->info->status == TH_STATUS_ENTITY;
    if (reply->error.code == TH_NOT_FOUND || (reply->error.code == TH_OK && entity)) {
        return respond_state(x, NULL, false);
    }
    return reply->error.code == TH_OK ? respond_state(x, reply->info, payloads)
                                      : th_rpc_fail(x, &reply->error);
}

enum th_rpc_step th_rpc_ask_get_instance(struct th_rpc_exchange *x)
{
    const GetInstanceRequest *r = x->request;
    if (!take_id(x, r->instance_id, true)) {
        return TH_RPC_DONE;
    }
    if (th_is_entity(x->command.instance_id)) {
        return respond_state(x, NULL, false);
    }
    x->command.payloads = r->get_inputs_and_outputs;
    return th_rpc_submit(x, TH_COMMAND_STATUS);
}

enum th_rpc_step th_rpc_answer_get_instance(struct th_rpc_exchange *x, const struct th_reply *reply)
{
    const GetInstanceRequest *r = x->request;
    return answer_state(x, reply, r->get_inputs_and_outputs);
}

static enum th_rpc_step ask_wait(struct th_rpc_exchange *x, bool until_started)
{
    const GetInstanceRequest *r = x->request;
    if (!take_id(x, r->instance_id, false)) {
        return TH_RPC_DONE;
    }
    x->command.payloads = r->get_inputs_and_outputs;
    x->command.until_started = until_started;
    x->command.deadline = x->deadline;
    return th_rpc_submit(x, TH_COMMAND_WAIT);
}

enum th_rpc_step th_rpc_ask_wait_for_instance_start(struct th_rpc_exchange *x)
{
    return ask_wait(x, true);
}

enum th_rpc_step th_rpc_answer_wait_for_instance_start(struct th_rpc_exchange *x,
                                                       const struct th_reply *reply)
{
    return th_rpc_answer_get_instance(x, reply);
}

enum th_rpc_step th_rpc_ask_wait_for_instance_completion(struct th_rpc_exchange *x)
{
    return ask_wait(x, false);
}

enum th_rpc_step th_rpc_answer_wait_for_instance_completion(struct th_rpc_exchange *x,
                                                            const struct th_reply *reply)
{
    return th_rpc_answer_get_instance(x, reply);
}

/* ---- messages to one: the Scheduler drops what nobody can take, without a word ---- */

enum th_rpc_step th_rpc_ask_raise_event(struct th_rpc_exchange *x)
{
    const RaiseEventRequest *r = x->request;
    if (!take_id(x, r->instance_id, false) || !take_name(x, r->name)) {
        return TH_RPC_DONE;
    }
    x->command.data = th_rpc_value_of(r->input);
    return th_rpc_submit(x, TH_COMMAND_RAISE);
}

enum th_rpc_step th_rpc_answer_raise_event(struct th_rpc_exchange *x, const struct th_reply *reply)
{
    return answer_empty(x, reply, CODE_BIT(TH_NOT_FOUND) | CODE_BIT(TH_GONE));
}

enum th_rpc_step th_rpc_ask_terminate_instance(struct th_rpc_exchange *x)
{
    const TerminateRequest *r = x->request;
    if (!take_id(x, r->instance_id, false)) {
        return TH_RPC_DONE;
    }
    x->command.data = th_rpc_value_of(r->output);
    x->command.recursive = r->recursive;
    return th_rpc_submit(x, TH_COMMAND_TERMINATE);
}

enum th_rpc_step th_rpc_answer_terminate_instance(struct th_rpc_exchange *x,
                                                  const struct th_reply *reply)
{
    return answer_empty(x, reply, CODE_BIT(TH_NOT_FOUND) | CODE_BIT(TH_GONE));
}

static enum th_rpc_step ask_with_reason(struct th_rpc_exchange *x, enum th_command_kind kind,
                                        const char *instance_id,
                                        const Google__Protobuf__StringValue *reason)
{
    if (!take_id(x, instance_id, false)) {
        return TH_RPC_DONE;
    }
    x->command.reason = th_rpc_value_of(reason);
    return th_rpc_submit(x, kind);
}

enum th_rpc_step th_rpc_ask_suspend_instance(struct th_rpc_exchange *x)
{
    const SuspendRequest *r = x->request;
    return ask_with_reason(x, TH_COMMAND_SUSPEND, r->instance_id, r->reason);
}

enum th_rpc_step th_rpc_answer_suspend_instance(struct th_rpc_exchange *x,
                                                const struct th_reply *reply)
{
    return answer_empty(x, reply, CODE_BIT(TH_GONE));
}

enum th_rpc_step th_rpc_ask_resume_instance(struct th_rpc_exchange *x)
{
    const ResumeRequest *r = x->request;
    return ask_with_reason(x, TH_COMMAND_RESUME, r->instance_id, r->reason);
}

enum th_rpc_step th_rpc_answer_resume_instance(struct th_rpc_exchange *x,
                                               const struct th_reply *reply)
{
    return answer_empty(x, reply, CODE_BIT(TH_GONE));
}

/* ---- once more ---- */

enum th_rpc_step th_rpc_ask_rewind_instance(struct th_rpc_exchange *x)
{
    const RewindInstanceRequest *r = x->request;
    return ask_with_reason(x, TH_COMMAND_REWIND, r->instance_id, r->reason);
}

enum th_rpc_step th_rpc_answer_rewind_instance(struct th_rpc_exchange *x,
                                               const struct th_reply *reply)
{
    return answer_empty(x, reply, 0);
}

enum th_rpc_step th_rpc_ask_restart_instance(struct th_rpc_exchange *x)
{
    const RestartInstanceRequest *r = x->request;
    if (!take_id(x, r->instance_id, false)) {
        return TH_RPC_DONE;
    }
    x->command.new_id = r->restart_with_new_instance_id;
    return th_rpc_submit(x, TH_COMMAND_RESTART);
}

enum th_rpc_step th_rpc_answer_restart_instance(struct th_rpc_exchange *x,
                                                const struct th_reply *reply)
{
    RestartInstanceResponse response = RESTART_INSTANCE_RESPONSE__INIT;
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    response.instance_id = th_rpc_text(&x->arena, reply->instance_id);
    return th_rpc_respond(x, &response.base);
}

/* ---- history ---- */

enum th_rpc_step th_rpc_ask_stream_instance_history(struct th_rpc_exchange *x)
{
    const StreamInstanceHistoryRequest *r = x->request;
    if (!take_id(x, r->instance_id, false)) {
        return TH_RPC_DONE;
    }
    x->command.history = true;
    return th_rpc_submit(x, TH_COMMAND_STATUS);
}

static bool keep_chunk(void *argument, struct th_blob *chunk)
{
    struct th_rpc_exchange *x = argument;
    if (x->chunk_count == x->chunk_capacity) {
        size_t capacity = x->chunk_capacity ? x->chunk_capacity * 2 : 8;
        struct th_blob **chunks = TH_ARENA_ARRAY(&x->arena, struct th_blob *, capacity);
        if (x->chunk_count) {
            memcpy(chunks, x->chunks, x->chunk_count * sizeof(struct th_blob *));
        }
        x->chunks = chunks;
        x->chunk_capacity = capacity;
    }
    x->chunks[x->chunk_count++] = chunk;
    return true;
}

enum th_rpc_step th_rpc_answer_stream_instance_history(struct th_rpc_exchange *x,
                                                       const struct th_reply *reply)
{
    const StreamInstanceHistoryRequest *r = x->request;
    struct th_str execution = th_rpc_value_of(r->execution_id);
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    if (execution.len && reply->info && !th_str_eq(execution, reply->info->execution_id)) {
        struct th_error over;
        th_fail(&over, TH_NOT_FOUND, "executionId: instance \"%.*s\" is in another execution",
                TH_PRI(x->command.instance_id));
        return th_rpc_fail(x, &over);
    }
    th_rpc_chunks(reply->history.items, reply->history.count, keep_chunk, x);
    x->status = TH_GRPC_OK;
    return TH_RPC_DONE;
}
