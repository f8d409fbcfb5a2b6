/*
 * `taskhub-worker`: the supervisor is this process, everything else its child, as with `taskhub
 * dev`. The child loads the application, waits until its hub is there, and works on it until it is
 * told to stop; when the hub is made anew meanwhile it begins anew, too.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "worker/appmain.h"
#include "worker/appproc.h"
#include "worker/arguments.h"
#include "worker/supervisor.h"

#define DEFAULT_DRAIN_MS 30000
#define EXIT_RESTART     TH_APPLICATION_RESTART
#define FIRST_PAUSE      (200 * TH_MILLISECOND)
#define LAST_PAUSE       (5 * TH_SECOND)
#define SAY_AGAIN        (60 * TH_SECOND)
#define CHECK_INTERVAL   (10 * TH_SECOND)
#define DOUBT_INTERVAL   (3 * TH_SECOND) /* between two checks of a hub that lacks something */
#define BROKER_PATIENCE  (3 * TH_SECOND) /* for questions about the hub */

enum { EXIT_OK = 0, EXIT_ERROR = 1, EXIT_USAGE = 2 };

/* A hub that is worked on. */
struct served {
    const char *name;
    struct th_kafka_hub hub;
    struct th_fleet_worker *worker;
    char said[512]; /* the last sentence about what is waited for */
    th_time said_at;
    bool doubted; /* the hub lacked something when it was looked at last */
};

struct program {
    struct th_worker_setup setup;
    /* in the child */
    struct served hubs[TH_HUBS_MAX]; /* the first one's endpoint serves all of them */
    size_t hub_count;
    struct th_fleet_worker *others[TH_HUBS_MAX]; /* the workers of all but the first */
    struct th_supervised *self;
    const struct th_app *app; /* with --isolate its names only */
    struct th_app *loaded;    /* NULL with --isolate */
    struct th_appproc *proc;  /* with --isolate */
    struct th_runner runner;
    struct th_flight *flight;
};

static void on_exhausted(void *argument, const char *reason)
{
    const struct program *program = argument;
    if (program->self)
        _exit(EXIT_RESTART);
}

/* ---- the application ------------------------------------------------------------------------- */

static bool load_apart(struct program *program, struct th_error *error)
{
    struct th_fleet_worker_options worker =
        th_worker_options(&program->setup, &program->hubs[0].hub);
    struct th_appproc_options options = {
        .application = program->setup.arguments.app,
        .flight = program->setup.flight,
        .default_version = program->setup.default_version,
        .reuse = worker.reuse,
        .host = &worker.host,
    };
    program->proc = th_appproc_start(&options, error);
    if (!program->proc)
        return false;
    program->runner = th_appproc_runner(program->proc);
    program->app = th_appproc_app(program->proc);
    return true;
}

static bool load(struct program *program, struct th_error *error)
{
    if (!program->setup.arguments.app)
        return true;
    if (program->setup.arguments.isolate)
        return load_apart(program, error);
    program->app = program->loaded = th_app_load(program->setup.arguments.app, error);
    if (!program->app)
        return false;
    bool after_exit = th_supervised_after_exit(program->self);
    program->flight = th_flight_open(program->setup.flight, after_exit, error);
    return program->flight && th_flight_guard_process(program->flight, error);
}

