/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of a campaign and of a change of one: fields, ranges, and the rules between fields. */
#include "command-service/http/campaign_routes.h"

#include "events/problems.h"

struct discount_body {
    struct span type;
    int64_t percent; /* in hundredths */
    int64_t amount, max_amount;
};

struct campaign_body {
    struct span id, name, currency, code_prefix, utc_offset;
    const struct json_value *discount, *tags, *release_plan;
    int64_t min_order_amount, quantity, released, per_user_limit;
    int64_t starts_at_us, ends_at_us, coupon_valid_days, coupon_expires_at_us;
};

#define AT(member) offsetof(struct campaign_body, member)
static const struct json_field campaign_fields[] = {
    {"id", JSON_STRING, JSON_OPTIONAL, AT(id), 0, 1024},
    {"name", JSON_STRING, JSON_REQUIRED, AT(name), 1, 200},
    {"discount", JSON_OBJECT, JSON_REQUIRED, AT(discount), 0, 0},
    {"currency", JSON_STRING, JSON_REQUIRED, AT(currency), 3, 3},
    {"min_order_amount", JSON_INTEGER, JSON_OPTIONAL, AT(min_order_amount), 0, MONEY_MAX},
    {"quantity", JSON_INTEGER, JSON_REQUIRED, AT(quantity), 1, QUANTITY_MAX},
    {"released", JSON_INTEGER, JSON_OPTIONAL, AT(released), 0, QUANTITY_MAX},
    {"per_user_limit", JSON_INTEGER, JSON_OPTIONAL, AT(per_user_limit), 1, PER_USER_LIMIT_MAX},
    {"starts_at", JSON_TIME, JSON_OPTIONAL, AT(starts_at_us), 0, 0},
    {"ends_at", JSON_TIME, JSON_OPTIONAL, AT(ends_at_us), 0, 0},
    {"coupon_valid_days", JSON_INTEGER, JSON_OPTIONAL, AT(coupon_valid_days), 1, 36500},
    {"coupon_expires_at", JSON_TIME, JSON_OPTIONAL, AT(coupon_expires_at_us), 0, 0},
    {"utc_offset", JSON_STRING, JSON_OPTIONAL, AT(utc_offset), 1, 64},
    {"tags", JSON_ARRAY, JSON_OPTIONAL, AT(tags), 0, TAGS_MAX},
    {"code_prefix", JSON_STRING, JSON_OPTIONAL, AT(code_prefix), 0, 1024},
    {"release_plan", JSON_ARRAY, JSON_OPTIONAL, AT(release_plan), 0, RELEASE_PLAN_MAX},
};
#undef AT

#define AT(member) offsetof(struct discount_body, member)
static const struct json_field percent_fields[] = {
    {"type", JSON_STRING, JSON_REQUIRED, AT(type), 0, 64},
    {"percent", JSON_HUNDREDTHS, JSON_REQUIRED, AT(percent), 1, 10000},
    {"max_amount", JSON_INTEGER, JSON_OPTIONAL, AT(max_amount), 1, MONEY_MAX},
};
static const struct json_field fixed_fields[] = {
    {"type", JSON_STRING, JSON_REQUIRED, AT(type), 0, 64},
    {"amount", JSON_INTEGER, JSON_REQUIRED, AT(amount), 1, MONEY_MAX},
};
#undef AT

static const struct json_field release_fields[] = {
    {"at", JSON_TIME, JSON_REQUIRED, offsetof(struct release, at_us), 0, 0},
    {"quantity", JSON_INTEGER, JSON_REQUIRED, offsetof(struct release, quantity), 1, QUANTITY_MAX},
};

static bool read_discount(const struct json_value *value, struct campaign_created *ret,
                          struct json_fault *fault)
{
    struct discount_body body = {0};
    struct span type;
    const struct json_value *type_value = json_member(value, "type");
    if (!type_value)
        return json_fail(fault, &problem_missing_field, "discount.type", "discount.type is required");
    if (!json_as_text(type_value, &type))
        return json_fail(fault, &problem_wrong_type, "discount.type", "discount.type must be a string");
    bool percent = span_is(type, "percent");
    if (!percent && !span_is(type, "fixed"))
        return json_fail(fault, &problem_invalid_discount, "discount.type",
                         "discount.type is percent or fixed");
    struct json_object_reader reader = {
        .fields = percent ? percent_fields : fixed_fields,
        .count = percent ? COUNT_OF(percent_fields) : COUNT_OF(fixed_fields),
        .at = "discount",
    };
    if (!json_read_object(value, &reader, &body, fault))
        return false;
    ret->discount_type = percent ? 0 : 1;
    ret->discount_value = percent ? body.percent / 100 : body.amount;
    ret->discount_hundredths = body.percent % 100;
    ret->discount_max = body.max_amount;
    return true;
}

