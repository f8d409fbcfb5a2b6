/*
 * Writing. A field that holds its default is left out, except where a reader of Durable Functions'
 * JSON expects it (EventId, TaskScheduledId of an answer, OrchestrationStatus of an end).
 */
#include "model/json.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "model/base64.h"
#include "model/json_words.h"
#include "model/name.h"

/* ---- values ---- */

static void set(json_t *object, const char *key, json_t *value /* stolen */)
{
    json_object_set_new(object, key, value);
}

/* Text as a JSON string; any other bytes as base64, so that they come back as they were. */
static json_t *text_json(struct th_str s)
{
    if (!th_str_present(s)) {
        return json_null();
    }
    json_t *text = json_stringn(s.data, s.len);
    if (text) {
        return text;
    }
    TH_ARENA arena = {0};
    struct th_str encoded = th_base64_encode(&arena, s);
    json_t *object = json_object();
    set(object, TH_BASE64_KEY, json_stringn(encoded.data, encoded.len));
    return object;
}

static void set_text(json_t *object, const char *key, struct th_str s)
{
    if (th_str_present(s)) {
        set(object, key, text_json(s));
    }
}

/* RFC 3339 has years 0 to 9999; what lies outside is the number of microseconds itself. */
#define YEAR_0     (INT64_C(-62167219200) * TH_SECOND)
#define YEAR_10000 (INT64_C(253402300800) * TH_SECOND)

static json_t *time_json(th_time t)
{
    if (t < YEAR_0 || t >= YEAR_10000) {
        return json_integer(t);
    }
    char text[40];
    th_time_format(t, 7, text);
    return json_string(text);
}

static void set_time(json_t *object, const char *key, th_time t)
{
    if (t != TH_TIME_NONE) {
        set(object, key, time_json(t));
    }
}

/* Bytes that are no UTF-8, for readers who want some text rather than the bytes. */
static json_t *repaired_json(struct th_str s)
{
    TH_BUFFER text = {0};
    for (size_t i = 0; i < s.len;) {
        size_t len = th_utf8_character((struct th_str){s.data + i, s.len - i});
        th_buffer_add(&text, len ? s.data + i : "\xef\xbf\xbd", len ? len : 3);
        i += len ? len : 1;
    }
    return json_stringn(text.data, text.len);
}

json_t *th_payload_json(struct th_str payload)
{
    if (!th_str_present(payload)) {
        return json_null();
    }
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *value = json_loadb(payload.data, payload.len, flags, NULL);
    if (!value) {
        value = json_loadb(payload.data, payload.len, flags | JSON_DECODE_INT_AS_REAL, NULL);
    }
    if (!value) {
        value = json_stringn(payload.data, payload.len);
    }
    return value ? value : repaired_json(payload);
}

json_t *th_failure_json(const struct th_failure *failure)
{
    json_t *first = json_null();
    json_t *outer = NULL;
    for (int depth = 0; failure && depth < TH_FAILURE_DEPTH; depth++, failure = failure->inner) {
        json_t *object = json_object();
        set_text(object, "ErrorType", failure->type);
        set_text(object, "ErrorMessage", failure->message);
        set_text(object, "StackTrace", failure->stack);
        set(object, "IsNonRetriable", json_boolean(failure->non_retriable));
        if (outer) {
            set(outer, "InnerFailure", object);
        } else {
            first = object;
        }
        outer = object;
    }
    return first;
}

json_t *th_tags_json(struct th_tags tags)
{
    json_t *object = json_object();
    for (size_t i = 0; i < tags.count; i++) {
        struct th_str key = tags.items[i].key;
        json_object_setn_new(object, key.data ? key.data : "", key.len,
                             text_json(tags.items[i].value));
    }
    return object;
}

/* As an object when that says all, else as a list of pairs. */
static json_t *stored_tags_json(struct th_tags tags)
{
    json_t *object = th_tags_json(tags);
    bool whole = json_object_size(object) == tags.count;
    for (size_t i = 0; i < tags.count && whole; i++) {
        struct th_str key = tags.items[i].key;
        whole = th_str_present(key) && !memchr(key.data, '\0', key.len) && th_utf8_valid(key);
    }
    if (whole) {
        return object;
    }
    json_decref(object);
    json_t *pairs = json_array();
    for (size_t i = 0; i < tags.count; i++) {
        json_t *pair = json_object();
        set_text(pair, "Key", tags.items[i].key);
        set_text(pair, "Value", tags.items[i].value);
        json_array_append_new(pairs, pair);
    }
    return pairs;
}

