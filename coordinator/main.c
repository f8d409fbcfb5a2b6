/*
 * `taskhub-coordinator`: starts the coordinator, again and again until the fleet is there, and ends
 * it at a signal.
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "coordinator/options.h"

#define FIRST_PAUSE    (200 * TH_MILLISECOND)
#define LAST_PAUSE     (5 * TH_SECOND)
#define CHECK_INTERVAL (10 * TH_SECOND)

enum { EXIT_OK = 0, EXIT_ERROR = 1, EXIT_USAGE = 2 };

/* ---- signals --------------------------------------------------------------------------------- */

/* SIGINT and SIGTERM are taken by a thread of their own. While nothing is served yet there is
 * nothing to be ended in good order, and a question to brokers that are away may take long. */
struct stopper {
    sigset_t signals;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool serving, stopped;
};

static void *take_signals(void *argument)
{
    struct stopper *stopper = argument;
    int signal;
    while (sigwait(&stopper->signals, &signal) != 0) {
    }
    pthread_mutex_lock(&stopper->lock);
    if (!stopper->serving)
        _exit(EXIT_OK);
    stopper->stopped = true;
    pthread_cond_signal(&stopper->changed);
    pthread_mutex_unlock(&stopper->lock);
    return NULL;
}

/* Before any other thread is started. */
static bool stopper_init(struct stopper *stopper)
{
    pthread_t thread;
    sigemptyset(&stopper->signals);
    sigaddset(&stopper->signals, SIGINT);
    sigaddset(&stopper->signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stopper->signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&stopper->lock, NULL);
    pthread_cond_init(&stopper->changed, NULL);
    return pthread_create(&thread, NULL, take_signals, stopper) == 0 && pthread_detach(thread) == 0;
}

static void set_serving(struct stopper *stopper, bool serving)
{
    pthread_mutex_lock(&stopper->lock);
    stopper->serving = serving;
    pthread_mutex_unlock(&stopper->lock);
}

/* Waits so long at most; true: the program is to stop. */
static bool stop_wanted(struct stopper *stopper, th_time patience)
{
    th_time until = th_now() + patience;
    const struct timespec deadline = {.tv_sec = until / TH_SECOND,
                                      .tv_nsec = until % TH_SECOND * (1000000000 / TH_SECOND)};
    pthread_mutex_lock(&stopper->lock);
    while (!stopper->stopped &&
           pthread_cond_timedwait(&stopper->changed, &stopper->lock, &deadline) != ETIMEDOUT) {
    }
    bool stopped = stopper->stopped;
    pthread_mutex_unlock(&stopper->lock);
    return stopped;
}

/* ---- the program ----------------------------------------------------------------------------- */

/* The hubs, one coordinator each; the first one's HTTP API and endpoint are the program's. */
struct fleet {
    struct th_coordinator *coordinators[TH_HUBS_MAX];
    size_t count;
};

static void say_started(const struct fleet *fleet, const struct th_coordinator_options *options)
{
    const struct th_coordinator *first = fleet->coordinators[0];
    const struct th_hub_record *hub = th_coordinator_hub(first);
    printf("Taskhub " TASKHUB_VERSION " coordinates hub %s, %" PRIu32 " partitions\n", hub->name,
           hub->partitions);
    printf("  %-15s%s\n", "Kafka", options->place->cluster.brokers);
    printf("  %-15s%s\n", "API", th_coordinator_url(first));
    if (th_coordinator_rpc_port(first))
        printf("  %-15sport %d\n", "RPC", th_coordinator_rpc_port(first));
    for (size_t i = 1; i < fleet->count; i++)
        printf("  %-15s%s\n", i > 1 ? "" : "more hubs",
               th_coordinator_hub(fleet->coordinators[i])->name);
    fflush(stdout);
}

/* Nobody answers, or the hub lacks a topic. */
static bool will_do_later(const struct th_error *error)
{
    return error->code == TH_UNAVAILABLE || error->code == TH_IO;
}

