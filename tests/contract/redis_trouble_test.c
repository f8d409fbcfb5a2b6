/*
 * What happens to Redis, and what the projection half makes of it. Each case runs on a server of
 * its own, in the fixture of the suite. Nothing waits but for what it is about to see.
 */
#include "contract/subject_redis.h"
#include "provider/redis/redis.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

#include <cmocka.h>

enum { SHORT_MS = 500, PATIENCE_SECONDS = 20 };

static struct redis_server *server_of(const struct fixture *f)
{
    return redis_access_of(f)->server;
}

static struct plain_row sample(const char *id)
{
    return (struct plain_row){.id = id,
                              .last = 7,
                              .full = 7,
                              .status = TH_STATUS_RUNNING,
                              .created = 1000,
                              .updated = 2000,
                              .completed = TH_TIME_NONE,
                              .name = "Hello",
                              .info = "info",
                              .state = "state",
                              .input = "input",
                              .history = "events;"};
}

/* ---- waiting ---- */

static bool mentions(const struct th_completion *done, const char *words)
{
    return done && strstr(done->error.message, words);
}

/* UNAVAILABLE, with the server's address and these words. */
static bool unavailable(struct fixture *f, const struct th_completion *done, const char *words)
{
    const char *address = text_of(f, "127.0.0.1:%u", redis_server_port(server_of(f)));
    if (!done || done->error.code != TH_UNAVAILABLE || !mentions(done, address) ||
        !mentions(done, words)) {
        fprintf(stderr, "expected '%s', got: %s\n", words, done ? done->error.message : "nothing");
        return false;
    }
    return true;
}

static const struct th_completion *state(struct fixture *f)
{
    return result(f, ask_state(f, 0));
}

/* Asks for the state until it is answered so; it stays the caller's. */
static const struct th_completion *until_state(struct fixture *f, enum th_code code)
{
    th_time deadline = th_monotonic() + PATIENCE_SECONDS * TH_SECOND;
    for (;;) {
        const struct th_completion *done = state(f);
        if (!done || done->error.code == code || th_monotonic() > deadline) {
            return done && done->error.code == code ? done : NULL;
        }
        poll(NULL, 0, 2);
    }
}

static bool works_again(struct fixture *f)
{
    REQUIRE(f, until_state(f, TH_OK) != NULL);
    return true;
}

static bool say_ok(struct fixture *f, const char *command)
{
    char *answer = redis_server_say(server_of(f), "%s", command);
    bool good = strcmp(answer, "OK") == 0;
    if (!good) {
        fprintf(stderr, "%s: %s\n", command, answer);
    }
    free(answer);
    REQUIRE(f, good);
    return true;
}

static bool stands_at(struct fixture *f, int64_t n)
{
    const struct th_completion *done = state(f);
    struct th_watermark expected = mark(n);
    REQUIRE(f, done && done->error.code == TH_OK);
    REQUIRE(f, th_watermark_equal(&done->watermark, &expected));
    return true;
}

/* Everything anew, as an owner does that finds its rows gone. */
static bool cleared(struct fixture *f, int64_t from, int64_t n, const struct plain_row *row)
{
    struct plain_batch batch = {
        .previous = mark(from), .next = mark(n), .clear = true, .rows = row, .count = 1};
    batch.next.rows = 1;
    const struct th_completion *done = result(f, ask_batch(f, &batch));
    REQUIRE(f, done && done->error.code == TH_OK);
    return true;
}

/* ---- coming and going ---- */

static void case_absent_at_opening(struct fixture *f)
{
    const struct th_completion *first = state(f);
    EXPECT(f, first && first->error.code == TH_OK);
    redis_server_kill(server_of(f));
    EXPECT(f, reopen(f));
    EXPECT(f, unavailable(f, state(f), "Connection refused"));
    th_time before = th_monotonic();
    for (int i = 0; i < 100; i++) { /* promptly, now that it is known */
        EXPECT(f, unavailable(f, state(f), "Connection refused"));
    }
    EXPECT(f, th_monotonic() - before < 2 * TH_SECOND);
    redis_server_restart(server_of(f), NULL);
    EXPECT(f, works_again(f));
}

