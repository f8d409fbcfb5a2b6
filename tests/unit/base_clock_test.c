#include "base/clock.h"

#include "unit/base_test.h"

static void assert_formats(th_time t, int digits, const char *expected)
{
    char text[40];
    memset(text, '#', sizeof(text));
    th_time_format(t, digits, text);
    assert_string_equal(text, expected);
}

static void assert_parses(const char *text, th_time expected)
{
    th_time t = -1;
    if (!th_time_parse(th_str_of(text), &t) || t != expected) {
        fail_msg("'%s' gave %lld instead of %lld", text, (long long)t, (long long)expected);
    }
}

static void known_times_are_written(void **state)
{
    assert_formats(0, 0, "1970-01-01T00:00:00Z");
    assert_formats(INT64_C(1795342782000000), 0, "2026-11-22T10:19:42Z");
    assert_formats(INT64_C(951848999000000), 0, "2000-02-29T18:29:59Z");
    assert_formats(INT64_C(-62135596800000000), 0, "0001-01-01T00:00:00Z");
    assert_formats(INT64_C(253402300799999999), 6, "9999-12-31T23:59:59.999999Z");
    assert_formats(INT64_C(-11670998400000000), 0, "1600-02-29T00:00:00Z");
}

static void fractions_are_cut_and_never_rounded(void **state)
{
    th_time t = INT64_C(1795342782999999);
    assert_formats(t, 0, "2026-11-22T10:19:42Z");
    assert_formats(t, 1, "2026-11-22T10:19:42.9Z");
    assert_formats(t, 3, "2026-11-22T10:19:42.999Z");
    assert_formats(t, 6, "2026-11-22T10:19:42.999999Z");
    assert_formats(t, 7, "2026-11-22T10:19:42.9999990Z");
    assert_formats(t, -1, "2026-11-22T10:19:42Z");
    assert_formats(t, 100, "2026-11-22T10:19:42.999999000Z");
    assert_formats(1, 3, "1970-01-01T00:00:00.000Z");
    assert_formats(1, 7, "1970-01-01T00:00:00.0000010Z");
}

static void times_before_1970_count_forwards(void **state)
{
    assert_formats(-1, 6, "1969-12-31T23:59:59.999999Z");
    assert_formats(-1, 0, "1969-12-31T23:59:59Z");
    assert_formats(-TH_SECOND, 3, "1969-12-31T23:59:59.000Z");
    assert_parses("1969-12-31T23:59:59.999999Z", -1);
    assert_parses("1969-12-31T23:59:59.9999999Z", -1);
}

/* Even what no calendar holds fits the buffer. */
static void the_ends_of_the_range_are_written(void **state)
{
    assert_formats(TH_TIME_NONE, 9, "-290308-12-21T19:59:05.224192000Z");
    assert_formats(INT64_MAX, 9, "+294247-01-10T04:00:54.775807000Z");
}

/* Against a calendar that counts one day after the other. */
static void every_day_of_nine_centuries(void **state)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    th_time day_start;
    assert_true(th_time_parse(TH_STR("1600-01-01"), &day_start));
    for (int year = 1600; year < 2500; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            int days = lengths[month - 1] + (leap && month == 2);
            for (int day = 1; day <= days; day++) {
                char expected[64];
                snprintf(expected, sizeof(expected), "%04d-%02d-%02dT00:00:00Z", year, month, day);
                assert_formats(day_start, 0, expected);
                assert_parses(expected, day_start);
                day_start += 86400 * TH_SECOND;
            }
        }
    }
}

static void known_times_are_read(void **state)
{
    assert_parses("1970-01-01T00:00:00Z", 0);
    assert_parses("2026-11-22T10:19:42Z", INT64_C(1795342782000000));
    assert_parses("2026-11-22t10:19:42z", INT64_C(1795342782000000));
    assert_parses("0001-01-01T00:00:00Z", INT64_C(-62135596800000000));
    assert_parses("9999-12-31T23:59:59.999999999Z", INT64_C(253402300799999999));
    assert_parses("0000-02-29", INT64_C(-62162121600000000));
    assert_parses("1970-01-02", 86400 * TH_SECOND);
}

static void fractions_of_one_to_nine_digits(void **state)
{
    assert_parses("1970-01-01T00:00:00.1Z", 100000);
    assert_parses("1970-01-01T00:00:00.12Z", 120000);
    assert_parses("1970-01-01T00:00:00.123Z", 123000);
    assert_parses("1970-01-01T00:00:00.1234Z", 123400);
    assert_parses("1970-01-01T00:00:00.12345Z", 123450);
    assert_parses("1970-01-01T00:00:00.123456Z", 123456);
    assert_parses("1970-01-01T00:00:00.1234569Z", 123456); /* cut */
    assert_parses("1970-01-01T00:00:00.12345699Z", 123456);
    assert_parses("1970-01-01T00:00:00.123456999Z", 123456);
    assert_parses("1970-01-01T00:00:00.000001+00:00", 1);
}

