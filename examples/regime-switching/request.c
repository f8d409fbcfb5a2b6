#include "examples/regime-switching/request.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/em.h"
#include "examples/regime-switching/fail.h"

#define MOST_OBSERVATIONS 1000000
#define SYNTHETIC_DEFAULT 1000
#define US_GDP_FILE       "us-real-gdp.csv"

/* The state of checking one request. */
struct check {
    const json_t *json;
    struct regime_request *request;
    json_t *errors;
    size_t count; /* of errors */
    bool no_memory;
};

/* ---- sentences ---- */

/* Adds the sentence "field `name`: " and what follows. */
__attribute__((format(printf, 3, 4))) static void complain(struct check *check, const char *name,
                                                           const char *format, ...)
{
    char text[400], sentence[480];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(sentence, sizeof sentence, "field `%.60s`: %s", name, text);
    check->count++;
    if (json_array_append_new(check->errors, json_string(sentence)) != 0)
        check->no_memory = true;
}

/* A value as it was written, cut to what a sentence can hold without breaking a character. */
static const char *shown(const json_t *value, char *text, size_t size)
{
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);

    if (!dump)
        return "?";
    if (strlen(dump) < size)
        strcpy(text, dump);
    else
        snprintf(text, size, "%.*s...", (int)size - 4, dump);
    free(dump);
    return text;
}

static void complain_got(struct check *check, const char *name, const char *must,
                         const json_t *value)
{
    char text[48];

    complain(check, name, "must be %s, got %s", must, shown(value, text, sizeof text));
}

/* ---- kinds of fields: each leaves *to as it is when the field is absent or bad ---- */

static void integer_field(struct check *check, const char *name, json_int_t low, json_int_t high,
                          json_int_t *to)
{
    const json_t *value = json_object_get(check->json, name);
    char must[80];

    if (!value)
        return;
    if (json_is_integer(value) && json_integer_value(value) >= low &&
        json_integer_value(value) <= high) {
        *to = json_integer_value(value);
        return;
    }
    snprintf(must, sizeof must, "an integer from %lld to %lld", (long long)low, (long long)high);
    complain_got(check, name, must, value);
}

static void size_field(struct check *check, const char *name, json_int_t low, json_int_t high,
                       size_t *to)
{
    json_int_t value = (json_int_t)*to;

    integer_field(check, name, low, high, &value);
    *to = (size_t)value;
}

static void number_field(struct check *check, const char *name, const char *must, double low,
                         double below, double *to)
{
    const json_t *value = json_object_get(check->json, name);
    double number = json_number_value(value);

    if (!value)
        return;
    if (json_is_number(value) && number >= low && number < below)
        *to = number;
    else
        complain_got(check, name, must, value);
}

static void flag_field(struct check *check, const char *name, bool *to)
{
    const json_t *value = json_object_get(check->json, name);

    if (json_is_boolean(value))
        *to = json_is_true(value);
    else if (value)
        complain_got(check, name, "true or false", value);
}

/*
 * The numbers of an array. Says which one is not a number; `regressor`, from 1, is the one that the
 * array is, or 0.
 */
static bool numbers(struct check *check, const char *name, size_t regressor, const json_t *array,
                    double *to)
{
    char got[48];

    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *value = json_array_get(array, i);
        to[i] = json_number_value(value);
        if (json_is_number(value) && isfinite(to[i]))
            continue;
        shown(value, got, sizeof got);
        if (regressor > 0)
            complain(check, name, "number %zu of regressor %zu must be a number, got %s", i + 1,
                     regressor, got);
        else
            complain(check, name, "number %zu must be a number, got %s", i + 1, got);
        return false;
    }
    return true;
}

static double *room(struct check *check, size_t count)
{
    double *made = calloc(count, sizeof *made);

    check->no_memory |= !made;
    return made;
}

/* ---- the fields ---- */

/* `y` or `dataset`: one of them. */
static void source_fields(struct check *check)
{
    const json_t *y = json_object_get(check->json, "y");
    const json_t *dataset = json_object_get(check->json, "dataset");
    const char *name = json_string_value(dataset);
    struct regime_request *request = check->request;

    if (!y == !dataset)
        complain(check, "y", "give either `y` or `dataset`%s", y ? ", not both" : "");
    if (name && strcmp(name, "us-gdp") == 0)
        request->dataset = REGIME_DATASET_US_GDP;
    else if (name && strcmp(name, "synthetic") == 0)
        request->dataset = REGIME_DATASET_SYNTHETIC;
    else if (dataset)
        complain_got(check, "dataset", "\"us-gdp\" or \"synthetic\"", dataset);
    if (!y)
        return;
    if (!json_is_array(y) || json_array_size(y) == 0) {
        complain_got(check, "y", "an array of numbers", y);
        return;
    }
    if (json_array_size(y) > MOST_OBSERVATIONS) {
        complain(check, "y", "must have at most %d numbers, has %zu", MOST_OBSERVATIONS,
                 json_array_size(y));
        return;
    }
    request->y = room(check, json_array_size(y));
    if (request->y && numbers(check, "y", 0, y, request->y))
        request->n = json_array_size(y);
}

