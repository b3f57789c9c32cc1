/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that knows zlib. */
#include "common/base/gzip.h"

#include <limits.h>
#include <zlib.h>

#include "common/base/mem.h"

enum { LEVEL = 1, GZIP_WINDOW_BITS = 15 + 16, MEMORY_LEVEL = 8, HEADER_BYTES = 64 };

/* deflateBound for these settings, and what gzip puts around it. */
size_t gzip_bound(size_t len)
{
    return len + (len >> 12) + (len >> 14) + (len >> 25) + HEADER_BYTES;
}

void gzip_append(struct buf *out, struct span text)
{
    z_stream stream = {0};
    size_t room = gzip_bound(text.len);
    CHECK(text.len <= UINT_MAX / 2); /* answers are bounded far below */
    char *coded = mem_alloc(room);
    CHECK(deflateInit2(&stream, LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) ==
          Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)text.ptr; /* zlib does not write there */
    stream.avail_in = (uInt)text.len;
    stream.next_out = (Bytef *)coded;
    stream.avail_out = (uInt)room;
    CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    buf_append(out, coded, room - stream.avail_out);
    CHECK(deflateEnd(&stream) == Z_OK);
    mem_free(coded);
}
