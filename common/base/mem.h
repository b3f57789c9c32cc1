/* SPDX-License-Identifier: Apache-2.0 */
/* Heap and arena. Running out of memory ends the process (the log is durable, a restart is cheap, and code
 * that "handles" a failed 40-byte allocation is code nobody has ever run), so callers never check for NULL.
 * Sizes that depend on outside input must be bounded before they get here. */
#pragma once

#include <stddef.h>

/* All thread-safe. mem_free accepts NULL. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *ptr, size_t size);
void mem_free(void *ptr);
char *mem_strdup(const char *text);
size_t mem_size(const void *ptr); /* what the allocator took for a block, its own word included */

/* An arena: memory with one lifetime (a request, a batch). Allocation is a pointer bump, release is all at
 * once. Not thread-safe; one owner at a time. `bytes_max` bounds what outside input can make it hold: past it
 * the process does not die, arena_alloc returns NULL only there. */
struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t bytes, bytes_max;
};

void arena_init(struct arena *arena, size_t bytes_max);
void arena_reset(struct arena *arena); /* frees everything allocated from it; the arena stays usable */
void arena_deinit(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for any type; NULL past bytes_max */
