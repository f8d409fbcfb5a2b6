/*
 * grpc_echo: a gRPC server for tests from outside. It says its port on the first line of its
 * output, obeys commands on its input, answers each with one line, and ends with its input.
 *
 *     grpc_echo [--loops N] [--certificate F --key F [--client-ca F]] [--port N]
 *               [--max-connections N] [--limit name=value]...
 *
 *     stats            a JSON object: what th_grpc_server_stats says, and memory in kB
 *     drain MS         begins to drain
 *     reload           reads the files of TLS again
 *     resume           resumes the calls of /test.Echo/Paused
 *
 * Methods; messages are text where it matters:
 *   Unary      echoes one message               Bidi     echoes each
 *   Collect    answers the number of bytes      Paused   as Bidi, but takes nothing at first
 *   Stream     "COUNT SIZE": sends so many      Threaded the same, from another thread
 *   Wait       lasts until it is cancelled, or until a drain
 *   Forever    lasts until it is cancelled
 *   Fail       "STATUS WORDS": ends so; fields "x-…" of the request come back, in the headers
 *              and in the trailers
 *   Deadline   answers the milliseconds that are left
 */
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc/grpc.h"

static const struct th_grpc_metadata none;

static void finish(struct th_grpc_call *call)
{
    th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), none);
}

static bool send_bytes(struct th_grpc_call *call, const void *data, size_t len)
{
    struct th_blob *blob = th_blob_new(data, len);
    bool room = th_grpc_send(call, blob);
    th_blob_unref(blob);
    return room;
}

static void answer_number(struct th_grpc_call *call, long long number)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld", number);
    send_bytes(call, text, (size_t)len);
    finish(call);
}

/* ---- Unary, Bidi ---- */

static void echo(struct th_grpc_call *call, struct th_blob *message)
{
    /* As long as the client does not read, neither do we. */
    if (!th_grpc_send(call, message)) {
        th_grpc_pause(call);
    }
}

static void echo_once(struct th_grpc_call *call, struct th_blob *message)
{
    th_grpc_send(call, message);
    finish(call);
}

static const struct th_grpc_handler unary = {.message = echo_once};
static const struct th_grpc_handler bidi = {
    .message = echo, .half_closed = finish, .writable = th_grpc_resume};

/* ---- Paused ---- */

static struct {
    pthread_mutex_t mutex;
    struct th_grpc_call *calls[64]; /* referenced */
    size_t count;
} paused = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void begin_paused(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    th_grpc_pause(call);
    pthread_mutex_lock(&paused.mutex);
    if (paused.count < TH_COUNT(paused.calls)) {
        paused.calls[paused.count++] = th_grpc_ref(call);
    }
    pthread_mutex_unlock(&paused.mutex);
}

static void resume_paused(void)
{
    pthread_mutex_lock(&paused.mutex);
    while (paused.count > 0) {
        th_grpc_resume(paused.calls[--paused.count]);
        th_grpc_unref(paused.calls[paused.count]);
    }
    pthread_mutex_unlock(&paused.mutex);
}

static const struct th_grpc_handler pausing = {
    .begin = begin_paused, .message = echo, .half_closed = finish, .writable = th_grpc_resume};

/* ---- Collect ---- */

static void collect(struct th_grpc_call *call, struct th_blob *message)
{
    th_grpc_set_user(call, (char *)th_grpc_user(call) + message->len);
}

static void answer_total(struct th_grpc_call *call)
{
    answer_number(call, (long long)(size_t)th_grpc_user(call));
}

static const struct th_grpc_handler collecting = {.message = collect, .half_closed = answer_total};

/* ---- Stream, Threaded ---- */

struct job {
    struct th_grpc_call *call; /* Threaded: referenced */
    unsigned left;
    size_t size;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool room, over;
    bool threaded;
};

static struct job *job_new(struct th_grpc_call *call, struct th_blob *message)
{
    struct job *job = TH_NEW(struct job);
    TH_AUTOFREE char *text = th_str_dup(th_blob_view(message));
    if (sscanf(text, "%u %zu", &job->left, &job->size) != 2) {
        th_grpc_finish(call, TH_GRPC_INVALID_ARGUMENT, TH_STR("say COUNT SIZE"), none);
    }
    pthread_mutex_init(&job->mutex, NULL);
    pthread_cond_init(&job->changed, NULL);
    job->call = call;
    th_grpc_set_user(call, job);
    return job;
}

static void job_free(struct job *job)
{
    pthread_mutex_destroy(&job->mutex);
    pthread_cond_destroy(&job->changed);
    free(job);
}

