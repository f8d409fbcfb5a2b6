/*
 * land: what becomes of a mutation between submission and completion, faults included.
 *
 * The promise that a suffix of an epoch may be lost but never a middle is kept by broken_below: a
 * failed append raises it above its epoch, and whatever of that epoch has not landed by then never
 * does. A lost acknowledgement is the same failure seen from the other end: what stands behind it
 * may still land, but its owner is told that it failed.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/simulated/world.h"

static bool is_log(const struct sim_op *op)
{
    return op->kind == TH_DONE_CLAIM || op->kind == TH_DONE_APPEND;
}

/* Failures of these kinds doom what is submitted until the node has seen them. */
static bool is_counted(const struct th_sim_world *world, enum th_completion_kind kind)
{
    return kind == TH_DONE_SEND ||
           (world->options.ordered &&
            (kind == TH_DONE_CLAIM || kind == TH_DONE_APPEND || kind == TH_DONE_PROJECT));
}

bool sim_failure_was_counted(const struct sim_handle *handle, const struct th_completion *done)
{
    enum th_code code = done->error.code;
    return (code == TH_UNAVAILABLE || code == TH_TOO_LARGE) &&
           is_counted(handle->world, done->kind);
}

static struct sim_partition *partition_of(struct th_sim_world *world, const struct sim_op *op)
{
    return &world->partitions[op->partition];
}

/* ---- submission ---- */

static bool too_large(const struct th_sim_world *world, const struct sim_op *op)
{
    size_t limit = op->kind == TH_DONE_SEND ? world->options.max_message_bytes
                                            : world->options.max_record_bytes;
    return limit > 0 && op->blob && op->blob->len > limit;
}

static enum th_sim_event landing_event(const struct th_sim_world *world, const struct sim_op *op)
{
    if (world->options.ordered) {
        return TH_SIM_COMMIT;
    }
    if (op->trim) {
        return TH_SIM_TRIM;
    }
    return is_log(op) ? TH_SIM_APPEND : op->kind == TH_DONE_SEND ? TH_SIM_SEND : TH_SIM_PROJECT;
}

/* Decides that an operation will not land. A trim is only ever doomed in an ordered world, where it
 * may rest on an append before it; it has no failure to be seen. */
static void doom(struct sim_handle *handle, struct sim_op *op)
{
    if (op->trim) {
        op->doomed = handle->world->options.ordered;
    } else if (!op->doomed && is_counted(handle->world, op->kind)) {
        op->doomed = true;
        handle->unseen++;
        if (op->kind == TH_DONE_SEND && op->offset >= 0) { /* delivered early: a hole remains */
            truth_topic_remove(&partition_of(handle->world, op)->inbox, op->offset);
            op->offset = -1;
        }
    }
}

/* An embedded inbox may hand a message on before it is durable: it has its offset from here on. */
static void deliver_early(struct sim_handle *handle, struct sim_op *op)
{
    const struct th_sim_options *options = &handle->world->options;
    bool message = op->kind == TH_DONE_SEND && !op->trim;
    if (options->ordered && options->early_delivery && message && !op->doomed &&
        !too_large(handle->world, op)) {
        op->offset = truth_topic_append(&partition_of(handle->world, op)->inbox, op->blob,
                                        handle->number, false);
    }
}

void sim_submit(struct sim_handle *handle, struct sim_op *op)
{
    struct th_sim_world *world = handle->world;
    op->offset = -1;
    sim_trace_op(world, handle->number, "submits", op);
    if (handle->unseen > 0) {
        doom(handle, op);
    }
    deliver_early(handle, op);
    enum th_sim_event event = landing_event(world, op);
    bool ordered = event == TH_SIM_COMMIT;
    uint32_t trim_of = op->trim && op->kind == TH_DONE_SEND ? 1 : 0;
    uint32_t b = event == TH_SIM_SEND ? op->source : trim_of;
    sim_lanes_push(&handle->lanes, event, ordered ? 0 : op->partition, ordered ? 0 : b, op);
}

/* ---- failure ---- */

static void set_failed(struct sim_op *op, enum th_code code, const char *why)
{
    op->code = code;
    op->why = why;
}

