/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /v1/campaigns: what each bad body is called, and what good ones mean. */
#include "command-service/http/campaign_routes.h"

#include "common/base/testing.h"

enum { BODY_MAX = 64 * 1024 };

/* A body that is good as it is. */
#define NAME     "\"name\":\"n\""
#define DISCOUNT "\"discount\":{\"type\":\"percent\",\"percent\":10}"
#define CURRENCY "\"currency\":\"EUR\""
#define QUANTITY "\"quantity\":100"
#define REST     NAME "," DISCOUNT "," CURRENCY "," QUANTITY
#define WITH(m)  "{" REST "," m "}"

struct reading {
    struct command *command;
    struct json_fault fault;
    bool good;
};

/* Not returned by value: a fault points into itself. */
static void destroy_doc(void *source)
{
    json_destroy(source);
}

static void read_body(struct reading *ret, const char *body)
{
    ret->command = command_create(COMMAND_CREATE, NULL);
    ret->command->source = json_parse(span_of(body), &ret->fault);
    ret->command->source_destroy = destroy_doc;
    if (!ret->command->source)
        fail_msg("not JSON: %s", body);
    ret->good = campaign_body_read(ret->command, json_root(ret->command->source), &ret->fault);
}

struct bad {
    const char *body, *code, *field; /* field NULL: none */
};

static void expect_bad(const struct bad *bad)
{
    struct reading reading;
    read_body(&reading, bad->body);
    if (reading.good)
        fail_msg("accepted: %s", bad->body);
    const struct problem_detail *detail = &reading.fault.detail;
    if (strcmp(detail->problem->code, bad->code) != 0 || detail->problem->status != 400)
        fail_msg("%s: %s, not %s", bad->body, detail->problem->code, bad->code);
    if (bad->field ? !span_is(detail->field, bad->field) : detail->field.ptr != NULL)
        fail_msg("%s: field '%.*s', not %s", bad->body, SPAN_ARG(detail->field), bad->field);
    assert_non_null(detail->detail);
    command_destroy(reading.command);
}

#define EXPECT_ALL(table)                        \
    for (size_t i = 0; i < COUNT_OF(table); i++) \
    expect_bad(&(table)[i])

static void bad_shapes(void **)
{
    static const struct bad table[] = {
        {"[]", "wrong-type", NULL},
        {"\"x\"", "wrong-type", NULL},
        {"null", "wrong-type", NULL},
        {"{}", "missing-field", "name"},
        {"{" DISCOUNT "," CURRENCY "," QUANTITY "}", "missing-field", "name"},
        {"{" NAME "," CURRENCY "," QUANTITY "}", "missing-field", "discount"},
        {"{" NAME "," DISCOUNT "," QUANTITY "}", "missing-field", "currency"},
        {"{" NAME "," DISCOUNT "," CURRENCY "}", "missing-field", "quantity"},
        {"{\"name\":null," DISCOUNT "," CURRENCY "," QUANTITY "}", "missing-field", "name"},
        {WITH("\"issued\":1"), "unknown-field", "issued"},
        {WITH("\"created_by\":\"me\""), "unknown-field", "created_by"},
        {WITH("\"Name\":\"n\""), "unknown-field", "Name"},
        {"{\"name\":1," DISCOUNT "," CURRENCY "," QUANTITY "}", "wrong-type", "name"},
        {"{" NAME ",\"discount\":10," CURRENCY "," QUANTITY "}", "wrong-type", "discount"},
        {"{" NAME "," DISCOUNT "," CURRENCY ",\"quantity\":\"100\"}", "wrong-type", "quantity"},
        {"{" NAME "," DISCOUNT "," CURRENCY ",\"quantity\":100.0}", "wrong-type", "quantity"},
        {"{" NAME "," DISCOUNT "," CURRENCY ",\"quantity\":1e2}", "wrong-type", "quantity"},
        {"{" NAME "," DISCOUNT "," CURRENCY ",\"quantity\":true}", "wrong-type", "quantity"},
        {WITH("\"tags\":\"a\""), "wrong-type", "tags"},
        {WITH("\"tags\":[1]"), "wrong-type", "tags[0]"},
        {WITH("\"tags\":[\"a\",null]"), "wrong-type", "tags[1]"},
        {WITH("\"release_plan\":{}"), "wrong-type", "release_plan"},
        {WITH("\"release_plan\":[1]"), "wrong-type", "release_plan[0]"},
        {WITH("\"starts_at\":1790000000"), "wrong-type", "starts_at"},
    };
    EXPECT_ALL(table);
}

