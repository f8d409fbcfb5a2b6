/*
 * flood: clients that keep the server busy without asking for anything. Each kind of frame that
 * costs us more than it costs the client has a bucket of tokens; RFC 9113, section 10.5, names the
 * kinds. Legitimate clients come near none of them: a client that cancels 3,000 waiting calls at
 * once resets 3,000 streams, gRPC's bandwidth probe sends a PING for what it was sent.
 */
#include "grpc/internal.h"

#define TOKEN INT64_C(1000000)

enum { FRAME_HEAD = 9, UNKNOWN = 64 }; /* bytes; of the second each costs a token */

struct rule {
    uint64_t burst, rate;
    const char *word;
};

static struct rule rule_of(const struct th_grpc_limits *limits, enum th_grpc_flood kind)
{
    switch (kind) {
#define X(kind, name, text)    \
    case TH_GRPC_FLOOD_##kind: \
        return (struct rule){limits->name##_burst, limits->name##_rate, text};
        TH_GRPC_FLOODS(X)
#undef X
    case TH_GRPC_FLOOD_KINDS:
        break;
    }
    return (struct rule){0};
}

/* Tokens that came back since; a long pause fills it wholly. */
static void refill(struct th_grpc_bucket *bucket, uint64_t rate, th_time now)
{
    int64_t back;
    if (__builtin_mul_overflow(now - bucket->since, (int64_t)rate, &back) || back > bucket->spent) {
        back = bucket->spent;
    }
    bucket->spent -= back;
    bucket->since = now;
}

bool th_grpc_flood_count(struct th_grpc_connection *c, enum th_grpc_flood kind)
{
    struct rule rule = rule_of(&c->service->limits, kind);
    struct th_grpc_bucket *bucket = &c->floods[kind];
    if (rule.burst >= INT64_MAX / TOKEN) {
        return true;
    }
    refill(bucket, rule.rate < INT32_MAX ? rule.rate : INT32_MAX, c->now);
    bucket->spent += TOKEN;
    if (bucket->spent <= (int64_t)rule.burst * TOKEN) {
        return true;
    }
    if (!c->flood) {
        c->flood = rule.word;
    }
    return false;
}

static bool count_data(struct th_grpc_connection *c, const nghttp2_frame_hd *frame)
{
    bool empty = frame->length == 0 && !(frame->flags & NGHTTP2_FLAG_END_STREAM);
    /* One of nothing but padding looks like one with data. Clients have no reason to pad. */
    bool padded = frame->flags & NGHTTP2_FLAG_PADDED;
    return !(empty || padded) || th_grpc_flood_count(c, TH_GRPC_FLOOD_EMPTY);
}

/* Clients put a request into one HEADERS frame. A block may also hold many fields in few bytes. */
static bool count_continuation(struct th_grpc_connection *c)
{
    size_t most = 8 + c->service->limits.metadata_bytes / 4096;
    if (++c->continuations <= most || c->service->limits.metadata_bytes == UINT64_MAX) {
        return true;
    }
    c->flood = "too_many_continuations";
    return false;
}

/* nghttp2 does not tell of frames whose type it does not know (RFC 9113, section 5.5). */
void th_grpc_flood_bytes(struct th_grpc_connection *c)
{
    while (c->unknown >= UNKNOWN && th_grpc_flood_count(c, TH_GRPC_FLOOD_FRAME)) {
        c->unknown -= UNKNOWN;
    }
}

bool th_grpc_flood_frame(struct th_grpc_connection *c, const nghttp2_frame_hd *frame)
{
    c->unknown -= FRAME_HEAD + (int64_t)frame->length;
    switch (frame->type) {
    case NGHTTP2_DATA:
        return count_data(c, frame);
    case NGHTTP2_HEADERS:
        c->continuations = 0;
        return true;
    case NGHTTP2_CONTINUATION:
        return count_continuation(c);
    case NGHTTP2_PING:
        return frame->flags & NGHTTP2_FLAG_ACK || th_grpc_flood_count(c, TH_GRPC_FLOOD_PING);
    case NGHTTP2_SETTINGS:
        return frame->flags & NGHTTP2_FLAG_ACK || th_grpc_flood_count(c, TH_GRPC_FLOOD_SETTINGS);
    case NGHTTP2_RST_STREAM:
        /* One that ends a call is counted then. */
        return nghttp2_session_get_stream_user_data(c->session, frame->stream_id) ||
               th_grpc_flood_count(c, TH_GRPC_FLOOD_FRAME);
    default:
        return th_grpc_flood_count(c, TH_GRPC_FLOOD_FRAME);
    }
}

static void give_back(struct th_grpc_bucket *bucket, int64_t tokens)
{
    bucket->spent = bucket->spent > tokens * TOKEN ? bucket->spent - tokens * TOKEN : 0;
}

/* A client that was sent something may probe with a PING, gives window back on the stream and on
 * the connection, and may say in SETTINGS that it wants larger ones. */
void th_grpc_flood_sent(struct th_grpc_connection *c, const nghttp2_frame *frame)
{
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) {
        return;
    }
    c->floods[TH_GRPC_FLOOD_PING].spent = 0;
    give_back(&c->floods[TH_GRPC_FLOOD_SETTINGS], 1);
    give_back(&c->floods[TH_GRPC_FLOOD_FRAME], 4);
}
