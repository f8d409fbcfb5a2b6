/*
 * node: making it, stepping it, draining it, and what comes in by function call. Nothing here
 * decides; the cores do.
 */
#include "node/node.h"

#include <stdarg.h>
#include <stdio.h>

#include "node/internal.h"

#define POLL_BATCH 256

/* Bounds of one step, after which real time is read again: batches of completions, and rounds of
 * work in one partition. An instance that runs for ever, as continue-as-new loops do, costs a round
 * an episode and must not keep others, timers and the projection waiting. */
#define STEP_BATCHES 16
#define STEP_ROUNDS  64

void node_say(const struct th_node *node, enum th_level level, const char *format, ...)
{
    TH_BUFFER line = {0};
    va_list arguments;

    va_start(arguments, format);
    th_buffer_vformat(&line, format, arguments);
    va_end(arguments);
    th_log(node->options.log, level, "node", "%.*s", TH_PRI(th_buffer_view(&line)));
}

struct part *node_part_of(struct th_node *node, struct th_str instance_id)
{
    return &node->parts[th_partition_of(instance_id, node->part_count)];
}

void node_forget(struct th_node *node, struct th_str instance_id)
{
    const struct th_node_hooks *h = &node->options.hooks;

    if (h->forget)
        h->forget(h->argument, instance_id);
    else if (node->executor)
        th_executor_forget(node->executor, instance_id);
}

th_time earlier(th_time a, th_time b)
{
    return a == TH_TIME_NONE || (b != TH_TIME_NONE && b < a) ? b : a;
}

/* The node's token: partition, lease and the core's own. The core of a later lease counts from the
 * start again, and must not take a result of the earlier one's for its own. */
#define TOKEN_LEASE_SHIFT 40
#define TOKEN_PART_SHIFT  52
#define TOKEN_MASK        ((UINT64_C(1) << TOKEN_LEASE_SHIFT) - 1)

uint64_t node_token(const struct part *part, uint64_t token)
{
    const uint64_t lease = part->generation & ((1u << (TOKEN_PART_SHIFT - TOKEN_LEASE_SHIFT)) - 1);

    return ((uint64_t)part->index << TOKEN_PART_SHIFT) | (lease << TOKEN_LEASE_SHIFT) |
           (token & TOKEN_MASK);
}

static bool goes_out(void *argument, struct th_str name, struct th_str version)
{
    const struct part *part = argument;
    const struct th_node_hooks *h = &part->node->options.hooks;

    return h->goes_out(h->argument, name, version);
}

struct th_partition *node_core_new(struct th_node *node, struct part *part)
{
    const struct th_node_options *o = &node->options;
    const struct th_partition_options options = {
        .index = part->index,
        .count = node->part_count,
        .incarnation = node->provider->hub.incarnation,
        .traits = node->traits,
        .seed = th_random_next(&node->random),
        .worker = o->worker,
        .max_instances = o->max_instances,
        .checkpoint_records = o->checkpoint_records,
        .checkpoint_bytes = o->checkpoint_bytes,
        .clean_bytes = o->clean_bytes,
        .max_unacked = 10000,
        .max_rows = o->max_rows,
        .max_kept_bytes = o->max_kept_bytes / node->part_count,
        .max_payload_bytes = o->max_payload_bytes,
        .max_crashes = o->max_crashes,
        .max_operations = o->max_operations,
        .formats = o->formats,
        .goes_out = o->hooks.goes_out ? goes_out : NULL,
        .is_alive = o->hooks.is_alive ? gone_is_alive : NULL,
        .argument = part,
        .mutation = (enum th_mutation)o->mutation,
    };

    return th_partition_new(&options);
}

/* ---- the step ---- */

/* Work and effects until nothing is left or the rounds are used up. */
static th_time work(struct th_node *node, struct part *part)
{
    for (int round = 0; round < STEP_ROUNDS; round++) {
        const th_time next = th_partition_work(part->core, node->now);

        if (!effects_carry_out(node, part))
            return next;
        if (part->state != PART_ACTIVE)
            return part->retry_at;
    }
    return node->now;
}

static th_time step_active(struct th_node *node, struct part *part)
{
    th_time next = work(node, part);

    if (part->state == PART_ACTIVE)
        next = earlier(next, project_step(node, part));
    if (part->state == PART_ACTIVE)
        next = earlier(next, part_check(node, part));
    if (part->state == PART_ACTIVE)
        next = earlier(next, gone_step(node, part));
    if (part->state == PART_ACTIVE)
        next = earlier(next, reader_step(node, part, &part->rebuild));
    return next;
}

