/*
 * Partitions of activity messages that come and go. When one comes, its commit says what is
 * finished and what a former consumer still runs; when one goes, what runs here is said first in
 * the heartbeat, and then, with that heartbeat's serial, in the commit: whoever reads the commit
 * believes no older heartbeat.
 */
#include "worker/sharedinternal.h"

#include <stdlib.h>

/* Brokers are asked within the group's callback; its session goes on meanwhile. */
#define ASK_MS 2000

/* ---- coming ---------------------------------------------------------------------------------- */

static bool was_said_here(const struct activities *part, int64_t position, struct th_str text)
{
    for (size_t i = 0; i < TH_COUNT(part->said); i++)
        if (part->said[i].text && part->said[i].position == position &&
            th_str_eq(text, th_str_of(part->said[i].text)))
            return true;
    return false;
}

static struct flight *find_flight(const struct activities *part, int64_t offset)
{
    struct flight *flight;
    HASH_FIND(hh, part->flights, &offset, sizeof offset, flight);
    return flight;
}

/* What the commit says that this worker was running, it runs still, or has finished. */
static void apply_own(const struct th_shared *shared, struct activities *part)
{
    struct th_offsets *o = &part->offsets;
    for (size_t i = 0; i < o->left_count;) {
        struct th_offset_left *left = &o->left[i];
        bool flies = find_flight(part, left->offset) != NULL;
        if (flies)
            th_offsets_take_back(o, left->offset);
        else if (strcmp(left->worker, shared->options.name) == 0)
            th_offsets_finish(o, left->offset);
        else
            i++;
    }
}

/* Where the topic begins and ends; a commit that lies elsewhere is of another topic's time. */
static bool into_bounds(struct th_shared *shared, struct activities *part, int64_t *position)
{
    int64_t low;
    int64_t high;
    if (rd_kafka_query_watermark_offsets(shared->client.rk, shared->topic, (int32_t)part->partition,
                                         &low, &high, ASK_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    if (*position < low || *position > high)
        *position = low;
    return true;
}

static void begin_at(struct th_shared *shared, struct activities *part, int64_t position,
                     struct th_str text)
{
    uint64_t incarnation = shared->options.hub->incarnation;
    if (was_said_here(part, position,
                      text)) { /* nobody else had it: more is known here than was said */
        part->offsets.end = part->offsets.position;
        return;
    }
    th_offsets_deinit(&part->offsets);
    th_offsets_decode(&part->offsets, position, incarnation, text);
    apply_own(shared, part);
}

static bool begin_part(struct th_shared *shared, const rd_kafka_topic_partition_t *committed)
{
    struct activities *part = shared_part(shared, committed->partition);
    struct th_str text = th_str_n(committed->metadata, committed->metadata_size);
    int64_t position = committed->offset;
    if (committed->err != RD_KAFKA_RESP_ERR_NO_ERROR || !into_bounds(shared, part, &position))
        return false;
    if (position != committed->offset) /* none, or not of this topic */
        text = TH_STR_ABSENT;
    begin_at(shared, part, position, text);
    part->known = true;
    part->dirty |= position != committed->offset; /* lag tools want to see it */
    return true;
}

/* Asks what the group has committed for those of the list that are not known. */
static void begin_all(struct th_shared *shared, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++)
        if (!shared_part(shared, list->elems[i].partition)->known)
            rd_kafka_topic_partition_list_add(asked, shared->topic, list->elems[i].partition);
    rd_kafka_resp_err_t error = rd_kafka_committed(shared->client.rk, asked, ASK_MS);
    bool good = error == RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; good && i < asked->cnt; i++) {
        error = asked->elems[i].err;
        good = begin_part(shared, &asked->elems[i]);
    }
    if (!good)
        th_log(shared->options.log, TH_LOG_WARN, "activities",
               "the group %s.activities does not say what is finished: %s",
               shared->options.hub->name, rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(asked);
}

/* Those that are not known begin at the end, and rest. librdkafka keeps a partition paused that was
 * paused when it went, so all of them are resumed first. */
static void read_from(struct th_shared *shared, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *resting = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const struct activities *part = shared_part(shared, list->elems[i].partition);
        list->elems[i].offset = part->known ? part->offsets.end : RD_KAFKA_OFFSET_END;
        if (!part->known)
            rd_kafka_topic_partition_list_add(resting, shared->topic, list->elems[i].partition);
    }
    rd_kafka_assign(shared->client.rk, list);
    rd_kafka_resume_partitions(shared->client.rk, list);
    rd_kafka_pause_partitions(shared->client.rk, resting);
    rd_kafka_topic_partition_list_destroy(resting);
    shared->paused = false;
    shared->report_due = true;
}

