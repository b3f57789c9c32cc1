/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out is a gzip file of what went in, and always has room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <zlib.h>

#include <cmocka.h>

#include "common/base/crypto.h"
#include "common/base/gzip.h"
#include "common/base/mem.h"

static void expect_comes_back(struct span text)
{
    struct buf coded;
    z_stream stream = {0};
    size_t room = text.len + 1;
    char *back = mem_alloc(room);
    buf_init(&coded, gzip_bound(text.len));
    gzip_append(&coded, text);
    assert_false(coded.overflow);
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK); /* nothing but gzip */
    stream.next_in = (Bytef *)coded.data;
    stream.avail_in = (uInt)coded.len;
    stream.next_out = (Bytef *)back;
    stream.avail_out = (uInt)room;
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.avail_in, 0);
    assert_int_equal(room - stream.avail_out, text.len);
    assert_true(text.len == 0 || memcmp(back, text.ptr, text.len) == 0);
    inflateEnd(&stream);
    mem_free(back);
    buf_deinit(&coded);
}

static void texts_come_back(void **)
{
    enum { BYTES = 1 << 20 };
    uint8_t *bytes = mem_alloc(BYTES);
    expect_comes_back(SPAN(""));
    expect_comes_back(SPAN("{\"items\":[]}"));
    crypto_random(bytes, BYTES); /* nothing can be made of it */
    expect_comes_back((struct span){(const char *)bytes, BYTES});
    memset(bytes, 'x', BYTES);
    struct buf coded;
    buf_init(&coded, gzip_bound(BYTES));
    gzip_append(&coded, (struct span){(const char *)bytes, BYTES});
    assert_true(coded.len < BYTES / 100);
    buf_deinit(&coded);
    mem_free(bytes);
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_come_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
