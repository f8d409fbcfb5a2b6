#include "provider/simulated/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

/* ---- operations and lanes ---- */

static void query_deinit(struct th_query *query)
{
    free((void *)query->id_prefix.data);
    free((void *)query->name.data);
    free((void *)query->continuation.data);
}

void sim_op_free(struct sim_op *op)
{
    th_blob_unref(op->blob);
    for (size_t i = 0; i < op->batch.count; i++) {
        th_row_deinit((struct th_row *)&op->batch.rows[i]);
    }
    free((void *)op->batch.rows);
    free(op->text);
    query_deinit(&op->query);
    free(op);
}

static struct sim_lane *lane_add(struct sim_lanes *lanes, enum th_sim_event event, uint32_t a,
                                 uint32_t b)
{
    lanes->items =
        th_grow(lanes->items, &lanes->capacity, lanes->count + 1, sizeof(struct sim_lane));
    struct sim_lane *lane = &lanes->items[lanes->count++];
    *lane = (struct sim_lane){.event = event, .a = a, .b = b};
    return lane;
}

static struct sim_lane *lane_find(struct sim_lanes *lanes, enum th_sim_event event, uint32_t a,
                                  uint32_t b)
{
    for (size_t i = 0; i < lanes->count; i++) {
        struct sim_lane *lane = &lanes->items[i];
        if (lane->event == event && lane->a == a && lane->b == b) {
            return lane;
        }
    }
    return lane_add(lanes, event, a, b);
}

void sim_lanes_push(struct sim_lanes *lanes, enum th_sim_event event, uint32_t a, uint32_t b,
                    struct sim_op *op)
{
    struct sim_lane *lane = lane_find(lanes, event, a, b);
    op->next = NULL;
    if (lane->last) {
        lane->last->next = op;
    } else {
        lane->first = op;
    }
    lane->last = op;
}

void sim_lanes_add(struct sim_lanes *lanes, enum th_sim_event event, struct sim_op *first,
                   struct sim_op *last)
{
    struct sim_lane *lane = lane_add(lanes, event, 0, 0);
    lane->first = first;
    lane->last = last;
}

struct sim_op *sim_lanes_shift(struct sim_lanes *lanes, size_t index)
{
    struct sim_lane *lane = &lanes->items[index];
    struct sim_op *op = lane->first;
    lane->first = op->next;
    op->next = NULL;
    if (!lane->first) {
        *lane = lanes->items[--lanes->count];
    }
    return op;
}

void sim_lanes_deinit(struct sim_lanes *lanes)
{
    while (lanes->count > 0) {
        sim_op_free(sim_lanes_shift(lanes, lanes->count - 1));
    }
    free(lanes->items);
    *lanes = (struct sim_lanes){0};
}

/* ---- the world ---- */

struct th_sim_options th_sim_defaults(void)
{
    struct th_sim_options options = {
        .hub = "simulated",
        .partitions = 1,
        .start = INT64_C(1577836800) * TH_SECOND, /* 2020-01-01 */
        .step_us = 10,
        .read_records = 64,
    };
    for (int i = 0; i < TH_SIM_EVENT_COUNT; i++) {
        options.weight[i] = 8;
    }
    return options;
}

struct th_sim_world *th_sim_world_new(uint64_t seed, const struct th_sim_options *options)
{
    struct th_sim_world *world = TH_NEW(struct th_sim_world);
    world->options = *options;
    snprintf(world->hub, sizeof(world->hub), "%s", options->hub ? options->hub : "simulated");
    world->options.hub = world->hub;
    th_random_seed(&world->random, seed);
    world->incarnation = th_random_next(&world->random);
    world->now = options->start;
    world->partitions = th_alloc((options->partitions + 1) * sizeof(struct sim_partition));
    for (uint32_t p = 0; p <= options->partitions; p++) {
        world->partitions[p].projection.watermark = TH_WATERMARK_NONE;
    }
    return world;
}

