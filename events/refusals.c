/* SPDX-License-Identifier: Apache-2.0 */
/* One metric for each code; occasions have that of the problem whose code they have. */
#include "events/refusals.h"

#include "common/base/metrics.h"
#include "events/problems.h"

static struct refusal {
    const struct problem *problem;
    const char *labels;
    struct metric *metric;
} refusals[] = {
#define REFUSAL_ROW(name, code, status, retryable, title) {&problem_##name, "code=\"" code "\"", NULL},
    COMMON_PROBLEMS(REFUSAL_ROW) COUPON_PROBLEMS(REFUSAL_ROW) COUPON_OCCASIONS(REFUSAL_ROW)
#undef REFUSAL_ROW
};

void refusals_setup(void)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++)
        refusals[i].metric = metric_counter(
            "coupon_refusals_total", "Requests refused, by the code of the problem", refusals[i].labels);
}

void refusals_count(const struct problem *problem)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++)
        if (refusals[i].problem == problem) {
            metric_add(refusals[i].metric, 1);
            return;
        }
    UNREACHABLE("every problem is in one of the tables");
}
