#include "worker/sharedinternal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK            (100 * TH_MILLISECOND)
#define COMMIT_INTERVAL (200 * TH_MILLISECOND)
#define MOST_MESSAGES   64 /* taken at once, before anything else is looked at */
/* What is held besides, because nobody serves it or another worker runs it. */
#define MOST_HELD       10000
#define MOST_HELD_BYTES ((size_t)64 << 20)

struct th_shared *shared_of(void *opaque)
{
    return (struct th_shared *)th_kafka_client_of(opaque); /* its first member */
}

struct activities *shared_part(struct th_shared *shared, int32_t partition)
{
    size_t index = (size_t)partition;
    if (index >= shared->part_count) {
        size_t before = shared->part_count;
        shared->parts =
            th_grow(shared->parts, &shared->part_capacity, index + 1, sizeof *shared->parts);
        memset(&shared->parts[before], 0, (index + 1 - before) * sizeof *shared->parts);
        shared->part_count = index + 1;
        for (size_t i = before; i <= index; i++)
            shared->parts[i].partition = (uint32_t)i;
    }
    return &shared->parts[index];
}

/* ---- what the heartbeat says ----------------------------------------------------------------- */

static th_time oldest_of(const struct activities *part)
{
    th_time oldest = TH_TIME_NONE;
    for (const struct flight *f = part->flights; f; f = f->hh.next)
        if (oldest == TH_TIME_NONE || f->arrived < oldest)
            oldest = f->arrived;
    for (const struct held *h = part->held; h; h = h->next)
        if (oldest == TH_TIME_NONE || h->arrived < oldest)
            oldest = h->arrived;
    return oldest;
}

static void count_unserved(struct th_member_unserved *list, size_t *count, const struct held *held)
{
    size_t at = 0;
    while (at < *count && !th_str_eq_nocase(list[at].name, th_str_of(held->function)))
        at++;
    if (at == *count)
        list[(*count)++] = (struct th_member_unserved){.kind = TH_FUNCTION_ACTIVITY,
                                                       .name = th_str_of(held->function)};
    list[at].waiting++;
}

static void collect(const struct activities *part, struct th_member_activities *consumed,
                    struct th_member_left *left, struct th_member_unserved *unserved,
                    struct th_report_activities *out)
{
    if (part->assigned && part->known)
        consumed[out->partition_count++] =
            (struct th_member_activities){.partition = part->partition,
                                          .position = part->offsets.position,
                                          .end = part->offsets.end,
                                          .oldest = oldest_of(part)};
    for (const struct flight *f = part->flights; f && !part->assigned; f = f->hh.next)
        left[out->left_count++] = (struct th_member_left){f->partition, f->offset};
    for (const struct held *h = part->held; h; h = h->next)
        if (h->function)
            count_unserved(unserved, &out->unserved_count, h);
}

uint64_t shared_say(struct th_shared *shared, bool at_once)
{
    TH_ARENA arena = {0};
    struct th_member_activities *consumed =
        TH_ARENA_ARRAY(&arena, struct th_member_activities, shared->part_count);
    struct th_member_left *left = TH_ARENA_ARRAY(&arena, struct th_member_left, shared->in_flight);
    struct th_member_unserved *unserved =
        TH_ARENA_ARRAY(&arena, struct th_member_unserved, shared->held_count);
    struct th_report_activities all = {.partitions = consumed, .left = left, .unserved = unserved};
    for (size_t i = 0; i < shared->part_count; i++)
        collect(&shared->parts[i], consumed, left, unserved, &all);
    shared->report_due = false;
    th_report_activities(shared->options.report, &all);
    return at_once ? th_report_publish(shared->options.report, true) : 0;
}

/* ---- commits --------------------------------------------------------------------------------- */

static void on_committed(rd_kafka_t *rk, rd_kafka_resp_err_t error,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct th_shared *shared = shared_of(opaque);
    shared->committing = false;
    for (int i = 0; error != RD_KAFKA_RESP_ERR_NO_ERROR && list && i < list->cnt; i++)
        shared_part(shared, list->elems[i].partition)->dirty = true; /* once more */
}

