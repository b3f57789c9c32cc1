/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing asks, and writing them as requests. */
#include "tests/chaos/ask.h"

#include "bench/storm/history.h"
#include "common/base/clock.h"
#include "common/json.h"

enum { ASKS_PER_CAMPAIGN = 25, CAMPAIGNS_OPEN = 4, TRACE_MARK = 0x43484153 };
enum draw_purpose { DRAW_CLIENT = 1, DRAW_DEFINITION = 2 };

static const struct user_names user_names = {"chaos-user-"};

static const struct {
    const char *text;
    bool coupon, keyed;
} kinds[] = {
#define KIND_ROW(name, text, coupon, keyed) [ASK_##name] = {text, coupon, keyed},
    ASK_KINDS(KIND_ROW)
#undef KIND_ROW
};

const char *ask_kind_name(enum ask_kind kind)
{
    return kinds[kind].text;
}

bool ask_kind_has_coupon(enum ask_kind kind)
{
    return kinds[kind].coupon;
}

bool ask_kind_keyed(enum ask_kind kind)
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
    user_name_write(&user_names, user, out);
}

bool user_number_parse(struct span id, uint32_t *ret)
{
    return user_name_parse(&user_names, id, ret) && *ret < CHAOS_USERS;
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
static void put_trace(struct buf *out, const struct ask *ask, uint32_t attempt)
{
    uint32_t ids[] = {TRACE_MARK, ask->client, ask->number, attempt, TRACE_MARK, TRACE_MARK};
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

enum issuer ask_issuer(const struct ask *ask)
{
    if (ask->by_issuer && (ask->kind == ASK_ISSUE || ask->kind == ASK_ISSUE_MANY))
        return ISSUER_ISSUE;
    if (ask->by_issuer && (ask->kind == ASK_RESERVE || ask->kind == ASK_REDEEM))
        return ISSUER_REDEEM;
    return ISSUER_NONE;
}

enum issuer ask_issuer_concerned(const struct ask *ask)
{
    return ask->user % 2 ? ISSUER_ISSUE : ISSUER_REDEEM;
}

struct span ask_setting_name(const struct ask *ask)
{
    return ask->user % 2 ? SPAN("profile") : SPAN("fresh_ms");
}

void ask_setting_value_write(struct buf *out, const struct ask *ask)
{
    if (ask->user % 2)
        buf_append_text(out, "normal");
    else
        buf_append_i64(out, 1000 + ask->quantity);
}

/* --- Definitions --- */

static void draw_discount(struct draw *draw, struct campaign_created *ret)
{
    ret->discount_type = draw_percent(draw, 60) ? 0 : 1;
    ret->discount_value = ret->discount_type == 0 ? draw_between(draw, 1, 100) : draw_between(draw, 1, 9000);
    if (ret->discount_type == 0 && draw_percent(draw, 50))
        ret->discount_max = draw_between(draw, 1, 4000);
    if (draw_percent(draw, 40))
        ret->min_order_amount = draw_between(draw, 1, 8000);
}

/* About a campaign a second is made in a run that nothing holds up. */
static void draw_times(struct draw *draw, int64_t base_us, uint32_t campaign, struct campaign_created *ret)
{
    int64_t about_us = base_us + (int64_t)campaign * US_PER_S;
    if (draw_percent(draw, 15))
        ret->starts_at_us = about_us + draw_between(draw, 0, 4 * US_PER_S);
    if (draw_percent(draw, 20))
        ret->ends_at_us = about_us + draw_between(draw, 5 * US_PER_S, 20 * US_PER_S);
    if (draw_percent(draw, 30))
        ret->coupon_expires_at_us = about_us + draw_between(draw, 5 * US_PER_S, 15 * US_PER_S);
    else if (draw_percent(draw, 40))
        ret->coupon_valid_days = draw_between(draw, 1, 400);
}

static void draw_stock(struct draw *draw, int64_t base_us, uint32_t campaign, struct definition_room *room,
                       struct campaign_created *ret)
{
    int64_t at_us = base_us + (int64_t)campaign * US_PER_S, planned = 0;
    size_t tranches = draw_percent(draw, 25) ? 1 + draw_below(draw, COUNT_OF(room->plan)) : 0;
    ret->quantity = draw_between(draw, 15, 160);
    for (size_t i = 0; i < tranches; i++) {
        at_us += draw_between(draw, 200 * US_PER_MS, 4 * US_PER_S);
        room->plan[i] = (struct release){at_us, draw_between(draw, 1, ret->quantity / 5)};
        planned += room->plan[i].quantity;
    }
    ret->release_plan = (struct release_list){room->plan, tranches};
    ret->released =
        draw_percent(draw, 50) ? ret->quantity - planned : draw_between(draw, 0, ret->quantity - planned);
    ret->per_user_limit = draw_between(draw, 1, 3);
}

struct campaign_created ask_definition(uint64_t seed, uint32_t campaign, uint32_t variant, int64_t base_us,
                                       struct definition_room *room)
{
    struct draw draw = draw_of(seed, DRAW_DEFINITION, (uint64_t)campaign << 32 | variant);
    struct campaign_created definition = {.currency = SPAN("KRW")};
    int len = snprintf(room->name, sizeof room->name, "Chaos %u, as %u", campaign, variant);
    definition.name = (struct span){room->name, (size_t)len};
    draw_discount(&draw, &definition);
    draw_times(&draw, base_us, campaign, &definition);
    draw_stock(&draw, base_us, campaign, room, &definition);
    room->tags[0] = SPAN("chaos");
    room->tags[1] = SPAN("odd");
    definition.tags = (struct text_list){room->tags, 1 + campaign % 2};
    if (draw_percent(&draw, 30))
        definition.code_prefix = SPAN("CHAOS");
    return definition;
}

/* --- Drawing --- */

/* Of a thousand. */
static const struct {
    enum ask_kind kind;
    uint32_t weight;
} weights[] = {
    {ASK_CREATE, 6},   {ASK_PAUSE, 12},     {ASK_RESUME, 28},  {ASK_CLOSE, 3},       {ASK_RELEASE, 45},
    {ASK_DELETE, 10},  {ASK_VOID, 3},       {ASK_ISSUE, 440},  {ASK_ISSUE_MANY, 30}, {ASK_RESERVE, 120},
    {ASK_REDEEM, 130}, {ASK_GIVE_BACK, 60}, {ASK_RESTORE, 60}, {ASK_REVOKE, 30},     {ASK_SUSPEND, 2},
    {ASK_READMIT, 5},  {ASK_SET, 3},
};

static enum ask_kind draw_kind(struct draw *draw)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(weights); i++)
        sum += weights[i].weight;
    uint32_t at = draw_below(draw, sum);
    for (size_t i = 0; i < COUNT_OF(weights); i++) {
        if (at < weights[i].weight)
            return weights[i].kind;
        at -= weights[i].weight;
    }
    UNREACHABLE("at is below the sum");
}

