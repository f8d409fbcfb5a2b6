#include "examples/regime-switching/chart.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The page, in pixels. What lies below the legend moves down when the legend needs more lines. */
#define WIDTH          960
#define LEFT           64
#define RIGHT          (WIDTH - 28)
#define COLUMNS        (RIGHT - LEFT)
#define TITLE_AT       36
#define SUBTITLE_AT    58
#define LEGEND_AT      86
#define LEGEND_LINE    20
#define SERIES_HEIGHT  250
#define SHARE_HEIGHT   96
#define CAPTION_HEIGHT 30
#define AXIS_HEIGHT    48

/* Widths are guessed: fonts differ, and text is never wider than this by much. */
#define CHARACTER 6.9
#define SWATCH    20
#define BETWEEN   22

#define MOST_X_TICKS  11
#define LEAST_X_SPACE 46.0
#define MOST_Y_TICKS  7

#define INK   "#1f2a37"
#define MUTED "#5b6776"
#define GRID  "#1f2a37\" stroke-opacity=\".13"

/* Told apart by readers who do not see red and green as different, and in grey. */
static const struct colour {
    int red, green, blue;
} palette[REGIME_MAX_REGIMES] = {
    {200, 85, 61}, {47, 111, 159}, {232, 170, 66}, {64, 153, 140}, {126, 91, 158}, {128, 134, 143},
};

/* How much of a regime's colour the background behind the series has; the rest is white. */
#define TINT 0.30

struct page {
    FILE *out;
    const struct regime_chart *chart;
    size_t columns;    /* drawn: n, or COLUMNS when n is more */
    double *share;     /* [columns][regimes], the mean of smoothed */
    double low, high;  /* of the axis of y */
    double series_top; /* of the upper panel */
    double share_top;  /* of the lower panel */
    double bottom;     /* of the page */
};

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* ---- text ---- */

