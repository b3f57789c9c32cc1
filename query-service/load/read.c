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
    read_forget_parts(read);
    answer_deinit(&read->answer);
    buf_deinit(&read->waiter.key);
    mem_free(read);
}

struct read *read_add_part(struct read *read)
{
    struct read *part = read_create(read->query.kind, read->query.now_us);
    part->is_part = true;
    part->query = read->query;
    part->item.deadline_us = read->item.deadline_us;
    part->source = read->source;
    CHECK(read->parts_count < COUNT_OF(read->parts));
    read->parts[read->parts_count++] = part;
    return part;
}

void read_forget_parts(struct read *read)
{
    for (size_t i = 0; i < read->parts_count; i++)
        read_destroy(read->parts[i]);
    read->parts_count = 0;
}

void read_join(struct read *read)
{
    const struct answer *answers[SHARDS_MAX];
    answer_reset(&read->answer);
    read->failure = READ_GOOD;
    read->settled = true;
    memset(read->stands_on, 0, sizeof read->stands_on);
    for (size_t i = 0; i < read->parts_count; i++) {
        const struct read *part = read->parts[i];
        answers[i] = &part->answer;
        read->settled &= part->settled;
        if (read->failure == READ_GOOD)
            read->failure = part->failure;
        for (int slice = 0; slice < SLICE_COUNT; slice++) /* 0 where it is another's */
            read->stands_on[slice] += part->stands_on[slice];
    }
    if (read->failure == READ_GOOD)
        answer_merge(&read->answer, answers, read->parts_count, &read->query);
}
