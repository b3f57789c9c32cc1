/* SPDX-License-Identifier: Apache-2.0 */
/* What became of an Idempotency-Key, in every slice, who set what holds now, and what a campaign is: a
 * statement each on a connection of their own that is made when it is needed. No lock, no queue, no
 * transaction: nobody who writes waits for who asks. One thread at a time. */
#pragma once

#include "command-service/core/command.h"
#include "command-service/store/reader.h"
#include "events/control/state.h"
#include "events/event.h"

/* One use of a key that took effect. Borrows from the rows and the arena. */
struct key_use {
    int16_t slice;
    uint8_t operation[8]; /* as in struct request_id */
    size_t operation_len; /* how many bytes of it were kept */
    int status;           /* HTTP status of the first answer */
    struct span answer;   /* as it was kept; absent where it is rendered from the events */
    struct event effect;  /* its event, or where the answer was kept the campaign's last one then */
    struct event issued;  /* where `effect` is about a coupon: its CouponIssued */
    bool has_effect, has_issued;
};

void uses_init(struct reader *reader, const char *database_url); /* end with reader_deinit */
/* Of some slices, in order of time. false: PostgreSQL did not answer by the deadline, or its standby does not
 * have them yet. */
bool uses_read(struct reader *reader, unsigned slices, const uint8_t key_hash[REQUEST_KEY_BYTES],
               int64_t deadline_us, struct pg_rows **ret) MUST_USE;
/* Row `row` of them. false: its events cannot be decoded. */
bool uses_row(const struct pg_rows *rows, int row, struct arena *arena, struct key_use *ret) MUST_USE;

/* Who set a setting, or suspended an API key, as that stands now. Borrows from the rows and the arena. */
struct control_change {
    enum control_kind kind;
    struct span name; /* of the setting or of the key */
    int64_t at_us;
    struct span by, reason; /* name of the API key that asked; empty where none was given */
};

/* false: PostgreSQL did not answer by the deadline. */
bool changes_read(struct reader *reader, int64_t deadline_us, struct pg_rows **ret) MUST_USE;
/* Row `row` of them. false: nothing is to be shown of it. */
bool changes_row(const struct pg_rows *rows, int row, struct arena *arena,
                 struct control_change *ret) MUST_USE;

/* A campaign as the store has it. false: PostgreSQL did not answer by the deadline; no row: there is none. */
bool campaign_read(struct reader *reader, struct span id, int64_t deadline_us, struct pg_rows **ret) MUST_USE;
/* The one row, and PostgreSQL's time then. Borrows from rows and arena. false: it cannot be read. */
bool campaign_read_row(const struct pg_rows *rows, struct arena *arena, struct campaign *ret,
                       int64_t *ret_now_us) MUST_USE;
