/* client: the table of client RPCs, and the pieces that they share. */
#include "rpc/client.h"

#include <stdarg.h>
#include <stdio.h>

#include "model/base64.h"
#include "rpc/dapr.pb-c.h"
#include "rpc/exchange.h"

static const struct th_rpc_method methods[] = {
#define X(name, lower, request) \
    {#name, &request##__descriptor, th_rpc_ask_##lower, th_rpc_answer_##lower},
    TH_RPC_CLIENT(X)
#undef X
};

enum { METHODS = sizeof(methods) / sizeof(methods[0]) };

const struct th_rpc_method *th_rpc_method_at(size_t index)
{
    return index < METHODS ? &methods[index] : NULL;
}

const struct th_rpc_method *th_rpc_method(struct th_str name)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (th_str_eq(name, th_str_of(methods[i].name))) {
            return &methods[i];
        }
    }
    return NULL;
}

const char *th_rpc_method_name(const struct th_rpc_method *method)
{
    return method->name;
}

const ProtobufCMessageDescriptor *th_rpc_method_request(const struct th_rpc_method *method)
{
    return method->request;
}

/* ---- exchanges ---- */

enum th_rpc_step th_rpc_begin(struct th_rpc_exchange *x, const struct th_rpc_method *method,
                              struct th_str bytes, th_time deadline)
{
    struct th_error error;
    x->method = method;
    x->deadline = deadline;
    x->request = th_rpc_unpack(&x->arena, method->request, bytes, &error);
    return x->request ? method->ask(x) : th_rpc_fail(x, &error);
}

enum th_rpc_step th_rpc_reply(struct th_rpc_exchange *x, const struct th_reply *reply)
{
    x->done++;
    return x->method->answer(x, reply);
}

void th_rpc_end(struct th_rpc_exchange *x)
{
    th_blob_unref(x->response);
    for (size_t i = 0; i < x->chunk_count; i++) {
        th_blob_unref(x->chunks[i]);
    }
    th_arena_deinit(&x->arena);
    *x = (struct th_rpc_exchange){0};
}

/* ---- how they end ---- */

enum th_rpc_step th_rpc_respond(struct th_rpc_exchange *x, const ProtobufCMessage *response)
{
    x->status = TH_GRPC_OK;
    x->response = th_rpc_pack(response);
    return TH_RPC_DONE;
}

enum th_rpc_step th_rpc_respond_empty(struct th_rpc_exchange *x)
{
    x->status = TH_GRPC_OK;
    x->response = th_blob_alloc(0);
    return TH_RPC_DONE;
}

enum th_rpc_step th_rpc_fail(struct th_rpc_exchange *x, const struct th_error *error)
{
    x->status = (enum th_grpc_status)th_code_grpc(error->code);
    x->message = th_arena_str(&x->arena, th_str_of(error->message));
    return TH_RPC_DONE;
}

enum th_rpc_step th_rpc_fail_field(struct th_rpc_exchange *x, const char *format, ...)
{
    struct th_error error = {.code = TH_INVALID};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.message, sizeof(error.message), format, arguments);
    va_end(arguments);
    return th_rpc_fail(x, &error);
}

enum th_rpc_step th_rpc_submit(struct th_rpc_exchange *x, enum th_command_kind kind)
{
    x->command.kind = kind;
    return TH_RPC_COMMAND;
}

/* ---- pieces of requests ---- */

bool th_rpc_statuses(struct th_rpc_exchange *x, const char *field, const OrchestrationStatus *list,
                     size_t count, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if ((unsigned)list[i] > TH_STATUS_SUSPENDED) {
            th_rpc_fail_field(x, "%s: there is no status %d", field, (int)list[i]);
            return false;
        }
        *out |= TH_STATUS_BIT((unsigned)list[i]);
    }
    return true;
}

bool th_rpc_take_time(struct th_rpc_exchange *x, const char *field,
                      const Google__Protobuf__Timestamp *time, th_time *out)
{
    struct th_error error;
    if (th_rpc_time_of(time, field, out, &error)) {
        return true;
    }
    th_rpc_fail(x, &error);
    return false;
}

Google__Protobuf__StringValue *th_rpc_continuation(struct th_rpc_exchange *x, struct th_str bytes)
{
    return bytes.len ? th_rpc_value(&x->arena, th_base64_encode(&x->arena, bytes)) : NULL;
}

bool th_rpc_take_continuation(struct th_rpc_exchange *x, const Google__Protobuf__StringValue *token,
                              struct th_str *out)
{
    struct th_str text = th_rpc_value_of(token);
    *out = TH_STR_ABSENT;
    if (text.len == 0 || th_base64_decode(&x->arena, text, out)) {
        return true;
    }
    th_rpc_fail_field(x, "continuationToken: it is not one that this hub gave");
    return false;
}

struct th_query th_rpc_query(int64_t rows)
{
    return (struct th_query){
        .from = TH_TIME_NONE,
        .to = TH_TIME_NONE,
        .completed_from = TH_TIME_NONE,
        .completed_to = TH_TIME_NONE,
        .limit = (uint32_t)(rows <= 0             ? RPC_ROWS_DEFAULT
                            : rows < RPC_ROWS_MAX ? rows
                                                  : RPC_ROWS_MAX),
        .bytes = RPC_PAGE_BYTES,
    };
}
