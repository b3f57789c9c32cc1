/* SPDX-License-Identifier: Apache-2.0 */
/* Events to mutations. */
#include "readmodel/projection.h"

#include "common/base/clock.h"
#include "events/coupon.h"

enum { NOT_SET = -1 };

/* When a count changed for the first time in a grain, and by how much the batch had changed it before. */
struct mark_change {
    struct mark_change *next;
    int64_t at_us, before;
};

struct counted_change {
    int64_t change, reached_at_us; /* reached 0: nothing was counted */
    struct mark_change *marks, *marks_last;
};

/* What a batch does to one campaign: the last value of each field wins, counts add up. */
struct campaign_change {
    struct campaign_change *next;
    struct span id;
    const struct event *created; /* NULL: it existed before this batch */
    int64_t position, released, reserved, issued, plan, halted, state;
    struct counted_change counted[COUNTED_COUNT];
    uint16_t tag;
};

void projection_init(struct projection *projection)
{
    *projection = (struct projection){0};
    arena_init(&projection->arena, PROJECTION_BYTES_MAX);
    buf_init(&projection->scratch, EVENT_DATA_MAX);
    map_init(&projection->by_campaign);
    map_init(&projection->by_key);
}

void projection_deinit(struct projection *projection)
{
    arena_deinit(&projection->arena);
    buf_deinit(&projection->scratch);
    map_deinit(&projection->by_campaign);
    map_deinit(&projection->by_key);
}

void projection_begin(struct projection *projection, struct model model)
{
    map_clear(&projection->by_campaign);
    map_clear(&projection->by_key);
    arena_reset(&projection->arena);
    projection->model = model;
    projection->campaigns = NULL;
    projection->campaigns_end = &projection->campaigns;
    projection->rows = projection->states = (struct mutation_list){0};
    projection->holdings = projection->mutations = (struct mutation_list){0};
    projection->events = projection->bytes = 0;
    projection->first = projection->last = 0;
    projection->first_at_us = projection->last_at_us = 0;
}

/* The batch is bounded, so the arena's limit is only there to catch a mistake in that. */
static void *allocate(struct projection *projection, size_t size)
{
    void *ptr = arena_alloc(&projection->arena, size);
    CHECK(ptr != NULL);
    return ptr;
}

/* Keeps what was built in the scratch buffer, which is then free again. */
static struct span keep(struct projection *projection)
{
    struct buf *scratch = &projection->scratch;
    CHECK(!scratch->overflow && scratch->len > 0);
    struct span kept = {memcpy(allocate(projection, scratch->len), scratch->data, scratch->len),
                        scratch->len};
    buf_clear(scratch);
    return kept;
}

/* --- lists --- */

static void append(struct mutation_list *list, struct mutation *mutation)
{
    if (list->last)
        list->last->next = mutation;
    else
        list->first = mutation;
    list->last = mutation;
    list->count++;
}

static void append_list(struct mutation_list *list, const struct mutation_list *more)
{
    if (!more->first)
        return;
    if (list->last)
        list->last->next = more->first;
    else
        list->first = more->first;
    list->last = more->last;
    list->count += more->count;
}

static struct mutation *make(struct projection *projection, enum mutation_kind kind, struct span key)
{
    struct mutation *mutation = allocate(projection, sizeof *mutation);
    mutation->kind = kind;
    mutation->key = key;
    return mutation;
}

static void add_arg(struct projection *projection, struct mutation *mutation, struct span arg)
{
    if (mutation->args_count == mutation->args_capacity) {
        size_t capacity = mutation->args_capacity ? 2 * mutation->args_capacity : 4;
        struct span *grown = allocate(projection, capacity * sizeof *grown);
        if (mutation->args_count)
            memcpy(grown, mutation->args, mutation->args_count * sizeof *grown);
        mutation->args = grown;
        mutation->args_capacity = capacity;
    }
    mutation->args[mutation->args_count++] = arg;
}

