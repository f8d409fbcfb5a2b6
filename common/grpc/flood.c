/*
 * flood: clients that keep the server busy without asking for anything. Each kind of frame that
 * costs us more than it costs the client has a bucket of tokens; RFC 9113, section 10.5, names the
 * kinds. Legitimate clients come near none of them: a client that cancels 3,000 waiting calls at
 * once resets 3,000 streams, gRPC's bandwidth probe sends a PING for what it was sent.
 */
#include "grpc/internal.h"

#define TOKEN INT64_C(1000000)

struct frame {
    uint32_t length, stream;
    uint8_t type, flags;
};

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

static bool count_data(struct th_grpc_connection *c, const struct frame *frame)
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

/* HEADERS of a stream that is over, or that is being closed: they only cost. */
static bool count_headers(struct th_grpc_connection *c, const struct frame *frame)
{
    bool is_new = (int32_t)frame->stream > nghttp2_session_get_last_proc_stream_id(c->session);
    c->continuations = 0;
    return is_new || nghttp2_session_get_stream_user_data(c->session, (int32_t)frame->stream) ||
           th_grpc_flood_count(c, TH_GRPC_FLOOD_FRAME);
}

static bool count_frame(struct th_grpc_connection *c, const struct frame *frame)
{
    switch (frame->type) {
    case NGHTTP2_DATA:
        return count_data(c, frame);
    case NGHTTP2_HEADERS:
        return count_headers(c, frame);
    case NGHTTP2_CONTINUATION:
        return count_continuation(c);
    case NGHTTP2_PING:
        return frame->flags & NGHTTP2_FLAG_ACK || th_grpc_flood_count(c, TH_GRPC_FLOOD_PING);
    case NGHTTP2_SETTINGS:
        return frame->flags & NGHTTP2_FLAG_ACK || th_grpc_flood_count(c, TH_GRPC_FLOOD_SETTINGS);
    case NGHTTP2_RST_STREAM:
        return true; /* counted when it is clear whether it ends a call */
    default:
        return th_grpc_flood_count(c, TH_GRPC_FLOOD_FRAME);
    }
}

/* ---- frames in the client's bytes ---- */

static struct frame frame_of(const uint8_t head[static TH_GRPC_FRAME_HEAD])
{
    return (struct frame){
        .length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2],
        .type = head[3],
        .flags = head[4],
        .stream = (uint32_t)(head[5] & 0x7F) << 24 | (uint32_t)head[6] << 16 |
                  (uint32_t)head[7] << 8 | head[8],
    };
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

bool th_grpc_flood_scan(struct th_grpc_connection *c, struct th_str bytes)
{
    struct th_grpc_scan *scan = &c->scan;
    while (bytes.len > 0) {
        size_t n = least(bytes.len, scan->got < TH_GRPC_FRAME_HEAD
                                        ? (size_t)(TH_GRPC_FRAME_HEAD - scan->got)
                                        : scan->left);
        if (scan->got == TH_GRPC_FRAME_HEAD) {
            scan->left -= (uint32_t)n;
        } else {
            memcpy(scan->head + scan->got, bytes.data, n);
            scan->got = (uint8_t)(scan->got + n);
            struct frame frame = frame_of(scan->head);
            scan->left = frame.length;
            if (scan->got == TH_GRPC_FRAME_HEAD && !count_frame(c, &frame)) {
                return false;
            }
        }
        if (scan->got == TH_GRPC_FRAME_HEAD && scan->left == 0) {
            scan->got = 0;
            th_grpc_clocks_heard(c);
        }
        bytes = th_str_n(bytes.data + n, bytes.len - n);
    }
    return true;
}

/* ---- what we send ---- */

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
