/* SPDX-License-Identifier: Apache-2.0 */
/* Big-endian numbers of 1 to 8 bytes, in one place: as bytes they sort as they do as numbers. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline uint64_t be_get(const void *from, size_t len)
{
    const unsigned char *bytes = from;
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* The low `len` bytes of the value. */
static inline void be_put(void *to, size_t len, uint64_t value)
{
    unsigned char *bytes = to;
    for (size_t i = len; i > 0; i--, value >>= 8)
        bytes[i - 1] = (unsigned char)value;
}
