#include "cli/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/http.h"
#include "cli/pages.h"
#include "cli/print.h"
#include "model/event.h"

#define WAIT_SLICE_MS 60000 /* one waiting request lasts no longer; then the next */

/* ---- requests -------------------------------------------------------------------------------- */

static int64_t request_timeout(const struct cli_options *options)
{
    return options->timeout == CLI_NOT_GIVEN ? 60000 : options->timeout + 5000;
}

/* Sends and judges; `path` is emptied. */
static int call(const struct cli_options *options, const char *method, struct th_buffer *path,
                const char *body, const char *subject, struct cli_response *out)
{
    TH_AUTOFREE char *text = th_buffer_take(path);
    struct cli_request request = {
        .method = method, .path = text, .body = body, .timeout_ms = request_timeout(options)};
    cli_send(options, &request, out);
    return cli_judge(options, out, subject);
}

static void add_query(struct th_buffer *path, const char *name, const char *value)
{
    if (!value)
        return;
    th_buffer_text(path, memchr(path->data, '?', path->len) ? "&" : "?");
    th_buffer_text(path, name);
    cli_path(path, "=", value);
}

static void subject_of(const char *id, char out[static 320])
{
    snprintf(out, 320, "instance %s", id);
}

static char *read_all(FILE *in, size_t *len)
{
    TH_BUFFER text = {NULL, 0, 0};
    char piece[16384];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, in)) > 0)
        th_buffer_add(&text, piece, n);
    *len = text.len;
    return th_buffer_take(&text);
}

static char *option_text(const char *option, const char *name, size_t *len)
{
    if (option[0] != '@' && strcmp(option, "-") != 0) {
        *len = strlen(option);
        return th_str_dup(th_str_of(option));
    }
    FILE *in = option[0] == '@' ? fopen(option + 1, "re") : stdin;
    if (!in) {
        fprintf(stderr, "taskhub: --%s: cannot read %s: %s\n", name, option + 1, strerror(errno));
        return NULL;
    }
    char *text = read_all(in, len);
    if (in != stdin)
        fclose(in);
    return text;
}

char *cli_json_text(const char *option, const char *name, bool *ok)
{
    size_t len = 0;
    *ok = true;
    if (!option)
        return NULL;
    TH_AUTOFREE char *text = option_text(option, name, &len);
    *ok = false;
    if (!text)
        return NULL;
    json_error_t error;
    json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!value) {
        fprintf(
            stderr,
            "taskhub: --%s is no JSON: %s (line %d, column %d). Text needs quotes: '\"Tokyo\"'\n",
            name, error.text, error.line, error.column);
        return NULL;
    }
    json_decref(value);
    *ok = true;
    char *result = text;
    text = NULL;
    return result;
}

/* ---- showing an instance --------------------------------------------------------------------- */

static const char *field(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static void show_status(const struct cli_options *options, const json_t *status)
{
    if (options->json) {
        cli_print_json(status);
        return;
    }
    cli_print_field("Instance", field(status, "instanceId"));
    cli_print_field("Name", field(status, "name"));
    cli_print_field("Status", field(status, "runtimeStatus"));
    cli_print_field("Created", field(status, "createdTime"));
    cli_print_field("Updated", field(status, "lastUpdatedTime"));
    cli_print_json_field("Input", json_object_get(status, "input"));
    cli_print_json_field("Custom", json_object_get(status, "customStatus"));
    cli_print_json_field("Output", json_object_get(status, "output"));
}

static bool status_of(const json_t *json, enum th_status *out)
{
    const char *text = field(json, "runtimeStatus");
    return text && th_status_parse(th_str_of(text), out);
}

/* The exit code that an ended instance leads to. */
static int exit_of_end(const json_t *json)
{
    enum th_status status;
    return status_of(json, &status) && status == TH_STATUS_COMPLETED ? CLI_OK : CLI_FAILED;
}

/* ---- wait ------------------------------------------------------------------------------------ */

/* One request that waits; CLI_TIMEOUT: not yet. */
static int wait_slice(const struct cli_options *options, const char *id, int64_t slice_ms,
                      struct cli_response *out)
{
    char subject[320];
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, "/instances/", id);
    th_buffer_format(&path, "/wait?timeout=%.3f", (double)slice_ms / 1000);
    TH_AUTOFREE char *text = th_buffer_take(&path);
    struct cli_request request = {.method = "GET", .path = text, .timeout_ms = slice_ms + 10000};
    cli_send(options, &request, out);
    enum th_status status;
    if (out->status == 504 || out->status == 408 || out->status == 202)
        return CLI_TIMEOUT;
    if (out->status < 300 && status_of(out->json, &status) && !th_status_terminal(status))
        return CLI_TIMEOUT;
    subject_of(id, subject);
    return cli_judge(options, out, subject);
}

