/*
 * Hamilton's EM estimator for Markov-switching regression (Hamilton 1994, section 22.4).
 *
 * One fit starts from random coefficients and climbs to the nearest maximum of the likelihood; the
 * likelihood has several, so one takes the best of a number of starts. Called by the activities of
 * the application, on any thread; nothing here keeps state between calls, does I/O or waits.
 *
 * Errors are a negative errno and a sentence in err: -EINVAL when the data cannot be fitted,
 * -ENOMEM. On error no output argument needs to be freed.
 */
#pragma once

#include <stdint.h>

#include "examples/regime-switching/em.h"

/*
 * A finished fit, with the data it was fitted to: it stays valid when the problem is gone. Regimes
 * come in the order of their fitted level at average regressors, lowest first. One block of memory,
 * freed by regime_fit_deinit. Arrays that are NULL are not known (see regime_fit_from_json).
 */
struct regime_fit {
    size_t n;
    size_t regimes;      /* K */
    size_t coefficients; /* k */
    uint64_t seed;

    size_t iterations;  /* EM steps */
    bool converged;     /* false when max_iterations ended it */
    double sigma_floor; /* no sigma is smaller, see regime_sigma_floor */
    struct regime_parameters params;
    double *tstat;   /* [K][k] of beta, see information.h; NaN where there is none */
    double *ergodic; /* [K] */
    struct regime_path path;

    double *y;         /* [n] */
    double *x;         /* [k - 1][n] */
    double *yhat;      /* [n], the regimes' fitted values weighted by smoothed */
    double *residuals; /* [n], y - yhat */
    double sse;        /* of residuals */
    double sst;        /* about the mean of y */
    double rsqr;       /* 1 - sse / sst */
    double rbar;       /* 1 - (sse / (n - K k)) / (sst / (n - 1)) */

    double *block;
};

/*
 * Fits the problem from the random start that belongs to the seed. The order of regimes does not
 * depend on the start.
 */
int regime_fit(const struct regime_problem *problem, uint64_t seed, struct regime_fit *fit,
               char *err, size_t errsize);
void regime_fit_deinit(struct regime_fit *fit);

/* Takes one block for all arrays of a fit of this size, zeroed. Returns 0 or -ENOMEM. */
int regime_fit_alloc(size_t n, size_t regimes, size_t coefficients, struct regime_fit *fit);
