#include "base/uuid.h"

#include "base/hash.h"
#include "unit/base_test.h"

static void hex_ids_show_every_bit(void **state)
{
    char text[33];
    th_id_hex(0, 0, text);
    assert_string_equal(text, "00000000000000000000000000000000");
    th_id_hex(UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210), text);
    assert_string_equal(text, "0123456789abcdeffedcba9876543210");
    th_id_hex(UINT64_MAX, UINT64_MAX, text);
    assert_string_equal(text, "ffffffffffffffffffffffffffffffff");
}

static void random_uuids_are_version_4(void **state)
{
    char text[37];
    th_uuid_text(0, 0, text);
    assert_string_equal(text, "00000000-0000-4000-8000-000000000000");
    th_uuid_text(UINT64_MAX, UINT64_MAX, text);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    th_uuid_text(UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210), text);
    assert_string_equal(text, "01234567-89ab-4def-bedc-ba9876543210");
}

static void derive(const char *a, const char *b, uint64_t n, char out[static 37])
{
    struct th_str first = th_str_of(a);
    struct th_str second = th_str_of(b);
    th_uuid_derive(&first, &second, n, out);
}

/* Computed with another SHA-1. A change here would change what recorded histories replay to. */
static void derived_uuids_never_change(void **state)
{
    char text[37];
    derive("", "", 0, text);
    assert_string_equal(text, "15116e21-c4b7-57e3-b8a4-0e494ab1fa12");
    derive("ab", "c", 7, text);
    assert_string_equal(text, "ab976ae9-935d-5011-816b-1b622ccf4fa5");
    derive("instance-1", "2026-11-22T10:19:42.1234567Z", 3, text);
    assert_string_equal(text, "578c647b-16e4-54ba-9807-341577ed3484");
    derive("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "", 0, text);
    assert_string_equal(text, "7115f8d4-ddeb-516e-8681-d4f56a2c0a24");
    derive("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
           "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", UINT64_MAX, text);
    assert_string_equal(text, "79439d9f-710f-50f4-8674-fd45e637125f");
}

static void derived_uuids_differ_with_each_part(void **state)
{
    char base[37];
    char other[37];
    derive("ab", "c", 7, base);
    derive("a", "bc", 7, other); /* the same bytes, divided elsewhere */
    assert_string_not_equal(base, other);
    derive("ab", "c", 8, other);
    assert_string_not_equal(base, other);
    derive("abc", NULL, 7, other);
    assert_string_not_equal(base, other);
    derive("ab", "c", 7, other);
    assert_string_equal(base, other);
}

/* Around the block size of the hash, where the padding takes a second block. */
static void names_of_every_length_differ(void **state)
{
    static char seen[200][37];
    char name[201] = "";
    for (size_t len = 0; len < 200; len++) {
        derive(name, "", 0, seen[len]);
        assert_int_equal(seen[len][14], '5');
        assert_non_null(strchr("89ab", seen[len][19]));
        for (size_t i = 0; i < len; i++) {
            assert_string_not_equal(seen[i], seen[len]);
        }
        name[len] = 'x';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_ids_show_every_bit),
        cmocka_unit_test(random_uuids_are_version_4),
        cmocka_unit_test(derived_uuids_never_change),
        cmocka_unit_test(derived_uuids_differ_with_each_part),
        cmocka_unit_test(names_of_every_length_differ),
    };
    return cmocka_run_group_tests_name("base_uuid", tests, NULL, NULL);
}
