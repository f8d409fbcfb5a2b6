#include "worker/arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/memory.h"

#define MOST_RECORDERS 1000 /* workers of one hub on one machine that share a folder */

static const struct th_argument rows[] = {
#define X(...) TH_ARGUMENT_ROW(struct th_worker_arguments, __VA_ARGS__)
    TH_WORKER_ARGUMENTS(X)
#undef X
};

static struct th_arguments describe(struct th_argument_group groups[static 2],
                                    struct th_worker_arguments *arguments)
{
    groups[0] = (struct th_argument_group){"The fleet", th_fleet_arguments, th_fleet_argument_count,
                                           &arguments->fleet};
    groups[1] = (struct th_argument_group){"The worker", rows, TH_COUNT(rows), arguments};
    return (struct th_arguments){
        .program = "taskhub-worker",
        .summary = "run an application on a hub that many workers share",
        .text =
            "Loads the application, joins the other workers of the hub and takes its share of\n"
            "the partitions and activities. Programs with a Durable Task SDK (Python, JavaScript,\n"
            ".NET, Java, Go) connect to any of the workers, and run what is theirs. Workers may come and go at any time: what one of them\n"
            "ran, another goes on with. State lies in Kafka; Redis answers queries and can be lost.\n"
            "SIGTERM hands the partitions over at once and waits for running activities; a second\n"
            "signal ends the process.",
        .examples =
            "  taskhub-worker --app ./apps/hello-cities.so --create --port 7071\n"
            "  TASKHUB_KAFKA=kafka:9092 TASKHUB_REDIS=redis:6379 taskhub-worker --app ./app.so\n"
            "  taskhub-worker --app ./app.so -X security.protocol=ssl -X "
            "ssl.ca.location=/etc/ca.pem\n",
        .groups = groups,
        .group_count = 2,
    };
}

/* ---- settings -------------------------------------------------------------------------------- */

static bool name_hubs(struct th_worker_setup *setup, struct th_error *error)
{
    const struct th_worker_arguments *a = &setup->arguments;
    struct th_str given = a->fleet.hub ? th_str_of(a->fleet.hub) : setup->settings.hub_name;
    if (!th_hub_names_parse(&setup->hubs, given, error))
        return false;
    return setup->hubs.count == 1 || !a->app ||
           th_fail(error, TH_INVALID, "--hub names one hub: an application has no more");
}

static bool load_settings(struct th_worker_setup *setup, struct th_error *error)
{
    const struct th_worker_arguments *a = &setup->arguments;
    TH_AUTOFREE char *path = th_str_dup(th_str_of(a->app));
    struct th_settings_source source = {
        .directory = a->host_json ? a->host_json
                     : path       ? dirname(path)
                                  : NULL,
        .environment = th_settings_getenv,
    };
    if (!th_settings_load(&source, &setup->settings, error))
        return false;
    const struct th_settings *s = &setup->settings;
    setup->default_version = th_str_dup(s->default_version);
    setup->route_prefix = th_str_dup(s->route_prefix);
    return name_hubs(setup, error);
}

static void set_level(struct th_worker_setup *setup)
{
    static const enum th_level levels[] = {
        [TH_LOG_LEVEL_TRACE] = TH_LOG_DEBUG,      [TH_LOG_LEVEL_DEBUG] = TH_LOG_DEBUG,
        [TH_LOG_LEVEL_INFORMATION] = TH_LOG_INFO, [TH_LOG_LEVEL_WARNING] = TH_LOG_WARN,
        [TH_LOG_LEVEL_ERROR] = TH_LOG_ERROR,      [TH_LOG_LEVEL_CRITICAL] = TH_LOG_ERROR,
        [TH_LOG_LEVEL_NONE] = TH_LOG_ERROR};
    setup->log.fd = STDERR_FILENO;
    setup->log.level = levels[setup->settings.log_level];
}

static bool choose_placement(struct th_worker_setup *setup, struct th_error *error)
{
    const char *given = setup->arguments.placement;
    TH_AUTOFREE char *set = th_str_dup(setup->settings.placement);
    const char *text = given ? given : set;
    return th_placement_parse(text, &setup->placement) ||
           th_fail(error, TH_INVALID, "%s is auto, shared or local, not \"%.40s\"",
                   given ? "--placement" : "storageProvider.placement in host.json", text);
}

