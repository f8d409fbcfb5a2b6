/*
 * message: the protocol's messages between bytes and memory. sidecar.proto says what they are;
 * protobuf-c makes their structs (rpc/sidecar.pb-c.h). Everything in this folder's conversions is
 * pure: no I/O, no clock, no global. All memory is the arena's that is given, so nothing is freed
 * one by one; what is built may point into the arena and into the inputs. Any thread.
 *
 * Text of the protocol is UTF-8 without zero bytes (protobuf-c ends strings with one): unpacking
 * refuses anything else. Payloads of a hub are any bytes; those that are no such text leave as
 * base64, as they do in JSON (model/json.h).
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "rpc/sidecar.pb-c.h"

enum {
    TH_RPC_DEPTH = 64,         /* messages within messages */
    TH_RPC_PARTS_MAX = 1 << 20 /* messages and fields in one; a client that sends more wants our
                                  memory rather than an answer */
};

/*
 * The message of that kind in `bytes`. NULL: INVALID, and `error` names the field ("actions.
 * schedule_task.name") and the rule: truncated, deeper than TH_RPC_DEPTH, more than
 * TH_RPC_PARTS_MAX parts, no UTF-8, a zero byte in a string, of the wrong wire type, a message
 * field that comes twice. Fields that the kind does not have are allowed, and kept as unknown.
 */
void *th_rpc_unpack(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                    struct th_str bytes, struct th_error *error);

/* Its bytes, with one reference. */
struct th_blob *th_rpc_pack(const ProtobufCMessage *message);

/* ---- small pieces ---- */

/* A string field; absent gives "". */
char *th_rpc_text(struct th_arena *arena, struct th_str text);
/* A StringValue; NULL when absent. */
Google__Protobuf__StringValue *th_rpc_value(struct th_arena *arena, struct th_str text);
/* What a string field holds: present, perhaps empty. */
struct th_str th_rpc_text_of(const char *text);
/* The same, but absent when it is empty. */
struct th_str th_rpc_text_or_absent(const char *text);
struct th_str th_rpc_value_of(const Google__Protobuf__StringValue *value);

/* NULL for TH_TIME_NONE. Years outside of 1-9999, which the protocol does not know, become the
 * nearest of them. */
Google__Protobuf__Timestamp *th_rpc_time(struct th_arena *arena, th_time time);
/* TH_TIME_NONE for NULL. What lies between two microseconds becomes the later one, so that nothing
 * fires early. False: INVALID, it is no time of years 1-9999; `field` is for the words. */
bool th_rpc_time_of(const Google__Protobuf__Timestamp *time, const char *field, th_time *out,
                    struct th_error *error);