static bool read_tags(struct command *command, const struct json_value *tags, struct text_list *ret,
                      struct json_fault *fault)
{
    size_t count = tags ? json_array_length(tags) : 0;
    struct span *items = arena_alloc(&command->arena, count * sizeof *items);
    CHECK(items); /* at most TAGS_MAX */
    for (size_t i = 0; i < count; i++) {
        if (!json_read_string_at(tags, i, "tags", &items[i], fault))
            return false;
        if (!tag_valid(items[i]))
            return json_fail(
                fault, &problem_invalid_value, "tags",
                "a tag is 1 to 64 bytes of text without control characters, no blank at its ends");
        for (size_t j = 0; j < i; j++)
            if (span_equal(items[i], items[j]))
                return json_fail(fault, &problem_invalid_value, "tags", "a tag is given twice");
    }
    *ret = (struct text_list){items, count};
    return true;
}

static bool read_plan(struct command *command, const struct json_value *plan, struct json_fault *fault)
{
    size_t count = plan ? json_array_length(plan) : 0;
    struct release *items = arena_alloc(&command->arena, count * sizeof *items);
    CHECK(items); /* at most RELEASE_PLAN_MAX */
    for (size_t i = 0; i < count; i++) {
        char at[48];
        snprintf(at, sizeof at, "release_plan[%zu]", i);
        struct json_object_reader reader = {release_fields, COUNT_OF(release_fields), at};
        if (!json_read_object(json_array_at(plan, i), &reader, &items[i], fault))
            return false;
        if (i && items[i].at_us <= items[i - 1].at_us)
            return json_fail(fault, &problem_invalid_window, at, "release_plan must be in order of time");
    }
    command->create->release_plan = (struct release_list){items, count};
    return true;
}

/* released defaults to what the plan leaves: nothing is held back that nobody planned to release. */
static bool read_stock(struct campaign_created *definition, int64_t released, struct json_fault *fault)
{
    int64_t planned = 0;
    for (size_t i = 0; i < definition->release_plan.count; i++)
        planned += definition->release_plan.items[i].quantity;
    if (planned > definition->quantity)
        return json_fail(fault, &problem_invalid_quantity, "release_plan",
                         "release_plan releases more than quantity");
    definition->released = released >= 0 ? released : definition->quantity - planned;
    if (definition->released + planned > definition->quantity)
        return json_fail(fault, &problem_invalid_quantity, "released",
                         "released and release_plan together are more than quantity");
    return true;
}

static bool check_name(struct span name, struct json_fault *fault)
{
    if (!text_has_control(name))
        return true;
    return json_fail(fault, &problem_invalid_value, "name", "name has control characters");
}

static bool check_texts(const struct campaign_body *body, struct json_fault *fault)
{
    if (body->id.ptr && !campaign_id_valid(body->id))
        return json_fail(fault, &problem_invalid_id, "id", "a campaign id is [a-z0-9][a-z0-9-]{0,63}");
    if (!check_name(body->name, fault))
        return false;
    for (size_t i = 0; i < body->currency.len; i++)
        if (body->currency.ptr[i] < 'A' || body->currency.ptr[i] > 'Z')
            return json_fail(fault, &problem_invalid_value, "currency",
                             "currency is an ISO 4217 code like KRW");
    if (body->code_prefix.ptr && !code_prefix_valid(body->code_prefix))
        return json_fail(fault, &problem_invalid_value, "code_prefix", "code_prefix is [A-Z0-9]{1,12}");
    return true;
}

static bool check_times(const struct campaign_body *body, struct json_fault *fault)
{
    if (body->ends_at_us && body->ends_at_us <= body->starts_at_us)
        return json_fail(fault, &problem_invalid_window, "ends_at", "ends_at must be after starts_at");
    if (body->coupon_valid_days && body->coupon_expires_at_us)
        return json_fail(fault, &problem_invalid_window, "coupon_expires_at",
                         "give coupon_valid_days or coupon_expires_at, not both");
    if (body->utc_offset.ptr && !body->coupon_valid_days)
        return json_fail(fault, &problem_invalid_window, "utc_offset",
                         "utc_offset says where the days of coupon_valid_days end: give both");
    if (body->coupon_expires_at_us && body->coupon_expires_at_us <= body->starts_at_us)
        return json_fail(fault, &problem_invalid_window, "coupon_expires_at",
                         "coupons would expire before the campaign starts");
    if (body->coupon_expires_at_us && body->coupon_expires_at_us < body->ends_at_us)
        return json_fail(fault, &problem_invalid_window, "coupon_expires_at",
                         "coupons would expire before the campaign ends");
    return true;
}

