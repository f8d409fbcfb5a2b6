#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/text.h"

#include <cmocka.h>

static void test_valid(void **state)
{
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1e5",
        "1.5E-3",
        "12345678901234567890123",
        "\"\"",
        "\"a\\u00e9\\n\\\"\"",
        "\"\\ud800\"",
        " [ ] ",
        "{}",
        "[1,[2,{\"a\":[]}],3]",
        "\t{\"a\" : 1 , \"b\":{\"c\":null}}\r\n",
        "\"\xC3\xA4\"",
        "1e400",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!th_json_valid(th_str_of(texts[i]))) {
            fail_msg("refused: %s", texts[i]);
        }
    }
}

static void test_invalid(void **state)
{
    static const char *const texts[] = {
        "",           " ",        "nul",         "nulll",     "True",    "01",
        "-",          "1.",       ".5",          "1e",        "+1",      "1 2",
        "\"",         "\"\\x\"",  "\"\\u12g4\"", "\"a\nb\"",  "[",       "]",
        "[1,]",       "[,1]",     "[1 2]",       "{",         "{\"a\"}", "{\"a\":}",
        "{\"a\":1,}", "{a:1}",    "{\"a\":1]",   "[1}",       "[1]]",    "'a'",
        "\"\xC3\"",   "\"\xff\"", "NaN",         "{\"a\" 1}", "{1:2}",   "\"\\",
        "// c\n1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (th_json_valid(th_str_of(texts[i]))) {
            fail_msg("accepted: %s", texts[i]);
        }
    }
    assert_false(th_json_valid(TH_STR_ABSENT));
    assert_false(th_json_valid(th_str_n("1\0", 2)));
}

static void test_depth(void **state)
{
    enum { DEEPEST = 2048 };
    TH_BUFFER text = {0};
    for (int i = 0; i < DEEPEST; i++) {
        th_buffer_text(&text, i % 2 ? "{\"a\":" : "[");
    }
    th_buffer_text(&text, "1");
    for (int i = DEEPEST - 1; i >= 0; i--) {
        th_buffer_text(&text, i % 2 ? "}" : "]");
    }
    assert_true(th_json_valid(th_buffer_view(&text)));
    TH_BUFFER deeper = {0};
    th_buffer_text(&deeper, "[");
    th_buffer_str(&deeper, th_buffer_view(&text));
    th_buffer_text(&deeper, "]");
    assert_false(th_json_valid(th_buffer_view(&deeper)));
}

static void test_string(void **state)
{
    TH_BUFFER out = {0};
    th_json_put_string(&out, th_str_n("a\"\\\n\x01\x7F\xC3\xA4\xFF\xE2\x82", 11));
    th_buffer_add(&out, "", 1);
    assert_string_equal(
        out.data, "\"a\\\"\\\\\\n\\u0001\\u007f\xC3\xA4\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_true(th_json_valid(th_str_of(out.data)));
}

static void check_payload(struct th_str payload, const char *wanted)
{
    TH_BUFFER out = {0};
    th_json_put_payload(&out, payload);
    th_buffer_add(&out, "", 1);
    assert_string_equal(out.data, wanted);
}

static void test_payload(void **state)
{
    check_payload(TH_STR_ABSENT, "null");
    check_payload(TH_STR(""), "\"\"");
    check_payload(TH_STR("0.10"), "0.10"); /* not one digit changes on the way */
    check_payload(TH_STR("hello"), "\"hello\"");
    check_payload(TH_STR("\"{\\\"a\\\":1}\""), "\"{\\\"a\\\":1}\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),  cmocka_unit_test(test_invalid), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_string), cmocka_unit_test(test_payload),
    };
    return cmocka_run_group_tests_name("api text", tests, NULL, NULL);
}
