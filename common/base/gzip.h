/* SPDX-License-Identifier: Apache-2.0 */
/* One text as a gzip file (RFC 1952), in one go. The fastest level: what is sent is made for one reader.
 * Takes some 270 KiB for as long as it runs. Thread-safe. */
#pragma once

#include "common/base/bytes.h"

/* The most that gzip_append adds for a text of this length. */
size_t gzip_bound(size_t len);
/* Appends it; `out` must have room for gzip_bound(). */
void gzip_append(struct buf *out, struct span text);