static void bad_texts(void **)
{
    static const struct bad table[] = {
        {WITH("\"id\":\"\""), "invalid-id", "id"},
        {WITH("\"id\":\"A\""), "invalid-id", "id"},
        {WITH("\"id\":\"-a\""), "invalid-id", "id"},
        {WITH("\"id\":\"a_b\""), "invalid-id", "id"},
        {WITH("\"id\":\"a/b\""), "invalid-id", "id"},
        {WITH("\"id\":\"0123456789012345678901234567890123456789012345678901234567890123a\""), "invalid-id",
         "id"},
        {"{\"name\":\"\"," DISCOUNT "," CURRENCY "," QUANTITY "}", "out-of-range", "name"},
        {"{\"name\":\"a\\nb\"," DISCOUNT "," CURRENCY "," QUANTITY "}", "invalid-value", "name"},
        {"{\"name\":\"\\u0085\"," DISCOUNT "," CURRENCY "," QUANTITY "}", "invalid-value", "name"},
        {"{" NAME "," DISCOUNT ",\"currency\":\"EU\"," QUANTITY "}", "out-of-range", "currency"},
        {"{" NAME "," DISCOUNT ",\"currency\":\"EURO\"," QUANTITY "}", "out-of-range", "currency"},
        {"{" NAME "," DISCOUNT ",\"currency\":\"eur\"," QUANTITY "}", "invalid-value", "currency"},
        {"{" NAME "," DISCOUNT ",\"currency\":\"E1R\"," QUANTITY "}", "invalid-value", "currency"},
        {WITH("\"code_prefix\":\"\""), "invalid-value", "code_prefix"},
        {WITH("\"code_prefix\":\"fri\""), "invalid-value", "code_prefix"},
        {WITH("\"code_prefix\":\"A-B\""), "invalid-value", "code_prefix"},
        {WITH("\"code_prefix\":\"ABCDEFGHIJKLM\""), "invalid-value", "code_prefix"},
        {WITH("\"tags\":[\"\"]"), "invalid-value", "tags"},
        {WITH("\"tags\":[\" a\"]"), "invalid-value", "tags"},
        {WITH("\"tags\":[\"0123456789012345678901234567890123456789012345678901234567890123x\"]"),
         "invalid-value", "tags"},
        {WITH("\"tags\":[\"a\",\"b\",\"a\"]"), "invalid-value", "tags"},
    };
    EXPECT_ALL(table);
}

#define QUANTITY_IS(n) "{" NAME "," DISCOUNT "," CURRENCY ",\"quantity\":" n "}"
#define DISCOUNT_IS(d) "{" NAME ",\"discount\":" d "," CURRENCY "," QUANTITY "}"

