/*
 * kafka: the provider's table, on the node's thread: submissions become items in lanes, or
 * questions to a reader or the desk; what is done becomes completions.
 */
#include <stdio.h>

#include "provider/kafka/internal.h"

/* ---- waking ---- */

void th_kafka_wake(void *argument)
{
    struct th_kafka *kafka = argument;
    if (atomic_load(&kafka->armed)) {
        th_provider_wake(&kafka->base);
    }
}

/* Every operation begins here: the hook has been set by now. */
static struct th_kafka *enter(struct th_provider *provider)
{
    struct th_kafka *kafka = th_kafka_of(provider);
    if (!atomic_load_explicit(&kafka->armed, memory_order_relaxed)) {
        atomic_store(&kafka->armed, true);
    }
    return kafka;
}

/* Every submission ends here: what is done at once waits for poll. */
static void leave(struct th_kafka *kafka)
{
    if (kafka->done.first) {
        th_kafka_wake(kafka);
    }
}

void th_kafka_doubt(struct th_kafka *kafka)
{
    for (uint32_t p = 0; p < kafka->hub.record.partitions; p++) {
        if (kafka->log_lanes[p].claim > kafka->log_lanes[p].broken) {
            th_kafka_items_add(&kafka->done, th_kafka_item_new(TH_DONE_DOUBT, p, 0));
        }
    }
}

/* ---- submissions ---- */

static struct th_provider_traits traits(struct th_provider *p)
{
    const struct th_kafka *kafka = th_kafka_of(p);
    return (struct th_provider_traits){
        .name = "kafka",
        .max_record_bytes = kafka->max_record_bytes,
        .max_message_bytes = kafka->hub.max_message_bytes,
        .shared = true,
    };
}

/* A partition that does not exist is a mistake of the caller's; it gets its answer all the same. */
static bool known(struct th_kafka *kafka, struct th_kafka_item *item)
{
    if (item->partition < kafka->hub.record.partitions) {
        return true;
    }
    th_kafka_item_fail(item, TH_INVALID, "hub %s has no partition %u", kafka->hub.record.name,
                       (unsigned)item->partition);
    th_kafka_items_add(&kafka->done, item);
    return false;
}

static void check_size(struct th_kafka_item *item, size_t limit, const char *what)
{
    if (item->blob->len > limit) {
        th_kafka_item_fail(item, TH_TOO_LARGE, "%s has %zu bytes, the limit is %zu", what,
                           item->blob->len, limit);
    }
}

void th_kafka_bar(struct th_provider *provider, const char *reason)
{
    struct th_kafka *kafka = th_kafka_of(provider);
    pthread_mutex_lock(&kafka->bar_lock);
    snprintf(kafka->bar, sizeof(kafka->bar), "%s", reason ? reason : "");
    pthread_mutex_unlock(&kafka->bar_lock);
    atomic_store(&kafka->barred, reason != NULL);
}

static void check_bar(struct th_kafka *kafka, struct th_kafka_item *item)
{
    if (!atomic_load(&kafka->barred)) {
        return;
    }
    pthread_mutex_lock(&kafka->bar_lock);
    th_kafka_item_fail(item, TH_UNAVAILABLE, "%s", kafka->bar);
    pthread_mutex_unlock(&kafka->bar_lock);
}

static void submit(struct th_kafka *kafka, struct th_kafka_lane *lane, enum th_kafka_role role,
                   struct th_kafka_item *item)
{
    item->submitted = th_monotonic();
    if (th_kafka_lane_submit(lane, item)) {
        th_kafka_slot_submit(kafka, role, item);
    } else {
        th_kafka_lane_release(lane, &kafka->done);
    }
}

static void write_log(struct th_kafka *kafka, struct th_kafka_item *item, struct th_blob *record)
{
    if (known(kafka, item)) {
        item->blob = th_blob_ref(record);
        item->topic = TH_KAFKA_HISTORY;
        item->topic_partition = (int32_t)item->partition;
        check_size(item, kafka->max_record_bytes, "a record");
        submit(kafka, &kafka->log_lanes[item->partition], TH_KAFKA_LOG, item);
        th_kafka_want_tick(kafka);
    }
    leave(kafka);
}

