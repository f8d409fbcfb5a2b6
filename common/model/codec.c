/*
 * An event is a map; key 0 is its kind, the other keys are the numbers of TH_EVENT_FIELDS. A
 * message is a map; key 0 is its event. A field that holds its default (id -1, no time, absent
 * string, false, status Running) is not written, and is the default when read. Nested values:
 *
 *     failure  map: 1 type, 2 message, 3 stack, 4 non-retriable, 5 inner failure
 *     parent   map: 1 instance id, 2 execution id, 3 name, 4 version, 5 task id
 *     tags     map: key to value, in order
 *
 * Writing instantiates msgpack-c's packer template on th_buffer, so that a field costs a bounds
 * check and a store instead of a call through a pointer. Reading is ours: msgpack-c can only
 * build a tree of the whole value, which costs an allocation per nested value and has no bound
 * that depends on the bytes that are there.
 *
 * A reader that failed stands at its end: every later read finds no bytes and gives zero, without
 * a check of its own.
 */
#include "model/codec.h"

#include <msgpack/timestamp.h>
#include <stdio.h>

static inline int put(struct th_buffer *out, const void *data, size_t len)
{
    if (len > out->capacity - out->len) {
        th_buffer_reserve(out, len);
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
    return 0;
}

#include <msgpack/pack_define.h>
#define msgpack_pack_inline_func(name)               static inline int pack##name
#define msgpack_pack_inline_func_cint(name)          static inline int pack##name
#define msgpack_pack_inline_func_fixint(name)        static inline int pack_fix##name
#define msgpack_pack_user                            struct th_buffer *
#define msgpack_pack_append_buffer(out, data, count) return put((out), (data), (count))
#include <msgpack/pack_template.h>

/* ---- writing ---- */

void th_write_map(struct th_buffer *out, uint32_t pairs)
{
    pack_map(out, pairs);
}

void th_write_array(struct th_buffer *out, uint32_t items)
{
    pack_array(out, items);
}

void th_write_u64(struct th_buffer *out, uint64_t value)
{
    pack_uint64(out, value);
}

void th_write_i64(struct th_buffer *out, int64_t value)
{
    pack_int64(out, value);
}

void th_write_bool(struct th_buffer *out, bool value)
{
    value ? pack_true(out) : pack_false(out);
}

void th_write_nil(struct th_buffer *out)
{
    pack_nil(out);
}

void th_write_str(struct th_buffer *out, struct th_str value)
{
    if (!th_str_present(value)) {
        pack_nil(out);
        return;
    }
    th_buffer_reserve(out, value.len + 5);
    pack_bin(out, value.len);
    th_buffer_add(out, value.data, value.len);
}

/* ---- reading ---- */

struct th_reader th_reader_of(struct th_str bytes, struct th_arena *arena, struct th_error *error)
{
    const char *start = bytes.data ? bytes.data : "";
    return (struct th_reader){
        .at = start,
        .end = start + bytes.len,
        .arena = arena,
        .error = error,
    };
}

bool th_read_fail(struct th_reader *in, const char *format, ...)
{
    if (!in->failed && in->error) {
        va_list arguments;
        va_start(arguments, format);
        in->error->code = TH_CORRUPT;
        vsnprintf(in->error->message, sizeof(in->error->message), format, arguments);
        va_end(arguments);
    }
    in->failed = true;
    in->at = in->end;
    return false;
}

static size_t left(const struct th_reader *in)
{
    return (size_t)(in->end - in->at);
}

static bool ended(struct th_reader *in)
{
    return th_read_fail(in, "the bytes end in the middle of a value");
}

static const char *type_name(uint8_t tag)
{
    static const char *const names[32] = {
        "nil",          "a reserved byte",
        "a boolean",    "a boolean",
        "bytes",        "bytes",
        "bytes",        "an extension",
        "an extension", "an extension",
        "a float",      "a float",
        "a number",     "a number",
        "a number",     "a number",
        "a number",     "a number",
        "a number",     "a number",
        "an extension", "an extension",
        "an extension", "an extension",
        "an extension", "text",
        "text",         "text",
        "an array",     "an array",
        "a map",        "a map",
    };
    if (tag >= 0xc0 && tag <= 0xdf) {
        return names[tag - 0xc0];
    }
    if (tag < 0x80 || tag >= 0xe0) {
        return "a number";
    }
    return tag < 0x90 ? "a map" : tag < 0xa0 ? "an array" : "text";
}

static bool expected(struct th_reader *in, const char *what, uint8_t tag)
{
    return th_read_fail(in, "expected %s, found %s (byte 0x%02x, %zu bytes before the end)", what,
                        type_name(tag), tag, left(in) + 1);
}

static bool take_tag(struct th_reader *in, uint8_t *tag)
{
    if (in->at == in->end) {
        return ended(in);
    }
    *tag = (uint8_t)*in->at++;
    return true;
}

/* A big-endian number of 1, 2, 4 or 8 bytes; 0 after a failure. */
static uint64_t take_number(struct th_reader *in, size_t bytes)
{
    if (left(in) < bytes) {
        ended(in);
        return 0;
    }
    const uint8_t *p = (const uint8_t *)in->at;
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | p[i];
    }
    in->at += bytes;
    return value;
}

