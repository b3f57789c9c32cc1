/* SPDX-License-Identifier: Apache-2.0 */
/* The codec against its golden files, whose bytes may never change, and against damage to what it wrote. Runs
 * from the root of the project, where events/golden is. */
#include "events/campaign.h"
#include "events/codec.h"

#include "events/codec_testing.h"

enum { GOLDEN_MAX = 64 * 1024, EXAMPLES_MAX = 4, DAMAGE_ROUNDS = 20000 };

/* --- the examples that the golden files hold --- */

static char many_letters[256];
static struct span max_tags[TAGS_MAX];
static struct release max_plan[RELEASE_PLAN_MAX];

static struct span letters(size_t len)
{
    memset(many_letters, 'm', sizeof many_letters);
    return (struct span){many_letters, len};
}

static struct campaign_created full_campaign(void)
{
    static const struct span tags[] = {{"fashion", 7}, {"black-friday", 12}};
    static const struct release plan[] = {{1790000000000000, 200}, {1790003600000000, 300}};
    return (struct campaign_created){
        .name = SPAN("블랙 프라이데이 \"50%\""),
        .discount_type = 0,
        .discount_value = 50,
        .discount_max = 30000,
        .currency = SPAN("KRW"),
        .min_order_amount = 10000,
        .quantity = 1000,
        .released = 500,
        .per_user_limit = 2,
        .starts_at_us = 1789999200000000,
        .ends_at_us = 1790085600000000,
        .coupon_valid_days = 30,
        .coupon_expires_at_us = 1795000000000000,
        .tags = {tags, 2},
        .code_prefix = SPAN("FRI"),
        .release_plan = {plan, 2},
        .created_by = SPAN("admin"),
    };
}

static struct campaign_created limits_campaign(void)
{
    for (size_t i = 0; i < TAGS_MAX; i++)
        max_tags[i] = letters(EVENT_TEXT_MAX);
    for (size_t i = 0; i < RELEASE_PLAN_MAX; i++)
        max_plan[i] = (struct release){INT64_MAX, QUANTITY_MAX};
    return (struct campaign_created){
        .name = letters(200),
        .discount_type = 1,
        .discount_value = MONEY_MAX,
        .discount_max = MONEY_MAX,
        .currency = SPAN("XXX"),
        .min_order_amount = MONEY_MAX,
        .quantity = QUANTITY_MAX,
        .released = QUANTITY_MAX,
        .per_user_limit = PER_USER_LIMIT_MAX,
        .starts_at_us = INT64_MAX,
        .ends_at_us = INT64_MAX,
        .coupon_valid_days = 36500,
        .coupon_expires_at_us = INT64_MAX,
        .tags = {max_tags, TAGS_MAX},
        .code_prefix = SPAN("ABCDEFGH0123"),
        .release_plan = {max_plan, RELEASE_PLAN_MAX},
        .created_by = letters(EVENT_TEXT_MAX),
    };
}

static const struct span none = {NULL, 0};

static struct campaign_changed full_change(void)
{
    static const struct span fields[] = {{"name", 4}, {"quantity", 8}};
    const struct campaign_created is = full_campaign();
    struct campaign_changed changed = campaign_unchanged(&is);
    changed.reopens_at_us = 1790000001000000;
    changed.actor = SPAN("shop");
    changed.reason = SPAN("쿠폰 추가");
    changed.released_more = 500;
    changed.fields = (struct text_list){fields, 2};
    return changed;
}

static struct campaign_changed limits_change(void)
{
    const struct campaign_created is = limits_campaign();
    struct campaign_changed changed = campaign_unchanged(&is);
    changed.reopens_at_us = INT64_MAX;
    changed.actor = letters(EVENT_TEXT_MAX);
    changed.reason = letters(REASON_MAX);
    changed.released_more = QUANTITY_MAX;
    changed.fields = (struct text_list){max_tags, CHANGED_FIELDS_MAX};
    return changed;
}

struct example {
    const char *name;
    struct event event;
};

