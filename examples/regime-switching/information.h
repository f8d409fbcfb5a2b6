/*
 * How precisely the coefficients of a fit are known.
 *
 * Standard errors come from the observed information: minus the matrix of second derivatives of the
 * log-likelihood by beta, ln sigma and the transition probabilities together. First derivatives are
 * exact (the smoother gives them: Fisher's identity), second ones are central differences of those.
 * Unlike the weighted least squares of the last EM step, which takes the regimes as known, this
 * counts that they are inferred.
 *
 * Held fixed, as usual at a boundary: Pr(s_1), a sigma at its floor, a transition that is expected
 * less than half a time in the sample, and all of a regime with less than one observation.
 */
#pragma once

#include "examples/regime-switching/filter.h"

/*
 * tstat[K][k] = beta / standard error; NaN for a regime held fixed, and for all when the
 * information is not positive definite (the parameters are no maximum, or not identified).
 * Returns 0 or -ENOMEM.
 */
int regime_t_statistics(const struct regime_problem *problem,
                        const struct regime_parameters *params, double sigma_floor, double *tstat);
