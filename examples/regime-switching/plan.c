#include "examples/regime-switching/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/outputs.h"
#include "examples/regime-switching/request.h"

/* A payload may have 16 MiB, and a fit is saved together with its statistics and charts. */
#define MOST_FIT_BYTES   (UINT64_C(12) << 20)
#define MOST_TOTAL_BYTES (UINT64_C(512) << 20) /* the fits of all runs stay in the history */
#define NUMBER_BYTES     22                    /* a double with all its digits, and a comma */

const char *const chart_views[CHART_VIEWS] = {"series", "recent", "residuals"};

/* How long a fit is as JSON, about: three probabilities of each regime, fitted values, residuals,
 * y and x for each observation. */
static uint64_t fit_bytes(const struct regime_request *request)
{
    return (uint64_t)request->n * (3 * request->regimes + 3 + request->regressors) * NUMBER_BYTES;
}

static void complain(json_t *errors, const char *field, const char *what, uint64_t bytes,
                     uint64_t most)
{
    json_array_append_new(
        errors, json_sprintf("field `%s`: the results of %s would have about %llu MiB, the most is "
                             "%llu MiB",
                             field, what, (unsigned long long)(bytes >> 20),
                             (unsigned long long)(most >> 20)));
}

/* Fits travel as results of activities: says so at once when they will not fit. */
static bool fits_through(const struct regime_request *request, json_t *errors)
{
    uint64_t bytes = fit_bytes(request);

    if (bytes > MOST_FIT_BYTES)
        complain(errors, request->y ? "y" : "n", "so many observations", bytes, MOST_FIT_BYTES);
    else if (bytes * request->runs > MOST_TOTAL_BYTES)
        complain(errors, "runs", "so many runs", bytes * request->runs, MOST_TOTAL_BYTES);
    else
        return true;
    return false;
}

static json_t *new_name(const char *extension)
{
    char name[OUTPUT_NAME_SIZE];

    return outputs_new_name(extension, name) ? json_string(name) : NULL;
}

static json_t *new_files(void)
{
    json_t *charts = json_array();

    for (size_t i = 0; charts && i < CHART_VIEWS; i++)
        if (json_array_append_new(charts, new_name(".svg")) != 0) {
            json_decref(charts);
            charts = NULL;
        }
    return json_pack("{s:o, s:o, s:o}", "result", new_name(".json"), "statistics",
                     new_name(".json"), "charts", charts);
}

json_t *plan_new(json_t *request, const char *base, json_t *errors)
{
    struct regime_request parsed;
    json_t *plan = NULL;

    if (regime_request_parse(request, &parsed, errors) != 0)
        return NULL;
    if (fits_through(&parsed, errors))
        plan = json_pack("{s:O, s:I, s:s?, s:s, s:o}", "request", request, "runs",
                         (json_int_t)parsed.runs, "notify", parsed.notify, "base", base, "files",
                         new_files());
    regime_request_deinit(&parsed);
    return plan;
}

static json_t *address(const char *base, const json_t *name)
{
    return json_sprintf("%s%s", base ? base : "", json_string_value(name));
}

json_t *plan_addresses(const json_t *plan)
{
    const char *base = json_string_value(json_object_get(plan, "base"));
    const json_t *files = json_object_get(plan, "files");
    json_t *charts = json_array();
    const json_t *name;
    size_t i;

    json_array_foreach(json_object_get(files, "charts"), i, name)
        json_array_append_new(charts, address(base, name));
    return json_pack("{s:o, s:o, s:o}", "result", address(base, json_object_get(files, "result")),
                     "statistics", address(base, json_object_get(files, "statistics")), "charts",
                     charts);
}

char *plan_error_text(const json_t *errors)
{
    char *text = NULL;
    size_t len, i;
    FILE *out = open_memstream(&text, &len);
    const json_t *error;

    if (!out)
        return NULL;
    json_array_foreach(errors, i, error)
        fprintf(out, "%s\n", json_string_value(error));
    fclose(out);
    return text;
}
