/* The conformance suite on the projection half in Redis. */
#include "contract/subject_redis.h"

int main(int argc, char **argv)
{
    struct redis_server *server = redis_server_start(NULL);
    struct subject subject = redis_subject(server);
    int failed = conformance_main(&subject, argc > 1 ? argv[1] : NULL);
    redis_server_stop(server);
    return failed;
}
