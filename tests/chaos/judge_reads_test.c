/* SPDX-License-Identifier: Apache-2.0 */
/* Reads that are true are found to be, and each rule about reads finds a violation made for it. The world is
 * that of judge_kit.h: one campaign, coupons at 2 (restored in the end) and 3 (revoked), 11 events. */
#include "tests/chaos/judge_kit.h"

enum { NOW_S = 1, LATER_S = 60, PAST_RESERVATION_S = 4 };

/* The campaign after so many events, as the read API has it. */
static const char *campaign_json(const char *status, int64_t position, int64_t issued, int64_t released,
                                 int64_t reserved, int64_t redeemed)
{
    static char text[WORLD_TEXT_MAX];
    snprintf(text, sizeof text,
             "{\"id\":\"%s\",\"status\":\"%s\",\"issued\":%lld,\"remaining\":%lld,\"released\":%lld,"
             "\"reserved\":%lld,\"redeemed\":%lld,\"name\":\"%.*s\",\"quantity\":%lld,\"per_user_limit\":2,"
             "\"starts_at\":null,\"ends_at\":null%s,\"position\":{\"slice\":%d,\"position\":%lld}}",
             world.id, status, (long long)issued, (long long)(released - issued), (long long)released,
             (long long)reserved, (long long)redeemed, SPAN_ARG(world.definition.name),
             (long long)world.definition.quantity, time_json("created_at", world.lines[L_CREATED].time_us),
             world.slice.slice, (long long)position);
    return text;
}

static const char *campaign_now(void)
{
    return campaign_json("closed", 11, 2, world.definition.released + 1, 0, 0);
}

static const char *coupon_json(int64_t position, const char *status, const char *more)
{
    static struct reply reply;
    say_coupon(&world, &reply, position, (uint32_t)position - 2, position - 1, status, more);
    return reply.body;
}

static const char *list_json(const char *one, const char *two)
{
    static char text[3 * WORLD_TEXT_MAX];
    snprintf(text, sizeof text, "{\"items\":[%s%s%s],\"next\":null}", one, two ? "," : "", two ? two : "");
    return text;
}

static const char *holders_json(const char *status, const char *more, const char *other_status)
{
    char first[WORLD_TEXT_MAX];
    snprintf(first, sizeof first, "%s", coupon_json(2, status, more));
    return list_json(first, coupon_json(3, other_status, ""));
}

static const char *ranking_json(int rank, int count)
{
    static char text[WORLD_TEXT_MAX];
    snprintf(text, sizeof text,
             "{\"items\":[{\"rank\":%d,\"campaign_id\":\"%s\",\"name\":\"%.*s\",\"count\":%d}]}", rank,
             world.id, SPAN_ARG(world.definition.name), count);
    return text;
}

static const char *feed_json(int64_t first, const char *type)
{
    static char text[WORLD_TEXT_MAX];
    snprintf(text, sizeof text,
             "{\"items\":[{\"slice\":%d,\"position\":%lld,\"type\":\"%s\"%s,\"campaign_id\":\"%s\"}],"
             "\"next\":%lld}",
             world.slice.slice, (long long)first, type,
             time_json("recorded_at", WORLD_BASE_US + 1000 * first), world.id, (long long)first);
    return text;
}

/* Somebody reads so long after the last answer and gets that, fresh. */
static struct read *read_at(enum read_kind kind, int64_t seconds, int status, const char *body)
{
    struct http_response response = {.status = status, .body = span_of(body)};
    struct read read = {.kind = kind,
                        .campaign = world.campaign,
                        .coupon = here(&world, 2),
                        .amount = AMOUNT,
                        .limit = 10,
                        .sent_us = world.now_us + seconds * US_PER_S};
    read.done_us = read.sent_us + 10;
    readings_add(&world.reads, &read, &response,
                 SPAN("HTTP/1.1 200 OK\r\nAge: 0\r\nCache-Control: max-age=1"));
    return &world.reads.list[world.reads.count - 1];
}

static const char *reserved_json(void)
{
    return coupon_json(2, "reserved",
                       use_json(time_json("reserved_until", world.lines[L_RESERVED].time_us + 3 * US_PER_S)));
}

