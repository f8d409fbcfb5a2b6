/*
 * step: what may happen next, and the choice. A candidate is the head of a lane or the next
 * message of an open inbox; its chance is its event's weight. Candidates are counted in a fixed
 * order (handles as they opened, lanes as they lie, inboxes by partition, then the world's own
 * lanes), so that the seed alone decides.
 */
#include "provider/simulated/world.h"

struct candidate {
    struct sim_handle *handle; /* NULL: a lane of the world */
    bool delivery;
    size_t index; /* of the lane, or the partition of the delivery */
};

/* Sums up the weights of the candidates; when searching, stops at the one with which the sum
 * passes `wanted`. */
struct walk {
    uint64_t total, wanted;
    bool searching;
    struct candidate found;
};

static bool consider(struct walk *walk, uint32_t weight, struct sim_handle *handle, bool delivery,
                     size_t index)
{
    walk->total += weight;
    if (!walk->searching || walk->total <= walk->wanted) {
        return false;
    }
    walk->found = (struct candidate){handle, delivery, index};
    return true;
}

static bool needs_the_process(enum th_sim_event event)
{
    return event == TH_SIM_APPEND_ACK || event == TH_SIM_SEND_ACK || event == TH_SIM_PROJECT_ACK ||
           event == TH_SIM_ANSWER || event == TH_SIM_DELIVER || event == TH_SIM_WORD;
}

/* The next message of an open inbox: durable, or early for the process that sent it. */
static const struct th_sim_record *next_message(const struct sim_handle *handle, size_t partition)
{
    if (handle->cursor[partition] == SIM_CLOSED) {
        return NULL;
    }
    const struct truth_topic *inbox = &handle->world->partitions[partition].inbox;
    int64_t from =
        handle->cursor[partition] > inbox->start ? handle->cursor[partition] : inbox->start;
    size_t i = truth_topic_find(inbox, from);
    return i < inbox->count ? &inbox->records[i] : NULL;
}

static bool walk_handle(struct walk *walk, struct sim_handle *handle)
{
    const uint32_t *weight = handle->world->options.weight;
    for (size_t i = 0; i < handle->lanes.count; i++) {
        enum th_sim_event event = handle->lanes.items[i].event;
        if (!(handle->paused && needs_the_process(event)) &&
            consider(walk, weight[event], handle, false, i)) {
            return true;
        }
    }
    for (size_t p = 0; !handle->paused && p < handle->world->options.partitions; p++) {
        if (next_message(handle, p) && consider(walk, weight[TH_SIM_DELIVER], handle, true, p)) {
            return true;
        }
    }
    return false;
}

static bool walk_world(struct walk *walk, const struct th_sim_world *world)
{
    for (size_t i = 0; i < world->handle_count; i++) {
        if (!world->handles[i]->dead && walk_handle(walk, world->handles[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < world->zombies.count; i++) {
        if (consider(walk, world->options.weight[TH_SIM_ZOMBIE], NULL, false, i)) {
            return true;
        }
    }
    return false;
}

static void deliver(struct sim_handle *handle, uint32_t partition)
{
    const struct th_sim_record *record = next_message(handle, partition);
    handle->cursor[partition] = record->offset + 1;
    sim_trace(handle->world, "h%u is delivered p%u @%lld%s", handle->number, partition,
              (long long)record->offset, record->durable ? "" : " early");
    struct th_completion done = {.kind = TH_DONE_DELIVER,
                                 .partition = partition,
                                 .offset = record->offset,
                                 .blob = th_blob_ref(record->bytes)};
    sim_handle_complete(handle, &done);
}

static void happen_in_lane(struct sim_handle *handle, size_t index)
{
    enum th_sim_event event = handle->lanes.items[index].event;
    struct sim_op *op = sim_lanes_shift(&handle->lanes, index);
    if (event == TH_SIM_ANSWER) {
        sim_answer(handle, op);
    } else if (event == TH_SIM_WORD) {
        sim_hear(handle, op);
    } else if (needs_the_process(event)) {
        sim_acknowledge(handle, op);
    } else {
        sim_land(handle, op);
    }
}

static void happen(struct th_sim_world *world, const struct candidate *candidate)
{
    world->steps++;
    world->now += (th_time)th_random_below(&world->random, (uint64_t)world->options.step_us + 1);
    if (!candidate->handle) {
        sim_zombie_land(world, sim_lanes_shift(&world->zombies, candidate->index));
    } else if (candidate->delivery) {
        deliver(candidate->handle, (uint32_t)candidate->index);
    } else {
        happen_in_lane(candidate->handle, candidate->index);
    }
}

bool th_sim_step(struct th_sim_world *world)
{
    struct walk walk = {0};
    walk_world(&walk, world);
    if (walk.total == 0) {
        return false;
    }
    struct walk search = {.searching = true, .wanted = th_random_below(&world->random, walk.total)};
    walk_world(&search, world);
    happen(world, &search.found);
    return true;
}

bool th_sim_idle(const struct th_sim_world *world)
{
    struct walk walk = {0};
    walk_world(&walk, world);
    return walk.total == 0;
}
