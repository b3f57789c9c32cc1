/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing chains. */
#include "query-service/feed/log_identity.h"

static bool is(struct span chain, const uint8_t known[CHAIN_BYTES])
{
    return span_equal(chain, (struct span){(const char *)known, CHAIN_BYTES});
}

static bool is_the_same(const struct log_identity *identity, const struct log_identity_row *row)
{
    int64_t known = identity->slices[row->slice].head;
    const uint8_t *chain = identity->slices[row->slice].chain;
    if (known == 0)
        return true;
    if (row->head < known)
        return row->standby;
    return is(row->head == known ? row->chain : row->was, chain);
}

bool log_identity_take(struct log_identity *identity, const struct log_identity_row *row)
{
    CHECK(row->slice >= 0 && row->slice < SLICE_COUNT);
    bool same = is_the_same(identity, row);
    if (row->chain.len == CHAIN_BYTES && (!same || row->head >= identity->slices[row->slice].head)) {
        identity->slices[row->slice].head = row->head;
        memcpy(identity->slices[row->slice].chain, row->chain.ptr, CHAIN_BYTES);
    }
    return same;
}
