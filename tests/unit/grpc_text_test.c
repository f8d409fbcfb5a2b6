/* The small forms of gRPC: timeouts, messages in percent, base64; timers; bytes on their way. */
#include "unit/base_test.h"

#include "base/hash.h"
#include "base/memory.h"
#include "grpc/internal.h"

static void timeouts(void **state)
{
    static const struct {
        const char *text;
        th_time time;
    } good[] = {
        {"1H", 3600 * TH_SECOND},
        {"2M", 120 * TH_SECOND},
        {"3S", 3 * TH_SECOND},
        {"100m", 100 * TH_MILLISECOND},
        {"5u", 5},
        {"1n", 1},
        {"1000n", 1},
        {"1001n", 2},
        {"0S", 0},
        {"99999999H", INT64_C(99999999) * 3600 * TH_SECOND},
    };
    for (size_t i = 0; i < TH_COUNT(good); i++) {
        th_time time;
        assert_true(th_grpc_timeout_parse(th_str_of(good[i].text), &time));
        assert_int_equal(time, good[i].time);
    }
    static const char *const bad[] = {"",    "S",   "1",   "1s",         "-1S", "+1S",
                                      "1 S", "1.S", "1SS", "123456789S", "aS",  NULL};
    for (size_t i = 0; bad[i]; i++) {
        th_time time;
        assert_false(th_grpc_timeout_parse(th_str_of(bad[i]), &time));
    }
}

static void messages_in_percent(void **state)
{
    static const struct {
        const char *text, *encoded;
        size_t limit;
    } cases[] = {
        {"", "", 10},
        {"plain text", "plain text", 10},
        {"100%", "100%25", 10},
        {"a\nb\x7f", "a%0Ab%7F", 20},
        {"gr\xc3\xbc\xc3\x9f", "gr%C3%BC%C3%9F", 20},
        {" a b ", "%20a b%20", 20},
        {" ", "%20", 20},
        {"abcdef", "abc", 3},
        {"ab cdef", "ab", 3},    /* no space at the end */
        {"ab\xc3\xbc", "ab", 7}, /* whole characters */
        {"ab\xc3\xbc", "ab%C3%BC", 8},
        {"a\xf0\x9f\x98\x80", "a", 12},
        {"a\xf0\x9f\x98\x80", "a%F0%9F%98%80", 13},
        {"\xff\xc3", "%FF%C3", 6}, /* no UTF-8: byte by byte */
        {"\xff\xc3", "%FF", 5},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_BUFFER out = {0};
        th_buffer_text(&out, ">");
        th_grpc_percent_encode(&out, th_str_of(cases[i].text), cases[i].limit);
        assert_str(th_str_n(out.data + 1, out.len - 1), cases[i].encoded);
    }
}

static void base64(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"", ""},
        {"f", "Zg"},
        {"fo", "Zm8"},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg"},
        {"\xff\xfe", "//4"},
        {"\xfb\xef\xbe", "++++"},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_BUFFER encoded = {0};
        TH_BUFFER decoded = {0};
        th_grpc_base64_encode(&encoded, th_str_of(cases[i].bytes));
        assert_str(th_buffer_view(&encoded), cases[i].text);
        assert_true(th_grpc_base64_decode(&decoded, th_buffer_view(&encoded)));
        assert_str(th_buffer_view(&decoded), cases[i].bytes);
    }
}

static void base64_of_others(void **state)
{
    static const struct {
        const char *text, *bytes; /* NULL: none */
    } cases[] = {
        {"Zg==", "f"},  {"Zm8=", "fo"},  {"Zm9v,Zg==", "foof"}, {"Zg,Zg", "ff"}, {",", ""},
        {"Z", NULL},    {"Zm9vZ", NULL}, {"Zm 9", NULL},        {"Zg===", NULL}, {"Z=g=", NULL},
        {"Zg-_", NULL}, {"=", ""},       {"Zg,Z", NULL},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_BUFFER decoded = {0};
        assert_int_equal(th_grpc_base64_decode(&decoded, th_str_of(cases[i].text)),
                         cases[i].bytes != NULL);
        if (cases[i].bytes) {
            assert_str(th_buffer_view(&decoded), cases[i].bytes);
        }
    }
}

static void any_bytes_survive_base64(void **state)
{
    struct th_random random;
    th_random_seed(&random, 7);
    for (size_t len = 0; len < 300; len++) {
        char bytes[300];
        TH_BUFFER encoded = {0};
        TH_BUFFER decoded = {0};
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)th_random_next(&random);
        }
        th_grpc_base64_encode(&encoded, th_str_n(bytes, len));
        assert_true(th_grpc_base64_decode(&decoded, th_buffer_view(&encoded)));
        assert_true(th_str_eq(th_buffer_view(&decoded), th_str_n(bytes, len)));
    }
}

