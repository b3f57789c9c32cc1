/* SPDX-License-Identifier: Apache-2.0 */
/* Heap wrappers that never return NULL, and the arena. */
#include "common/base/mem.h"

#include <malloc.h>
#include <stdalign.h>
#include <stdint.h>

#include "common/base/check.h"

enum { ARENA_BLOCK_BYTES = 4096 - 64 };

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    alignas(max_align_t) unsigned char data[];
};

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size ? size : 1);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *grown = realloc(ptr, size ? size : 1);
    CHECK(grown != NULL);
    return grown;
}

size_t mem_size(const void *ptr)
{
    return malloc_usable_size((void *)(uintptr_t)ptr) + sizeof(size_t);
}

void mem_free(void *ptr)
{
    free(ptr);
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){.bytes_max = bytes_max};
}

void arena_reset(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *next = arena->blocks->next;
        mem_free(arena->blocks);
        arena->blocks = next;
    }
    arena->bytes = 0;
}

void arena_deinit(struct arena *arena)
{
    arena_reset(arena);
}

static struct arena_block *arena_grow(struct arena *arena, size_t size)
{
    size_t room = size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES;
    struct arena_block *block = mem_alloc(sizeof *block + room);
    block->next = arena->blocks;
    block->used = 0;
    block->size = room;
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t aligned = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (aligned < size || aligned > arena->bytes_max - arena->bytes)
        return NULL;
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < aligned)
        block = arena_grow(arena, aligned);
    void *ptr = block->data + block->used;
    block->used += aligned;
    arena->bytes += aligned;
    return memset(ptr, 0, aligned);
}
