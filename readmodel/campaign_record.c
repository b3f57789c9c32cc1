/* SPDX-License-Identifier: Apache-2.0 */
/* Campaigns to bytes and back. */
#include "readmodel/campaign_record.h"

#include "events/codec.h"
#include "readmodel/varint.h"

enum { FORMAT = 1 };

static void put_counted(struct buf *out, const struct counted_record *counted)
{
    varint_put(out, (uint64_t)counted->reached_at_us);
    if (counted->reached_at_us)
        activity_write(out, &counted->activity);
}

void campaign_record_encode(const struct campaign_record *record, struct buf *out)
{
    const struct campaign *is = &record->campaign;
    buf_append_char(out, FORMAT);
    varint_put(out, (uint64_t)is->created_at_us);
    varint_put(out, (uint64_t)is->first);
    varint_put(out, (uint64_t)is->position);
    varint_put(out, (uint64_t)is->released);
    varint_put(out, (uint64_t)is->issued);
    varint_put(out, (uint64_t)is->redeemed);
    varint_put(out, (uint64_t)is->reserved);
    varint_put(out, (uint64_t)is->plan_done);
    varint_put(out, (uint64_t)is->state << 1 | is->plan_halted);
    for (size_t i = 0; i < COUNTED_COUNT; i++)
        put_counted(out, &record->counted[i]);
    campaign_definition_write(out, &is->definition);
}

static void get_counted(struct cursor_bytes *from, struct counted_record *ret)
{
    struct span rest;
    ret->reached_at_us = number_get(from, INT64_MAX);
    if (from->bad || !ret->reached_at_us)
        return;
    if (!activity_read(from->rest, &ret->activity, &rest))
        from->bad = true;
    else
        from->rest = rest;
}

bool campaign_record_decode(struct span id, struct span bytes, struct campaign_record *ret)
{
    struct cursor_bytes from = {bytes, false};
    struct campaign *is = &ret->campaign;
    *ret = (struct campaign_record){.campaign.id = id};
    if (!bytes.ptr || !span_equal(bytes_get(&from, 1), (struct span){(const char[]){FORMAT}, 1}))
        return false;
    is->created_at_us = number_get(&from, INT64_MAX);
    is->first = number_get(&from, INT64_MAX);
    is->position = number_get(&from, INT64_MAX);
    is->released = number_get(&from, INT64_MAX);
    is->issued = number_get(&from, INT64_MAX);
    is->redeemed = number_get(&from, INT64_MAX);
    is->reserved = number_get(&from, INT64_MAX);
    is->plan_done = number_get(&from, INT64_MAX);
    int64_t state = number_get(&from, 2 * CAMPAIGN_DELETED + 1);
    is->plan_halted = state & 1;
    is->state = (enum campaign_state)(state >> 1);
    for (size_t i = 0; i < COUNTED_COUNT; i++)
        get_counted(&from, &ret->counted[i]);
    ret->definition = from.rest;
    return !from.bad && is->first >= 1 && is->position >= is->first && is->state >= CAMPAIGN_ACTIVE &&
           is->state < CAMPAIGN_DELETED && from.rest.len > 0;
}

bool campaign_record_define(struct campaign_record *record, struct arena *arena)
{
    struct event created = {.type = EVENT_CampaignCreated, .version = 1, .data = record->definition};
    if (event_decode(&created, arena) != CODEC_OK)
        return false;
    record->campaign.definition = created.campaign_created;
    return true;
}
