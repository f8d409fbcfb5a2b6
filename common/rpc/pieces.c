#include "rpc/pieces.h"

#include "rpc/event.h"

/* ---- tags ---- */

struct entry {
    ProtobufCMessage base;
    char *key, *value;
};

void *th_rpc_tags(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                  struct th_tags tags)
{
    if (tags.count == 0) {
        return NULL;
    }
    struct entry **entries = TH_ARENA_ARRAY(arena, struct entry *, tags.count);
    for (size_t i = 0; i < tags.count; i++) {
        entries[i] = th_arena_alloc(arena, kind->sizeof_message);
        kind->message_init(&entries[i]->base);
        entries[i]->key = th_rpc_text(arena, tags.items[i].key);
        entries[i]->value = th_rpc_text(arena, tags.items[i].value);
    }
    return entries;
}

struct th_tags th_rpc_tags_from(struct th_arena *arena, void *entries, size_t count)
{
    struct entry *const *list = entries;
    if (count == 0) {
        return (struct th_tags){0};
    }
    struct th_tag *items = TH_ARENA_ARRAY(arena, struct th_tag, count);
    for (size_t i = 0; i < count; i++) {
        items[i].key = th_rpc_text_of(list[i]->key);
        items[i].value = th_rpc_text_of(list[i]->value);
    }
    return (struct th_tags){items, count};
}

/* ---- parents ---- */

OrchestrationInstance *th_rpc_instance(struct th_arena *arena, struct th_str instance_id,
                                       struct th_str execution_id)
{
    OrchestrationInstance *out = RPC_NEW(arena, OrchestrationInstance, orchestration_instance);
    out->instance_id = th_rpc_text(arena, instance_id);
    out->execution_id = th_rpc_value(arena, execution_id);
    return out;
}

ParentInstanceInfo *th_rpc_parent(struct th_arena *arena, const struct th_parent *parent)
{
    if (!parent) {
        return NULL;
    }
    ParentInstanceInfo *out = RPC_NEW(arena, ParentInstanceInfo, parent_instance_info);
    out->task_scheduled_id = parent->task_id;
    out->name = th_rpc_value(arena, parent->name);
    out->version = th_rpc_value(arena, parent->version);
    out->orchestration_instance = th_rpc_instance(arena, parent->instance_id, parent->execution_id);
    return out;
}

const struct th_parent *th_rpc_parent_from(struct th_arena *arena, const ParentInstanceInfo *info)
{
    if (!info) {
        return NULL;
    }
    struct th_parent *out = TH_ARENA_NEW(arena, struct th_parent);
    out->task_id = info->task_scheduled_id;
    out->name = th_rpc_value_of(info->name);
    out->version = th_rpc_value_of(info->version);
    if (info->orchestration_instance) {
        out->instance_id = th_rpc_text_or_absent(info->orchestration_instance->instance_id);
        out->execution_id = th_rpc_value_of(info->orchestration_instance->execution_id);
    }
    return out;
}

/* ---- failures ---- */

TaskFailureDetails *th_rpc_failure(struct th_arena *arena, const struct th_failure *failure)
{
    TaskFailureDetails *outermost = NULL, **at = &outermost;
    for (int depth = 0; failure && depth < TH_FAILURE_DEPTH; depth++, failure = failure->inner) {
        *at = RPC_NEW(arena, TaskFailureDetails, task_failure_details);
        (*at)->error_type = th_rpc_text(arena, failure->type);
        (*at)->error_message = th_rpc_text(arena, failure->message);
        (*at)->stack_trace = th_rpc_value(arena, failure->stack);
        (*at)->is_non_retriable = failure->non_retriable;
        at = &(*at)->inner_failure;
    }
    return outermost;
}

const struct th_failure *th_rpc_failure_from(struct th_arena *arena,
                                             const TaskFailureDetails *details)
{
    const struct th_failure *outermost = NULL, **at = &outermost;
    for (int depth = 0; details && depth < TH_FAILURE_DEPTH; depth++) {
        struct th_failure *failure = TH_ARENA_NEW(arena, struct th_failure);
        failure->type = th_rpc_text_of(details->error_type);
        failure->message = th_rpc_text_of(details->error_message);
        failure->stack = th_rpc_value_of(details->stack_trace);
        failure->non_retriable = details->is_non_retriable;
        *at = failure;
        at = &failure->inner;
        details = details->inner_failure;
    }
    return outermost;
}

/* ---- traces ---- */

/* Up to a newline, and `rest` what is behind it; absent when there is none. */
static struct th_str line_of(struct th_str text, struct th_str *rest)
{
    const char *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
    if (!end) {
        *rest = TH_STR_ABSENT;
        return text;
    }
    size_t len = (size_t)(end - text.data);
    *rest = th_str_n(end + 1, text.len - len - 1);
    return th_str_n(text.data, len);
}

TraceContext *th_rpc_trace(struct th_arena *arena, struct th_str trace)
{
    struct th_str rest, state;
    if (trace.len == 0) {
        return NULL;
    }
    TraceContext *out = RPC_NEW(arena, TraceContext, trace_context);
    out->trace_parent = th_rpc_text(arena, line_of(trace, &rest));
    out->span_id = th_rpc_text(arena, line_of(rest, &state));
    out->trace_state = th_rpc_value(arena, state);
    return out;
}

struct th_str th_rpc_trace_from(struct th_arena *arena, const TraceContext *trace)
{
    struct th_str rest;
    if (!trace || (!*trace->trace_parent && !*trace->span_id && !trace->trace_state)) {
        return TH_STR_ABSENT;
    }
    struct th_str parent = line_of(th_rpc_text_of(trace->trace_parent), &rest);
    struct th_str span = line_of(th_rpc_text_of(trace->span_id), &rest);
    struct th_str state = th_rpc_value_of(trace->trace_state);
    if (th_str_present(state)) {
        return th_arena_format(arena, "%.*s\n%.*s\n%.*s", TH_PRI(parent), TH_PRI(span),
                               TH_PRI(state));
    }
    if (span.len) {
        return th_arena_format(arena, "%.*s\n%.*s", TH_PRI(parent), TH_PRI(span));
    }
    return parent.len ? th_arena_str(arena, parent) : TH_STR_ABSENT;
}

/* ---- unknown fields ---- */

uint32_t th_rpc_unknown(const ProtobufCMessage *message)
{
    return message->n_unknown_fields ? message->unknown_fields[0].tag : 0;
}