void shared_add_commit(struct th_shared *shared, rd_kafka_topic_partition_list_t *list,
                       struct activities *part, const struct th_offsets_running *running)
{
    char text[TH_OFFSETS_TEXT];
    rd_kafka_topic_partition_t *item =
        rd_kafka_topic_partition_list_add(list, shared->group.topic, (int32_t)part->partition);
    th_offsets_encode(&part->offsets, shared->options.hub->incarnation, running, text);
    item->offset = part->offsets.position;
    item->metadata_size = strlen(text);
    item->metadata = strdup(text); /* librdkafka frees it with the list */
    free(part->said[1].text);
    part->said[1] = part->said[0];
    part->said[0].position = item->offset;
    part->said[0].text = th_str_dup(th_str_of(text));
    part->dirty = false;
}

static void commit(struct th_shared *shared, th_time now)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < shared->part_count; i++)
        if (shared->parts[i].assigned && shared->parts[i].known && shared->parts[i].dirty)
            shared_add_commit(shared, list, &shared->parts[i], NULL);
    shared->commit_at = now + COMMIT_INTERVAL;
    if (list->cnt > 0)
        shared->committing =
            rd_kafka_commit(shared->group.client.rk, list, 1) == RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(list);
}

/* ---- joining and leaving --------------------------------------------------------------------- */

static void configure(struct th_kafka_client *client, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, shared_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_committed);
}

static void leave(struct th_shared *shared)
{
    th_group_leave(&shared->group);
    shared->committing = false;
}

/* ---- polling --------------------------------------------------------------------------------- */

static void take_error(struct th_shared *shared, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        shared_part(shared, message->partition)->flows = true;
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) /* its place does not exist */
        shared_part(shared, message->partition)->known = false;
    th_group_error(&shared->group, message);
}

/* True: there may be more. */
static bool poll_some(struct th_shared *shared)
{
    for (int n = 0; shared->group.joined && n < MOST_MESSAGES; n++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(shared->group.client.rk, 0);
        if (!message)
            return false;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            shared_take(shared, message);
        else
            take_error(shared, message);
        rd_kafka_message_destroy(message);
    }
    return shared->group.joined;
}

static bool is_full(const struct th_shared *shared)
{
    size_t most = shared->full ? shared->options.most / 2 : shared->options.most;
    return shared->in_flight >= most || shared->held_count >= MOST_HELD ||
           shared->held_bytes >= MOST_HELD_BYTES;
}

/* What librdkafka has fetched ahead of a pause it drops, and fetches again. Where nothing has come
 * since the assignment, a pause might undo that. */
