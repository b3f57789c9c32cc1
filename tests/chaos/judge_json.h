/* SPDX-License-Identifier: Apache-2.0 */
/* For the judge only: members of an answer, with a value that no answer has where one is missing. */
#pragma once

#include "common/base/clock.h"
#include "common/json.h"
#include "events/ids.h"

static inline int64_t json_number_of(const struct json_value *object, const char *name)
{
    int64_t value;
    return json_as_int(json_member(object, name), &value) ? value : -1;
}

static inline struct span json_text_of(const struct json_value *object, const char *name)
{
    struct span text;
    return json_as_text(json_member(object, name), &text) ? text : (struct span){NULL, 0};
}

/* 0: null or not there. */
static inline int64_t json_time_of(const struct json_value *object, const char *name)
{
    int64_t at_us;
    return time_parse(json_text_of(object, name), &at_us) ? at_us : 0;
}