static int64_t given(int64_t argument, int64_t otherwise)
{
    return argument == TH_NOT_GIVEN ? otherwise : argument;
}

static void count_threads(struct th_worker_setup *setup)
{
    int processors = get_nprocs();
    int64_t usual = processors < 2 ? 4 : processors * 2;
    int64_t set = setup->settings.max_activities ? setup->settings.max_activities : usual;
    int64_t chosen = given(setup->arguments.activities, set);
    setup->activity_threads = (unsigned)(chosen > 0 ? chosen : 1);
}

/* What the whole worker may run, shared out; none goes without. 0: the usual. */
static size_t entities_per_thread(const struct th_worker_setup *setup)
{
    int64_t threads = given(setup->arguments.threads, 1);
    int64_t all = setup->settings.max_entities;
    return (size_t)((all + threads - 1) / (threads > 0 ? threads : 1));
}

static bool check(const struct th_worker_setup *setup, struct th_error *error)
{
    const struct th_worker_arguments *a = &setup->arguments;
    if (a->isolate && !a->app)
        return th_fail(error, TH_INVALID, "--isolate needs an application: --app APP.so");
    if (!a->rpc_certificate != !a->rpc_key)
        return th_fail(error, TH_INVALID, "--rpc-certificate and --rpc-key belong together");
    if (a->isolate && given(a->threads, 1) > 1)
        return th_fail(error, TH_INVALID, "--isolate has one thread for orchestrators");
    return true;
}

/* Before anybody is waited for. */
static bool check_http(struct th_worker_setup *setup, struct th_error *error)
{
    const struct th_fleet_worker_options options = th_worker_options(setup, NULL);
    return th_http_check(&options.http, error);
}

static bool make_sense(struct th_worker_setup *setup, struct th_error *error)
{
    if (!check(setup, error) || !load_settings(setup, error))
        return false;
    set_level(setup);
    count_threads(setup);
    return choose_placement(setup, error) &&
           th_fleet_log(&setup->arguments.fleet, &setup->log, error) &&
           th_fleet_place(&setup->arguments.fleet, &setup->log, &setup->place, error) &&
           check_http(setup, error);
}

/* ---- the state folder ------------------------------------------------------------------------ */

static char *state_folder(const struct th_worker_arguments *a)
{
    TH_BUFFER path = {0};
    const char *home;
    if (a->state)
        th_buffer_text(&path, a->state);
    else if ((home = getenv("STATE_DIRECTORY")))
        th_buffer_text(&path, home);
    else if ((home = getenv("XDG_STATE_HOME")))
        th_buffer_format(&path, "%s/taskhub", home);
    else if ((home = getenv("HOME")))
        th_buffer_format(&path, "%s/.local/state/taskhub", home);
    else
        th_buffer_text(&path, "/var/tmp/taskhub");
    return th_buffer_take(&path);
}

/* As mkdir -p. */
static bool make_folder(char *path, struct th_error *error)
{
    for (char *at = path + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        mkdir(path, 0755);
        *at = '/';
    }
    return mkdir(path, 0755) == 0 || errno == EEXIST ||
           th_fail(error, TH_IO, "the folder %s cannot be made: %s", path, strerror(errno));
}

/* Each worker of a hub on this machine has a recorder of its own, and the next start of it the same
 * one: the first that nobody holds. The lock is the supervisor's, so it outlives the work's
 * process.
 */
