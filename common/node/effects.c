/*
 * effects: carries out what the cores decided, and runs episodes. Nothing here decides anything,
 * but whether this process may run an orchestrator's version.
 */
#include "node/internal.h"

#define WALK_ROWS        200 /* of one look for instances to copy forward */
#define WAITS_SAID_EVERY (5 * TH_SECOND)

static bool fails(const struct th_actions *actions)
{
    for (size_t n = 0; n < actions->count; n++)
        if (actions->items[n].kind == TH_ACTION_COMPLETE)
            return actions->items[n].status == TH_STATUS_FAILED;
    return false;
}

static enum th_executor_result run(struct th_node *node, const struct th_episode *episode,
                                   struct th_arena *arena, struct th_actions *actions)
{
    const struct th_node_hooks *h = &node->options.hooks;
    enum th_executor_result result;

    if (h->episode)
        h->episode(h->argument, true, episode->instance_id, episode->name, false);
    if (h->orchestrate)
        result = h->orchestrate(h->argument, episode, arena, actions);
    else
        result = th_executor_run(node->executor, episode, arena, actions);
    if (h->episode)
        h->episode(h->argument, false, episode->instance_id, episode->name, fails(actions));
    return result;
}

static void fail_version(struct th_node *node, struct part *part, struct th_instance *instance,
                         struct th_str version)
{
    struct th_arena *arena = th_partition_arena(instance);
    struct th_actions actions = {0};
    const struct th_failure failure = {
        .type = TH_STR("VersionMismatch"),
        .message = th_arena_format(
            arena,
            "the instance has version \"%.*s\", this application \"%s\" does not run it "
            "(versionMatchStrategy)",
            TH_PRI(version), node->options.version),
        .non_retriable = true};

    th_actions_fail(&actions, arena, false, &failure);
    th_partition_ran(part->core, instance, &actions, node->now);
}

/* Programs that serve functions come and go, and many instances may wait for one of them. */
static bool waits_often(struct th_node *node)
{
    const bool often = node->now - node->waited < WAITS_SAID_EVERY;

    if (!often)
        node->waited = node->now;
    return often;
}

/* Whether the instance is to run here and now; otherwise it was failed or put back, or comes again.
 */
static bool may_run(struct th_node *node, struct part *part, struct th_instance *instance)
{
    const struct th_node_hooks *h = &node->options.hooks;
    const enum th_function_kind kind = th_function_kind_of(th_partition_instance_id(instance));
    struct th_str name, version;

    if (!node->options.version && !h->serves)
        return th_partition_served(part->core, instance, node->now);
    th_partition_function(instance, &name, &version);
    if (!version_fits(&node->options, version)) {
        if (node->options.version_failure == TH_VERSION_FAILURE_FAIL) {
            fail_version(node, part, instance, version);
            return false;
        }
    } else if (!h->serves || h->serves(h->argument, kind, name, version)) {
        return th_partition_served(part->core, instance, node->now);
    }
    node_say(node, waits_often(node) ? TH_LOG_DEBUG : TH_LOG_WARN,
             "instance \"%.*s\" waits: nobody here serves %s \"%.*s\", version \"%.*s\"",
             TH_PRI(th_partition_instance_id(instance)), th_function_kind_text(kind), TH_PRI(name),
             TH_PRI(version));
    th_partition_put_back(part->core, instance, node->now);
    return false;
}

/* Whether it has to wait once more, see th_partition_accept. */
static bool accepts_first(struct th_node *node, struct part *part, struct th_instance *instance)
{
    const struct th_node_hooks *h = &node->options.hooks;
    const enum th_function_kind kind = th_function_kind_of(th_partition_instance_id(instance));
    struct th_str name, version;

    if (!h->runs_elsewhere)
        return false;
    th_partition_function(instance, &name, &version);
    return h->runs_elsewhere(h->argument, kind, name) &&
           th_partition_accept(part->core, instance, node->now);
}

static void run_episode(struct th_node *node, struct part *part, struct th_instance *instance)
{
    struct th_arena *arena = th_partition_arena(instance);
    struct th_actions actions = {0};
    struct th_episode episode;
    enum th_executor_result result;

    if (!may_run(node, part, instance) || accepts_first(node, part, instance) ||
        away_must_wait(node, part, instance))
        return;
    th_partition_episode(part->core, instance, false, &episode);
    episode.number = ++node->next_episode;
    result = run(node, &episode, arena, &actions);
    if (result == TH_EXECUTOR_NEEDS_HISTORY) {
        if (!th_partition_episode(part->core, instance, true, &episode))
            return; /* RUN comes again when the history is there */
        node->stats.replays++;
        actions = (struct th_actions){0};
        episode.number = node->next_episode;
        result = run(node, &episode, arena, &actions);
    }
    if (result == TH_EXECUTOR_LATER) {
        away_add(node, part, instance, episode.number);
        return;
    }
    if (result == TH_EXECUTOR_CRASHED) {
        th_node_hold(node, true);
        th_partition_interrupted(part->core, instance, node->now);
        return;
    }
    node->stats.episodes++;
    th_partition_ran(part->core, instance, &actions, node->now);
}

