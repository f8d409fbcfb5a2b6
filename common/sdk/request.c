/*
 * What an orchestrator asks of entities: operations whose result it waits for, and signals. Each
 * has an id of its own, by which the entity knows a repeated one; ids come from a counter of their
 * own, so that code which makes more uuids of its own still repeats them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "model/name.h"
#include "sdk/context.h"
#include "sdk/entity.h"
#include "sdk/payload.h"

_Static_assert(TH_ENTITY_ID_SIZE == TH_ENTITY_ID_MAX + 1, "an id and its NUL");

/* No th_new_uuid counts up to here. */
#define REQUESTS (UINT64_C(1) << 63)

const char *th_make_entity_id(char out[TH_AT_LEAST(TH_ENTITY_ID_SIZE)], const char *name,
                              const char *key)
{
    int len = snprintf(out, TH_ENTITY_ID_SIZE, "@%s@%s", name, key);
    if (len < 0 || len >= TH_ENTITY_ID_SIZE) {
        *out = '\0';
    }
    return out;
}

/* ---- requests -------------------------------------------------------------------------------- */

void th_request_id(struct th_context *ctx, char out[static 37])
{
    th_uuid_derive(&ctx->instance_id, &ctx->execution_id, REQUESTS | ctx->requests++, out);
}

int32_t th_issue_request(struct th_context *ctx, const struct th_event *request)
{
    const struct th_action wanted = {
        .kind = TH_ACTION_ENTITY, .fire_at = TH_TIME_NONE, .entity = request};
    return th_issue(ctx, &wanted);
}

/* The entity and the operation. NULL, or why it cannot be asked. */
static const struct th_failure *address(struct th_context *ctx, struct th_event *request,
                                        const char *id, const char *operation)
{
    struct th_error error = {.code = TH_OK};
    if (th_context_refuses(ctx)) {
        return ctx->last_failure;
    }
    size_t len = operation ? strlen(operation) : 0;
    if (len == 0 || len > 256) {
        return th_context_failure(ctx, "InvalidName",
                                  "an operation's name has 1 to 256 bytes, not %zu", len);
    }
    if (!th_entity_id_of(ctx->turn->arena, id, &request->instance_id, &error)) {
        return th_context_failure(ctx, "InvalidEntityId", "%s", error.message);
    }
    request->name = th_str_of(operation);
    return th_section_forbids(
        ctx, request->kind == TH_EVENT_ENTITY_CALLED ? SECTION_CALL : SECTION_SIGNAL,
        request->instance_id);
}

/* Takes over `input`; the request's data is to be freed. */
static const struct th_failure *fill(struct th_context *ctx, struct th_event *request,
                                     const char *id, const char *operation, json_t *input)
{
    const struct th_failure *why = address(ctx, request, id, operation);
    if (!why) {
        request->data = th_payload_print(input);
        if (input && !th_str_present(request->data)) {
            why = th_context_failure(ctx, "InvalidInput",
                                     "the input of %s cannot be written as JSON", operation);
        }
    }
    json_decref(input);
    return why;
}

struct th_task *th_schedule_entity(struct th_context *ctx, const char *id, const char *operation,
                                   json_t *input)
{
    struct th_event request = th_event_of(TH_EVENT_ENTITY_CALLED, ctx->now);
    char request_id[37];
    const struct th_failure *why = fill(ctx, &request, id, operation, input);
    if (why) {
        return th_task_failed(ctx, TASK_ENTITY, why);
    }
    th_request_id(ctx, request_id);
    request.request_id = th_str_of(request_id);
    int32_t event_id = th_issue_request(ctx, &request);
    th_section_called(ctx, request.instance_id, event_id);
    free((char *)request.data.data);
    return th_task_waiting(ctx, TASK_ENTITY, request.instance_id, event_id);
}

json_t *th_call_entity(struct th_context *ctx, const char *id, const char *operation, json_t *input)
{
    return th_await_result(ctx, th_schedule_entity(ctx, id, operation, input));
}

int th_signal_entity_at(struct th_context *ctx, const char *id, const char *operation,
                        json_t *input, th_time when)
{
    struct th_event request = th_event_of(TH_EVENT_ENTITY_SIGNALED, ctx->now);
    char request_id[37];
    const struct th_failure *why = fill(ctx, &request, id, operation, input);
    if (why) {
        th_context_failed(ctx, why);
        return TH_FAILED;
    }
    th_request_id(ctx, request_id);
    request.request_id = th_str_of(request_id);
    request.fire_at = when;
    th_issue_request(ctx, &request);
    free((char *)request.data.data);
    return 0;
}

int th_signal_entity(struct th_context *ctx, const char *id, const char *operation, json_t *input)
{
    return th_signal_entity_at(ctx, id, operation, input, TH_TIME_NONE);
}

/* ---- in words -------------------------------------------------------------------------------- */

struct th_str th_request_words(const struct th_event *request, struct th_arena *arena)
{
    switch (request->kind) {
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        return th_arena_format(arena, "a critical section over %.*s",
                               TH_PRI(th_section_words(request->lock_set, arena)));
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        return th_arena_format(arena, "the release of entity \"%.*s\"",
                               TH_PRI(request->instance_id));
    case TH_EVENT_ENTITY_SIGNALED:
        return th_arena_format(arena, "signal \"%.*s\" to entity \"%.*s\"", TH_PRI(request->name),
                               TH_PRI(request->instance_id));
    default:
        return th_arena_format(arena, "operation \"%.*s\" of entity \"%.*s\"",
                               TH_PRI(request->name), TH_PRI(request->instance_id));
    }
}
