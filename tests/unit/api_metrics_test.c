/* The text of metrics, and that docs/metrics.md is what the table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/metrics.h"
#include "base/clock.h"
#include "base/memory.h"

#include <cmocka.h>

static void assert_text(struct th_buffer *out, const char *wanted)
{
    th_buffer_add(out, "", 1);
    assert_string_equal(out->data, wanted);
}

static void family(void **state)
{
    TH_BUFFER out = {0};
    th_metric_begin(&out, TH_METRIC_LAG_MESSAGES);
    th_metric_add(&out, TH_METRIC_LAG_MESSAGES, (const char *const[]){"Orders", "instances", "3"},
                  17);
    th_metric_add(&out, TH_METRIC_LAG_MESSAGES, (const char *const[]){"Orders", "activities", "0"},
                  0.5);
    assert_text(&out,
                "# HELP taskhub_lag_messages messages that nobody has processed yet\n"
                "# TYPE taskhub_lag_messages gauge\n"
                "taskhub_lag_messages{hub=\"Orders\",topic=\"instances\",partition=\"3\"} 17\n"
                "taskhub_lag_messages{hub=\"Orders\",topic=\"activities\",partition=\"0\"} 0.5\n");
}

static void labels_are_escaped(void **state)
{
    TH_BUFFER out = {0};
    th_metric_add(&out, TH_METRIC_RUNNING,
                  (const char *const[]){"Hub", "activity", "a\"b\\c\nd\xc3\xa9"}, 1);
    assert_text(&out, "taskhub_function_running{hub=\"Hub\",kind=\"activity\","
                      "function=\"a\\\"b\\\\c\\nd\xc3\xa9\"} 1\n");
}

static void without_labels(void **state)
{
    TH_BUFFER out = {0};
    th_metric_add(&out, TH_METRIC_RESIDENT, NULL, 4096);
    assert_text(&out, "process_resident_memory_bytes 4096\n");
}

static void numbers(void **state)
{
    TH_BUFFER out = {0};
    th_metric_add(&out, TH_METRIC_CPU, NULL, 0.1);
    th_metric_add(&out, TH_METRIC_CPU, NULL, 123456789012345.0);
    th_metric_add(&out, TH_METRIC_CPU, NULL, -1);
    assert_text(&out, "process_cpu_seconds_total 0.1\n"
                      "process_cpu_seconds_total 123456789012345\n"
                      "process_cpu_seconds_total -1\n");
}

static void histogram(void **state)
{
    static const double bounds[] = {0.001, 0.1, 10};
    static const uint64_t counts[] = {2, 0, 3, 1};
    const struct th_metric_histogram h = {bounds, TH_COUNT(bounds), counts, 31.5};
    TH_BUFFER out = {0};
    th_metric_add_histogram(&out, TH_METRIC_LATENCY,
                            (const char *const[]){"Hub", "activity", "pay"}, &h);
#define SERIES "{hub=\"Hub\",kind=\"activity\",function=\"pay\""
    assert_text(&out, "taskhub_function_duration_seconds_bucket" SERIES ",le=\"0.001\"} 2\n"
                      "taskhub_function_duration_seconds_bucket" SERIES ",le=\"0.1\"} 2\n"
                      "taskhub_function_duration_seconds_bucket" SERIES ",le=\"10\"} 5\n"
                      "taskhub_function_duration_seconds_bucket" SERIES ",le=\"+Inf\"} 6\n"
                      "taskhub_function_duration_seconds_sum" SERIES "} 31.5\n"
                      "taskhub_function_duration_seconds_count" SERIES "} 6\n");
}

static double value_of(const struct th_buffer *out, const char *name)
{
    char line[128];
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(out->data, line);
    assert_non_null(at);
    return strtod(at + strlen(line), NULL);
}

static void this_process(void **state)
{
    TH_BUFFER out = {0};
    th_metrics_process(&out);
    th_buffer_add(&out, "", 1);
    assert_true(value_of(&out, "process_resident_memory_bytes") > 100000);
    assert_true(value_of(&out, "process_open_fds") >= 1);
    double started = value_of(&out, "process_start_time_seconds");
    double now = (double)(th_now() / TH_SECOND);
    assert_true(started > now - 3600 && started < now + 60);
}

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz_");
    return len > 0 && name[len] == '\0';
}

/* Prometheus' rules of naming: a counter ends in _total, nothing else does. */
static void the_table_keeps_the_rules(void **state)
{
#define CHECK(ident, type, told_by, name, labels, meaning)                                  \
    assert_true(is_name(name));                                                             \
    assert_int_equal(strcmp(#type, "COUNTER") == 0,                                         \
                     strlen(name) > 6 && strcmp((name) + strlen(name) - 6, "_total") == 0); \
    assert_int_equal(strspn(labels, "abcdefghijklmnopqrstuvwxyz,"), strlen(labels));        \
    assert_null(strchr(meaning, '\n'));                                                     \
    assert_string_equal(th_metric_name(TH_METRIC_##ident), name);
    TH_METRICS(CHECK)
}

static char *file_text(const char *path)
{
    TH_BUFFER text = {0};
    char piece[4096];
    size_t len;
    FILE *in = fopen(path, "re");
    assert_non_null(in);
    while ((len = fread(piece, 1, sizeof(piece), in)) > 0) {
        th_buffer_add(&text, piece, len);
    }
    fclose(in);
    return th_buffer_take(&text);
}

/* What is printed here belongs into the file. */
static void the_page_is_the_table(void **state)
{
    char path[1024];
    TH_BUFFER wanted = {0};
    const char *source = getenv("TASKHUB_SOURCE");
    snprintf(path, sizeof(path), "%s/docs/metrics.md", source ? source : ".");
    TH_AUTOFREE char *page = file_text(path);
    th_metrics_document(&wanted);
    th_buffer_add(&wanted, "", 1);
    if (!strstr(page, wanted.data)) {
        puts(wanted.data);
        fail_msg("docs/metrics.md lacks what is printed above");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(family),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(without_labels),
        cmocka_unit_test(numbers),
        cmocka_unit_test(histogram),
        cmocka_unit_test(this_process),
        cmocka_unit_test(the_table_keeps_the_rules),
        cmocka_unit_test(the_page_is_the_table),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
