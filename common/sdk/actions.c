#include "sdk/actions.h"

static struct th_action *next_slot(struct th_actions *list, struct th_arena *arena)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        struct th_action *items = TH_ARENA_ARRAY(arena, struct th_action, capacity);
        if (list->count) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->capacity = capacity;
    }
    return &list->items[list->count++];
}

static struct th_tags copy_tags(struct th_arena *arena, struct th_tags tags)
{
    struct th_tag *items = tags.count ? TH_ARENA_ARRAY(arena, struct th_tag, tags.count) : NULL;
    for (size_t i = 0; i < tags.count; i++) {
        items[i].key = th_arena_str(arena, tags.items[i].key);
        items[i].value = th_arena_str(arena, tags.items[i].value);
    }
    return (struct th_tags){items, tags.count};
}

static const struct th_event *copy_event(struct th_arena *arena, const struct th_event *event)
{
    struct th_event *copy = TH_ARENA_NEW(arena, struct th_event);
    *copy = th_event_copy(arena, event);
    return copy;
}

struct th_action *th_actions_put(struct th_actions *list, struct th_arena *arena,
                                 const struct th_action *wanted)
{
    struct th_action *a = next_slot(list, arena);
    *a = *wanted;
    a->name = th_arena_str(arena, a->name);
    a->version = th_arena_str(arena, a->version);
    a->data = th_arena_str(arena, a->data);
    a->instance_id = th_arena_str(arena, a->instance_id);
    a->failure = th_failure_copy(arena, a->failure);
    a->tags = copy_tags(arena, a->tags);
    if (a->entity) {
        a->entity = copy_event(arena, a->entity);
    }
    return a;
}

struct th_tags th_tags_of(struct th_arena *arena, const char *const *words)
{
    size_t count = 0;
    while (words && words[2 * count] && words[2 * count + 1]) {
        count++;
    }
    struct th_tag *items = count ? TH_ARENA_ARRAY(arena, struct th_tag, count) : NULL;
    for (size_t i = 0; i < count; i++) {
        items[i].key = th_str_of(words[2 * i]);
        items[i].value = th_str_of(words[2 * i + 1]);
    }
    return (struct th_tags){items, count};
}
