/*
 * Messages: each is run here, sent on to a worker that serves its function, left to the one that
 * runs it already, or held until one of these can be.
 */
#include "worker/sharedinternal.h"

#include <stdlib.h>
#include <string.h>

#include "model/codec.h"
#include "rpc/hub.h"

/* A worker that was never seen is believed to have existed for so long; heartbeats are on their
 * way. */
#define UNSEEN_PATIENCE (3 * TH_SECOND)
/* In place of the function of a message that this program cannot read. */
#define NEWER "(of a newer program)"

/* ---- flights --------------------------------------------------------------------------------- */

void shared_flight_free(struct th_shared *shared, struct flight *flight)
{
    struct activities *part = shared_part(shared, (int32_t)flight->partition);
    HASH_DELETE(hh, part->flights, flight);
    shared->in_flight--;
    free(flight);
}

/* On the node's thread: the result is durable, or the message is with another worker. */
static void on_done(void *argument)
{
    struct flight *flight = argument;
    th_queue_push(&flight->shared->wake, &flight->link);
}

void shared_finish(struct th_shared *shared, struct flight *flight)
{
    struct activities *part = shared_part(shared, (int32_t)flight->partition);
    th_offsets_finish(&part->offsets, flight->offset);
    part->dirty = true;
    shared->report_due = true;
    bool was_left = !part->assigned;
    shared_flight_free(shared, flight);
    if (was_left) /* somebody waits for this word */
        shared_say(shared, true);
}

static struct flight *flight_new(struct th_shared *shared, struct activities *part, int64_t offset,
                                 th_time arrived)
{
    struct flight *flight = TH_NEW(struct flight);
    *flight = (struct flight){
        .shared = shared, .partition = part->partition, .offset = offset, .arrived = arrived};
    HASH_ADD(hh, part->flights, offset, sizeof flight->offset, flight);
    shared->in_flight++;
    return flight;
}

static struct th_host *next_host(struct th_shared *shared)
{
    return shared->options.hosts[shared->next_host++ % shared->options.host_count];
}

static void skip(struct th_shared *shared, struct activities *part, int64_t offset)
{
    th_log(shared->options.log, TH_LOG_ERROR, "activities",
           "topic %s, partition %u, offset %lld holds no activity; it is skipped",
           shared->group.topic, (unsigned)part->partition, (long long)offset);
    th_offsets_finish(&part->offsets, offset);
    part->dirty = true;
}

static void run(struct th_shared *shared, struct activities *part, int64_t offset, th_time arrived,
                struct th_blob *blob)
{
    struct flight *flight = flight_new(shared, part, offset, arrived);
    flight->host = next_host(shared);
    flight->run = th_host_run(flight->host, blob, on_done, flight);
    if (flight->run == 0) {
        shared_flight_free(shared, flight);
        skip(shared, part, offset);
    }
}

/* ---- sending on ------------------------------------------------------------------------------ */

static bool can_take(const struct th_shared *shared, const struct th_member *member,
                     struct th_str function)
{
    return member->kind == TH_MEMBER_WORKER && !member->draining && member->activities_count > 0 &&
           !th_str_eq(member->name, th_str_of(shared->options.name)) &&
           th_member_serves(member, TH_FUNCTION_ACTIVITY, function);
}

/* A partition of a worker that serves the function; of several, one after the other. */
static bool find_target(struct th_shared *shared, const struct th_control_view *view,
                        struct th_str function, uint32_t *partition)
{
    size_t turn = shared->next_host++;
    for (size_t i = 0; i < view->count; i++) {
        const struct th_member *member = view->members[(turn + i) % view->count];
        if (!can_take(shared, member, function))
            continue;
        *partition = member->activities[turn / view->count % member->activities_count].partition;
        if (!shared_part(shared, (int32_t)*partition)->assigned) /* it has moved here meanwhile */
            return true;
    }
    return false;
}

