/* SPDX-License-Identifier: Apache-2.0 */
/* The shard map: which PostgreSQL has which of the slices (design: one slice, one primary). A text of lines
 *
 *     # slices  where
 *     0-7       postgresql://a1,a2/firstcome
 *     8-11,15   postgresql://b1,b2/firstcome
 *     12-14     postgresql://c1/firstcome
 *
 * that every service reads. Without one there is one shard with all slices, by the same code. A shard is
 * named by its slices ("8-11,15"), never by its URL, which may have a password. A URL without a user leaves
 * it to libpq (PGUSER, PGPASSFILE), so that one file serves all services.
 *
 * A database says itself which slices it owns: those that have a row in table slice, the row that everybody
 * who appends locks. Whoever takes one database for another appends nothing (no row) and is refused by name.
 */
#pragma once

#include "common/pg/pg.h"
#include "events/event.h"

enum { SHARDS_MAX = SLICE_COUNT, SHARD_NAME_MAX = 48, SLICES_ALL = (1 << SLICE_COUNT) - 1 };

struct shard {
    const char *url;
    unsigned slices; /* as bits */
    char name[SHARD_NAME_MAX];
};

struct shards {
    struct shard list[SHARDS_MAX];
    size_t count;
    uint8_t of[SLICE_COUNT]; /* index of the shard that has the slice */
    char *text;              /* owns what is borrowed above; NULL: nothing */
};

/* Reads a map; each slice must be in it exactly once. false with the reason, which never repeats a URL. */
bool shards_parse(struct span text, struct shards *ret, char *reason, size_t reason_size) MUST_USE;
/* What the options --shards and --database-url say: a file with a map or, where `file` is empty, one shard
 * at `database_url`, which is borrowed. false with the reason. */
bool shards_load(const char *file, const char *database_url, struct shards *ret, char *reason,
                 size_t reason_size) MUST_USE;
void shards_deinit(struct shards *shards);
/* The same for a program, which ends (service_bad_option) where they are of no use, or where there is a map
 * and a database that answers within a moment owns other slices than the map gives it. One that does not
 * answer says nothing: its slices are looked at by whoever connects. What comes back lives as long as the
 * process. `role`: to ask as. */
void shards_setup(struct shards *ret, const char *file, const char *database_url, const char *role);

const struct shard *shards_of(const struct shards *shards, int16_t slice);
/* The line of a map with just these slices ("0-7"); the only one where `slices` is empty; NULL: none. */
const struct shard *shards_find(const struct shards *shards, struct span slices);
bool shard_has(const struct shard *shard, int16_t slice);
/* "0-7,12": slices as a map has them. */
void slices_write(unsigned slices, char ret[SHARD_NAME_MAX]);
/* Adds some slices as an argument, smallint[]. */
void slices_arg(struct pg_args *args, unsigned slices);
/* The slices of the first column of some rows, as bits. */
unsigned slices_of(const struct pg_rows *rows);
