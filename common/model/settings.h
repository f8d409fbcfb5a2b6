/*
 * settings: host.json and local.settings.json, as Durable Functions has them, read into one
 * struct. Programs call this once at start, on their main thread; the result is constant after
 * that and may be read from any thread.
 *
 * A key may stand where host.json 2.0 has it (extensions.durableTask, extensions.http) or where
 * 1.x had it (durableTask, http at the top). Keys are found without regard to case, as the
 * Functions host does. "%Name%" inside a text is replaced by the setting Name: environment first,
 * then local.settings.json. An environment variable AzureFunctionsJobHost__a__b sets a.b and wins
 * over the file. An unknown key is a warning, a wrong value an error.
 *
 * The options are a table: struct, parser, --help and the documentation come from it.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "model/message.h"

#define TH_VERSION_MATCHES(X) \
    X(NONE, "None")           \
    X(STRICT, "Strict")       \
    X(CURRENT_OR_OLDER, "CurrentOrOlder")

#define TH_VERSION_FAILURES(X) \
    X(REJECT, "Reject")        \
    X(FAIL, "Fail")

#define TH_OVERRIDABLE_STATES(X)       \
    X(NON_RUNNING, "NonRunningStates") \
    X(ANY, "AnyState")

/* The Functions host's words for how much is logged; see th_settings_level. */
#define TH_LOG_LEVELS(X)          \
    X(TRACE, "Trace")             \
    X(DEBUG, "Debug")             \
    X(INFORMATION, "Information") \
    X(WARNING, "Warning")         \
    X(ERROR, "Error")             \
    X(CRITICAL, "Critical")       \
    X(NONE, "None")

#define X(name, text) TH_VERSION_MATCH_##name,
enum th_version_match { TH_VERSION_MATCHES(X) };
#undef X
#define X(name, text) TH_VERSION_FAILURE_##name,
enum th_version_failure { TH_VERSION_FAILURES(X) };
#undef X
#define X(name, text) TH_OVERRIDABLE_##name,
enum th_overridable { TH_OVERRIDABLE_STATES(X) };
#undef X
#define X(name, text) TH_LOG_LEVEL_##name,
enum th_log_level { TH_LOG_LEVELS(X) };
#undef X

/*
 * field, type, key, default, least, most, help
 * Types: TEXT, BOOL, INT, REAL, DURATION (milliseconds; "hh:mm:ss", "d.hh:mm:ss", "-1" = none),
 * and the choices MATCH, FAILURE, OVERRIDABLE, LEVEL. Least and most bound INT, REAL and DURATION.
 */