static bool send_on(struct th_shared *shared, const struct th_control_view *view,
                    struct activities *part, int64_t offset, th_time arrived,
                    struct th_str function, struct th_blob *blob)
{
    uint32_t partition;
    uint32_t own = part->partition;
    if (!find_target(shared, view, function, &partition))
        return false;
    part = shared_part(shared, (int32_t)own); /* the table may have grown */
    struct flight *flight = flight_new(shared, part, offset, arrived);
    flight->host = next_host(shared);
    th_host_forward(flight->host, blob, partition, on_done, flight);
    return true;
}

/* Here, by the application or by a program. */
static bool serves(const struct th_shared *shared, struct th_str function, struct th_str version)
{
    const struct th_shared_options *o = &shared->options;
    return th_app_has(o->app, TH_FUNCTION_ACTIVITY, function) ||
           (o->rpc && th_rpc_serves(o->rpc, TH_FUNCTION_ACTIVITY, function, version));
}

/* ---- holding --------------------------------------------------------------------------------- */

/* `function` absent: it was left to a worker. */
static void hold(struct th_shared *shared, struct activities *part, int64_t offset, th_time arrived,
                 struct th_str function, struct th_str version, struct th_blob *blob)
{
    struct held *held = TH_NEW(struct held);
    *held = (struct held){.offset = offset,
                          .arrived = arrived,
                          .since = th_monotonic(),
                          .function = th_str_dup(function),
                          .version = th_str_dup(version),
                          .blob = th_blob_ref(blob)};
    DL_APPEND(part->held, held);
    shared->held_count++;
    shared->held_bytes += blob->len;
    shared->report_due = true;
    if (held->function)
        th_log(shared->options.log, TH_LOG_DEBUG, "activities",
               "activity \"%s\" waits: no worker serves it", held->function);
}

static void held_free(struct th_shared *shared, struct activities *part, struct held *held)
{
    DL_DELETE(part->held, held);
    shared->held_count--;
    shared->held_bytes -= held->blob->len;
    shared->report_due = true;
    th_blob_unref(held->blob);
    free(held->function);
    free(held->version);
    free(held);
}

void shared_drop_held(struct th_shared *shared, struct activities *part)
{
    while (part->held)
        held_free(shared, part, part->held);
}

/* ---- what is left to others ------------------------------------------------------------------ */

enum verdict { WAIT, FINISHED, GONE };

static const struct th_member *find_member(const struct th_control_view *view, const char *name)
{
    for (size_t i = 0; i < view->count; i++)
        if (th_str_eq(view->members[i]->name, th_str_of(name)))
            return view->members[i];
    return NULL;
}

static bool still_runs(const struct th_member *member, uint32_t partition, int64_t offset)
{
    for (size_t i = 0; i < member->left_count; i++)
        if (member->left[i].partition == partition && member->left[i].offset == offset)
            return true;
    return false;
}

/* What the worker has said settles it, if it said it after the partition went. */
static enum verdict believe(const struct th_member *member, const struct activities *part,
                            const struct th_offset_left *left)
{
    if (member->serial < left->serial || still_runs(member, part->partition, left->offset))
        return WAIT;
    return FINISHED;
}

/* One who is gone may have finished it, and said so, before. */
static enum verdict judge(struct th_shared *shared, const struct activities *part,
                          struct held *held, const struct th_offset_left *left,
                          const struct th_control_view *view)
{
    const struct th_member *member = find_member(view, left->worker);
    if (member) {
        held->seen = true;
        return believe(member, part, left);
    }
    struct th_member *last =
        th_control_last_words(shared->options.control, th_str_of(left->worker));
    bool unseen = !view->ready || (!held->seen && th_monotonic() - held->since < UNSEEN_PATIENCE);
    if (!last && unseen)
        return WAIT;
    bool finished = last && believe(last, part, left) == FINISHED;
    th_member_unref(last);
    return finished ? FINISHED : GONE;
}

static const struct th_offset_left *find_left(const struct activities *part, int64_t offset)
{
    for (size_t i = 0; i < part->offsets.left_count; i++)
        if (part->offsets.left[i].offset == offset)
            return &part->offsets.left[i];
    return NULL;
}

