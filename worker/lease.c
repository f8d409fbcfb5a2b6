#include "worker/lease.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "worker/group.h"

#define TICK           (100 * TH_MILLISECOND)
#define COMMIT_MOVING  (500 * TH_MILLISECOND) /* between commits of a position that moves */
#define MOST_COMMITTED 128                    /* partitions in one request */

/* What the group knows of a partition's position. */
struct mark {
    int64_t committed, seen; /* -1: nothing */
    th_time committed_at;
};

struct th_lease {
    struct th_group group; /* first: callbacks are given its client */
    struct th_lease_options options;
    struct th_plan *plan;
    struct mark *marks;
    pthread_t thread;
    struct th_queue wake; /* holds nothing */
    atomic_bool leaving, left;
    bool waits; /* to join */

    pthread_mutex_t lock; /* guards the following */
    bool settled;
    char trouble[256]; /* the group's last error; "": none since the last assignment */

    /* the thread's only */
    bool committing;
    th_time tick_at;
};

static struct th_lease *lease_of(void *opaque)
{
    return (struct th_lease *)th_kafka_client_of(opaque); /* its first member */
}

/* ---- what others may ask --------------------------------------------------------------------- */

static void set_trouble(struct th_lease *lease, const char *text)
{
    pthread_mutex_lock(&lease->lock);
    snprintf(lease->trouble, sizeof lease->trouble, "%s", text);
    pthread_mutex_unlock(&lease->lock);
}

bool th_lease_is_settled(struct th_lease *lease, struct th_error *error)
{
    pthread_mutex_lock(&lease->lock);
    bool settled = lease->settled;
    if (!settled)
        th_fail(error, TH_UNAVAILABLE, "the group %s.workers has not assigned partitions yet%s%s",
                lease->options.hub, *lease->trouble ? ": " : "", lease->trouble);
    pthread_mutex_unlock(&lease->lock);
    return settled;
}

/* ---- the group's word: within polls ---------------------------------------------------------- */

static void note_assignment(struct th_lease *lease, const rd_kafka_topic_partition_list_t *list)
{
    TH_AUTOFREE uint32_t *partitions = th_alloc(((size_t)list->cnt + 1) * sizeof *partitions);
    for (int i = 0; i < list->cnt; i++)
        partitions[i] = (uint32_t)list->elems[i].partition;
    th_plan_assigned(lease->plan, partitions, (size_t)list->cnt, th_monotonic());
    for (uint32_t p = 0; p < lease->options.partitions; p++)
        lease->marks[p].committed = -1; /* others may have committed meanwhile */
    set_trouble(lease, "");
    th_group_well(&lease->group);
}

/* Nothing is to be fetched: it begins at the end, and pauses. */
static void assign_without_reading(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    rd_kafka_assign(rk, list);
    rd_kafka_pause_partitions(rk, list);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct th_lease *lease = lease_of(opaque);
    th_log(lease->options.log, TH_LOG_DEBUG, "lease", "%s of %d partitions%s",
           what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "assignment" : "revocation", list->cnt,
           rd_kafka_assignment_lost(rk) ? ", lost" : "");
    lease->committing = false;
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        note_assignment(lease, list);
        assign_without_reading(rk, list);
        return;
    }
    if (rd_kafka_assignment_lost(rk))
        th_plan_lost(lease->plan);
    else
        th_plan_revoked(lease->plan, th_monotonic());
    rd_kafka_assign(rk, NULL);
}

static void on_committed(rd_kafka_t *rk, rd_kafka_resp_err_t error,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct th_lease *lease = lease_of(opaque);
    lease->committing = false;
    for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++)
        if (list->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            lease->marks[list->elems[i].partition].committed = list->elems[i].offset;
}

static void configure(struct th_kafka_client *client, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_committed);
}

void th_lease_wake(struct th_lease *lease)
{
    th_queue_wake(&lease->wake);
}

/* ---- polling --------------------------------------------------------------------------------- */

static void take_error(struct th_lease *lease, const rd_kafka_message_t *message)
{
    if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && th_group_error(&lease->group, message))
        set_trouble(lease, rd_kafka_message_errstr(message));
}

static void poll_all(struct th_lease *lease)
{
    rd_kafka_message_t *message;
    while (lease->group.joined && (message = rd_kafka_consumer_poll(lease->group.client.rk, 0))) {
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            take_error(lease, message);
        rd_kafka_message_destroy(message);
    }
}

static void follow_plan(struct th_lease *lease, th_time now)
{
    const struct th_lease_options *o = &lease->options;
    bool known = o->known(o->argument);
    enum th_plan_step step;
    uint32_t partition;
    while ((step = th_plan_next(lease->plan, known, o->former, o->argument, now, &partition)))
        (step == TH_PLAN_TAKE ? o->take : o->release)(o->argument, partition);
    pthread_mutex_lock(&lease->lock);
    lease->settled = o->stays_out || th_plan_settled(lease->plan);
    pthread_mutex_unlock(&lease->lock);
}

/* ---- positions ------------------------------------------------------------------------------- */

