/* SPDX-License-Identifier: Apache-2.0 */
/* A batch from its commands to what must be loaded for them. What is then decided is in batch_decide.c. */
#include "command-service/core/batch_internal.h"

enum { BATCH_ARENA_MAX = 256 * 1024 * 1024 };

struct batch *batch_create(const struct creation_limits *limits, batch_condition *condition_holds)
{
    struct batch *batch = mem_zalloc(sizeof *batch);
    batch->limits = *limits;
    batch->condition_holds = condition_holds;
    arena_init(&batch->arena, BATCH_ARENA_MAX);
    map_init(&batch->campaigns);
    map_init(&batch->coupons);
    map_init(&batch->holdings);
    buf_init(&batch->scratch, BATCH_SCRATCH_MAX);
    return batch;
}

void batch_reset(struct batch *batch)
{
    map_clear(&batch->campaigns);
    map_clear(&batch->coupons);
    map_clear(&batch->holdings);
    arena_reset(&batch->arena);
    batch->count = batch->campaigns_count = batch->coupons_count = batch->quotas_count = 0;
    batch->holdings_count = batch->events_count = 0;
    batch->void_found = (struct void_counts){0};
    batch->creates = false;
}

void batch_destroy(struct batch *batch)
{
    if (!batch)
        return;
    batch_reset(batch);
    map_deinit(&batch->campaigns);
    map_deinit(&batch->coupons);
    map_deinit(&batch->holdings);
    arena_deinit(&batch->arena);
    buf_deinit(&batch->scratch);
    mem_free(batch->events);
    mem_free(batch);
}

void *batch_alloc(struct batch *batch, size_t size)
{
    void *ptr = arena_alloc(&batch->arena, size);
    CHECK(ptr); /* BATCH_MAX commands of bounded size fit by far */
    return ptr;
}

struct span batch_keep(struct batch *batch, struct span text)
{
    char *copy = batch_alloc(batch, text.len);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    return (struct span){copy, text.len};
}

struct loaded_campaign *batch_campaign(struct batch *batch, struct span id)
{
    struct loaded_campaign *loaded = map_get(&batch->campaigns, id);
    if (loaded || batch->campaigns_count == BATCH_MAX)
        return loaded;
    loaded = batch_alloc(batch, sizeof *loaded);
    /* A copy: what one command answers with must not end with the request of another. */
    loaded->campaign.id = batch_keep(batch, id);
    map_put(&batch->campaigns, loaded->campaign.id, loaded);
    batch->campaign_list[batch->campaigns_count++] = loaded;
    return loaded;
}

struct span batch_holding_key(struct batch *batch, struct span campaign_id, struct span user_id)
{
    buf_clear(&batch->scratch);
    buf_append_span(&batch->scratch, campaign_id);
    buf_append_char(&batch->scratch, '\0'); /* campaign ids have none */
    buf_append_span(&batch->scratch, user_id);
    CHECK(!batch->scratch.overflow);
    return buf_span(&batch->scratch);
}

struct span batch_coupon_key(const struct position *at)
{
    return (struct span){(const char *)&at->position, sizeof at->position};
}

static void want_holding(struct batch *batch, struct span campaign_id, struct span user_id)
{
    struct span key = batch_holding_key(batch, campaign_id, user_id);
    if (map_get(&batch->holdings, key))
        return;
    struct holding *held = batch_alloc(batch, sizeof *held);
    map_put(&batch->holdings, batch_keep(batch, key), held);
    batch->holding_campaigns[batch->holdings_count] = campaign_id;
    batch->holding_users[batch->holdings_count] = user_id;
    batch->holding_list[batch->holdings_count++] = held;
}

void batch_hold(struct batch *batch, struct holding *held, int64_t position)
{
    if (held->count == held->capacity) {
        int64_t *former = held->positions;
        held->capacity = held->capacity ? 4 * held->capacity : 2;
        held->positions = batch_alloc(batch, (size_t)held->capacity * sizeof *held->positions);
        if (former)
            memcpy(held->positions, former, (size_t)held->count * sizeof *former);
    }
    held->positions[held->count++] = position;
}

static void want_coupon(struct batch *batch, const struct command *command)
{
    CHECK(command->coupon.at.slice == batch->slice);
    bool asks_whose =
        !command->by_admin && (command->kind == COMMAND_FREE || command->kind == COMMAND_RESTORE);
    struct loaded_coupon *loaded = map_get(&batch->coupons, batch_coupon_key(&command->coupon.at));
    if (loaded) {
        loaded->asks_whose |= asks_whose;
        return;
    }
    loaded = batch_alloc(batch, sizeof *loaded);
    loaded->coupon.at = command->coupon.at;
    loaded->asks_whose = asks_whose;
    map_put(&batch->coupons, batch_coupon_key(&loaded->coupon.at), loaded);
    batch->coupon_list[batch->coupons_count++] = loaded;
}