static struct th_blob *job_message(const struct job *job)
{
    struct th_blob *blob = th_blob_alloc(job->size);
    memset(blob->data, 's', job->size);
    return blob;
}

static void go_on(struct th_grpc_call *call)
{
    struct job *job = th_grpc_user(call);
    bool room = true;
    while (job->left > 0 && room) {
        struct th_blob *blob = job_message(job);
        room = th_grpc_send(call, blob);
        th_blob_unref(blob);
        job->left--;
    }
    if (job->left == 0) {
        finish(call);
    }
}

static void begin_stream(struct th_grpc_call *call, struct th_blob *message)
{
    job_new(call, message);
    go_on(call);
}

/* Waits for room; false: the call is over. */
static bool job_room(struct job *job)
{
    pthread_mutex_lock(&job->mutex);
    while (!job->room && !job->over) {
        pthread_cond_wait(&job->changed, &job->mutex);
    }
    bool over = job->over;
    job->room = false;
    pthread_mutex_unlock(&job->mutex);
    return !over;
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    bool alive = true;
    for (; job->left > 0 && alive; job->left--) {
        struct th_blob *blob = job_message(job);
        alive = th_grpc_send(job->call, blob) || job_room(job);
        th_blob_unref(blob);
    }
    finish(job->call);
    th_grpc_unref(job->call);
    while (alive) {
        alive = job_room(job); /* until `ended` has been here for the last time */
    }
    job_free(job);
    return NULL;
}

static void begin_thread(struct th_grpc_call *call, struct th_blob *message)
{
    struct job *job = job_new(call, message);
    pthread_t thread;
    job->threaded = true;
    th_grpc_ref(call);
    if (pthread_create(&thread, NULL, run_job, job) != 0) {
        abort();
    }
    pthread_detach(thread);
}

static void signal_job(struct job *job, bool over)
{
    pthread_mutex_lock(&job->mutex);
    job->room = true;
    job->over = over;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&job->mutex);
}

static void room_for_thread(struct th_grpc_call *call)
{
    signal_job(th_grpc_user(call), false);
}

static void end_job(struct th_grpc_call *call, enum th_grpc_end why)
{
    struct job *job = th_grpc_user(call);
    if (job && job->threaded) {
        signal_job(job, true);
    } else if (job) {
        job_free(job);
    }
}

static const struct th_grpc_handler streaming = {
    .message = begin_stream, .writable = go_on, .ended = end_job};
static const struct th_grpc_handler threaded = {
    .message = begin_thread, .writable = room_for_thread, .ended = end_job};

/* ---- Wait, Forever, Fail, Deadline ---- */

static const struct th_grpc_handler waiting = {.draining = finish};
static const struct th_grpc_handler forever = {0};

static void send_fields_back(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    struct th_grpc_field *fields = th_alloc((request->metadata.count + 1) * sizeof(*fields));
    size_t n = 0;
    for (size_t i = 0; i < request->metadata.count; i++) {
        if (th_str_starts(request->metadata.fields[i].name, TH_STR("x-"))) {
            fields[n++] = request->metadata.fields[i];
        }
    }
    th_grpc_headers(call, (struct th_grpc_metadata){fields, n});
    /* For the end they have to outlive the request. */
    for (size_t i = 0; i < n; i++) {
        fields[i].name.data = th_str_dup(fields[i].name);
        fields[i].value.data = th_memdup(fields[i].value.data, fields[i].value.len);
    }
    th_grpc_set_user(call, fields);
}

static void fail(struct th_grpc_call *call, struct th_blob *message)
{
    const struct th_grpc_field *fields = th_grpc_user(call);
    TH_AUTOFREE char *text = th_str_dup(th_blob_view(message));
    char *words = text;
    long status = strtol(text, &words, 10);
    size_t n = 0;
    while (fields[n].name.data) {
        n++;
    }
    th_grpc_finish(call, (enum th_grpc_status)status, th_str_of(*words ? words + 1 : words),
                   (struct th_grpc_metadata){fields, n});
}

static void free_fields(struct th_grpc_call *call, enum th_grpc_end why)
{
    struct th_grpc_field *fields = th_grpc_user(call);
    for (size_t i = 0; fields[i].name.data; i++) {
        free((char *)fields[i].name.data);
        free((char *)fields[i].value.data);
    }
    free(fields);
}

static const struct th_grpc_handler failing = {
    .begin = send_fields_back, .message = fail, .ended = free_fields};

static void answer_deadline(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    bool has = request->deadline != TH_TIME_NONE;
    answer_number(call, has ? (request->deadline - th_monotonic()) / TH_MILLISECOND : -1);
}

static const struct th_grpc_handler deadline = {.begin = answer_deadline};

