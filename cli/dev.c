/*
 * `taskhub dev`: the supervisor is this process, everything else its child: the application is
 * loaded there, so that not even its loading can take the supervisor down.
 */
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/run.h"
#include "model/settings.h"
#include "worker/appproc.h"
#include "worker/hub.h"
#include "worker/supervisor.h"

#define DEFAULT_PORT     7071
#define DEFAULT_DRAIN_MS 10000
#define NO_RPC           (-1)
#define EXIT_RESTART     75 /* the child asks for a fresh process */

struct dev {
    const struct cli_options *options;
    struct th_log log;
    struct th_settings settings;
    const struct th_app *app; /* with --isolate its names only; NULL: there is none */
    struct th_app *loaded;    /* NULL with --isolate */
    struct th_appproc *proc;  /* with --isolate */
    struct th_runner runner;
    char *flight;
    struct th_hub_names names;
    struct others { /* all but the first, for programs with an SDK */
        struct th_embedded *hubs[TH_HUBS_MAX];
        struct th_rpc_hub *rpc[TH_HUBS_MAX];
        size_t count;
    } others;
    char *default_version;
    char *route_prefix;
    bool supervised;
    /* Shared with every child: the ports that were found free once are kept. */
    struct ports {
        int http, rpc;
    } * ports;
};

/* ---- settings -------------------------------------------------------------------------------- */

static bool set_level(struct dev *dev)
{
    static const enum th_level levels[] = {
        [TH_LOG_LEVEL_TRACE] = TH_LOG_DEBUG,      [TH_LOG_LEVEL_DEBUG] = TH_LOG_DEBUG,
        [TH_LOG_LEVEL_INFORMATION] = TH_LOG_INFO, [TH_LOG_LEVEL_WARNING] = TH_LOG_WARN,
        [TH_LOG_LEVEL_ERROR] = TH_LOG_ERROR,      [TH_LOG_LEVEL_CRITICAL] = TH_LOG_ERROR,
        [TH_LOG_LEVEL_NONE] = TH_LOG_ERROR};
    const char *text = dev->options->log_level;
    dev->log.level = levels[dev->settings.log_level];
    if (!text || th_level_parse(th_str_of(text), &dev->log.level))
        return true;
    fprintf(stderr, "taskhub dev: --log-level is error, warn, info or debug, not \"%s\"\n", text);
    return false;
}

/* The first is the hub; the others are kept beside it. */
static bool name_hubs(struct dev *dev)
{
    struct th_error error;
    struct th_str given = dev->options->hub ? th_str_of(dev->options->hub) : dev->settings.hub_name;
    if (!th_hub_names_parse(&dev->names, given, &error)) {
        fprintf(stderr, "taskhub dev: %s\n", error.message);
        return false;
    }
    dev->others.count = dev->names.count - 1;
    if (dev->others.count == 0 || !dev->options->arguments[0])
        return true;
    fprintf(stderr, "taskhub dev: --hub names one hub: an application has no more\n");
    return false;
}

static bool load_settings(struct dev *dev)
{
    struct th_error error = {.code = TH_OK};
    const char *application = dev->options->arguments[0];
    TH_AUTOFREE char *path = th_str_dup(th_str_of(application ? application : "./here"));
    struct th_settings_source source = {
        .directory = dev->options->host_json ? dev->options->host_json : dirname(path),
        .environment = th_settings_getenv,
    };
    if (!th_settings_load(&source, &dev->settings, &error)) {
        fprintf(stderr, "taskhub dev: %s\n", error.message);
        return false;
    }
    dev->default_version = th_str_dup(dev->settings.default_version);
    dev->route_prefix = th_str_dup(dev->settings.route_prefix);
    return name_hubs(dev);
}

static void warn_of_settings(const struct dev *dev)
{
    for (size_t i = 0; i < dev->settings.warning_count; i++)
        th_log(&dev->log, TH_LOG_WARN, "settings", "%.*s", TH_PRI(dev->settings.warnings[i]));
}

static bool fits(const char *name, int64_t value, int64_t most)
{
    if (value <= most)
        return true;
    fprintf(stderr, "taskhub dev: --%s is at most %" PRId64 "\n", name, most);
    return false;
}

