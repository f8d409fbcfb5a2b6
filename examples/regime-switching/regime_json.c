#include "examples/regime-switching/regime_json.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "examples/regime-switching/fail.h"

/* The shape of an output tells its type in struct regime_fit and its form in JSON. */
enum shape {
    COUNT,          /* size_t */
    FLAG,           /* bool */
    REAL,           /* double */
    BY_REGIME,      /* double[K] */
    BY_COEFFICIENT, /* double[K][k] */
    SQUARE,         /* double[K][K] */
    BY_TIME,        /* double[n] */
    BY_TIME_REGIME, /* double[n][K] here, [K][n] in JSON */
    REGRESSORS,     /* double[k - 1][n] */
};

/* Every output: its name in JSON, its shape, where it is. */
#define OUTPUTS(X)                                    \
    X("iterations", COUNT, iterations)                \
    X("llf", REAL, path.llf)                          \
    X("converge", FLAG, converged)                    \
    X("sigma", BY_REGIME, params.sigma)               \
    X("sigma_floor", REAL, sigma_floor)               \
    X("beta", BY_COEFFICIENT, params.beta)            \
    X("tstat", BY_COEFFICIENT, tstat)                 \
    X("transition_matrix", SQUARE, params.transition) \
    X("initial", BY_REGIME, params.initial)           \
    X("ergodic", BY_REGIME, ergodic)                  \
    X("sse", REAL, sse)                               \
    X("sst", REAL, sst)                               \
    X("rsqr", REAL, rsqr)                             \
    X("rbar", REAL, rbar)                             \
    X("smoothed", BY_TIME_REGIME, path.smoothed)      \
    X("prob", BY_TIME_REGIME, path.filtered)          \
    X("pred", BY_TIME_REGIME, path.predicted)         \
    X("yhat", BY_TIME, yhat)                          \
    X("residuals", BY_TIME, residuals)                \
    X("y", BY_TIME, y)                                \
    X("x", REGRESSORS, x)

static const struct output {
    const char *name;
    enum shape shape;
    size_t offset; /* in struct regime_fit, of the value or of the pointer to it */
} outputs_table[] = {
#define OUTPUT(name, shape, member) {name, shape, offsetof(struct regime_fit, member)},
    OUTPUTS(OUTPUT)
#undef OUTPUT
};

#define OUTPUT_COUNT (sizeof outputs_table / sizeof *outputs_table)
_Static_assert(OUTPUT_COUNT <= 32, "regime_outputs has a bit for each output");

regime_outputs regime_output_bit(const char *name)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++)
        if (strcmp(name, outputs_table[i].name) == 0)
            return UINT32_C(1) << i;
    return 0;
}

const char *regime_output_names(void)
{
#define NAME(name, shape, member) ", " name
    static const char names[] = OUTPUTS(NAME);
#undef NAME
    return names + 2;
}

/*
 * How an array of a fit maps to rows in JSON: element (row, column) is at row * row_step +
 * column * column_step. No rows means one row that is not wrapped in an array.
 */
struct layout {
    size_t rows, columns, row_step, column_step;
};

static struct layout layout_of(const struct regime_fit *fit, enum shape shape)
{
    size_t n = fit->n, regimes = fit->regimes, k = fit->coefficients;

    switch (shape) {
    case BY_REGIME:
        return (struct layout){0, regimes, 0, 1};
    case BY_COEFFICIENT:
        return (struct layout){regimes, k, k, 1};
    case SQUARE:
        return (struct layout){regimes, regimes, regimes, 1};
    case BY_TIME:
        return (struct layout){0, n, 0, 1};
    case BY_TIME_REGIME:
        return (struct layout){regimes, n, 1, regimes};
    case REGRESSORS:
        return (struct layout){k - 1, n, n, 1};
    default:
        return (struct layout){0};
    }
}

static const void *output_at(const struct regime_fit *fit, const struct output *output)
{
    return (const char *)fit + output->offset;
}

/* ---- to JSON ---- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *row_to_json(const double *values, size_t count, size_t step)
{
    json_t *row = json_array();

    for (size_t i = 0; row && i < count; i++)
        if (json_array_append_new(row, number(values[i * step])) != 0) {
            json_decref(row);
            row = NULL;
        }
    return row;
}

static json_t *array_to_json(const struct regime_fit *fit, const struct output *output)
{
    const double *values = *(double *const *)output_at(fit, output);
    struct layout layout = layout_of(fit, output->shape);
    json_t *rows;

    if (!values)
        return json_null();
    if (output->shape == BY_REGIME || output->shape == BY_TIME)
        return row_to_json(values, layout.columns, layout.column_step);
    rows = json_array();
    for (size_t r = 0; rows && r < layout.rows; r++)
        if (json_array_append_new(rows, row_to_json(values + r * layout.row_step, layout.columns,
                                                    layout.column_step)) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    return rows;
}

static json_t *output_to_json(const struct regime_fit *fit, const struct output *output)
{
    switch (output->shape) {
    case COUNT:
        return json_integer((json_int_t) * (const size_t *)output_at(fit, output));
    case FLAG:
        return json_boolean(*(const bool *)output_at(fit, output));
    case REAL:
        return number(*(const double *)output_at(fit, output));
    default:
        return array_to_json(fit, output);
    }
}

json_t *regime_fit_to_json(const struct regime_fit *fit, const struct regime_timing *timing,
                           regime_outputs outputs)
{
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:I, s:s?, s:s?, s:o}", "nobs", (json_int_t)fit->n, "regimes",
                  (json_int_t)fit->regimes, "coefficients", (json_int_t)fit->coefficients, "seed",
                  (json_int_t)fit->seed, "start_time", timing->start_time, "end_time",
                  timing->end_time, "time_solve", number(timing->time_solve));

    for (size_t i = 0; json && i < OUTPUT_COUNT; i++) {
        if (!(outputs & UINT32_C(1) << i))
            continue;
        if (json_object_set_new(json, outputs_table[i].name,
                                output_to_json(fit, &outputs_table[i])) != 0) {
            json_decref(json);
            json = NULL;
        }
    }
    return json;
}

/* ---- from JSON ---- */

