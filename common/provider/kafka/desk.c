/*
 * desk: a thread for the calls of librdkafka that wait for a broker, and one that tells the node a
 * few times a second that time passes, as long as the node wants to know. Two, because a question
 * that waits for a dead broker must not keep a lease's deadline from being noticed.
 */
#include <stdlib.h>

#include "provider/kafka/internal.h"

#define TICK (200 * TH_MILLISECOND)

static struct th_kafka_job *job_of(struct th_link *link)
{
    return (struct th_kafka_job *)link; /* its first member */
}

/* ---- questions: on the desk's thread ---- */

/* A partition whose leader changes, or was made a moment ago, is refused for a while. */
static bool passes(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || /* a broker that is just up knows none */
           code == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR__TRANSPORT ||
           code == RD_KAFKA_RESP_ERR__TIMED_OUT;
}

/* In several short questions: between them it is noticed that the provider is to be closed. */
static bool find_spans(struct th_kafka *kafka, struct th_kafka_span *spans, size_t count,
                       struct th_error *error)
{
    th_time patience = th_kafka_patience(&kafka->options.cluster);
    th_time deadline = th_monotonic() + patience;
    rd_kafka_resp_err_t code;
    size_t failed;
    while (
        passes(code = th_kafka_client_spans(&kafka->logs, spans, count, patience / 4, &failed)) &&
        th_monotonic() < deadline && !atomic_load(&kafka->desk.stopping)) {
        for (size_t n = 0; n < count; n++) { /* a question as a whole fails by any of them */
            th_kafka_client_learn(&kafka->logs, spans[n].topic);
        }
        th_queue_wait(&kafka->desk.patience, th_monotonic() + 20 * TH_MILLISECOND);
    }
    /* A hub that was found has its partitions, whatever a broker that is just up knows of them. */
    enum th_code why =
        code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ? TH_UNAVAILABLE : th_kafka_code(code);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           th_fail(error, why, "the ends of topic %s, partition %u, at %s: %s", spans[failed].topic,
                   (unsigned)spans[failed].partition, kafka->options.cluster.brokers,
                   rd_kafka_err2str(code));
}

static struct th_kafka_span span_of(const struct th_kafka *kafka, enum th_kafka_topic topic,
                                    uint32_t partition, char name[static TH_KAFKA_TOPIC_NAME])
{
    th_kafka_topic_name(topic, kafka->hub.record.name, name);
    return (struct th_kafka_span){.topic = name, .partition = (int32_t)partition};
}

static void answer_state(struct th_kafka *kafka, struct th_kafka_item *item)
{
    struct th_completion *answer = TH_NEW(struct th_completion);
    struct th_error error;
    char names[2][TH_KAFKA_TOPIC_NAME];
    struct th_kafka_span spans[] = {
        span_of(kafka, TH_KAFKA_HISTORY, item->partition, names[0]),
        span_of(kafka, TH_KAFKA_INSTANCES, item->partition, names[1]),
    };
    item->answer = answer;
    answer->watermark = TH_WATERMARK_NONE;
    if (!find_spans(kafka, spans, TH_COUNT(spans), &error)) {
        th_kafka_item_fail(item, error.code, "%s", error.message);
        return;
    }
    answer->log_start = spans[0].start;
    answer->log_end = spans[0].end;
    answer->inbox_start = spans[1].start;
    answer->inbox_end = spans[1].end;
}

static void answer_ends(struct th_kafka *kafka, struct th_kafka_job *job)
{
    enum th_kafka_topic topic = job->stream->is_log ? TH_KAFKA_HISTORY : TH_KAFKA_INSTANCES;
    char name[TH_KAFKA_TOPIC_NAME];
    struct th_kafka_span span = span_of(kafka, topic, job->stream->partition, name);
    bool found = find_spans(kafka, &span, 1, &job->error);
    job->start = found ? span.start : -1;
    job->end = found ? span.end : -1;
    if (!found) {
        th_log(kafka->options.cluster.log, TH_LOG_WARN, "Kafka", "%s", job->error.message);
    }
}