static void look_at_left(struct th_shared *shared, struct activities *part, struct held *held,
                         const struct th_control_view *view)
{
    const struct th_offset_left *left = find_left(part, held->offset);
    enum verdict verdict = left ? judge(shared, part, held, left, view) : FINISHED;
    if (verdict == WAIT)
        return;
    if (verdict == FINISHED) {
        th_offsets_finish(&part->offsets, held->offset);
    } else {
        th_log(shared->options.log, TH_LOG_INFO, "activities",
               "worker %s is gone: what it ran of partition %u at %lld is run again", left->worker,
               (unsigned)part->partition, (long long)held->offset);
        th_offsets_take_back(&part->offsets, held->offset);
        run(shared, part, held->offset, held->arrived, held->blob);
    }
    part->dirty = true;
    held_free(shared, part, held);
}

/* A program came that has it. */
static void run_held(struct th_shared *shared, struct activities *part, struct held *held)
{
    run(shared, part, held->offset, held->arrived, held->blob);
    held_free(shared, part, held);
}

void shared_look_at_held(struct th_shared *shared)
{
    TH_CONTROL_VIEW view = {0};
    struct held *held, *next;
    th_control_look(shared->options.control, &view);
    for (size_t i = 0; i < shared->part_count; i++) {
        DL_FOREACH_SAFE(shared->parts[i].held, held, next) {
            struct activities *part = &shared->parts[i];
            if (!held->function)
                look_at_left(shared, part, held, &view);
            else if (strcmp(held->function, NEWER) != 0 &&
                     serves(shared, th_str_of(held->function), th_str_of(held->version)))
                run_held(shared, part, held);
            else if (send_on(shared, &view, part, held->offset, held->arrived,
                             th_str_of(held->function), held->blob))
                held_free(shared, &shared->parts[i], held);
        }
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static void dispatch(struct th_shared *shared, struct activities *part, int64_t offset,
                     th_time arrived, struct th_blob *blob)
{
    TH_ARENA arena = {0};
    TH_CONTROL_VIEW view = {0};
    struct th_message decoded;
    struct th_error error = {.code = TH_OK};
    struct th_reader in = th_reader_of(th_blob_view(blob), &arena, &error);
    bool readable = th_decode_message(&in, &decoded);
    if (error.code == TH_UNSUPPORTED) { /* not to be lost: it waits for a newer program */
        th_log(shared->options.log, TH_LOG_ERROR, "activities", "activity message %lld: %s",
               (long long)offset, error.message);
        hold(shared, part, offset, arrived, TH_STR(NEWER), TH_STR_ABSENT, blob);
        return;
    }
    if (!readable || decoded.event.kind != TH_EVENT_TASK_SCHEDULED) {
        skip(shared, part, offset);
        return;
    }
    struct th_str function = decoded.event.name;
    if (serves(shared, function, decoded.event.version)) {
        run(shared, part, offset, arrived, blob);
        return;
    }
    th_control_look(shared->options.control, &view);
    if (!send_on(shared, &view, part, offset, arrived, function, blob))
        hold(shared, part, offset, arrived, function, decoded.event.version, blob);
}

static void take(struct th_shared *shared, struct activities *part, int64_t offset, th_time arrived,
                 struct th_blob *blob)
{
    switch (th_offsets_arrive(&part->offsets, offset)) {
    case TH_OFFSET_NEW:
        dispatch(shared, part, offset, arrived, blob);
        break;
    case TH_OFFSET_LEFT:
        hold(shared, part, offset, arrived, TH_STR_ABSENT, TH_STR_ABSENT, blob);
        break;
    case TH_OFFSET_FINISHED:
        part->dirty = true;
        break;
    }
}

void shared_take(struct th_shared *shared, const rd_kafka_message_t *message)
{
    struct activities *part = shared_part(shared, message->partition);
    int64_t offset = message->offset;
    struct flight *flight;
    if (!part->assigned || !part->known)
        return;
    part->flows = true;
    HASH_FIND(hh, part->flights, &offset, sizeof offset, flight);
    if (flight) {
        th_offsets_arrive(&part->offsets, offset);
        return;
    }
    th_time arrived = rd_kafka_message_timestamp(message, NULL) * TH_MILLISECOND;
    struct th_blob *blob = th_blob_new(message->payload, message->len);
    take(shared, part, offset, arrived, blob);
    th_blob_unref(blob);
    shared->report_due = true;
}