static th_time step_part(struct th_node *node, struct part *part)
{
    th_time next = TH_TIME_NONE;

    if (part->state == PART_BACKOFF && part->retry_at <= node->now && !node->draining)
        part_claim(node, part);
    if (part->state == PART_READING)
        next = reader_step(node, part, &part->lease);
    else if (part->state == PART_BACKOFF)
        next = part->retry_at;
    else if (part->state == PART_ACTIVE)
        next = step_active(node, part);
    if (part->releasing)
        next = earlier(next, part_step_release(node, part));
    return node->traits.shared ? earlier(next, remote_step(node, part)) : next;
}

static bool take_completions(struct th_node *node)
{
    struct th_completion batch[POLL_BATCH];
    const size_t count = node->provider->ops->poll(node->provider, batch, POLL_BATCH);

    for (size_t n = 0; n < count; n++) {
        /* What an acknowledgement releases goes before a projection lets instances leave. */
        if (batch[n].kind == TH_DONE_PROJECT && batch[n].partition < node->part_count)
            effects_carry_out(node, &node->parts[batch[n].partition]);
        complete(node, &batch[n]);
        th_completion_deinit(&batch[n]);
    }
    return count > 0;
}

th_time th_node_step(struct th_node *node, th_time now)
{
    bool more = true;
    th_time next;

    if (now > node->now)
        node->now = now;
    for (int batch = 0; batch < STEP_BATCHES && more; batch++)
        more = take_completions(node);
    tickets_step(node);
    next = more ? node->now : earlier(node->next_deadline, node->next_patience);
    next = earlier(next, later_step(node));
    next = earlier(next, results_step(node));
    effects_run_waiting(node);
    for (uint32_t n = 0; n < node->part_count; n++)
        next = earlier(next, step_part(node, &node->parts[n]));
    if (node->looking)
        next = earlier(next, tickets_step(node));
    return next;
}

/* ---- life ---- */

static void defaults(struct th_node_options *o)
{
    static const struct th_node_options usual = {
        .max_instances = 50000,
        .project_interval = 50 * TH_MILLISECOND,
        .checkpoint_records = 10000,
        .checkpoint_bytes = 4u << 20,
        .clean_bytes = 64u << 20,
        .piece_records = 20000,
        .max_rows = 1000,
        .max_kept_bytes = 16 << 20,
        .max_unprojected = 100000,
        .max_crashes = 3,
        .max_payload_bytes = 16u << 20,
    };

#define X(field)       \
    if (o->field == 0) \
        o->field = usual.field;
    X(max_instances)
    X(project_interval)
    X(checkpoint_records)
    X(checkpoint_bytes)
    X(clean_bytes)
    X(piece_records)
    X(max_rows)
    X(max_kept_bytes)
    X(max_unprojected)
    X(max_crashes)
    X(max_payload_bytes)
#undef X
}

static void part_init(struct th_node *node, uint32_t index)
{
    struct part *part = &node->parts[index];

    part->node = node;
    part->index = index;
    part->rebuild.beside = true;
    part->outlook.seen = -1;
    part->project_after = TH_TIME_NONE;
}

struct th_node *th_node_new(const struct th_node_options *options)
{
    struct th_node *node = TH_NEW(struct th_node);

    node->options = *options;
    defaults(&node->options);
    node->options.formats = th_formats_or_own(options->formats);
    node->provider = options->provider;
    node->traits = node->provider->ops->traits(node->provider);
    node->part_count = node->provider->hub.partitions;
    node->parts = th_alloc(node->part_count * sizeof(*node->parts));
    for (uint32_t n = 0; n < node->part_count; n++)
        part_init(node, n);
    node->next_deadline = node->next_patience = TH_TIME_NONE;
    th_random_seed(&node->random, options->seed);
    return node;
}

void th_node_set_executor(struct th_node *node, struct th_executor *executor)
{
    node->executor = executor;
}

void th_node_free(struct th_node *node)
{
    tickets_free(node);
    for (uint32_t n = 0; n < node->part_count; n++) {
        remote_stop_peeking(node, &node->parts[n]);
        part_drop(node, &node->parts[n]);
        free(node->parts[n].gap);
    }
    ops_free(node);
    results_free(node);
    handed_free_all(node);
    part_report_crashes(node, NULL);
    node->provider->ops->close(node->provider);
    free(node->parts);
    free(node);
}

/* ---- partitions come and go ---- */

void th_node_take(struct th_node *node, uint32_t partition)
{
    struct part *part = &node->parts[partition];

    if (part->releasing && part->state == PART_ACTIVE) {
        part->take_again = true; /* what was handed over has to be taken up again */
        return;
    }
    part->releasing = false;
    if (part->state == PART_IDLE)
        part_claim(node, part);
}

