/* SPDX-License-Identifier: Apache-2.0 */
/* Events to commands. */
#include "readmodel/fold.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "events/coupon.h"
#include "readmodel/coupon_state.h"

enum { CAMPAIGNS_MAX = 4096, DEFINITION_LISTS_MAX = 64 * 1024, HOLDERS_MAX = 4 * 1024 * 1024 };

struct fold_campaign {
    struct fold_campaign *next; /* of the dirty ones */
    char id[CAMPAIGN_ID_MAX];
    size_t id_len;
    struct campaign_record is;
    struct buf definition;                       /* what is.campaign.definition borrows from */
    char by[EVENT_TEXT_MAX], reason[REASON_MAX]; /* what is.campaign.change does */
    struct arena lists;
    uint16_t tag;
    bool dirty, created; /* by the events since the last flush */
    bool lost;           /* Redis had it and has it no more */
    struct {
        bool changed;
        int64_t count, reached_at_us; /* as RANKING has it: 0 where it does not */
    } ranked[COUNTED_COUNT];
    struct buf holders; /* positions since the last flush, the first of them for this sequence: */
    int64_t holders_from;
};

void fold_init(struct fold *fold)
{
    *fold = (struct fold){0};
    chunk_writer_init(&fold->chunk);
    map_init(&fold->campaigns);
    redis_command_init(&fold->command);
    buf_init(&fold->key, KEY_TEXT_MAX);
    buf_init(&fold->value, CHUNK_BYTES_MAX);
    fold->dirty_end = &fold->dirty;
}

/* --- campaigns --- */

static struct span id_of(const struct fold_campaign *campaign)
{
    return (struct span){campaign->id, campaign->id_len};
}

static struct fold_campaign *campaign_create(struct fold *fold, struct span id)
{
    struct fold_campaign *campaign = mem_zalloc(sizeof *campaign);
    CHECK(id.len >= 1 && id.len <= CAMPAIGN_ID_MAX);
    memcpy(campaign->id, id.ptr, id.len);
    campaign->id_len = id.len;
    campaign->tag = campaign_tag(id);
    buf_init(&campaign->definition, EVENT_DATA_MAX);
    buf_init(&campaign->holders, HOLDERS_MAX);
    arena_init(&campaign->lists, DEFINITION_LISTS_MAX);
    map_put(&fold->campaigns, id_of(campaign), campaign);
    return campaign;
}

static void campaign_destroy(struct fold_campaign *campaign)
{
    buf_deinit(&campaign->definition);
    buf_deinit(&campaign->holders);
    arena_deinit(&campaign->lists);
    mem_free(campaign);
}

static void forget_campaigns(struct fold *fold)
{
    for (size_t i = 0; i < fold->campaigns.capacity; i++)
        if (fold->campaigns.entries[i].key.ptr)
            campaign_destroy(fold->campaigns.entries[i].value);
    map_clear(&fold->campaigns);
    fold->last = NULL;
    fold->dirty = NULL;
    fold->dirty_end = &fold->dirty;
}

void fold_deinit(struct fold *fold)
{
    forget_campaigns(fold);
    map_deinit(&fold->campaigns);
    chunk_writer_deinit(&fold->chunk);
    redis_command_deinit(&fold->command);
    buf_deinit(&fold->key);
    buf_deinit(&fold->value);
}

void fold_trim(struct fold *fold)
{
    CHECK(!fold->dirty);
    if (fold->campaigns.count > CAMPAIGNS_MAX)
        forget_campaigns(fold);
}

void fold_start(struct fold *fold, struct model model, const struct checkpoint *at, struct span chunk,
                int64_t now_s)
{
    forget_campaigns(fold);
    fold->model = model;
    fold->at = *at;
    fold->now_s = now_s;
    memset(fold->counted_at_us, 0, sizeof fold->counted_at_us);
    chunk_writer_resume(&fold->chunk, chunk, (size_t)at->chunk, model.slice, at->position);
    fold->chunk_written = fold->chunk.bytes.len;
    fold->chunk_gets_states = false;
    fold->kept_from = 0;
}

