#include "unit/base_test.h"

#include <limits.h>

static void absent_and_empty_are_told_apart(void **state)
{
    assert_false(th_str_present(TH_STR_ABSENT));
    assert_false(th_str_present(th_str_of(NULL)));
    assert_true(th_str_present(TH_STR("")));
    assert_true(th_str_present(th_str_of("")));
    assert_true(th_str_eq(TH_STR(""), TH_STR_ABSENT));
    assert_int_equal(th_str_cmp(TH_STR(""), TH_STR_ABSENT), 0);
    assert_true(th_str_starts(TH_STR_ABSENT, TH_STR_ABSENT));
    assert_true(th_str_starts(TH_STR("a"), TH_STR_ABSENT));
    assert_false(th_str_starts(TH_STR_ABSENT, TH_STR("a")));
}

static void zero_bytes_count(void **state)
{
    assert_false(th_str_eq(TH_STR("a\0b"), TH_STR("a\0c")));
    assert_true(th_str_cmp(TH_STR("a\0b"), TH_STR("a\0c")) < 0);
    assert_int_equal(TH_STR("a\0b").len, 3);
    char *copy = th_str_dup(TH_STR("a\0b"));
    assert_memory_equal(copy, "a\0b", 4);
    free(copy);
}

static void case_is_ignored_for_ascii_letters_only(void **state)
{
    assert_true(th_str_eq_nocase(TH_STR("Content-TYPE"), TH_STR("cONTENT-type")));
    assert_true(th_str_eq_nocase(TH_STR(""), TH_STR_ABSENT));
    assert_false(th_str_eq_nocase(TH_STR("a"), TH_STR("ab")));
    assert_false(th_str_eq_nocase(TH_STR("@"), TH_STR("`"))); /* next to the letters */
    assert_false(th_str_eq_nocase(TH_STR("["), TH_STR("{")));
    assert_false(th_str_eq_nocase(TH_STR("\xC3\x84"), TH_STR("\xC3\xA4")));
}

static void order_is_bytewise_and_shorter_first(void **state)
{
    assert_true(th_str_cmp(TH_STR("a"), TH_STR("b")) < 0);
    assert_true(th_str_cmp(TH_STR("b"), TH_STR("a")) > 0);
    assert_int_equal(th_str_cmp(TH_STR("ab"), TH_STR("ab")), 0);
    assert_true(th_str_cmp(TH_STR("ab"), TH_STR("abc")) < 0);
    assert_true(th_str_cmp(TH_STR("b"), TH_STR("abc")) > 0);
    assert_true(th_str_cmp(TH_STR("\x7F"), TH_STR("\x80")) < 0); /* bytes have no sign */
}

static void prefixes(void **state)
{
    assert_true(th_str_starts(TH_STR("@counter@k"), TH_STR("@counter@")));
    assert_true(th_str_starts(TH_STR("abc"), TH_STR("abc")));
    assert_false(th_str_starts(TH_STR("abc"), TH_STR("abcd")));
    assert_false(th_str_starts(TH_STR("abc"), TH_STR("b")));
}

static void copies(void **state)
{
    assert_null(th_str_dup(TH_STR_ABSENT));
    char *empty = th_str_dup(TH_STR(""));
    assert_string_equal(empty, "");
    free(empty);
}

static void whole_numbers_are_read(void **state)
{
    static const struct {
        const char *text;
        long long value;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"7", 7},
        {"-7", -7},
        {"007", 7},
        {"9223372036854775807", LLONG_MAX},
        {"-9223372036854775808", LLONG_MIN},
        {"00000000000000000000000000000012", 12},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        long long value = -1;
        assert_true(th_str_to_i64(th_str_of(good[i].text), &value));
        assert_true(value == good[i].value);
    }
}

static void anything_else_is_no_number(void **state)
{
    static const char *const bad[] = {
        NULL,
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "--1",
        "1-",
        "\xD9\xA1",
        "a",
        "/",
        ":",
        "1\n2",
        "12a4",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "-99999999999999999999",
        "18446744073709551616",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        long long value = 77;
        assert_false(th_str_to_i64(th_str_of(bad[i]), &value));
        assert_true(value == 77);
    }
    long long value;
    assert_false(th_str_to_i64(TH_STR("1\0"), &value));
    assert_true(th_str_to_i64(th_str_n("123", 2), &value)); /* stops at the length, not at NUL */
    assert_true(value == 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_and_empty_are_told_apart),
        cmocka_unit_test(zero_bytes_count),
        cmocka_unit_test(case_is_ignored_for_ascii_letters_only),
        cmocka_unit_test(order_is_bytewise_and_shorter_first),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(copies),
        cmocka_unit_test(whole_numbers_are_read),
        cmocka_unit_test(anything_else_is_no_number),
    };
    return cmocka_run_group_tests_name("base_str", tests, NULL, NULL);
}
