/*
 * client: one instance of librdkafka. Its log lines go to the program's log from librdkafka's own
 * threads; its errors are remembered where the instance is polled, because a call that times out
 * says only that it did, and the error before says why.
 *
 * librdkafka may never come back from destroying an instance that has read a topic which was
 * deleted: a thread of its waits for a partition that nobody gives up. So a thread of ours destroys
 * it, for which nobody waits longer than the patience; what is called back on librdkafka's threads
 * outlives the client.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "provider/kafka/internal.h"

enum th_code th_kafka_code(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return TH_OK;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return TH_TOO_LARGE;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return TH_NOT_FOUND;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
        return TH_CORRUPT;
    default:
        return TH_UNAVAILABLE;
    }
}

th_time th_kafka_patience(const struct th_kafka_cluster *cluster)
{
    return cluster->patience > 0 ? cluster->patience : 10 * TH_SECOND;
}

/* ---- callbacks ---- */

/* librdkafka's opaque: its own, because lines may come after the client is gone. */
struct th_kafka_voice {
    struct th_kafka_client *client;
    const struct th_log *log;
};

struct th_kafka_client *th_kafka_client_of(void *opaque)
{
    return ((struct th_kafka_voice *)opaque)->client;
}

/* Its levels are those of syslog(3). What it calls an error it goes on to retry. CONFWARN tells
 * that a property is another kind of instance's, or experimental, each time an instance is made. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *line)
{
    const struct th_kafka_voice *voice = rd_kafka_opaque(rk);
    enum th_level to = level <= 2   ? TH_LOG_ERROR
                       : level <= 4 ? TH_LOG_WARN
                       : level <= 6 ? TH_LOG_INFO
                                    : TH_LOG_DEBUG;
    if (strcmp(facility, "CONFWARN") == 0) {
        to = TH_LOG_DEBUG;
    }
    if (voice) {
        th_log(voice->log, to, "Kafka", "%s", line);
    }
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct th_kafka_client *client = th_kafka_client_of(opaque);
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_fatal_error(rk, client->trouble, sizeof(client->trouble));
        client->fatal = true;
    } else if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && !client->fatal) {
        snprintf(client->trouble, sizeof(client->trouble), "%s", reason);
    }
}

/* ---- opening ---- */

