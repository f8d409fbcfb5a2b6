/*
 * redis: the projection half of the fleet's provider: rows of instances, queries, news and replies
 * in Redis 7 or later. The operations for log and inbox are NULL; fleet/ joins it with kafka/.
 *
 * One thread besides the caller's drives two connections, one for requests and one that listens.
 * No operation blocks, opening does not wait for Redis, and everything completes: while Redis is
 * not there, as UNAVAILABLE with its address and the reason.
 *
 * Beyond contract.h:
 *   - Everything in Redis may vanish at any moment. What is left after a part of it was deleted is
 *     not believed: project, walk, query and a load that finds nothing answer CORRUPT then, until
 *     a batch with `clear` begins anew.
 *   - project is refused as CORRUPT, and changes nothing, unless `next.rows` is the number of rows
 *     after the batch. A FENCED project has the stored watermark in its completion.
 *   - A batch that puts no row is accepted at maxmemory: it may be what makes room.
 *   - While the very first connection is being made, submissions wait for it, no longer than the
 *     time-out. STATE has a watermark and no ends of log and inbox.
 *   - A page of a query ends early when its rows reach 16 MiB. A query whose conditions match few
 *     of many instances reads through them in small steps, between which Redis serves others.
 *   - A server that evicts keys (`maxmemory-policy` other than noeviction) or is older than 7.0 is
 *     refused: each operation answers so until it is mended.
 *
 * The user of the URL needs these rights, for a hub named orders:
 *
 *     ACL SETUSER taskhub on >password resetkeys ~{orders:* resetchannels &{orders:* -@all
 *         +fcall +function|load +info +select +ping +hget +hmget +hset +hdel +hlen +zadd +zrem
 *         +zcard +zrangebylex +unlink +publish +subscribe +unsubscribe
 *
 * The URL is redis://[user[:password]@]host[:port][/database], or rediss://… for TLS 1.2 or later.
 * The server's certificate has to be for the host. It is checked against the system's CAs, or those
 * in ca=FILE; cert=FILE and key=FILE are a certificate of our own, for a server that asks for one:
 *
 *     rediss://taskhub:password@redis-1:6379?ca=/etc/ca.pem&cert=/etc/me.pem&key=/etc/me.key
 */
#pragma once

#include "base/log.h"
#include "provider/contract.h"

struct th_redis_options {
    const char *url;          /* see below; copied */
    const struct th_log *log; /* borrowed until close; may be NULL */
    uint32_t timeout_ms;      /* how long the oldest request may go without any progress, also how
                                 long a connection may take to be made; 0: 5000 */
};

/* Opens the projection of `hub`, which exists (it is copied). Does not block. NULL with INVALID
 * (the URL, or a file that it names), UNAVAILABLE (no thread). */
struct th_provider *th_redis_open(const struct th_redis_options *options,
                                  const struct th_hub_record *hub, struct th_error *error);

/* Whether th_redis_open will take this URL; INVALID, without anything secret, otherwise. Files are
 * read, nobody is connected to. Any thread. */
bool th_redis_check_url(const char *url, struct th_error *error);

/* Whether the connection for requests stands; any thread. For people: what is submitted completes
 * either way. */
bool th_redis_up(const struct th_provider *provider);

/* Drops everything Redis holds of this incarnation of a hub, for its deletion. Blocks, at most
 * about the time-out. A row that a worker projects afterwards stays. */
bool th_redis_drop_hub(const struct th_redis_options *options, const struct th_hub_record *hub,
                       struct th_error *error);
