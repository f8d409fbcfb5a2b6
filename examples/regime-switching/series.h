/*
 * Series to fit: read from text, turned into growth rates, or generated.
 *
 * A sample owns its arrays; sample_deinit frees them and may be called on a zeroed sample. Errors
 * are a negative errno and a sentence in err that names the line or observation: -EINVAL for data
 * that makes no sense, -ENOMEM, and what open and read return. On error the sample is left zeroed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* ISO, "1959-07-01". Quarters, months and years stand for their first day. */
typedef char sample_date[11];

struct sample {
    size_t n;
    double *y;          /* [n] */
    size_t regressors;  /* rows of x */
    double *x;          /* [regressors][n], or NULL */
    sample_date *dates; /* [n], or NULL when observations are only numbered */
    uint8_t *regimes;   /* [n], from 0; what a generator drew, or NULL */
};

void sample_deinit(struct sample *sample);

/*
 * Lines "date,value", or a value alone, after an optional line of titles. Empty lines and those
 * that begin with # are skipped. Dates: 1959-07-01, 1959-07, 1959Q3 or 1959; all lines have one or
 * none has. The text is NUL-terminated.
 */
int sample_parse_csv(const char *text, struct sample *sample, char *err, size_t errsize);

/* The same from a file. Blocks while it reads. */
int sample_read_csv(const char *path, struct sample *sample, char *err, size_t errsize);

/* A copy of n numbers, without dates. */
int sample_from_array(const double *y, size_t n, struct sample *sample, char *err, size_t errsize);

/*
 * Growth in per cent, 100 (ln y_t - ln y_t-1): one observation less, each with the later date.
 * Not defined for regressors.
 */
int sample_growth(const struct sample *level, struct sample *growth, char *err, size_t errsize);

/*
 * Three regimes, one regressor: y = slope_r x + 0.3 e, slopes 0.2, 0.8 and 1.4, e ~ N(0, 1),
 * x ~ U(0, 4). The chain stays in its regime with probability 0.97. Equal on every machine up to
 * the rounding of log.
 */
int sample_synthetic(size_t n, uint64_t seed, struct sample *sample, char *err, size_t errsize);

#define SYNTHETIC_REGIMES 3
extern const double sample_synthetic_slopes[SYNTHETIC_REGIMES];
