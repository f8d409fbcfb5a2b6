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

static struct th_str payload_of(const struct th_action *a)
{
    return a->entity ? a->entity->data : a->data;
}

static size_t size_of_lock_set(const struct th_action *a)
{
    size_t size = 0;

    for (size_t n = 0; a->entity && n < a->entity->lock_set.count; n++)
        size += a->entity->lock_set.items[n].len + 8;
    return size;
}

static bool fits_message(const struct th_partition *p, const struct th_action *a)
{
    const size_t limit = p->options.traits.max_message_bytes;
    const size_t size = payload_of(a).len + size_of_lock_set(a) + a->name.len + a->version.len +
                        a->instance_id.len + size_of_tags(a->tags) + size_of_failure(a->failure) +
                        MESSAGE_OVERHEAD;

    return limit == 0 || size <= limit;
}

static struct th_str words(const struct th_partition *p, const struct th_action *a,
                           struct th_arena *arena)
{
    const size_t payload = p->options.max_payload_bytes;

    if (payload == 0 || payload_of(a).len <= payload)
        return th_arena_format(arena,
                               "\"%.*s\": what is sent with it (payload, names, tags or failure) "
                               "is above the limit of %zu bytes for a message",
                               TH_PRI(a->name), p->options.traits.max_message_bytes);
    if (a->kind == TH_ACTION_COMPLETE)
        return th_arena_format(arena, "an output of %zu bytes is above the limit of %zu bytes",
                               a->data.len, payload);
    return th_arena_format(
        arena, "a payload of %zu bytes for \"%.*s\" is above the limit of %zu bytes",
        payload_of(a).len, TH_PRI(a->entity ? a->entity->name : a->name), payload);
}

static const struct th_failure *too_large(struct th_arena *arena, struct th_str message)
{
    const struct th_failure failure = {
        .type = TH_STR("PayloadTooLarge"), .message = message, .non_retriable = true};

    return th_arena_dup(arena, &failure, sizeof(failure));
}

static const struct th_actions *fail_with(struct th_arena *arena, struct th_str message)
{
    struct th_actions *actions = TH_ARENA_NEW(arena, struct th_actions);
    struct th_action *only;

    only = th_actions_add(actions, arena, TH_ACTION_COMPLETE, -1);
    only->status = TH_STATUS_FAILED;
    only->failure = too_large(arena, message);
    return actions;
}

static bool fits(const struct th_partition *p, const struct th_action *a, bool has_parent)
{
    const size_t payload = p->options.max_payload_bytes;

    return (payload == 0 || payload_of(a).len <= payload) &&
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

/* ---- entities ---- */

static const struct th_actions *fail_batch(struct th_arena *arena, struct th_str message)
{
    struct th_actions *failed = TH_ARENA_NEW(arena, struct th_actions);

    failed->failure = too_large(arena, message);
    return failed;
}

static bool result_fits(const struct th_partition *p, const struct th_operation_result *result)
{
    const size_t payload = p->options.max_payload_bytes;
    const size_t limit = p->options.traits.max_message_bytes;
    const size_t size = result->data.len + size_of_failure(result->failure) + MESSAGE_OVERHEAD;

    return (payload == 0 || result->data.len <= payload) && (limit == 0 || size <= limit);
}

static const struct th_operation_result *fitting(const struct th_partition *p,
                                                 const struct th_actions *actions,
                                                 struct th_arena *arena)
{
    struct th_operation_result *results =
        TH_ARENA_ARRAY(arena, struct th_operation_result, actions->result_count);

    for (size_t n = 0; n < actions->result_count; n++) {
        results[n] = actions->results[n];
        if (result_fits(p, &results[n]))
            continue;
        results[n] = (struct th_operation_result){
            .failure = too_large(
                arena, th_arena_format(arena, "a result of %zu bytes is more than can be sent",
                                       results[n].data.len))};
    }
    return results;
}

const struct th_actions *results_in_size(const struct th_partition *p,
                                         const struct th_actions *actions, struct th_arena *arena)
{
    const size_t payload = p->options.max_payload_bytes;
    struct th_actions *fit = th_arena_dup(arena, actions, sizeof(*actions));

    if (payload > 0 && actions->state.len > payload)
        return fail_batch(arena, th_arena_format(arena,
                                                 "a state of %zu bytes is above the limit of %zu "
                                                 "bytes",
                                                 actions->state.len, payload));
    for (size_t n = 0; n < actions->count; n++)
        if (!fits(p, &actions->items[n], false))
            return fail_batch(arena, words(p, &actions->items[n], arena));
    fit->results = fitting(p, actions, arena);
    return fit;
}
