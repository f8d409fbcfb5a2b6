/* drop: the end of a hub: a few keys for each partition, whatever they hold. Redis frees what it
 * was that they held later, on a thread of its own. */
#include "base/memory.h"
#include "provider/redis/internal.h"

static bool ask(redisContext *context, const struct th_redis_url *url, int count,
                const char *const *words, struct th_error *error)
{
    redisReply *reply = redisCommandArgv(context, count, (const char **)words, NULL);
    bool good = reply && reply->type != REDIS_REPLY_ERROR;
    if (reply && !good) {
        th_redis_reason(error, url->name, reply->str);
    } else if (!reply) {
        th_fail(error, TH_UNAVAILABLE, "Redis at %s does not answer: %s", url->name,
                context->errstr);
    }
    freeReplyObject(reply);
    return good;
}

static bool greet(redisContext *context, const struct th_redis_url *url, struct th_error *error)
{
    const char *password = url->password ? url->password : "";
    const char *with_user[] = {"AUTH", url->user, password};
    const char *without_user[] = {"AUTH", password};
    TH_BUFFER number = {0};
    th_buffer_format(&number, "%u%c", url->database, '\0');
    const char *choose[] = {"SELECT", number.data};
    bool known = url->user       ? ask(context, url, 3, with_user, error)
                 : url->password ? ask(context, url, 2, without_user, error)
                                 : true;
    return known && (url->database == 0 || ask(context, url, 2, choose, error));
}

static bool drop_partition(redisContext *context, const struct th_redis_url *url,
                           const struct th_hub_record *hub, uint32_t partition,
                           struct th_error *error)
{
    struct th_buffer keys[TH_REDIS_KEYS] = {0};
    const char *words[1 + TH_REDIS_KEYS] = {"UNLINK"};
    for (unsigned i = 0; i < TH_REDIS_KEYS; i++) {
        th_redis_key(&keys[i], hub, partition, i);
        th_buffer_add(&keys[i], "", 1);
        words[1 + i] = keys[i].data;
    }
    bool good = ask(context, url, 1 + TH_REDIS_KEYS, words, error);
    for (unsigned i = 0; i < TH_REDIS_KEYS; i++) {
        th_buffer_deinit(&keys[i]);
    }
    return good;
}

static bool drop(const struct th_redis_url *url, uint32_t timeout_ms,
                 const struct th_hub_record *hub, struct th_error *error)
{
    struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    redisContext *context = redisConnectWithTimeout(url->host, (int)url->port, timeout);
    bool good = context && !context->err && redisSetTimeout(context, timeout) == REDIS_OK;
    if (!good) {
        th_fail(error, TH_UNAVAILABLE, "cannot connect to Redis at %s: %s", url->name,
                context ? context->errstr : "out of memory");
    }
    good = good && greet(context, url, error);
    for (uint32_t p = 0; good && p < hub->partitions; p++) {
        good = drop_partition(context, url, hub, p, error);
    }
    redisFree(context);
    return good;
}

bool th_redis_drop_hub(const struct th_redis_options *options, const struct th_hub_record *hub,
                       struct th_error *error)
{
    struct th_redis_url url;
    if (!th_redis_url_parse(options->url, &url, error)) {
        return false;
    }
    uint32_t timeout = options->timeout_ms ? options->timeout_ms : TH_REDIS_TIMEOUT_MS;
    bool good = drop(&url, timeout, hub, error);
    th_redis_url_deinit(&url);
    return good;
}
