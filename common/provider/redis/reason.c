/*
 * reason: error answers of Redis as sentences, and the answers of our functions. Which words stand
 * at the beginning of an answer: redis.io/docs, "Redis serialization protocol", and the shared
 * errors in the server's createSharedObjects (server.c of 7.0).
 */
#include "provider/redis/internal.h"

/* Codes are for the node, which tries again after UNAVAILABLE: all of these can be mended while it
 * runs. */
static const struct {
    const char *begins;
    enum th_code code;
    const char *meaning;
} reasons[] = {
    {"LOADING ", TH_UNAVAILABLE, "is still loading its data"},
    {"OOM ", TH_UNAVAILABLE, "has reached its maxmemory and takes no more rows"},
    {"MISCONF ", TH_UNAVAILABLE, "takes no writes, because it cannot save them to its disk"},
    {"READONLY ", TH_UNAVAILABLE, "is a read-only replica: the URL must name the primary"},
    {"MASTERDOWN ", TH_UNAVAILABLE, "is a replica that has lost its primary"},
    {"NOREPLICAS ", TH_UNAVAILABLE, "has fewer replicas than its min-replicas-to-write"},
    {"NOAUTH ", TH_UNAVAILABLE, "asks for a password: the URL must have one"},
    {"WRONGPASS ", TH_UNAVAILABLE, "does not accept the user and password of the URL"},
    {"ERR AUTH ", TH_UNAVAILABLE, "has no password, but the URL has one"},
    {"NOPERM ", TH_UNAVAILABLE, "does not give the URL's user the rights that Taskhub needs"},
    {"DENIED ", TH_UNAVAILABLE, "is in protected mode and talks to its own host only"},
    {"BUSY ", TH_UNAVAILABLE, "is busy with somebody's script"},
    {"CLUSTERDOWN ", TH_UNAVAILABLE, "is a node of a cluster that is down"},
    {"MOVED ", TH_UNAVAILABLE, "is a node of a cluster, which Taskhub cannot use yet"},
    {"ASK ", TH_UNAVAILABLE, "is a node of a cluster, which Taskhub cannot use yet"},
    {"ERR Function not found", TH_UNAVAILABLE,
     "had lost Taskhub's functions; they are being loaded again"},
    {"ERR max number of clients", TH_UNAVAILABLE, "has no room for another client"},
    {"ERR unknown command", TH_UNAVAILABLE, "lacks a command that Taskhub needs"},
    {"ERR DB index is out of range", TH_UNAVAILABLE, "has no such database as the URL names"},
    {"WRONGTYPE ", TH_CORRUPT, "holds something else under a key of this hub"},
};

bool th_redis_reason(struct th_error *error, const char *server, const char *answer)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (strncmp(answer, reasons[i].begins, strlen(reasons[i].begins)) == 0) {
            return th_fail(error, reasons[i].code, "Redis at %s %s (%.200s)", server,
                           reasons[i].meaning, answer);
        }
    }
    if (strstr(answer, "user_function")) { /* what it read is not what was written */
        return th_fail(error, TH_CORRUPT, "a function failed in Redis at %s: %.200s", server,
                       answer);
    }
    return th_fail(error, TH_IO, "Redis at %s answered: %.200s", server, answer);
}

bool th_redis_function_missing(const char *answer)
{
    return strncmp(answer, "ERR Function not found", 22) == 0;
}

/* ---- arrays ---- */

static const redisReply *element(const redisReply *array, size_t i)
{
    return array && array->type == REDIS_REPLY_ARRAY && i < array->elements ? array->element[i]
                                                                            : NULL;
}

struct th_str th_redis_string(const redisReply *array, size_t i)
{
    const redisReply *found = element(array, i);
    return found && found->type == REDIS_REPLY_STRING ? th_str_n(found->str, found->len)
                                                      : TH_STR_ABSENT;
}

const redisReply *th_redis_array(const redisReply *array, size_t i)
{
    const redisReply *found = element(array, i);
    return found && found->type == REDIS_REPLY_ARRAY ? found : NULL;
}

/* ---- answers of functions ---- */

static bool fenced(const redisReply *reply, uint32_t partition, struct th_error *error)
{
    struct th_watermark stored;
    if (!th_redis_mark_read(th_redis_string(reply, 1), &stored)) {
        return th_fail(error, TH_IO, "the projection of partition %u has no watermark", partition);
    }
    return th_fail(error, TH_FENCED,
                   "the projection of partition %u stands at offset %lld, epoch %llu, sequence "
                   "%llu, batch %llu, and not where the batch begins",
                   partition, (long long)stored.offset, (unsigned long long)stored.epoch,
                   (unsigned long long)stored.sequence, (unsigned long long)stored.batch);
}

bool th_redis_function_ok(const redisReply *reply, uint32_t partition, struct th_error *error)
{
    struct th_str word = th_redis_string(reply, 0);
    struct th_str first = th_redis_string(reply, 1);
    struct th_str second = th_redis_string(reply, 2);
    if (th_str_eq(word, TH_STR("OK"))) {
        return true;
    }
    if (th_str_eq(word, TH_STR("FENCED"))) {
        return fenced(reply, partition, error);
    }
    if (th_str_eq(word, TH_STR("CORRUPT"))) {
        return th_fail(error, TH_CORRUPT,
                       "the projection of partition %u lacks rows or has too many: there are %.*s "
                       "and should be %.*s",
                       partition, TH_PRI(first), TH_PRI(second));
    }
    if (th_str_eq(word, TH_STR("ODD"))) {
        return th_fail(error, TH_CORRUPT,
                       "the projection of partition %u lost a row of %.*s, or has one too many",
                       partition, TH_PRI(first));
    }
    if (th_str_eq(word, TH_STR("DAMAGED"))) {
        return th_fail(error, TH_CORRUPT, "the projection of partition %u lacks parts of %.*s",
                       partition, TH_PRI(first));
    }
    if (th_str_eq(word, TH_STR("DROPPED"))) {
        return th_fail(error, TH_CORRUPT,
                       "the projection of partition %u was dropped, because a write failed half "
                       "way: %.*s",
                       partition, TH_PRI(first));
    }
    return th_fail(error, TH_IO, "the projection of partition %u answered nothing known",
                   partition);
}
