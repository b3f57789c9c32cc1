/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of table control, and its publication. */
#include "events/control/state.h"

void control_state_init(struct control_state *state)
{
    memset(state, 0, sizeof *state);
    settings_init(&state->settings);
}

static void suspend(struct control_state *state, const struct api_key *key, bool suspended)
{
    uint64_t bit = UINT64_C(1) << key->index % 64;
    uint64_t *word = &state->suspended[key->index / 64];
    *word = suspended ? *word | bit : *word & ~bit;
}

bool control_state_apply(struct control_state *state, const struct control_row *row,
                         const struct keyring *keyring)
{
    const struct span absent = {NULL, 0};
    if (row->position > state->position)
        state->position = row->position;
    if (row->kind == CONTROL_SETTING) {
        struct span value = row->value.len ? row->value : absent;
        return settings_set(&state->settings, row->name, value) == SETTINGS_OK;
    }
    if (row->kind != CONTROL_ISSUER)
        return false;
    const struct api_key *key = keyring_named(keyring, row->name);
    if (key)
        suspend(state, key, row->value.len > 0);
    return true;
}

bool control_suspended(const struct control_state *state, const struct api_key *key)
{
    return state->suspended[key->index / 64] >> key->index % 64 & 1;
}

size_t control_suspended_count(const struct control_state *state)
{
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(state->suspended); i++)
        count += (size_t)__builtin_popcountll(state->suspended[i]);
    return count;
}

/* --- The board --- */

static _Atomic uint64_t
    last_version; /* of all boards: a thread's copy has only a number to know its board by */

static void changed_locked(struct control_board *board)
{
    atomic_store(&board->version, atomic_fetch_add(&last_version, 1) + 1);
}

void control_board_init(struct control_board *board)
{
    CHECK(pthread_mutex_init(&board->lock, NULL) == 0);
    board->notes = 0;
    control_state_init(&board->state);
    changed_locked(board);
}

void control_board_deinit(struct control_board *board)
{
    pthread_mutex_destroy(&board->lock);
}

uint64_t control_board_begin(struct control_board *board)
{
    pthread_mutex_lock(&board->lock);
    uint64_t begun = board->notes;
    pthread_mutex_unlock(&board->lock);
    return begun;
}

bool control_board_publish(struct control_board *board, const struct control_state *reading, uint64_t begun)
{
    pthread_mutex_lock(&board->lock);
    bool current = board->notes == begun;
    /* Padding may differ, which only costs every thread a copy.
     * NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
    if (current && memcmp(reading, &board->state, sizeof *reading) != 0) {
        board->state = *reading;
        changed_locked(board);
    }
    pthread_mutex_unlock(&board->lock);
    return current;
}

void control_board_note(struct control_board *board, const struct control_row *row,
                        const struct keyring *keyring)
{
    pthread_mutex_lock(&board->lock);
    board->notes++;
    if (row->position > board->state.position && control_state_apply(&board->state, row, keyring))
        changed_locked(board);
    pthread_mutex_unlock(&board->lock);
}

const struct control_state *control_board_read(struct control_board *board)
{
    static _Thread_local uint64_t version; /* 0 is none */
    static _Thread_local struct control_state copy;
    if (version != atomic_load_explicit(&board->version, memory_order_acquire)) {
        pthread_mutex_lock(&board->lock);
        copy = board->state;
        version = atomic_load(&board->version);
        pthread_mutex_unlock(&board->lock);
    }
    return &copy;
}