/* What was announced must fit into what is left, or a few bytes could ask for any amount. */
static uint32_t bounded(struct th_reader *in, uint64_t count, size_t bytes_each, const char *what)
{
    if (count > left(in) / bytes_each) {
        th_read_fail(in, "%s of %llu, but only %zu bytes are left", what, (unsigned long long)count,
                     left(in));
        return 0;
    }
    return (uint32_t)count;
}

static bool collection(struct th_reader *in, uint8_t fixed, uint8_t two_bytes, const char *what,
                       uint64_t *count)
{
    uint8_t tag;
    if (!take_tag(in, &tag)) {
        return false;
    }
    if ((tag & 0xf0) == fixed) {
        *count = tag & 0x0f;
    } else if (tag == two_bytes || tag == two_bytes + 1) {
        *count = take_number(in, tag == two_bytes ? 2 : 4);
    } else {
        return expected(in, what, tag);
    }
    return !in->failed;
}

uint32_t th_read_map(struct th_reader *in)
{
    uint64_t count;
    return collection(in, 0x80, 0xde, "a map", &count) ? bounded(in, count, 2, "a map") : 0;
}

uint32_t th_read_array(struct th_reader *in)
{
    uint64_t count;
    return collection(in, 0x90, 0xdc, "an array", &count) ? bounded(in, count, 1, "an array") : 0;
}

/* A number as its bits and whether these are to be read as negative. */
static bool number(struct th_reader *in, uint64_t *bits, bool *negative)
{
    uint8_t tag;
    *negative = false;
    if (!take_tag(in, &tag)) {
        return false;
    }
    if (tag < 0x80) {
        *bits = tag;
    } else if (tag >= 0xe0) {
        *bits = (uint64_t)(int64_t)(int8_t)tag;
        *negative = true;
    } else if (tag >= 0xcc && tag <= 0xcf) {
        *bits = take_number(in, (size_t)1 << (tag - 0xcc));
    } else if (tag >= 0xd0 && tag <= 0xd3) {
        int unused = 64 - 8 * (1 << (tag - 0xd0));
        uint64_t raw = take_number(in, (size_t)1 << (tag - 0xd0));
        *bits = (uint64_t)((int64_t)(raw << unused) >> unused);
        *negative = (int64_t)*bits < 0;
    } else {
        return expected(in, "a number", tag);
    }
    return !in->failed;
}

uint64_t th_read_u64(struct th_reader *in)
{
    uint64_t bits;
    bool negative;
    if (!number(in, &bits, &negative)) {
        return 0;
    }
    if (negative) {
        th_read_fail(in, "%lld is out of range: must not be negative", (long long)bits);
        return 0;
    }
    return bits;
}

