#include "api/metrics.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

enum type { GAUGE, COUNTER, HISTOGRAM };
enum told_by { HUB, PROCESS };

static const struct description {
    const char *name;
    enum type type;
    enum told_by told_by;
    const char *labels, *meaning;
} descriptions[] = {
#define X(ident, type, told_by, name, labels, meaning) {name, type, told_by, labels, meaning},
    TH_METRICS(X)
#undef X
};

static const char *const type_words[] = {"gauge", "counter", "histogram"};

/* ---- text ---------------------------------------------------------------------------------- */

void th_metric_begin(struct th_buffer *out, enum th_metric metric)
{
    const struct description *d = &descriptions[metric];
    th_buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->meaning, d->name,
                     type_words[d->type]);
}

/* Backslash, quote and line feed are escaped (Prometheus, "Exposition formats"). */
static void put_escaped(struct th_buffer *out, const char *text)
{
    for (; text && *text; text++) {
        if (*text == '\n') {
            th_buffer_text(out, "\\n");
        } else {
            if (*text == '"' || *text == '\\') {
                th_buffer_text(out, "\\");
            }
            th_buffer_add(out, text, 1);
        }
    }
}

/* name{label="value",…}; `bound`, when there is one, as the label le. */
static void put_series(struct th_buffer *out, const struct description *d, const char *suffix,
                       const char *const *labels, const char *bound)
{
    const char *separator = "{";
    size_t i = 0;
    th_buffer_format(out, "%s%s", d->name, suffix);
    for (const char *at = d->labels; *at; i++) {
        size_t len = strcspn(at, ",");
        th_buffer_format(out, "%s%.*s=\"", separator, (int)len, at);
        put_escaped(out, labels[i]);
        th_buffer_text(out, "\"");
        separator = ",";
        at += len;
        at += *at == ',';
    }
    if (bound) {
        th_buffer_format(out, "%sle=\"%s\"", separator, bound);
        separator = ",";
    }
    th_buffer_text(out, *separator == ',' ? "} " : " ");
}

static void put_value(struct th_buffer *out, double value)
{
    if (isnan(value)) {
        th_buffer_text(out, "NaN\n");
    } else if (value > -1e15 && value < 1e15 && (double)(int64_t)value == value) {
        th_buffer_format(out, "%lld\n", (long long)value);
    } else {
        th_buffer_format(out, "%.15g\n", value);
    }
}

void th_metric_add(struct th_buffer *out, enum th_metric metric, const char *const *labels,
                   double value)
{
    put_series(out, &descriptions[metric], "", labels, NULL);
    put_value(out, value);
}

void th_metric_one(struct th_buffer *out, enum th_metric metric, const char *hub, double value)
{
    th_metric_begin(out, metric);
    th_metric_add(out, metric, &hub, value);
}

void th_metric_add_histogram(struct th_buffer *out, enum th_metric metric,
                             const char *const *labels, const struct th_metric_histogram *histogram)
{
    const struct description *d = &descriptions[metric];
    uint64_t count = 0;
    for (size_t i = 0; i <= histogram->bound_count; i++) {
        char bound[32] = "+Inf";
        if (i < histogram->bound_count) {
            snprintf(bound, sizeof(bound), "%g", histogram->bounds[i]);
        }
        count += histogram->counts[i];
        put_series(out, d, "_bucket", labels, bound);
        put_value(out, (double)count);
    }
    put_series(out, d, "_sum", labels, NULL);
    put_value(out, histogram->sum);
    put_series(out, d, "_count", labels, NULL);
    put_value(out, (double)count);
}

/* ---- this process -------------------------------------------------------------------------- */

static double resident_bytes(void)
{
    long pages = 0;
    FILE *in = fopen("/proc/self/statm", "re");
    if (in && fscanf(in, "%*d %ld", &pages) != 1) {
        pages = 0;
    }
    if (in) {
        fclose(in);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double open_files(void)
{
    double count = 0;
    DIR *files = opendir("/proc/self/fd");
    while (files && readdir(files)) {
        count++;
    }
    if (files) {
        closedir(files);
    }
    return count > 3 ? count - 3 : 0; /* ".", ".." and the folder itself */
}

/* proc(5): field 22, in clock ticks since boot; what stands before may hold blanks in parentheses.
 */
static double started(void)
{
    unsigned long long ticks = 0;
    double boot = 0;
    char line[1024] = "";
    FILE *in = fopen("/proc/self/stat", "re");
    if (in && fgets(line, sizeof(line), in)) {
        const char *at = strrchr(line, ')');
        if (!at || sscanf(at,
                          ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                          "%*d %*d %*d %llu",
                          &ticks) != 1) {
            ticks = 0;
        }
    }
    if (in) {
        fclose(in);
    }
    FILE *stat = fopen("/proc/stat", "re");
    while (stat && fgets(line, sizeof(line), stat) && sscanf(line, "btime %lf", &boot) != 1) {
    }
    if (stat) {
        fclose(stat);
    }
    return boot + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void put_alone(struct th_buffer *out, enum th_metric metric, double value)
{
    th_metric_begin(out, metric);
    th_metric_add(out, metric, NULL, value);
}

void th_metrics_process(struct th_buffer *out)
{
    static const char *const version = TASKHUB_VERSION;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    th_metric_begin(out, TH_METRIC_BUILD);
    th_metric_add(out, TH_METRIC_BUILD, &version, 1);
    put_alone(out, TH_METRIC_RESIDENT, resident_bytes());
    put_alone(out, TH_METRIC_CPU, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    put_alone(out, TH_METRIC_START, started());
    put_alone(out, TH_METRIC_FILES, open_files());
}

/* ---- documentation ------------------------------------------------------------------------- */

const char *th_metric_name(enum th_metric metric)
{
    return descriptions[metric].name;
}

static void put_labels(struct th_buffer *out, const char *labels)
{
    for (const char *at = labels; *at;) {
        size_t len = strcspn(at, ",");
        th_buffer_format(out, "%s`%.*s`", at == labels ? "" : ", ", (int)len, at);
        at += len;
        at += *at == ',';
    }
}

static void put_rows(struct th_buffer *out, enum told_by told_by)
{
    th_buffer_text(out, "| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < TH_METRIC_COUNT; i++) {
        const struct description *d = &descriptions[i];
        if (d->told_by == told_by) {
            th_buffer_format(out, "| `%s` | %s | ", d->name, type_words[d->type]);
            put_labels(out, d->labels);
            th_buffer_format(out, " | %s |\n", d->meaning);
        }
    }
}

void th_metrics_document(struct th_buffer *out)
{
    th_buffer_text(out, "## Of the hub\n\n");
    put_rows(out, HUB);
    th_buffer_text(out, "\n## Of each process\n\n");
    put_rows(out, PROCESS);
}
