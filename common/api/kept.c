#include "api/kept.h"

static struct th_tags copy_tags(struct th_arena *arena, struct th_tags tags)
{
    struct th_tag *items = TH_ARENA_ARRAY(arena, struct th_tag, tags.count);
    for (size_t i = 0; i < tags.count; i++) {
        items[i].key = th_arena_str(arena, tags.items[i].key);
        items[i].value = th_arena_str(arena, tags.items[i].value);
    }
    return (struct th_tags){items, tags.count};
}

static const struct th_parent *copy_parent(struct th_arena *arena, const struct th_parent *parent)
{
    if (!parent) {
        return NULL;
    }
    struct th_parent *copy = TH_ARENA_NEW(arena, struct th_parent);
    copy->instance_id = th_arena_str(arena, parent->instance_id);
    copy->execution_id = th_arena_str(arena, parent->execution_id);
    copy->name = th_arena_str(arena, parent->name);
    copy->version = th_arena_str(arena, parent->version);
    copy->task_id = parent->task_id;
    return copy;
}

static struct th_instance_info copy_info(struct th_arena *arena,
                                         const struct th_instance_info *info)
{
    struct th_instance_info copy = *info;
    copy.instance_id = th_arena_str(arena, info->instance_id);
    copy.execution_id = th_arena_str(arena, info->execution_id);
    copy.name = th_arena_str(arena, info->name);
    copy.version = th_arena_str(arena, info->version);
    copy.input = th_arena_str(arena, info->input);
    copy.output = th_arena_str(arena, info->output);
    copy.custom_status = th_arena_str(arena, info->custom_status);
    copy.failure = info->failure ? th_failure_copy(arena, info->failure) : NULL;
    copy.parent = copy_parent(arena, info->parent);
    copy.tags = copy_tags(arena, info->tags);
    copy.request_id = th_arena_str(arena, info->request_id);
    copy.trace = th_arena_str(arena, info->trace);
    return copy;
}

static void copy_infos(struct th_kept *kept, struct th_arena *arena, const struct th_reply *reply)
{
    const struct th_instance_info *from = reply->info ? reply->info : reply->infos;
    kept->info_count = reply->info ? 1 : reply->info_count;
    kept->infos = TH_ARENA_ARRAY(arena, struct th_instance_info, kept->info_count);
    for (size_t i = 0; i < kept->info_count; i++) {
        kept->infos[i] = copy_info(arena, &from[i]);
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