static json_t *instance_json(struct th_str instance_id, struct th_str execution_id)
{
    json_t *object = json_object();
    set_text(object, "InstanceId", instance_id);
    set_text(object, "ExecutionId", execution_id);
    return object;
}

static json_t *parent_json(const struct th_parent *parent)
{
    json_t *object = json_object();
    set_text(object, "Name", parent->name);
    set_text(object, "Version", parent->version);
    set(object, "TaskScheduleId", json_integer(parent->task_id));
    set(object, "OrchestrationInstance", instance_json(parent->instance_id, parent->execution_id));
    return object;
}

/* ---- the stored form ---- */

static void set_ids(json_t *row, const struct th_event *event)
{
    set(row, "EventId", json_integer(event->id));
    if (event->related_id != -1 || th_answers(event->kind)) {
        set(row, th_related_key(event->kind), json_integer(event->related_id));
    }
}

static void set_instance(json_t *row, const struct th_event *event)
{
    bool any = th_str_present(event->instance_id) || th_str_present(event->execution_id);
    if (event->kind == TH_EVENT_EXECUTION_STARTED && any) {
        set(row, "OrchestrationInstance", instance_json(event->instance_id, event->execution_id));
        return;
    }
    set_text(row, "InstanceId", event->instance_id);
    set_text(row, "ExecutionId", event->execution_id);
}

static bool says_status(const struct th_event *event)
{
    return event->kind == TH_EVENT_EXECUTION_COMPLETED || event->status != TH_STATUS_RUNNING;
}

static void set_request(json_t *row, const struct th_event *event)
{
    set_text(row, "RequestId", event->request_id);
    if (event->lock_set.count > 0) {
        json_t *ids = json_array();
        for (size_t i = 0; i < event->lock_set.count; i++) {
            json_array_append_new(ids, text_json(event->lock_set.items[i]));
        }
        set(row, "LockSet", ids);
    }
}

static json_t *event_json(const struct th_event *event)
{
    json_t *row = json_object();
    set(row, "EventType", json_string(th_event_kind_text(event->kind)));
    set_ids(row, event);
    set_time(row, "Timestamp", event->timestamp);
    set_text(row, "Name", event->name);
    set_text(row, "Version", event->version);
    set_instance(row, event);
    set_time(row, th_fire_at_key(event->kind), event->fire_at);
    if (says_status(event)) {
        set(row, "OrchestrationStatus", json_string(th_status_text(event->status)));
    }
    set_text(row, th_data_key(event->kind), event->data);
    set_text(row, "Reason", event->reason);
    if (event->recurse) {
        set(row, "Recurse", json_true());
    }
    if (event->failure) {
        set(row, "FailureDetails", th_failure_json(event->failure));
    }
    if (event->parent) {
        set(row, "ParentInstance", parent_json(event->parent));
    }
    if (event->tags.count > 0) {
        set(row, "Tags", stored_tags_json(event->tags));
    }
    set_text(row, "ParentTraceContext", event->trace);
    set_request(row, event);
    return row;
}

json_t *th_history_to_json(const struct th_event *events, size_t count)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(rows, event_json(&events[i]));
    }
    return rows;
}

/* ---- the folded form ---- */

/* What an answer is matched with: an event that scheduled, by its kind and id. */
struct scheduled {
    enum th_event_kind kind;
    int32_t id;
    size_t index;
};

struct fold {
    const struct th_event *events;
    size_t count;
    bool show_input;
    bool show_output;
    struct scheduled *scheduled; /* sorted */
    size_t scheduled_count;
    bool *answered; /* per event */
};

static int by_id_then_index(const void *left, const void *right)
{
    const struct scheduled *a = left;
    const struct scheduled *b = right;
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    if (a->id != b->id) {
        return a->id < b->id ? -1 : 1;
    }
    return (a->index > b->index) - (a->index < b->index);
}

static bool schedules(enum th_event_kind kind)
{
    return kind == TH_EVENT_TASK_SCHEDULED || kind == TH_EVENT_CHILD_CREATED ||
           kind == TH_EVENT_TIMER_CREATED || kind == TH_EVENT_ENTITY_CALLED ||
           kind == TH_EVENT_ENTITY_LOCK_REQUESTED;
}

static enum th_event_kind scheduling_kind(enum th_event_kind answer)
{
    switch (answer) {
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
        return TH_EVENT_CHILD_CREATED;
    case TH_EVENT_TIMER_FIRED:
        return TH_EVENT_TIMER_CREATED;
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
        return TH_EVENT_ENTITY_CALLED;
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        return TH_EVENT_ENTITY_LOCK_REQUESTED;
    default:
        return TH_EVENT_TASK_SCHEDULED;
    }
}

