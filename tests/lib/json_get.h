/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into JSON answers in tests. A path is member names and array indices with dots:
 * "items.0.coupon_id". What is not there or of another type fails the test and shows the path. */
#pragma once

#include "common/json.h"

struct json_doc *json_get_doc(struct span text); /* the caller destroys it; never NULL */

bool json_get_has(const struct json_doc *doc, const char *path);
const struct json_value *json_get(const struct json_doc *doc, const char *path);
struct span json_get_text(const struct json_doc *doc, const char *path); /* borrowed from the document */
int64_t json_get_int(const struct json_doc *doc, const char *path);
bool json_get_bool(const struct json_doc *doc, const char *path);
size_t json_get_length(const struct json_doc *doc, const char *path);

/* The same of a text that is parsed for this one look. A text stays until the fourth look after it. */
bool body_has(struct span body, const char *path);
struct span body_text(struct span body, const char *path);
int64_t body_int(struct span body, const char *path);
bool body_bool(struct span body, const char *path);
size_t body_length(struct span body, const char *path);
