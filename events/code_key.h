/* SPDX-License-Identifier: Apache-2.0 */
/* The secret that coupon codes are derived with, and those that took its place: each is for the coupons from
 * some position of their slice on, so that which one a code was made with follows from the code itself, codes
 * that were handed out stay as they are, and a key that became known makes no code of a later coupon. Pure
 * but for code_key_load; thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/crypto.h"
#include "events/event.h"

enum { CODE_KEYS_MAX = 8 };

struct code_key {
    struct {
        uint8_t bytes[CRYPTO_KEY_BYTES];
        int64_t from[SLICE_COUNT]; /* position in each slice; of the first key it is not looked at */
    } of[CODE_KEYS_MAX];
    size_t later; /* keys after the first */
};

/* A file of 64 hex digits; each further line is a later key and, after a blank, the sixteen positions that it
 * begins at, separated by commas, none before those of the line above. False with the reason, which never has
 * a key in it. */
bool code_key_load(const char *path, struct code_key *ret, char *reason, size_t reason_size) MUST_USE;
/* CRYPTO_KEY_BYTES for the coupon issued there; borrowed. */
const uint8_t *code_key_at(const struct code_key *code_key, int16_t slice, int64_t position);
