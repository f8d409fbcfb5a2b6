/*
 * loop: the thread. It sleeps in poll until a task, a socket or a clock wants something. Whoever
 * submits a task wakes it only when it sleeps: under load no task costs a system call.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

void th_redis_wake(int wake)
{
    uint64_t one = 1;
    while (write(wake, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void drain(int wake)
{
    uint64_t count;
    while (read(wake, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}

/* ---- in and out ---- */

void th_redis_loop_submit(struct th_redis_loop *loop, struct th_redis_task *task)
{
    th_queue_push(&loop->tasks, &task->link);
    if (atomic_exchange(&loop->asleep, false)) {
        th_redis_wake(loop->wake);
    }
}

void th_redis_complete(struct th_redis_loop *loop, const struct th_completion *done)
{
    if (atomic_load(&loop->stopping)) {
        struct th_completion dropped = *done;
        th_completion_deinit(&dropped);
        return;
    }
    pthread_mutex_lock(&loop->mutex);
    bool first = th_completions_push(&loop->outlet, done);
    pthread_mutex_unlock(&loop->mutex);
    if (first) {
        th_provider_wake(&loop->provider);
    }
}

static void run_tasks(struct th_redis_loop *loop)
{
    struct th_link *link = th_queue_take(&loop->tasks);
    while (link) {
        struct th_link *next = link->next;
        struct th_redis_task *task = (struct th_redis_task *)link;
        task->run(loop, task);
        link = next;
    }
}

/* ---- the thread ---- */

static int milliseconds_until(th_time deadline)
{
    th_time left = deadline - th_monotonic();
    return left <= 0 ? 0 : left > 60 * TH_SECOND ? 60000 : (int)(left / TH_MILLISECOND) + 1;
}

static int next_deadline(const struct th_redis_loop *loop)
{
    th_time a = th_redis_session_deadline(&loop->commands);
    th_time b = th_redis_session_deadline(&loop->listener);
    return milliseconds_until(a < b ? a : b);
}

static struct pollfd poll_of(const struct th_redis_session *s)
{
    int fd = th_redis_session_fd(s);
    return (struct pollfd){.fd = fd, .events = fd >= 0 ? th_redis_session_events(s) : 0};
}

static void turn(struct th_redis_loop *loop)
{
    atomic_store(&loop->asleep, true); /* first: a task that is not run here wakes the poll */
    run_tasks(loop);
    int timeout = next_deadline(loop);
    struct pollfd fds[] = {
        poll_of(&loop->commands), poll_of(&loop->listener), {.fd = loop->wake, .events = POLLIN}};
    if (poll(fds, TH_COUNT(fds), timeout) < 0) {
        return; /* EINTR: signals are blocked here, but a debugger's stop may show */
    }
    atomic_store(&loop->asleep, false);
    if (fds[2].revents) {
        drain(loop->wake);
    }
    th_redis_session_step(&loop->commands, fds[0].revents);
    th_redis_session_step(&loop->listener, fds[1].revents);
}

/* Signals are for the program's own threads; and one that was blocked, SIGPIPE, would else end the
 * process when Redis closes while it is written to. */
static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void *loop_main(void *argument)
{
    struct th_redis_loop *loop = argument;
    pthread_setname_np(pthread_self(), "redis");
    block_signals();
    while (!atomic_load(&loop->stopping)) {
        turn(loop);
    }
    th_redis_session_end(&loop->commands);
    th_redis_session_end(&loop->listener);
    run_tasks(loop);
    th_redis_session_end(&loop->commands); /* what the tasks sent */
    return NULL;
}

/* ---- starting and stopping ---- */

bool th_redis_loop_start(struct th_redis_loop *loop, struct th_error *error)
{
    th_queue_init(&loop->tasks);
    pthread_mutex_init(&loop->mutex, NULL);
    loop->watched = th_alloc(loop->provider.hub.partitions * sizeof(bool));
    th_random_seed(&loop->random, th_random_system());
    th_redis_session_init(&loop->commands, loop, &th_redis_command_role);
    th_redis_session_init(&loop->listener, loop, &th_redis_listener_role);
    loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->started = loop->wake >= 0 && pthread_create(&loop->thread, NULL, loop_main, loop) == 0;
    return loop->started ||
           th_fail(error, TH_UNAVAILABLE, "cannot start a thread for Redis: %s", strerror(errno));
}

void th_redis_loop_stop(struct th_redis_loop *loop)
{
    if (loop->started) {
        atomic_store(&loop->stopping, true);
        th_redis_wake(loop->wake);
        pthread_join(loop->thread, NULL);
    }
    if (loop->wake >= 0) {
        close(loop->wake);
    }
    th_completions_deinit(&loop->outlet);
    th_queue_deinit(&loop->tasks);
    pthread_mutex_destroy(&loop->mutex);
    free(loop->watched);
}
