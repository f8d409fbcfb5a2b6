#include "unit/base_test.h"

#include <sys/stat.h>

#include "base/memory.h"
#include "model/settings.h"

/* An environment of names and values, ended by NULL. */
static const char *fake_environment(void *argument, const char *name)
{
    const char *const *pairs = argument;
    for (; *pairs; pairs += 2) {
        if (strcmp(pairs[0], name) == 0) {
            return pairs[1];
        }
    }
    return NULL;
}

static void parse_all(const char *host, const char *local, const char *const *environment,
                      struct th_settings *out)
{
    struct th_error error = {0};
    th_environment_fn look_up = environment ? fake_environment : NULL;
    if (!th_settings_parse(th_str_of(host), th_str_of(local), look_up, (void *)environment, out,
                           &error)) {
        fail_msg("%s", error.message);
    }
}

static void parse(const char *host, struct th_settings *out)
{
    parse_all(host, NULL, NULL, out);
}

static void refused_all(const char *host, const char *local, const char *const *environment,
                        const char *expected)
{
    TH_SETTINGS_AUTO settings = {0};
    struct th_error error = {0};
    th_environment_fn look_up = environment ? fake_environment : NULL;
    assert_false(th_settings_parse(th_str_of(host), th_str_of(local), look_up, (void *)environment,
                                   &settings, &error));
    assert_int_equal(error.code, TH_INVALID);
    assert_string_equal(error.message, expected);
}

static void refused(const char *host, const char *expected)
{
    refused_all(host, NULL, NULL, expected);
}

#define DURABLE(keys) "{\"version\":\"2.0\",\"extensions\":{\"durableTask\":{" keys "}}}"

static void warns(const char *host, const char *expected)
{
    TH_SETTINGS_AUTO settings = {0};
    parse(host, &settings);
    assert_int_equal(settings.warning_count, 1);
    assert_str(settings.warnings[0], expected);
}

/* ---- defaults and forms ---- */

static void nothing_given_means_defaults(void **state)
{
    static const char *const texts[] = {NULL, "{}", "{\"version\":\"2.0\"}"};
    for (size_t i = 0; i < TH_COUNT(texts); i++) {
        TH_SETTINGS_AUTO settings = {0};
        parse(texts[i], &settings);
        assert_str(settings.hub_name, "TestHubName");
        assert_int_equal(settings.partitions, 12);
        assert_int_equal(settings.max_activities, 0);
        assert_true(settings.function_timeout == 1800000);
        assert_int_equal(settings.version_match, TH_VERSION_MATCH_CURRENT_OR_OLDER);
        assert_int_equal(settings.version_failure, TH_VERSION_FAILURE_REJECT);
        assert_int_equal(settings.overridable, TH_OVERRIDABLE_NON_RUNNING);
        assert_str(settings.route_prefix, "api");
        assert_false(settings.dynamic_concurrency);
        assert_true(settings.concurrency_snapshots);
        assert_false(th_str_present(settings.default_version));
        assert_int_equal(settings.warning_count, 0);
        assert_int_equal(settings.local_http_port, 0);
        for (size_t k = 0; k < TH_SETTING_COUNT; k++) {
            assert_false(settings.given[k]);
        }
    }
}

