/*
 * lane: the submissions that keep an order among themselves: the claims and appends of a log; the
 * messages from one source to one destination. They complete in the order of their submission, and
 * what a failure forbids to those behind it is decided here:
 *
 *   - log: every append of an epoch that failed once fails. A claim begins anew.
 *   - messages: those submitted before poll has told of a failure fail, too. `unseen` counts the
 *     failures that poll has not told of; while there is one, nothing is sent.
 *
 * librdkafka acknowledges a partition's records in order and, with enable.gapless.guarantee, lets
 * none through behind one that failed. So an item that is doomed here has either not been sent or
 * is one that the broker refuses as well; work for whichever process takes it is the exception: it
 * is spread over partitions, and may be done twice.
 */
#include "provider/kafka/internal.h"

void th_kafka_lane_init(struct th_kafka_lane *lane, bool is_log)
{
    *lane = (struct th_kafka_lane){.is_log = is_log, .claim = -1, .broken = -1};
    lane->last = &lane->first;
}

static bool ended(const struct th_kafka_lane *lane, const struct th_kafka_item *item)
{
    return item->kind == TH_DONE_APPEND && (int64_t)item->epoch <= lane->broken;
}

static void fail_behind(struct th_kafka_item *item)
{
    if (item->kind == TH_DONE_APPEND) {
        th_kafka_item_fail(item, TH_UNAVAILABLE,
                           "an earlier append to log %u failed: claim it again",
                           (unsigned)item->partition);
    } else {
        th_kafka_item_fail(item, TH_UNAVAILABLE, "an earlier message to partition %u failed",
                           (unsigned)item->partition);
    }
}

/* ---- failures ---- */

/* Items behind a doomed one are doomed already: each is visited once. */
static void doom_behind(struct th_kafka_lane *lane, const struct th_kafka_item *failed)
{
    for (struct th_kafka_item *i = failed->next_in_lane; i && !i->doomed; i = i->next_in_lane) {
        i->doomed = true;
        lane->unseen++;
    }
}

static void note_failure(struct th_kafka_lane *lane, struct th_kafka_item *item)
{
    if (!lane->is_log) {
        if (!item->doomed) {
            item->doomed = true;
            lane->unseen++;
        }
        doom_behind(lane, item);
    } else if (item->kind == TH_DONE_APPEND) {
        lane->broken = (int64_t)item->epoch > lane->broken ? (int64_t)item->epoch : lane->broken;
    }
}

void th_kafka_lane_shown(struct th_kafka_item *item)
{
    if (item->lane && !item->lane->is_log && item->code != TH_OK) {
        item->lane->unseen--;
    }
}

/* ---- submissions and outcomes ---- */

bool th_kafka_lane_submit(struct th_kafka_lane *lane, struct th_kafka_item *item)
{
    item->lane = lane;
    item->next_in_lane = NULL;
    *lane->last = item;
    lane->last = &item->next_in_lane;
    if (item->code == TH_OK && lane->is_log && ended(lane, item)) {
        fail_behind(item);
    }
    if (!lane->is_log && lane->unseen > 0) {
        item->doomed = true;
        lane->unseen++;
        if (item->code == TH_OK) {
            fail_behind(item);
        }
    }
    if (item->code != TH_OK) {
        note_failure(lane, item);
        item->answered = true;
    }
    return !item->answered;
}

void th_kafka_lane_answer(struct th_kafka_lane *lane, struct th_kafka_item *item)
{
    item->answered = true;
    if (item->code != TH_OK) {
        note_failure(lane, item);
    }
}

static struct th_kafka_item *take_first(struct th_kafka_lane *lane)
{
    struct th_kafka_item *item = lane->first;
    lane->first = item->next_in_lane;
    if (!lane->first) {
        lane->last = &lane->first;
    }
    return item;
}

void th_kafka_lane_release(struct th_kafka_lane *lane, struct th_kafka_items *done)
{
    while (lane->first && lane->first->answered) {
        struct th_kafka_item *item = take_first(lane);
        if (item->code == TH_OK && (item->doomed || ended(lane, item))) {
            fail_behind(item);
        }
        if (item->kind == TH_DONE_CLAIM && item->code == TH_OK) {
            lane->claim = item->offset;
        }
        th_kafka_items_add(done, item);
    }
}

/* ---- giving up ---- */

/* The writer may hold the item for as long as it likes; what the node is told is a copy. */
static struct th_kafka_item *let_go(struct th_kafka_item *item)
{
    if (!item->held) {
        return item;
    }
    struct th_kafka_item *copy = th_kafka_item_new(item->kind, item->partition, item->tag);
    copy->epoch = item->epoch;
    copy->lane = item->lane;
    copy->next_in_lane = item->next_in_lane;
    copy->doomed = item->doomed;
    copy->answered = true;
    item->lane = NULL;
    return copy;
}

th_time th_kafka_lane_expire(struct th_kafka_lane *lane, th_time limit, const char *why,
                             struct th_kafka_items *done)
{
    th_time oldest = 0;
    char name[64];
    while (lane->first &&
           (lane->first->answered || lane->first->submitted < limit || ended(lane, lane->first))) {
        struct th_kafka_item *item = take_first(lane);
        if (!item->answered) {
            oldest = oldest ? oldest : item->submitted;
            item = let_go(item);
            th_kafka_item_fail(item, TH_UNAVAILABLE,
                               "%s was not acknowledged in time, it may be written still%s%s",
                               th_kafka_item_name(item, name), *why ? ": " : "", why);
            note_failure(lane, item);
        }
        th_kafka_items_add(done, item);
    }
    return oldest;
}

void th_kafka_lane_deinit(struct th_kafka_lane *lane)
{
    while (lane->first) {
        struct th_kafka_item *item = take_first(lane);
        item->lane = NULL;
        if (!item->held) {
            th_kafka_item_free(item);
        }
    }
}
