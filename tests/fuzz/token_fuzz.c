/* SPDX-License-Identifier: Apache-2.0 */
/* Consistency tokens: what is one, is written as it was read. */
#include "events/ids.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(token)
{
    struct position at;
    struct buf out;
    if (!consistency_token_parse(fuzz_text(data, size), &at))
        return 0;
    CHECK(at.slice >= 0 && at.slice < SLICE_COUNT && at.position >= 0);
    buf_init(&out, CONSISTENCY_TOKEN_MAX);
    consistency_token_write(&out, at);
    CHECK(!out.overflow && span_equal(buf_span(&out), fuzz_text(data, size)));
    buf_deinit(&out);
    return 0;
}
