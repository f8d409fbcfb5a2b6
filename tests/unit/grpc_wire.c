#include "unit/grpc_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

int grpc_wire_connect(const char *address, int port)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
    if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1) {
        return -1;
    }
    int on = 1, fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const struct sockaddr *to =
        is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;
    if (connect(fd, to, is_six ? sizeof(six) : sizeof(four)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- TLS ---- */

static SSL_CTX *context_of(const struct grpc_wire_tls *tls)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_load_verify_locations(context, tls->ca, NULL) != 1) {
        abort();
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (tls->certificate &&
        (SSL_CTX_use_certificate_chain_file(context, tls->certificate) != 1 ||
         SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) != 1)) {
        abort();
    }
    if (tls->version) {
        SSL_CTX_set_min_proto_version(context, 0);
        SSL_CTX_set_security_level(context, 0);
        SSL_CTX_set_max_proto_version(context, tls->version);
    }
    return context;
}

static bool begin_tls(struct grpc_wire *wire, const struct grpc_wire_tls *tls)
{
    const char *protocol = tls->protocol ? tls->protocol : "h2";
    unsigned char offer[16] = {(unsigned char)strlen(protocol)};
    memcpy(offer + 1, protocol, offer[0]);
    SSL_CTX *context = context_of(tls);
    wire->tls = SSL_new(context);
    SSL_CTX_free(context);
    if (protocol[0]) {
        SSL_set_alpn_protos(wire->tls, offer, 1u + offer[0]);
    }
    SSL_set_tlsext_host_name(wire->tls, "localhost");
    SSL_set_fd(wire->tls, wire->fd);
    return SSL_connect(wire->tls) == 1;
}

/* ---- beginning and end ---- */

struct grpc_wire *grpc_wire_open(const char *address, int port, const struct grpc_wire_tls *tls)
{
    int fd = grpc_wire_connect(address, port);
    if (fd < 0) {
        return NULL;
    }
    struct grpc_wire *wire = TH_NEW(struct grpc_wire);
    wire->fd = fd;
    wire->client = grpc_client_new(0, false);
    if (tls && !begin_tls(wire, tls)) {
        grpc_wire_close(wire);
        return NULL;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return wire;
}

void grpc_wire_close(struct grpc_wire *wire)
{
    if (!wire) {
        return;
    }
    SSL_free(wire->tls);
    close(wire->fd);
    grpc_client_free(wire->client);
    free(wire);
}

/* ---- bytes ---- */

/* 0: closed; -1: not now. */
static ssize_t outcome(struct grpc_wire *wire, ssize_t n)
{
    if (n > 0) {
        return n;
    }
    if (wire->tls) {
        int error = SSL_get_error(wire->tls, (int)n);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? -1 : 0;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? -1 : 0;
}

static void send_some(struct grpc_wire *wire)
{
    struct th_buffer *out = &wire->client->out;
    grpc_client_fill(wire->client);
    while (wire->sent < out->len) {
        const char *at = out->data + wire->sent;
        size_t left = out->len - wire->sent;
        ssize_t n = outcome(wire, wire->tls ? SSL_write(wire->tls, at, (int)left)
                                            : send(wire->fd, at, left, MSG_NOSIGNAL));
        if (n <= 0) {
            return;
        }
        wire->sent += (size_t)n;
    }
    out->len = wire->sent = 0;
}

static bool take_some(struct grpc_wire *wire)
{
    char bytes[16384];
    ssize_t n = outcome(wire, wire->tls ? SSL_read(wire->tls, bytes, sizeof(bytes))
                                        : recv(wire->fd, bytes, sizeof(bytes), 0));
    if (n > 0) {
        grpc_client_take(wire->client, th_str_n(bytes, (size_t)n));
    }
    wire->eof = wire->eof || n == 0;
    return n > 0;
}

void grpc_wire_move(struct grpc_wire *wire)
{
    send_some(wire);
    while (take_some(wire)) {
    }
    send_some(wire);
}

void grpc_wire_step(struct grpc_wire *wire, th_time wait)
{
    send_some(wire);
    if (take_some(wire) || wire->eof) {
        return;
    }
    struct pollfd fd = {wire->fd, (short)(POLLIN | (wire->client->out.len ? POLLOUT : 0)), 0};
    poll(&fd, 1, (int)(wait / TH_MILLISECOND));
}

bool grpc_wire_finish(struct grpc_wire *wire, struct grpc_reply *reply)
{
    th_time deadline = th_monotonic() + GRPC_WIRE_PATIENCE * TH_SECOND;
    while (!reply->closed && !wire->eof && th_monotonic() < deadline) {
        grpc_wire_step(wire, 100 * TH_MILLISECOND);
    }
    return reply->closed;
}

bool grpc_wire_closed(struct grpc_wire *wire)
{
    th_time deadline = th_monotonic() + GRPC_WIRE_PATIENCE * TH_SECOND;
    while (!wire->eof && th_monotonic() < deadline) {
        grpc_wire_step(wire, 100 * TH_MILLISECOND);
    }
    return wire->eof;
}
