/*
 * server: the sockets and threads behind th_http_start.
 *
 * libmicrohttpd reads requests and writes answers on its event threads. An operation (management.h)
 * whose next step needs a reply or a client-function thread is *parked*: its connection is
 * suspended and it stands in a list. Whoever brings what it waits for takes it out of the list and
 * resumes the connection; an event thread then takes the next step. Who takes it out is decided
 * under the mutex, so a connection is resumed exactly once, be it by the reply, by the watcher that
 * sees the caller hang up, or by th_http_stop.
 */
#include "api/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/guard.h"
#include "api/threads.h"
#include "api/timetable.h"
#include "base/access.h"
#include "base/log.h"
#include "base/memory.h"

enum {
    EVENT_THREADS = 2,
    FUNCTION_THREADS = 4,
    DESK_THREADS = 2,
    WAITING_FUNCTIONS = 1024,
    CONNECTIONS = 16384,
    SPARE_FILES = 256, /* left for everything that is no connection */
    IDLE_SECONDS = 30,
    HEADER_BYTES = 32 * 1024, /* request line and headers of one connection */
};
#define DEFAULT_ADDRESS "127.0.0.1"
#define BODY_BYTES      ((size_t)16 * 1024 * 1024 + 64 * 1024)
#define DRAIN_FACTOR    2 /* of an oversized body this much is read so that the answer arrives */
#define WATCH_INTERVAL  (2 * TH_SECOND)
#define STOP_PATIENCE   (5 * TH_SECOND) /* for answers that are still being taken */

/* A request on its way. Guarded by http->mutex: what the lists and flags of waiting say. */
struct ask {
    struct th_operation op;
    struct th_http *http;
    struct MHD_Connection *connection;
    int socket;
    bool headed; /* headers were read */

    enum th_step waits_for; /* while under way: what its last step said */
    enum th_step after_function;
    bool under_way, answered, parked, aborted;
    uint64_t ticket;
    uint64_t park_number;
    size_t slot; /* in the watcher's array */
    struct ask *next, *previous;
};

struct th_http {
    struct th_api api;
    struct th_client *own_client; /* NULL: the program gave one */
    size_t max_body;
    int port;
    struct MHD_Daemon *daemon;
    struct th_threads *threads, *desk;
    struct th_timetable *timetable;
    pthread_t watcher;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct ask *parked;
    uint64_t park_count;
    size_t asks;
    bool stopping;
};

/* ---- waiting ------------------------------------------------------------------------------- */

static void unlink_parked(struct ask *ask)
{
    *(ask->previous ? &ask->previous->next : &ask->http->parked) = ask->next;
    if (ask->next) {
        ask->next->previous = ask->previous;
    }
    ask->next = ask->previous = NULL;
    ask->parked = false;
}

/* On the gateway's or a function's thread: what the ask waited for is there. */
static void finish_wait(struct ask *ask)
{
    struct th_http *http = ask->http;
    pthread_mutex_lock(&http->mutex);
    bool resume = ask->parked;
    ask->answered = true;
    if (resume) {
        unlink_parked(ask);
    }
    pthread_mutex_unlock(&http->mutex);
    if (resume) {
        MHD_resume_connection(ask->connection);
    }
}

static void take_reply(void *argument, const struct th_reply *reply)
{
    struct ask *ask = argument;
    th_kept_copy(&ask->op.reply, &ask->op.x.arena, reply);
    finish_wait(ask);
}

static void run_function(void *argument)
{
    struct ask *ask = argument;
    ask->after_function = th_operation_step(&ask->op);
    finish_wait(ask);
}

static void abort_ask(struct ask *ask)
{
    ask->aborted = true;
    th_answer_header(&ask->op.x, "Connection", TH_STR("close"));
    th_answer_failure(&ask->op.x, 503, TH_STR("the server is shutting down"));
}

/* False: refused, and answered. */
static bool dispatch(struct ask *ask, enum th_step step)
{
    struct th_http *http = ask->http;
    struct th_gateway *gateway = http->api.options.gateway;
    ask->answered = false;
    ask->under_way = true;
    ask->waits_for = step;
    if (step == TH_STEP_COMMAND) {
        ask->ticket = gateway->submit(gateway, &ask->op.command, take_reply, ask);
        return true;
    }
    if (th_threads_run(step == TH_STEP_DESK ? http->desk : http->threads, run_function, ask)) {
        return true;
    }
    ask->under_way = false;
    th_answer_header(&ask->op.x, "Retry-After", TH_STR("1"));
    th_answer_failure(&ask->op.x, 503, TH_STR("too many requests wait for a function thread"));
    return false;
}

