/* SPDX-License-Identifier: Apache-2.0 */
/* Header fields that are lists (RFC 9110, 5.6.1). Pure. */
#pragma once

#include "common/base/bytes.h"

/* Takes the next element off a comma-separated list, without the blanks around it. `rest` becomes absent
 * after the last. For elements that have no comma inside. */
struct span header_list_next(struct span *rest);
