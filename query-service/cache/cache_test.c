/* SPDX-License-Identifier: Apache-2.0 */
/* The cache in process: bounded by bytes whatever is put in, unimpressed by scans, never set back, and used
 * by several threads at once. */
#include "query-service/cache/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/base/process.h"
#include "common/base/testing.h"

enum { KEY_MAX = 64, BODY_MAX = 4000 };

static struct entry *entry_at_position(int64_t position, size_t size)
{
    static const char body[BODY_MAX];
    int64_t positions[SLICE_COUNT] = {position};
    struct entry_subject subject = {
        .slices = 1, .bucket = ENTRY_NO_BUCKET, .campaign_slot = ENTRY_CAMPAIGN_SLOTS};
    struct entry_rendering rendering = {.body = {body, size}, .until_us = ENTRY_FOREVER};
    struct entry_source source = {.renderings = &rendering,
                                  .renderings_count = 1,
                                  .status = 200,
                                  .subject = &subject,
                                  .stands_on = positions};
    return entry_create(&source, 0.5);
}

static struct span key_of(char *text, const char *prefix, int number)
{
    snprintf(text, KEY_MAX, "/%s/%d", prefix, number);
    return span_of(text);
}

static void put(struct cache *cache, const char *prefix, int number, int64_t position, size_t size)
{
    char text[KEY_MAX];
    struct entry *entry = entry_at_position(position, size);
    cache_put(cache, key_of(text, prefix, number), entry);
    entry_release(entry);
}

/* The position of what is there, -1 for nothing. */
static int64_t get(struct cache *cache, const char *prefix, int number)
{
    char text[KEY_MAX];
    struct entry *entry = cache_get(cache, key_of(text, prefix, number));
    int64_t position = entry ? entry->positions[0] : -1;
    entry_release(entry);
    return position;
}

static void what_is_put_is_there(void **)
{
    struct cache *cache = cache_create(1 << 20, 4);
    assert_int_equal(get(cache, "a", 1), -1);
    put(cache, "a", 1, 7, 100);
    put(cache, "a", 2, 8, 100);
    assert_int_equal(get(cache, "a", 1), 7);
    assert_int_equal(get(cache, "a", 2), 8);
    assert_int_equal(cache_stats(cache).entries, 2);
    cache_clear(cache);
    assert_int_equal(get(cache, "a", 1), -1);
    assert_int_equal(cache_stats(cache).bytes, 0);
    cache_destroy(cache);
}

static void a_late_load_takes_nothing_back(void **)
{
    struct cache *cache = cache_create(1 << 20, 1);
    put(cache, "a", 1, 7, 100);
    put(cache, "a", 1, 6, 100);
    assert_int_equal(get(cache, "a", 1), 7);
    put(cache, "a", 1, 7, 3000); /* as far, and loaded later */
    size_t bytes = cache_stats(cache).bytes;
    put(cache, "a", 1, 9, 100);
    assert_int_equal(get(cache, "a", 1), 9);
    assert_true(cache_stats(cache).bytes < bytes - 2800);
    assert_int_equal(cache_stats(cache).entries, 1);
    cache_destroy(cache);
}

static void nothing_makes_it_grow(void **)
{
    enum { BYTES = 200000 };
    struct cache *cache = cache_create(BYTES, 2);
    uint64_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        put(cache, "r", (int)(random_next(&seed) % 500), i, random_next(&seed) % BODY_MAX);
        (void)get(cache, "r", (int)(random_next(&seed) % 500));
        assert_true(cache_stats(cache).bytes <= BYTES);
    }
    struct cache_stats stats = cache_stats(cache);
    assert_true(stats.bytes > BYTES / 2);
    assert_true(stats.evicted > 1000);
    cache_destroy(cache);
}

static void what_is_too_large_is_not_kept(void **)
{
    struct cache *cache = cache_create(16000, 1), *none = cache_create(0, 4);
    put(cache, "small", 1, 1, 1000);
    put(cache, "large", 1, 1, 2000); /* more than an eighth, with what keeps it */
    put(none, "small", 1, 1, 1);
    assert_int_equal(get(cache, "small", 1), 1);
    assert_int_equal(get(cache, "large", 1), -1);
    put(cache, "small", 1, 2, 2000); /* has grown: what was there is not given for it */
    assert_int_equal(get(cache, "small", 1), -1);
    put(cache, "small", 1, 3, 1000);
    assert_int_equal(get(none, "small", 1), -1);
    cache_destroy(cache);
    cache_destroy(none);
}

