/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of models: the live one that readers use, and those beside it. What a generation beside it is
 * for is in Redis with it, so that a rebuild that was killed can be gone on with, and nothing is there for
 * nobody. */
#pragma once

#include "common/redis/redis.h"
#include "events/ids.h"

enum generation_state {
    GENERATION_BUILDING, /* a rebuild works on it, or did until it was killed */
    GENERATION_READY,    /* complete and checked: whoever leads makes it the live one */
    GENERATION_PAST,     /* a look at the past: complete, and never made live */
};

enum { GENERATIONS_MAX = 16, GENERATION_NAME_MAX = 32, GENERATION_LIMIT_MAX = 32 };

struct generation {
    int64_t number;
    enum generation_state state;
    char name[GENERATION_NAME_MAX + 1];
    char limit[GENERATION_LIMIT_MAX +
               1]; /* how far it goes: "head", a time or slice:position, as it was asked for */
};

struct generations {
    int64_t live; /* 0: none */
    struct generation items[GENERATIONS_MAX];
    size_t count;
};

bool generation_name_valid(struct span name); /* [a-z0-9][a-z0-9-]{0,31} */
/* The value in Redis: "<state> <name> <limit>". Parsing fills all but the number. */
void generation_write(struct buf *out, const struct generation *generation);
bool generation_parse(struct span text, struct generation *ret) MUST_USE;
/* NULL where there is none. */
const struct generation *generations_by_name(const struct generations *generations, const char *name);
const struct generation *generations_in_state(const struct generations *generations,
                                              enum generation_state state);
/* Whether readers or somebody at work may need its keys. */
bool generations_needed(const struct generations *generations, int64_t number);
/* A number that no generation has had since Redis was empty. */
int64_t generations_next(const struct generations *generations);

/* The conversation with Redis, on a connection where nothing is on its way. An entry that is not one is left
 * out: it is of a newer version. */
enum redis_status generations_read(struct redis *redis, int64_t deadline_us,
                                   struct generations *ret) MUST_USE;
enum redis_status generations_put(struct redis *redis, const struct generation *generation,
                                  int64_t deadline_us) MUST_USE;
enum redis_status generations_remove(struct redis *redis, int64_t number, int64_t deadline_us) MUST_USE;
/* Makes `to` the live generation where it is `from` still. *ret is what is live then. */
enum redis_status generations_switch(struct redis *redis, int64_t from, int64_t to, int64_t deadline_us,
                                     int64_t *ret) MUST_USE;
