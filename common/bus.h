/* SPDX-License-Identifier: Apache-2.0 */
/* Hints between services over nng PUB/SUB: best effort, may be lost, doubled or late; a hint only ever says
 * "look now", truth is re-read from the log. The only file that knows nng. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"

enum { BUS_MESSAGE_MAX = 1024, BUS_URLS_MAX = 8 };

/* A publisher dials every subscriber in `urls` (comma-separated nng URLs) and keeps redialling in the
 * background; publishing never blocks and drops when nobody listens. Thread-safe. NULL with reason on bad
 * URLs. */
struct bus_publisher;
struct bus_publisher *bus_publisher_create(const char *urls, char *reason, size_t reason_size);
void bus_publish(struct bus_publisher *publisher, struct span message);
void bus_publisher_destroy(struct bus_publisher *publisher); /* accepts NULL */

/* A subscriber listens on `url` and calls `receive` on a thread of its own for each message of at most
 * BUS_MESSAGE_MAX bytes; the span is valid during the call. */
typedef void bus_receive(struct span message, void *context);
struct bus_subscriber;
struct bus_subscriber *bus_subscriber_create(const char *url, bus_receive *receive, void *context,
                                             char *reason, size_t reason_size);
/* Joins its thread; accepts NULL. Like bus_publisher_destroy it takes at most about a second, and is for the
 * end of a process: after closing a busy socket nng may not be of use any more (see bus.c). */
void bus_subscriber_destroy(struct bus_subscriber *subscriber);
