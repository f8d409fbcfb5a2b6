/*
 * greeting: what is said on a new connection before it serves anybody: who we are, which database,
 * whether this server will do, and the functions, which a restart without persistence loses.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

enum { OLDEST = 7 }; /* the first with functions */

typedef void answer_function(struct th_redis_request *request, const redisReply *reply,
                             const struct th_error *error);

struct step {
    struct th_redis_request request;
    struct th_redis_session *session;
};

static struct step *step_new(struct th_redis_session *s, answer_function *answered)
{
    struct step *step = TH_NEW(struct step);
    step->request.answered = answered;
    step->session = s;
    return step;
}

/* The session of a step that has been answered; the step is gone. */
static struct th_redis_session *step_done(struct th_redis_request *request)
{
    struct th_redis_session *s = ((struct step *)request)->session;
    th_redis_command_deinit(&request->command);
    free(request);
    return s;
}

/* For steps whose answer is good unless it is an error. */
static void answered(struct th_redis_request *request, const redisReply *reply,
                     const struct th_error *error)
{
    struct th_redis_session *s = step_done(request);
    if (error) {
        th_redis_session_refuse(s, error);
    }
}

static void send_step(struct step *step)
{
    th_redis_connection_send(&step->session->connection, &step->request);
}

void th_redis_greet(struct th_redis_session *s)
{
    const struct th_redis_url *url = &s->loop->url;
    if (!url->user && !url->password) {
        return;
    }
    struct step *step = step_new(s, answered);
    th_redis_command_text(&step->request.command, "AUTH");
    if (url->user) {
        th_redis_command_text(&step->request.command, url->user);
    }
    th_redis_command_text(&step->request.command, url->password ? url->password : "");
    send_step(step);
}

/* ---- whether this server will do ---- */

/* The value of a line "field:value" of INFO; absent when there is none. */
static struct th_str info_field(struct th_str info, struct th_str field)
{
    while (info.len > 0) {
        const char *end = memchr(info.data, '\n', info.len);
        size_t len = end ? (size_t)(end - info.data) : info.len;
        struct th_str line =
            th_str_n(info.data, len > 0 && info.data[len - 1] == '\r' ? len - 1 : len);
        if (th_str_starts(line, field)) {
            return th_str_n(line.data + field.len, line.len - field.len);
        }
        size_t used = end ? len + 1 : len;
        info = th_str_n(info.data + used, info.len - used);
    }
    return TH_STR_ABSENT;
}

static bool new_enough(struct th_str version)
{
    const char *dot = version.len > 0 ? memchr(version.data, '.', version.len) : NULL;
    long long major;
    return dot && th_str_to_i64(th_str_n(version.data, (size_t)(dot - version.data)), &major) &&
           major >= OLDEST;
}

/* INFO says both, also to a user who may not use CONFIG. */
static bool check_info(struct th_str info, const char *server, struct th_error *error)
{
    struct th_str version = info_field(info, TH_STR("redis_version:"));
    struct th_str policy = info_field(info, TH_STR("maxmemory_policy:"));
    if (!new_enough(version)) {
        return th_fail(error, TH_UNAVAILABLE,
                       "Redis at %s has version %.*s: Taskhub needs %d.0 or later", server,
                       TH_PRI(version), OLDEST);
    }
    if (!th_str_eq(policy, TH_STR("noeviction"))) {
        return th_fail(error, TH_UNAVAILABLE,
                       "Redis at %s has maxmemory-policy %.*s and would evict what Taskhub keeps "
                       "there: set it to noeviction",
                       server, TH_PRI(policy));
    }
    return true;
}

static void info_told(struct th_redis_request *request, const redisReply *reply,
                      const struct th_error *error)
{
    struct th_redis_session *s = step_done(request);
    struct th_error unfit;
    if (error) {
        th_redis_session_refuse(s, error);
        return;
    }
    struct th_str info = th_str_n(reply->str ? reply->str : "", reply->str ? reply->len : 0);
    if (!check_info(info, s->loop->url.name, &unfit)) {
        th_redis_session_refuse(s, &unfit);
    }
}

/* ---- functions ---- */

/* At maxmemory, on a replica, and without the right to, functions cannot be loaded. They may be
 * there all the same, so that is left to the first call of one. */
static void loaded(struct th_redis_request *request, const redisReply *reply,
                   const struct th_error *error)
{
    struct th_redis_session *s = step_done(request);
    s->loading = false;
    s->load_failure = error ? *error : (struct th_error){0};
    if (error && s->phase == TH_REDIS_READY) {
        th_redis_session_refuse(s, error);
    }
}

static void load_functions(struct th_redis_session *s)
{
    struct step *step = step_new(s, loaded);
    th_redis_command_text(&step->request.command, "FUNCTION");
    th_redis_command_text(&step->request.command, "LOAD");
    th_redis_command_text(&step->request.command, "REPLACE");
    th_redis_command_text(&step->request.command, th_redis_library);
    s->loading = true;
    send_step(step);
}

/* Functions run with their caller's rights: the lack of one would show half way through a batch. */
static void rights_told(struct th_redis_request *request, const redisReply *reply,
                        const struct th_error *error)
{
    struct th_redis_session *s = step_done(request);
    if (error) {
        th_redis_session_refuse(s, s->load_failure.code != TH_OK ? &s->load_failure : error);
    } else if (reply->type == REDIS_REPLY_STRING && reply->len == 0) {
        th_redis_session_greeted(s);
    } else {
        struct th_error lacking;
        th_fail(&lacking, TH_UNAVAILABLE,
                "Redis at %s does not give the URL's user the right to %s, which Taskhub needs",
                s->loop->url.name, reply->str ? reply->str : "call functions");
        th_redis_session_refuse(s, &lacking);
    }
}

static void ask_rights(struct th_redis_session *s)
{
    struct step *step = step_new(s, rights_told);
    struct th_redis_command *c = &step->request.command;
    TH_BUFFER channel = {0};
    th_redis_news_channel(&channel, &s->loop->provider.hub, 0);
    th_redis_command_function(c, TH_REDIS_FUNCTION("ready"), &s->loop->provider.hub, 0);
    th_redis_command_add(c, th_buffer_view(&channel));
    send_step(step);
}

static void select_database(struct th_redis_session *s)
{
    struct step *step = step_new(s, answered);
    th_redis_command_text(&step->request.command, "SELECT");
    th_redis_command_number(&step->request.command, s->loop->url.database);
    send_step(step);
}

static void ask_info(struct th_redis_session *s)
{
    struct step *step = step_new(s, info_told);
    th_redis_command_text(&step->request.command, "INFO");
    send_step(step);
}

static void greet(struct th_redis_session *s)
{
    th_redis_greet(s);
    if (s->loop->url.database != 0) {
        select_database(s);
    }
    ask_info(s);
    load_functions(s);
    ask_rights(s);
}

/* FUNCTION FLUSH, or a restore from elsewhere: what was sent before they are back fails. */
static void complaint(struct th_redis_connection *connection, const char *answer)
{
    struct th_redis_session *s = (struct th_redis_session *)connection;
    if (s->phase == TH_REDIS_READY && !s->loading && th_redis_function_missing(answer)) {
        load_functions(s);
    }
}

const struct th_redis_role th_redis_command_role = {
    .name = "commands", .greet = greet, .complaint = complaint};