/* Until the end or --timeout. On CLI_OK `out` holds the final status. */
static int wait_for_end(const struct cli_options *options, const char *id, struct cli_response *out)
{
    th_time deadline = th_monotonic() + options->timeout * TH_MILLISECOND;
    for (;;) {
        int64_t slice = WAIT_SLICE_MS;
        if (options->timeout != CLI_NOT_GIVEN) {
            int64_t left = (deadline - th_monotonic()) / TH_MILLISECOND;
            slice = left < 0 ? 0 : left < slice ? left : slice;
        }
        int code = wait_slice(options, id, slice, out);
        if (code != CLI_TIMEOUT)
            return code;
        cli_response_deinit(out);
        if (options->timeout != CLI_NOT_GIVEN && th_monotonic() >= deadline)
            break;
    }
    fprintf(stderr, "taskhub: instance %s has not ended within the time given\n", id);
    return CLI_TIMEOUT;
}

/* Prints the output, or why there is none. */
static int show_end(const struct cli_options *options, const json_t *status)
{
    int code = exit_of_end(status);
    if (options->json) {
        cli_print_json(status);
    } else if (code == CLI_OK) {
        const json_t *output = json_object_get(status, "output");
        cli_print_json(output ? output : json_null());
    } else {
        TH_AUTOFREE char *output = json_dumps(json_object_get(status, "output"), JSON_ENCODE_ANY);
        fprintf(stderr, "taskhub: instance %s ended as %s: %s\n", field(status, "instanceId"),
                field(status, "runtimeStatus"), output ? output : "no output");
    }
    return code;
}

static int wait_and_show(const struct cli_options *options, const char *id)
{
    CLI_RESPONSE response = {.status = 0};
    int code = wait_for_end(options, id, &response);
    return code == CLI_OK ? show_end(options, response.json) : code;
}

int cli_wait(const struct cli_options *options)
{
    return wait_and_show(options, options->arguments[0]);
}

/* ---- start, restart -------------------------------------------------------------------------- */

static int show_started(const struct cli_options *options, const struct cli_response *response)
{
    const char *id = field(response->json, "id");
    if (!id) {
        fprintf(stderr, "taskhub: the hub's answer holds no id\n");
        return CLI_ERROR;
    }
    if (options->wait)
        return wait_and_show(options, id);
    if (options->json)
        cli_print_json(response->json);
    else
        puts(id);
    if (!options->json && isatty(STDERR_FILENO) && isatty(STDOUT_FILENO))
        fprintf(stderr,
                "Started. See how it goes: taskhub status %s; wait for it: taskhub wait %s\n", id,
                id);
    return CLI_OK;
}

int cli_start(const struct cli_options *options)
{
    bool ok;
    const char *name = options->arguments[0];
    TH_AUTOFREE char *input = cli_json_text(options->input, "input", &ok);
    if (!ok)
        return CLI_USAGE;
    char subject[320];
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, "/orchestrators/", name);
    if (options->id)
        cli_path(&path, "/", options->id);
    add_query(&path, "version", options->version);
    snprintf(subject, sizeof subject, "start of %s", name);
    int code = call(options, "POST", &path, input, subject, &response);
    return code == CLI_OK ? show_started(options, &response) : code;
}

int cli_restart(const struct cli_options *options)
{
    const char *id = options->arguments[0];
    char subject[320];
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, "/instances/", id);
    th_buffer_format(&path, "/restart?restartWithNewInstanceId=%s",
                     options->same_id ? "false" : "true");
    subject_of(id, subject);
    int code = call(options, "POST", &path, NULL, subject, &response);
    return code == CLI_OK ? show_started(options, &response) : code;
}

/* ---- status, history, list ------------------------------------------------------------------- */

/* The function that an answer's call was to: `calls` is an object of names by event id. */
static const char *called(const json_t *event, const json_t *calls)
{
    char id[24];
    const json_t *task = json_object_get(event, "TaskScheduledId");
    if (!json_is_integer(task))
        return "";
    snprintf(id, sizeof id, "%lld", (long long)json_integer_value(task));
    const char *name = field(calls, id);
    return name ? name : "";
}

static void note_call(const json_t *event, json_t *calls)
{
    char id[24];
    const json_t *number = json_object_get(event, "EventId");
    if (!json_is_integer(number) || !field(event, "Name"))
        return;
    snprintf(id, sizeof id, "%lld", (long long)json_integer_value(number));
    json_object_set(calls, id, json_object_get(event, "Name"));
}

