#include "base/log.h"

#include <errno.h>
#include <pthread.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "unit/base_test.h"

static int temporary_file(void)
{
    char path[] = "/tmp/base_log_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* What was written to `fd` so far; the caller frees it. */
static char *written(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    return text;
}

static void levels_are_read(void **state)
{
    static const struct {
        const char *text;
        enum th_level level;
    } good[] = {
        {"error", TH_LOG_ERROR},  {"Critical", TH_LOG_ERROR}, {"WARN", TH_LOG_WARN},
        {"Warning", TH_LOG_WARN}, {"info", TH_LOG_INFO},      {"Information", TH_LOG_INFO},
        {"debug", TH_LOG_DEBUG},  {"trace", TH_LOG_DEBUG},
    };
    enum th_level level;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(th_level_parse(th_str_of(good[i].text), &level));
        assert_int_equal(level, good[i].level);
    }
    static const char *const bad[] = {NULL, "", "err", "errors", " info", "3"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        level = TH_LOG_WARN;
        assert_false(th_level_parse(th_str_of(bad[i]), &level));
        assert_int_equal(level, TH_LOG_WARN);
    }
}

static void a_text_line(void **state)
{
    struct th_log log = {.level = TH_LOG_INFO, .fd = temporary_file()};
    th_time before = th_now();
    th_log(&log, TH_LOG_WARN, "Host.Results", "took %d ms\nand \"more\"\x01\x7F \xC3\xA4 \xFF", 5);
    char *text = written(log.fd);
    th_time t;
    assert_true(th_time_parse(th_str_n(text, 24), &t));
    assert_true(t >= before - TH_MILLISECOND && t <= th_now());
    assert_string_equal(text + 24,
                        " warn  Host.Results: took 5 ms\\nand \"more\"\\x01\\x7f \xC3\xA4 \\xff\n");
    free(text);
    close(log.fd);
}

static void a_json_line(void **state)
{
    struct th_log log = {.level = TH_LOG_DEBUG, .fd = temporary_file(), .json = true};
    th_log(&log, TH_LOG_DEBUG, "a\"b",
           "tab\tq\"b\\n\n\x01 \xE2\x82\xAC \xC0\xAF|\xED\xA0\x80|\xE2");
    char *text = written(log.fd);
    assert_memory_equal(text, "{\"time\":\"", 9);
    th_time t;
    assert_true(th_time_parse(th_str_n(text + 9, 27), &t));
#define BAD "\xEF\xBF\xBD" /* the replacement character, once for each byte that is no text */
    assert_string_equal(text + 36, "\",\"level\":\"debug\",\"category\":\"a\\\"b\",\"message\":"
                                   "\"tab\\tq\\\"b\\\\n\\n\\u0001 \xE2\x82\xAC " BAD BAD
                                   "|" BAD BAD BAD "|" BAD "\"}\n");
    free(text);
    close(log.fd);
}

static void lower_levels_are_dropped(void **state)
{
    struct th_log log = {.level = TH_LOG_WARN, .fd = temporary_file()};
    th_log(&log, TH_LOG_INFO, "x", "quiet");
    th_log(&log, TH_LOG_DEBUG, "x", "quiet");
    th_log(NULL, TH_LOG_ERROR, "x", "nowhere");
    assert_int_equal(lseek(log.fd, 0, SEEK_END), 0);
    th_log(&log, TH_LOG_WARN, "x", "loud");
    th_log(&log, TH_LOG_ERROR, "x", "loud");
    assert_true(lseek(log.fd, 0, SEEK_END) > 0);
    close(log.fd);
}

static void an_empty_line_is_a_line(void **state)
{
    struct th_log log = {.level = TH_LOG_INFO, .fd = temporary_file()};
    th_log(&log, TH_LOG_INFO, NULL, "%s", "");
    char *text = written(log.fd);
    assert_string_equal(text + 24, " info  : \n");
    free(text);
    close(log.fd);
}

static void long_lines_are_whole(void **state)
{
    struct th_log log = {.level = TH_LOG_INFO, .fd = temporary_file(), .json = true};
    char *message = malloc(100001);
    memset(message, 'x', 100000);
    message[100000] = '\0';
    th_log(&log, TH_LOG_INFO, "x", "%s", message);
    char *text = written(log.fd);
    assert_non_null(strstr(text, message));
    free(message);
    free(text);
    close(log.fd);
}

static void logging_keeps_errno_and_survives_a_closed_file(void **state)
{
    struct th_log log = {.level = TH_LOG_INFO, .fd = -1};
    errno = ENOENT;
    th_log(&log, TH_LOG_INFO, "x", "lost");
    assert_int_equal(errno, ENOENT);
}

struct caught {
    int count;
    enum th_level level;
    char category[32];
    char line[64];
};

static void catch_line(void *argument, enum th_level level, const char *category, const char *line)
{
    struct caught *caught = argument;
    caught->count++;
    caught->level = level;
    snprintf(caught->category, sizeof(caught->category), "%s", category);
    snprintf(caught->line, sizeof(caught->line), "%s", line);
}

static void a_sink_receives_the_message(void **state)
{
    struct caught caught = {0};
    struct th_log log = {.level = TH_LOG_INFO, .fd = -1, .sink = catch_line, .argument = &caught};
    th_log(&log, TH_LOG_DEBUG, "x", "dropped");
    assert_int_equal(caught.count, 0);
    th_log(&log, TH_LOG_INFO, "partition", "%d\nlines", 2);
    assert_int_equal(caught.count, 1);
    assert_int_equal(caught.level, TH_LOG_INFO);
    assert_string_equal(caught.category, "partition");
    assert_string_equal(caught.line, "2\\nlines");
}

static void *log_many(void *argument)
{
    for (int i = 0; i < 500; i++) {
        th_log(argument, TH_LOG_INFO, "thread", "%s", "0123456789012345678901234567890123456789");
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    struct th_log log = {.level = TH_LOG_INFO, .fd = temporary_file()};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, log_many, &log);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    char *text = written(log.fd);
    int lines = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        assert_int_equal(end - line, 24 + 15 + 40);
        lines++;
    }
    assert_int_equal(lines, 2000);
    free(text);
    close(log.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_read),
        cmocka_unit_test(a_text_line),
        cmocka_unit_test(a_json_line),
        cmocka_unit_test(lower_levels_are_dropped),
        cmocka_unit_test(an_empty_line_is_a_line),
        cmocka_unit_test(long_lines_are_whole),
        cmocka_unit_test(logging_keeps_errno_and_survives_a_closed_file),
        cmocka_unit_test(a_sink_receives_the_message),
        cmocka_unit_test(lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests_name("base_log", tests, NULL, NULL);
}
