/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing operations, and writing them as requests. */
#include "tests/chaos/op.h"

#include "common/base/clock.h"
#include "common/json.h"
#include "events/campaign.h"

enum { OPS_PER_CAMPAIGN = 25, CAMPAIGNS_OPEN = 4, TRACE_MARK = 0x43484153 };
enum draw_purpose { DRAW_CLIENT = 1, DRAW_DEFINITION = 2 };

static const struct {
    const char *text;
    bool coupon, keyed;
} kinds[] = {
#define KIND_ROW(name, text, coupon, keyed) [OP_##name] = {text, coupon, keyed},
    OP_KINDS(KIND_ROW)
#undef KIND_ROW
};

const char *op_kind_name(enum op_kind kind)
{
    return kinds[kind].text;
}

bool op_kind_has_coupon(enum op_kind kind)
{
    return kinds[kind].coupon;
}

bool op_kind_keyed(enum op_kind kind)
{
    return kinds[kind].keyed;
}

/* --- Names --- */

static bool numbered(struct span text, struct span prefix, uint32_t *ret)
{
    uint64_t number;
    if (!span_starts(text, prefix))
        return false;
    if (!parse_u64((struct span){text.ptr + prefix.len, text.len - prefix.len}, UINT32_MAX, &number))
        return false;
    *ret = (uint32_t)number;
    return true;
}

void campaign_name_write(struct buf *out, uint32_t campaign)
{
    buf_printf(out, "chaos-%u", campaign);
}

bool campaign_name_parse(struct span id, uint32_t *ret)
{
    return numbered(id, SPAN("chaos-"), ret) && *ret < CHAOS_CAMPAIGNS_MAX;
}

void user_number_write(struct buf *out, uint32_t user)
{
    buf_printf(out, "chaos-user-%u", user);
}

bool user_number_parse(struct span id, uint32_t *ret)
{
    return numbered(id, SPAN("chaos-user-"), ret) && *ret < CHAOS_USERS;
}

void order_name_write(struct buf *out, uint32_t order)
{
    buf_printf(out, "order-%u", order);
}

bool order_name_parse(struct span id, uint32_t *ret)
{
    return numbered(id, SPAN("order-"), ret);
}

