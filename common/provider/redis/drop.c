/* drop: the end of a hub: a few keys for each partition, whatever they hold. Redis frees what it
 * was that they held later, on a thread of its own. One connection, driven by the caller's thread.
 */
#include <errno.h>
#include <poll.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

struct talk {
    struct th_redis_connection connection;
    const struct th_redis_url *url;
    th_time timeout;
};

/* A request on the caller's stack. */
struct question {
    struct th_redis_request request;
    bool answered;
    struct th_error error;
};

static void answered(struct th_redis_request *request, const redisReply *reply,
                     const struct th_error *error)
{
    struct question *question = (struct question *)request;
    question->answered = true;
    if (error) {
        question->error = *error;
    }
}

/* Until something happened; false: nothing did for the time-out, or the connection broke. */
static bool go_on(struct talk *talk, struct th_error *error)
{
    struct th_redis_connection *c = &talk->connection;
    struct pollfd fd = {.fd = c->context->fd, .events = th_redis_connection_events(c)};
    int count = poll(&fd, 1, (int)(talk->timeout / TH_MILLISECOND));
    if (count < 0 && errno == EINTR) {
        return true;
    }
    if (count == 0) {
        return th_fail(error, TH_UNAVAILABLE, "Redis at %s does not answer", talk->url->name);
    }
    return th_redis_connection_ready(c, fd.revents, error);
}

/* The command is filled; it is gone afterwards. */
static bool ask(struct talk *talk, struct question *question, struct th_error *error)
{
    struct th_redis_connection *c = &talk->connection;
    bool good = true;
    question->request.answered = answered;
    th_redis_connection_send(c, &question->request);
    while (good && !question->answered) {
        good = go_on(talk, error);
    }
    if (!good && !question->answered) {
        th_redis_connection_close(c, error); /* nobody may hold it any longer */
    } else if (question->error.code != TH_OK) {
        *error = question->error;
        good = false;
    }
    th_redis_command_deinit(&question->request.command);
    return good;
}

static bool say_who(struct talk *talk, struct th_error *error)
{
    const struct th_redis_url *url = talk->url;
    struct question question = {.answered = false};
    if (!url->user && !url->password) {
        return true;
    }
    th_redis_command_text(&question.request.command, "AUTH");
    if (url->user) {
        th_redis_command_text(&question.request.command, url->user);
    }
    th_redis_command_text(&question.request.command, url->password ? url->password : "");
    return ask(talk, &question, error);
}

static bool choose_database(struct talk *talk, struct th_error *error)
{
    struct question question = {.answered = false};
    if (talk->url->database == 0) {
        return true;
    }
    th_redis_command_text(&question.request.command, "SELECT");
    th_redis_command_number(&question.request.command, talk->url->database);
    return ask(talk, &question, error);
}

static bool drop_partition(struct talk *talk, const struct th_hub_record *hub, uint32_t partition,
                           struct th_error *error)
{
    struct question question = {.answered = false};
    TH_BUFFER key = {0};
    th_redis_command_text(&question.request.command, "UNLINK");
    for (unsigned i = 0; i < TH_REDIS_KEYS; i++) {
        th_redis_key(&key, hub, partition, i);
        th_redis_command_add(&question.request.command, th_buffer_view(&key));
    }
    return ask(talk, &question, error);
}

static bool drop(struct talk *talk, const struct th_hub_record *hub, struct th_error *error)
{
    struct th_redis_connection *c = &talk->connection;
    bool good = th_redis_connection_open(c, talk->url->host, talk->url->port, error);
    while (good && c->connecting) {
        good = go_on(talk, error);
    }
    good = good && say_who(talk, error) && choose_database(talk, error);
    for (uint32_t p = 0; good && p < hub->partitions; p++) {
        good = drop_partition(talk, hub, p, error);
    }
    th_redis_connection_close(c, error);
    return good;
}

bool th_redis_drop_hub(const struct th_redis_options *options, const struct th_hub_record *hub,
                       struct th_error *error)
{
    uint32_t timeout = options->timeout_ms ? options->timeout_ms : TH_REDIS_TIMEOUT_MS;
    struct th_redis_url url;
    struct th_redis_tls *tls = NULL;
    struct th_error reason = {.code = TH_OK}; /* `error` may be NULL, as everywhere */
    bool good =
        th_redis_url_parse(options->url, &url, error) && th_redis_tls_new(&url, &tls, error);
    if (good) {
        struct talk talk = {.url = &url, .timeout = timeout * TH_MILLISECOND};
        th_redis_connection_init(&talk.connection, url.name, tls);
        good = drop(&talk, hub, &reason);
    }
    if (error && reason.code != TH_OK) {
        *error = reason;
    }
    th_redis_tls_free(tls);
    th_redis_url_deinit(&url);
    return good;
}
