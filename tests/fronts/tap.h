/* SPDX-License-Identifier: Apache-2.0 */
/* Between a proxy and our service: passes everything on and keeps what was said on each connection in both
 * directions. One thread of its own. What fails ends the test. */
#pragma once

#include <stdbool.h>

#include "common/base/bytes.h"

enum { TAP_BYTES_MAX = 1 << 20 };

struct tap;

/* One connection, looked at after tap_stop. */
struct tapped {
    struct buf asked, answered; /* what the proxy sent, what the service sent */
    bool service_closed;        /* before the proxy did */
    int first_label, last_label;
};

struct tap *tap_start(int listen_port, int target_port);
/* What is going on from now on, for who reads the connections afterwards. */
void tap_label(struct tap *tap, int label);
/* Closes all connections and ends the thread; the connections stay. */
void tap_stop(struct tap *tap);
size_t tap_count(const struct tap *tap);
const struct tapped *tap_at(const struct tap *tap, size_t index);
void tap_destroy(struct tap *tap);
