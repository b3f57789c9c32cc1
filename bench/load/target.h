/* SPDX-License-Identifier: Apache-2.0 */
/* Where a load tool sends to: a base URL split, resolved once, and a connecting socket to it. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/bytes.h"

enum { TARGET_AUTHORITY_MAX = 300 };

struct target {
    char authority[TARGET_AUTHORITY_MAX + 1]; /* "host" or "host:port", as the Host header wants it */
    struct sockaddr_storage address;
    socklen_t address_len;
};

/* "http://host[:port][/]" and nothing else. Resolves the host; blocks for as long as the resolver does. On
 * failure false with the reason, which never repeats the URL (it could carry a password). */
bool target_init(struct target *target, const char *url, char *reason, size_t reason_size) MUST_USE;

/* A non-blocking socket that has begun to connect, without Nagle's delay. -1 with errno where it could not
 * even begin. */
int target_connect(const struct target *target) MUST_USE;