static void claim(struct th_provider *p, uint32_t partition, struct th_blob *record, uint64_t tag)
{
    write_log(enter(p), th_kafka_item_new(TH_DONE_CLAIM, partition, tag), record);
}

static void append(struct th_provider *p, uint32_t partition, uint64_t epoch,
                   struct th_blob *record, uint64_t tag)
{
    struct th_kafka_item *item = th_kafka_item_new(TH_DONE_APPEND, partition, tag);
    item->epoch = epoch;
    write_log(enter(p), item, record);
}

static bool is_activity(uint32_t destination)
{
    return destination != TH_SEND_FROM_CLIENT && destination >= TH_SEND_ACTIVITY_PARTITION(0);
}

/* Of all partitions in turn, or the one that is named. */
static uint32_t activity_partition(struct th_kafka *kafka, uint32_t destination)
{
    uint32_t n = destination == TH_SEND_ACTIVITIES ? kafka->next_activity++
                                                   : destination - TH_SEND_ACTIVITY_PARTITION(0);
    return n % kafka->hub.activity_partitions;
}

/* Lanes of one source: to each partition, and to the activities. */
static struct th_kafka_lane *send_lane(struct th_kafka *kafka, uint32_t source,
                                       uint32_t destination)
{
    uint32_t partitions = kafka->hub.record.partitions;
    uint32_t row = source < partitions ? source : partitions;
    uint32_t column = destination < partitions ? destination : partitions;
    if (!kafka->send_lanes[row]) {
        kafka->send_lanes[row] = th_alloc((partitions + 1) * sizeof(struct th_kafka_lane));
        for (uint32_t i = 0; i <= partitions; i++) {
            th_kafka_lane_init(&kafka->send_lanes[row][i], false);
        }
    }
    return &kafka->send_lanes[row][column];
}

static void send_message(struct th_provider *p, uint32_t source, uint32_t destination,
                         struct th_blob *message, uint64_t tag)
{
    struct th_kafka *kafka = enter(p);
    struct th_kafka_item *item = th_kafka_item_new(TH_DONE_SEND, destination, tag);
    bool activity = is_activity(destination);
    if (activity || known(kafka, item)) {
        item->blob = th_blob_ref(message);
        item->topic = activity ? TH_KAFKA_ACTIVITIES : TH_KAFKA_INSTANCES;
        item->topic_partition =
            (int32_t)(activity ? activity_partition(kafka, destination) : destination);
        bool client = source >= kafka->hub.record.partitions;
        check_size(item, kafka->hub.max_message_bytes, "a message");
        if (client) {
            check_bar(kafka, item);
        }
        submit(kafka, send_lane(kafka, source, destination),
               client ? TH_KAFKA_CLIENTS : TH_KAFKA_MESSAGES, item);
        th_kafka_want_tick(kafka);
    }
    leave(kafka);
}

static void read_log(struct th_provider *p, uint32_t partition, int64_t from, int64_t to,
                     uint64_t tag)
{
    struct th_kafka *kafka = enter(p);
    struct th_kafka_item *item = th_kafka_item_new(TH_DONE_READ, partition, tag);
    item->from = from > 0 ? from : 0;
    item->to = to;
    if (known(kafka, item)) {
        th_kafka_reader_submit(&kafka->readers[partition], item);
    }
    leave(kafka);
}

static void inbox_open(struct th_provider *p, uint32_t partition, int64_t from)
{
    struct th_kafka *kafka = enter(p);
    if (partition < kafka->hub.record.partitions) {
        th_kafka_inbox_open(&kafka->inbox[partition], from);
    }
}

static void inbox_close(struct th_provider *p, uint32_t partition)
{
    struct th_kafka *kafka = enter(p);
    if (partition < kafka->hub.record.partitions) {
        th_kafka_inbox_close(&kafka->inbox[partition]);
    }
}

static void state(struct th_provider *p, uint32_t partition, uint64_t tag)
{
    struct th_kafka *kafka = enter(p);
    struct th_kafka_item *item = th_kafka_item_new(TH_DONE_STATE, partition, tag);
    if (known(kafka, item)) {
        struct th_kafka_job job = {.kind = TH_KAFKA_JOB_STATE, .item = item};
        th_kafka_desk_ask(&kafka->desk, &job);
    }
    leave(kafka);
}

