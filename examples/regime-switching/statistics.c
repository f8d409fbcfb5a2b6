#include "examples/regime-switching/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- as JSON ---- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *coefficient_name(const struct regime_fit *fit, size_t j)
{
    if (j > 0)
        return json_sprintf("x%zu", j);
    return json_string(fit->coefficients == 1 ? "mean" : "intercept");
}

/* The p value is that of a normal distribution: t statistics of a maximum likelihood estimate. */
static json_t *coefficient(const struct regime_fit *fit, const double *tstat, size_t r, size_t j)
{
    size_t at = r * fit->coefficients + j;
    double estimate = fit->params.beta[at], t = tstat[at];

    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", coefficient_name(fit, j), "estimate",
                     number(estimate), "standardError", number(fabs(estimate / t)), "tStatistic",
                     number(t), "pValue", number(erfc(fabs(t) / sqrt(2))));
}

static json_t *regime(const struct regime_fit *fit, const double *tstat, size_t r)
{
    double stay = fit->params.transition[r * fit->regimes + r];
    json_t *coefficients = json_array();

    for (size_t j = 0; j < fit->coefficients; j++)
        json_array_append_new(coefficients, coefficient(fit, tstat, r, j));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "regime", (json_int_t)r + 1, "coefficients",
                     coefficients, "sigma", number(fit->params.sigma[r]), "stayProbability",
                     number(stay), "expectedDuration", number(1 / (1 - stay)), "longRunShare",
                     number(fit->ergodic[r]));
}

static json_t *regimes(const struct regime_fit *fit, const double *tstat)
{
    json_t *list = json_array();

    for (size_t r = 0; r < fit->regimes; r++)
        json_array_append_new(list, regime(fit, tstat, r));
    return list;
}

static json_t *transitions(const struct regime_fit *fit)
{
    json_t *rows = json_array();

    for (size_t to = 0; to < fit->regimes; to++) {
        json_t *row = json_array();
        for (size_t from = 0; from < fit->regimes; from++)
            json_array_append_new(row, number(fit->params.transition[to * fit->regimes + from]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static size_t most_likely(const struct regime_fit *fit, size_t t)
{
    const double *smoothed = fit->path.smoothed + t * fit->regimes;
    size_t best = 0;

    for (size_t r = 1; r < fit->regimes; r++)
        if (smoothed[r] > smoothed[best])
            best = r;
    return best;
}

static json_t *when(const sample_date *dates, size_t t)
{
    return dates ? json_string(dates[t]) : json_integer((json_int_t)t + 1);
}

static json_t *periods(const struct regime_fit *fit, const sample_date *dates)
{
    json_t *list = json_array();

    for (size_t from = 0, to; from < fit->n; from = to) {
        size_t r = most_likely(fit, from);
        for (to = from + 1; to < fit->n && most_likely(fit, to) == r; to++)
            continue;
        json_array_append_new(list, json_pack("{s:I, s:o, s:o, s:I}", "regime", (json_int_t)r + 1,
                                              "from", when(dates, from), "to", when(dates, to - 1),
                                              "observations", (json_int_t)(to - from)));
    }
    return list;
}

json_t *statistics_document(const struct regime_fit *fit, const double *tstat,
                            const sample_date *dates, bool one_sigma)
{
    size_t regimes_count = fit->regimes;
    double free_parameters =
        (double)(regimes_count * fit->coefficients + (one_sigma ? 1 : regimes_count) +
                 regimes_count * (regimes_count - 1));
    double llf = fit->path.llf, n = (double)fit->n;

    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "observations", (json_int_t)fit->n,
                     "llf", number(llf), "aic", number(2 * free_parameters - 2 * llf), "bic",
                     number(log(n) * free_parameters - 2 * llf), "regimes", regimes(fit, tstat),
                     "transition_matrix", transitions(fit), "periods", periods(fit, dates));
}

/* ---- in words ---- */

static double real(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void put_regime(FILE *out, const json_t *regime_json)
{
    const json_t *entry;
    size_t i;

    fprintf(out, "Regime %d:", (int)json_integer_value(json_object_get(regime_json, "regime")));
    json_array_foreach(json_object_get(regime_json, "coefficients"), i, entry)
        fprintf(out, " %s %.4g (t %.3g),", json_string_value(json_object_get(entry, "name")),
                real(entry, "estimate"), real(entry, "tStatistic"));
    fprintf(out, " sigma %.4g; lasts %.4g observations on average, %.3g%% of the time\n",
            real(regime_json, "sigma"), real(regime_json, "expectedDuration"),
            100 * real(regime_json, "longRunShare"));
}

char *statistics_text(const json_t *document)
{
    char *text = NULL;
    size_t len, i;
    FILE *out = open_memstream(&text, &len);
    const json_t *entry;

    if (!out)
        return NULL;
    fprintf(out, "%d observations, log-likelihood %.3f, AIC %.2f, BIC %.2f\n",
            (int)json_integer_value(json_object_get(document, "observations")),
            real(document, "llf"), real(document, "aic"), real(document, "bic"));
    json_array_foreach(json_object_get(document, "regimes"), i, entry)
        put_regime(out, entry);
    fclose(out);
    return text;
}