static void add_number(struct projection *projection, struct mutation *mutation, int64_t value)
{
    buf_append_i64(&projection->scratch, value);
    add_arg(projection, mutation, keep(projection));
}

static void add_field(struct projection *projection, struct mutation *mutation, const char *name,
                      int64_t value)
{
    add_arg(projection, mutation, span_of(name));
    add_number(projection, mutation, value);
}

/* --- adding events --- */

static struct campaign_change *change_of(struct projection *projection, struct span id)
{
    struct campaign_change *change = map_get(&projection->by_campaign, id);
    if (change)
        return change;
    change = allocate(projection, sizeof *change);
    *change = (struct campaign_change){
        .id = id, .plan = NOT_SET, .halted = NOT_SET, .state = NOT_SET, .tag = campaign_tag(id)};
    map_put(&projection->by_campaign, id, change);
    *projection->campaigns_end = change;
    projection->campaigns_end = &change->next;
    return change;
}

/* The chunk whose key is in the scratch buffer: the one this batch writes to already, or a new one. What is
 * issued last decides how long it is kept; what happens to a coupon later does not, so that a rebuild, which
 * may come to that later than the chunk's end, keeps the same. */
static struct mutation *row_of(struct projection *projection, const struct event *issued)
{
    struct mutation *row = map_get(&projection->by_key, buf_span(&projection->scratch));
    if (row) {
        buf_clear(&projection->scratch);
    } else {
        row = make(projection, MUTATION_ROW, keep(projection));
        map_put(&projection->by_key, row->key, row);
        append(&projection->rows, row);
    }
    row->expires_at_s = issued->recorded_at_us / US_PER_S + KEY_KEPT_S;
    return row;
}

/* One mutation each, not one per bucket: two coupons of a batch hardly ever meet in one. */
static void add_holding(struct projection *projection, const struct campaign_change *change,
                        const struct event *event)
{
    struct user_place place = user_place(event->user_id);
    struct holding holding = {event->position, event->recorded_at_us, place.tag, change->tag};
    key_users(&projection->scratch, projection->model, place.bucket);
    struct mutation *hold = make(projection, MUTATION_HOLD, keep(projection));
    add_number(projection, hold, place.bucket);
    holding_write(&projection->scratch, &holding);
    add_arg(projection, hold, keep(projection));
    append(&projection->holdings, hold);
}

static void add_coupon(struct projection *projection, const struct event *event)
{
    struct buf *scratch = &projection->scratch;
    key_coupons(scratch, projection->model, event->position);
    struct mutation *coupons = row_of(projection, event);
    add_number(projection, coupons, key_coupon_field(event->position, COUPON_FIELD_USER));
    add_arg(projection, coupons, event->user_id);
    add_number(projection, coupons, key_coupon_field(event->position, COUPON_FIELD_ISSUE));
    coupon_issue_encode(event, scratch);
    add_arg(projection, coupons, keep(projection));

    key_holders(scratch, projection->model, event->campaign_id, event->coupon_issued.sequence);
    struct mutation *holders = row_of(projection, event);
    add_number(projection, holders, event->coupon_issued.sequence);
    add_number(projection, holders, event->position);
}

/* The last event of a coupon says all of its state, so nothing of the coupon need be known here. */
static void add_state(struct projection *projection, const struct event *event)
{
    struct coupon coupon = {0};
    CHECK(coupon_id_parse(event->coupon_id, &coupon.at)); /* plausible() */
    coupon_apply(&coupon, event);
    struct span note = coupon_note(&coupon);
    key_coupons(&projection->scratch, projection->model, coupon.at.position);
    struct mutation *state = make(projection, MUTATION_STATE, keep(projection));
    add_number(projection, state, key_coupon_field(coupon.at.position, COUPON_FIELD_USER));
    add_number(projection, state, key_coupon_field(coupon.at.position, COUPON_FIELD_STATE));
    coupon_state_encode(&coupon, &projection->scratch);
    add_arg(projection, state, keep(projection));
    add_number(projection, state, key_coupon_field(coupon.at.position, COUPON_FIELD_NOTE));
    add_arg(projection, state, note.ptr ? note : SPAN(""));
    append(&projection->states, state);
}

