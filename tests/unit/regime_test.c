/*
 * The estimator: that EM climbs, that its filter agrees with statsmodels, that its fits are as good
 * or better, and that it finds what was put into generated data.
 *
 * regime_reference.json holds what statsmodels says; regime_reference.py writes it.
 */
#include "unit/regime_test.h"

#include <errno.h>
#include <jansson.h>

#include "examples/regime-switching/information.h"
#include "examples/regime-switching/random.h"

#define CLIMB_STEPS 120
#define CLIMB_SEEDS 5

/* A step may lose this to rounding, of likelihoods between 100 and 4000. */
#define CLIMB_TOLERANCE 1e-8

/* Parameters in one block that starts at beta. */
static struct regime_parameters parameters_new(size_t regimes, size_t coefficients)
{
    double *block = calloc(regimes * (coefficients + regimes + 2), sizeof *block);

    assert_non_null(block);
    return (struct regime_parameters){.beta = block,
                                      .sigma = block + regimes * coefficients,
                                      .transition = block + regimes * (coefficients + 1),
                                      .initial = block + regimes * (coefficients + 1 + regimes)};
}

static struct regime_path path_new(size_t n, size_t regimes)
{
    double *block = calloc(3 * n * regimes, sizeof *block);

    assert_non_null(block);
    return (struct regime_path){
        .predicted = block, .filtered = block + n * regimes, .smoothed = block + 2 * n * regimes};
}

static struct regime_work *work_of(const struct regime_problem *problem)
{
    struct regime_work *work = NULL;
    char err[200] = "";

    if (regime_work_new(problem, &work, err, sizeof err) != 0)
        fail_msg("%s", err);
    return work;
}

static double step(struct regime_work *work, struct regime_parameters *params)
{
    double llf, change;
    char err[200] = "";

    if (regime_em_step(work, params, &llf, &change, err, sizeof err) != 0)
        fail_msg("%s", err);
    return llf;
}

/* The growth of the next quarter, with this quarter's as its regressor; shares growth's memory. */
static struct sample lagged(const struct sample *growth)
{
    return (struct sample){.n = growth->n - 1, .y = growth->y + 1, .regressors = 1, .x = growth->y};
}

/* ---- EM climbs ---- */

static void check_climb(const struct regime_problem *problem, uint64_t seed)
{
    struct regime_work *work = work_of(problem);
    struct regime_parameters params =
        parameters_new(problem->regimes, regime_coefficients(problem));
    double before = -INFINITY;

    regime_random_start(work, seed, &params);
    for (int i = 0; i < CLIMB_STEPS; i++) {
        double llf = step(work, &params);
        if (!(llf >= before - CLIMB_TOLERANCE))
            fail_msg("n %zu, K %zu, seed %llu, step %d: %.12g after %.12g", problem->n,
                     problem->regimes, (unsigned long long)seed, i, llf, before);
        before = llf;
    }
    free(params.beta);
    regime_work_free(work);
}

static void check_climbs(const struct sample *sample, size_t most_regimes)
{
    for (size_t regimes = 2; regimes <= most_regimes; regimes++)
        for (uint64_t seed = 1; seed <= CLIMB_SEEDS; seed++) {
            struct regime_problem by_regime = problem_of(sample, regimes, false);
            struct regime_problem pooled = problem_of(sample, regimes, true);
            check_climb(&by_regime, seed);
            check_climb(&pooled, seed);
        }
}

static void likelihood_never_falls_on_us_gdp(void **state)
{
    struct sample growth = us_growth(), line = lagged(&growth);

    check_climbs(&growth, 4);
    check_climbs(&line, 2);
    sample_deinit(&growth);
}

static void likelihood_never_falls_on_synthetic_data(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sample sample = synthetic(150, seed);
        check_climbs(&sample, 4);
        sample_deinit(&sample);
    }
}

/* Two values and an outlier: regimes without variance, and regimes without observations. */
static void likelihood_never_falls_at_the_floor(void **state)
{
    struct sample sample = synthetic(80, 1);

    for (size_t t = 0; t < sample.n; t++) {
        sample.y[t] = t % 10 < 5;
        sample.x[t] = t == 40;
    }
    sample.y[40] = 1000;
    check_climbs(&sample, 6);
    sample_deinit(&sample);
}

/* ---- statsmodels ---- */

static double number(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);

    assert_true(json_is_number(value));
    return json_number_value(value);
}

