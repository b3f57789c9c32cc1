/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads as every type of event. What decodes is encoded in one way only: encoding and decoding it again
 * gives the same bytes. */
#include "common/base/mem.h"
#include "events/codec.h"
#include "tests/fuzz/fuzz.h"

enum { ARENA_BYTES = 1 << 20, DATA_MAX = 1 << 20 };

static void as_type(int type, int16_t version, struct span bytes)
{
    struct event event = {.type = (enum event_type)type, .version = version, .data = bytes};
    struct arena arena;
    struct buf once, twice;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&once, DATA_MAX);
    buf_init(&twice, DATA_MAX);
    if (event_decode(&event, &arena) == CODEC_OK) {
        event.version = event_describe(type)->version;
        event_encode(&event, &once);
        event.data = buf_span(&once);
        CHECK(!once.overflow && event_decode(&event, &arena) == CODEC_OK);
        event_encode(&event, &twice);
        CHECK(span_equal(buf_span(&once), buf_span(&twice)));
    }
    buf_deinit(&once);
    buf_deinit(&twice);
    arena_deinit(&arena);
}

FUZZ_TARGET(event)
{
    for (int type = 1; type < EVENT_TYPE_END; type++)
        for (int16_t version = 1; version <= event_describe(type)->version; version++)
            as_type(type, version, fuzz_text(data, size));
    return 0;
}