static void bad_numbers(void **)
{
    static const struct bad table[] = {
        {QUANTITY_IS("0"), "out-of-range", "quantity"},
        {QUANTITY_IS("-1"), "out-of-range", "quantity"},
        {QUANTITY_IS("100000001"), "out-of-range", "quantity"},
        {QUANTITY_IS("9223372036854775807"), "out-of-range", "quantity"},
        {WITH("\"released\":-1"), "out-of-range", "released"},
        {WITH("\"released\":101"), "invalid-quantity", "released"},
        {WITH("\"per_user_limit\":0"), "out-of-range", "per_user_limit"},
        {WITH("\"per_user_limit\":101"), "out-of-range", "per_user_limit"},
        {WITH("\"min_order_amount\":-1"), "out-of-range", "min_order_amount"},
        {WITH("\"min_order_amount\":1000000000001"), "out-of-range", "min_order_amount"},
        {WITH("\"coupon_valid_days\":0"), "out-of-range", "coupon_valid_days"},
        {WITH("\"coupon_valid_days\":36501"), "out-of-range", "coupon_valid_days"},
        {DISCOUNT_IS("{}"), "missing-field", "discount.type"},
        {DISCOUNT_IS("{\"type\":1}"), "wrong-type", "discount.type"},
        {DISCOUNT_IS("{\"type\":null}"), "wrong-type", "discount.type"},
        {DISCOUNT_IS("{\"type\":\"free\"}"), "invalid-discount", "discount.type"},
        {DISCOUNT_IS("{\"type\":\"percent\"}"), "missing-field", "discount.percent"},
        {DISCOUNT_IS("{\"type\":\"percent\",\"percent\":0}"), "out-of-range", "discount.percent"},
        {DISCOUNT_IS("{\"type\":\"percent\",\"percent\":101}"), "out-of-range", "discount.percent"},
        {DISCOUNT_IS("{\"type\":\"percent\",\"percent\":5,\"max_amount\":0}"), "out-of-range",
         "discount.max_amount"},
        {DISCOUNT_IS("{\"type\":\"percent\",\"percent\":5,\"amount\":1}"), "unknown-field",
         "discount.amount"},
        {DISCOUNT_IS("{\"type\":\"fixed\"}"), "missing-field", "discount.amount"},
        {DISCOUNT_IS("{\"type\":\"fixed\",\"amount\":0}"), "out-of-range", "discount.amount"},
        {DISCOUNT_IS("{\"type\":\"fixed\",\"amount\":1000000000001}"), "out-of-range", "discount.amount"},
        {DISCOUNT_IS("{\"type\":\"fixed\",\"amount\":1,\"percent\":1}"), "unknown-field", "discount.percent"},
        {DISCOUNT_IS("{\"type\":\"fixed\",\"amount\":1,\"max_amount\":1}"), "unknown-field",
         "discount.max_amount"},
    };
    EXPECT_ALL(table);
}

#define AT(hour) "\"2026-11-20T" hour ":00:00Z\""

static void bad_times_and_plans(void **)
{
    static const struct bad table[] = {
        {WITH("\"starts_at\":\"tomorrow\""), "invalid-value", "starts_at"},
        {WITH("\"starts_at\":\"2026-11-20T10:00:00\""), "invalid-value", "starts_at"},
        {WITH("\"ends_at\":\"1970-01-01T00:00:00Z\""), "out-of-range", "ends_at"},
        {WITH("\"starts_at\":" AT("10") ",\"ends_at\":" AT("09")), "invalid-window", "ends_at"},
        {WITH("\"starts_at\":" AT("10") ",\"ends_at\":" AT("10")), "invalid-window", "ends_at"},
        {WITH("\"starts_at\":" AT("10") ",\"coupon_expires_at\":" AT("10")), "invalid-window",
         "coupon_expires_at"},
        {WITH("\"coupon_valid_days\":1,\"coupon_expires_at\":" AT("10")), "invalid-window",
         "coupon_expires_at"},
        {WITH("\"ends_at\":" AT("10") ",\"coupon_expires_at\":" AT("09")), "invalid-window",
         "coupon_expires_at"},
        {WITH("\"ends_at\":" AT("10") ",\"release_plan\":[{\"at\":" AT("09") ",\"quantity\":1},{\"at\":" AT(
             "10") ",\"quantity\":1}]"),
         "invalid-window", "release_plan[1]"},
        {WITH("\"coupon_expires_at\":" AT("10") ",\"release_plan\":[{\"at\":" AT("11") ",\"quantity\":1}]"),
         "invalid-window", "release_plan[0]"},
        {WITH("\"release_plan\":[{}]"), "missing-field", "release_plan[0].at"},
        {WITH("\"release_plan\":[{\"at\":" AT("10") "}]"), "missing-field", "release_plan[0].quantity"},
        {WITH("\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":0}]"), "out-of-range",
         "release_plan[0].quantity"},
        {WITH("\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":1,\"x\":1}]"), "unknown-field",
         "release_plan[0].x"},
        {WITH("\"release_plan\":[{\"at\":1,\"quantity\":1}]"), "wrong-type", "release_plan[0].at"},
        {WITH("\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":1},{\"at\":" AT("10") ",\"quantity\":1}]"),
         "invalid-window", "release_plan[1]"},
        {WITH("\"release_plan\":[{\"at\":" AT("11") ",\"quantity\":1},{\"at\":" AT("10") ",\"quantity\":1}]"),
         "invalid-window", "release_plan[1]"},
        {WITH("\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":101}]"), "invalid-quantity",
         "release_plan"},
        {WITH("\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":60},{\"at\":" AT(
             "11") ",\"quantity\":41}]"),
         "invalid-quantity", "release_plan"},
        {WITH("\"released\":41,\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":60}]"), "invalid-quantity",
         "released"},
    };
    EXPECT_ALL(table);
}

