/*
 * handle: one process's side of the world: the table of contract.h. Submissions become operations
 * in lanes; completions wait in `done` for poll. A dead handle accepts everything and does nothing.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "provider/simulated/world.h"

struct sim_handle *sim_handle_of(struct th_provider *provider)
{
    return (struct sim_handle *)provider; /* its first member */
}

void sim_handle_complete(struct sim_handle *handle, const struct th_completion *completion)
{
    if (th_completions_push(&handle->done, completion) && !handle->paused) {
        th_provider_wake(&handle->provider);
    }
}

void sim_handle_die(struct sim_handle *handle)
{
    handle->dead = true;
    sim_leave_behind(handle);
    sim_lanes_deinit(&handle->lanes);
    th_completions_deinit(&handle->done);
    for (uint32_t p = 0; p < handle->world->options.partitions; p++) {
        handle->cursor[p] = SIM_CLOSED;
    }
}

/* A new operation, or NULL when there is nothing to do: the process is dead, or the partition is
 * none, which completes as INVALID. */
static struct sim_op *op_new(struct sim_handle *handle, enum th_completion_kind kind,
                             uint32_t partition, uint64_t tag)
{
    if (handle->dead) {
        return NULL;
    }
    if (partition >= handle->world->options.partitions) {
        struct th_completion wrong = th_completion_failed(kind, partition, tag, TH_INVALID,
                                                          "there is no partition %u", partition);
        sim_handle_complete(handle, &wrong);
        return NULL;
    }
    struct sim_op *op = TH_NEW(struct sim_op);
    op->kind = kind;
    op->partition = partition;
    op->tag = tag;
    op->handle = handle->number;
    op->offset = -1;
    return op;
}

static struct th_provider_traits sim_traits(struct th_provider *provider)
{
    const struct th_sim_options *options = &sim_handle_of(provider)->world->options;
    return (struct th_provider_traits){
        .name = "simulated",
        .max_record_bytes = options->max_record_bytes,
        .max_message_bytes = options->max_message_bytes,
        .durable_projection = options->durable_projection,
        .ordered = options->ordered,
        .shared = options->shared,
    };
}

static void sim_claim(struct th_provider *provider, uint32_t partition, struct th_blob *record,
                      uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_CLAIM, partition, tag);
    if (op) {
        op->blob = th_blob_ref(record);
        sim_submit(handle, op);
    }
}

static void sim_append(struct th_provider *provider, uint32_t partition, uint64_t epoch,
                       struct th_blob *record, uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_APPEND, partition, tag);
    if (op) {
        op->epoch = epoch;
        op->blob = th_blob_ref(record);
        sim_submit(handle, op);
    }
}

static void sim_send(struct th_provider *provider, uint32_t source, uint32_t destination,
                     struct th_blob *message, uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    const bool out = destination == TH_SEND_ACTIVITIES && handle->world->options.shared;
    struct sim_op *op = op_new(handle, TH_DONE_SEND, out ? 0 : destination, tag);
    if (op) {
        op->partition = out ? handle->world->options.partitions : destination;
        op->source = source;
        op->blob = th_blob_ref(message);
        sim_submit(handle, op);
    }
}

static void sim_project(struct th_provider *provider, const struct th_projection *batch,
                        uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_PROJECT, batch->partition, tag);
    if (!op) {
        return;
    }
    struct th_row *rows = th_alloc(batch->count * sizeof(struct th_row));
    for (size_t i = 0; i < batch->count; i++) {
        th_row_copy(&rows[i], &batch->rows[i]);
    }
    op->batch = *batch;
    op->batch.rows = rows;
    sim_submit(handle, op);
}

static void trim(struct th_provider *provider, enum th_completion_kind kind, uint32_t partition,
                 int64_t below)
{
    struct sim_handle *handle = sim_handle_of(provider);
    if (partition < handle->world->options.partitions) { /* there is no completion to say so */
        struct sim_op *op = op_new(handle, kind, partition, 0);
        if (op) {
            op->trim = true;
            op->to = below;
            sim_submit(handle, op);
        }
    }
}

static void sim_trim_log(struct th_provider *provider, uint32_t partition, int64_t below)
{
    trim(provider, TH_DONE_APPEND, partition, below);
}

