/* SPDX-License-Identifier: Apache-2.0 */
/* Looks four times a second how full the event store's file system is, because PostgreSQL panics when it is
 * full. A thread of its own: a hung file system, which no call has a deadline for, keeps nothing else
 * waiting; the last verdict holds then. */
#pragma once

#include "command-service/control.h"
#include "common/base/disk.h"

struct disk_guard;

/* path "": there is no guard, all is fine. `control` (borrowed) has the thresholds. */
struct disk_guard *disk_guard_start(const char *path, struct control *control);
/* Joins the thread, unless it hangs: then it is left behind, for the process is about to end. */
void disk_guard_stop(struct disk_guard *guard);
enum disk_verdict disk_guard_verdict(const struct disk_guard *guard); /* any thread */
