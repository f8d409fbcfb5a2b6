/*
 * The command, the hub it measures on, the closed loops and the report.
 */
#include "cli/bench.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/run.h"

#define WARM_UP         (TH_SECOND / 2)
#define PATIENCE        (60 * TH_SECOND)
#define DEFAULT_SECONDS 10
#define DEFAULT_CLIENTS 64

/* ---- the hub --------------------------------------------------------------------------------- */

static bool choose_database(struct bench *b, struct th_error *error)
{
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";
    if (b->options->db) {
        snprintf(b->database, sizeof b->database, "%s", b->options->db);
        return true;
    }
    snprintf(b->directory, sizeof b->directory, "%.200s/taskhub-bench-XXXXXX", base);
    if (!mkdtemp(b->directory))
        return th_fail(error, TH_IO, "cannot make a directory in %s", base);
    snprintf(b->database, sizeof b->database, "%s/hub.db", b->directory);
    return true;
}

static void remove_database(struct bench *b)
{
    if (*b->directory)
        cli_remove_directory(b->directory);
}

static bool is_fleet(const struct bench *b)
{
    return b->options->provider && strcmp(b->options->provider, "kafka") == 0;
}

static bool open_embedded(struct bench *b, struct th_error *error)
{
    const struct cli_options *options = b->options;
    struct th_embedded_options embedded = {
        .database = b->database,
        .hub = "Bench",
        .partitions = options->partitions == CLI_NOT_GIVEN ? 1 : (uint32_t)options->partitions,
        .fsync_delay_us =
            options->fsync_delay == CLI_NOT_GIVEN ? 0 : (uint32_t)options->fsync_delay * 1000,
        .host = {.app = b->app, .log = &b->log},
    };
    if (!*b->database && !choose_database(b, error))
        return false;
    if (!b->app)
        b->app = th_app_from(bench_register, error);
    embedded.host.app = b->app;
    b->hub = b->app ? th_embedded_start(&embedded, error) : NULL;
    b->gateway = b->hub ? th_embedded_gateway(b->hub) : NULL;
    return b->hub != NULL;
}

bool bench_open(struct bench *b, struct th_error *error)
{
    return is_fleet(b) ? bench_fleet_open(b, error) : open_embedded(b, error);
}

bool bench_close(struct bench *b)
{
    if (b->fleet) {
        bench_fleet_close(b);
        return true;
    }
    bool ended = th_embedded_stop(b->hub, 10000);
    b->hub = NULL;
    return ended;
}

/* ---- figures --------------------------------------------------------------------------------- */

