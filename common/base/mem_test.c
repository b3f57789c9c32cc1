/* SPDX-License-Identifier: Apache-2.0 */
/* The heap wrappers at their edges, and the arena: alignment, zeroes, the bound. */
#include "common/base/mem.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka.h needs some of the above */
#include <cmocka.h>

#include "common/base/check.h"

static void heap(void **)
{
    unsigned char *zeroed = mem_zalloc(100), *grown;
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(zeroed[i], 0);
    memset(zeroed, 7, 100);
    grown = mem_realloc(zeroed, 10000);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(grown[i], 7);
    mem_free(grown);
    void *nothing = mem_alloc(0);
    assert_non_null(nothing);
    nothing = mem_realloc(nothing, 0);
    assert_non_null(nothing);
    mem_free(nothing);
    mem_free(mem_zalloc(0));
    mem_free(NULL);
    char *copy = mem_strdup("text");
    assert_string_equal(copy, "text");
    mem_free(copy);
}

/* Fills what it got, so that the address sanitizer and the next allocation notice an overlap. */
static unsigned char *take(struct arena *arena, size_t size)
{
    unsigned char *ptr = arena_alloc(arena, size);
    assert_non_null(ptr);
    assert_int_equal((uintptr_t)ptr % alignof(max_align_t), 0);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(ptr[i], 0);
    if (size)
        memset(ptr, 0xA5, size);
    return ptr;
}

static void arena_gives_zeroed_aligned_memory(void **)
{
    struct arena arena;
    unsigned char *kept[200];
    arena_init(&arena, 1 << 20);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT_OF(kept); i++) {
            kept[i] = take(&arena, i * 7 % 300 + 1);
            memset(kept[i], (int)i, i * 7 % 300 + 1);
        }
        for (size_t i = 0; i < COUNT_OF(kept); i++)
            for (size_t j = 0; j < i * 7 % 300 + 1; j++)
                assert_int_equal(kept[i][j], i);
        arena_reset(&arena);
        assert_int_equal(arena.bytes, 0);
    }
    take(&arena, 0);
    take(&arena, 100000); /* more than one block */
    take(&arena, 1);
    take(&arena, 5000);
    arena_deinit(&arena);
    arena_deinit(&arena);
}

static void arena_keeps_its_bound(void **)
{
    struct arena arena;
    arena_init(&arena, 1000);
    take(&arena, 500);
    assert_null(arena_alloc(&arena, 500)); /* 512 + 512 */
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 20));
    take(&arena, 480);
    assert_null(arena_alloc(&arena, 1));
    arena_reset(&arena);
    take(&arena, 992);
    arena_deinit(&arena);
    arena_init(&arena, 0);
    assert_null(arena_alloc(&arena, 1));
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heap),
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(arena_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
