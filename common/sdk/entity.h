/*
 * entity: runs the operations of an entity written in C, and what authors may call meanwhile.
 * Called by the executor and by `taskhub invoke`, on any thread; keeps nothing between calls.
 */
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "engine/action.h"
#include "sdk/application.h"

/* Runs the operations of an episode and fills `out`, which lives in `arena`: a result for each, the
 * state, signals and starts. `version`: of starts without one; NULL: the application's. An entity
 * that is not registered fails the batch with type "EntityNotFound". */
void th_entity_run(const struct th_app *app, const struct th_log *log, const char *version,
                   const struct th_episode *episode, struct th_arena *arena,
                   struct th_actions *out);

/* The id an author means: the name in lower case. False: it is none. */
bool th_entity_id_of(struct th_arena *arena, const char *text, struct th_str *out,
                     struct th_error *error);
