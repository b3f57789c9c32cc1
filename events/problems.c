/* SPDX-License-Identifier: Apache-2.0 */
/* The table of events/problems.h as constants. */
#include "events/problems.h"

COUPON_PROBLEMS(PROBLEM_DEFINE)
COUPON_OCCASIONS(PROBLEM_DEFINE)
