#include "unit/base_test.h"

#include "model/name.h"

typedef bool check_fn(struct th_str name, struct th_error *error);

static void allowed(check_fn *check, struct th_str name)
{
    struct th_error error = {0};
    if (!check(name, &error)) {
        fail_msg("%s", error.message);
    }
}

static void refused(check_fn *check, struct th_str name, const char *rule)
{
    struct th_error error = {0};
    assert_false(check(name, &error));
    assert_int_equal(error.code, TH_INVALID);
    if (!strstr(error.message, rule)) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, rule);
    }
    assert_false(check(name, NULL));
}

static void hub_names(void **state)
{
    char longest[TH_HUB_NAME_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    allowed(th_hub_name_check, TH_STR("TestHubName"));
    allowed(th_hub_name_check, TH_STR("abc"));
    allowed(th_hub_name_check, TH_STR("A12"));
    allowed(th_hub_name_check, th_str_n(longest, TH_HUB_NAME_MAX));
    refused(th_hub_name_check, th_str_n(longest, TH_HUB_NAME_MAX + 1), "3 to 45 characters");
    refused(th_hub_name_check, TH_STR("ab"), "3 to 45 characters");
    refused(th_hub_name_check, TH_STR_ABSENT, "must not be empty");
    refused(th_hub_name_check, TH_STR("1hub"), "must start with a letter");
    refused(th_hub_name_check, TH_STR("my-hub"), "only letters and digits");
    refused(th_hub_name_check, TH_STR("my hub"), "only letters and digits");
    refused(th_hub_name_check,
            TH_STR("h\xc3\xbc"
                   "b"),
            "only letters and digits");
    refused(th_hub_name_check, TH_STR("hub\n"), "control characters");
}

static void refused_list(const char *list, const char *rule)
{
    struct th_hub_names names;
    struct th_error error = {0};
    assert_false(th_hub_names_parse(&names, th_str_of(list), &error));
    th_hub_names_deinit(&names);
    assert_int_equal(error.code, TH_INVALID);
    if (!strstr(error.message, rule)) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, rule);
    }
}

static void lists_of_hubs(void **state)
{
    struct th_hub_names names;
    struct th_error error = {0};
    assert_true(th_hub_names_parse(&names, TH_STR("Orders,Billing"), &error));
    assert_int_equal(names.count, 2);
    assert_string_equal(names.names[0], "Orders");
    assert_string_equal(names.names[1], "Billing");
    th_hub_names_deinit(&names);
    assert_true(th_hub_names_parse(&names, TH_STR("Orders"), &error));
    assert_int_equal(names.count, 1);
    th_hub_names_deinit(&names);
    refused_list("", "must not be empty");
    refused_list("Orders,", "must not be empty");
    refused_list("Orders,,Billing", "must not be empty");
    refused_list("Orders, Billing", "must start with a letter");
    refused_list("Orders,Billing,orders", "\"orders\" is named twice");
    refused_list("aaa,bbb,ccc,ddd,eee,fff,ggg,hhh,iii,jjj,kkk,lll,mmm,nnn,ooo,ppp,qqq,rrr",
                 "at most 17 hubs");
}

/* An error is shown in JSON, so it must be UTF-8 even when it cuts a long name. */
static void errors_stay_utf8(void **state)
{
    char name[301];
    for (size_t i = 0; i < 300; i += 3) {
        memcpy(name + i, "\xe2\x82\xac", 4);
    }
    struct th_error error = {0};
    assert_false(th_hub_name_check(th_str_n(name, 300), &error));
    assert_true(th_utf8_valid(th_str_of(error.message)));
}

static void instance_ids(void **state)
{
    char longest[TH_INSTANCE_ID_MAX + 1];
    memset(longest, 'i', sizeof(longest));
    allowed(th_instance_id_check, TH_STR("order-42:0001"));
    allowed(th_instance_id_check, TH_STR("\xe6\xb3\xa8\xe6\x96\x87 7"));
    allowed(th_instance_id_check, TH_STR("a@b"));
    allowed(th_instance_id_check, th_str_n(longest, TH_INSTANCE_ID_MAX));
    refused(th_instance_id_check, th_str_n(longest, TH_INSTANCE_ID_MAX + 1), "257 bytes");
    refused(th_instance_id_check, TH_STR(""), "must not be empty");
    refused(th_instance_id_check, TH_STR("@counter@k"), "must not start with '@'");
    refused(th_instance_id_check, TH_STR("a/b"), "must not hold '/'");
    refused(th_instance_id_check, TH_STR("a\\b"), "must not hold '\\'");
    refused(th_instance_id_check, TH_STR("a#b"), "must not hold '#'");
    refused(th_instance_id_check, TH_STR("a?b"), "must not hold '?'");
    allowed(th_instance_id_check_any, TH_STR("orders/42?a\\b#c"));
    refused(th_instance_id_check_any, TH_STR(".."), "folder");
    refused(th_instance_id_check_any, TH_STR("@a/b"), "must not start with '@'");
    refused(th_instance_id_check_any, TH_STR("a\nb"), "control characters");
    refused(th_instance_id_check, TH_STR("a\0b"), "control characters");
    refused(th_instance_id_check, TH_STR("a\x7f"), "control characters");
    refused(th_instance_id_check, TH_STR("a\xc2\x85"), "control characters");
    refused(th_instance_id_check, TH_STR("a\xff"), "UTF-8");
}

static void function_names(void **state)
{
    allowed(th_function_name_check, TH_STR("E1_HelloSequence"));
    allowed(th_function_name_check, TH_STR("Contoso.Orders+Ship`1"));
    allowed(th_function_name_check, TH_STR("@odd"));
    refused(th_function_name_check, TH_STR(""), "must not be empty");
    refused(th_function_name_check, TH_STR("a/b"), "must not hold '/'");
}

static void utf8_is_told_from_other_bytes(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2 ",
                                      "\xe0\x9f\xbf",
                                      "\xe2\x82",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(th_utf8_valid(th_str_of(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(th_utf8_valid(th_str_of(bad[i])));
    }
    assert_true(th_utf8_valid(TH_STR_ABSENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hub_names),        cmocka_unit_test(lists_of_hubs),
        cmocka_unit_test(errors_stay_utf8), cmocka_unit_test(instance_ids),
        cmocka_unit_test(function_names),   cmocka_unit_test(utf8_is_told_from_other_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
