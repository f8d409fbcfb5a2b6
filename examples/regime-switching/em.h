/*
 * The EM steps of Hamilton's estimator (Hamilton 1994, section 22.4), one at a time.
 *
 * The transition matrix is estimated from the joint probability of two neighbouring regimes,
 * Pr(s_t = j, s_t-1 = i | Y) [22.4.16]. Their product of marginals, which some ports use, is
 * something else: on US GDP growth, 100 (ln y_t - ln y_t-1) from 1959Q2 to 2009Q3 with two means
 * and two sigmas, it ends at a log-likelihood of -249.7 instead of -237.8.
 *
 * Called by regime_fit, and by whoever wants to watch a fit climb. A struct regime_work belongs to
 * one thread at a time. Errors are a negative errno and a sentence in err: -EINVAL when the data
 * cannot be fitted, -EDOM when the numbers run away, -ENOMEM.
 */
#pragma once

#include <stdint.h>

#include "examples/regime-switching/filter.h"

struct regime_work;

/*
 * 0 when the estimator accepts the problem: sizes in range, numbers finite, y neither constant
 * nor explained exactly by x, regressors not collinear.
 */
int regime_check(const struct regime_problem *problem, char *err, size_t errsize);

/* The fewest observations that regime_check accepts. */
size_t regime_fewest_observations(size_t regimes, size_t coefficients);

/* Memory and constants for steps on one problem, which must outlive it. */
int regime_work_new(const struct regime_problem *problem, struct regime_work **work, char *err,
                    size_t errsize);
void regime_work_free(struct regime_work *work);

/*
 * The smallest sigma a fit uses.
 *
 * A regime of one observation and no variance has an infinite density, so with a sigma for each
 * regime the likelihood has no maximum. The floor is 1/100 of the standard error of the regression
 * without regimes: such a regime then gains ln 100 = 4.6 at its observation, less than the ln n
 * that entering it costs from n = 100 on. One sigma for all regimes has no such pole; its floor,
 * 1e-6 of the standard error, only keeps logarithms finite.
 */
double regime_work_sigma_floor(const struct regime_work *work);

/* The probabilities at the parameters that the last step started from. */
const struct regime_path *regime_work_path(const struct regime_work *work);

/* Beta from U(-0.5, 0.5), sigma from the residuals, uniform transitions and first regime. */
void regime_random_start(const struct regime_work *work, uint64_t seed,
                         struct regime_parameters *params);

/*
 * One EM step, in place. *llf is the log-likelihood of the parameters the step starts from: it
 * never falls from one step to the next. *change is the largest change of a coefficient.
 */
int regime_em_step(struct regime_work *work, struct regime_parameters *params, double *llf,
                   double *change, char *err, size_t errsize);
