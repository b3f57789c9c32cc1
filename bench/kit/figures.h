/* SPDX-License-Identifier: Apache-2.0 */
/* The table of measured figures: each with its goal, its spread over the rounds, and what it was compared
 * with in the same run. Never a verdict: a figure of one machine is no reason to fail anywhere. */
#pragma once

#include <stdbool.h>

#include "bench/kit/series.h"
#include "common/base/bytes.h"

struct figure {
    const char *what, *unit;
    struct series series;
    const char *goal;     /* of the design, as text; "" for none */
    double goal_ratio;    /* where the goal is one of a ratio, 0 elsewhere */
    const char *baseline; /* "" for none */
    struct series baseline_series;
    char note[256];
    const char *metric; /* "issue" */
};

/* median of series / median of baseline; 0 where there is none. */
double figure_ratio(const struct figure *figure);
void figure_write_json(const struct figure *figure, struct buf *out); /* one line */
void figure_write_text(const struct figure *figure, struct buf *out); /* a few lines */
