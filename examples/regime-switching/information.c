#include "examples/regime-switching/information.h"

#include <errno.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/arrays.h"

/*
 * Differences are taken over this part of a parameter's standard error as it would be if the
 * regimes were known: the error of a central difference is then some 1e-6 of the derivative.
 */
#define STEP 1e-3

/* A regime with fewer observations than this, in expectation, is held fixed. */
#define FEWEST_OBSERVATIONS 1

/* A transition expected less often than this in the sample counts as impossible. */
#define FEWEST_MOVES 0.5

enum kind { BETA, LOG_SIGMA, TRANSITION };

/* One parameter that is free to move. */
struct coordinate {
    enum kind kind;
    size_t at;        /* in params->beta, sigma or transition */
    size_t regime;    /* of beta and sigma */
    size_t reference; /* of a transition: the one that moves against it, so that columns add up */
    double step;
};

struct information {
    const struct regime_problem *problem;
    struct regime_parameters params; /* our copy, to be perturbed */
    struct regime_path path;
    double flow[REGIME_MAX_REGIMES * REGIME_MAX_REGIMES];
    double *weight; /* [K], observations of each regime, in expectation */
    struct coordinate *coordinates;
    size_t count;
    double *matrix;        /* [count][count] */
    double *above, *below; /* [count], the score on both sides of a coordinate */
    double *block;
};

static size_t most_coordinates(const struct regime_problem *problem)
{
    return problem->regimes * (regime_coefficients(problem) + problem->regimes);
}

static void information_deinit(struct information *info)
{
    free(info->block);
    free(info->coordinates);
}

static double *copy(double **block, const double *values, size_t count)
{
    return memcpy(regime_take(block, count), values, count * sizeof *values);
}

static int information_init(struct information *info, const struct regime_problem *problem,
                            const struct regime_parameters *params)
{
    size_t regimes = problem->regimes, betas = regimes * regime_coefficients(problem);
    size_t most = most_coordinates(problem), path = problem->n * regimes;
    size_t total = betas + regimes * (regimes + 3) + 3 * path + most * (most + 2);
    double *block = calloc(total, sizeof *block);

    *info = (struct information){.problem = problem, .block = block};
    info->coordinates = calloc(most, sizeof *info->coordinates);
    if (!block || !info->coordinates) {
        information_deinit(info);
        return -ENOMEM;
    }
    info->params.beta = copy(&block, params->beta, betas);
    info->params.sigma = copy(&block, params->sigma, regimes);
    info->params.initial = copy(&block, params->initial, regimes);
    info->params.transition = copy(&block, params->transition, regimes * regimes);
    info->weight = regime_take(&block, regimes);
    info->path.predicted = regime_take(&block, path);
    info->path.filtered = regime_take(&block, path);
    info->path.smoothed = regime_take(&block, path);
    info->above = regime_take(&block, most);
    info->below = regime_take(&block, most);
    info->matrix = regime_take(&block, most * most);
    return 0;
}

static void infer(struct information *info)
{
    regime_filter(info->problem, &info->params, REGIME_START_GIVEN, &info->path);
    regime_smooth(info->problem, &info->params, &info->path);
    regime_flow(info->problem, &info->path, info->flow);
}

/* ---- which parameters are free ---- */

/* Adds a coordinate of this curvature, which is that of a sample whose regimes are known. */
static void add(struct information *info, struct coordinate coordinate, double curvature)
{
    if (!(curvature > 0) || !isfinite(curvature))
        return;
    coordinate.step = STEP / sqrt(curvature);
    info->coordinates[info->count++] = coordinate;
}

static void add_betas(struct information *info, size_t r)
{
    const struct regime_problem *problem = info->problem;
    size_t k = regime_coefficients(problem);
    double variance = info->params.sigma[r] * info->params.sigma[r];

    for (size_t j = 0; j < k; j++) {
        double sum = 0;
        for (size_t t = 0; t < problem->n; t++) {
            double x = regime_regressor(problem, j, t);
            sum += info->path.smoothed[t * problem->regimes + r] * x * x;
        }
        add(info, (struct coordinate){.kind = BETA, .at = r * k + j, .regime = r}, sum / variance);
    }
}

/* Every transition of a column but the likeliest, which keeps the sum, and the impossible ones. */
static void add_transitions(struct information *info, size_t from)
{
    size_t regimes = info->problem->regimes, likeliest = from;

    for (size_t at = from; at < regimes * regimes; at += regimes)
        if (info->params.transition[at] > info->params.transition[likeliest])
            likeliest = at;
    for (size_t at = from; at < regimes * regimes; at += regimes) {
        double probability = info->params.transition[at];
        double moves = info->flow[at] * probability;
        if (at == likeliest || moves < FEWEST_MOVES)
            continue;
        add(info, (struct coordinate){.kind = TRANSITION, .at = at, .reference = likeliest},
            moves / (probability * probability));
    }
}