void th_node_release(struct th_node *node, uint32_t partition, th_time by)
{
    struct part *part = &node->parts[partition];
    struct handing handing = {.node = node, .part = part};

    if (part->state == PART_BACKOFF || part->state == PART_STOPPED)
        part->state = PART_IDLE;
    part->take_again = false;
    if (part->state == PART_IDLE || part->releasing)
        return;
    part->releasing = true;
    part->release_by = by;
    if (part->state == PART_ACTIVE)
        th_partition_hand_over(part->core, handed_add, &handing, node->now);
}

bool th_node_holds(const struct th_node *node, uint32_t partition)
{
    return node->parts[partition].state != PART_IDLE;
}

void th_node_worker_gone(struct th_node *node, struct th_str worker, th_time now)
{
    if (now > node->now)
        node->now = now;
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].state == PART_ACTIVE)
            gone_add(node, &node->parts[n], worker);
}

/* ---- activities ---- */

void th_node_activity_done(struct th_node *node, const struct th_activity_answer *answer,
                           th_time now)
{
    const uint64_t index = answer->token >> TOKEN_PART_SHIFT;
    struct part *part = index < node->part_count ? &node->parts[index] : NULL;
    const struct th_failure *failure = answer->failure;
    struct th_failure oversize = {.type = TH_STR("PayloadTooLarge"), .non_retriable = true};
    char text[160];

    if (now > node->now)
        node->now = now;
    if (handed_done(node, answer))
        return;
    if (!part || part->state != PART_ACTIVE || answer->token != node_token(part, answer->token))
        return;
    if (!failure && answer->data.len > node->options.max_payload_bytes) {
        snprintf(text, sizeof(text), "a result of %zu bytes is above the limit of %zu bytes",
                 answer->data.len, node->options.max_payload_bytes);
        oversize.message = th_str_of(text);
        failure = &oversize;
    }
    th_partition_answer(part->core, answer->token & TOKEN_MASK, answer->data, failure, node->now);
}

void th_node_result(struct th_node *node, const struct th_shared_result *result,
                    void (*done)(void *argument), void *argument, th_time now)
{
    if (now > node->now)
        node->now = now;
    node_result(node, result, done, argument);
}

/* ---- crashes ---- */

void th_node_report_crash(struct th_node *node, struct th_str instance_id, int32_t task_id,
                          const char *reason)
{
    struct crash_report *c = TH_NEW(struct crash_report);

    c->id = th_str_dup(instance_id);
    c->task_id = task_id;
    c->reason = th_str_dup(th_str_of(reason));
    c->next = node->crashes;
    node->crashes = c;
}

void th_node_crashed(struct th_node *node, struct th_str instance_id, int32_t task_id,
                     const char *reason, th_time now)
{
    struct part *part = node_part_of(node, instance_id);

    if (now > node->now)
        node->now = now;
    if (part->state == PART_ACTIVE)
        th_partition_crashed(part->core, instance_id, task_id, th_str_of(reason), node->now);
    else
        th_node_report_crash(node, instance_id, task_id, reason);
}

void th_node_hold(struct th_node *node, bool held)
{
    node->held = held;
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].state == PART_ACTIVE)
            th_partition_hold(node->parts[n].core, held);
}

/* ---- the end ---- */

void th_node_drain(struct th_node *node)
{
    node->draining = true;
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].state == PART_ACTIVE)
            th_partition_pause(node->parts[n].core);
}

bool th_node_drained(struct th_node *node)
{
    if (node->results)
        return false;
    for (uint32_t n = 0; n < node->part_count; n++) {
        const struct part *part = &node->parts[n];

        if (part->state == PART_ACTIVE && !th_partition_quiet(part->core))
            return false;
    }
    return true;
}

/* What a core has counted goes with it. */
void node_keep_counts(struct th_node *node, const struct part *part)
{
    struct th_partition_stats s;

    th_partition_get_stats(part->core, &s);
    node->stats.messages += s.messages;
    node->stats.evictions += s.evictions;
    node->stats.snapshots += s.snapshots;
    node->stats.cleanings += s.cleanings;
}

static void add_part(const struct part *part, struct th_node_stats *out)
{
    struct th_partition_stats s;

    th_partition_get_stats(part->core, &s);
    out->instances += s.instances;
    out->pending_activities += s.pending_tasks;
    out->timers += s.timers;
    out->unprojected += s.unprojected;
    out->messages += s.messages;
    out->evictions += s.evictions;
    out->snapshots += s.snapshots;
    out->cleanings += s.cleanings;
    out->owned += part->state == PART_ACTIVE;
    out->rebuilding += part->state == PART_ACTIVE && th_partition_rebuilding(part->core);
    out->held_back += part->intake_stopped;
}

void th_node_get_stats(const struct th_node *node, struct th_node_stats *out)
{
    *out = node->stats;
    out->waiting_commands = HASH_COUNT(node->tickets);
    out->handed = HASH_COUNT(node->handed);
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].core)
            add_part(&node->parts[n], out);
}