/* The same sentence is said once. NULL: in vain, see `error`. */
static struct th_coordinator *start(const struct th_coordinator_options *options,
                                    struct stopper *stopper, struct th_error *error)
{
    char said[sizeof error->message] = "";
    th_time pause = FIRST_PAUSE;
    struct th_coordinator *coordinator;
    while (!(coordinator = th_coordinator_start(options, error)) && will_do_later(error)) {
        if (strcmp(said, error->message) != 0)
            th_log(options->log, TH_LOG_WARN, "coordinator", "%s; trying again", error->message);
        snprintf(said, sizeof said, "%s", error->message);
        stop_wanted(stopper, pause);
        pause = pause * 2 < LAST_PAUSE ? pause * 2 : LAST_PAUSE;
    }
    return coordinator;
}

static struct th_coordinator_options of_another(const struct th_coordinator_options *options,
                                                const char *hub)
{
    struct th_coordinator_options other = *options;
    other.hub = hub;
    other.http.port = TH_HTTP_CLOSED;
    other.rpc_elsewhere = true;
    return other;
}

/* The first one last: its endpoint is open when all that it serves is there. */
static bool start_all(struct fleet *fleet, const struct th_hub_names *hubs,
                      struct th_coordinator_options options, struct stopper *stopper,
                      struct th_error *error)
{
    struct th_rpc_hub *others[TH_HUBS_MAX];
    *fleet = (struct fleet){.count = hubs->count};
    for (size_t i = 1; i < fleet->count; i++) {
        const struct th_coordinator_options other = of_another(&options, hubs->names[i]);
        fleet->coordinators[i] = start(&other, stopper, error);
        if (!fleet->coordinators[i])
            return false;
        others[i - 1] = th_coordinator_rpc(fleet->coordinators[i]);
    }
    options.rpc.hubs = others;
    options.rpc.hub_count = fleet->count - 1;
    fleet->coordinators[0] = start(&options, stopper, error);
    return fleet->coordinators[0] != NULL;
}

static void stop_all(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        th_coordinator_stop(fleet->coordinators[i]);
}

static bool check_all(const struct fleet *fleet, struct th_error *error)
{
    for (size_t i = 0; i < fleet->count; i++)
        if (!th_coordinator_check(fleet->coordinators[i], error))
            return false;
    return true;
}

/* True: serve on, a hub that was made again. */
static bool serve(const struct fleet *fleet, const struct th_coordinator_options *options,
                  struct stopper *stopper, struct th_error *error)
{
    bool stopped;
    bool same = true;
    set_serving(stopper, true);
    say_started(fleet, options);
    while (!(stopped = stop_wanted(stopper, CHECK_INTERVAL)) && (same = check_all(fleet, error))) {
    }
    error->code = same ? TH_OK : error->code;
    if (!same)
        th_log(options->log, TH_LOG_WARN, "coordinator", "%s", error->message);
    return !stopped && error->code == TH_PRECONDITION;
}

static int run(const struct th_coordinator_program *program, struct stopper *stopper)
{
    struct th_coordinator_options options;
    struct fleet fleet;
    struct th_error error = {.code = TH_OK};
    bool started, again;
    if (!th_coordinator_options_of(program, &options, &error)) {
        fprintf(stderr, "taskhub-coordinator: %s\n", error.message);
        return EXIT_USAGE;
    }
    do {
        started = start_all(&fleet, &program->hubs, options, stopper, &error);
        again = started && serve(&fleet, &options, stopper, &error);
        stop_all(&fleet);
        set_serving(stopper, false);
    } while (again);
    if (!started)
        fprintf(stderr, "taskhub-coordinator: %s\n", error.message);
    return error.code == TH_OK ? EXIT_OK : EXIT_ERROR;
}

int main(int argc, char **argv)
{
    static struct stopper stopper; /* its thread outlives what main has on its stack */
    struct th_coordinator_program program = {.hubs = {.count = 0}};
    struct th_error error;
    int code = EXIT_ERROR;
    mallopt(M_ARENA_MAX, 2); /* an arena per thread costs more memory than it saves time */
    switch (th_coordinator_read(&program, argc, argv, &error)) {
    case TH_TOLD_RUN:
        if (stopper_init(&stopper))
            code = run(&program, &stopper);
        break;
    case TH_TOLD_HELP:
        code = EXIT_OK;
        break;
    case TH_TOLD_WRONG:
        fprintf(stderr, "taskhub-coordinator: %s\nTry: taskhub-coordinator --help\n",
                error.message);
        code = EXIT_USAGE;
    }
    th_coordinator_program_deinit(&program);
    return code;
}
