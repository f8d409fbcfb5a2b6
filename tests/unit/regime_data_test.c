/* What goes in and out of the estimator: CSV, requests and fits as JSON, the chart. */
#include "unit/regime_test.h"

#include <errno.h>

#include "examples/regime-switching/chart.h"
#include "examples/regime-switching/regime_json.h"
#include "examples/regime-switching/request.h"

/* ---- series ---- */

static void csv_is_read_in_all_its_forms(void **state)
{
    const char *text = "# a comment\r\n"
                       "date,value\r\n"
                       "\"1959Q3\", 1.5\r\n"
                       "1959-11,-2\r\n"
                       "\r\n"
                       "1960,3e2\r\n"
                       "  1960-02-29 , \"4\"";
    const char *dates[] = {"1959-07-01", "1959-11-01", "1960-01-01", "1960-02-29"};
    const double values[] = {1.5, -2, 300, 4};
    struct sample sample;
    char err[200] = "";

    assert_int_equal(sample_parse_csv(text, &sample, err, sizeof err), 0);
    assert_int_equal(sample.n, 4);
    for (size_t t = 0; t < 4; t++) {
        assert_string_equal(sample.dates[t], dates[t]);
        assert_near(sample.y[t], values[t], 0);
    }
    sample_deinit(&sample);

    assert_int_equal(sample_parse_csv("1\n2\n3\n", &sample, err, sizeof err), 0);
    assert_int_equal(sample.n, 3);
    assert_null(sample.dates);
    sample_deinit(&sample);
}

static void bad_csv_is_refused_with_its_line(void **state)
{
    const struct {
        const char *text, *error;
    } cases[] = {
        {"", "there are no observations"},
        {"date,value\n", "there are no observations"},
        {"1959Q1,1\n1959Q2,.\n", "line 2: \".\" is not a number"},
        {"1959Q1,x\n", "line 1: \"x\" is not a number"},
        {"a,b\nc,d\n", "line 2: \"d\" is not a number"},
        {"1959Q1,1\n1959Q2,inf\n", "line 2: \"inf\" is not a number"},
        {"1959Q1,1\n\n1959Q5,2\n",
         "line 3: \"1959Q5\" is not a date such as 1959-07-01, 1959-07, 1959Q3 or 1959"},
        {"1959-13,1\n",
         "line 1: \"1959-13\" is not a date such as 1959-07-01, 1959-07, 1959Q3 or 1959"},
        {"1959Q1,1\n2\n", "line 2: give a date on every line or on none"},
    };
    struct sample sample;
    char err[200];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(sample_parse_csv(cases[i].text, &sample, err, sizeof err), -EINVAL);
        assert_string_equal(err, cases[i].error);
        assert_null(sample.y);
    }
    assert_int_equal(sample_read_csv("/nowhere/x.csv", &sample, err, sizeof err), -ENOENT);
    assert_string_equal(err, "/nowhere/x.csv: No such file or directory");
}

static void us_gdp_has_202_growth_rates(void **state)
{
    struct sample growth = us_growth();

    assert_int_equal(growth.n, 202);
    assert_string_equal(growth.dates[0], "1959-04-01");
    assert_string_equal(growth.dates[201], "2009-07-01");
    assert_near(growth.y[0], 2.494213, 1e-6);
    sample_deinit(&growth);
}

static void only_positive_numbers_grow(void **state)
{
    const double values[] = {1, 2, 0};
    struct sample level, growth;
    char err[200];

    assert_int_equal(sample_from_array(values, 3, &level, err, sizeof err), 0);
    assert_int_equal(sample_growth(&level, &growth, err, sizeof err), -EINVAL);
    assert_string_equal(err, "observation 3 is 0: only positive numbers grow");
    sample_deinit(&level);
}

static void synthetic_data_repeats_with_its_seed(void **state)
{
    struct sample first = synthetic(500, 9), again = synthetic(500, 9), other = synthetic(500, 10);
    size_t moves = 0;

    assert_memory_equal(first.y, again.y, 500 * sizeof *first.y);
    assert_memory_not_equal(first.y, other.y, 500 * sizeof *first.y);
    for (size_t t = 1; t < 500; t++)
        moves += first.regimes[t] != first.regimes[t - 1];
    assert_in_range(moves, 5, 30);
    sample_deinit(&first);
    sample_deinit(&again);
    sample_deinit(&other);
}

