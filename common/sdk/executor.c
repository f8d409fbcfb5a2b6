/*
 * The executor keeps waiting contexts in a table by instance id and in a list by last use. A
 * context is in both or in neither.
 *
 * Is a warm context the one the caller means? The caller says how many events the history had
 * before this episode; the context knows how many there were after its last one: those before, the
 * fresh ones, one for each action, and OrchestratorCompleted. Episodes that needed no code, a
 * rewind, or another owner's work make the numbers differ. (A caller that lost an episode it had
 * run, and then adds others, must th_executor_forget the instance.)
 */
#include "sdk/executor.h"

#include <stdlib.h>

#include "base/memory.h"
#include "sdk/context.h"
#include "sdk/entity.h"

enum { STACK_BYTES = 64 * 1024, MAX_WARM = 10000, SPARE_STACKS = 256 };

struct th_executor {
    struct th_executor_options options;
    struct th_stacks *stacks;
    struct th_context **buckets;
    size_t bucket_count; /* a power of two */
    size_t warm;
    struct th_context *newest, *oldest;
};

/* ---- table and list ------------------------------------------------------------------------- */

static struct th_context **bucket_of(const struct th_executor *x, struct th_str id)
{
    return &x->buckets[th_hash(id, 0) & (x->bucket_count - 1)];
}

static struct th_context *find(const struct th_executor *x, struct th_str id)
{
    struct th_context *ctx = *bucket_of(x, id);
    while (ctx && !th_str_eq(ctx->instance_id, id)) {
        ctx = ctx->next_bucket;
    }
    return ctx;
}

static void grow(struct th_executor *x)
{
    struct th_context **old = x->buckets;
    size_t old_count = x->bucket_count;
    x->bucket_count *= 2;
    x->buckets = th_alloc(x->bucket_count * sizeof(struct th_context *));
    for (size_t i = 0; i < old_count; i++) {
        struct th_context *next;
        for (struct th_context *ctx = old[i]; ctx; ctx = next) {
            struct th_context **bucket = bucket_of(x, ctx->instance_id);
            next = ctx->next_bucket;
            ctx->next_bucket = *bucket;
            *bucket = ctx;
        }
    }
    free(old);
}

static void insert(struct th_executor *x, struct th_context *ctx)
{
    if (x->warm >= x->bucket_count) {
        grow(x);
    }
    struct th_context **bucket = bucket_of(x, ctx->instance_id);
    ctx->next_bucket = *bucket;
    *bucket = ctx;
    ctx->lru_previous = NULL;
    ctx->lru_next = x->newest;
    *(x->newest ? &x->newest->lru_previous : &x->oldest) = ctx;
    x->newest = ctx;
    x->warm++;
}

static void take_out(struct th_executor *x, struct th_context *ctx)
{
    struct th_context **at = bucket_of(x, ctx->instance_id);
    while (*at != ctx) {
        at = &(*at)->next_bucket;
    }
    *at = ctx->next_bucket;
    *(ctx->lru_previous ? &ctx->lru_previous->lru_next : &x->newest) = ctx->lru_next;
    *(ctx->lru_next ? &ctx->lru_next->lru_previous : &x->oldest) = ctx->lru_previous;
    x->warm--;
}

/* ---- eviction ------------------------------------------------------------------------------- */

void th_executor_drop(struct th_context *ctx)
{
    ctx->ending = true;
    if (ctx->coroutine) {
        th_context_resume(ctx);
    }
    if (ctx->coroutine) {
        th_log(ctx->executor->options.log, TH_LOG_WARN, "executor",
               "instance \"%s\": orchestrator \"%s\" does not return although all its calls fail; "
               "its stack was dropped, and what its cleanups would have freed is lost",
               th_instance_id(ctx), th_name(ctx));
    }
    th_context_free(ctx);
}

static void evict(struct th_executor *x, struct th_context *ctx)
{
    take_out(x, ctx);
    th_executor_drop(ctx);
}

struct th_coroutine *th_executor_coroutine(struct th_context *ctx, void (*function)(void *))
{
    struct th_executor *x = ctx->executor;
    struct th_coroutine *coroutine;
    while (!(coroutine = th_coroutine_new(x->stacks, function, ctx))) {
        if (!x->oldest) {
            th_log(x->options.log, TH_LOG_ERROR, "executor",
                   "no memory for the stack of a single orchestrator (%zu bytes)",
                   x->options.stack_bytes);
            abort(); /* as for any other memory, see base/memory.h */
        }
        evict(x, x->oldest);
    }
    return coroutine;
}

void th_executor_forget(struct th_executor *x, struct th_str instance_id)
{
    struct th_context *ctx = find(x, instance_id);
    if (ctx) {
        evict(x, ctx);
    }
}

/* ---- episodes ------------------------------------------------------------------------------- */

static bool fits(const struct th_context *ctx, const struct th_episode *e)
{
    return !e->past_loaded && ctx->event_count == e->past_count &&
           th_str_eq(ctx->execution_id, e->execution_id);
}

static void put_away(struct th_executor *x, struct th_context *ctx)
{
    if (th_context_over(ctx) || x->options.always_cold) {
        th_executor_drop(ctx);
        return;
    }
    insert(x, ctx);
    while (x->warm > x->options.max_warm) {
        evict(x, x->oldest);
    }
}

static void run(struct th_executor *x, struct th_context *ctx, const struct th_episode *e,
                bool cold, struct th_arena *arena, struct th_actions *out)
{
    th_replay(ctx, e, cold, arena, out);
    if (x->options.replay_always) {
        th_verify(ctx, e, cold, arena, out);
    }
    ctx->event_count = e->past_count + e->fresh_count + out->count + 1;
    put_away(x, ctx);
}

enum th_executor_result th_executor_run(struct th_executor *x, const struct th_episode *e,
                                        struct th_arena *arena, struct th_actions *out)
{
    if (e->entity) {
        th_entity_run(x->options.app, x->options.log, x->options.default_version, e, arena, out);
        return TH_EXECUTOR_DONE;
    }
    struct th_context *ctx = find(x, e->instance_id);
    *out = (struct th_actions){0};
    if (ctx && fits(ctx, e)) {
        take_out(x, ctx);
        run(x, ctx, e, false, arena, out);
        return TH_EXECUTOR_DONE;
    }
    if (ctx) {
        evict(x, ctx);
    }
    if (!e->past_loaded && e->past_count) {
        return TH_EXECUTOR_NEEDS_HISTORY;
    }
    run(x, th_context_new(x), e, true, arena, out);
    return TH_EXECUTOR_DONE;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct th_executor *th_executor_new(const struct th_executor_options *options)
{
    struct th_executor *x = TH_NEW(struct th_executor);
    x->options = *options;
    if (!x->options.max_warm) {
        x->options.max_warm = MAX_WARM;
    }
    if (!x->options.stack_bytes) {
        x->options.stack_bytes = STACK_BYTES;
    }
    x->stacks = th_stacks_new(x->options.stack_bytes, SPARE_STACKS);
    x->bucket_count = 64;
    x->buckets = th_alloc(x->bucket_count * sizeof(struct th_context *));
    return x;
}

void th_executor_free(struct th_executor *x)
{
    if (!x) {
        return;
    }
    while (x->oldest) {
        evict(x, x->oldest);
    }
    th_stacks_free(x->stacks);
    free(x->buckets);
    free(x);
}

size_t th_executor_warm(const struct th_executor *x)
{
    return x->warm;
}

const struct th_executor_options *th_executor_config(const struct th_executor *x)
{
    return &x->options;
}
