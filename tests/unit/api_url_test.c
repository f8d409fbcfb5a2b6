#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "api/route.h"
#include "api/url.h"

#include <cmocka.h>

static void check(struct th_str got, const char *wanted)
{
    assert_non_null(got.data);
    assert_string_equal(got.data, wanted);
    assert_int_equal(got.len, strlen(wanted));
}

static void test_target(void **state)
{
    TH_ARENA arena = {0};
    struct th_target t;
    assert_true(th_target_parse(TH_STR("/a/b%20c//d%2Fe/?x=1&y=a+b%2B&flag&z=%zz&x=2&&=v"), &arena,
                                &t, NULL));
    check(t.path, "/a/b%20c//d%2Fe/");
    assert_int_equal(t.segment_count, 3);
    check(t.segments[0], "a");
    check(t.segments[1], "b c");
    check(t.segments[2], "d/e");
    check(th_pairs_get(&t.query, "X"), "1");
    check(th_pairs_get(&t.query, "y"), "a b+");
    check(th_pairs_get(&t.query, "flag"), "");
    check(th_pairs_get(&t.query, "z"), "%zz");
    assert_false(th_str_present(th_pairs_get(&t.query, "none")));
    assert_int_equal(t.query.count, 6);
}

static void test_absolute(void **state)
{
    TH_ARENA arena = {0};
    struct th_target t;
    assert_true(th_target_parse(TH_STR("HTTP://host:80/a?b=c"), &arena, &t, NULL));
    check(t.path, "/a");
    check(th_pairs_get(&t.query, "b"), "c");
    assert_true(th_target_parse(TH_STR("http://host"), &arena, &t, NULL));
    assert_int_equal(t.segment_count, 0);
}

static void test_refused(void **state)
{
    static const char *const targets[] = {"/a%00b", "/a?b=%00", "/a?%00", "/%ff", "/a?b=%c3"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        TH_ARENA arena = {0};
        struct th_target t;
        struct th_error error = {0};
        assert_false(th_target_parse(th_str_of(targets[i]), &arena, &t, &error));
        assert_int_equal(error.code, TH_INVALID);
    }
}

static void test_too_many(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER path = {0}, query = {0};
    struct th_target t;
    struct th_error error;
    for (int i = 0; i <= TH_TARGET_SEGMENTS; i++) {
        th_buffer_text(&path, "/a");
    }
    assert_false(th_target_parse(th_buffer_view(&path), &arena, &t, &error));
    assert_non_null(strstr(error.message, "segments"));
    th_buffer_text(&query, "/?");
    for (int i = 0; i <= TH_TARGET_PAIRS; i++) {
        th_buffer_text(&query, "a=1&");
    }
    assert_false(th_target_parse(th_buffer_view(&query), &arena, &t, &error));
    assert_non_null(strstr(error.message, "parameters"));
}

static void test_encode(void **state)
{
    TH_BUFFER out = {0};
    th_url_put_encoded(&out, TH_STR("a-._~Z9 /?&=%\xC3\xA4"));
    th_buffer_add(&out, "", 1);
    assert_string_equal(out.data, "a-._~Z9%20%2F%3F%26%3D%25%C3%A4");
}

struct match {
    const char *pattern, *path;
    const char *params; /* "name=value;..." ; NULL: no match */
};

static void test_match(void **state)
{
    static const struct match table[] = {
        {"instances/{id}", "/instances/a", "id=a;"},
        {"instances/{id}", "/INSTANCES/A/", "id=A;"},
        {"instances/{id}", "/instances", NULL},
        {"instances/{id}", "/instances/a/b", NULL},
        {"/a/{x?}", "/a", ""},
        {"/a/{x?}", "/a/1", "x=1;"},
        {"a/{id:int?}", "/a/1", "id=1;"},
        {"a/{id:int}", "/a/1", "id=1;"},
        {"f/{*rest}", "/f/1/2%2F3", "rest=1/2/3;"},
        {"f/{*rest}", "/f", "rest=;"},
        {"", "/", ""},
        {"", "/a", NULL},
        {"a{b}", "/a{b}", ""},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        TH_ARENA arena = {0};
        TH_BUFFER got = {0};
        struct th_target t;
        struct th_pairs params = {0};
        assert_true(th_target_parse(th_str_of(table[i].path), &arena, &t, NULL));
        bool fits = th_route_match(table[i].pattern, &t, 0, &arena, &params);
        if (fits != (table[i].params != NULL)) {
            fail_msg("%s %s: %d", table[i].pattern, table[i].path, fits);
        }
        for (size_t p = 0; p < params.count && fits; p++) {
            th_buffer_format(&got, "%.*s=%.*s;", TH_PRI(params.items[p].name),
                             TH_PRI(params.items[p].value));
        }
        th_buffer_add(&got, "", 1);
        assert_string_equal(got.data, fits ? table[i].params : "");
    }
}

static void test_methods(void **state)
{
    assert_true(th_route_allows("GET,POST", TH_STR("POST")));
    assert_true(th_route_allows("GET, post", TH_STR("POST")));
    assert_true(th_route_allows("", TH_STR("PUT")));
    assert_false(th_route_allows("GET,POST", TH_STR("PUT")));
    assert_false(th_route_allows("POSTS", TH_STR("POST")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target),  cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_encode),  cmocka_unit_test(test_match),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests_name("api url", tests, NULL, NULL);
}
