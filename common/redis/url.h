/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of a Redis server, taken apart. Pure; only redis.c uses it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum {
    REDIS_URL_TEXT_MAX = 256,
    REDIS_DATABASE_MAX = 1000000,
    REDIS_SENTINELS_MAX = 8,
    REDIS_NODES_MAX = 16
};

struct redis_endpoint {
    char host[REDIS_URL_TEXT_MAX];
    uint16_t port;
};

/* Of path, server.host, sentinels and nodes, one is set. Texts are percent-decoded; user and password are ""
 * where absent. */
struct redis_url {
    char path[108]; /* as long as a Unix socket's address can be */
    struct redis_endpoint server;
    int64_t database;
    char user[REDIS_URL_TEXT_MAX], password[REDIS_URL_TEXT_MAX];
    struct redis_endpoint sentinels[REDIS_SENTINELS_MAX];
    size_t sentinels_count;
    char primary[REDIS_URL_TEXT_MAX]; /* what the sentinels call the server they watch */
    char sentinel_user[REDIS_URL_TEXT_MAX], sentinel_password[REDIS_URL_TEXT_MAX];
    struct redis_endpoint nodes[REDIS_NODES_MAX]; /* some of a cluster's servers: the others they know */
    size_t nodes_count;
};

/* redis://[[user]:password@]host[:port][/db] (port 6379 where absent, IPv6 hosts in brackets);
 * unix:///path[?db=n&user=u&password=p];
 * redis+cluster://[[user]:password@]host[:port],... (port 6379 where absent; no database but the one there
 * is); or redis+sentinel://[[user]:password@]host[:port],.../name[/db][?sentinel_user=u&sentinel_password=p]
 * (port 26379 where absent; user and password before the '@' are those of the server that the sentinels
 * name). false with a reason that never quotes the URL. */
bool redis_url_parse(struct span text, struct redis_url *ret, const char **ret_reason) MUST_USE;