/* Of the types that came with what happens to a coupon after it was issued. */
static void coupon_and_control_examples(struct event *full, struct event *limits)
{
    struct span order = SPAN("order-1"), admin = SPAN("admin"), most = letters(ORDER_ID_MAX);
    switch (full->type) {
    case EVENT_CampaignDeleted:
        full->campaign_deleted.actor = admin;
        limits->campaign_deleted.actor = letters(64);
        break;
    case EVENT_CampaignEnded:
        full->campaign_ended.due_at_us = 1790085600000000;
        limits->campaign_ended.due_at_us = INT64_MAX;
        break;
    case EVENT_ReleasePlanHalted:
        full->release_plan_halted = (struct release_plan_halted){2, 4000, 949, 2100};
        limits->release_plan_halted =
            (struct release_plan_halted){RELEASE_PLAN_MAX, INT64_MAX, 1000, INT64_MAX};
        break;
    case EVENT_CouponReserved:
        full->coupon_reserved = (struct coupon_reserved){order, 50000, 5000, 1790000900000000, 1, none};
        limits->coupon_reserved = (struct coupon_reserved){most, MONEY_MAX, MONEY_MAX, INT64_MAX, 1, none};
        break;
    case EVENT_CouponRedeemed:
        full->coupon_redeemed = (struct coupon_redeemed){order, 50000, 5000, 1, none};
        limits->coupon_redeemed = (struct coupon_redeemed){most, MONEY_MAX, MONEY_MAX, 1, none};
        break;
    case EVENT_ReservationReleased:
        full->reservation_released.order_id = order;
        limits->reservation_released.order_id = most;
        break;
    case EVENT_ReservationExpired:
        full->reservation_expired = (struct reservation_expired){order, 1790000900000000};
        limits->reservation_expired = (struct reservation_expired){most, INT64_MAX};
        break;
    case EVENT_CouponRestored:
        full->coupon_restored.order_id = order;
        limits->coupon_restored.order_id = most;
        break;
    case EVENT_CouponRevoked:
        full->coupon_revoked = (struct coupon_revoked){SPAN("fraud"), admin, 1};
        limits->coupon_revoked = (struct coupon_revoked){letters(REASON_MAX), letters(64), 1};
        break;
    case EVENT_IssuerSuspended:
        full->issuer_suspended = (struct issuer_suspended){SPAN("generator"), admin, none};
        limits->issuer_suspended = (struct issuer_suspended){letters(64), letters(64), none};
        break;
    case EVENT_IssuerResumed:
        full->issuer_resumed = (struct issuer_resumed){SPAN("generator"), admin, none};
        limits->issuer_resumed = (struct issuer_resumed){letters(64), letters(64), none};
        break;
    case EVENT_SettingChanged:
        full->setting_changed = (struct setting_changed){SPAN("profile"), SPAN("spike"), admin, none};
        limits->setting_changed = (struct setting_changed){letters(64), letters(64), letters(64), none};
        break;
    default:
        fail();
    }
}

/* Fields that came later, in a line of their own, so that those before stay as they were. False: none did. */
static bool add_later_fields(struct event *event)
{
    static const struct span actor = {"shop", 4}, reason = {"쿠폰 오류", 13};
    switch (event->type) {
    case EVENT_CampaignCreated:
        event->campaign_created.discount_hundredths = 99;
        event->campaign_created.utc_offset_code = UTC_OFFSET_CODE_ZERO + 9 * 60;
        return true;
    case EVENT_StockReleased:
        event->stock_released.reason = reason;
        return true;
    case EVENT_CampaignPaused:
    case EVENT_CampaignResumed:
    case EVENT_CampaignClosed:
    case EVENT_CampaignDeleted: /* all have the same fields */
        event->campaign_paused.reason = reason;
        return true;
    case EVENT_CouponReserved:
        event->coupon_reserved.actor = actor;
        return true;
    case EVENT_CouponRedeemed:
        event->coupon_redeemed.actor = actor;
        return true;
    case EVENT_ReservationReleased:
    case EVENT_CouponRestored:
        event->coupon_restored.actor = actor;
        return true;
    case EVENT_IssuerSuspended:
    case EVENT_IssuerResumed:
        event->issuer_suspended.reason = reason;
        return true;
    case EVENT_SettingChanged:
        event->setting_changed.reason = reason;
        return true;
    default:
        return false;
    }
}