static double at(const json_t *json, const char *name, size_t row, size_t column)
{
    const json_t *value = json_array_get(json_array_get(json_object_get(json, name), row), column);

    assert_true(json_is_number(value));
    return json_number_value(value);
}

static double at_regime(const json_t *json, const char *name, size_t regime)
{
    const json_t *value = json_array_get(json_object_get(json, name), regime);

    assert_true(json_is_number(value));
    return json_number_value(value);
}

static struct regime_parameters reference_parameters(const json_t *reference,
                                                     const struct regime_problem *problem)
{
    size_t regimes = problem->regimes, k = regime_coefficients(problem);
    struct regime_parameters params = parameters_new(regimes, k);

    for (size_t r = 0; r < regimes; r++) {
        params.sigma[r] = at_regime(reference, "sigma", r);
        params.initial[r] = at_regime(reference, "ergodic", r);
        for (size_t j = 0; j < k; j++)
            params.beta[r * k + j] = at(reference, "beta", r, j);
        for (size_t i = 0; i < regimes; i++)
            params.transition[r * regimes + i] = at(reference, "transition", r, i);
    }
    return params;
}

/* Calls check for each case with the problem and the parameters that statsmodels found. */
static void for_each_reference(void (*check)(const json_t *reference,
                                             const struct regime_problem *problem,
                                             const struct regime_parameters *params))
{
    json_t *cases = json_load_file(source_path("tests/unit/regime_reference.json"), 0, NULL);
    struct sample growth = us_growth(), line = lagged(&growth);
    const json_t *reference;
    size_t i;

    assert_int_equal(json_array_size(cases), 4);
    json_array_foreach(cases, i, reference) {
        bool is_line = json_is_true(json_object_get(reference, "lagged"));
        struct regime_problem problem =
            problem_of(is_line ? &line : &growth, (size_t)number(reference, "regimes"),
                       json_is_true(json_object_get(reference, "oneSigma")));
        struct regime_parameters params = reference_parameters(reference, &problem);
        check(reference, &problem, &params);
        free(params.beta);
    }
    sample_deinit(&growth);
    json_decref(cases);
}

static void check_probabilities(const json_t *reference, const struct regime_problem *problem,
                                const struct regime_parameters *params)
{
    struct regime_path path = path_new(problem->n, problem->regimes);
    size_t times = json_array_size(json_object_get(reference, "times"));

    regime_filter(problem, params, REGIME_START_ERGODIC, &path);
    regime_smooth(problem, params, &path);
    assert_near(path.llf, number(reference, "llf"), 1e-6);
    assert_in_range(times, 10, 1000);
    for (size_t i = 0; i < times; i++) {
        size_t t = (size_t)at_regime(reference, "times", i);
        for (size_t r = 0; r < problem->regimes; r++) {
            size_t here = t * problem->regimes + r;
            assert_near(path.filtered[here], at(reference, "filtered", i, r), 1e-6);
            assert_near(path.smoothed[here], at(reference, "smoothed", i, r), 1e-6);
        }
    }
    for (size_t r = 0; r < problem->regimes; r++)
        assert_near(path.predicted[r], at_regime(reference, "ergodic", r), 1e-9);
    free(path.predicted);
}

static void probabilities_agree_with_statsmodels(void **state)
{
    for_each_reference(check_probabilities);
}

/* The reference differentiates the likelihood twice numerically, we once: 0.01 % apart at most. */
static void check_standard_errors(const json_t *reference, const struct regime_problem *problem,
                                  const struct regime_parameters *params)
{
    size_t k = regime_coefficients(problem);
    double tstat[REGIME_MAX_REGIMES * 2];

    assert_int_equal(regime_t_statistics(problem, params, 0, tstat), 0);
    for (size_t i = 0; i < problem->regimes * k; i++) {
        double expected = at(reference, "standardErrors", i / k, i % k);
        assert_near(params->beta[i] / tstat[i], expected, 1e-4 * expected);
    }
}

static void standard_errors_agree_with_numerical_ones(void **state)
{
    for_each_reference(check_standard_errors);
}

/* Our first regime is free, theirs is the steady state: ours can only be higher. */
static void check_likelihood(const json_t *reference, const struct regime_problem *problem,
                             const struct regime_parameters *params)
{
    struct regime_fit fit = best_of(problem, 8);

    if (!(fit.path.llf >= number(reference, "llf")))
        fail_msg("%s: %.6f, statsmodels has %.6f",
                 json_string_value(json_object_get(reference, "name")), fit.path.llf,
                 number(reference, "llf"));
    regime_fit_deinit(&fit);
}

