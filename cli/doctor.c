/*
 * `taskhub doctor`: examines a hub by what is stored of it and prints what was found. What may only
 * be a matter of time, as on a hub that runs, is looked at a second time; what both looks have
 * found stands.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/queue.h"
#include "cli/examine.h"
#include "cli/fleet.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "provider/fleet/connect.h"
#include "provider/sqlite/sqlite.h"

#define READY_PATIENCE (5 * TH_SECOND)
#define BETWEEN_LOOKS  (3 * TH_SECOND)

/* ---- looks ----------------------------------------------------------------------------------- */

struct looks {
    struct th_doctor *first, *last; /* `first` is NULL after one look */
};

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool found_before(const struct looks *looks, const struct th_doctor_finding *finding)
{
    const struct th_doctor_finding *f;
    if (!looks->first)
        return true;
    for (size_t n = 0; (f = th_doctor_finding(looks->first, n)); n++)
        if (f->kind == finding->kind && f->partition == finding->partition &&
            same_text(f->instance_id, finding->instance_id))
            return true;
    return false;
}

static void pause_for(th_time time)
{
    struct th_queue pause;
    th_queue_init(&pause);
    th_queue_wait(&pause, th_monotonic() + time);
    th_queue_deinit(&pause);
}

static bool look(struct cli_patient *patient, struct looks *looks, struct th_error *error)
{
    looks->last = cli_examine(patient, error);
    if (!looks->last || th_doctor_healthy(looks->last) || !patient->fleet)
        return looks->last != NULL;
    looks->first = looks->last;
    pause_for(BETWEEN_LOOKS);
    looks->last = cli_examine(patient, error);
    return looks->last != NULL;
}

static void looks_end(struct looks *looks)
{
    th_doctor_free(looks->first);
    th_doctor_free(looks->last);
}

/* ---- what is reported ------------------------------------------------------------------------ */

struct report {
    const struct cli_options *options;
    const struct looks *looks;
    const char *instance; /* NULL: all */
    json_t *instances, *findings, *ended;
    bool healthy, there;
};

static json_t *json_time(th_time t)
{
    char text[40];
    if (t == TH_TIME_NONE)
        return json_null();
    th_time_format(t, 3, text);
    return json_string(text);
}

static json_t *json_str(struct th_str s)
{
    json_t *text = json_stringn(s.data ? s.data : "", s.len);
    return text ? text : json_string("?");
}

static bool is_asked_for(const struct report *r, struct th_str id)
{
    return !r->instance || th_str_eq(id, th_str_of(r->instance));
}

/* Those that have ended are only counted. */
static void report_instance(void *argument, const struct th_doctor_instance *i)
{
    struct report *r = argument;
    if (i->state == TH_DOCTOR_ENDED || i->state == TH_DOCTOR_RESTING) {
        const char *status = th_status_text(i->status);
        json_int_t count = json_integer_value(json_object_get(r->ended, status));
        json_object_set_new(r->ended, status, json_integer(count + 1));
    }
    if (!is_asked_for(r, i->instance_id) || (!r->instance && i->state == TH_DOCTOR_ENDED) ||
        (!r->instance && i->state == TH_DOCTOR_RESTING))
        return;
    r->there = true;
    json_array_append_new(r->instances,
                          json_pack("{s:o, s:o, s:s, s:s, s:i, s:o, s:o, s:s}", "instanceId",
                                    json_str(i->instance_id), "name", json_str(i->name),
                                    "runtimeStatus", th_status_text(i->status), "state",
                                    th_doctor_state_text(i->state), "partition", (int)i->partition,
                                    "created", json_time(i->created), "lastUpdated",
                                    json_time(i->updated), "explanation", i->text));
}

static void report_finding(struct report *r, const struct th_doctor_finding *f)
{
    const enum th_doctor_severity severity = th_doctor_severity(f->kind);
    if (!found_before(r->looks, f))
        return;
    if (r->instance && !is_asked_for(r, th_str_of(f->instance_id)))
        return;
    r->healthy = r->healthy && severity == TH_DOCTOR_NOTE;
    json_t *one = json_pack("{s:s, s:s, s:s, s:o}", "severity", th_doctor_severity_text(severity),
                            "kind", th_doctor_kind_text(f->kind), "meaning",
                            th_doctor_kind_meaning(f->kind), "text", json_str(th_str_of(f->text)));
    if (f->partition >= 0)
        json_object_set_new(one, "partition", json_integer(f->partition));
    if (f->instance_id)
        json_object_set_new(one, "instanceId", json_str(th_str_of(f->instance_id)));
    json_array_append_new(r->findings, one);
}