static void sim_trim_inbox(struct th_provider *provider, uint32_t partition, int64_t below)
{
    trim(provider, TH_DONE_SEND, partition, below);
}

/* ---- reads: each in a lane of its own ---- */

static void ask(struct sim_handle *handle, struct sim_op *op)
{
    sim_trace_op(handle->world, handle->number, "asks", op);
    sim_lanes_add(&handle->lanes, TH_SIM_ANSWER, op, op);
}

static void sim_read(struct th_provider *provider, uint32_t partition, int64_t from, int64_t to,
                     uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_READ, partition, tag);
    if (op) {
        op->from = from;
        op->to = to;
        ask(handle, op);
    }
}

static void sim_load(struct th_provider *provider, uint32_t partition, struct th_str instance_id,
                     bool history, uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_LOAD, partition, tag);
    if (op) {
        op->text = th_str_dup(instance_id);
        op->text_len = instance_id.len;
        op->history = history;
        ask(handle, op);
    }
}

static void sim_query(struct th_provider *provider, const struct th_query *query, uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_QUERY, 0, tag);
    if (op) {
        op->query = *query;
        op->query.id_prefix.data = th_str_dup(query->id_prefix);
        op->query.name.data = th_str_dup(query->name);
        op->query.continuation.data = th_str_dup(query->continuation);
        ask(handle, op);
    }
}

static void sim_state(struct th_provider *provider, uint32_t partition, uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_STATE, partition, tag);
    if (op) {
        op->from = handle->world->partitions[partition].log.start;
        op->to = handle->world->partitions[partition].log.end;
        ask(handle, op);
    }
}

static void sim_walk(struct th_provider *provider, uint32_t partition, uint64_t full_below,
                     uint32_t limit, uint64_t tag)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct sim_op *op = op_new(handle, TH_DONE_WALK, partition, tag);
    if (op) {
        op->to = (int64_t)full_below;
        op->query.limit = limit;
        ask(handle, op);
    }
}

/* ---- words ---- */

void sim_handle_word(struct sim_handle *handle, enum th_completion_kind kind, uint32_t partition,
                     struct th_blob *blob)
{
    struct sim_op *op = TH_NEW(struct sim_op);
    op->kind = kind;
    op->partition = partition;
    op->handle = handle->number;
    op->blob = th_blob_ref(blob);
    op->offset = -1;
    sim_lanes_add(&handle->lanes, TH_SIM_WORD, op, op);
}

/* Lost news are made up for by a word that some may be missing, as after a broken connection. */
void sim_hear(struct sim_handle *handle, struct sim_op *op)
{
    struct th_completion done = {.kind = op->kind, .partition = op->partition};
    bool lost = sim_chance(handle->world, handle->world->options.lose_word);
    sim_trace_op(handle->world, handle->number, lost ? "misses" : "hears", op);
    if (!lost) {
        done.blob = th_blob_ref(op->blob);
    }
    if (!lost || op->kind == TH_DONE_NEWS) {
        sim_handle_complete(handle, &done);
    }
    sim_op_free(op);
}

static void sim_reply(struct th_provider *provider, const char *address, struct th_blob *message)
{
    struct sim_handle *handle = sim_handle_of(provider);
    struct th_sim_world *world = handle->world;
    for (size_t i = 0; i < world->handle_count && !handle->dead; i++) {
        struct sim_handle *other = world->handles[i];
        if (!other->dead && strcmp(other->provider.address, address) == 0) {
            sim_handle_word(other, TH_DONE_REPLY, 0, message);
        }
    }
}

static void sim_watch(struct th_provider *provider, uint32_t partition, bool wanted)
{
    struct sim_handle *handle = sim_handle_of(provider);
    if (handle->dead || partition >= handle->world->options.partitions) {
        return;
    }
    if (wanted && !handle->watching[partition]) {
        sim_handle_word(handle, TH_DONE_NEWS, partition, NULL);
    }
    handle->watching[partition] = wanted;
}

/* ---- inboxes ---- */

