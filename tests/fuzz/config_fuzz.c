/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options, of each kind. */
#include "common/base/config.h"
#include "common/base/mem.h"
#include "tests/fuzz/fuzz.h"

struct options {
    int64_t number;
    const char *text;
    bool flag;
};

static const struct config_option table[] = {
    {"number", CONFIG_INT, offsetof(struct options, number), "5", -7, INT64_MAX, "ms", "a number"},
    {"text", CONFIG_STRING, offsetof(struct options, text), "x", 1, 9, "", "a text"},
    {"flag", CONFIG_FLAG, offsetof(struct options, flag), NULL, 0, 0, "", "a flag"},
};

FUZZ_TARGET(config)
{
    struct options options = {0};
    char reason[256] = "";
    char *text = mem_alloc(size + 1);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    if (config_set(&table[0], text, &options, reason, sizeof reason))
        CHECK(options.number >= -7);
    else
        CHECK(reason[0]);
    if (config_set(&table[1], text, &options, reason, sizeof reason))
        CHECK(strlen(options.text) >= 1 && strlen(options.text) <= 9);
    (void)config_set(&table[2], text, &options, reason, sizeof reason);
    mem_free(text);
    return 0;
}
