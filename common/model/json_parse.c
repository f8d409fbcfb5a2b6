/*
 * Reading the stored form. A field may be missing or null: it then has its default. Anything else
 * of the wrong type is an error that names entry and field. Unknown fields are ignored: histories
 * of other hubs have more of them.
 */
#include <stdint.h>

#include "base/memory.h"
#include "model/base64.h"
#include "model/json.h"
#include "model/json_words.h"

/* The entry being read. */
struct entry {
    struct th_arena *arena;
    struct th_error *error;
    size_t index;
    const char *kind; /* "TaskScheduled"; "?" until it is known */
    const json_t *row;
};

static bool wrong(const struct entry *entry, const char *field, const char *rule)
{
    return th_fail(entry->error, TH_INVALID, "entry %zu (%s): %s %s", entry->index, entry->kind,
                   field, rule);
}

/* The value of a field; NULL when it is missing or null. */
static json_t *field_of(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* ---- values ---- */

/* Copied: the tree goes before the events do. */
static struct th_str text_of(struct th_arena *arena, const json_t *text)
{
    return th_arena_str(arena, (struct th_str){json_string_value(text), json_string_length(text)});
}

/* The text of {"$base64": text}, or NULL when the value is anything else. */
static const json_t *base64_of(const json_t *value)
{
    const json_t *text = json_object_get(value, TH_BASE64_KEY);
    return json_object_size(value) == 1 && json_is_string(text) ? text : NULL;
}

static bool read_text(const struct entry *entry, const json_t *value, const char *key,
                      struct th_str *out)
{
    if (!value) {
        return true;
    }
    if (json_is_string(value)) {
        *out = text_of(entry->arena, value);
        return true;
    }
    const json_t *encoded = base64_of(value);
    if (!encoded) {
        return wrong(entry, key, "must be a string");
    }
    struct th_str text = {json_string_value(encoded), json_string_length(encoded)};
    return th_base64_decode(entry->arena, text, out) || wrong(entry, key, "is not valid base64");
}

/* A payload; a JSON value that is no string stands for its text. */
static bool read_payload(const struct entry *entry, const json_t *value, const char *key,
                         struct th_str *out)
{
    if (!value || json_is_string(value) || base64_of(value)) {
        return read_text(entry, value, key, out);
    }
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    size_t len = json_dumpb(value, NULL, 0, flags);
    char *text = th_arena_alloc(entry->arena, len + 1);
    json_dumpb(value, text, len, flags);
    *out = (struct th_str){text, len};
    return true;
}

static bool read_i32(const struct entry *entry, const json_t *value, const char *key, int32_t *out)
{
    if (!value) {
        return true;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < INT32_MIN || number > INT32_MAX) {
        return wrong(entry, key, "must be an integer of 32 bits");
    }
    *out = (int32_t)number;
    return true;
}

static bool read_bool(const struct entry *entry, const json_t *value, const char *key, bool *out)
{
    if (!value) {
        return true;
    }
    *out = json_is_true(value);
    return json_is_boolean(value) || wrong(entry, key, "must be true or false");
}

static bool read_time(const struct entry *entry, const json_t *value, const char *key, th_time *out)
{
    if (!value) {
        return true;
    }
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    struct th_str text = {json_string_value(value), json_string_length(value)};
    return (json_is_string(value) && th_time_parse(text, out)) ||
           wrong(entry, key, "must be a time such as \"2026-11-22T10:19:42.1234567Z\"");
}

static bool known_kind(json_int_t number)
{
    switch (number) {
#define X(name, value, text) case value:
        TH_EVENT_KINDS(X)
#undef X
        return true;
    default:
        return false;
    }
}

static bool read_kind(struct entry *entry, enum th_event_kind *out)
{
    const json_t *value = field_of(entry->row, "EventType");
    if (!value) {
        return wrong(entry, "EventType", "is missing");
    }
    struct th_str text = {json_string_value(value), json_string_length(value)};
    bool by_number = json_is_integer(value) && known_kind(json_integer_value(value));
    if (by_number) {
        *out = (enum th_event_kind)json_integer_value(value);
    } else if (!json_is_string(value) || !th_event_kind_parse(text, out)) {
        return wrong(entry, "EventType", "must be a kind of event such as \"TaskScheduled\"");
    }
    entry->kind = th_event_kind_text(*out);
    return true;
}

static bool known_status(json_int_t number)
{
    switch (number) {
#define X(name, value, text, terminal) case value:
        TH_STATUSES(X)
#undef X
        return true;
    default:
        return false;
    }
}

static bool read_status(const struct entry *entry, enum th_status *out)
{
    const json_t *value = field_of(entry->row, "OrchestrationStatus");
    if (!value) {
        return true;
    }
    if (json_is_integer(value) && known_status(json_integer_value(value))) {
        *out = (enum th_status)json_integer_value(value);
        return true;
    }
    struct th_str text = {json_string_value(value), json_string_length(value)};
    return (json_is_string(value) && th_status_parse(text, out)) ||
           wrong(entry, "OrchestrationStatus", "must be a status such as \"Completed\"");
}

/* ---- nested values ---- */

static bool read_failure_level(const struct entry *entry, const json_t *object,
                               struct th_failure *failure)
{
    return read_text(entry, field_of(object, "ErrorType"), "ErrorType", &failure->type) &&
           read_text(entry, field_of(object, "ErrorMessage"), "ErrorMessage", &failure->message) &&
           read_text(entry, field_of(object, "StackTrace"), "StackTrace", &failure->stack) &&
           read_bool(entry, field_of(object, "IsNonRetriable"), "IsNonRetriable",
                     &failure->non_retriable);
}

/* What lies deeper than TH_FAILURE_DEPTH is cut off, as everywhere. */
static bool read_failure(const struct entry *entry, const struct th_failure **out)
{
    const char *key = "FailureDetails";
    const json_t *object = field_of(entry->row, key);
    for (int depth = 0; object && depth < TH_FAILURE_DEPTH; depth++) {
        if (!json_is_object(object)) {
            return wrong(entry, key, "must be an object");
        }
        struct th_failure *failure = TH_ARENA_NEW(entry->arena, struct th_failure);
        if (!read_failure_level(entry, object, failure)) {
            return false;
        }
        *out = failure;
        out = &failure->inner;
        key = "InnerFailure";
        object = field_of(object, key);
    }
    return true;
}

/* Before it had FailureDetails, Durable Task wrote a failure as Reason and Details. */
static bool read_old_failure(const struct entry *entry, struct th_event *event)
{
    const json_t *details = field_of(entry->row, "Details");
    bool fails = event->kind == TH_EVENT_TASK_FAILED || event->kind == TH_EVENT_CHILD_FAILED;
    if (!fails || event->failure || !details) {
        return true;
    }
    struct th_failure *failure = TH_ARENA_NEW(entry->arena, struct th_failure);
    failure->message = event->reason;
    event->reason = TH_STR_ABSENT;
    event->failure = failure;
    return read_text(entry, details, "Details", &failure->stack);
}

static bool read_instance(const struct entry *entry, const json_t *object,
                          struct th_str *instance_id, struct th_str *execution_id)
{
    const json_t *value = field_of(object, "OrchestrationInstance");
    if (value && !json_is_object(value)) {
        return wrong(entry, "OrchestrationInstance", "must be an object");
    }
    return read_text(entry, field_of(value, "InstanceId"), "InstanceId", instance_id) &&
           read_text(entry, field_of(value, "ExecutionId"), "ExecutionId", execution_id);
}

static bool read_parent(const struct entry *entry, const struct th_parent **out)
{
    const json_t *object = field_of(entry->row, "ParentInstance");
    if (!object) {
        return true;
    }
    if (!json_is_object(object)) {
        return wrong(entry, "ParentInstance", "must be an object");
    }
    struct th_parent *parent = TH_ARENA_NEW(entry->arena, struct th_parent);
    parent->task_id = -1;
    *out = parent;
    return read_text(entry, field_of(object, "Name"), "ParentInstance.Name", &parent->name) &&
           read_text(entry, field_of(object, "Version"), "ParentInstance.Version",
                     &parent->version) &&
           read_i32(entry, field_of(object, "TaskScheduleId"), "ParentInstance.TaskScheduleId",
                    &parent->task_id) &&
           read_instance(entry, object, &parent->instance_id, &parent->execution_id);
}

static bool read_tag_object(const struct entry *entry, json_t *object, struct th_tag *items)
{
    const char *key;
    json_t *value;
    size_t i = 0;
    json_object_foreach(object, key, value) {
        items[i].key = th_arena_str(entry->arena, th_str_of(key));
        json_t *text = json_is_null(value) ? NULL : value;
        if (!read_text(entry, text, "Tags", &items[i].value)) {
            return false;
        }
        i++;
    }
    return true;
}

static bool read_tag_pairs(const struct entry *entry, const json_t *pairs, struct th_tag *items)
{
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        if (!json_is_object(pair)) {
            return wrong(entry, "Tags", "must hold objects with Key and Value");
        }
        if (!read_text(entry, field_of(pair, "Key"), "Tags.Key", &items[i].key) ||
            !read_text(entry, field_of(pair, "Value"), "Tags.Value", &items[i].value)) {
            return false;
        }
    }
    return true;
}