static void trim_log(struct th_provider *p, uint32_t partition, int64_t below)
{
    struct th_kafka *kafka = enter(p);
    if (partition < kafka->hub.record.partitions) {
        th_kafka_trim(kafka, TH_KAFKA_HISTORY, partition, below);
    }
}

static void trim_inbox(struct th_provider *p, uint32_t partition, int64_t below)
{
    struct th_kafka *kafka = enter(p);
    if (partition < kafka->hub.record.partitions) {
        th_kafka_trim(kafka, TH_KAFKA_INSTANCES, partition, below);
    }
}

/* ---- completions ---- */

static void tick(struct th_kafka *kafka)
{
    th_time now = th_monotonic();
    atomic_store(&kafka->busy, false);
    bool again = th_kafka_slots_tick(kafka, now);
    th_kafka_trim_tick(kafka);
    again |= th_kafka_trims_pending(&kafka->trims);
    for (uint32_t p = 0; p < kafka->hub.record.partitions; p++) {
        again |= th_kafka_reader_tick(&kafka->readers[p], now);
    }
    if (again) {
        th_kafka_want_tick(kafka);
    }
}

static struct th_kafka_stream *next_ready(struct th_kafka *kafka)
{
    struct th_link *link = th_queue_take(&kafka->ready);
    for (; link; link = link->next) {
        struct th_kafka_stream *stream = (struct th_kafka_stream *)link; /* its first member */
        stream->next_ready = NULL;
        *kafka->ready_last = stream;
        kafka->ready_last = &stream->next_ready;
    }
    struct th_kafka_stream *first = kafka->ready_first;
    if (first) {
        kafka->ready_first = first->next_ready;
        if (!kafka->ready_first) {
            kafka->ready_last = &kafka->ready_first;
        }
    }
    return first;
}

/* Streams with something, in turn; a stream's event from now on makes it ready again. */
static size_t serve_streams(struct th_kafka *kafka, struct th_completion *out, size_t max)
{
    enum { SHARE = 64 };
    size_t count = 0;
    struct th_kafka_stream *stream;
    while (count < max && (stream = next_ready(kafka))) {
        atomic_store(&stream->ready, false);
        if (stream->is_log) {
            th_kafka_reader_serve(&kafka->readers[stream->partition]);
            continue;
        }
        size_t share = max - count < SHARE ? max - count : SHARE;
        size_t got = th_kafka_inbox_serve(&kafka->inbox[stream->partition], &out[count], share);
        count += got;
        if (got == share && !atomic_exchange(&stream->ready, true)) {
            stream->next_ready = NULL;
            *kafka->ready_last = stream;
            kafka->ready_last = &stream->next_ready;
        }
    }
    return count;
}

static size_t hand_out(struct th_kafka *kafka, struct th_completion *out, size_t max)
{
    size_t count = 0;
    struct th_kafka_item *item;
    while (count < max && (item = th_kafka_items_take(&kafka->done))) {
        th_kafka_lane_shown(item);
        th_kafka_item_complete(item, &out[count++]);
    }
    return count;
}

/* Deliveries and the rest get half each while there is enough of both. */
static size_t poll_completions(struct th_provider *p, struct th_completion *out, size_t max)
{
    struct th_kafka *kafka = enter(p);
    th_kafka_desk_poll(&kafka->desk);
    if (atomic_load_explicit(&kafka->tick, memory_order_relaxed) &&
        atomic_exchange(&kafka->tick, false)) {
        tick(kafka);
    }
    th_kafka_slots_poll(kafka);
    th_kafka_client_poll(&kafka->logs);
    th_kafka_client_poll(&kafka->inboxes);
    size_t count = serve_streams(kafka, out, (max + (kafka->turn++ & 1)) / 2);
    count += hand_out(kafka, &out[count], max - count);
    count += serve_streams(kafka, &out[count], max - count);
    return count + hand_out(kafka, &out[count], max - count);
}

const struct th_provider_ops th_kafka_ops = {
    .traits = traits,
    .claim = claim,
    .read = read_log,
    .append = append,
    .send = send_message,
    .inbox_open = inbox_open,
    .inbox_close = inbox_close,
    .state = state,
    .trim_log = trim_log,
    .trim_inbox = trim_inbox,
    .poll = poll_completions,
    .close = th_kafka_close,
};
