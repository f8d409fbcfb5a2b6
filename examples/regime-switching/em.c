#include "examples/regime-switching/em.h"

#include <errno.h>
#include <lapacke.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/arrays.h"
#include "examples/regime-switching/fail.h"
#include "examples/regime-switching/random.h"

/* Beyond this, sums of squares would overflow. */
#define LARGEST_VALUE 1e100

/* A regime with less than this many observations, in expectation, keeps its parameters. */
#define EMPTY_REGIME 1e-8

/* Singular values below this part of the largest count as zero. */
#define RANK_TOLERANCE 1e-11

/* Residuals below this part of y's deviation are rounding, not an error term. */
#define EXACT_FIT 1e-10

/* The floors of sigma, as parts of the standard error; see regime_work_sigma_floor. */
#define FLOOR_BY_REGIME 1e-2
#define FLOOR_POOLED    1e-6

struct regime_work {
    const struct regime_problem *problem;
    double sigma_floor;
    double *block;
    /* [k], 1 / root mean square of each column, so that the solver sees columns of one size */
    double *scale;
    double *design;     /* [k][n], the weighted columns, destroyed by the solver */
    double *target;     /* [n], the weighted y; then the solution */
    lapack_int *pivot;  /* [k] */
    double *beta;       /* [k], the previous coefficients of a regime */
    double *square_sum; /* [K], weighted sum of squared residuals */
    double *weight;     /* [K], sum of smoothed probabilities */
    struct regime_path path;
};

size_t regime_fewest_observations(size_t regimes, size_t coefficients)
{
    return 2 * regimes * (coefficients + 1);
}

/* ---- memory ---- */

void regime_work_free(struct regime_work *work)
{
    if (!work)
        return;
    free(work->pivot);
    free(work->block);
    free(work);
}

static struct regime_work *work_alloc(const struct regime_problem *problem)
{
    size_t n = problem->n, regimes = problem->regimes, k = regime_coefficients(problem);
    struct regime_work *work = calloc(1, sizeof *work);
    double *block = calloc(k * (n + 2) + n + 2 * regimes + 3 * n * regimes, sizeof *block);
    lapack_int *pivot = calloc(k, sizeof *pivot);

    if (!work || !block || !pivot) {
        free(work);
        free(block);
        free(pivot);
        return NULL;
    }
    work->problem = problem;
    work->pivot = pivot;
    work->block = block;
    work->scale = regime_take(&block, k);
    work->beta = regime_take(&block, k);
    work->design = regime_take(&block, k * n);
    work->target = regime_take(&block, n);
    work->square_sum = regime_take(&block, regimes);
    work->weight = regime_take(&block, regimes);
    work->path.predicted = regime_take(&block, n * regimes);
    work->path.filtered = regime_take(&block, n * regimes);
    work->path.smoothed = regime_take(&block, n * regimes);
    return work;
}

/* ---- what can be fitted ---- */

static int check_sizes(const struct regime_problem *problem, char *err, size_t errsize)
{
    size_t k = regime_coefficients(problem);

    if (problem->regimes < 2 || problem->regimes > REGIME_MAX_REGIMES)
        return regime_fail(-EINVAL, err, errsize,
                           "the number of regimes must be from 2 to %d, not %zu",
                           REGIME_MAX_REGIMES, problem->regimes);
    /* LAPACK counts in int. */
    if (problem->n > INT32_MAX / 2 || k > INT32_MAX / 2 / (problem->n + 1))
        return regime_fail(-EINVAL, err, errsize, "%zu observations of %zu regressors are too many",
                           problem->n, problem->regressors);
    if (problem->n < regime_fewest_observations(problem->regimes, k))
        return regime_fail(
            -EINVAL, err, errsize,
            "%zu observations are too few for %zu regimes with %zu coefficients each: "
            "at least %zu are needed",
            problem->n, problem->regimes, k, regime_fewest_observations(problem->regimes, k));
    if (problem->max_iterations < 1)
        return regime_fail(-EINVAL, err, errsize, "the number of iterations must be at least 1");
    if (!(problem->convergence >= 0))
        return regime_fail(-EINVAL, err, errsize, "the convergence tolerance must not be negative");
    return 0;
}

static int check_numbers(const char *name, const double *values, size_t n, char *err,
                         size_t errsize)
{
    for (size_t t = 0; t < n; t++)
        if (!(fabs(values[t]) <= LARGEST_VALUE))
            return regime_fail(-EINVAL, err, errsize,
                               "%s: observation %zu is %g; numbers must be finite and at most %g",
                               name, t + 1, values[t], LARGEST_VALUE);
    return 0;
}

