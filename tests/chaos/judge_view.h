/* SPDX-License-Identifier: Apache-2.0 */
/* For the judge only: an object of the API beside what the log says of it at one position and one instant.
 * Instants are wall clock in µs. Each returns the name of what differs, NULL where nothing does. */
#pragma once

#include "tests/chaos/judge_json.h"
#include "tests/chaos/judge_state.h"

/* What never changes of a coupon, and what does. */
const char *view_coupon(const struct judge *judge, const struct json_value *body,
                        const struct model_coupon *coupon);
const char *view_coupon_state(const struct judge *judge, const struct json_value *body,
                              const struct model_coupon *coupon, const struct coupon_moment *is,
                              int64_t now_us);

/* What the log alone changes of a campaign, and what the definition says; and what the clock changes, too:
 * the status, and stock whose time has come. */
const char *view_campaign(const struct json_value *body, const struct model_campaign *campaign,
                          const struct campaign_moment *is);
const char *view_campaign_now(const struct json_value *body, const struct model_campaign *campaign,
                              const struct campaign_moment *is, int64_t now_us);
/* Stock with the tranches that are due by then, whether or not the log has them yet. */
int64_t view_released(const struct model_campaign *campaign, const struct campaign_moment *is,
                      int64_t now_us);
/* The status at an instant: one of the API's words. */
const char *view_campaign_status(const struct model_campaign *campaign, const struct campaign_moment *is,
                                 int64_t now_us);

/* Why the coupon could not be used by `user` (UINT32_MAX: does not say) for an order of that amount (-1:
 * does not say) at that instant; NULL: it could be. */
const char *view_refusal(const struct judge *judge, const struct model_coupon *coupon,
                         const struct coupon_moment *is, uint32_t user, int64_t amount, int64_t now_us);
