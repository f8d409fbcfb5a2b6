#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cron.h"

#include <cmocka.h>

struct due {
    const char *schedule, *after, *next; /* NULL: never */
};

static void check_due(const struct due *row)
{
    struct th_cron cron;
    struct th_error error;
    th_time after;
    char text[40];
    if (!th_cron_parse(th_str_of(row->schedule), &cron, &error)) {
        fail_msg("%s: %s", row->schedule, error.message);
    }
    assert_true(th_time_parse(th_str_of(row->after), &after));
    th_time next = th_cron_next(&cron, after);
    if (next == TH_TIME_NONE) {
        snprintf(text, sizeof(text), "never");
    } else {
        th_time_format(next, 0, text);
    }
    const char *wanted = row->next ? row->next : "never";
    if (strcmp(text, wanted) != 0) {
        fail_msg("%s after %s: %s, not %s", row->schedule, row->after, text, wanted);
    }
}

static void test_next(void **state)
{
    static const struct due table[] = {
        {"* * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"},
        {"* * * * * *", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"},
        {"0 */5 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"},
        {"0 */5 * * * *", "2026-01-01T00:04:59.999Z", "2026-01-01T00:05:00Z"},
        {"30 59 23 * * *", "2026-01-01T23:59:29Z", "2026-01-01T23:59:30Z"},
        {"30 59 23 * * *", "2026-01-01T23:59:30Z", "2026-01-02T23:59:30Z"},
        {"0 0 9-17 * * MON-FRI", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"},
        {"0 30 9 * JAN Mon", "2026-01-05T09:30:00Z", "2026-01-12T09:30:00Z"},
        {"0 0 0 1 january *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
        {"0 0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
        {"0 0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"}, /* 2100 is no leap year */
        {"0 0 0 29 2 Monday", "2026-01-01T00:00:00Z", "2044-02-29T00:00:00Z"},
        {"0 0 0 30 2 *", "2026-01-01T00:00:00Z", NULL},
        {"0 0 0 31 4,6,9,11 *", "2026-01-01T00:00:00Z", NULL},
        {"0 0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"},
        {"0 0 0 31 * *", "2026-04-01T00:00:00Z", "2026-05-31T00:00:00Z"},
        {"59 59 23 31 12 *", "2026-12-31T23:59:58Z", "2026-12-31T23:59:59Z"},
        {"0 0 0 13 * FRI", "2026-01-01T00:00:00Z", "2026-02-13T00:00:00Z"}, /* both must match */
        {"0 0 0 * * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
        {"0 0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
        {"0 0 0 * * 5-7", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"},
        {"0 0 0 * * FRI-SUN", "2026-01-04T00:00:00Z", "2026-01-09T00:00:00Z"},
        {"10-20/5 * * * * *", "2026-01-01T00:00:10Z", "2026-01-01T00:00:15Z"},
        {"10-20/5 * * * * *", "2026-01-01T00:00:20Z", "2026-01-01T00:01:10Z"},
        {"0 5/20 * * * *", "2026-01-01T00:45:00Z", "2026-01-01T01:05:00Z"},
        {"5,3,1 0 0,12 * * *", "2026-01-01T00:00:05Z", "2026-01-01T12:00:01Z"},
        {"  0\t0  0 1 * *  ", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"},
        {"0 0 12 * * *", "1969-12-31T11:59:59Z", "1969-12-31T12:00:00Z"},
        {"0 10 3 * * *", "2026-01-01T03:10:00.000001Z", "2026-01-02T03:10:00Z"},
        {"15 10 3 * * *", "2026-01-01T03:10:20Z", "2026-01-02T03:10:15Z"},
        {"15 10 3,5 * * *", "2026-01-01T03:10:20Z", "2026-01-01T05:10:15Z"},
        {"15 10,12 3 * * *", "2026-01-01T03:10:20Z", "2026-01-01T03:12:15Z"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        check_due(&table[i]);
    }
}

/* Walking second by second must find what th_cron_next finds by leaps. */
static void test_against_walk(void **state)
{
    static const char *const schedules[] = {"*/7 */13 * * * *", "0 59 22-23 28-31 * *",
                                            "30 0 0 * * 1,3", "1,59 1,59 1,23 * 2 *"};
    for (size_t i = 0; i < sizeof(schedules) / sizeof(schedules[0]); i++) {
        struct th_cron cron;
        th_time t;
        assert_true(th_cron_parse(th_str_of(schedules[i]), &cron, NULL));
        assert_true(th_time_parse(TH_STR("2028-02-26T00:00:00Z"), &t));
        th_time end = t + 5 * 86400 * TH_SECOND, next = th_cron_next(&cron, t - 1);
        for (; t < end; t += TH_SECOND) {
            int64_t second = t / TH_SECOND, days = second / 86400, day = 26 + days - 21240;
            int month = day > 29 ? 3 : 2;
            day = day > 29 ? day - 29 : day;
            bool due = (cron.second >> (second % 60) & 1) &&
                       (cron.minute >> (second / 60 % 60) & 1) &&
                       (cron.hour >> (second / 3600 % 24) & 1) && (cron.day >> day & 1) &&
                       (cron.month >> month & 1) && (cron.weekday >> ((days + 4) % 7) & 1);
            assert_int_equal(due, next == t);
            next = due ? th_cron_next(&cron, t) : next;
        }
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *schedule, *says;
    } table[] = {
        {"", "six fields"},
        {"* * * * *", "has 5"},
        {"* * * * * * *", "has 7"},
        {"60 * * * * *", "\"second\": 60 is not in 0-59"},
        {"* 60 * * * *", "\"minute\""},
        {"* * 24 * * *", "\"hour\""},
        {"* * * 0 * *", "\"day\": 0 is not in 1-31"},
        {"* * * * 13 *", "\"month\""},
        {"* * * * Foo *", "\"month\": \"Foo\" is no number or name"},
        {"* * * * * 8", "\"weekday\": 8 is not in 0-7"},
        {"* * * * * MO", "\"weekday\""},
        {"x * * * * *", "\"x\" is no number"},
        {"MON * * * * *", "\"second\""},
        {"-1 * * * * *", "\"second\""},
        {"1,,2 * * * * *", "\"second\""},
        {"1, * * * * *", "\"second\""},
        {"5-1 * * * * *", "backwards"},
        {"*/0 * * * * *", "step"},
        {"*/61 * * * * *", "step"},
        {"*/x * * * * *", "step"},
        {"1-2-3 * * * * *", "\"2-3\""},
        {"99999999999999999999 * * * * *", "\"second\""},
        {"? * * * * *", "\"second\""},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct th_cron cron;
        struct th_error error = {0};
        if (th_cron_parse(th_str_of(table[i].schedule), &cron, &error)) {
            fail_msg("accepted: %s", table[i].schedule);
        }
        assert_int_equal(error.code, TH_INVALID);
        if (!strstr(error.message, table[i].says)) {
            fail_msg("%s: %s", table[i].schedule, error.message);
        }
    }
}

static void test_far(void **state)
{
    struct th_cron cron;
    assert_true(th_cron_parse(TH_STR("* * * * * *"), &cron, NULL));
    assert_true(th_cron_next(&cron, INT64_MAX) == TH_TIME_NONE);
    assert_true(th_cron_next(&cron, TH_TIME_NONE) == TH_TIME_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_against_walk),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_far),
    };
    return cmocka_run_group_tests_name("cron", tests, NULL, NULL);
}
