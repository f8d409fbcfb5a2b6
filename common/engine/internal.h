/* internal: what the engine's files share and nobody else sees. */
#pragma once

#include "engine/engine.h"

/* Adds an outgoing message and returns it; zeroed but for its target. */
struct th_outgoing *th_outcome_send(struct th_outcome *out, struct th_arena *arena,
                                    struct th_str instance_id);
/* What was sent, from this message on, came of an offer with this verdict. */
void th_outcome_mark_refusals(struct th_outcome *out, size_t from, enum th_verdict verdict);

/* Tells a waiting parent how its sub-orchestration ended; nothing when there is no parent. */
void th_outcome_answer_parent(struct th_outcome *out, struct th_arena *arena,
                              const struct th_parent *parent, enum th_status status,
                              struct th_str output, const struct th_failure *failure, th_time now);

/* Sends the end of this execution on to the sub-orchestrations it waits for. */
void th_outcome_terminate_children(const struct th_engine_in *in, struct th_outcome *out,
                                   struct th_arena *arena, const struct th_event *terminated);

/* Builds the mended history of a failed instance in out->past and tells its children. False: it
 * failed in a critical section, which cannot be taken up again. */
bool th_engine_rewind(const struct th_engine_in *in, const struct th_event *rewound,
                      struct th_arena *arena, struct th_outcome *out);

/* Releases the entities of the section that the instance is in, or has asked for. */
void th_outcome_unlock(struct th_outcome *out, struct th_arena *arena,
                       const struct th_instance_info *info, th_time now);

/* Those of engine.h, for entities. */
enum th_begin th_engine_entity_begin(const struct th_engine_in *in, struct th_offer *offers,
                                     size_t count, struct th_arena *arena, struct th_outcome *out);
void th_engine_entity_finish(const struct th_engine_in *in, const struct th_actions *actions,
                             struct th_arena *arena, struct th_outcome *out);
void th_engine_entity_fail(const struct th_engine_in *in, const struct th_failure *failure,
                           struct th_arena *arena, struct th_outcome *out);

/* An array in an arena grows by doubling; the old copy is left to the arena. */
void *th_arena_grow(struct th_arena *arena, void *items, size_t count, size_t *capacity,
                    size_t size);

/* As th_events_add, with the list's memory in the arena. */
void th_arena_event(struct th_arena *arena, struct th_events *list, struct th_event event);