static void fits_are_as_good_as_those_of_statsmodels(void **state)
{
    for_each_reference(check_likelihood);
}

/* ---- joint probabilities of neighbours, or the product of marginals ---- */

/* The wrong transition step: Pr(s_t = j | Y) Pr(s_t-1 = i | Y), as if they were independent. */
static void product_of_marginals(const struct regime_problem *problem,
                                 const struct regime_path *path, double *transition)
{
    size_t regimes = problem->regimes;

    for (size_t i = 0; i < regimes; i++) {
        double from = 0;
        for (size_t j = 0; j < regimes; j++)
            transition[j * regimes + i] = 0;
        for (size_t t = 1; t < problem->n; t++) {
            double before = path->smoothed[(t - 1) * regimes + i];
            from += before;
            for (size_t j = 0; j < regimes; j++)
                transition[j * regimes + i] += path->smoothed[t * regimes + j] * before;
        }
        for (size_t j = 0; j < regimes; j++)
            transition[j * regimes + i] /= from;
    }
}

static double likelihood_of_product_form(const struct regime_problem *problem, uint64_t seed)
{
    struct regime_work *work = work_of(problem);
    struct regime_parameters params =
        parameters_new(problem->regimes, regime_coefficients(problem));
    double llf = 0;

    regime_random_start(work, seed, &params);
    for (int i = 0; i < 500; i++) {
        llf = step(work, &params);
        product_of_marginals(problem, regime_work_path(work), params.transition);
    }
    free(params.beta);
    regime_work_free(work);
    return llf;
}

/* Two means, two sigmas, growth as 100 diff(ln GDP), no regressors, the first regime free. */
static void joint_form_beats_product_of_marginals(void **state)
{
    struct sample growth = us_growth();
    struct regime_problem problem = problem_of(&growth, 2, false);
    struct regime_fit fit = best_of(&problem, 8);
    double product = -INFINITY;

    for (uint64_t seed = 1; seed <= 8; seed++)
        product = fmax(product, likelihood_of_product_form(&problem, seed));
    assert_true(fit.path.llf >= -238);
    assert_near(fit.path.llf, -237.8228, 1e-3);
    assert_near(product, -249.685, 0.1);
    regime_fit_deinit(&fit);
    sample_deinit(&growth);
}

/* ---- what was put in comes out ---- */

static size_t likeliest(const struct regime_fit *fit, size_t t)
{
    const double *smoothed = fit->path.smoothed + t * fit->regimes;
    size_t best = 0;

    for (size_t r = 1; r < fit->regimes; r++)
        if (smoothed[r] > smoothed[best])
            best = r;
    return best;
}

static void check_recovery(size_t n, bool one_sigma, uint64_t starts, double tolerance,
                           double stay_tolerance)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sample sample = synthetic(n, seed);
        struct regime_problem problem = problem_of(&sample, SYNTHETIC_REGIMES, one_sigma);
        struct regime_fit fit = best_of(&problem, starts);
        size_t right = 0;
        for (size_t r = 0; r < SYNTHETIC_REGIMES; r++) {
            assert_near(fit.params.beta[2 * r + 1], sample_synthetic_slopes[r], tolerance);
            assert_near(fit.params.sigma[r], 0.3, tolerance);
            assert_near(fit.params.transition[r * SYNTHETIC_REGIMES + r], 0.97, stay_tolerance);
            assert_true(fit.tstat[2 * r + 1] > 5);
        }
        for (size_t t = 0; t < n; t++)
            right += likeliest(&fit, t) == sample.regimes[t];
        assert_true(fit.converged);
        assert_true((double)right > 0.97 * (double)n);
        regime_fit_deinit(&fit);
        sample_deinit(&sample);
    }
}

/*
 * Standard errors of the slopes are about 0.015 and 0.005: the tolerances are three to four of
 * them. A regime of a short sample may be entered a few times only, so its probability of staying
 * is vague.
 */
static void slopes_of_1000_observations_are_recovered(void **state)
{
    check_recovery(1000, false, 5, 0.05, 0.06);
    check_recovery(1000, true, 5, 0.05, 0.06);
}

static void slopes_of_10000_observations_are_recovered(void **state)
{
    check_recovery(10000, false, 1, 0.02, 0.015);
}

/* ---- what every fit owes ---- */

static void check_sums(const double *values, size_t rows, size_t columns)
{
    for (size_t row = 0; row < rows; row++) {
        double sum = 0;
        for (size_t column = 0; column < columns; column++)
            sum += values[row * columns + column];
        assert_near(sum, 1, 1e-9);
    }
}

