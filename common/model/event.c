/*
 * The tables of event.h turned into copies, comparisons and names. Each field type T has a macro
 * COPY_T and SAME_T; a new type needs both before anything compiles.
 */
#include "model/event.h"

#include <stdlib.h>

#include "base/memory.h"

struct th_event th_event_of(enum th_event_kind kind, th_time timestamp)
{
    return (struct th_event){
        .kind = kind,
        .id = -1,
        .related_id = -1,
        .timestamp = timestamp,
        .fire_at = TH_TIME_NONE,
    };
}

/* ---- copies ---- */

const struct th_failure *th_failure_copy(struct th_arena *arena, const struct th_failure *failure)
{
    const struct th_failure *first = NULL;
    const struct th_failure **link = &first;
    for (int depth = 0; failure && depth < TH_FAILURE_DEPTH; depth++, failure = failure->inner) {
        struct th_failure *copy = TH_ARENA_NEW(arena, struct th_failure);
        copy->type = th_arena_str(arena, failure->type);
        copy->message = th_arena_str(arena, failure->message);
        copy->stack = th_arena_str(arena, failure->stack);
        copy->non_retriable = failure->non_retriable;
        *link = copy;
        link = &copy->inner;
    }
    return first;
}

static const struct th_parent *parent_copy(struct th_arena *arena, const struct th_parent *parent)
{
    if (!parent) {
        return NULL;
    }
    struct th_parent *copy = TH_ARENA_NEW(arena, struct th_parent);
    copy->instance_id = th_arena_str(arena, parent->instance_id);
    copy->execution_id = th_arena_str(arena, parent->execution_id);
    copy->name = th_arena_str(arena, parent->name);
    copy->version = th_arena_str(arena, parent->version);
    copy->task_id = parent->task_id;
    return copy;
}

static struct th_tags tags_copy(struct th_arena *arena, struct th_tags tags)
{
    if (tags.count == 0) {
        return (struct th_tags){0};
    }
    struct th_tag *items = TH_ARENA_ARRAY(arena, struct th_tag, tags.count);
    for (size_t i = 0; i < tags.count; i++) {
        items[i].key = th_arena_str(arena, tags.items[i].key);
        items[i].value = th_arena_str(arena, tags.items[i].value);
    }
    return (struct th_tags){items, tags.count};
}

struct th_strs th_strs_copy(struct th_arena *arena, struct th_strs strs)
{
    struct th_str *items = TH_ARENA_ARRAY(arena, struct th_str, strs.count);
    for (size_t i = 0; i < strs.count; i++) {
        items[i] = th_arena_str(arena, strs.items[i]);
    }
    return (struct th_strs){items, strs.count};
}

#define COPY_I32(field)     (event->field)
#define COPY_TIME(field)    (event->field)
#define COPY_STATUS(field)  (event->field)
#define COPY_BOOL(field)    (event->field)
#define COPY_STR(field)     th_arena_str(arena, event->field)
#define COPY_FAILURE(field) th_failure_copy(arena, event->field)
#define COPY_PARENT(field)  parent_copy(arena, event->field)
#define COPY_TAGS(field)    tags_copy(arena, event->field)
#define COPY_STRS(field)    th_strs_copy(arena, event->field)

struct th_event th_event_copy(struct th_arena *arena, const struct th_event *event)
{
    struct th_event copy = {.kind = event->kind};
#define X(number, field, type) copy.field = COPY_##type(field);
    TH_EVENT_FIELDS(X)
#undef X
    return copy;
}

/* ---- comparison ---- */

/* Present and empty is not absent: the two mean different things to a custom status or a tag. */
static bool same_str(struct th_str a, struct th_str b)
{
    return th_str_present(a) == th_str_present(b) && th_str_eq(a, b);
}

/* Beyond TH_FAILURE_DEPTH nothing is stored, so nothing is compared. */
static bool same_failure(const struct th_failure *a, const struct th_failure *b)
{
    int depth = 0;
    for (; a && b && depth < TH_FAILURE_DEPTH; depth++, a = a->inner, b = b->inner) {
        if (!same_str(a->type, b->type) || !same_str(a->message, b->message) ||
            !same_str(a->stack, b->stack) || a->non_retriable != b->non_retriable) {
            return false;
        }
    }
    return depth == TH_FAILURE_DEPTH || (!a && !b);
}

