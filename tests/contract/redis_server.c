#include "contract/redis_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"

/* How long a server may take to start before the test gives up. */
enum { PATIENCE_SECONDS = 30, MOST_ARGUMENTS = 64, ATTEMPTS = 10 };

struct redis_server {
    pid_t pid;
    unsigned port, tls_port;  /* the latter: 0, none */
    const char *certificates; /* a folder that deploy/certificates.sh made; NULL: no TLS */
    char folder[128], log[160];
    char url[1024];
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "redis_server: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        die("no free port: %s", strerror(errno));
    }
    close(fd);
    return ntohs(address.sin_port);
}

/* ---- starting ---- */

/* In the child, which must not allocate: the parent may have threads. */
__attribute__((noreturn)) static void become_server(const struct redis_server *s,
                                                    char *const *arguments)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execvp(arguments[0], arguments);
    static const char missing[] =
        "redis-server cannot be run; deploy/install-deps.sh check installs it\n";
    if (write(STDERR_FILENO, missing, sizeof(missing) - 1) < 0) {
        _exit(126);
    }
    _exit(127);
}

static void show_log(const struct redis_server *s)
{
    char bytes[4096];
    FILE *log = fopen(s->log, "r");
    size_t got;
    while (log && (got = fread(bytes, 1, sizeof(bytes), log)) > 0) {
        fwrite(bytes, 1, got, stderr);
    }
    if (log) {
        fclose(log);
    }
}

static redisContext *dial(const struct redis_server *s)
{
    redisContext *context = redisConnect("127.0.0.1", (int)s->port);
    if (context && context->err) {
        redisFree(context);
        return NULL;
    }
    return context;
}

/* Any answer but that it is loading: one that asks for a password serves, too. */
static bool serves(const struct redis_server *s)
{
    redisContext *context = dial(s);
    redisReply *reply = context ? redisCommand(context, "PING") : NULL;
    bool good = reply && !(reply->str && strncmp(reply->str, "LOADING", 7) == 0);
    if (reply) {
        freeReplyObject(reply);
    }
    if (context) {
        redisFree(context);
    }
    return good;
}

static bool launch(struct redis_server *s, const char *const *options)
{
    char port[16];
    snprintf(port, sizeof(port), "%u", s->port);
    const char *arguments[MOST_ARGUMENTS] = {"redis-server", "--bind",  "127.0.0.1", "--port", port,
                                             "--dir",        s->folder, "--save",    ""};
    size_t count = 9;
    char tls_port[16], ca[256], cert[256], key[256];
    if (s->certificates) {
        snprintf(tls_port, sizeof(tls_port), "%u", s->tls_port);
        snprintf(ca, sizeof(ca), "%s/ca.pem", s->certificates);
        snprintf(cert, sizeof(cert), "%s/server.pem", s->certificates);
        snprintf(key, sizeof(key), "%s/server.key", s->certificates);
        const char *const tls[] = {"--tls-port",      tls_port, "--tls-ca-cert-file", ca,
                                   "--tls-cert-file", cert,     "--tls-key-file",     key};
        memcpy(arguments + count, tls, sizeof(tls));
        count += TH_COUNT(tls);
    }
    for (size_t i = 0; options && options[i] && count < MOST_ARGUMENTS - 1; i++) {
        arguments[count++] = options[i];
    }
    s->pid = fork();
    if (s->pid == 0) {
        become_server(s, (char *const *)arguments);
    }
    th_time deadline = th_monotonic() + PATIENCE_SECONDS * TH_SECOND;
    while (!serves(s)) {
        if (s->pid < 0 || waitpid(s->pid, NULL, WNOHANG) != 0) {
            return false;
        }
        if (th_monotonic() > deadline) {
            show_log(s);
            die("redis-server did not serve within %d s", PATIENCE_SECONDS);
        }
        poll(NULL, 0, 5);
    }
    return true;
}

struct redis_server *redis_server_start(const char *const *options)
{
    struct redis_server *s = TH_NEW(struct redis_server);
    const char *temporary = getenv("TMPDIR");
    snprintf(s->folder, sizeof(s->folder), "%s/taskhub-redis-XXXXXX",
             temporary ? temporary : "/tmp");
    if (!mkdtemp(s->folder)) {
        die("no folder %s: %s", s->folder, strerror(errno));
    }
    snprintf(s->log, sizeof(s->log), "%s/log", s->folder);
    s->certificates = getenv("TASKHUB_CERTIFICATES");
    for (int i = 0; i < ATTEMPTS; i++) { /* somebody else may take the port in between */
        s->port = free_port();
        s->tls_port = s->certificates ? free_port() : 0;
        if (launch(s, options)) {
            return s;
        }
    }
    show_log(s);
    die("redis-server does not start");
}

void redis_server_restart(struct redis_server *s, const char *const *options)
{
    if (!launch(s, options)) {
        show_log(s);
        die("redis-server does not start again");
    }
}

/* ---- ending ---- */

void redis_server_kill(struct redis_server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    return remove(path);
}

void redis_server_stop(struct redis_server *s)
{
    redis_server_kill(s);
    nftw(s->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
}

void redis_server_pause(struct redis_server *s)
{
    kill(s->pid, SIGSTOP);
}

void redis_server_resume(struct redis_server *s)
{
    kill(s->pid, SIGCONT);
}

/* ---- talking ---- */

unsigned redis_server_port(const struct redis_server *s)
{
    return s->certificates ? s->tls_port : s->port;
}

const char *redis_server_url(struct redis_server *s, const char *user)
{
    const char *sign = user ? "@" : "";
    user = user ? user : "";
    if (s->certificates) {
        const char *folder = s->certificates;
        snprintf(s->url, sizeof(s->url),
                 "rediss://%s%s127.0.0.1:%u?ca=%s/ca.pem&cert=%s/client.pem&key=%s/client.key",
                 user, sign, s->tls_port, folder, folder, folder);
    } else {
        snprintf(s->url, sizeof(s->url), "redis://%s%s127.0.0.1:%u", user, sign, s->port);
    }
    return s->url;
}

static redisReply *say(struct redis_server *s, const char *format, va_list arguments)
{
    char text[1024];
    vsnprintf(text, sizeof(text), format, arguments);
    const char *words[MOST_ARGUMENTS];
    int count = 0;
    char *left = NULL;
    for (char *word = strtok_r(text, " ", &left); word && count < MOST_ARGUMENTS;
         word = strtok_r(NULL, " ", &left)) {
        words[count++] = word;
    }
    redisContext *context = dial(s);
    redisReply *reply = context ? redisCommandArgv(context, count, words, NULL) : NULL;
    if (!reply) {
        die("no answer to %s", words[0]);
    }
    redisFree(context);
    return reply;
}

char *redis_server_say(struct redis_server *s, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = say(s, format, arguments);
    va_end(arguments);
    TH_BUFFER text = {0};
    th_buffer_text(&text, reply->type == REDIS_REPLY_ERROR ? "-" : "");
    if (reply->str) {
        th_buffer_add(&text, reply->str, reply->len);
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        th_buffer_format(&text, "%lld", reply->integer);
    }
    freeReplyObject(reply);
    return th_buffer_take(&text);
}

long long redis_server_number(struct redis_server *s, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = say(s, format, arguments);
    va_end(arguments);
    long long number = reply->integer;
    if (reply->type != REDIS_REPLY_INTEGER) {
        die("'%s' answers no number: %s", format, reply->str ? reply->str : "nothing");
    }
    freeReplyObject(reply);
    return number;
}