static void add_counted(struct projection *projection, struct counted_change *counted, int64_t by,
                        int64_t at_us)
{
    int64_t grain_us = window_grain_s(WINDOW_HOUR) * US_PER_S;
    if (!counted->marks || counted->marks_last->at_us / grain_us < at_us / grain_us) {
        struct mark_change *mark = allocate(projection, sizeof *mark);
        *mark = (struct mark_change){NULL, at_us, counted->change};
        if (counted->marks)
            counted->marks_last->next = mark;
        else
            counted->marks = mark;
        counted->marks_last = mark;
    }
    counted->change += by;
    counted->reached_at_us = at_us;
}

static void add_created(struct projection *projection, struct campaign_change *change,
                        const struct event *event)
{
    struct event *copy = allocate(projection, sizeof *copy); /* the caller's struct is his to reuse */
    *copy = *event;
    change->created = copy;
    change->released = event->campaign_created.released;
    change->plan = change->halted = 0;
    change->state = CAMPAIGN_ACTIVE;
}

static void add_issued(struct projection *projection, struct campaign_change *change,
                       const struct event *event)
{
    change->issued = event->coupon_issued.sequence;
    add_counted(projection, &change->counted[COUNTED_ISSUED], 1, event->recorded_at_us);
    add_coupon(projection, event);
    add_holding(projection, change, event);
}

/* What campaign_apply() counts of an event of one of the campaign's coupons. */
static void add_coupon_change(struct projection *projection, struct campaign_change *change,
                              const struct event *event)
{
    struct counted_change *redeemed = &change->counted[COUNTED_REDEEMED];
    switch (event->type) {
    case EVENT_CouponReserved:
        change->reserved += event->coupon_reserved.renewed == 0;
        break;
    case EVENT_CouponRedeemed:
        change->reserved -= event->coupon_redeemed.was_reserved;
        add_counted(projection, redeemed, 1, event->recorded_at_us);
        break;
    case EVENT_ReservationReleased:
    case EVENT_ReservationExpired:
        change->reserved--;
        break;
    case EVENT_CouponRestored:
        add_counted(projection, redeemed, -1, event->recorded_at_us);
        break;
    case EVENT_CouponRevoked:
        change->reserved -= event->coupon_revoked.was_reserved;
        break;
    default:
        UNREACHABLE("coupon_concerned() says which there are");
    }
    add_state(projection, event);
}

/* The same fold as campaign_apply(), on changes instead of values. */
static void add_change(struct projection *projection, const struct event *event)
{
    struct campaign_change *change = change_of(projection, event->campaign_id);
    switch (event->type) {
    case EVENT_CampaignCreated:
        add_created(projection, change, event);
        break;
    case EVENT_StockReleased:
        change->released += event->stock_released.quantity;
        if (event->stock_released.plan_step)
            change->plan = event->stock_released.plan_step;
        break;
    case EVENT_CampaignPaused:
        change->state = CAMPAIGN_PAUSED;
        break;
    case EVENT_CampaignResumed:
        change->state = CAMPAIGN_ACTIVE;
        change->halted = 0;
        break;
    case EVENT_CampaignClosed:
        change->state = CAMPAIGN_CLOSED;
        break;
    case EVENT_CampaignDeleted:
        change->state = CAMPAIGN_DELETED;
        break;
    case EVENT_CampaignEnded:
        change->state = CAMPAIGN_ENDED;
        break;
    case EVENT_ReleasePlanHalted:
        change->halted = 1;
        break;
    case EVENT_CouponIssued:
        add_issued(projection, change, event);
        break;
    default:
        add_coupon_change(projection, change, event);
    }
    change->position = event->position;
}

