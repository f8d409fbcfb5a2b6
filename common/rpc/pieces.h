/* pieces: what the conversions share. Not for other folders. */
#pragma once

#include "model/event.h"
#include "rpc/message.h"

/* A new message of a type and the protobuf-c prefix of its functions. */
#define RPC_NEW(arena, type, prefix)               \
    ({                                             \
        type *made_ = TH_ARENA_NEW((arena), type); \
        prefix##__init(made_);                     \
        made_;                                     \
    })

/* Every map of tags has entries of a type of its own, of one shape; `kind` is their descriptor. The
 * result fits the message's member by that name; NULL when there are none. */
void *th_rpc_tags(struct th_arena *arena, const ProtobufCMessageDescriptor *kind,
                  struct th_tags tags);
struct th_tags th_rpc_tags_from(struct th_arena *arena, void *entries, size_t count);

ParentInstanceInfo *th_rpc_parent(struct th_arena *arena, const struct th_parent *parent);
const struct th_parent *th_rpc_parent_from(struct th_arena *arena, const ParentInstanceInfo *info);

OrchestrationInstance *th_rpc_instance(struct th_arena *arena, struct th_str instance_id,
                                       struct th_str execution_id);

/* The number of the first field that the message's kind does not have; 0: none. */
uint32_t th_rpc_unknown(const ProtobufCMessage *message);

/* What an orchestrator asks of an entity, as the event that action `id` leads to. */
bool th_rpc_entity_from(struct th_arena *arena, const SendEntityMessageAction *action, int32_t id,
                        struct th_event *out, struct th_error *error);