/* Whether `x` is an array of arrays that are as long as y. */
static bool x_has_form(struct check *check, const json_t *x, size_t n)
{
    if (!json_is_array(x)) {
        complain_got(check, "x", "an array of regressors, each an array of numbers", x);
        return false;
    }
    for (size_t j = 0; j < json_array_size(x); j++) {
        const json_t *column = json_array_get(x, j);
        if (!json_is_array(column)) {
            complain_got(check, "x", "an array of regressors, each an array of numbers", x);
            return false;
        }
        if (json_array_size(column) != n) {
            complain(check, "x", "regressor %zu has %zu numbers, but `y` has %zu", j + 1,
                     json_array_size(column), n);
            return false;
        }
    }
    return true;
}

static void x_field(struct check *check)
{
    const json_t *x = json_object_get(check->json, "x");
    const json_t *y = json_object_get(check->json, "y");
    struct regime_request *request = check->request;
    size_t n = json_array_size(y);

    if (!x)
        return;
    if (!y) {
        complain(check, "x", "only goes with `y`");
        return;
    }
    if (!x_has_form(check, x, n) || json_array_size(x) == 0)
        return;
    request->x = room(check, json_array_size(x) * n);
    for (size_t j = 0; request->x && j < json_array_size(x); j++)
        if (!numbers(check, "x", j + 1, json_array_get(x, j), request->x + j * n))
            return;
    request->regressors = json_array_size(x);
}

static void n_field(struct check *check)
{
    struct regime_request *request = check->request;
    const json_t *n = json_object_get(check->json, "n");
    size_t given = request->n;

    if (request->dataset == REGIME_DATASET_SYNTHETIC) {
        request->n = SYNTHETIC_DEFAULT;
        size_field(check, "n", 50, MOST_OBSERVATIONS, &request->n);
    } else if (n && request->dataset == REGIME_DATASET_US_GDP) {
        complain(check, "n", "only goes with `y` or with dataset \"synthetic\"");
    } else if (n && given > 0) {
        size_field(check, "n", 1, MOST_OBSERVATIONS, &given);
        if (given != request->n)
            complain(check, "n", "is %zu, but `y` has %zu numbers", given, request->n);
    }
}

/* One "@", something on both sides, and nothing that could end a header of a mail. */
static bool is_address(const char *text)
{
    const char *at = text ? strchr(text, '@') : NULL;

    if (!at || at == text || strchr(at + 1, '@') || strlen(text) > 254)
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("<>,;:\"()[]\\", *c))
            return false;
    return at[1] != '\0' && at[1] != '.' && text[strlen(text) - 1] != '.';
}

static void notify_field(struct check *check)
{
    const json_t *value = json_object_get(check->json, "notify");

    if (!value)
        return;
    if (!is_address(json_string_value(value)) ||
        strlen(json_string_value(value)) != json_string_length(value)) {
        complain_got(check, "notify", "an e-mail address", value);
        return;
    }
    check->request->notify = strdup(json_string_value(value));
    check->no_memory |= !check->request->notify;
}

static void outputs_field(struct check *check)
{
    const json_t *list = json_object_get(check->json, "outputs");
    regime_outputs outputs = 0;

    if (!list)
        return;
    if (!json_is_array(list)) {
        complain_got(check, "outputs", "an array of names", list);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        regime_outputs bit = name ? regime_output_bit(name) : 0;
        char got[48];
        if (!bit)
            complain(check, "outputs", "no output is called %s; there are %s",
                     shown(json_array_get(list, i), got, sizeof got), regime_output_names());
        outputs |= bit;
    }
    check->request->outputs = outputs;
}

static void known_fields(struct check *check)
{
    static const char *const known[] = {"y",
                                        "dataset",
                                        "x",
                                        "n",
                                        "regimes",
                                        "runs",
                                        "maxIterations",
                                        "convergence",
                                        "seed",
                                        "notify",
                                        "oneSigma",
                                        "outputs",
                                        "purgeOlderThanDays"};
    const size_t count = sizeof known / sizeof *known;
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)check->json, name, value) {
        size_t i = 0;
        while (i < count && strcmp(known[i], name) != 0)
            i++;
        if (i == count)
            complain(check, name, "there is no such field");
    }
}

