/* The server with TLS: who may talk to whom, and certificates that are replaced. */
#include "grpc/grpc.h"

#include <openssl/x509.h>
#include <signal.h>
#include <sys/socket.h>

#include "unit/base_test.h"

#include "base/memory.h"
#include "unit/grpc_certificates.h"
#include "unit/grpc_wire.h"

/* A directory with certificates; the names of files in it. */
struct files {
    char directory[64];
    char ca[96], certificate[96], key[96], client[96], client_key[96], other[96], other_key[96];
};

static void name_file(const struct files *files, char out[static 96], const char *name)
{
    snprintf(out, 96, "%s/%s", files->directory, name);
}

static int set_up(void **state)
{
    struct files *files = TH_NEW(struct files);
    const char *base = getenv("TMPDIR");
    snprintf(files->directory, sizeof(files->directory), "%.40s/grpc-tls-XXXXXX",
             base ? base : "/tmp");
    assert_non_null(mkdtemp(files->directory));
    grpc_certificates(files->directory);
    name_file(files, files->ca, "ca.pem");
    name_file(files, files->certificate, "server.pem");
    name_file(files, files->key, "server.key");
    name_file(files, files->client, "client.pem");
    name_file(files, files->client_key, "client.key");
    name_file(files, files->other, "other.pem");
    name_file(files, files->other_key, "other.key");
    *state = files;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ca.pem",     "ca.key",     "server.pem", "server.key",
                                        "client.pem", "client.key", "other.pem",  "other.key"};
    struct files *files = *state;
    for (size_t i = 0; i < TH_COUNT(names); i++) {
        char path[96];
        name_file(files, path, names[i]);
        unlink(path);
    }
    rmdir(files->directory);
    free(files);
    return 0;
}

/* ---- servers and clients ---- */

static void echo(struct th_grpc_call *call, struct th_blob *message)
{
    th_grpc_send(call, message);
}

static void finish(struct th_grpc_call *call)
{
    th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), (struct th_grpc_metadata){0});
}

static const struct th_grpc_handler echoing = {.message = echo, .half_closed = finish};
static const struct th_grpc_method methods[] = {{.path = "/t/Echo", .handler = &echoing}};

static struct th_grpc_server *try_start(const struct files *files, const char *client_ca,
                                        struct th_error *error)
{
    return th_grpc_server_start(&(struct th_grpc_server_options){.methods = methods,
                                                                 .method_count = TH_COUNT(methods),
                                                                 .certificate = files->certificate,
                                                                 .key = files->key,
                                                                 .client_ca = client_ca},
                                error);
}

static struct th_grpc_server *start(const struct files *files, const char *client_ca)
{
    struct th_error error = {0};
    struct th_grpc_server *server = try_start(files, client_ca, &error);
    if (!server) {
        print_error("%s\n", error.message);
    }
    assert_non_null(server);
    return server;
}

static struct grpc_wire *wire_to(const struct th_grpc_server *server,
                                 const struct grpc_wire_tls *tls)
{
    return grpc_wire_open("127.0.0.1", th_grpc_server_port(server), tls);
}

static bool serves(struct grpc_wire *wire, size_t len)
{
    TH_AUTOFREE char *bytes = th_alloc(len);
    if (!wire) {
        return false;
    }
    memset(bytes, 'e', len);
    struct grpc_reply *reply =
        grpc_client_unary(wire->client, "/t/Echo", NULL, th_str_n(bytes, len));
    return grpc_wire_finish(wire, reply) && reply->status == TH_GRPC_OK &&
           th_str_eq(grpc_reply_next(reply), th_str_n(bytes, len));
}

/* Opens, calls and closes. */
static bool served(const struct th_grpc_server *server, const struct grpc_wire_tls *tls)
{
    struct grpc_wire *wire = wire_to(server, tls);
    bool good = serves(wire, 10);
    grpc_wire_close(wire);
    return good;
}

/* ---- tests ---- */

static void echoes(void **state)
{
    const struct files *files = *state;
    struct th_grpc_server *server = start(files, NULL);
    struct grpc_wire *wire = wire_to(server, &(struct grpc_wire_tls){.ca = files->ca});
    assert_non_null(wire);
    assert_true(serves(wire, 1));
    assert_true(serves(wire, 100000));
    assert_true(serves(wire, 4 << 20));
    assert_string_equal(SSL_get_version(wire->tls), "TLSv1.3");
    grpc_wire_close(wire);
    th_grpc_server_stop(server, 0);
}

static void versions(void **state)
{
    const struct files *files = *state;
    struct th_grpc_server *server = start(files, NULL);
    assert_true(
        served(server, &(struct grpc_wire_tls){.ca = files->ca, .version = TLS1_2_VERSION}));
    assert_false(
        served(server, &(struct grpc_wire_tls){.ca = files->ca, .version = TLS1_1_VERSION}));
    th_grpc_server_stop(server, 0);
}

static void protocols(void **state)
{
    const struct files *files = *state;
    struct th_grpc_server *server = start(files, NULL);
    assert_true(served(server, &(struct grpc_wire_tls){.ca = files->ca, .protocol = "h2"}));
    assert_null(wire_to(server, &(struct grpc_wire_tls){.ca = files->ca, .protocol = "http/1.1"}));
    assert_false(served(server, &(struct grpc_wire_tls){.ca = files->ca, .protocol = ""}));
    th_grpc_server_stop(server, 0);
}

static void clear_text_on_a_port_with_tls(void **state)
{
    struct th_grpc_server *server = start(*state, NULL);
    struct grpc_wire *wire = wire_to(server, NULL);
    assert_non_null(wire);
    grpc_client_unary(wire->client, "/t/Echo", NULL, TH_STR("a"));
    assert_true(grpc_wire_closed(wire));
    grpc_wire_close(wire);
    th_grpc_server_stop(server, 0);
}

