/*
 * Nothing here outlives the process, and nothing is worth saving: what the hub was not told is
 * done again. So whatever fails ends the process, and the hub starts another.
 *
 * The hub's manager always reads, so writing to the work channel may block without harm.
 */
#include "worker/appmain.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include <utlist.h>

#include "api/client.h"
#include "api/request.h"
#include "api/threads.h"
#include "base/memory.h"
#include "worker/appproc.h"
#include "worker/supervisor.h"
#include "worker/wire.h"

#define WORK_FD          3
#define EPISODES_FD      4
#define READ_BYTES       65536
#define FUNCTION_THREADS 8 /* the hub's HTTP server has no more */
#define MAX_JOBS         1024
#define DEFAULT_MAX_WARM 20000
#define LAST_WAIT        (50 * TH_MILLISECOND)

/* A command of a client that waits for the hub's reply. */
struct asked {
    struct asked *prev, *next;
    uint64_t number;
    th_reply_fn reply;
    void *argument;
};

struct process {
    struct th_gateway gateway; /* first: the clients' way to the hub */
    struct th_hub_record hub;
    struct th_app *app;
    struct th_log log;
    struct th_flight *flight;
    struct th_pool *pool;
    struct th_executor *executor;
    struct th_client *client;
    struct th_threads *threads;
    pthread_t reader;
    th_time watch_interval; /* TH_TIME_NONE: no time-outs */

    pthread_mutex_t write_lock; /* the work channel, towards the hub */
    pthread_mutex_t asked_lock; /* held around each reply */
    struct asked *asked;
    uint64_t last_number;

    struct th_wire work, episodes; /* the reader's, the main thread's */
    struct th_arena begin_arena;
};

/* One request of a client function. */
struct job {
    struct process *process;
    struct th_buffer frame;
};

/* ---- the work channel --------------------------------------------------------------------------
 */