static bool choose_recorder(struct th_worker_setup *setup, struct th_error *error)
{
    TH_AUTOFREE char *folder = state_folder(&setup->arguments);
    if (!make_folder(folder, error))
        return false;
    for (int i = 0; i < MOST_RECORDERS; i++) {
        TH_AUTOFREE char *lock = NULL;
        free(setup->flight);
        setup->flight = NULL;
        if (asprintf(&setup->flight, "%s/%s-%d.flight", folder, setup->hubs.names[0], i) < 0 ||
            asprintf(&lock, "%s.lock", setup->flight) < 0)
            return th_fail(error, TH_INTERNAL, "out of memory");
        setup->flight_lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (setup->flight_lock < 0)
            return th_fail(error, TH_IO, "%s cannot be opened: %s", lock, strerror(errno));
        if (flock(setup->flight_lock, LOCK_EX | LOCK_NB) == 0)
            return true;
        close(setup->flight_lock);
        setup->flight_lock = -1;
    }
    return th_fail(error, TH_IO, "too many workers of hub %s share the folder %s",
                   setup->hubs.names[0], folder);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void warn_of_settings(const struct th_worker_setup *setup)
{
    for (size_t i = 0; i < setup->settings.warning_count; i++)
        th_log(&setup->log, TH_LOG_WARN, "settings", "%.*s", TH_PRI(setup->settings.warnings[i]));
}

static enum th_setup_result refuse(enum th_setup_result result, const struct th_error *error)
{
    fprintf(stderr, "taskhub-worker: %s\n", error->message);
    if (result == TH_SETUP_USAGE)
        fprintf(stderr, "Try: taskhub-worker --help\n");
    return result;
}

enum th_setup_result th_worker_setup(struct th_worker_setup *setup, int argc, char **argv)
{
    struct th_argument_group groups[2];
    struct th_arguments arguments = describe(groups, &setup->arguments);
    struct th_error error = {.code = TH_OK};
    bool help = false;
    *setup = (struct th_worker_setup){.flight_lock = -1};
    if (!th_arguments_parse(&arguments, argc, argv, &help, &error))
        return refuse(TH_SETUP_USAGE, &error);
    if (help) {
        th_arguments_help(&arguments, stdout);
        return TH_SETUP_HELP;
    }
    if (!make_sense(setup, &error))
        return refuse(TH_SETUP_USAGE, &error);
    if (!choose_recorder(setup, &error))
        return refuse(TH_SETUP_FAILED, &error);
    warn_of_settings(setup);
    return TH_SETUP_DONE;
}

void th_worker_setup_deinit(struct th_worker_setup *setup)
{
    struct th_argument_group groups[2];
    struct th_arguments arguments = describe(groups, &setup->arguments);
    th_arguments_deinit(&arguments);
    th_fleet_place_deinit(&setup->place);
    th_settings_deinit(&setup->settings);
    if (setup->flight_lock >= 0)
        close(setup->flight_lock);
    th_hub_names_deinit(&setup->hubs);
    free(setup->default_version);
    free(setup->route_prefix);
    free(setup->flight);
}

struct th_kafka_hub_options th_worker_hub_options(const struct th_worker_setup *setup,
                                                  const char *hub)
{
    return (struct th_kafka_hub_options){
        .name = hub,
        .partitions = (uint32_t)given(setup->arguments.partitions, setup->settings.partitions),
        .replication = (int)given(setup->arguments.replication, 0),
    };
}

struct th_fleet_worker_options th_worker_options(struct th_worker_setup *setup,
                                                 const struct th_kafka_hub *hub)
{
    const struct th_worker_arguments *a = &setup->arguments;
    const struct th_settings *s = &setup->settings;
    int64_t timeout = s->function_timeout == TH_DURATION_NONE ? 0 : s->function_timeout;
    return (struct th_fleet_worker_options){
        .place = &setup->place,
        .hub = hub,
        .application = a->app,
        .threads = (unsigned)given(a->threads, 1),
        .placement = setup->placement,
        .session_ms = given(a->session_timeout, 0),
        .host = {.log = &setup->log,
                 .activity_threads = setup->activity_threads,
                 .function_timeout_ms = given(a->function_timeout, timeout),
                 .episode_limit_ms = given(a->episode_limit, 0),
                 .replay_always = a->replay_always,
                 .max_operations = (size_t)s->entity_batch,
                 .max_entities = entities_per_thread(setup),
                 .version_match = s->version_match,
                 .version_failure = s->version_failure},
        .default_version = setup->default_version,
        .reuse = th_settings_reuse(s),
        .http = {.address = a->address,
                 .port = (int)given(a->port, TH_HTTP_CLOSED),
                 .api_key = a->key,
                 .route_prefix = setup->route_prefix,
                 .trust_forwarded = s->forwarded_host},
        .serve_rpc = true,
        .rpc = {.address = a->address,
                .port = (int)given(a->rpc_port, a->app ? 0 : TH_RPC_PORT),
                .key = a->key,
                .certificate = a->rpc_certificate,
                .private_key = a->rpc_key,
                .client_ca = a->rpc_client_ca,
                .message_bytes = (size_t)s->max_rpc_message},
    };
}
