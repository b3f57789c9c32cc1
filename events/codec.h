/* SPDX-License-Identifier: Apache-2.0 */
/* MessagePack: event payloads and bus hints to bytes and back. Payloads are maps with
 * small integer keys, ascending, without the fields that have their default; so one payload has one encoding.
 * The only file that knows msgpack-c. Decoding trusts nothing: every length and value is checked against the
 * catalogue. */
#pragma once

#include <stdbool.h>

#include "common/base/mem.h"
#include "events/event.h"

struct event_field {
    int key;
    enum { FIELD_INT, FIELD_TEXT, FIELD_TEXTS, FIELD_RELEASES } kind;
    size_t offset; /* into the payload struct */
    int64_t max;
    const char *name, *meaning;
};

struct event_description {
    enum event_type type;
    int16_t version;
    const char *name, *meaning;
    const struct event_field *fields;
    size_t fields_count;
};

/* NULL for a type this build does not know. Never NULL for 1..EVENT_TYPE_END-1. */
const struct event_description *event_describe(int type);

/* Encodes event->payload of event->type. Values must be inside the catalogue's bounds (checked: a bug,
 * aborts). */
void event_encode(const struct event *event, struct buf *out);

enum codec_status {
    CODEC_OK,
    CODEC_UNKNOWN_TYPE, /* a type or version from the future: the reader is older than the log */
    CODEC_CORRUPT,      /* not what any version of this program wrote */
};

/* Fills the payload from event->data by event->type and event->version; fields not in the bytes get their
 * default. Texts are borrowed from event->data, lists are in `arena`. */
enum codec_status event_decode(struct event *event, struct arena *arena) MUST_USE;

/* A message of the bus: "look now". The command service says that the log of a slice reaches `position`; the
 * projector says that the models do, and what that changed, so that who keeps copies can drop them. Best
 * effort: a hint may be lost, doubled or invented, so it may only ever cost a look, never decide an answer.
 *
 * A map with the rules of evolution of events/catalog.h. Bounded so that every hint fits one message of the
 * bus: what changed more than fits is told by several hints, or by `everything`. */
enum { HINT_CAMPAIGNS_MAX = 6, HINT_USERS_MAX = 180, HINT_BYTES_MAX = 1024 };

struct hint {
    int16_t slice;
    int64_t position;
    struct span campaigns[HINT_CAMPAIGNS_MAX]; /* ids; borrowed from the message */
    size_t campaigns_count;
    int16_t users[HINT_USERS_MAX]; /* user_group()s: nobody's id is on the bus */
    size_t users_count;
    bool rankings;   /* some ranking of the slice changed */
    bool everything; /* more changed than is named: whatever is known of the slice may have */
    bool opening;    /* the campaigns named open within minutes: worth having before somebody asks */
};
void hint_encode(const struct hint *hint, struct buf *out); /* at most HINT_BYTES_MAX bytes */
bool hint_decode(struct span message, struct hint *ret) MUST_USE;
