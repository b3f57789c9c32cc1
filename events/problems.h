/* SPDX-License-Identifier: Apache-2.0 */
/* The problems of the coupon business, shared by the write and the read API so that one code means one thing.
 */
#pragma once

#include "common/http/problem.h"

#define COUPON_PROBLEMS(X)                                                                                  \
    X(idempotency_key_missing, "idempotency-key-missing", 400, false, "This call needs an Idempotency-Key") \
    X(idempotency_key_invalid, "idempotency-key-invalid", 400, false,                                       \
      "An Idempotency-Key is one header of 1 to 255 visible ASCII characters")                              \
    X(idempotency_key_reused, "idempotency-key-reused", 422, false,                                         \
      "This Idempotency-Key was used with another payload")                                                 \
    X(in_flight, "in-flight", 409, true, "A request with this Idempotency-Key is still being processed")    \
    X(invalid_id, "invalid-id", 400, false, "The id is not of the allowed form")                            \
    X(invalid_user_id, "invalid-user-id", 400, false, "The user id is not of the allowed form")             \
    X(invalid_discount, "invalid-discount", 400, false, "The discount does not make sense")                 \
    X(invalid_window, "invalid-window", 400, false, "The times contradict each other")                      \
    X(invalid_quantity, "invalid-quantity", 400, false, "The quantities contradict each other")             \
    X(invalid_cursor, "invalid-cursor", 400, false, "The cursor was not made by this call")                 \
    X(invalid_token, "invalid-token", 400, false, "The Consistency-Token is not valid")                     \
    X(unknown_campaign, "unknown-campaign", 404, false, "There is no such campaign")                        \
    X(unknown_coupon, "unknown-coupon", 404, false, "There is no such coupon")                              \
    X(campaign_exists, "campaign-exists", 409, false, "A campaign with this id exists already")             \
    X(sold_out, "sold-out", 409, false, "All coupons that were released are issued")                        \
    X(already_issued, "already-issued", 409, false, "This user holds as many coupons as allowed")           \
    X(paused, "paused", 409, true, "The campaign is paused")                                                \
    X(not_started, "not-started", 409, true, "The campaign has not started")                                \
    X(exceeds_quantity, "exceeds-quantity", 409, false, "More would be released than the campaign has")     \
    X(below_promise, "below-promise", 409, false,                                                           \
      "What was promised can be raised, not taken back: quantity, per_user_limit, ends_at")                 \
    X(ended, "ended", 410, false, "The campaign has ended")                                                 \
    X(has_coupons, "has-coupons", 409, false, "Coupons of this campaign were issued")                       \
    X(not_holder, "not-holder", 403, false, "The coupon belongs to somebody else")                          \
    X(other_key, "other-key", 403, false, "Another API key reserved or redeemed the coupon")                \
    X(reserved, "reserved", 409, true, "Another order holds the coupon")                                    \
    X(already_redeemed, "already-redeemed", 409, false, "The coupon was redeemed")                          \
    X(not_redeemed, "not-redeemed", 409, false, "The coupon was not redeemed by this order")                \
    X(expired, "expired", 410, false, "The coupon has expired")                                             \
    X(revoked, "revoked", 410, false, "The coupon was revoked")                                             \
    X(below_minimum, "below-minimum", 422, false, "The order is below the campaign's minimum")              \
    X(no_discount, "no-discount", 422, false, "The coupon would take nothing off this order")               \
    X(currency_mismatch, "currency-mismatch", 422, false,                                                   \
      "The order is in another currency than the campaign")                                                 \
    X(invalid_order_id, "invalid-order-id", 400, false, "The order id is not of the allowed form")          \
    X(rate_limited, "rate-limited", 429, true, "There are too many requests")                               \
    X(issuer_suspended, "issuer-suspended", 403, false, "This API key is suspended")                        \
    X(own_key, "own-key", 409, false, "A key cannot suspend itself")                                        \
    X(unknown_issuer, "unknown-issuer", 404, false, "There is no API key of this name")                     \
    X(unknown_setting, "unknown-setting", 404, false, "There is no such setting")                           \
    X(quota_exceeded, "quota-exceeded", 429, true, "No more campaigns may be created for now")              \
    X(past_too_far, "past-too-far", 422, false, "This answer about the past would cost too much")           \
    X(beyond_head, "beyond-head", 409, false,                                                               \
      "The log does not reach this position: it is not the log it was")                                     \
    X(store_unavailable, "store-unavailable", 503, true, "The event store cannot be reached")               \
    X(unreadable_state, "unreadable-state", 503, true,                                                      \
      "What the event store has of this cannot be read or contradicts itself; operators are told")          \
    X(outcome_unknown, "outcome-unknown", 504, true,                                                        \
      "The outcome is not known yet; send the same request with the same Idempotency-Key")

/* Occasions of codes above that a client is told something else about: which field, when to come back. */
#define COUPON_OCCASIONS(X)                                                                                  \
    X(coupons_expired, "invalid-window", 400, false, "The coupons would have expired already")               \
    X(ends_after_coupons, "invalid-window", 400, false, "The coupons would expire before the campaign ends") \
    X(stock_exceeded, "quota-exceeded", 429, true, "The open campaigns have as much stock as allowed")

COUPON_PROBLEMS(PROBLEM_DECLARE)
COUPON_OCCASIONS(PROBLEM_DECLARE)