static void unload(struct program *program)
{
    th_appproc_free(program->proc);
    th_flight_close(program->flight);
    th_app_free(program->loaded);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* The same sentence is said once, and again after a while. */
static void say_waiting(struct program *program, struct served *served, const char *sentence)
{
    th_time now = th_monotonic();
    if (strcmp(sentence, served->said) == 0 && now - served->said_at < SAY_AGAIN)
        return;
    snprintf(served->said, sizeof served->said, "%s", sentence);
    served->said_at = now;
    th_log(&program->setup.log, TH_LOG_WARN, "worker", "%s; trying again", sentence);
}

static bool will_never_do(const struct th_error *error)
{
    return error->code == TH_INVALID || error->code == TH_UNSUPPORTED || error->code == TH_INTERNAL;
}

static struct th_kafka_cluster hasty(const struct program *program)
{
    struct th_kafka_cluster cluster = program->setup.place.cluster;
    cluster.patience = BROKER_PATIENCE;
    return cluster;
}

static bool make_hub(struct program *program, struct served *served, struct th_error *error)
{
    struct th_kafka_cluster cluster = hasty(program);
    const struct th_kafka_hub_options options =
        th_worker_hub_options(&program->setup, served->name);
    if (!th_kafka_create_hub(&cluster, &options, &served->hub, error))
        return error->code == TH_EXISTS; /* another worker was faster */
    th_log(&program->setup.log, TH_LOG_INFO, "worker",
           "hub %s was made, with %" PRIu32 " partitions", options.name, options.partitions);
    return true;
}

static bool find_hub(struct program *program, struct served *served, struct th_error *error)
{
    struct th_kafka_cluster cluster = hasty(program);
    if (th_kafka_find_hub(&cluster, served->name, &served->hub, error))
        return true;
    if (error->code != TH_NOT_FOUND)
        return false;
    if (program->setup.arguments.create)
        return make_hub(program, served, error);
    return th_fail(error, TH_NOT_FOUND,
                   "there is no hub %s at %s (make it with --create, or with `taskhub hub create "
                   "%s --kafka %s`)",
                   served->name, cluster.brokers, served->name, cluster.brokers);
}

static bool start_worker(struct program *program, struct served *served, struct th_error *error)
{
    struct th_fleet_worker_options options = th_worker_options(&program->setup, &served->hub);
    options.host.app = program->app;
    options.host.flight = program->flight;
    options.exhausted = on_exhausted;
    options.argument = program;
    options.host.runner = program->proc ? &program->runner : NULL;
    if (program->proc)
        options.http.remote = th_appproc_remote(program->proc);
    options.rpc_elsewhere = served != program->hubs;
    if (options.rpc_elsewhere) {
        options.http.port = TH_HTTP_CLOSED;
    } else {
        options.others = program->others;
        options.other_count = program->hub_count - 1;
    }
    served->worker =
        find_hub(program, served, error) ? th_fleet_worker_start(&options, error) : NULL;
    return served->worker != NULL;
}

/* Until the worker works, or it is told to stop: false, and a code of TH_OK. */
static bool bring_up(struct program *program, struct served *served, struct th_error *error)
{
    for (th_time pause = FIRST_PAUSE; !start_worker(program, served, error);) {
        if (will_never_do(error))
            return false;
        say_waiting(program, served, error->message);
        if (th_supervised_wait_for(program->self, pause)) {
            error->code = TH_OK;
            return false;
        }
        pause = pause * 2 < LAST_PAUSE ? pause * 2 : LAST_PAUSE;
    }
    served->said[0] = '\0';
    return true;
}

/* The first one last: its endpoint is open when all that it serves is there. */
static bool bring_all_up(struct program *program, struct th_error *error)
{
    for (size_t i = program->hub_count; i-- > 0;) {
        if (!bring_up(program, &program->hubs[i], error))
            return false;
        if (i > 0)
            program->others[i - 1] = program->hubs[i].worker;
    }
    return true;
}

/* ---- what the user sees ---------------------------------------------------------------------- */

static void print_names(const char *title, char *names)
{
    if (names && *names)
        printf("  %-15s%s\n", title, names);
    free(names);
}

static void print_banner(const struct program *program)
{
    struct th_fleet_worker *worker = program->hubs[0].worker;
    struct th_http *http = th_fleet_worker_http(worker);
    const char *url = http ? th_http_url(http) : NULL;
    const char *application = program->setup.arguments.app;
    printf("Taskhub " TASKHUB_VERSION " works on hub %s with %s\n", program->hubs[0].name,
           application ? application : "programs that connect to it");
    printf("  %-15s%s\n", "worker", th_fleet_worker_name(worker));
    printf("  %-15s%" PRIu32 " in all\n", "partitions", program->hubs[0].hub.record.partitions);
    for (size_t i = 1; i < program->hub_count; i++)
        printf("  %-15s%s\n", i > 1 ? "" : "more hubs", program->hubs[i].name);
    printf("  %-15s%s\n", "Kafka", program->setup.place.cluster.brokers);
    if (url)
        printf("  %-15s%s\n", "API", url);
    if (th_fleet_worker_rpc_url(worker))
        printf("  %-15s%s\n", "RPC", th_fleet_worker_rpc_url(worker));
    if (program->app) {
        print_names("orchestrators", th_app_orchestrator_names(program->app));
        print_names("activities", th_app_activity_names(program->app));
        print_names("entities", th_app_entity_names(program->app));
    }
    fflush(stdout);
}

/* ---- running --------------------------------------------------------------------------------- */

/* False: the hub is another one than this worker's, or lacks a topic at the second look, too, and
 * the worker has to begin anew: whoever makes a topic again makes an empty one, and positions of
 * the former would hide what comes in. A hub that is gone is waited for: its brokers may only have
 * lost their memory of it for a moment. What clients send meanwhile would have nobody to do it. */
static bool check_hub(struct program *program, struct served *served)
{
    struct th_kafka_cluster cluster = hasty(program);
    struct th_error error = {.code = TH_OK};
    struct th_kafka_hub found;
    if (!th_kafka_find_hub(&cluster, served->name, &found, &error)) {
        const bool doubted = served->doubted;
        served->doubted = error.code == TH_IO || error.code == TH_PRECONDITION;
        if (error.code == TH_NOT_FOUND || served->doubted) {
            say_waiting(program, served, error.message);
            th_fleet_worker_bar(served->worker, error.message);
        }
        if (!doubted || !served->doubted)
            return true;
        th_log(&program->setup.log, TH_LOG_WARN, "worker",
               "hub %s is still not complete: this worker begins anew when it is", served->name);
        return false;
    }
    served->said[0] = '\0';
    served->doubted = false;
    th_fleet_worker_bar(served->worker, NULL);
    if (found.record.incarnation == served->hub.record.incarnation)
        return true;
    th_log(&program->setup.log, TH_LOG_WARN, "worker",
           "hub %s was deleted and made anew: this worker begins anew, too", served->name);
    return false;
}

static bool doubts(const struct program *program)
{
    bool any = false;
    for (size_t i = 0; i < program->hub_count; i++)
        any |= program->hubs[i].doubted;
    return any;
}

static bool check_hubs(struct program *program)
{
    bool ok = true;
    for (size_t i = 0; i < program->hub_count; i++)
        ok &= check_hub(program, &program->hubs[i]);
    return ok;
}

/* True: told to stop. */
static bool work(struct program *program)
{
    for (size_t i = 0; i < program->hub_count; i++)
        program->hubs[i].doubted = false;
    while (
        !th_supervised_wait_for(program->self, doubts(program) ? DOUBT_INTERVAL : CHECK_INTERVAL))
        if (!check_hubs(program))
            return false;
    return true;
}

static int64_t left_until(th_time deadline)
{
    int64_t left = (deadline - th_monotonic()) / TH_MILLISECOND;
    return left > 0 ? left : 0;
}

/* Others take over all hubs at once; programs finish what they have of any of them while the
 * endpoint is there, which the first one closes. */
static bool stop_all(struct program *program, th_time deadline)
{
    bool ended = true;
    for (size_t i = 0; i < program->hub_count; i++)
        if (program->hubs[i].worker)
            th_fleet_worker_leave(program->hubs[i].worker);
    for (size_t i = 1; i < program->hub_count; i++)
        if (program->hubs[i].worker)
            th_fleet_worker_quiet(program->hubs[i].worker, deadline);
    for (size_t i = 0; i < program->hub_count; i++) {
        ended &= th_fleet_worker_stop(program->hubs[i].worker, left_until(deadline));
        program->hubs[i].worker = NULL;
    }
    return ended;
}

static void stop(struct program *program, int64_t drain_ms, int code)
{
    if (stop_all(program, th_monotonic() + drain_ms * TH_MILLISECOND))
        return;
    th_log(&program->setup.log, TH_LOG_WARN, "worker",
           "stopped before all had come to its end; other workers go on with it");
    fflush(NULL);
    _exit(code);
}

/* librdkafka may never come back from closing a consumer whose topic was deleted. Nothing goes on
 * without it anyway, and others notice the silence. */
static void end_without_topics(void)
{
    fflush(NULL);
    _exit(EXIT_RESTART);
}

static int work_on(struct program *program, struct th_error *error)
{
    int64_t drain = program->setup.arguments.drain;
    bool told = false;
    drain = drain == TH_NOT_GIVEN ? DEFAULT_DRAIN_MS : drain;
    while (!told) {
        if (!bring_all_up(program, error)) {
            int code = error->code == TH_OK ? EXIT_OK : EXIT_ERROR;
            stop(program, 0, code);
            return code;
        }
        print_banner(program);
        told = work(program);
        if (!told && doubts(program))
            end_without_topics();
        if (told)
            th_log(&program->setup.log, TH_LOG_INFO, "worker",
                   "stopping; activities that run get up to %" PRId64 " ms", drain);
        if (told && program->proc)
            th_appproc_quiet(program->proc);
        stop(program, told ? drain : 0, told ? EXIT_OK : EXIT_RESTART);
    }
    return EXIT_OK;
}

static int run(void *argument, struct th_supervised *self, unsigned restarts)
{
    struct program *program = argument;
    struct th_error error = {.code = TH_OK};
    int code = EXIT_ERROR;
    mallopt(M_ARENA_MAX, 2); /* an arena per thread costs more memory than it saves time */
    program->self = self;
    program->hub_count = program->setup.hubs.count;
    for (size_t i = 0; i < program->hub_count; i++)
        program->hubs[i] = (struct served){.name = program->setup.hubs.names[i]};
    if (load(program, &error)) {
        th_supervised_ready(self);
        code = work_on(program, &error);
    }
    unload(program);
    if (code != EXIT_OK)
        fprintf(stderr, "taskhub-worker: %s\n", error.message);
    return code;
}

static int supervise(struct program *program)
{
    if (program->setup.arguments.no_supervisor) {
        th_supervised_block();
        return run(program, NULL, 0);
    }
    const struct th_supervisor_options options = {
        .log = &program->setup.log, .run = run, .argument = program, .restart_code = EXIT_RESTART};
    return th_supervise(&options);
}

int main(int argc, char **argv)
{
    struct program program = {.self = NULL};
    int code = EXIT_ERROR;
    if (argc == 3 && strcmp(argv[1], TH_APPLICATION_COMMAND) == 0)
        return th_appmain(argv[2]); /* started by --isolate */
    if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
        puts("taskhub-worker " TASKHUB_VERSION);
        return EXIT_OK;
    }
    switch (th_worker_setup(&program.setup, argc, argv)) {
    case TH_SETUP_DONE:
        code = supervise(&program);
        break;
    case TH_SETUP_HELP:
        code = EXIT_OK;
        break;
    case TH_SETUP_USAGE:
        code = EXIT_USAGE;
        break;
    case TH_SETUP_FAILED:
        break;
    }
    th_worker_setup_deinit(&program.setup);
    return code;
}
