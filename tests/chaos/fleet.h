/* SPDX-License-Identifier: Apache-2.0 */
/* The services of a chaos run: several command services, two query services and a projector on one PostgreSQL
 * and one Redis, started here and not by tools/stack, which knows of one of each. Between them and the
 * servers stand two proxies, so that a server can be slow for all of them. The services carry the stack's
 * marker, so that they end with it however this program ends. What cannot be done ends the program. One
 * thread at a time, but for the targets and for calls about different services. */
#pragma once

#include <limits.h>

#include "tests/chaos/op.h"
#include "tests/lib/proxy.h"
#include "tests/lib/stack.h"

enum { FLEET_QUERIES = CHAOS_QUERIES_MAX, FLEET_SHARDS_MAX = 2 };

struct fleet;
struct fleet_options {
    struct stack *const *stacks; /* one for each shard; keys, tokens and Redis are the first's */
    uint32_t shards, services;   /* command services */
    bool edge;                   /* HAProxy in front; wants two command services */
    bool patroni; /* each shard is the Patroni that was started for its stack, not the stack's PostgreSQL */
};
/* Starts the proxies and the services, on ports from the first stack's base + 10 on; none need be ready yet.
 * With several shards the databases are told which slices they own, and services go by a map. */
struct fleet *fleet_start(const struct fleet_options *options);
uint32_t fleet_shards(const struct fleet *fleet);
uint32_t fleet_services(const struct fleet *fleet); /* command services: numbers 0 and up */
/* The number of a query service; any `index`. The first hears hints of changes, the others go by time. */
uint32_t fleet_query(const struct fleet *fleet, uint32_t index);
/* The number of a projector, of which each shard has one; any `index`. */
uint32_t fleet_projector(const struct fleet *fleet, uint32_t index);
enum { FLEET_ADDRESS_MAX = 40 };
/* "http://127.0.0.1:port" of a service. */
void fleet_address(const struct fleet *fleet, uint32_t service, char ret[FLEET_ADDRESS_MAX]);
/* Where to ask for each, by number; with an edge that is there for those of a kind. */
const struct target *fleet_targets(const struct fleet *fleet);
bool fleet_patroni(const struct fleet *fleet);
/* Of a shard's PostgreSQL, but where that is under Patroni. */
struct proxy *fleet_store_proxy(const struct fleet *fleet, uint32_t shard);
struct proxy *fleet_redis_proxy(const struct fleet *fleet);
enum { FLEET_URL_MAX = PATH_MAX + 64 };
/* The databases themselves, past the proxies, for who looks at them as their owner: the URL of one, and the
 * map of all, of which `path` has room for PATH_MAX; "" where one has all slices. */
void fleet_owner_url(const struct fleet *fleet, uint32_t shard, char ret[FLEET_URL_MAX]);
void fleet_owner_map(const struct fleet *fleet, char *path);
/* Blocks until every service answers /readyz with 200; false past the deadline (monotonic). */
bool fleet_await_ready(const struct fleet *fleet, int64_t deadline_us) MUST_USE;

void fleet_kill(struct fleet *fleet, uint32_t service);         /* SIGKILL, waits */
void fleet_end(struct fleet *fleet, uint32_t service);          /* SIGTERM, waits until it has drained */
void fleet_begin(struct fleet *fleet, uint32_t service);        /* after one of the two */
void fleet_freeze(const struct fleet *fleet, uint32_t service); /* SIGSTOP */
void fleet_thaw(const struct fleet *fleet, uint32_t service);   /* SIGCONT */

/* Ends all of them with SIGTERM, frees. Accepts NULL. */
void fleet_stop(struct fleet *fleet);
