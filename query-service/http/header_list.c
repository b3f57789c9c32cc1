/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of list headers. */
#include "query-service/http/header_list.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct span header_list_next(struct span *rest)
{
    struct span text = span_cut(rest, ',');
    while (text.len && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}
