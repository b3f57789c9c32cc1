/* SPDX-License-Identifier: Apache-2.0 */
/* The table of problems: clients switch on code, status and retryable, so these are frozen; titles are not.
 */
#include "events/problems.h"

#include "common/base/testing.h"

static const struct {
    const struct problem *problem;
    const char *code;
    int status;
    bool retryable;
} contract[] = {
    {&problem_idempotency_key_missing, "idempotency-key-missing", 400, false},
    {&problem_idempotency_key_invalid, "idempotency-key-invalid", 400, false},
    {&problem_idempotency_key_reused, "idempotency-key-reused", 422, false},
    {&problem_in_flight, "in-flight", 409, true},
    {&problem_invalid_id, "invalid-id", 400, false},
    {&problem_invalid_user_id, "invalid-user-id", 400, false},
    {&problem_invalid_discount, "invalid-discount", 400, false},
    {&problem_invalid_window, "invalid-window", 400, false},
    {&problem_invalid_quantity, "invalid-quantity", 400, false},
    {&problem_invalid_cursor, "invalid-cursor", 400, false},
    {&problem_invalid_token, "invalid-token", 400, false},
    {&problem_unknown_campaign, "unknown-campaign", 404, false},
    {&problem_unknown_coupon, "unknown-coupon", 404, false},
    {&problem_campaign_exists, "campaign-exists", 409, false},
    {&problem_sold_out, "sold-out", 409, false},
    {&problem_already_issued, "already-issued", 409, false},
    {&problem_paused, "paused", 409, true},
    {&problem_not_started, "not-started", 409, true},
    {&problem_exceeds_quantity, "exceeds-quantity", 409, false},
    {&problem_below_promise, "below-promise", 409, false},
    {&problem_ended, "ended", 410, false},
    {&problem_has_coupons, "has-coupons", 409, false},
    {&problem_not_holder, "not-holder", 403, false},
    {&problem_other_key, "other-key", 403, false},
    {&problem_reserved, "reserved", 409, true},
    {&problem_already_redeemed, "already-redeemed", 409, false},
    {&problem_not_redeemed, "not-redeemed", 409, false},
    {&problem_expired, "expired", 410, false},
    {&problem_revoked, "revoked", 410, false},
    {&problem_below_minimum, "below-minimum", 422, false},
    {&problem_no_discount, "no-discount", 422, false},
    {&problem_currency_mismatch, "currency-mismatch", 422, false},
    {&problem_invalid_order_id, "invalid-order-id", 400, false},
    {&problem_rate_limited, "rate-limited", 429, true},
    {&problem_issuer_suspended, "issuer-suspended", 403, false},
    {&problem_own_key, "own-key", 409, false},
    {&problem_unknown_issuer, "unknown-issuer", 404, false},
    {&problem_unknown_setting, "unknown-setting", 404, false},
    {&problem_quota_exceeded, "quota-exceeded", 429, true},
    {&problem_past_too_far, "past-too-far", 422, false},
    {&problem_beyond_head, "beyond-head", 409, false},
    {&problem_store_unavailable, "store-unavailable", 503, true},
    {&problem_unreadable_state, "unreadable-state", 503, true},
    {&problem_outcome_unknown, "outcome-unknown", 504, true},
};

static void contract_is_frozen(void **)
{
    for (size_t i = 0; i < COUNT_OF(contract); i++) {
        assert_string_equal(contract[i].problem->code, contract[i].code);
        assert_int_equal(contract[i].problem->status, contract[i].status);
        assert_int_equal(contract[i].problem->retryable, contract[i].retryable);
    }
}

#define ADDRESS(name, code, status, retryable, title) &problem_##name,
static const struct problem *const all[] = {COMMON_PROBLEMS(ADDRESS) COUPON_PROBLEMS(ADDRESS)};

static void every_problem_is_in_the_contract(void **)
{
    size_t coupon_problems = 0;
#define COUNT(name, code, status, retryable, title) coupon_problems++;
    COUPON_PROBLEMS(COUNT)
    assert_int_equal(coupon_problems, COUNT_OF(contract));
}

static void codes_are_unique_and_well_formed(void **)
{
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_true(strspn(all[i]->code, "abcdefghijklmnopqrstuvwxyz-") == strlen(all[i]->code));
        assert_in_range(all[i]->status, 400, 599);
        assert_true(all[i]->title[0] >= 'A' && all[i]->title[0] <= 'Z');
        assert_true(all[i]->title[strlen(all[i]->title) - 1] != '.');
        assert_true(all[i]->status < 500 || all[i]->status == 501 || all[i]->status == 505 ||
                    all[i]->retryable); /* what is our fault may go away */
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(all[i]->code, all[j]->code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_is_frozen),
        cmocka_unit_test(every_problem_is_in_the_contract),
        cmocka_unit_test(codes_are_unique_and_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
