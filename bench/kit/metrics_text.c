/* SPDX-License-Identifier: Apache-2.0 */
/* One line for each series: its name and labels, a space, its value. */
#include "bench/kit/metrics_text.h"

bool metrics_find(struct span text, const char *name, int64_t *ret)
{
    size_t len = strlen(name);
    for (struct span rest = text; rest.ptr && rest.len > 0;) {
        struct span line = span_cut(&rest, '\n');
        if (line.len > len && line.ptr[len] == ' ' && span_starts(line, span_of(name)))
            return parse_i64((struct span){line.ptr + len + 1, line.len - len - 1}, INT64_MIN, INT64_MAX,
                             ret);
    }
    return false;
}
