/*
 * group: the consumer groups of a hub, each named as the topic it reads. They are the leases of the
 * workers; here they are only deleted, together with what they have committed: a hub that is made
 * again begins its topics at 0.
 */
#include "provider/kafka/internal.h"

/* The broker that keeps a group is about to, or has just stopped being the one: ask again. The
 * first question about any group makes a cluster create the topic that groups are kept in. */
static bool passes(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
}

static rd_kafka_resp_err_t error_of(const rd_kafka_group_result_t *result)
{
    const rd_kafka_error_t *failed = rd_kafka_group_result_error(result);
    return failed ? rd_kafka_error_code(failed) : RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool look_at(const rd_kafka_group_result_t *result, const char *hub, bool *again,
                    struct th_error *error)
{
    rd_kafka_resp_err_t code = error_of(result);
    *again = passes(code);
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
        return true;
    case RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP:
        return th_fail(error, TH_UNAVAILABLE,
                       "workers serve hub %s (consumer group %s has members): stop them first", hub,
                       rd_kafka_group_result_name(result));
    default:
        return th_fail(error, th_kafka_code(code), "consumer group %s cannot be deleted: %s",
                       rd_kafka_group_result_name(result), rd_kafka_err2str(code));
    }
}

static bool look_at_all(rd_kafka_event_t *event, const char *hub, bool *again,
                        struct th_error *error)
{
    size_t count;
    const rd_kafka_group_result_t **results =
        rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
    *again = false;
    for (size_t i = 0; i < count; i++) {
        if (!look_at(results[i], hub, again, error)) {
            return false;
        }
    }
    return true;
}

static rd_kafka_event_t *await(struct th_kafka_talk *talk, rd_kafka_resp_err_t *code)
{
    int wait = 2 * th_kafka_milliseconds(th_kafka_patience(talk->client.cluster));
    rd_kafka_event_t *event = rd_kafka_queue_poll(talk->queue, wait);
    *code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (event && *code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_destroy(event);
        event = NULL;
    }
    return event;
}

static void request(struct th_kafka_talk *talk, const char *hub)
{
    static const enum th_kafka_topic read_by_groups[] = {TH_KAFKA_INSTANCES, TH_KAFKA_ACTIVITIES};
    rd_kafka_DeleteGroup_t *doomed[TH_COUNT(read_by_groups)];
    for (size_t i = 0; i < TH_COUNT(read_by_groups); i++) {
        char name[TH_KAFKA_TOPIC_NAME];
        th_kafka_topic_name(read_by_groups[i], hub, name);
        doomed[i] = rd_kafka_DeleteGroup_new(name);
    }
    rd_kafka_DeleteGroups(talk->client.rk, doomed, TH_COUNT(doomed), NULL, talk->queue);
    rd_kafka_DeleteGroup_destroy_array(doomed, TH_COUNT(doomed));
}

static bool delete_once(struct th_kafka_talk *talk, const char *hub, bool *again,
                        struct th_error *error)
{
    rd_kafka_resp_err_t code;
    request(talk, hub);
    rd_kafka_event_t *event = await(talk, &code);
    *again = passes(code);
    if (!event) {
        return *again ? th_fail(error, TH_UNAVAILABLE, "the consumer groups of hub %s at %s: %s",
                                hub, talk->client.cluster->brokers, rd_kafka_err2str(code))
                      : th_kafka_client_silent(&talk->client, error);
    }
    bool done = look_at_all(event, hub, again, error);
    rd_kafka_event_destroy(event);
    return done;
}

bool th_kafka_groups_delete(struct th_kafka_talk *talk, const char *hub, struct th_error *error)
{
    th_time deadline = th_monotonic() + th_kafka_patience(talk->client.cluster);
    bool again = true;
    bool done;
    while (!(done = delete_once(talk, hub, &again, error)) && again && th_monotonic() < deadline) {
        rd_kafka_poll(talk->client.rk, 20);
    }
    return done;
}
