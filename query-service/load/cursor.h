/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors: where a page of a list ended, as opaque text. A cursor is a key, not an offset, so pages stay
 * whole while coupons are being issued. Each is bound to the list it was made for. Pure.
 *
 * Bytes before base64url: version (1), kind (1), the key, then 4 bytes of BLAKE2b over all before and the
 * list's scope. The sum tells apart what was cut or comes from another list; it is no secret, and every part
 * is checked against its bounds as well. */
#pragma once

#include <stdbool.h>

#include "events/ids.h"

/* The letter is what is written; each list has its own key. */
enum cursor_kind {
    CURSOR_NONE = 0,
    CURSOR_CAMPAIGNS = 'c', /* time_us, id: newest first, then id descending */
    CURSOR_HOLDERS = 'h',   /* number: sequence */
    CURSOR_COUPONS = 'u',   /* time_us, slice, number (position): newest first */
    CURSOR_HISTORY = 'e',   /* number: position */
    CURSOR_AUDIT = 'a',     /* as of coupons */
    CURSOR_ORDER = 'o',     /* slice, number (position): of a coupon; by slice, then by the id as text */
};

enum { CURSOR_TEXT_MAX = 128 };

struct cursor {
    enum cursor_kind kind;
    int64_t time_us, number;
    int16_t slice;
    size_t id_len;
    char id[CAMPAIGN_ID_MAX];
};

/* scope: whatever tells this list from others of its kind (whose coupons, which filters). */
void cursor_write(struct buf *out, const struct cursor *cursor, struct span scope);
bool cursor_parse(struct span text, enum cursor_kind kind, struct span scope, struct cursor *ret) MUST_USE;

struct span cursor_id(const struct cursor *cursor); /* borrowed from the cursor */
void cursor_set_id(struct cursor *cursor, struct span id);