static void settings_fields(struct check *check)
{
    struct regime_request *request = check->request;
    json_int_t seed = 1, days = -1;

    if (request->dataset == REGIME_DATASET_SYNTHETIC)
        request->regimes = SYNTHETIC_REGIMES;
    size_field(check, "regimes", 2, REGIME_MAX_REGIMES, &request->regimes);
    size_field(check, "runs", 1, 1000, &request->runs);
    size_field(check, "maxIterations", 1, 100000, &request->max_iterations);
    number_field(check, "convergence", "a number from 0 to below 1", 0, 1, &request->convergence);
    flag_field(check, "oneSigma", &request->one_sigma);
    integer_field(check, "seed", 0, (json_int_t)(UINT64_C(1) << 53) - 1, &seed);
    integer_field(check, "purgeOlderThanDays", 0, 36500, &days);
    request->seed = (uint64_t)seed;
    request->purge_older_than_days = (int)days;
}

/* What no single field shows: whether given data can be fitted at all. */
static void check_data(struct check *check)
{
    const struct regime_request *request = check->request;
    struct sample sample = {
        .n = request->n, .y = request->y, .regressors = request->regressors, .x = request->x};
    struct regime_problem problem = regime_request_problem(request, &sample);
    char err[200];
    int rc;

    if (check->count > 0 || check->no_memory || request->dataset != REGIME_DATASET_GIVEN)
        return;
    rc = regime_check(&problem, err, sizeof err);
    if (rc == -ENOMEM)
        check->no_memory = true;
    else if (rc != 0)
        complain(check, "y", "%s", err);
}

int regime_request_parse(const json_t *json, struct regime_request *request, json_t *errors)
{
    struct check check = {.json = json, .request = request, .errors = errors};

    *request = (struct regime_request){.regimes = 2,
                                       .runs = 20,
                                       .max_iterations = 1000,
                                       .convergence = 1e-8,
                                       .outputs = REGIME_OUTPUTS_ALL};
    if (!json_is_object(json)) {
        json_array_append_new(errors, json_string("the request must be a JSON object"));
        return -EINVAL;
    }
    known_fields(&check);
    source_fields(&check);
    x_field(&check);
    n_field(&check);
    settings_fields(&check);
    notify_field(&check);
    outputs_field(&check);
    check_data(&check);
    if (check.count == 0 && !check.no_memory)
        return 0;
    regime_request_deinit(request);
    return check.no_memory ? -ENOMEM : -EINVAL;
}

void regime_request_deinit(struct regime_request *request)
{
    free(request->y);
    free(request->x);
    free(request->notify);
    *request = (struct regime_request){0};
}

/* ---- data ---- */

static int load_us_gdp(const char *folder, struct sample *sample, char *err, size_t errsize)
{
    struct sample level = {0};
    char *path;
    int rc;

    if (asprintf(&path, "%s/%s", folder, US_GDP_FILE) < 0)
        return regime_fail_memory(err, errsize);
    rc = sample_read_csv(path, &level, err, errsize);
    if (rc == 0)
        rc = sample_growth(&level, sample, err, errsize);
    sample_deinit(&level);
    free(path);
    return rc;
}

static int copy_given(const struct regime_request *request, struct sample *sample, char *err,
                      size_t errsize)
{
    size_t count = request->regressors * request->n;
    int rc = sample_from_array(request->y, request->n, sample, err, errsize);

    if (rc != 0 || count == 0)
        return rc;
    sample->x = calloc(count, sizeof *sample->x);
    if (!sample->x) {
        sample_deinit(sample);
        return regime_fail_memory(err, errsize);
    }
    memcpy(sample->x, request->x, count * sizeof *sample->x);
    sample->regressors = request->regressors;
    return 0;
}

int regime_request_load(const struct regime_request *request, const char *data_folder,
                        struct sample *sample, char *err, size_t errsize)
{
    *sample = (struct sample){0};
    switch (request->dataset) {
    case REGIME_DATASET_US_GDP:
        return load_us_gdp(data_folder, sample, err, errsize);
    case REGIME_DATASET_SYNTHETIC:
        return sample_synthetic(request->n, request->seed, sample, err, errsize);
    default:
        return copy_given(request, sample, err, errsize);
    }
}

struct regime_problem regime_request_problem(const struct regime_request *request,
                                             const struct sample *sample)
{
    return (struct regime_problem){
        .n = sample->n,
        .y = sample->y,
        .regressors = sample->regressors,
        .x = sample->x,
        .regimes = request->regimes,
        .one_sigma = request->one_sigma,
        .max_iterations = request->max_iterations,
        .convergence = request->convergence,
    };
}