static void a_client_that_trusts_others(void **state)
{
    const struct files *files = *state;
    struct th_grpc_server *server = start(files, NULL);
    assert_null(wire_to(server, &(struct grpc_wire_tls){.ca = files->other}));
    assert_true(served(server, &(struct grpc_wire_tls){.ca = files->ca}));
    th_grpc_server_stop(server, 0);
}

static void certificates_of_clients(void **state)
{
    const struct files *files = *state;
    struct th_grpc_server *server = start(files, files->ca);
    assert_false(served(server, &(struct grpc_wire_tls){.ca = files->ca}));
    assert_false(served(server, &(struct grpc_wire_tls){.ca = files->ca,
                                                        .certificate = files->other,
                                                        .key = files->other_key}));
    assert_true(served(server, &(struct grpc_wire_tls){.ca = files->ca,
                                                       .certificate = files->client,
                                                       .key = files->client_key}));
    th_grpc_server_stop(server, 0);
}

static bool shows(struct grpc_wire *wire, const char *name)
{
    char subject[256];
    X509 *certificate = SSL_get1_peer_certificate(wire->tls);
    assert_non_null(certificate);
    X509_NAME_oneline(X509_get_subject_name(certificate), subject, sizeof(subject));
    X509_free(certificate);
    return strstr(subject, name) != NULL;
}

static void replace(const char *from, const char *to)
{
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    char bytes[8192];
    assert_true(in && out);
    fwrite(bytes, 1, fread(bytes, 1, sizeof(bytes), in), out);
    fclose(in);
    fclose(out);
}

static void reloading(void **state)
{
    const struct files *files = *state;
    const struct grpc_wire_tls tls = {.ca = files->ca};
    struct th_grpc_server *server = start(files, NULL);
    struct th_error error = {0};
    struct grpc_wire *before = wire_to(server, &tls);
    assert_true(shows(before, "server"));

    replace(files->client, files->certificate); /* the key is the old one */
    assert_false(th_grpc_server_reload(server, &error));
    assert_int_equal(error.code, TH_INVALID);
    assert_non_null(strstr(error.message, "server.key"));
    struct grpc_wire *meanwhile = wire_to(server, &tls);
    assert_true(shows(meanwhile, "server"));

    replace(files->client_key, files->key);
    assert_true(th_grpc_server_reload(server, &error));
    struct grpc_wire *after = wire_to(server, &tls);
    assert_true(shows(after, "client"));
    assert_true(serves(before, 10) && serves(meanwhile, 10) && serves(after, 10));
    grpc_wire_close(before);
    grpc_wire_close(meanwhile);
    grpc_wire_close(after);
    th_grpc_server_stop(server, 0);
}

static void files_that_do_not_work(void **state)
{
    const struct files *good = *state;
    struct files bad;
    struct th_error error;

    bad = *good;
    name_file(good, bad.certificate, "missing.pem");
    assert_null(try_start(&bad, NULL, &error));
    assert_int_equal(error.code, TH_INVALID);
    assert_non_null(strstr(error.message, "missing.pem"));
    assert_non_null(strstr(error.message, "No such file"));

    bad = *good;
    name_file(good, bad.key, "other.key");
    assert_null(try_start(&bad, NULL, &error));
    assert_non_null(strstr(error.message, "other.key"));

    bad = *good;
    name_file(good, bad.key, "server.pem"); /* no key in it */
    assert_null(try_start(&bad, NULL, &error));
    assert_non_null(strstr(error.message, "server.pem"));

    assert_null(try_start(good, good->key, &error));
    assert_non_null(strstr(error.message, "CAs of clients"));

    assert_null(th_grpc_server_start(
        &(struct th_grpc_server_options){.certificate = good->certificate}, &error));
    assert_non_null(strstr(error.message, "both"));
    assert_null(
        th_grpc_server_start(&(struct th_grpc_server_options){.client_ca = good->ca}, &error));
    assert_non_null(strstr(error.message, "need TLS"));
}

/* A client that connects and says nothing. */
static void no_handshake(void **state)
{
    const struct files *files = *state;
    struct th_error error;
    struct th_grpc_server *server = th_grpc_server_start(
        &(struct th_grpc_server_options){
            .certificate = files->certificate, .key = files->key, .limits.handshake_ms = 100},
        &error);
    char byte;
    int fd = grpc_wire_connect("127.0.0.1", th_grpc_server_port(server));
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    th_grpc_server_stop(server, 0);
}

static void a_drain(void **state)
{
    const struct files *files = *state;
    struct th_grpc_server *server = start(files, NULL);
    struct grpc_wire *wire = wire_to(server, &(struct grpc_wire_tls){.ca = files->ca});
    assert_true(serves(wire, 10));
    th_grpc_server_drain(server, 10 * TH_SECOND);
    assert_true(grpc_wire_closed(wire));
    assert_true(wire->client->goaway);
    assert_int_equal(SSL_get_shutdown(wire->tls) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    grpc_wire_close(wire);
    th_grpc_server_stop(server, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(echoes),
        TEST(versions),
        TEST(protocols),
        TEST(clear_text_on_a_port_with_tls),
        TEST(a_client_that_trusts_others),
        TEST(certificates_of_clients),
        TEST(reloading),
        TEST(files_that_do_not_work),
        TEST(no_handshake),
        TEST(a_drain),
    };
    signal(SIGPIPE, SIG_IGN); /* the client's writes, when the server has closed */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
