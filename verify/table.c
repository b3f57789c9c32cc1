/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing, at most 3/4 full; records are never removed one by one. */
#include "verify/table.h"

#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"

enum { CAPACITY_FIRST = 64, PART_BITS_MAX = 40 };

/* --- names and parts --- */

struct verify_name verify_name_of(struct span first, struct span second)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct verify_name name;
    if (second.ptr) {
        struct crypto_hasher hasher;
        uint64_t len = first.len; /* so that no text can move from one to the other */
        crypto_hash_begin(&hasher);
        crypto_hash_add(&hasher, (struct span){(const char *)&len, sizeof len});
        crypto_hash_add(&hasher, first);
        crypto_hash_add(&hasher, second);
        crypto_hash_end(&hasher, hash);
    } else {
        crypto_hash(NULL, first, hash, sizeof name);
    }
    memcpy(&name, hash, sizeof name);
    name.slot |= 1; /* 0 is a free record */
    return name;
}

struct verify_name verify_name_of_number(int64_t number)
{
    uint64_t z = (uint64_t)number * 0x9E3779B97F4A7C15u;
    return (struct verify_name){(z ^ (z >> 32)) | 1, (uint64_t)number};
}

bool verify_part_has(const struct verify_part *part, struct verify_name name)
{
    return (name.part & ((UINT64_C(1) << part->bits) - 1)) == part->value;
}

/* Halves it; returns the other half. */
static struct verify_part split(struct verify_part *part, int64_t position)
{
    CHECK(part->bits < PART_BITS_MAX);
    struct verify_part other = {
        .bits = part->bits + 1,
        .value = part->value | UINT64_C(1) << part->bits,
        .reported = position > part->reported ? position : part->reported,
    };
    part->bits++;
    return other;
}

/* --- tables --- */

void verify_table_init(struct verify_table *table, struct verify_memory *memory, size_t record_size)
{
    CHECK(record_size >= sizeof(struct verify_name) && record_size % sizeof(uint64_t) == 0);
    *table = (struct verify_table){.memory = memory, .next = memory->tables, .record_size = record_size};
    memory->tables = table;
}

static void clear(struct verify_table *table)
{
    table->memory->bytes -= table->capacity * table->record_size;
    mem_free(table->records);
    table->records = NULL;
    table->capacity = table->count = 0;
}

void verify_memory_clear(struct verify_memory *memory)
{
    for (struct verify_table *table = memory->tables; table; table = table->next)
        clear(table);
}

void verify_memory_begin(struct verify_memory *memory)
{
    verify_memory_clear(memory);
    memory->part = (struct verify_part){0};
    memory->todo_count = 0;
}

bool verify_memory_again(struct verify_memory *memory)
{
    if (memory->todo_count == 0)
        return false;
    verify_memory_clear(memory);
    memory->part = memory->todo[--memory->todo_count];
    return true;
}

static struct verify_name *record_at(const struct verify_table *table, size_t index)
{
    return (struct verify_name *)(void *)(table->records + index * table->record_size);
}

static bool is_free(const struct verify_name *record)
{
    return record->slot == 0;
}

/* The record of that name, or the free one where it would be. The table has one: it is never full. */
static struct verify_name *find(const struct verify_table *table, struct verify_name name)
{
    for (size_t i = (name.slot >> 1) & (table->capacity - 1);; i = (i + 1) & (table->capacity - 1)) {
        struct verify_name *record = record_at(table, i);
        if (is_free(record) || (record->slot == name.slot && record->part == name.part))
            return record;
    }
}

/* Moves the records that are in the part (NULL: all) to new memory for `capacity` of them. */
static void move(struct verify_table *table, size_t capacity, const struct verify_part *part)
{
    struct verify_table former = *table;
    table->records = mem_zalloc(capacity * table->record_size);
    table->capacity = capacity;
    table->count = 0;
    table->memory->bytes += capacity * table->record_size;
    for (size_t i = 0; i < former.capacity; i++) {
        const struct verify_name *record = record_at(&former, i);
        if (is_free(record) || (part && !verify_part_has(part, *record)))
            continue;
        memcpy(find(table, *record), record, table->record_size);
        table->count++;
    }
    table->memory->bytes -= former.capacity * table->record_size;
    mem_free(former.records);
}

/* While a table grows, its old records and its new ones are there. */
static bool make_room(struct verify_table *table)
{
    size_t capacity = table->capacity ? 2 * table->capacity : CAPACITY_FIRST;
    if (4 * (table->count + 1) <= 3 * table->capacity)
        return true;
    if (table->memory->bytes + capacity * table->record_size > table->memory->bytes_max)
        return false;
    move(table, capacity, NULL);
    return true;
}

void *verify_table_get(const struct verify_table *table, struct verify_name name)
{
    if (!table->capacity)
        return NULL;
    struct verify_name *record = find(table, name);
    return is_free(record) ? NULL : record;
}

void *verify_table_add(struct verify_table *table, struct verify_name name)
{
    struct verify_name *record = verify_table_get(table, name);
    if (record)
        return record;
    if (!make_room(table))
        return NULL;
    record = find(table, name);
    *record = name;
    table->count++;
    return record;
}

/* Forgets the records that are not in the part. */
static void narrow(struct verify_table *table, const struct verify_part *part)
{
    size_t staying = 0, capacity = CAPACITY_FIRST;
    for (size_t i = 0; i < table->capacity; i++)
        staying += !is_free(record_at(table, i)) && verify_part_has(part, *record_at(table, i));
    while (4 * (staying + 1) > 3 * capacity)
        capacity *= 2;
    if (table->capacity)
        move(table, capacity, part);
}

void *verify_table_follow(struct verify_table *table, struct verify_name name, int64_t position)
{
    struct verify_memory *memory = table->memory;
    while (verify_part_has(&memory->part, name)) {
        void *record = verify_table_add(table, name);
        if (record)
            return record;
        CHECK(memory->todo_count < COUNT_OF(memory->todo)); /* at most one for each bit */
        memory->todo[memory->todo_count++] = split(&memory->part, position - 1);
        for (struct verify_table *each = memory->tables; each; each = each->next)
            narrow(each, &memory->part);
    }
    return NULL;
}

void *verify_table_next(const struct verify_table *table, size_t *at)
{
    while (*at < table->capacity) {
        struct verify_name *record = record_at(table, (*at)++);
        if (!is_free(record))
            return record;
    }
    return NULL;
}
