/*
 * redis_server: a Redis of a test's own: Debian's redis-server on a free port of 127.0.0.1, with
 * its files in a temporary folder. It dies with the test. What goes wrong ends the test with the
 * reason.
 *
 * With TASKHUB_CERTIFICATES, a folder that deploy/certificates.sh made, it also serves TLS to
 * whoever has a certificate, and its URL says so.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct redis_server;

/* `options`: more arguments for redis-server, ended by NULL; may be NULL. Waits until it serves. */
struct redis_server *redis_server_start(const char *const *options);
void redis_server_stop(struct redis_server *server); /* kill -9; removes its folder */

/* "redis://127.0.0.1:port", or one with rediss://, until the next call for this server; `user`:
 * "name:password", or NULL.
 */
const char *redis_server_url(struct redis_server *server, const char *user);
unsigned redis_server_port(const struct redis_server *server); /* of its URL */

void redis_server_kill(struct redis_server *server); /* -9, and it is gone when this returns */
/* The same port and folder; `options` as for start. */
void redis_server_restart(struct redis_server *server, const char *const *options);
void redis_server_pause(struct redis_server *server); /* SIGSTOP */
void redis_server_resume(struct redis_server *server);

/* One command on a connection of its own; its text is split at blanks. The answer as text, empty
 * for none, an error with a "-" in front; the caller frees it. */
char *redis_server_say(struct redis_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for an answer that is an integer. */
long long redis_server_number(struct redis_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