static void check_fit(const struct regime_fit *fit)
{
    size_t regimes = fit->regimes;
    double sse = 0;

    check_sums(fit->path.predicted, fit->n, regimes);
    check_sums(fit->path.filtered, fit->n, regimes);
    check_sums(fit->path.smoothed, fit->n, regimes);
    for (size_t i = 0; i < regimes; i++) {
        double column = 0, stays = 0;
        for (size_t j = 0; j < regimes; j++) {
            column += fit->params.transition[j * regimes + i];
            stays += fit->params.transition[i * regimes + j] * fit->ergodic[j];
        }
        assert_near(column, 1, 1e-12);
        assert_near(stays, fit->ergodic[i], 1e-9);
        assert_true(fit->params.sigma[i] >= fit->sigma_floor);
    }
    check_sums(fit->ergodic, 1, regimes);
    for (size_t t = 0; t < fit->n; t++) {
        assert_near(fit->y[t], fit->yhat[t] + fit->residuals[t], 1e-9 * (1 + fabs(fit->y[t])));
        sse += fit->residuals[t] * fit->residuals[t];
    }
    assert_near(fit->sse, sse, 1e-9 * sse);
    assert_near(fit->rsqr, 1 - fit->sse / fit->sst, 1e-12);
    assert_true(isfinite(fit->path.llf) && isfinite(fit->rbar) && fit->rbar <= fit->rsqr);
}

static void fits_are_consistent(void **state)
{
    struct sample growth = us_growth(), line = lagged(&growth);

    for (size_t regimes = 2; regimes <= REGIME_MAX_REGIMES; regimes++) {
        struct regime_problem mean = problem_of(&growth, regimes, regimes % 2);
        struct regime_problem slope = problem_of(&line, regimes, regimes % 2 == 0);
        struct regime_fit first = fit_of(&mean, regimes), second = fit_of(&slope, regimes);
        check_fit(&first);
        check_fit(&second);
        regime_fit_deinit(&first);
        regime_fit_deinit(&second);
    }
    sample_deinit(&growth);
}

static void ergodic_probabilities_have_a_closed_form_for_two_regimes(void **state)
{
    const double stay[][2] = {{0.9, 0.8}, {0.999999, 0.5}, {0, 0}, {0.25, 1}};
    double ergodic[2];

    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        double p11 = stay[i][0], p22 = stay[i][1];
        double transition[] = {p11, 1 - p22, 1 - p11, p22};
        assert_true(regime_ergodic(transition, 2, ergodic));
        assert_near(ergodic[0], (1 - p22) / (2 - p11 - p22), 1e-9); /* [22.2.26] */
        assert_near(ergodic[1], (1 - p11) / (2 - p11 - p22), 1e-9);
    }
}

static void a_seed_gives_one_fit_and_regimes_are_ordered(void **state)
{
    struct sample growth = us_growth();
    struct regime_problem problem = problem_of(&growth, 2, true);
    struct regime_fit first = fit_of(&problem, 1), again = fit_of(&problem, 1);

    assert_memory_equal(first.path.smoothed, again.path.smoothed,
                        2 * first.n * sizeof *first.path.smoothed);
    assert_int_equal(first.iterations, again.iterations);
    regime_fit_deinit(&again);
    for (uint64_t seed = 2; seed < 8; seed++) {
        struct regime_fit other = fit_of(&problem, seed);
        assert_near(other.params.beta[0], first.params.beta[0], 1e-5);
        assert_near(other.params.beta[1], first.params.beta[1], 1e-5);
        assert_true(other.params.beta[0] < other.params.beta[1]);
        regime_fit_deinit(&other);
    }
    regime_fit_deinit(&first);
    sample_deinit(&growth);
}

/* The published generators: splitmix64 from 42, then xoshiro256++ from those four words. */
static void random_numbers_are_those_of_the_published_generator(void **state)
{
    struct regime_random random;

    regime_random_init(&random, 42);
    assert_true(regime_random_next(&random) == UINT64_C(0xd0764d4f4476689f));
    assert_true(regime_random_next(&random) == UINT64_C(0x519e4174576f3791));
    for (int i = 0; i < 1000; i++) {
        double value = regime_random_uniform(&random, -0.5, 0.5);
        assert_true(value >= -0.5 && value < 0.5);
    }
    assert_true(regime_run_seed(1, 2) != regime_run_seed(2, 1));
    assert_true(regime_run_seed(1, 2) < UINT64_C(1) << 53);
}

