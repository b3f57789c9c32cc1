/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis Cluster beside a stack and on its ports: three primaries with a replica each. Services come as a
 * user that may not do what managed servers forbid. Whatever fails here fails the test. Not thread-safe. */
#pragma once

#include "tests/lib/redis_server.h"

enum { NODES_PRIMARIES = 3, NODES_COUNT = 2 * NODES_PRIMARIES, NODES_URL_MAX = 512 };

struct redis_nodes {
    struct stack *stack;                      /* borrowed */
    struct redis_server servers[NODES_COUNT]; /* server n + 3 is at first the replica of server n */
    char ids[NODES_COUNT][48];
    char url[NODES_URL_MAX]; /* for services; names a server that is not there first, and not all of the
                                others */
};

/* Returns when every slot is served and the replicas are in step. */
void nodes_start(struct redis_nodes *nodes, struct stack *stack);
void nodes_stop(struct redis_nodes *nodes);

#define NODES_CALL(nodes, node, ret, ...) REDIS_SERVER_CALL(&(nodes)->servers[node], ret, __VA_ARGS__)
/* Which server has the slot of the key as primary, by what `asked` knows; -1: none. */
int nodes_primary_of(const struct redis_nodes *nodes, int asked, const char *key);
/* "master" or "slave", as the server sees itself; "" where it does not answer. Valid until the next call. */
const char *nodes_role(const struct redis_nodes *nodes, int node);
/* A primary stands still, and so does its replica, which would take its place; and goes on. */
void nodes_freeze(const struct redis_nodes *nodes, int primary);
void nodes_thaw(const struct redis_nodes *nodes, int primary);
/* Moves a slot with all its keys, `step` keys at a time, as redis-cli does. */
void nodes_move_slot(struct redis_nodes *nodes, const char *key, int from, int to, int step);
/* The same in parts: the slot is on its way; so many of its keys go, how many there were; it is there. */
void nodes_move_begin(struct redis_nodes *nodes, int slot, int from, int to);
size_t nodes_move_keys(struct redis_nodes *nodes, int slot, int from, int to, int count);
/* Has one server believe that another one has the slot. */
void nodes_tell_owner(const struct redis_nodes *nodes, int told, int slot, int owner);
void nodes_move_end(struct redis_nodes *nodes, int slot, int from, int to);
/* `url` as an administrator, with a server that is there first. */
void nodes_admin_url(const struct redis_nodes *nodes, char *ret, size_t size);
/* How often any of them denied a command to the services' user. */
int nodes_denials(const struct redis_nodes *nodes);