static void every_option_is_read(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse(
        "{\"version\":\"2.0\",\"functionTimeout\":\"00:10:00\",\n"
        "\"extensions\":{\"http\":{\"routePrefix\":\"/v1/\"},\"durableTask\":{\n"
        "\"hubName\":\"MyTaskHub\",\"storageProvider\":{\"partitionCount\":4,\"placement\":\"local\"},\n"
        "\"maxConcurrentActivityFunctions\":10,\"maxConcurrentOrchestratorFunctions\":11,\n"
        "\"maxConcurrentEntityFunctions\":12,\"maxEntityOperationBatchSize\":13,\n"
        "\"extendedSessionsEnabled\":false,\"extendedSessionIdleTimeoutInSeconds\":14,\n"
        "\"entityMessageReorderWindowInMinutes\":15,\"maxOrchestrationActions\":16,\n"
        "\"defaultVersion\":\"1.5\",\"versionMatchStrategy\":\"strict\",\n"
        "\"versionFailureStrategy\":\"Fail\",\"overridableExistingInstanceStates\":\"AnyState\",\n"
        "\"tracing\":{\"traceInputsAndOutputs\":true,\"traceReplayEvents\":true},\n"
        "\"httpSettings\":{\"defaultAsyncRequestSleepTimeMilliseconds\":17,"
        "\"useForwardedHost\":true},\"maxGrpcMessageSizeInBytes\":4194304,\n"
        "\"purgePolicy\":{\"age\":\"1.00:00:00\",\"statuses\":\"Failed\",\"recursive\":true,"
        "\"instancesPerSecond\":19}}},\n"
        "\"concurrency\":{\"dynamicConcurrencyEnabled\":true,\"snapshotPersistenceEnabled\":false,"
        "\"maximumFunctionConcurrency\":18,\"cpuThreshold\":0.5},\n"
        "\"logging\":{\"logLevel\":{\"default\":\"Warning\"}}}",
        &s);
    assert_int_equal(s.warning_count, 0);
    assert_str(s.hub_name, "MyTaskHub");
    assert_str(s.route_prefix, "v1");
    assert_int_equal(s.partitions, 4);
    assert_str(s.placement, "local");
    assert_int_equal(s.max_activities, 10);
    assert_int_equal(s.max_orchestrators, 11);
    assert_int_equal(s.max_entities, 12);
    assert_int_equal(s.entity_batch, 13);
    assert_false(s.extended_sessions);
    assert_int_equal(s.extended_session_idle, 14);
    assert_int_equal(s.entity_reorder_minutes, 15);
    assert_int_equal(s.max_actions, 16);
    assert_str(s.default_version, "1.5");
    assert_int_equal(s.version_match, TH_VERSION_MATCH_STRICT);
    assert_int_equal(s.version_failure, TH_VERSION_FAILURE_FAIL);
    assert_int_equal(th_settings_reuse(&s), TH_REUSE_ANY);
    assert_true(s.trace_payloads && s.trace_replays && s.forwarded_host);
    assert_int_equal(s.poll_interval, 17);
    assert_int_equal(s.max_rpc_message, 4194304);
    assert_int_equal(s.function_timeout, 600000);
    assert_true(s.dynamic_concurrency && !s.concurrency_snapshots);
    assert_int_equal(s.concurrency_most, 18);
    assert_true(s.cpu_threshold == 0.5);
    assert_int_equal(s.purge_age, 86400000);
    assert_str(s.purge_statuses, "Failed");
    assert_true(s.purge_recursive);
    assert_int_equal(s.purge_rate, 19);
    assert_int_equal(s.log_level, TH_LOG_LEVEL_WARNING);
    for (size_t k = 0; k < TH_SETTING_COUNT; k++) {
        assert_true(s.given[k]);
    }
}

static void the_older_form_is_read(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse(
        "{\"durableTask\":{\"maxConcurrentActivityFunctions\":5},\"http\":{\"routePrefix\":\"\"}}",
        &s);
    assert_str(s.hub_name, "DurableFunctionsHub");
    assert_false(s.given[TH_SETTING_hub_name]);
    assert_int_equal(s.max_activities, 5);
    assert_str(s.route_prefix, "");
    assert_int_equal(s.warning_count, 0);
    TH_SETTINGS_AUTO named = {0};
    parse("{\"durableTask\":{\"hubName\":\"Old\"}}", &named);
    assert_str(named.hub_name, "Old");
}

static void keys_have_no_case(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse("{\"Version\":\"2.0\",\"Extensions\":{\"DurableTask\":{\"HubName\":\"MyHub\"}}}", &s);
    assert_str(s.hub_name, "MyHub");
    assert_int_equal(s.warning_count, 0);
}

static void comments_and_a_byte_order_mark_are_allowed(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse("\xef\xbb\xbf// first\n{ /* \"hubName\": 1 /**/ \"version\": \"2.0\", // \"x\n"
          "\"extensions\": {\"durableTask\": {\"hubName\": \"MyHub\", \"defaultVersion\": "
          "\"// no \\\" /* comment\" }}}/**/",
          &s);
    assert_str(s.hub_name, "MyHub");
    assert_str(s.default_version, "// no \" /* comment");
    refused("// one\n/* two\n */ {", "host.json, line 3, column 5: string or '}' expected near end "
                                     "of file");
    refused("{/*/}", "host.json, line 1, column 5: string or '}' expected near end of file");
}

/* ---- names in values ---- */

static const char local[] =
    "{\"IsEncrypted\":false,\"Values\":{\"Hub\":\"LocalHub\",\"Both\":\"local\",\"N\":7}}";

