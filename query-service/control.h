/* SPDX-License-Identifier: Apache-2.0 */
/* Settings, suspended API keys and the log's clock in a running query service: one thread that reads table
 * control four times a second. What is decided by a command service holds here within a second. With
 * PostgreSQL away the last state holds; before the first reading nothing is set and nobody is suspended. */
#pragma once

#include "events/control/state.h"
#include "query-service/cache/entry.h"
#include "query-service/load/log_time.h"

struct control;

struct control_options {
    const char *database_url;
    const struct keyring *keyring; /* borrowed */
    struct settings defaults;      /* before anything is set */
    struct log_time *time;         /* borrowed */
};

/* Waits a moment for the first reading, so that the first answers know what holds and what time it is. */
struct control *control_start(const struct control_options *options);
void control_stop(struct control *control); /* joins the thread and frees; nobody may be asking any more */

/* Any thread; each costs one atomic read while nothing changes. */
bool control_refuses(struct control *control, const struct api_key *key); /* it is suspended */
struct entry_life control_life(struct control *control);
