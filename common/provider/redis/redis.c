/* redis: opening and closing, and the provider's table. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "provider/redis/internal.h"

static struct th_provider_traits traits(struct th_provider *provider)
{
    return (struct th_provider_traits){.name = "redis", .shared = true};
}

static size_t poll_completions(struct th_provider *provider, struct th_completion *out, size_t max)
{
    struct th_redis_loop *loop = (struct th_redis_loop *)provider;
    pthread_mutex_lock(&loop->mutex);
    size_t count = th_completions_pop(&loop->outlet, out, max);
    pthread_mutex_unlock(&loop->mutex);
    return count;
}

static void close_provider(struct th_provider *provider)
{
    struct th_redis_loop *loop = (struct th_redis_loop *)provider;
    th_redis_loop_stop(loop);
    th_redis_tls_free(loop->tls);
    th_redis_url_deinit(&loop->url);
    free(loop);
}

static const struct th_provider_ops ops = {
    .traits = traits,
    .project = th_redis_project,
    .load = th_redis_load,
    .query = th_redis_query,
    .state = th_redis_state,
    .walk = th_redis_walk,
    .reply = th_redis_reply,
    .watch = th_redis_watch,
    .poll = poll_completions,
    .close = close_provider,
};

bool th_redis_check_url(const char *text, struct th_error *error)
{
    struct th_redis_url url;
    struct th_redis_tls *tls = NULL;
    bool good = th_redis_url_parse(text, &url, error) && th_redis_tls_new(&url, &tls, error);
    th_redis_tls_free(tls);
    th_redis_url_deinit(&url);
    return good;
}

bool th_redis_up(const struct th_provider *provider)
{
    const struct th_redis_loop *loop = (const struct th_redis_loop *)provider;
    return loop->commands.phase == TH_REDIS_READY;
}

struct th_provider *th_redis_open(const struct th_redis_options *options,
                                  const struct th_hub_record *hub, struct th_error *error)
{
    struct th_redis_loop *loop = TH_NEW(struct th_redis_loop);
    uint32_t timeout = options->timeout_ms ? options->timeout_ms : TH_REDIS_TIMEOUT_MS;
    if (!th_redis_url_parse(options->url, &loop->url, error) ||
        !th_redis_tls_new(&loop->url, &loop->tls, error)) {
        th_redis_url_deinit(&loop->url);
        free(loop);
        return NULL;
    }
    loop->provider.ops = &ops;
    loop->provider.hub = *hub;
    th_id_hex(th_random_system(), th_random_system(), loop->provider.address);
    loop->log = options->log;
    loop->timeout = timeout * TH_MILLISECOND;
    if (!th_redis_loop_start(loop, error)) {
        close_provider(&loop->provider);
        return NULL;
    }
    return &loop->provider;
}
