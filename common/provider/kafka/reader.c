/*
 * reader: reads of one log, one after the other. The stream stays open from one page to the next,
 * so that a long log is fetched ahead while the node folds; it is closed at the end, and when
 * nobody has asked for a while, because at its end an open one asks the broker again and again.
 *
 * The end must not be older than the question: a stream that was opened for an earlier page may
 * have reached the end before records were appended that this read must find. So an end counts only
 * if the stream was opened for this read; otherwise it is opened again where it stands.
 */
#include <stdlib.h>

#include "provider/kafka/internal.h"

/* A page; what librdkafka has fetched ahead comes at once. */
enum { PAGE_RECORDS = 1024, PAGE_BYTES = 1 << 20 };
#define IDLE TH_SECOND

static struct th_kafka_item *take_first(struct th_kafka_reader *reader)
{
    struct th_kafka_item *item = reader->first;
    reader->first = item->next_in_lane;
    if (!reader->first) {
        reader->last = &reader->first;
    }
    reader->begun = false;
    return item;
}

static void finish(struct th_kafka_reader *reader, int64_t go_on, bool last)
{
    struct th_kafka_item *item = take_first(reader);
    item->answer = TH_NEW(struct th_completion);
    item->answer->records = reader->records;
    item->answer->record_count = reader->count;
    item->answer->offset = go_on;
    item->answer->last = last;
    reader->records = NULL;
    reader->count = reader->capacity = reader->bytes = 0;
    if (last) {
        th_kafka_stream_close(&reader->stream);
    }
    th_kafka_items_add(&reader->stream.kafka->done, item);
}

static void drop_page(struct th_kafka_reader *reader)
{
    for (size_t i = 0; i < reader->count; i++) {
        th_blob_unref(reader->records[i].bytes);
    }
    free(reader->records);
    reader->records = NULL;
    reader->count = reader->capacity = reader->bytes = 0;
}

static void fail(struct th_kafka_reader *reader, enum th_code code, const char *why)
{
    struct th_kafka_item *item = take_first(reader);
    th_kafka_item_fail(item, code, "%s", why);
    drop_page(reader);
    th_kafka_stream_close(&reader->stream);
    th_kafka_items_add(&reader->stream.kafka->done, item);
}

static void begin(struct th_kafka_reader *reader)
{
    const struct th_kafka_item *item = reader->first;
    reader->begun = true;
    reader->moved = th_monotonic();
    reader->fresh = !reader->stream.queue || reader->stream.next != item->from;
    if (reader->fresh) {
        th_kafka_stream_open(&reader->stream, item->from);
    }
}

static void add(struct th_kafka_reader *reader, const rd_kafka_message_t *message)
{
    reader->records =
        th_grow(reader->records, &reader->capacity, reader->count + 1, sizeof(*reader->records));
    reader->records[reader->count++] =
        (struct th_log_record){message->offset, th_blob_new(message->payload, message->len)};
    reader->bytes += message->len;
}

/* True when that ends the page. */
static bool take(struct th_kafka_reader *reader, const rd_kafka_message_t *message)
{
    int64_t to = reader->first->to;
    reader->moved = th_monotonic();
    if (message->offset < to) {
        add(reader, message);
    }
    if (message->offset + 1 >= to) {
        finish(reader, to, true);
        return true;
    }
    if (reader->count >= PAGE_RECORDS || reader->bytes >= PAGE_BYTES) {
        finish(reader, reader->stream.next, false);
        return true;
    }
    return false;
}

static bool at_end(struct th_kafka_reader *reader)
{
    if (reader->fresh) {
        finish(reader, reader->stream.next, true);
        return true;
    }
    reader->fresh = true;
    th_kafka_stream_open(&reader->stream, reader->stream.next);
    return false;
}

/* Nothing more now: what there is goes out, and the node folds while more is fetched. */
static bool pause_page(struct th_kafka_reader *reader)
{
    if (reader->count == 0) {
        return false;
    }
    finish(reader, reader->stream.next, false);
    return true;
}

/* False when the first read has to wait. */
static bool serve_first(struct th_kafka_reader *reader)
{
    for (;;) {
        struct th_error error;
        rd_kafka_message_t *message;
        bool over = false;
        switch (th_kafka_stream_next(&reader->stream, &message, &error)) {
        case TH_KAFKA_MESSAGE:
            over = take(reader, message);
            rd_kafka_message_destroy(message);
            break;
        case TH_KAFKA_END:
            over = at_end(reader);
            break;
        case TH_KAFKA_AHEAD:
            finish(reader, reader->stream.next, true);
            return true;
        case TH_KAFKA_BROKEN:
            fail(reader, error.code, error.message);
            return true;
        case TH_KAFKA_NOTHING:
            return pause_page(reader);
        }
        if (over) {
            return true;
        }
    }
}

void th_kafka_reader_serve(struct th_kafka_reader *reader)
{
    bool going = true;
    while (going && reader->first) {
        if (reader->first->from >= reader->first->to) {
            finish(reader, reader->first->from, true);
        } else {
            if (!reader->begun) {
                begin(reader);
            }
            going = serve_first(reader);
        }
    }
}

void th_kafka_reader_submit(struct th_kafka_reader *reader, struct th_kafka_item *item)
{
    item->next_in_lane = NULL;
    *reader->last = item;
    reader->last = &item->next_in_lane;
    th_kafka_want_tick(reader->stream.kafka);
    th_kafka_reader_serve(reader);
}

bool th_kafka_reader_tick(struct th_kafka_reader *reader, th_time now)
{
    if (reader->first && now - reader->moved > reader->stream.kafka->options.append_deadline) {
        struct th_error error;
        th_kafka_client_silent(reader->stream.client, &error);
        fail(reader, error.code, error.message);
        th_kafka_reader_serve(reader);
    } else if (!reader->first && reader->stream.queue && now - reader->moved > IDLE) {
        th_kafka_stream_close(&reader->stream);
    }
    return reader->first || reader->stream.queue;
}

void th_kafka_reader_deinit(struct th_kafka_reader *reader)
{
    th_kafka_stream_close(&reader->stream);
    drop_page(reader);
    while (reader->first) {
        th_kafka_item_free(take_first(reader));
    }
}
