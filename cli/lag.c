/*
 * `taskhub lag`: over the API of a hub, or, with --kafka, from the brokers and the heartbeats of
 * the members: that needs no program to answer, and no Redis.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/queue.h"
#include "cli/fleet.h"
#include "cli/http.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "monitor/monitor.h"

#define READY_PATIENCE (5 * TH_SECOND)
#define WATCH_INTERVAL (1 * TH_SECOND)

/* ---- what is printed ------------------------------------------------------------------------- */

static const json_t *field(const json_t *row, const char *name)
{
    return json_object_get(row, name);
}

static void put_age(struct cli_table *table, const json_t *seconds)
{
    char text[32] = "?";
    double age = json_number_value(seconds);
    if (json_is_number(seconds) && age < 100)
        snprintf(text, sizeof text, "%.3g s", age);
    else if (json_is_number(seconds))
        snprintf(text, sizeof text, "%.0f s", age);
    cli_table_cell(table, text);
}

static const char *text_of(const json_t *value, const char *otherwise)
{
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

static void put_row(struct cli_table *table, const json_t *row)
{
    static const char *const offsets[] = {"partition", "end", "position", "lag"};
    cli_table_cell(table, text_of(field(row, "topic"), ""));
    for (size_t i = 0; i < TH_COUNT(offsets); i++)
        cli_table_json_cell(table, field(row, offsets[i]));
    put_age(table, field(row, "ageSeconds"));
    cli_table_cell(table, text_of(field(row, "owner"), "-"));
    cli_table_json_cell(table, field(row, "epoch"));
}

static void print_totals(const json_t *totals)
{
    const json_t *age = field(totals, "ageSeconds");
    printf("\nTotal %lld: %lld for instances, %lld for activities; %lld activities wait for a "
           "thread; the oldest waits ",
           (long long)json_integer_value(field(totals, "lag")),
           (long long)json_integer_value(field(totals, "instances")),
           (long long)json_integer_value(field(totals, "activities")),
           (long long)json_integer_value(field(totals, "queuedActivities")));
    if (json_is_number(age))
        printf("%.3g s\n", json_number_value(age));
    else
        puts("for an unknown time");
}

/* What keeps a partition from going on, once for each reason. */
static void print_troubles(const json_t *rows)
{
    const char *last = NULL;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const char *trouble = json_string_value(field(row, "trouble"));
        if (trouble && (!last || strcmp(last, trouble) != 0))
            printf("Partition %lld: %s\n", (long long)json_integer_value(field(row, "partition")),
                   trouble);
        last = trouble ? trouble : last;
    }
}

static void print_lag(const struct cli_options *options, const json_t *lag)
{
    static const char *const titles[] = {"TOPIC", "PARTITION", "END",   "POSITION",
                                         "LAG",   "AGE",       "OWNER", "EPOCH"};
    struct cli_table table = {.columns = TH_COUNT(titles), .titles = titles};
    size_t i;
    json_t *row;
    if (options->json && options->watch) {
        json_dumpf(lag, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
        putchar('\n');
        return;
    }
    if (options->json) {
        cli_print_json(lag);
        return;
    }
    if (options->watch && isatty(STDOUT_FILENO))
        fputs("\033[H\033[J", stdout);
    printf("Hub %s at %s\n\n", text_of(field(lag, "hub"), "?"), text_of(field(lag, "time"), "?"));
    json_array_foreach(field(lag, "partitions"), i, row)
        put_row(&table, row);
    cli_table_print(&table);
    print_totals(field(lag, "totals"));
    print_troubles(field(lag, "partitions"));
}

/* ---- again and again ------------------------------------------------------------------------- */

/* Returns an exit code; CLI_OK: *out is a new reference. */
typedef int (*look_fn)(void *argument, json_t **out);

static int show(const struct cli_options *options, look_fn look, void *argument)
{
    struct th_queue pause;
    int code;
    th_queue_init(&pause);
    for (;;) {
        th_time next = th_monotonic() + WATCH_INTERVAL;
        json_t *lag = NULL;
        code = look(argument, &lag);
        if (code == CLI_OK)
            print_lag(options, lag);
        json_decref(lag);
        if (code != CLI_OK || !options->watch || fflush(stdout) != 0)
            break;
        th_queue_wait(&pause, next);
    }
    th_queue_deinit(&pause);
    return code;
}

/* ---- over the API ---------------------------------------------------------------------------- */

static int look_over_api(void *argument, json_t **out)
{
    const struct cli_options *options = argument;
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, options->hub ? "/lag?taskHub=" : "/lag", options->hub);
    TH_AUTOFREE char *text = th_buffer_take(&path);
    const struct cli_request request = {.method = "GET", .path = text, .timeout_ms = 30000};
    cli_send(options, &request, &response);
    int code = cli_judge(options, &response, "lag");
    *out = code == CLI_OK ? json_incref(response.json) : NULL;
    return code;
}

/* ---- from the brokers ------------------------------------------------------------------------ */

static int look_at_brokers(void *argument, json_t **out)
{
    struct th_monitor *monitor = argument;
    struct th_error error;
    TH_BUFFER text = {NULL, 0, 0};
    if (!th_monitor_lag(monitor, &text, &error))
        return cli_refused(&error);
    *out = json_loadb(text.data, text.len, 0, NULL);
    return *out ? CLI_OK : CLI_ERROR;
}

/* Heartbeats come within an instant where there are any; without, the brokers are asked alone. */
static void await_members(struct th_control *control)
{
    struct th_queue pause;
    th_time deadline = th_monotonic() + READY_PATIENCE;
    th_queue_init(&pause);
    while (!th_control_ready(control) && th_monotonic() < deadline)
        th_queue_wait(&pause, th_monotonic() + 10 * TH_MILLISECOND);
    th_queue_deinit(&pause);
}

static int show_from_brokers(const struct cli_options *options)
{
    CLI_FLEET fleet;
    struct th_error error;
    struct th_kafka_hub hub;
    if (!cli_fleet_init(&fleet, options))
        return CLI_USAGE;
    if (!th_kafka_find_hub(&fleet.place.cluster, cli_fleet_hub(&fleet), &hub, &error))
        return cli_refused(&error);
    const struct th_control_options control_options = {
        .cluster = &fleet.place.cluster, .hub = &hub.record, .log = &fleet.log};
    struct th_control *control = th_control_open(&control_options, &error);
    if (!control)
        return cli_refused(&error);
    const struct th_monitor_options monitor_options = {
        .cluster = &fleet.place.cluster, .hub = &hub, .control = control, .log = &fleet.log};
    struct th_monitor *monitor = th_monitor_open(&monitor_options, &error);
    await_members(control);
    int code = monitor ? show(options, look_at_brokers, monitor) : cli_refused(&error);
    th_monitor_close(monitor);
    th_control_close(control);
    return code;
}

int cli_lag(const struct cli_options *options)
{
    return options->kafka ? show_from_brokers(options)
                          : show(options, look_over_api, (void *)options);
}
