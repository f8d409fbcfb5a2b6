/*
 * dapr: the dialect of Dapr's SDKs. It has the same service and the same numbers for what both have
 * (contracts 1.2), but some numbers mean something else there. Both ways a message goes through
 * th_rpc_dapr, which leaves these fields out; nothing of what they carry (traces, tags, routers,
 * patches) is needed to run a workflow. CompleteWorkflowTask is CompleteOrchestratorTask with the
 * same payload.
 */
#pragma once

#include "rpc/message.h"

/* The message of that kind without the fields whose numbers mean something else in the other
 * dialect: in `arena`, or `bytes` itself when there are none. False: INVALID, it is malformed. */
bool th_rpc_dapr(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                 struct th_str bytes, struct th_str *out, struct th_error *error);

/* Whether a program calls itself so; without regard to case. */
bool th_rpc_agent_has(struct th_str user_agent, struct th_str word);
/* Whether a worker is one of Dapr's: GetWorkItemsRequest has its `capabilities` (field 4), or it
 * says so as its user agent. */
bool th_rpc_is_dapr(const GetWorkItemsRequest *request, struct th_str user_agent);