static void break_epoch(struct sim_handle *handle, const struct sim_op *op)
{
    uint64_t *below = &handle->broken_below[op->partition];
    if (op->kind == TH_DONE_APPEND && *below <= op->epoch) {
        *below = op->epoch + 1;
    }
}

static bool epoch_broken(const struct sim_handle *handle, const struct sim_op *op)
{
    return op->kind == TH_DONE_APPEND && op->epoch < handle->broken_below[op->partition];
}

static void doom_lane(struct sim_handle *handle, struct sim_lane *lane)
{
    for (struct sim_op *op = lane->first; op; op = op->next) {
        doom(handle, op);
    }
}

/* After a failure: what stands behind it in its order must not land as if nothing had been. */
static void doom_followers(struct sim_handle *handle, const struct sim_op *failed)
{
    bool ordered = handle->world->options.ordered;
    for (size_t i = 0; i < handle->lanes.count; i++) {
        struct sim_lane *lane = &handle->lanes.items[i];
        bool behind = ordered ? lane->event == TH_SIM_COMMIT
                              : lane->event == TH_SIM_SEND && failed->kind == TH_DONE_SEND &&
                                    lane->a == failed->partition && lane->b == failed->source;
        if (behind) {
            doom_lane(handle, lane);
        }
    }
}

/* Fails as a consequence of an earlier failure, which has doomed the others already. */
static void fail_too(struct sim_handle *handle, struct sim_op *op, const char *why)
{
    set_failed(op, TH_UNAVAILABLE, why);
    break_epoch(handle, op);
    doom(handle, op); /* counts it, unless it is counted already */
}

static void fail(struct sim_handle *handle, struct sim_op *op, const char *why)
{
    fail_too(handle, op, why);
    if (is_counted(handle->world, op->kind)) {
        doom_followers(handle, op);
    }
}

/* ---- landing ---- */

static double rate(const struct sim_op *op, double log, double send, double project)
{
    return is_log(op) ? log : op->kind == TH_DONE_SEND ? send : project;
}

static struct sim_op *op_clone(const struct sim_op *op)
{
    struct sim_op *clone = TH_NEW(struct sim_op);
    *clone = *op;
    clone->next = NULL;
    clone->offset = -1;
    th_blob_ref(clone->blob);
    return clone; /* only of appends and sends: nothing else is owned */
}

static void land_send(struct th_sim_world *world, struct sim_op *op)
{
    struct truth_topic *inbox = &partition_of(world, op)->inbox;
    if (op->offset < 0) {
        op->offset = truth_topic_append(inbox, op->blob, op->handle, true);
        return;
    }
    struct th_sim_record *early = truth_topic_at(inbox, op->offset);
    if (early) { /* else it was trimmed before it was written */
        early->durable = true;
    }
}

static void tell_news(struct th_sim_world *world, const struct sim_op *op)
{
    for (size_t n = 0; n < op->batch.count; n++) {
        for (size_t h = 0; op->batch.rows[n].news && h < world->handle_count; h++) {
            struct sim_handle *handle = world->handles[h];
            if (!handle->dead && handle->watching[op->partition]) {
                sim_handle_word(handle, TH_DONE_NEWS, op->partition, op->batch.rows[n].news);
            }
        }
    }
}

static void land_project(struct th_sim_world *world, struct sim_op *op)
{
    if (world->projection_down) {
        set_failed(op, TH_UNAVAILABLE, "the projection is down");
    } else {
        enum th_code code =
            truth_project(&partition_of(world, op)->projection, &op->batch, world->options.shared);
        if (code == TH_OK) {
            tell_news(world, op);
        } else if (code == TH_FENCED) {
            set_failed(op, TH_FENCED, "the projection stands at another watermark");
        } else {
            set_failed(op, TH_CORRUPT, "the projection lacks rows");
        }
    }
}

static void land_trim(struct th_sim_world *world, struct sim_op *op)
{
    struct sim_partition *p = partition_of(world, op);
    if (!op->doomed && !sim_chance(world, world->options.lose_trim)) {
        truth_topic_trim(op->kind == TH_DONE_APPEND ? &p->log : &p->inbox, op->to,
                         world->options.keep_trimmed);
    }
}