static bool check_options(const struct cli_options *options)
{
    if (options->isolate && !options->arguments[0]) {
        fprintf(stderr, "taskhub dev: --isolate needs an application\n");
        return false;
    }
    if (!options->rpc_certificate != !options->rpc_key) {
        fprintf(stderr, "taskhub dev: --rpc-certificate and --rpc-key belong together\n");
        return false;
    }
    return fits("port", options->port, 65535) && fits("rpc-port", options->rpc_port, 65535) &&
           fits("partitions", options->partitions, 1024) &&
           fits("activities", options->activities, 10000);
}

static int64_t given(int64_t option, int64_t otherwise)
{
    return option == CLI_NOT_GIVEN ? otherwise : option;
}

static int64_t port_of(const struct dev *dev)
{
    int64_t port = dev->settings.local_http_port ? dev->settings.local_http_port : DEFAULT_PORT;
    if (dev->ports->http)
        return dev->ports->http;
    return given(dev->options->port, port);
}

static int rpc_port_of(const struct dev *dev)
{
    if (dev->ports->rpc)
        return dev->ports->rpc;
    return (int)given(dev->options->rpc_port, dev->options->arguments[0] ? NO_RPC : TH_RPC_PORT);
}

static const char *database_of(const struct dev *dev)
{
    return dev->options->db ? dev->options->db : "taskhub.db";
}

static const char *key_of(const struct dev *dev)
{
    return dev->options->key ? dev->options->key : getenv("TASKHUB_KEY");
}

/* ---- what the user sees ---------------------------------------------------------------------- */

static void print_names(const char *title, char *names)
{
    if (names && *names)
        printf("  %-15s%s\n", title, names);
    free(names);
}

static void print_routes(const struct dev *dev, const char *url)
{
    const char *prefix = dev->route_prefix ? dev->route_prefix : "api";
    for (size_t i = 0; i < th_app_http_count(dev->app); i++) {
        const struct th_http_function *http = th_app_http(dev->app, i);
        printf("  %-15s%s %s%s%s/%s\n", i ? "" : "HTTP functions", http->methods, url,
               *prefix ? "/" : "", prefix, http->route);
    }
    for (size_t i = 0; i < th_app_cron_count(dev->app); i++)
        printf("  %-15s%s at \"%s\"\n", i ? "" : "cron functions", th_app_cron(dev->app, i)->name,
               th_app_cron(dev->app, i)->schedule);
}

static void print_try(const struct dev *dev, const char *url)
{
    if (!dev->app) {
        printf(
            "\nNow start a program with a Durable Task SDK: docs/sdk/ has the first ten lines.\n");
        return;
    }
    TH_AUTOFREE char *names = th_app_orchestrator_names(dev->app);
    size_t n = names ? strcspn(names, ",") : 0;
    if (n == 0)
        return;
    bool other_port = port_of(dev) != DEFAULT_PORT;
    printf("\nTry, in another terminal:\n"
           "  curl -X POST %s/runtime/webhooks/durabletask/orchestrators/%.*s\n"
           "  curl %s/runtime/webhooks/durabletask/instances/INSTANCE_ID   # the id it answered\n"
           "  taskhub start %.*s --wait%s%s\n",
           url, (int)n, names, url, (int)n, names, other_port ? " --url " : "",
           other_port ? url : "");
}

static void print_banner(const struct dev *dev, struct th_embedded *hub)
{
    char path[PATH_MAX];
    const struct th_hub_record *record = th_embedded_record(hub);
    const char *url = th_http_url(th_embedded_http(hub));
    const char *application = dev->options->arguments[0];
    printf("Taskhub " TASKHUB_VERSION " runs %s\n", application ? application : "a hub");
    printf("  %-15s%s, %" PRIu32 " partition%s\n", "hub", record->name, record->partitions,
           record->partitions == 1 ? "" : "s");
    printf("  %-15s%s\n", "database", realpath(database_of(dev), path) ? path : database_of(dev));
    printf("  %-15s%s\n", "API", url);
    if (th_embedded_rpc_port(hub))
        printf("  %-15s%s:%d%s\n", "RPC",
               dev->options->address ? dev->options->address : "localhost",
               th_embedded_rpc_port(hub), dev->options->rpc_certificate ? " (TLS)" : "");
    for (size_t i = 0; i < dev->others.count; i++)
        printf("  %-15s%s\n", i ? "" : "more hubs", dev->names.names[i + 1]);
    if (dev->app) {
        print_names("orchestrators", th_app_orchestrator_names(dev->app));
        print_names("activities", th_app_activity_names(dev->app));
        print_names("entities", th_app_entity_names(dev->app));
        print_routes(dev, url);
    }
    print_try(dev, url);
    printf("\nStop with Ctrl-C; what is under way goes on at the next start.\n");
    fflush(stdout);
}

