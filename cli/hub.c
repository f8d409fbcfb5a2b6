/*
 * `taskhub hub`: over the API of a running hub, or, with --db or --kafka, where hubs are kept.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/fleet.h"
#include "cli/http.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "coordinator/store_kafka.h"

#define FLEET_PARTITIONS 12 /* as host.json's storageProvider.partitionCount */

struct hub_call {
    const struct cli_options *options;
    const char *name;                 /* NULL: none given */
    const struct th_hub_store *store; /* NULL: over the API */
};

/* ---- in the store ---------------------------------------------------------------------------- */

static void show_hub(const struct cli_options *options, json_t *hub)
{
    if (options->json) {
        cli_print_json(hub);
    } else {
        char partitions[24];
        snprintf(partitions, sizeof partitions, "%lld",
                 (long long)json_integer_value(json_object_get(hub, "partitions")));
        cli_print_field("Hub", json_string_value(json_object_get(hub, "name")));
        cli_print_field("Partitions", partitions);
        cli_print_field("Created", json_string_value(json_object_get(hub, "created")));
        cli_print_field("Incarnation", json_string_value(json_object_get(hub, "incarnation")));
    }
    json_decref(hub);
}

static void show_hubs(const struct cli_options *options, const json_t *list)
{
    static const char *const titles[] = {"HUB", "PARTITIONS", "CREATED"};
    struct cli_table table = {.columns = TH_COUNT(titles), .titles = titles};
    size_t i;
    json_t *hub;
    if (options->json) {
        cli_print_json(list);
        return;
    }
    json_array_foreach(list, i, hub) {
        cli_table_cell(&table, json_string_value(json_object_get(hub, "name")));
        cli_table_json_cell(&table, json_object_get(hub, "partitions"));
        cli_table_cell(&table, json_string_value(json_object_get(hub, "created")));
    }
    cli_table_print(&table);
}

static uint32_t partitions_of(const struct cli_options *options)
{
    return options->partitions == CLI_NOT_GIVEN       ? (options->kafka ? FLEET_PARTITIONS : 1)
           : options->partitions > (int64_t)INT32_MAX ? UINT32_MAX
                                                      : (uint32_t)options->partitions;
}

static int store_create(const struct hub_call *call)
{
    struct th_error error;
    struct th_hub_record hub;
    if (!th_provision_create(call->store, call->name, partitions_of(call->options), &hub, &error))
        return cli_refused(&error);
    show_hub(call->options, th_provision_json(&hub));
    return CLI_OK;
}

static int store_list(const struct hub_call *call)
{
    struct th_error error;
    struct th_hub_record *hubs = NULL;
    size_t count = 0;
    if (!th_provision_list(call->store, &hubs, &count, &error))
        return cli_refused(&error);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, th_provision_json(&hubs[i]));
    show_hubs(call->options, list);
    json_decref(list);
    free(hubs);
    return CLI_OK;
}

static int say_deleted(const struct hub_call *call)
{
    if (call->options->json)
        printf("{\"name\": \"%s\", \"done\": \"deleted\"}\n", call->name);
    else
        printf("hub %s deleted\n", call->name);
    return CLI_OK;
}

static int store_delete(const struct hub_call *call)
{
    struct th_error error;
    if (!th_provision_delete(call->store, call->name, &error))
        return cli_refused(&error);
    return say_deleted(call);
}

static int store_show(const struct hub_call *call)
{
    struct th_error error;
    struct th_hub_record hub;
    if (!th_provision_show(call->store, call->name, &hub, &error))
        return cli_refused(&error);
    show_hub(call->options, th_provision_json(&hub));
    return CLI_OK;
}

/* ---- over the API ---------------------------------------------------------------------------- */

static int send_hub(const struct hub_call *call, const char *method, const char *base,
                    const char *body, struct cli_response *out)
{
    char subject[128];
    TH_BUFFER path = {NULL, 0, 0};
    cli_path(&path, base, call->name);
    TH_AUTOFREE char *text = th_buffer_take(&path);
    struct cli_request request = {
        .method = method, .path = text, .body = body, .timeout_ms = 60000};
    cli_send(call->options, &request, out);
    snprintf(subject, sizeof subject, "hub %s", call->name ? call->name : "list");
    return cli_judge(call->options, out, subject);
}

static int api_create(const struct hub_call *call)
{
    char body[64] = "{}";
    CLI_RESPONSE response = {.status = 0};
    if (call->options->partitions != CLI_NOT_GIVEN)
        snprintf(body, sizeof body, "{\"partitions\": %" PRIu32 "}", partitions_of(call->options));
    int code = send_hub(call, "POST", "/hubs/", body, &response);
    if (code == CLI_OK)
        show_hub(call->options, json_incref(response.json));
    return code;
}

static int api_list(const struct hub_call *call)
{
    CLI_RESPONSE response = {.status = 0};
    int code = send_hub(call, "GET", "/hubs", NULL, &response);
    if (code == CLI_OK)
        show_hubs(call->options, response.json);
    return code;
}

static int api_delete(const struct hub_call *call)
{
    CLI_RESPONSE response = {.status = 0};
    int code = send_hub(call, "DELETE", "/hubs/", NULL, &response);
    return code == CLI_OK ? say_deleted(call) : code;
}

/* The running hub's view, as tables: what a person wants to see first; all of it is in --json. */
struct column {
    const char *title, *key;
};

