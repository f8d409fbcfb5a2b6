/*
 * requests: the request ids of instances that were purged, for a while. A client that did not hear
 * that its start arrived asks again, perhaps after the instance has ended and gone; that is still
 * one start (architecture 3.8). Part of the fold: purge records carry the id, checkpoints the list.
 */
#include "partition/internal.h"

/* How long a start may be repeated after its instance was purged, and how many are remembered. */
#define REQUEST_WINDOW (10 * 60 * TH_SECOND)
#define MAX_REQUESTS   10000

static void forget(struct th_partition *p, struct request *r)
{
    HASH_DELETE(hh, p->requests, r);
    free(r->id);
    free(r);
}

/* uthash keeps the order of insertion: the oldest is first. */
static void expire(struct th_partition *p, th_time now)
{
    while (p->requests && (p->requests->until <= now || HASH_COUNT(p->requests) > MAX_REQUESTS))
        forget(p, p->requests);
}

static struct request *find(struct th_partition *p, struct th_str id)
{
    struct request *r;

    HASH_FIND(hh, p->requests, id.data, id.len, r);
    return r;
}

static void add(struct th_partition *p, struct th_str id, th_time until)
{
    struct request *r = find(p, id);

    if (r)
        forget(p, r);
    r = TH_NEW(struct request);
    r->id = th_str_dup(id);
    r->len = id.len;
    r->until = until;
    HASH_ADD_KEYPTR(hh, p->requests, r->id, r->len, r);
}

void request_remember(struct th_partition *p, struct th_str id, th_time now)
{
    expire(p, now);
    if (id.len > 0)
        add(p, id, now + REQUEST_WINDOW);
}

bool request_remembered(struct th_partition *p, struct th_str id)
{
    const struct request *r = id.len > 0 ? find(p, id) : NULL;

    return r && r->until > p->now;
}

void requests_put(const struct th_partition *p, struct th_buffer *out)
{
    th_write_array(out, (uint32_t)HASH_COUNT(p->requests) * 2);
    for (const struct request *r = p->requests; r; r = r->hh.next) {
        th_write_str(out, th_str_n(r->id, r->len));
        th_write_i64(out, r->until);
    }
}

void requests_get(struct th_partition *p, struct th_reader *in)
{
    for (uint32_t n = th_read_groups(in, 2); n > 0 && !in->failed; n--) {
        const struct th_str id = th_read_str(in);
        const th_time until = th_read_i64(in);

        if (!in->failed && id.len > 0)
            add(p, id, until);
    }
}

void requests_free(struct th_partition *p)
{
    while (p->requests)
        forget(p, p->requests);
}
