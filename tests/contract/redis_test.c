/* The conformance suite on the projection half in Redis: as the default user, and as one who has no
 * right but those that redis.h lists. */
#include "contract/subject_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void allow(struct redis_server *server)
{
    char *answer = redis_server_say(
        server, "ACL SETUSER taskhub on >secret resetkeys ~{contract:* resetchannels &{contract:* "
                "-@all +fcall +function|load +info +select +ping +hget +hmget +hset +hdel +hlen "
                "+zadd +zrem +zcard +zrangebylex +unlink +publish +subscribe +unsubscribe");
    if (strcmp(answer, "OK") != 0) {
        fprintf(stderr, "%s\n", answer);
        exit(1);
    }
    free(answer);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
    struct redis_server *server = redis_server_start(NULL);
    struct redis_access anybody = {.server = server};
    struct redis_access limited = {.server = server, .user = "taskhub:secret"};
    struct subject as_anybody = redis_subject(&anybody);
    struct subject as_limited = redis_subject(&limited);
    as_limited.name = "redis, with the rights it needs";
    allow(server);
    int failed = conformance_main(&as_anybody, only) + conformance_main(&as_limited, only);
    long long left = redis_server_number(server, "DBSIZE");
    if (left != 0) {
        fprintf(stderr, "%lld keys are left after all hubs were dropped\n", left);
        failed++;
    }
    redis_server_stop(server);
    return failed;
}
