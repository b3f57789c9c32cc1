/* SPDX-License-Identifier: Apache-2.0 */
/* An event as JSON, for the feed to other systems: the envelope and every field of the catalogue by its name.
 * Instants (fields named ..._us) come as RFC 3339 text under the name without that ending. Nothing in the log
 * is a secret: coupon codes and Idempotency-Keys are not in it. Pure. */
#pragma once

#include "events/codec.h"

/* `decoded`: what event_log_row said. Of a type this build does not know, "type" is null and "data" absent,
 * so that a follower sees that there is something at this position. */
void event_write_json(struct buf *out, const struct event *event, bool decoded, int64_t type_id);
/* Only slice, position, type, type_id and version: for who may know that there is one, and not what it says.
 * They are how every event begins. */
void event_write_json_bare(struct buf *out, const struct event *event, bool decoded, int64_t type_id);
/* For people who ask what happened: type, time, who asked and why (of the events that say so), position,
 * trace, whose, and the payload. Of a decoded event. */
void event_write_history_json(struct buf *out, const struct event *event);
/* The type of that name in the catalogue; false where there is none. */
bool event_type_parse(struct span name, enum event_type *ret) MUST_USE;