static void apply(struct th_sim_world *world, struct sim_op *op)
{
    if (op->trim) {
        land_trim(world, op);
    } else if (is_log(op)) {
        op->offset = truth_topic_append(&partition_of(world, op)->log, op->blob, op->handle, true);
    } else if (op->kind == TH_DONE_SEND) {
        land_send(world, op);
    } else {
        land_project(world, op);
    }
}

static void try_to_land(struct sim_handle *handle, struct sim_op *op)
{
    struct th_sim_world *world = handle->world;
    const struct th_sim_options *o = &world->options;
    if (op->doomed) {
        fail_too(handle, op, "an earlier submission failed");
    } else if (epoch_broken(handle, op)) {
        fail_too(handle, op, "an earlier record of this epoch failed");
    } else if (too_large(world, op)) {
        fail(handle, op, "the record is larger than the storage takes");
        op->code = TH_TOO_LARGE;
    } else if (sim_chance(world, rate(op, o->lose_append, o->lose_send, o->lose_project))) {
        fail(handle, op, "the storage did not answer in time");
    } else {
        apply(world, op);
        if (op->code == TH_UNAVAILABLE) {
            fail(handle, op, op->why);
        }
    }
}

static void duplicate(struct th_sim_world *world, const struct sim_op *op)
{
    const bool client = op->source >= world->options.partitions;
    if (op->kind == TH_DONE_SEND && op->code == TH_OK && !client && !world->options.ordered &&
        sim_chance(world, world->options.duplicate_send)) {
        struct sim_op *again = op_clone(op);
        sim_lanes_add(&world->zombies, TH_SIM_ZOMBIE, again, again);
    }
}

static void acknowledge_later(struct sim_handle *handle, struct sim_op *op)
{
    enum th_sim_event event = is_log(op)                 ? TH_SIM_APPEND_ACK
                              : op->kind == TH_DONE_SEND ? TH_SIM_SEND_ACK
                                                         : TH_SIM_PROJECT_ACK;
    uint32_t b = op->kind == TH_DONE_SEND ? op->source : 0;
    sim_lanes_push(&handle->lanes, event, op->partition, b, op);
}

void sim_land(struct sim_handle *handle, struct sim_op *op)
{
    if (op->trim) {
        apply(handle->world, op);
        sim_trace_op(handle->world, handle->number, "lands", op);
        sim_op_free(op);
        return;
    }
    try_to_land(handle, op);
    sim_trace_op(handle->world, handle->number, "lands", op);
    duplicate(handle->world, op);
    acknowledge_later(handle, op);
}

void sim_zombie_land(struct th_sim_world *world, struct sim_op *op)
{
    apply(world, op);
    sim_trace_op(world, op->handle, "left behind lands", op);
    sim_op_free(op);
}

/* ---- acknowledgement ---- */

/* The records behind a lost acknowledgement may be on their way already: a prefix of them lands
 * later, beside whatever the next claim brings. Their owner is told that they failed. */
static void leave_appends(struct sim_handle *handle, const struct sim_op *lost)
{
    struct th_sim_world *world = handle->world;
    for (size_t i = 0; i < handle->lanes.count; i++) {
        struct sim_lane *lane = &handle->lanes.items[i];
        if (lane->event != TH_SIM_APPEND || lane->a != lost->partition) {
            continue;
        }
        struct sim_op *first = NULL;
        struct sim_op *last = NULL;
        for (struct sim_op *op = lane->first;
             op && op->kind == TH_DONE_APPEND && op->epoch == lost->epoch &&
             !too_large(world, op) && sim_chance(world, world->options.zombie);
             op = op->next) {
            struct sim_op *clone = op_clone(op);
            *(last ? &last->next : &first) = clone;
            last = clone;
        }
        if (first) {
            sim_lanes_add(&world->zombies, TH_SIM_ZOMBIE, first, last);
        }
        return;
    }
}

