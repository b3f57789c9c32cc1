/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of models beside the live ones: what is written in Redis of each, so that nothing is there for
 * nobody, and dropping the keys of those that nobody needs any more. Which generation of a slice is live is
 * in the slice's root. */
#pragma once

#include "projector/run/redis_writer.h"

enum generation_state {
    GENERATION_BUILDING, /* a rebuild works on it, or did until it was killed: only one does at a time */
    GENERATION_PAST,     /* a look at the past: complete, and never made live */
};

enum { GENERATIONS_MAX = 16, GENERATION_NAME_MAX = 32, GENERATION_LIMIT_MAX = 32 };

struct generation {
    int64_t number; /* of the models of every slice that it has */
    enum generation_state state;
    char name[GENERATION_NAME_MAX + 1];
    char limit[GENERATION_LIMIT_MAX +
               1]; /* how far it goes: "head", a time or slice:position, as it was asked for */
};

struct generations {
    int64_t live[SLICE_COUNT]; /* 0: none */
    unsigned unknown; /* slices whose server of a cluster is away: what is live of them is not known */
    struct generation items[GENERATIONS_MAX];
    size_t count;
};

bool generation_name_valid(struct span name); /* [a-z0-9][a-z0-9-]{0,31} */
/* The value in Redis: "<state> <name> <limit>". Parsing fills all but the number. */
void generation_write(struct buf *out, const struct generation *generation);
bool generation_parse(struct span text, struct generation *ret) MUST_USE;
/* NULL where there is none. */
const struct generation *generations_by_name(const struct generations *generations, const char *name);
/* Whether readers or somebody at work may need the keys of these models: of a slice that is not known, all.
 */
bool generations_need(const struct generations *generations, struct model model);
/* A number that no generation of the slice whose keys may still be there has had: above `above`, by the wall
 * clock, and never one that the other maker gives. The leader begins a generation where a root was lost,
 * while a rebuild, of which what was written down may be lost as well, makes another beside it. */
enum generation_maker { MADE_BY_LEADER, MADE_BY_REBUILD };
int64_t generation_number(enum generation_maker maker, int64_t now_us, int64_t above);
/* The number of the next rebuild. */
int64_t generations_next(const struct generations *generations, int64_t now_us);

/* The conversation with Redis, on a connection where nothing is on its way. An entry that is not one is left
 * out: it is of a newer version. */
enum redis_status generations_read(struct redis_writer *writer, int64_t deadline_us,
                                   struct generations *ret) MUST_USE;
/* The same, without those that are said to be being built, which are forgotten: under the lock (builder_lock)
 * nobody builds, so they were left by one that was killed. */
enum redis_status generations_forget_interrupted(struct redis_writer *writer, int64_t deadline_us,
                                                 struct generations *ret) MUST_USE;
enum redis_status generations_put(struct redis_writer *writer, const struct generation *generation,
                                  int64_t deadline_us) MUST_USE;
enum redis_status generations_remove(struct redis_writer *writer, int64_t number,
                                     int64_t deadline_us) MUST_USE;

/* A walk through all keys, for those of models that nobody needs: a few at a time, UNLINK hands the memory
 * back on a thread of Redis's own, and between two small steps Redis serves everybody else. By SCAN, so that
 * what a rebuild left that was killed goes too. */
struct drop {
    char cursor[24]; /* of SCAN */
    size_t server;   /* whose turn it is, of redis_servers */
    int64_t dropped; /* keys so far */
    bool done;
    bool missed; /* a server was away: what it has, the next walk drops */
};
void drop_begin(struct drop *drop);
/* Looks at some 1,000 keys. What is needed is read again at each step. A server that is away is passed over.
 */
enum redis_status drop_step(struct drop *drop, struct redis_writer *writer, int64_t deadline_us) MUST_USE;
/* Whose key a key of models is. Pure. */
bool model_of_key(struct span key, struct model *ret) MUST_USE;
