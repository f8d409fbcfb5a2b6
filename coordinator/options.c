#include "coordinator/options.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"

#define DEFAULT_PORT 7071

static const struct th_argument own_arguments[] = {
#define X(...) TH_ARGUMENT_ROW(struct th_coordinator_arguments, __VA_ARGS__)
    TH_COORDINATOR_ARGUMENTS(X)
#undef X
};

static const char text[] =
    "Makes the hub when it is missing, serves the HTTP API of Durable Functions for it, tells lag and\n"
    "metrics, warns when a partition stays without an owner, drops processed activity messages, and\n"
    "purges old instances if a policy says so. It runs no functions: workers do. It keeps nothing of\n"
    "its own, so several may run, and with none of them the workers go on. When Kafka or Redis are\n"
    "not there it says so, and goes on when they are.\n";

static const char examples[] =
    "  taskhub-coordinator                                    # everything on this machine\n"
    "  taskhub-coordinator --kafka broker-1:9092,broker-2:9092 --redis redis-1 --hub Orders\n"
    "  taskhub-coordinator --address 0.0.0.0 --key \"$KEY\" --purge-after 30d --purge-status Completed\n";

/* ---- reading --------------------------------------------------------------------------------- */

static bool load_settings(struct th_coordinator_program *program, struct th_error *error)
{
    const struct th_settings_source source = {.directory = program->own.host_json,
                                              .environment = th_settings_getenv};
    if (!th_settings_load(&source, &program->settings, error))
        return false;
    program->default_version = th_str_dup(program->settings.default_version);
    return th_hub_names_parse(
        &program->hubs,
        program->fleet.hub ? th_str_of(program->fleet.hub) : program->settings.hub_name, error);
}

static bool set_log(struct th_coordinator_program *program, struct th_error *error)
{
    program->log = (struct th_log){.level = TH_LOG_INFO, .fd = STDERR_FILENO};
    th_settings_level(&program->settings, TH_STR("coordinator"), &program->log.level);
    return th_fleet_log(&program->fleet, &program->log, error);
}

static void warn_of_settings(const struct th_coordinator_program *program)
{
    for (size_t i = 0; i < program->settings.warning_count; i++)
        th_log(&program->log, TH_LOG_WARN, "settings", "%.*s",
               TH_PRI(program->settings.warnings[i]));
}

enum th_told th_coordinator_read(struct th_coordinator_program *program, int argc, char **argv,
                                 struct th_error *error)
{
    bool help = false;
    const struct th_argument_group groups[] = {
        {"The fleet", th_fleet_arguments, th_fleet_argument_count, &program->fleet},
        {"The coordinator", own_arguments, TH_COUNT(own_arguments), &program->own}};
    const struct th_arguments arguments = {.program = "taskhub-coordinator",
                                           .summary = "serves the API of a hub on Kafka and Redis",
                                           .text = text,
                                           .examples = examples,
                                           .groups = groups,
                                           .group_count = TH_COUNT(groups)};
    if (!th_arguments_parse(&arguments, argc, argv, &help, error))
        return TH_TOLD_WRONG;
    if (help) {
        th_arguments_help(&arguments, stdout);
        return TH_TOLD_HELP;
    }
    if (!load_settings(program, error) || !set_log(program, error) ||
        !th_fleet_place(&program->fleet, &program->log, &program->place, error))
        return TH_TOLD_WRONG;
    warn_of_settings(program);
    return TH_TOLD_RUN;
}

void th_coordinator_program_deinit(struct th_coordinator_program *program)
{
    const struct th_argument_group groups[] = {
        {"", th_fleet_arguments, th_fleet_argument_count, &program->fleet}};
    const struct th_arguments arguments = {.groups = groups, .group_count = TH_COUNT(groups)};
    th_fleet_place_deinit(&program->place);
    th_settings_deinit(&program->settings);
    th_hub_names_deinit(&program->hubs);
    free(program->default_version);
    th_arguments_deinit(&arguments);
}

/* ---- what follows from it -------------------------------------------------------------------- */

static int64_t given(int64_t option, int64_t otherwise)
{
    return option == TH_NOT_GIVEN ? otherwise : option;
}

static bool purge_policy_of(const struct th_coordinator_program *program,
                            struct th_purge_policy *out, struct th_error *error)
{
    const struct th_coordinator_arguments *own = &program->own;
    const struct th_settings *settings = &program->settings;
    TH_AUTOFREE char *from_settings = th_str_dup(settings->purge_statuses);
    *out = (struct th_purge_policy){
        .age_ms = given(own->purge_after, settings->purge_age),
        .recursive = own->purge_recursive || settings->purge_recursive,
        .rate = (unsigned)given(own->purge_rate, settings->purge_rate),
    };
    return th_purge_statuses(own->purge_status ? own->purge_status : from_settings, &out->statuses,
                             error);
}

static bool fits(const struct th_coordinator_program *program, struct th_error *error)
{
    return program->hubs.count == 1 || program->own.rpc_port != TH_NOT_GIVEN ||
           th_fail(error, TH_INVALID,
                   "--hub names several hubs, which clients reach over RPC alone: that needs "
                   "--rpc-port");
}

bool th_coordinator_options_of(const struct th_coordinator_program *program,
                               struct th_coordinator_options *out, struct th_error *error)
{
    const struct th_coordinator_arguments *own = &program->own;
    const struct th_settings *settings = &program->settings;
    *out = (struct th_coordinator_options){
        .place = &program->place,
        .log = &program->log,
        .hub = program->hubs.names[0],
        .partitions = (uint32_t)given(own->partitions, 0),
        .new_partitions = (uint32_t)settings->partitions,
        .activity_partitions = (uint32_t)given(own->activity_partitions, 0),
        .replication = (int)given(own->replication, 0),
        .default_version = program->default_version,
        .reuse = th_settings_reuse(settings),
        .url = own->url,
        .http = {.address = own->address,
                 .port = (int)given(own->port, DEFAULT_PORT),
                 .api_key = own->key,
                 .trust_forwarded = settings->forwarded_host},
        .serve_rpc = own->rpc_port != TH_NOT_GIVEN,
        .rpc = {.address = own->address,
                .port = (int)given(own->rpc_port, 0),
                .key = own->key,
                .certificate = own->rpc_certificate,
                .private_key = own->rpc_key,
                .client_ca = own->rpc_client_ca,
                .message_bytes = (size_t)settings->max_rpc_message},
    };
    return fits(program, error) && th_http_check(&out->http, error) &&
           purge_policy_of(program, &out->purge, error);
}
