/*
 * A call, a command under way, lives until the node has answered it or taken note of its
 * cancellation, whichever is later; both happen on the node's thread. `calls_lock` is held around
 * each callback, so `cancel`, which takes it too, knows that no callback is running. It is
 * recursive: a callback may submit and cancel. It also makes `closed` final: a submission either
 * is in the queue before the node's thread empties it for the last time, or is refused.
 */
#include "worker/hostinternal.h"

#include <stdlib.h>

struct call {
    struct mail mail;
    struct mail cancel; /* sent once the caller gave up */
    struct call *same_hash;
    struct th_host *host;
    uint64_t ticket;      /* the caller's */
    uint64_t node_ticket; /* the node's */
    th_reply_fn reply;
    void *argument;
    bool canceled, cancel_sent; /* guarded by calls_lock */
    bool entering, answered;    /* the node's thread: in th_node_command; the node is through */
    struct th_command command;  /* its strings and tags lie in `bytes` */
    _Alignas(struct th_tag) char bytes[];
};

static size_t command_bytes(const struct th_command *c)
{
    size_t bytes = c->tags.count * sizeof(struct th_tag) + c->instance_id.len + c->name.len +
                   c->version.len + c->data.len + c->reason.len + c->request_id.len + c->trace.len +
                   c->query.id_prefix.len + c->query.name.len + c->query.continuation.len;
    for (size_t i = 0; i < c->tags.count; i++)
        bytes += c->tags.items[i].key.len + c->tags.items[i].value.len;
    return bytes;
}

static void move_str(struct th_str *s, char **at)
{
    if (s->len)
        memcpy(*at, s->data, s->len);
    if (s->data)
        s->data = *at;
    *at += s->len;
}

static void move_tags(struct th_tags *tags, char **at)
{
    if (tags->count == 0)
        return;
    struct th_tag *items = (struct th_tag *)(void *)*at;
    memcpy(items, tags->items, tags->count * sizeof *items);
    *at += tags->count * sizeof *items;
    for (size_t i = 0; i < tags->count; i++) {
        move_str(&items[i].key, at);
        move_str(&items[i].value, at);
    }
    tags->items = items;
}

static struct call *call_new(struct th_host *host, const struct th_command *command,
                             th_reply_fn reply, void *argument)
{
    struct call *call = th_alloc(sizeof *call + command_bytes(command));
    call->mail.kind = MAIL_COMMAND;
    call->cancel.kind = MAIL_CANCEL;
    call->host = host;
    call->reply = reply;
    call->argument = argument;
    call->command = *command;
    struct th_command *c = &call->command;
    char *at = call->bytes;
    move_tags(&c->tags, &at);
    struct th_str *const strings[] = {
        &c->instance_id, &c->name,  &c->version,         &c->data,       &c->reason,
        &c->request_id,  &c->trace, &c->query.id_prefix, &c->query.name, &c->query.continuation};
    for (size_t i = 0; i < TH_COUNT(strings); i++)
        move_str(strings[i], &at);
    return call;
}

static struct call **find_call(struct th_host *host, uint64_t ticket)
{
    struct call **at = &host->calls[ticket % CALL_BUCKETS];
    while (*at && (*at)->ticket != ticket)
        at = &(*at)->same_hash;
    return at;
}

/* Calls lock held. */
static void unlist(struct call *call)
{
    struct call **at = find_call(call->host, call->ticket);
    if (*at == call)
        *at = call->same_hash;
}

/* The node's answer; on its thread. */
static void on_reply(void *argument, const struct th_reply *reply)
{
    struct call *call = argument;
    struct th_host *host = call->host;
    pthread_mutex_lock(&host->calls_lock);
    call->answered = true;
    if (!call->canceled) {
        unlist(call);
        call->reply(call->argument, reply);
    }
    bool last = !call->entering && !call->cancel_sent;
    pthread_mutex_unlock(&host->calls_lock);
    if (last)
        free(call);
}

static void refuse(struct call *call)
{
    struct th_reply reply = {.error = {.code = TH_OK}};
    th_fail(&reply.error, TH_UNAVAILABLE, "hub %s is stopping", call->host->hub.name);
    on_reply(call, &reply);
}

uint64_t host_submit(struct th_gateway *gateway, const struct th_command *command,
                     th_reply_fn reply, void *argument)
{
    struct th_host *host = (struct th_host *)gateway;
    struct call *call = call_new(host, command, reply, argument);
    pthread_mutex_lock(&host->calls_lock);
    uint64_t ticket = ++host->last_ticket;
    call->ticket = ticket;
    bool closed = host->closed;
    if (!closed) {
        struct call **at = &host->calls[ticket % CALL_BUCKETS];
        call->same_hash = *at;
        *at = call;
        th_queue_push(&host->mail, &call->mail.link);
    }
    pthread_mutex_unlock(&host->calls_lock);
    if (closed)
        refuse(call);
    return ticket;
}

bool host_cancel(struct th_gateway *gateway, uint64_t ticket)
{
    struct th_host *host = (struct th_host *)gateway;
    pthread_mutex_lock(&host->calls_lock);
    struct call *call = *find_call(host, ticket);
    if (call) {
        unlist(call);
        call->canceled = true;
        call->cancel_sent = !host->closed; /* else freed with the node's answer */
        if (call->cancel_sent)
            th_queue_push(&host->mail, &call->cancel.link);
    }
    pthread_mutex_unlock(&host->calls_lock);
    return call != NULL;
}

/* ---- on the node's thread ----------------------------------------------------------------------
 */

void host_enter_command(struct th_host *host, struct mail *mail, th_time now)
{
    struct call *call = (struct call *)mail;
    if (host->draining) {
        refuse(call);
        return;
    }
    call->entering = true;
    call->node_ticket = th_node_command(host->node, &call->command, on_reply, call, now);
    call->entering = false;
    pthread_mutex_lock(&host->calls_lock);
    bool over = call->answered && !call->cancel_sent;
    pthread_mutex_unlock(&host->calls_lock);
    if (over)
        free(call);
}

/* The caller gave up; this mail is the call's last. */
void host_enter_cancel(struct th_host *host, struct mail *mail)
{
    struct call *call = (struct call *)((char *)mail - offsetof(struct call, cancel));
    if (!call->answered)
        th_node_cancel(host->node, call->node_ticket);
    free(call);
}
