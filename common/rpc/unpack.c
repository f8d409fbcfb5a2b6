/*
 * unpack: bytes are looked over before protobuf-c sees them. It follows messages within messages as
 * deep as they go, on the stack; it checks no UTF-8 and ends strings at a zero byte; and a message
 * field that comes again and again it merges each time, into an array that grows with each. All of
 * that is refused here, on the wire, against the same descriptors.
 *
 * Wire format: the "Encoding" page of Protocol Buffers.
 */
#include <stdio.h>

#include "model/name.h"
#include "rpc/message.h"
#include "rpc/wire.h"

struct scan {
    struct th_error *error;
    size_t parts;
    struct {
        const char *name;
    } path[TH_RPC_DEPTH];
    size_t depth;
};

/* "actions.schedule_task.name", or the message's own kind at its top. */
static void write_path(const struct scan *s, const char *field, char out[static 256])
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < s->depth && len < 200; i++) {
        len += (size_t)snprintf(out + len, 256 - len, "%.60s.", s->path[i].name);
    }
    snprintf(out + len, 256 - len, "%.60s", field);
}

__attribute__((format(printf, 3, 4))) static bool wrong(const struct scan *s, const char *field,
                                                        const char *format, ...)
{
    char path[256], rule[200];
    va_list arguments;
    write_path(s, field, path);
    va_start(arguments, format);
    vsnprintf(rule, sizeof(rule), format, arguments);
    va_end(arguments);
    return th_fail(s->error, TH_INVALID, "%s: %s", path, rule);
}

static bool is_varint(ProtobufCType type)
{
    return type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_INT64 ||
           type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_UINT64 ||
           type == PROTOBUF_C_TYPE_SINT32 || type == PROTOBUF_C_TYPE_SINT64 ||
           type == PROTOBUF_C_TYPE_BOOL || type == PROTOBUF_C_TYPE_ENUM;
}

static enum th_rpc_wire_type wire_type_of(ProtobufCType type)
{
    if (is_varint(type)) {
        return TH_RPC_WIRE_VARINT;
    }
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return TH_RPC_WIRE_64;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return TH_RPC_WIRE_32;
    default:
        return TH_RPC_WIRE_BYTES;
    }
}

/* Numbers of a repeated field may come one by one, or all in one run of bytes. */
static bool fits(const ProtobufCFieldDescriptor *field, const struct th_rpc_wire_field *found)
{
    enum th_rpc_wire_type wanted = wire_type_of(field->type);
    return found->type == wanted ||
           (found->type == TH_RPC_WIRE_BYTES && wanted == TH_RPC_WIRE_VARINT &&
            field->label == PROTOBUF_C_LABEL_REPEATED);
}

static bool check_packed(struct scan *s, const ProtobufCFieldDescriptor *field, struct th_str bytes)
{
    struct th_wire in = th_rpc_wire_of(bytes);
    uint64_t number;
    while (in.at != in.end) {
        if (!th_rpc_wire_varint(&in, &number)) {
            return wrong(s, field->name, "its list of numbers is cut off");
        }
        s->parts++;
    }
    return s->parts <= TH_RPC_PARTS_MAX ||
           wrong(s, field->name, "there are more than %d parts in the message", TH_RPC_PARTS_MAX);
}

static bool check_text(struct scan *s, const ProtobufCFieldDescriptor *field, struct th_str text)
{
    if (!th_utf8_valid(text)) {
        return wrong(s, field->name, "its text is no UTF-8");
    }
    if (text.len && memchr(text.data, '\0', text.len)) {
        return wrong(s, field->name, "its text has a zero byte");
    }
    return true;
}

static bool check_message(struct scan *s, const ProtobufCMessageDescriptor *kind,
                          struct th_str bytes);

static bool check_nested(struct scan *s, const ProtobufCFieldDescriptor *field, struct th_str bytes)
{
    if (s->depth == TH_RPC_DEPTH) {
        return th_fail(s->error, TH_INVALID,
                       "%s: messages within messages are above the limit of %d", s->path[0].name,
                       TH_RPC_DEPTH);
    }
    s->path[s->depth++].name = field->name;
    bool good = check_message(s, field->descriptor, bytes);
    s->depth--;
    return good;
}

static bool check_known(struct scan *s, const ProtobufCFieldDescriptor *field,
                        const struct th_rpc_wire_field *found)
{
    if (!fits(field, found)) {
        return wrong(s, field->name, "it has wire type %d, which is another field's", found->type);
    }
    if (found->type != TH_RPC_WIRE_BYTES) {
        return true;
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return check_nested(s, field, found->bytes);
    case PROTOBUF_C_TYPE_STRING:
        return check_text(s, field, found->bytes);
    case PROTOBUF_C_TYPE_BYTES:
        return true;
    default:
        return check_packed(s, field, found->bytes);
    }
}

/* No message here has 64 fields or more. */
static bool is_second(const ProtobufCMessageDescriptor *kind, const ProtobufCFieldDescriptor *field,
                      uint64_t *seen)
{
    uint64_t bit = UINT64_C(1) << ((size_t)(field - kind->fields) & 63);
    bool second = *seen & bit;
    *seen |= bit;
    return second && field->type == PROTOBUF_C_TYPE_MESSAGE &&
           field->label != PROTOBUF_C_LABEL_REPEATED;
}

static bool check_message(struct scan *s, const ProtobufCMessageDescriptor *kind,
                          struct th_str bytes)
{
    struct th_wire in = th_rpc_wire_of(bytes);
    struct th_rpc_wire_field found;
    uint64_t seen = 0;
    while (in.at != in.end) {
        if (!th_rpc_wire_next(&in, &found)) {
            return wrong(s, kind->short_name, "it is cut off or malformed at byte %zu of %zu",
                         (size_t)(in.at - bytes.data), bytes.len);
        }
        if (++s->parts > TH_RPC_PARTS_MAX) {
            return wrong(s, kind->short_name, "there are more than %d parts in the message",
                         TH_RPC_PARTS_MAX);
        }
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(kind, found.number);
        if (!field) {
            continue;
        }
        if (is_second(kind, field, &seen)) {
            return wrong(s, field->name, "it comes twice");
        }
        if (!check_known(s, field, &found)) {
            return false;
        }
    }
    return true;
}

/* ---- memory ---- */

static void *from_arena(void *arena, size_t size)
{
    return th_arena_alloc(arena, size);
}

static void not_freed(void *arena, void *pointer)
{
}

void *th_rpc_unpack(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                    struct th_str bytes, struct th_error *error)
{
    ProtobufCAllocator allocator = {from_arena, not_freed, arena};
    struct scan s = {.error = error};
    if (!check_message(&s, kind, bytes)) {
        return NULL;
    }
    void *message = protobuf_c_message_unpack(kind, &allocator, bytes.len,
                                              (const uint8_t *)(bytes.len ? bytes.data : ""));
    if (!message) {
        wrong(&s, kind->short_name, "it is no message of this kind");
    }
    return message;
}