/* ---- requests ---- */

static int parse(const char *text, struct regime_request *request, json_t *errors)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    int rc;

    assert_non_null(json);
    rc = regime_request_parse(json, request, errors);
    json_decref(json);
    return rc;
}

static void check_refused(const char *text, const char *expected)
{
    struct regime_request request;
    json_t *errors = json_array();
    const char *error;

    assert_int_equal(parse(text, &request, errors), -EINVAL);
    error = json_string_value(json_array_get(errors, 0));
    if (json_array_size(errors) != 1 || strncmp(error, expected, strlen(expected)) != 0)
        fail_msg("%s: %s", text, json_dumps(errors, 0));
    json_decref(errors);
}

static void every_bad_field_has_its_sentence(void **state)
{
    const char *cases[][2] = {
        {"[]", "the request must be a JSON object"},
        {"{}", "field `y`: give either `y` or `dataset`"},
        {"{'y': [1, 2], 'dataset': 'us-gdp'}", "field `y`: give either `y` or `dataset`, not both"},
        {"{'dataset': 'uk-gdp'}",
         "field `dataset`: must be \"us-gdp\" or \"synthetic\", got \"uk-gdp\""},
        {"{'y': 3}", "field `y`: must be an array of numbers, got 3"},
        {"{'y': []}", "field `y`: must be an array of numbers, got []"},
        {"{'y': [1, 'two']}", "field `y`: number 2 must be a number, got \"two\""},
        {"{'y': [1, 2, 3]}", "field `y`: 3 observations are too few for 2 regimes with 1 "
                             "coefficients each: at least 8 are needed"},
        {"{'y': [1, 1, 1, 1, 1, 1, 1, 1]}", "field `y`: y is constant"},
        {"{'dataset': 'us-gdp', 'x': [[1]]}", "field `x`: only goes with `y`"},
        {"{'y': [1, 2], 'x': 7}",
         "field `x`: must be an array of regressors, each an array of numbers, got 7"},
        {"{'y': [1, 2], 'x': [7]}",
         "field `x`: must be an array of regressors, each an array of numbers, got [7]"},
        {"{'y': [1, 2], 'x': [[1, 2], [3]]}",
         "field `x`: regressor 2 has 1 numbers, but `y` has 2"},
        {"{'y': [1, 2], 'x': [[1, null]]}",
         "field `x`: number 2 of regressor 1 must be a number, got null"},
        {"{'y': [1, 2], 'n': 3}", "field `n`: is 3, but `y` has 2 numbers"},
        {"{'dataset': 'us-gdp', 'n': 100}",
         "field `n`: only goes with `y` or with dataset \"synthetic\""},
        {"{'dataset': 'synthetic', 'n': 10}",
         "field `n`: must be an integer from 50 to 1000000, got 10"},
        {"{'dataset': 'us-gdp', 'regimes': 'x'}",
         "field `regimes`: must be an integer from 2 to 6, got \"x\""},
        {"{'dataset': 'us-gdp', 'regimes': 2.0}",
         "field `regimes`: must be an integer from 2 to 6, got 2.0"},
        {"{'dataset': 'us-gdp', 'runs': 0}",
         "field `runs`: must be an integer from 1 to 1000, got 0"},
        {"{'dataset': 'us-gdp', 'maxIterations': -1}",
         "field `maxIterations`: must be an integer from 1 to 100000, got -1"},
        {"{'dataset': 'us-gdp', 'convergence': 1}",
         "field `convergence`: must be a number from 0 to below 1, got 1"},
        {"{'dataset': 'us-gdp', 'oneSigma': 'yes'}",
         "field `oneSigma`: must be true or false, got \"yes\""},
        {"{'dataset': 'us-gdp', 'seed': -5}",
         "field `seed`: must be an integer from 0 to 9007199254740991, got -5"},
        {"{'dataset': 'us-gdp', 'notify': 'someone'}",
         "field `notify`: must be an e-mail address, got \"someone\""},
        {"{'dataset': 'us-gdp', 'notify': 'a@b\\nBcc: c@d'}",
         "field `notify`: must be an e-mail address, got \"a@b\\nBcc: c@d\""},
        {"{'dataset': 'us-gdp', 'purgeOlderThanDays': 1e9}",
         "field `purgeOlderThanDays`: must be an integer from 0 to 36500, got 1000000000.0"},
        {"{'dataset': 'us-gdp', 'outputs': 'beta'}",
         "field `outputs`: must be an array of names, got \"beta\""},
        {"{'dataset': 'us-gdp', 'outputs': ['beta', 'gamma']}",
         "field `outputs`: no output is called \"gamma\"; there are iterations, llf, converge, "
         "sigma, sigma_floor, beta, tstat, transition_matrix, initial, ergodic, sse, sst, rsqr, "
         "rbar, smoothed, prob, pred, yhat, residuals, y, x"},
        {"{'dataset': 'us-gdp', 'regimse': 3}", "field `regimse`: there is no such field"},
        {"{'dataset': 'us-gdp', 'seed': "
         "'0123456789012345678901234567890123456789012345678901234567890'}",
         "field `seed`: must be an integer from 0 to 9007199254740991, got "
         "\"0123456789012345678901234567890123456789012..."},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = strdup(cases[i][0]);
        for (char *quote = text; (quote = strchr(quote, '\'')) != NULL;)
            *quote = '"';
        check_refused(text, cases[i][1]);
        free(text);
    }
}

