/* SPDX-License-Identifier: Apache-2.0 */
/* The one place a broken invariant ends. */
#include "common/base/check.h"

void check_failed(const char *file, int line, const char *function, const char *what)
{
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, function, what);
    fflush(stderr);
    abort();
}
