#include "worker/group.h"

#include <stdio.h>

#include "base/memory.h"

#define SESSION_MS 1000
/* What a broker accepts that nobody has configured (group.min.session.timeout.ms). */
#define STOCK_SESSION_MS 6000
#define OPEN_AGAIN       (2 * TH_SECOND)
#define MOST_OWN         8 /* properties of one member */

/* ---- opening and joining --------------------------------------------------------------------- */

void th_group_init(struct th_group *group, const struct th_group_options *options)
{
    *group = (struct th_group){.options = *options, .open_at = TH_TIME_NONE};
    group->session_ms = options->session_ms ? options->session_ms : SESSION_MS;
    snprintf(group->name, sizeof group->name, "%s.%s", options->hub, options->suffix);
    th_kafka_topic_name(options->topic, options->hub, group->topic);
}

bool th_group_open(struct th_group *group, struct th_error *error)
{
    const struct th_group_options *o = &group->options;
    char session[24];
    char heartbeat[24];
    snprintf(session, sizeof session, "%lld", (long long)group->session_ms);
    snprintf(heartbeat, sizeof heartbeat, "%lld", (long long)group->session_ms / 10);
    const struct th_kafka_property common[] = {
        {"group.id", group->name},
        {"client.id", o->member},
        {"partition.assignment.strategy", "range"},
        {"session.timeout.ms", session},
        {"heartbeat.interval.ms", heartbeat},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"allow.auto.create.topics", "false"},
    };
    struct th_kafka_property all[TH_COUNT(common) + MOST_OWN];
    size_t own = o->own_count < MOST_OWN ? o->own_count : MOST_OWN;
    memcpy(all, common, sizeof common);
    memcpy(&all[TH_COUNT(common)], o->own, own * sizeof *all);
    group->client.configure = o->configure;
    return th_kafka_client_open(&group->client, RD_KAFKA_CONSUMER, o->cluster, all,
                                TH_COUNT(common) + own, error);
}

static void on_event(rd_kafka_t *rk, void *wake)
{
    th_queue_wake(wake);
}

void th_group_join(struct th_group *group)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_poll_set_consumer(group->client.rk);
    group->queue = rd_kafka_queue_get_consumer(group->client.rk);
    rd_kafka_queue_cb_event_enable(group->queue, on_event, group->options.wake);
    rd_kafka_topic_partition_list_add(topics, group->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(group->client.rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    group->joined = true;
    th_queue_wake(group->options.wake);
}

/* ---- leaving --------------------------------------------------------------------------------- */

void th_group_leave(struct th_group *group)
{
    if (!group->joined)
        return;
    group->joined = false;
    rd_kafka_queue_cb_event_enable(group->queue, NULL, NULL);
    rd_kafka_queue_destroy(group->queue);
    th_kafka_client_leave(&group->client);
    group->client.fatal = group->client.ready = false;
}

void th_group_close(struct th_group *group)
{
    th_kafka_client_close(&group->client);
}

/* ---- trouble --------------------------------------------------------------------------------- */

static void use_stock_session(struct th_group *group)
{
    if (group->options.tells_session)
        th_log(group->options.log, TH_LOG_WARN, group->options.component,
               "the brokers at %s refuse a session of %lld ms; %d ms are used, and the partitions "
               "of a worker that dies rest so long (group.min.session.timeout.ms is the brokers' "
               "limit)",
               group->options.cluster->brokers, (long long)group->session_ms, STOCK_SESSION_MS);
    group->session_ms = STOCK_SESSION_MS;
    group->refused = true;
}

bool th_group_error(struct th_group *group, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT &&
        group->session_ms < STOCK_SESSION_MS) {
        use_stock_session(group);
        return false;
    }
    if (message->err != group->told)
        th_log(group->options.log, TH_LOG_WARN, group->options.component, "the group %s: %s",
               group->name, rd_kafka_message_errstr(message));
    group->told = message->err;
    return true;
}

void th_group_well(struct th_group *group)
{
    group->told = RD_KAFKA_RESP_ERR_NO_ERROR;
}

bool th_group_mend(struct th_group *group, th_time now)
{
    struct th_error error = {.code = TH_OK};
    if (!group->refused && (group->open_at == TH_TIME_NONE || now < group->open_at))
        return false;
    group->refused = false;
    th_group_leave(group);
    if (th_group_open(group, &error)) {
        group->open_at = TH_TIME_NONE;
        th_group_join(group);
        return true;
    }
    th_log(group->options.log, TH_LOG_ERROR, group->options.component, "%s", error.message);
    group->open_at = now + OPEN_AGAIN;
    return true;
}
