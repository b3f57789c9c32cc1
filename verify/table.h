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

/* What its tables share. They stay where they are as long as it is used. */
struct verify_memory {
    size_t bytes, bytes_max;
    struct verify_table *tables;
    struct verify_part part, todo[64]; /* the one that is followed; those left to later passes */
    size_t todo_count;
};
void verify_memory_clear(struct verify_memory *memory); /* nothing is remembered, nothing is held */
/* Clears it for a first pass, of all names; and for the next one: false where none is left. */
void verify_memory_begin(struct verify_memory *memory);
bool verify_memory_again(struct verify_memory *memory) MUST_USE;

/* Records begin with their struct verify_name. */
struct verify_table {
    struct verify_memory *memory; /* shared, borrowed */
    struct verify_table *next;    /* that shares it */
    size_t record_size, capacity, count;
    unsigned char *records;
};

void verify_table_init(struct verify_table *table, struct verify_memory *memory, size_t record_size);
void *verify_table_get(const struct verify_table *table, struct verify_name name); /* NULL: absent */
/* The record of that name, zeroed but for the name where it is new. NULL when there is no memory for it. A
 * record moves when another is added. */
void *verify_table_add(struct verify_table *table, struct verify_name name);
/* The same, and where there is no memory for it half of the names that are followed are left to a later pass.
 * NULL: it is not of those that are followed. `position` is the event's that it is asked for. */
void *verify_table_follow(struct verify_table *table, struct verify_name name, int64_t position);
/* The records, in no order: *at is 0 at first. NULL: that was all. */
void *verify_table_next(const struct verify_table *table, size_t *at);