/* Lists of `count` elements, each printed from its number. */
static void put_list(struct buf *out, const char *name, const char *format, size_t count)
{
    char item[96];
    buf_clear(out);
    buf_append_text(out, "{" REST ",\"");
    buf_append_text(out, name);
    buf_append_text(out, "\":[");
    for (size_t i = 0; i < count; i++) {
        for (const char *c = format; *c; c++) {
            snprintf(item, sizeof item, "%04zu", i);
            if (*c == '#')
                buf_append_text(out, item);
            else
                buf_append_char(out, *c);
        }
        if (i + 1 < count)
            buf_append_char(out, ',');
    }
    buf_append_text(out, "]}");
    assert_false(out->overflow);
}

static void lists_are_bounded(void **)
{
    static const char *const release = "{\"at\":\"#-01-01T00:00:00Z\",\"quantity\":1}";
    struct buf body;
    buf_init(&body, BODY_MAX);
    put_list(&body, "tags", "\"t#\"", TAGS_MAX);
    struct reading reading;
    read_body(&reading, body.data);
    assert_true(reading.good);
    assert_int_equal(reading.command->create->tags.count, TAGS_MAX);
    assert_span(reading.command->create->tags.items[TAGS_MAX - 1], "t0015");
    command_destroy(reading.command);
    put_list(&body, "tags", "\"t#\"", TAGS_MAX + 1);
    expect_bad(&(struct bad){body.data, "out-of-range", "tags"});
    put_list(&body, "release_plan", release, RELEASE_PLAN_MAX + 1);
    expect_bad(&(struct bad){body.data, "out-of-range", "release_plan"});
    put_list(&body, "release_plan", release, 1);
    expect_bad(&(struct bad){body.data, "invalid-value", "release_plan[0].at"}); /* the year 0 */
    buf_deinit(&body);
}

/* --- good bodies --- */

static void the_smallest_body_has_defaults(void **)
{
    struct reading reading;
    read_body(&reading, "{" REST "}");
    assert_true(reading.good);
    const struct campaign_created *is = reading.command->create;
    assert_null(reading.command->campaign_id.ptr); /* the caller names it */
    assert_span(is->name, "n");
    assert_int_equal(is->discount_type, 0);
    assert_int_equal(is->discount_value, 10);
    assert_int_equal(is->discount_max, 0);
    assert_span(is->currency, "EUR");
    assert_int_equal(is->min_order_amount, 0);
    assert_int_equal(is->quantity, 100);
    assert_int_equal(is->released, 100);
    assert_int_equal(is->per_user_limit, 1);
    assert_true(is->starts_at_us == 0 && is->ends_at_us == 0);
    assert_true(is->coupon_valid_days == 0 && is->coupon_expires_at_us == 0);
    assert_int_equal(is->tags.count, 0);
    assert_int_equal(is->release_plan.count, 0);
    assert_null(is->code_prefix.ptr);
    assert_null(is->created_by.ptr);
    command_destroy(reading.command);
}