static void case_killed_with_work_under_way(struct fixture *f)
{
    enum { MANY = 500 };
    struct plain_row row = sample("a");
    uint64_t tags[MANY];
    EXPECT(f, projected(f, 0, 0, &row, 1));
    redis_server_pause(server_of(f));
    for (size_t i = 0; i < MANY; i++) {
        struct th_query query = {.from = TH_TIME_NONE,
                                 .to = TH_TIME_NONE,
                                 .completed_from = TH_TIME_NONE,
                                 .completed_to = TH_TIME_NONE,
                                 .limit = 10};
        tags[i] = i % 3 == 0   ? ask_load(f, 0, "a", true)
                  : i % 3 == 1 ? ask_query(f, &query)
                               : ask_project(f, 1, mark(-1), mark(0), &row, 1);
    }
    redis_server_kill(server_of(f));
    for (size_t i = 0; i < MANY; i++) { /* the fixture notices one that completes twice */
        EXPECT(f, unavailable(f, result(f, tags[i]), ""));
    }
    redis_server_restart(server_of(f), NULL);
    EXPECT(f, works_again(f) && stands_at(f, -1));
}

/* Nothing is kept then, neither rows nor functions. */
static void case_restart_without_persistence(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1));
    redis_server_kill(server_of(f));
    redis_server_restart(server_of(f), NULL);
    EXPECT(f, works_again(f) && stands_at(f, -1) && row_absent(f, 0, "a"));
    EXPECT(f, cleared(f, -1, 3, &row) && row_is(f, 0, &row, "events;"));
}

static const char *const with_aof[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

static void case_restart_with_aof(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1));
    row.history = "more;";
    EXPECT(f, projected(f, 0, 1, &row, 1));
    redis_server_kill(server_of(f));
    redis_server_restart(server_of(f), with_aof);
    EXPECT(f, works_again(f) && stands_at(f, 1) && row_is(f, 0, &row, "events;more;"));
    EXPECT(f, projected(f, 0, 2, &row, 1) && row_is(f, 0, &row, "events;more;more;"));
}

static void case_flushall(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1) && say_ok(f, "FLUSHALL"));
    EXPECT(f, stands_at(f, -1));
    const struct th_completion *load = result(f, ask_load(f, 0, "a", true));
    EXPECT(f, load && load->error.code == TH_NOT_FOUND && load->watermark.offset == -1);
    const struct th_completion *done = result(f, ask_project(f, 0, mark(0), mark(1), &row, 1));
    EXPECT(f, done && done->error.code == TH_FENCED && mentions(done, "offset -1"));
    EXPECT(f, done->watermark.offset == -1);
    EXPECT(f, cleared(f, -1, 1, &row) && row_is(f, 0, &row, "events;"));
}

static void case_functions_lost(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1) && say_ok(f, "FUNCTION FLUSH"));
    EXPECT(f, unavailable(f, state(f), "functions"));
    EXPECT(f, works_again(f) && row_is(f, 0, &row, "events;"));
}

/* ---- time-outs ---- */

/* What comes late is the answer to nothing that was asked since. */
static void case_stopped_and_continued(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1));
    redis_server_pause(server_of(f));
    th_time before = th_monotonic();
    uint64_t load = ask_load(f, 0, "a", true);
    uint64_t project = ask_project(f, 0, mark(0), mark(1), &row, 1);
    EXPECT(f, unavailable(f, result(f, load), "no answer came within 500 ms"));
    EXPECT(f, unavailable(f, result(f, project), "no answer came within 500 ms"));
    EXPECT(f, th_monotonic() - before >= SHORT_MS * TH_MILLISECOND);
    for (int i = 0; i < 100; i++) { /* promptly, now that it is known */
        EXPECT(f, unavailable(f, state(f), " within 500 ms"));
    }
    EXPECT(f, th_monotonic() - before < 20 * SHORT_MS * TH_MILLISECOND);

    redis_server_resume(server_of(f));
    EXPECT(f, works_again(f));
    EXPECT(f, row_absent(f, 0, "b") && row_absent(f, 1, "a"));
    const struct th_completion *stands = state(f); /* the batch was taken or not, but not half */
    EXPECT(f, stands && (stands->watermark.offset == 0 || stands->watermark.offset == 1));
    EXPECT(f, row_is(f, 0, &row, stands->watermark.offset == 0 ? "events;" : "events;events;"));
}