static enum ask_manner draw_manner(struct draw *draw)
{
    uint32_t at = draw_below(draw, 100);
    return at < 10 ? MANNER_AGAIN : at < 22 ? MANNER_AT_ONCE : MANNER_ONCE;
}

/* false: this kind has nothing in its payload that could be another. */
static bool tell_otherwise(struct ask *ask)
{
    switch (ask->kind) {
    case ASK_CREATE:
        ask->variant++;
        return true;
    case ASK_RELEASE:
        ask->quantity++;
        return true;
    case ASK_ISSUE:
    case ASK_ISSUE_MANY:
        ask->user = (ask->user + 1) % CHAOS_USERS;
        return true;
    case ASK_RESERVE:
    case ASK_REDEEM:
        ask->amount++;
        return true;
    case ASK_GIVE_BACK:
    case ASK_RESTORE:
        ask->order++;
        return true;
    default:
        return false;
    }
}

void planner_init(struct planner *planner, uint64_t seed, uint32_t client)
{
    *planner = (struct planner){.seed = seed, .client = client, .draw = draw_of(seed, DRAW_CLIENT, client)};
}

static struct ask draw_ask(struct planner *planner)
{
    struct draw *draw = &planner->draw;
    uint32_t newest = planner->number / ASKS_PER_CAMPAIGN;
    uint32_t open = newest + 1 < CAMPAIGNS_OPEN ? newest + 1 : CAMPAIGNS_OPEN;
    bool founding = planner->number % ASKS_PER_CAMPAIGN == 0;
    return (struct ask){
        .kind = founding ? ASK_CREATE : draw_kind(draw),
        .manner = draw_manner(draw),
        .client = planner->client,
        .number = planner->number,
        .key = planner->number,
        .campaign = founding ? newest : newest - draw_below(draw, open),
        .variant = draw_below(draw, 3),
        .user = draw_below(draw, CHAOS_USERS),
        .users = 1 + draw_below(draw, CHAOS_MANY_MAX),
        .quantity = draw_between(draw, 1, 25),
        .slot = draw_below(draw, CHAOS_SLOTS),
        .holder = draw_percent(draw, 90),
        .same_order = draw_percent(draw, 65),
        .offers = draw_percent(draw, 30),
        .order = draw_below(draw, CHAOS_ORDERS),
        .amount = draw_between(draw, 0, 20000),
        .ttl_s = draw_between(draw, 1, 4),
        .dry_run = draw_percent(draw, 30),
        .by_issuer = draw_percent(draw, 25),
        .patience = draw_below(draw, 6),
        .pause_ms = draw_below(draw, 9),
    };
}