#define COUNTS(X)                                       \
    X(ended, "instancesEnded")                          \
    X(resting, "entitiesAtRest")                        \
    X(waiting_instances, "instancesWaiting")            \
    X(stuck, "instancesStuck")                          \
    X(valid, "recordsValid")                            \
    X(fenced, "recordsFencedOut")                       \
    X(foreign, "recordsOfEarlierHub")                   \
    X(claims, "claims")                                 \
    X(consumed_locally, "localMessagesConsumed")        \
    X(messages, "inboxMessages")                        \
    X(waiting, "inboxMessagesWaiting")                  \
    X(repeated, "inboxMessagesSentAgain")               \
    X(sent, "messagesBetweenPartitions")                \
    X(found, "messagesFound")                           \
    X(trimmed, "messagesTrimmed")                       \
    X(from_before, "messagesOfCleanedRecords")          \
    X(activities, "activityMessages")                   \
    X(activities_repeated, "activityMessagesSentAgain") \
    X(rows, "rows")                                     \
    X(equal, "rowsEqual")                               \
    X(older, "rowsOfCleanedRecords")                    \
    X(workers, "workers")

static json_t *json_counts(const struct th_doctor *d)
{
    struct th_doctor_counts counts;
    json_t *out = json_object();
    th_doctor_count(d, &counts);
#define X(field, name) json_object_set_new(out, name, json_integer((json_int_t)counts.field));
    COUNTS(X)
#undef X
    return out;
}

/* ---- for people ------------------------------------------------------------------------------ */

static long long count_of(const json_t *counts, const char *name)
{
    return (long long)json_integer_value(json_object_get(counts, name));
}

static void print_instances(const json_t *instances)
{
    static const char *const titles[] = {"INSTANCE", "STATUS", "STATE", "WAITS FOR"};
    static const char *const fields[] = {"instanceId", "runtimeStatus", "state", "explanation"};
    struct cli_table table = {.columns = TH_COUNT(titles), .titles = titles};
    size_t i;
    json_t *instance;
    if (json_array_size(instances) == 0)
        return;
    putchar('\n');
    json_array_foreach(instances, i, instance)
        for (size_t f = 0; f < TH_COUNT(fields); f++)
            cli_table_json_cell(&table, json_object_get(instance, fields[f]));
    cli_table_print(&table);
}

static void print_findings(const json_t *findings)
{
    size_t i;
    json_t *finding;
    if (json_array_size(findings) > 0)
        putchar('\n');
    json_array_foreach(findings, i, finding)
        printf("%s: %s (%s)\n", json_string_value(json_object_get(finding, "severity")),
               json_string_value(json_object_get(finding, "text")),
               json_string_value(json_object_get(finding, "kind")));
}

static void print_counts(const json_t *c)
{
    printf("Instances   %lld ended, %lld wait, %lld stuck; %lld entities at rest\n",
           count_of(c, "instancesEnded"), count_of(c, "instancesWaiting"),
           count_of(c, "instancesStuck"), count_of(c, "entitiesAtRest"));
    printf("Log         %lld valid records, %lld of replaced owners left out, %lld claims\n",
           count_of(c, "recordsValid"), count_of(c, "recordsFencedOut"), count_of(c, "claims"));
    printf("Messages    %lld kept in inboxes: %lld not consumed yet, %lld sent again; of %lld "
           "between partitions %lld found, %lld trimmed\n",
           count_of(c, "inboxMessages"), count_of(c, "inboxMessagesWaiting"),
           count_of(c, "inboxMessagesSentAgain"), count_of(c, "messagesBetweenPartitions"),
           count_of(c, "messagesFound"), count_of(c, "messagesTrimmed"));
    printf("Activities  %lld messages kept, %lld sent again\n", count_of(c, "activityMessages"),
           count_of(c, "activityMessagesSentAgain"));
    printf("Projection  %lld rows, %lld equal to the log, %lld of records that were cleaned\n",
           count_of(c, "rows"), count_of(c, "rowsEqual"), count_of(c, "rowsOfCleanedRecords"));
    printf("Workers     %lld\n", count_of(c, "workers"));
}