static void all_errors_are_told_at_once(void **state)
{
    struct regime_request request;
    json_t *errors = json_array();

    assert_int_equal(parse("{\"y\": [1, null], \"regimes\": 9, \"runs\": \"many\", \"hue\": 1}",
                           &request, errors),
                     -EINVAL);
    assert_int_equal(json_array_size(errors), 4);
    assert_null(request.y);
    json_decref(errors);
}

static void what_is_left_out_has_a_default(void **state)
{
    struct regime_request request;
    json_t *errors = json_array();

    assert_int_equal(parse("{\"dataset\": \"synthetic\"}", &request, errors), 0);
    assert_int_equal(request.n, 1000);
    assert_int_equal(request.regimes, 3);
    assert_int_equal(request.runs, 20);
    assert_int_equal(request.max_iterations, 1000);
    assert_near(request.convergence, 1e-8, 0);
    assert_false(request.one_sigma);
    assert_int_equal(request.seed, 1);
    assert_null(request.notify);
    assert_int_equal(request.purge_older_than_days, -1);
    assert_int_equal(request.outputs, REGIME_OUTPUTS_ALL);
    regime_request_deinit(&request);
    assert_int_equal(json_array_size(errors), 0);
    json_decref(errors);
}

static void a_request_becomes_a_problem(void **state)
{
    struct regime_request request;
    json_t *errors = json_array();
    struct sample sample;
    char err[200];

    assert_int_equal(parse("{\"y\": [1, 2, 4, 1, 2, 9, 1, 3, 5, 1, 3, 1],"
                           " \"x\": [[0, 1, 1, 1, 0, 2, 3, 4, 5, 5, 5, 7]],"
                           " \"n\": 12, \"oneSigma\": true, \"notify\": \"a.b@example.org\","
                           " \"purgeOlderThanDays\": 0, \"outputs\": [\"beta\", \"llf\"]}",
                           &request, errors),
                     0);
    assert_string_equal(request.notify, "a.b@example.org");
    assert_int_equal(request.purge_older_than_days, 0);
    assert_int_equal(request.outputs, regime_output_bit("beta") | regime_output_bit("llf"));
    assert_int_equal(regime_request_load(&request, "", &sample, err, sizeof err), 0);
    struct regime_problem problem = regime_request_problem(&request, &sample);
    regime_request_deinit(&request);
    assert_int_equal(problem.n, 12);
    assert_int_equal(problem.regressors, 1);
    assert_near(problem.y[5], 9, 0);
    assert_near(problem.x[11], 7, 0);
    assert_true(problem.one_sigma);
    sample_deinit(&sample);
    json_decref(errors);
}