static void answer(struct th_kafka *kafka, struct th_kafka_job *job)
{
    switch (job->kind) {
    case TH_KAFKA_JOB_STATE:
        answer_state(kafka, job->item);
        break;
    case TH_KAFKA_JOB_ENDS:
        answer_ends(kafka, job);
        break;
    case TH_KAFKA_JOB_OPEN:
        job->writer = th_kafka_writer_open(kafka, job->role, &job->error);
        break;
    case TH_KAFKA_JOB_CLOSE:
        th_kafka_writer_close(job->writer);
        job->writer = NULL;
        break;
    }
}

/* ---- the threads ---- */

static void *run_desk(void *argument)
{
    struct th_kafka_desk *desk = argument;
    while (!atomic_load(&desk->stopping)) {
        struct th_link *link = th_queue_wait(&desk->jobs, TH_TIME_NONE);
        while (link) {
            struct th_link *next = link->next;
            if (!atomic_load(&desk->stopping)) {
                answer(desk->kafka, job_of(link));
            }
            th_queue_push(&desk->answers, link);
            th_kafka_wake(desk->kafka);
            link = next;
        }
    }
    return NULL;
}

static void *run_clock(void *argument)
{
    struct th_kafka_desk *desk = argument;
    while (!atomic_load(&desk->stopping)) {
        th_queue_wait(&desk->pause, th_monotonic() + TICK);
        if (atomic_load(&desk->kafka->busy)) {
            atomic_store(&desk->kafka->tick, true);
            th_kafka_wake(desk->kafka);
        }
    }
    return NULL;
}

bool th_kafka_desk_start(struct th_kafka_desk *desk, struct th_kafka *kafka, struct th_error *error)
{
    desk->kafka = kafka;
    th_queue_init(&desk->jobs);
    th_queue_init(&desk->answers);
    th_queue_init(&desk->pause);
    th_queue_init(&desk->patience);
    desk->started = pthread_create(&desk->thread, NULL, run_desk, desk) == 0;
    desk->ticking = desk->started && pthread_create(&desk->clock, NULL, run_clock, desk) == 0;
    return desk->ticking || th_fail(error, TH_UNAVAILABLE, "no thread can be started");
}

static void drop_all(struct th_queue *queue)
{
    struct th_link *link = th_queue_take(queue);
    while (link) {
        struct th_kafka_job *job = job_of(link);
        link = link->next;
        if (job->item) {
            th_kafka_item_free(job->item);
        }
        if (job->writer) {
            th_kafka_writer_close(job->writer);
        }
        free(job);
    }
    th_queue_deinit(queue);
}

void th_kafka_desk_stop(struct th_kafka_desk *desk)
{
    atomic_store(&desk->stopping, true);
    if (desk->started) {
        th_queue_wake(&desk->jobs);
        th_queue_wake(&desk->patience);
        pthread_join(desk->thread, NULL);
    }
    if (desk->ticking) {
        th_queue_wake(&desk->pause);
        pthread_join(desk->clock, NULL);
    }
    if (desk->kafka) {
        drop_all(&desk->jobs);
        drop_all(&desk->answers);
        th_queue_deinit(&desk->pause);
        th_queue_deinit(&desk->patience);
    }
}

/* ---- the node's thread ---- */

void th_kafka_desk_ask(struct th_kafka_desk *desk, const struct th_kafka_job *job)
{
    struct th_kafka_job *copy = th_memdup(job, sizeof(*job));
    th_queue_push(&desk->jobs, &copy->link);
}

static void take_answer(struct th_kafka *kafka, const struct th_kafka_job *job)
{
    switch (job->kind) {
    case TH_KAFKA_JOB_STATE:
        th_kafka_items_add(&kafka->done, job->item);
        break;
    case TH_KAFKA_JOB_ENDS:
        th_kafka_stream_ends(job->stream, job->opening, job->start, job->end);
        break;
    case TH_KAFKA_JOB_OPEN:
        if (job->writer) {
            th_kafka_slot_fill(kafka, job->writer);
        } else {
            th_log(kafka->options.cluster.log, TH_LOG_ERROR, "Kafka", "%s", job->error.message);
            kafka->slots[job->role].missing = true;
        }
        break;
    case TH_KAFKA_JOB_CLOSE:
        break;
    }
}

void th_kafka_desk_poll(struct th_kafka_desk *desk)
{
    struct th_link *link = th_queue_take(&desk->answers);
    while (link) {
        struct th_kafka_job *job = job_of(link);
        link = link->next;
        take_answer(desk->kafka, job);
        free(job);
    }
}
