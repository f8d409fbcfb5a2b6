/*
 * clocks: what happens without the client's doing: deadlines, keepalive, the end of patience with
 * a client that does not begin, has no calls, is old, or is to leave.
 */
#include "grpc/internal.h"

/* Told apart by what comes back. */
static const uint8_t keepalive[8] = "keep", last[8] = "last";

void th_grpc_clocks_start(struct th_grpc_connection *c)
{
    c->born = c->heard = c->idle = c->now;
    c->pinged = TH_TIME_NONE;
}

void th_grpc_clocks_heard(struct th_grpc_connection *c)
{
    c->heard = c->now;
    c->pinged = TH_TIME_NONE;
}

/* TH_TIME_NONE: never. */
static th_time after(th_time start, uint64_t ms)
{
    th_time time;
    if (ms > INT64_MAX / TH_MILLISECOND ||
        __builtin_add_overflow(start, (th_time)ms * TH_MILLISECOND, &time)) {
        return TH_TIME_NONE;
    }
    return time;
}

static th_time earlier(th_time a, th_time b)
{
    return a == TH_TIME_NONE || (b != TH_TIME_NONE && b < a) ? b : a;
}

static bool reached(const struct th_grpc_connection *c, th_time time)
{
    return time != TH_TIME_NONE && time <= c->now;
}

/* ---- each clock ---- */

static th_time handshake_at(const struct th_grpc_connection *c)
{
    return c->phase == TH_GRPC_PREFACE ? after(c->born, c->service->limits.handshake_ms)
                                       : TH_TIME_NONE;
}

/* The next ping, or the end of waiting for the answer to the last one. */
static th_time keepalive_at(const struct th_grpc_connection *c)
{
    const struct th_grpc_limits *limits = &c->service->limits;
    if (c->phase == TH_GRPC_PREFACE) {
        return TH_TIME_NONE;
    }
    return c->pinged == TH_TIME_NONE ? after(c->heard, limits->keepalive_ms)
                                     : after(c->pinged, limits->keepalive_timeout_ms);
}

/* Of idleness or age. */
static th_time leave_at(const struct th_grpc_connection *c)
{
    const struct th_grpc_limits *limits = &c->service->limits;
    if (c->phase != TH_GRPC_OPEN) {
        return TH_TIME_NONE;
    }
    th_time idle = c->call_count ? TH_TIME_NONE : after(c->idle, limits->idle_ms);
    return earlier(idle, after(c->born, limits->age_ms));
}

static th_time drain_at(const struct th_grpc_connection *c)
{
    if (c->phase != TH_GRPC_NOTICED && c->phase != TH_GRPC_DRAINING) {
        return TH_TIME_NONE;
    }
    return earlier(c->drain_until, c->phase == TH_GRPC_NOTICED ? c->goaway_at : TH_TIME_NONE);
}

/* A client that does not take its GOAWAY is not waited for long. */
static th_time failing_at(const struct th_grpc_connection *c)
{
    return c->phase == TH_GRPC_FAILING ? c->goaway_at : TH_TIME_NONE;
}

th_time th_grpc_connection_due(const struct th_grpc_connection *c)
{
    if (c->phase == TH_GRPC_OVER) {
        return TH_TIME_NONE;
    }
    if (c->phase == TH_GRPC_FAILING) {
        return failing_at(c);
    }
    const struct th_grpc_timer *deadline = th_grpc_heap_first(&c->deadlines);
    th_time due = deadline ? deadline->due : TH_TIME_NONE;
    due = earlier(due, handshake_at(c));
    due = earlier(due, keepalive_at(c));
    due = earlier(due, leave_at(c));
    return earlier(due, drain_at(c));
}

/* ---- deadlines ---- */

void th_grpc_clocks_deadline(struct th_grpc_call *call, th_time timeout)
{
    struct th_grpc_connection *c = call->connection;
    th_time due;
    if (timeout != TH_TIME_NONE && !__builtin_add_overflow(c->now, timeout, &due)) {
        th_grpc_heap_set(&c->deadlines, &call->timer, due);
    }
}

