/* SPDX-License-Identifier: Apache-2.0 */
/* Making and ending reads. */
#include "query-service/load/read.h"

#include "common/base/mem.h"

const char *fallback_label(enum fallback fallback)
{
#define FALLBACK_LABEL(name, label) [name] = label,
    static const char *const labels[] = {FALLBACKS(FALLBACK_LABEL)};
    CHECK((size_t)fallback < COUNT_OF(labels));
    return labels[fallback];
}

struct read *read_create(enum query_kind kind, int64_t now_us)
{
    struct read *read = mem_zalloc(sizeof *read);
    query_init(&read->query, kind, now_us);
    answer_init(&read->answer);
    buf_init(&read->waiter.key, QUERY_KEY_MAX);
    return read;
}

void read_destroy(struct read *read)
{
    if (!read)
        return;
    answer_deinit(&read->answer);
    buf_deinit(&read->waiter.key);
    mem_free(read);
}
