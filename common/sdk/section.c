/*
 * Critical sections, as the code sees them. The engine and the entities do the locking, and release
 * whatever is locked when the execution ends; here is what the code may do meanwhile. A call that
 * the code no longer waits for is under way all the same, until its answer comes.
 */
#include <stdlib.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "sdk/context.h"
#include "sdk/entity.h"

static const char rule[] = "LockRules";

/* ---- the set --------------------------------------------------------------------------------- */

/* In order, each once, as all sets are: see the engine. */
static void insert(struct th_str *set, size_t *count, struct th_str id)
{
    size_t at = *count;
    while (at > 0 && th_str_cmp(set[at - 1], id) > 0) {
        at--;
    }
    if (at > 0 && th_str_eq(set[at - 1], id)) {
        return;
    }
    memmove(set + at + 1, set + at, (*count - at) * sizeof(*set));
    set[at] = id;
    ++*count;
}

/* NULL, or why these cannot be locked. */
static const struct th_failure *read_set(struct th_context *ctx, const char *const *ids,
                                         size_t count, struct th_strs *out)
{
    struct th_arena *arena = ctx->turn->arena;
    struct th_error error = {.code = TH_OK};
    struct th_str *set = TH_ARENA_ARRAY(arena, struct th_str, count + 1);
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++) {
        struct th_str id;
        if (!th_entity_id_of(arena, ids[i], &id, &error)) {
            return th_context_failure(ctx, "InvalidEntityId", "%s", error.message);
        }
        insert(set, &distinct, id);
    }
    *out = (struct th_strs){set, distinct};
    if (distinct == 0 || distinct > TH_LOCK_SET_MAX) {
        return th_context_failure(ctx, rule, "a critical section has 1 to %d entities, not %zu",
                                  TH_LOCK_SET_MAX, distinct);
    }
    return NULL;
}

static struct section *section_new(struct th_context *ctx, struct th_strs set)
{
    size_t size = sizeof(struct section) + set.count * (sizeof(char *) + sizeof(int32_t));
    for (size_t i = 0; i < set.count; i++) {
        size += set.items[i].len + 1;
    }
    struct section *s = th_alloc(size);
    s->count = set.count;
    s->calls = (int32_t *)(void *)(s->entities + set.count);
    char *at = (char *)(s->calls + set.count);
    for (size_t i = 0; i < set.count; i++) {
        s->calls[i] = -1;
        s->entities[i] = memcpy(at, set.items[i].data, set.items[i].len);
        at += set.items[i].len + 1;
    }
    th_request_id(ctx, s->id);
    return s;
}

bool th_section_same(struct th_strs a, struct th_strs b)
{
    for (size_t i = 0; i < a.count && i < b.count; i++) {
        if (!th_str_eq(a.items[i], b.items[i])) {
            return false;
        }
    }
    return a.count == b.count;
}

struct th_str th_section_words(struct th_strs set, struct th_arena *arena)
{
    TH_BUFFER words = {0};
    for (size_t i = 0; i < set.count; i++) {
        th_buffer_format(&words, "%s\"%.*s\"", i ? ", " : "", TH_PRI(set.items[i]));
    }
    return th_arena_str(arena, th_buffer_view(&words));
}

/* ---- entering and leaving -------------------------------------------------------------------- */

static int32_t request_lock(struct th_context *ctx, struct th_strs set)
{
    struct th_event request = th_event_of(TH_EVENT_ENTITY_LOCK_REQUESTED, ctx->now);
    request.request_id = th_str_of(ctx->section->id);
    request.instance_id = set.items[0];
    request.lock_set = set;
    return th_issue_request(ctx, &request);
}

int th_lock(struct th_context *ctx, const char *const *ids, size_t count)
{
    struct th_strs set;
    if (th_context_refuses(ctx)) {
        return TH_FAILED;
    }
    const struct th_failure *why = read_set(ctx, ids, count, &set);
    if (ctx->section) {
        why = th_context_failure(ctx, rule, "a critical section within another is not possible");
    }
    if (why) {
        th_context_failed(ctx, why);
        return TH_FAILED;
    }
    ctx->section = section_new(ctx, set);
    struct th_task *task = th_task_waiting(ctx, TASK_LOCK, TH_STR_ABSENT, request_lock(ctx, set));
    ctx->section->entered = th_await(ctx, task);
    th_task_free(task);
    return ctx->section->entered ? 0 : TH_FAILED;
}

static struct section *inside(const struct th_context *ctx)
{
    return ctx->section && ctx->section->entered ? ctx->section : NULL;
}

int th_unlock(struct th_context *ctx)
{
    if (th_context_refuses(ctx)) {
        return TH_FAILED;
    }
    struct section *s = inside(ctx);
    if (!s) {
        th_context_failed(ctx,
                          th_context_failure(ctx, rule, "there is no critical section to leave"));
        return TH_FAILED;
    }
    for (size_t i = 0; i < s->count; i++) {
        struct th_event release = th_event_of(TH_EVENT_ENTITY_UNLOCK_SENT, ctx->now);
        release.request_id = th_str_of(s->id);
        release.instance_id = th_str_of(s->entities[i]);
        th_issue_request(ctx, &release);
    }
    free(s);
    ctx->section = NULL;
    return 0;
}

size_t th_locked(struct th_context *ctx, const char *const **ids)
{
    const struct section *s = inside(ctx);
    if (ids) {
        *ids = s ? s->entities : NULL;
    }
    return s ? s->count : 0;
}

/* ---- the rules inside ------------------------------------------------------------------------ */

/* Its place in the set; the set's size: it is in none. */
static size_t place_of(const struct section *s, struct th_str id)
{
    size_t i = 0;
    while (i < s->count && !th_str_eq(th_str_of(s->entities[i]), id)) {
        i++;
    }
    return i;
}

static const struct th_failure *forbids_call(struct th_context *ctx, const struct section *s,
                                             struct th_str id)
{
    size_t place = place_of(s, id);
    if (place == s->count) {
        return th_context_failure(ctx, rule,
                                  "entity \"%.*s\" is not locked by the critical section, so it "
                                  "cannot be called within it",
                                  TH_PRI(id));
    }
    if (s->calls[place] >= 0) {
        return th_context_failure(
            ctx, rule, "entity \"%.*s\" is locked and has not answered the last call yet",
            TH_PRI(id));
    }
    return NULL;
}

const struct th_failure *th_section_forbids(struct th_context *ctx, enum section_use use,
                                            struct th_str id)
{
    const struct section *s = inside(ctx);
    if (!s) {
        return NULL;
    }
    if (use == SECTION_CALL) {
        return forbids_call(ctx, s, id);
    }
    if (use == SECTION_CHILD) {
        return th_context_failure(ctx, rule,
                                  "a sub-orchestration cannot be called within a critical section");
    }
    if (place_of(s, id) == s->count) {
        return NULL;
    }
    return th_context_failure(ctx, rule,
                              "entity \"%.*s\" is locked by the critical section and can only be "
                              "called within it, not signalled",
                              TH_PRI(id));
}

void th_section_called(struct th_context *ctx, struct th_str id, int32_t event_id)
{
    struct section *s = inside(ctx);
    if (s) {
        s->calls[place_of(s, id)] = event_id;
    }
}

void th_section_answered(struct th_context *ctx, int32_t event_id)
{
    struct section *s = inside(ctx);
    for (size_t i = 0; s && i < s->count; i++) {
        if (s->calls[i] == event_id) {
            s->calls[i] = -1;
        }
    }
}