static void find_coordinates(struct information *info, double sigma_floor)
{
    const struct regime_problem *problem = info->problem;

    for (size_t r = 0; r < problem->regimes; r++) {
        for (size_t t = 0; t < problem->n; t++)
            info->weight[r] += info->path.smoothed[t * problem->regimes + r];
        if (info->weight[r] < FEWEST_OBSERVATIONS)
            continue;
        add_betas(info, r);
        if (!problem->one_sigma && info->params.sigma[r] > sigma_floor)
            add(info, (struct coordinate){.kind = LOG_SIGMA, .at = r, .regime = r},
                2 * info->weight[r]);
        add_transitions(info, r);
    }
    if (problem->one_sigma && info->params.sigma[0] > sigma_floor)
        add(info, (struct coordinate){.kind = LOG_SIGMA}, 2 * (double)problem->n);
}

/* ---- first derivatives ---- */

/* sum over t of smoothed * e * x_j / sigma^2 */
static double score_beta(const struct information *info, const struct coordinate *coordinate)
{
    const struct regime_problem *problem = info->problem;
    size_t k = regime_coefficients(problem), r = coordinate->regime, j = coordinate->at % k;
    const double *beta = info->params.beta + r * k;
    double sum = 0;

    for (size_t t = 0; t < problem->n; t++)
        sum += info->path.smoothed[t * problem->regimes + r] * regime_regressor(problem, j, t) *
               (problem->y[t] - regime_fitted(problem, beta, t));
    return sum / (info->params.sigma[r] * info->params.sigma[r]);
}

/* sum over t of smoothed * (e^2 / sigma^2 - 1) */
static double score_sigma(const struct information *info, size_t r)
{
    const struct regime_problem *problem = info->problem;
    const double *beta = info->params.beta + r * regime_coefficients(problem);
    double sum = 0;

    for (size_t t = 0; t < problem->n; t++) {
        double z = (problem->y[t] - regime_fitted(problem, beta, t)) / info->params.sigma[r];
        sum += info->path.smoothed[t * problem->regimes + r] * (z * z - 1);
    }
    return sum;
}

static double score_of(const struct information *info, const struct coordinate *coordinate)
{
    double sum = 0;

    if (coordinate->kind == BETA)
        return score_beta(info, coordinate);
    if (coordinate->kind == TRANSITION)
        return info->flow[coordinate->at] - info->flow[coordinate->reference];
    if (!info->problem->one_sigma)
        return score_sigma(info, coordinate->regime);
    for (size_t r = 0; r < info->problem->regimes; r++)
        sum += score_sigma(info, r);
    return sum;
}

/* ---- second derivatives ---- */

static void move(struct information *info, const struct coordinate *coordinate, double by)
{
    struct regime_parameters *params = &info->params;

    switch (coordinate->kind) {
    case BETA:
        params->beta[coordinate->at] += by;
        break;
    case LOG_SIGMA:
        for (size_t r = 0; r < info->problem->regimes; r++)
            if (info->problem->one_sigma || r == coordinate->regime)
                params->sigma[r] *= exp(by);
        break;
    case TRANSITION:
        params->transition[coordinate->at] += by;
        params->transition[coordinate->reference] -= by;
        break;
    }
}

/* The score at a distance from the parameters along one coordinate. */
static void score_at(struct information *info, const struct coordinate *along, double distance,
                     double *score)
{
    move(info, along, distance);
    infer(info);
    for (size_t c = 0; c < info->count; c++)
        score[c] = score_of(info, &info->coordinates[c]);
    move(info, along, -distance);
}

static void fill_matrix(struct information *info)
{
    size_t count = info->count;

    for (size_t c = 0; c < count; c++) {
        const struct coordinate *along = &info->coordinates[c];
        score_at(info, along, along->step, info->above);
        score_at(info, along, -along->step, info->below);
        for (size_t other = 0; other < count; other++) {
            double slope = (info->below[other] - info->above[other]) / (2 * along->step);
            info->matrix[c * count + other] += slope / 2;
            info->matrix[other * count + c] += slope / 2;
        }
    }
}

/*
 * Inverts the matrix, brought to a unit diagonal by the steps so that units do not matter.
 * Returns false when it is not positive definite.
 */
static bool invert(struct information *info)
{
    lapack_int count = (lapack_int)info->count;

    for (size_t c = 0; c < info->count; c++)
        for (size_t other = 0; other < info->count; other++)
            info->matrix[c * info->count + other] *=
                info->coordinates[c].step * info->coordinates[other].step / (STEP * STEP);
    if (count == 0)
        return false;
    return LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', count, info->matrix, count) == 0 &&
           LAPACKE_dpotri(LAPACK_COL_MAJOR, 'L', count, info->matrix, count) == 0;
}

int regime_t_statistics(const struct regime_problem *problem,
                        const struct regime_parameters *params, double sigma_floor, double *tstat)
{
    struct information info;

    if (information_init(&info, problem, params) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < problem->regimes * regime_coefficients(problem); i++)
        tstat[i] = NAN;
    infer(&info);
    find_coordinates(&info, sigma_floor);
    fill_matrix(&info);
    if (invert(&info))
        for (size_t c = 0; c < info.count; c++) {
            const struct coordinate *coordinate = &info.coordinates[c];
            double deviation = sqrt(info.matrix[c * (info.count + 1)]) * coordinate->step / STEP;
            if (coordinate->kind == BETA)
                tstat[coordinate->at] = params->beta[coordinate->at] / deviation;
        }
    information_deinit(&info);
    return 0;
}