#define TH_DURABLE "extensions.durableTask."
#define TH_SETTINGS(X)                                                                             \
    X(hub_name, TEXT, TH_DURABLE "hubName", "TestHubName", 0, 0,                                   \
      "name of the task hub: a letter, then letters and digits, 3 to 45 together")                 \
    X(partitions, INT, TH_DURABLE "storageProvider.partitionCount", 12, 1, 1024,                   \
      "partitions of a new hub; an existing hub keeps its own")                                    \
    X(placement, TEXT, TH_DURABLE "storageProvider.placement", "auto", 0, 0,                       \
      "where a worker of a fleet runs activities: auto, shared or local")                          \
    X(max_activities, INT, TH_DURABLE "maxConcurrentActivityFunctions", 0, 0, 100000,              \
      "activities that run at a time in one worker; 0: ten per processor")                         \
    X(max_orchestrators, INT, TH_DURABLE "maxConcurrentOrchestratorFunctions", 0, 0, 100000,       \
      "orchestrations that run at a time in one worker; 0: ten per processor")                     \
    X(max_entities, INT, TH_DURABLE "maxConcurrentEntityFunctions", 0, 0, 100000,                  \
      "entities that run at a time in programs that a worker serves; 0: ten per "                  \
      "processor")                                                                                 \
    X(entity_batch, INT, TH_DURABLE "maxEntityOperationBatchSize", 50, 1, 100000,                  \
      "operations of an entity that its code is given, and that are committed, at once")           \
    X(entity_reorder_minutes, INT, TH_DURABLE "entityMessageReorderWindowInMinutes", 30, 0,        \
      1000000, "how long an entity remembers operations to drop repeated ones")                    \
    X(max_actions, INT, TH_DURABLE "maxOrchestrationActions", 100000, 1, 10000000,                 \
      "actions that one episode of an orchestrator may ask for")                                   \
    X(extended_sessions, BOOL, TH_DURABLE "extendedSessionsEnabled", true, 0, 0,                   \
      "keep orchestrators in memory between episodes instead of replaying them")                   \
    X(extended_session_idle, INT, TH_DURABLE "extendedSessionIdleTimeoutInSeconds", 30, 0,         \
      1000000, "seconds after which an idle orchestrator may leave memory")                        \
    X(default_version, TEXT, TH_DURABLE "defaultVersion", NULL, 0, 0,                              \
      "version of instances that are started without one, and of this worker")                     \
    X(version_match, MATCH, TH_DURABLE "versionMatchStrategy", TH_VERSION_MATCH_CURRENT_OR_OLDER,  \
      0, 0, "which versions of instances this worker takes")                                       \
    X(version_failure, FAILURE, TH_DURABLE "versionFailureStrategy", TH_VERSION_FAILURE_REJECT, 0, \
      0, "what happens to an instance of a version that this worker does not take")                \
    X(overridable, OVERRIDABLE, TH_DURABLE "overridableExistingInstanceStates",                    \
      TH_OVERRIDABLE_NON_RUNNING, 0, 0, "which instances a start with the same id replaces")       \
    X(trace_payloads, BOOL, TH_DURABLE "tracing.traceInputsAndOutputs", false, 0, 0,               \
      "log inputs and outputs, not only their sizes")                                              \
    X(trace_replays, BOOL, TH_DURABLE "tracing.traceReplayEvents", false, 0, 0,                    \
      "log what happens while an orchestrator is replayed")                                        \
    X(poll_interval, INT, TH_DURABLE "httpSettings.defaultAsyncRequestSleepTimeMilliseconds",      \
      30000, 1, 86400000, "milliseconds between polls of a durable HTTP call")                     \
    X(forwarded_host, BOOL, TH_DURABLE "httpSettings.useForwardedHost", false, 0, 0,               \
      "build URLs from X-Forwarded-Host and X-Forwarded-Proto")                                    \
    X(max_rpc_message, INT, TH_DURABLE "maxGrpcMessageSizeInBytes", 33554432, 65536, 2147483647,   \
      "largest message of the RPC endpoint")                                                       \
    X(route_prefix, TEXT, "extensions.http.routePrefix", "api", 0, 0,                              \
      "what stands before the routes of HTTP functions; may be empty")                             \
    X(function_timeout, DURATION, "functionTimeout", 1800000, 1, INT64_C(31536000000),             \
      "how long an activity may run, or be silent if it sends heartbeats")                         \
    X(dynamic_concurrency, BOOL, "concurrency.dynamicConcurrencyEnabled", false, 0, 0,             \
      "find the limits by watching the host's health; overrides the static ones")                  \
    X(concurrency_snapshots, BOOL, "concurrency.snapshotPersistenceEnabled", true, 0, 0,           \
      "remember the limits found, for the next start")                                             \
    X(concurrency_most, INT, "concurrency.maximumFunctionConcurrency", 500, 1, 100000,             \
      "the most that dynamic concurrency gives one function")                                      \
    X(cpu_threshold, REAL, "concurrency.cpuThreshold", 0.8, 0.05, 1.0,                             \
      "share of the processors above which dynamic concurrency backs off")                         \
    X(purge_age, DURATION, TH_DURABLE "purgePolicy.age", TH_DURATION_NONE, 1000,                   \
      INT64_C(3153600000000),                                                                      \
      "instances that ended so long ago are removed by the coordinators; \"-1\": none are")        \
    X(purge_statuses, TEXT, TH_DURABLE "purgePolicy.statuses", NULL, 0, 0,                         \
      "only those that ended as one of these: Completed, Failed, Terminated, Canceled")            \
    X(purge_recursive, BOOL, TH_DURABLE "purgePolicy.recursive", false, 0, 0,                      \
      "with their sub-orchestrations, whenever those ended")                                       \
    X(purge_rate, INT, TH_DURABLE "purgePolicy.instancesPerSecond", 100, 1, 100000,                \
      "how fast, at most")                                                                         \
    X(log_level, LEVEL, "logging.logLevel.default", TH_LOG_LEVEL_INFORMATION, 0, 0,                \
      "how much is logged; other keys beside it set it for one category")

