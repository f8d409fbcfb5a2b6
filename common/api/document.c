#include "api/document.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/text.h"
#include "api/url.h"
#include "model/json.h"

/* ---- small pieces -------------------------------------------------------------------------- */

static void put_key(struct th_buffer *out, const char *key)
{
    th_buffer_format(out, "\"%s\":", key);
}

static void put_text(struct th_buffer *out, const char *key, struct th_str value)
{
    put_key(out, key);
    if (th_str_present(value)) {
        th_json_put_string(out, value);
    } else {
        th_buffer_text(out, "null");
    }
    th_buffer_text(out, ",");
}

static void put_payload(struct th_buffer *out, const char *key, struct th_str value)
{
    put_key(out, key);
    th_json_put_payload(out, value);
    th_buffer_text(out, ",");
}

static void put_time(struct th_buffer *out, const char *key, th_time time)
{
    char text[40];
    if (time == TH_TIME_NONE) {
        put_text(out, key, TH_STR_ABSENT);
        return;
    }
    th_time_format(time, 0, text);
    put_text(out, key, th_str_of(text));
}

static void put_number(struct th_buffer *out, const char *key, int64_t value)
{
    th_buffer_format(out, "\"%s\":%" PRId64 ",", key, value);
}

static void put_unsigned(struct th_buffer *out, const char *key, uint64_t value)
{
    th_buffer_format(out, "\"%s\":%" PRIu64 ",", key, value);
}

/* Ends an object or array whose items all end in a comma. */
static void put_end(struct th_buffer *out, char bracket)
{
    if (out->len && out->data[out->len - 1] == ',') {
        out->len--;
    }
    th_buffer_add(out, &bracket, 1);
}

/* `value` is stolen; NULL is null. */
static void put_json(struct th_buffer *out, const char *key, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    put_key(out, key);
    th_buffer_text(out, text ? text : "null");
    th_buffer_text(out, ",");
    free(text);
    json_decref(value);
}

/* ---- status -------------------------------------------------------------------------------- */

/* A failed instance shows its failure's message where its result would be. */
static void put_output(struct th_buffer *out, const struct th_instance_info *info)
{
    bool message = !th_str_present(info->output) && info->failure;
    if (message) {
        put_text(out, "output", info->failure->message);
    } else {
        put_payload(out, "output", info->output);
    }
}

void th_document_status(struct th_buffer *out, const struct th_instance_info *info,
                        const struct th_status_form *form, const struct th_event *history,
                        size_t history_count)
{
    th_buffer_text(out, "{");
    put_text(out, "name", info->name);
    put_text(out, "instanceId", info->instance_id);
    put_text(out, "runtimeStatus", th_str_of(th_status_text(info->status)));
    put_payload(out, "input", form->input ? info->input : TH_STR_ABSENT);
    put_payload(out, "customStatus", info->custom_status);
    put_output(out, info);
    put_time(out, "createdTime", info->created);
    put_time(out, "lastUpdatedTime", info->updated);
    if (info->failure) {
        put_json(out, "failureDetails", th_failure_json(info->failure));
    }
    if (form->history) {
        put_json(out, "historyEvents",
                 th_history_fold_json(history, history_count, form->history_input,
                                      form->history_output));
    }
    put_end(out, '}');
}

/* ---- entities ------------------------------------------------------------------------------ */

void th_document_entity(struct th_buffer *out, const struct th_instance_info *info)
{
    char time[40];
    th_time_format(info->updated, 7, time);
    th_buffer_text(out, "{\"entityId\":{\"name\":");
    th_json_put_string(out, th_entity_name(info->instance_id));
    th_buffer_text(out, ",\"key\":");
    th_json_put_string(out, th_entity_key(info->instance_id));
    th_buffer_format(out, "},\"lastOperationTime\":\"%s\",\"state\":", time);
    th_json_put_payload(out, info->output);
    th_buffer_text(out, "}");
}

/* ---- links --------------------------------------------------------------------------------- */

static void put_parameters(struct th_buffer *out, const struct th_links *links)
{
    th_buffer_text(out, "taskHub=");
    th_url_put_encoded(out, links->hub);
    th_buffer_text(out, "&connection=Storage");
    if (th_str_present(links->key)) {
        th_buffer_text(out, "&code=");
        th_url_put_encoded(out, links->key);
    }
}

static void put_base(struct th_buffer *out, const struct th_links *links)
{
    th_buffer_str(out, links->origin);
    th_buffer_text(out, TH_MANAGEMENT_PATH);
}

/* ".../instances/{id}<verb>?<first>taskHub=...": `verb` begins with a slash or is empty. */
static void put_instance_url(struct th_buffer *out, const struct th_links *links, struct th_str id,
                             const char *verb, const char *first)
{
    put_base(out, links);
    th_buffer_text(out, "/instances/");
    th_url_put_encoded(out, id);
    th_buffer_format(out, "%s?%s", verb, first);
    put_parameters(out, links);
}

void th_document_status_url(struct th_buffer *out, const struct th_links *links,
                            struct th_str instance_id)
{
    put_instance_url(out, links, instance_id, "", "");
    if (links->fail_with_500) {
        th_buffer_text(out, "&returnInternalServerErrorOnFailure=true");
    }
}

struct link {
    const char *key, *verb, *first;
    bool managed_only; /* part of a binding's management URLs, not of a 202's body */
};

static const struct link links_table[] = {
    {"statusQueryGetUri", "", "", false},
    {"sendEventPostUri", "/raiseEvent/{eventName}", "", false},
    {"terminatePostUri", "/terminate", "reason={text}&", false},
    {"rewindPostUri", "/rewind", "reason={text}&", true},
    {"purgeHistoryDeleteUri", "", "", false},
    {"restartPostUri", "/restart", "", false},
    {"suspendPostUri", "/suspend", "reason={text}&", false},
    {"resumePostUri", "/resume", "reason={text}&", false},
};

