/*
 * tls: rediss://. hiredis 0.14, Debian 12's, has no TLS, and the layer that later ones have wants
 * their own reading and writing; so OpenSSL speaks on the socket of hiredis' context instead, and
 * hiredis goes on to make requests and to parse answers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

struct th_redis_tls {
    SSL_CTX *context;
    char *host; /* what the certificate has to be for */
};

struct th_redis_channel {
    SSL *session;
    const char *server; /* for sentences; borrowed */
    short wants;        /* of poll, for the handshake */
};

/* ---- what went wrong ---- */

/* The first of several is the cause. */
static const char *cause(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = code == 0                ? "the connection was closed"
                       : ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
    ERR_clear_error();
    return text ? text : "unknown to OpenSSL";
}

/* `result`: of the call that did not go well. True: it only has to wait, for `wants`. */
static bool may_wait(struct th_redis_channel *channel, int result, struct th_error *error)
{
    int problem = errno;
    long verdict = SSL_get_verify_result(channel->session);
    switch (SSL_get_error(channel->session, result)) {
    case SSL_ERROR_WANT_READ:
        channel->wants = POLLIN;
        return true;
    case SSL_ERROR_WANT_WRITE:
        channel->wants = POLLOUT;
        return true;
    case SSL_ERROR_ZERO_RETURN:
        return th_fail(error, TH_UNAVAILABLE, "Redis at %s closed the connection", channel->server);
    case SSL_ERROR_SYSCALL:
        return th_fail(error, TH_UNAVAILABLE, "lost the connection to Redis at %s: %s",
                       channel->server, problem ? strerror(problem) : "it was closed");
    default:
        if (verdict != X509_V_OK) {
            ERR_clear_error();
            return th_fail(error, TH_UNAVAILABLE,
                           "the certificate of Redis at %s is not accepted: %s", channel->server,
                           X509_verify_cert_error_string(verdict));
        }
        return th_fail(error, TH_UNAVAILABLE, "TLS with Redis at %s failed: %s", channel->server,
                       cause());
    }
}

/* ---- what all connections share ---- */

static bool bad_file(struct th_error *error, const char *name, const char *file)
{
    return th_fail(error, TH_INVALID, "cannot use %s, the Redis URL's %s: %s", file, name, cause());
}

static bool use_files(SSL_CTX *context, const struct th_redis_url *url, struct th_error *error)
{
    ERR_clear_error();
    if (url->ca ? SSL_CTX_load_verify_locations(context, url->ca, NULL) != 1
                : SSL_CTX_set_default_verify_paths(context) != 1) {
        return bad_file(error, "ca", url->ca ? url->ca : "the system's certificates");
    }
    if (url->cert && SSL_CTX_use_certificate_chain_file(context, url->cert) != 1) {
        return bad_file(error, "cert", url->cert);
    }
    if (url->key && (SSL_CTX_use_PrivateKey_file(context, url->key, SSL_FILETYPE_PEM) != 1 ||
                     SSL_CTX_check_private_key(context) != 1)) {
        return bad_file(error, "key", url->key);
    }
    return true;
}

bool th_redis_tls_new(const struct th_redis_url *url, struct th_redis_tls **out,
                      struct th_error *error)
{
    *out = NULL;
    if (!url->tls) {
        return true;
    }
    struct th_redis_tls *tls = TH_NEW(struct th_redis_tls);
    tls->context = SSL_CTX_new(TLS_client_method());
    if (!tls->context) {
        free(tls);
        return th_fail(error, TH_INTERNAL, "OpenSSL cannot be used: %s", cause());
    }
    tls->host = th_str_dup(th_str_of(url->host));
    SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                       SSL_MODE_RELEASE_BUFFERS);
    /* Redis ends without a farewell. An answer says itself where it ends, so nothing is cut. */
    SSL_CTX_set_options(tls->context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    if (!use_files(tls->context, url, error)) {
        th_redis_tls_free(tls);
        return false;
    }
    *out = tls;
    return true;
}

void th_redis_tls_free(struct th_redis_tls *tls)
{
    if (tls) {
        SSL_CTX_free(tls->context);
        free(tls->host);
        free(tls);
    }
}

/* ---- one connection ---- */

/* The certificate has to be for the URL's host, be that a name or an address. */
static void expect_host(SSL *session, const char *host)
{
    unsigned char numeric[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, numeric) == 1 || inet_pton(AF_INET6, host, numeric) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host);
    } else {
        SSL_set_tlsext_host_name(session, host);
        SSL_set1_host(session, host);
    }
}

struct th_redis_channel *th_redis_channel_new(const struct th_redis_tls *tls, int fd,
                                              const char *server)
{
    SSL *session = SSL_new(tls->context);
    if (!session || SSL_set_fd(session, fd) != 1) {
        SSL_free(session);
        ERR_clear_error();
        return NULL;
    }
    struct th_redis_channel *channel = TH_NEW(struct th_redis_channel);
    channel->session = session;
    channel->server = server;
    channel->wants = POLLOUT;
    SSL_set_connect_state(session);
    expect_host(session, tls->host);
    return channel;
}

void th_redis_channel_free(struct th_redis_channel *channel)
{
    if (channel) {
        SSL_free(channel->session);
        free(channel);
    }
}

bool th_redis_channel_shake(struct th_redis_channel *channel, bool *done, struct th_error *error)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(channel->session);
    *done = result == 1;
    return *done || may_wait(channel, result, error);
}

short th_redis_channel_wants(const struct th_redis_channel *channel)
{
    return channel->wants;
}

bool th_redis_channel_write(struct th_redis_channel *channel, struct th_str bytes, size_t *count,
                            struct th_error *error)
{
    ERR_clear_error();
    errno = 0;
    *count = 0;
    int result = SSL_write_ex(channel->session, bytes.data, bytes.len, count);
    return result == 1 || may_wait(channel, result, error);
}

bool th_redis_channel_read(struct th_redis_channel *channel, char *bytes, size_t size,
                           size_t *count, struct th_error *error)
{
    ERR_clear_error();
    errno = 0;
    *count = 0;
    int result = SSL_read_ex(channel->session, bytes, size, count);
    return result == 1 || may_wait(channel, result, error);
}