static bool send_rest(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The frame's first bytes, and a descriptor with them. */
static ssize_t send_file(const struct th_buffer *frame, int file)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec vector = {.iov_base = frame->data, .iov_len = frame->len};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof file);
    memcpy(CMSG_DATA(head), &file, sizeof file);
    ssize_t n;
    while ((n = sendmsg(WORK_FD, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
    }
    return n;
}

/* A hub that is gone is noticed by those who read. */
static void tell(struct process *p, const struct th_buffer *frame, int file)
{
    pthread_mutex_lock(&p->write_lock);
    ssize_t sent = file < 0 ? 0 : send_file(frame, file);
    if (sent >= 0)
        send_rest(WORK_FD, frame->data + sent, frame->len - (size_t)sent);
    pthread_mutex_unlock(&p->write_lock);
}

/* The next whole frame; false: the hub hung up. Waits at most until the monotonic deadline, then
 * the frame is absent. */
static bool receive(int fd, struct th_wire *wire, th_time deadline, struct th_str *frame)
{
    *frame = TH_STR_ABSENT;
    for (;;) {
        enum th_wire_next next = th_wire_next(wire, frame);
        if (next != TH_WIRE_MORE)
            return next == TH_WIRE_FRAME;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (deadline != TH_TIME_NONE) {
            th_time left = deadline - th_monotonic();
            int n = poll(&ready, 1, left <= 0 ? 0 : (int)(left / TH_MILLISECOND) + 1);
            if (n == 0)
                return true;
        }
        char *room = th_wire_room(wire, READ_BYTES);
        ssize_t n = recv(fd, room, READ_BYTES, 0);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        wire->bytes.len += n > 0 ? (size_t)n : 0;
    }
}

/* ---- clients: a gateway whose hub is at the other end -------------------------------------------
 */

static void answer_unavailable(th_reply_fn reply, void *argument, const char *why)
{
    struct th_reply none = {.count = 0};
    th_fail(&none.error, TH_UNAVAILABLE, "%s", why);
    reply(argument, &none);
}

static uint64_t submit(struct th_gateway *gateway, const struct th_command *command,
                       th_reply_fn reply, void *argument)
{
    struct process *p = (struct process *)gateway;
    struct asked *asked = TH_NEW(struct asked);
    TH_BUFFER frame = {0};
    *asked = (struct asked){.reply = reply, .argument = argument};
    pthread_mutex_lock(&p->asked_lock);
    uint64_t number = asked->number = ++p->last_number;
    DL_APPEND(p->asked, asked);
    pthread_mutex_unlock(&p->asked_lock);
    size_t begin = th_wire_begin(&frame, TH_FRAME_COMMAND);
    th_put_command(&frame, number, command);
    if (th_wire_end(&frame, begin)) {
        tell(p, &frame, -1);
    } else if (gateway->cancel(gateway, number)) {
        answer_unavailable(reply, argument, "the command is too large for the hub");
    }
    return number;
}

static struct asked *take_asked(struct process *p, uint64_t number)
{
    struct asked *asked;
    DL_SEARCH_SCALAR(p->asked, asked, number, number);
    if (asked)
        DL_DELETE(p->asked, asked);
    return asked;
}

static bool cancel(struct th_gateway *gateway, uint64_t number)
{
    struct process *p = (struct process *)gateway;
    TH_BUFFER frame = {0};
    pthread_mutex_lock(&p->asked_lock);
    struct asked *asked = take_asked(p, number);
    pthread_mutex_unlock(&p->asked_lock);
    if (!asked)
        return false;
    free(asked);
    size_t begin = th_wire_begin(&frame, TH_FRAME_GIVE_UP);
    th_put_number(&frame, number);
    th_wire_end(&frame, begin);
    tell(p, &frame, -1);
    return true;
}

static bool enter_reply(struct process *p, struct th_reader *in)
{
    uint64_t number;
    struct th_reply reply;
    struct th_instance_info info;
    if (!th_get_reply(in, &number, &reply, &info))
        return false;
    pthread_mutex_lock(&p->asked_lock);
    struct asked *asked = take_asked(p, number);
    if (asked)
        asked->reply(asked->argument, &reply);
    pthread_mutex_unlock(&p->asked_lock);
    free(asked);
    return true;
}

/* ---- client functions ---------------------------------------------------------------------------
 */

static th_client_fn find_route(const struct th_app *app, const struct th_wire_request *request)
{
    for (size_t i = 0; i < th_app_http_count(app); i++) {
        const struct th_http_function *http = th_app_http(app, i);
        if (th_str_eq(request->methods, th_str_of(http->methods)) &&
            th_str_eq(request->route, th_str_of(http->route)))
            return http->function;
    }
    return NULL;
}

static th_client_fn find_function(const struct th_app *app, const struct th_wire_request *request)
{
    if (!request->cron)
        return find_route(app, request);
    for (size_t i = 0; i < th_app_cron_count(app); i++)
        if (th_str_eq(request->route, th_str_of(th_app_cron(app, i)->name)))
            return th_app_cron(app, i)->function;
    return NULL;
}

static void answer(struct process *p, uint64_t number, int verdict, const struct th_exchange *x)
{
    TH_BUFFER frame = {0};
    struct th_wire_answer value = {
        .number = number,
        .verdict = verdict,
        .status = x->status,
        .headers = x->answer_headers,
        .body = th_buffer_view(&x->answer),
        .file = x->file >= 0,
    };
    size_t begin = th_wire_begin(&frame, TH_FRAME_ANSWER);
    th_put_answer(&frame, &value);
    if (!th_wire_end(&frame, begin)) {
        value = (struct th_wire_answer){.number = number, .verdict = TH_FAILED, .status = 500};
        begin = th_wire_begin(&frame, TH_FRAME_ANSWER);
        th_put_answer(&frame, &value);
        th_wire_end(&frame, begin);
    }
    tell(p, &frame, value.file ? x->file : -1);
}

/* What a request's own hub and key make of the API; the rest is the process's. */
static struct th_api api_of(struct process *p, struct th_gateway *gateway,
                            struct th_hub_record *hub, const struct th_wire_request *request)
{
    snprintf(hub->name, sizeof hub->name, "%.*s", TH_PRI(request->hub));
    *gateway = (struct th_gateway){.hub = hub};
    return (struct th_api){.options = {.gateway = gateway, .api_key = request->key.data},
                           .client = p->client};
}

static void serve(struct process *p, const struct th_wire_request *request)
{
    struct th_gateway gateway;
    struct th_hub_record hub = {.partitions = 0};
    struct th_api api = api_of(p, &gateway, &hub, request);
    struct th_operation op;
    th_operation_init(&op, &api, request->method, request->target);
    if (request->cron)
        op.x.target.path = request->route;
    op.x.headers = request->headers;
    op.params = request->params;
    op.origin = request->origin;
    th_buffer_str(&op.x.body, request->body);
    th_client_fn function = find_function(p->app, request);
    int verdict = TH_FAILED;
    if (function)
        verdict = th_request_call(&op, function);
    else
        th_answer_failure(&op.x, 404, TH_STR("the application no longer has this function"));
    answer(p, request->number, verdict, &op.x);
    th_operation_deinit(&op);
}

static void run_job(void *argument)
{
    struct job *job = argument;
    TH_ARENA arena = {0};
    struct th_reader in;
    enum th_frame_kind kind;
    struct th_wire_request request;
    if (th_wire_open(th_buffer_view(&job->frame), &arena, NULL, &in, &kind) &&
        th_get_request(&in, &request))
        serve(job->process, &request);
    th_buffer_deinit(&job->frame);
    free(job);
}

static bool enter_request(struct process *p, struct th_str frame, struct th_reader *in)
{
    struct th_wire_request request;
    if (!th_get_request(in, &request))
        return false;
    struct job *job = TH_NEW(struct job);
    job->process = p;
    th_buffer_str(&job->frame, frame);
    if (th_threads_run(p->threads, run_job, job))
        return true;
    struct th_exchange busy;
    th_exchange_init(&busy, TH_STR_ABSENT, TH_STR_ABSENT);
    th_answer_failure(&busy, 503, TH_STR("too many requests wait for the application"));
    answer(p, request.number, TH_FAILED, &busy);
    th_exchange_deinit(&busy);
    th_buffer_deinit(&job->frame);
    free(job);
    return true;
}

/* ---- activities ---------------------------------------------------------------------------------
 */

/* On a thread of the pool. */
static void on_done(void *argument, struct th_pool_result *result)
{
    struct process *p = argument;
    const struct th_activity_result *activity = &result->activity;
    TH_BUFFER frame = {0};
    struct th_wire_result value = {
        .token = result->token,
        .failed = activity->failed,
        .non_retriable = activity->non_retriable,
        .data = activity->data ? th_str_n(activity->data, activity->len) : TH_STR_ABSENT,
        .failure_type = th_str_of(activity->failure_type),
        .failure_message = th_str_of(activity->failure_message),
    };
    size_t begin = th_wire_begin(&frame, TH_FRAME_RESULT);
    th_put_result(&frame, &value);
    if (!th_wire_end(&frame, begin)) {
        value = (struct th_wire_result){.token = result->token,
                                        .failed = true,
                                        .non_retriable = true,
                                        .failure_type = TH_STR("PayloadTooLarge"),
                                        .failure_message = TH_STR("the result is too large")};
        begin = th_wire_begin(&frame, TH_FRAME_RESULT);
        th_put_result(&frame, &value);
        th_wire_end(&frame, begin);
    }
    tell(p, &frame, -1);
    th_pool_result_free(result);
}

static void on_exhausted(void *argument, const char *reason)
{
    struct process *p = argument;
    th_log(&p->log, TH_LOG_ERROR, "worker", "%s; the application's process starts anew", reason);
    _exit(TH_APPLICATION_RESTART);
}

/* ---- the reader ---------------------------------------------------------------------------------
 */

static bool enter_frame(struct process *p, struct th_str frame)
{
    TH_ARENA arena = {0};
    struct th_reader in;
    enum th_frame_kind kind;
    struct th_activity_work work;
    uint64_t token;
    if (!th_wire_open(frame, &arena, NULL, &in, &kind))
        return false;
    switch (kind) {
    case TH_FRAME_ACTIVITY:
        if (!th_get_activity(&in, &work))
            return false;
        th_pool_submit(p->pool, &work);
        return true;
    case TH_FRAME_CANCEL:
        if (!th_get_number(&in, &token))
            return false;
        th_pool_cancel(p->pool, token);
        return true;
    case TH_FRAME_REQUEST:
        return enter_request(p, frame, &in);
    case TH_FRAME_REPLY:
        return enter_reply(p, &in);
    default:
        return false;
    }
}

static void *read_work(void *argument)
{
    struct process *p = argument;
    th_time interval = p->watch_interval;
    th_time watch = interval == TH_TIME_NONE ? interval : th_monotonic() + interval;
    struct th_str frame;
    while (receive(WORK_FD, &p->work, watch, &frame)) {
        if (th_str_present(frame) && !enter_frame(p, frame))
            break;
        th_time now = th_monotonic();
        if (watch != TH_TIME_NONE && now >= watch) {
            th_pool_watch(p->pool, now);
            watch = now + interval;
        }
    }
    shutdown(EPISODES_FD, SHUT_RDWR); /* the main thread ends the process */
    return NULL;
}

/* ---- episodes -----------------------------------------------------------------------------------
 */

struct lists {
    struct th_events past, fresh;
};

static bool run_episode(struct process *p, struct th_flight_slot *slot, struct th_reader *in,
                        struct lists *lists)
{
    struct th_episode episode;
    struct th_actions actions = {.items = NULL};
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    if (!th_get_episode(in, &episode, &lists->past, &lists->fresh))
        return false;
    th_flight_begin(slot, episode.instance_id, TH_FLIGHT_EPISODE, TH_STR_ABSENT, th_monotonic());
    enum th_executor_result result = th_executor_run(p->executor, &episode, &arena, &actions);
    th_flight_end(slot);
    size_t begin = th_wire_begin(&out, TH_FRAME_ACTIONS);
    th_put_actions(&out, result, &actions);
    if (!th_wire_end(&out, begin)) {
        static const struct th_failure too_large = {
            .type = {"PayloadTooLarge", 15},
            .message = {"the episode asks for too many bytes", 35},
            .non_retriable = true};
        struct th_actions refused;
        th_actions_fail(&refused, &arena, episode.entity, &too_large);
        th_executor_forget(p->executor, episode.instance_id);
        begin = th_wire_begin(&out, TH_FRAME_ACTIONS);
        th_put_actions(&out, TH_EXECUTOR_DONE, &refused);
        th_wire_end(&out, begin);
    }
    return send_rest(EPISODES_FD, out.data, out.len);
}

/* A coroutine that is dropped runs its cleanups: the application's code, too. */
static bool forget(struct process *p, struct th_flight_slot *slot, struct th_reader *in)
{
    struct th_str id;
    if (!th_get_text(in, &id))
        return false;
    th_flight_begin(slot, id, TH_FLIGHT_EPISODE, TH_STR_ABSENT, th_monotonic());
    th_executor_forget(p->executor, id);
    th_flight_end(slot);
    return true;
}

static void serve_episodes(struct process *p)
{
    struct th_flight_slot *slot = th_flight_join(p->flight);
    struct lists lists = {{0}, {0}};
    struct th_str frame;
    bool ok = true;
    while (ok && receive(EPISODES_FD, &p->episodes, TH_TIME_NONE, &frame)) {
        TH_ARENA arena = {0};
        struct th_reader in;
        enum th_frame_kind kind;
        ok = th_wire_open(frame, &arena, NULL, &in, &kind);
        if (ok && kind == TH_FRAME_EPISODE)
            ok = run_episode(p, slot, &in, &lists);
        else
            ok = ok && kind == TH_FRAME_FORGET && forget(p, slot, &in);
    }
    th_events_deinit(&lists.past);
    th_events_deinit(&lists.fresh);
    th_flight_leave(p->flight, slot);
}

/* ---- the first words
 * ----------------------------------------------------------------------------- */

static struct th_str *split(struct th_arena *arena, char *names, size_t *count)
{
    struct th_pairs list = {.items = NULL};
    for (char *at = names, *next; at && *at; at = next) {
        char *end = strstr(at, ", ");
        next = end ? end + 2 : at + strlen(at);
        size_t len = end ? (size_t)(end - at) : strlen(at);
        th_pairs_add(&list, arena, th_arena_str(arena, th_str_n(at, len)), TH_STR_ABSENT);
    }
    free(names);
    struct th_str *out = TH_ARENA_ARRAY(arena, struct th_str, list.count);
    for (size_t i = 0; i < list.count; i++)
        out[i] = list.items[i].name;
    *count = list.count;
    return out;
}

static void describe(struct th_arena *arena, const struct th_app *app, struct th_hello *hello)
{
    hello->version = th_str_of(th_app_get_version(app));
    hello->orchestrators = split(arena, th_app_orchestrator_names(app), &hello->orchestrator_count);
    hello->activities = split(arena, th_app_activity_names(app), &hello->activity_count);
    hello->entities = split(arena, th_app_entity_names(app), &hello->entity_count);
    for (size_t i = 0; i < th_app_http_count(app); i++)
        th_pairs_add(&hello->routes, arena, th_str_of(th_app_http(app, i)->methods),
                     th_str_of(th_app_http(app, i)->route));
    for (size_t i = 0; i < th_app_cron_count(app); i++)
        th_pairs_add(&hello->crons, arena, th_str_of(th_app_cron(app, i)->name),
                     th_str_of(th_app_cron(app, i)->schedule));
}

static bool greet(struct process *p, const char *path)
{
    struct th_hello hello = {.missing = false};
    struct th_error error = {.code = TH_OK};
    TH_ARENA arena = {0};
    TH_BUFFER frame = {0};
    p->app = th_app_load(path, &error);
    if (p->app) {
        describe(&arena, p->app, &hello);
    } else {
        hello.error = th_str_of(error.message);
        hello.missing = error.code == TH_NOT_FOUND;
    }
    size_t begin = th_wire_begin(&frame, TH_FRAME_HELLO);
    th_put_hello(&frame, &hello);
    th_wire_end(&frame, begin);
    tell(p, &frame, -1);
    return p->app != NULL;
}

static bool await_begin(struct process *p, struct th_begin_run *begin)
{
    struct th_str frame;
    struct th_reader in;
    enum th_frame_kind kind;
    return receive(WORK_FD, &p->work, TH_TIME_NONE, &frame) &&
           th_wire_open(frame, &p->begin_arena, NULL, &in, &kind) && kind == TH_FRAME_BEGIN &&
           th_get_begin(&in, begin);
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

static unsigned threads_of(const struct th_begin_run *begin)
{
    int processors = get_nprocs();
    if (begin->threads > 0)
        return begin->threads;
    return processors < 2 ? 4 : (unsigned)processors * 2;
}

static struct th_pool *pool_of(struct process *p, const struct th_begin_run *begin,
                               struct th_error *error)
{
    struct th_pool_limit *limits =
        TH_ARENA_ARRAY(&p->begin_arena, struct th_pool_limit, begin->limit_count);
    for (size_t i = 0; i < begin->limit_count; i++)
        limits[i] = (struct th_pool_limit){begin->limits[i].name, begin->limits[i].max};
    struct th_pool_options options = {
        .app = p->app,
        .log = &p->log,
        .flight = p->flight,
        .threads = threads_of(begin),
        .timeout_ms = begin->function_timeout_ms,
        .limits = limits,
        .limit_count = begin->limit_count,
        .argument = p,
        .done = on_done,
        .exhausted = on_exhausted,
    };
    return th_pool_new(&options, error);
}

/* Often enough to be exact within an eighth of the limit. */
static th_time watch_interval(int64_t timeout_ms)
{
    int64_t interval = timeout_ms / 8;
    if (timeout_ms <= 0)
        return TH_TIME_NONE;
    return (interval < 5 ? 5 : interval > 1000 ? 1000 : interval) * TH_MILLISECOND;
}

static bool set_up(struct process *p, const struct th_begin_run *begin, struct th_error *error)
{
    p->log.level = (enum th_level)begin->log_level;
    p->log.json = begin->log_json;
    p->watch_interval = watch_interval(begin->function_timeout_ms);
    p->flight = th_flight_open(begin->flight.data, false, error);
    if (!p->flight || !th_flight_guard_process(p->flight, error))
        return false;
    p->executor = th_executor_new(&(struct th_executor_options){
        .app = p->app,
        .log = &p->log,
        .default_version = begin->default_version.data,
        .max_warm = begin->max_warm ? begin->max_warm : DEFAULT_MAX_WARM,
        .replay_always = begin->replay_always,
    });
    p->client = th_client_new(&(struct th_client_options){
        .gateway = &p->gateway,
        .app = p->app,
        .default_version = begin->default_version.data,
        .reuse = begin->reuse,
    });
    p->threads = th_threads_new(FUNCTION_THREADS, MAX_JOBS);
    p->pool = pool_of(p, begin, error);
    if (!p->pool)
        return false;
    int result = pthread_create(&p->reader, NULL, read_work, p);
    return result == 0 ||
           th_fail(error, TH_INTERNAL, "cannot start a thread: %s", strerror(result));
}

static void process_free(struct process *p)
{
    th_client_free(p->client);
    th_flight_close(p->flight);
    th_app_free(p->app);
    th_wire_deinit(&p->work);
    th_wire_deinit(&p->episodes);
    th_arena_deinit(&p->begin_arena);
    pthread_mutex_destroy(&p->write_lock);
    pthread_mutex_destroy(&p->asked_lock);
    free(p);
}

/* The hub is gone or wants it so. Activities that are in the application's code are not waited
 * for; client functions are, whose clients now fail, until the hub loses patience. */
static int end(struct process *p)
{
    th_client_stop(p->client);
    shutdown(WORK_FD, SHUT_RDWR);
    pthread_join(p->reader, NULL);
    th_executor_free(p->executor);
    if (!th_pool_free(p->pool, th_monotonic() + LAST_WAIT))
        _exit(0);
    th_threads_stop(p->threads);
    th_threads_free(p->threads);
    process_free(p);
    return 0;
}

static bool was_given(int fd)
{
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode) && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

int th_appmain(const char *path)
{
    if (!was_given(WORK_FD) || !was_given(EPISODES_FD)) {
        fprintf(stderr, "taskhub: `taskhub dev --isolate` starts this command, nobody else\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "taskhub-app");
    th_supervised_block();   /* a terminal's Ctrl-C is for the hub, which lets us finish */
    mallopt(M_ARENA_MAX, 2); /* an arena per thread costs more memory than it saves time */
    struct process *p = TH_NEW(struct process);
    p->log = (struct th_log){.level = TH_LOG_INFO, .fd = STDERR_FILENO};
    p->gateway = (struct th_gateway){.submit = submit, .cancel = cancel, .hub = &p->hub};
    pthread_mutex_init(&p->write_lock, NULL);
    pthread_mutex_init(&p->asked_lock, NULL);
    struct th_begin_run begin = {.threads = 0};
    struct th_error error = {.code = TH_OK};
    if (!greet(p, path))
        return 1;
    if (!await_begin(p, &begin))
        return 0;
    if (!set_up(p, &begin, &error)) {
        th_log(&p->log, TH_LOG_ERROR, "worker", "%s", error.message);
        return 1;
    }
    serve_episodes(p);
    return end(p);
}