int64_t th_read_i64(struct th_reader *in)
{
    uint64_t bits;
    bool negative;
    if (!number(in, &bits, &negative)) {
        return 0;
    }
    if (!negative && bits > INT64_MAX) {
        th_read_fail(in, "%llu is out of range", (unsigned long long)bits);
        return 0;
    }
    return (int64_t)bits;
}

bool th_read_bool(struct th_reader *in)
{
    uint8_t tag;
    if (!take_tag(in, &tag)) {
        return false;
    }
    if (tag != 0xc2 && tag != 0xc3) {
        return expected(in, "a boolean", tag);
    }
    return tag == 0xc3;
}

static struct th_str take_bytes(struct th_reader *in, uint64_t len)
{
    if (in->failed || len > left(in)) {
        ended(in);
        return TH_STR_ABSENT;
    }
    struct th_str s = {in->at, (size_t)len};
    in->at += len;
    return s;
}

struct th_str th_read_str(struct th_reader *in)
{
    uint8_t tag;
    if (!take_tag(in, &tag) || tag == 0xc0) {
        return TH_STR_ABSENT;
    }
    if ((tag & 0xe0) == 0xa0) {
        return take_bytes(in, tag & 0x1f);
    }
    if (tag >= 0xc4 && tag <= 0xc6) {
        return take_bytes(in, take_number(in, (size_t)1 << (tag - 0xc4)));
    }
    if (tag >= 0xd9 && tag <= 0xdb) {
        return take_bytes(in, take_number(in, (size_t)1 << (tag - 0xd9)));
    }
    expected(in, "bytes", tag);
    return TH_STR_ABSENT;
}

/* ---- skipping ---- */

enum { DEEPEST = 64 };

/* Values inside a collection with this tag, or -1 when it is none. */
static int64_t inside(struct th_reader *in, uint8_t tag)
{
    if ((tag & 0xf0) == 0x80) {
        return bounded(in, 2u * (tag & 0x0fu), 1, "a map");
    }
    if ((tag & 0xf0) == 0x90) {
        return bounded(in, tag & 0x0f, 1, "an array");
    }
    if (tag == 0xdc || tag == 0xdd) {
        return bounded(in, take_number(in, tag == 0xdc ? 2 : 4), 1, "an array");
    }
    if (tag == 0xde || tag == 0xdf) {
        return bounded(in, 2 * take_number(in, tag == 0xde ? 2 : 4), 1, "a map");
    }
    return -1;
}

/* The bytes behind a tag that is no collection. */
static uint64_t body(struct th_reader *in, uint8_t tag)
{
    if ((tag & 0xe0) == 0xa0) {
        return tag & 0x1f;
    }
    if (tag >= 0xc4 && tag <= 0xc6) {
        return take_number(in, (size_t)1 << (tag - 0xc4));
    }
    if (tag >= 0xc7 && tag <= 0xc9) {
        return take_number(in, (size_t)1 << (tag - 0xc7)) + 1; /* an extension's type */
    }
    if (tag >= 0xd9 && tag <= 0xdb) {
        return take_number(in, (size_t)1 << (tag - 0xd9));
    }
    if (tag >= 0xcc && tag <= 0xd3) {
        return UINT64_C(1) << ((tag - 0xcc) & 3);
    }
    if (tag >= 0xd4 && tag <= 0xd8) {
        return (UINT64_C(1) << (tag - 0xd4)) + 1;
    }
    return tag == 0xca ? 4 : tag == 0xcb ? 8 : 0;
}

void th_read_skip(struct th_reader *in)
{
    uint64_t open[DEEPEST + 1] = {1}; /* values still to come, per level */
    int depth = 0;
    while (!in->failed && depth >= 0) {
        if (open[depth] == 0) {
            depth--;
            continue;
        }
        open[depth]--;
        uint8_t tag;
        if (!take_tag(in, &tag)) {
            return;
        }
        int64_t count = inside(in, tag);
        if (count < 0) {
            take_bytes(in, body(in, tag));
        } else if (depth == DEEPEST) {
            th_read_fail(in, "values are nested more than %d deep", DEEPEST);
        } else {
            open[++depth] = (uint64_t)count;
        }
    }
}