static void names_are_replaced_environment_first(void **state)
{
    static const char *const environment[] = {"Both", "Environment", "P", "3", NULL};
    TH_SETTINGS_AUTO s = {0};
    parse_all(DURABLE("\"hubName\":\"%Hub%\",\"defaultVersion\":\"a%Both%b%%c%N%d%\","
                      "\"storageProvider\":{\"partitionCount\":\"%P%\"}"),
              local, environment, &s);
    assert_str(s.hub_name, "LocalHub");
    assert_str(s.default_version, "aEnvironmentb%%c7d%");
    assert_int_equal(s.partitions, 3);
    assert_str(th_settings_value(&s, "Both"), "Environment");
    assert_str(th_settings_value(&s, "hub"), "LocalHub");
    assert_false(th_str_present(th_settings_value(&s, "None")));
}

static void missing_names_are_refused(void **state)
{
    refused_all(DURABLE("\"hubName\":\"%Nowhere%\""), local, NULL,
                "host.json: extensions.durableTask.hubName: \"%Nowhere%\" names neither an "
                "environment variable nor a value in local.settings.json");
}

static void the_environment_wins_over_the_file(void **state)
{
    static const char *const environment[] = {
        "AzureFunctionsJobHost__extensions__durableTask__hubName", "FromOutside",
        "AzureFunctionsJobHost__functionTimeout", "-1", NULL};
    static const char *const bad[] = {"AzureFunctionsJobHost__functionTimeout", "soon", NULL};
    TH_SETTINGS_AUTO s = {0};
    parse_all(DURABLE("\"hubName\":\"InFile\""), NULL, environment, &s);
    assert_str(s.hub_name, "FromOutside");
    assert_int_equal(s.function_timeout, TH_DURATION_NONE);
    assert_int_equal(s.warning_count, 0);
    refused_all("{}", NULL, bad,
                "AzureFunctionsJobHost__functionTimeout must be a time span such as \"00:10:00\", "
                "at most \"365.00:00:00\", or \"-1\" for none, not \"soon\"");
}

static void local_settings_are_read(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse_all(NULL,
              "{\"Values\":{\"A\":\"1\",\"B\":{}},\"Host\":{\"LocalHttpPort\":7072,\"CORS\":\"*\"},"
              "\"Else\":1}",
              NULL, &s);
    assert_int_equal(s.local_http_port, 7072);
    assert_int_equal(s.value_count, 1);
    assert_int_equal(s.warning_count, 2);
    assert_str(s.warnings[0], "local.settings.json: Else is not known");
    assert_str(s.warnings[1],
               "local.settings.json: Values.B is left out: it must be a text in quotes");
    TH_SETTINGS_AUTO encrypted = {0};
    parse_all(NULL, "{\"IsEncrypted\":true,\"Values\":{\"A\":\"1\"}}", NULL, &encrypted);
    assert_int_equal(encrypted.value_count, 0);
    assert_int_equal(encrypted.warning_count, 1);
    refused_all(NULL, "{\"Values\":[]}", NULL, "local.settings.json: Values must be an object");
    refused_all(NULL, "{\"Host\":{\"LocalHttpPort\":70000}}", NULL,
                "local.settings.json: Host.LocalHttpPort must be a whole number from 1 to 65535");
    refused_all(NULL, "[]", NULL, "local.settings.json, line 1, column 1: must be an object");
}

/* ---- wrong values ---- */

