/* Any bytes as what Redis answers: to a function, with instances in it, or a watermark. */
#include "tests/fuzz/fuzz.h"

#include "provider/redis/internal.h"

static void read_instances(const redisReply *reply)
{
    static const enum th_redis_values values[] = {TH_REDIS_LEAN, TH_REDIS_PAYLOADS, TH_REDIS_ALL};
    for (size_t i = 0; i < reply->elements; i++) {
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            struct th_row row;
            struct th_error error = {0};
            if (th_redis_row_read(th_redis_array(reply, i), values[v], &row, &error)) {
                MUST(th_str_present(row.instance_id) && !row.deleted);
                th_row_deinit(&row);
            } else {
                MUST(error.code == TH_CORRUPT && error.message[0]);
            }
        }
    }
}

static void read_mark(struct th_str bytes)
{
    struct th_watermark mark;
    char again[TH_REDIS_MARK];
    if (th_redis_mark_read(bytes, &mark)) {
        th_redis_mark_write(&mark, again);
        MUST(bytes.len == TH_REDIS_MARK);
        MUST(memcmp(bytes.data, again, TH_REDIS_MARK_EQUAL - 1) == 0); /* but for the flag's form */
    }
}

static void read_answer(const redisReply *reply)
{
    struct th_error error = {0};
    if (reply->type == REDIS_REPLY_ERROR) {
        th_redis_reason(&error, "h:1", reply->str);
        MUST(error.code != TH_OK && error.message[0]);
    } else {
        MUST(th_redis_function_ok(reply, 0, &error) == (error.code == TH_OK));
        read_mark(th_redis_string(reply, 1));
    }
    if (reply->type == REDIS_REPLY_ARRAY) {
        read_instances(reply);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    redisReaderFeed(reader, (const char *)data, size);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        read_answer(reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    redisReaderFree(reader);
    read_mark(input_of(data, size));
    return 0;
}
