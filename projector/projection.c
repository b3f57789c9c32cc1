/* SPDX-License-Identifier: Apache-2.0 */
/* Events to mutations. */
#include "projector/projection.h"

#include "events/campaign.h"

enum { NOT_SET = -1 };

/* What a batch does to one campaign: the last value of each field wins, released stock adds up. */
struct campaign_change {
    struct campaign_change *next;
    struct span id;
    const struct event *created; /* NULL: it existed before this batch */
    int64_t position, released, issued, reached_at_us, plan, state;
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
    projection->rows = projection->holdings = projection->mutations = (struct mutation_list){0};
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
    *change = (struct campaign_change){.id = id, .plan = NOT_SET, .state = NOT_SET, .tag = campaign_tag(id)};
    map_put(&projection->by_campaign, id, change);
    *projection->campaigns_end = change;
    projection->campaigns_end = &change->next;
    return change;
}

/* The hash whose key is in the scratch buffer: the one this batch writes to already, or a new one. */
static struct mutation *row_of(struct projection *projection)
{
    struct mutation *row = map_get(&projection->by_key, buf_span(&projection->scratch));
    if (row) {
        buf_clear(&projection->scratch);
        return row;
    }
    row = make(projection, MUTATION_HSET, keep(projection));
    map_put(&projection->by_key, row->key, row);
    append(&projection->rows, row);
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
    buf_append_i64(scratch, event->position);
    struct span position = keep(projection);

    key_coupons(scratch, projection->model, event->position);
    struct mutation *coupons = row_of(projection);
    add_arg(projection, coupons, position);
    coupon_record_encode(event, scratch);
    add_arg(projection, coupons, keep(projection));

    key_holders(scratch, projection->model, event->campaign_id, event->coupon_issued.sequence);
    struct mutation *holders = row_of(projection);
    add_number(projection, holders, event->coupon_issued.sequence);
    add_arg(projection, holders, position);
}

static void add_created(struct projection *projection, struct campaign_change *change,
                        const struct event *event)
{
    struct event *copy = allocate(projection, sizeof *copy); /* the caller's struct is his to reuse */
    *copy = *event;
    change->created = copy;
    change->released = event->campaign_created.released;
    change->plan = 0;
    change->state = CAMPAIGN_ACTIVE;
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
        break;
    case EVENT_CampaignClosed:
        change->state = CAMPAIGN_CLOSED;
        break;
    case EVENT_CouponIssued:
        change->issued = event->coupon_issued.sequence;
        change->reached_at_us = event->recorded_at_us;
        add_coupon(projection, event);
        add_holding(projection, change, event);
        break;
    case EVENT_CampaignDeleted:
        change->state = CAMPAIGN_DELETED;
        break;
    case EVENT_CampaignEnded:
        change->state = CAMPAIGN_ENDED;
        break;
    default: /* nothing in the models tells of these yet */
        break;
    }
    change->position = event->position;
}

static bool plausible(const struct event *event)
{
    bool campaign = event->campaign_id.len >= 1 && event->campaign_id.len <= CAMPAIGN_ID_MAX;
    if (!campaign || event->recorded_at_us < 0)
        return false;
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

static struct span rank_key(struct projection *projection)
{
    key_rank_issued(&projection->scratch, projection->model);
    return keep(projection);
}

static struct span rank_member(struct projection *projection, const struct campaign_change *change)
{
    rank_member_write(&projection->scratch, change->reached_at_us, change->id);
    return keep(projection);
}

static void end_existing(struct projection *projection, const struct campaign_change *change)
{
    struct mutation *to = make(projection, MUTATION_CAMPAIGN, campaign_key(projection, change->id));
    add_number(projection, to, change->position);
    add_number(projection, to, change->released);
    if (change->issued)
        add_field(projection, to, "issued", change->issued);
    if (change->plan != NOT_SET)
        add_field(projection, to, "plan", change->plan);
    if (change->state != NOT_SET)
        add_field(projection, to, "state", change->state);
    append(&projection->mutations, to);
}

static void end_existing_rank(struct projection *projection, const struct campaign_change *change)
{
    struct mutation *to = make(projection, MUTATION_RANK, campaign_key(projection, change->id));
    to->second_key = rank_key(projection);
    add_number(projection, to, change->issued);
    add_arg(projection, to, rank_member(projection, change));
    append(&projection->mutations, to);
}

static void end_created(struct projection *projection, const struct campaign_change *change)
{
    const struct event *created = change->created;
    struct span key = campaign_key(projection, change->id);
    append(&projection->mutations, make(projection, MUTATION_UNLINK, key)); /* what a former replay left */
    struct mutation *to = make(projection, MUTATION_HSET, key);
    add_arg(projection, to, SPAN("d"));
    add_arg(projection, to, created->data);
    add_field(projection, to, "t", created->recorded_at_us);
    add_field(projection, to, "first", created->position);
    add_field(projection, to, "pos", change->position);
    add_field(projection, to, "released", change->released);
    add_field(projection, to, "issued", change->issued);
    add_field(projection, to, "plan", change->plan);
    add_field(projection, to, "state", change->state);
    if (change->issued) {
        add_arg(projection, to, SPAN("rank"));
        add_arg(projection, to, rank_member(projection, change));
    }
    append(&projection->mutations, to);
}

/* Campaigns created in this batch enter the sorted sets, all with one command each. */
static void end_index(struct projection *projection)
{
    key_campaigns(&projection->scratch, projection->model);
    struct mutation *index = make(projection, MUTATION_ZADD, keep(projection));
    struct mutation *rank = make(projection, MUTATION_ZADD, rank_key(projection));
    for (const struct campaign_change *change = projection->campaigns; change; change = change->next) {
        if (!change->created)
            continue;
        add_number(projection, index, change->created->recorded_at_us);
        add_arg(projection, index, change->id);
        if (!change->issued)
            continue;
        add_number(projection, rank, change->issued);
        add_arg(projection, rank, rank_member(projection, change));
    }
    if (index->args_count)
        append(&projection->mutations, index);
    if (rank->args_count)
        append(&projection->mutations, rank);
}

/* A replay from the start may find what is left of an earlier life: members of a sorted set that no event of
 * this log accounts for would stay for ever. */
static void end_restart(struct projection *projection)
{
    key_campaigns(&projection->scratch, projection->model);
    append(&projection->mutations, make(projection, MUTATION_UNLINK, keep(projection)));
    append(&projection->mutations, make(projection, MUTATION_UNLINK, rank_key(projection)));
}

void projection_end(struct projection *projection)
{
    const struct campaign_change *change;
    for (change = projection->campaigns; change; change = change->next)
        if (!change->created)
            end_existing(projection, change);
    if (projection->first == 1)
        end_restart(projection);
    for (change = projection->campaigns; change; change = change->next)
        if (change->created)
            end_created(projection, change);
    end_index(projection);
    for (change = projection->campaigns; change; change = change->next)
        if (!change->created && change->issued)
            end_existing_rank(projection, change);
    append_list(&projection->mutations, &projection->rows);
    append_list(&projection->mutations, &projection->holdings);
}
