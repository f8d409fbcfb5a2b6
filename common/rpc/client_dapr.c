/* client_dapr: RPCs that only Dapr's clients call. */
#include "rpc/dapr.h"
#include "rpc/dapr.pb-c.h"
#include "rpc/exchange.h"

/* What goes into one answer at most: below the limit of 4 MiB that clients have by themselves. */
#define LIST_BYTES    (3u << 20)
#define HISTORY_BYTES (32u << 20)

/* ---- ListInstanceIDs: all of them, in order of creation ---- */

static enum th_rpc_step ask_for_rows(struct th_rpc_exchange *x)
{
    size_t left = x->listed_wanted - x->id_count;
    struct th_str continuation = x->command.query.continuation;
    x->command.query = th_rpc_query(left < RPC_ROWS_MAX ? (int64_t)left : RPC_ROWS_MAX);
    x->command.query.continuation = continuation;
    return th_rpc_submit(x, TH_COMMAND_QUERY);
}

enum th_rpc_step th_rpc_ask_list_all_ids(struct th_rpc_exchange *x)
{
    const DaprListRequest *r = x->request;
    Google__Protobuf__StringValue token = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    token.value = r->continuation_token;
    x->listed_wanted = r->page_size > 0 ? r->page_size : SIZE_MAX;
    if (!th_rpc_take_continuation(x, &token, &x->command.query.continuation)) {
        return TH_RPC_DONE;
    }
    return ask_for_rows(x);
}

static void add_id(struct th_rpc_exchange *x, struct th_str id)
{
    if (x->id_count == x->id_capacity) {
        size_t capacity = x->id_capacity ? x->id_capacity * 2 : 64;
        char **ids = TH_ARENA_ARRAY(&x->arena, char *, capacity);
        if (x->id_count) {
            memcpy(ids, x->ids, x->id_count * sizeof(char *));
        }
        x->ids = ids;
        x->id_capacity = capacity;
    }
    x->ids[x->id_count++] = th_rpc_text(&x->arena, id);
    x->id_bytes += id.len;
}

enum th_rpc_step th_rpc_answer_list_all_ids(struct th_rpc_exchange *x, const struct th_reply *reply)
{
    DaprListResponse response = DAPR_LIST_RESPONSE__INIT;
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    for (size_t i = 0; i < reply->info_count; i++) {
        if (reply->infos[i].status != TH_STATUS_ENTITY) {
            add_id(x, reply->infos[i].instance_id);
        }
    }
    if (reply->continuation.len > 0 && x->id_count < x->listed_wanted && x->id_bytes < LIST_BYTES) {
        x->command.query.continuation = th_arena_str(&x->arena, reply->continuation);
        return ask_for_rows(x);
    }
    Google__Protobuf__StringValue *token = th_rpc_continuation(x, reply->continuation);
    response.n_instance_ids = x->id_count;
    response.instance_ids = x->ids;
    if (token) {
        response.continuation_token = token->value;
    }
    return th_rpc_respond(x, &response.base);
}

/* ---- GetInstanceHistory: in one message ---- */

enum th_rpc_step th_rpc_ask_get_instance_history(struct th_rpc_exchange *x)
{
    return th_rpc_ask_stream_instance_history(x);
}

/* Without the fields that mean something else to Dapr. */
static enum th_rpc_step respond_to_dapr(struct th_rpc_exchange *x, const ProtobufCMessage *response)
{
    struct th_error error;
    struct th_str bytes;
    struct th_blob *packed = th_rpc_pack(response);
    bool ok = th_rpc_dapr(&x->arena, response->descriptor, th_blob_view(packed), &bytes, &error);
    if (!ok) {
        th_blob_unref(packed);
        return th_rpc_fail(x, &error);
    }
    x->response = th_blob_new(bytes.data, bytes.len);
    x->status = TH_GRPC_OK;
    th_blob_unref(packed);
    return TH_RPC_DONE;
}

enum th_rpc_step th_rpc_answer_get_instance_history(struct th_rpc_exchange *x,
                                                    const struct th_reply *reply)
{
    HistoryChunk response = HISTORY_CHUNK__INIT;
    struct th_error error;
    if (reply->error.code != TH_OK) {
        return th_rpc_fail(x, &reply->error);
    }
    response.events =
        th_rpc_events(&x->arena, reply->history.items, reply->history.count, &response.n_events);
    size_t size = protobuf_c_message_get_packed_size(&response.base);
    if (size > HISTORY_BYTES) {
        th_fail(&error, TH_TOO_LARGE,
                "the history of instance \"%.*s\" has %zu bytes, above the limit of %u of one "
                "message (StreamInstanceHistory gives it in pieces)",
                TH_PRI(x->command.instance_id), size, HISTORY_BYTES);
        return th_rpc_fail(x, &error);
    }
    return respond_to_dapr(x, &response.base);
}