static void expire(struct th_grpc_connection *c)
{
    struct th_grpc_timer *timer;
    while ((timer = th_grpc_heap_first(&c->deadlines)) && timer->due <= c->now) {
        th_grpc_call_refuse(TH_GRPC_OF(timer, struct th_grpc_call, timer), TH_GRPC_EXPIRED,
                            TH_GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
    }
}

/* ---- keepalive ---- */

static void keep_alive(struct th_grpc_connection *c)
{
    if (!reached(c, keepalive_at(c))) {
        return;
    }
    if (c->pinged != TH_TIME_NONE) {
        th_grpc_connection_end(c, "the client does not answer");
        return;
    }
    c->pinged = c->now;
    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, keepalive);
}

/* ---- leaving ---- */

static void notice(struct th_grpc_connection *c, th_time until)
{
    struct th_grpc_call *call;
    c->phase = TH_GRPC_NOTICED;
    c->drain_until = until;
    c->goaway_at = c->now + TH_GRPC_ROUND_TRIP;
    nghttp2_submit_shutdown_notice(c->session);
    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, last);
    DL_FOREACH(c->calls, call) {
        if (call->method && !call->over) {
            th_grpc_call_event(call, TH_GRPC_EVENT_DRAINING);
        }
    }
}

static void say_goaway(struct th_grpc_connection *c)
{
    if (c->phase == TH_GRPC_NOTICED) {
        c->phase = TH_GRPC_DRAINING;
        nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(c->session), NGHTTP2_NO_ERROR,
                              NULL, 0);
    }
}

/* Whatever it has sent before it saw the notice is here when the ping's answer is. */
void th_grpc_clocks_ponged(struct th_grpc_connection *c, const uint8_t data[static 8])
{
    if (memcmp(data, last, sizeof(last)) == 0) {
        say_goaway(c);
    }
}

static void end_calls(struct th_grpc_connection *c)
{
    struct th_grpc_call *call;
    DL_FOREACH(c->calls, call) {
        th_grpc_call_refuse(call, TH_GRPC_LOST, TH_GRPC_UNAVAILABLE, "the server is leaving");
    }
}

static void lose_patience(struct th_grpc_connection *c)
{
    if (c->impatient) {
        th_grpc_connection_end(c, "the client did not leave");
        return;
    }
    c->impatient = true;
    c->drain_until = c->now + TH_GRPC_ROUND_TRIP;
    say_goaway(c);
    end_calls(c);
}

static void drain(struct th_grpc_connection *c, th_time until)
{
    if (c->phase == TH_GRPC_PREFACE) {
        th_grpc_connection_end(c, "the server is leaving");
    } else if (c->phase == TH_GRPC_OPEN) {
        notice(c, until);
    } else if (!c->impatient) {
        c->drain_until = earlier(c->drain_until, until);
    }
}

void th_grpc_connection_drain(struct th_grpc_connection *c, th_time until, th_time now)
{
    c->now = now;
    if (c->phase < TH_GRPC_FAILING) {
        drain(c, until);
    }
    th_grpc_calls_deliver(c);
}

void th_grpc_connection_shed(struct th_grpc_connection *c, th_time now)
{
    static const char made_room[] = "made room for another connection";
    c->now = now;
    if (c->phase == TH_GRPC_PREFACE) {
        th_grpc_connection_end(c, made_room);
    } else {
        th_grpc_connection_fail(c, NGHTTP2_NO_ERROR, made_room);
    }
    th_grpc_calls_deliver(c);
}

/* ---- all of them ---- */

static void check(struct th_grpc_connection *c)
{
    if (reached(c, failing_at(c))) {
        th_grpc_connection_end(c, "the client did not leave");
    }
    if (c->phase >= TH_GRPC_FAILING) {
        return;
    }
    if (reached(c, handshake_at(c))) {
        th_grpc_connection_end(c, "the client has not begun to speak HTTP/2 in time");
        return;
    }
    expire(c);
    if (reached(c, leave_at(c))) {
        drain(c, after(c->now, c->service->limits.age_grace_ms));
    }
    if (c->phase == TH_GRPC_NOTICED && reached(c, c->goaway_at)) {
        say_goaway(c);
    }
    if (reached(c, drain_at(c))) {
        lose_patience(c);
    }
    keep_alive(c);
}

void th_grpc_connection_tick(struct th_grpc_connection *c, th_time now)
{
    c->now = now;
    check(c);
    th_grpc_calls_deliver(c);
}
