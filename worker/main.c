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

struct program {
    struct th_worker_setup setup;
    /* in the child */
    struct th_supervised *self;
    const struct th_app *app; /* with --isolate its names only */
    struct th_app *loaded;    /* NULL with --isolate */
    struct th_appproc *proc;  /* with --isolate */
    struct th_runner runner;
    struct th_flight *flight;
    struct th_kafka_hub hub;
    char said[512]; /* the last sentence about what is waited for */
    th_time said_at;
    bool doubted; /* the hub lacked something when it was looked at last */
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
    struct th_fleet_worker_options worker = th_worker_options(&program->setup, &program->hub);
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
static void say_waiting(struct program *program, const char *sentence)
{
    th_time now = th_monotonic();
    if (strcmp(sentence, program->said) == 0 && now - program->said_at < SAY_AGAIN)
        return;
    snprintf(program->said, sizeof program->said, "%s", sentence);
    program->said_at = now;
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

static bool make_hub(struct program *program, struct th_error *error)
{
    struct th_kafka_cluster cluster = hasty(program);
    const struct th_kafka_hub_options options = th_worker_hub_options(&program->setup);
    if (!th_kafka_create_hub(&cluster, &options, &program->hub, error))
        return error->code == TH_EXISTS; /* another worker was faster */
    th_log(&program->setup.log, TH_LOG_INFO, "worker",
           "hub %s was made, with %" PRIu32 " partitions", options.name, options.partitions);
    return true;
}

static bool find_hub(struct program *program, struct th_error *error)
{
    struct th_kafka_cluster cluster = hasty(program);
    if (th_kafka_find_hub(&cluster, program->setup.hub, &program->hub, error))
        return true;
    if (error->code != TH_NOT_FOUND)
        return false;
    if (program->setup.arguments.create)
        return make_hub(program, error);
    return th_fail(error, TH_NOT_FOUND,
                   "there is no hub %s at %s (make it with --create, or with `taskhub hub create "
                   "%s --kafka %s`)",
                   program->setup.hub, cluster.brokers, program->setup.hub, cluster.brokers);
}

static struct th_fleet_worker *start_worker(struct program *program, struct th_error *error)
{
    struct th_fleet_worker_options options = th_worker_options(&program->setup, &program->hub);
    options.host.app = program->app;
    options.host.flight = program->flight;
    options.exhausted = on_exhausted;
    options.argument = program;
    options.host.runner = program->proc ? &program->runner : NULL;
    if (program->proc)
        options.http.remote = th_appproc_remote(program->proc);
    if (!find_hub(program, error))
        return NULL;
    return th_fleet_worker_start(&options, error);
}

/* Until the worker works, or it is told to stop: NULL, and a code of TH_OK. */
static struct th_fleet_worker *bring_up(struct program *program, struct th_error *error)
{
    struct th_fleet_worker *worker;
    for (th_time pause = FIRST_PAUSE; !(worker = start_worker(program, error));) {
        if (will_never_do(error))
            return NULL;
        say_waiting(program, error->message);
        if (th_supervised_wait_for(program->self, pause)) {
            error->code = TH_OK;
            return NULL;
        }
        pause = pause * 2 < LAST_PAUSE ? pause * 2 : LAST_PAUSE;
    }
    program->said[0] = '\0';
    return worker;
}

/* ---- what the user sees ---------------------------------------------------------------------- */

static void print_names(const char *title, char *names)
{
    if (names && *names)
        printf("  %-15s%s\n", title, names);
    free(names);
}

static void print_banner(const struct program *program, struct th_fleet_worker *worker)
{
    struct th_http *http = th_fleet_worker_http(worker);
    const char *url = http ? th_http_url(http) : NULL;
    const char *application = program->setup.arguments.app;
    printf("Taskhub " TASKHUB_VERSION " works on hub %s with %s\n", program->setup.hub,
           application ? application : "programs that connect to it");
    printf("  %-15s%s\n", "worker", th_fleet_worker_name(worker));
    printf("  %-15s%" PRIu32 " in all\n", "partitions", program->hub.record.partitions);
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
static bool check_hub(struct program *program, struct th_fleet_worker *worker)
{
    struct th_kafka_cluster cluster = hasty(program);
    struct th_error error = {.code = TH_OK};
    struct th_kafka_hub found;
    if (!th_kafka_find_hub(&cluster, program->setup.hub, &found, &error)) {
        const bool doubted = program->doubted;
        program->doubted = error.code == TH_IO || error.code == TH_PRECONDITION;
        if (error.code == TH_NOT_FOUND || program->doubted) {
            say_waiting(program, error.message);
            th_fleet_worker_bar(worker, error.message);
        }
        if (!doubted || !program->doubted)
            return true;
        th_log(&program->setup.log, TH_LOG_WARN, "worker",
               "hub %s is still not complete: this worker begins anew when it is",
               program->setup.hub);
        return false;
    }
    program->said[0] = '\0';
    program->doubted = false;
    th_fleet_worker_bar(worker, NULL);
    if (found.record.incarnation == program->hub.record.incarnation)
        return true;
    th_log(&program->setup.log, TH_LOG_WARN, "worker",
           "hub %s was deleted and made anew: this worker begins anew, too", program->setup.hub);
    return false;
}

/* True: told to stop. */
static bool work(struct program *program, struct th_fleet_worker *worker)
{
    program->doubted = false;
    while (
        !th_supervised_wait_for(program->self, program->doubted ? DOUBT_INTERVAL : CHECK_INTERVAL))
        if (!check_hub(program, worker))
            return false;
    return true;
}

static void stop(struct program *program, struct th_fleet_worker *worker, int64_t drain_ms,
                 int code)
{
    if (th_fleet_worker_stop(worker, drain_ms))
        return;
    th_log(&program->setup.log, TH_LOG_WARN, "worker",
           "stopped while activities were running; other workers run them again");
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
        struct th_fleet_worker *worker = bring_up(program, error);
        if (!worker)
            return error->code == TH_OK ? EXIT_OK : EXIT_ERROR;
        print_banner(program, worker);
        told = work(program, worker);
        if (!told && program->doubted)
            end_without_topics();
        if (told)
            th_log(&program->setup.log, TH_LOG_INFO, "worker",
                   "stopping; activities that run get up to %" PRId64 " ms", drain);
        if (told && program->proc)
            th_appproc_quiet(program->proc);
        stop(program, worker, told ? drain : 0, told ? EXIT_OK : EXIT_RESTART);
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