static void true_reads_are_found_true(void **)
{
    read_at(READ_CAMPAIGN, NOW_S, 200, campaign_now());
    read_at(READ_CAMPAIGN, LATER_S, 200, campaign_now());
    read_at(READ_CAMPAIGN, NOW_S, 200, campaign_json("paused", 4, 2, world.definition.released, 0, 0));
    read_at(READ_COUPON, NOW_S, 200, coupon_json(2, "issued", ""));
    read_at(READ_CODE, NOW_S, 200, reserved_json());
    read_at(READ_COUPON, PAST_RESERVATION_S, 200, coupon_json(2, "issued", ""));
    read_at(READ_HOLDERS, NOW_S, 200, holders_json("issued", "", "revoked"));
    read_at(READ_PLACE, NOW_S, 200, "{\"issued\":1,\"sequence\":1,\"coupon_ids\":[\"c0-2\"]}");
    read_at(READ_CAMPAIGNS, LATER_S, 200, list_json(campaign_now(), NULL));
    read_at(READ_USER, LATER_S, 200, list_json(coupon_json(2, "issued", ""), NULL));
    read_at(READ_RANKING, LATER_S, 200, ranking_json(1, 2));
    read_at(READ_FEED, LATER_S, 200, feed_json(4, "CampaignPaused"))->coupon.position = 3;
    struct read *unknown = read_at(READ_CAMPAIGN, NOW_S, 404, "{\"code\":\"unknown-campaign\"}");
    unknown->campaign = world.campaign + 1;
    struct read *stale =
        read_at(READ_CAMPAIGN, LATER_S, 200, campaign_json("active", 3, 2, world.definition.released, 0, 0));
    stale->age_s = stale->life_s = 2 * LATER_S; /* old, and says so */
    judge_world(&world);
    for (uint64_t i = 0; i < world.judgement.violations && i < JUDGE_KEPT; i++)
        print_message("%s\n", world.judgement.first[i].text);
    assert_int_equal(world.judgement.violations, 0);
}

static void a_count_that_never_was(void **)
{
    read_at(READ_CAMPAIGN, NOW_S, 200, campaign_json("closed", 11, 1, world.definition.released + 1, 0, 0));
    expect_violation(JUDGE_READ_TRUE);
}

static void an_unknown_campaign_that_is_there(void **)
{
    read_at(READ_CAMPAIGN, LATER_S, 404, "{\"code\":\"unknown-campaign\"}");
    expect_violation(JUDGE_READ_AGE); /* there was none before the first event */
}

static void older_than_its_age(void **)
{
    read_at(READ_CAMPAIGN, LATER_S, 200, campaign_json("paused", 4, 2, world.definition.released, 0, 0));
    expect_violation(JUDGE_READ_AGE);
}

static void from_before_its_token(void **)
{
    struct read *read =
        read_at(READ_CAMPAIGN, NOW_S, 200, campaign_json("paused", 4, 2, world.definition.released, 0, 0));
    read->tokens[world.slice.slice] = 5;
    expect_violation(JUDGE_READ_TOKEN);
}

static void reserved_when_its_time_is_over(void **)
{
    read_at(READ_COUPON, PAST_RESERVATION_S, 200, reserved_json());
    expect_violation(JUDGE_READ_INSTANT);
}

/* Redeemed at 7 and restored at 8, before the other one was revoked at 9. */
static void two_moments_in_one_list(void **)
{
    const char *more = time_json("redeemed_at", world.lines[L_REDEEMED].time_us);
    read_at(READ_HOLDERS, NOW_S, 200, holders_json("redeemed", use_json(more), "revoked"));
    expect_violation(JUDGE_READ_TRUE);
}

static void a_holder_is_missing(void **)
{
    read_at(READ_HOLDERS, LATER_S, 200, list_json(coupon_json(3, "revoked", ""), NULL));
    expect_violation(JUDGE_READ_TRUE);
}

static void another_place(void **)
{
    read_at(READ_PLACE, LATER_S, 200, "{\"issued\":1,\"sequence\":2,\"coupon_ids\":[\"c0-2\"]}");
    expect_violation(JUDGE_READ_TRUE);
}