static void case_large_batches(struct fixture *f)
{
    enum { ROWS = 8, SIZE = 8 << 20 };
    TH_AUTOFREE char *text = th_alloc(SIZE + 1);
    memset(text, 'x', SIZE);
    struct plain_row rows[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = sample(text_of(f, "large %zu", i));
        rows[i].history = text;
        text[i] = 'y';
    }
    uint64_t tags[PARTITIONS];
    for (uint32_t p = 0; p < PARTITIONS; p++) { /* a quarter of a gigabyte on its way */
        tags[p] = ask_project(f, p, mark(-1), mark(0), rows, ROWS);
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        EXPECT(f, result(f, tags[p]) && result(f, tags[p])->error.code == TH_OK);
    }
    EXPECT(f, row_is(f, 3, &rows[7], text));
}

static void case_stopped_amid_a_large_batch(struct fixture *f)
{
    enum { SIZE = 32 << 20 };
    TH_AUTOFREE char *text = th_alloc(SIZE + 1);
    memset(text, 'x', SIZE);
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1));
    row.history = text;
    redis_server_pause(server_of(f));
    uint64_t tag = ask_project(f, 0, mark(0), mark(1), &row, 1);
    EXPECT(f, unavailable(f, result(f, tag), "no answer came within"));
    redis_server_resume(server_of(f));
    EXPECT(f, works_again(f) && stands_at(f, 0));
    row.history = "more;";
    EXPECT(f, projected(f, 0, 1, &row, 1) && row_is(f, 0, &row, "events;more;"));
}

/* ---- refusals ---- */

static void case_evicting_policy(struct fixture *f)
{
    EXPECT(f, unavailable(f, state(f), "maxmemory-policy allkeys-lru"));
    EXPECT(f, unavailable(f, result(f, ask_load(f, 0, "a", true)), "noeviction"));
    EXPECT(f, say_ok(f, "CONFIG SET maxmemory-policy noeviction") && works_again(f));
}

static void case_maxmemory(struct fixture *f)
{
    struct plain_row rows[] = {sample("a"), sample("b")};
    EXPECT(f, projected(f, 0, 0, rows, 2) && say_ok(f, "CONFIG SET maxmemory 1"));
    const struct th_completion *done = result(f, ask_project(f, 0, mark(0), mark(1), rows, 1));
    EXPECT(f, unavailable(f, done, "maxmemory"));
    EXPECT(f, row_is(f, 0, &rows[0], "events;") && stands_at(f, 0));
    rows[1].deleted = true;
    EXPECT(f, projected(f, 0, 1, &rows[1], 1) && row_absent(f, 0, "b")); /* this makes room */
    EXPECT(f, redis_server_number(server_of(f), "CLIENT KILL TYPE normal") >= 1);
    EXPECT(f, works_again(f) && row_is(f, 0, &rows[0], "events;")); /* also when connected anew */
    EXPECT(f, say_ok(f, "CONFIG SET maxmemory 0") && projected(f, 0, 2, rows, 1));
}

static void case_replica(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1));
    EXPECT(f, say_ok(f, "REPLICAOF 127.0.0.1 1"));
    const struct th_completion *done = result(f, ask_project(f, 0, mark(0), mark(1), &row, 1));
    EXPECT(f, unavailable(f, done, "replica"));
    EXPECT(f, say_ok(f, "REPLICAOF NO ONE") && works_again(f) && stands_at(f, 0));
}