/* ---- fields ---- */

/* Puts the place in front of the message of a failed read: "event field name: expected …". */
static bool failed_at(struct th_reader *in, const char *what, const char *field)
{
    if (in->error) {
        char inner[sizeof(in->error->message)];
        snprintf(inner, sizeof(inner), "%s", in->error->message);
        snprintf(in->error->message, sizeof(in->error->message), "%s field %s: %.400s", what, field,
                 inner);
    }
    return false;
}

static bool arena_for(struct th_reader *in)
{
    return in->arena || th_read_fail(in, "a nested value, but the reader was given no arena");
}

static int32_t read_i32(struct th_reader *in)
{
    int64_t value = th_read_i64(in);
    if (value < INT32_MIN || value > INT32_MAX) {
        th_read_fail(in, "%lld is out of range for 32 bits", (long long)value);
        return 0;
    }
    return (int32_t)value;
}

static uint32_t read_u32(struct th_reader *in)
{
    uint64_t value = th_read_u64(in);
    if (value > UINT32_MAX) {
        th_read_fail(in, "%llu is out of range for 32 bits", (unsigned long long)value);
        return 0;
    }
    return (uint32_t)value;
}

static enum th_status read_status(struct th_reader *in)
{
    uint64_t value = th_read_u64(in);
    switch (value) {
#define X(name, number, text, terminal) case number:
        TH_STATUSES(X)
#undef X
        return (enum th_status)value;
    }
    th_read_fail(in, "unknown status %llu", (unsigned long long)value);
    return TH_STATUS_RUNNING;
}

static enum th_event_kind read_kind(struct th_reader *in)
{
    uint64_t value = th_read_u64(in);
    switch (value) {
#define X(name, number, text) case number:
        TH_EVENT_KINDS(X)
#undef X
        return (enum th_event_kind)value;
    }
    th_read_fail(in, "unknown event kind %llu", (unsigned long long)value);
    return TH_EVENT_GENERIC;
}

/* For each type of field: is it to be written, how, and how is it read. */
#define HAS_I32(value)     ((value) != -1)
#define HAS_U32(value)     ((value) != 0)
#define HAS_U64(value)     ((value) != 0)
#define HAS_TIME(value)    ((value) != TH_TIME_NONE)
#define HAS_STR(value)     th_str_present(value)
#define HAS_BOOL(value)    (value)
#define HAS_STATUS(value)  ((value) != TH_STATUS_RUNNING)
#define HAS_FAILURE(value) ((value) != NULL)
#define HAS_PARENT(value)  ((value) != NULL)
#define HAS_TAGS(value)    ((value).count > 0)

#define WRITE_I32(value)     pack_int64(out, (value))
#define WRITE_U32(value)     pack_uint64(out, (value))
#define WRITE_U64(value)     pack_uint64(out, (value))
#define WRITE_TIME(value)    pack_int64(out, (value))
#define WRITE_STR(value)     th_write_str(out, (value))
#define WRITE_BOOL(value)    th_write_bool(out, (value))
#define WRITE_STATUS(value)  pack_uint64(out, (uint64_t)(value))
#define WRITE_FAILURE(value) write_failure(out, (value), 1)
#define WRITE_PARENT(value)  write_parent(out, (value))
#define WRITE_TAGS(value)    write_tags(out, (value))

#define READ_I32     read_i32(in)
#define READ_U32     read_u32(in)
#define READ_U64     th_read_u64(in)
#define READ_TIME    th_read_i64(in)
#define READ_STR     th_read_str(in)
#define READ_BOOL    th_read_bool(in)
#define READ_STATUS  read_status(in)
#define READ_FAILURE read_failure(in, 1)
#define READ_PARENT  read_parent(in)
#define READ_TAGS    read_tags(in)

#define COUNT_FIELD(value, type) pairs += HAS_##type(value) ? 1 : 0
#define WRITE_FIELD(number, value, type) \
    if (HAS_##type(value)) {             \
        pack_uint64(out, number);        \
        WRITE_##type(value);             \
    }