/* ---- timers ---- */

enum { TIMERS = 200 };

static th_time earliest(const struct th_grpc_timer *timers)
{
    th_time first = TH_TIME_NONE;
    for (size_t i = 0; i < TIMERS; i++) {
        if (timers[i].at && (first == TH_TIME_NONE || timers[i].due < first)) {
            first = timers[i].due;
        }
    }
    return first;
}

static void timers_come_in_order(void **state)
{
    struct th_grpc_timer timers[TIMERS];
    struct th_grpc_heap heap = {0};
    struct th_random random;
    th_random_seed(&random, 3);
    for (size_t i = 0; i < TIMERS; i++) {
        timers[i] = (struct th_grpc_timer){.due = TH_TIME_NONE};
    }
    for (int round = 0; round < 20000; round++) {
        struct th_grpc_timer *timer = &timers[th_random_below(&random, TIMERS)];
        bool out = th_random_below(&random, 3) == 0;
        th_grpc_heap_set(&heap, timer, out ? TH_TIME_NONE : (th_time)th_random_below(&random, 500));
        struct th_grpc_timer *first = th_grpc_heap_first(&heap);
        assert_int_equal(first ? first->due : TH_TIME_NONE, earliest(timers));
    }
    th_grpc_heap_deinit(&heap);
}

/* ---- out ---- */

/* Puts text and blobs in, takes them out in pieces of every size, and compares. */
static void check_out(size_t step)
{
    struct th_grpc_out out = {0};
    TH_BUFFER expected = {0};
    TH_BUFFER got = {0};
    for (size_t i = 0; i < 40; i++) {
        size_t len = i % 4 == 0 ? 5000 + i : i;
        struct th_blob *blob = th_blob_alloc(len);
        memset(blob->data, 'a' + (int)(i % 26), len);
        th_grpc_out_copy(&out, "head", 4);
        th_grpc_out_blob(&out, blob, len / 3, len - len / 3);
        th_buffer_text(&expected, "head");
        th_buffer_add(&expected, blob->data, len - len / 3);
        th_blob_unref(blob);
    }
    while (out.pending > 0) {
        struct iovec iov[3];
        size_t n = th_grpc_out_peek(&out, iov, TH_COUNT(iov)), taken = 0;
        assert_true(n > 0);
        for (size_t i = 0; i < n && taken < step; i++) {
            size_t len = iov[i].iov_len < step - taken ? iov[i].iov_len : step - taken;
            th_buffer_add(&got, iov[i].iov_base, len);
            taken += len;
        }
        th_grpc_out_sent(&out, taken);
    }
    assert_true(th_str_eq(th_buffer_view(&got), th_buffer_view(&expected)));
    th_grpc_out_deinit(&out);
}

static void bytes_leave_in_order(void **state)
{
    for (size_t step = 1; step < 9000; step = step * 3 + 1) {
        check_out(step);
    }
}

static void unsent_bytes_are_freed(void **state)
{
    struct th_grpc_out out = {0};
    struct th_blob *blob = th_blob_alloc(100000);
    memset(blob->data, 0, blob->len);
    th_grpc_out_copy(&out, "x", 1);
    th_grpc_out_blob(&out, blob, 0, 50000);
    th_grpc_out_blob(&out, blob, 50000, 50000);
    th_grpc_out_sent(&out, 50001);
    th_blob_unref(blob);
    th_grpc_out_deinit(&out);
}

static void statuses_have_names(void **state)
{
    assert_string_equal(th_grpc_status_text(TH_GRPC_OK), "OK");
    assert_string_equal(th_grpc_status_text(TH_GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(th_grpc_status_text((enum th_grpc_status)99), "UNKNOWN");
}

static void two_methods_of_one_path(void **state)
{
    static const struct th_grpc_handler none;
    const struct th_grpc_method methods[] = {{.path = "/a/B", .handler = &none},
                                             {.path = "/a/A", .handler = &none},
                                             {.path = "/a/B", .handler = &none}};
    struct th_grpc_service service;
    struct th_error error;
    assert_false(th_grpc_service_init(
        &service, &(struct th_grpc_server_options){.methods = methods, .method_count = 3}, &error));
    assert_int_equal(error.code, TH_INVALID);
    assert_non_null(strstr(error.message, "/a/B"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts),
        cmocka_unit_test(messages_in_percent),
        cmocka_unit_test(base64),
        cmocka_unit_test(base64_of_others),
        cmocka_unit_test(any_bytes_survive_base64),
        cmocka_unit_test(timers_come_in_order),
        cmocka_unit_test(bytes_leave_in_order),
        cmocka_unit_test(unsent_bytes_are_freed),
        cmocka_unit_test(statuses_have_names),
        cmocka_unit_test(two_methods_of_one_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