struct loaded_quota *batch_quota(struct batch *batch, struct span scope)
{
    for (size_t i = 0; i < batch->quotas_count; i++)
        if (span_equal(batch->quotas[i].scope, scope))
            return &batch->quotas[i];
    CHECK(batch->quotas_count < COUNT_OF(batch->quotas)); /* two, and one for each key that creates */
    batch->quotas[batch->quotas_count] = (struct loaded_quota){.scope = batch_keep(batch, scope)};
    return &batch->quotas[batch->quotas_count++];
}

struct span batch_key_scope(struct batch *batch, struct span actor)
{
    buf_clear(&batch->scratch);
    buf_append_text(&batch->scratch, QUOTA_KEY_PREFIX);
    buf_append_span(&batch->scratch, actor);
    return buf_span(&batch->scratch);
}

/* Creating counts against three quotas, enlarging against one of them. */
static void want_creation(struct batch *batch, size_t index)
{
    const struct command *command = batch->commands[index];
    batch->claims[index] = NULL;
    bool enlarges = command->kind == COMMAND_CHANGE && command->change->quantity;
    if (command->kind != COMMAND_CREATE && !enlarges)
        return;
    batch->creates = true;
    if (enlarges) {
        (void)batch_quota(batch, QUOTA_OPEN_STOCK);
        return;
    }
    batch->claims[index] = batch_alloc(batch, sizeof *batch->claims[index]);
    (void)batch_quota(batch, QUOTA_EVERYBODY);
    (void)batch_quota(batch, batch_key_scope(batch, command->actor));
    (void)batch_quota(batch, QUOTA_OPEN_STOCK);
}

/* A creation that is on its way to its campaign's slice is not about the campaign yet. */
static bool is_on_its_way(const struct command *command)
{
    return command->kind == COMMAND_CREATE &&
           (command->claim.step == CLAIM_WANTED || command->claim.step == CLAIM_FENCE);
}

static void want_subject(struct batch *batch, const struct command *command)
{
    switch (command_subject(command->kind)) {
    case SUBJECT_HOLDER:
        want_holding(batch, command->campaign_id, command->issue.user_id);
        CHECK(batch_campaign(batch, command->campaign_id));
        break;
    case SUBJECT_HOLDERS:
        for (size_t i = 0; i < command->issue_many.count; i++)
            want_holding(batch, command->campaign_id, command->issue_many.user_ids[i]);
        CHECK(batch_campaign(batch, command->campaign_id));
        break;
    case SUBJECT_CAMPAIGN:
        CHECK(is_on_its_way(command) || batch_campaign(batch, command->campaign_id));
        break;
    case SUBJECT_COUPON:
        want_coupon(batch, command);
        break;
    case SUBJECT_SLICE:
    case SUBJECT_CONTROL:
        break;
    }
}

void batch_begin(struct batch *batch, struct command *list)
{
    CHECK(batch->count == 0 && list);
    CHECK(!command_is_solo(list->kind) || !list->next);
    batch->slice = list->slice;
    for (struct command *command = list; command; command = command->next) {
        CHECK(batch->count < BATCH_MAX && command->slice == batch->slice);
        batch->commands[batch->count] = command;
        batch->verdicts[batch->count] = (struct verdict){0};
        batch->records[batch->count] = NULL;
        want_subject(batch, command);
        want_creation(batch, batch->count);
        batch->count++;
    }
}

bool batch_has_writes(const struct batch *batch)
{
    bool any = batch->events_count > 0;
    for (size_t i = 0; i < batch->count && !any; i++)
        any = batch->verdicts[i].remembered ||
              (batch->claims[i] && (batch->claims[i]->write_claim || batch->claims[i]->write_fence));
    for (size_t i = 0; i < batch->campaigns_count && !any; i++)
        any = batch->campaign_list[i]->changed;
    return any;
}

bool batch_promises(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->verdicts[i].refusal || batch->verdicts[i].held)
            return true;
    return false;
}

int64_t batch_time(int64_t last_us, int64_t database_us, int64_t own_us)
{
    int64_t now_us = database_us;
    int64_t apart_us = database_us > own_us ? database_us - own_us : own_us - database_us;
    int64_t later_us = database_us > own_us ? database_us : own_us;
    if (apart_us > CLOCK_TRUST_US) /* the earlier one, but where the log says that it goes wrong */
        now_us = later_us - apart_us >= last_us - CLOCK_TRUST_US ? later_us - apart_us : later_us;
    return now_us > last_us ? now_us : last_us;
}
