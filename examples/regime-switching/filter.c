#include "examples/regime-switching/filter.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

/* Below this a probability counts as none, so that no quotient of probabilities overflows. */
#define PROBABILITY_FLOOR 1e-300

/* A sum of relative densities below this has lost digits to underflow. */
#define SUM_FLOOR 1e-280

#define LOG_SQRT_2_PI 0.91893853320467274178

double regime_fitted(const struct regime_problem *problem, const double *beta, size_t t)
{
    double fitted = beta[0];

    for (size_t j = 0; j < problem->regressors; j++)
        fitted += beta[j + 1] * problem->x[j * problem->n + t];
    return fitted;
}

/* ln of the density of y_t in each regime [p. 696]. */
static void log_densities(const struct regime_problem *problem,
                          const struct regime_parameters *params, const double *log_sigma, size_t t,
                          double *density)
{
    size_t k = regime_coefficients(problem);

    for (size_t r = 0; r < problem->regimes; r++) {
        double fitted = regime_fitted(problem, params->beta + r * k, t);
        double z = (problem->y[t] - fitted) / params->sigma[r];
        density[r] = -LOG_SQRT_2_PI - log_sigma[r] - 0.5 * z * z;
    }
}

static double largest(const double *values, size_t count)
{
    double max = -INFINITY;

    for (size_t i = 0; i < count; i++)
        max = fmax(max, values[i]);
    return max;
}

/* filtered = predicted * exp(exponent - shift); returns the sum. */
static double weigh(const double *predicted, const double *exponent, double shift, size_t regimes,
                    double *filtered)
{
    double sum = 0;

    for (size_t r = 0; r < regimes; r++) {
        filtered[r] = predicted[r] * exp(exponent[r] - shift);
        sum += filtered[r];
    }
    return sum;
}

/* [22.4.5] at one time; returns ln f(y_t | y_1..t-1). */
static double update(const double *predicted, const double *density, size_t regimes,
                     double *filtered)
{
    double shift = largest(density, regimes);
    double sum = weigh(predicted, density, shift, regimes, filtered);

    if (!(sum > SUM_FLOOR)) {
        /*
         * The regimes that explain y_t were all but excluded before: compare the products instead.
         */
        double product[REGIME_MAX_REGIMES], one[REGIME_MAX_REGIMES];
        for (size_t r = 0; r < regimes; r++) {
            product[r] = log(predicted[r]) + density[r];
            one[r] = 1;
        }
        shift = largest(product, regimes);
        sum = weigh(one, product, shift, regimes, filtered);
    }
    for (size_t r = 0; r < regimes; r++)
        filtered[r] /= sum;
    return shift + log(sum);
}

/* [22.4.6] at one time. */
static void predict(const double *transition, const double *filtered, size_t regimes,
                    double *predicted)
{
    for (size_t j = 0; j < regimes; j++) {
        double sum = 0;
        for (size_t i = 0; i < regimes; i++)
            sum += transition[j * regimes + i] * filtered[i];
        predicted[j] = sum < PROBABILITY_FLOOR ? 0 : sum;
    }
}

double regime_filter(const struct regime_problem *problem, const struct regime_parameters *params,
                     enum regime_start start, struct regime_path *path)
{
    size_t regimes = problem->regimes;
    double density[REGIME_MAX_REGIMES], log_sigma[REGIME_MAX_REGIMES];

    path->llf = NAN;
    memcpy(path->predicted, params->initial, regimes * sizeof(double));
    if (start == REGIME_START_ERGODIC &&
        !regime_ergodic(params->transition, regimes, path->predicted))
        return NAN;
    for (size_t r = 0; r < regimes; r++)
        log_sigma[r] = log(params->sigma[r]);

    path->llf = 0;
    for (size_t t = 0; t < problem->n; t++) {
        double *filtered = path->filtered + t * regimes;
        log_densities(problem, params, log_sigma, t, density);
        path->llf += update(path->predicted + t * regimes, density, regimes, filtered);
        if (t + 1 < problem->n)
            predict(params->transition, filtered, regimes, path->predicted + (t + 1) * regimes);
    }
    return path->llf;
}

/* a / b where a regime that could not be has no weight. */
static double quotient(double a, double b)
{
    return b > 0 ? a / b : 0;
}

void regime_smooth(const struct regime_problem *problem, const struct regime_parameters *params,
                   struct regime_path *path)
{
    size_t regimes = problem->regimes;
    size_t last = (problem->n - 1) * regimes;

    memcpy(path->smoothed + last, path->filtered + last, regimes * sizeof(double));
    for (size_t at = last; at > 0; at -= regimes) {
        double *now = path->smoothed + at - regimes;
        double ratio[REGIME_MAX_REGIMES];
        for (size_t j = 0; j < regimes; j++)
            ratio[j] = quotient(path->smoothed[at + j], path->predicted[at + j]);
        for (size_t i = 0; i < regimes; i++) {
            double sum = 0;
            for (size_t j = 0; j < regimes; j++)
                sum += params->transition[j * regimes + i] * ratio[j];
            now[i] = path->filtered[at - regimes + i] * sum;
        }
    }
}

void regime_flow(const struct regime_problem *problem, const struct regime_path *path, double *flow)
{
    size_t regimes = problem->regimes;

    memset(flow, 0, regimes * regimes * sizeof(double));
    for (size_t at = regimes; at < problem->n * regimes; at += regimes) {
        const double *before = path->filtered + at - regimes;
        for (size_t j = 0; j < regimes; j++) {
            double ratio = quotient(path->smoothed[at + j], path->predicted[at + j]);
            for (size_t i = 0; i < regimes; i++)
                flow[j * regimes + i] += ratio * before[i];
        }
    }
}

bool regime_ergodic(const double *transition, size_t regimes, double *ergodic)
{
    double
        a[(REGIME_MAX_REGIMES + 1) * REGIME_MAX_REGIMES]; /* I - P over a row of ones [22.2.25] */
    double b[REGIME_MAX_REGIMES + 1] = {0};
    lapack_int pivot[REGIME_MAX_REGIMES] = {0}, rank;
    lapack_int columns = (lapack_int)regimes;
    double sum = 0;

    for (size_t j = 0; j < regimes; j++)
        for (size_t i = 0; i < regimes; i++)
            a[j * regimes + i] = (i == j ? 1 : 0) - transition[j * regimes + i];
    for (size_t i = 0; i < regimes; i++)
        a[regimes * regimes + i] = 1;
    b[regimes] = 1;
    if (LAPACKE_dgelsy(LAPACK_ROW_MAJOR, columns + 1, columns, 1, a, columns, b, 1, pivot, 1e-14,
                       &rank) != 0)
        return false;
    for (size_t r = 0; r < regimes; r++) {
        ergodic[r] =
            fmax(b[r], 0); /* rounding may leave a regime that is never entered below zero */
        sum += ergodic[r];
    }
    for (size_t r = 0; r < regimes; r++)
        ergodic[r] /= sum;
    return true;
}