static void data_sets_are_loaded(void **state)
{
    struct regime_request request;
    json_t *errors = json_array();
    struct sample sample;
    char err[200];

    assert_int_equal(parse("{\"dataset\": \"us-gdp\"}", &request, errors), 0);
    assert_int_equal(regime_request_load(&request, source_path("examples/regime-switching/data"),
                                         &sample, err, sizeof err),
                     0);
    assert_int_equal(sample.n, 202);
    sample_deinit(&sample);
    assert_int_equal(regime_request_load(&request, "/nowhere", &sample, err, sizeof err), -ENOENT);
    assert_string_equal(err, "/nowhere/us-real-gdp.csv: No such file or directory");
    regime_request_deinit(&request);
    json_decref(errors);
}

/* ---- fits as JSON ---- */

static const struct regime_timing timing = {"2024-05-01T10:00:00Z", "2024-05-01T10:00:01Z", 0.75};

static json_t *through_text(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    json_t *again = json_loads(text, 0, NULL);

    assert_non_null(again);
    free(text);
    json_decref(json);
    return again;
}

static void a_fit_survives_json(void **state)
{
    struct sample sample = synthetic(100, 3);
    struct regime_problem problem = problem_of(&sample, 3, false);
    struct regime_fit fit = fit_of(&problem, 5), back;
    struct regime_timing times;
    char err[200];

    fit.tstat[2] = NAN;
    json_t *json = through_text(regime_fit_to_json(&fit, &timing, REGIME_OUTPUTS_ALL));
    assert_true(json_is_null(json_array_get(json_array_get(json_object_get(json, "tstat"), 1), 0)));
    assert_int_equal(json_array_size(json_object_get(json, "smoothed")), 3);
    assert_int_equal(regime_fit_from_json(json, &back, &times, err, sizeof err), 0);
    assert_string_equal(times.start_time, timing.start_time);
    assert_near(times.time_solve, 0.75, 0);
    assert_true(isnan(back.tstat[2]));
    fit.tstat[2] = back.tstat[2] = 0;
    assert_int_equal(back.seed, 5);
    assert_int_equal(back.iterations, fit.iterations);
    assert_true(back.converged == fit.converged);
    assert_near(back.path.llf, fit.path.llf, 0);
    assert_near(back.rbar, fit.rbar, 0);
    /* All arrays lie in one block of 3 (2 * 2 + 3 + 3) + 100 (3 * 3 + 2 + 2) numbers. */
    assert_memory_equal(back.block, fit.block, 1330 * sizeof(double));
    json_decref(json);
    regime_fit_deinit(&back);
    regime_fit_deinit(&fit);
    sample_deinit(&sample);
}

static void outputs_can_be_left_out(void **state)
{
    struct sample growth = us_growth();
    struct regime_problem problem = problem_of(&growth, 2, true);
    struct regime_fit fit = fit_of(&problem, 1), back;
    regime_outputs few = regime_output_bit("beta") | regime_output_bit("sse");
    json_t *json = regime_fit_to_json(&fit, &timing, few);
    char err[200];

    assert_int_equal(json_object_size(json), 7 + 2);
    assert_int_equal(regime_fit_from_json(json, &back, NULL, err, sizeof err), 0);
    assert_near(back.params.beta[1], fit.params.beta[1], 0);
    assert_null(back.path.smoothed);
    assert_true(isnan(back.path.llf));
    json_decref(json);
    regime_fit_deinit(&back);
    regime_fit_deinit(&fit);
    sample_deinit(&growth);
}

static void check_bad_fit(json_t *json, const char *name, json_t *value, const char *expected)
{
    json_t *bad = json_copy(json);
    struct regime_fit fit;
    char err[200] = "";

    json_object_set_new(bad, name, value);
    assert_int_equal(regime_fit_from_json(bad, &fit, NULL, err, sizeof err), -EINVAL);
    assert_string_equal(err, expected);
    json_decref(bad);
}

static void bad_fits_are_refused(void **state)
{
    struct sample growth = us_growth();
    struct regime_problem problem = problem_of(&growth, 2, true);
    struct regime_fit fit = fit_of(&problem, 1);
    json_t *json = regime_fit_to_json(&fit, &timing, REGIME_OUTPUTS_ALL);

    check_bad_fit(json, "nobs", json_integer(0),
                  "fit: field `nobs` must be an integer from 1 to 100000000");
    check_bad_fit(json, "regimes", json_integer(7),
                  "fit: field `regimes` must be an integer from 2 to 6");
    check_bad_fit(json, "nobs", json_integer(201),
                  "fit: field `smoothed` has the wrong form or size");
    check_bad_fit(json, "beta", json_string("x"), "fit: field `beta` has the wrong form or size");
    check_bad_fit(json, "converge", json_integer(1),
                  "fit: field `converge` has the wrong form or size");
    json_decref(json);
    regime_fit_deinit(&fit);
    sample_deinit(&growth);
}