static bool read_tags(const struct entry *entry, struct th_tags *out)
{
    json_t *tags = field_of(entry->row, "Tags");
    size_t count = json_is_array(tags) ? json_array_size(tags) : json_object_size(tags);
    if (tags && !json_is_array(tags) && !json_is_object(tags)) {
        return wrong(entry, "Tags", "must be an object");
    }
    if (count == 0) {
        return true;
    }
    struct th_tag *items = TH_ARENA_ARRAY(entry->arena, struct th_tag, count);
    *out = (struct th_tags){items, count};
    return json_is_array(tags) ? read_tag_pairs(entry, tags, items)
                               : read_tag_object(entry, tags, items);
}

static bool read_trace(const struct entry *entry, struct th_str *out)
{
    const json_t *value = field_of(entry->row, "ParentTraceContext");
    if (json_is_object(value) && field_of(value, "TraceParent")) {
        value = field_of(value, "TraceParent");
    }
    return read_text(entry, value, "ParentTraceContext", out);
}

static bool read_lock_set(const struct entry *entry, struct th_strs *out)
{
    const json_t *ids = field_of(entry->row, "LockSet");
    if (ids && !json_is_array(ids)) {
        return wrong(entry, "LockSet", "must be an array");
    }
    struct th_str *items = TH_ARENA_ARRAY(entry->arena, struct th_str, json_array_size(ids));
    *out = (struct th_strs){items, json_array_size(ids)};
    for (size_t i = 0; i < out->count; i++) {
        const json_t *id = json_array_get(ids, i);
        if (!read_text(entry, json_is_null(id) ? NULL : id, "LockSet", &items[i])) {
            return false;
        }
    }
    return true;
}

