/* The parts of the Redis client that need no Redis: the URL, requests as bytes, answers as words.
 */
#include "provider/redis/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/memory.h"

#include <cmocka.h>

/* ---- url ---- */

static void urls(void **state)
{
    static const struct {
        const char *text, *host, *name, *user, *password;
        unsigned port, database;
        bool tls;
        const char *ca, *cert, *key;
    } good[] = {
        {"redis://localhost", "localhost", "localhost:6379", NULL, NULL, 6379, 0},
        {"redis://10.0.0.1:7000/3", "10.0.0.1", "10.0.0.1:7000", NULL, NULL, 7000, 3},
        {"redis://h/", "h", "h:6379", NULL, NULL, 6379, 0},
        {"redis://me:pa@h", "h", "h:6379", "me", "pa", 6379, 0},
        {"redis://me@h", "h", "h:6379", "me", NULL, 6379, 0},
        {"redis://:pa:ss@h:1", "h", "h:1", NULL, "pa:ss", 1, 0},
        {"redis://me:%2f%40%25@h", "h", "h:6379", "me", "/@%", 6379, 0},
        {"redis://me:a@b@h", "h", "h:6379", "me", "a@b", 6379, 0},
        {"redis://[::1]", "::1", "[::1]:6379", NULL, NULL, 6379, 0},
        {"redis://[fe80::2]:80/1", "fe80::2", "[fe80::2]:80", NULL, NULL, 80, 1},
        {"rediss://me:secret@h/2", "h", "h:6379", "me", "secret", 6379, 2, true},
        {"rediss://h:1?ca=/a%26b.pem", "h", "h:1", NULL, NULL, 1, 0, true, "/a&b.pem"},
        {"rediss://:p?@h/1?key=k&ca=a&cert=c", "h", "h:6379", NULL, "p?", 6379, 1, true, "a", "c",
         "k"},
    };
    for (size_t i = 0; i < TH_COUNT(good); i++) {
        struct th_redis_url url;
        struct th_error error = {0};
        assert_true(th_redis_url_parse(good[i].text, &url, &error));
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.name, good[i].name);
        assert_true(th_str_eq(th_str_of(url.user), th_str_of(good[i].user)));
        assert_true(th_str_eq(th_str_of(url.password), th_str_of(good[i].password)));
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.database, good[i].database);
        assert_int_equal(url.tls, good[i].tls);
        assert_true(th_str_eq(th_str_of(url.ca), th_str_of(good[i].ca)));
        assert_true(th_str_eq(th_str_of(url.cert), th_str_of(good[i].cert)));
        assert_true(th_str_eq(th_str_of(url.key), th_str_of(good[i].key)));
        th_redis_url_deinit(&url);
    }
}

static void bad_urls(void **state)
{
    static const struct {
        const char *text;
        enum th_code code;
    } bad[] = {
        {NULL, TH_INVALID},
        {"", TH_INVALID},
        {"localhost:6379", TH_INVALID},
        {"http://secret@h", TH_INVALID},
        {"redis://", TH_INVALID},
        {"redis://:secret@", TH_INVALID},
        {"redis://h:0", TH_INVALID},
        {"redis://h:65536", TH_INVALID},
        {"redis://h:", TH_INVALID},
        {"redis://h:6379x", TH_INVALID},
        {"redis://h/one", TH_INVALID},
        {"redis://h/-1", TH_INVALID},
        {"redis://[::1", TH_INVALID},
        {"redis://[::1]6379", TH_INVALID},
        {"redis://me:secret%2@h", TH_INVALID},
        {"redis://me:secret%zz@h", TH_INVALID},
        {"redis://me:secret%00@h", TH_INVALID},
        {"rediss://me:secret@", TH_INVALID},
        {"rediss://me:secret@h?cas=a", TH_INVALID},
        {"rediss://me:secret@h?ca", TH_INVALID},
        {"rediss://me:secret@h?ca=", TH_INVALID},
        {"rediss://me:secret@h?ca=a&&key=k&cert=c", TH_INVALID},
        {"rediss://me:secret@h?ca=%zz", TH_INVALID},
        {"rediss://me:secret@h?cert=c", TH_INVALID},
        {"rediss://me:secret@h?key=k", TH_INVALID},
        {"redis://me:secret@h?ca=a", TH_INVALID},
    };
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        struct th_redis_url url;
        struct th_error error = {0};
        assert_false(th_redis_url_parse(bad[i].text, &url, &error));
        assert_int_equal(error.code, bad[i].code);
        assert_true(error.message[0] && !strstr(error.message, "secret"));
    }
}

/* ---- command ---- */

/* What is sent, taken in runs of at most `max`. */
static char *sent(const struct th_redis_command *c, size_t max, size_t *len)
{
    TH_BUFFER all = {0};
    struct th_redis_place place = {0};
    for (;;) {
        struct th_str run = th_redis_command_next(c, &place, max);
        if (!th_str_present(run)) {
            break;
        }
        assert_true(run.len > 0 && run.len <= max);
        th_buffer_str(&all, run);
    }
    *len = all.len;
    return th_buffer_take(&all);
}

static void requests_are_bulk_strings(void **state)
{
    struct th_redis_command c = {0};
    size_t len;
    th_redis_command_text(&c, "SET");
    th_redis_command_add(&c, TH_STR("a\0b"));
    th_redis_command_number(&c, 120);
    th_redis_command_add(&c, TH_STR_ABSENT);
    th_redis_command_finish(&c);
    TH_AUTOFREE char *bytes = sent(&c, 3, &len);
    static const char expected[] = "*4\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$3\r\n120\r\n$0\r\n\r\n";
    assert_int_equal(len, sizeof(expected) - 1);
    assert_memory_equal(bytes, expected, len);
    th_redis_command_deinit(&c);
}