/* All spans with max length live in static memory. */
static size_t examples_of(enum event_type type, struct example *ret)
{
    static const char *const names[] = {"minimal", "full", "limits"};
    memset(ret, 0, EXAMPLES_MAX * sizeof *ret);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        ret[i] = (struct example){names[i], {.type = type, .version = event_describe((int)type)->version}};
    struct event *full = &ret[1].event, *limits = &ret[2].event;
    switch (type) {
    case EVENT_CampaignCreated:
        full->campaign_created = full_campaign();
        limits->campaign_created = limits_campaign();
        break;
    case EVENT_CampaignChanged:
        full->campaign_changed = full_change();
        limits->campaign_changed = limits_change();
        break;
    case EVENT_StockReleased:
        full->stock_released = (struct stock_released){500, 2, SPAN("admin"), none};
        limits->stock_released = (struct stock_released){QUANTITY_MAX, RELEASE_PLAN_MAX, letters(64), none};
        break;
    case EVENT_CampaignPaused:
        full->campaign_paused.actor = SPAN("admin");
        limits->campaign_paused.actor = letters(64);
        break;
    case EVENT_CampaignResumed:
        full->campaign_resumed.actor = SPAN("admin");
        limits->campaign_resumed.actor = letters(64);
        break;
    case EVENT_CampaignClosed:
        full->campaign_closed.actor = SPAN("admin");
        limits->campaign_closed.actor = letters(64);
        break;
    case EVENT_CouponIssued:
        full->coupon_issued = (struct coupon_issued){77, 1, 1795000000000000, SPAN("FRI")};
        limits->coupon_issued =
            (struct coupon_issued){QUANTITY_MAX, PER_USER_LIMIT_MAX, INT64_MAX, letters(12)};
        break;
    default:
        coupon_and_control_examples(full, limits);
    }
    ret[3] = (struct example){"later", *full};
    return COUNT_OF(names) + add_later_fields(&ret[3].event);
}

/* --- golden files --- */

/* Lines of "name hex". Fills `ret` with the file's text; fails where there is none. */
static void read_golden(const struct event_description *is, struct buf *ret)
{
    char path[128], chunk[4096];
    snprintf(path, sizeof path, "events/golden/%s.v%d.hex", is->name, is->version);
    FILE *file = fopen(path, "re");
    if (!file)
        fail_msg("%s is missing (run from the root of the project)", path);
    for (size_t len; (len = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buf_append(ret, chunk, len);
    fclose(file);
    assert_false(ret->overflow);
}

static struct span golden_hex(struct span file, const char *name)
{
    for (struct span rest = file; rest.len > 0;) {
        struct span hex = span_cut(&rest, '\n'), key = span_cut(&hex, ' ');
        if (span_is(key, name))
            return hex;
    }
    return (struct span){NULL, 0};
}

static size_t golden_lines(struct span file)
{
    size_t lines = 0;
    for (size_t i = 0; i < file.len; i++)
        lines += file.ptr[i] == '\n';
    return lines;
}

static void check_golden(const struct example *example, struct span hex)
{
    struct buf encoded, said;
    struct arena arena;
    struct event decoded;
    uint8_t golden[EVENT_DATA_MAX];
    buf_init(&encoded, EVENT_DATA_MAX);
    buf_init(&said, 2 * EVENT_DATA_MAX);
    arena_init(&arena, 1 << 20);
    event_encode(&example->event, &encoded);
    hex_encode(&said, encoded.data, encoded.len);
    if (!span_equal(buf_span(&said), hex)) {
        fprintf(stderr, "%s %s is encoded as %s\n", event_describe((int)example->event.type)->name,
                example->name, said.data);
        fail();
    }
    assert_true(hex_decode(hex, golden, hex.len / 2));
    struct span bytes = {(const char *)golden, hex.len / 2};
    assert_int_equal(decode_as(example->event.type, bytes, &arena, &decoded), CODEC_OK);
    assert_payload_equal(&decoded, &example->event);
    mem_free((char *)decoded.data.ptr);
    arena_deinit(&arena);
    buf_deinit(&said);
    buf_deinit(&encoded);
}

static void golden_bytes_never_change(void **)
{
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        struct example examples[EXAMPLES_MAX];
        struct buf file;
        buf_init(&file, GOLDEN_MAX);
        read_golden(event_describe(type), &file);
        size_t count = examples_of((enum event_type)type, examples);
        assert_int_equal(golden_lines(buf_span(&file)), count);
        for (size_t i = 0; i < count; i++)
            check_golden(&examples[i], golden_hex(buf_span(&file), examples[i].name));
        buf_deinit(&file);
    }
}

/* --- damage --- */

static void truncated_bytes_are_corrupt(void **)
{
    struct example examples[EXAMPLES_MAX];
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        for (size_t i = 0; i < examples_of((enum event_type)type, examples); i++) {
            buf_clear(&bytes);
            event_encode(&examples[i].event, &bytes);
            for (size_t len = 0; len < bytes.len; len++)
                expect_bytes((enum event_type)type, (struct span){bytes.data, len}, CODEC_CORRUPT, "cut");
        }
    }
    buf_deinit(&bytes);
}

