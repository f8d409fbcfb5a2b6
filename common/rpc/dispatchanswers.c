#include "rpc/dispatchinternal.h"

#define FIRST_PAUSE (200 * TH_MILLISECOND) /* of what was abandoned; doubles each time … */
#define LAST_PAUSE  (10 * TH_SECOND)       /* … up to here */

static bool hex(struct th_str text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit > 15)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static struct item *find_token(const struct th_dispatch *d, struct th_str token)
{
    uint64_t nonce, number, sending;
    struct item *item;
    if (token.len != 32 || !hex(th_str_n(token.data, 8), &nonce) ||
        !hex(th_str_n(token.data + 8, 12), &number) ||
        !hex(th_str_n(token.data + 20, 12), &sending) || nonce != (uint32_t)d->nonce)
        return NULL;
    HASH_FIND(hh, d->items, &number, sizeof number, item);
    return item && item->stream && item->sending == sending ? item : NULL;
}

/* Programs without tokens are rare, and have little under way. */
static struct item *find_instance(const struct th_dispatch *d, const struct th_dispatch_key *key)
{
    struct th_dispatch_stream *stream;
    struct item *item;
    DL_FOREACH(d->streams, stream)
        DL_FOREACH(stream->items, item)
            if (item->line->kind == key->kind && item->task_id == key->task_id &&
                th_str_eq(item->instance_id, key->instance_id))
                return item;
    return NULL;
}

static struct item *find(struct th_dispatch *d, const struct th_dispatch_key *key)
{
    struct item *item = key->token.len > 0 ? find_token(d, key->token) : find_instance(d, key);
    bool good = item && (key->kind == 0 || item->line->kind == key->kind);
    d->stats.stale += !good;
    return good ? item : NULL;
}

static void tell(struct item *item, struct th_dispatch_found *out)
{
    *out = (struct th_dispatch_found){.owner = (void *)item->owner.owner,
                                      .ticket = item->owner.ticket,
                                      .kind = item->line->kind,
                                      .instance_id = item->instance_id,
                                      .operations = item->operations,
                                      .parts = &item->parts,
                                      .first_part = &item->first_part};
}

bool th_dispatch_find(struct th_dispatch *d, const struct th_dispatch_key *key,
                      struct th_dispatch_found *out)
{
    struct item *item = find(d, key);
    if (item)
        tell(item, out);
    return item != NULL;
}

bool th_dispatch_take(struct th_dispatch *d, const struct th_dispatch_key *key, th_time now)
{
    struct item *item = find(d, key);
    if (!item)
        return false;
    d->stats.answered[item->line->kind]++;
    item_remove(d, item, now);
    return true;
}

bool th_dispatch_abandon(struct th_dispatch *d, const struct th_dispatch_key *key, th_time now)
{
    struct item *item = find(d, key);
    if (!item)
        return false;
    struct th_dispatch_stream *stream = item->stream;
    th_time pause = FIRST_PAUSE << (item->abandoned < 8 ? item->abandoned : 8);
    item_out(d, item);
    item->abandoned++;
    item->paused_until = now + (pause < LAST_PAUSE ? pause : LAST_PAUSE);
    dispatch_due(d, item->paused_until);
    DL_APPEND(d->paused, item);
    dispatch_fill(d, stream, now);
    return true;
}