static void every_field_arrives(void **)
{
    struct reading reading;
    read_body(&reading,
              "{\"id\":\"spring-2027\",\"name\":\"봄 "
              "\\\"sale\\\"\",\"discount\":{\"type\":\"fixed\",\"amount\":3000},"
              "\"currency\":\"KRW\",\"min_order_amount\":10000,\"quantity\":1000,\"released\":100,"
              "\"per_user_limit\":3,\"starts_at\":\"2026-11-20T10:00:00+09:00\","
              "\"ends_at\":\"2026-12-20T01:00:00.000001Z\",\"coupon_expires_at\":\"2027-01-01T00:00:00Z\","
              "\"tags\":[\"fashion\",\"vip\"],\"code_prefix\":\"SPR\","
              "\"release_plan\":[{\"at\":\"2026-11-20T11:00:00Z\",\"quantity\":400},"
              "{\"quantity\":500,\"at\":\"2026-11-20T12:00:00Z\"}]}");
    if (!reading.good)
        fail_msg("%s", reading.fault.text);
    const struct campaign_created *is = reading.command->create;
    assert_span(reading.command->campaign_id, "spring-2027");
    assert_span(is->name, "봄 \"sale\"");
    assert_int_equal(is->discount_type, 1);
    assert_int_equal(is->discount_value, 3000);
    assert_span(is->currency, "KRW");
    assert_int_equal(is->min_order_amount, 10000);
    assert_int_equal(is->quantity, 1000);
    assert_int_equal(is->released, 100);
    assert_int_equal(is->per_user_limit, 3);
    assert_true(is->starts_at_us == 1795136400000000);
    assert_true(is->ends_at_us == 1797728400000001);
    assert_true(is->coupon_expires_at_us == 1798761600000000);
    assert_int_equal(is->tags.count, 2);
    assert_span(is->tags.items[1], "vip");
    assert_span(is->code_prefix, "SPR");
    assert_int_equal(is->release_plan.count, 2);
    assert_true(is->release_plan.items[0].at_us == 1795172400000000);
    assert_int_equal(is->release_plan.items[0].quantity, 400);
    assert_int_equal(is->release_plan.items[1].quantity, 500);
    command_destroy(reading.command);
}

static void expect_good(const char *body)
{
    struct reading reading;
    read_body(&reading, body);
    if (!reading.good)
        fail_msg("%s: %s", body, reading.fault.text);
    command_destroy(reading.command);
}

static void limits_are_good(void **)
{
    expect_good(QUANTITY_IS("1"));
    expect_good(QUANTITY_IS("100000000"));
    expect_good(DISCOUNT_IS("{\"type\":\"percent\",\"percent\":1}"));
    expect_good(DISCOUNT_IS("{\"type\":\"percent\",\"percent\":100,\"max_amount\":1000000000000}"));
    expect_good(DISCOUNT_IS("{\"type\":\"fixed\",\"amount\":1000000000000}"));
    expect_good(WITH("\"released\":0"));
    expect_good(WITH("\"released\":100"));
    expect_good(WITH("\"per_user_limit\":100"));
    expect_good(WITH("\"coupon_valid_days\":36500"));
    expect_good(WITH("\"id\":\"0123456789012345678901234567890123456789012345678901234567890123\""));
    expect_good(WITH("\"code_prefix\":\"ABCDEFGHIJKL\""));
    expect_good(WITH("\"released\":null,\"tags\":[],\"release_plan\":[],\"id\":null"));
    expect_good(WITH("\"released\":40,\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":60}]"));
    expect_good(WITH("\"ends_at\":" AT("10"))); /* also one that is over: the log's clock decides */
}

/* What the plan holds back is not released from the start. */
static void the_plan_is_held_back(void **)
{
    struct reading reading;
    read_body(&reading, WITH("\"release_plan\":[{\"at\":" AT("10") ",\"quantity\":60}]"));
    assert_true(reading.good);
    assert_int_equal(reading.command->create->released, 40);
    command_destroy(reading.command);
}

/* Whatever is accepted can be written: inside the catalogue's bounds and its size. */
static void the_largest_body_can_be_encoded(void **)
{
    struct buf body, out;
    buf_init(&body, BODY_MAX);
    buf_init(&out, EVENT_DATA_MAX);
    buf_append_text(&body, "{" DISCOUNT "," CURRENCY ",\"quantity\":100000000,\"name\":\"");
    for (size_t i = 0; i < 200; i++)
        buf_append_char(&body, 'n');
    buf_append_text(&body, "\",\"starts_at\":\"9999-12-31T23:59:59Z\",\"tags\":[");
    for (unsigned i = 0; i < TAGS_MAX; i++)
        buf_printf(&body, "%s\"%032u\"", i ? "," : "", i);
    buf_append_text(&body, "],\"release_plan\":[");
    for (unsigned i = 0; i < RELEASE_PLAN_MAX; i++)
        buf_printf(&body, "%s{\"at\":\"%u-12-31T23:59:59Z\",\"quantity\":1000000}", i ? "," : "", 9000 + i);
    buf_append_text(&body, "]}");
    struct reading reading;
    read_body(&reading, body.data);
    if (!reading.good)
        fail_msg("%s", reading.fault.text);
    assert_int_equal(reading.command->create->released, 0);
    struct event event = {.type = EVENT_CampaignCreated, .campaign_created = *reading.command->create};
    event.campaign_created.created_by =
        SPAN("0123456789012345678901234567890123456789012345678901234567890123");
    event_encode(&event, &out);
    assert_false(out.overflow);
    command_destroy(reading.command);
    buf_deinit(&out);
    buf_deinit(&body);
}

