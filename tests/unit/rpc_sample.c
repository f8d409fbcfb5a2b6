#include "unit/rpc_sample.h"

#include "base/memory.h"

enum field {
#define X(number, name, type) F_##name = 1 << number,
    TH_EVENT_FIELDS(X)
#undef X
};

/* As event.h lists them, but for what the protocol does not carry (rpc/event.h). */
static const struct {
    enum th_event_kind kind;
    unsigned fields;
} kinds[] = {
    {TH_EVENT_EXECUTION_STARTED, F_name | F_version | F_data | F_instance_id | F_execution_id |
                                     F_parent | F_fire_at | F_tags | F_trace},
    {TH_EVENT_EXECUTION_COMPLETED, F_status | F_data | F_failure},
    {TH_EVENT_EXECUTION_TERMINATED, F_data | F_recurse},
    {TH_EVENT_EXECUTION_SUSPENDED, F_reason},
    {TH_EVENT_EXECUTION_RESUMED, F_reason},
    {TH_EVENT_EXECUTION_REWOUND,
     F_reason | F_parent | F_name | F_version | F_data | F_instance_id | F_trace | F_tags},
    {TH_EVENT_TASK_SCHEDULED, F_name | F_version | F_data | F_tags | F_trace},
    {TH_EVENT_TASK_COMPLETED, F_related_id | F_data},
    {TH_EVENT_TASK_FAILED, F_related_id | F_failure},
    {TH_EVENT_CHILD_CREATED, F_name | F_version | F_data | F_instance_id | F_tags | F_trace},
    {TH_EVENT_CHILD_COMPLETED, F_related_id | F_data},
    {TH_EVENT_CHILD_FAILED, F_related_id | F_failure},
    {TH_EVENT_TIMER_CREATED, F_fire_at},
    {TH_EVENT_TIMER_FIRED, F_related_id | F_fire_at},
    {TH_EVENT_ORCHESTRATOR_STARTED, 0},
    {TH_EVENT_EVENT_SENT, F_instance_id | F_name | F_data},
    {TH_EVENT_EVENT_RAISED, F_name | F_data},
    {TH_EVENT_CONTINUE_AS_NEW, F_data},
    {TH_EVENT_GENERIC, F_data},
    {TH_EVENT_HISTORY_STATE, 0},
    {TH_EVENT_ENTITY_SIGNALED, F_instance_id | F_name | F_data | F_request_id | F_fire_at},
    {TH_EVENT_ENTITY_CALLED, F_instance_id | F_name | F_data | F_request_id | F_fire_at | F_parent},
    {TH_EVENT_ENTITY_COMPLETED, F_request_id | F_data},
    {TH_EVENT_ENTITY_FAILED, F_request_id | F_failure},
    {TH_EVENT_ENTITY_LOCK_REQUESTED, F_request_id | F_lock_set | F_parent},
    {TH_EVENT_ENTITY_LOCK_GRANTED, F_request_id},
    {TH_EVENT_ENTITY_UNLOCK_SENT, F_request_id | F_instance_id},
};

static bool chance(struct th_random *random, uint64_t one_in)
{
    return th_random_below(random, one_in) == 0;
}

/* Characters of one to four bytes. */
static struct th_str text(struct th_random *random, struct th_arena *arena, size_t least)
{
    static const char *const characters[] = {
        "a", "\"", "\n", "\x01", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    size_t count = least + th_random_below(random, chance(random, 20) ? 300 : 12);
    char *bytes = th_arena_alloc(arena, count * 4 + 1);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        const char *c = characters[th_random_below(random, TH_COUNT(characters))];
        memcpy(bytes + len, c, strlen(c));
        len += strlen(c);
    }
    return th_str_n(bytes, len);
}

/* Of a field that may be absent, or be there and empty. */
static struct th_str value(struct th_random *random, struct th_arena *arena)
{
    return chance(random, 3) ? TH_STR_ABSENT : text(random, arena, 0);
}

/* Of a field that cannot tell these two apart. */
static struct th_str plain(struct th_random *random, struct th_arena *arena)
{
    return chance(random, 3) ? TH_STR_ABSENT : text(random, arena, 1);
}

static th_time some_time(struct th_random *random)
{
    static const th_time edges[] = {
        TH_TIME_NONE,      0, -1, 1, 999999, -999999, -1000000, -1000001, -62135596800000000,
        253402300799999999};
    return chance(random, 2)
               ? edges[th_random_below(random, TH_COUNT(edges))]
               : INT64_C(1700000000000000) + (int64_t)th_random_below(random, 1 << 30);
}

static int32_t some_id(struct th_random *random)
{
    static const int32_t edges[] = {0, -1, 1, INT32_MAX, INT32_MIN};
    return edges[th_random_below(random, TH_COUNT(edges))];
}