#define TH_SETTING_C_TEXT        struct th_str
#define TH_SETTING_C_BOOL        bool
#define TH_SETTING_C_INT         int64_t
#define TH_SETTING_C_REAL        double
#define TH_SETTING_C_DURATION    int64_t
#define TH_SETTING_C_MATCH       enum th_version_match
#define TH_SETTING_C_FAILURE     enum th_version_failure
#define TH_SETTING_C_OVERRIDABLE enum th_overridable
#define TH_SETTING_C_LEVEL       enum th_log_level

#define TH_DURATION_NONE (-1)

enum th_setting {
#define X(field, type, ...) TH_SETTING_##field,
    TH_SETTINGS(X)
#undef X
        TH_SETTING_COUNT
};

/* A name and a value: local.settings.json's Values, logging.logLevel's categories. */
struct th_setting_pair {
    struct th_str name;
    struct th_str value;
};

/* Reads the environment; NULL: not set. The text must live as long as the settings. */
typedef const char *(*th_environment_fn)(void *argument, const char *name);

struct th_settings {
#define X(field, type, ...) TH_SETTING_C_##type field;
    TH_SETTINGS(X)
#undef X
    bool given[TH_SETTING_COUNT]; /* not the default: a file or the environment said it */
    int64_t local_http_port;      /* local.settings.json Host.LocalHttpPort; 0: not given */

    struct th_setting_pair *values; /* local.settings.json Values */
    size_t value_count, value_capacity;
    struct th_setting_pair *categories; /* logging.logLevel but default; value: "Debug", … */
    size_t category_count, category_capacity;
    struct th_str *warnings; /* sentences, each naming file and key */
    size_t warning_count, warning_capacity;

    th_environment_fn environment;
    void *environment_argument;
    struct th_arena arena; /* owns every text above */
};

/* Where to look. A path that is given must exist; in `directory` both files may be missing. */
struct th_settings_source {
    const char *directory;         /* holds host.json and local.settings.json; NULL: none */
    const char *host_path;         /* instead of directory/host.json; NULL: that one */
    const char *local_path;        /* instead of directory/local.settings.json; NULL: that one */
    th_environment_fn environment; /* NULL: an empty environment */
    void *environment_argument;
};

/* Reads the files (blocking) and parses them. `out` is for th_settings_deinit whatever the result;
 * after a failure its options are incomplete. Errors: INVALID names file, key and rule; IO. */
bool th_settings_load(const struct th_settings_source *source, struct th_settings *out,
                      struct th_error *error);

/* The same from texts (absent: no such file). Pure but for the environment function. */
bool th_settings_parse(struct th_str host, struct th_str local, th_environment_fn environment,
                       void *environment_argument, struct th_settings *out, struct th_error *error);

void th_settings_deinit(struct th_settings *settings);
#define TH_SETTINGS_AUTO __attribute__((cleanup(th_settings_deinit))) struct th_settings

/* getenv as a th_environment_fn, for programs. */
const char *th_settings_getenv(void *argument, const char *name);

/* An application setting: environment first, then Values; absent: neither has it. */
struct th_str th_settings_value(const struct th_settings *settings, const char *name);

/* What a start does when the id is taken. */
th_reuse th_settings_reuse(const struct th_settings *settings);

/* The level for a category ("Host.Concurrency"): that of the longest prefix named in logLevel, up
 * to a dot, else the default. False: nothing of it is logged. */
bool th_settings_level(const struct th_settings *settings, struct th_str category,
                       enum th_level *out);

/* All options: a markdown table; lines for --help. */
void th_settings_document(struct th_buffer *out);
void th_settings_help(struct th_buffer *out);
/* The options as they are now, one "key = value" a line; "# default" behind what nobody set. */
void th_settings_show(const struct th_settings *settings, struct th_buffer *out);
