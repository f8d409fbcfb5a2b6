#include "base/error.h"

#include "unit/base_test.h"

static void the_table_answers_for_every_code(void **state)
{
    assert_string_equal(th_code_text(TH_OK), "ok");
    assert_int_equal(th_code_http(TH_OK), 200);
    assert_int_equal(th_code_grpc(TH_OK), 0);
    assert_int_equal(th_code_http(TH_NOT_FOUND), 404);
    assert_int_equal(th_code_grpc(TH_NOT_FOUND), 5);
    for (int code = TH_OK; code <= TH_INTERNAL; code++) {
        assert_true(strlen(th_code_text((enum th_code)code)) > 0);
        assert_in_range(th_code_http((enum th_code)code), 200, 599);
        assert_in_range(th_code_grpc((enum th_code)code), 0, 16);
    }
}

static void an_unknown_code_is_internal(void **state)
{
    assert_string_equal(th_code_text((enum th_code)1000), th_code_text(TH_INTERNAL));
    assert_int_equal(th_code_http((enum th_code) - 1), 500);
    assert_int_equal(th_code_grpc((enum th_code)(TH_INTERNAL + 1)), 13);
}

static void failing_fills_the_error(void **state)
{
    struct th_error e = {0};
    assert_false(th_fail(&e, TH_NOT_FOUND, "no instance '%s' (%d)", "x", 7));
    assert_int_equal(e.code, TH_NOT_FOUND);
    assert_string_equal(e.message, "no instance 'x' (7)");
}

static void nobody_need_listen(void **state)
{
    assert_false(th_fail(NULL, TH_INVALID, "%s", "unheard"));
}

static void a_message_can_be_put_into_another(void **state)
{
    struct th_error e;
    th_fail(&e, TH_CORRUPT, "line 3: bad number");
    th_fail(&e, e.code, "host.json: %s", e.message);
    assert_int_equal(e.code, TH_CORRUPT);
    assert_string_equal(e.message, "host.json: line 3: bad number");
}

static void a_message_is_one_line(void **state)
{
    struct th_error e;
    th_fail(&e, TH_IO, "a\nb\r\nc\td");
    assert_string_equal(e.message, "a b  c d");
}

static void long_messages_are_cut(void **state)
{
    struct th_error e;
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    th_fail(&e, TH_INVALID, "%s", text);
    assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
    text[sizeof(e.message) - 1] = '\0'; /* just fits */
    th_fail(&e, TH_INVALID, "%s", text);
    assert_string_equal(e.message, text);
}

/* Whatever byte of a character the cut falls on, no part of that character is left. */
static void the_cut_falls_between_characters(void **state)
{
    static const char *const characters[] = {"\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t c = 0; c < 3; c++) {
        size_t len = strlen(characters[c]);
        for (size_t shift = 0; shift < len; shift++) {
            char text[1200] = "";
            memset(text, 'x', shift);
            for (size_t at = shift; at < 1000; at += len) {
                memcpy(text + at, characters[c], len + 1);
            }
            struct th_error e;
            th_fail(&e, TH_INVALID, "%s", text);
            size_t whole = (sizeof(e.message) - 1 - shift) / len * len + shift;
            assert_int_equal(strlen(e.message), whole);
        }
    }
}

static void a_cut_in_bytes_that_are_no_text_is_harmless(void **state)
{
    struct th_error e;
    char text[1000];
    memset(text, 0x80, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    th_fail(&e, TH_INVALID, "%s", text);
    assert_in_range(strlen(e.message), 500, sizeof(e.message) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_answers_for_every_code),
        cmocka_unit_test(an_unknown_code_is_internal),
        cmocka_unit_test(failing_fills_the_error),
        cmocka_unit_test(nobody_need_listen),
        cmocka_unit_test(a_message_can_be_put_into_another),
        cmocka_unit_test(a_message_is_one_line),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(the_cut_falls_between_characters),
        cmocka_unit_test(a_cut_in_bytes_that_are_no_text_is_harmless),
    };
    return cmocka_run_group_tests_name("base_error", tests, NULL, NULL);
}
