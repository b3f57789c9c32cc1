/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the bus, which anybody on the host may send. */
#include "events/codec.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(hint)
{
    struct hint hint = {0}, again = {0};
    struct buf out;
    if (!hint_decode(fuzz_text(data, size), &hint))
        return 0;
    CHECK(hint.slice >= 0 && hint.slice < SLICE_COUNT && hint.position >= 0);
    CHECK(hint.campaigns_count <= HINT_CAMPAIGNS_MAX && hint.users_count <= HINT_USERS_MAX);
    buf_init(&out, HINT_BYTES_MAX);
    hint_encode(&hint, &out);
    CHECK(!out.overflow && hint_decode(buf_span(&out), &again));
    CHECK(again.slice == hint.slice && again.position == hint.position);
    CHECK(again.campaigns_count == hint.campaigns_count && again.users_count == hint.users_count);
    CHECK(again.rankings == hint.rankings && again.everything == hint.everything);
    buf_deinit(&out);
    return 0;
}
