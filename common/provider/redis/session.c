/*
 * session: a connection that is made again whenever it is lost.
 *
 *     WAITING ─▶ LOOKING_UP ─▶ CONNECTING ─▶ GREETING ─▶ READY
 *        ▲            │             │            │          │
 *        └────────────┴─────────────┴────────────┴──────────┘  lost, with a reason
 *
 * While it is not ready, requests fail with that reason; only those that come before the first
 * attempt has ended wait for it. A connection is lost, too, when the request at its head makes no
 * progress for the time-out: an answer that comes later than that cannot be told from another one.
 * An idle connection is pinged, because the listener would otherwise never notice that nobody
 * speaks any more.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

/* Between attempts: doubled from the first to the last, up to a quarter less by chance. */
enum { FIRST_PAUSE_MS = 20, LAST_PAUSE_MS = 2000, DOUBLINGS = 7 };

static const char category[] = "redis";

void th_redis_session_init(struct th_redis_session *s, struct th_redis_loop *loop,
                           const struct th_redis_role *role)
{
    th_redis_connection_init(&s->connection, loop->url.name, loop->tls);
    s->connection.message = role->message;
    s->connection.complaint = role->complaint;
    s->loop = loop;
    s->role = role;
    s->until = th_monotonic();
    s->waited_for = true;
    th_redis_list_init(&s->held);
}

void th_redis_session_send(struct th_redis_session *s, struct th_redis_request *request)
{
    if (s->phase == TH_REDIS_READY) {
        th_redis_connection_send(&s->connection, request);
    } else {
        th_redis_list_add(&s->held, &request->link);
    }
}

/* ---- losing ---- */

static th_time pause_before(struct th_redis_session *s)
{
    unsigned doublings = s->failures < DOUBLINGS ? s->failures : DOUBLINGS;
    th_time pause = FIRST_PAUSE_MS * TH_MILLISECOND << doublings;
    if (pause > LAST_PAUSE_MS * TH_MILLISECOND) {
        pause = LAST_PAUSE_MS * TH_MILLISECOND;
    }
    return pause - (th_time)th_random_below(&s->loop->random, (uint64_t)pause / 4);
}

/* The same complaint is logged once, however often it is heard. */
static void log_loss(struct th_redis_session *s, const struct th_error *why)
{
    if (s->failures == 0 || strcmp(s->reason.message, why->message) != 0) {
        th_log(s->loop->log, TH_LOG_WARN, category, "%s: %s", s->role->name, why->message);
    }
}

static void fail_held(struct th_redis_session *s)
{
    struct th_redis_list held;
    struct th_link *link;
    th_redis_list_move(&held, &s->held);
    while ((link = th_redis_list_take(&held))) {
        struct th_redis_request *request = (struct th_redis_request *)link;
        request->answered(request, NULL, &s->reason);
    }
}

static void lose(struct th_redis_session *s, const struct th_error *why)
{
    struct th_error reason = *why;
    log_loss(s, &reason);
    s->phase = TH_REDIS_WAITING;
    s->reason = reason;
    s->refusal.code = TH_OK;
    s->loading = false;
    s->waited_for = false;
    s->until = th_monotonic() + pause_before(s);
    s->failures++;
    th_redis_lookup_drop(s->lookup);
    s->lookup = NULL;
    th_redis_connection_close(&s->connection, &reason);
}

void th_redis_session_refuse(struct th_redis_session *s, const struct th_error *why)
{
    if (s->phase >= TH_REDIS_GREETING && s->refusal.code == TH_OK) {
        s->refusal = *why;
        s->refusal.code = TH_UNAVAILABLE; /* whatever it is, it can be mended */
    }
}

static void lose_overdue(struct th_redis_session *s)
{
    static const char *const doing[] = {
        [TH_REDIS_WAITING] = "",
        [TH_REDIS_LOOKING_UP] = "the look-up of its host took longer than",
        [TH_REDIS_CONNECTING] = "no connection was made within",
        [TH_REDIS_GREETING] = "a new connection got no answer within",
        [TH_REDIS_READY] = "no answer came within",
    };
    struct th_error why;
    th_fail(&why, TH_UNAVAILABLE, "Redis at %s: %s %lld ms", s->loop->url.name, doing[s->phase],
            (long long)(s->loop->timeout / TH_MILLISECOND));
    lose(s, &why);
}

/* ---- making ---- */

static void connect_to(struct th_redis_session *s, const char *address)
{
    struct th_error why;
    s->phase = TH_REDIS_CONNECTING;
    if (!th_redis_connection_open(&s->connection, address, s->loop->url.port, &why)) {
        lose(s, &why);
    }
}

