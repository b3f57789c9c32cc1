/* SPDX-License-Identifier: Apache-2.0 */
/* Counting campaigns by creator and day. */
#include "verify/quota.h"

#include <string.h>

#include "common/base/clock.h"

enum { MEMORY_MAX = 64 * 1024 * 1024 };

struct quota_count {
    struct verify_name name;
    int64_t day, counted, used;
    char scope[QUOTA_SCOPE_MAX];
    uint8_t scope_len;
};

void verify_quota_init(struct verify_quota *quota, const int64_t heads[SLICE_COUNT])
{
    *quota = (struct verify_quota){.memory = {.bytes_max = MEMORY_MAX}, .heads = heads};
    verify_table_init(&quota->counts, &quota->memory, (sizeof(struct quota_count) + 7) / 8 * 8);
}

void verify_quota_deinit(struct verify_quota *quota)
{
    verify_memory_clear(&quota->memory);
}

/* NULL: there is no memory for another. */
static struct quota_count *count_of(struct verify_quota *quota, struct span scope, int64_t day)
{
    struct verify_name name = verify_name_of((struct span){(const char *)&day, sizeof day}, scope);
    struct quota_count *count = scope.len <= QUOTA_SCOPE_MAX ? verify_table_add(&quota->counts, name) : NULL;
    if (!count) {
        quota->overflow = true;
        return NULL;
    }
    memcpy(count->scope, scope.ptr, scope.len);
    count->scope_len = (uint8_t)scope.len;
    count->day = day;
    return count;
}

void verify_quota_row(struct verify_quota *quota, const struct verify_quota_row *row)
{
    struct quota_count *count = count_of(quota, row->scope, row->day);
    if (count)
        count->used += row->used;
}

static void add(struct verify_quota *quota, struct span scope, int64_t day, int64_t number)
{
    struct quota_count *count = count_of(quota, scope, day);
    if (count)
        count->counted += number;
}

void verify_quota_created(struct verify_quota *quota, const struct event *created)
{
    char scope[QUOTA_SCOPE_MAX] = "key:";
    struct span by = created->campaign_created.created_by;
    int64_t day = created->recorded_at_us / US_PER_DAY;
    if (created->position > quota->heads[created->slice])
        return;
    CHECK(by.len <= EVENT_TEXT_MAX);
    if (by.len)
        memcpy(scope + 4, by.ptr, by.len);
    add(quota, SPAN("*"), day, 1);
    add(quota, (struct span){scope, 4 + by.len}, day, 1);
}

void verify_quota_open(struct verify_quota *quota, int64_t stock)
{
    if (stock)
        add(quota, SPAN("#"), 0, stock);
}

bool verify_quota_end(struct verify_quota *quota, struct verify_report *report)
{
    size_t at = 0;
    if (quota->overflow)
        return false;
    for (const struct quota_count *count; (count = verify_table_next(&quota->counts, &at));) {
        struct verify_place place = {.slice = -1, .key = {count->scope, count->scope_len}};
        if (count->used != count->counted)
            verify_differ(report, VERIFY_QUOTA_ROW, &place,
                          "day %lld after 1970-01-01: %lld used, the log says %lld", (long long)count->day,
                          (long long)count->used, (long long)count->counted);
    }
    return true;
}