/* Bytes of the UTF-8 character at text, 0 when there is none. */
static size_t character_length(const unsigned char *text)
{
    size_t length = *text < 0x80                    ? 1
                    : *text >= 0xc2 && *text < 0xe0 ? 2
                    : *text >= 0xe0 && *text < 0xf0 ? 3
                    : *text >= 0xf0 && *text < 0xf5 ? 4
                                                    : 0;

    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, the two that are no characters, and beyond the last. */
    if ((*text == 0xe0 && text[1] < 0xa0) || (*text == 0xed && text[1] > 0x9f) ||
        (*text == 0xef && text[1] == 0xbf && text[2] > 0xbd) || (*text == 0xf0 && text[1] < 0x90) ||
        (*text == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static size_t character_count(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static void put_escaped(FILE *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = character_length(at);
        if (length == 0)
            fputc('?', out);
        else if (*at == '&')
            fputs("&amp;", out);
        else if (*at == '<')
            fputs("&lt;", out);
        else if (*at == '>')
            fputs("&gt;", out);
        else if (*at == '"')
            fputs("&quot;", out);
        else if (*at < ' ' || *at == 0x7f)
            fputc(' ', out); /* XML has no place for most of them */
        else
            fwrite(at, 1, length, out);
        at += length ? length : 1;
    }
}

static void put_text(const struct page *page, double x, double y, const char *style,
                     const char *text)
{
    fprintf(page->out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, style);
    put_escaped(page->out, text);
    fputs("</text>\n", page->out);
}

static void put_line(const struct page *page, double x1, double y1, double x2, double y2,
                     const char *colour)
{
    fprintf(page->out,
            "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\" fill=\"none\" "
            "shape-rendering=\"crispEdges\"/>\n",
            x1, y1, x2, y2, colour);
}

/* ---- where things are ---- */

/* The middle of observation t. */
static double x_of(const struct page *page, double t)
{
    return LEFT + COLUMNS * (t + 0.5) / (double)page->chart->n;
}

static double y_of(const struct page *page, double value)
{
    return page->series_top + SERIES_HEIGHT * (page->high - value) / (page->high - page->low);
}

/* The left edge of a column. */
static double column_edge(const struct page *page, size_t column)
{
    return LEFT + COLUMNS * (double)column / (double)page->columns;
}

/* The first observation of a column. */
static size_t column_start(const struct page *page, size_t column)
{
    return column * page->chart->n / page->columns;
}

/* 1, 2 or 5 times a power of ten, so that a span has no more ticks than `most`. */
static double tick_step(double span, int most)
{
    double power = pow(10, floor(log10(span / most)));

    for (;; power *= 10) {
        if (span / power <= most)
            return power;
        if (span / (2 * power) <= most)
            return 2 * power;
        if (span / (5 * power) <= most)
            return 5 * power;
    }
}

/* The range of y, and a little more. */
static void find_range(struct page *page)
{
    const struct regime_chart *chart = page->chart;
    double low = INFINITY, high = -INFINITY;

    for (size_t t = 0; t < chart->n; t++)
        if (isfinite(chart->y[t])) {
            low = fmin(low, chart->y[t]);
            high = fmax(high, chart->y[t]);
        }
    if (low > high)
        low = high = 0;
    double room = 0.05 * (high - low);
    if (room <= 1e-9 * fmax(fabs(low), fabs(high)))
        room = low != 0 ? 0.1 * fabs(low) : 1;
    page->low = low - room;
    page->high = high + room;
}

static void find_shares(struct page *page)
{
    const struct regime_chart *chart = page->chart;

    for (size_t c = 0; c < page->columns; c++) {
        size_t from = column_start(page, c), to = column_start(page, c + 1);
        for (size_t t = from; t < to; t++)
            for (size_t r = 0; r < chart->regimes; r++)
                page->share[c * chart->regimes + r] +=
                    chart->smoothed[t * chart->regimes + r] / (double)(to - from);
    }
}

/* ---- the series ---- */

/* The regimes' colours at a column, mixed with white, as "#rrggbb". */
static void mix(const struct page *page, size_t column, char fill[8])
{
    size_t regimes = page->chart->regimes;
    double red = 255, green = 255, blue = 255;

    for (size_t r = 0; r < regimes; r++) {
        double part = TINT * page->share[column * regimes + r];
        red -= part * (255 - palette[r].red);
        green -= part * (255 - palette[r].green);
        blue -= part * (255 - palette[r].blue);
    }
    snprintf(fill, 8, "#%02x%02x%02x", (unsigned)lrint(red) & 0xff, (unsigned)lrint(green) & 0xff,
             (unsigned)lrint(blue) & 0xff);
}

static void put_background(const struct page *page)
{
    char fill[8], beyond[8];

    fputs("<g shape-rendering=\"crispEdges\">\n", page->out);
    for (size_t from = 0, to; from < page->columns; from = to) {
        mix(page, from, fill);
        /* Columns of one colour are one rectangle. */
        for (to = from + 1; to < page->columns; to++) {
            mix(page, to, beyond);
            if (strcmp(fill, beyond) != 0)
                break;
        }
        /* One pixel more, below the next one: rounded edges must leave no seam. */
        double left = column_edge(page, from);
        double right = smaller(column_edge(page, to) + 1, RIGHT);
        fprintf(page->out,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", left,
                page->series_top, right - left, SERIES_HEIGHT, fill);
    }
    fputs("</g>\n", page->out);
}

static void put_y_axis(const struct page *page)
{
    double step = tick_step(page->high - page->low, MOST_Y_TICKS);
    int decimals = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    char label[40], text[48];

    for (double tick = ceil(page->low / step); tick * step <= page->high; tick++) {
        double value = tick * step, y = y_of(page, value);
        put_line(page, LEFT, y, RIGHT, y, tick == 0 ? MUTED : GRID);
        if (fabs(value) >= 1e6 || decimals > 6)
            snprintf(label, sizeof label, "%g", value);
        else
            snprintf(label, sizeof label, "%.*f", decimals, tick == 0 ? 0 : value);
        snprintf(text, sizeof text, "%s%s", label[0] == '-' ? "\u2212" : "",
                 label + (label[0] == '-'));
        put_text(page, LEFT - 8, y + 4, "class=\"tick end\"", text);
    }
}

/* Where the lowest and the highest of some observations are, in the order they come. */
static void find_extremes(const double *y, size_t from, size_t to, size_t points[2])
{
    size_t lowest = from, highest = from;

    for (size_t t = from; t < to; t++) {
        if (y[t] < y[lowest] || isnan(y[lowest]))
            lowest = t;
        if (y[t] > y[highest] || isnan(y[highest]))
            highest = t;
    }
    points[0] = lowest < highest ? lowest : highest;
    points[1] = lowest < highest ? highest : lowest;
}

/* Goes on to observation t, or lifts the pen when it is not known. */
static bool put_point(const struct page *page, size_t t, bool pen_down)
{
    double value = page->chart->y[t];

    if (!isfinite(value))
        return false;
    /* A line of no length, with round ends, is the dot of an observation between two gaps. */
    fprintf(page->out, pen_down ? "L%.1f %.1f" : "M%.1f %.1fh0", x_of(page, (double)t),
            y_of(page, value));
    return true;
}

/* Each observation, or two of each column. */
static void put_series(const struct page *page)
{
    const struct regime_chart *chart = page->chart;
    size_t groups = chart->n <= 2 * COLUMNS ? chart->n : COLUMNS, points[2];
    double stroke = chart->n <= 400 ? 1.6 : groups == chart->n ? 1.1 : 0.8;
    bool pen_down = false;

    fprintf(page->out, "<path class=\"series\" stroke-width=\"%.1f\" d=\"", stroke);
    for (size_t g = 0; g < groups; g++) {
        find_extremes(chart->y, g * chart->n / groups, (g + 1) * chart->n / groups, points);
        pen_down = put_point(page, points[0], pen_down);
        if (points[1] != points[0])
            pen_down = put_point(page, points[1], pen_down);
    }
    fputs("\"/>\n", page->out);
}

/* ---- the probabilities ---- */

/* Regimes up to r together, from the bottom of the panel, at a column. */
static double stacked(const struct page *page, size_t column, size_t regimes)
{
    double sum = 0;

    for (size_t r = 0; r < regimes; r++)
        sum += page->share[column * page->chart->regimes + r];
    return page->share_top + SHARE_HEIGHT * (1 - smaller(sum, 1));
}

/* One regime's band, as steps: a column is as wide as its observations. */
static void put_band(const struct page *page, size_t r)
{
    struct colour colour = palette[r];

    fprintf(page->out, "<path fill=\"#%02x%02x%02x\" fill-opacity=\".88\" d=\"M%d %.1f",
            (unsigned)colour.red, (unsigned)colour.green, (unsigned)colour.blue, LEFT,
            stacked(page, 0, r + 1));
    for (size_t c = 0; c < page->columns; c++)
        fprintf(page->out, "V%.1fH%.1f", stacked(page, c, r + 1), column_edge(page, c + 1));
    for (size_t c = page->columns; c-- > 0;)
        fprintf(page->out, "V%.1fH%.1f", stacked(page, c, r), column_edge(page, c));
    fputs("Z\"/>\n", page->out);
}

static void put_shares(const struct page *page)
{
    static const char *const labels[] = {"1", "0.5", "0"};

    for (size_t r = 0; r < page->chart->regimes; r++)
        put_band(page, r);
    for (int i = 0; i < 3; i++) {
        double y = page->share_top + SHARE_HEIGHT * i / 2.0;
        put_text(page, LEFT - 8, y + 4, "class=\"tick end\"", labels[i]);
    }
    fprintf(page->out,
            "<path d=\"M%d %.1fH%d\" stroke=\"#fff\" stroke-opacity=\".7\" "
            "stroke-dasharray=\"3 3\"/>\n",
            LEFT, page->share_top + SHARE_HEIGHT / 2.0, RIGHT);
}

/* ---- the axis of time ---- */

static int month_of(const struct page *page, size_t t)
{
    const char *date = page->chart->dates[t];
    return atoi(date) * 12 + atoi(date + 5) - 1;
}

/* A tick below both panels, when there is room since the last. */
static void put_x_tick(const struct page *page, size_t t, const char *label, double *last)
{
    double x = x_of(page, (double)t), y = page->share_top + SHARE_HEIGHT;

    if (x - *last < LEAST_X_SPACE)
        return;
    *last = x;
    put_line(page, x, page->series_top + SERIES_HEIGHT, x, page->series_top + SERIES_HEIGHT + 5,
             MUTED);
    put_line(page, x, y, x, y + 5, MUTED);
    put_text(page, x, y + 20, "class=\"tick middle\"", label);
}

static void put_numbered_ticks(const struct page *page)
{
    size_t n = page->chart->n, step = (size_t)fmax(1, tick_step((double)n, MOST_X_TICKS));
    double last = -INFINITY;
    char label[24];

    if (page->chart->dates)
        step = n / 6 + 1;
    for (size_t t = page->chart->dates ? 0 : step - 1; t < n; t += step) {
        snprintf(label, sizeof label, "%zu", t + 1);
        put_x_tick(page, t, page->chart->dates ? page->chart->dates[t] : label, &last);
    }
}

/* Months between ticks, for about as many ticks as there is room for. */
static int month_step(int months)
{
    static const int steps[] = {1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200};
    size_t i = 0;

    while (i + 1 < sizeof steps / sizeof *steps && months / steps[i] > MOST_X_TICKS)
        i++;
    return steps[i];
}

/* Ticks where a round year or month begins. */
static void put_dated_ticks(const struct page *page)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    size_t n = page->chart->n;
    int span = month_of(page, n - 1) - month_of(page, 0), step = month_step(span);
    double last = -INFINITY;
    char label[24];

    if (span < 3) {
        put_numbered_ticks(page);
        return;
    }
    for (size_t t = 0; t < n; t++) {
        int month = month_of(page, t);
        bool begins = t > 0 ? month / step != month_of(page, t - 1) / step : month % step == 0;
        if (!begins)
            continue;
        if (step >= 12)
            snprintf(label, sizeof label, "%d", month / 12);
        else
            snprintf(label, sizeof label, "%s %d", names[month % 12], month / 12);
        put_x_tick(page, t, label, &last);
    }
}

/* ---- what surrounds the panels ---- */

static double entry_width(const char *label)
{
    return SWATCH + CHARACTER * (double)character_count(label) + BETWEEN;
}

/* The legend, or with draw false only its height. */
static double put_legend(const struct page *page, bool draw)
{
    const struct regime_chart *chart = page->chart;
    double x = LEFT, y = LEGEND_AT;

    for (size_t r = 0; r < chart->regimes; r++) {
        double width = entry_width(chart->regime_labels[r]);
        if (r > 0 && x + width - BETWEEN > RIGHT) {
            x = LEFT;
            y += LEGEND_LINE;
        }
        if (draw) {
            fprintf(page->out,
                    "<rect x=\"%.1f\" y=\"%.1f\" width=\"13\" height=\"13\" rx=\"2\" "
                    "fill=\"#%02x%02x%02x\"/>\n",
                    x, y - 11, (unsigned)palette[r].red, (unsigned)palette[r].green,
                    (unsigned)palette[r].blue);
            put_text(page, x + SWATCH, y, "class=\"legend\"", chart->regime_labels[r]);
        }
        x += width;
    }
    return y - LEGEND_AT + LEGEND_LINE;
}

static void put_frame(const struct page *page, double top, int height)
{
    fprintf(page->out,
            "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"%s\" "
            "shape-rendering=\"crispEdges\"/>\n",
            LEFT, top, COLUMNS, height, MUTED);
}

static void put_head(const struct page *page)
{
    fprintf(page->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" "
            "viewBox=\"0 0 %d %.0f\" role=\"img\">\n<title>",
            WIDTH, page->bottom, WIDTH, page->bottom);
    put_escaped(page->out, page->chart->title);
    fputs("</title>\n<style>\n"
          "text{font-family:'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif;fill:" INK
          "}\n.title{font-size:21px;font-weight:600}\n"
          ".subtitle{font-size:13px;fill:" MUTED "}\n"
          ".caption{font-size:12.5px;font-weight:600}\n"
          ".legend{font-size:12.5px}\n"
          ".tick{font-size:11.5px;fill:" MUTED "}\n"
          ".end{text-anchor:end}\n.middle{text-anchor:middle}\n"
          ".series{fill:none;stroke:" INK ";stroke-linejoin:round;stroke-linecap:round}\n"
          "</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
          page->out);
    put_text(page, LEFT, TITLE_AT, "class=\"title\"", page->chart->title);
    put_text(page, LEFT, SUBTITLE_AT, "class=\"subtitle\"", page->chart->subtitle);
    put_legend(page, true);
}

static void put_panels(const struct page *page)
{
    put_text(page, LEFT, page->series_top - 9, "class=\"caption\"", page->chart->series_name);
    put_text(page, LEFT, page->share_top - 9, "class=\"caption\"",
             "Smoothed probability of each regime");
    if (page->chart->n == 0) {
        put_text(page, LEFT, page->series_top + 18, "class=\"subtitle\"", "No observations.");
        return;
    }
    put_background(page);
    put_y_axis(page);
    put_series(page);
    put_frame(page, page->series_top, SERIES_HEIGHT);
    put_shares(page);
    put_frame(page, page->share_top, SHARE_HEIGHT);
    if (page->chart->dates)
        put_dated_ticks(page);
    else
        put_numbered_ticks(page);
    if (!page->chart->dates)
        put_text(page, RIGHT, page->share_top + SHARE_HEIGHT + 36, "class=\"tick end\"",
                 "observation");
}

char *regime_chart_svg(const struct regime_chart *chart, size_t *length)
{
    char *text = NULL;
    struct page page = {.chart = chart,
                        .columns = chart->n < COLUMNS ? chart->n : COLUMNS,
                        .out = open_memstream(&text, length)};
    bool failed;

    if (!page.out)
        return NULL;
    page.share = calloc(page.columns * chart->regimes + 1, sizeof *page.share);
    failed = !page.share;
    if (!failed) {
        page.series_top = LEGEND_AT + put_legend(&page, false) + CAPTION_HEIGHT - 8;
        page.share_top = page.series_top + SERIES_HEIGHT + CAPTION_HEIGHT + 8;
        page.bottom = page.share_top + SHARE_HEIGHT + AXIS_HEIGHT;
        find_range(&page);
        find_shares(&page);
        put_head(&page);
        put_panels(&page);
        fputs("</svg>\n", page.out);
        failed = ferror(page.out) != 0;
    }
    failed |= fclose(page.out) != 0;
    free(page.share);
    if (failed) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- of a fit ---- */

#define LABEL_SIZE 80

/* A number with about three significant digits and the sign that belongs beside digits. */
static const char *figure(double value, int decimals, char *text, size_t size)
{
    snprintf(text, size, "%s%.*f", value < 0 ? "\u2212" : "", decimals, fabs(value));
    return text;
}

static const char *three_digits(double value, char *text, size_t size)
{
    double digits = value == 0 ? 0 : floor(log10(fabs(value)));

    if (!(fabs(digits) <= 5)) {
        snprintf(text, size, "%.3g", value);
        return text;
    }
    return figure(value, digits < 2 ? (int)(2 - digits) : 0, text, size);
}

static void label_regime(const struct regime_fit *fit, size_t r, char *label)
{
    const double *beta = fit->params.beta + r * fit->coefficients;
    char coefficient[40] = "", value[40], sigma[40];

    if (fit->coefficients <= 2)
        snprintf(coefficient, sizeof coefficient, "%s %s, ",
                 fit->coefficients == 1 ? "mean" : "slope",
                 three_digits(beta[fit->coefficients - 1], value, sizeof value / 2));
    snprintf(label, LABEL_SIZE, "Regime %zu: %s\u03c3 %s", r + 1, coefficient,
             three_digits(fit->params.sigma[r], sigma, sizeof sigma / 2));
}

char *regime_fit_svg(const struct regime_fit *fit, const sample_date *dates, const char *title,
                     const char *series_name, size_t *length)
{
    char texts[REGIME_MAX_REGIMES][LABEL_SIZE], subtitle[160];
    char llf[40], rsqr[40];
    const char *labels[REGIME_MAX_REGIMES];

    for (size_t r = 0; r < fit->regimes; r++) {
        label_regime(fit, r, texts[r]);
        labels[r] = texts[r];
    }
    snprintf(subtitle, sizeof subtitle,
             "%zu regimes, %zu observations, log-likelihood %s, R\u00b2 %s", fit->regimes, fit->n,
             figure(fit->path.llf, 2, llf, sizeof llf), figure(fit->rsqr, 3, rsqr, sizeof rsqr));
    return regime_chart_svg(&(struct regime_chart){.title = title,
                                                   .subtitle = subtitle,
                                                   .series_name = series_name,
                                                   .n = fit->n,
                                                   .y = fit->y,
                                                   .dates = dates,
                                                   .regimes = fit->regimes,
                                                   .smoothed = fit->path.smoothed,
                                                   .regime_labels = labels},
                            length);
}
