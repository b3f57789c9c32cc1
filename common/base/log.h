/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON object per line on stderr. Every message has a stable id. At most LOG_PER_SECOND_MAX lines per id
 * and second are written, and LOG_BYTES_PER_SECOND_MAX of all, a quarter of it for errors alone; the rest is
 * counted and reported with the next line of that id, so that a failure cannot fill a disk (an incident did):
 * three services write less than a gigabyte in an hour, whatever happens. Only services log; libraries return
 * errors. Never pass a user id, token, code or idempotency key (I10). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum { LOG_PER_SECOND_MAX = 20, LOG_BYTES_PER_SECOND_MAX = 80 * 1024 };

void log_setup(const char *service, enum log_level min_level);
/* At run time: 1 is LOG_DEBUG, 4 is LOG_ERROR; 0 takes it back to log_setup's. After log_setup;
 * thread-safe. */
void log_use_level(int64_t level);
/* Makes stderr the end of this file, creating it with mode 0600 where it is missing; called again, of the
 * file that has the name now. false with errno, and stderr as it was. */
bool log_open(const char *path) MUST_USE;
/* `id` is a literal like "STORE-LOST"; format makes the text. Thread-safe. */
void log_write(enum log_level level, const char *id, const char *format, ...) PRINTF_LIKE(3, 4);
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
