/* SPDX-License-Identifier: Apache-2.0 */
/* Bars of ratios. */
#include "bench/kit/plot.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 960, LEFT = 20, SCALE = 700, TOP = 60, ROW = 46, BAR = 14, DECADES = 4 };

static const double scale_min = 0.01; /* to 100 */

static double place(double ratio)
{
    double decades = log10((ratio > scale_min ? ratio : scale_min) / scale_min);
    return LEFT + SCALE * (decades < DECADES ? decades : DECADES) / DECADES;
}

/* What a text of XML may not have as it is. */
static void put_text(struct buf *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            buf_append_text(out, "&lt;");
        else if (*text == '&')
            buf_append_text(out, "&amp;");
        else
            buf_append_char(out, *text);
}

/* A goal that is a whole number ("<= 10", "1; ..."); 0 for none. */
static double goal_of(const struct figure *figure)
{
    uint64_t number = 0;
    struct span text = span_of(figure->goal), most = SPAN("<= ");
    if (span_starts(text, most))
        text = (struct span){text.ptr + most.len, text.len - most.len};
    return parse_u64(span_cut(&text, ';'), INT64_MAX, &number) ? (double)number : 0;
}

void plot_add(struct plot *plot, const struct figure *figure)
{
    bool compared = figure->baseline[0] != '\0';
    double base = compared ? series_median(&figure->baseline_series) : goal_of(figure);
    double ratio = base > 0 ? series_median(&figure->series) / base : 0;
    if (ratio <= 0 || plot->count == PLOT_BARS_MAX)
        return;
    struct plot_bar *bar = &plot->bars[plot->count++];
    snprintf(bar->what, sizeof bar->what, "%s", figure->what);
    snprintf(bar->baseline, sizeof bar->baseline, "%s%s%s", compared ? figure->baseline : "the goal, ",
             compared ? "" : figure->goal, compared ? "" : figure->unit);
    bar->ratio = ratio;
    bar->low = series_min(&figure->series) / base;
    bar->high = series_max(&figure->series) / base;
    bar->goal = compared ? figure->goal_ratio : 1;
}

static void put_axis(struct buf *out, int bottom)
{
    double value = scale_min;
    for (int decade = 0; decade <= DECADES; decade++) {
        double x = place(value);
        buf_printf(out,
                   "<line x1=\"%.0f\" y1=\"%d\" x2=\"%.0f\" y2=\"%d\" stroke=\"%s\"/>"
                   "<text x=\"%.0f\" y=\"%d\" class=\"s\" text-anchor=\"middle\">%g</text>\n",
                   x, TOP - 8, x, bottom, decade == DECADES / 2 ? "#888" : "#ddd", x, TOP - 14, value);
        value *= 10;
    }
}

static void put_bar(struct buf *out, const struct plot_bar *bar, int y)
{
    double one = place(1), end = place(bar->ratio);
    buf_printf(out, "<text x=\"%d\" y=\"%d\">", LEFT, y + 12);
    put_text(out, bar->what);
    buf_append_text(out, " <tspan class=\"s\">against ");
    put_text(out, bar->baseline);
    buf_append_text(out, "</tspan></text>\n");
    buf_printf(out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>",
               end < one ? end : one, y + 18, fabs(end - one), BAR, end < one ? "#c98" : "#8ac");
    buf_printf(out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#333\"/>", place(bar->low),
               y + 18 + BAR / 2, place(bar->high), y + 18 + BAR / 2);
    if (bar->goal > 0)
        buf_printf(out,
                   "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#070\" stroke-width=\"2\" "
                   "stroke-dasharray=\"3 2\"/>",
                   place(bar->goal), y + 15, place(bar->goal), y + 21 + BAR);
    buf_printf(out, "<text x=\"%d\" y=\"%d\">%.3g", LEFT + SCALE + 30, y + 18 + BAR - 2, bar->ratio);
    if (bar->goal > 0)
        buf_printf(out, " <tspan class=\"s\">goal %.3g</tspan>", bar->goal);
    buf_append_text(out, "</text>\n");
}

void plot_write(const struct plot *plot, const char *title, struct buf *out)
{
    int bottom = TOP + (int)plot->count * ROW;
    buf_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
        "font-size=\"13\">\n<style>.s{font-size:11px;fill:#666}</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"20\" "
        "font-weight=\"bold\">%s <tspan class=\"s\">ratio to what it is compared with; line: smallest and "
        "largest round; dashed: goal</tspan></text>\n",
        WIDTH, bottom + 10, LEFT, title);
    put_axis(out, bottom);
    for (size_t i = 0; i < plot->count; i++)
        put_bar(out, &plot->bars[i], TOP + (int)i * ROW);
    buf_append_text(out, "</svg>\n");
}