static void print_report(const struct report *r, const json_t *counts, const char *hub)
{
    size_t findings = json_array_size(r->findings);
    printf("Hub %s\n\n", hub);
    print_counts(counts);
    print_instances(r->instances);
    print_findings(r->findings);
    putchar('\n');
    if (r->healthy)
        puts(r->instance ? "The instance is well." : "The hub is well.");
    else
        printf("%s not well: %zu findings.\n", r->instance ? "The instance is" : "The hub is",
               findings);
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static int report(const struct cli_options *options, const struct looks *looks, const char *hub)
{
    struct report r = {.options = options,
                       .looks = looks,
                       .instance = options->argument_count > 0 ? options->arguments[0] : NULL,
                       .instances = json_array(),
                       .findings = json_array(),
                       .ended = json_object(),
                       .healthy = true};
    const struct th_doctor_finding *finding;
    json_auto_t *counts = json_counts(looks->last);
    th_doctor_each(looks->last, report_instance, &r);
    for (size_t n = 0; (finding = th_doctor_finding(looks->last, n)); n++)
        report_finding(&r, finding);
    json_auto_t *all =
        json_pack("{s:s, s:b, s:O, s:o, s:o, s:o}", "hub", hub, "healthy", r.healthy, "counts",
                  counts, "ended", r.ended, "instances", r.instances, "findings", r.findings);
    if (r.instance && !r.there) {
        fprintf(stderr, "taskhub: hub %s holds no instance %s\n", hub, r.instance);
        return CLI_NOT_FOUND;
    }
    if (options->json)
        cli_print_json(all);
    else
        print_report(&r, counts, hub);
    return r.healthy ? CLI_OK : CLI_UNHEALTHY;
}

static int examine(const struct cli_options *options, struct cli_patient *patient)
{
    struct looks looks = {.first = NULL};
    struct th_error error = {.code = TH_INTERNAL, .message = "the hub could not be read"};
    int code = look(patient, &looks, &error) ? report(options, &looks, patient->provider->hub.name)
                                             : cli_refused(&error);
    looks_end(&looks);
    return code;
}

/* ---- a fleet --------------------------------------------------------------------------------- */

/* Heartbeats come within an instant where there are any. */
static void await_members(struct th_control *control)
{
    th_time deadline = th_monotonic() + READY_PATIENCE;
    while (!th_control_ready(control) && th_monotonic() < deadline)
        pause_for(10 * TH_MILLISECOND);
}

static int examine_fleet(const struct cli_options *options)
{
    CLI_FLEET fleet;
    struct th_error error;
    struct th_kafka_hub hub;
    int code = CLI_ERROR;
    if (!cli_fleet_init(&fleet, options))
        return CLI_USAGE;
    if (!th_kafka_find_hub(&fleet.place.cluster, cli_fleet_hub(&fleet), &hub, &error))
        return cli_refused(&error);
    const struct th_kafka_options log = {.cluster = fleet.place.cluster, .hub = hub.record.name};
    const struct th_control_options members = {
        .cluster = &fleet.place.cluster, .hub = &hub.record, .log = &fleet.log};
    struct cli_patient patient = {.fleet = &hub};
    patient.provider = th_fleet_connect(&log, fleet.place.redis, &error);
    if (!patient.provider)
        return cli_refused(&error);
    cli_patient_init(&patient);
    patient.survey = th_kafka_survey_open(&fleet.place.cluster, &hub, &error);
    patient.control = patient.survey ? th_control_open(&members, &error) : NULL;
    if (patient.control) {
        await_members(patient.control);
        code = examine(options, &patient);
    } else {
        code = cli_refused(&error);
    }
    cli_patient_deinit(&patient);
    return code;
}

/* ---- a file ---------------------------------------------------------------------------------- */

/* The hub that was named, or the only one. Returns an exit code. */
static int choose_hub(const struct cli_options *options, char name[static 64])
{
    struct th_error error;
    struct th_hub_record *hubs = NULL;
    size_t count = 0;
    if (options->hub) {
        snprintf(name, 64, "%s", options->hub);
        return CLI_OK;
    }
    if (!th_sqlite_list_hubs(options->db, &hubs, &count, &error))
        return cli_refused(&error);
    if (count == 1)
        snprintf(name, 64, "%s", hubs[0].name);
    else
        fprintf(stderr, "taskhub: %s holds %zu hubs; say which one with --hub\n", options->db,
                count);
    free(hubs);
    return count == 1 ? CLI_OK : CLI_NOT_FOUND;
}

static int examine_file(const struct cli_options *options)
{
    struct th_error error;
    char hub[64];
    int code = choose_hub(options, hub);
    if (code != CLI_OK)
        return code;
    const struct th_sqlite_options file = {.file = options->db, .hub = hub};
    struct cli_patient patient = {.provider = th_sqlite_open(&file, &error)};
    if (!patient.provider)
        return cli_refused(&error);
    cli_patient_init(&patient);
    code = examine(options, &patient);
    cli_patient_deinit(&patient);
    return code;
}

int cli_doctor(const struct cli_options *options)
{
    return options->db ? examine_file(options) : examine_fleet(options);
}
