#include "rpc/dapr.h"

#include "rpc/wire.h"

/*
 * Message, number: what Microsoft's definition has there | what Dapr's has. From the two projects'
 * definitions (contracts 1.2). Numbers that only one of them has need not be here: they are unknown
 * to the other side, which passes over them.
 */
static const struct {
    const ProtobufCMessageDescriptor *kind;
    uint32_t number;
} others[] = {
    {&activity_request__descriptor, 7},        /* tags | task execution id */
    {&task_scheduled_event__descriptor, 5},    /* tags | task execution id */
    {&orchestrator_request__descriptor, 7},    /* properties | router */
    {&orchestrator_request__descriptor, 8},    /* trace | propagated history */
    {&orchestrator_response__descriptor, 6},   /* trace | version and patches */
    {&purge_instances_request__descriptor, 4}, /* batch | force */
    {&history_event__descriptor, 30},          /* rewound | router */
    {&orchestrator_action__descriptor, 9},     /* rewind | router */
    {&schedule_task_action__descriptor, 4},    /* tags | reserved */
    {&schedule_task_action__descriptor, 5},    /* trace | task execution id */
};

static bool is_other(const ProtobufCMessageDescriptor *kind, uint32_t number)
{
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i].kind == kind && others[i].number == number) {
            return true;
        }
    }
    return false;
}

static void put_number(struct th_buffer *out, uint64_t number)
{
    do {
        char byte = (char)((number & 0x7f) | (number > 0x7f ? 0x80 : 0));
        th_buffer_add(out, &byte, 1);
        number >>= 7;
    } while (number);
}

static bool copy(struct th_buffer *out, const ProtobufCMessageDescriptor *kind, struct th_str bytes,
                 unsigned depth, struct th_error *error);

static bool copy_nested(struct th_buffer *out, const ProtobufCFieldDescriptor *field,
                        const struct th_rpc_wire_field *found, unsigned depth,
                        struct th_error *error)
{
    TH_BUFFER inner = {0};
    if (!copy(&inner, field->descriptor, found->bytes, depth + 1, error)) {
        return false;
    }
    put_number(out, (uint64_t)found->number << 3 | TH_RPC_WIRE_BYTES);
    put_number(out, inner.len);
    th_buffer_add(out, inner.data, inner.len);
    return true;
}

/* Whether it goes as it is: it is no message in which something may have to be left out. */
static bool is_plain(const ProtobufCFieldDescriptor *field, const struct th_rpc_wire_field *found)
{
    return !field || field->type != PROTOBUF_C_TYPE_MESSAGE || found->type != TH_RPC_WIRE_BYTES;
}

static bool copy(struct th_buffer *out, const ProtobufCMessageDescriptor *kind, struct th_str bytes,
                 unsigned depth, struct th_error *error)
{
    struct th_wire in = th_rpc_wire_of(bytes);
    struct th_rpc_wire_field found;
    if (depth > TH_RPC_DEPTH) {
        return th_fail(error, TH_INVALID, "messages within messages are above the limit of %d",
                       TH_RPC_DEPTH);
    }
    while (in.at != in.end) {
        if (!th_rpc_wire_next(&in, &found)) {
            return th_fail(error, TH_INVALID, "%s: it is cut off or malformed", kind->short_name);
        }
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(kind, found.number);
        if (is_other(kind, found.number)) {
            continue;
        }
        if (is_plain(field, &found)) {
            th_buffer_str(out, found.whole);
        } else if (!copy_nested(out, field, &found, depth, error)) {
            return false;
        }
    }
    return true;
}

bool th_rpc_dapr(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                 struct th_str bytes, struct th_str *out, struct th_error *error)
{
    TH_BUFFER copied = {0};
    if (!copy(&copied, kind, bytes, 0, error)) {
        return false;
    }
    bool same = copied.len == bytes.len;
    *out = same ? bytes : th_arena_str(arena, th_buffer_view(&copied));
    return true;
}

/* ---- whose worker it is ---- */

enum { CAPABILITIES = 4 }; /* of Dapr's GetWorkItemsRequest; Microsoft's are number 10 */

bool th_rpc_agent_has(struct th_str user_agent, struct th_str word)
{
    for (size_t i = 0; i + word.len <= user_agent.len; i++) {
        if (th_str_eq_nocase(th_str_n(user_agent.data + i, word.len), word)) {
            return true;
        }
    }
    return false;
}

bool th_rpc_is_dapr(const GetWorkItemsRequest *request, struct th_str user_agent)
{
    for (unsigned i = 0; i < request->base.n_unknown_fields; i++) {
        if (request->base.unknown_fields[i].tag == CAPABILITIES) {
            return true;
        }
    }
    return th_rpc_agent_has(user_agent, TH_STR("dapr"));
}