/* ---- running --------------------------------------------------------------------------------- */

static void on_exhausted(void *argument, const char *reason)
{
    const struct dev *dev = argument;
    if (dev->supervised)
        _exit(EXIT_RESTART);
}

static struct th_embedded_options embedded_options(struct dev *dev)
{
    const struct cli_options *options = dev->options;
    const struct th_settings *settings = &dev->settings;
    int64_t timeout =
        settings->function_timeout == TH_DURATION_NONE ? 0 : settings->function_timeout;
    return (struct th_embedded_options){
        .database = database_of(dev),
        .hub = dev->names.names[0],
        .partitions = (uint32_t)given(options->partitions, 0),
        .new_partitions =
            settings->given[TH_SETTING_partitions] ? (uint32_t)settings->partitions : 1,
        .flight = !dev->proc, /* else the application's process has it */
        .default_version = dev->default_version,
        .reuse = th_settings_reuse(settings),
        .host = {.app = dev->app,
                 .log = &dev->log,
                 .activity_threads = (unsigned)given(options->activities, settings->max_activities),
                 .function_timeout_ms = given(options->function_timeout, timeout),
                 .episode_limit_ms = given(options->episode_limit, 0),
                 .replay_always = options->replay_always,
                 .max_operations = (size_t)settings->entity_batch,
                 .max_entities = (size_t)settings->max_entities,
                 .version_match = settings->version_match,
                 .version_failure = settings->version_failure,
                 .runner = dev->proc ? &dev->runner : NULL,
                 .argument = dev,
                 .exhausted = on_exhausted},
        .serve = true,
        .http = {.address = options->address,
                 .port = (int)port_of(dev),
                 .api_key = key_of(dev),
                 .route_prefix = dev->route_prefix,
                 .trust_forwarded = settings->forwarded_host},
        .serve_rpc = rpc_port_of(dev) != NO_RPC,
        .rpc = {.address = options->address,
                .port = rpc_port_of(dev),
                .key = key_of(dev),
                .certificate = options->rpc_certificate,
                .private_key = options->rpc_key,
                .client_ca = options->rpc_client_ca,
                .hubs = dev->others.rpc,
                .hub_count = dev->others.count,
                .message_bytes = (size_t)settings->max_rpc_message},
    };
}

static bool load_apart(struct dev *dev, struct th_error *error)
{
    struct th_embedded_options embedded = embedded_options(dev);
    if (asprintf(&dev->flight, "%s-%s.flight", database_of(dev), dev->names.names[0]) < 0)
        return th_fail(error, TH_INTERNAL, "out of memory");
    struct th_appproc_options options = {
        .application = dev->options->arguments[0],
        .flight = dev->flight,
        .default_version = dev->default_version,
        .reuse = embedded.reuse,
        .host = &embedded.host,
    };
    dev->proc = th_appproc_start(&options, error);
    if (!dev->proc)
        return false;
    dev->runner = th_appproc_runner(dev->proc);
    dev->app = th_appproc_app(dev->proc);
    return true;
}

static bool load(struct dev *dev, struct th_error *error)
{
    if (!dev->options->arguments[0])
        return true;
    if (dev->options->isolate)
        return load_apart(dev, error);
    dev->app = dev->loaded = th_app_load(dev->options->arguments[0], error);
    return dev->loaded != NULL;
}

static void unload(struct dev *dev)
{
    th_appproc_free(dev->proc);
    th_app_free(dev->loaded);
    free(dev->flight);
}

static int fail(const struct th_error *error)
{
    fprintf(stderr, "taskhub dev: %s\n", error->message);
    return error->code == TH_UNAVAILABLE ? CLI_UNAVAILABLE
           : error->code == TH_NOT_FOUND ? CLI_NOT_FOUND
                                         : CLI_ERROR;
}

