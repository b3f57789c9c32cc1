/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of a Redis Cluster behind the one connection that redis.h promises. Only redis.c uses it.
 *
 * Each server has a connection of its own; a command goes to the one that has its key, and replies come back
 * in the order of sending, whoever gives them. A server that does not answer costs its own keys only
 * (REDIS_AWAY), and is connected again without anybody waiting for it. */
#pragma once

#include "common/redis/internal.h"

struct redis_cluster;

/* For a URL with nodes; copies what it needs. Does not connect. One thread at a time. */
struct redis_cluster *redis_cluster_create(const struct redis_url *url);
void redis_cluster_destroy(struct redis_cluster *cluster); /* accepts NULL */
/* Asks who has which slots, first those it knew, then those of the URL, each for at most 300 ms; then
 * connects to all that have some. REDIS_OK when one of them is connected: the others are given as long. */
enum redis_status redis_cluster_connect(struct redis_cluster *cluster, int64_t deadline_us) MUST_USE;
void redis_cluster_disconnect(struct redis_cluster *cluster);
bool redis_cluster_connected(const struct redis_cluster *cluster); /* to one of them */
const char *redis_cluster_error(const struct redis_cluster *cluster);

void redis_cluster_send(struct redis_cluster *cluster, const struct redis_command *command);
enum redis_status redis_cluster_receive(struct redis_cluster *cluster, int64_t deadline_us,
                                        const struct redis_reply **ret) MUST_USE;

size_t redis_cluster_servers(const struct redis_cluster *cluster, size_t ret[REDIS_SERVERS_MAX]);
size_t redis_cluster_server_of(const struct redis_cluster *cluster, struct span key);
void redis_cluster_aim(struct redis_cluster *cluster, size_t server);
void redis_cluster_name(const struct redis_cluster *cluster, size_t server, char *ret, size_t size);
bool redis_cluster_serves(const struct redis_cluster *cluster, size_t server);