static void assign(struct th_shared *shared, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct activities *part = shared_part(shared, list->elems[i].partition);
        part->assigned = true;
        part->known = false;
    }
    if (list->cnt > 0)
        begin_all(shared, list);
    read_from(shared, list);
}

void shared_begin_unknown(struct th_shared *shared)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    bool unknown = false;
    for (size_t i = 0; i < shared->part_count; i++) {
        const struct activities *part = &shared->parts[i];
        if (!part->assigned)
            continue;
        unknown |= !part->known;
        rd_kafka_topic_partition_list_add(list, shared->topic, (int32_t)i);
    }
    if (shared->joined && unknown) {
        begin_all(shared, list);
        read_from(shared, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* ---- going ----------------------------------------------------------------------------------- */

/* What only waits here is the next consumer's. */
static void withdraw(struct th_shared *shared, struct activities *part)
{
    struct flight *flight, *next;
    HASH_ITER(hh, part->flights, flight, next) {
        if (flight->run && th_host_withdraw(flight->host, flight->run))
            shared_flight_free(shared, flight);
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void add_last_commit(struct th_shared *shared, rd_kafka_topic_partition_list_t *commits,
                            struct activities *part, uint64_t serial)
{
    size_t count = 0;
    TH_AUTOFREE int64_t *offsets = th_alloc((HASH_COUNT(part->flights) + 1) * sizeof *offsets);
    for (const struct flight *f = part->flights; f; f = f->hh.next)
        offsets[count++] = f->offset;
    qsort(offsets, count, sizeof *offsets, ascending);
    const struct th_offsets_running running = {offsets, count, shared->options.name, serial};
    shared_add_commit(shared, commits, part, &running);
}

static void commit_last(struct th_shared *shared, const rd_kafka_topic_partition_list_t *list,
                        uint64_t serial)
{
    rd_kafka_topic_partition_list_t *commits = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        struct activities *part = shared_part(shared, list->elems[i].partition);
        if (part->known)
            add_last_commit(shared, commits, part, serial);
    }
    rd_kafka_resp_err_t error = commits->cnt > 0 ? rd_kafka_commit(shared->client.rk, commits, 0)
                                                 : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        th_log(shared->options.log, TH_LOG_WARN, "activities",
               "what is finished could not be committed (%s): some of it may be run again",
               rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(commits);
}

static void give_up(struct th_shared *shared, const rd_kafka_topic_partition_list_t *list,
                    bool lost)
{
    for (int i = 0; i < list->cnt; i++) {
        struct activities *part = shared_part(shared, list->elems[i].partition);
        withdraw(shared, part);
        shared_drop_held(shared, part);
        part->assigned = false;
    }
    uint64_t serial = shared_say(shared, true);
    if (!lost)
        commit_last(shared, list, serial);
}

/* ---- the group's word ------------------------------------------------------------------------ */

void shared_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                      rd_kafka_topic_partition_list_t *list, void *client)
{
    struct th_shared *shared = client; /* the client is its first member */
    bool lost = rd_kafka_assignment_lost(rk);
    th_log(shared->options.log, TH_LOG_DEBUG, "activities", "%s of %d partitions%s",
           what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "assignment" : "revocation", list->cnt,
           lost ? ", lost" : "");
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        shared->told = RD_KAFKA_RESP_ERR_NO_ERROR;
        assign(shared, list);
        return;
    }
    give_up(shared, list, lost);
    rd_kafka_assign(rk, NULL);
}
