/* exchange: what the client RPCs share. Not for other folders. */
#pragma once

#include "rpc/client.h"
#include "rpc/pieces.h"

#define RPC_ROWS_DEFAULT 100
#define RPC_ROWS_MAX     1000
/* Of a page's rows: most SDKs take messages of 4 MiB. */
#define RPC_PAGE_BYTES ((size_t)3 << 20)

struct th_rpc_method {
    const char *name;
    const ProtobufCMessageDescriptor *request;
    enum th_rpc_step (*ask)(struct th_rpc_exchange *x);
    enum th_rpc_step (*answer)(struct th_rpc_exchange *x, const struct th_reply *reply);
};

#define X(name, lower, request)                                     \
    enum th_rpc_step th_rpc_ask_##lower(struct th_rpc_exchange *x); \
    enum th_rpc_step th_rpc_answer_##lower(struct th_rpc_exchange *x, const struct th_reply *reply);
TH_RPC_CLIENT(X)
#undef X

/* Each of these ends the exchange, but th_rpc_submit. */
enum th_rpc_step th_rpc_respond(struct th_rpc_exchange *x, const ProtobufCMessage *response);
enum th_rpc_step th_rpc_respond_empty(struct th_rpc_exchange *x);
enum th_rpc_step th_rpc_fail(struct th_rpc_exchange *x, const struct th_error *error);
enum th_rpc_step th_rpc_fail_field(struct th_rpc_exchange *x, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* INVALID_ARGUMENT */
enum th_rpc_step th_rpc_submit(struct th_rpc_exchange *x, enum th_command_kind kind);

/* Bits of TH_STATUS_BIT. False (the exchange has failed): one is no status. */
bool th_rpc_statuses(struct th_rpc_exchange *x, const char *field, const OrchestrationStatus *list,
                     size_t count, uint32_t *out);
bool th_rpc_take_time(struct th_rpc_exchange *x, const char *field,
                      const Google__Protobuf__Timestamp *time, th_time *out);
/* Continuations of the hub are any bytes; clients get them as base64. */
Google__Protobuf__StringValue *th_rpc_continuation(struct th_rpc_exchange *x, struct th_str bytes);
bool th_rpc_take_continuation(struct th_rpc_exchange *x, const Google__Protobuf__StringValue *token,
                              struct th_str *out);
/* A query's conditions with nothing set. */
struct th_query th_rpc_query(int64_t rows);
