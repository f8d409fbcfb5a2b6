/* client_many: RPCs about the instances that fit. */
#include <limits.h>

#include "model/name.h"
#include "rpc/exchange.h"

/* ---- queries ---- */

enum th_rpc_step th_rpc_ask_query_instances(struct th_rpc_exchange *x)
{
    static const InstanceQuery any = INSTANCE_QUERY__INIT;
    const QueryInstancesRequest *r = x->request;
    const InstanceQuery *q = r->query ? r->query : &any;
    struct th_query *out = &x->command.query;
    struct th_str prefix = th_rpc_value_of(q->instance_id_prefix);
    *out = th_rpc_query(q->max_instance_count);
    out->payloads = q->fetch_inputs_and_outputs;
    out->id_prefix = prefix.len ? prefix : TH_STR_ABSENT;
    if (!th_rpc_statuses(x, "runtimeStatus", q->runtime_status, q->n_runtime_status,
                         &out->statuses) ||
        !th_rpc_take_time(x, "createdTimeFrom", q->created_time_from, &out->from) ||
        !th_rpc_take_time(x, "createdTimeTo", q->created_time_to, &out->to) ||
        !th_rpc_take_continuation(x, q->continuation_token, &out->continuation)) {
        return TH_RPC_DONE;
    }
    return th_rpc_submit(x, TH_COMMAND_QUERY);
}

enum th_rpc_step th_rpc_answer_query_instances(struct th_rpc_exchange *x,
                                               const struct th_reply *reply)
{
    QueryInstancesResponse response = QUERY_INSTANCES_RESPONSE__INIT;
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    response.orchestration_state =
        TH_ARENA_ARRAY(&x->arena, OrchestrationState *, reply->info_count);
    for (size_t i = 0; i < reply->info_count; i++) {
        if (reply->infos[i].status != TH_STATUS_ENTITY) {
            response.orchestration_state[response.n_orchestration_state++] =
                th_rpc_state(&x->arena, &reply->infos[i], x->command.query.payloads);
        }
    }
    response.continuation_token = th_rpc_continuation(x, reply->continuation);
    return th_rpc_respond(x, &response.base);
}

/*
 * ---- ids in the order in which instances ended ----
 *
 * The hub lists by creation; whoever exports as instances end needs the other order, or would miss
 * those that were created early and end late. So every page looks through all that ended since the
 * last one's time, and keeps the first ones.
 */

struct th_rpc_listed {
    th_time completed;
    struct th_str id;
};

static int compare(th_time time, struct th_str id, th_time other_time, struct th_str other_id)
{
    if (time != other_time) {
        return time < other_time ? -1 : 1;
    }
    return th_str_cmp(id, other_id);
}

/* "<microseconds>:<instance id>" */
static bool take_key(struct th_rpc_exchange *x, struct th_str key)
{
    const char *colon = key.len ? memchr(key.data, ':', key.len) : NULL;
    long long time;
    x->after_time = TH_TIME_NONE;
    if (key.len == 0) {
        return true;
    }
    if (!colon || !th_str_to_i64(th_str_n(key.data, (size_t)(colon - key.data)), &time)) {
        th_rpc_fail_field(x, "lastInstanceKey: it is not one that this hub gave");
        return false;
    }
    x->after_time = time;
    x->after_id = th_str_n(colon + 1, (size_t)(key.data + key.len - colon - 1));
    return true;
}

static enum th_rpc_step respond_listed(struct th_rpc_exchange *x)
{
    ListInstanceIdsResponse response = LIST_INSTANCE_IDS_RESPONSE__INIT;
    bool more = x->listed_count > x->listed_wanted;
    response.n_instance_ids = more ? x->listed_wanted : x->listed_count;
    response.instance_ids = TH_ARENA_ARRAY(&x->arena, char *, response.n_instance_ids);
    for (size_t i = 0; i < response.n_instance_ids; i++) {
        response.instance_ids[i] = th_rpc_text(&x->arena, x->listed[i].id);
    }
    if (more) {
        const struct th_rpc_listed *last = &x->listed[x->listed_wanted - 1];
        response.last_instance_key =
            th_rpc_value(&x->arena, th_arena_format(&x->arena, "%lld:%.*s",
                                                    (long long)last->completed, TH_PRI(last->id)));
    }
    return th_rpc_respond(x, &response.base);
}

enum th_rpc_step th_rpc_ask_list_instance_ids(struct th_rpc_exchange *x)
{
    const ListInstanceIdsRequest *r = x->request;
    struct th_query *out = &x->command.query;
    x->listed_wanted = th_rpc_query(r->page_size).limit;
    x->listed = TH_ARENA_ARRAY(&x->arena, struct th_rpc_listed, x->listed_wanted + 2);
    *out = th_rpc_query(RPC_ROWS_MAX);
    if (!th_rpc_statuses(x, "runtimeStatus", r->runtime_status, r->n_runtime_status,
                         &out->statuses) ||
        !th_rpc_take_time(x, "completedTimeFrom", r->completed_time_from, &out->completed_from) ||
        !th_rpc_take_time(x, "completedTimeTo", r->completed_time_to, &out->completed_to) ||
        !take_key(x, th_rpc_value_of(r->last_instance_key))) {
        return TH_RPC_DONE;
    }
    out->statuses = out->statuses ? out->statuses & TH_REUSE_TERMINAL : TH_REUSE_TERMINAL;
    if (!out->statuses) {
        return respond_listed(x);
    }
    if (x->after_time > out->completed_from) { /* "none" is the least of all times */
        out->completed_from = x->after_time;
    }
    return th_rpc_submit(x, TH_COMMAND_QUERY);
}

