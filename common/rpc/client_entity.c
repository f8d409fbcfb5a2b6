/* client_entity: RPCs about entities. */
#include "model/name.h"
#include "rpc/exchange.h"

/* SDKs write the name in lower case, some leave that to the hub. */
static bool take_entity(struct th_rpc_exchange *x, const char *instance_id)
{
    struct th_error error;
    struct th_str id = th_rpc_text_of(instance_id);
    bool shaped = id.len > 1 && id.data[0] == '@' && memchr(id.data + 1, '@', id.len - 1);
    if (!shaped) {
        th_rpc_fail_field(x, "instanceId: an entity's has the form @name@key, not \"%.*s\"",
                          id.len > 100 ? 100 : (int)id.len, id.data);
        return false;
    }
    id = th_entity_id(&x->arena, th_entity_name(id), th_entity_key(id));
    if (!th_entity_id_check(id, &error)) {
        th_rpc_fail(x, &error);
        return false;
    }
    x->command =
        (struct th_command){.instance_id = id, .start_at = TH_TIME_NONE, .deadline = TH_TIME_NONE};
    return true;
}

/* ---- signals ---- */

enum th_rpc_step th_rpc_ask_signal_entity(struct th_rpc_exchange *x)
{
    const SignalEntityRequest *r = x->request;
    if (!take_entity(x, r->instance_id) ||
        !th_rpc_take_time(x, "scheduledTime", r->scheduled_time, &x->command.start_at)) {
        return TH_RPC_DONE;
    }
    x->command.name = th_rpc_text_of(r->name);
    x->command.data = th_rpc_value_of(r->input);
    x->command.request_id = th_rpc_text_or_absent(r->request_id);
    x->command.trace = th_rpc_trace_from(&x->arena, r->parent_trace_context);
    if (x->command.name.len == 0 || x->command.name.len > TH_FUNCTION_NAME_MAX) {
        return th_rpc_fail_field(x, "name has 1 to %d bytes, not %zu", TH_FUNCTION_NAME_MAX,
                                 x->command.name.len);
    }
    return th_rpc_submit(x, TH_COMMAND_SIGNAL);
}

enum th_rpc_step th_rpc_answer_signal_entity(struct th_rpc_exchange *x,
                                             const struct th_reply *reply)
{
    return reply->error.code == TH_OK ? th_rpc_respond_empty(x) : th_rpc_fail(x, &reply->error);
}

/* ---- one ---- */

static EntityMetadata *metadata(struct th_arena *arena, const struct th_instance_info *info,
                                bool state)
{
    EntityMetadata *out = RPC_NEW(arena, EntityMetadata, entity_metadata);
    out->instance_id = th_rpc_text(arena, info->instance_id);
    out->last_modified_time = th_rpc_time(arena, info->updated);
    out->locked_by = th_rpc_value(arena, info->locked_by);
    out->serialized_state = state ? th_rpc_value(arena, info->output) : NULL;
    return out;
}

enum th_rpc_step th_rpc_ask_get_entity(struct th_rpc_exchange *x)
{
    const GetEntityRequest *r = x->request;
    if (!take_entity(x, r->instance_id)) {
        return TH_RPC_DONE;
    }
    x->command.payloads = r->include_state;
    return th_rpc_submit(x, TH_COMMAND_STATUS);
}

/* One without a state does not exist to clients, though it may be locked: some take the state of
 * one that exists for granted. */
enum th_rpc_step th_rpc_answer_get_entity(struct th_rpc_exchange *x, const struct th_reply *reply)
{
    const GetEntityRequest *r = x->request;
    GetEntityResponse response = GET_ENTITY_RESPONSE__INIT;
    if (reply->error.code != TH_OK && reply->error.code != TH_NOT_FOUND) {
        return th_rpc_fail(x, &reply->error);
    }
    response.exists = reply->error.code == TH_OK && reply->info && reply->info->has_state;
    if (response.exists) {
        response.entity = metadata(&x->arena, reply->info, r->include_state);
    }
    return th_rpc_respond(x, &response.base);
}

/* ---- many ---- */

enum th_rpc_step th_rpc_ask_query_entities(struct th_rpc_exchange *x)
{
    static const EntityQuery any = ENTITY_QUERY__INIT;
    const QueryEntitiesRequest *r = x->request;
    const EntityQuery *q = r->query ? r->query : &any;
    struct th_query *out = &x->command.query;
    struct th_str prefix = th_rpc_value_of(q->instance_id_starts_with);
    *out = th_rpc_query(q->page_size ? q->page_size->value : 0);
    out->statuses = TH_STATUS_BIT(TH_STATUS_ENTITY);
    out->payloads = q->include_state;
    out->id_prefix = prefix.len ? prefix : TH_STR_ABSENT;
    /* Of an entity, "completed" is the time of its last batch. */
    if (!th_rpc_take_time(x, "lastModifiedFrom", q->last_modified_from, &out->completed_from) ||
        !th_rpc_take_time(x, "lastModifiedTo", q->last_modified_to, &out->completed_to) ||
        !th_rpc_take_continuation(x, q->continuation_token, &out->continuation)) {
        return TH_RPC_DONE;
    }
    return th_rpc_submit(x, TH_COMMAND_QUERY);
}

enum th_rpc_step th_rpc_answer_query_entities(struct th_rpc_exchange *x,
                                              const struct th_reply *reply)
{
    const QueryEntitiesRequest *r = x->request;
    bool transient = r->query && r->query->include_transient;
    QueryEntitiesResponse response = QUERY_ENTITIES_RESPONSE__INIT;
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    response.entities = TH_ARENA_ARRAY(&x->arena, EntityMetadata *, reply->info_count);
    for (size_t i = 0; i < reply->info_count; i++) {
        if (transient || reply->infos[i].has_state) {
            response.entities[response.n_entities++] =
                metadata(&x->arena, &reply->infos[i], x->command.query.payloads);
        }
    }
    response.continuation_token = th_rpc_continuation(x, reply->continuation);
    return th_rpc_respond(x, &response.base);
}

/* Nothing to do: an entity goes with its state, a lock with the orchestration that holds it. */
enum th_rpc_step th_rpc_ask_clean_entity_storage(struct th_rpc_exchange *x)
{
    const CleanEntityStorageResponse response = CLEAN_ENTITY_STORAGE_RESPONSE__INIT;
    return th_rpc_respond(x, &response.base);
}

enum th_rpc_step th_rpc_answer_clean_entity_storage(struct th_rpc_exchange *x,
                                                    const struct th_reply *reply)
{
    return th_rpc_ask_clean_entity_storage(x); /* no command leads here */
}