static void maybe_lose_acknowledgement(struct sim_handle *handle, struct sim_op *op)
{
    struct th_sim_world *world = handle->world;
    const struct th_sim_options *o = &world->options;
    if (epoch_broken(handle, op)) {
        fail_too(handle, op, "an earlier record of this epoch failed");
    } else if (sim_chance(world,
                          rate(op, o->lose_append_ack, o->lose_send_ack, o->lose_project_ack))) {
        op->offset = -1; /* what landed stays: only the node does not know */
        fail(handle, op, "the acknowledgement was lost");
        if (op->kind == TH_DONE_APPEND && !o->ordered) {
            leave_appends(handle, op);
        }
    }
}

void sim_acknowledge(struct sim_handle *handle, struct sim_op *op)
{
    if (op->code == TH_OK) {
        maybe_lose_acknowledgement(handle, op);
    }
    struct th_completion done = {.kind = op->kind, .partition = op->partition, .tag = op->tag};
    if (op->code != TH_OK) {
        done = th_completion_failed(op->kind, op->partition, op->tag, op->code,
                                    "simulated partition %u: %s", op->partition, op->why);
    } else if (op->kind == TH_DONE_PROJECT) {
        done.watermark = op->batch.next;
    }
    done.offset = op->code == TH_OK ? op->offset : -1;
    sim_trace_op(handle->world, handle->number, "is told of", op);
    sim_handle_complete(handle, &done);
    sim_op_free(op);
}

/* ---- death ---- */

/* How many of a lane's operations still land. */
static size_t survivors(struct th_sim_world *world, const struct sim_lane *lane)
{
    size_t count = 0;
    for (struct sim_op *op = lane->first; op; op = op->next) {
        count++;
    }
    return sim_chance(world, world->options.zombie) ? th_random_below(&world->random, count + 1)
                                                    : 0;
}

static bool lands_unaided(struct sim_handle *handle, const struct sim_op *op)
{
    return !op->doomed && !epoch_broken(handle, op) && !too_large(handle->world, op);
}

/* Unordered: the prefix becomes a lane of the world. Ordered: it reached the file before the end,
 * and nothing of a dead process writes later. */
static void leave_lane(struct sim_handle *handle, size_t lane)
{
    struct th_sim_world *world = handle->world;
    size_t left = survivors(world, &handle->lanes.items[lane]);
    struct sim_op *first = NULL;
    struct sim_op *last = NULL;
    while (left-- > 0 && lands_unaided(handle, handle->lanes.items[lane].first)) {
        bool final = !handle->lanes.items[lane].first->next;
        struct sim_op *op = sim_lanes_shift(&handle->lanes, lane);
        if (world->options.ordered) {
            sim_zombie_land(world, op);
        } else {
            *(last ? &last->next : &first) = op;
            last = op;
        }
        if (final) {
            break; /* the lane is gone */
        }
    }
    if (first) {
        sim_lanes_add(&world->zombies, TH_SIM_ZOMBIE, first, last);
    }
}

static bool is_landing(enum th_sim_event event)
{
    return event == TH_SIM_APPEND || event == TH_SIM_SEND || event == TH_SIM_PROJECT ||
           event == TH_SIM_TRIM || event == TH_SIM_COMMIT;
}

/* What was delivered early and not written lies behind everything that was; its offsets are given
 * out again, as a file that never saw them does. */
static void forget_early(struct th_sim_world *world)
{
    for (uint32_t p = 0; p < world->options.partitions; p++) {
        struct truth_topic *inbox = &world->partitions[p].inbox;
        size_t i = 0;
        while (i < inbox->count && inbox->records[i].durable) {
            i++;
        }
        if (i < inbox->count) {
            truth_topic_truncate(inbox, inbox->records[i].offset);
        }
    }
}

void sim_leave_behind(struct sim_handle *handle)
{
    /* From the end, because a lane that becomes empty is replaced by the last one. */
    for (size_t i = handle->lanes.count; i-- > 0;) {
        if (is_landing(handle->lanes.items[i].event)) {
            leave_lane(handle, i);
        }
    }
    if (handle->world->options.ordered) {
        forget_early(handle->world);
    }
}
