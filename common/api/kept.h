/*
 * kept: a reply that outlives its callback. The gateway's thread only copies, which is cheap; what
 * a reply looks like in JSON is worked out later, on a thread of the API.
 */
#pragma once

#include "node/command.h"

/* Everything points into the arena it was copied to. */
struct th_kept {
    struct th_error error;
    struct th_str instance_id, continuation;
    struct th_instance_info *infos; /* of STATUS and WAIT: one, or none */
    size_t info_count;
    struct th_event *history;
    size_t history_count;
    uint64_t count;
    struct th_hub_view *hub; /* or NULL */
};

void th_kept_copy(struct th_kept *kept, struct th_arena *arena, const struct th_reply *reply);
