/* SPDX-License-Identifier: Apache-2.0 */
/* Settings and kill switches of a running command service: one thread that looks four times a second at table
 * control, and publishes what it saw. So whatever is decided in any command
 * service holds in all of them within a second. With PostgreSQL away the last state holds; before the first
 * look nothing is known, and nothing is let through. */
#pragma once

#include "events/control/state.h"

struct command;
struct control;

struct control_options {
    const char *database_url;
    const struct keyring *keyring; /* borrowed */
    struct settings defaults;      /* before anything is set */
    /* Gets what control_hold() held, on the control's thread, or on that of who wanted it held. */
    void (*resume)(struct command *command, void *context);
    void *context;
};

struct control *control_start(const struct control_options *options);
/* Joins the thread and frees. Nobody may be reading any more. */
void control_stop(struct control *control);

/* What holds now: the calling thread's own copy, valid until its next call. Any thread; costs one atomic read
 * while nothing changes. */
const struct control_state *control_now(struct control *control);
/* A control event that this process has just committed: holds here from now on, so that who is answered can
 * rely on it. Any thread. */
void control_note(struct control *control, const struct control_row *row);
/* Whether the first look is over, whatever came of it. Any thread. */
bool control_looked(const struct control *control);
/* Holds a command until then, so that who asks in the first moments after a start waits for them instead of
 * being refused again and again; where it is over by now, resumes at once. Any thread. */
void control_hold(struct control *control, struct command *command);
const struct keyring *control_keyring(const struct control *control);