static void another_holder(void **)
{
    read_at(READ_COUPON, LATER_S, 200, coupon_json(3, "revoked", ""));
    expect_violation(JUDGE_READ_TRUE);
}

static void valid_though_it_is_revoked(void **)
{
    char body[128];
    snprintf(body, sizeof body, "{\"valid\":true,\"discount_amount\":%lld}", (long long)discount());
    read_at(READ_VALIDITY, LATER_S, 200, body)->coupon = here(&world, 3);
    expect_violation(JUDGE_READ_AGE); /* it was before that */
}

static void another_discount(void **)
{
    char body[128];
    snprintf(body, sizeof body, "{\"valid\":true,\"discount_amount\":%lld}", (long long)discount() + 1);
    read_at(READ_VALIDITY, NOW_S, 200, body);
    expect_violation(JUDGE_READ_TRUE);
}

static void a_campaign_is_not_listed(void **)
{
    read_at(READ_CAMPAIGNS, LATER_S, 200, "{\"items\":[],\"next\":null}");
    expect_violation(JUDGE_READ_AGE);
}

static void listed_under_another_status(void **)
{
    read_at(READ_CAMPAIGNS, LATER_S, 200, list_json(campaign_now(), NULL))->status = "active";
    expect_violation(JUDGE_READ_TRUE);
}

static void somebody_elses_coupon(void **)
{
    char own[WORLD_TEXT_MAX];
    snprintf(own, sizeof own, "%s", coupon_json(2, "issued", ""));
    read_at(READ_USER, LATER_S, 200, list_json(coupon_json(3, "revoked", ""), own));
    expect_violation(JUDGE_READ_TRUE);
}

static void a_coupon_is_not_listed(void **)
{
    read_at(READ_USER, LATER_S, 200, "{\"items\":[],\"next\":null}");
    expect_violation(JUDGE_READ_AGE);
}

static void another_count_in_the_ranking(void **)
{
    read_at(READ_RANKING, LATER_S, 200, ranking_json(1, 3));
    expect_violation(JUDGE_READ_TRUE);
}

static void out_of_order(void **)
{
    read_at(READ_RANKING, LATER_S, 200, ranking_json(2, 2));
    expect_violation(JUDGE_READ_ORDER);
}

static void more_than_was_asked_for(void **)
{
    read_at(READ_HOLDERS, LATER_S, 200, holders_json("issued", "", "revoked"))->limit = 1;
    expect_violation(JUDGE_READ_ORDER);
}

static void a_feed_with_a_gap(void **)
{
    read_at(READ_FEED, LATER_S, 200, feed_json(5, "CampaignResumed"))->coupon.position = 3;
    expect_violation(JUDGE_READ_FEED);
}

static void a_feed_that_ends_early(void **)
{
    read_at(READ_FEED, LATER_S, 200, "{\"items\":[],\"next\":4}")->coupon.position = 4;
    expect_violation(JUDGE_READ_FEED);
}

static void older_than_anything_may_be(void **)
{
    read_at(READ_CAMPAIGN, NOW_S, 200, campaign_now())->age_s = LATER_S;
    expect_violation(JUDGE_SENSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENT(true_reads_are_found_true),
        BENT(a_count_that_never_was),
        BENT(an_unknown_campaign_that_is_there),
        BENT(older_than_its_age),
        BENT(from_before_its_token),
        BENT(reserved_when_its_time_is_over),
        BENT(two_moments_in_one_list),
        BENT(a_holder_is_missing),
        BENT(another_place),
        BENT(another_holder),
        BENT(valid_though_it_is_revoked),
        BENT(another_discount),
        BENT(a_campaign_is_not_listed),
        BENT(listed_under_another_status),
        BENT(somebody_elses_coupon),
        BENT(a_coupon_is_not_listed),
        BENT(another_count_in_the_ranking),
        BENT(out_of_order),
        BENT(more_than_was_asked_for),
        BENT(a_feed_with_a_gap),
        BENT(a_feed_that_ends_early),
        BENT(older_than_anything_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