static struct fold_campaign *find(const struct fold *fold, struct span id)
{
    if (fold->last && span_equal(id_of(fold->last), id))
        return fold->last;
    return map_get(&fold->campaigns, id);
}

bool fold_knows(const struct fold *fold, struct span campaign_id)
{
    return find(fold, campaign_id) != NULL;
}

/* The definition, in memory of the campaign's own. */
static bool define(struct fold_campaign *campaign)
{
    campaign->is.campaign.id = id_of(campaign);
    campaign->is.definition = buf_span(&campaign->definition);
    arena_reset(&campaign->lists);
    return campaign_record_define(&campaign->is, &campaign->lists);
}

static struct span keep_text(char *room, size_t size, struct span text)
{
    CHECK(text.len <= size);
    if (text.len)
        memmove(room, text.ptr, text.len);
    return (struct span){room, text.len};
}

/* Who brought it into its state and why, in memory of the campaign's own. */
static void keep_change(struct fold_campaign *campaign)
{
    struct status_change *change = &campaign->is.campaign.change;
    change->by = keep_text(campaign->by, sizeof campaign->by, change->by);
    change->reason = keep_text(campaign->reason, sizeof campaign->reason, change->reason);
}

bool fold_load(struct fold *fold, struct span campaign_id, struct span record)
{
    struct fold_campaign *campaign = campaign_create(fold, campaign_id);
    campaign->lost = !campaign_record_decode(id_of(campaign), record, &campaign->is);
    if (!campaign->lost) {
        buf_append_span(&campaign->definition, campaign->is.definition);
        campaign->lost = campaign->definition.overflow || !define(campaign);
        keep_change(campaign);
    }
    for (size_t i = 0; i < COUNTED_COUNT && !campaign->lost; i++) {
        campaign->ranked[i].count = campaign->is.counted[i].activity.count;
        campaign->ranked[i].reached_at_us = campaign->is.counted[i].reached_at_us;
    }
    return !campaign->lost;
}

/* --- commands --- */

static struct redis_command *begin(struct fold *fold, const char *verb)
{
    CHECK(!fold->key.overflow);
    redis_command_reset(&fold->command);
    redis_arg_text(&fold->command, verb);
    redis_arg(&fold->command, buf_span(&fold->key));
    buf_clear(&fold->key);
    return &fold->command;
}

static void hand_over(struct fold *fold, const struct fold_sink *sink)
{
    sink->command(sink->context, &fold->command);
}

static struct redis_command *begin_index(struct fold *fold, const char *verb, enum model_index index)
{
    key_index(&fold->key, fold->model, index);
    return begin(fold, verb);
}

static void send_member(struct fold *fold, const struct fold_sink *sink, enum model_index index,
                        int64_t score, struct span member)
{
    struct redis_command *command = begin_index(fold, "ZADD", index);
    redis_arg_i64(command, score);
    redis_arg(command, member);
    hand_over(fold, sink);
}

static void send_remove(struct fold *fold, const struct fold_sink *sink, enum model_index index,
                        struct span member)
{
    redis_arg(begin_index(fold, "ZREM", index), member);
    hand_over(fold, sink);
}

/* What is there from a slice's first event on. */
static void send_marks(struct fold *fold, const struct fold_sink *sink)
{
    for (enum model_index index = 0; index < INDEX_COUNT; index++)
        send_member(fold, sink, index, INDEX_MARK_SCORE, INDEX_MARK);
    key_users(&fold->key, fold->model, 0);
    redis_arg_text(begin(fold, "SET"), USERS_MARK);
    hand_over(fold, sink);
}

/* --- chunks of coupons --- */

/* A chunk that is complete is written whole: it then takes no more memory than it has bytes. */
static void send_complete(struct fold *fold, const struct fold_sink *sink, int64_t position)
{
    int64_t expires_at_s = fold->chunk.issued_at_us / US_PER_S + KEY_KEPT_S;
    if (sink->complete)
        sink->complete(sink->context, position, expires_at_s);
    key_coupons(&fold->key, fold->model, position);
    if (expires_at_s <= fold->now_s) {
        begin(fold, "UNLINK");
        fold->kept_from = position + 1;
    } else {
        struct redis_command *command = begin(fold, "SET");
        redis_arg(command, buf_span(&fold->chunk.bytes));
        redis_arg_text(command, "EXAT");
        redis_arg_i64(command, expires_at_s);
    }
    hand_over(fold, sink);
    if (fold->chunk.bytes.data[0] != CHUNK_HEAD_STATES)
        return;
    key_states(&fold->key, fold->model, position);
    redis_arg_i64(begin(fold, "EXPIREAT"), expires_at_s);
    hand_over(fold, sink);
}

