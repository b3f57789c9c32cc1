/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing chains. */
#include "query-service/feed/history.h"

static bool is(struct span chain, const uint8_t known[CHAIN_BYTES])
{
    return span_equal(chain, (struct span){(const char *)known, CHAIN_BYTES});
}

static bool is_the_same(const struct history *history, const struct history_row *row)
{
    int64_t known = history->slices[row->slice].head;
    const uint8_t *chain = history->slices[row->slice].chain;
    if (known == 0)
        return true;
    if (row->head < known)
        return row->standby;
    return is(row->head == known ? row->chain : row->was, chain);
}

bool history_take(struct history *history, const struct history_row *row)
{
    CHECK(row->slice >= 0 && row->slice < SLICE_COUNT);
    bool same = is_the_same(history, row);
    if (row->chain.len == CHAIN_BYTES && (!same || row->head >= history->slices[row->slice].head)) {
        history->slices[row->slice].head = row->head;
        memcpy(history->slices[row->slice].chain, row->chain.ptr, CHAIN_BYTES);
    }
    return same;
}