/* ---- an entry ---- */

static bool read_related(const struct entry *entry, struct th_event *event)
{
    const char *key = th_related_key(event->kind);
    const json_t *value = field_of(entry->row, key);
    if (!value && th_answers(event->kind)) {
        return wrong(entry, key, "is missing, so that nothing tells what this entry answers");
    }
    return read_i32(entry, value, key, &event->related_id);
}

static bool read_texts(const struct entry *entry, struct th_event *event)
{
    const json_t *row = entry->row;
    const char *data = th_data_key(event->kind);
    return read_text(entry, field_of(row, "Name"), "Name", &event->name) &&
           read_text(entry, field_of(row, "Version"), "Version", &event->version) &&
           read_text(entry, field_of(row, "Reason"), "Reason", &event->reason) &&
           read_text(entry, field_of(row, "InstanceId"), "InstanceId", &event->instance_id) &&
           read_text(entry, field_of(row, "ExecutionId"), "ExecutionId", &event->execution_id) &&
           read_payload(entry, field_of(row, data), data, &event->data);
}

static bool read_fields(const struct entry *entry, struct th_event *event)
{
    const json_t *row = entry->row;
    const char *fire_at = th_fire_at_key(event->kind);
    return read_i32(entry, field_of(row, "EventId"), "EventId", &event->id) &&
           read_related(entry, event) &&
           read_time(entry, field_of(row, "Timestamp"), "Timestamp", &event->timestamp) &&
           read_texts(entry, event) &&
           read_instance(entry, row, &event->instance_id, &event->execution_id) &&
           read_time(entry, field_of(row, fire_at), fire_at, &event->fire_at) &&
           read_status(entry, &event->status) &&
           read_bool(entry, field_of(row, "Recurse"), "Recurse", &event->recurse) &&
           read_failure(entry, &event->failure) && read_old_failure(entry, event) &&
           read_parent(entry, &event->parent) && read_tags(entry, &event->tags) &&
           read_trace(entry, &event->trace) &&
           read_text(entry, field_of(row, "RequestId"), "RequestId", &event->request_id) &&
           read_lock_set(entry, &event->lock_set);
}

static bool read_entry(struct entry *entry, struct th_event *event)
{
    *event = th_event_of(TH_EVENT_GENERIC, TH_TIME_NONE);
    if (!json_is_object(entry->row)) {
        return th_fail(entry->error, TH_INVALID, "entry %zu must be an object", entry->index);
    }
    if (!read_kind(entry, &event->kind)) {
        return false;
    }
    if (json_object_get(entry->row, "FunctionName")) {
        return wrong(entry, "FunctionName",
                     "marks the folded history that showHistory gives; only a stored one will do");
    }
    return read_fields(entry, event);
}

/* ---- the document ---- */

static const json_t *rows_of(const json_t *root, struct th_error *error)
{
    static const char *const keys[] = {"historyEvents", "history", "events"};
    const json_t *rows = root;
    for (size_t i = 0; i < TH_COUNT(keys) && rows == root; i++) {
        const json_t *inner = json_object_get(root, keys[i]);
        rows = inner ? inner : root;
    }
    if (!json_is_array(rows)) {
        th_fail(error, TH_INVALID,
                "a history must be an array, or an object with an array historyEvents");
        return NULL;
    }
    return rows;
}

static bool read_rows(const json_t *rows, struct th_arena *arena, struct th_events *out,
                      struct th_error *error)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        struct entry entry = {arena, error, i, "?", json_array_get(rows, i)};
        struct th_event event;
        if (!read_entry(&entry, &event)) {
            return false;
        }
        th_events_add(out, event);
    }
    return true;
}

bool th_history_from_json(struct th_str text, struct th_arena *arena, struct th_events *out,
                          struct th_error *error)
{
    json_error_t where;
    size_t flags = JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
    json_t *root = json_loadb(text.data ? text.data : "", text.len, flags, &where);
    if (!root) {
        return th_fail(error, TH_INVALID, "line %d, column %d: %s", where.line, where.column,
                       where.text);
    }
    const json_t *rows = rows_of(root, error);
    bool ok = rows && read_rows(rows, arena, out, error);
    json_decref(root);
    return ok;
}