static void wrong_values_name_key_and_rule(void **state)
{
#define KEY "host.json: extensions.durableTask."
    refused("{", "host.json, line 1, column 1: string or '}' expected near end of file");
    refused("[]", "host.json, line 1, column 1: must be an object");
    refused("{\"version\":\"3.0\"}", "host.json: version must be \"2.0\"");
    refused("{\"version\":\"2.0\",\"version\":\"2.0\"}",
            "host.json, line 1, column 26: duplicate object key near '\"version\"'");
    refused("{\"extensions\":{\"durableTask\":7}}",
            "host.json: extensions.durableTask must be an object");
    refused("{\"durableTask\":7}", "host.json: durableTask must be an object");
    refused(DURABLE("\"hubName\":\"my-hub\""),
            KEY "hubName: hub name \"my-hub\" must hold only letters and digits");
    refused(DURABLE("\"hubName\":5"), KEY "hubName must be a text in quotes, not \"5\"");
    refused(DURABLE("\"hubName\":{}"),
            KEY "hubName must be a text in quotes, not an object or a list");
    refused(DURABLE("\"storageProvider\":{\"partitionCount\":0}"),
            KEY "storageProvider.partitionCount must be a whole number from 1 to 1024, not \"0\"");
    refused(DURABLE("\"storageProvider\":{\"partitionCount\":1025}"), KEY
            "storageProvider.partitionCount must be a whole number from 1 to 1024, not \"1025\"");
    refused(DURABLE("\"storageProvider\":{\"partitionCount\":1.5}"), KEY
            "storageProvider.partitionCount must be a whole number from 1 to 1024, not \"1.5\"");
    refused(DURABLE("\"storageProvider\":{\"partitionCount\":true}"), KEY
            "storageProvider.partitionCount must be a whole number from 1 to 1024, not \"true\"");
    refused(DURABLE("\"extendedSessionsEnabled\":\"yes\""),
            KEY "extendedSessionsEnabled must be true or false, not \"yes\"");
    refused(DURABLE("\"versionMatchStrategy\":\"Newest\""),
            KEY "versionMatchStrategy must be None, Strict or CurrentOrOlder, not \"Newest\"");
    refused("{\"concurrency\":{\"cpuThreshold\":2}}",
            "host.json: concurrency.cpuThreshold must be a number from 0.05 to 1, not \"2\"");
    refused("{\"concurrency\":{\"cpuThreshold\":\"nan\"}}",
            "host.json: concurrency.cpuThreshold must be a number from 0.05 to 1, not \"nan\"");
    refused("{\"logging\":{\"logLevel\":{\"Function\":\"Loud\"}}}",
            "host.json: logging.logLevel.Function must be Trace, Debug, Information, Warning, "
            "Error, Critical or None, not \"Loud\"");
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"00:00:01", 1000},       {"1:02:03", 3723000}, {"23:59:59", 86399000},
                {"1.00:00:00", 86400000}, {"00:00:00.5", 500},  {"00:00:01.2345678", 1234},
                {"-1", TH_DURATION_NONE}};
    static const char *const bad[] = {"",          "5",         "00:00",     "24:00:00",
                                      "00:60:00",  "00:00:60",  "00:00:00",  "366.00:00:00",
                                      "-00:01:00", "00:00:01.", "00:00:01 ", "9999999.00:00:00"};
    char text[100];
    for (size_t i = 0; i < TH_COUNT(good); i++) {
        TH_SETTINGS_AUTO s = {0};
        snprintf(text, sizeof(text), "{\"functionTimeout\":\"%s\"}", good[i].text);
        parse(text, &s);
        assert_int_equal(s.function_timeout, good[i].ms);
    }
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        TH_SETTINGS_AUTO s = {0};
        snprintf(text, sizeof(text), "{\"functionTimeout\":\"%s\"}", bad[i]);
        assert_false(th_settings_parse(th_str_of(text), TH_STR_ABSENT, NULL, NULL, &s, NULL));
    }
}

/* ---- warnings ---- */

static void unknown_keys_are_warnings(void **state)
{
    warns("{\"surprise\":{\"a\":1}}", "host.json: surprise is not known");
    warns(DURABLE("\"maxConcurrentActivityFunction\":1"),
          "host.json: extensions.durableTask.maxConcurrentActivityFunction is not known");
    warns("{\"durableTask\":{\"storageProvider\":{\"x\":[]}}}",
          "host.json: durableTask.storageProvider.x is not known");
    warns(DURABLE("\"useGracefulShutdown\":true"),
          "host.json: extensions.durableTask.useGracefulShutdown has no effect: shutting down is "
          "always graceful");
    warns("{\"extensions\":{\"durableTask\":{\"hubName\":\"One\"},\"DurableTask\":{\"hubName\":"
          "\"Two\"}}}",
          "host.json: extensions.DurableTask.hubName is given twice; this one counts");
}

static void what_every_project_has_is_no_warning(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse("{\"$schema\":\"x\",\"version\":\"2.0\",\"extensionBundle\":{\"id\":\"x\"},"
          "\"logging\":{\"applicationInsights\":{\"samplingSettings\":{}}}}",
          &s);
    assert_int_equal(s.warning_count, 0);
}

/* ---- log levels ---- */

static void the_longest_category_counts(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse("{\"logging\":{\"logLevel\":{\"default\":\"Error\",\"Host\":\"Warning\",\"host."
          "Concurrency\":\"Trace\",\"Silent\":\"None\"}}}",
          &s);
    static const struct {
        const char *category;
        enum th_level level;
    } expected[] = {{"partition", TH_LOG_ERROR},        {"Host", TH_LOG_WARN},
                    {"Host.Startup", TH_LOG_WARN},      {"HostX", TH_LOG_ERROR},
                    {"Host.Concurrency", TH_LOG_DEBUG}, {"Host.Concurrency.hello", TH_LOG_DEBUG}};
    for (size_t i = 0; i < TH_COUNT(expected); i++) {
        enum th_level level;
        assert_true(th_settings_level(&s, th_str_of(expected[i].category), &level));
        assert_int_equal(level, expected[i].level);
    }
    enum th_level level;
    assert_false(th_settings_level(&s, TH_STR("Silent"), &level));
}

