/* SPDX-License-Identifier: Apache-2.0 */
/* Each refusal counts under the code that its client sees. */
#include "events/refusals.h"

#include "common/base/metrics.h"
#include "common/base/testing.h"
#include "events/problems.h"

static int64_t refused(const char *labels)
{
    return metric_value(
        metric_counter("coupon_refusals_total", "Requests refused, by the code of the problem", labels));
}

static void every_code_counts_for_itself(void **)
{
    refusals_setup();
    refusals_count(&problem_sold_out);
    refusals_count(&problem_sold_out);
    refusals_count(&problem_overloaded);
    assert_int_equal(refused("code=\"sold-out\""), 2);
    assert_int_equal(refused("code=\"overloaded\""), 1);
    assert_int_equal(refused("code=\"paused\""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_code_counts_for_itself)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