/* One that is not complete gets what is new behind what it has. */
static void send_grown(struct fold *fold, const struct fold_sink *sink)
{
    struct span bytes = buf_span(&fold->chunk.bytes);
    if (fold->chunk_written == bytes.len)
        return;
    key_coupons(&fold->key, fold->model, fold->at.position);
    struct redis_command *command = begin(fold, "SETRANGE");
    redis_arg_i64(command, (int64_t)fold->chunk_written);
    redis_arg(command, (struct span){bytes.ptr + fold->chunk_written, bytes.len - fold->chunk_written});
    hand_over(fold, sink);
    fold->chunk_written = bytes.len;
}

/* The event at `position` is the next one. */
static void enter_position(struct fold *fold, const struct fold_sink *sink, int64_t position)
{
    if (position % COUPON_CHUNK != 0)
        return;
    if (fold->chunk.bytes.len > 0 && !fold->chunk.lost)
        send_complete(fold, sink, position - 1);
    chunk_writer_begin(&fold->chunk);
    fold->chunk_written = 0;
    fold->chunk_gets_states = false;
}

/* --- events --- */

static void mark_dirty(struct fold *fold, struct fold_campaign *campaign)
{
    if (campaign->dirty)
        return;
    campaign->dirty = true;
    campaign->next = NULL;
    *fold->dirty_end = campaign;
    fold->dirty_end = &campaign->next;
}

static void add_coupon(struct fold *fold, struct fold_campaign *campaign, const struct event *event,
                       const struct fold_sink *sink)
{
    char entry[HOLDING_BYTES];
    uint64_t hash = user_hash(event->user_id);
    struct holding holding = {event->position, event->recorded_at_us, user_tag(hash), campaign->tag};
    chunk_writer_add(&fold->chunk, event);
    holding_write(entry, &holding);
    sink->holding(sink->context, hash, entry);
    if (campaign->holders.len == 0)
        campaign->holders_from = event->coupon_issued.sequence;
    holder_write(&campaign->holders, event->position);
    CHECK(!campaign->holders.overflow);
    fold->at.coupons++;
}

/* The last event of a coupon says all of its state, so nothing of the coupon need be known here. */
static void add_state(struct fold *fold, const struct event *event, const struct fold_sink *sink)
{
    struct coupon coupon = {0};
    CHECK(coupon_id_parse(event->coupon_id, &coupon.at)); /* plausible() */
    if (coupon.at.position < fold->kept_from)
        return;
    coupon_apply(&coupon, event);
    buf_clear(&fold->value);
    coupon_state_encode(&coupon, &fold->value);
    if (coupon.at.position / COUPON_CHUNK == event->position / COUPON_CHUNK && fold->chunk.bytes.len > 0 &&
        !fold->chunk.lost)
        fold->chunk_gets_states = true;
    sink->state(sink->context, coupon.at.position, buf_span(&fold->value));
}

static int64_t count_of(const struct campaign *campaign, enum counted counted)
{
    return counted == COUNTED_ISSUED ? campaign->issued : campaign->redeemed;
}

static void note_counts(struct fold *fold, struct fold_campaign *campaign, const struct event *event)
{
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
        struct counted_record *is = &campaign->is.counted[counted];
        int64_t count = count_of(&campaign->is.campaign, counted);
        if (count == is->activity.count)
            continue;
        activity_mark(&is->activity, event->recorded_at_us, is->activity.count);
        is->activity.count = count;
        is->reached_at_us = fold->counted_at_us[counted] = event->recorded_at_us;
        campaign->ranked[counted].changed = true;
    }
}