static uint32_t read_u32(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

bool origin_parse(struct span trace, struct origin *ret)
{
    if (trace.len != TRACE_BYTES || read_u32(trace.ptr) != TRACE_MARK)
        return false;
    *ret = (struct origin){read_u32(trace.ptr + 4), read_u32(trace.ptr + 8), read_u32(trace.ptr + 12)};
    return true;
}

/* The span id must not be zero, which is all that is asked of it. */
static void put_trace(struct buf *out, const struct operation *op, uint32_t attempt)
{
    uint32_t ids[] = {TRACE_MARK, op->client, op->number, attempt, TRACE_MARK, TRACE_MARK};
    buf_append_text(out, "traceparent: 00-");
    hex_encode(out, ids, 16);
    buf_append_char(out, '-');
    hex_encode(out, ids + 4, 8);
    buf_append_text(out, "-01\r\n");
}

/* --- Keys and settings --- */

const char *issuer_name(enum issuer issuer)
{
    return issuer == ISSUER_ISSUE ? "issue" : issuer == ISSUER_REDEEM ? "redeem" : "admin";
}

enum issuer op_issuer(const struct operation *op)
{
    if (op->by_issuer && (op->kind == OP_ISSUE || op->kind == OP_ISSUE_MANY))
        return ISSUER_ISSUE;
    if (op->by_issuer && (op->kind == OP_RESERVE || op->kind == OP_REDEEM))
        return ISSUER_REDEEM;
    return ISSUER_NONE;
}

enum issuer op_issuer_concerned(const struct operation *op)
{
    return op->user % 2 ? ISSUER_ISSUE : ISSUER_REDEEM;
}

int64_t op_change_quantity(const struct operation *op)
{
    return 12 * op->quantity; /* campaigns begin with 15 to 160 */
}

int64_t op_change_limit(const struct operation *op)
{
    return op->user % 3 ? 0 : 1 + op->user / 3 % 4; /* and with 1 to 3 */
}

struct span op_setting_name(const struct operation *op)
{
    return op->user % 2 ? SPAN("profile") : SPAN("fresh_ms");
}

void op_setting_value_write(struct buf *out, const struct operation *op)
{
    if (op->user % 2)
        buf_append_text(out, "normal");
    else
        buf_append_i64(out, 1000 + op->quantity);
}

/* --- Definitions --- */

static void draw_discount(struct rng *rng, struct campaign_created *ret)
{
    ret->discount_type = rng_percent(rng, 60) ? 0 : 1;
    ret->discount_value = ret->discount_type == 0 ? rng_between(rng, 1, 100) : rng_between(rng, 1, 9000);
    if (ret->discount_type == 0 && ret->discount_value < 100 && rng_percent(rng, 40))
        ret->discount_hundredths = rng_between(rng, 1, 99);
    if (ret->discount_type == 0 && rng_percent(rng, 50))
        ret->discount_max = rng_between(rng, 1, 4000);
    if (rng_percent(rng, 40))
        ret->min_order_amount = rng_between(rng, 1, 8000);
}

/* About a campaign a second is made in a run that nothing holds up. Coupons expire when the campaign ends or
 * later, as they must. */
static void draw_times(struct rng *rng, int64_t base_us, uint32_t campaign, struct campaign_created *ret)
{
    int64_t about_us = base_us + (int64_t)campaign * US_PER_S;
    if (rng_percent(rng, 15))
        ret->starts_at_us = about_us + rng_between(rng, 0, 4 * US_PER_S);
    if (rng_percent(rng, 20))
        ret->ends_at_us = about_us + rng_between(rng, 5 * US_PER_S, 20 * US_PER_S);
    if (rng_percent(rng, 30))
        ret->coupon_expires_at_us =
            (ret->ends_at_us ? ret->ends_at_us : about_us) + rng_between(rng, 5 * US_PER_S, 15 * US_PER_S);
    else if (rng_percent(rng, 40))
        ret->coupon_valid_days = rng_between(rng, 1, 400);
}

/* Tranches come within 4.5 s, so before any end. */
static void draw_stock(struct rng *rng, int64_t base_us, uint32_t campaign, struct definition_room *room,
                       struct campaign_created *ret)
{
    int64_t at_us = base_us + (int64_t)campaign * US_PER_S, planned = 0;
    size_t tranches = rng_percent(rng, 25) ? 1 + rng_below(rng, COUNT_OF(room->plan)) : 0;
    ret->quantity = rng_between(rng, 15, 160);
    for (size_t i = 0; i < tranches; i++) {
        at_us += rng_between(rng, 200 * US_PER_MS, 1500 * US_PER_MS);
        room->plan[i] = (struct release){at_us, rng_between(rng, 1, ret->quantity / 5)};
        planned += room->plan[i].quantity;
    }
    ret->release_plan = (struct release_list){room->plan, tranches};
    ret->released =
        rng_percent(rng, 50) ? ret->quantity - planned : rng_between(rng, 0, ret->quantity - planned);
    ret->per_user_limit = rng_between(rng, 1, 3);
}

struct campaign_created op_definition(uint64_t seed, uint32_t campaign, uint32_t variant, int64_t base_us,
                                      struct definition_room *room)
{
    struct rng rng = rng_of(seed, DRAW_DEFINITION, (uint64_t)campaign << 32 | variant);
    struct campaign_created definition = {.currency = SPAN("KRW")};
    int len = snprintf(room->name, sizeof room->name, "Chaos %u, as %u", campaign, variant);
    definition.name = (struct span){room->name, (size_t)len};
    draw_discount(&rng, &definition);
    draw_times(&rng, base_us, campaign, &definition);
    draw_stock(&rng, base_us, campaign, room, &definition);
    room->tags[0] = SPAN("chaos");
    room->tags[1] = SPAN("odd");
    definition.tags = (struct text_list){room->tags, 1 + campaign % 2};
    if (rng_percent(&rng, 30))
        definition.code_prefix = SPAN("CHAOS");
    return definition;
}

/* --- Drawing --- */

/* Of a thousand. */
static const struct {
    enum op_kind kind;
    uint32_t weight;
} weights[] = {
    {OP_CREATE, 6},   {OP_PAUSE, 12},     {OP_RESUME, 28},  {OP_CLOSE, 3},       {OP_RELEASE, 45},
    {OP_DELETE, 10},  {OP_VOID, 3},       {OP_ISSUE, 440},  {OP_ISSUE_MANY, 30}, {OP_RESERVE, 120},
    {OP_REDEEM, 130}, {OP_GIVE_BACK, 60}, {OP_RESTORE, 60}, {OP_REVOKE, 30},     {OP_SUSPEND, 2},
    {OP_READMIT, 5},  {OP_SET, 3},        {OP_CHANGE, 13},
};

static enum op_kind draw_kind(struct rng *rng)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(weights); i++)
        sum += weights[i].weight;
    uint32_t at = rng_below(rng, sum);
    for (size_t i = 0; i < COUNT_OF(weights); i++) {
        if (at < weights[i].weight)
            return weights[i].kind;
        at -= weights[i].weight;
    }
    UNREACHABLE("at is below the sum");
}