/* Fifty targets that people want, and ten times as many as there is room for that a crawler walks through. */
static void a_scan_does_not_wash_it_out(void **)
{
    enum { WANTED = 50, SCANNED = 5000, ROOM = 500 };
    struct entry *entry = entry_at_position(1, 500);
    struct cache *cache = cache_create(ROOM * (entry->bytes + 140), 1);
    entry_release(entry);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < WANTED; i++)
            if (get(cache, "wanted", i) < 0)
                put(cache, "wanted", i, 1, 500);
    int found = 0, asked = 0;
    for (int i = 0; i < SCANNED; i++) {
        put(cache, "scan", i, 1, 500);
        if (i % 10 == 0) {
            asked++;
            found += get(cache, "wanted", i / 10 % WANTED) > 0;
        }
    }
    assert_true(cache_stats(cache).evicted > SCANNED - ROOM);
    assert_int_equal(found, asked);
    cache_destroy(cache);
}

/* What comes back after it was pushed out has shown that it is wanted: it gets to where no scan pushes it
 * out. It is the first that is pushed out here, because the memory of what was is a table of hashes in which
 * a later one may take its place. */
static void a_second_coming_is_remembered(void **)
{
    enum { ROOM = 100 };
    struct entry *entry = entry_at_position(1, 500);
    struct cache *cache = cache_create(ROOM * (entry->bytes + 300), 1);
    put(cache, "back", 0, 1, 500);
    for (int i = 0; cache_stats(cache).evicted == 0; i++)
        put(cache, "scan", i, 1, 500);
    assert_int_equal(get(cache, "back", 0), -1);
    put(cache, "back", 0, 2, 500);
    for (int i = 0; i < 2 * ROOM; i++) /* would push anything out of the small queue */
        put(cache, "more", i, 1, 500);
    assert_int_equal(get(cache, "back", 0), 2);
    cache_destroy(cache);
    entry_release(entry);
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* they keep what is freed for a while \
                                                                     */
/* Twice: what was pushed out must be of use to what comes later. */
static void *put_many(void *context)
{
    struct cache *cache = context;
    static _Atomic int names;
    int first = atomic_fetch_add(&names, 1) * 1000000;
    uint64_t seed = (uint64_t)first + 7;
    for (int i = 0; i < 300000; i++)
        put(cache, "v1/campaigns/a-name-of-usual-length", first + i, 1, 200 + random_next(&seed) % 600);
    return NULL;
}

/* The bound is of what is really used: as much as the process grows, but for a quarter. */
static void the_bound_is_of_what_is_used(void **)
{
    enum { BYTES = 64 << 20 };
    pthread_t threads[2];
    int64_t before = process_resident_bytes(getpid());
    struct cache *cache = cache_create(BYTES, 16);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, cache), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    int64_t grown = process_resident_bytes(getpid()) - before;
    print_message("%lld MiB for a bound of %d\n", (long long)grown >> 20, BYTES >> 20);
    assert_true(cache_stats(cache).bytes > BYTES / 10 * 9);
    assert_true(grown < BYTES / 4 * 5);
    cache_destroy(cache);
}
#endif

static void *hammer(void *context)
{
    struct cache *cache = context;
    uint64_t seed = (uint64_t)(uintptr_t)&seed;
    for (int i = 0; i < 20000; i++) {
        int number = (int)(random_next(&seed) % 300);
        if (random_next(&seed) % 4 == 0)
            put(cache, "t", number, number, random_next(&seed) % 2000);
        int64_t position = get(cache, "t", number);
        CHECK(position == -1 || position == number);
    }
    return NULL;
}

static void threads_share_it(void **)
{
    pthread_t threads[4];
    struct cache *cache = cache_create(100000, 4);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, cache), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(cache_stats(cache).bytes <= 100000);
    cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_there),
        cmocka_unit_test(a_late_load_takes_nothing_back),
        cmocka_unit_test(nothing_makes_it_grow),
        cmocka_unit_test(what_is_too_large_is_not_kept),
        cmocka_unit_test(a_scan_does_not_wash_it_out),
        cmocka_unit_test(a_second_coming_is_remembered),
        cmocka_unit_test(threads_share_it),
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(the_bound_is_of_what_is_used),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
