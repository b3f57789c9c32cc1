/* SPDX-License-Identifier: Apache-2.0 */
/* A fuzz target: one function that takes any bytes and must neither crash nor break the properties it CHECKs.
 * `make fuzz` links each with libFuzzer; corpus_test.c calls all of them with what is in corpus/. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

#define FUZZ_FUNCTION(name)                     \
    int name(const uint8_t *data, size_t size); \
    int name(const uint8_t *data, size_t size)

#ifdef LIBFUZZER
#define FUZZ_TARGET(name) FUZZ_FUNCTION(LLVMFuzzerTestOneInput)
#else
#define FUZZ_TARGET(name) FUZZ_FUNCTION(fuzz_##name)
#endif

static inline struct span fuzz_text(const uint8_t *data, size_t size)
{
    return (struct span){size ? (const char *)data : "", size};
}
