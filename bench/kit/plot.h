/* SPDX-License-Identifier: Apache-2.0 */
/* The ratios of one table as a drawing: a bar for each figure that was compared with something, or else has a
 * goal that is a number, its goal as a line, on a logarithmic scale. SVG by hand. Not thread-safe. */
#pragma once

#include "bench/kit/figures.h"

enum { PLOT_BARS_MAX = 24, PLOT_TEXT_MAX = 160 };

struct plot {
    struct plot_bar {
        char what[PLOT_TEXT_MAX], baseline[PLOT_TEXT_MAX];
        double ratio, low, high, goal; /* goal 0: none */
    } bars[PLOT_BARS_MAX];
    size_t count;
};

/* Takes a figure with neither, too, and leaves it out. */
void plot_add(struct plot *plot, const struct figure *figure);
void plot_write(const struct plot *plot, const char *title, struct buf *out);