static void case_wrong_type(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1));
    char *answer = redis_server_say(server_of(f), "SET %srows nonsense", redis_keys_of(f, 0));
    free(answer);
    const struct th_completion *done = result(f, ask_project(f, 0, mark(0), mark(1), &row, 1));
    EXPECT(f, done && done->error.code == TH_CORRUPT);
    EXPECT(f, stands_at(f, 0) && state(f)->stored_rows == UINT64_MAX);
    EXPECT(f, cleared(f, 0, 1, &row) && row_is(f, 0, &row, "events;"));

    answer = redis_server_say(server_of(f), "DEL %sstate", redis_keys_of(f, 0));
    free(answer);
    answer = redis_server_say(server_of(f), "SET %sstate nonsense", redis_keys_of(f, 0));
    free(answer);
    EXPECT(f, stands_at(f, -1) && cleared(f, -1, 2, &row) && row_is(f, 0, &row, "events;"));
}

static struct th_provider *open_at(struct fixture *f, const char *url)
{
    struct th_error error = {0};
    struct th_redis_options options = {.url = url};
    struct th_provider *other = th_redis_open(&options, &f->provider->hub, &error);
    expect(f, other != NULL, error.message, __FILE__, __LINE__);
    return other;
}

static struct th_provider *open_as(struct fixture *f, const char *user)
{
    return open_at(f, redis_server_url(server_of(f), user));
}

/* One state of another handle: waits for its completion without a wake-up hook. */
static struct th_completion state_of(struct th_provider *provider)
{
    struct th_completion done = {.error.code = TH_TIMEOUT};
    th_time deadline = th_monotonic() + PATIENCE_SECONDS * TH_SECOND;
    provider->ops->state(provider, 0, 1);
    while (th_monotonic() < deadline && provider->ops->poll(provider, &done, 1) == 0) {
        poll(NULL, 0, 1);
    }
    return done;
}

/* A user and what the refusal says of them; and the handle is closed. */
static bool refused(struct fixture *f, const char *user, const char *words)
{
    struct th_provider *other = open_as(f, user);
    if (!other) {
        return false;
    }
    struct th_completion done = state_of(other);
    bool good = words ? unavailable(f, &done, words) : done.error.code == TH_OK;
    REQUIRE(f, good && !mentions(&done, "wrong"));
    other->ops->close(other);
    return true;
}

static void case_passwords(struct fixture *f)
{
    EXPECT(f, state(f)->error.code == TH_OK && refused(f, "somebody:wrong", "does not accept"));
    EXPECT(f, refused(f, ":right", "has no password"));
    EXPECT(f, say_ok(f, "CONFIG SET requirepass right/@%"));
    EXPECT(f, refused(f, NULL, "asks for a password") && refused(f, ":wrong", "does not accept"));
    EXPECT(f, refused(f, ":right%2F%40%25", NULL));
    EXPECT(f, refused(f, "default:right%2f%40%25", NULL));
}

/* What is missing is told before anything is written with half of the rights. */
static void case_missing_rights(struct fixture *f)
{
    static const struct {
        const char *rule, *words;
    } users[] = {{"+@all", NULL},
                 {"+@all -zrem", "right to ZREM"},
                 {"+@all -unlink", "right to UNLINK"},
                 {"+@all resetkeys ~{other:*", "rights"},
                 {"+@all resetchannels &{other:*", "right to PUBLISH"},
                 {"+@all -fcall", "rights"},
                 {"+@all -info", "rights"},
                 {"+@all -function", NULL}}; /* somebody else has loaded them */
    for (size_t i = 0; i < TH_COUNT(users); i++) {
        const char *command = text_of(
            f, "ACL SETUSER one reset on >pass ~{contract:* &{contract:* -@all %s", users[i].rule);
        EXPECT(f, say_ok(f, command) && refused(f, "one:pass", users[i].words));
    }
    EXPECT(f, say_ok(f, "FUNCTION FLUSH") && refused(f, "one:pass", "rights"));
}