static const struct th_failure *failure(struct th_random *random, struct th_arena *arena)
{
    const struct th_failure *inner = NULL;
    for (uint64_t depth = th_random_below(random, TH_FAILURE_DEPTH + 1); depth > 0; depth--) {
        struct th_failure *outer = TH_ARENA_NEW(arena, struct th_failure);
        outer->type = text(random, arena, 0);
        outer->message = text(random, arena, 0);
        outer->stack = value(random, arena);
        outer->non_retriable = chance(random, 2);
        outer->inner = inner;
        inner = outer;
    }
    return inner;
}

static const struct th_parent *parent(struct th_random *random, struct th_arena *arena,
                                      const struct th_event *event)
{
    struct th_parent *out = TH_ARENA_NEW(arena, struct th_parent);
    if (chance(random, 3)) {
        return NULL;
    }
    if (event->kind == TH_EVENT_ENTITY_CALLED || event->kind == TH_EVENT_ENTITY_LOCK_REQUESTED) {
        out->instance_id = text(random, arena, 0);
        out->task_id = event->id;
        if (event->kind == TH_EVENT_ENTITY_CALLED) {
            out->execution_id = value(random, arena);
        }
        return out;
    }
    out->instance_id = plain(random, arena);
    out->execution_id = value(random, arena);
    out->name = value(random, arena);
    out->version = value(random, arena);
    out->task_id = some_id(random);
    return out;
}

static struct th_tags tags(struct th_random *random, struct th_arena *arena)
{
    size_t count = th_random_below(random, 4);
    struct th_tag *items = TH_ARENA_ARRAY(arena, struct th_tag, count);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct th_tag){text(random, arena, 0), text(random, arena, 0)};
    }
    return (struct th_tags){count ? items : NULL, count};
}

static struct th_strs lock_set(struct th_random *random, struct th_arena *arena)
{
    size_t count = th_random_below(random, 4);
    struct th_str *items = TH_ARENA_ARRAY(arena, struct th_str, count);
    for (size_t i = 0; i < count; i++) {
        items[i] = text(random, arena, 0);
    }
    return (struct th_strs){items, count};
}

static struct th_str trace(struct th_random *random)
{
    static const struct th_str traces[] = {{NULL, 0},
                                           {"00-aa-bb-01", 11},
                                           {"00-aa-bb-01\nbb", 14},
                                           {"00-aa-bb-01\nbb\nk=v", 18},
                                           {"00-aa-bb-01\n\nk=v", 16},
                                           {"00-aa-bb-01\n\n", 13},
                                           {"\nbb", 3}};
    return traces[th_random_below(random, TH_COUNT(traces))];
}

static void fill(struct th_random *random, struct th_arena *arena, unsigned fields,
                 struct th_event *e)
{
    bool wrapped = e->kind == TH_EVENT_EXECUTION_REWOUND;
    bool entity = fields & F_request_id;
    e->id = some_id(random);
    e->related_id = fields & F_related_id ? some_id(random) : -1;
    e->name = !(fields & F_name) ? TH_STR_ABSENT
              : wrapped          ? value(random, arena)
                                 : plain(random, arena);
    e->version = fields & F_version ? value(random, arena) : TH_STR_ABSENT;
    e->data = fields & F_data ? value(random, arena) : TH_STR_ABSENT;
    e->instance_id = !(fields & F_instance_id) ? TH_STR_ABSENT
                     : wrapped || entity       ? value(random, arena)
                                               : plain(random, arena);
    e->execution_id = fields & F_execution_id ? value(random, arena) : TH_STR_ABSENT;
    e->reason = fields & F_reason ? value(random, arena) : TH_STR_ABSENT;
    e->request_id = fields & F_request_id ? plain(random, arena) : TH_STR_ABSENT;
    e->trace = fields & F_trace ? trace(random) : TH_STR_ABSENT;
    e->fire_at = fields & F_fire_at ? some_time(random) : TH_TIME_NONE;
    e->status = fields & F_status ? (enum th_status)th_random_below(random, 8) : 0;
    e->recurse = fields & F_recurse && chance(random, 2);
    e->failure = fields & F_failure ? failure(random, arena) : NULL;
    e->parent = fields & F_parent ? parent(random, arena, e) : NULL;
    e->tags = fields & F_tags ? tags(random, arena) : (struct th_tags){0};
    e->lock_set = fields & F_lock_set ? lock_set(random, arena) : (struct th_strs){0};
}

bool rpc_sample_event(struct th_random *random, struct th_arena *arena, enum th_event_kind kind,
                      struct th_event *out)
{
    for (size_t i = 0; i < TH_COUNT(kinds); i++) {
        if (kinds[i].kind == kind) {
            *out = th_event_of(kind, some_time(random));
            fill(random, arena, kinds[i].fields, out);
            return true;
        }
    }
    return false;
}