static bool plausible(const struct event *event)
{
    struct position coupon;
    bool campaign = event->campaign_id.len >= 1 && event->campaign_id.len <= CAMPAIGN_ID_MAX;
    if (!campaign || event->recorded_at_us < 0)
        return false;
    if (coupon_concerned(event))
        return coupon_id_parse(event->coupon_id, &coupon) && coupon.slice == event->slice &&
               coupon.position < event->position;
    if (event->type != EVENT_CouponIssued)
        return true;
    return event->user_id.len >= 1 && event->user_id.len <= USER_ID_MAX &&
           event->coupon_issued.sequence >= 1 && event->coupon_issued.nth >= 1;
}

bool projection_add(struct projection *projection, const struct event *event)
{
    CHECK(event->slice == projection->model.slice && projection->events < PROJECTION_EVENTS_MAX);
    CHECK(projection->events == 0 || event->position == projection->last + 1); /* I5 */
    if (!plausible(event))
        return false;
    if (campaign_concerned(event))
        add_change(projection, event);
    if (projection->events++ == 0) {
        projection->first = event->position;
        projection->first_at_us = event->recorded_at_us;
    }
    projection->bytes += event->data.len + event->campaign_id.len + event->user_id.len;
    projection->last = event->position;
    projection->last_at_us = event->recorded_at_us;
    return true;
}

/* --- completing the batch --- */

static struct span campaign_key(struct projection *projection, struct span id)
{
    key_campaign(&projection->scratch, projection->model, id);
    return keep(projection);
}

static bool is_deleted(const struct campaign_change *change)
{
    return change->state == CAMPAIGN_DELETED;
}

static void add_states(struct projection *projection, struct mutation *to,
                       const struct campaign_change *change)
{
    if (change->plan != NOT_SET)
        add_field(projection, to, "plan", change->plan);
    if (change->halted != NOT_SET)
        add_field(projection, to, "halted", change->halted);
    if (change->state != NOT_SET)
        add_field(projection, to, "state", change->state);
}

static void end_existing(struct projection *projection, const struct campaign_change *change)
{
    struct mutation *to = make(projection, MUTATION_CAMPAIGN, campaign_key(projection, change->id));
    add_number(projection, to, change->position);
    add_number(projection, to, change->released);
    add_number(projection, to, change->counted[COUNTED_REDEEMED].change);
    add_number(projection, to, change->reserved);
    if (change->issued)
        add_field(projection, to, "issued", change->issued);
    add_states(projection, to, change);
    append(&projection->mutations, to);
}

static void end_created(struct projection *projection, const struct campaign_change *change)
{
    const struct event *created = change->created;
    struct mutation *to = make(projection, MUTATION_HSET, campaign_key(projection, change->id));
    add_arg(projection, to, SPAN("d"));
    add_arg(projection, to, created->data);
    add_field(projection, to, "t", created->recorded_at_us);
    add_field(projection, to, "first", created->position);
    add_field(projection, to, "pos", change->position);
    add_field(projection, to, "released", change->released);
    add_field(projection, to, "issued", change->issued);
    add_field(projection, to, "redeemed", change->counted[COUNTED_REDEEMED].change);
    add_field(projection, to, "reserved", change->reserved);
    add_states(projection, to, change);
    append(&projection->mutations, to);
}

/* A campaign that comes takes the place of what a former replay left; one that goes leaves nothing. */
static void end_unlinked(struct projection *projection, const struct campaign_change *change)
{
    append(&projection->mutations, make(projection, MUTATION_UNLINK, campaign_key(projection, change->id)));
}

static struct span index_key(struct projection *projection, enum model_index index)
{
    key_index(&projection->scratch, projection->model, index);
    return keep(projection);
}