/* ---- the edge ---- */

static void densities_do_not_underflow(void **state)
{
    struct sample growth = us_growth();
    struct regime_problem problem = problem_of(&growth, 2, false);
    double beta[] = {0.8, 1000}, sigma[] = {1e-3, 1e-3}, initial[] = {1, 0};
    double transition[] = {1, 0, 0, 1};
    struct regime_parameters params = {beta, sigma, transition, initial};
    struct regime_path path = path_new(growth.n, 2);
    double expected = 0;

    regime_filter(&problem, &params, REGIME_START_GIVEN, &path);
    regime_smooth(&problem, &params, &path);
    for (size_t t = 0; t < growth.n; t++) {
        double z = (growth.y[t] - 0.8) / 1e-3;
        expected += -0.5 * log(2 * M_PI) - log(1e-3) - 0.5 * z * z;
        assert_near(path.smoothed[2 * t], 1, 0);
    }
    assert_near(path.llf, expected, 1e-9 * fabs(expected));
    free(path.predicted);
    sample_deinit(&growth);
}

/* One observation a million standard deviations away takes a regime for itself. */
static void an_outlier_is_a_regime_at_the_floor(void **state)
{
    struct sample growth = us_growth();
    struct regime_problem problem = problem_of(&growth, 2, false);

    growth.y[100] = 1e6;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct regime_fit fit = fit_of(&problem, seed);
        check_fit(&fit);
        regime_fit_deinit(&fit);
    }
    sample_deinit(&growth);
}

static void check_refusal(struct regime_problem problem, const char *expected)
{
    struct regime_fit fit;
    char err[200] = "";

    assert_int_equal(regime_fit(&problem, 1, &fit, err, sizeof err), -EINVAL);
    assert_string_equal(err, expected);
}

static void what_cannot_be_fitted_is_refused(void **state)
{
    struct sample sample = synthetic(60, 1);
    struct regime_problem good = problem_of(&sample, 2, false), bad = good;

    bad.regimes = 7;
    check_refusal(bad, "the number of regimes must be from 2 to 6, not 7");
    bad = good, bad.n = 10;
    check_refusal(bad, "10 observations are too few for 2 regimes with 2 coefficients each: at "
                       "least 12 are needed");
    bad = good, bad.max_iterations = 0;
    check_refusal(bad, "the number of iterations must be at least 1");
    bad = good, bad.convergence = NAN;
    check_refusal(bad, "the convergence tolerance must not be negative");
    sample.y[7] = NAN;
    check_refusal(good, "y: observation 8 is nan; numbers must be finite and at most 1e+100");
    for (size_t t = 0; t < 60; t++)
        sample.y[t] = 3 * sample.x[t] - 7;
    check_refusal(good, "the regressors explain y without an error");
    for (size_t t = 0; t < 60; t++)
        sample.x[t] = 0.1;
    check_refusal(good, "the regressors are collinear, with each other or with the intercept");
    sample.x[59] = INFINITY;
    check_refusal(good, "regressor 1: observation 60 is inf; numbers must be finite and at most "
                        "1e+100");
    for (size_t t = 0; t < 60; t++)
        sample.y[t] = 0.1;
    sample.x[59] = 0;
    check_refusal(good, "y is constant");
    sample_deinit(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likelihood_never_falls_on_us_gdp),
        cmocka_unit_test(likelihood_never_falls_on_synthetic_data),
        cmocka_unit_test(likelihood_never_falls_at_the_floor),
        cmocka_unit_test(probabilities_agree_with_statsmodels),
        cmocka_unit_test(standard_errors_agree_with_numerical_ones),
        cmocka_unit_test(fits_are_as_good_as_those_of_statsmodels),
        cmocka_unit_test(joint_form_beats_product_of_marginals),
        cmocka_unit_test(slopes_of_1000_observations_are_recovered),
        cmocka_unit_test(slopes_of_10000_observations_are_recovered),
        cmocka_unit_test(fits_are_consistent),
        cmocka_unit_test(ergodic_probabilities_have_a_closed_form_for_two_regimes),
        cmocka_unit_test(a_seed_gives_one_fit_and_regimes_are_ordered),
        cmocka_unit_test(random_numbers_are_those_of_the_published_generator),
        cmocka_unit_test(densities_do_not_underflow),
        cmocka_unit_test(an_outlier_is_a_regime_at_the_floor),
        cmocka_unit_test(what_cannot_be_fitted_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
