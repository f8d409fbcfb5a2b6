/*
 * The context itself: who the orchestration is, what stays the same at every replay, and how it
 * ends.
 */
#include "sdk/context.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "sdk/payload.h"

/* Calls that code may make while all of them fail, before its stack is dropped. */
enum { PATIENCE = 1000 };

static const struct th_failure evicted = {
    .type = {"Evicted", 7},
    .message = {"the instance leaves memory; return at once", 42},
};

/* ---- life ----------------------------------------------------------------------------------- */

struct th_context *th_context_new(struct th_executor *executor)
{
    struct th_context *ctx = TH_NEW(struct th_context);
    ctx->executor = executor;
    ctx->last_waiter = &ctx->waiters;
    ctx->last_finished = &ctx->finished;
    ctx->last_inbox = &ctx->inbox;
    return ctx;
}

void th_context_free(struct th_context *ctx)
{
    th_coroutine_free(ctx->coroutine);
    while (ctx->tasks) {
        th_task_free(ctx->tasks);
    }
    while (ctx->inbox) {
        struct inbox_event *next = ctx->inbox->next;
        free(ctx->inbox);
        ctx->inbox = next;
    }
    free(ctx->pending);
    free(ctx->section);
    free((char *)ctx->output.data);
    json_decref(ctx->input);
    free(ctx->identity);
    th_arena_deinit(&ctx->kept);
    th_events_deinit(&ctx->seen);
    th_arena_deinit(&ctx->seen_arena);
    free(ctx);
}

static struct th_str put(char **at, struct th_str s)
{
    if (!th_str_present(s)) {
        return s;
    }
    char *copy = *at;
    memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    *at += s.len + 1;
    return th_str_n(copy, s.len);
}

/* One block: the tags, then every string with its NUL. */
void th_context_identify(struct th_context *ctx, const struct th_event *started,
                         const struct th_episode *episode)
{
    struct th_str execution =
        th_str_present(started->execution_id) ? started->execution_id : episode->execution_id;
    struct th_str parent = started->parent ? started->parent->instance_id : TH_STR_ABSENT;
    size_t size = sizeof(struct th_tag) * started->tags.count + episode->instance_id.len +
                  execution.len + started->name.len + started->version.len + started->data.len +
                  parent.len + 6;
    for (size_t i = 0; i < started->tags.count; i++) {
        size += started->tags.items[i].key.len + started->tags.items[i].value.len + 2;
    }
    ctx->identity = th_alloc(size);
    struct th_tag *tags = (struct th_tag *)(void *)ctx->identity;
    char *at = (char *)(tags + started->tags.count);
    ctx->instance_id = put(&at, episode->instance_id);
    ctx->execution_id = put(&at, execution);
    ctx->name = put(&at, started->name);
    ctx->version = put(&at, started->version);
    ctx->parent_id = put(&at, parent);
    ctx->input_bytes = put(&at, started->data);
    for (size_t i = 0; i < started->tags.count; i++) {
        tags[i].key = put(&at, started->tags.items[i].key);
        tags[i].value = put(&at, started->tags.items[i].value);
    }
    ctx->tags = (struct th_tags){tags, started->tags.count};
}

void th_context_resume(struct th_context *ctx)
{
    ctx->inside = true;
    bool alive = th_coroutine_resume(ctx->coroutine);
    ctx->inside = false;
    if (!alive) {
        th_coroutine_free(ctx->coroutine);
        ctx->coroutine = NULL;
    }
}

/* ---- failing -------------------------------------------------------------------------------- */

static struct th_str keep_words(struct th_context *ctx, const char *format, va_list arguments)
{
    TH_BUFFER text = {0};
    th_buffer_vformat(&text, format, arguments);
    return th_arena_str(&ctx->kept, th_buffer_view(&text));
}

const struct th_failure *th_context_failure(struct th_context *ctx, const char *type,
                                            const char *format, ...)
{
    struct th_failure *failure = TH_ARENA_NEW(&ctx->kept, struct th_failure);
    va_list arguments;
    va_start(arguments, format);
    failure->type = th_arena_str(&ctx->kept, th_str_of(type));
    failure->message = keep_words(ctx, format, arguments);
    va_end(arguments);
    return failure;
}

void th_context_failed(struct th_context *ctx, const struct th_failure *failure)
{
    ctx->last_failure = failure;
    ctx->call_failed = true;
}

void th_context_mismatch(struct th_context *ctx, const char *format, ...)
{
    if (!th_str_present(ctx->mismatch)) {
        va_list arguments;
        va_start(arguments, format);
        ctx->mismatch = keep_words(ctx, format, arguments);
        va_end(arguments);
    }
    ctx->ending = true;
}

bool th_context_refuses(struct th_context *ctx)
{
    if (!ctx->ending) {
        return false;
    }
    ctx->refused++;
    while (ctx->inside && ctx->refused > PATIENCE) {
        th_coroutine_suspend(ctx->coroutine); /* for good */
    }
    th_context_failed(ctx, &evicted);
    return true;
}

const struct th_failure *th_last_failure(struct th_context *ctx)
{
    return ctx->last_failure;
}

/* ---- who it is ------------------------------------------------------------------------------ */

static const char *text(struct th_str s)
{
    return s.data ? s.data : "";
}

const char *th_name(struct th_context *ctx)
{
    return text(ctx->name);
}

const char *th_instance_id(struct th_context *ctx)
{
    return text(ctx->instance_id);
}

const char *th_execution_id(struct th_context *ctx)
{
    return text(ctx->execution_id);
}