static void offsets_are_east_of_utc(void **state)
{
    assert_parses("2000-02-29T23:59:59+05:30", INT64_C(951848999000000));
    assert_parses("1970-01-01T00:00:00+01:00", -3600 * TH_SECOND);
    assert_parses("1970-01-01T00:00:00-01:00", 3600 * TH_SECOND);
    assert_parses("1970-01-01T00:00:00-00:00", 0);
    assert_parses("1970-01-01T00:00:00.5+0100", -3600 * TH_SECOND + 500000);
    assert_parses("1969-12-31T00:01:00-23:59", 0);
    assert_parses("2024-03-01T00:30:00+01:00", INT64_C(1709249400000000)); /* in the leap day */
}

static void leap_seconds_come_at_the_end_of_a_utc_day(void **state)
{
    assert_parses("2016-12-31T23:59:60Z", INT64_C(1483228800000000));
    assert_parses("2017-01-01T00:59:60+01:00", INT64_C(1483228800000000));
    th_time t;
    assert_false(th_time_parse(TH_STR("2016-12-31T23:58:60Z"), &t));
    assert_false(th_time_parse(TH_STR("2016-12-31T23:59:60+01:00"), &t));
}

static void anything_else_is_no_time(void **state)
{
    static const char *const bad[] = {
        NULL,
        "",
        "2026",
        "2026-11",
        "2026-11-2",
        "2026-11-22T",
        "2026-11-22 ",
        "2026-11-22T10:19:42",    /* no zone */
        "2026-11-22T10:19Z",      /* no second */
        "2026-11-22 10:19:42Z",   /* no T */
        "2026-11-22T10:19:42.Z",  /* a point alone */
        "2026-11-22T10:19:42,5Z", /* a comma */
        "2026-11-22T10:19:42.1234567890Z",
        "2026-11-22T10:19:42ZZ",
        "2026-11-22T10:19:42Z ",
        " 2026-11-22T10:19:42Z",
        "2026-11-22T10:19:42+1:00",
        "2026-11-22T10:19:42+01",
        "2026-11-22T10:19:42+01:0",
        "2026-11-22T10:19:42+01:60",
        "2026-11-22T10:19:42+24:00",
        "2026-11-22T10:19:42+01::0",
        "2026-11-22T10:19:42+",
        "2026-11-22Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T10:60:42Z",
        "2026-11-22T10:19:61Z",
        "2026-11-22T1a:19:42Z",
        "2026-11-22T-1:19:42Z",
        "2026-00-22",
        "2026-13-22",
        "2026-11-00",
        "2026-11-31",
        "2026-02-29",
        "1900-02-29",
        "2100-02-29",
        "2000-02-30",
        "26-11-22",
        "+2026-11-22",
        "-2026-11-22",
        "12026-11-22",
        "2026/11/22",
        "20261122",
        "2026-W47-7",
        "2026-326",
        "1795342782",
        "now",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        th_time t = 77;
        if (th_time_parse(th_str_of(bad[i]), &t) || t != 77) {
            fail_msg("'%s' was taken for a time", bad[i] ? bad[i] : "(absent)");
        }
    }
    th_time t;
    assert_false(th_time_parse(TH_STR("2026-11-22T10:19:42Z\0"), &t));
}

static void no_beginning_of_a_time_is_read_past_its_end(void **state)
{
    static const char whole[] = "2026-11-22T10:19:42.123456789+01:00";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        char *copy = malloc(len + 1); /* a sanitizer sees reads beyond */
        memcpy(copy, whole, len);
        th_time t;
        char *exact = realloc(copy, len ? len : 1);
        assert_int_equal(th_time_parse(th_str_n(exact, len), &t), len == 10);
        free(exact);
    }
}

static void clocks_go_forwards(void **state)
{
    assert_true(th_now() > INT64_C(1700000000) * TH_SECOND);
    th_time before = th_monotonic();
    usleep(2000);
    th_time passed = th_monotonic() - before;
    assert_true(passed >= 2 * TH_MILLISECOND && passed < 10 * TH_SECOND);
}

static void periods_have_units(void **state)
{
    static const struct {
        const char *text;
        int64_t expected; /* -1: none */
    } cases[] = {{"10", 10000},    {"1.5", 1500}, {"250ms", 250}, {"2m", 120000}, {"1h", 3600000},
                 {"1d", 86400000}, {"", -1},      {"s", -1},      {"-1", -1},     {"3 s", -1},
                 {"nan", -1},      {"1e30", -1},  {"5w", -1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t found = -1;
        assert_true(th_period_parse(cases[i].text, &found) == (cases[i].expected >= 0));
        assert_int_equal(found, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times_are_written),
        cmocka_unit_test(fractions_are_cut_and_never_rounded),
        cmocka_unit_test(times_before_1970_count_forwards),
        cmocka_unit_test(the_ends_of_the_range_are_written),
        cmocka_unit_test(every_day_of_nine_centuries),
        cmocka_unit_test(known_times_are_read),
        cmocka_unit_test(fractions_of_one_to_nine_digits),
        cmocka_unit_test(offsets_are_east_of_utc),
        cmocka_unit_test(leap_seconds_come_at_the_end_of_a_utc_day),
        cmocka_unit_test(anything_else_is_no_time),
        cmocka_unit_test(no_beginning_of_a_time_is_read_past_its_end),
        cmocka_unit_test(clocks_go_forwards),
        cmocka_unit_test(periods_have_units),
    };
    return cmocka_run_group_tests_name("base_clock", tests, NULL, NULL);
}