void th_sim_world_free(struct th_sim_world *world)
{
    if (!world) {
        return;
    }
    sim_lanes_deinit(&world->zombies);
    for (uint32_t p = 0; p <= world->options.partitions; p++) {
        truth_topic_deinit(&world->partitions[p].log);
        truth_topic_deinit(&world->partitions[p].inbox);
        truth_projection_clear(&world->partitions[p].projection);
        truth_projection_clear(&world->partitions[p].dump);
    }
    free(world->partitions);
    free(world->handles);
    free(world);
}

struct th_sim_options *th_sim_options(struct th_sim_world *world)
{
    return &world->options;
}

th_time th_sim_now(const struct th_sim_world *world)
{
    return world->now;
}

void th_sim_advance(struct th_sim_world *world, th_time to)
{
    if (to > world->now) {
        world->now = to;
    }
}

bool sim_chance(struct th_sim_world *world, double probability)
{
    /* A rate of zero draws nothing, so that a fault switched off leaves the rest as it was. */
    return probability > 0 && th_random_unit(&world->random) < probability;
}

/* ---- disasters ---- */

void th_sim_kill(struct th_provider *provider)
{
    struct sim_handle *handle = sim_handle_of(provider);
    if (!handle->dead) {
        sim_trace(handle->world, "h%u killed", handle->number);
        sim_handle_die(handle);
    }
}

void th_sim_power_cut(struct th_sim_world *world)
{
    sim_trace(world, "power cut");
    for (size_t i = 0; i < world->handle_count; i++) {
        th_sim_kill(&world->handles[i]->provider);
    }
}

void th_sim_pause(struct th_provider *provider)
{
    struct sim_handle *handle = sim_handle_of(provider);
    sim_trace(handle->world, "h%u paused", handle->number);
    handle->paused = true;
}

void th_sim_resume(struct th_provider *provider)
{
    struct sim_handle *handle = sim_handle_of(provider);
    sim_trace(handle->world, "h%u resumed", handle->number);
    handle->paused = false;
    if (handle->done.first < handle->done.end) {
        th_provider_wake(provider);
    }
}

bool th_sim_wipe_projection(struct th_sim_world *world, uint32_t partition)
{
    if (world->options.durable_projection) {
        return false;
    }
    sim_trace(world, "p%u projection wiped", partition);
    truth_projection_clear(&world->partitions[partition].projection);
    return true;
}

void th_sim_dump_projection(struct th_sim_world *world, uint32_t partition)
{
    struct sim_partition *p = &world->partitions[partition];
    truth_projection_copy(&p->dump, &p->projection);
    p->dumped = true;
}

bool th_sim_restore_projection(struct th_sim_world *world, uint32_t partition)
{
    struct sim_partition *p = &world->partitions[partition];
    if (world->options.durable_projection || !p->dumped) {
        return false;
    }
    sim_trace(world, "p%u projection rolled back", partition);
    truth_projection_copy(&p->projection, &p->dump);
    return true;
}

void th_sim_projection_down(struct th_sim_world *world, bool down)
{
    sim_trace(world, "projection %s", down ? "down" : "up");
    world->projection_down = down;
}

bool th_sim_lose_row(struct th_sim_world *world, uint32_t partition)
{
    struct truth_projection *projection = &world->partitions[partition].projection;
    if (world->options.durable_projection || projection->count == 0) {
        return false;
    }
    size_t index = th_random_below(&world->random, projection->count);
    sim_trace(world, "p%u loses row %zu", partition, index);
    truth_projection_lose(projection, index);
    return true;
}

void th_sim_doubt(struct th_sim_world *world, uint32_t partition)
{
    sim_trace(world, "p%u log is doubted", partition);
    for (size_t i = 0; i < world->handle_count; i++) {
        struct th_completion doubt = {.kind = TH_DONE_DOUBT, .partition = partition};
        if (!world->handles[i]->dead) {
            sim_handle_complete(world->handles[i], &doubt);
        }
    }
}

static void lose_acknowledgements(struct sim_handle *handle, uint32_t partition, int64_t end)
{
    for (size_t i = 0; i < handle->lanes.count; i++) {
        struct sim_lane *lane = &handle->lanes.items[i];
        for (struct sim_op *op = lane->first;
             op && lane->event == TH_SIM_APPEND_ACK && lane->a == partition; op = op->next) {
            if (op->offset >= end) {
                op->code = TH_UNAVAILABLE;
                op->why = "the connection was lost";
            }
        }
    }
}

