/*
 * A fit as JSON, and back: what the estimating activity answers and the others read.
 *
 * Numbers keep all their digits. Matrices are arrays of rows: beta[regime][coefficient],
 * transition_matrix[to][from], smoothed[regime][time], x[regressor][time]. A number that does not
 * exist (a t statistic without a standard error) is null.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "examples/regime-switching/estimator.h"

/* When and how long the fit ran; the caller owns the strings and measures. */
struct regime_timing {
    const char *start_time; /* ISO 8601 */
    const char *end_time;
    double time_solve; /* seconds */
};

/* Which outputs to give: a bit for each. Times, n, regimes and seed are always given. */
typedef uint32_t regime_outputs;
#define REGIME_OUTPUTS_ALL UINT32_MAX

/* The bit of an output, 0 when there is none of that name. */
regime_outputs regime_output_bit(const char *name);

/* "iterations, llf, ..." in the order of the answer, for messages and documentation. */
const char *regime_output_names(void);

/* NULL when memory runs out. */
json_t *regime_fit_to_json(const struct regime_fit *fit, const struct regime_timing *timing,
                           regime_outputs outputs);

/*
 * The inverse. Outputs that were left out become NULL, NaN or 0; those given must have the right
 * size. Fills timing with strings that belong to the JSON, when timing is not NULL. Returns 0,
 * -EINVAL with the field in err, or -ENOMEM. The caller frees the fit with regime_fit_deinit.
 */
int regime_fit_from_json(const json_t *json, struct regime_fit *fit, struct regime_timing *timing,
                         char *err, size_t errsize);