static rd_kafka_conf_t *conf_of(struct th_kafka_client *client, const struct th_kafka_property *own,
                                size_t own_count, struct th_error *error)
{
    const struct th_kafka_cluster *cluster = client->cluster;
    const struct th_kafka_property base[] = {
        {"bootstrap.servers", cluster->brokers}, {"client.id", "taskhub"},
        {"socket.nagle.disable", "true"},        {"log.connection.close", "true"},
        {"reconnect.backoff.max.ms", "1000"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, client->voice);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (client->configure) {
        client->configure(client, conf);
    }
    if (th_kafka_refuse(cluster, error) && th_kafka_apply(conf, base, TH_COUNT(base), error) &&
        th_kafka_apply(conf, own, own_count, error) &&
        th_kafka_apply(conf, cluster->properties, cluster->property_count, error)) {
        return conf;
    }
    rd_kafka_conf_destroy(conf);
    return NULL;
}

static rd_kafka_t *make(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct th_error *error)
{
    char reason[256];
    rd_kafka_t *rk = conf ? rd_kafka_new(type, conf, reason, sizeof(reason)) : NULL;
    if (conf && !rk) {
        rd_kafka_conf_destroy(conf);
        th_fail(error, TH_INVALID, "the Kafka client cannot be made: %s", reason);
    }
    return rk;
}

bool th_kafka_client_open(struct th_kafka_client *client, rd_kafka_type_t type,
                          const struct th_kafka_cluster *cluster,
                          const struct th_kafka_property *own, size_t own_count,
                          struct th_error *error)
{
    client->cluster = cluster;
    if (!cluster->brokers || !*cluster->brokers) {
        return th_fail(error, TH_INVALID, "no Kafka brokers are given");
    }
    client->voice = TH_NEW(struct th_kafka_voice);
    *client->voice = (struct th_kafka_voice){.client = client, .log = cluster->log};
    client->rk = make(type, conf_of(client, own, own_count, error), error);
    if (!client->rk) {
        free(client->voice);
        return false;
    }
    client->main = rd_kafka_queue_get_main(client->rk);
    return true;
}

/* ---- closing ---- */

#define CLOSE_PATIENCE (5 * TH_SECOND)
/* For the others once one did not close: what keeps it may keep them, and the process is to end. */
#define CLOSE_PATIENCE_LATER (1 * TH_SECOND)

/* Both the closing thread and the one that waits for it hold it. */
struct closing {
    rd_kafka_t *rk;
    struct th_kafka_voice *voice;
    sem_t done;
    atomic_int holders;
};

static void let_go(struct closing *closing)
{
    if (atomic_fetch_sub(&closing->holders, 1) == 1) {
        sem_destroy(&closing->done);
        free(closing);
    }
}

static void *destroy(void *argument)
{
    struct closing *closing = argument;
    rd_kafka_destroy(closing->rk);
    free(closing->voice);
    sem_post(&closing->done);
    let_go(closing);
    return NULL;
}

static bool wait_for(sem_t *done, th_time patience)
{
    th_time until = th_monotonic() + patience;
    const struct timespec deadline = {.tv_sec = until / TH_SECOND,
                                      .tv_nsec = until % TH_SECOND * (1000000000 / TH_SECOND)};
    int result;
    while ((result = sem_clockwait(done, CLOCK_MONOTONIC, &deadline)) != 0 && errno == EINTR) {
    }
    return result == 0;
}

/* False: it goes on, perhaps for ever. */
static bool destroy_within(rd_kafka_t *rk, struct th_kafka_voice *voice, th_time patience)
{
    pthread_t thread;
    struct closing *closing = TH_NEW(struct closing);
    closing->rk = rk;
    closing->voice = voice;
    atomic_init(&closing->holders, 2);
    sem_init(&closing->done, 0, 0);
    if (pthread_create(&thread, NULL, destroy, closing) == 0) {
        pthread_detach(thread);
    } else {
        destroy(closing);
    }
    bool done = wait_for(&closing->done, patience);
    let_go(closing);
    return done;
}

bool th_kafka_client_close(struct th_kafka_client *client)
{
    static atomic_bool stuck;
    if (!client->rk) {
        return true;
    }
    rd_kafka_queue_cb_event_enable(client->main, NULL, NULL);
    rd_kafka_queue_destroy(client->main);
    bool closed = destroy_within(client->rk, client->voice,
                                 atomic_load(&stuck) ? CLOSE_PATIENCE_LATER : CLOSE_PATIENCE);
    if (!closed) {
        atomic_store(&stuck, true);
        th_log(client->cluster->log, TH_LOG_WARN, "Kafka",
               "a client of the brokers at %s does not close: it is left to itself",
               client->cluster->brokers);
    }
    client->rk = NULL;
    client->voice = NULL;
    return closed;
}

#define LEAVE_PATIENCE (10 * TH_SECOND)

static bool leave_group(struct th_kafka_client *client)
{
    th_time deadline = th_monotonic() + LEAVE_PATIENCE;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client->rk);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(client->rk, queue);
    bool closed = error != NULL; /* there is nothing to wait for */
    while (!closed && th_monotonic() < deadline) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 50);
        if (message) {
            rd_kafka_message_destroy(message);
        }
        closed = rd_kafka_consumer_closed(client->rk);
    }
    if (error) {
        rd_kafka_error_destroy(error);
    }
    if (closed) {
        rd_kafka_queue_destroy(queue);
    }
    return closed;
}

void th_kafka_client_leave(struct th_kafka_client *client)
{
    if (leave_group(client)) {
        th_kafka_client_close(client);
        return;
    }
    th_log(client->cluster->log, TH_LOG_WARN, "Kafka",
           "no broker at %s takes note that a consumer leaves: it is left to itself",
           client->cluster->brokers);
    rd_kafka_queue_cb_event_enable(client->main, NULL, NULL);
    client->rk = NULL;
    client->voice = NULL;
}

/* ---- its queue ---- */