static void begin(struct th_redis_session *s)
{
    const char *host = s->loop->url.host;
    unsigned char numeric[sizeof(struct in6_addr)];
    s->until = th_monotonic() + s->loop->timeout;
    if (inet_pton(AF_INET, host, numeric) == 1 || inet_pton(AF_INET6, host, numeric) == 1) {
        connect_to(s, host);
        return;
    }
    s->phase = TH_REDIS_LOOKING_UP;
    s->lookup = th_redis_lookup_start(host, s->loop->wake);
    if (!s->lookup) {
        struct th_error why;
        th_fail(&why, TH_UNAVAILABLE, "cannot look up Redis' host %s: no thread", host);
        lose(s, &why);
    }
}

static void look_up(struct th_redis_session *s)
{
    char address[64];
    struct th_error why;
    int result = th_redis_lookup_result(s->lookup, s->failures, address, &why);
    if (result == 0) {
        return;
    }
    th_redis_lookup_drop(s->lookup);
    s->lookup = NULL;
    if (result > 0) {
        connect_to(s, address);
    } else {
        lose(s, &why);
    }
}

void th_redis_session_greeted(struct th_redis_session *s)
{
    if (s->phase != TH_REDIS_GREETING || s->refusal.code != TH_OK) {
        return;
    }
    th_log(s->loop->log, TH_LOG_INFO, category, "%s: connected to Redis at %s", s->role->name,
           s->loop->url.name);
    s->phase = TH_REDIS_READY;
    s->failures = 0;
    s->waited_for = false;
    struct th_link *link;
    while ((link = th_redis_list_take(&s->held))) {
        th_redis_connection_send(&s->connection, (struct th_redis_request *)link);
    }
}

/* ---- pings ---- */

static void pinged(struct th_redis_request *request, const redisReply *reply,
                   const struct th_error *error)
{
    th_redis_command_deinit(&request->command);
    free(request);
}

static void ping(struct th_redis_session *s)
{
    struct th_redis_request *request = TH_NEW(struct th_redis_request);
    request->answered = pinged;
    th_redis_command_text(&request->command, "PING");
    th_redis_connection_send(&s->connection, request);
}

/* ---- for the loop ---- */

int th_redis_session_fd(const struct th_redis_session *s)
{
    return s->connection.context ? s->connection.context->fd : -1;
}

short th_redis_session_events(const struct th_redis_session *s)
{
    return th_redis_connection_events(&s->connection);
}

static th_time due(const struct th_redis_session *s)
{
    return s->phase == TH_REDIS_READY ? s->connection.progress + s->loop->timeout : s->until;
}

/* Requests that wait for nothing are to be told so at once. */
static bool has_failed_ones(const struct th_redis_session *s)
{
    return s->held.first && s->phase != TH_REDIS_READY && !s->waited_for;
}

th_time th_redis_session_deadline(const struct th_redis_session *s)
{
    return has_failed_ones(s) ? 0 : due(s);
}

static void take_events(struct th_redis_session *s, short events)
{
    struct th_error why;
    bool good = th_redis_connection_ready(&s->connection, events, &why);
    if (s->refusal.code != TH_OK) {
        lose(s, &s->refusal); /* what was said before it closed */
    } else if (!good) {
        lose(s, &why);
    } else if (s->phase == TH_REDIS_CONNECTING && !s->connection.connecting) {
        s->phase = TH_REDIS_GREETING;
        s->role->greet(s);
    }
}

static void overdue(struct th_redis_session *s)
{
    if (s->phase == TH_REDIS_WAITING) {
        begin(s);
    } else if (s->phase == TH_REDIS_READY && !s->connection.requests.first) {
        ping(s);
    } else {
        lose_overdue(s);
    }
}

void th_redis_session_step(struct th_redis_session *s, short events)
{
    if (events && s->connection.context) {
        take_events(s, events);
    }
    if (s->phase == TH_REDIS_LOOKING_UP) {
        look_up(s);
    }
    if (due(s) <= th_monotonic()) {
        overdue(s);
    }
    if (has_failed_ones(s)) {
        fail_held(s);
    }
}

void th_redis_session_end(struct th_redis_session *s)
{
    struct th_error why;
    th_fail(&why, TH_UNAVAILABLE, "the connection to Redis at %s is being closed",
            s->loop->url.name);
    s->loop->log = NULL; /* nobody needs to hear of it */
    lose(s, &why);
    fail_held(s);
}
