/* SPDX-License-Identifier: Apache-2.0 */
/* Every input that is kept, through every target: what once was found stays found. */
#include <dirent.h>
#include <errno.h>

#include "common/base/mem.h"
#include "common/base/testing.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20, PATH_BYTES = 512 };

#define X(name) int fuzz_##name(const uint8_t *data, size_t size);
#include "tests/fuzz/targets.def"
#undef X

/* From memory that ends where the input ends, so that a sanitizer sees who reads on. */
static void replay_file(const char *path, int (*target)(const uint8_t *, size_t))
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    uint8_t *read = mem_alloc(INPUT_MAX);
    size_t size = fread(read, 1, INPUT_MAX, file);
    assert_int_equal(fclose(file), 0);
    uint8_t *exact = mem_alloc(size);
    memcpy(exact, read, size);
    mem_free(read);
    printf("%s\n", path); /* the last one is the culprit where the target ends the process */
    fflush(stdout);
    target(exact, size);
    mem_free(exact);
}

static void replay_folder(const char *name, int (*target)(const uint8_t *, size_t))
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    size_t count = 0;
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", name);
    DIR *dir = opendir(folder);
    if (!dir)
        fail_msg("%s: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        int len = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_true(len > 0 && (size_t)len < sizeof path);
        replay_file(path, target);
        count++;
    }
    closedir(dir);
    assert_true(count > 0);
}

#define X(name)                              \
    static void replays_##name(void **state) \
    {                                        \
        (void)state;                         \
        replay_folder(#name, fuzz_##name);   \
    }
#include "tests/fuzz/targets.def"
#undef X

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name) cmocka_unit_test(replays_##name),
#include "tests/fuzz/targets.def"
#undef X
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