static enum op_manner draw_manner(struct rng *rng)
{
    uint32_t at = rng_below(rng, 100);
    return at < 10 ? MANNER_AGAIN : at < 22 ? MANNER_AT_ONCE : MANNER_ONCE;
}

/* false: this kind has nothing in its payload that could be another. */
static bool tell_otherwise(struct operation *op)
{
    switch (op->kind) {
    case OP_CREATE:
        op->variant++;
        return true;
    case OP_RELEASE:
    case OP_CHANGE:
        op->quantity++;
        return true;
    case OP_ISSUE:
    case OP_ISSUE_MANY:
        op->user = (op->user + 1) % CHAOS_USERS;
        return true;
    case OP_RESERVE:
    case OP_REDEEM:
        op->amount++;
        return true;
    case OP_GIVE_BACK:
    case OP_RESTORE:
        op->order++;
        return true;
    default:
        return false;
    }
}

void planner_init(struct planner *planner, uint64_t seed, uint32_t client)
{
    *planner = (struct planner){.seed = seed, .client = client, .rng = rng_of(seed, DRAW_CLIENT, client)};
}

static struct operation draw_op(struct planner *planner)
{
    struct rng *rng = &planner->rng;
    uint32_t newest = planner->number / OPS_PER_CAMPAIGN;
    uint32_t open = newest + 1 < CAMPAIGNS_OPEN ? newest + 1 : CAMPAIGNS_OPEN;
    bool founding = planner->number % OPS_PER_CAMPAIGN == 0;
    return (struct operation){
        .kind = founding ? OP_CREATE : draw_kind(rng),
        .manner = draw_manner(rng),
        .client = planner->client,
        .number = planner->number,
        .key = planner->number,
        .campaign = founding ? newest : newest - rng_below(rng, open),
        .variant = rng_below(rng, 3),
        .user = rng_below(rng, CHAOS_USERS),
        .users = 1 + rng_below(rng, CHAOS_MANY_MAX),
        .quantity = rng_between(rng, 1, 25),
        .slot = rng_below(rng, CHAOS_SLOTS),
        .holder = rng_percent(rng, 90),
        .same_order = rng_percent(rng, 65),
        .offers = rng_percent(rng, 30),
        .order = rng_below(rng, CHAOS_ORDERS),
        .amount = rng_between(rng, 0, 20000),
        .ttl_s = rng_between(rng, 1, 4),
        .dry_run = rng_percent(rng, 30),
        .by_issuer = rng_percent(rng, 25),
        .patience = rng_below(rng, 6),
        .pause_ms = rng_below(rng, 9),
    };
}

struct operation planner_next(struct planner *planner)
{
    struct operation op = draw_op(planner), other = planner->last;
    op.dry_run = op.dry_run && op.kind == OP_VOID;
    other.number = op.number;
    other.manner = MANNER_ONCE;
    bool otherwise = rng_percent(&planner->rng, 8) && op.number > 0 && other.key == op.number - 1;
    if (otherwise && tell_otherwise(&other))
        op = other;
    planner->last = op;
    planner->number++;
    return op;
}

/* --- Writing --- */

static void put_discount(struct buf *out, const struct campaign_created *is)
{
    json_open(out, "discount", '{');
    json_put_string(out, "type", is->discount_type == 0 ? SPAN("percent") : SPAN("fixed"));
    if (is->discount_type == 0)
        json_put_hundredths(out, "percent", 100 * is->discount_value + is->discount_hundredths);
    else
        json_put_int(out, "amount", is->discount_value);
    if (is->discount_max)
        json_put_int(out, "max_amount", is->discount_max);
    json_close(out, '}');
}

