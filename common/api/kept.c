#include "api/kept.h"

static void copy_infos(struct th_kept *kept, struct th_arena *arena, const struct th_reply *reply)
{
    const struct th_instance_info *from = reply->info ? reply->info : reply->infos;
    kept->info_count = reply->info ? 1 : reply->info_count;
    kept->infos = TH_ARENA_ARRAY(arena, struct th_instance_info, kept->info_count);
    for (size_t i = 0; i < kept->info_count; i++) {
        kept->infos[i] = th_info_copy(arena, &from[i]);
    }
}

static void copy_history(struct th_kept *kept, struct th_arena *arena, struct th_events history)
{
    kept->history_count = history.count;
    kept->history = TH_ARENA_ARRAY(arena, struct th_event, history.count);
    for (size_t i = 0; i < history.count; i++) {
        kept->history[i] = th_event_copy(arena, &history.items[i]);
    }
}

static struct th_hub_view *copy_hub(struct th_arena *arena, const struct th_hub_view *hub)
{
    struct th_hub_view *copy = TH_ARENA_NEW(arena, struct th_hub_view);
    *copy = *hub;
    struct th_unserved *unserved = TH_ARENA_ARRAY(arena, struct th_unserved, hub->unserved_count);
    for (size_t i = 0; i < hub->unserved_count; i++) {
        unserved[i] = hub->unserved[i];
        unserved[i].name = th_arena_str(arena, hub->unserved[i].name);
    }
    copy->unserved = unserved;
    if (hub->partitions) {
        copy->partitions =
            th_arena_dup(arena, hub->partitions, hub->record.partitions * sizeof(*hub->partitions));
    }
    for (uint32_t p = 0; copy->partitions && p < hub->record.partitions; p++) {
        struct th_hub_partition_view *view = &copy->partitions[p];
        view->owner = th_arena_str(arena, view->owner);
        view->trouble = th_arena_str(arena, view->trouble);
    }
    return copy;
}

void th_kept_copy(struct th_kept *kept, struct th_arena *arena, const struct th_reply *reply)
{
    *kept = (struct th_kept){.error = reply->error, .count = reply->count};
    kept->instance_id = th_arena_str(arena, reply->instance_id);
    kept->continuation = th_arena_str(arena, reply->continuation);
    copy_infos(kept, arena, reply);
    copy_history(kept, arena, reply->history);
    kept->hub = reply->hub ? copy_hub(arena, reply->hub) : NULL;
}
