/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons as CSV (RFC 4180): one line each, its fields named and written as in JSON, an absent one empty.
 * Pure. */
#pragma once

#include "common/base/crypto.h"
#include "events/coupon.h"

enum { CSV_ROW_MAX = 2048 }; /* bytes of the longest line, and of the one with the names */

void csv_write_names(struct buf *out);
/* As the coupon is at that instant. */
void csv_write_coupon(struct buf *out, const struct coupon *coupon, const struct code_key *code_key,
                      int64_t now_us);

/* One text as a field. A spreadsheet takes what begins with = + - @ for a formula, and people choose user
 * ids: so an apostrophe goes before it. The same before an apostrophe: who takes one off gets every text
 * back. */
void csv_write_text(struct buf *out, struct span text);