/* ---- servers that will not do ---- */

/* Answers the first thing it is told as a Redis of long ago would, and nothing more. */
static void *play_old_redis(void *argument)
{
    static const char info[] = "redis_version:6.2.14\r\nmaxmemory_policy:noeviction\r\n";
    int listener = *(int *)argument;
    int fd = accept(listener, NULL, NULL);
    char bytes[1 << 16];
    if (fd >= 0 && read(fd, bytes, sizeof(bytes)) > 0) {
        dprintf(fd, "$%zu\r\n%s\r\n-ERR unknown command `FUNCTION`\r\n", sizeof(info) - 1, info);
        while (read(fd, bytes, sizeof(bytes)) > 0) {
        }
    }
    close(fd);
    return NULL;
}

static void case_too_old(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(f, bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 1) == 0);
    EXPECT(f, getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    pthread_t thread;
    EXPECT(f, pthread_create(&thread, NULL, play_old_redis, &listener) == 0);
    struct th_provider *old =
        open_at(f, text_of(f, "redis://127.0.0.1:%u", ntohs(address.sin_port)));
    struct th_completion done = state_of(old);
    old->ops->close(old);
    close(listener);
    pthread_join(thread, NULL);
    EXPECT(f, done.error.code == TH_UNAVAILABLE && mentions(&done, "version 6.2.14"));
}

static void case_host_names(struct fixture *f)
{
    const char *url = redis_server_url(server_of(f), NULL);
    const char *rest = strstr(url, "127.0.0.1") + strlen("127.0.0.1");
    const char *scheme = strncmp(url, "rediss", 6) == 0 ? "rediss" : "redis";
    struct th_provider *named = open_at(f, text_of(f, "%s://localhost%s", scheme, rest));
    struct th_completion done = state_of(named);
    named->ops->close(named);
    EXPECT(f, done.error.code == TH_OK);
    struct th_provider *nowhere = open_at(f, "redis://nowhere.invalid");
    done = state_of(nowhere);
    nowhere->ops->close(nowhere);
    EXPECT(f, done.error.code == TH_UNAVAILABLE && mentions(&done, "nowhere.invalid"));
    nowhere = open_at(f, "redis://nowhere.invalid");
    th_time before = th_monotonic();
    nowhere->ops->close(nowhere); /* does not wait for the resolver */
    EXPECT(f, th_monotonic() - before < TH_SECOND);
}

/* ---- news and replies ---- */

static bool news_without_blob(struct fixture *f, size_t i)
{
    const struct th_completion *it = told(f, i);
    REQUIRE(f, it && it->kind == TH_DONE_NEWS && it->partition == 2 && !it->blob);
    return true;
}

static bool news_come(struct fixture *f, int64_t n, const char *text)
{
    struct plain_row row = sample("a");
    row.news = text;
    size_t before = f->told_count;
    REQUIRE(f, projected(f, 2, n, &row, 1));
    const struct th_completion *it = told(f, before);
    REQUIRE(f, it && it->kind == TH_DONE_NEWS && blob_is(it->blob, text));
    return true;
}

static atomic_int silences;

/* The listener's loss shows nowhere else. */
static void count_silences(void *argument, enum th_level level, const char *category,
                           const char *line)
{
    if (strstr(line, "listener: ") && strstr(line, "no answer came")) {
        atomic_fetch_add(&silences, 1);
    }
}

static const struct th_log silence_log = {.level = TH_LOG_DEBUG, .sink = count_silences};

static bool silence_noticed(void)
{
    th_time deadline = th_monotonic() + PATIENCE_SECONDS * TH_SECOND;
    while (atomic_load(&silences) == 0 && th_monotonic() < deadline) {
        poll(NULL, 0, 2);
    }
    return atomic_load(&silences) > 0;
}

/* After each loss it is told that something may have been missed, once it is certain that nothing
 * more will be. */