static const struct th_grpc_method methods[] = {
    {.path = "/test.Echo/Unary", .handler = &unary, .single_request = true},
    {.path = "/test.Echo/Bidi", .handler = &bidi},
    {.path = "/test.Echo/Paused", .handler = &pausing},
    {.path = "/test.Echo/Collect", .handler = &collecting},
    {.path = "/test.Echo/Stream", .handler = &streaming, .single_request = true},
    {.path = "/test.Echo/Threaded", .handler = &threaded, .single_request = true},
    {.path = "/test.Echo/Wait", .handler = &waiting},
    {.path = "/test.Echo/Forever", .handler = &forever},
    {.path = "/test.Echo/Fail", .handler = &failing, .single_request = true},
    {.path = "/test.Echo/Deadline", .handler = &deadline},
};

/* ---- commands ---- */

static long memory_kb(void)
{
    long kb = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "VmRSS: %ld", &kb) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return kb;
}

static void say_stats(const struct th_grpc_server *server)
{
    struct th_grpc_stats s;
    th_grpc_server_stats(server, &s);
    printf("{\"connections\": %llu, \"calls\": %llu, \"held_bytes\": %llu, \"accepted\": %llu, "
           "\"begun\": %llu, \"shed\": %llu, \"flooded\": %llu, \"memory_kb\": %ld, "
           "\"processor_ms\": %ld}\n",
           (unsigned long long)s.connections, (unsigned long long)s.calls,
           (unsigned long long)s.held_bytes, (unsigned long long)s.accepted,
           (unsigned long long)s.begun, (unsigned long long)s.shed, (unsigned long long)s.flooded,
           memory_kb(), clock() / (CLOCKS_PER_SEC / 1000));
}

static void obey(struct th_grpc_server *server, const char *command)
{
    struct th_error error = {0};
    long ms;
    if (strncmp(command, "stats", 5) == 0) {
        say_stats(server);
    } else if (sscanf(command, "drain %ld", &ms) == 1) {
        th_grpc_server_drain(server, ms * TH_MILLISECOND);
        puts("draining");
    } else if (strncmp(command, "reload", 6) == 0) {
        puts(th_grpc_server_reload(server, &error) ? "reloaded" : error.message);
    } else if (strncmp(command, "resume", 6) == 0) {
        resume_paused();
        puts("resumed");
    } else {
        puts("what?");
    }
    fflush(stdout);
}

/* ---- options ---- */

static void set_limit(struct th_grpc_limits *limits, const char *text)
{
    const char *value = strchr(text, '=');
#define X(name, standard, words)                                 \
    if (value && strncmp(text, #name "=", sizeof(#name)) == 0) { \
        limits->name = strtoull(value + 1, NULL, 10);            \
        return;                                                  \
    }
    TH_GRPC_LIMITS(X)
#undef X
    fprintf(stderr, "grpc_echo: there is no limit %s\n", text);
    exit(2);
}

static struct th_grpc_server_options options_of(int argc, char **argv)
{
    static const struct option names[] = {
        {"loops", 1, NULL, 'l'}, {"certificate", 1, NULL, 'c'},
        {"key", 1, NULL, 'k'},   {"client-ca", 1, NULL, 'a'},
        {"port", 1, NULL, 'p'},  {"max-connections", 1, NULL, 'm'},
        {"limit", 1, NULL, 'L'}, {NULL, 0, NULL, 0}};
    struct th_grpc_server_options o = {.methods = methods, .method_count = TH_COUNT(methods)};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'l':
            o.loops = (unsigned)atoi(optarg);
            break;
        case 'c':
            o.certificate = optarg;
            break;
        case 'k':
            o.key = optarg;
            break;
        case 'a':
            o.client_ca = optarg;
            break;
        case 'p':
            o.port = atoi(optarg);
            break;
        case 'm':
            o.max_connections = (unsigned)atoi(optarg);
            break;
        case 'L':
            set_limit(&o.limits, optarg);
            break;
        default:
            exit(2);
        }
    }
    return o;
}

int main(int argc, char **argv)
{
    struct th_log log = {.level = TH_LOG_DEBUG, .fd = STDERR_FILENO};
    struct th_grpc_server_options options = options_of(argc, argv);
    struct th_error error = {0};
    options.log = &log;
    struct th_grpc_server *server = th_grpc_server_start(&options, &error);
    if (!server) {
        fprintf(stderr, "grpc_echo: %s\n", error.message);
        return 1;
    }
    printf("%d\n", th_grpc_server_port(server));
    fflush(stdout);
    char command[256];
    while (fgets(command, sizeof(command), stdin)) {
        obey(server, command);
    }
    th_grpc_server_stop(server, 0);
    resume_paused();
    return 0;
}
