/* Small helpers on arrays of numbers that more than one file needs. */
#pragma once

#include <stddef.h>

static inline double regime_mean(const double *values, size_t n)
{
    double sum = 0;

    for (size_t t = 0; t < n; t++)
        sum += values[t];
    return sum / (double)n;
}

static inline double regime_squares_about(const double *values, size_t n, double centre)
{
    double sum = 0;

    for (size_t t = 0; t < n; t++)
        sum += (values[t] - centre) * (values[t] - centre);
    return sum;
}

/* The next `count` numbers of a block that holds several arrays. */
static inline double *regime_take(double **block, size_t count)
{
    double *taken = *block;

    *block += count;
    return taken;
}