static void case_watch_survives(struct fixture *f)
{
    f->provider->ops->watch(f->provider, 2, true);
    EXPECT(f, news_without_blob(f, 0) && news_come(f, 0, "one"));
    EXPECT(f, redis_server_number(server_of(f), "CLIENT KILL TYPE pubsub") == 1);
    EXPECT(f, news_without_blob(f, 2) && news_come(f, 1, "two"));

    redis_server_kill(server_of(f));
    redis_server_restart(server_of(f), NULL);
    forget_rows(f);
    EXPECT(f, news_without_blob(f, 4) && works_again(f) && news_come(f, 0, "three"));

    atomic_store(&silences, 0);
    redis_server_pause(server_of(f)); /* noticed only by asking now and then */
    EXPECT(f, silence_noticed());
    redis_server_resume(server_of(f));
    EXPECT(f, works_again(f) && news_without_blob(f, 6) && news_come(f, 1, "four"));
}

static void case_between_processes(struct fixture *f)
{
    struct th_provider *other = open_as(f, NULL);
    EXPECT(f, other && strcmp(other->address, f->provider->address) != 0);
    f->provider->ops->watch(f->provider, 2, true);
    bool good = news_without_blob(f, 0);
    struct th_blob *message = th_blob_new("hello", 5);
    other->ops->reply(other, f->provider->address, message);
    th_blob_unref(message);
    const struct th_completion *reply = good ? told(f, 1) : NULL;
    other->ops->close(other);
    EXPECT(f, reply && reply->kind == TH_DONE_REPLY && blob_is(reply->blob, "hello"));
}

/* ---- the cases ---- */

static const char *const evicting[] = {"--maxmemory-policy", "allkeys-lru", NULL};

struct trouble {
    const char *name;
    conformance_case *run;
    const char *const *options;
    uint32_t timeout_ms;
};

static const struct trouble troubles[] = {
    {"absent_at_opening", case_absent_at_opening},
    {"killed_with_work_under_way", case_killed_with_work_under_way},
    {"restart_without_persistence", case_restart_without_persistence},
    {"restart_with_aof", case_restart_with_aof, with_aof},
    {"flushall", case_flushall},
    {"functions_lost", case_functions_lost},
    {"stopped_and_continued", case_stopped_and_continued, NULL, SHORT_MS},
    {"large_batches", case_large_batches},
    {"stopped_amid_a_large_batch", case_stopped_amid_a_large_batch, NULL, SHORT_MS},
    {"evicting_policy", case_evicting_policy, evicting},
    {"maxmemory", case_maxmemory},
    {"replica", case_replica},
    {"wrong_type", case_wrong_type},
    {"passwords", case_passwords},
    {"missing_rights", case_missing_rights},
    {"too_old", case_too_old},
    {"host_names", case_host_names},
    {"watch_survives", case_watch_survives, NULL, SHORT_MS},
    {"between_processes", case_between_processes},
};

static void run_trouble(void **data)
{
    const struct trouble *trouble = *data;
    struct redis_access access = {.server = redis_server_start(trouble->options),
                                  .timeout_ms = trouble->timeout_ms,
                                  .log = &silence_log};
    struct subject subject = redis_subject(&access);
    struct named_case named = {.name = trouble->name, .run = trouble->run};
    char failure[512];
    bool good = conformance_run(&subject, &named, failure);
    redis_server_stop(access.server);
    if (!good) {
        fail_msg("%s: %s", trouble->name, failure);
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[TH_COUNT(troubles)];
    size_t count = 0;
    for (size_t i = 0; i < TH_COUNT(troubles); i++) {
        if (argc < 2 || strcmp(argv[1], troubles[i].name) == 0) {
            tests[count++] = (struct CMUnitTest){.name = troubles[i].name,
                                                 .test_func = run_trouble,
                                                 .initial_state = (void *)&troubles[i]};
        }
    }
    return _cmocka_run_group_tests("redis trouble", tests, count, NULL, NULL);
}
