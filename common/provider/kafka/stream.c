/*
 * stream: an open place in a partition, for reads of logs and deliveries of inboxes. Each opening
 * has a queue of its own, so that nothing of an earlier one can be taken for it.
 *
 * librdkafka fetches ahead until a queue holds queued.max.messages.kbytes. Then its thread looks
 * again only after a second (rd_kafka_max_block_ms; fetch.queue.backoff.ms came with 2.2.0), even
 * if the queue was emptied at once. A stream that finds its queue empty after as much as a full one
 * has been taken therefore starts fetching again where it stands, which takes a round trip.
 *
 * A place below the partition's start, or behind its end, is refused by the broker
 * (auto.offset.reset=error); the desk then asks where start and end are. Below the start means that
 * the place was trimmed: the stream goes on at the start.
 */
#include "provider/kafka/internal.h"

void th_kafka_stream_init(struct th_kafka_stream *stream, struct th_kafka *kafka, bool is_log,
                          uint32_t partition)
{
    *stream = (struct th_kafka_stream){
        .kafka = kafka,
        .is_log = is_log,
        .partition = partition,
        .client = is_log ? &kafka->logs : &kafka->inboxes,
        .topic = is_log ? kafka->log_topic : kafka->inbox_topic,
    };
}

/* ---- readiness ---- */

/* On any thread: a stream is in the queue of those that are ready at most once. */
void th_kafka_stream_wake(struct th_kafka_stream *stream)
{
    if (!atomic_exchange(&stream->ready, true)) {
        th_queue_push(&stream->kafka->ready, &stream->link);
        th_kafka_wake(stream->kafka);
    }
}

static void on_event(rd_kafka_t *rk, void *opaque)
{
    th_kafka_stream_wake(opaque);
}

/* ---- opening and closing ---- */

void th_kafka_stream_open(struct th_kafka_stream *stream, int64_t from)
{
    th_kafka_stream_close(stream);
    stream->next = from > 0 ? from : 0;
    stream->queue = rd_kafka_queue_new(stream->client->rk);
    rd_kafka_queue_cb_event_enable(stream->queue, on_event, stream);
    rd_kafka_consume_start_queue(stream->topic, (int32_t)stream->partition, stream->next,
                                 stream->queue);
}

void th_kafka_stream_close(struct th_kafka_stream *stream)
{
    stream->opening++;
    stream->asking = stream->ahead = false;
    stream->taken = 0;
    if (stream->queue) {
        /* Waits for a thread of librdkafka's, but for no broker: 0.03 ms, 0.3 ms one in a hundred.
         */
        rd_kafka_consume_stop(stream->topic, (int32_t)stream->partition);
        rd_kafka_queue_cb_event_enable(stream->queue, NULL, NULL);
        rd_kafka_queue_destroy(stream->queue);
        stream->queue = NULL;
    }
}

/* ---- taking ---- */

static void ask_ends(struct th_kafka_stream *stream)
{
    struct th_kafka_job job = {
        .kind = TH_KAFKA_JOB_ENDS, .stream = stream, .opening = stream->opening};
    stream->asking = true;
    th_kafka_desk_ask(&stream->kafka->desk, &job);
}

void th_kafka_stream_ends(struct th_kafka_stream *stream, unsigned opening, int64_t start,
                          int64_t end)
{
    if (opening != stream->opening || !stream->asking) {
        return;
    }
    stream->ahead = end >= 0 && stream->next > end;
    if (!stream->ahead) { /* also when nobody answered: the broker refuses again, or is back */
        th_kafka_stream_open(stream, stream->next < start ? start : stream->next);
    }
    th_kafka_stream_wake(stream);
}

static bool full_one_taken(const struct th_kafka_stream *stream)
{
    return stream->taken >= (stream->is_log ? TH_KAFKA_LOG_AHEAD : TH_KAFKA_INBOX_AHEAD);
}

static enum th_kafka_found nothing(struct th_kafka_stream *stream)
{
    if (full_one_taken(stream)) {
        th_kafka_stream_open(stream, stream->next);
    }
    stream->taken = 0;
    return TH_KAFKA_NOTHING;
}

static enum th_kafka_found refused(struct th_kafka_stream *stream,
                                   const rd_kafka_message_t *message, struct th_error *error)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        stream->next = message->offset > stream->next ? message->offset : stream->next;
        return TH_KAFKA_END;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        ask_ends(stream);
        return TH_KAFKA_NOTHING;
    default:
        th_fail(error, th_kafka_code(message->err), "%s %u cannot be read at %lld: %s",
                stream->is_log ? "log" : "inbox", (unsigned)stream->partition,
                (long long)stream->next, rd_kafka_message_errstr(message));
        return TH_KAFKA_BROKEN;
    }
}

enum th_kafka_found th_kafka_stream_next(struct th_kafka_stream *stream, rd_kafka_message_t **out,
                                         struct th_error *error)
{
    if (!stream->queue || stream->ahead) {
        return stream->ahead ? TH_KAFKA_AHEAD : TH_KAFKA_NOTHING;
    }
    rd_kafka_message_t *message = rd_kafka_consume_queue(stream->queue, 0);
    if (!message) {
        return nothing(stream);
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        enum th_kafka_found found = refused(stream, message, error);
        rd_kafka_message_destroy(message);
        return found;
    }
    stream->next = message->offset + 1;
    stream->taken += message->len;
    *out = message;
    return TH_KAFKA_MESSAGE;
}
