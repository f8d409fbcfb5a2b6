/*
 * tls: OpenSSL. A context is made of the files and shared by the sessions that were made with it;
 * reloading makes another one for those to come.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "grpc/loop.h"

enum { RECORD = 16 << 10 }; /* what is encrypted at once */

struct th_grpc_tls {
    char *certificate, *key, *client_ca;
    pthread_mutex_t mutex;
    SSL_CTX *context; /* under the mutex */
};

/* ---- what went wrong ---- */

/* The first of several is the cause. */
void th_grpc_tls_reason(char *out, size_t size)
{
    unsigned long code = ERR_peek_error();
    const char *text = "the connection was closed";
    if (code) {
        text =
            ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    }
    snprintf(out, size, "%s", text ? text : "unknown to OpenSSL");
    ERR_clear_error();
}

static bool bad_file(struct th_error *error, const char *what, const char *file)
{
    char reason[200];
    th_grpc_tls_reason(reason, sizeof(reason));
    return th_fail(error, TH_INVALID, "cannot use %s as %s: %s", file, what, reason);
}

/* ---- a context ---- */

/* RFC 7301 wants an alert when there is nothing in common. */
static int choose_protocol(SSL *session, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *argument)
{
    unsigned char *chosen;
    if (nghttp2_select_next_protocol(&chosen, out_len, in, in_len) != 1) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* HTTP/2 forbids other ciphers with TLS 1.2, compression and renegotiation (RFC 9113, section 9.2).
 */
static void set_rules(SSL_CTX *context)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
}

static bool use_client_ca(SSL_CTX *context, const char *file, struct th_error *error)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (!names || SSL_CTX_load_verify_locations(context, file, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return bad_file(error, "the CAs of clients", file);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"taskhub", 7);
    return true;
}

static bool use_files(SSL_CTX *context, const struct th_grpc_tls *tls, struct th_error *error)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, tls->certificate) != 1) {
        return bad_file(error, "a TLS certificate", tls->certificate);
    }
    if (SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) != 1) {
        return bad_file(error, "its key", tls->key);
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        return bad_file(error, "the key of the certificate", tls->key);
    }
    return !tls->client_ca || use_client_ca(context, tls->client_ca, error);
}

static SSL_CTX *context_new(const struct th_grpc_tls *tls, struct th_error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) {
        bad_file(error, "a TLS library", "OpenSSL");
        return NULL;
    }
    set_rules(context);
    if (!use_files(context, tls, error)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

struct th_grpc_tls *th_grpc_tls_new(const char *certificate, const char *key, const char *client_ca,
                                    struct th_error *error)
{
    struct th_grpc_tls *tls = TH_NEW(struct th_grpc_tls);
    pthread_mutex_init(&tls->mutex, NULL);
    tls->certificate = th_str_dup(th_str_of(certificate));
    tls->key = th_str_dup(th_str_of(key));
    tls->client_ca = th_str_dup(th_str_of(client_ca));
    tls->context = context_new(tls, error);
    if (!tls->context) {
        th_grpc_tls_free(tls);
        return NULL;
    }
    return tls;
}

bool th_grpc_tls_reload(struct th_grpc_tls *tls, struct th_error *error)
{
    SSL_CTX *context = context_new(tls, error);
    if (!context) {
        return false;
    }
    pthread_mutex_lock(&tls->mutex);
    SSL_CTX *old = tls->context;
    tls->context = context;
    pthread_mutex_unlock(&tls->mutex);
    SSL_CTX_free(old); /* its sessions hold it */
    return true;
}

void th_grpc_tls_free(struct th_grpc_tls *tls)
{
    if (!tls) {
        return;
    }
    SSL_CTX_free(tls->context);
    pthread_mutex_destroy(&tls->mutex);
    free(tls->certificate);
    free(tls->key);
    free(tls->client_ca);
    free(tls);
}

/* ---- a session ---- */

SSL *th_grpc_tls_session(struct th_grpc_tls *tls, int fd)
{
    pthread_mutex_lock(&tls->mutex);
    SSL *session = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->mutex);
    if (session && SSL_set_fd(session, fd) != 1) {
        SSL_free(session);
        session = NULL;
    }
    return session;
}

static int outcome(SSL *session, int result)
{
    if (result > 0) {
        return result;
    }
    switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ:
        return TH_GRPC_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TH_GRPC_WANT_WRITE;
    default:
        return TH_GRPC_CLOSED;
    }
}

int th_grpc_tls_accept(SSL *session)
{
    ERR_clear_error();
    return outcome(session, SSL_accept(session));
}

ssize_t th_grpc_tls_read(SSL *session, char *out, size_t max)
{
    ERR_clear_error();
    return outcome(session, SSL_read(session, out, (int)max));
}

/* Pieces become a whole record. After WANT_WRITE the same bytes have to come again, and they do:
 * they stay first in `out` until they are sent. */
ssize_t th_grpc_tls_write(SSL *session, const struct iovec *iov, size_t count)
{
    char record[RECORD];
    size_t len = 0;
    for (size_t i = 0; i < count && len < RECORD; i++) {
        size_t n = iov[i].iov_len < RECORD - len ? iov[i].iov_len : RECORD - len;
        memcpy(record + len, iov[i].iov_base, n);
        len += n;
    }
    ERR_clear_error();
    return outcome(session, SSL_write(session, record, (int)len));
}

const char *th_grpc_tls_unfit(SSL *session)
{
    const unsigned char *protocol;
    unsigned len;
    SSL_get0_alpn_selected(session, &protocol, &len);
    return len == 2 && memcmp(protocol, "h2", 2) == 0
               ? NULL
               : "the client's TLS does not offer HTTP/2 (ALPN h2)";
}
