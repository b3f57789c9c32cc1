/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with measured numbers: medians over rounds, percentiles over requests. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SERIES_MAX = 32 };

/* One figure, measured in several rounds. Zeroed, it is empty. */
struct series {
    double values[SERIES_MAX];
    size_t count;
};

void series_add(struct series *series, double value); /* at most SERIES_MAX */
/* 0 for an empty series. The median of an even count is the mean of the middle two. */
double series_median(const struct series *series);
double series_min(const struct series *series);
double series_max(const struct series *series);

void series_sort_us(int64_t *values, size_t count);
/* The smallest of the sorted values that at least `per_mille` thousandths of them do not exceed; 0 of none.
 */
int64_t series_percentile_us(const int64_t *sorted, size_t count, unsigned per_mille);