/* A position that rests is committed at once, one that moves now and then. */
static bool is_due(struct th_lease *lease, uint32_t partition, th_time now)
{
    struct mark *mark = &lease->marks[partition];
    int64_t position;
    if (!th_plan_taken(lease->plan, partition) ||
        !lease->options.position(lease->options.argument, partition, &position))
        return false;
    bool rests = mark->seen == position;
    mark->seen = position;
    return position != mark->committed && (rests || now - mark->committed_at >= COMMIT_MOVING);
}

static void commit(struct th_lease *lease, th_time now)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (uint32_t p = 0; p < lease->options.partitions && list->cnt < MOST_COMMITTED; p++) {
        if (!is_due(lease, p, now))
            continue;
        rd_kafka_topic_partition_list_add(list, lease->group.topic, (int32_t)p)->offset =
            lease->marks[p].seen;
        lease->marks[p].committed_at = now;
    }
    if (list->cnt > 0)
        lease->committing =
            rd_kafka_commit(lease->group.client.rk, list, 1) == RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(list);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void tick(struct th_lease *lease, th_time now)
{
    lease->tick_at = now + TICK;
    /* Within a rebalance librdkafka would name the generation before, and take the refusal for the
     * loss of its assignment. */
    if (lease->group.joined && !lease->committing && th_plan_is_assigned(lease->plan))
        commit(lease, now);
    lease->options.tick(lease->options.argument);
}

static th_time next_deadline(struct th_lease *lease, th_time now)
{
    th_time plan = th_plan_deadline(lease->plan, now);
    return plan != TH_TIME_NONE && plan < lease->tick_at ? plan : lease->tick_at;
}

/* Who joins takes partitions from others: not before they could be taken up. */
static void join_when_known(struct th_lease *lease)
{
    if (!lease->waits || !lease->options.known(lease->options.argument))
        return;
    lease->waits = false;
    th_group_join(&lease->group);
}

static void step(struct th_lease *lease)
{
    poll_all(lease);
    th_time now = th_monotonic();
    join_when_known(lease);
    if (th_group_mend(&lease->group, now))
        lease->committing = false;
    follow_plan(lease, now);
    if (now >= lease->tick_at)
        tick(lease, now);
}

static void *lease_main(void *argument)
{
    struct th_lease *lease = argument;
    pthread_setname_np(pthread_self(), "lease");
    lease->waits = !lease->options.stays_out;
    while (!atomic_load(&lease->leaving)) {
        th_queue_wait(&lease->wake, next_deadline(lease, th_monotonic()));
        step(lease);
    }
    th_plan_end(lease->plan);
    follow_plan(lease, th_monotonic());
    th_group_leave(&lease->group);
    return NULL;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void lease_free(struct th_lease *lease)
{
    th_group_close(&lease->group);
    th_plan_free(lease->plan);
    th_queue_deinit(&lease->wake);
    pthread_mutex_destroy(&lease->lock);
    free(lease->marks);
    free(lease);
}

static void init_group(struct th_lease *lease)
{
    static const struct th_kafka_property own[] = {{"queued.max.messages.kbytes", "64"},
                                                   {"queued.min.messages", "1"}};
    const struct th_group_options group = {
        .cluster = lease->options.cluster,
        .log = lease->options.log,
        .component = "lease",
        .hub = lease->options.hub,
        .suffix = "workers",
        .member = lease->options.name,
        .topic = TH_KAFKA_INSTANCES,
        .session_ms = lease->options.session_ms,
        .tells_session = true,
        .own = own,
        .own_count = TH_COUNT(own),
        .configure = configure,
        .wake = &lease->wake,
    };
    th_group_init(&lease->group, &group);
}

static struct th_lease *lease_new(const struct th_lease_options *options)
{
    const struct th_plan_options plan = {.partitions = options->partitions};
    struct th_lease *lease = TH_NEW(struct th_lease);
    lease->options = *options;
    lease->plan = th_plan_new(&plan);
    lease->marks = th_alloc((options->partitions + 1) * sizeof *lease->marks);
    for (uint32_t p = 0; p < options->partitions; p++)
        lease->marks[p] = (struct mark){.committed = -1, .seen = -1};
    lease->settled = options->stays_out;
    pthread_mutex_init(&lease->lock, NULL);
    th_queue_init(&lease->wake);
    init_group(lease);
    return lease;
}

struct th_lease *th_lease_open(const struct th_lease_options *options, struct th_error *error)
{
    struct th_lease *lease = lease_new(options);
    if (th_group_open(&lease->group, error)) {
        if (pthread_create(&lease->thread, NULL, lease_main, lease) == 0)
            return lease;
        th_fail(error, TH_INTERNAL, "the thread of leases cannot be started");
    }
    lease_free(lease);
    return NULL;
}

bool th_lease_leave(struct th_lease *lease, th_time deadline)
{
    if (!lease || lease->left)
        return true;
    const struct timespec until = th_timespec(deadline);
    atomic_store(&lease->leaving, true);
    th_queue_wake(&lease->wake);
    return lease->left = pthread_clockjoin_np(lease->thread, NULL, CLOCK_MONOTONIC, &until) == 0;
}

void th_lease_free(struct th_lease *lease)
{
    if (!lease)
        return;
    th_lease_leave(lease, INT64_MAX);
    lease_free(lease);
}
