/*
 * connection: one connection to Redis, which is hiredis' context for a socket that does not block:
 * its buffers and its parser; with TLS, that of tls.c in between. Not its asynchronous layer: that
 * takes a request into one buffer whole and moves what is left of it to the front after each write,
 * so 64 MiB would be copied twice and then moved some twenty times. Here what is sent is given to
 * the buffer a slice at a time, from where it stands.
 */
#include <errno.h>
#include <hiredis/sds.h>
#include <poll.h>
#include <sys/socket.h>

#include "provider/redis/internal.h"

/* Bytes handed to hiredis at once; and how many times before others have their turn. */
enum { SLICE = 64 << 10, SLICES = 64 };
enum { RECORD = 16 << 10 }; /* what TLS decrypts at once */

/* ---- lists ---- */

void th_redis_list_init(struct th_redis_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void th_redis_list_add(struct th_redis_list *list, struct th_link *link)
{
    link->next = NULL;
    *list->last = link;
    list->last = &link->next;
}

/* A list's end may point into the list itself, so lists are not copied. */
void th_redis_list_move(struct th_redis_list *to, struct th_redis_list *from)
{
    th_redis_list_init(to);
    if (from->first) {
        *to = *from;
        th_redis_list_init(from);
    }
}

struct th_link *th_redis_list_take(struct th_redis_list *list)
{
    struct th_link *link = list->first;
    if (link) {
        list->first = link->next;
        if (!list->first) {
            th_redis_list_init(list);
        }
    }
    return link;
}

/* ---- opening and closing ---- */

void th_redis_connection_init(struct th_redis_connection *c, const char *server,
                              const struct th_redis_tls *tls)
{
    c->server = server;
    c->tls = tls;
    th_redis_list_init(&c->requests);
}

static bool broken(const struct th_redis_connection *c, const char *what, struct th_error *error)
{
    const redisContext *context = c->context;
    if (context && context->err == REDIS_ERR_EOF) {
        return th_fail(error, TH_UNAVAILABLE, "Redis at %s closed the connection", c->server);
    }
    return th_fail(error, TH_UNAVAILABLE, "%s Redis at %s: %s", what, c->server,
                   context ? context->errstr : "out of memory");
}

bool th_redis_connection_open(struct th_redis_connection *c, const char *address, unsigned port,
                              struct th_error *error)
{
    c->context = redisConnectNonBlock(address, (int)port);
    c->connecting = true;
    c->progress = th_monotonic();
    return (c->context && !c->context->err) || broken(c, "cannot connect to", error);
}

void th_redis_connection_close(struct th_redis_connection *c, const struct th_error *why)
{
    struct th_redis_list requests;
    struct th_link *link;
    th_redis_channel_free(c->channel);
    c->channel = NULL;
    if (c->context) {
        redisFree(c->context);
    }
    c->context = NULL;
    c->writing = NULL;
    th_redis_list_move(&requests, &c->requests);
    while ((link = th_redis_list_take(&requests))) {
        struct th_redis_request *request = (struct th_redis_request *)link;
        request->answered(request, NULL, why);
    }
}

static bool connected(struct th_redis_connection *c, struct th_error *error)
{
    int problem = 0;
    socklen_t len = sizeof(problem);
    if (getsockopt(c->context->fd, SOL_SOCKET, SO_ERROR, &problem, &len) != 0) {
        problem = errno;
    }
    if (problem != 0) {
        return th_fail(error, TH_UNAVAILABLE, "cannot connect to Redis at %s: %s", c->server,
                       strerror(problem));
    }
    if (c->tls) {
        c->channel = th_redis_channel_new(c->tls, c->context->fd, c->server);
        return c->channel || broken(c, "cannot begin TLS with", error);
    }
    c->connecting = false;
    return true;
}

static bool shake_hands(struct th_redis_connection *c, struct th_error *error)
{
    bool done;
    bool good = th_redis_channel_shake(c->channel, &done, error);
    c->connecting = !done;
    return good;
}

/* ---- writing ---- */

void th_redis_connection_send(struct th_redis_connection *c, struct th_redis_request *request)
{
    th_redis_command_finish(&request->command);
    if (!c->requests.first) {
        c->progress = th_monotonic();
    }
    th_redis_list_add(&c->requests, &request->link);
    if (!c->writing) {
        c->writing = request;
        c->place = (struct th_redis_place){0};
    }
}

/* What is wholly in hiredis' buffer is no longer needed. */
static void written(struct th_redis_connection *c)
{
    th_redis_command_deinit(&c->writing->command);
    c->writing = (struct th_redis_request *)c->writing->link.next;
    c->place = (struct th_redis_place){0};
}

static void fill(struct th_redis_connection *c)
{
    while (c->writing && sdslen(c->context->obuf) < SLICE) {
        struct th_str run = th_redis_command_next(&c->writing->command, &c->place, SLICE);
        if (!th_str_present(run)) {
            written(c);
        } else {
            redisAppendFormattedCommand(c->context, run.data, run.len);
        }
    }
}

/* Some of what is in hiredis' buffer; `drained`: the socket takes no more for now, or all is sent.
 */
static bool write_out(struct th_redis_connection *c, int *drained, struct th_error *error)
{
    size_t count;
    if (!c->channel) {
        return redisBufferWrite(c->context, drained) == REDIS_OK ||
               broken(c, "lost the connection to", error);
    }
    size_t len = sdslen(c->context->obuf);
    if (!th_redis_channel_write(c->channel, th_str_n(c->context->obuf, len), &count, error)) {
        return false;
    }
    sdsrange(c->context->obuf, (int)count, -1);
    *drained = count == len;
    return true;
}

/* As long as the oldest request is still being sent, sending is what brings it nearer. */
static bool write_some(struct th_redis_connection *c, struct th_error *error)
{
    int drained = 1;
    for (int i = 0; drained && i < SLICES; i++) {
        bool oldest = c->writing && c->requests.first == &c->writing->link;
        fill(c);
        if (sdslen(c->context->obuf) == 0) {
            return true;
        }
        if (!write_out(c, &drained, error)) {
            return false;
        }
        if (oldest) {
            c->progress = th_monotonic();
        }
    }
    return true;
}

/* ---- reading ---- */

static bool unasked(const struct th_redis_connection *c, const redisReply *reply,
                    struct th_error *error)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        th_redis_reason(error, c->server, reply->str);
        error->code = TH_UNAVAILABLE;
        return false;
    }
    return th_fail(error, TH_UNAVAILABLE, "Redis at %s answers what nobody asked", c->server);
}

