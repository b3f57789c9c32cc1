/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting, encoding, and publishing in step with Redis. */
#include "projector/run/announce.h"

void announcer_init(struct announcer *announcer, struct bus_publisher *bus)
{
    *announcer = (struct announcer){.bus = bus};
    for (size_t i = 0; i < WRITES_PENDING_MAX; i++)
        buf_init(&announcer->queued[i].bytes, ANNOUNCE_MESSAGES_MAX * HINT_BYTES_MAX);
}

void announcer_deinit(struct announcer *announcer)
{
    for (size_t i = 0; i < WRITES_PENDING_MAX; i++)
        buf_deinit(&announcer->queued[i].bytes);
}

/* --- what changes --- */

void announcer_begin(struct announcer *announcer)
{
    announcer->campaigns_count = announcer->users_count = 0;
    announcer->rankings = announcer->everything = false;
    memset(announcer->users_seen, 0, sizeof announcer->users_seen);
}

static struct span announced_campaign(const struct announcer *announcer, size_t i)
{
    return (struct span){announcer->campaigns[i], announcer->campaign_lengths[i]};
}

static void add_campaign(struct announcer *announcer, struct span id)
{
    for (size_t i = announcer->campaigns_count; i-- > 0;) /* most often the last one again */
        if (span_equal(announced_campaign(announcer, i), id))
            return;
    if (announcer->campaigns_count == ANNOUNCE_CAMPAIGNS_MAX) {
        announcer->everything = true;
        return;
    }
    size_t at = announcer->campaigns_count++;
    memcpy(announcer->campaigns[at], id.ptr, id.len);
    announcer->campaign_lengths[at] = (uint8_t)id.len;
}

static void add_user(struct announcer *announcer, int64_t bucket)
{
    uint8_t *seen = &announcer->users_seen[bucket / 8], bit = (uint8_t)(1U << bucket % 8);
    if (*seen & bit)
        return;
    *seen |= bit;
    if (announcer->users_count == ANNOUNCE_USERS_MAX)
        announcer->everything = true;
    else
        announcer->users[announcer->users_count++] = (int16_t)bucket;
}

void announcer_add(struct announcer *announcer, const struct event *event)
{
    if (!announcer->bus || announcer->everything || !campaign_id_valid(event->campaign_id))
        return; /* the last: the control stream, which is no campaign's */
    add_campaign(announcer, event->campaign_id);
    if (event->user_id.ptr) {
        add_user(announcer, user_group(user_hash(event->user_id)));
        announcer->rankings = true; /* or the state of a coupon, which counts as redeemed or no more */
    }
}

/* --- messages --- */

static void encode(struct announcement *to, const struct hint *hint)
{
    CHECK(to->count < ANNOUNCE_MESSAGES_MAX);
    hint_encode(hint, &to->bytes);
    to->ends[to->count++] = to->bytes.len;
}

/* Lists that do not fit one message go on in the next. */
static void encode_lists(const struct announcer *announcer, struct announcement *to, struct hint *hint)
{
    size_t campaigns = 0, users = 0;
    do {
        hint->campaigns_count = hint->users_count = 0;
        while (hint->campaigns_count < HINT_CAMPAIGNS_MAX && campaigns < announcer->campaigns_count)
            hint->campaigns[hint->campaigns_count++] = announced_campaign(announcer, campaigns++);
        while (hint->users_count < HINT_USERS_MAX && users < announcer->users_count)
            hint->users[hint->users_count++] = announcer->users[users++];
        encode(to, hint);
    } while (campaigns < announcer->campaigns_count || users < announcer->users_count);
}

static struct announcement *next_queued(struct announcer *announcer)
{
    CHECK(announcer->queued_count < WRITES_PENDING_MAX);
    size_t at = (announcer->queued_first + announcer->queued_count++) % WRITES_PENDING_MAX;
    buf_clear(&announcer->queued[at].bytes);
    announcer->queued[at].count = 0;
    return &announcer->queued[at];
}

void announcer_sent(struct announcer *announcer, int16_t slice, int64_t position)
{
    if (!announcer->bus)
        return;
    struct announcement *to = next_queued(announcer);
    struct hint hint = {.slice = slice, .position = position, .rankings = announcer->rankings};
    if (announcer->everything) {
        hint.everything = true;
        encode(to, &hint);
    } else if (announcer->campaigns_count > 0) {
        encode_lists(announcer, to, &hint);
    } /* else there was only the control stream; a hint without names would be about all of the slice */
}

void announcer_sent_nothing(struct announcer *announcer)
{
    if (announcer->bus)
        (void)next_queued(announcer);
}

static void publish(struct announcer *announcer, const struct announcement *is)
{
    size_t start = 0;
    for (size_t i = 0; i < is->count; i++) {
        bus_publish(announcer->bus, (struct span){is->bytes.data + start, is->ends[i] - start});
        start = is->ends[i];
    }
}

void announcer_settled(struct announcer *announcer, bool applied)
{
    if (!announcer->bus)
        return;
    CHECK(announcer->queued_count > 0);
    if (applied)
        publish(announcer, &announcer->queued[announcer->queued_first]);
    announcer->queued_first = (announcer->queued_first + 1) % WRITES_PENDING_MAX;
    announcer->queued_count--;
}

void announcer_forget(struct announcer *announcer)
{
    announcer->queued_count = 0;
}

void announcer_opening(struct announcer *announcer, struct span campaign, int64_t position)
{
    struct buf message;
    struct hint hint = {.slice = slice_of(campaign),
                        .position = position,
                        .campaigns = {campaign},
                        .campaigns_count = 1,
                        .opening = true};
    if (!announcer->bus)
        return;
    buf_init(&message, HINT_BYTES_MAX);
    hint_encode(&hint, &message);
    bus_publish(announcer->bus, buf_span(&message));
    buf_deinit(&message);
}