static bool same_parent(const struct th_parent *a, const struct th_parent *b)
{
    if (!a || !b) {
        return a == b;
    }
    return same_str(a->instance_id, b->instance_id) && same_str(a->execution_id, b->execution_id) &&
           same_str(a->name, b->name) && same_str(a->version, b->version) &&
           a->task_id == b->task_id;
}

static bool same_tags(struct th_tags a, struct th_tags b)
{
    if (a.count != b.count) {
        return false;
    }
    for (size_t i = 0; i < a.count; i++) {
        if (!same_str(a.items[i].key, b.items[i].key) ||
            !same_str(a.items[i].value, b.items[i].value)) {
            return false;
        }
    }
    return true;
}

static bool same_strs(struct th_strs a, struct th_strs b)
{
    bool same = a.count == b.count;
    for (size_t i = 0; same && i < a.count; i++) {
        same = same_str(a.items[i], b.items[i]);
    }
    return same;
}

#define SAME_I32(field)     (a->field == b->field)
#define SAME_TIME(field)    (a->field == b->field)
#define SAME_STATUS(field)  (a->field == b->field)
#define SAME_BOOL(field)    (a->field == b->field)
#define SAME_STR(field)     same_str(a->field, b->field)
#define SAME_FAILURE(field) same_failure(a->field, b->field)
#define SAME_PARENT(field)  same_parent(a->field, b->field)
#define SAME_TAGS(field)    same_tags(a->field, b->field)
#define SAME_STRS(field)    same_strs(a->field, b->field)

bool th_event_equal(const struct th_event *a, const struct th_event *b)
{
    bool same = a->kind == b->kind;
#define X(number, field, type) same = same && SAME_##type(field);
    TH_EVENT_FIELDS(X)
#undef X
    return same;
}

/* ---- names ---- */

bool th_event_is_entity_request(enum th_event_kind kind)
{
    return kind == TH_EVENT_ENTITY_CALLED || kind == TH_EVENT_ENTITY_SIGNALED ||
           kind == TH_EVENT_ENTITY_LOCK_REQUESTED || kind == TH_EVENT_ENTITY_UNLOCK_SENT;
}

const char *th_event_kind_text(enum th_event_kind kind)
{
    switch (kind) {
#define X(name, number, text) \
    case TH_EVENT_##name:     \
        return text;
        TH_EVENT_KINDS(X)
#undef X
    }
    return "?";
}

bool th_event_kind_parse(struct th_str text, enum th_event_kind *out)
{
#define X(name, number, literal)            \
    if (th_str_eq(text, TH_STR(literal))) { \
        *out = TH_EVENT_##name;             \
        return true;                        \
    }
    TH_EVENT_KINDS(X)
#undef X
    return false;
}

const char *th_status_text(enum th_status status)
{
    switch (status) {
#define X(name, number, text, terminal) \
    case TH_STATUS_##name:              \
        return text;
        TH_ALL_STATUSES(X)
#undef X
    }
    return "?";
}

bool th_status_parse(struct th_str text, enum th_status *out)
{
#define X(name, number, literal, terminal)         \
    if (th_str_eq_nocase(text, TH_STR(literal))) { \
        *out = TH_STATUS_##name;                   \
        return true;                               \
    }
    TH_STATUSES(X)
#undef X
    return false;
}

bool th_status_terminal(enum th_status status)
{
    switch (status) {
#define X(name, number, text, terminal) \
    case TH_STATUS_##name:              \
        return terminal;
        TH_ALL_STATUSES(X)
#undef X
    }
    return false;
}

/* ---- lists ---- */

void th_events_add(struct th_events *list, struct th_event event)
{
    list->items = th_grow(list->items, &list->capacity, list->count + 1, sizeof(event));
    list->items[list->count++] = event;
}

void th_events_deinit(struct th_events *list)
{
    free(list->items);
    *list = (struct th_events){0};
}