static void damaged_bytes_are_survived(void **)
{
    struct example examples[EXAMPLES_MAX];
    struct buf bytes;
    size_t accepted = 0;
    buf_init(&bytes, EVENT_DATA_MAX);
    uint64_t chance = 2;
    for (size_t round = 0; round < DAMAGE_ROUNDS; round++) {
        enum event_type type = (enum event_type)(1 + random_next(&chance) % (EVENT_TYPE_END - 1));
        examples_of(type, examples);
        buf_clear(&bytes);
        event_encode(&examples[1].event, &bytes);
        for (size_t hits = 1 + random_next(&chance) % 3; hits > 0; hits--)
            bytes.data[random_next(&chance) % bytes.len] = (char)random_next(&chance);
        accepted += survives(type, buf_span(&bytes));
    }
    assert_true(accepted > 100); /* or this test does not get past the first byte */
    buf_deinit(&bytes);
}

/* --- writing --- */

static void encode(void *event)
{
    struct buf out;
    buf_init(&out, EVENT_DATA_MAX);
    event_encode(event, &out);
    buf_deinit(&out);
}

static void what_could_not_be_read_is_not_written(void **)
{
    struct event event = {.type = EVENT_CouponIssued, .version = 1};
    assert_false(dies(encode, &event));
    event.coupon_issued.sequence = QUANTITY_MAX + 1;
    assert_true(dies(encode, &event));
    event.coupon_issued = (struct coupon_issued){.nth = -1};
    assert_true(dies(encode, &event));
    event.coupon_issued = (struct coupon_issued){.code_prefix = letters(CODE_PREFIX_MAX + 1)};
    assert_true(dies(encode, &event));
    event = (struct event){.type = EVENT_CampaignCreated, .campaign_created = limits_campaign()};
    assert_false(dies(encode, &event));
    max_tags[3] = letters(EVENT_TEXT_MAX + 1);
    assert_true(dies(encode, &event));
    event.campaign_created = limits_campaign();
    event.campaign_created.tags.count = TAGS_MAX + 1;
    assert_true(dies(encode, &event));
    event.campaign_created = limits_campaign();
    max_plan[9].quantity = QUANTITY_MAX + 1; /* decoding refuses it */
    assert_true(dies(encode, &event));
    event.campaign_created = limits_campaign();
    event.campaign_created.release_plan.count = RELEASE_PLAN_MAX + 1;
    assert_true(dies(encode, &event));
    event = (struct event){.type = EVENT_TYPE_END};
    assert_true(dies(encode, &event));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_bytes_never_change),
        cmocka_unit_test(truncated_bytes_are_corrupt),
        cmocka_unit_test(damaged_bytes_are_survived),
        cmocka_unit_test(what_could_not_be_read_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