static void read_change(struct reading *ret, const char *body)
{
    ret->command = command_create(COMMAND_CHANGE, NULL);
    ret->command->source = json_parse(span_of(body), &ret->fault);
    ret->command->source_destroy = destroy_doc;
    assert_non_null(ret->command->source);
    ret->good = campaign_change_read(ret->command, json_root(ret->command->source), &ret->fault);
}

static void changes_name_what_they_change(void **)
{
    struct reading reading;
    read_change(&reading, "{\"tags\":[],\"quantity\":7,\"reason\":\"why\",\"name\":null}");
    assert_true(reading.good);
    const struct campaign_change *change = reading.command->change;
    assert_int_equal(change->quantity, 7);
    assert_true(change->has_tags);
    assert_int_equal(change->tags.count, 0);
    assert_null(change->name.ptr);
    assert_int_equal(change->fields.count, 2);
    assert_span(change->fields.items[0], "quantity");
    assert_span(change->fields.items[1], "tags");
    assert_span(reading.command->reason, "why");
    command_destroy(reading.command);
}

static void bad_changes(void **)
{
    static const struct bad table[] = {
        {"[]", "wrong-type", NULL},
        {"{}", "missing-field", "name"},
        {"{\"reason\":\"why\"}", "missing-field", "name"},
        {"{\"name\":\"\"}", "out-of-range", "name"},
        {"{\"name\":\"a\\u0007\"}", "invalid-value", "name"},
        {"{\"quantity\":0}", "out-of-range", "quantity"},
        {"{\"quantity\":100000001}", "out-of-range", "quantity"},
        {"{\"quantity\":1.5}", "wrong-type", "quantity"},
        {"{\"per_user_limit\":0}", "out-of-range", "per_user_limit"},
        {"{\"per_user_limit\":101}", "out-of-range", "per_user_limit"},
        {"{\"ends_at\":\"tomorrow\"}", "invalid-value", "ends_at"},
        {"{\"ends_at\":7}", "wrong-type", "ends_at"},
        {"{\"tags\":\"a\"}", "wrong-type", "tags"},
        {"{\"tags\":[\"a\",\"a\"]}", "invalid-value", "tags"},
        {"{\"tags\":[\" a\"]}", "invalid-value", "tags"},
        {"{\"currency\":\"KRW\"}", "unknown-field", "currency"},
        {"{\"starts_at\":\"2030-01-01T00:00:00Z\"}", "unknown-field", "starts_at"},
        {"{\"name\":\"a\",\"reason\":\"\"}", "out-of-range", "reason"},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct reading reading;
        read_change(&reading, table[i].body);
        if (reading.good || strcmp(reading.fault.detail.problem->code, table[i].code) != 0)
            fail_msg("%s: %s", table[i].body, reading.good ? "accepted" : reading.fault.detail.problem->code);
        if (table[i].field && !span_is(reading.fault.detail.field, table[i].field))
            fail_msg("%s: field %.*s", table[i].body, SPAN_ARG(reading.fault.detail.field));
        command_destroy(reading.command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_shapes),
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(bad_numbers),
        cmocka_unit_test(bad_times_and_plans),
        cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(the_smallest_body_has_defaults),
        cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(limits_are_good),
        cmocka_unit_test(the_plan_is_held_back),
        cmocka_unit_test(the_largest_body_can_be_encoded),
        cmocka_unit_test(changes_name_what_they_change),
        cmocka_unit_test(bad_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
