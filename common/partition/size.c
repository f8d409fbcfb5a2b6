/*
 * size: what no part of the hub could carry ends its instance with words, before any record builds
 * on it: above the storage's limit it would be tried again for ever.
 */
#include "partition/internal.h"

/* What a message holds beside what its action says: ids, the parent, numbers. */
#define MESSAGE_OVERHEAD 4096

static size_t size_of_tags(struct th_tags tags)
{
    size_t size = 0;

    for (size_t n = 0; n < tags.count; n++)
        size += tags.items[n].key.len + tags.items[n].value.len + 16;
    return size;
}

static size_t size_of_failure(const struct th_failure *failure)
{
    size_t size = 0;

    for (; failure; failure = failure->inner)
        size += failure->type.len + failure->message.len + failure->stack.len + 32;
    return size;
}

/* The end of an execution is sent to a parent only. */
static bool is_sent(const struct th_action *a, bool has_parent)
{
    return a->kind != TH_ACTION_COMPLETE || (has_parent && a->status != TH_STATUS_CONTINUED_AS_NEW);
}

static bool fits_message(const struct th_partition *p, const struct th_action *a)
{
    const size_t limit = p->options.traits.max_message_bytes;
    const size_t size = a->data.len + a->name.len + a->version.len + a->instance_id.len +
                        size_of_tags(a->tags) + size_of_failure(a->failure) + MESSAGE_OVERHEAD;

    return limit == 0 || size <= limit;
}

static struct th_str words(const struct th_partition *p, const struct th_action *a,
                           struct th_arena *arena)
{
    const size_t payload = p->options.max_payload_bytes;

    if (payload == 0 || a->data.len <= payload)
        return th_arena_format(arena,
                               "\"%.*s\": what is sent with it (payload, names, tags or failure) "
                               "is above the limit of %zu bytes for a message",
                               TH_PRI(a->name), p->options.traits.max_message_bytes);
    if (a->kind == TH_ACTION_COMPLETE)
        return th_arena_format(arena, "an output of %zu bytes is above the limit of %zu bytes",
                               a->data.len, payload);
    return th_arena_format(arena,
                           "a payload of %zu bytes for \"%.*s\" is above the limit of %zu bytes",
                           a->data.len, TH_PRI(a->name), payload);
}

static const struct th_actions *fail_with(struct th_arena *arena, struct th_str message)
{
    struct th_actions *actions = TH_ARENA_NEW(arena, struct th_actions);
    struct th_failure *failure = TH_ARENA_NEW(arena, struct th_failure);
    struct th_action *only;

    *failure = (struct th_failure){
        .type = TH_STR("PayloadTooLarge"), .message = message, .non_retriable = true};
    only = th_actions_add(actions, arena, TH_ACTION_COMPLETE, -1);
    only->status = TH_STATUS_FAILED;
    only->failure = failure;
    return actions;
}

static bool fits(const struct th_partition *p, const struct th_action *a, bool has_parent)
{
    const size_t payload = p->options.max_payload_bytes;

    return (payload == 0 || a->data.len <= payload) &&
           (!is_sent(a, has_parent) || fits_message(p, a));
}

const struct th_actions *actions_in_size(const struct th_partition *p,
                                         const struct th_actions *actions, bool has_parent,
                                         struct th_arena *arena)
{
    const size_t payload = p->options.max_payload_bytes;

    for (size_t n = 0; n < actions->count; n++)
        if (!fits(p, &actions->items[n], has_parent))
            return fail_with(arena, words(p, &actions->items[n], arena));
    if (actions->has_custom_status && payload > 0 && actions->custom_status.len > payload)
        return fail_with(arena, th_arena_format(arena,
                                                "a custom status of %zu bytes is above the limit "
                                                "of %zu bytes",
                                                actions->custom_status.len, payload));
    return actions;
}