const char *th_version(struct th_context *ctx)
{
    return text(ctx->version);
}

const char *th_parent_id(struct th_context *ctx)
{
    return ctx->parent_id.data;
}

json_t *th_input(struct th_context *ctx)
{
    if (!ctx->input_parsed) {
        ctx->input_parsed = true;
        ctx->input = th_payload_parse(ctx->input_bytes);
    }
    return ctx->input;
}

const void *th_input_bytes(struct th_context *ctx, size_t *len)
{
    *len = ctx->input_bytes.len;
    return ctx->input_bytes.data;
}

const char *th_tag(struct th_context *ctx, const char *key)
{
    for (size_t i = 0; i < ctx->tags.count; i++) {
        if (th_str_eq(ctx->tags.items[i].key, th_str_of(key))) {
            return text(ctx->tags.items[i].value);
        }
    }
    return NULL;
}

/* ---- the same at every replay --------------------------------------------------------------- */

th_time th_current_time(struct th_context *ctx)
{
    return ctx->now;
}

void th_new_uuid(struct th_context *ctx, char out[TH_AT_LEAST(37)])
{
    th_uuid_derive(&ctx->instance_id, &ctx->execution_id, ctx->uuids++, out);
}

/* FNV-1a, spelled out here because th_hash may change with a release and a replay may come after
 * one. */
static uint64_t stable_hash(struct th_str s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < s.len; i++) {
        h = (h ^ (unsigned char)s.data[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

static struct th_random *random_of(struct th_context *ctx)
{
    if (!ctx->random_seeded) {
        ctx->random_seeded = true;
        th_random_seed(&ctx->random, stable_hash(ctx->execution_id));
    }
    return &ctx->random;
}

uint64_t th_random_u64(struct th_context *ctx)
{
    return th_random_next(random_of(ctx));
}

double th_random_double(struct th_context *ctx)
{
    return th_random_unit(random_of(ctx));
}

bool th_is_replaying(struct th_context *ctx)
{
    return ctx->ending || !ctx->turn || ctx->turn->replaying;
}

void th_log_info(struct th_context *ctx, const char *format, ...)
{
    if (ctx->muted || th_is_replaying(ctx)) {
        return;
    }
    TH_BUFFER line = {0};
    TH_BUFFER name = {0};
    va_list arguments;
    va_start(arguments, format);
    th_buffer_format(&line, "[%s] ", th_instance_id(ctx));
    th_buffer_vformat(&line, format, arguments);
    va_end(arguments);
    th_buffer_format(&name, "Function.%s", th_name(ctx));
    TH_AUTOFREE char *category = th_buffer_take(&name);
    th_log(th_executor_config(ctx->executor)->log, TH_LOG_INFO, category, "%.*s",
           TH_PRI(th_buffer_view(&line)));
}

void th_set_custom_status(struct th_context *ctx, json_t *status)
{
    struct th_turn *turn = ctx->turn;
    if (turn && !turn->replaying && !ctx->ending) {
        struct th_str words = th_payload_print(status);
        turn->out->has_custom_status = true;
        turn->out->custom_status = th_arena_str(turn->arena, words.data ? words : TH_STR(""));
        free((char *)words.data);
    }
    json_decref(status);
}

/* ---- ways to end ---------------------------------------------------------------------------- */

/* Takes over `output`. */
static int end_with(struct th_context *ctx, enum outcome outcome, struct th_str output)
{
    free((char *)ctx->output.data);
    ctx->output = output;
    ctx->outcome = outcome;
    return outcome == OUTCOME_FAILED ? TH_FAILED : 0;
}

int th_return(struct th_context *ctx, json_t *output)
{
    if (!output && ctx->call_failed) {
        return TH_FAILED; /* it was to be the result of that call */
    }
    struct th_str words = th_payload_print(output);
    if (output && !th_str_present(words)) {
        return th_fail_with(ctx, "InvalidOutput", "the output of %s cannot be written as JSON",
                            th_name(ctx));
    }
    return end_with(ctx, OUTCOME_COMPLETED, words);
}

int th_return_new(struct th_context *ctx, json_t *output)
{
    int result = th_return(ctx, output);
    json_decref(output);
    return result;
}

int th_return_bytes(struct th_context *ctx, const void *output, size_t len)
{
    char *copy = th_alloc(len + 1);
    if (len) {
        memcpy(copy, output, len);
    }
    return end_with(ctx, OUTCOME_COMPLETED, th_str_n(copy, len));
}

int th_fail_with(struct th_context *ctx, const char *type, const char *format, ...)
{
    struct th_failure *failure = TH_ARENA_NEW(&ctx->kept, struct th_failure);
    va_list arguments;
    va_start(arguments, format);
    failure->type = th_arena_str(&ctx->kept, th_str_of(type ? type : "OrchestratorFailed"));
    failure->message = keep_words(ctx, format, arguments);
    va_end(arguments);
    ctx->outcome_failure = failure;
    return end_with(ctx, OUTCOME_FAILED, TH_STR_ABSENT);
}

int th_continue_as_new(struct th_context *ctx, json_t *input, bool keep_events)
{
    struct th_str words = th_payload_print(input);
    bool broken = input && !th_str_present(words);
    json_decref(input);
    if (broken) {
        return th_fail_with(ctx, "InvalidInput", "the next input of %s cannot be written as JSON",
                            th_name(ctx));
    }
    ctx->keep_events = keep_events;
    return end_with(ctx, OUTCOME_CONTINUED, words);
}
