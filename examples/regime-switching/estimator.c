#include "examples/regime-switching/estimator.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/arrays.h"
#include "examples/regime-switching/fail.h"
#include "examples/regime-switching/information.h"

int regime_fit_alloc(size_t n, size_t regimes, size_t coefficients, struct regime_fit *fit)
{
    size_t by_regime = regimes * (2 * coefficients + regimes + 3);
    double *block = calloc(by_regime + n * (3 * regimes + coefficients + 2), sizeof *block);

    *fit = (struct regime_fit){.n = n, .regimes = regimes, .coefficients = coefficients};
    if (!block)
        return -ENOMEM;
    fit->block = block;
    fit->params.beta = regime_take(&block, regimes * coefficients);
    fit->tstat = regime_take(&block, regimes * coefficients);
    fit->params.transition = regime_take(&block, regimes * regimes);
    fit->params.sigma = regime_take(&block, regimes);
    fit->params.initial = regime_take(&block, regimes);
    fit->ergodic = regime_take(&block, regimes);
    fit->path.predicted = regime_take(&block, n * regimes);
    fit->path.filtered = regime_take(&block, n * regimes);
    fit->path.smoothed = regime_take(&block, n * regimes);
    fit->y = regime_take(&block, n);
    fit->x = regime_take(&block, n * (coefficients - 1));
    fit->yhat = regime_take(&block, n);
    fit->residuals = regime_take(&block, n);
    return 0;
}

void regime_fit_deinit(struct regime_fit *fit)
{
    free(fit->block);
    *fit = (struct regime_fit){0};
}

static int iterate(const struct regime_problem *problem, struct regime_work *work,
                   struct regime_fit *fit, char *err, size_t errsize)
{
    double coefficients = (double)(fit->regimes * fit->coefficients);
    double llf, change;

    while (!fit->converged && fit->iterations < problem->max_iterations) {
        int rc = regime_em_step(work, &fit->params, &llf, &change, err, errsize);
        if (rc != 0)
            return rc;
        fit->iterations++;
        fit->converged = change / coefficients <= problem->convergence;
    }
    return 0;
}

/* A regime's fitted value at the average regressors. */
static double level(const struct regime_fit *fit, size_t r)
{
    const double *beta = fit->params.beta + r * fit->coefficients;
    double sum = beta[0];

    for (size_t j = 1; j < fit->coefficients; j++)
        sum += beta[j] * regime_mean(fit->x + (j - 1) * fit->n, fit->n);
    return sum;
}

static void swap(double *a, double *b, size_t count, size_t stride)
{
    for (size_t i = 0; i < count; i++) {
        double kept = a[i * stride];
        a[i * stride] = b[i * stride];
        b[i * stride] = kept;
    }
}

static void swap_regimes(struct regime_fit *fit, size_t a, size_t b)
{
    struct regime_parameters *params = &fit->params;
    size_t regimes = fit->regimes, k = fit->coefficients;

    swap(params->beta + a * k, params->beta + b * k, k, 1);
    swap(params->sigma + a, params->sigma + b, 1, 1);
    swap(params->initial + a, params->initial + b, 1, 1);
    swap(params->transition + a * regimes, params->transition + b * regimes, regimes, 1);
    swap(params->transition + a, params->transition + b, regimes, regimes);
}

/* Which regime is called the first is an accident of the start: selection sort by level. */
static void order_regimes(struct regime_fit *fit)
{
    for (size_t r = 0; r + 1 < fit->regimes; r++) {
        size_t lowest = r;
        for (size_t other = r + 1; other < fit->regimes; other++)
            if (level(fit, other) < level(fit, lowest))
                lowest = other;
        if (lowest != r)
            swap_regimes(fit, r, lowest);
    }
}

static void explain(struct regime_fit *fit, const struct regime_problem *problem)
{
    double n = (double)fit->n, free_n = n - (double)(fit->regimes * fit->coefficients);

    for (size_t t = 0; t < fit->n; t++) {
        fit->yhat[t] = 0;
        for (size_t r = 0; r < fit->regimes; r++)
            fit->yhat[t] += fit->path.smoothed[t * fit->regimes + r] *
                            regime_fitted(problem, fit->params.beta + r * fit->coefficients, t);
        fit->residuals[t] = fit->y[t] - fit->yhat[t];
    }
    fit->sse = regime_squares_about(fit->residuals, fit->n, 0);
    fit->sst = regime_squares_about(fit->y, fit->n, regime_mean(fit->y, fit->n));
    fit->rsqr = 1 - fit->sse / fit->sst;
    fit->rbar = 1 - (fit->sse / free_n) / (fit->sst / (n - 1));
}

/* Everything that is read off the final parameters. */
static int conclude(const struct regime_problem *problem, struct regime_fit *fit, char *err,
                    size_t errsize)
{
    order_regimes(fit);
    if (!regime_ergodic(fit->params.transition, fit->regimes, fit->ergodic))
        return regime_fail_memory(err, errsize);
    if (!isfinite(regime_filter(problem, &fit->params, REGIME_START_GIVEN, &fit->path)))
        return regime_fail(-EDOM, err, errsize, "the log-likelihood is not finite");
    regime_smooth(problem, &fit->params, &fit->path);
    explain(fit, problem);
    if (regime_t_statistics(problem, &fit->params, fit->sigma_floor, fit->tstat) != 0)
        return regime_fail_memory(err, errsize);
    return 0;
}

int regime_fit(const struct regime_problem *problem, uint64_t seed, struct regime_fit *fit,
               char *err, size_t errsize)
{
    struct regime_work *work = NULL;
    int rc = regime_work_new(problem, &work, err, errsize);

    if (rc != 0)
        return rc;
    if (regime_fit_alloc(problem->n, problem->regimes, regime_coefficients(problem), fit) != 0) {
        regime_work_free(work);
        return regime_fail_memory(err, errsize);
    }
    fit->seed = seed;
    fit->sigma_floor = regime_work_sigma_floor(work);
    memcpy(fit->y, problem->y, problem->n * sizeof(double));
    if (problem->regressors > 0)
        memcpy(fit->x, problem->x, problem->regressors * problem->n * sizeof(double));
    regime_random_start(work, seed, &fit->params);
    rc = iterate(problem, work, fit, err, errsize);
    if (rc == 0)
        rc = conclude(problem, fit, err, errsize);
    if (rc != 0)
        regime_fit_deinit(fit);
    regime_work_free(work);
    return rc;
}