/* What an event may have changed in the definition is put where it lives as long as the campaign. */
static void redefine(struct fold_campaign *campaign)
{
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    campaign_definition_write(&bytes, &campaign->is.campaign.definition);
    buf_clear(&campaign->definition);
    buf_append_span(&campaign->definition, buf_span(&bytes));
    buf_deinit(&bytes);
    CHECK(define(campaign)); /* it was decoded from as much */
}

static void apply(struct fold *fold, struct fold_campaign *campaign, const struct event *event)
{
    if (campaign->lost)
        return;
    campaign_apply(&campaign->is.campaign, event);
    if (event->type != EVENT_CouponIssued && !coupon_concerned(event)) {
        redefine(campaign);
        keep_change(campaign);
    }
    note_counts(fold, campaign, event);
}

/* What campaign_apply() takes for granted, looked at before: a log that is wrong must stop its slice, not the
 * process. */
static bool follows(const struct fold_campaign *campaign, const struct event *event)
{
    const struct campaign *is = &campaign->is.campaign;
    return campaign->lost || (is->state != CAMPAIGN_DELETED && campaign_can_apply(is, event));
}

static bool plausible(const struct fold *fold, const struct event *event)
{
    struct position coupon;
    if (event->campaign_id.len < 1 || event->campaign_id.len > CAMPAIGN_ID_MAX ||
        event->recorded_at_us < fold->at.at_us)
        return false;
    if (coupon_concerned(event))
        return coupon_id_parse(event->coupon_id, &coupon) && coupon.slice == event->slice &&
               coupon.position < event->position;
    if (event->type != EVENT_CouponIssued)
        return true;
    return event->user_id.len >= 1 && event->user_id.len <= USER_ID_MAX &&
           event->coupon_issued.sequence >= 1 && event->coupon_issued.nth >= 1;
}

static void add_change(struct fold *fold, struct fold_campaign *campaign, const struct event *event,
                       const struct fold_sink *sink)
{
    apply(fold, campaign, event);
    campaign->created |= event->type == EVENT_CampaignCreated;
    if (event->type == EVENT_CouponIssued)
        add_coupon(fold, campaign, event, sink);
    else if (coupon_concerned(event))
        add_state(fold, event, sink);
    mark_dirty(fold, campaign);
}

bool fold_add(struct fold *fold, const struct event *event, const struct fold_sink *sink)
{
    struct fold_campaign *campaign = NULL;
    CHECK(event->slice == fold->model.slice && event->position == fold->at.position + 1); /* I5 */
    if (!plausible(fold, event))
        return false;
    if (campaign_concerned(event)) {
        campaign = find(fold, event->campaign_id);
        CHECK(campaign || event->type == EVENT_CampaignCreated); /* fold_knows() */
        if (campaign && !follows(campaign, event))
            return false;
        if (!campaign)
            campaign = campaign_create(fold, event->campaign_id);
        fold->last = campaign;
    }
    if (event->position == 1)
        send_marks(fold, sink);
    enter_position(fold, sink, event->position);
    if (campaign)
        add_change(fold, campaign, event, sink);
    fold->at.position = event->position;
    fold->at.at_us = event->recorded_at_us;
    return true;
}

/* --- handing over --- */

static void flush_holders(struct fold *fold, struct fold_campaign *campaign, const struct fold_sink *sink)
{
    struct span rest = buf_span(&campaign->holders);
    int64_t sequence = campaign->holders_from;
    while (rest.len > 0) {
        size_t offset = (size_t)holder_offset(sequence), room = HOLDERS_CHUNK * HOLDER_BYTES - offset;
        struct span part = {rest.ptr, rest.len < room ? rest.len : room};
        key_holders(&fold->key, fold->model, id_of(campaign), sequence);
        struct redis_command *command = begin(fold, offset == 0 ? "SET" : "SETRANGE");
        if (offset > 0)
            redis_arg_i64(command, (int64_t)offset);
        redis_arg(command, part);
        hand_over(fold, sink);
        rest.ptr += part.len;
        rest.len -= part.len;
        sequence += (int64_t)(part.len / HOLDER_BYTES);
    }
    buf_clear(&campaign->holders);
}