/* Their endpoint is the hub's. */
static bool start_others(struct dev *dev, struct th_error *error)
{
    for (size_t i = 0; i < dev->others.count; i++) {
        struct th_embedded_options options = embedded_options(dev);
        options.hub = dev->names.names[i + 1];
        options.flight = options.serve = false;
        options.rpc_elsewhere = true;
        dev->others.hubs[i] = th_embedded_start(&options, error);
        if (!dev->others.hubs[i])
            return false;
        dev->others.rpc[i] = th_embedded_rpc(dev->others.hubs[i]);
    }
    return true;
}

/* While the endpoint is there: what their programs do may end. */
static void quiet_others(struct dev *dev, th_time deadline)
{
    for (size_t i = 0; i < dev->others.count; i++)
        th_rpc_quiet(dev->others.rpc[i], deadline);
}

static void stop_others(struct dev *dev)
{
    for (size_t i = 0; i < dev->others.count; i++)
        th_embedded_stop(dev->others.hubs[i], 0);
}

static int stop(struct dev *dev, struct th_embedded *hub)
{
    int64_t drain = given(dev->options->drain, DEFAULT_DRAIN_MS);
    th_log(&dev->log, TH_LOG_INFO, "dev", "stopping; activities that run get up to %" PRId64 " ms",
           drain);
    if (dev->proc)
        th_appproc_quiet(dev->proc);
    quiet_others(dev, th_monotonic() + drain * TH_MILLISECOND);
    if (!th_embedded_stop(hub, drain)) {
        th_log(&dev->log, TH_LOG_WARN, "dev",
               "stopped while activities were running; they run again at the next start");
        fflush(NULL);
        _exit(CLI_OK);
    }
    return CLI_OK;
}

static int run(void *argument, struct th_supervised *self, unsigned restarts)
{
    struct dev *dev = argument;
    struct th_error error = {.code = TH_OK};
    mallopt(M_ARENA_MAX, 2); /* an arena per thread costs more memory than it saves time */
    if (!load(dev, &error)) {
        unload(dev);
        return fail(&error);
    }
    if (!start_others(dev, &error)) {
        stop_others(dev);
        unload(dev);
        return fail(&error);
    }
    struct th_embedded_options options = embedded_options(dev);
    if (dev->proc)
        options.http.remote = th_appproc_remote(dev->proc);
    options.after_exit = th_supervised_after_exit(self);
    struct th_embedded *hub = th_embedded_start(&options, &error);
    if (!hub) {
        stop_others(dev);
        unload(dev);
        return fail(&error);
    }
    *dev->ports = (struct ports){.http = th_http_port(th_embedded_http(hub)),
                                 .rpc = th_embedded_rpc_port(hub)};
    th_supervised_ready(self);
    if (restarts == 0)
        print_banner(dev, hub);
    th_supervised_wait(self);
    int code = stop(dev, hub);
    stop_others(dev);
    unload(dev);
    return code;
}

static int supervise(struct dev *dev)
{
    dev->ports =
        mmap(NULL, sizeof *dev->ports, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (dev->ports == MAP_FAILED)
        return CLI_ERROR;
    if (!dev->supervised) {
        th_supervised_block();
        return run(dev, NULL, 0);
    }
    struct th_supervisor_options options = {
        .log = &dev->log, .run = run, .argument = dev, .restart_code = EXIT_RESTART};
    return th_supervise(&options);
}

int cli_dev(const struct cli_options *options)
{
    struct dev dev = {.options = options, .supervised = !options->no_supervisor};
    dev.log = (struct th_log){.level = TH_LOG_INFO, .fd = STDERR_FILENO, .json = options->log_json};
    int code = CLI_USAGE;
    if (!check_options(options)) {
        /* said already */
    } else if (!load_settings(&dev)) {
        code = CLI_ERROR;
    } else if (set_level(&dev)) {
        warn_of_settings(&dev);
        code = supervise(&dev);
    }
    th_hub_names_deinit(&dev.names);
    free(dev.default_version);
    free(dev.route_prefix);
    th_settings_deinit(&dev.settings);
    return code;
}
