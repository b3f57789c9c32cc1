/* SPDX-License-Identifier: Apache-2.0 */
/* Medians and percentiles. */
#include "bench/kit/series.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

void series_add(struct series *series, double value)
{
    CHECK(series->count < SERIES_MAX);
    series->values[series->count++] = value;
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static int compare_us(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* A copy in ascending order: the rounds keep their order. */
static struct series sorted(const struct series *series)
{
    struct series copy = *series;
    qsort(copy.values, copy.count, sizeof copy.values[0], compare_doubles);
    return copy;
}

double series_median(const struct series *series)
{
    struct series copy = sorted(series);
    if (copy.count == 0)
        return 0;
    return (copy.values[(copy.count - 1) / 2] + copy.values[copy.count / 2]) / 2;
}

double series_min(const struct series *series)
{
    return series->count ? sorted(series).values[0] : 0;
}

double series_max(const struct series *series)
{
    return series->count ? sorted(series).values[series->count - 1] : 0;
}

void series_sort_us(int64_t *values, size_t count)
{
    if (count)
        qsort(values, count, sizeof *values, compare_us);
}

int64_t series_percentile_us(const int64_t *sorted_values, size_t count, unsigned per_mille)
{
    CHECK(per_mille > 0 && per_mille <= 1000);
    return count ? sorted_values[(count * per_mille + 999) / 1000 - 1] : 0;
}
