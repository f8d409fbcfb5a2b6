/*
 * What a Markov-switching regression says about the regimes when its parameters are known.
 *
 *     y_t = x_t' beta_r + sigma_r e_t,  e_t ~ N(0, 1),  r = s_t,  s_t a Markov chain of K regimes
 *
 * Equation numbers are those of Hamilton, "Time Series Analysis", 1994, chapter 22. Everything here
 * is a pure function of its arguments; the caller owns every array. Sizes: n observations, K
 * regimes, k coefficients, the first of which is the intercept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define REGIME_MAX_REGIMES 6

/* What is observed, and how to fit it. Owns nothing. */
struct regime_problem {
    size_t n;
    const double *y;       /* [n] */
    size_t regressors;     /* without the intercept: k - 1; 0 is an intercept alone */
    const double *x;       /* [regressors][n], one regressor after the other */
    size_t regimes;        /* K */
    bool one_sigma;        /* one sigma for all regimes instead of one for each */
    size_t max_iterations; /* EM steps */
    double convergence;    /* stop when max|change of beta| / (K k) is not above this */
};

struct regime_parameters {
    double *beta;       /* [K][k] */
    double *sigma;      /* [K] */
    double *transition; /* [K][K], row j column i is Pr(s_t = j | s_t-1 = i): columns sum to one */
    double *initial;    /* [K], Pr(s_1) */
};

/* Probabilities of the regimes at each time, all [n][K]. */
struct regime_path {
    double *predicted; /* given y up to t-1 */
    double *filtered;  /* given y up to t */
    double *smoothed;  /* given all of y */
    double llf;        /* log-likelihood of y */
};

enum regime_start {
    REGIME_START_GIVEN,   /* Pr(s_1) is parameters->initial */
    REGIME_START_ERGODIC, /* Pr(s_1) is the chain's steady state */
};

static inline size_t regime_coefficients(const struct regime_problem *problem)
{
    return problem->regressors + 1;
}

/* Element j of x_t; the first is the intercept. */
static inline double regime_regressor(const struct regime_problem *problem, size_t j, size_t t)
{
    return j == 0 ? 1 : problem->x[(j - 1) * problem->n + t];
}

/* x_t' beta of one regime's coefficients. */
double regime_fitted(const struct regime_problem *problem, const double *beta, size_t t);

/*
 * Fills path->predicted and path->filtered [22.4.5-6] and returns the log-likelihood [22.4.7-8],
 * which is also path->llf. Densities are kept relative to the largest of each time, so none
 * underflows. Returns NaN when the steady state was asked for and could not be computed.
 */
double regime_filter(const struct regime_problem *problem, const struct regime_parameters *params,
                     enum regime_start start, struct regime_path *path);

/* Fills path->smoothed from a filtered path [22.4.14]. */
void regime_smooth(const struct regime_problem *problem, const struct regime_parameters *params,
                   struct regime_path *path);

/*
 * flow[j][i] = sum over t = 2..n of Pr(s_t = j | Y) Pr(s_t-1 = i | y_1..t-1) / Pr(s_t = j |
 * y_1..t-1). Times P[j][i] it is the expected number of moves from i to j, the numerator of
 * [22.4.16]; as it stands it is the derivative of the log-likelihood by P[j][i].
 */
void regime_flow(const struct regime_problem *problem, const struct regime_path *path,
                 double *flow);

/*
 * The chain's steady state by [22.2.25-26]. A chain that has several (P = I) gets the one of least
 * norm. Returns false when there is no memory for the solver or P is not finite.
 */
bool regime_ergodic(const double *transition, size_t regimes, double *ergodic);