void bench_sample(struct bench *b, int64_t microseconds)
{
    b->samples = th_grow(b->samples, &b->sample_capacity, b->sample_count + 1, sizeof *b->samples);
    b->samples[b->sample_count++] = microseconds;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double bench_percentile_ms(struct bench *b, double share)
{
    if (b->sample_count == 0)
        return 0;
    qsort(b->samples, b->sample_count, sizeof *b->samples, by_size);
    size_t at = (size_t)(share * (double)(b->sample_count - 1) + 0.5);
    return (double)b->samples[at] / 1000;
}

/* ---- clients --------------------------------------------------------------------------------- */

void bench_fail(struct bench *b, const char *words)
{
    b->failed++;
    if (!*b->trouble)
        snprintf(b->trouble, sizeof b->trouble, "%s", words);
}

static void leave(struct bench *b)
{
    if (--b->outstanding == 0)
        th_queue_wake(&b->wake);
}

static void note_end(struct bench_client *client, const struct th_instance_info *info)
{
    struct bench *b = client->bench;
    if (info->status != TH_STATUS_COMPLETED) {
        char words[400];
        struct th_str why = info->failure ? info->failure->message : info->output;
        snprintf(words, sizeof words, "an instance ended as %s: %.*s", th_status_text(info->status),
                 TH_PRI(why));
        bench_fail(b, words);
    } else if (b->measuring) {
        b->completed++;
        bench_sample(b, client->due == TH_TIME_NONE ? th_monotonic() - client->began
                                                    : th_now() - client->due);
    }
}

static void begin_round(struct bench_client *client);

static void on_ended(void *argument, const struct th_reply *reply)
{
    struct bench_client *client = argument;
    struct bench *b = client->bench;
    if (reply->error.code != TH_OK)
        bench_fail(b, reply->error.message);
    else
        note_end(client, reply->info);
    if (reply->error.code == TH_OK && !client->once && !b->stopping)
        begin_round(client);
    else
        leave(b);
}

static void on_started(void *argument, const struct th_reply *reply)
{
    struct bench_client *client = argument;
    struct bench *b = client->bench;
    struct th_gateway *gateway = b->gateway;
    if (reply->error.code != TH_OK) {
        bench_fail(b, reply->error.message);
        leave(b);
        return;
    }
    struct th_command command = {.kind = TH_COMMAND_WAIT,
                                 .instance_id = reply->instance_id,
                                 .start_at = TH_TIME_NONE,
                                 .deadline = TH_TIME_NONE};
    gateway->submit(gateway, &command, on_ended, client);
}

static void begin_round(struct bench_client *client)
{
    struct th_gateway *gateway = client->bench->gateway;
    struct th_command command = {
        .kind = TH_COMMAND_START,
        .name = th_str_of(client->orchestrator),
        .data = client->input ? th_str_n(client->input, client->input_len) : TH_STR_ABSENT,
        .start_at = TH_TIME_NONE,
        .deadline = TH_TIME_NONE,
    };
    client->began = th_monotonic();
    gateway->submit(gateway, &command, on_started, client);
}

void bench_client_start(struct bench_client *client)
{
    client->bench->outstanding++;
    begin_round(client);
}

void bench_sleep_until(struct bench *b, th_time deadline)
{
    while (th_monotonic() < deadline && b->outstanding > 0)
        th_queue_wait(&b->wake, deadline);
}

bool bench_wait_all(struct bench *b, th_time deadline)
{
    while (b->outstanding > 0 && th_monotonic() < deadline)
        th_queue_wait(&b->wake, deadline);
    return b->outstanding == 0;
}

void bench_pause(struct bench *b, th_time duration)
{
    th_time until = th_monotonic() + duration;
    while (th_monotonic() < until)
        th_queue_wait(&b->wake, until);
}

/* ---- hello5, call5, fanout, big-payload ------------------------------------------------------ */

int64_t bench_given(int64_t option, int64_t otherwise)
{
    return option == CLI_NOT_GIVEN ? otherwise : option;
}

static int64_t default_clients(const char *workload)
{
    if (strcmp(workload, "fanout") == 0)
        return 1;
    return strcmp(workload, "big-payload") == 0 ? 2 : DEFAULT_CLIENTS;
}

static const char *orchestrator_of(const char *workload)
{
    return strcmp(workload, "big-payload") == 0 ? "big_payload" : workload;
}

static void add_activity_rate(struct bench *b, int64_t activities)
{
    json_object_set_new(b->extra, "activities", json_integer(activities));
    bench_figure(b, "activities_per_second", (double)(b->completed * activities) / b->seconds);
}

/* A round may take longer than the time given. */
static void measure_one_at_least(struct bench *b, th_time deadline)
{
    while (b->completed == 0 && b->outstanding > 0 && th_monotonic() < deadline)
        th_queue_wait(&b->wake, th_monotonic() + 10 * TH_MILLISECOND);
}

bool bench_loop(struct bench *b)
{
    char input[32] = "";
    size_t clients = (size_t)bench_given(b->options->clients, default_clients(b->workload));
    int64_t activities = bench_given(b->options->activities, 1000);
    bool is_fanout = strcmp(b->workload, "fanout") == 0;
    if (is_fanout)
        snprintf(input, sizeof input, "%" PRId64, activities);
    TH_AUTOFREE struct bench_client *all = th_alloc(clients * sizeof *all + 1);
    for (size_t i = 0; i < clients; i++) {
        all[i] = (struct bench_client){.bench = b,
                                       .orchestrator = orchestrator_of(b->workload),
                                       .input = *input ? input : NULL,
                                       .input_len = strlen(input),
                                       .due = TH_TIME_NONE};
        bench_client_start(&all[i]);
    }
    bench_sleep_until(b, th_monotonic() + WARM_UP);
    th_time began = th_monotonic();
    b->measuring = true;
    bench_sleep_until(b, began + bench_given(b->options->seconds, DEFAULT_SECONDS) * TH_SECOND);
    measure_one_at_least(b, began + PATIENCE);
    b->measuring = false;
    b->seconds = (double)(th_monotonic() - began) / TH_SECOND;
    b->stopping = true;
    bool ended = bench_wait_all(b, th_monotonic() + PATIENCE);
    if (is_fanout)
        add_activity_rate(b, activities);
    return ended;
}

/* ---- report ---------------------------------------------------------------------------------- */

static double max_rss_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static json_t *rounded(double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.3f", value);
    return json_real(strtod(text, NULL));
}

double bench_resident_mb(struct bench *b)
{
    long pages = 0;
    if (b->fleet)
        return bench_fleet_resident_mb(b);
    FILE *in = fopen("/proc/self/statm", "re");
    if (in && fscanf(in, "%*d %ld", &pages) != 1)
        pages = 0;
    if (in)
        fclose(in);
    return (double)pages * 4096 / (1024 * 1024);
}

double bench_seconds_since(th_time monotonic)
{
    return (double)(th_monotonic() - monotonic) / TH_SECOND;
}

static json_t *result_of(struct bench *b)
{
    json_t *result = json_object();
    int64_t clients = bench_given(b->options->clients, default_clients(b->workload));
    json_object_set_new(result, "workload", json_string(b->workload));
    json_object_set_new(result, "provider", json_string(is_fleet(b) ? "kafka" : "sqlite"));
    json_object_set_new(result, "clients", json_integer(clients));
    json_object_set_new(result, "seconds", rounded(b->seconds));
    json_object_set_new(result, "completed", json_integer(b->completed));
    json_object_set_new(result, "per_second",
                        rounded(b->seconds > 0 ? (double)b->completed / b->seconds : 0));
    json_object_set_new(result, "p50_ms", rounded(bench_percentile_ms(b, 0.50)));
    json_object_set_new(result, "p99_ms", rounded(bench_percentile_ms(b, 0.99)));
    json_object_set_new(result, "max_rss_mb", rounded(max_rss_mb()));
    json_object_set_new(result, "cpu_seconds", rounded(cpu_seconds()));
    json_object_set_new(result, "failed", json_integer(b->failed));
    if (b->fleet)
        bench_fleet_report(b, result);
    json_object_update(result, b->extra);
    return result;
}

void bench_figure(struct bench *b, const char *name, double value)
{
    json_object_set_new(b->extra, name, rounded(value));
}

static void report(struct bench *b)
{
    const char *key;
    json_t *value;
    json_t *result = result_of(b);
    if (b->options->json) {
        json_dumpf(result, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else {
        json_object_foreach(result, key, value) {
            printf("%-22s", key);
            if (json_is_string(value))
                puts(json_string_value(value));
            else if (json_is_integer(value))
                printf("%lld\n", (long long)json_integer_value(value));
            else
                printf("%.3f\n", json_real_value(value));
        }
    }
    if (*b->trouble)
        fprintf(stderr, "taskhub bench: %s\n", b->trouble);
    json_decref(result);
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct workload {
    const char *name;
    bool (*run)(struct bench *b);
    bool embedded, fleet; /* where it can be measured */
} workloads[] = {
    {"hello5", bench_loop, true, true},
    {"call5", bench_loop, true, true},
    {"fanout", bench_loop, true, true},
    {"big-payload", bench_loop, true, true},
    {"timers", bench_timers, true, true},
    {"sleepers", bench_sleepers, true, true},
    {"long-history", bench_long_history, true, false},
    {"failover", bench_failover, false, true},
    {"cold-rebuild", bench_cold_rebuild, false, true},
    {"lag", bench_lag, false, true},
};

static bool check(struct bench *b)
{
    const struct cli_options *options = b->options;
    if (options->provider && strcmp(options->provider, "sqlite") != 0 && !is_fleet(b)) {
        fprintf(stderr, "taskhub bench: there is no provider \"%s\", only sqlite and kafka\n",
                options->provider);
        return false;
    }
    if (options->clients == 0 || options->clients > 1000000 || options->partitions == 0 ||
        options->partitions > 1024 || options->fsync_delay > 60000 || options->seconds == 0) {
        fprintf(stderr, "taskhub bench: --clients, --seconds or --partitions is out of range\n");
        return false;
    }
    b->log = (struct th_log){.level = TH_LOG_WARN, .fd = STDERR_FILENO};
    return !options->log_level || th_level_parse(th_str_of(options->log_level), &b->log.level);
}

static int measure(struct bench *b, const struct workload *workload)
{
    struct th_error error = {.code = TH_OK};
    if (!bench_open(b, &error)) {
        fprintf(stderr, "taskhub bench: %s\n", error.message);
        th_app_free(b->app);
        remove_database(b);
        return error.code == TH_UNAVAILABLE ? CLI_UNAVAILABLE
               : error.code == TH_NOT_FOUND ? CLI_NOT_FOUND
                                            : CLI_ERROR;
    }
    bool ended = workload->run(b);
    report(b);
    ended = bench_close(b) && ended;
    remove_database(b);
    if (!ended) { /* something still holds a thread or a client: leave without touching it */
        fprintf(stderr, "taskhub bench: not everything ended in time\n");
        fflush(NULL);
        _exit(CLI_TIMEOUT);
    }
    th_app_free(b->app);
    return b->failed || b->completed == 0 ? CLI_FAILED : CLI_OK;
}

static const struct workload *find(const struct bench *b)
{
    for (size_t i = 0; i < TH_COUNT(workloads); i++) {
        const struct workload *w = &workloads[i];
        if (strcmp(b->workload, w->name) != 0)
            continue;
        if (is_fleet(b) ? w->fleet : w->embedded)
            return w;
        fprintf(stderr, "taskhub bench: %s is measured with --provider %s only\n", w->name,
                is_fleet(b) ? "sqlite" : "kafka");
        return NULL;
    }
    fprintf(stderr, "taskhub bench: there is no workload \"%s\"; see taskhub bench --help\n",
            b->workload);
    return NULL;
}

int cli_bench(const struct cli_options *options)
{
    struct bench b = {.options = options, .workload = options->arguments[0]};
    const struct workload *workload = check(&b) ? find(&b) : NULL;
    if (!workload)
        return CLI_USAGE;
    mallopt(M_ARENA_MAX, 2);
    b.extra = json_object();
    th_queue_init(&b.wake);
    int code = measure(&b, workload);
    th_queue_deinit(&b.wake);
    json_decref(b.extra);
    free(b.samples);
    return code;
}
