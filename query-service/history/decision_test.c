/* SPDX-License-Identifier: Apache-2.0 */
/* Every outcome of the rule has its figures and sentences. */
#include "query-service/history/decision.h"

#include "common/base/testing.h"
#include "common/json.h"
#include "events/problems.h"

enum { NOW = 2000 };

static struct campaign campaign_of(void)
{
    return (struct campaign){
        .id = SPAN("spring"),
        .definition = {.quantity = 5, .per_user_limit = 2, .starts_at_us = 1000, .ends_at_us = 9000},
        .state = CAMPAIGN_ACTIVE,
        .first = 1,
        .released = 5,
        .issued = 3};
}

static void expect(const struct campaign *campaign, int64_t held, int64_t as_of_us, const char *part)
{
    struct buf out;
    buf_init(&out, 4096);
    decision_write(&out,
                   &(struct decision_facts){SPAN("spring"), SPAN("ann"), campaign, held, {3, 17}, as_of_us});
    assert_false(out.overflow);
    if (!strstr(out.data, part))
        fail_msg("%s is not in %s", part, out.data);
    assert_null(strstr(out.data, "$lld"));
    buf_deinit(&out);
}

static void would_be_issued(void **)
{
    struct campaign campaign = campaign_of();
    expect(&campaign, 1, NOW, "{\"decision\":\"issued\",\"campaign_id\":\"spring\",\"user_id\":\"ann\",");
    expect(&campaign, 1, NOW,
           "\"position\":{\"slice\":3,\"position\":17},\"issued\":3,\"released\":5,\"last_sequence\":3,"
           "\"held\":1,"
           "\"per_user_limit\":2,");
    campaign.issued = 0;
    expect(&campaign, 0, NOW, "\"last_sequence\":null");
}

static void refusals_say_why(void **)
{
    struct campaign campaign = campaign_of();
    expect(&campaign, 2, NOW, "\"decision\":\"already-issued\"");
    expect(&campaign, 2, NOW, "You already held 2 of the 2 coupons");
    expect(&campaign, 0, 999, "\"decision\":\"not-started\"");
    expect(&campaign, 0, 9000, "\"decision\":\"ended\"");
    expect(NULL, 0, NOW, "\"decision\":\"unknown-campaign\"");
    campaign.state = CAMPAIGN_PAUSED;
    expect(&campaign, 0, NOW, "\"decision\":\"paused\"");
    campaign.state = CAMPAIGN_ACTIVE, campaign.issued = 5;
    expect(&campaign, 0, NOW, "\"decision\":\"sold-out\"");
    expect(&campaign, 0, NOW, "All 5 coupons had been given out; the last one, place 5,");
    expect(&campaign, 0, NOW, "쿠폰 5장이 모두 소진");
}

/* The next tranche counts from its instant on, as it does for who issues. */
static void a_tranche_counts_from_its_instant(void **)
{
    static const struct release plan[] = {{1500, 2}};
    struct campaign campaign = campaign_of();
    campaign.released = campaign.issued = 3;
    campaign.definition.release_plan = (struct release_list){plan, 1};
    expect(&campaign, 0, 1499, "\"decision\":\"sold-out\"");
    expect(&campaign, 0, 1500, "\"decision\":\"issued\"");
    expect(&campaign, 0, 1500, "\"released\":5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(would_be_issued),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(a_tranche_counts_from_its_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
