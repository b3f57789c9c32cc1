/* SPDX-License-Identifier: Apache-2.0 */
/* Printing figures, for people and for programs. */
#include "bench/kit/figures.h"

#include "common/json.h"

double figure_ratio(const struct figure *figure)
{
    double base = series_median(&figure->baseline_series);
    return base > 0 ? series_median(&figure->series) / base : 0;
}

static const char *precision(double value, char *ret, size_t ret_size)
{
    snprintf(ret, ret_size, value >= 1000 ? "%.0f" : value >= 10 ? "%.1f" : "%.3f", value);
    return ret;
}

static void put_number(struct buf *out, const char *key, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.6g", value);
    json_put_raw(out, key, span_of(text));
}

static void put_series(struct buf *out, const char *key, const struct series *series)
{
    json_open(out, key, '{');
    put_number(out, "median", series_median(series));
    put_number(out, "min", series_min(series));
    put_number(out, "max", series_max(series));
    json_open(out, "rounds", '[');
    for (size_t i = 0; i < series->count; i++)
        put_number(out, NULL, series->values[i]);
    json_close(out, ']');
    json_close(out, '}');
}

void figure_write_json(const struct figure *figure, struct buf *out)
{
    json_open(out, NULL, '{');
    json_put_string(out, "metric", span_of(figure->metric));
    json_put_string(out, "what", span_of(figure->what));
    json_put_string(out, "unit", span_of(figure->unit));
    json_put_string(out, "goal", span_of(figure->goal));
    put_series(out, "figure", &figure->series);
    if (figure->baseline[0]) {
        json_put_string(out, "compared_with", span_of(figure->baseline));
        put_series(out, "baseline", &figure->baseline_series);
        put_number(out, "ratio", figure_ratio(figure));
    }
    json_put_string(out, "note", span_of(figure->note));
    json_close(out, '}');
    buf_append_char(out, '\n');
}

static void text_series(struct buf *out, const struct series *series, const char *unit)
{
    char median[32], min[32], max[32];
    precision(series_median(series), median, sizeof median);
    precision(series_min(series), min, sizeof min);
    precision(series_max(series), max, sizeof max);
    buf_printf(out, "%s %s (%s … %s)", median, unit, min, max);
}

void figure_write_text(const struct figure *figure, struct buf *out)
{
    buf_printf(out, "%-8s %s\n", figure->metric, figure->what);
    if (figure->goal[0])
        buf_printf(out, "         %-14s%s\n", "goal", figure->goal);
    buf_printf(out, "         %-14s", "measured");
    text_series(out, &figure->series, figure->unit);
    if (figure->baseline[0]) {
        buf_printf(out, "\n         %-14s%s: ", "compared with", figure->baseline);
        text_series(out, &figure->baseline_series, figure->unit);
        buf_printf(out, "\n         %-14s%.2f", "ratio", figure_ratio(figure));
    }
    if (figure->note[0])
        buf_printf(out, "\n         %-14s%s", "note", figure->note);
    buf_append_char(out, '\n');
}