/* That it is in order was checked. */
static bool check_plan(const struct campaign_created *definition, struct json_fault *fault)
{
    char at[48];
    const struct release_list *plan = &definition->release_plan;
    int64_t ends_at_us = campaign_ends_at_us(definition);
    if (!ends_at_us || plan->count == 0 || plan->items[plan->count - 1].at_us < ends_at_us)
        return true;
    snprintf(at, sizeof at, "release_plan[%zu]", plan->count - 1);
    return json_fail(fault, &problem_invalid_window, at, "the campaign is over by then");
}

bool campaign_body_read(struct command *command, const struct json_value *root, struct json_fault *fault)
{
    int64_t utc_offset_code = 0;
    struct campaign_body body = {.released = -1, .per_user_limit = 1};
    struct json_object_reader reader = {campaign_fields, COUNT_OF(campaign_fields), ""};
    if (!json_read_object(root, &reader, &body, fault) || !check_texts(&body, fault) ||
        !check_times(&body, fault))
        return false;
    if (body.utc_offset.ptr && !utc_offset_parse(body.utc_offset, &utc_offset_code))
        return json_fail(fault, &problem_invalid_value, "utc_offset",
                         "utc_offset is like +09:00, from -18:00 to +18:00");
    command->campaign_id = body.id;
    *command->create = (struct campaign_created){
        .name = body.name,
        .currency = body.currency,
        .min_order_amount = body.min_order_amount,
        .quantity = body.quantity,
        .per_user_limit = body.per_user_limit,
        .starts_at_us = body.starts_at_us,
        .ends_at_us = body.ends_at_us,
        .coupon_valid_days = body.coupon_valid_days,
        .coupon_expires_at_us = body.coupon_expires_at_us,
        .code_prefix = body.code_prefix,
        .utc_offset_code = utc_offset_code,
    };
    return read_discount(body.discount, command->create, fault) &&
           read_tags(command, body.tags, &command->create->tags, fault) &&
           read_plan(command, body.release_plan, fault) && check_plan(command->create, fault) &&
           read_stock(command->create, body.released, fault);
}

/* What is null counts as not named, as everywhere; an empty list of tags takes them all away. */
bool campaign_change_read(struct command *command, const struct json_value *root, struct json_fault *fault)
{
    struct body {
        struct campaign_change change;
        const struct json_value *tags;
        struct span reason;
    } body = {0};
#define AT(member) offsetof(struct body, member)
    static const struct json_field fields[] = {
        {"name", JSON_STRING, JSON_OPTIONAL, AT(change.name), 1, 200},
        {"quantity", JSON_INTEGER, JSON_OPTIONAL, AT(change.quantity), 1, QUANTITY_MAX},
        {"per_user_limit", JSON_INTEGER, JSON_OPTIONAL, AT(change.per_user_limit), 1, PER_USER_LIMIT_MAX},
        {"ends_at", JSON_TIME, JSON_OPTIONAL, AT(change.ends_at_us), 0, 0},
        {"tags", JSON_ARRAY, JSON_OPTIONAL, AT(tags), 0, TAGS_MAX},
        {"reason", JSON_STRING, JSON_OPTIONAL, AT(reason), 1, REASON_MAX},
    };
#undef AT
    struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    if (!json_read_object(root, &reader, &body, fault) || !check_name(body.change.name, fault))
        return false;
    struct campaign_change *change = command->change;
    *change = body.change;
    command->reason = body.reason;
    change->has_tags = body.tags != NULL;
    const bool named[CHANGED_FIELDS_MAX] = {change->name.ptr != NULL, change->quantity != 0,
                                            change->per_user_limit != 0, change->ends_at_us != 0,
                                            change->has_tags};
    size_t count = 0;
    for (size_t i = 0; i < CHANGED_FIELDS_MAX; i++)
        if (named[i])
            change->field_items[count++] = span_of(fields[i].name);
    change->fields = (struct text_list){change->field_items, count};
    if (count == 0)
        return json_fail(fault, &problem_missing_field, "name",
                         "give name, quantity, per_user_limit, ends_at or tags");
    return read_tags(command, body.tags, &change->tags, fault);
}
