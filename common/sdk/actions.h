/* actions: what an author's code asked for, copied into the arena of its episode. Pure. */
#pragma once

#include "engine/action.h"

/* Appends `wanted` with everything it refers to copied; valid until the next one. */
struct th_action *th_actions_put(struct th_actions *list, struct th_arena *arena,
                                 const struct th_action *wanted);

/* What every kind of action has, if it has it. */
static inline struct th_str th_action_name(const struct th_action *action)
{
    return action->entity ? action->entity->name : action->name;
}

static inline struct th_str th_action_data(const struct th_action *action)
{
    return action->entity ? action->entity->data : action->data;
}

static inline struct th_str th_action_target(const struct th_action *action)
{
    return action->entity ? action->entity->instance_id : action->instance_id;
}

/* Tags of key, value, …, NULL; the words stay where they are. */
struct th_tags th_tags_of(struct th_arena *arena, const char *const *words);
