#include "unit/model_sample.h"

#include "base/memory.h"

static bool chance(struct th_random *random, uint64_t one_in)
{
    return th_random_below(random, one_in) == 0;
}

/* Sizes around the boundaries of msgpack's length forms. */
static size_t sample_len(struct th_random *random)
{
    static const size_t edges[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    return chance(random, 40) ? edges[th_random_below(random, TH_COUNT(edges))]
                              : th_random_below(random, 24);
}

struct th_str sample_str(struct th_random *random, struct th_arena *arena)
{
    if (chance(random, 3)) {
        return TH_STR_ABSENT;
    }
    size_t len = sample_len(random);
    bool text = !chance(random, 3);
    char *bytes = th_arena_alloc(arena, len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(text ? ' ' + (int)th_random_below(random, 95)
                               : (int)th_random_below(random, 256));
    }
    return (struct th_str){bytes, len};
}

/* All widths alike, both signs. */
static int64_t sample_i64(struct th_random *random)
{
    uint64_t bits = th_random_next(random) >> th_random_below(random, 64);
    return (int64_t)(chance(random, 2) ? bits : ~bits);
}

static int32_t sample_i32(struct th_random *random)
{
    return chance(random, 3) ? -1 : (int32_t)sample_i64(random);
}

static th_time sample_time(struct th_random *random)
{
    if (chance(random, 3)) {
        return TH_TIME_NONE;
    }
    return chance(random, 4)
               ? sample_i64(random)
               : INT64_C(1700000000000000) + (int64_t)th_random_below(random, 1u << 30);
}

static const struct th_failure *sample_failure(struct th_random *random, struct th_arena *arena)
{
    const struct th_failure *failure = NULL;
    for (uint64_t depth = chance(random, 2) ? 0 : th_random_below(random, TH_FAILURE_DEPTH + 1);
         depth > 0; depth--) {
        struct th_failure *outer = TH_ARENA_NEW(arena, struct th_failure);
        outer->type = sample_str(random, arena);
        outer->message = sample_str(random, arena);
        outer->stack = sample_str(random, arena);
        outer->non_retriable = chance(random, 2);
        outer->inner = failure;
        failure = outer;
    }
    return failure;
}

static const struct th_parent *sample_parent(struct th_random *random, struct th_arena *arena)
{
    if (chance(random, 2)) {
        return NULL;
    }
    struct th_parent *parent = TH_ARENA_NEW(arena, struct th_parent);
    parent->instance_id = sample_str(random, arena);
    parent->execution_id = sample_str(random, arena);
    parent->name = sample_str(random, arena);
    parent->version = sample_str(random, arena);
    parent->task_id = sample_i32(random);
    return parent;
}

static struct th_tags sample_tags(struct th_random *random, struct th_arena *arena)
{
    size_t count = chance(random, 2) ? 0 : th_random_below(random, 20);
    struct th_tag *items = TH_ARENA_ARRAY(arena, struct th_tag, count + 1);
    for (size_t i = 0; i < count; i++) {
        items[i].key = sample_str(random, arena);
        items[i].value = sample_str(random, arena);
    }
    return (struct th_tags){items, count};
}

static struct th_strs sample_strs(struct th_random *random, struct th_arena *arena)
{
    size_t count = chance(random, 2) ? 0 : th_random_below(random, 20);
    struct th_str *items = TH_ARENA_ARRAY(arena, struct th_str, count + 1);
    for (size_t i = 0; i < count; i++) {
        items[i] = sample_str(random, arena);
    }
    return (struct th_strs){items, count};
}

static enum th_event_kind sample_kind(struct th_random *random)
{
    static const enum th_event_kind kinds[] = {
#define X(name, number, text) TH_EVENT_##name,
        TH_EVENT_KINDS(X)
#undef X
    };
    return kinds[th_random_below(random, TH_COUNT(kinds))];
}

struct th_event sample_event(struct th_random *random, struct th_arena *arena)
{
    return (struct th_event){
        .kind = sample_kind(random),
        .id = sample_i32(random),
        .related_id = sample_i32(random),
        .timestamp = sample_time(random),
        .fire_at = sample_time(random),
        .status = (enum th_status)th_random_below(random, 8),
        .recurse = chance(random, 2),
        .name = sample_str(random, arena),
        .version = sample_str(random, arena),
        .data = sample_str(random, arena),
        .instance_id = sample_str(random, arena),
        .execution_id = sample_str(random, arena),
        .reason = sample_str(random, arena),
        .trace = sample_str(random, arena),
        .request_id = sample_str(random, arena),
        .failure = sample_failure(random, arena),
        .parent = sample_parent(random, arena),
        .tags = sample_tags(random, arena),
        .lock_set = sample_strs(random, arena),
    };
}

struct th_message sample_message(struct th_random *random, struct th_arena *arena)
{
    return (struct th_message){
        .instance_id = sample_str(random, arena),
        .execution_id = sample_str(random, arena),
        .request_id = sample_str(random, arena),
        .reply_to = sample_str(random, arena),
        .origin.partition = sample_i32(random),
        .origin.sequence = (uint64_t)sample_i64(random),
        .origin.index = (uint32_t)sample_i64(random),
        .reuse = (uint32_t)sample_i64(random),
        .fresh = chance(random, 2),
        .scheduled = (uint64_t)sample_i64(random),
        .event = sample_event(random, arena),
    };
}