/* ---- the chart ---- */

static char *chart_of(const struct sample *sample, size_t regimes, const char *title)
{
    struct regime_problem problem = problem_of(sample, regimes, false);
    problem.max_iterations = 30;
    struct regime_fit fit = fit_of(&problem, 1);
    size_t length = 0;
    char *svg = regime_fit_svg(&fit, sample->dates, title, "Growth, %", &length);

    assert_non_null(svg);
    assert_int_equal(strlen(svg), length);
    assert_memory_equal(svg, "<svg ", 5);
    assert_string_equal(svg + length - 7, "</svg>\n");
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    regime_fit_deinit(&fit);
    return svg;
}

static void a_chart_escapes_its_texts(void **state)
{
    struct sample growth = us_growth();
    char *svg = chart_of(&growth, 2, "<b>GDP</b> & \"more\" \x01\xff \u00fc");

    assert_non_null(
        strstr(svg, ">&lt;b&gt;GDP&lt;/b&gt; &amp; &quot;more&quot;  ? \u00fc</title>"));
    assert_null(strstr(svg, "<b>"));
    assert_non_null(strstr(svg, ">1960</text>"));
    assert_non_null(strstr(svg, ">2005</text>"));
    assert_non_null(strstr(svg, "Regime 2: mean"));
    free(svg);
    sample_deinit(&growth);
}

static void a_chart_of_many_observations_stays_small(void **state)
{
    struct sample sample = synthetic(10000, 1);
    char *svg = chart_of(&sample, 3, "Synthetic");

    assert_in_range(strlen(svg), 10000, 200000);
    assert_non_null(strstr(svg, ">10000</text>"));
    free(svg);
    sample_deinit(&sample);
}

static void a_chart_of_next_to_nothing_is_a_chart(void **state)
{
    const double smoothed[] = {0.25, 0.75, 0.25, 0.75, 0.5, 0.5};
    const double series[][3] = {{5, 5, 5}, {NAN, 1, NAN}, {0, 0, 0}, {1e100, -1e100, 1e-100}};
    const sample_date dates[] = {"2001-02-01", "2001-02-02", "2001-02-03"};
    const char *labels[] = {"one", "two"};
    size_t length;

    for (size_t i = 0; i < sizeof series / sizeof *series; i++)
        for (size_t n = 0; n <= 3; n++) {
            struct regime_chart chart = {"title", "subtitle", "series",
                                         n,       series[i],  i % 2 ? dates : NULL,
                                         2,       smoothed,   labels};
            char *svg = regime_chart_svg(&chart, &length);
            assert_non_null(svg);
            assert_null(strstr(svg, "nan"));
            assert_null(strstr(svg, "inf"));
            free(svg);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_is_read_in_all_its_forms),
        cmocka_unit_test(bad_csv_is_refused_with_its_line),
        cmocka_unit_test(us_gdp_has_202_growth_rates),
        cmocka_unit_test(only_positive_numbers_grow),
        cmocka_unit_test(synthetic_data_repeats_with_its_seed),
        cmocka_unit_test(every_bad_field_has_its_sentence),
        cmocka_unit_test(all_errors_are_told_at_once),
        cmocka_unit_test(what_is_left_out_has_a_default),
        cmocka_unit_test(a_request_becomes_a_problem),
        cmocka_unit_test(data_sets_are_loaded),
        cmocka_unit_test(a_fit_survives_json),
        cmocka_unit_test(outputs_can_be_left_out),
        cmocka_unit_test(bad_fits_are_refused),
        cmocka_unit_test(a_chart_escapes_its_texts),
        cmocka_unit_test(a_chart_of_many_observations_stays_small),
        cmocka_unit_test(a_chart_of_next_to_nothing_is_a_chart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