static void put_utc_offset(struct buf *out, const struct campaign_created *is)
{
    char text[7];
    if (!is->utc_offset_code)
        return;
    utc_offset_write(is->utc_offset_code, text);
    json_put_string(out, "utc_offset", span_of(text));
}

static void put_lists(struct buf *out, const struct campaign_created *is)
{
    json_open(out, "tags", '[');
    for (size_t i = 0; i < is->tags.count; i++)
        json_put_string(out, NULL, is->tags.items[i]);
    json_close(out, ']');
    json_open(out, "release_plan", '[');
    for (size_t i = 0; i < is->release_plan.count; i++) {
        json_open(out, NULL, '{');
        json_put_time(out, "at", is->release_plan.items[i].at_us);
        json_put_int(out, "quantity", is->release_plan.items[i].quantity);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_definition(struct buf *out, const struct operation *op, const struct op_context *context)
{
    struct definition_room room;
    struct campaign_created is =
        op_definition(context->seed, op->campaign, op->variant, context->base_us, &room);
    struct buf id;
    buf_init(&id, CAMPAIGN_ID_MAX);
    campaign_name_write(&id, op->campaign);
    json_put_string(out, "id", buf_span(&id));
    buf_deinit(&id);
    json_put_string(out, "name", is.name);
    put_discount(out, &is);
    json_put_string(out, "currency", is.currency);
    json_put_int(out, "min_order_amount", is.min_order_amount);
    json_put_int(out, "quantity", is.quantity);
    json_put_int(out, "released", is.released);
    json_put_int(out, "per_user_limit", is.per_user_limit);
    json_put_time(out, "starts_at", is.starts_at_us);
    json_put_time(out, "ends_at", is.ends_at_us);
    if (is.coupon_valid_days)
        json_put_int(out, "coupon_valid_days", is.coupon_valid_days);
    put_utc_offset(out, &is);
    json_put_time(out, "coupon_expires_at", is.coupon_expires_at_us);
    if (is.code_prefix.len)
        json_put_string(out, "code_prefix", is.code_prefix);
    put_lists(out, &is);
}

static void put_user(struct buf *out, const char *key, uint32_t user)
{
    struct buf name;
    buf_init(&name, USER_ID_MAX);
    user_number_write(&name, user);
    json_put_string(out, key, buf_span(&name));
    buf_deinit(&name);
}

static void put_order(struct buf *out, uint32_t order)
{
    struct buf name;
    buf_init(&name, ORDER_ID_MAX);
    order_name_write(&name, order);
    json_put_string(out, "order_id", buf_span(&name));
    buf_deinit(&name);
}

static void put_use(struct buf *out, const struct operation *op)
{
    put_user(out, "user_id", op->user);
    put_order(out, op->order);
    json_put_int(out, "order_amount", op->amount);
    if (op->kind == OP_RESERVE)
        json_put_int(out, "ttl_seconds", op->ttl_s);
}

static void put_users(struct buf *out, const struct operation *op)
{
    json_open(out, "user_ids", '[');
    for (uint32_t i = 0; i < op->users; i++)
        put_user(out, NULL, (op->user + i) % CHAOS_USERS);
    json_close(out, ']');
}

/* What was made by then: the campaigns of the last seconds are left to live. */
static void put_void(struct buf *out, const struct operation *op, const struct op_context *context)
{
    int64_t before_us = context->base_us + (int64_t)op->campaign * US_PER_S;
    json_put_string(out, "created_by", SPAN("admin"));
    json_put_time(out, "created_before", before_us);
    json_put_bool(out, "dry_run", op->dry_run);
}

static void put_setting(struct buf *out, const struct operation *op)
{
    struct buf value;
    int64_t number;
    buf_init(&value, 64);
    op_setting_value_write(&value, op);
    if (parse_i64(buf_span(&value), 0, INT64_MAX, &number))
        json_put_int(out, "value", number);
    else
        json_put_string(out, "value", buf_span(&value));
    buf_deinit(&value);
}

static void put_change(struct buf *out, const struct operation *op)
{
    json_put_int(out, "quantity", op_change_quantity(op));
    if (op_change_limit(op))
        json_put_int(out, "per_user_limit", op_change_limit(op));
    json_put_string(out, "reason", SPAN("chaos"));
}

static void put_body(struct buf *out, const struct operation *op, const struct op_context *context)
{
    json_open(out, NULL, '{');
    if (op->kind == OP_CREATE)
        put_definition(out, op, context);
    else if (op->kind == OP_RELEASE)
        json_put_int(out, "quantity", op->quantity);
    else if (op->kind == OP_VOID)
        put_void(out, op, context);
    else if (op->kind == OP_ISSUE)
        put_user(out, "user_id", op->user);
    else if (op->kind == OP_ISSUE_MANY)
        put_users(out, op);
    else if (op->kind == OP_RESERVE || op->kind == OP_REDEEM)
        put_use(out, op);
    else if (op->kind == OP_GIVE_BACK || op->kind == OP_RESTORE)
        put_order(out, op->order);
    else if (op->kind == OP_REVOKE)
        json_put_string(out, "reason", SPAN("chaos"));
    else if (op->kind == OP_SET)
        put_setting(out, op);
    else if (op->kind == OP_CHANGE)
        put_change(out, op);
    json_close(out, '}');
}

static void put_path(struct buf *out, const struct operation *op)
{
    static const char *const actions[OP_KIND_COUNT] = {
        [OP_PAUSE] = "/pause",     [OP_RESUME] = "/resume", [OP_CLOSE] = "/close",
        [OP_RELEASE] = "/release", [OP_DELETE] = "",        [OP_ISSUE] = "/coupons",
        [OP_RESERVE] = "/reserve", [OP_REDEEM] = "/redeem", [OP_GIVE_BACK] = "/release",
        [OP_RESTORE] = "/restore", [OP_REVOKE] = "/revoke", [OP_ISSUE_MANY] = "/coupons/batch",
        [OP_CHANGE] = "",
    };
    if (op->kind == OP_CREATE) {
        buf_append_text(out, "/v1/campaigns");
    } else if (op->kind == OP_VOID) {
        buf_append_text(out, "/v1/campaigns/void");
    } else if (op->kind == OP_SUSPEND || op->kind == OP_READMIT) {
        buf_append_text(out, "/v1/issuers/");
        buf_append_text(out, issuer_name(op_issuer_concerned(op)));
        buf_append_text(out, op->kind == OP_SUSPEND ? "/suspend" : "/resume");
    } else if (op->kind == OP_SET) {
        buf_append_text(out, "/v1/settings/");
        buf_append_span(out, op_setting_name(op));
    } else {
        buf_append_text(out, op_kind_has_coupon(op->kind) ? "/v1/coupons/" : "/v1/campaigns/");
        if (op_kind_has_coupon(op->kind))
            coupon_id_write(out, op->coupon);
        else
            campaign_name_write(out, op->campaign);
        buf_append_text(out, actions[op->kind]);
    }
}

static const char *token_of(const struct operation *op, const struct op_context *context)
{
    enum issuer issuer = op_issuer(op);
    return issuer == ISSUER_ISSUE    ? context->issue_token
           : issuer == ISSUER_REDEEM ? context->redeem_token
                                     : context->admin_token;
}

void op_write(const struct operation *op, uint32_t attempt, const struct op_context *context,
              const struct target *target, struct buf *out)
{
    struct buf path, body, key;
    buf_init(&path, 256), buf_init(&body, 8192), buf_init(&key, 64);
    put_path(&path, op);
    put_body(&body, op, context);
    buf_printf(&key, "chaos-%u-%u", op->client, op->key);
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n",
               op->kind == OP_DELETE   ? "DELETE"
               : op->kind == OP_SET    ? "PUT"
               : op->kind == OP_CHANGE ? "PATCH"
                                       : "POST",
               path.data, target->authority);
    buf_printf(out, "Authorization: Bearer %s\r\n", token_of(op, context));
    put_trace(out, op, attempt);
    if (op_kind_keyed(op->kind))
        buf_printf(out, "Idempotency-Key: %s\r\n", key.data);
    if (op->kind != OP_DELETE)
        buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    buf_append_text(out, "\r\n");
    if (op->kind != OP_DELETE)
        buf_append_span(out, buf_span(&body));
    CHECK(!path.overflow && !body.overflow && !key.overflow && !out->overflow);
    buf_deinit(&path), buf_deinit(&body), buf_deinit(&key);
}
