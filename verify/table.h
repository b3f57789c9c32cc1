/* SPDX-License-Identifier: Apache-2.0 */
/* What verify remembers of the things it follows through the log: records of one size under 128-bit names, in
 * tables that share one bound on memory. When the bound is reached nothing is lost: the part of the names
 * that is followed is halved, what is no longer in it is forgotten, and the other half is followed in a later
 * pass over the log. So any log can be verified in any memory, at the price of time. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

/* BLAKE2b-128 of what it names, or a bijection of a number: two things never share one. */
struct verify_name {
    uint64_t slot, part;
};
/* `second` tells things under one `first` apart; absent where there is nothing to tell. */
struct verify_name verify_name_of(struct span first, struct span second);
struct verify_name verify_name_of_number(int64_t number);

/* Which of the names are followed: those whose lowest `bits` of `part` are `value`. */
struct verify_part {
    int bits;
    uint64_t value;
    int64_t reported; /* differences up to this position were reported before the part was split off */
};
bool verify_part_has(const struct verify_part *part, struct verify_name name);
/* Halves it; returns the other half. */
struct verify_part verify_part_split(struct verify_part *part, int64_t position);

struct verify_memory {
    size_t bytes, bytes_max;
};

/* Records begin with their struct verify_name. */
struct verify_table {
    struct verify_memory *memory; /* shared, borrowed */
    size_t record_size, capacity, count;
    unsigned char *records;
};

void verify_table_init(struct verify_table *table, struct verify_memory *memory, size_t record_size);
void verify_table_deinit(struct verify_table *table);
void verify_table_clear(struct verify_table *table);                               /* gives its memory back */
void *verify_table_get(const struct verify_table *table, struct verify_name name); /* NULL: absent */
/* The record of that name, zeroed but for the name where it is new. NULL when there is no memory for it. A
 * record moves when another is added. */
void *verify_table_add(struct verify_table *table, struct verify_name name);
/* Forgets the records that are not in the part. */
void verify_table_narrow(struct verify_table *table, const struct verify_part *part);
/* The records, in no order: *at is 0 at first. NULL: that was all. */
void *verify_table_next(const struct verify_table *table, size_t *at);
