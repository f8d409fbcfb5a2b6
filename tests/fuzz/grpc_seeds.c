/*
 * Writes seeds for fuzz_grpc: what a real client sends, whole and cut, and lists of commands that
 * reach each of the handlers.
 *
 *     grpc_seeds tests/fuzz/corpus
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "unit/grpc_client.h"

static void save(const char *corpus, const char *name, struct th_str bytes)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/fuzz_grpc", corpus);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/fuzz_grpc/%s", corpus, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes.data, 1, bytes.len, file) != bytes.len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* What a client with these calls sends, in commands of at most `cut` bytes. */
static void save_client(const char *corpus, const char *name, size_t cut)
{
    struct grpc_client *client = grpc_client_new(100000, false);
    const struct grpc_client_field fields[] = {
        {"grpc-timeout", "1S"}, {"k-bin", "Zm9v"}, {"grpc-encoding", "gzip"}, {NULL, NULL}};
    TH_BUFFER seed = {0};
    grpc_client_unary(client, "/t/Echo", NULL, TH_STR("hello"));
    grpc_client_unary(client, "/t/One", fields, TH_STR("hello"));
    struct grpc_reply *reply = grpc_client_begin(client, "/t/Stream", NULL);
    grpc_client_begin(client, "/t/Wait", fields);
    grpc_client_fill(client);
    grpc_client_reset(reply, NGHTTP2_CANCEL);
    grpc_client_fill(client);
    for (size_t at = 0; at < client->out.len; at += cut) {
        size_t n = client->out.len - at < cut ? client->out.len - at : cut;
        const char head[] = {'r', (char)n, (char)(n >> 8)};
        th_buffer_add(&seed, head, sizeof(head));
        th_buffer_add(&seed, client->out.data + at, n);
        th_buffer_text(&seed, "o\xff");
    }
    save(corpus, name, th_buffer_view(&seed));
    grpc_client_free(client);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: grpc_seeds <corpus>\n");
        return 2;
    }
    save_client(argv[1], "client", 65535);
    save_client(argv[1], "client_cut", 7);
    save(argv[1], "echo", TH_STR("po\xffh\1\0\0m\1\5\0m\1\5\1o\xff"));
    save(argv[1], "one", TH_STR("po\xffh\1\3\4m\1\5\1o\xff"));
    save(argv[1], "stream",
         TH_STR("po\xffh\1\1\0o\xffw\0\100w\1\100o\xff"
                "t\1a\0\1\0o\xff"));
    save(argv[1], "slow", TH_STR("po\xffh\1\1\0h\3\1\0o\2a\0\0\377a\1\2\0o\3t\200o\xff"));
    save(argv[1], "deadline", TH_STR("po\xffh\1\2\2h\3\1\2t\5o\xff"));
    save(argv[1], "pause", TH_STR("po\xffh\1\0\0a\0\3\0m\1\377\0m\1\377\1a\0\4\0o\xff"));
    save(argv[1], "drain",
         TH_STR("po\xffh\1\2\0h\3\1\0g\10o\xff"
                "f\6\1\0\10t\100o\xfft\310o\xff"));
    save(argv[1], "cancel", TH_STR("po\xffh\1\2\0h\3\0\0m\3\5\0x\1x\3o\xff"));
    save(argv[1], "answer", TH_STR("po\xffh\1\2\0a\0\5\0a\0\0\5a\0\1\5o\xff"));
    save(argv[1], "refused", TH_STR("ph\1\4\0h\3\0\20h\5\0\40h\7\0\100h\11\0\10o\xff"));
    save(argv[1], "compressed", TH_STR("ph\1\0\0d\1\6\1\0o\xff"));
    save(argv[1], "idle", TH_STR("po\xfft\377t\377t\377o\xff"));
    save(argv[1], "http1", TH_STR("r\16\0GET / HTTP/1.1o\xff"));
    return 0;
}