/* Campaigns that come and go enter and leave the list, all with one command each. */
static void end_index(struct projection *projection)
{
    struct span key = index_key(projection, INDEX_CAMPAIGNS);
    struct mutation *enter = make(projection, MUTATION_ZADD, key);
    struct mutation *leave = make(projection, MUTATION_ZREM, key);
    for (const struct campaign_change *change = projection->campaigns; change; change = change->next) {
        if (is_deleted(change)) {
            add_arg(projection, leave, change->id);
        } else if (change->created) {
            add_number(projection, enter, change->created->recorded_at_us);
            add_arg(projection, enter, change->id);
        }
    }
    if (enter->args_count)
        append(&projection->mutations, enter);
    if (leave->args_count)
        append(&projection->mutations, leave);
}

static void end_rank(struct projection *projection, const struct campaign_change *change,
                     enum counted counted)
{
    const struct counted_change *is = &change->counted[counted];
    struct mutation *to = make(projection, MUTATION_RANK, campaign_key(projection, change->id));
    key_ranking(&projection->scratch, projection->model, counted);
    to->more_keys[0] = keep(projection);
    key_active(&projection->scratch, projection->model, counted);
    to->more_keys[1] = keep(projection);
    add_arg(projection, to, span_of(counted_label(counted)));
    add_arg(projection, to, change->id);
    rank_member_write(&projection->scratch, is->reached_at_us, change->id);
    add_arg(projection, to, keep(projection));
    add_number(projection, to, is->reached_at_us);
    add_number(projection, to, is->change);
    CHECK(to->args_count == RANK_MARKS);
    for (const struct mark_change *mark = is->marks; mark; mark = mark->next) {
        add_number(projection, to, mark->at_us / US_PER_S);
        add_number(projection, to, mark->before);
    }
    append(&projection->mutations, to);
}

/* Whoever was last active so long before the last change that no window sees it leaves. Only by the time of
 * what was counted, so that it does not matter how the log was cut into batches. */
static void end_trim(struct projection *projection, enum counted counted, int64_t last_at_us)
{
    int64_t until_us = last_at_us - ACTIVITY_KEPT_S * (int64_t)US_PER_S;
    key_active(&projection->scratch, projection->model, counted);
    struct mutation *trim = make(projection, MUTATION_ZREMRANGEBYSCORE, keep(projection));
    add_arg(projection, trim, SPAN("-inf"));
    buf_printf(&projection->scratch, "(%lld", (long long)until_us);
    add_arg(projection, trim, keep(projection));
    append(&projection->mutations, trim);
}

static void end_ranks(struct projection *projection, enum counted counted)
{
    int64_t last_at_us = 0;
    for (const struct campaign_change *change = projection->campaigns; change; change = change->next) {
        int64_t reached_at_us = change->counted[counted].reached_at_us;
        if (!change->counted[counted].marks)
            continue;
        end_rank(projection, change, counted);
        last_at_us = reached_at_us > last_at_us ? reached_at_us : last_at_us;
    }
    if (last_at_us)
        end_trim(projection, counted, last_at_us);
}

/* A replay from the start may find what is left of an earlier life: members of a sorted set that no event of
 * this log accounts for would stay for ever. */
static void end_restart(struct projection *projection)
{
    for (enum model_index index = 0; index < INDEX_COUNT; index++)
        append(&projection->mutations, make(projection, MUTATION_UNLINK, index_key(projection, index)));
}

void projection_end(struct projection *projection)
{
    const struct campaign_change *change;
    for (change = projection->campaigns; change; change = change->next)
        if (!change->created && !is_deleted(change))
            end_existing(projection, change);
    if (projection->first == 1)
        end_restart(projection);
    for (change = projection->campaigns; change; change = change->next) {
        if (change->created || is_deleted(change))
            end_unlinked(projection, change);
        if (change->created && !is_deleted(change))
            end_created(projection, change);
    }
    end_index(projection);
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++)
        end_ranks(projection, counted);
    append_list(&projection->mutations, &projection->rows);
    append_list(&projection->mutations, &projection->states);
    append_list(&projection->mutations, &projection->holdings);
}