static void flush_rank(struct fold *fold, struct fold_campaign *campaign, enum counted counted,
                       const struct fold_sink *sink)
{
    const struct counted_record *is = &campaign->is.counted[counted];
    struct buf member;
    if (!campaign->ranked[counted].changed)
        return;
    buf_init(&member, KEY_TEXT_MAX);
    if (campaign->ranked[counted].count > 0) {
        rank_member_write(&member, campaign->ranked[counted].reached_at_us, id_of(campaign));
        send_remove(fold, sink, index_ranking(counted), buf_span(&member));
        buf_clear(&member);
    }
    if (is->activity.count > 0) {
        rank_member_write(&member, is->reached_at_us, id_of(campaign));
        send_member(fold, sink, index_ranking(counted), is->activity.count, buf_span(&member));
    }
    send_member(fold, sink, index_active(counted), is->reached_at_us, id_of(campaign));
    buf_deinit(&member);
    campaign->ranked[counted].count = is->activity.count;
    campaign->ranked[counted].reached_at_us = is->reached_at_us;
    campaign->ranked[counted].changed = false;
}

static void flush_record(struct fold *fold, struct fold_campaign *campaign, const struct fold_sink *sink)
{
    bool deleted = campaign->is.campaign.state == CAMPAIGN_DELETED;
    key_campaign(&fold->key, fold->model, id_of(campaign));
    struct redis_command *command = begin(fold, deleted ? "UNLINK" : "SET");
    if (!deleted) {
        buf_clear(&fold->value);
        campaign_record_encode(&campaign->is, &fold->value);
        CHECK(!fold->value.overflow);
        redis_arg(command, buf_span(&fold->value));
    }
    hand_over(fold, sink);
    if (deleted)
        send_remove(fold, sink, INDEX_CAMPAIGNS, id_of(campaign));
    else if (campaign->created)
        send_member(fold, sink, INDEX_CAMPAIGNS, campaign->is.campaign.created_at_us, id_of(campaign));
    campaign->created = false;
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++)
        flush_rank(fold, campaign, counted, sink);
}

/* Nobody knows its counts any more, so the lists that they place it in are not whole either: without their
 * marks, readers tell so also where the campaign itself is on no page that they see. */
static void flush_lost(struct fold *fold, const struct fold_sink *sink)
{
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
        send_remove(fold, sink, index_ranking(counted), INDEX_MARK);
        send_remove(fold, sink, index_active(counted), INDEX_MARK);
    }
}

/* Whoever was last active so long before the last change that no window sees it leaves. Only by the time of
 * what was counted, so that it does not matter how the log was cut into batches. */
static void flush_active(struct fold *fold, enum counted counted, const struct fold_sink *sink)
{
    char until[32];
    int64_t until_us = fold->counted_at_us[counted] - ACTIVITY_KEPT_S * (int64_t)US_PER_S;
    if (until_us <= 0)
        return;
    snprintf(until, sizeof until, "(%lld", (long long)until_us);
    struct redis_command *command = begin_index(fold, "ZREMRANGEBYSCORE", index_active(counted));
    redis_arg_i64(command, INDEX_MARK_SCORE + 1);
    redis_arg_text(command, until);
    hand_over(fold, sink);
}

void fold_flush(struct fold *fold, const struct fold_sink *sink)
{
    send_grown(fold, sink);
    fold->at.chunk = (int64_t)fold->chunk.bytes.len;
    if (fold->chunk_gets_states) /* whoever writes them says so in Redis; a later write of all of it says so
                                    too */
        fold->chunk.bytes.data[0] = CHUNK_HEAD_STATES;
    fold->chunk_gets_states = false;
    for (struct fold_campaign *campaign = fold->dirty; campaign; campaign = campaign->next) {
        flush_holders(fold, campaign, sink);
        if (campaign->lost)
            flush_lost(fold, sink);
        else
            flush_record(fold, campaign, sink);
        campaign->dirty = false;
    }
    fold->dirty = NULL;
    fold->dirty_end = &fold->dirty;
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
        flush_active(fold, counted, sink);
        fold->counted_at_us[counted] = 0;
    }
}
