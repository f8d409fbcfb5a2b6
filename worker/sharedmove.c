/*
 * Partitions of activity messages that come and go. When one comes, its commit says what is
 * finished and what a former consumer still runs; when one goes, what runs here is said first in
 * the heartbeat, and then, with that heartbeat's serial, in the commit: whoever reads the commit
 * believes no older heartbeat.
 */
#include "worker/sharedinternal.h"

#include <stdlib.h>

/* Brokers are asked within the group's callback; its session goes on meanwhile. */
#define ASK_MS    2000
#define COMMIT_MS 3000 /* for the last commit of a partition that goes */

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
    struct th_kafka_span span = {.topic = shared->group.topic,
                                 .partition = (int32_t)part->partition};
    size_t failed;
    if (th_kafka_client_spans(&shared->group.client, &span, 1, ASK_MS * TH_MILLISECOND, &failed) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    if (*position < span.start || *position > span.end)
        *position = span.start;
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

/* Asks what the group has committed for those of the list, none of which is known. */
static void begin_all(struct th_shared *shared, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t error = rd_kafka_committed(shared->group.client.rk, asked, ASK_MS);
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

/*
 * Those that are not known are not read yet. librdkafka keeps a partition paused over assignments
 * until it is told otherwise, and one may have been paused when it was here last: so all are
 * resumed first, since a resumption, or a pause, right after an assignment may undo it (its issue
 * 2190).
 */
static void read_known(struct th_shared *shared)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < shared->part_count; i++) {
        struct activities *part = &shared->parts[i];
        part->flows = part->paused = false;
        if (part->assigned && part->known)
            rd_kafka_topic_partition_list_add(list, shared->group.topic, (int32_t)i)->offset =
                part->offsets.end;
    }
    rd_kafka_resume_partitions(shared->group.client.rk, list);
    rd_kafka_assign(shared->group.client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    shared->full = false;
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
    read_known(shared);
}

void shared_begin_unknown(struct th_shared *shared)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < shared->part_count; i++)
        if (shared->parts[i].assigned && !shared->parts[i].known)
            rd_kafka_topic_partition_list_add(list, shared->group.topic, (int32_t)i);
    if (shared->group.joined && list->cnt > 0) {
        begin_all(shared, list);
        read_known(shared);
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

/* rd_kafka_commit would wait for a broker that does not answer as long as it takes. */
static rd_kafka_resp_err_t commit_now(struct th_shared *shared,
                                      rd_kafka_topic_partition_list_t *commits)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(shared->group.client.rk);
    rd_kafka_resp_err_t error =
        rd_kafka_commit_queue(shared->group.client.rk, commits, queue, NULL, NULL);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, COMMIT_MS);
        error = answer ? rd_kafka_event_error(answer) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        rd_kafka_event_destroy(answer);
    }
    rd_kafka_queue_destroy(queue);
    return error;
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
    rd_kafka_resp_err_t error =
        commits->cnt > 0 ? commit_now(shared, commits) : RD_KAFKA_RESP_ERR_NO_ERROR;
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
        part->assigned = part->flows = false;
    }
    uint64_t serial = shared_say(shared, true);
    if (!lost)
        commit_last(shared, list, serial);
}

/* ---- the group's word ------------------------------------------------------------------------ */

void shared_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                      rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct th_shared *shared = shared_of(opaque);
    bool lost = rd_kafka_assignment_lost(rk);
    th_log(shared->options.log, TH_LOG_DEBUG, "activities", "%s of %d partitions%s",
           what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "assignment" : "revocation", list->cnt,
           lost ? ", lost" : "");
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        th_group_well(&shared->group);
        assign(shared, list);
        return;
    }
    give_up(shared, list, lost);
    rd_kafka_assign(rk, NULL);
}
