/*
 * connection: one connection to Redis, which is hiredis' context for a socket that does not block:
 * its buffers, its parser and, where it has one, its TLS. Not its asynchronous layer: that takes a
 * request into one buffer whole and moves what is left of it to the front after each write, so
 * 64 MiB would be copied twice and then moved some twenty times. Here what is sent is given to the
 * buffer a slice at a time, from where it stands.
 */
#include <errno.h>
#include <hiredis/sds.h>
#include <poll.h>
#include <sys/socket.h>

#include "provider/redis/internal.h"

/* Bytes handed to hiredis at once; and how many times before others have their turn. */
enum { SLICE = 64 << 10, SLICES = 64 };

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

void th_redis_connection_init(struct th_redis_connection *c, const char *server)
{
    c->server = server;
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
    c->connecting = false;
    return problem == 0 || th_fail(error, TH_UNAVAILABLE, "cannot connect to Redis at %s: %s",
                                   c->server, strerror(problem));
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
        if (redisBufferWrite(c->context, &drained) != REDIS_OK) {
            return broken(c, "lost the connection to", error);
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

static bool read_some(struct th_redis_connection *c, struct th_error *error)
{
    if (redisBufferRead(c->context) != REDIS_OK) {
        return broken(c, "lost the connection to", error);
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
    bool to_write = c->connecting || c->writing || sdslen(c->context->obuf) > 0;
    return (short)(POLLIN | (to_write ? POLLOUT : 0));
}

bool th_redis_connection_ready(struct th_redis_connection *c, short events, struct th_error *error)
{
    if (c->connecting) {
        return !(events & (POLLOUT | POLLERR | POLLHUP)) || connected(c, error);
    }
    /* Reading first: a server that closes says why before. */
    return (!(events & (POLLIN | POLLERR | POLLHUP)) || read_some(c, error)) &&
           (!(events & POLLOUT) || write_some(c, error));
}
