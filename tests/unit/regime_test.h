/* What the tests of the regime-switching example share: cmocka, and the data they fit. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/estimator.h"
#include "examples/regime-switching/series.h"

#define assert_near(actual, expected, tolerance)                                        \
    do {                                                                                \
        double actual_ = (actual), expected_ = (expected);                              \
        if (!(fabs(actual_ - expected_) <= (tolerance)))                                \
            fail_msg("%s is %.12g, not %.12g (within %g)", #actual, actual_, expected_, \
                     (double)(tolerance));                                              \
    } while (0)

/* A path below the sources, in one of a few static buffers. */
static inline const char *source_path(const char *path)
{
    static char buffers[4][1024];
    static unsigned next;
    const char *root = getenv("TASKHUB_SOURCE");
    char *buffer = buffers[next++ % 4];

    snprintf(buffer, sizeof buffers[0], "%s/%s", root ? root : ".", path);
    return buffer;
}

static inline struct sample us_growth(void)
{
    struct sample level, growth;
    char err[200] = "";

    if (sample_read_csv(source_path("examples/regime-switching/data/us-real-gdp.csv"), &level, err,
                        sizeof err) != 0 ||
        sample_growth(&level, &growth, err, sizeof err) != 0)
        fail_msg("%s", err);
    sample_deinit(&level);
    return growth;
}

static inline struct sample synthetic(size_t n, uint64_t seed)
{
    struct sample sample;
    char err[200] = "";

    if (sample_synthetic(n, seed, &sample, err, sizeof err) != 0)
        fail_msg("%s", err);
    return sample;
}

static inline struct regime_problem problem_of(const struct sample *sample, size_t regimes,
                                               bool one_sigma)
{
    return (struct regime_problem){.n = sample->n,
                                   .y = sample->y,
                                   .regressors = sample->regressors,
                                   .x = sample->x,
                                   .regimes = regimes,
                                   .one_sigma = one_sigma,
                                   .max_iterations = 2000,
                                   .convergence = 1e-8};
}

static inline struct regime_fit fit_of(const struct regime_problem *problem, uint64_t seed)
{
    struct regime_fit fit;
    char err[200] = "";

    if (regime_fit(problem, seed, &fit, err, sizeof err) != 0)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err);
    return fit;
}

/* The fit of the highest likelihood among starts with seeds 1 to `starts`. */
static inline struct regime_fit best_of(const struct regime_problem *problem, uint64_t starts)
{
    struct regime_fit best = fit_of(problem, 1);

    for (uint64_t seed = 2; seed <= starts; seed++) {
        struct regime_fit fit = fit_of(problem, seed);
        if (fit.path.llf > best.path.llf) {
            struct regime_fit worse = best;
            best = fit;
            fit = worse;
        }
        regime_fit_deinit(&fit);
    }
    return best;
}