static void set_cursor(struct th_provider *provider, uint32_t partition, int64_t cursor)
{
    struct sim_handle *handle = sim_handle_of(provider);
    if (handle->dead || partition >= handle->world->options.partitions) {
        return;
    }
    sim_trace(handle->world, "h%u inbox p%u from %lld", handle->number, partition,
              (long long)cursor);
    th_completions_drop_deliveries(&handle->done, partition);
    handle->cursor[partition] = cursor;
}

static void sim_inbox_open(struct th_provider *provider, uint32_t partition, int64_t from)
{
    set_cursor(provider, partition, from > 0 ? from : 0);
}

static void sim_inbox_close(struct th_provider *provider, uint32_t partition)
{
    set_cursor(provider, partition, SIM_CLOSED);
}

/* ---- poll and the end ---- */

static size_t sim_poll(struct th_provider *provider, struct th_completion *out, size_t max)
{
    struct sim_handle *handle = sim_handle_of(provider);
    if (handle->paused) {
        return 0;
    }
    size_t count = th_completions_pop(&handle->done, out, max);
    for (size_t i = 0; i < count; i++) {
        if (sim_failure_was_counted(handle, &out[i])) {
            handle->unseen--;
        }
    }
    return count;
}

static void detach(struct sim_handle *handle)
{
    struct th_sim_world *world = handle->world;
    size_t kept = 0;
    for (size_t i = 0; i < world->handle_count; i++) {
        if (world->handles[i] != handle) {
            world->handles[kept++] = world->handles[i];
        }
    }
    world->handle_count = kept;
}

/* A close is a death: the contract lets it drop what is under way. */
static void sim_close(struct th_provider *provider)
{
    struct sim_handle *handle = sim_handle_of(provider);
    if (!handle->dead) {
        sim_trace(handle->world, "h%u closed", handle->number);
        sim_handle_die(handle);
    }
    detach(handle);
    free(handle->cursor);
    free(handle->broken_below);
    free(handle->watching);
    free(handle);
}

const struct th_provider_ops sim_ops = {
    .traits = sim_traits,
    .claim = sim_claim,
    .read = sim_read,
    .append = sim_append,
    .send = sim_send,
    .inbox_open = sim_inbox_open,
    .inbox_close = sim_inbox_close,
    .project = sim_project,
    .load = sim_load,
    .query = sim_query,
    .state = sim_state,
    .walk = sim_walk,
    .reply = sim_reply,
    .watch = sim_watch,
    .trim_log = sim_trim_log,
    .trim_inbox = sim_trim_inbox,
    .poll = sim_poll,
    .close = sim_close,
};

static bool may_open(const struct th_sim_world *world, struct th_error *error)
{
    for (size_t i = 0; world->options.ordered && i < world->handle_count; i++) {
        if (!world->handles[i]->dead) {
            return th_fail(error, TH_UNAVAILABLE, "hub %s is open in process h%u", world->hub,
                           world->handles[i]->number);
        }
    }
    return true;
}

struct th_provider *th_sim_open(struct th_sim_world *world, struct th_error *error)
{
    if (!may_open(world, error)) {
        return NULL;
    }
    uint32_t partitions = world->options.partitions;
    struct sim_handle *handle = TH_NEW(struct sim_handle);
    handle->world = world;
    handle->number = ++world->opened;
    handle->cursor = th_alloc(partitions * sizeof(int64_t));
    handle->broken_below = th_alloc(partitions * sizeof(uint64_t));
    handle->watching = th_alloc(partitions * sizeof(bool));
    snprintf(handle->provider.address, sizeof(handle->provider.address), "h%u", handle->number);
    for (uint32_t p = 0; p < partitions; p++) {
        handle->cursor[p] = SIM_CLOSED;
    }
    struct th_hub_record *hub = &handle->provider.hub;
    memcpy(hub->name, world->hub, sizeof(hub->name));
    hub->incarnation = world->incarnation;
    hub->partitions = partitions;
    hub->created = world->options.start;
    handle->provider.ops = &sim_ops;
    world->handles = th_grow(world->handles, &world->handle_capacity, world->handle_count + 1,
                             sizeof(struct sim_handle *));
    world->handles[world->handle_count++] = handle;
    sim_trace(world, "h%u opened", handle->number);
    return &handle->provider;
}
