/*
 * work: what workers are sent, and what they answer. Work items leave as packed WorkItem messages;
 * completions become what the engine takes from an executor (engine/action.h). Pure, see message.h.
 *
 * The dispatcher's, and not read here: completionToken, instanceId, numEventsProcessed,
 * requiresHistory, requiresState, isPartial, chunkIndex, the order and the fate of streams.
 */
#pragma once

#include "engine/action.h"
#include "node/node.h"
#include "rpc/event.h"

/* ---- work items: one reference each ---- */

/*
 * An episode of an orchestration. `stream_history`: the worker asks for the past with
 * StreamInstanceHistory, so that none is in it; otherwise `episode->past_loaded` must hold unless
 * there is no past.
 */
struct th_blob *th_rpc_orchestrator_item(const struct th_episode *episode, struct th_str token,
                                         bool stream_history);
/* A batch of an entity's operations (EntityRequest, V2). */
struct th_blob *th_rpc_entity_item(const struct th_episode *episode, struct th_str token);
struct th_blob *th_rpc_activity_item(const struct th_activity_work *work, struct th_str token);
struct th_blob *th_rpc_ping_item(void);

/* ---- completions ---- */

/*
 * The actions of an orchestrator, added to *out, which is zeroed before the first response (or the
 * first chunk of one). The custom status is always replaced, by none if the response has none
 * (contracts 2.4). False: INVALID, names the action by its place and id; *out is then not to be
 * used. To end the instance with that error rather than to run it for ever: th_rpc_refused.
 */
bool th_rpc_actions(struct th_arena *arena, const OrchestratorResponse *response,
                    struct th_actions *out, struct th_error *error);

/* The only action is to fail, non-retriably, with error type "InvalidResponse". */
void th_rpc_refused(struct th_arena *arena, const struct th_error *error, struct th_actions *out);
/* The same for a batch of an entity: every operation fails. */
void th_rpc_entity_refused(struct th_arena *arena, const struct th_error *error,
                           struct th_actions *out);

/*
 * What a batch of `operations` operations led to (contracts 2.5); *out is set anew. Fewer results
 * than operations: the rest is run again. An empty or absent state deletes the entity. False:
 * INVALID, as above; more results than operations, an unknown action, a bad id.
 */
bool th_rpc_entity_result(struct th_arena *arena, const EntityBatchResult *result,
                          size_t operations, struct th_actions *out, struct th_error *error);

/* The token is the dispatcher's to fill in. `out` lives as long as the arena and the response. */
void th_rpc_activity_answer(struct th_arena *arena, const ActivityResponse *response,
                            struct th_activity_answer *out);