static void on_event(rd_kafka_t *rk, void *opaque)
{
    struct th_kafka_client *client = opaque;
    atomic_store(&client->ready, true);
    client->wake(client->wake_argument);
}

void th_kafka_client_listen(struct th_kafka_client *client, void (*wake)(void *), void *argument)
{
    client->wake = wake;
    client->wake_argument = argument;
    atomic_store(&client->ready, true); /* what came before is told by nobody */
    rd_kafka_queue_cb_event_enable(client->main, on_event, client);
}

void th_kafka_client_poll(struct th_kafka_client *client)
{
    if (atomic_load_explicit(&client->ready, memory_order_relaxed) &&
        atomic_exchange(&client->ready, false)) {
        rd_kafka_poll(client->rk, 0); /* all there is */
    }
}

/* ---- questions ---- */

/* Below 2.6.1 librdkafka sends its nonce twice, which Kafka 4 takes for a wrong password
 * (github.com/confluentinc/librdkafka/pull/4895). */
static const char *scram_hint(const struct th_kafka_client *client)
{
    enum { MENDED = 0x020601ff };
    if (rd_kafka_version() >= MENDED || !strstr(client->trouble, "SASL mechanism SCRAM")) {
        return "";
    }
    return " (right credentials look so, too, if these brokers are Kafka 4: SCRAM with them takes "
           "librdkafka 2.6.1 or later, not this one)";
}

bool th_kafka_client_silent(struct th_kafka_client *client, struct th_error *error)
{
    rd_kafka_poll(client->rk, 0);
    return th_fail(error, TH_UNAVAILABLE, "no broker answers at %s%s%s%s", client->cluster->brokers,
                   *client->trouble ? ": " : "", client->trouble, scram_hint(client));
}

/* `which` is a time that ListOffsets takes for a place: survey.c. */
static rd_kafka_resp_err_t find_places(struct th_kafka_client *client, struct th_kafka_span *spans,
                                       size_t count, int64_t which, int wait, size_t *failed)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t n = 0; n < count; n++) {
        rd_kafka_topic_partition_list_add(list, spans[n].topic, spans[n].partition)->offset = which;
    }
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(client->rk, list, wait);
    *failed = 0;
    for (size_t n = 0; n < count && code == RD_KAFKA_RESP_ERR_NO_ERROR; n++) {
        const rd_kafka_topic_partition_t *found =
            rd_kafka_topic_partition_list_find(list, spans[n].topic, spans[n].partition);
        code = found->err;
        *failed = n;
        *(which == RD_KAFKA_OFFSET_END ? &spans[n].end : &spans[n].start) = found->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

/* Not by rd_kafka_query_watermark_offsets: that waits for a broker which does not answer as long as
 * it takes, whatever its time-out is. */
rd_kafka_resp_err_t th_kafka_client_spans(struct th_kafka_client *client,
                                          struct th_kafka_span *spans, size_t count,
                                          th_time patience, size_t *failed)
{
    int wait = th_kafka_milliseconds(patience);
    rd_kafka_resp_err_t code =
        find_places(client, spans, count, RD_KAFKA_OFFSET_BEGINNING, wait, failed);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? find_places(client, spans, count, RD_KAFKA_OFFSET_END, wait, failed)
               : code;
}

void th_kafka_client_learn(struct th_kafka_client *client, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client->rk, topic, NULL);
    if (rd_kafka_metadata(client->rk, 0, handle, &metadata, 1000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
}

rd_kafka_event_t *th_kafka_client_await(struct th_kafka_client *client, rd_kafka_queue_t *queue,
                                        struct th_error *error)
{
    /* The request has a time-out of its own, the patience; this one is for the case that not even
     * its failure is reported. */
    int wait = 2 * th_kafka_milliseconds(th_kafka_patience(client->cluster));
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, wait);
    rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return event;
    }
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT) {
        th_kafka_client_silent(client, error);
    } else {
        th_fail(error, th_kafka_code(code), "the brokers at %s refuse: %s",
                client->cluster->brokers, rd_kafka_event_error_string(event));
    }
    if (event) {
        rd_kafka_event_destroy(event);
    }
    return NULL;
}
