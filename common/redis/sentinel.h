/* SPDX-License-Identifier: Apache-2.0 */
/* Asking Redis Sentinels which server is the primary now. Only redis.c uses it. hiredis 0.14 knows nothing of
 * Sentinel, and a client needs no more of it than this one question before every connect. */
#pragma once

#include "common/redis/internal.h"

struct redis_sentinels;

/* For a URL with sentinels; copies what it needs. Does not connect. One thread at a time. */
struct redis_sentinels *redis_sentinels_create(const struct redis_url *url);
void redis_sentinels_destroy(struct redis_sentinels *sentinels); /* accepts NULL */

/* Asks one after the other, first the one that answered last time, until one names the primary. Each gets at
 * most 300 ms, and less where the deadline leaves less for those after it and for connecting to what is
 * named. Not REDIS_OK: none did, and `error` says what the last of them came to. */
enum redis_status redis_sentinels_ask(struct redis_sentinels *sentinels, int64_t deadline_us,
                                      struct redis_endpoint *ret, char *error, size_t error_size) MUST_USE;

/* The server that was named is none, or is no primary: next time another one is asked first. Sentinels learn
 * of a failover at different times, and one that is cut off never does. */
void redis_sentinels_doubt(struct redis_sentinels *sentinels);
