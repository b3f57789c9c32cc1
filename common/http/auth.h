/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: who may do what (I10). Keys come from a file of `<name> <scope,scope> <sha256 hex of the token>`
 * lines, so that authentication depends on no other server. A line may end in the hash of a second token, for
 * as long as callers change from one to the other: both are the same key, to which idempotency keys, rates
 * and the events' actor belong. Tokens are compared as SHA-256 in constant time and never kept. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

/* AUTH_REDEEM_BY_ID opens nothing by itself: who may redeem may name a thing by an id that can be guessed,
 * not only by what nobody can. AUTH_ANYBODY is no scope of a key: a route that has it is open without a key,
 * too, and its handler looks at who asks. Whoever shows a key there must show a good one. */
enum auth_scope {
    AUTH_ADMIN = 1,
    AUTH_ISSUE = 2,
    AUTH_REDEEM = 4,
    AUTH_READ = 8,
    AUTH_ANYBODY = 16,
    AUTH_REDEEM_BY_ID = 32
};
enum { AUTH_KEYS_MAX = 1024, AUTH_KEY_NAME_MAX = 64, AUTH_TOKENS = 2 };

struct api_key {
    char name[AUTH_KEY_NAME_MAX + 1]; /* [a-z0-9-]+, appears in logs and events; not secret */
    uint32_t index;                   /* of the name: the same for the ring's life, whatever the file says */
    unsigned scopes;                  /* AUTH_* bits */
    uint8_t token_sha256[AUTH_TOKENS][32]; /* the same twice where the line has one */
};

/* All functions are thread-safe. A struct api_key never changes and lives as long as its ring: what the file
 * says of the name later is another one. */
struct keyring;

/* NULL on failure, with file, line and reason (never a token) in `reason`. */
struct keyring *keyring_load(const char *path, char *reason, size_t reason_size);
/* Reads the file again: how many keys are new, different or gone; -1 with the reason, and the ring as it
 * was, where the file is of no use or there were more than AUTH_KEYS_MAX names since the ring was loaded. */
int keyring_reload(struct keyring *keyring, const char *path, char *reason, size_t reason_size);
void keyring_destroy(struct keyring *keyring); /* accepts NULL */
/* The names of scopes as RFC 6750 lists them, one blank apart. */
void auth_scopes_write(struct buf *out, unsigned bits);
/* The key a token belongs to as the file was last read, or NULL. Time does not depend on how much of a hash
 * matches. */
const struct api_key *keyring_find(const struct keyring *keyring, struct span token);
/* The last key of a name that is, or once was, in the file; or NULL. */
const struct api_key *keyring_named(const struct keyring *keyring, struct span name);
/* How many names there were, and the last key of the one at an index below that. */
size_t keyring_count(const struct keyring *keyring);
const struct api_key *keyring_at(const struct keyring *keyring, size_t index);