void effects_run_waiting(struct th_node *node)
{
    struct part *part;
    struct th_instance *instance;

    while (!node->held && away_take_waiting(node, &part, &instance))
        run_episode(node, part, instance);
}

static void effect_activity(struct th_node *node, struct part *part, uint64_t token)
{
    struct th_partition_task task;
    struct th_activity_work work;

    if (!th_partition_activity(part->core, token, &task))
        return;
    work = (struct th_activity_work){.partition = part->index,
                                     .token = node_token(part, token),
                                     .instance_id = task.instance_id,
                                     .execution_id = task.execution_id,
                                     .name = task.name,
                                     .version = task.version,
                                     .input = task.input,
                                     .task_id = task.task_id,
                                     .crashes = task.crashes,
                                     .tags = task.tags,
                                     .trace = task.trace};
    node->stats.activities++;
    node->options.hooks.activity(node->options.hooks.argument, &work);
}

void effects_read_gap(struct th_node *node, struct part *part, int64_t from)
{
    node->provider->ops->read(node->provider, part->index, from, part->gap_end,
                              node_op(node, OP_GAP, part->index, TH_STR_ABSENT, 0));
}

static void effect_load(struct th_node *node, struct part *part, const char *id)
{
    node->stats.loads++;
    node->provider->ops->load(node->provider, part->index, th_str_of(id), true,
                              node_op(node, OP_LOAD, part->index, th_str_of(id), 0));
}

static void carry_out(struct th_node *node, struct part *part, struct th_effect *e)
{
    struct th_provider *provider = node->provider;

    switch (e->kind) {
    case TH_EFFECT_APPEND:
        node->stats.records++;
        provider->ops->append(provider, part->index, (uint64_t)part->epoch, e->blob,
                              part_tag(part, e->tag));
        break;
    case TH_EFFECT_SEND:
        provider->ops->send(provider, part->index, e->destination, e->blob, send_tag(part, e->tag));
        break;
    case TH_EFFECT_ACTIVITY:
        effect_activity(node, part, e->token);
        break;
    case TH_EFFECT_CANCEL:
        if (node->options.hooks.activity_canceled)
            node->options.hooks.activity_canceled(node->options.hooks.argument,
                                                  node_token(part, e->token));
        break;
    case TH_EFFECT_REPLY:
        tickets_reply(node, part, e->reply_to, e->id, e->error);
        break;
    case TH_EFFECT_CHANGED:
        look_changed(node, th_str_of(e->id));
        break;
    case TH_EFFECT_RUN:
        run_episode(node, part, e->instance);
        break;
    case TH_EFFECT_INTERRUPT:
        away_interrupt(node, part, th_str_of(e->id), e->tag);
        break;
    case TH_EFFECT_FORGET:
        node_forget(node, th_str_of(e->id));
        break;
    case TH_EFFECT_LOAD:
        effect_load(node, part, e->id);
        break;
    case TH_EFFECT_READ:
        part->gap_end = e->to;
        effects_read_gap(node, part, e->from);
        break;
    case TH_EFFECT_VERIFY:
        provider->ops->read(provider, part->index, e->from, e->from + 1,
                            node_op(node, OP_VERIFY, part->index, TH_STR_ABSENT, 0));
        break;
    case TH_EFFECT_WALK:
        provider->ops->walk(provider, part->index, e->tag, WALK_ROWS,
                            node_op(node, OP_WALK, part->index, TH_STR_ABSENT, 0));
        break;
    case TH_EFFECT_TRIM_INBOX:
        provider->ops->trim_inbox(provider, part->index, e->to);
        break;
    case TH_EFFECT_TRIM_LOG:
        provider->ops->trim_log(provider, part->index, e->to);
        break;
    case TH_EFFECT_FENCED:
        part_lose(node, part, e->error);
        break;
    }
}

bool effects_carry_out(struct th_node *node, struct part *part)
{
    struct th_effect effect;
    bool any = false;

    while (part->state == PART_ACTIVE && th_partition_effect(part->core, &effect)) {
        any = true;
        carry_out(node, part, &effect);
        th_effect_deinit(&effect);
    }
    return any;
}
