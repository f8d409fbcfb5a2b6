/* listen: addresses. A name may stand for several, such as localhost for ::1 and 127.0.0.1. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc/loop.h"

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return -1;
    }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static void set_port(struct addrinfo *address, int port)
{
    if (address->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)address->ai_addr)->sin6_port = htons((uint16_t)port);
    } else {
        ((struct sockaddr_in *)address->ai_addr)->sin_port = htons((uint16_t)port);
    }
}

/* "::" stands for every address of both families, as it does for most servers. */
static bool is_any(const struct addrinfo *address)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address->ai_addr;
    return address->ai_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
}

/* -1: errno says why. */
static int listen_on(const struct addrinfo *address)
{
    int on = 1, six_only = !is_any(address);
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->ai_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &six_only, sizeof(six_only));
    }
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        int problem = errno;
        close(fd);
        errno = problem;
        return -1;
    }
    return fd;
}

static bool refused(struct th_error *error, const char *address, int port)
{
    int problem = errno;
    /* A numeric address that this machine does not have, and a port below 1024. */
    enum th_code code = problem == EADDRNOTAVAIL || problem == EACCES ? TH_INVALID : TH_UNAVAILABLE;
    const char *hint = problem == EADDRINUSE ? " (does another server run there?)" : "";
    return th_fail(error, code, "cannot listen on %s, port %d: %s%s", address, port,
                   strerror(problem), hint);
}

static struct addrinfo *look_up(const char *address, int port, struct th_error *error)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (port < 0 || port > 65535) {
        th_fail(error, TH_INVALID, "%d is no port: 0 to 65535", port);
        return NULL;
    }
    int problem = getaddrinfo(address, NULL, &hints, &found);
    if (problem != 0) {
        th_fail(error, TH_INVALID, "cannot listen on %s: %s", address, gai_strerror(problem));
        return NULL;
    }
    return found;
}

/* A machine without one of the families still has names with its addresses. */
static bool is_missing_family(int problem)
{
    return problem == EAFNOSUPPORT || problem == EADDRNOTAVAIL;
}

static bool listen_on_all(struct th_grpc_listeners *listeners, struct addrinfo *found,
                          const char *address, int port, struct th_error *error)
{
    listeners->port = port;
    for (struct addrinfo *a = found; a && listeners->count < TH_GRPC_LISTENERS; a = a->ai_next) {
        set_port(a, listeners->port);
        int fd = listen_on(a);
        if (fd >= 0) {
            listeners->fds[listeners->count++] = fd;
            listeners->port = port_of(fd); /* the same for all */
        } else if (!is_missing_family(errno) || (!a->ai_next && listeners->count == 0)) {
            return refused(error, address, listeners->port);
        }
    }
    return true;
}

bool th_grpc_listen(struct th_grpc_listeners *listeners, const char *address, int port,
                    struct th_error *error)
{
    listeners->count = 0;
    struct addrinfo *found = look_up(address, port, error);
    if (!found) {
        return false;
    }
    bool good = listen_on_all(listeners, found, address, port, error);
    freeaddrinfo(found);
    if (!good) {
        th_grpc_listeners_close(listeners);
    }
    return good;
}

void th_grpc_listeners_close(struct th_grpc_listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        close(listeners->fds[i]);
    }
    listeners->count = 0;
}

void th_grpc_peer_text(const struct sockaddr_storage *address, socklen_t len,
                       char out[static TH_GRPC_PEER])
{
    char host[INET6_ADDRSTRLEN + 1] = "?", port[8] = "?";
    getnameinfo((const struct sockaddr *)address, len, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    const char *mapped = strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.') ? host + 7 : NULL;
    bool six = !mapped && strchr(host, ':');
    snprintf(out, TH_GRPC_PEER, "%s%s%s:%s", six ? "[" : "", mapped ? mapped : host, six ? "]" : "",
             port);
}
