#include "worker/appinternal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "model/name.h"

#define FIRST_DELAY         (50 * TH_MILLISECOND) /* before the second restart in a row; doubles */
#define MAX_DELAY           (5 * TH_SECOND)
#define HEALTHY_AFTER       (30 * TH_SECOND)
#define DEFAULT_MAX_CRASHES 3
#define FAREWELL            (1000 * TH_MILLISECOND)
#define READ_BYTES          65536

extern char **environ;

void th_appproc_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void wake_manager(struct th_appproc *proc)
{
    uint64_t one = 1;
    while (write(proc->wake, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* ---- sending over the work channel: lock held -------------------------------------------------
 */

static void flush_out(struct th_appproc *proc)
{
    while (proc->out_at < proc->out.len) {
        ssize_t n = send(proc->work, proc->out.data + proc->out_at, proc->out.len - proc->out_at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* full, or the process is gone, which the manager sees */
        proc->out_at += (size_t)n;
    }
    if (proc->out.capacity > (4u << 20))
        th_buffer_deinit(&proc->out);
    proc->out.len = proc->out_at = 0;
}

void th_appproc_send(struct th_appproc *proc, const struct th_buffer *frame)
{
    bool first = proc->out.len == 0;
    th_buffer_str(&proc->out, th_buffer_view(frame));
    if (!first)
        return;
    flush_out(proc);
    if (proc->out.len > 0)
        wake_manager(proc);
}

static void send_number(struct th_appproc *proc, enum th_frame_kind kind, uint64_t number)
{
    TH_BUFFER frame = {0};
    size_t begin = th_wire_begin(&frame, kind);
    th_put_number(&frame, number);
    th_wire_end(&frame, begin);
    th_appproc_send(proc, &frame);
}

/* ---- activities ------------------------------------------------------------------------------ */

static struct item *item_find(struct th_appproc *proc, uint64_t token)
{
    struct item *item;
    HASH_FIND(hh, proc->items, &token, sizeof token, item);
    return item;
}

static void item_drop(struct th_appproc *proc, struct item *item)
{
    HASH_DEL(proc->items, item);
    proc->sent_items -= item->sent;
    th_buffer_deinit(&item->frame);
    free(item->instance_id);
    free(item);
}

static void item_send(struct th_appproc *proc, struct item *item)
{
    if (item->sent || !proc->up || proc->draining)
        return;
    item->sent = true;
    proc->sent_items++;
    th_appproc_send(proc, &item->frame);
}

static struct th_pool_result *failed_result(uint64_t token, const char *type, const char *message)
{
    struct th_pool_result *result = TH_NEW(struct th_pool_result);
    result->token = token;
    result->activity.failed = true;
    result->activity.non_retriable = true;
    result->activity.failure_type = th_str_dup(th_str_of(type));
    result->activity.failure_message = th_str_dup(th_str_of(message));
    return result;
}

static void on_activity(void *argument, const struct th_activity_work *work)
{
    struct th_appproc *proc = argument;
    struct item *item = TH_NEW(struct item);
    size_t begin = th_wire_begin(&item->frame, TH_FRAME_ACTIVITY);
    th_put_activity(&item->frame, work);
    if (!th_wire_end(&item->frame, begin)) {
        th_buffer_deinit(&item->frame);
        free(item);
        th_host_result(proc->host, failed_result(work->token, "PayloadTooLarge",
                                                 "the activity's input is above the limit"));
        return;
    }
    item->token = work->token;
    item->task_id = work->task_id;
    item->instance_id = th_str_dup(work->instance_id);
    pthread_mutex_lock(&proc->lock);
    struct item *old = item_find(proc, item->token);
    if (old)
        item_drop(proc, old);
    HASH_ADD(hh, proc->items, token, sizeof item->token, item);
    item_send(proc, item);
    pthread_mutex_unlock(&proc->lock);
}

static void on_cancel(void *argument, uint64_t token)
{
    struct th_appproc *proc = argument;
    pthread_mutex_lock(&proc->lock);
    struct item *item = item_find(proc, token);
    if (item && item->sent && proc->up)
        send_number(proc, TH_FRAME_CANCEL, token);
    if (item)
        item_drop(proc, item);
    pthread_mutex_unlock(&proc->lock);
}

static void on_drain(void *argument)
{
    struct th_appproc *proc = argument;
    pthread_mutex_lock(&proc->lock);
    proc->draining = true;
    pthread_mutex_unlock(&proc->lock);
}

static size_t count_running(void *argument)
{
    struct th_appproc *proc = argument;
    pthread_mutex_lock(&proc->lock);
    size_t count = proc->up ? proc->sent_items : 0;
    pthread_mutex_unlock(&proc->lock);
    return count;
}

static bool enter_result(struct th_appproc *proc, struct th_reader *in)
{
    struct th_wire_result value;
    if (!th_get_result(in, &value))
        return false;
    pthread_mutex_lock(&proc->lock);
    struct item *item = item_find(proc, value.token);
    bool wanted = item && item->sent;
    if (wanted)
        item_drop(proc, item);
    struct th_host *host = proc->host;
    pthread_mutex_unlock(&proc->lock);
    if (!wanted || !host)
        return true; /* canceled meanwhile */
    struct th_pool_result *result = TH_NEW(struct th_pool_result);
    result->token = value.token;
    result->activity = (struct th_activity_result){
        .failed = value.failed,
        .non_retriable = value.non_retriable,
        .data = th_str_dup(value.data),
        .len = value.data.len,
        .failure_type = th_str_dup(value.failure_type),
        .failure_message = th_str_dup(value.failure_message),
    };
    th_host_result(host, result);
    return true;
}

/* ---- the first words ---------------------------------------------------------------------------
 */

static int no_orchestrator(struct th_context *ctx)
{
    return TH_FAILED;
}

static int no_activity(struct th_activity *activity)
{
    return TH_FAILED;
}

static int no_entity(struct th_entity *entity)
{
    return TH_FAILED;
}

static int no_function(struct th_request *request)
{
    return TH_FAILED;
}

static void register_names(struct th_app *app, void *argument)
{
    const struct th_hello *hello = argument;
    if (th_str_present(hello->version))
        th_app_version(app, hello->version.data);
    for (size_t i = 0; i < hello->orchestrator_count; i++)
        th_orchestrator(app, hello->orchestrators[i].data, no_orchestrator);
    for (size_t i = 0; i < hello->activity_count; i++)
        th_activity(app, hello->activities[i].data, no_activity);
    for (size_t i = 0; i < hello->entity_count; i++)
        th_entity(app, hello->entities[i].data, no_entity);
    for (size_t i = 0; i < hello->routes.count; i++)
        th_http_route(app, hello->routes.items[i].name.data, hello->routes.items[i].value.data,
                      no_function);
    for (size_t i = 0; i < hello->crons.count; i++)
        th_cron(app, hello->crons.items[i].name.data, hello->crons.items[i].value.data,
                no_function);
}

/* Tells th_appproc_start how it went. */
static void settle_start(struct th_appproc *proc, struct th_app *app, const struct th_error *error)
{
    pthread_mutex_lock(&proc->lock);
    if (app) {
        proc->app = app;
        proc->loaded = true;
    } else {
        proc->refused = true;
        proc->error = *error;
    }
    pthread_cond_broadcast(&proc->changed);
    pthread_mutex_unlock(&proc->lock);
}

static void meet_first(struct th_appproc *proc, struct th_str frame, struct th_hello *hello)
{
    struct th_error error = {.code = TH_OK};
    struct th_app *app = NULL;
    if (th_str_present(hello->error))
        th_fail(&error, hello->missing ? TH_NOT_FOUND : TH_INVALID, "%.*s", TH_PRI(hello->error));
    else
        app = th_app_from_with(register_names, hello, &error);
    if (app)
        th_buffer_str(&proc->hello, frame);
    settle_start(proc, app, &error);
}

static bool enter_hello(struct th_appproc *proc, struct th_str frame, struct th_reader *in)
{
    struct th_hello hello;
    if (!th_get_hello(in, &hello) || proc->greeted)
        return false;
    proc->greeted = !th_str_present(hello.error);
    if (!proc->loaded)
        meet_first(proc, frame, &hello);
    else if (!proc->greeted)
        th_log(proc->log, TH_LOG_ERROR, "worker", "%.*s", TH_PRI(hello.error));
    else if (!th_str_eq(frame, th_buffer_view(&proc->hello)))
        th_log(proc->log, TH_LOG_WARN, "worker",
               "the application has other functions than before; its new routes and names are "
               "known after a restart of the hub");
    return true;
}

static void put_begin(struct th_appproc *proc, struct th_buffer *out)
{
    const struct th_host_options *settings = &proc->settings;
    TH_ARENA arena = {0};
    struct th_begin_run begin = {
        .flight = th_str_of(proc->options.flight),
        .default_version = th_str_of(proc->options.default_version),
        .threads = settings->activity_threads,
        .reuse = proc->options.reuse,
        .function_timeout_ms = settings->function_timeout_ms,
        .max_warm = settings->max_warm,
        .replay_always = settings->replay_always,
        .log_json = proc->log && proc->log->json,
        .log_level = proc->log ? proc->log->level : TH_LOG_ERROR,
        .limit_count = settings->limit_count,
    };
    begin.limits = th_arena_alloc_array(&arena, sizeof *begin.limits, begin.limit_count);
    for (size_t i = 0; i < begin.limit_count; i++) {
        begin.limits[i].name = settings->limits[i].name;
        begin.limits[i].max = settings->limits[i].max;
    }
    size_t at = th_wire_begin(out, TH_FRAME_BEGIN);
    th_put_begin(out, &begin);
    th_wire_end(out, at);
}

/* ---- who is to blame ----------------------------------------------------------------------------
 */

/* The node dispatches the culprit's activity again, if it does, once it has counted. */
static void drop_culprit(struct th_appproc *proc, const char *instance_id, int32_t task_id)
{
    struct item *item, *next;
    pthread_mutex_lock(&proc->lock);
    HASH_ITER(hh, proc->items, item, next)
        if (item->task_id == task_id && strcmp(item->instance_id, instance_id) == 0)
            item_drop(proc, item);
    pthread_mutex_unlock(&proc->lock);
}

static void tell_blame(struct th_appproc *proc, const char *instance_id, int32_t task_id,
                       const char *name, const char *reason)
{
    bool episode = task_id == TH_FLIGHT_EPISODE;
    const char *code = th_is_entity(th_str_of(instance_id)) ? "the entity" : "the orchestrator";
    th_log(proc->log, TH_LOG_ERROR, "worker", "instance %s: %s%s%s %s", instance_id,
           episode ? code : "activity \"", name, episode ? "" : "\"", reason);
}

static void blame(struct th_appproc *proc, const char *instance_id, int32_t task_id,
                  const char *reason)
{
    if (task_id != TH_FLIGHT_EPISODE)
        drop_culprit(proc, instance_id, task_id);
    th_host_crash(proc->host, instance_id, task_id, reason);
}

/* One that is certain is counted by the log, each time. One that was only there is left alone until
 * the recorder has seen it there too often; then the log hears of all these deaths at once. */
static void blame_culprit(struct th_appproc *proc, struct th_flight *flight, size_t index)
{
    const struct th_flight_culprit *culprit = th_flight_culprit(flight, index);
    uint32_t max = proc->settings.max_crashes ? proc->settings.max_crashes : DEFAULT_MAX_CRASHES;
    uint32_t reports = culprit->certain ? 1 : culprit->count >= max ? max : 0;
    tell_blame(proc, culprit->instance_id, culprit->task_id, culprit->name, culprit->reason);
    for (uint32_t i = 0; i < reports; i++)
        blame(proc, culprit->instance_id, culprit->task_id, culprit->reason);
    if (reports > 0)
        th_flight_settle(flight, index);
}

static void blame_suspect(struct th_appproc *proc)
{
    pthread_mutex_lock(&proc->lock);
    struct suspect suspect = proc->suspect;
    proc->suspect.instance_id = NULL;
    pthread_mutex_unlock(&proc->lock);
    if (!suspect.instance_id)
        return;
    tell_blame(proc, suspect.instance_id, TH_FLIGHT_EPISODE, "", suspect.reason);
    blame(proc, suspect.instance_id, TH_FLIGHT_EPISODE, suspect.reason);
    free(suspect.instance_id);
}

/* Before the next process opens the recorder. Also what a hub that is gone has left there. */
static void blame_culprits(struct th_appproc *proc)
{
    struct th_error error = {.code = TH_OK};
    blame_suspect(proc);
    struct th_flight *flight = th_flight_open(proc->options.flight, proc->exited, &error);
    if (!flight) {
        th_log(proc->log, TH_LOG_ERROR, "worker", "%s", error.message);
        return;
    }
    for (size_t i = 0; i < th_flight_culprits(flight); i++)
        blame_culprit(proc, flight, i);
    th_flight_close(flight);
    proc->exited = false;
}

/* ---- the manager: a process's life --------------------------------------------------------------
 */

static void kill_process(struct th_appproc *proc)
{
    if (proc->pidfd >= 0)
        pidfd_send_signal(proc->pidfd, SIGKILL, NULL, 0);
}

/* The process may begin: the hub is there and the application loaded. */
static void begin(struct th_appproc *proc)
{
    TH_BUFFER frame = {0};
    blame_culprits(proc);
    put_begin(proc, &frame);
    pthread_mutex_lock(&proc->lock);
    proc->up = true;
    th_appproc_send(proc, &frame);
    struct item *item, *next;
    HASH_ITER(hh, proc->items, item, next)
        item_send(proc, item);
    struct visit *visit;
    DL_FOREACH(proc->visits, visit) {
        th_appproc_visit_send(proc, visit);
        pthread_cond_signal(&visit->changed);
    }
    th_appproc_close(&proc->next_episodes);
    th_appproc_close(&proc->next_pidfd);
    proc->next_episodes = proc->episodes;
    proc->next_pidfd = fcntl(proc->pidfd, F_DUPFD_CLOEXEC, 0);
    proc->episodes = -1;
    pthread_mutex_unlock(&proc->lock);
    th_host_application_up(proc->host);
}

static bool enter_frame(struct th_appproc *proc, struct th_str frame, struct th_error *error)
{
    TH_ARENA arena = {0};
    struct th_reader in;
    enum th_frame_kind kind;
    if (!th_wire_open(frame, &arena, error, &in, &kind))
        return false;
    bool up = proc->up;
    if (kind == TH_FRAME_HELLO)
        return enter_hello(proc, frame, &in);
    if (up && kind == TH_FRAME_RESULT)
        return enter_result(proc, &in);
    if (up && kind == TH_FRAME_ANSWER)
        return th_appproc_answer(proc, frame, &in);
    if (up && kind == TH_FRAME_COMMAND)
        return th_appproc_command(proc, &in);
    if (up && kind == TH_FRAME_GIVE_UP)
        return th_appproc_give_up(proc, &in);
    return th_fail(error, TH_CORRUPT, "a frame of kind %d, which is not its to send", (int)kind);
}

/* The first descriptor received and not claimed; -1: none. The channel keeps their order. */
int th_appproc_take_file(struct th_appproc *proc)
{
    if (proc->file_count == 0)
        return -1;
    int file = proc->files[0];
    proc->file_count--;
    memmove(proc->files, proc->files + 1, proc->file_count * sizeof file);
    return file;
}

static void keep_files(struct th_appproc *proc, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int file;
            memcpy(&file, CMSG_DATA(c) + at, sizeof file);
            if (proc->file_count < TH_APPPROC_FILES)
                proc->files[proc->file_count++] = file;
            else
                close(file);
        }
    }
}

/* False: nothing to read now, or the end. */
static bool read_some(struct th_appproc *proc)
{
    union {
        char bytes[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {.iov_base = th_wire_room(&proc->wire, READ_BYTES),
                           .iov_len = READ_BYTES};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(proc->work, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    keep_files(proc, &message);
    proc->wire.bytes.len += (size_t)n;
    return true;
}

/* False: the process said what it cannot say. */
static bool enter_frames(struct th_appproc *proc)
{
    struct th_error error = {.code = TH_OK};
    struct th_str frame;
    enum th_wire_next next;
    while ((next = th_wire_next(&proc->wire, &frame)) == TH_WIRE_FRAME)
        if (!enter_frame(proc, frame, &error))
            break;
    if (next == TH_WIRE_MORE)
        return true;
    th_log(proc->log, TH_LOG_ERROR, "worker",
           "the application's process sent what nobody can read and is killed: %s",
           error.message[0] ? error.message : "a frame of impossible length");
    return false;
}

static void take_wake(struct th_appproc *proc)
{
    uint64_t count;
    while (read(proc->wake, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

/* The application is loaded and the hub is there, but it was not told to begin. */
static bool may_begin(struct th_appproc *proc)
{
    pthread_mutex_lock(&proc->lock);
    bool may = proc->greeted && proc->host && !proc->up && !proc->draining;
    pthread_mutex_unlock(&proc->lock);
    return may;
}

static bool is_stopping(struct th_appproc *proc)
{
    pthread_mutex_lock(&proc->lock);
    bool stopping = proc->stopping;
    pthread_mutex_unlock(&proc->lock);
    return stopping;
}

static short wanted_events(struct th_appproc *proc)
{
    pthread_mutex_lock(&proc->lock);
    short events = proc->out_at < proc->out.len ? POLLIN | POLLOUT : POLLIN;
    pthread_mutex_unlock(&proc->lock);
    return events;
}

/* Until the process is dead (its last words are read) or the hub stops. */
static void converse(struct th_appproc *proc)
{
    struct pollfd fds[3] = {{.fd = proc->work},
                            {.fd = proc->pidfd, .events = POLLIN},
                            {.fd = proc->wake, .events = POLLIN}};
    while (!is_stopping(proc)) {
        if (may_begin(proc))
            begin(proc);
        fds[0].events = wanted_events(proc);
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return;
        if (fds[2].revents)
            take_wake(proc);
        if (fds[0].revents & POLLOUT) {
            pthread_mutex_lock(&proc->lock);
            flush_out(proc);
            pthread_mutex_unlock(&proc->lock);
        }
        bool dead = fds[1].revents != 0;
        bool some = false;
        while (fds[0].fd >= 0 && read_some(proc)) {
            some = true;
            if (!enter_frames(proc)) {
                kill_process(proc);
                fds[0].fd = -1;
            }
            if (!dead)
                break;
        }
        if (dead)
            return;
        if (fds[0].fd >= 0 && !some && (fds[0].revents & (POLLIN | POLLHUP))) {
            kill_process(proc); /* it hung up but lives */
            fds[0].fd = -1;
        }
    }
}

static bool dies_within(struct th_appproc *proc, th_time patience)
{
    struct pollfd fd = {.fd = proc->pidfd, .events = POLLIN};
    th_time until = th_monotonic() + patience;
    int n = 0;
    while (n <= 0 && th_monotonic() < until)
        n = poll(&fd, 1, (int)((until - th_monotonic()) / TH_MILLISECOND) + 1);
    return n > 0;
}

static void describe(int status, char out[static 64])
{
    if (WIFSIGNALED(status))
        snprintf(out, 64, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, 64, "exit code %d", WEXITSTATUS(status));
}

static void tell_death(struct th_appproc *proc, int status)
{
    struct th_error error = {.code = TH_OK};
    char how[64];
    describe(status, how);
    if (proc->loaded) {
        th_log(proc->log, TH_LOG_ERROR, "worker",
               "the application's process died of %s; starting it again", how);
        return;
    }
    if (!proc->refused)
        th_fail(&error, TH_INTERNAL, "the process that loads %s died of %s",
                proc->options.application, how);
    if (!proc->refused)
        settle_start(proc, NULL, &error);
}

/* What it leaves behind: work for the next process, and people who wait in vain. */
static void settle_estate(struct th_appproc *proc)
{
    struct item *item, *next;
    struct visit *visit;
    pthread_mutex_lock(&proc->lock);
    proc->up = false;
    th_appproc_close(&proc->work);
    proc->out.len = proc->out_at = 0;
    HASH_ITER(hh, proc->items, item, next)
        item->sent = false;
    proc->sent_items = 0;
    DL_FOREACH(proc->visits, visit) {
        visit->done = visit->done || visit->sent;
        pthread_cond_signal(&visit->changed);
    }
    pthread_mutex_unlock(&proc->lock);
    th_appproc_drop_commands(proc);
    while (proc->file_count > 0)
        close(proc->files[--proc->file_count]);
    th_wire_deinit(&proc->wire);
}

static void bury(struct th_appproc *proc, bool stopping)
{
    int status = 0;
    if (stopping) {
        shutdown(proc->work, SHUT_RDWR);
        th_appproc_close(&proc->episodes);
        if (!dies_within(proc, FAREWELL))
            kill_process(proc);
    }
    while (waitpid(proc->pid, &status, 0) < 0 && errno == EINTR) {
    }
    proc->exited = WIFEXITED(status) && WEXITSTATUS(status) != TH_APPLICATION_RESTART && proc->up;
    if (!stopping)
        tell_death(proc, status);
    settle_estate(proc);
    th_appproc_close(&proc->pidfd);
    th_appproc_close(&proc->episodes);
    proc->greeted = false;
}

/* ---- the manager: starting and starting again ---------------------------------------------------
 */

/* Descriptors 3 and 4 of the child; above them here, so that placing one does not hide the other.
 */
static bool make_channel(int pair[static 2])
{
    int made[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        pair[i] = fcntl(made[i], F_DUPFD_CLOEXEC, 16);
        close(made[i]);
    }
    return pair[0] >= 0 && pair[1] >= 0;
}

static int spawn(struct th_appproc *proc, int work, int episodes)
{
    const char *const arguments[] = {"taskhub", TH_APPLICATION_COMMAND, proc->options.application,
                                     NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, work, 3);
    posix_spawn_file_actions_adddup2(&actions, episodes, 4);
    int result = posix_spawn(&proc->pid, "/proc/self/exe", &actions, NULL, (char *const *)arguments,
                             environ);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

static bool start_process(struct th_appproc *proc)
{
    int work[2] = {-1, -1}, episodes[2] = {-1, -1};
    int result = make_channel(work) && make_channel(episodes) ? 0 : errno;
    if (result == 0)
        result = spawn(proc, work[1], episodes[1]);
    th_appproc_close(&work[1]);
    th_appproc_close(&episodes[1]);
    if (result == 0 && (proc->pidfd = pidfd_open(proc->pid, 0)) < 0) {
        result = errno;
        kill(proc->pid, SIGKILL);
        waitpid(proc->pid, NULL, 0);
    }
    if (result == 0) {
        proc->work = work[0];
        proc->episodes = episodes[0];
        proc->started = th_monotonic();
        return true;
    }
    th_appproc_close(&work[0]);
    th_appproc_close(&episodes[0]);
    struct th_error error = {.code = TH_OK};
    th_fail(&error, TH_INTERNAL, "cannot start the application's process: %s", strerror(result));
    th_log(proc->log, TH_LOG_ERROR, "worker", "%s", error.message);
    if (!proc->loaded && !proc->refused)
        settle_start(proc, NULL, &error);
    return false;
}

static th_time next_delay(struct th_appproc *proc)
{
    th_time delay = FIRST_DELAY;
    if (th_monotonic() - proc->started >= HEALTHY_AFTER)
        proc->deaths_in_a_row = 0;
    if (++proc->deaths_in_a_row == 1)
        return 0; /* the first time at once: most crashes are rare */
    for (unsigned i = 2; i < proc->deaths_in_a_row && delay < MAX_DELAY; i++)
        delay *= 2;
    return delay < MAX_DELAY ? delay : MAX_DELAY;
}

static void wait_out(struct th_appproc *proc, th_time delay)
{
    struct pollfd fd = {.fd = proc->wake, .events = POLLIN};
    th_time until = th_monotonic() + delay, left;
    while (!is_stopping(proc) && (left = until - th_monotonic()) > 0)
        if (poll(&fd, 1, (int)(left / TH_MILLISECOND) + 1) > 0)
            take_wake(proc);
}

static void *manage(void *argument)
{
    struct th_appproc *proc = argument;
    while (!is_stopping(proc) && !proc->refused) {
        if (start_process(proc)) {
            converse(proc);
            bury(proc, is_stopping(proc));
        }
        if (!proc->refused)
            wait_out(proc, next_delay(proc));
    }
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void stop_manager(struct th_appproc *proc)
{
    pthread_mutex_lock(&proc->lock);
    bool first = !proc->stopping;
    proc->stopping = true;
    pthread_mutex_unlock(&proc->lock);
    if (!first)
        return;
    wake_manager(proc);
    pthread_join(proc->manager, NULL);
}

static void on_attach(void *argument, struct th_host *host)
{
    struct th_appproc *proc = argument;
    pthread_mutex_lock(&proc->lock);
    proc->host = host;
    pthread_mutex_unlock(&proc->lock);
    wake_manager(proc);
}

/* The process goes, too: without a host nothing can be done with what it says. */
static void on_detach(void *argument)
{
    struct th_appproc *proc = argument;
    stop_manager(proc);
    proc->host = NULL;
}

static bool await_load(struct th_appproc *proc, struct th_error *error)
{
    pthread_mutex_lock(&proc->lock);
    while (!proc->loaded && !proc->refused)
        pthread_cond_wait(&proc->changed, &proc->lock);
    bool loaded = proc->loaded;
    pthread_mutex_unlock(&proc->lock);
    return loaded || th_fail(error, proc->error.code, "%s", proc->error.message);
}

struct th_appproc *th_appproc_start(const struct th_appproc_options *options,
                                    struct th_error *error)
{
    struct th_appproc *proc = TH_NEW(struct th_appproc);
    proc->options = *options;
    proc->settings = *options->host;
    proc->log = options->host->log;
    proc->work = proc->pidfd = proc->episodes = -1;
    proc->next_episodes = proc->next_pidfd = -1;
    proc->node_episodes = proc->node_pidfd = -1;
    pthread_mutex_init(&proc->lock, NULL);
    pthread_cond_init(&proc->changed, NULL);
    proc->wake = eventfd(0, EFD_CLOEXEC);
    int result = proc->wake < 0 ? errno : pthread_create(&proc->manager, NULL, manage, proc);
    if (result != 0) {
        proc->stopping = true;
        th_fail(error, TH_INTERNAL, "cannot run the application apart: %s", strerror(result));
    } else if (await_load(proc, error)) {
        return proc;
    }
    th_appproc_free(proc);
    return NULL;
}

const struct th_app *th_appproc_app(const struct th_appproc *proc)
{
    return proc->app;
}

struct th_runner th_appproc_runner(struct th_appproc *proc)
{
    return (struct th_runner){.argument = proc,
                              .attach = on_attach,
                              .detach = on_detach,
                              .taken_up = th_appproc_taken_up,
                              .activity = on_activity,
                              .cancel = on_cancel,
                              .orchestrate = th_appproc_orchestrate,
                              .forget = th_appproc_forget,
                              .drain = on_drain,
                              .running = count_running};
}

struct th_http_remote th_appproc_remote(struct th_appproc *proc)
{
    return (struct th_http_remote){.argument = proc, .serve = th_appproc_serve};
}

void th_appproc_quiet(struct th_appproc *proc)
{
    struct visit *visit;
    pthread_mutex_lock(&proc->lock);
    proc->quiet = true;
    DL_FOREACH(proc->visits, visit)
        pthread_cond_signal(&visit->changed);
    pthread_mutex_unlock(&proc->lock);
}

void th_appproc_free(struct th_appproc *proc)
{
    struct item *item, *next;
    if (!proc)
        return;
    stop_manager(proc);
    HASH_ITER(hh, proc->items, item, next)
        item_drop(proc, item);
    th_appproc_close(&proc->next_episodes);
    th_appproc_close(&proc->next_pidfd);
    th_appproc_close(&proc->node_episodes);
    th_appproc_close(&proc->node_pidfd);
    th_appproc_close(&proc->wake);
    th_wire_deinit(&proc->node_wire);
    th_buffer_deinit(&proc->node_out);
    th_buffer_deinit(&proc->hello);
    th_buffer_deinit(&proc->out);
    free(proc->suspect.instance_id);
    th_app_free(proc->app);
    pthread_cond_destroy(&proc->changed);
    pthread_mutex_destroy(&proc->lock);
    free(proc);
}