static void index_scheduled(struct fold *fold)
{
    fold->scheduled = th_alloc((fold->count + 1) * sizeof(*fold->scheduled));
    for (size_t i = 0; i < fold->count; i++) {
        const struct th_event *event = &fold->events[i];
        if (schedules(event->kind)) {
            fold->scheduled[fold->scheduled_count++] =
                (struct scheduled){event->kind, event->id, i};
        }
    }
    qsort(fold->scheduled, fold->scheduled_count, sizeof(*fold->scheduled), by_id_then_index);
}

/* The latest event before `index` that scheduled what events[index] answers: some SDKs use the id
 * of an activity again when they retry it. NULL: none. */
static const struct scheduled *scheduled_for(const struct fold *fold, size_t index)
{
    const struct th_event *answer = &fold->events[index];
    struct scheduled wanted = {scheduling_kind(answer->kind), answer->related_id, index};
    size_t low = 0;
    size_t high = fold->scheduled_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_id_then_index(&fold->scheduled[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    const struct scheduled *found = &fold->scheduled[low - 1];
    return found->kind == wanted.kind && found->id == wanted.id ? found : NULL;
}

static void mark_answered(struct fold *fold)
{
    fold->answered = th_alloc(fold->count + 1);
    for (size_t i = 0; i < fold->count; i++) {
        const struct scheduled *found =
            th_answers(fold->events[i].kind) ? scheduled_for(fold, i) : NULL;
        if (found) {
            fold->answered[found->index] = true;
        }
    }
}

static bool left_out(const struct fold *fold, size_t index)
{
    enum th_event_kind kind = fold->events[index].kind;
    return kind == TH_EVENT_ORCHESTRATOR_STARTED || kind == TH_EVENT_ORCHESTRATOR_COMPLETED ||
           fold->answered[index];
}

/* Functions are named by FunctionName, events by Name. */
static void fold_name(json_t *row, const struct th_event *event)
{
    bool function = event->kind == TH_EVENT_EXECUTION_STARTED || schedules(event->kind);
    set_text(row, function ? "FunctionName" : "Name", event->name);
}

static void fold_data(json_t *row, const struct fold *fold, const struct th_event *event)
{
    const char *key = th_data_key(event->kind);
    bool result = strcmp(key, "Result") == 0;
    if (result && fold->show_output) {
        set(row, key, th_payload_json(event->data));
    } else if (!result && fold->show_input && th_str_present(event->data)) {
        set(row, key, th_payload_json(event->data));
    }
}

static void fold_failure(json_t *row, const struct th_failure *failure)
{
    if (failure) {
        set(row, "Reason", text_json(failure->message));
        set(row, "Details", text_json(failure->stack));
        set(row, "FailureDetails", th_failure_json(failure));
    }
}

static void fold_scheduled(json_t *row, const struct fold *fold, const struct th_event *scheduled)
{
    set_text(row, "FunctionName", scheduled->name);
    set_text(row, "InstanceId", scheduled->instance_id);
    if (fold->show_input && th_str_present(scheduled->data)) {
        set(row, "Input", th_payload_json(scheduled->data));
    }
    set_time(row, "ScheduledTime", scheduled->timestamp);
}

static json_t *fold_row(const struct fold *fold, size_t index)
{
    const struct th_event *event = &fold->events[index];
    json_t *row = json_object();
    set(row, "EventType", json_string(th_event_kind_text(event->kind)));
    fold_name(row, event);
    const struct scheduled *found = th_answers(event->kind) ? scheduled_for(fold, index) : NULL;
    if (found) {
        fold_scheduled(row, fold, &fold->events[found->index]);
    }
    if (event->kind != TH_EVENT_EXECUTION_STARTED) {
        set_text(row, "InstanceId", event->instance_id);
    }
    if (says_status(event)) {
        set(row, "OrchestrationStatus", json_string(th_status_text(event->status)));
    }
    fold_data(row, fold, event);
    set_text(row, "Reason", event->reason);
    fold_failure(row, event->failure);
    set_time(row, th_fire_at_key(event->kind), event->fire_at);
    set_time(row, "Timestamp", event->timestamp);
    return row;
}

json_t *th_history_fold_json(const struct th_event *events, size_t count, bool show_input,
                             bool show_output)
{
    struct fold fold = {
        .events = events, .count = count, .show_input = show_input, .show_output = show_output};
    index_scheduled(&fold);
    mark_answered(&fold);
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        if (!left_out(&fold, i)) {
            json_array_append_new(rows, fold_row(&fold, i));
        }
    }
    free(fold.scheduled);
    free(fold.answered);
    return rows;
}
