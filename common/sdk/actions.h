/* actions: what an author's code asked for, copied into the arena of its episode. Pure. */
#pragma once

#include "engine/action.h"

/* Appends `wanted` with everything it refers to copied; valid until the next one. */
struct th_action *th_actions_put(struct th_actions *list, struct th_arena *arena,
                                 const struct th_action *wanted);

/* Tags of key, value, …, NULL; the words stay where they are. */
struct th_tags th_tags_of(struct th_arena *arena, const char *const *words);
