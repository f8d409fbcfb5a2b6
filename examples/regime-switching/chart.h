/*
 * A series and the probabilities of its regimes, as one SVG picture without outside references.
 *
 * Above: the series, over a background in the colours of its regimes, mixed by their probability.
 * Below: the probabilities themselves, stacked. More observations than the picture has columns are
 * drawn as each column's range and mean, so the size of the picture is bounded (about 150 KiB).
 *
 * Pure functions. The text is the caller's, to be freed with free; NULL when memory runs out. Text
 * in labels may be anything: it is escaped, and made valid where it is not UTF-8.
 */
#pragma once

#include <stddef.h>

#include "examples/regime-switching/estimator.h"
#include "examples/regime-switching/series.h"

struct regime_chart {
    const char *title;
    const char *subtitle;
    const char *series_name; /* what is measured, and in which unit */
    size_t n;
    const double *y;          /* [n]; what is not finite leaves a gap */
    const sample_date *dates; /* [n], or NULL: observations are numbered from 1 */
    size_t regimes;
    const double *smoothed;           /* [n][regimes] */
    const char *const *regime_labels; /* [regimes] */
};

char *regime_chart_svg(const struct regime_chart *chart, size_t *length);

/*
 * The chart of a fit that has its y, beta, sigma and smoothed, with its figures as labels. Dates
 * are those of its observations, or NULL.
 */
char *regime_fit_svg(const struct regime_fit *fit, const sample_date *dates, const char *title,
                     const char *series_name, size_t *length);
