/*
 * `taskhub entity`: signals to entities, their states, and lists of them, over the hub's API.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/http.h"
#include "cli/pages.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "model/name.h"

static int64_t request_timeout(const struct cli_options *options)
{
    return options->timeout == CLI_NOT_GIVEN ? 60000 : options->timeout;
}

static int send_to(const struct cli_options *options, const char *method, struct th_buffer *path,
                   const char *body, const char *subject, struct cli_response *out)
{
    TH_AUTOFREE char *text = th_buffer_take(path);
    struct cli_request request = {
        .method = method, .path = text, .body = body, .timeout_ms = request_timeout(options)};
    cli_send(options, &request, out);
    return cli_judge(options, out, subject);
}

/* ---- one entity ------------------------------------------------------------------------------ */

/* "/entities/NAME/KEY" for an id of the form @NAME@KEY. False: it is none, which was said. */
static bool entity_path(const char *id, struct th_buffer *path)
{
    TH_ARENA arena = {0};
    struct th_error error;
    struct th_str text = th_str_of(id);
    const char *second = id[0] == '@' ? strchr(id + 1, '@') : NULL;
    if (!second) {
        fprintf(stderr, "taskhub entity: \"%s\" is no entity's id: @NAME@KEY, as @counter@apples\n",
                id);
        return false;
    }
    TH_AUTOFREE char *name = th_str_dup(th_entity_name(text));
    if (!th_entity_name_check(th_str_of(name), &error) ||
        !th_entity_id_check(th_entity_id(&arena, th_str_of(name), th_str_of(second + 1)), &error)) {
        fprintf(stderr, "taskhub entity: %s\n", error.message);
        return false;
    }
    cli_path(path, "/entities/", name);
    cli_path(path, "/", second[1] ? second + 1 : "$"); /* a segment cannot be empty */
    return true;
}

static bool check_time(const char *option, const char *text)
{
    th_time parsed;
    if (!text || th_time_parse(th_str_of(text), &parsed))
        return true;
    fprintf(stderr, "taskhub: --%s: \"%s\" is no time such as 2026-11-22T10:00:00Z\n", option,
            text);
    return false;
}

static int say_signaled(const struct cli_options *options)
{
    const char *id = options->arguments[1], *operation = options->arguments[2];
    if (options->json) {
        json_t *said = json_pack("{s:s, s:s}", "entityId", id, "signaled", operation);
        cli_print_json(said);
        json_decref(said);
    } else {
        printf("%s: signaled %s\n", id, operation);
    }
    return CLI_OK;
}

static int signal_entity(const struct cli_options *options)
{
    bool ok;
    char subject[320];
    TH_BUFFER path = {NULL, 0, 0};
    CLI_RESPONSE response = {.status = 0};
    TH_AUTOFREE char *input = cli_json_text(options->input, "input", &ok);
    if (!ok || !check_time("at", options->at) || !entity_path(options->arguments[1], &path))
        return CLI_USAGE;
    cli_path(&path, "?op=", options->arguments[2]);
    if (options->at)
        cli_path(&path, "&scheduledTime=", options->at);
    snprintf(subject, sizeof subject, "entity %s", options->arguments[1]);
    int code = send_to(options, "POST", &path, input, subject, &response);
    return code == CLI_OK ? say_signaled(options) : code;
}

static int read_entity(const struct cli_options *options)
{
    char subject[320];
    TH_BUFFER path = {NULL, 0, 0};
    CLI_RESPONSE response = {.status = 0};
    if (!entity_path(options->arguments[1], &path))
        return CLI_USAGE;
    snprintf(subject, sizeof subject, "entity %s with a state", options->arguments[1]);
    int code = send_to(options, "GET", &path, NULL, subject, &response);
    if (code == CLI_OK)
        cli_print_json(response.json);
    return code;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void add_query(struct th_buffer *path, const char *name, const char *value)
{
    th_buffer_format(path, "&%s", name);
    cli_path(path, "=", value);
}

static void list_path(const struct cli_options *options, int64_t rows, struct th_buffer *path)
{
    th_buffer_text(path, "/entities");
    if (options->argument_count > 1)
        cli_path(path, "/", options->arguments[1]);
    th_buffer_format(path, "?fetchState=true&top=%lld", (long long)rows);
    if (options->changed_from)
        add_query(path, "lastOperationTimeFrom", options->changed_from);
    if (options->changed_to)
        add_query(path, "lastOperationTimeTo", options->changed_to);
}

static void show_list(const json_t *all)
{
    static const char *const titles[] = {"ENTITY", "LAST OPERATION", "STATE"};
    struct cli_table table = {.columns = TH_COUNT(titles), .titles = titles};
    size_t i;
    json_t *row;
    json_array_foreach(all, i, row) {
        const json_t *id = json_object_get(row, "entityId");
        TH_BUFFER text = {NULL, 0, 0};
        th_buffer_format(&text, "@%s@%s", json_string_value(json_object_get(id, "name")),
                         json_string_value(json_object_get(id, "key")));
        TH_AUTOFREE char *name = th_buffer_take(&text);
        cli_table_cell(&table, name);
        cli_table_cell(&table, json_string_value(json_object_get(row, "lastOperationTime")));
        cli_table_json_cell(&table, json_object_get(row, "state"));
    }
    cli_table_print(&table);
}

static int list_entities(const struct cli_options *options)
{
    const struct cli_pages pages = {.subject = "list of entities",
                                    .timeout_ms = request_timeout(options),
                                    .path = list_path,
                                    .show = show_list};
    if (!check_time("changed-from", options->changed_from) ||
        !check_time("changed-to", options->changed_to))
        return CLI_USAGE;
    return cli_print_pages(options, &pages);
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct {
    const char *verb, *arguments;
    int least, most; /* with the verb */
    int (*run)(const struct cli_options *options);
} verbs[] = {
    {"signal", "@NAME@KEY OPERATION", 3, 3, signal_entity},
    {"read", "@NAME@KEY", 2, 2, read_entity},
    {"list", "[NAME]", 1, 2, list_entities},
};

int cli_entity(const struct cli_options *options)
{
    const char *verb = options->arguments[0];
    for (size_t i = 0; i < TH_COUNT(verbs); i++) {
        if (strcmp(verb, verbs[i].verb) != 0)
            continue;
        if (options->argument_count >= verbs[i].least && options->argument_count <= verbs[i].most)
            return verbs[i].run(options);
        fprintf(stderr, "taskhub entity: it is: taskhub entity %s %s\n", verb, verbs[i].arguments);
        return CLI_USAGE;
    }
    fprintf(stderr, "taskhub entity: \"%s\" is none of signal, read, list\n", verb);
    return CLI_USAGE;
}
