/* SPDX-License-Identifier: Apache-2.0 */
/* What creation quotas have used in the databases of other shards. A transaction adds up what its own
 * database has counted (store/load.c); of the others it knows what their sweeps saw last, some 200 ms ago, so
 * that no creation waits for a database that is slow or away. A limit can be passed by as many campaigns as
 * are created there meanwhile. Of one that is away what it last said holds, for that day. Thread-safe. */
#pragma once

#include "command-service/store/reader.h"
#include "events/shards.h"

struct quotas;

struct quotas *quotas_create(const struct shards *shards); /* borrowed */
void quotas_destroy(struct quotas *quotas);

/* Used of a scope (struct loaded_quota) in all shards but this one. From then on the scope is looked at, as
 * long as it is one of the as many that were asked for last as a key file has names. */
int64_t quotas_elsewhere(struct quotas *quotas, struct span scope, size_t shard);
/* Looks at what a shard's database has counted of these scopes; nothing where there is one shard only. false:
 * the connection is lost. */
bool quotas_look(struct quotas *quotas, size_t shard, struct reader *reader, int64_t deadline_us) MUST_USE;

/* What a shard's database has counted. */
struct quota_seen {
    const struct span *names;
    const int64_t *used;
    size_t count;
    int64_t day; /* since 1970: that it was of */
};
/* Takes what a look has found; of scopes that are looked at no more, nothing. */
void quotas_take(struct quotas *quotas, size_t shard, const struct quota_seen *seen);