static void show_rows(const char *title, const json_t *rows, const struct column *columns,
                      size_t count)
{
    const char *titles[8];
    struct cli_table table = {.columns = count, .titles = titles};
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0)
        return;
    for (size_t n = 0; n < count; n++)
        titles[n] = columns[n].title;
    printf("\n%s\n", title);
    json_array_foreach(rows, i, row) {
        for (size_t n = 0; n < count; n++)
            cli_table_json_cell(&table, json_object_get(row, columns[n].key));
    }
    cli_table_print(&table);
}

static void show_fields(const json_t *hub)
{
    static const struct column fields[] = {{"Hub", "name"},
                                           {"Created", "created"},
                                           {"Partitions", "partitions"},
                                           {"Waiting messages", "instanceMessages"},
                                           {"Open activities", "activityMessages"},
                                           {"Timers", "timers"},
                                           {"In memory", "instancesInMemory"}};
    for (size_t i = 0; i < TH_COUNT(fields); i++) {
        TH_AUTOFREE char *value =
            json_dumps(json_object_get(hub, fields[i].key), JSON_ENCODE_ANY | JSON_COMPACT);
        const char *text = json_string_value(json_object_get(hub, fields[i].key));
        printf("%-18s%s\n", fields[i].title, text ? text : value ? value : "");
    }
}

/* "activity pay, activity ship": what each member serves. */
static void show_served(const json_t *members)
{
    size_t i, n;
    json_t *member, *function;
    json_array_foreach(members, i, member) {
        const json_t *functions = json_object_get(member, "functions");
        if (json_array_size(functions) == 0)
            continue;
        printf("\nServed by %s\n", json_string_value(json_object_get(member, "name")));
        json_array_foreach(functions, n, function) {
            printf("  %s %s: %lld requests, %lld errors, %.1f ms\n",
                   json_string_value(json_object_get(function, "kind")),
                   json_string_value(json_object_get(function, "name")),
                   (long long)json_integer_value(json_object_get(function, "requests")),
                   (long long)json_integer_value(json_object_get(function, "errors")),
                   json_number_value(json_object_get(function, "averageMs")));
        }
    }
}

static void show_view(const json_t *hub)
{
    static const struct column partitions[] = {
        {"PARTITION", "partition"},    {"OWNER", "owner"},    {"EPOCH", "epoch"},
        {"POSITION", "inboxPosition"}, {"END", "inboxEnd"},   {"LAG", "lag"},
        {"OLDEST", "oldestMessage"},   {"TROUBLE", "trouble"}};
    static const struct column members[] = {{"MEMBER", "name"},
                                            {"KIND", "kind"},
                                            {"URL", "url"},
                                            {"APPLICATION", "application"},
                                            {"RUNNING", "running"},
                                            {"WAITING", "waiting"},
                                            {"PARTITIONS", "partitions"}};
    static const struct column unserved[] = {
        {"NOBODY SERVES", "name"}, {"KIND", "kind"}, {"WAITING", "waiting"}};
    show_fields(hub);
    show_rows("Partitions", json_object_get(hub, "partitionDetails"), partitions,
              TH_COUNT(partitions));
    show_rows("Members", json_object_get(hub, "members"), members, TH_COUNT(members));
    show_served(json_object_get(hub, "members"));
    show_rows("Work that waits", json_object_get(hub, "unserved"), unserved, TH_COUNT(unserved));
}

/* Of a hub beside the running one only its record is known. */
static int api_show(const struct hub_call *call)
{
    CLI_RESPONSE response = {.status = 0};
    int code = send_hub(call, "GET", call->name ? "/hubs/" : "/hub", NULL, &response);
    if (code != CLI_OK)
        return code;
    if (call->name)
        show_hub(call->options, json_incref(response.json));
    else if (call->options->json)
        cli_print_json(response.json);
    else
        show_view(response.json);
    return CLI_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct {
    const char *verb;
    bool needs_name, needs_name_in_store;
    int (*over_api)(const struct hub_call *call);
    int (*in_store)(const struct hub_call *call);
} verbs[] = {
    {"create", true, true, api_create, store_create},
    {"list", false, false, api_list, store_list},
    {"delete", true, true, api_delete, store_delete},
    {"show", false, true, api_show, store_show},
};

static int run_verb(size_t i, const struct hub_call *call)
{
    if (!call->name && (call->store ? verbs[i].needs_name_in_store : verbs[i].needs_name)) {
        fprintf(stderr, "taskhub hub %s: needs the hub's name\n", verbs[i].verb);
        return CLI_USAGE;
    }
    return call->store ? verbs[i].in_store(call) : verbs[i].over_api(call);
}

static int run_in_kafka(size_t i, struct hub_call *call)
{
    CLI_FLEET fleet;
    if (!cli_fleet_init(&fleet, call->options))
        return CLI_USAGE;
    struct th_kafka_store kafka = {
        .cluster = &fleet.place.cluster,
        .redis = fleet.options.redis ? fleet.place.redis : NULL,
    };
    th_kafka_store(&kafka);
    call->store = &kafka.store;
    return run_verb(i, call);
}

int cli_hub(const struct cli_options *options)
{
    struct th_hub_store file = th_file_store(options->db);
    struct hub_call call = {.options = options,
                            .name = options->argument_count > 1 ? options->arguments[1] : NULL,
                            .store = options->db ? &file : NULL};
    for (size_t i = 0; i < TH_COUNT(verbs); i++) {
        if (strcmp(options->arguments[0], verbs[i].verb) == 0)
            return options->kafka ? run_in_kafka(i, &call) : run_verb(i, &call);
    }
    fprintf(stderr, "taskhub hub: \"%s\" is none of create, list, delete, show\n",
            options->arguments[0]);
    return CLI_USAGE;
}