static bool number_from_json(const json_t *json, double *value)
{
    *value = json_is_null(json) ? NAN : json_number_value(json);
    return json_is_null(json) || json_is_number(json);
}

static bool row_from_json(const json_t *row, double *values, size_t count, size_t step)
{
    if (!json_is_array(row) || json_array_size(row) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!number_from_json(json_array_get(row, i), &values[i * step]))
            return false;
    return true;
}

static bool array_from_json(const json_t *json, const struct regime_fit *fit,
                            const struct output *output)
{
    double *values = *(double *const *)output_at(fit, output);
    struct layout layout = layout_of(fit, output->shape);

    if (output->shape == BY_REGIME || output->shape == BY_TIME)
        return row_from_json(json, values, layout.columns, layout.column_step);
    if (!json_is_array(json) || json_array_size(json) != layout.rows)
        return false;
    for (size_t r = 0; r < layout.rows; r++)
        if (!row_from_json(json_array_get(json, r), values + r * layout.row_step, layout.columns,
                           layout.column_step))
            return false;
    return true;
}

/* An output that is not given: an unknown number is NaN, an unknown array NULL. */
static void forget(void *at, enum shape shape)
{
    if (shape == REAL)
        *(double *)at = NAN;
    else if (shape != COUNT && shape != FLAG)
        *(double **)at = NULL;
}

static bool output_from_json(const json_t *json, struct regime_fit *fit,
                             const struct output *output)
{
    void *at = (char *)fit + output->offset;

    if (!json) {
        forget(at, output->shape);
        return true;
    }
    switch (output->shape) {
    case COUNT:
        *(size_t *)at = (size_t)json_integer_value(json);
        return json_is_integer(json) && json_integer_value(json) >= 0;
    case FLAG:
        *(bool *)at = json_is_true(json);
        return json_is_boolean(json);
    case REAL:
        return number_from_json(json, at);
    default:
        return array_from_json(json, fit, output);
    }
}

static int size_from_json(const json_t *json, const char *name, json_int_t low, json_int_t high,
                          size_t *size, char *err, size_t errsize)
{
    const json_t *field = json_object_get(json, name);
    json_int_t value = json_integer_value(field);

    if (!json_is_integer(field) || value < low || value > high)
        return regime_fail(-EINVAL, err, errsize,
                           "fit: field `%s` must be an integer from %lld to %lld", name,
                           (long long)low, (long long)high);
    *size = (size_t)value;
    return 0;
}

static int alloc_from_json(const json_t *json, struct regime_fit *fit, char *err, size_t errsize)
{
    size_t n = 0, regimes = 0, coefficients = 0;
    int rc = size_from_json(json, "nobs", 1, 100000000, &n, err, errsize);

    if (rc == 0)
        rc = size_from_json(json, "regimes", 2, REGIME_MAX_REGIMES, &regimes, err, errsize);
    if (rc == 0)
        rc = size_from_json(json, "coefficients", 1, 10000, &coefficients, err, errsize);
    if (rc == 0 && regime_fit_alloc(n, regimes, coefficients, fit) != 0)
        rc = regime_fail_memory(err, errsize);
    return rc;
}

static void timing_from_json(const json_t *json, struct regime_timing *timing)
{
    timing->start_time = json_string_value(json_object_get(json, "start_time"));
    timing->end_time = json_string_value(json_object_get(json, "end_time"));
    timing->time_solve = json_number_value(json_object_get(json, "time_solve"));
}

int regime_fit_from_json(const json_t *json, struct regime_fit *fit, struct regime_timing *timing,
                         char *err, size_t errsize)
{
    int rc;

    *fit = (struct regime_fit){0};
    rc = alloc_from_json(json, fit, err, errsize);
    if (rc != 0)
        return rc;
    fit->seed = (uint64_t)json_integer_value(json_object_get(json, "seed"));
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        const struct output *output = &outputs_table[i];
        if (output_from_json(json_object_get(json, output->name), fit, output))
            continue;
        regime_fit_deinit(fit);
        return regime_fail(-EINVAL, err, errsize, "fit: field `%s` has the wrong form or size",
                           output->name);
    }
    if (timing)
        timing_from_json(json, timing);
    return 0;
}
