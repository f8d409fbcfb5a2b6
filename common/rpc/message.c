#include "rpc/message.h"

#include "model/base64.h"
#include "model/name.h"

/* google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z. */
static const int64_t FIRST_SECOND = INT64_C(-62135596800), LAST_SECOND = INT64_C(253402300799);

struct th_blob *th_rpc_pack(const ProtobufCMessage *message)
{
    struct th_blob *blob = th_blob_alloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, (uint8_t *)blob->data);
    return blob;
}

/* ---- text ---- */

char *th_rpc_text(struct th_arena *arena, struct th_str text)
{
    if (text.len == 0) {
        return (char *)protobuf_c_empty_string; /* nobody writes to it, nor frees it */
    }
    bool plain = th_utf8_valid(text) && !memchr(text.data, '\0', text.len);
    return (char *)(plain ? th_arena_str(arena, text) : th_base64_encode(arena, text)).data;
}

Google__Protobuf__StringValue *th_rpc_value(struct th_arena *arena, struct th_str text)
{
    if (!th_str_present(text)) {
        return NULL;
    }
    Google__Protobuf__StringValue *value = TH_ARENA_NEW(arena, Google__Protobuf__StringValue);
    google__protobuf__string_value__init(value);
    value->value = th_rpc_text(arena, text);
    return value;
}

struct th_str th_rpc_text_of(const char *text)
{
    return th_str_of(text ? text : "");
}

struct th_str th_rpc_text_or_absent(const char *text)
{
    return text && *text ? th_str_of(text) : TH_STR_ABSENT;
}

struct th_str th_rpc_value_of(const Google__Protobuf__StringValue *value)
{
    return value ? th_rpc_text_of(value->value) : TH_STR_ABSENT;
}

/* ---- time ---- */

Google__Protobuf__Timestamp *th_rpc_time(struct th_arena *arena, th_time time)
{
    if (time == TH_TIME_NONE) {
        return NULL;
    }
    Google__Protobuf__Timestamp *out = TH_ARENA_NEW(arena, Google__Protobuf__Timestamp);
    google__protobuf__timestamp__init(out);
    int64_t rest = time % TH_SECOND;
    out->seconds = time / TH_SECOND - (rest < 0);
    out->nanos = (int32_t)((rest < 0 ? rest + TH_SECOND : rest) * 1000);
    if (out->seconds < FIRST_SECOND) {
        out->seconds = FIRST_SECOND;
        out->nanos = 0;
    } else if (out->seconds > LAST_SECOND) {
        out->seconds = LAST_SECOND;
        out->nanos = 999999000;
    }
    return out;
}

bool th_rpc_time_of(const Google__Protobuf__Timestamp *time, const char *field, th_time *out,
                    struct th_error *error)
{
    *out = TH_TIME_NONE;
    if (!time) {
        return true;
    }
    if (time->seconds < FIRST_SECOND || time->seconds > LAST_SECOND) {
        return th_fail(error, TH_INVALID, "%s: %lld seconds are outside of the years 1 to 9999",
                       field, (long long)time->seconds);
    }
    if (time->nanos < 0 || time->nanos > 999999999) {
        return th_fail(error, TH_INVALID, "%s: nanos are 0 to 999999999, not %d", field,
                       time->nanos);
    }
    *out = time->seconds * TH_SECOND + (time->nanos + 999) / 1000;
    if (*out > LAST_SECOND * TH_SECOND + TH_SECOND - 1) {
        *out -= 1; /* the last moment of all stays in its year */
    }
    return true;
}
