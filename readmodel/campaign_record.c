/* SPDX-License-Identifier: Apache-2.0 */
/* Campaigns to bytes and back. */
#include "readmodel/campaign_record.h"

#include "events/codec.h"
#include "readmodel/varint.h"

/* CHANGED says who brought it into its state, and why; a record of such a state that does not is one of a
 * former version, which nobody uses: the fold of the log knows more. */
enum { FORMAT = 1, FORMAT_CHANGED = 2 };

static void put_counted(struct buf *out, const struct counted_record *counted)
{
    varint_put(out, (uint64_t)counted->reached_at_us);
    if (counted->reached_at_us)
        activity_write(out, &counted->activity);
}

static void put_text(struct buf *out, struct span text)
{
    varint_put(out, text.len);
    buf_append_span(out, text);
}

void campaign_record_encode(const struct campaign_record *record, struct buf *out)
{
    const struct campaign *is = &record->campaign;
    bool changed = campaign_state_changed(is->state);
    buf_append_char(out, changed ? FORMAT_CHANGED : FORMAT);
    varint_put(out, (uint64_t)is->created_at_us);
    varint_put(out, (uint64_t)is->first);
    varint_put(out, (uint64_t)is->position);
    varint_put(out, (uint64_t)is->released);
    varint_put(out, (uint64_t)is->issued);
    varint_put(out, (uint64_t)is->redeemed);
    varint_put(out, (uint64_t)is->reserved);
    varint_put(out, (uint64_t)is->plan_done);
    varint_put(out, (uint64_t)is->state << 1 | is->plan_halted);
    if (changed) {
        varint_put(out, (uint64_t)is->change.at_us);
        put_text(out, is->change.by);
        put_text(out, is->change.reason);
    }
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

static void get_change(struct cursor_bytes *from, struct status_change *ret)
{
    ret->at_us = number_get(from, INT64_MAX);
    ret->by = text_get(from, EVENT_TEXT_MAX);
    ret->reason = text_get(from, REASON_MAX);
}

bool campaign_record_decode(struct span id, struct span bytes, struct campaign_record *ret)
{
    struct cursor_bytes from = {bytes, false};
    struct campaign *is = &ret->campaign;
    *ret = (struct campaign_record){.campaign.id = id};
    struct span format = bytes.ptr ? bytes_get(&from, 1) : (struct span){NULL, 0};
    if (format.len != 1 || format.ptr[0] < FORMAT || format.ptr[0] > FORMAT_CHANGED)
        return false;
    bool changed = format.ptr[0] == FORMAT_CHANGED;
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
    if (changed)
        get_change(&from, &is->change);
    for (size_t i = 0; i < COUNTED_COUNT; i++)
        get_counted(&from, &ret->counted[i]);
    ret->definition = from.rest;
    return !from.bad && is->first >= 1 && is->position >= is->first && is->state >= CAMPAIGN_ACTIVE &&
           is->state < CAMPAIGN_DELETED && changed == campaign_state_changed(is->state) && from.rest.len > 0;
}

bool campaign_record_define(struct campaign_record *record, struct arena *arena)
{
    struct event created = {.type = EVENT_CampaignCreated, .version = 1, .data = record->definition};
    if (event_decode(&created, arena) != CODEC_OK)
        return false;
    record->campaign.definition = created.campaign_created;
    return true;
}