/* Long blobs are not copied, and stand where they were put. */
static void blobs_stand_in_their_places(void **state)
{
    enum { LONG = 100000 };
    struct th_blob *blob = th_blob_alloc(LONG);
    struct th_blob *empty = th_blob_new(NULL, 0);
    struct th_redis_command c = {0};
    memset(blob->data, 'x', LONG);
    th_redis_command_blob(&c, blob);
    th_redis_command_open(&c, 2 * LONG + 2);
    th_redis_command_part(&c, TH_STR("<"));
    th_redis_command_part_blob(&c, blob);
    th_redis_command_part_blob(&c, blob);
    th_redis_command_part_blob(&c, empty);
    th_redis_command_part(&c, TH_STR(">"));
    th_redis_command_close(&c);
    th_redis_command_blob(&c, empty);
    th_redis_command_finish(&c);
    assert_true(c.text.len < 200 && atomic_load(&blob->references) == 4);

    static const size_t runs[] = {1, 7, 4096, 1 << 20};
    for (size_t i = 0; i < TH_COUNT(runs); i++) {
        size_t len;
        TH_AUTOFREE char *bytes = sent(&c, runs[i], &len);
        assert_int_equal(len,
                         strlen("*3\r\n$100000\r\n\r\n$200002\r\n<>\r\n$0\r\n\r\n") + 3 * LONG);
        assert_memory_equal(bytes, "*3\r\n$100000\r\nxxx", 16);
        assert_memory_equal(bytes + 13 + LONG - 1, "x\r\n$200002\r\n<x", 14);
        assert_string_equal(bytes + len - 10, "x>\r\n$0\r\n\r\n");
    }
    th_redis_command_deinit(&c);
    assert_int_equal(atomic_load(&blob->references), 1);
    th_blob_unref(blob);
    th_blob_unref(empty);
}

/* ---- answers ---- */

static void complaints_become_sentences(void **state)
{
    static const struct {
        const char *answer;
        enum th_code code;
        const char *words;
    } answers[] = {
        {"LOADING Redis is loading the dataset in memory", TH_UNAVAILABLE, "loading its data"},
        {"OOM allow-oom flag is not set", TH_UNAVAILABLE, "maxmemory"},
        {"MISCONF Redis is configured to save RDB snapshots", TH_UNAVAILABLE, "cannot save"},
        {"READONLY You can't write against a read only replica.", TH_UNAVAILABLE, "primary"},
        {"NOAUTH Authentication required.", TH_UNAVAILABLE, "password"},
        {"WRONGPASS invalid username-password pair", TH_UNAVAILABLE, "does not accept"},
        {"NOPERM this user has no permissions", TH_UNAVAILABLE, "rights"},
        {"MOVED 1 127.0.0.1:7001", TH_UNAVAILABLE, "cluster"},
        {"WRONGTYPE Operation against a key", TH_CORRUPT, "something else"},
        {"ERR user_function:100: attempt to index nil", TH_CORRUPT, "function failed"},
        {"ERR what nobody foresaw", TH_IO, "what nobody foresaw"},
    };
    for (size_t i = 0; i < TH_COUNT(answers); i++) {
        struct th_error error = {0};
        assert_false(th_redis_reason(&error, "h:1", answers[i].answer));
        assert_int_equal(error.code, answers[i].code);
        assert_non_null(strstr(error.message, answers[i].words));
        assert_non_null(strstr(error.message, "h:1"));
    }
}

static void watermarks_come_back(void **state)
{
    struct th_watermark mark = {
        .offset = -7, .epoch = UINT64_MAX, .sequence = 3, .floor = -1, .position = 9, .rows = 5};
    struct th_watermark same = mark;
    struct th_watermark back;
    char a[TH_REDIS_MARK];
    char b[TH_REDIS_MARK];
    same.floor = same.position = 100;
    same.rows = 0;
    same.building = !mark.building;
    th_redis_mark_write(&mark, a);
    th_redis_mark_write(&same, b);
    assert_memory_equal(a, b, TH_REDIS_MARK_EQUAL);
    assert_true(th_redis_mark_read(th_str_n(a, TH_REDIS_MARK), &back));
    assert_true(th_watermark_equal(&back, &mark));
    assert_int_equal(back.floor, mark.floor);
    assert_int_equal(back.position, mark.position);
    assert_int_equal(back.rows, mark.rows);
    assert_int_equal(back.batch, mark.batch);
    same.batch++;
    th_redis_mark_write(&same, b);
    assert_memory_not_equal(a, b, TH_REDIS_MARK_EQUAL);
    assert_false(th_redis_mark_read(th_str_n(a, TH_REDIS_MARK - 1), &back));
}

static void times_sort_as_bytes(void **state)
{
    static const th_time times[] = {TH_TIME_NONE, INT64_MIN + 1, -1000, -1, 0, 1, 256, INT64_MAX};
    char before[8] = {0};
    for (size_t i = 0; i < TH_COUNT(times); i++) {
        char bytes[8];
        th_redis_time_write(times[i], bytes);
        assert_true(i == 0 || memcmp(before, bytes, sizeof(bytes)) < 0);
        memcpy(before, bytes, sizeof(bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(bad_urls),
        cmocka_unit_test(requests_are_bulk_strings),
        cmocka_unit_test(blobs_stand_in_their_places),
        cmocka_unit_test(complaints_become_sentences),
        cmocka_unit_test(watermarks_come_back),
        cmocka_unit_test(times_sort_as_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