/* ---- files ---- */

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_folder(const char *directory)
{
    static const char *const names[] = {"host.json", "local.settings.json", "large.json"};
    char path[200];
    for (size_t i = 0; i < TH_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static void files_are_found(void **state)
{
    char directory[] = "/tmp/taskhub-settings-XXXXXX";
    assert_non_null(mkdtemp(directory));
    struct th_settings_source source = {.directory = directory};
    TH_SETTINGS_AUTO none = {0};
    assert_true(th_settings_load(&source, &none, NULL));
    assert_str(none.hub_name, "TestHubName");

    write_file(directory, "host.json", DURABLE("\"hubName\":\"%Hub%\""));
    write_file(directory, "local.settings.json", local);
    TH_SETTINGS_AUTO both = {0};
    assert_true(th_settings_load(&source, &both, NULL));
    assert_str(both.hub_name, "LocalHub");
    remove_folder(directory);
}

static void files_that_cannot_be_read_are_errors(void **state)
{
    char directory[] = "/tmp/taskhub-settings-XXXXXX";
    assert_non_null(mkdtemp(directory));
    char path[200];
    snprintf(path, sizeof(path), "%s/large.json", directory);
    struct th_settings_source source = {.host_path = path};
    struct th_error error = {0};
    TH_SETTINGS_AUTO missing = {0};
    assert_false(th_settings_load(&source, &missing, &error));
    assert_int_equal(error.code, TH_IO);
    assert_non_null(strstr(error.message, "large.json cannot be opened: No such file"));

    write_file(directory, "large.json", "{");
    assert_int_equal(truncate(path, 2 << 20), 0);
    TH_SETTINGS_AUTO large = {0};
    assert_false(th_settings_load(&source, &large, &error));
    assert_non_null(strstr(error.message, "large.json cannot be read: it is larger than 1 MiB"));

    source.host_path = directory;
    TH_SETTINGS_AUTO folder = {0};
    assert_false(th_settings_load(&source, &folder, &error));
    assert_non_null(strstr(error.message, "cannot be read: Is a directory"));
    remove_folder(directory);
}

/* ---- for people ---- */

static size_t lines_of(struct th_str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.data[i] == '\n';
    }
    return count;
}

static bool has(const struct th_buffer *text, const char *part)
{
    return memmem(text->data, text->len, part, strlen(part)) != NULL;
}

static void options_are_documented(void **state)
{
    TH_BUFFER table = {0};
    th_settings_document(&table);
    assert_int_equal(lines_of(th_buffer_view(&table)), TH_SETTING_COUNT + 2);
    assert_true(has(&table, "| `functionTimeout` | \"00:30:00\" | a time span such as "));
    assert_true(has(&table, "| `extensions.durableTask.storageProvider.partitionCount` | 12 | a "
                            "whole number from 1 to 1024 | partitions of a new hub"));
    assert_true(has(&table, "| \"CurrentOrOlder\" | None, Strict or CurrentOrOlder |"));
    TH_BUFFER help = {0};
    th_settings_help(&help);
    assert_int_equal(lines_of(th_buffer_view(&help)), 3 * TH_SETTING_COUNT);
}

static void options_are_shown_as_they_are(void **state)
{
    TH_SETTINGS_AUTO s = {0};
    parse(DURABLE("\"hubName\":\"MyHub\",\"defaultVersion\":\"\""), &s);
    TH_BUFFER text = {0};
    th_settings_show(&s, &text);
    assert_true(has(&text, "extensions.durableTask.hubName = \"MyHub\"\n"));
    assert_true(has(&text, "extensions.durableTask.defaultVersion = \"\"\n"));
    assert_true(has(&text, "storageProvider.partitionCount = 12  # default\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_given_means_defaults),
        cmocka_unit_test(every_option_is_read),
        cmocka_unit_test(the_older_form_is_read),
        cmocka_unit_test(keys_have_no_case),
        cmocka_unit_test(comments_and_a_byte_order_mark_are_allowed),
        cmocka_unit_test(names_are_replaced_environment_first),
        cmocka_unit_test(missing_names_are_refused),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(local_settings_are_read),
        cmocka_unit_test(wrong_values_name_key_and_rule),
        cmocka_unit_test(durations),
        cmocka_unit_test(unknown_keys_are_warnings),
        cmocka_unit_test(what_every_project_has_is_no_warning),
        cmocka_unit_test(the_longest_category_counts),
        cmocka_unit_test(files_are_found),
        cmocka_unit_test(files_that_cannot_be_read_are_errors),
        cmocka_unit_test(options_are_documented),
        cmocka_unit_test(options_are_shown_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
