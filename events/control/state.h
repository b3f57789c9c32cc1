/* SPDX-License-Identifier: Apache-2.0 */
/* What people decided at run time: settings, suspended issuers. A value; and the board on which one thread
 * publishes it for all others. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/http/auth.h"
#include "events/settings.h"

/* Column `kind` of table control. */
enum control_kind { CONTROL_SETTING = 1, CONTROL_ISSUER = 2 };

struct control_state {
    bool known;       /* the table was read at least once; before, nobody knows who is suspended */
    int64_t position; /* of the last control event that is in here */
    struct settings settings;
    uint64_t suspended[AUTH_KEYS_MAX / 64]; /* a bit for each api_key.index */
};

/* One row of table control, or what a control event says. */
struct control_row {
    int64_t kind;
    struct span name,
        value; /* of a setting, empty for "as the profile says"; of an issuer "suspended" or "" */
    int64_t position;
};

void control_state_init(struct control_state *state);
/* Takes a row over. false where this version does not understand it, which changes nothing but the position:
 * a newer version may know more settings, or allow more. A key that is not in the ring is understood: it
 * cannot write anyway. */
bool control_state_apply(struct control_state *state, const struct control_row *row,
                         const struct keyring *keyring) MUST_USE;
bool control_suspended(const struct control_state *state, const struct api_key *key);
size_t control_suspended_count(const struct control_state *state);

/* Where the state is published. Readers do not wait for each other nor for the writer: each thread has a copy
 * of its own, and one atomic number says whether that is still the last. */
struct control_board {
    pthread_mutex_t lock;       /* guards state, and writing version */
    _Atomic uint64_t version;   /* unlike any that any board of this process ever had */
    uint64_t notes;             /* how many were taken over */
    struct control_state state; /* the last that was published */
};

void control_board_init(struct control_board *board); /* with control_state_init's state */
void control_board_deinit(struct control_board *board);
/* A reading of the table begins; hand what this returns to control_board_publish. */
uint64_t control_board_begin(struct control_board *board);
/* Publishes what was read from the table. false: a row was noted since the reading began, which may not have
 * seen it; nothing was published, read again. */
bool control_board_publish(struct control_board *board, const struct control_state *reading,
                           uint64_t begun) MUST_USE;
/* Takes one committed row over at once, without waiting for the next reading; not where a reading was there
 * first. */
void control_board_note(struct control_board *board, const struct control_row *row,
                        const struct keyring *keyring);
/* What holds now: the calling thread's copy, which the thread's next call with any board may change. */
const struct control_state *control_board_read(struct control_board *board);
