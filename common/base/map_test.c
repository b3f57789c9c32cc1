/* SPDX-License-Identifier: Apache-2.0 */
/* The table against a model: random puts, gets and removes over few keys, so that probes collide and wrap. */
#include "common/base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { KEYS = 200, STEPS = 200000 };

static char names[KEYS][8];

static struct span name_of(size_t i)
{
    return span_of(names[i]);
}

static void map_behaves_like_an_array(void **)
{
    bool present[KEYS] = {false};
    struct map map;
    uint32_t random = 1;
    map_init(&map);
    for (size_t i = 0; i < KEYS; i++)
        snprintf(names[i], sizeof names[i], "k%zu", i);
    for (size_t step = 0; step < STEPS; step++) {
        random = random * 1664525u + 1013904223u;
        size_t i = (random >> 8) % KEYS;
        assert_ptr_equal(map_get(&map, name_of(i)), present[i] ? names[i] : NULL);
        if (present[i])
            assert_ptr_equal(map_remove(&map, name_of(i)), names[i]);
        else
            map_put(&map, name_of(i), names[i]);
        present[i] = !present[i];
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&map, name_of(i)), present[i] ? names[i] : NULL);
    map_clear(&map);
    for (size_t i = 0; i < KEYS; i++)
        assert_null(map_get(&map, name_of(i)));
    map_deinit(&map);
}

static void empty_map_answers(void **)
{
    struct map map;
    map_init(&map);
    assert_null(map_get(&map, SPAN("x")));
    assert_null(map_remove(&map, SPAN("x")));
    map_clear(&map);
    map_deinit(&map);
}

/* --- Hostile names --- */

enum { HOSTILE = 10000, BLOCKS = 22, BLOCK_LEN = 4, NAME_LEN = 24 };

/* What the table used to hash with: its low bits depend on the low bits of its input alone, so that blocks
 * which leave them as they were can be strung together as one likes. */
static uint64_t fnv1a(uint64_t hash, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash;
}

/* Blocks of four letters after which the low 16 bits of `start` are again what they were. */
static void find_blocks(uint64_t start, char blocks[BLOCKS][BLOCK_LEN])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.:+=@ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t found = 0;
    for (size_t i = 0; found < BLOCKS; i++) {
        size_t left = i;
        for (size_t at = 0; at < BLOCK_LEN; at++, left /= sizeof letters - 1)
            blocks[found][at] = letters[left % (sizeof letters - 1)];
        assert_int_equal(left, 0);
        found += ((fnv1a(start, blocks[found], BLOCK_LEN) ^ start) & 0xFFFF) == 0;
    }
}

/* How many entries a look-up of every name passes, itself included. */
static size_t probes_of(char (*texts)[NAME_LEN + 1])
{
    struct map map;
    size_t probes = 0;
    map_init(&map);
    for (size_t i = 0; i < HOSTILE; i++)
        map_put(&map, span_of(texts[i]), texts[i]);
    for (size_t i = 0; i < map.capacity; i++)
        if (map.entries[i].key.ptr)
            probes += ((i - map.entries[i].hash) & (map.capacity - 1)) + 1;
    map_deinit(&map);
    return probes;
}

static void names_made_to_collide_cost_what_others_cost(void **)
{
    static char hostile[HOSTILE][NAME_LEN + 1], ordinary[HOSTILE][NAME_LEN + 1];
    char blocks[BLOCKS][BLOCK_LEN];
    uint64_t start = fnv1a(14695981039346656037u, "u-", 2), first = 0;
    find_blocks(start, blocks);
    for (size_t i = 0; i < HOSTILE; i++) {
        snprintf(ordinary[i], sizeof ordinary[i], "u-%zu", i);
        snprintf(hostile[i], sizeof hostile[i], "u-%.4s%.4s%.4s", blocks[i % BLOCKS],
                 blocks[i / BLOCKS % BLOCKS], blocks[i / BLOCKS / BLOCKS]);
        uint64_t hash = fnv1a(14695981039346656037u, hostile[i], strlen(hostile[i])) & 0x3FFF;
        first = i ? first : hash;
        assert_true(hash == first); /* they do collide where the hash can be guessed */
    }
    assert_true(2 * probes_of(hostile) <= 3 * probes_of(ordinary));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_behaves_like_an_array),
        cmocka_unit_test(empty_map_answers),
        cmocka_unit_test(names_made_to_collide_cost_what_others_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