static void mind_pressure(struct th_shared *shared)
{
    bool full = is_full(shared);
    if (!shared->group.joined || (!full && !shared->full))
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < shared->part_count; i++) {
        struct activities *part = &shared->parts[i];
        if (!part->assigned || part->paused == full || (full && !part->flows))
            continue;
        rd_kafka_topic_partition_list_add(list, shared->group.topic, (int32_t)i);
        part->paused = full;
    }
    if (list->cnt > 0 && full)
        rd_kafka_pause_partitions(shared->group.client.rk, list);
    else if (list->cnt > 0)
        rd_kafka_resume_partitions(shared->group.client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    shared->full = full;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void take_done(struct th_shared *shared, struct th_link *link)
{
    for (struct th_link *next; link; link = next) {
        next = link->next;
        shared_finish(shared, (struct flight *)link); /* its first member */
    }
}

static void tick(struct th_shared *shared, th_time now)
{
    shared->tick_at = now + TICK;
    shared_begin_unknown(shared);
    if (shared->held_count > 0)
        shared_look_at_held(shared);
    if (shared->report_due)
        shared_say(shared, false);
}

static bool step(struct th_shared *shared)
{
    bool more = poll_some(shared);
    th_time now = th_monotonic();
    if (th_group_mend(&shared->group, now))
        shared->committing = false;
    mind_pressure(shared);
    if (atomic_exchange(&shared->others_changed, false) && shared->held_count > 0)
        shared_look_at_held(shared);
    if (now >= shared->tick_at)
        tick(shared, now);
    if (shared->group.joined && !shared->committing && now >= shared->commit_at)
        commit(shared, now);
    return more;
}

static void *shared_main(void *argument)
{
    struct th_shared *shared = argument;
    bool more = false;
    pthread_setname_np(pthread_self(), "activities");
    th_group_join(&shared->group);
    while (!atomic_load(&shared->stopping)) {
        th_time now = th_monotonic();
        take_done(shared, th_queue_wait(&shared->wake, more ? now : shared->tick_at));
        if (atomic_exchange(&shared->leaving, false)) {
            leave(shared);
            sem_post(&shared->left);
        }
        more = step(shared);
    }
    leave(shared);
    take_done(shared, th_queue_take(&shared->wake));
    return NULL;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void part_deinit(struct th_shared *shared, struct activities *part)
{
    struct flight *flight, *next;
    HASH_ITER(hh, part->flights, flight, next) {
        shared_flight_free(shared, flight);
    }
    shared_drop_held(shared, part);
    th_offsets_deinit(&part->offsets);
    free(part->said[0].text);
    free(part->said[1].text);
}

static void shared_free(struct th_shared *shared)
{
    for (size_t i = 0; i < shared->part_count; i++)
        part_deinit(shared, &shared->parts[i]);
    th_group_close(&shared->group);
    th_queue_deinit(&shared->wake);
    sem_destroy(&shared->left);
    free(shared->parts);
    free(shared);
}

static void init_group(struct th_shared *shared)
{
    static const struct th_kafka_property own[] = {
        {"queued.max.messages.kbytes", "4096"},
        {"fetch.message.max.bytes", "1048576"},
        {"enable.partition.eof", "true"},
    };
    const struct th_group_options group = {
        .cluster = shared->options.cluster,
        .log = shared->options.log,
        .component = "activities",
        .hub = shared->options.hub->name,
        .suffix = "activities",
        .member = shared->options.name,
        .topic = TH_KAFKA_ACTIVITIES,
        .session_ms = shared->options.session_ms,
        .own = own,
        .own_count = TH_COUNT(own),
        .configure = configure,
        .wake = &shared->wake,
    };
    th_group_init(&shared->group, &group);
}

struct th_shared *th_shared_open(const struct th_shared_options *options, struct th_error *error)
{
    struct th_shared *shared = TH_NEW(struct th_shared);
    shared->options = *options;
    th_queue_init(&shared->wake);
    init_group(shared);
    sem_init(&shared->left, 0, 0);
    if (th_group_open(&shared->group, error)) {
        if (pthread_create(&shared->thread, NULL, shared_main, shared) == 0)
            return shared;
        th_fail(error, TH_INTERNAL, "the thread of activity messages cannot be started");
    }
    shared_free(shared);
    return NULL;
}

void th_shared_wake(struct th_shared *shared)
{
    atomic_store(&shared->others_changed, true);
    th_queue_wake(&shared->wake);
}

void th_shared_begin_leaving(struct th_shared *shared)
{
    if (!shared || shared->told_to_leave)
        return;
    shared->told_to_leave = true;
    atomic_store(&shared->leaving, true);
    th_queue_wake(&shared->wake);
}

bool th_shared_leave(struct th_shared *shared, th_time deadline)
{
    if (!shared || shared->has_left)
        return true;
    const struct timespec until = th_timespec(deadline);
    th_shared_begin_leaving(shared);
    while (sem_clockwait(&shared->left, CLOCK_MONOTONIC, &until) != 0)
        if (errno != EINTR)
            return false;
    return shared->has_left = true;
}

void th_shared_free(struct th_shared *shared)
{
    if (!shared)
        return;
    th_shared_leave(shared, INT64_MAX);
    atomic_store(&shared->stopping, true);
    th_queue_wake(&shared->wake);
    pthread_join(shared->thread, NULL);
    shared_free(shared);
}
