/* SPDX-License-Identifier: Apache-2.0 */
/* Counts refusals by the code of their problem, for both APIs: coupon_refusals_total{code}. */
#pragma once

#include "common/http/problem.h"

/* Before threads start: each code is there with 0. */
void refusals_setup(void);
/* One of the common or the coupons' problems was answered. Any thread. */
void refusals_count(const struct problem *problem);