#define READ_FIELD(number, target, type, what, name) \
    case number:                                     \
        (target) = READ_##type;                      \
        if (in->failed) {                            \
            return failed_at(in, what, name);        \
        }                                            \
        break;

/* ---- failure, parent, tags ---- */

#define FAILURE_FIELDS(X) \
    X(1, type, STR)       \
    X(2, message, STR)    \
    X(3, stack, STR)      \
    X(4, non_retriable, BOOL)

enum { FAILURE_INNER = 5 };

static void write_failure(struct th_buffer *out, const struct th_failure *failure, int depth)
{
    bool inner = failure->inner && depth < TH_FAILURE_DEPTH;
    uint32_t pairs = inner;
#define X(number, field, type) COUNT_FIELD(failure->field, type);
    FAILURE_FIELDS(X)
#undef X
    pack_map(out, pairs);
#define X(number, field, type) WRITE_FIELD(number, failure->field, type)
    FAILURE_FIELDS(X)
#undef X
    if (inner) {
        pack_uint64(out, FAILURE_INNER);
        write_failure(out, failure->inner, depth + 1);
    }
}

static const struct th_failure *read_failure(struct th_reader *in, int depth);

static bool read_failure_field(struct th_reader *in, struct th_failure *failure, int depth)
{
    switch (th_read_u64(in)) {
#define X(number, field, type) READ_FIELD(number, failure->field, type, "failure", #field)
        FAILURE_FIELDS(X)
#undef X
    case FAILURE_INNER:
        failure->inner = read_failure(in, depth + 1);
        return !in->failed;
    default:
        th_read_skip(in);
    }
    return !in->failed;
}

static const struct th_failure *read_failure(struct th_reader *in, int depth)
{
    if (depth > TH_FAILURE_DEPTH) {
        th_read_fail(in, "failures are nested more than %d deep", TH_FAILURE_DEPTH);
    }
    uint32_t pairs = th_read_map(in);
    if (in->failed || !arena_for(in)) {
        return NULL;
    }
    struct th_failure *failure = TH_ARENA_NEW(in->arena, struct th_failure);
    while (pairs-- > 0 && read_failure_field(in, failure, depth)) {
    }
    return failure;
}

#define PARENT_FIELDS(X)    \
    X(1, instance_id, STR)  \
    X(2, execution_id, STR) \
    X(3, name, STR)         \
    X(4, version, STR)      \
    X(5, task_id, I32)

static void write_parent(struct th_buffer *out, const struct th_parent *parent)
{
    uint32_t pairs = 0;
#define X(number, field, type) COUNT_FIELD(parent->field, type);
    PARENT_FIELDS(X)
#undef X
    pack_map(out, pairs);
#define X(number, field, type) WRITE_FIELD(number, parent->field, type)
    PARENT_FIELDS(X)
#undef X
}

static bool read_parent_field(struct th_reader *in, struct th_parent *parent)
{
    switch (th_read_u64(in)) {
#define X(number, field, type) READ_FIELD(number, parent->field, type, "parent", #field)
        PARENT_FIELDS(X)
#undef X
    default:
        th_read_skip(in);
    }
    return !in->failed;
}

static const struct th_parent *read_parent(struct th_reader *in)
{
    uint32_t pairs = th_read_map(in);
    if (in->failed || !arena_for(in)) {
        return NULL;
    }
    struct th_parent *parent = TH_ARENA_NEW(in->arena, struct th_parent);
    parent->task_id = -1;
    while (pairs-- > 0 && read_parent_field(in, parent)) {
    }
    return parent;
}

static void write_tags(struct th_buffer *out, struct th_tags tags)
{
    pack_map(out, tags.count);
    for (size_t i = 0; i < tags.count; i++) {
        th_write_str(out, tags.items[i].key);
        th_write_str(out, tags.items[i].value);
    }
}