/* Sets the connection aside until finish_wait; false: what it waits for is already there. */
static bool park(struct ask *ask)
{
    struct th_http *http = ask->http;
    pthread_mutex_lock(&http->mutex);
    bool withdraw = !ask->answered && http->stopping && ask->waits_for == TH_STEP_COMMAND;
    bool parks = !ask->answered && !withdraw;
    if (parks) {
        MHD_suspend_connection(ask->connection);
        ask->parked = true;
        ask->park_number = ++http->park_count;
        ask->slot = SIZE_MAX;
        ask->next = http->parked;
        if (ask->next) {
            ask->next->previous = ask;
        }
        http->parked = ask;
    }
    pthread_mutex_unlock(&http->mutex);
    if (withdraw) {
        struct th_gateway *gateway = http->api.options.gateway;
        gateway->cancel(gateway, ask->ticket);
        abort_ask(ask);
    }
    return parks;
}

/* Takes asks that wait for a reply out of the list; the caller gives them to give_up. */
static struct ask *take_parked(struct th_http *http, bool (*wanted)(const struct ask *, void *),
                               void *argument)
{
    struct ask *taken = NULL, *next;
    for (struct ask *ask = http->parked; ask; ask = next) {
        next = ask->next;
        if (ask->waits_for == TH_STEP_COMMAND && (!wanted || wanted(ask, argument))) {
            unlink_parked(ask);
            ask->next = taken;
            taken = ask;
        }
    }
    return taken;
}

/* Without the mutex: cancelling may wait for a callback, which needs it. */
static void give_up(struct th_http *http, struct ask *taken)
{
    struct th_gateway *gateway = http->api.options.gateway;
    while (taken) {
        struct ask *ask = taken;
        taken = ask->next;
        ask->next = NULL;
        gateway->cancel(gateway, ask->ticket);
        abort_ask(ask);
        MHD_resume_connection(ask->connection);
    }
}

/* ---- the watcher: callers that hang up while they wait ------------------------------------- */

struct watch {
    struct pollfd *sockets;
    uint64_t *numbers; /* park_number of the ask at that place */
    size_t count, capacity, number_capacity;
};

static void list_parked(struct th_http *http, struct watch *watch)
{
    watch->count = 0;
    for (struct ask *ask = http->parked; ask; ask = ask->next) {
        size_t i = watch->count++;
        watch->sockets =
            th_grow(watch->sockets, &watch->capacity, watch->count, sizeof(struct pollfd));
        watch->numbers =
            th_grow(watch->numbers, &watch->number_capacity, watch->count, sizeof(uint64_t));
        watch->sockets[i] = (struct pollfd){.fd = ask->socket, .events = POLLRDHUP};
        watch->numbers[i] = ask->park_number;
        ask->slot = i;
    }
}

