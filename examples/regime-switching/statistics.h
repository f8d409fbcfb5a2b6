/*
 * What a fit says, for people: how each regime behaves, how sure that is, and when it reigned.
 *
 *     {"observations": 202, "llf": -237.8, "aic": .., "bic": .., "transition_matrix": [[..]],
 *      "regimes": [{"regime": 1, "coefficients": [{"name": "mean", "estimate": 0.75,
 *                   "standardError": 0.1, "tStatistic": 7.5, "pValue": 1e-13}],
 *                   "sigma": 1.1, "stayProbability": 0.95, "expectedDuration": 20,
 *                   "longRunShare": 0.5}],
 *      "periods": [{"regime": 1, "from": "1959-04-01", "to": "1984-01-01", "observations": 100}]}
 *
 * Transitions are [to][from], durations are in observations. Observations without dates are
 * numbered from 1. A period is a time in which one regime is the most likely one, given all data.
 * Pure functions.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "examples/regime-switching/estimator.h"
#include "examples/regime-switching/series.h"

/*
 * Of a fit that has beta, sigma, transition, ergodic and smoothed. tstat is [K][k], dates is [n] or
 * NULL. A new reference; NULL when memory runs out.
 */
json_t *statistics_document(const struct regime_fit *fit, const double *tstat,
                            const sample_date *dates, bool one_sigma);

/* The same in words, a line for each regime. The caller frees it; NULL when memory runs out. */
char *statistics_text(const json_t *document);