static struct th_tags read_tags(struct th_reader *in)
{
    uint32_t count = th_read_map(in);
    if (count == 0 || !arena_for(in)) {
        return (struct th_tags){0};
    }
    struct th_tag *items = TH_ARENA_ARRAY(in->arena, struct th_tag, count);
    for (uint32_t i = 0; i < count && !in->failed; i++) {
        items[i].key = th_read_str(in);
        items[i].value = th_read_str(in);
    }
    return (struct th_tags){items, count};
}

/* ---- event ---- */

enum { EVENT_KIND = 0, MESSAGE_EVENT = 0 };

void th_encode_event(struct th_buffer *out, const struct th_event *event)
{
    uint32_t pairs = 1;
#define X(number, field, type) COUNT_FIELD(event->field, type);
    TH_EVENT_FIELDS(X)
#undef X
    pack_map(out, pairs);
    pack_uint64(out, EVENT_KIND);
    pack_uint64(out, (uint64_t)event->kind);
#define X(number, field, type) WRITE_FIELD(number, event->field, type)
    TH_EVENT_FIELDS(X)
#undef X
}

static bool read_event_field(struct th_reader *in, struct th_event *event, bool *has_kind)
{
    switch (th_read_u64(in)) {
#define X(number, field, type) READ_FIELD(number, event->field, type, "event", #field)
        TH_EVENT_FIELDS(X)
#undef X
    case EVENT_KIND:
        event->kind = read_kind(in);
        *has_kind = true;
        break;
    default:
        th_read_skip(in);
    }
    return !in->failed;
}

bool th_decode_event(struct th_reader *in, struct th_event *out)
{
    *out = th_event_of(TH_EVENT_GENERIC, TH_TIME_NONE);
    uint32_t pairs = th_read_map(in);
    bool has_kind = false;
    while (pairs-- > 0 && read_event_field(in, out, &has_kind)) {
    }
    if (!in->failed && !has_kind) {
        return th_read_fail(in, "an event without a kind");
    }
    return !in->failed;
}

void th_encode_events(struct th_buffer *out, const struct th_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        th_encode_event(out, &events[i]);
    }
}

bool th_decode_events(struct th_reader *in, struct th_events *out)
{
    while (in->at != in->end) {
        struct th_event event;
        if (!th_decode_event(in, &event)) {
            return false;
        }
        th_events_add(out, event);
    }
    return !in->failed;
}

/* ---- message ---- */

/* Fields of the table that live in the message's origin. */
#define origin_partition origin.partition
#define origin_sequence  origin.sequence
#define origin_index     origin.index

void th_encode_message(struct th_buffer *out, const struct th_message *message)
{
    uint32_t pairs = 1;
#define X(number, field, type) COUNT_FIELD(message->field, type);
    TH_MESSAGE_FIELDS(X)
#undef X
    pack_map(out, pairs);
#define X(number, field, type) WRITE_FIELD(number, message->field, type)
    TH_MESSAGE_FIELDS(X)
#undef X
    pack_uint64(out, MESSAGE_EVENT);
    th_encode_event(out, &message->event);
}

static bool read_message_field(struct th_reader *in, struct th_message *message, bool *has_event)
{
    switch (th_read_u64(in)) {
#define X(number, field, type) READ_FIELD(number, message->field, type, "message", #field)
        TH_MESSAGE_FIELDS(X)
#undef X
    case MESSAGE_EVENT:
        *has_event = true;
        return th_decode_event(in, &message->event);
    default:
        th_read_skip(in);
    }
    return !in->failed;
}

bool th_decode_message(struct th_reader *in, struct th_message *out)
{
    *out = (struct th_message){
        .origin.partition = TH_FROM_CLIENT,
        .event = th_event_of(TH_EVENT_GENERIC, TH_TIME_NONE),
    };
    uint32_t pairs = th_read_map(in);
    bool has_event = false;
    while (pairs-- > 0 && read_message_field(in, out, &has_event)) {
    }
    if (!in->failed && !has_event) {
        return th_read_fail(in, "a message without an event");
    }
    return !in->failed;
}
