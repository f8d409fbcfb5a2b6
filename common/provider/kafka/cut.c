/*
 * cut: which connections of a client were cut, and are there again. librdkafka's error callback is
 * no good for this: it stays silent about an error it reported not long ago. The interceptor is
 * called at every change, on the thread of the broker concerned and before that thread reads
 * anything from a new connection; so a count that the node reads after an acknowledgement came over
 * it includes it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "provider/kafka/internal.h"

struct th_kafka_connection {
    char address[160];
    bool up, cut;
};

void th_kafka_cuts_init(struct th_kafka_cuts *cuts, void (*changed)(void *), void *argument)
{
    *cuts = (struct th_kafka_cuts){.changed = changed, .argument = argument};
    pthread_mutex_init(&cuts->mutex, NULL);
}

void th_kafka_cuts_forget(struct th_kafka_cuts *cuts)
{
    pthread_mutex_lock(&cuts->mutex);
    cuts->changed = NULL;
    pthread_mutex_unlock(&cuts->mutex);
}

void th_kafka_cuts_deinit(struct th_kafka_cuts *cuts)
{
    pthread_mutex_destroy(&cuts->mutex);
    free(cuts->connections);
}

static struct th_kafka_connection *connection(struct th_kafka_cuts *cuts, const char *name,
                                              int port)
{
    char address[sizeof(cuts->connections->address)];
    snprintf(address, sizeof(address), "%s:%d", name, port);
    for (size_t i = 0; i < cuts->count; i++) {
        if (strcmp(cuts->connections[i].address, address) == 0) {
            return &cuts->connections[i];
        }
    }
    cuts->connections =
        th_grow(cuts->connections, &cuts->capacity, cuts->count + 1, sizeof(*cuts->connections));
    struct th_kafka_connection *added = &cuts->connections[cuts->count++];
    *added = (struct th_kafka_connection){.up = false};
    memcpy(added->address, address, sizeof(address));
    return added;
}

/* True when the node should know. */
static bool change(struct th_kafka_cuts *cuts, struct th_kafka_connection *c, bool up)
{
    if (c->up && !up) {
        c->cut = true;
        atomic_fetch_add(&cuts->cut, 1);
    }
    bool mended = up && c->cut;
    if (mended) {
        c->cut = false;
        atomic_fetch_add(&cuts->mended, 1);
    }
    c->up = up;
    return mended;
}

static rd_kafka_resp_err_t on_change(rd_kafka_t *rk, int32_t broker, const char *protocol,
                                     const char *name, int port, const char *state, void *opaque)
{
    struct th_kafka_cuts *cuts = opaque;
    pthread_mutex_lock(&cuts->mutex);
    if (change(cuts, connection(cuts, name, port), strcmp(state, "UP") == 0) && cuts->changed) {
        cuts->changed(cuts->argument);
    }
    pthread_mutex_unlock(&cuts->mutex);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque,
                                  char *reason, size_t size)
{
    return rd_kafka_interceptor_add_on_broker_state_change(rk, "taskhub", on_change, opaque);
}

void th_kafka_cuts_watch(struct th_kafka_cuts *cuts, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_interceptor_add_on_new(conf, "taskhub", on_new, cuts);
}
