/*
 * inbox: deliveries go from librdkafka's queue to the node without a list between: while the node
 * does not poll, no more waits than is fetched ahead (queued.max.messages.kbytes), and what is
 * closed delivers nothing.
 */
#include "provider/kafka/internal.h"

void th_kafka_inbox_open(struct th_kafka_inbox *inbox, int64_t from)
{
    th_kafka_stream_open(&inbox->stream, from);
}

void th_kafka_inbox_close(struct th_kafka_inbox *inbox)
{
    th_kafka_stream_close(&inbox->stream);
}

static void deliver(const struct th_kafka_inbox *inbox, const rd_kafka_message_t *message,
                    struct th_completion *out)
{
    *out = (struct th_completion){
        .kind = TH_DONE_DELIVER,
        .partition = inbox->stream.partition,
        .offset = message->offset,
        .blob = th_blob_new(message->payload, message->len),
    };
}

static void stop(struct th_kafka_inbox *inbox, enum th_code code, const char *why,
                 struct th_completion *out)
{
    *out = th_completion_failed(TH_DONE_DELIVER, inbox->stream.partition, 0, code, "%s", why);
    out->offset = inbox->stream.next;
    th_kafka_stream_close(&inbox->stream);
}

/* What librdkafka goes on to retry is worth a line, no more. */
static size_t trouble(struct th_kafka_inbox *inbox, const struct th_error *error,
                      struct th_completion *out)
{
    if (error->code != TH_UNAVAILABLE) {
        stop(inbox, error->code, error->message, out);
        return 1;
    }
    th_log(inbox->stream.client->cluster->log, TH_LOG_WARN, "Kafka", "%s", error->message);
    return 0;
}

static size_t lost(struct th_kafka_inbox *inbox, struct th_completion *out)
{
    TH_BUFFER why = {0};
    th_buffer_format(&why,
                     "inbox %u ends before offset %lld, up to which messages were taken: it has "
                     "lost some",
                     (unsigned)inbox->stream.partition, (long long)inbox->stream.next);
    th_buffer_add(&why, "", 1);
    stop(inbox, TH_CORRUPT, why.data, out);
    return 1;
}

size_t th_kafka_inbox_serve(struct th_kafka_inbox *inbox, struct th_completion *out, size_t max)
{
    size_t count = 0;
    while (count < max) {
        struct th_error error;
        rd_kafka_message_t *message;
        switch (th_kafka_stream_next(&inbox->stream, &message, &error)) {
        case TH_KAFKA_MESSAGE:
            deliver(inbox, message, &out[count++]);
            rd_kafka_message_destroy(message);
            break;
        case TH_KAFKA_AHEAD:
            count += lost(inbox, &out[count]);
            break;
        case TH_KAFKA_BROKEN:
            count += trouble(inbox, &error, &out[count]);
            break;
        case TH_KAFKA_END:
            break; /* not asked for */
        case TH_KAFKA_NOTHING:
            return count;
        }
    }
    return count;
}