static bool take_reply(struct th_redis_connection *c, const redisReply *reply,
                       struct th_error *error)
{
    if (c->message && c->message(c, reply)) {
        return true;
    }
    struct th_link *oldest = c->requests.first;
    if (!oldest || (c->writing && oldest == &c->writing->link)) {
        return unasked(c, reply, error);
    }
    struct th_redis_request *request = (struct th_redis_request *)th_redis_list_take(&c->requests);
    if (reply->type == REDIS_REPLY_ERROR) {
        struct th_error problem;
        th_redis_reason(&problem, c->server, reply->str);
        if (c->complaint) {
            c->complaint(c, reply->str);
        }
        request->answered(request, NULL, &problem);
    } else {
        request->answered(request, reply, NULL);
    }
    return true;
}

/* One record of TLS is at most RECORD long, so OpenSSL keeps nothing back that poll would not show.
 */
static bool read_in(struct th_redis_connection *c, struct th_error *error)
{
    char bytes[RECORD];
    size_t count;
    if (!c->channel) {
        return redisBufferRead(c->context) == REDIS_OK ||
               broken(c, "lost the connection to", error);
    }
    if (!th_redis_channel_read(c->channel, bytes, sizeof(bytes), &count, error)) {
        return false;
    }
    return redisReaderFeed(c->context->reader, bytes, count) == REDIS_OK ||
           broken(c, "cannot understand", error);
}

static bool read_some(struct th_redis_connection *c, struct th_error *error)
{
    if (!read_in(c, error)) {
        return false;
    }
    c->progress = th_monotonic();
    for (;;) {
        void *reply = NULL;
        if (redisGetReplyFromReader(c->context, &reply) != REDIS_OK) {
            return broken(c, "cannot understand", error);
        }
        if (!reply) {
            return true;
        }
        bool good = take_reply(c, reply, error);
        freeReplyObject(reply);
        if (!good) {
            return false;
        }
    }
}

/* ---- poll ---- */

short th_redis_connection_events(const struct th_redis_connection *c)
{
    if (c->connecting && c->channel) {
        return th_redis_channel_wants(c->channel);
    }
    bool to_write = c->connecting || c->writing || sdslen(c->context->obuf) > 0;
    return (short)(POLLIN | (to_write ? POLLOUT : 0));
}

bool th_redis_connection_ready(struct th_redis_connection *c, short events, struct th_error *error)
{
    if (c->connecting && c->channel) {
        return shake_hands(c, error);
    }
    if (c->connecting) {
        return !(events & (POLLOUT | POLLERR | POLLHUP)) || connected(c, error);
    }
    /* Reading first: a server that closes says why before. */
    return (!(events & (POLLIN | POLLERR | POLLHUP)) || read_some(c, error)) &&
           (!(events & POLLOUT) || write_some(c, error));
}
