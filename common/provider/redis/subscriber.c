/*
 * subscriber: the connection that listens: to the replies for this process, and to the news of the
 * partitions it watches. What is published while it is not there is lost, so every subscription,
 * the first and each one after a loss, is told to the node as news that may have been missed.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

struct subscription {
    struct th_redis_request request;
    struct th_redis_session *session;
    int64_t partition; /* -1: the replies */
};

static void confirmed(struct th_redis_loop *loop, uint32_t partition)
{
    if (loop->watched[partition]) {
        struct th_completion news = {.kind = TH_DONE_NEWS, .partition = partition, .offset = -1};
        th_redis_complete(loop, &news);
    }
}

static void answered(struct th_redis_request *request, const redisReply *reply,
                     const struct th_error *error)
{
    struct subscription *subscription = (struct subscription *)request;
    struct th_redis_session *s = subscription->session;
    if (error) {
        th_redis_session_refuse(s, error);
    } else if (subscription->partition < 0) {
        th_redis_session_greeted(s);
    } else {
        confirmed(s->loop, (uint32_t)subscription->partition);
    }
    th_redis_command_deinit(&request->command);
    free(subscription);
}

static void send_subscription(struct th_redis_session *s, bool wanted, int64_t partition)
{
    struct subscription *subscription = TH_NEW(struct subscription);
    subscription->request.answered = answered;
    subscription->session = s;
    subscription->partition = partition;
    const struct th_provider *provider = &s->loop->provider;
    TH_BUFFER channel = {0};
    if (partition < 0) {
        th_redis_reply_channel(&channel, &provider->hub, provider->address);
    } else {
        th_redis_news_channel(&channel, &provider->hub, (uint32_t)partition);
    }
    struct th_redis_command *c = &subscription->request.command;
    th_redis_command_text(c, wanted ? "SUBSCRIBE" : "UNSUBSCRIBE");
    th_redis_command_add(c, th_buffer_view(&channel));
    th_redis_connection_send(&s->connection, &subscription->request);
}

static void greet(struct th_redis_session *s)
{
    th_redis_greet(s);
    send_subscription(s, true, -1);
    for (uint32_t p = 0; p < s->loop->provider.hub.partitions; p++) {
        if (s->loop->watched[p]) {
            send_subscription(s, true, p);
        }
    }
}

/* ---- messages ---- */

static bool is_replies(const struct th_redis_loop *loop, struct th_str channel)
{
    TH_BUFFER own = {0};
    th_redis_reply_channel(&own, &loop->provider.hub, loop->provider.address);
    return th_str_eq(channel, th_buffer_view(&own));
}

/* "{hub:partition}…": the number; -1 for anything else. */
static int64_t partition_of(const struct th_redis_loop *loop, struct th_str channel)
{
    size_t start = strlen(loop->provider.hub.name) + 2;
    const char *end = channel.len > start ? memchr(channel.data, '}', channel.len) : NULL;
    long long partition;
    if (!end || end < channel.data + start ||
        !th_str_to_i64(th_str_n(channel.data + start, (size_t)(end - channel.data) - start),
                       &partition) ||
        partition < 0 || partition >= loop->provider.hub.partitions) {
        return -1;
    }
    return partition;
}

static void take(struct th_redis_loop *loop, struct th_str channel, struct th_str text)
{
    struct th_completion done = {.kind = TH_DONE_REPLY, .offset = -1};
    if (!is_replies(loop, channel)) {
        int64_t partition = partition_of(loop, channel);
        if (partition < 0 || !loop->watched[partition]) {
            return;
        }
        done.kind = TH_DONE_NEWS;
        done.partition = (uint32_t)partition;
    }
    done.blob = th_blob_new(text.data, text.len);
    th_redis_complete(loop, &done);
}

static bool message(struct th_redis_connection *connection, const redisReply *reply)
{
    struct th_redis_session *s = (struct th_redis_session *)connection;
    if (!th_str_eq(th_redis_string(reply, 0), TH_STR("message"))) {
        return false;
    }
    struct th_str channel = th_redis_string(reply, 1);
    struct th_str text = th_redis_string(reply, 2);
    if (th_str_present(channel) && th_str_present(text)) {
        take(s->loop, channel, text);
    }
    return true;
}

const struct th_redis_role th_redis_listener_role = {
    .name = "listener", .greet = greet, .message = message};

/* ---- tasks ---- */

struct watch_task {
    struct th_redis_task task;
    uint32_t partition;
    bool wanted;
};

static void run_watch(struct th_redis_loop *loop, struct th_redis_task *task)
{
    struct watch_task *watch = (struct watch_task *)task;
    struct th_redis_session *s = &loop->listener;
    loop->watched[watch->partition] = watch->wanted;
    if (s->phase >= TH_REDIS_GREETING) { /* elsewhere it is part of the greeting */
        send_subscription(s, watch->wanted, watch->partition);
    }
    free(watch);
}

void th_redis_watch(struct th_provider *provider, uint32_t partition, bool wanted)
{
    if (partition < provider->hub.partitions) {
        struct watch_task *watch = TH_NEW(struct watch_task);
        watch->task.run = run_watch;
        watch->partition = partition;
        watch->wanted = wanted;
        th_redis_loop_submit((struct th_redis_loop *)provider, &watch->task);
    }
}

/* A reply is one request whose answer, the number of those who got it, says nothing: a process
 * that is there may still be the one that cannot help. */
struct reply_task {
    struct th_redis_task task;
    struct th_redis_request request;
};

static void replied(struct th_redis_request *request, const redisReply *reply,
                    const struct th_error *error)
{
    struct reply_task *sent = TH_REDIS_OF(request, struct reply_task, request);
    th_redis_command_deinit(&request->command);
    free(sent);
}

static void run_reply(struct th_redis_loop *loop, struct th_redis_task *task)
{
    th_redis_session_send(&loop->commands, &((struct reply_task *)task)->request);
}

void th_redis_reply(struct th_provider *provider, const char *address, struct th_blob *message)
{
    struct reply_task *reply = TH_NEW(struct reply_task);
    reply->task.run = run_reply;
    reply->request.answered = replied;
    TH_BUFFER channel = {0};
    th_redis_reply_channel(&channel, &provider->hub, address);
    th_redis_command_text(&reply->request.command, "PUBLISH");
    th_redis_command_add(&reply->request.command, th_buffer_view(&channel));
    th_redis_command_blob(&reply->request.command, message);
    th_redis_loop_submit((struct th_redis_loop *)provider, &reply->task);
}