/* What a row of the history is about: a function, an event, a reason. */
static const char *detail_of(const json_t *event, const json_t *calls)
{
    static const char *const names[] = {"Name", "FunctionName", "OrchestrationStatus", "Reason",
                                        "FireAt"};
    for (size_t i = 0; i < TH_COUNT(names); i++)
        if (field(event, names[i]))
            return field(event, names[i]);
    return called(event, calls);
}

static void id_cell(struct cli_table *table, const json_t *event)
{
    static const char *const names[] = {"EventId", "TaskScheduledId", "TimerId"};
    char text[24] = "";
    for (size_t i = 0; i < TH_COUNT(names) && !*text; i++) {
        const json_t *id = json_object_get(event, names[i]);
        if (json_is_integer(id) && json_integer_value(id) >= 0)
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(id));
    }
    cli_table_cell(table, text);
}

static const json_t *payload_of(const json_t *event)
{
    static const char *const names[] = {"Result", "Input", "FailureDetails", "Details"};
    for (size_t i = 0; i < TH_COUNT(names); i++)
        if (json_object_get(event, names[i]))
            return json_object_get(event, names[i]);
    return NULL;
}

static void show_history(const json_t *events)
{
    static const char *const titles[] = {"TIME", "EVENT", "ID", "WHAT", "VALUE"};
    struct cli_table table = {.columns = TH_COUNT(titles), .titles = titles};
    size_t i;
    json_t *event;
    json_t *calls = json_object();
    json_array_foreach(events, i, event) {
        note_call(event, calls);
        cli_table_cell(&table, field(event, "Timestamp"));
        cli_table_cell(&table, field(event, "EventType"));
        id_cell(&table, event);
        cli_table_cell(&table, detail_of(event, calls));
        cli_table_json_cell(&table, payload_of(event));
    }
    cli_table_print(&table);
    json_decref(calls);
}

/* The array itself, or what the document holds under one of the names it goes by. */
static const json_t *events_of(const json_t *json)
{
    static const char *const names[] = {"historyEvents", "history", "events"};
    for (size_t i = 0; i < TH_COUNT(names) && !json_is_array(json); i++)
        if (json_object_get(json, names[i]))
            return json_object_get(json, names[i]);
    return json;
}

static int get_instance(const struct cli_options *options, const char *id, const char *rest,
                        struct cli_response *response)
{
    char subject[320];
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, "/instances/", id);
    th_buffer_text(&path, rest);
    subject_of(id, subject);
    return call(options, "GET", &path, NULL, subject, response);
}

int cli_history(const struct cli_options *options)
{
    CLI_RESPONSE response = {.status = 0};
    int code = get_instance(options, options->arguments[0], "/history", &response);
    if (code != CLI_OK)
        return code;
    if (options->json)
        cli_print_json(response.json);
    else
        show_history(events_of(response.json));
    return CLI_OK;
}

int cli_status(const struct cli_options *options)
{
    const char *id = options->arguments[0];
    CLI_RESPONSE response = {.status = 0};
    bool rows = options->history && !options->json;
    const char *rest = options->history && options->json
                           ? "?showHistory=true&showHistoryOutput=true&showInput=true"
                           : "";
    int code = get_instance(options, id, rest, &response);
    if (code != CLI_OK)
        return code;
    show_status(options, response.json);
    if (!rows)
        return CLI_OK;
    putchar('\n');
    return cli_history(options);
}

static void add_filter(const struct cli_options *options, struct th_buffer *path)
{
    add_query(path, "createdTimeFrom", options->from);
    add_query(path, "createdTimeTo", options->to);
    add_query(path, "runtimeStatus", options->status);
    add_query(path, "instanceIdPrefix", options->prefix);
}

/* A time, or a list of states, that the hub would otherwise have to refuse. */
static bool check_filter(const struct cli_options *options)
{
    const char *const times[] = {options->from, options->to};
    th_time parsed;
    for (size_t i = 0; i < TH_COUNT(times); i++) {
        if (times[i] && !th_time_parse(th_str_of(times[i]), &parsed)) {
            fprintf(stderr, "taskhub: \"%s\" is no time such as 2026-11-22T10:00:00Z\n", times[i]);
            return false;
        }
    }
    for (const char *at = options->status; at && *at;) {
        enum th_status status;
        size_t n = strcspn(at, ",");
        if (!th_status_parse(th_str_n(at, n), &status)) {
            fprintf(stderr, "taskhub: --status: \"%.*s\" is no status\n", (int)n, at);
            return false;
        }
        at += n + (at[n] == ',');
    }
    return true;
}