static void put_links(struct th_buffer *out, const struct th_links *links, struct th_str id,
                      bool managed)
{
    th_buffer_text(out, "{");
    put_text(out, "id", id);
    for (size_t i = 0; i < sizeof(links_table) / sizeof(links_table[0]); i++) {
        const struct link *link = &links_table[i];
        TH_BUFFER url = {0};
        if (link->managed_only && !managed) {
            continue;
        }
        if (i == 0) {
            th_document_status_url(&url, links, id);
        } else {
            put_instance_url(&url, links, id, link->verb, link->first);
        }
        put_text(out, link->key, th_buffer_view(&url));
    }
    put_end(out, '}');
}

void th_document_check_status(struct th_buffer *out, const struct th_links *links,
                              struct th_str instance_id)
{
    put_links(out, links, instance_id, false);
}

static void put_creation_url(struct th_buffer *out, const struct th_links *links, const char *key,
                             const char *first)
{
    TH_BUFFER url = {0};
    put_base(&url, links);
    th_buffer_format(&url, "/orchestrators/{functionName}[/{instanceId}]?%s", first);
    put_parameters(&url, links);
    put_text(out, key, th_buffer_view(&url));
}

void th_document_binding(struct th_buffer *out, const struct th_links *links)
{
    TH_BUFFER base = {0}, rpc = {0}, parameters = {0};
    put_base(&base, links);
    th_buffer_str(&rpc, links->origin);
    th_buffer_text(&rpc, TH_RPC_PATH "/"); /* clients append to it as it is */
    put_parameters(&parameters, links);
    th_buffer_text(out, "{");
    put_text(out, "taskHubName", links->hub);
    put_text(out, "connectionName", TH_STR("Storage"));
    th_buffer_text(out, "\"creationUrls\":{");
    put_creation_url(out, links, "createNewInstancePostUri", "");
    put_creation_url(out, links, "createAndWaitOnNewInstancePostUri",
                     "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}&");
    put_end(out, '}');
    th_buffer_text(out, ",\"managementUrls\":");
    put_links(out, links, TH_STR("INSTANCEID"), true);
    th_buffer_text(out, ",");
    put_text(out, "baseUrl", th_buffer_view(&base));
    put_text(out, "requiredQueryStringParameters", th_buffer_view(&parameters));
    put_text(out, "rpcBaseUrl", th_buffer_view(&rpc));
    put_text(out, "httpBaseUrl", th_buffer_view(&base));
    put_end(out, '}');
}

/* ---- hub ----------------------------------------------------------------------------------- */

static void put_unserved(struct th_buffer *out, const struct th_hub_view *hub)
{
    th_buffer_text(out, "\"unserved\":[");
    for (size_t i = 0; i < hub->unserved_count; i++) {
        th_buffer_text(out, "{");
        put_text(out, "name", hub->unserved[i].name);
        put_text(out, "kind", th_str_of(th_function_kind_text(hub->unserved[i].kind)));
        put_unsigned(out, "waiting", hub->unserved[i].waiting);
        put_end(out, '}');
        th_buffer_text(out, ",");
    }
    put_end(out, ']');
    th_buffer_text(out, ",");
}

static void put_offset(struct th_buffer *out, const char *key, int64_t offset)
{
    if (offset < 0) {
        put_text(out, key, TH_STR_ABSENT);
    } else {
        put_number(out, key, offset);
    }
}

static void put_partition(struct th_buffer *out, const struct th_hub_partition_view *view)
{
    int64_t lag = view->inbox_position < 0 ? -1 : view->inbox_end - view->inbox_position;
    th_buffer_text(out, "{");
    put_unsigned(out, "partition", view->partition);
    th_buffer_format(out, "\"owned\":%s,", view->owned ? "true" : "false");
    put_text(out, "owner", view->owner);
    put_unsigned(out, "epoch", view->epoch);
    put_offset(out, "inboxPosition", view->inbox_position);
    put_number(out, "inboxEnd", view->inbox_end);
    put_offset(out, "lag", view->inbox_position >= 0 && lag < 0 ? 0 : lag);
    put_number(out, "logStart", view->log_start);
    put_number(out, "logEnd", view->log_end);
    put_time(out, "oldestMessage", view->oldest);
    put_text(out, "trouble", view->trouble);
    put_end(out, '}');
    th_buffer_text(out, ",");
}

void th_document_hub(struct th_buffer *out, const struct th_hub_view *hub, struct th_str more)
{
    char incarnation[17];
    snprintf(incarnation, sizeof(incarnation), "%016" PRIx64, hub->record.incarnation);
    th_buffer_text(out, "{");
    put_text(out, "name",
             th_str_n(hub->record.name, strnlen(hub->record.name, sizeof(hub->record.name))));
    put_text(out, "incarnation", th_str_of(incarnation));
    put_time(out, "created", hub->record.created);
    put_unsigned(out, "partitions", hub->record.partitions);
    put_unsigned(out, "instanceMessages", hub->instance_messages);
    put_unsigned(out, "activityMessages", hub->activity_messages);
    put_unsigned(out, "timers", hub->timers);
    put_unsigned(out, "instancesInMemory", hub->instances_in_memory);
    put_unserved(out, hub);
    th_buffer_text(out, "\"partitionDetails\":[");
    for (uint32_t i = 0; hub->partitions && i < hub->record.partitions; i++) {
        put_partition(out, &hub->partitions[i]);
    }
    put_end(out, ']');
    th_buffer_text(out, ",");
    th_buffer_str(out, more);
    put_end(out, '}');
}