struct ask planner_next(struct planner *planner)
{
    struct ask ask = draw_ask(planner), other = planner->last;
    ask.dry_run = ask.dry_run && ask.kind == ASK_VOID;
    other.number = ask.number;
    other.manner = MANNER_ONCE;
    bool otherwise = draw_percent(&planner->draw, 8) && ask.number > 0 && other.key == ask.number - 1;
    if (otherwise && tell_otherwise(&other))
        ask = other;
    planner->last = ask;
    planner->number++;
    return ask;
}

/* --- Writing --- */

static void put_discount(struct buf *out, const struct campaign_created *is)
{
    json_open(out, "discount", '{');
    json_put_string(out, "type", is->discount_type == 0 ? SPAN("percent") : SPAN("fixed"));
    json_put_int(out, is->discount_type == 0 ? "percent" : "amount", is->discount_value);
    if (is->discount_max)
        json_put_int(out, "max_amount", is->discount_max);
    json_close(out, '}');
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

static void put_definition(struct buf *out, const struct ask *ask, const struct ask_context *context)
{
    struct definition_room room;
    struct campaign_created is =
        ask_definition(context->seed, ask->campaign, ask->variant, context->base_us, &room);
    struct buf id;
    buf_init(&id, CAMPAIGN_ID_MAX);
    campaign_name_write(&id, ask->campaign);
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

static void put_use(struct buf *out, const struct ask *ask)
{
    put_user(out, "user_id", ask->user);
    put_order(out, ask->order);
    json_put_int(out, "order_amount", ask->amount);
    if (ask->kind == ASK_RESERVE)
        json_put_int(out, "ttl_seconds", ask->ttl_s);
}

static void put_users(struct buf *out, const struct ask *ask)
{
    json_open(out, "user_ids", '[');
    for (uint32_t i = 0; i < ask->users; i++)
        put_user(out, NULL, (ask->user + i) % CHAOS_USERS);
    json_close(out, ']');
}

/* What was made by then: the campaigns of the last seconds are left to live. */
static void put_void(struct buf *out, const struct ask *ask, const struct ask_context *context)
{
    int64_t before_us = context->base_us + (int64_t)ask->campaign * US_PER_S;
    json_put_string(out, "created_by", SPAN("admin"));
    json_put_time(out, "created_before", before_us);
    json_put_bool(out, "dry_run", ask->dry_run);
}

static void put_setting(struct buf *out, const struct ask *ask)
{
    struct buf value;
    int64_t number;
    buf_init(&value, 64);
    ask_setting_value_write(&value, ask);
    if (parse_i64(buf_span(&value), 0, INT64_MAX, &number))
        json_put_int(out, "value", number);
    else
        json_put_string(out, "value", buf_span(&value));
    buf_deinit(&value);
}

static void put_body(struct buf *out, const struct ask *ask, const struct ask_context *context)
{
    json_open(out, NULL, '{');
    if (ask->kind == ASK_CREATE)
        put_definition(out, ask, context);
    else if (ask->kind == ASK_RELEASE)
        json_put_int(out, "quantity", ask->quantity);
    else if (ask->kind == ASK_VOID)
        put_void(out, ask, context);
    else if (ask->kind == ASK_ISSUE)
        put_user(out, "user_id", ask->user);
    else if (ask->kind == ASK_ISSUE_MANY)
        put_users(out, ask);
    else if (ask->kind == ASK_RESERVE || ask->kind == ASK_REDEEM)
        put_use(out, ask);
    else if (ask->kind == ASK_GIVE_BACK || ask->kind == ASK_RESTORE)
        put_order(out, ask->order);
    else if (ask->kind == ASK_REVOKE)
        json_put_string(out, "reason", SPAN("chaos"));
    else if (ask->kind == ASK_SET)
        put_setting(out, ask);
    json_close(out, '}');
}

static void put_path(struct buf *out, const struct ask *ask)
{
    static const char *const actions[ASK_KIND_COUNT] = {
        [ASK_PAUSE] = "/pause",     [ASK_RESUME] = "/resume", [ASK_CLOSE] = "/close",
        [ASK_RELEASE] = "/release", [ASK_DELETE] = "",        [ASK_ISSUE] = "/coupons",
        [ASK_RESERVE] = "/reserve", [ASK_REDEEM] = "/redeem", [ASK_GIVE_BACK] = "/release",
        [ASK_RESTORE] = "/restore", [ASK_REVOKE] = "/revoke", [ASK_ISSUE_MANY] = "/coupons/batch",
    };
    if (ask->kind == ASK_CREATE) {
        buf_append_text(out, "/v1/campaigns");
    } else if (ask->kind == ASK_VOID) {
        buf_append_text(out, "/v1/campaigns/void");
    } else if (ask->kind == ASK_SUSPEND || ask->kind == ASK_READMIT) {
        buf_append_text(out, "/v1/issuers/");
        buf_append_text(out, issuer_name(ask_issuer_concerned(ask)));
        buf_append_text(out, ask->kind == ASK_SUSPEND ? "/suspend" : "/resume");
    } else if (ask->kind == ASK_SET) {
        buf_append_text(out, "/v1/settings/");
        buf_append_span(out, ask_setting_name(ask));
    } else {
        buf_append_text(out, ask_kind_has_coupon(ask->kind) ? "/v1/coupons/" : "/v1/campaigns/");
        if (ask_kind_has_coupon(ask->kind))
            coupon_id_write(out, ask->coupon);
        else
            campaign_name_write(out, ask->campaign);
        buf_append_text(out, actions[ask->kind]);
    }
}

static const char *token_of(const struct ask *ask, const struct ask_context *context)
{
    enum issuer issuer = ask_issuer(ask);
    return issuer == ISSUER_ISSUE    ? context->issue_token
           : issuer == ISSUER_REDEEM ? context->redeem_token
                                     : context->admin_token;
}

void ask_write(const struct ask *ask, uint32_t attempt, const struct ask_context *context,
               const struct target *target, struct buf *out)
{
    struct buf path, body, key;
    buf_init(&path, 256), buf_init(&body, 8192), buf_init(&key, 64);
    put_path(&path, ask);
    put_body(&body, ask, context);
    buf_printf(&key, "chaos-%u-%u", ask->client, ask->key);
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n",
               ask->kind == ASK_DELETE ? "DELETE"
               : ask->kind == ASK_SET  ? "PUT"
                                       : "POST",
               path.data, target->authority);
    buf_printf(out, "Authorization: Bearer %s\r\n", token_of(ask, context));
    put_trace(out, ask, attempt);
    if (ask_kind_keyed(ask->kind))
        buf_printf(out, "Idempotency-Key: %s\r\n", key.data);
    if (ask->kind != ASK_DELETE)
        buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    buf_append_text(out, "\r\n");
    if (ask->kind != ASK_DELETE)
        buf_append_span(out, buf_span(&body));
    CHECK(!path.overflow && !body.overflow && !key.overflow && !out->overflow);
    buf_deinit(&path), buf_deinit(&body), buf_deinit(&key);
}