static int check_data(const struct regime_problem *problem, char *err, size_t errsize)
{
    char name[48];
    int rc = check_numbers("y", problem->y, problem->n, err, errsize);

    for (size_t j = 0; rc == 0 && j < problem->regressors; j++) {
        snprintf(name, sizeof name, "regressor %zu", j + 1);
        rc = check_numbers(name, problem->x + j * problem->n, problem->n, err, errsize);
    }
    return rc;
}

/* ---- weighted least squares ---- */

static void set_scale(struct regime_work *work)
{
    const struct regime_problem *problem = work->problem;

    work->scale[0] = 1;
    for (size_t j = 0; j < problem->regressors; j++) {
        double sum = regime_squares_about(problem->x + j * problem->n, problem->n, 0);
        work->scale[j + 1] = sum > 0 ? 1 / sqrt(sum / (double)problem->n) : 1;
    }
}

/*
 * The coefficients that minimise sum over t of weight[t * stride] (y_t - x_t' beta)^2
 * [22.4.21-22]; of several such, as for a regime of fewer observations than coefficients, those of
 * least norm. Returns the rank, or a negative errno.
 */
static int least_squares(struct regime_work *work, const double *weight, size_t stride,
                         double *beta)
{
    const struct regime_problem *problem = work->problem;
    size_t n = problem->n, k = regime_coefficients(problem);
    lapack_int rank;

    for (size_t t = 0; t < n; t++) {
        double root = sqrt(weight[t * stride]);
        work->target[t] = root * problem->y[t];
        for (size_t j = 0; j < k; j++)
            work->design[j * n + t] = root * work->scale[j] * regime_regressor(problem, j, t);
    }
    memset(work->pivot, 0, k * sizeof *work->pivot);
    lapack_int info = LAPACKE_dgelsy(LAPACK_COL_MAJOR, (lapack_int)n, (lapack_int)k, 1,
                                     work->design, (lapack_int)n, work->target, (lapack_int)n,
                                     work->pivot, RANK_TOLERANCE, &rank);
    if (info != 0)
        return info == LAPACK_WORK_MEMORY_ERROR ? -ENOMEM : -EDOM;
    for (size_t j = 0; j < k; j++)
        beta[j] = work->scale[j] * work->target[j];
    return rank;
}

/* sum over t of weight[t * stride] (y_t - x_t' beta)^2 */
static double squared_errors(const struct regime_problem *problem, const double *weight,
                             size_t stride, const double *beta)
{
    double sum = 0;

    for (size_t t = 0; t < problem->n; t++) {
        double error = problem->y[t] - regime_fitted(problem, beta, t);
        sum += weight[t * stride] * error * error;
    }
    return sum;
}

/* The root of the mean squared error. */
static double standard_error(const struct regime_problem *problem, const double *beta)
{
    const double one = 1;

    return sqrt(squared_errors(problem, &one, 0, beta) / (double)problem->n);
}

/*
 * Regression without regimes: finds what no number of regimes can mend, and the size of an error.
 */
static int prepare(struct regime_work *work, char *err, size_t errsize)
{
    const struct regime_problem *problem = work->problem;
    size_t n = problem->n, k = regime_coefficients(problem);
    const double one = 1;
    double spread =
        sqrt(regime_squares_about(problem->y, n, regime_mean(problem->y, n)) / (double)n);
    int rank;

    if (spread <= EXACT_FIT * fabs(regime_mean(problem->y, n)))
        return regime_fail(-EINVAL, err, errsize, "y is constant");
    set_scale(work);
    rank = least_squares(work, &one, 0, work->beta);
    if (rank < 0)
        return regime_fail(rank, err, errsize, "least squares failed: %s", strerror(-rank));
    if ((size_t)rank < k)
        return regime_fail(-EINVAL, err, errsize,
                           "the regressors are collinear, with each other or with the intercept");
    double error = standard_error(problem, work->beta);
    if (error <= EXACT_FIT * spread)
        return regime_fail(-EINVAL, err, errsize, "the regressors explain y without an error");
    work->sigma_floor = error * (problem->one_sigma ? FLOOR_POOLED : FLOOR_BY_REGIME);
    return 0;
}

int regime_work_new(const struct regime_problem *problem, struct regime_work **work, char *err,
                    size_t errsize)
{
    struct regime_work *made;
    int rc = check_sizes(problem, err, errsize);

    if (rc == 0)
        rc = check_data(problem, err, errsize);
    if (rc != 0)
        return rc;
    made = work_alloc(problem);
    if (!made)
        return regime_fail_memory(err, errsize);
    rc = prepare(made, err, errsize);
    if (rc != 0) {
        regime_work_free(made);
        return rc;
    }
    *work = made;
    return 0;
}

int regime_check(const struct regime_problem *problem, char *err, size_t errsize)
{
    struct regime_work *work = NULL;
    int rc = regime_work_new(problem, &work, err, errsize);

    regime_work_free(work);
    return rc;
}

