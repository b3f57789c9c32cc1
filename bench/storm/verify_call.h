/* SPDX-License-Identifier: Apache-2.0 */
/* Runs `projector verify` as a program of its own: the log against itself, the state rows and,
 * where a Redis is named, the read models. It says on standard output what it finds. Blocks. */
#pragma once

#include <stdint.h>

struct verify_call {
    const char *database_url;
    const char *shards_file; /* in its place, where several databases have the log; NULL */
    const char *redis_url;   /* NULL: only the log and the state rows */
    int16_t slice;           /* -1: all, and what counts over all */
    const char *output;      /* a file to which it is appended instead; NULL: none */
};

/* Its exit status: 0 nothing differs, 1 something does, otherwise not all could be compared; -1: it did not
 * end in time or by itself. The program is looked for in BIN_DIR, else beside this one. */
int verify_call(const struct verify_call *call);
