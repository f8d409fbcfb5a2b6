/*
 * event: history events as the protocol's, and back; and what hangs on them: failures, parents,
 * tags, trace contexts. Pure, see message.h.
 *
 * th_event.trace is a trace context as text: the W3C traceparent, then, each after a newline, the
 * span id and the trace state, as far as there are any. A traceparent alone (as the HTTP API takes
 * it) is one, too.
 *
 * Not carried: properties of failures, the execution's span id, related_id of answers of entities
 * (the request id says the same), request_id of EXECUTION_STARTED. Failures deeper than
 * TH_FAILURE_DEPTH end there.
 */
#pragma once

#include "model/event.h"
#include "rpc/message.h"

/* Whether events of this kind may leave: ORCHESTRATOR_COMPLETED stays in the hub (contracts 2.4),
 * as do kinds that the protocol does not have. */
bool th_rpc_event_leaves(enum th_event_kind kind);

/* NULL: the protocol has no such event. */
HistoryEvent *th_rpc_event(struct th_arena *arena, const struct th_event *event);
/* Those of them that leave, in order; *count is how many. */
HistoryEvent **th_rpc_events(struct th_arena *arena, const struct th_event *events, size_t n,
                             size_t *count);

/* False: INVALID, an unknown kind, or a time that is none. */
bool th_rpc_event_from(struct th_arena *arena, const HistoryEvent *event, struct th_event *out,
                       struct th_error *error);

TaskFailureDetails *th_rpc_failure(struct th_arena *arena, const struct th_failure *failure);
const struct th_failure *th_rpc_failure_from(struct th_arena *arena,
                                             const TaskFailureDetails *details);

/* NULL when absent. */
TraceContext *th_rpc_trace(struct th_arena *arena, struct th_str trace);
/* Absent for NULL or an empty one. A newline within a traceparent or span id ends it. */
struct th_str th_rpc_trace_from(struct th_arena *arena, const TraceContext *trace);

/*
 * The history as HistoryChunk messages, about TH_RPC_CHUNK_EVENTS events or TH_RPC_CHUNK_BYTES
 * bytes each (an event larger than that has a chunk of its own). Only events that leave. `put` is
 * called for each and owns its reference; it returns false to stop.
 */
enum { TH_RPC_CHUNK_EVENTS = 100, TH_RPC_CHUNK_BYTES = 256 << 10 };
void th_rpc_chunks(const struct th_event *events, size_t count,
                   bool (*put)(void *argument, struct th_blob *chunk), void *argument);