double regime_work_sigma_floor(const struct regime_work *work)
{
    return work->sigma_floor;
}

const struct regime_path *regime_work_path(const struct regime_work *work)
{
    return &work->path;
}

/* ---- the start ---- */

void regime_random_start(const struct regime_work *work, uint64_t seed,
                         struct regime_parameters *params)
{
    const struct regime_problem *problem = work->problem;
    size_t regimes = problem->regimes, k = regime_coefficients(problem);
    struct regime_random random;

    regime_random_init(&random, seed);
    for (size_t i = 0; i < regimes * k; i++)
        params->beta[i] = regime_random_uniform(&random, -0.5, 0.5);
    for (size_t r = 0; r < regimes; r++) {
        params->sigma[r] = fmax(standard_error(problem, params->beta + r * k), work->sigma_floor);
        params->initial[r] = 1 / (double)regimes;
    }
    for (size_t i = 0; i < regimes * regimes; i++)
        params->transition[i] = 1 / (double)regimes;
    if (problem->one_sigma) {
        double sigma = regime_mean(params->sigma, regimes);
        for (size_t r = 0; r < regimes; r++)
            params->sigma[r] = sigma;
    }
}

/* ---- the EM step ---- */

/* [22.4.16], from the joint probabilities. A regime that never occurs keeps its column. */
static void update_transition(const struct regime_problem *problem, const struct regime_path *path,
                              double *transition)
{
    size_t regimes = problem->regimes;
    double flow[REGIME_MAX_REGIMES * REGIME_MAX_REGIMES];

    regime_flow(problem, path, flow);
    for (size_t i = 0; i < regimes; i++) {
        double sum = 0;
        for (size_t j = 0; j < regimes; j++)
            sum += flow[j * regimes + i] * transition[j * regimes + i];
        if (sum < EMPTY_REGIME)
            continue;
        /* The sum is that of Pr(s_t-1 = i | Y), and makes the column add up to one exactly. */
        for (size_t j = 0; j < regimes; j++)
            transition[j * regimes + i] *= flow[j * regimes + i] / sum;
    }
}

/* One regime's coefficients, and what its sigma needs. Returns 0 or a negative errno. */
static int update_beta(struct regime_work *work, size_t r, double *beta, double *change)
{
    const struct regime_problem *problem = work->problem;
    const double *weight = work->path.smoothed + r;
    size_t regimes = problem->regimes, k = regime_coefficients(problem);

    work->weight[r] = 0;
    for (size_t t = 0; t < problem->n; t++)
        work->weight[r] += weight[t * regimes];
    if (work->weight[r] >= EMPTY_REGIME) {
        memcpy(work->beta, beta, k * sizeof *beta);
        int rank = least_squares(work, weight, regimes, beta);
        if (rank < 0)
            return rank;
        for (size_t j = 0; j < k; j++)
            *change = fmax(*change, fabs(beta[j] - work->beta[j]));
    }
    work->square_sum[r] = squared_errors(problem, weight, regimes, beta);
    return 0;
}

/*
 * [22.4.23]. The floor keeps the step an ascent: a regime's part of the expected log-likelihood
 * rises towards its free maximum, so the floor is the best sigma allowed.
 */
static void update_sigma(const struct regime_work *work, double *sigma)
{
    const struct regime_problem *problem = work->problem;
    double pooled = 0;

    for (size_t r = 0; r < problem->regimes; r++)
        pooled += work->square_sum[r];
    for (size_t r = 0; r < problem->regimes; r++) {
        double square = pooled / (double)problem->n;
        if (!problem->one_sigma) {
            if (work->weight[r] < EMPTY_REGIME)
                continue;
            square = work->square_sum[r] / work->weight[r];
        }
        sigma[r] = fmax(sqrt(square), work->sigma_floor);
    }
}

int regime_em_step(struct regime_work *work, struct regime_parameters *params, double *llf,
                   double *change, char *err, size_t errsize)
{
    const struct regime_problem *problem = work->problem;
    size_t k = regime_coefficients(problem);
    int rc = 0;

    *change = 0;
    *llf = regime_filter(problem, params, REGIME_START_GIVEN, &work->path);
    if (!isfinite(*llf))
        return regime_fail(-EDOM, err, errsize, "the log-likelihood is not finite");
    regime_smooth(problem, params, &work->path);

    memcpy(params->initial, work->path.smoothed, problem->regimes * sizeof(double)); /* [22.4.17] */
    update_transition(problem, &work->path, params->transition);
    for (size_t r = 0; rc == 0 && r < problem->regimes; r++)
        rc = update_beta(work, r, params->beta + r * k, change);
    if (rc != 0)
        return regime_fail(rc, err, errsize, "weighted least squares failed: %s", strerror(-rc));
    update_sigma(work, params->sigma);
    return 0;
}
