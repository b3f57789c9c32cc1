/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of a Redis Cluster has a key: the slot of a key, who has which slot by what a server says of
 * its cluster, and where a redirection points. Pure; only cluster.c uses it. What servers say is input. */
#pragma once

#include "common/redis/url.h"

enum {
    REDIS_SLOTS = 16384,
    REDIS_PRIMARIES_MAX = 64,
    REDIS_NO_OWNER = 255, /* of a slot */
};

/* Of what is between the first '{' and the next '}', where there is something, otherwise of the whole key. */
uint16_t redis_slot(struct span key);

struct redis_slot_map {
    struct redis_endpoint primaries[REDIS_PRIMARIES_MAX]; /* those that have slots */
    size_t count;
    uint8_t owners[REDIS_SLOTS]; /* index of a primary, or REDIS_NO_OWNER */
};

/* From the reply to CLUSTER NODES. A server that does not know its own address is at `said_by`, and so is one
 * whose host is not told. False where it is no such reply, names more primaries than fit, or none that has a
 * slot; *ret is undefined then. */
bool redis_slot_map_parse(struct span text, const struct redis_endpoint *said_by,
                          struct redis_slot_map *ret) MUST_USE;

struct redis_redirection {
    bool ask; /* this once, after ASKING; otherwise for good */
    uint16_t slot;
    struct redis_endpoint to;
};

/* From an error, "MOVED 3999 127.0.0.1:6381" or "ASK ...". Without a host it is the one that said so. */
bool redis_redirection_parse(struct span error, const struct redis_endpoint *said_by,
                             struct redis_redirection *ret) MUST_USE;
