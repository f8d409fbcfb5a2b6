/*
 * The parent waits in sigtimedwait for its child's death or its own orders, so there is no
 * handler and no race between them. The child blocks the orders, too, and waits for SIGTERM in its
 * main thread. A terminal's SIGINT reaches both processes; the child looks at SIGTERM alone.
 */
#include "worker/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct th_supervised {
    int ready_fd;
    bool after_exit;
};

struct supervisor {
    struct th_supervisor_options options;
    pid_t child;
    int ready_fd;
    th_time started;
    unsigned restarts; /* all */
    unsigned in_a_row; /* since the last one that lived long enough */
    bool stopping;
    bool ended_by_exit; /* the last child, unasked */
};

enum verdict { DONE, AGAIN };

static sigset_t orders(bool with_child)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (with_child)
        sigaddset(&set, SIGCHLD);
    return set;
}

void th_supervised_block(void)
{
    sigset_t set = orders(false);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* What the child says of itself, once. SILENT: its process ended in the midst of starting, perhaps
 * in the application's code, which may exit() as soon as work that waited begins. */
enum word { SILENT, READY, RETURNED };

static void say(struct th_supervised *self, enum word word)
{
    if (!self || self->ready_fd < 0)
        return;
    char byte = (char)word;
    while (write(self->ready_fd, &byte, 1) < 0 && errno == EINTR) {
    }
    close(self->ready_fd);
    self->ready_fd = -1;
}

void th_supervised_ready(struct th_supervised *self)
{
    say(self, READY);
}

bool th_supervised_after_exit(const struct th_supervised *self)
{
    return self && self->after_exit;
}

static sigset_t orders_of(const struct th_supervised *self)
{
    sigset_t set = orders(false);
    if (self) {
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
    }
    return set;
}

void th_supervised_wait(struct th_supervised *self)
{
    sigset_t set = orders_of(self);
    int number;
    while (sigwait(&set, &number) != 0) {
    }
}

bool th_supervised_wait_for(struct th_supervised *self, th_time patience)
{
    sigset_t set = orders_of(self);
    th_time deadline = th_monotonic() + patience;
    th_time left;
    while ((left = deadline - th_monotonic()) > 0) {
        struct timespec t = {.tv_sec = left / TH_SECOND, .tv_nsec = left % TH_SECOND * 1000};
        if (sigtimedwait(&set, NULL, &t) > 0)
            return true;
    }
    return false;
}

/* ---- the parent ------------------------------------------------------------------------------ */

static _Noreturn void child_main(struct supervisor *s, int ready_fd, pid_t parent)
{
    struct th_supervised self = {.ready_fd = ready_fd, .after_exit = s->ended_by_exit};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* it died before the line above */
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    pthread_sigmask(SIG_UNBLOCK, &child, NULL);
    int code = s->options.run(s->options.argument, &self, s->restarts);
    fflush(NULL);
    say(&self, RETURNED);
    _exit(code);
}

static bool start_child(struct supervisor *s)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    fflush(NULL);
    pid_t parent = getpid();
    s->child = fork();
    if (s->child == 0) {
        close(ready[0]);
        child_main(s, ready[1], parent);
    }
    close(ready[1]);
    s->ready_fd = ready[0];
    s->started = th_monotonic();
    return s->child > 0;
}

static enum word word_of(const struct supervisor *s)
{
    char byte;
    return read(s->ready_fd, &byte, 1) == 1 ? (enum word)byte : SILENT;
}

/* The next signal; 0 at the deadline. */
static int next_order(th_time deadline)
{
    sigset_t set = orders(true);
    if (deadline == TH_TIME_NONE)
        return sigwaitinfo(&set, NULL);
    th_time left = deadline - th_monotonic();
    if (left < 0)
        left = 0;
    struct timespec t = {.tv_sec = left / TH_SECOND, .tv_nsec = left % TH_SECOND * 1000};
    int number = sigtimedwait(&set, NULL, &t);
    return number < 0 && errno == EAGAIN ? 0 : number;
}

static void pass_on(struct supervisor *s)
{
    if (s->stopping)
        th_log(s->options.log, TH_LOG_WARN, "supervisor", "told twice to stop: killing");
    kill(s->child, s->stopping ? SIGKILL : SIGTERM);
    s->stopping = true;
}

static int wait_for_child(struct supervisor *s)
{
    for (;;) {
        int status;
        if (waitpid(s->child, &status, WNOHANG) == s->child)
            return status;
        int number = next_order(TH_TIME_NONE);
        if (number > 0 && number != SIGCHLD)
            pass_on(s);
    }
}

/* False: told to stop meanwhile. */
static bool wait_out(th_time delay)
{
    th_time deadline = th_monotonic() + delay;
    int number;
    while ((number = next_order(deadline)) != 0)
        if (number > 0 && number != SIGCHLD)
            return false;
    return true;
}

static th_time delay_of(const struct supervisor *s)
{
    th_time delay = s->options.first_delay;
    if (s->in_a_row <= 1)
        return 0; /* the first time at once: most crashes are rare */
    for (unsigned i = 2; i < s->in_a_row && delay < s->options.max_delay; i++)
        delay *= 2;
    return delay < s->options.max_delay ? delay : s->options.max_delay;
}

static void describe(int status, char out[static 64])
{
    if (WIFSIGNALED(status))
        snprintf(out, 64, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, 64, "exit code %d", WEXITSTATUS(status));
}

/* After a death: whether to start again, and the program's exit code when not. */
static enum verdict judge(struct supervisor *s, int status, int *code)
{
    enum word word = word_of(s);
    char how[64];
    describe(status, how);
    close(s->ready_fd);
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : s->stopping ? 0 : 1;
    if (s->stopping)
        return DONE;
    if (word == RETURNED && WIFEXITED(status))
        return DONE; /* it has said why it cannot start */
    s->ended_by_exit = WIFEXITED(status) &&
                       (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) != s->options.restart_code);
    if (th_monotonic() - s->started >= s->options.healthy_after)
        s->in_a_row = 0;
    s->in_a_row++;
    s->restarts++;
    if (word != READY && s->in_a_row >= s->options.max_failures) {
        th_log(s->options.log, TH_LOG_ERROR, "supervisor",
               "giving up: the process died %u times in a row before it was ready, last of %s",
               s->in_a_row, how);
        *code = 1;
        return DONE;
    }
    th_log(s->options.log, TH_LOG_ERROR, "supervisor", "the process died of %s; starting it again",
           how);
    return AGAIN;
}

static void apply_defaults(struct th_supervisor_options *options)
{
    if (options->max_failures == 0)
        options->max_failures = 8;
    if (options->first_delay == 0)
        options->first_delay = 50 * TH_MILLISECOND;
    if (options->max_delay == 0)
        options->max_delay = 5 * TH_SECOND;
    if (options->healthy_after == 0)
        options->healthy_after = 30 * TH_SECOND;
}

int th_supervise(const struct th_supervisor_options *options)
{
    struct supervisor s = {.options = *options};
    apply_defaults(&s.options);
    sigset_t set = orders(true);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (;;) {
        if (!start_child(&s)) {
            th_log(options->log, TH_LOG_ERROR, "supervisor", "cannot fork: %s", strerror(errno));
            return 1;
        }
        int code = 1;
        if (judge(&s, wait_for_child(&s), &code) == DONE)
            return code;
        if (!wait_out(delay_of(&s)))
            return 0;
    }
}
