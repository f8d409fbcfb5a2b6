#include "examples/regime-switching/series.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/fail.h"
#include "examples/regime-switching/random.h"

#define SYNTHETIC_NOISE   0.3
#define SYNTHETIC_PERSIST 0.97

const double sample_synthetic_slopes[SYNTHETIC_REGIMES] = {0.2, 0.8, 1.4};

void sample_deinit(struct sample *sample)
{
    free(sample->y);
    free(sample->x);
    free(sample->dates);
    free(sample->regimes);
    *sample = (struct sample){0};
}

/* ---- dates ---- */

/* Reads a number of exactly `count` digits; returns what follows, or NULL. */
static const char *digits(const char *text, int count, int *number)
{
    *number = 0;
    for (int i = 0; i < count; i++) {
        if (!isdigit((unsigned char)text[i]))
            return NULL;
        *number = *number * 10 + (text[i] - '0');
    }
    return text + count;
}

static bool parse_date(const char *text, sample_date date)
{
    int year, month = 1, day = 1, quarter;
    const char *rest = digits(text, 4, &year);

    if (!rest)
        return false;
    if (*rest == 'Q' || *rest == 'q') {
        rest = digits(rest + 1, 1, &quarter);
        if (!rest || quarter < 1 || quarter > 4)
            return false;
        month = 3 * quarter - 2;
    } else if (*rest == '-') {
        rest = digits(rest + 1, 2, &month);
        if (rest && *rest == '-')
            rest = digits(rest + 1, 2, &day);
    }
    if (!rest || *rest != '\0' || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    snprintf(date, sizeof(sample_date), "%04u-%02u-%02u", (unsigned)year % 10000,
             (unsigned)month % 100, (unsigned)day % 100);
    return true;
}

/* ---- CSV ---- */

static bool parse_value(const char *text, double *value)
{
    char *end;

    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

/* Cuts white space and one pair of quotes off, in place. */
static char *trim(char *text)
{
    size_t length;

    while (isspace((unsigned char)*text))
        text++;
    length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
        text++;
        length -= 2;
    }
    text[length] = '\0';
    return text;
}

/* Text on its way into a sample. */
struct csv {
    struct sample *sample;
    size_t room; /* observations that fit before the arrays must grow */
    size_t line; /* from 1 */
    bool titles; /* the line of titles has been seen */
};

static bool append(struct csv *csv, double value, const char *date)
{
    struct sample *sample = csv->sample;

    if (sample->n == csv->room) {
        size_t more = csv->room ? 2 * csv->room : 256;
        double *y = realloc(sample->y, more * sizeof *y);
        if (y)
            sample->y = y;
        sample_date *dates = realloc(sample->dates, more * sizeof *dates);
        if (dates)
            sample->dates = dates;
        if (!y || !dates)
            return false;
        csv->room = more;
    }
    sample->y[sample->n] = value;
    memcpy(sample->dates[sample->n], date, sizeof(sample_date));
    sample->n++;
    return true;
}

static int parse_line(struct csv *csv, char *line, char *err, size_t errsize)
{
    const struct sample *sample = csv->sample;
    char *comma = strrchr(line, ',');
    const char *number = trim(comma ? comma + 1 : line), *day = "";
    sample_date date = "";
    double value;

    if (comma) {
        *comma = '\0';
        day = trim(line);
    }
    bool has_date = comma && parse_date(day, date);
    if (!parse_value(number, &value)) {
        if (sample->n == 0 && !csv->titles && !has_date) {
            csv->titles = true;
            return 0;
        }
        return regime_fail(-EINVAL, err, errsize, "line %zu: \"%.40s\" is not a number", csv->line,
                           number);
    }
    if (comma && !has_date)
        return regime_fail(-EINVAL, err, errsize,
                           "line %zu: \"%.40s\" is not a date such as 1959-07-01, 1959-07, "
                           "1959Q3 or 1959",
                           csv->line, day);
    if (sample->n > 0 && (*sample->dates[0] != '\0') != has_date)
        return regime_fail(-EINVAL, err, errsize, "line %zu: give a date on every line or on none",
                           csv->line);
    return append(csv, value, date) ? 0 : regime_fail_memory(err, errsize);
}

static int parse_lines(char *text, struct sample *sample, char *err, size_t errsize)
{
    struct csv csv = {.sample = sample};
    char *line;

    while ((line = strsep(&text, "\n")) != NULL) {
        csv.line++;
        line += strspn(line, " \t\r");
        if (*line == '\0' || *line == '#')
            continue;
        int rc = parse_line(&csv, line, err, errsize);
        if (rc != 0)
            return rc;
    }
    if (sample->n == 0)
        return regime_fail(-EINVAL, err, errsize, "there are no observations");
    if (*sample->dates[0] == '\0') {
        free(sample->dates);
        sample->dates = NULL;
    }
    return 0;
}

int sample_parse_csv(const char *text, struct sample *sample, char *err, size_t errsize)
{
    char *copy = strdup(text);
    int rc;

    *sample = (struct sample){0};
    if (!copy)
        return regime_fail_memory(err, errsize);
    rc = parse_lines(copy, sample, err, errsize);
    if (rc != 0)
        sample_deinit(sample);
    free(copy);
    return rc;
}

static char *read_all(FILE *file)
{
    char *text = NULL;
    size_t size = 0;

    if (getdelim(&text, &size, '\0', file) < 0 && !ferror(file)) {
        free(text);
        return strdup("");
    }
    if (ferror(file)) {
        free(text);
        return NULL;
    }
    return text;
}

int sample_read_csv(const char *path, struct sample *sample, char *err, size_t errsize)
{
    FILE *file = fopen(path, "re");
    char reason[160];
    char *text;
    int rc;

    *sample = (struct sample){0};
    if (!file) {
        rc = -errno;
        return regime_fail(rc, err, errsize, "%s: %s", path, strerror(-rc));
    }
    errno = 0;
    text = read_all(file);
    rc = errno ? -errno : -EIO;
    fclose(file);
    if (!text)
        return regime_fail(rc, err, errsize, "%s: %s", path, strerror(-rc));
    rc = sample_parse_csv(text, sample, reason, sizeof reason);
    free(text);
    if (rc != 0)
        return regime_fail(rc, err, errsize, "%s: %s", path, reason);
    return 0;
}

/* ---- from numbers ---- */

static bool sample_alloc(size_t n, size_t regressors, struct sample *sample)
{
    *sample = (struct sample){.n = n, .regressors = regressors};
    sample->y = calloc(n, sizeof *sample->y);
    if (regressors > 0)
        sample->x = calloc(n, regressors * sizeof *sample->x);
    if (sample->y && (sample->x || regressors == 0))
        return true;
    sample_deinit(sample);
    return false;
}

int sample_from_array(const double *y, size_t n, struct sample *sample, char *err, size_t errsize)
{
    *sample = (struct sample){0};
    if (n == 0)
        return regime_fail(-EINVAL, err, errsize, "there are no observations");
    if (!sample_alloc(n, 0, sample))
        return regime_fail_memory(err, errsize);
    memcpy(sample->y, y, n * sizeof *y);
    return 0;
}

int sample_growth(const struct sample *level, struct sample *growth, char *err, size_t errsize)
{
    *growth = (struct sample){0};
    if (level->n < 2)
        return regime_fail(-EINVAL, err, errsize, "growth needs two observations at least");
    for (size_t t = 0; t < level->n; t++)
        if (!(level->y[t] > 0))
            return regime_fail(
                -EINVAL, err, errsize, "observation %zu%s%s is %g: only positive numbers grow",
                t + 1, level->dates ? ", " : "", level->dates ? level->dates[t] : "", level->y[t]);
    if (!sample_alloc(level->n - 1, 0, growth))
        return regime_fail_memory(err, errsize);
    for (size_t t = 0; t < growth->n; t++)
        growth->y[t] = 100 * (log(level->y[t + 1]) - log(level->y[t]));
    if (level->dates) {
        growth->dates = calloc(growth->n, sizeof *growth->dates);
        if (!growth->dates) {
            sample_deinit(growth);
            return regime_fail_memory(err, errsize);
        }
        memcpy(growth->dates, level->dates + 1, growth->n * sizeof *growth->dates);
    }
    return 0;
}

static void generate(struct sample *sample, uint64_t seed)
{
    struct regime_random random;
    unsigned regime;

    regime_random_init(&random, seed);
    regime = (unsigned)(regime_random_next(&random) % SYNTHETIC_REGIMES);
    for (size_t t = 0; t < sample->n; t++) {
        sample->regimes[t] = (uint8_t)regime;
        sample->x[t] = regime_random_uniform(&random, 0, 4);
        sample->y[t] = sample_synthetic_slopes[regime] * sample->x[t] +
                       SYNTHETIC_NOISE * regime_random_normal(&random);
        /* One of the two other regimes, each as likely. */
        if (regime_random_uniform(&random, 0, 1) >= SYNTHETIC_PERSIST)
            regime =
                (regime + 1 + (unsigned)(regime_random_next(&random) >> 63)) % SYNTHETIC_REGIMES;
    }
}

int sample_synthetic(size_t n, uint64_t seed, struct sample *sample, char *err, size_t errsize)
{
    *sample = (struct sample){0};
    if (n == 0)
        return regime_fail(-EINVAL, err, errsize, "there are no observations");
    if (!sample_alloc(n, 1, sample))
        return regime_fail_memory(err, errsize);
    sample->regimes = calloc(n, sizeof *sample->regimes);
    if (!sample->regimes) {
        sample_deinit(sample);
        return regime_fail_memory(err, errsize);
    }
    generate(sample, seed);
    return 0;
}