static void list_path(const struct cli_options *options, int64_t rows, struct th_buffer *path)
{
    th_buffer_format(path, "/instances?top=%lld&showInput=%s", (long long)rows,
                     options->json ? "true" : "false");
    add_filter(options, path);
}

static void show_list(const json_t *all)
{
    static const char *const titles[] = {"INSTANCE", "NAME", "STATUS", "CREATED", "UPDATED"};
    struct cli_table table = {.columns = TH_COUNT(titles), .titles = titles};
    size_t i;
    json_t *row;
    json_array_foreach(all, i, row) {
        cli_table_cell(&table, field(row, "instanceId"));
        cli_table_cell(&table, field(row, "name"));
        cli_table_cell(&table, field(row, "runtimeStatus"));
        cli_table_cell(&table, field(row, "createdTime"));
        cli_table_cell(&table, field(row, "lastUpdatedTime"));
    }
    cli_table_print(&table);
}

int cli_list(const struct cli_options *options)
{
    const struct cli_pages pages = {.subject = "list",
                                    .timeout_ms = request_timeout(options),
                                    .path = list_path,
                                    .show = show_list};
    if (!check_filter(options))
        return CLI_USAGE;
    return cli_print_pages(options, &pages);
}

/* ---- steering -------------------------------------------------------------------------------- */

static int say_done(const struct cli_options *options, const char *id, const char *what)
{
    if (options->json)
        printf("{\"instanceId\": \"%s\", \"done\": \"%s\"}\n", id, what);
    else
        printf("%s: %s\n", id, what);
    return CLI_OK;
}

static int steer(const struct cli_options *options, const char *verb, const char *done)
{
    const char *id = options->arguments[0];
    char subject[320];
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, "/instances/", id);
    cli_path(&path, "/", verb);
    add_query(&path, "reason", options->reason);
    subject_of(id, subject);
    int code = call(options, "POST", &path, NULL, subject, &response);
    return code == CLI_OK ? say_done(options, id, done) : code;
}

int cli_terminate(const struct cli_options *options)
{
    return steer(options, "terminate", "terminated");
}

int cli_suspend(const struct cli_options *options)
{
    return steer(options, "suspend", "suspended");
}

int cli_resume(const struct cli_options *options)
{
    return steer(options, "resume", "resumed");
}

int cli_rewind(const struct cli_options *options)
{
    return steer(options, "rewind", "rewound");
}

int cli_raise_event(const struct cli_options *options)
{
    bool ok;
    const char *id = options->arguments[0];
    TH_AUTOFREE char *data = cli_json_text(options->data, "data", &ok);
    if (!ok)
        return CLI_USAGE;
    char subject[320];
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, "/instances/", id);
    cli_path(&path, "/raiseEvent/", options->arguments[1]);
    subject_of(id, subject);
    int code = call(options, "POST", &path, data ? data : "null", subject, &response);
    return code == CLI_OK ? say_done(options, id, "event raised") : code;
}

/* ---- purge ----------------------------------------------------------------------------------- */

static int show_purged(const struct cli_options *options, const struct cli_response *response)
{
    const json_t *count = json_object_get(response->json, "instancesDeleted");
    if (options->json)
        cli_print_json(response->json);
    else
        printf("%lld instances purged\n", (long long)json_integer_value(count));
    return CLI_OK;
}

static int purge_by(const struct cli_options *options)
{
    struct cli_options filter = *options;
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    if (!filter.from && !filter.all) {
        fprintf(stderr, "taskhub purge: say which: an ID, --created-from TIME, or --all\n");
        return CLI_USAGE;
    }
    if (!check_filter(options))
        return CLI_USAGE;
    if (!filter.from)
        filter.from = "1970-01-01T00:00:00Z";
    th_buffer_text(&path, "/instances");
    add_filter(&filter, &path);
    TH_AUTOFREE char *text = th_buffer_take(&path);
    struct cli_request request = {
        .method = "DELETE", .path = text, .timeout_ms = request_timeout(options)};
    cli_send(options, &request, &response);
    if (response.status == 404) { /* none matched: that is no error here */
        printf(options->json ? "{\"instancesDeleted\": 0}\n" : "0 instances purged\n");
        return CLI_OK;
    }
    int code = cli_judge(options, &response, "purge");
    return code == CLI_OK ? show_purged(options, &response) : code;
}

int cli_purge(const struct cli_options *options)
{
    if (options->argument_count == 0)
        return purge_by(options);
    const char *id = options->arguments[0];
    char subject[320];
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, "/instances/", id);
    subject_of(id, subject);
    int code = call(options, "DELETE", &path, NULL, subject, &response);
    return code == CLI_OK ? show_purged(options, &response) : code;
}
