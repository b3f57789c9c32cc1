/* SPDX-License-Identifier: Apache-2.0 */
/* Events as JSON: every type of the catalogue, by the names of its fields, and what is not understood. */
#include "events/event_json.h"

#include "common/base/testing.h"
#include "common/json.h"

static struct json_doc *doc_of(const struct event *event, bool decoded)
{
    struct buf out;
    struct json_fault fault;
    buf_init(&out, 1 << 20);
    event_write_json(&out, event, decoded, event->type);
    struct json_doc *doc = json_parse(buf_span(&out), &fault);
    if (!doc)
        fail_msg("no JSON: %s", out.data);
    buf_deinit(&out);
    return doc;
}

static struct span text(const struct json_value *object, const char *name)
{
    struct span value = {NULL, 0};
    assert_true(json_as_text(json_member(object, name), &value));
    return value;
}

static void an_issued_coupon(void **)
{
    struct event event = {.slice = 3,
                          .position = 17,
                          .type = EVENT_CouponIssued,
                          .version = 1,
                          .campaign_id = SPAN("summer"),
                          .user_id = SPAN("k\"im"),
                          .coupon_id = SPAN("c3-17"),
                          .recorded_at_us = 1000000,
                          .trace = SPAN("0123456789abcdef01234567"),
                          .coupon_issued = {.sequence = 5, .nth = 1, .code_prefix = SPAN("OIL")}};
    struct json_doc *doc = doc_of(&event, true);
    const struct json_value *root = json_root(doc), *data = json_member(root, "data");
    int64_t number;
    assert_span(text(root, "type"), "CouponIssued");
    assert_true(json_as_int(json_member(root, "position"), &number) && number == 17);
    assert_span(text(root, "user_id"), "k\"im");
    assert_span(text(root, "recorded_at"), "1970-01-01T00:00:01.000000Z");
    assert_span(text(root, "trace_id"), "30313233343536373839616263646566");
    assert_true(json_as_int(json_member(data, "sequence"), &number) && number == 5);
    assert_non_null(json_member(data, "expires_at")); /* null: never */
    assert_null(json_member(data, "expires_at_us"));
    assert_null(json_member(root, "code"));
    json_destroy(doc);
}

static void lists_and_plans(void **)
{
    struct span tags[] = {SPAN("a"), SPAN("b")};
    struct release plan[] = {{2000000, 50}};
    struct event event = {.type = EVENT_CampaignCreated,
                          .version = 1,
                          .campaign_created = {.tags = {tags, 2}, .release_plan = {plan, 1}}};
    struct json_doc *doc = doc_of(&event, true);
    const struct json_value *data = json_member(json_root(doc), "data");
    assert_int_equal(json_array_length(json_member(data, "tags")), 2);
    const struct json_value *release = json_array_at(json_member(data, "release_plan"), 0);
    assert_span(text(release, "at"), "1970-01-01T00:00:02.000000Z");
    assert_span(text(data, "name"), "");
    json_destroy(doc);
}

static void every_type_has_json_and_a_name(void **)
{
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        enum event_type parsed;
        struct event event = {.type = (enum event_type)type, .version = 1};
        struct json_doc *doc = doc_of(&event, true);
        struct span name = text(json_root(doc), "type");
        assert_true(event_type_parse(name, &parsed));
        assert_int_equal(parsed, type);
        assert_non_null(json_member(json_root(doc), "data"));
        json_destroy(doc);
    }
    enum event_type type;
    assert_false(event_type_parse(SPAN("couponissued"), &type));
    assert_false(event_type_parse(SPAN(""), &type));
}

static void what_is_from_the_future_is_shown_as_such(void **)
{
    struct event event = {.position = 9, .version = 3};
    struct json_doc *doc = doc_of(&event, false);
    assert_non_null(json_member(json_root(doc), "type")); /* null */
    assert_null(json_member(json_root(doc), "data"));
    json_destroy(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_issued_coupon),
        cmocka_unit_test(lists_and_plans),
        cmocka_unit_test(every_type_has_json_and_a_name),
        cmocka_unit_test(what_is_from_the_future_is_shown_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
