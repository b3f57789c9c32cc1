/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing holders. */
#include "events/holder.h"

#include <stdio.h>

#include "common/base/crypto.h"
#include "events/catalog.h"

enum { NTH_TEXT_MAX = 24, TEXT_MAX = USER_ID_MAX + NTH_TEXT_MAX };

/* SHA-256, because PostgreSQL has it too. `what` keeps users and places apart. */
static void hash(const struct slice_secret *secret, char what, struct span first, struct span second,
                 uint8_t *ret, size_t ret_len)
{
    char message[SLICE_SECRET_BYTES + 1 + TEXT_MAX];
    uint8_t digest[32];
    char *at = message;
    CHECK(first.len + second.len <= TEXT_MAX);
    memcpy(at, secret->bytes, SLICE_SECRET_BYTES);
    at += SLICE_SECRET_BYTES;
    *at++ = what;
    if (first.len)
        memcpy(at, first.ptr, first.len);
    at += first.len;
    if (second.len)
        memcpy(at, second.ptr, second.len);
    at += second.len;
    crypto_sha256((struct span){message, (size_t)(at - message)}, digest);
    memcpy(ret, digest, ret_len);
}

void holder_user(const struct slice_secret *secret, struct span user_id, uint8_t ret[HOLDER_USER_BYTES])
{
    hash(secret, 'u', user_id, (struct span){NULL, 0}, ret, HOLDER_USER_BYTES);
}

void holder_place(const struct slice_secret *secret, struct span campaign_id, int64_t nth,
                  uint8_t ret[HOLDER_BYTES - HOLDER_USER_BYTES])
{
    char text[NTH_TEXT_MAX];
    int len = snprintf(text, sizeof text, ":%lld", (long long)nth);
    hash(secret, 'c', campaign_id, (struct span){text, (size_t)len}, ret, HOLDER_BYTES - HOLDER_USER_BYTES);
}

void holder_of(const struct slice_secret *secret, struct span user_id, struct span campaign_id, int64_t nth,
               uint8_t ret[HOLDER_BYTES])
{
    holder_user(secret, user_id, ret);
    holder_place(secret, campaign_id, nth, ret + HOLDER_USER_BYTES);
}