static bool hung_up(const struct ask *ask, void *argument)
{
    const struct watch *watch = argument;
    return ask->slot < watch->count && watch->numbers[ask->slot] == ask->park_number &&
           (watch->sockets[ask->slot].revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void wait_until(struct th_http *http, th_time monotonic)
{
    struct timespec deadline = {.tv_sec = monotonic / TH_SECOND,
                                .tv_nsec = (monotonic % TH_SECOND) * 1000};
    pthread_cond_clockwait(&http->changed, &http->mutex, CLOCK_MONOTONIC, &deadline);
}

static void *watch_callers(void *argument)
{
    struct th_http *http = argument;
    struct watch watch = {0};
    pthread_mutex_lock(&http->mutex);
    while (!http->stopping) {
        wait_until(http, th_monotonic() + WATCH_INTERVAL);
        list_parked(http, &watch);
        pthread_mutex_unlock(&http->mutex);
        int found = watch.count ? poll(watch.sockets, watch.count, 0) : 0;
        pthread_mutex_lock(&http->mutex);
        struct ask *gone = found > 0 ? take_parked(http, hung_up, &watch) : NULL;
        pthread_mutex_unlock(&http->mutex);
        give_up(http, gone);
        pthread_mutex_lock(&http->mutex);
    }
    pthread_mutex_unlock(&http->mutex);
    free(watch.sockets);
    free(watch.numbers);
    return NULL;
}

/* ---- answering ----------------------------------------------------------------------------- */

/* The response takes over the answer's buffer or file. */
static struct MHD_Response *make_response(struct th_exchange *x)
{
    struct MHD_Response *response;
    if (x->file >= 0) {
        response = MHD_create_response_from_fd(x->file_bytes, x->file);
        x->file = response ? -1 : x->file;
        return response;
    }
    response =
        MHD_create_response_from_buffer(x->answer.len, x->answer.data, MHD_RESPMEM_MUST_FREE);
    if (response) {
        x->answer = (struct th_buffer){0};
    }
    return response;
}

static enum MHD_Result send_answer(struct ask *ask)
{
    struct th_exchange *x = &ask->op.x;
    struct MHD_Response *response = make_response(x);
    if (!response) {
        return MHD_NO;
    }
    for (size_t i = 0; i < x->answer_headers.count; i++) {
        const struct th_pair *header = &x->answer_headers.items[i];
        if (MHD_add_response_header(response, header->name.data, header->value.data) != MHD_YES) {
            th_log(ask->http->api.options.log, TH_LOG_WARN, "http",
                   "left out the header %s: its name or value cannot be sent", header->name.data);
        }
    }
    enum MHD_Result queued = MHD_queue_response(ask->connection, (unsigned)x->status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result advance(struct ask *ask)
{
    for (;;) {
        enum th_step step = TH_STEP_DONE;
        if (ask->under_way && ask->waits_for != TH_STEP_COMMAND) {
            step = ask->after_function;
        } else if (!ask->aborted) {
            step = th_operation_step(&ask->op);
        }
        ask->under_way = false;
        if (ask->aborted || step == TH_STEP_DONE || !dispatch(ask, step)) {
            return send_answer(ask);
        }
        if (park(ask)) {
            return MHD_YES;
        }
    }
}

/* ---- reading ------------------------------------------------------------------------------- */

static enum MHD_Result add_header(void *argument, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct th_exchange *x = argument;
    th_pairs_add(&x->headers, &x->arena, th_arena_str(&x->arena, th_str_of(name)),
                 th_arena_str(&x->arena, th_str_of(value ? value : "")));
    return MHD_YES;
}

static void refuse_size(struct ask *ask)
{
    th_fail(&ask->op.x.refused, TH_TOO_LARGE,
            "the request's body is larger than %zu bytes, the most that is taken",
            ask->http->max_body);
    th_buffer_deinit(&ask->op.x.body);
}

/* Large bodies are refused before they are sent, where the client asks first or says the size. */
static enum MHD_Result read_head(struct ask *ask, const char *method)
{
    struct th_exchange *x = &ask->op.x;
    long long announced = 0;
    ask->headed = true;
    x->method = th_arena_str(&x->arena, th_str_of(method));
    MHD_get_connection_values(ask->connection, MHD_HEADER_KIND, add_header, x);
    struct th_str length = th_exchange_header(x, "Content-Length");
    if (!th_str_to_i64(length, &announced) || announced <= 0) {
        return MHD_YES;
    }
    size_t bytes = (size_t)announced;
    if (bytes > ask->http->max_body) {
        refuse_size(ask);
        bool asks_first = th_str_present(th_exchange_header(x, "Expect"));
        bool drains = bytes <= ask->http->max_body * DRAIN_FACTOR && !asks_first;
        return drains ? MHD_YES : advance(ask);
    }
    th_buffer_reserve(&x->body, bytes < HEADER_BYTES ? bytes : HEADER_BYTES);
    return MHD_YES;
}

static enum MHD_Result read_body(struct ask *ask, const char *data, size_t len)
{
    struct th_exchange *x = &ask->op.x;
    if (x->refused.code == TH_OK && x->body.len + len > ask->http->max_body) {
        refuse_size(ask);
    }
    if (x->refused.code == TH_OK) {
        th_buffer_add(&x->body, data, len);
    } else {
        x->file_bytes += len; /* counts what is thrown away; no file is being answered yet */
    }
    return x->file_bytes > ask->http->max_body * DRAIN_FACTOR ? MHD_NO : MHD_YES;
}

static enum MHD_Result serve(void *argument, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *upload,
                             size_t *upload_size, void **context)
{
    struct ask *ask = *context;
    if (!ask) {
        return MHD_NO;
    }
    if (!ask->headed) {
        return read_head(ask, method);
    }
    if (*upload_size) {
        enum MHD_Result result = read_body(ask, upload, *upload_size);
        *upload_size = 0;
        return result;
    }
    return advance(ask);
}

/* The first thing known of a request: its target as it was sent. */
static void *begin_ask(void *argument, const char *target, struct MHD_Connection *connection)
{
    struct th_http *http = argument;
    struct ask *ask = TH_NEW(struct ask);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    th_operation_init(&ask->op, &http->api, TH_STR(""), th_str_of(target));
    ask->http = http;
    ask->connection = connection;
    ask->socket = info ? info->connect_fd : -1;
    pthread_mutex_lock(&http->mutex);
    http->asks++;
    if (http->stopping) {
        abort_ask(ask);
    }
    pthread_mutex_unlock(&http->mutex);
    return ask;
}

static void end_ask(void *argument, struct MHD_Connection *connection, void **context,
                    enum MHD_RequestTerminationCode why)
{
    struct th_http *http = argument;
    struct ask *ask = *context;
    if (!ask) {
        return;
    }
    *context = NULL;
    th_operation_deinit(&ask->op);
    free(ask);
    pthread_mutex_lock(&http->mutex);
    http->asks--;
    pthread_cond_broadcast(&http->changed);
    pthread_mutex_unlock(&http->mutex);
}

static void log_line(void *argument, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void log_line(void *argument, const char *format, va_list arguments)
{
    const struct th_http *http = argument;
    char line[512];
    vsnprintf(line, sizeof(line), format, arguments);
    th_log(http->api.options.log, TH_LOG_DEBUG, "http", "%.*s", (int)strcspn(line, "\n"), line);
}

/* ---- listening ----------------------------------------------------------------------------- */

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } to;
    socklen_t len;
};

static bool parse_address(const char *text, int port, struct address *out, struct th_error *error)
{
    *out = (struct address){0};
    if (port < 0 || port > 65535) {
        return th_fail(error, TH_INVALID, "%d is no port (0-65535)", port);
    }
    if (inet_pton(AF_INET, text, &out->to.four.sin_addr) == 1) {
        out->to.four.sin_family = AF_INET;
        out->to.four.sin_port = htons((uint16_t)port);
        out->len = sizeof(out->to.four);
        return true;
    }
    if (inet_pton(AF_INET6, text, &out->to.six.sin6_addr) == 1) {
        out->to.six.sin6_family = AF_INET6;
        out->to.six.sin6_port = htons((uint16_t)port);
        out->len = sizeof(out->to.six);
        return true;
    }
    return th_fail(error, TH_INVALID, "\"%s\" is no numeric address to listen on", text);
}

static int listen_on(struct address *address, const char *text, int *port, struct th_error *error)
{
    int yes = 1;
    int s = socket(address->to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s >= 0) {
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    }
    if (s < 0 || bind(s, &address->to.any, address->len) || listen(s, SOMAXCONN) ||
        getsockname(s, &address->to.any, &address->len)) {
        th_fail(error, errno == EADDRINUSE ? TH_UNAVAILABLE : TH_IO,
                "cannot listen on %s port %d: %s", text, *port, strerror(errno));
        if (s >= 0) {
            close(s);
        }
        return -1;
    }
    *port = ntohs(address->to.any.sa_family == AF_INET6 ? address->to.six.sin6_port
                                                        : address->to.four.sin_port);
    return s;
}

static unsigned connection_limit(const struct th_http_options *options)
{
    struct rlimit files;
    unsigned limit = options->max_connections ? options->max_connections : CONNECTIONS;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == RLIM_INFINITY) {
        return limit;
    }
    rlim_t room =
        files.rlim_cur > 2 * SPARE_FILES ? files.rlim_cur - SPARE_FILES : files.rlim_cur / 2;
    return room < limit ? (unsigned)room : limit;
}

static bool start_daemon(struct th_http *http, int listener, struct th_error *error)
{
    const struct th_http_options *options = &http->api.options;
    unsigned threads = options->event_threads ? options->event_threads : EVENT_THREADS;
    unsigned idle = options->idle_seconds ? options->idle_seconds : IDLE_SECONDS;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, serve, http, MHD_OPTION_EXTERNAL_LOGGER, log_line, http,
        MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_URI_LOG_CALLBACK, begin_ask, http,
        MHD_OPTION_NOTIFY_COMPLETED, end_ask, http, MHD_OPTION_CONNECTION_LIMIT,
        connection_limit(options), MHD_OPTION_CONNECTION_TIMEOUT, idle,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES, MHD_OPTION_THREAD_POOL_SIZE,
        threads > 1 ? threads : 0, MHD_OPTION_END);
    return http->daemon ? true : th_fail(error, TH_IO, "the HTTP server cannot start its threads");
}

/* ---- starting and stopping ----------------------------------------------------------------- */

static char *copy_text(const char *text, const char *otherwise)
{
    return th_str_dup(th_str_of(text && *text ? text : otherwise));
}

/* "/api/" and "api" mean the same. */
static char *trimmed_prefix(const char *prefix)
{
    struct th_str text = th_str_of(prefix ? prefix : "api");
    while (text.len && text.data[0] == '/') {
        text = th_str_n(text.data + 1, text.len - 1);
    }
    while (text.len && text.data[text.len - 1] == '/') {
        text.len--;
    }
    return th_str_dup(text);
}

static void make_patterns(struct th_api *api)
{
    const struct th_app *app = api->options.app;
    api->route_count = app ? th_app_http_count(app) : 0;
    api->route_patterns = th_alloc((api->route_count + 1) * sizeof(char *));
    for (size_t i = 0; i < api->route_count; i++) {
        TH_BUFFER pattern = {0};
        const char *prefix = api->options.route_prefix;
        th_buffer_format(&pattern, "%s%s%s", prefix, *prefix ? "/" : "",
                         th_app_http(app, i)->route);
        api->route_patterns[i] = th_buffer_take(&pattern);
    }
}

static void make_api(struct th_http *http, const struct th_http_options *options)
{
    struct th_api *api = &http->api;
    const char *version = options->default_version;
    if (!version && options->app) {
        version = th_app_get_version(options->app);
    }
    api->options = *options;
    api->options.address = copy_text(options->address, DEFAULT_ADDRESS);
    api->options.api_key = copy_text(options->api_key, NULL);
    api->options.route_prefix = trimmed_prefix(options->route_prefix);
    api->options.default_version = copy_text(version, NULL);
    api->options.reuse = options->reuse ? options->reuse : TH_REUSE_TERMINAL;
    http->max_body = options->max_body_bytes ? options->max_body_bytes : BODY_BYTES;
    make_patterns(api);
    api->client = options->client;
    if (api->client) {
        return;
    }
    http->own_client = api->client = th_client_new(&(struct th_client_options){
        .gateway = options->gateway,
        .app = options->any_orchestrator ? NULL : options->app,
        .default_version = api->options.default_version,
        .reuse = api->options.reuse,
    });
}

static void make_url(struct th_http *http)
{
    const char *address = http->api.options.address;
    bool six = strchr(address, ':') != NULL;
    TH_BUFFER url = {0};
    th_buffer_format(&url, "http://%s%s%s:%d", six ? "[" : "", address, six ? "]" : "", http->port);
    http->api.url = th_buffer_take(&url);
}

static void free_http(struct th_http *http)
{
    struct th_api *api = &http->api;
    for (size_t i = 0; i < api->route_count; i++) {
        free(api->route_patterns[i]);
    }
    free(api->route_patterns);
    free((char *)api->options.address);
    free((char *)api->options.api_key);
    free((char *)api->options.route_prefix);
    free((char *)api->options.default_version);
    free(api->url);
    th_client_free(http->own_client);
    pthread_cond_destroy(&http->changed);
    pthread_mutex_destroy(&http->mutex);
    free(http);
}

/* `address`: where the options say to listen. */
static bool check(const struct th_http_options *options, struct address *address,
                  struct th_error *error)
{
    const char *text = options->address && *options->address ? options->address : DEFAULT_ADDRESS;
    if (!parse_address(text, options->port, address, error)) {
        return false;
    }
    if ((options->api_key && *options->api_key) || th_is_loopback(text)) {
        return true;
    }
    return th_fail(error, TH_INVALID,
                   "listening on %s lets other machines in, so an API key must be set; without one "
                   "only loopback addresses such as 127.0.0.1 are allowed",
                   text);
}

bool th_http_check(const struct th_http_options *options, struct th_error *error)
{
    struct address address;
    return options->port == TH_HTTP_CLOSED || check(options, &address, error);
}

static bool open_server(struct th_http *http, struct th_error *error)
{
    const struct th_http_options *options = &http->api.options;
    struct address address;
    http->port = options->port;
    if (http->port == TH_HTTP_CLOSED) {
        return true;
    }
    if (!check(options, &address, error)) {
        return false;
    }
    int listener = listen_on(&address, options->address, &http->port, error);
    if (listener < 0) {
        return false;
    }
    make_url(http);
    if (!start_daemon(http, listener, error)) {
        close(listener);
        return false;
    }
    return true;
}

static void stop_threads(struct th_http *http)
{
    th_threads_stop(http->threads);
    th_threads_stop(http->desk);
}

static void free_threads(struct th_http *http)
{
    th_threads_free(http->threads);
    th_threads_free(http->desk);
}

struct th_http *th_http_start(const struct th_http_options *options, struct th_error *error)
{
    struct th_http *http = TH_NEW(struct th_http);
    unsigned functions = options->function_threads ? options->function_threads : FUNCTION_THREADS;
    pthread_mutex_init(&http->mutex, NULL);
    pthread_cond_init(&http->changed, NULL);
    make_api(http, options);
    http->threads = th_threads_new(functions, WAITING_FUNCTIONS);
    http->desk = th_threads_new(DESK_THREADS, WAITING_FUNCTIONS);
    bool watched = pthread_create(&http->watcher, NULL, watch_callers, http) == 0;
    if (!watched || !open_server(http, error)) {
        if (watched) {
            pthread_mutex_lock(&http->mutex);
            http->stopping = true;
            pthread_cond_broadcast(&http->changed);
            pthread_mutex_unlock(&http->mutex);
            pthread_join(http->watcher, NULL);
        } else {
            th_fail(error, TH_IO, "the HTTP server cannot start its threads");
        }
        stop_threads(http);
        free_threads(http);
        free_http(http);
        return NULL;
    }
    http->timetable = th_timetable_start(&http->api, http->threads);
    return http;
}

int th_http_port(const struct th_http *http)
{
    return http->port;
}

const char *th_http_url(const struct th_http *http)
{
    return http->api.url;
}

static void stop_waiting(struct th_http *http)
{
    pthread_mutex_lock(&http->mutex);
    http->stopping = true;
    pthread_cond_broadcast(&http->changed);
    struct ask *taken = take_parked(http, NULL, NULL);
    pthread_mutex_unlock(&http->mutex);
    give_up(http, taken);
    pthread_join(http->watcher, NULL);
}

/* Answers that are queued go out; a caller that does not take its answer is not waited for. */
static void let_answers_out(struct th_http *http)
{
    th_time deadline = th_monotonic() + STOP_PATIENCE;
    pthread_mutex_lock(&http->mutex);
    while (http->asks > 0 && th_monotonic() < deadline) {
        wait_until(http, deadline);
    }
    pthread_mutex_unlock(&http->mutex);
}

void th_http_stop(struct th_http *http)
{
    if (!http) {
        return;
    }
    /* The event threads may still look at the socket, so its number must stay taken. */
    int listener = http->daemon ? MHD_quiesce_daemon(http->daemon) : -1;
    if (listener >= 0) {
        shutdown(listener, SHUT_RDWR);
    }
    th_timetable_stop(http->timetable);
    stop_waiting(http);
    if (http->own_client) {
        th_client_stop(http->own_client);
    }
    stop_threads(http);
    let_answers_out(http);
    if (http->daemon) {
        MHD_stop_daemon(http->daemon);
        close(listener);
    }
    th_timetable_free(http->timetable);
    free_threads(http);
    free_http(http);
}