void th_sim_truncate_log(struct th_sim_world *world, uint32_t partition, int64_t end)
{
    for (size_t i = 0; i < world->handle_count; i++) {
        lose_acknowledgements(world->handles[i], partition, end);
    }
    sim_trace(world, "p%u log truncated at %lld", partition, (long long)end);
    truth_topic_truncate(&world->partitions[partition].log, end);
}

/* ---- what happened ---- */

void th_sim_trace(struct th_sim_world *world, void (*sink)(void *argument, const char *line),
                  void *argument)
{
    world->sink = sink;
    world->sink_argument = argument;
}

uint64_t th_sim_hash(const struct th_sim_world *world)
{
    return world->hash;
}

uint64_t th_sim_steps(const struct th_sim_world *world)
{
    return world->steps;
}

void sim_trace(struct th_sim_world *world, const char *format, ...)
{
    char line[256];
    int used = snprintf(line, sizeof(line), "%llu +%lld ", (unsigned long long)world->steps,
                        (long long)(world->now - world->options.start));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, sizeof(line) - (size_t)used, format, arguments);
    va_end(arguments);
    world->hash = th_hash(th_str_of(line), world->hash);
    if (world->sink) {
        world->sink(world->sink_argument, line);
    }
}

static const char *op_text(const struct sim_op *op)
{
    if (op->trim) {
        return op->kind == TH_DONE_APPEND ? "trim-log" : "trim-inbox";
    }
    return th_completion_kind_text(op->kind);
}

/* Tags are left out: they are the node's own and may be addresses. */
void sim_trace_op(struct th_sim_world *world, unsigned handle, const char *verb,
                  const struct sim_op *op)
{
    struct th_str bytes = op->blob ? th_blob_view(op->blob) : th_str_n(op->text, op->text_len);
    const struct th_watermark *next = &op->batch.next;
    if (op->kind == TH_DONE_PROJECT && !op->trim) {
        sim_trace(world,
                  "h%u %s project p%u from @%lld to @%lld e%llu s%llu floor %lld%s%s, %zu of "
                  "%llu rows: %s",
                  handle, verb, op->partition, (long long)op->batch.previous.offset,
                  (long long)next->offset, (unsigned long long)next->epoch,
                  (unsigned long long)next->sequence, (long long)next->floor,
                  next->building ? " building" : "", op->batch.clear ? " clear" : "",
                  op->batch.count, (unsigned long long)next->rows, th_code_text(op->code));
        return;
    }
    sim_trace(world, "h%u %s %s p%u s%u e%llu [%lld,%lld) @%lld %zu bytes %08x %zu rows: %s",
              handle, verb, op_text(op), op->partition, op->source, (unsigned long long)op->epoch,
              (long long)op->from, (long long)op->to, (long long)op->offset, bytes.len,
              (unsigned)th_crc32c(0, bytes.data, bytes.len), op->batch.count,
              th_code_text(op->code));
}

/* ---- the truth, for checkers ---- */

static struct th_sim_topic topic_view(const struct truth_topic *topic)
{
    return (struct th_sim_topic){topic->start, topic->end, topic->records, topic->count};
}

struct th_sim_topic th_sim_log(const struct th_sim_world *world, uint32_t partition)
{
    return topic_view(&world->partitions[partition].log);
}

struct th_sim_topic th_sim_inbox(const struct th_sim_world *world, uint32_t partition)
{
    return topic_view(&world->partitions[partition].inbox);
}

struct th_sim_topic th_sim_activities(const struct th_sim_world *world)
{
    return topic_view(&world->partitions[world->options.partitions].inbox);
}

struct th_sim_projection th_sim_projection(const struct th_sim_world *world, uint32_t partition)
{
    const struct truth_projection *projection = &world->partitions[partition].projection;
    return (struct th_sim_projection){projection->watermark, projection->rows, projection->count};
}