/* Keeps the first ones: one more than wanted, which tells that there are more. */
static void list(struct th_rpc_exchange *x, const struct th_instance_info *info)
{
    size_t at = x->listed_count;
    if (info->completed == TH_TIME_NONE ||
        (x->after_time != TH_TIME_NONE &&
         compare(info->completed, info->instance_id, x->after_time, x->after_id) <= 0)) {
        return;
    }
    while (at > 0 && compare(info->completed, info->instance_id, x->listed[at - 1].completed,
                             x->listed[at - 1].id) < 0) {
        at--;
    }
    if (at > x->listed_wanted) {
        return;
    }
    memmove(&x->listed[at + 1], &x->listed[at], (x->listed_count - at) * sizeof(x->listed[0]));
    x->listed[at] =
        (struct th_rpc_listed){info->completed, th_arena_str(&x->arena, info->instance_id)};
    if (x->listed_count <= x->listed_wanted) {
        x->listed_count++;
    }
}

enum th_rpc_step th_rpc_answer_list_instance_ids(struct th_rpc_exchange *x,
                                                 const struct th_reply *reply)
{
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    for (size_t i = 0; i < reply->info_count; i++) {
        list(x, &reply->infos[i]);
    }
    if (reply->continuation.len == 0) {
        return respond_listed(x);
    }
    x->command.query.continuation = th_arena_str(&x->arena, reply->continuation);
    return th_rpc_submit(x, TH_COMMAND_QUERY);
}

/* ---- purge ---- */

static enum th_rpc_step respond_purged(struct th_rpc_exchange *x)
{
    PurgeInstancesResponse response = PURGE_INSTANCES_RESPONSE__INIT;
    Google__Protobuf__BoolValue complete = GOOGLE__PROTOBUF__BOOL_VALUE__INIT;
    complete.value = true;
    response.deleted_instance_count = x->count > INT32_MAX ? INT32_MAX : (int32_t)x->count;
    response.is_complete = &complete;
    return th_rpc_respond(x, &response.base);
}

static enum th_rpc_step purge_one(struct th_rpc_exchange *x, const char *instance_id)
{
    const PurgeInstancesRequest *r = x->request;
    struct th_str id = th_rpc_text_of(instance_id);
    if (id.len == 0 || id.len > TH_INSTANCE_ID_MAX) {
        return th_rpc_fail_field(x, "instanceId has 1 to %d bytes, not %zu", TH_INSTANCE_ID_MAX,
                                 id.len);
    }
    x->command = (struct th_command){.instance_id = id, .recursive = r->recursive};
    return th_rpc_submit(x, TH_COMMAND_PURGE);
}

/* The time-out is not looked at: a hub's purge is as fast as its storage, and always complete. */
static enum th_rpc_step purge_by(struct th_rpc_exchange *x)
{
    const PurgeInstancesRequest *r = x->request;
    const PurgeInstanceFilter *f = r->purge_instance_filter;
    struct th_query *out = &x->command.query;
    *out = th_rpc_query(RPC_ROWS_MAX);
    if (!th_rpc_statuses(x, "runtimeStatus", f->runtime_status, f->n_runtime_status,
                         &out->statuses) ||
        !th_rpc_take_time(x, "createdTimeFrom", f->created_time_from, &out->from) ||
        !th_rpc_take_time(x, "createdTimeTo", f->created_time_to, &out->to)) {
        return TH_RPC_DONE;
    }
    out->statuses = out->statuses ? out->statuses & TH_REUSE_TERMINAL : TH_REUSE_TERMINAL;
    x->command.recursive = r->recursive;
    return out->statuses ? th_rpc_submit(x, TH_COMMAND_PURGE_BY) : respond_purged(x);
}

enum th_rpc_step th_rpc_ask_purge_instances(struct th_rpc_exchange *x)
{
    const PurgeInstancesRequest *r = x->request;
    switch (r->request_case) {
    case PURGE_INSTANCES_REQUEST__REQUEST_INSTANCE_ID:
        return purge_one(x, r->instance_id);
    case PURGE_INSTANCES_REQUEST__REQUEST_PURGE_INSTANCE_FILTER:
        return purge_by(x);
    case PURGE_INSTANCES_REQUEST__REQUEST_INSTANCE_BATCH:
        return r->instance_batch->n_instance_ids ? purge_one(x, r->instance_batch->instance_ids[0])
                                                 : respond_purged(x);
    default:
        return th_rpc_fail_field(x, "request: one of instanceId, purgeInstanceFilter and "
                                    "instanceBatch is needed");
    }
}

/* What is not there, or has not ended, is not purged, and that is no error. */
enum th_rpc_step th_rpc_answer_purge_instances(struct th_rpc_exchange *x,
                                               const struct th_reply *reply)
{
    const PurgeInstancesRequest *r = x->request;
    enum th_code code = reply->error.code;
    if (code != TH_OK && code != TH_NOT_FOUND && code != TH_PRECONDITION) {
        return th_rpc_fail(x, &reply->error);
    }
    x->count += code == TH_OK ? reply->count : 0;
    if (r->request_case == PURGE_INSTANCES_REQUEST__REQUEST_INSTANCE_BATCH &&
        x->done < r->instance_batch->n_instance_ids) {
        return purge_one(x, r->instance_batch->instance_ids[x->done]);
    }
    return respond_purged(x);
}
