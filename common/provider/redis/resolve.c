/*
 * resolve: a host's addresses. getaddrinfo may take as long as the resolver's time-outs, and
 * nothing stops it; so it runs on a thread of its own, which whoever asked may walk away from. The
 * last of the two frees what they share.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

struct th_redis_lookup {
    pthread_mutex_t mutex;
    char *host;
    int wake;
    bool done, dropped;
    int failure; /* of getaddrinfo */
    struct addrinfo *addresses;
};

static void lookup_free(struct th_redis_lookup *lookup)
{
    if (lookup->addresses) {
        freeaddrinfo(lookup->addresses);
    }
    pthread_mutex_destroy(&lookup->mutex);
    free(lookup->host);
    free(lookup);
}

static void *look_up(void *argument)
{
    struct th_redis_lookup *lookup = argument;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int failure = getaddrinfo(lookup->host, NULL, &hints, &addresses);

    pthread_mutex_lock(&lookup->mutex);
    lookup->failure = failure;
    lookup->addresses = failure ? NULL : addresses;
    lookup->done = true;
    bool last = lookup->dropped;
    if (!last) {
        th_redis_wake(lookup->wake); /* not closed yet: it is dropped before */
    }
    pthread_mutex_unlock(&lookup->mutex);
    if (last) {
        lookup_free(lookup);
    }
    return NULL;
}

struct th_redis_lookup *th_redis_lookup_start(const char *host, int wake)
{
    struct th_redis_lookup *lookup = TH_NEW(struct th_redis_lookup);
    lookup->host = th_str_dup(th_str_of(host));
    lookup->wake = wake;
    pthread_mutex_init(&lookup->mutex, NULL);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    bool started = pthread_create(&thread, &detached, look_up, lookup) == 0;
    pthread_attr_destroy(&detached);
    if (!started) {
        lookup_free(lookup);
        return NULL;
    }
    return lookup;
}

static bool numeric(const struct addrinfo *all, unsigned attempt, char address[static 64])
{
    unsigned count = 0;
    for (const struct addrinfo *a = all; a; a = a->ai_next) {
        count++;
    }
    const struct addrinfo *chosen = all;
    for (unsigned i = count ? attempt % count : 0; i > 0; i--) {
        chosen = chosen->ai_next;
    }
    return chosen && getnameinfo(chosen->ai_addr, chosen->ai_addrlen, address, 64, NULL, 0,
                                 NI_NUMERICHOST) == 0;
}

int th_redis_lookup_result(struct th_redis_lookup *lookup, unsigned attempt,
                           char address[static 64], struct th_error *error)
{
    pthread_mutex_lock(&lookup->mutex);
    bool done = lookup->done;
    pthread_mutex_unlock(&lookup->mutex);
    if (!done) {
        return 0;
    }
    if (lookup->failure || !numeric(lookup->addresses, attempt, address)) {
        th_fail(error, TH_UNAVAILABLE, "cannot look up Redis' host %s: %s", lookup->host,
                lookup->failure ? gai_strerror(lookup->failure) : "it has no address");
        return -1;
    }
    return 1;
}

void th_redis_lookup_drop(struct th_redis_lookup *lookup)
{
    if (!lookup) {
        return;
    }
    pthread_mutex_lock(&lookup->mutex);
    lookup->dropped = true;
    bool last = lookup->done;
    pthread_mutex_unlock(&lookup->mutex);
    if (last) {
        lookup_free(lookup);
    }
}
