/* SPDX-License-Identifier: Apache-2.0 */
/* A command on its way from the HTTP thread that parsed it, through its slice's queue, to the committer that
 * decides, appends and answers it. Owned by exactly one of the three at a time; never shared. */
#pragma once

#include "common/http.h"
#include "common/json.h"
#include "common/mem.h"
#include "events/campaign.h"
#include "events/ids.h"

enum command_kind {
    COMMAND_CREATE,
    COMMAND_PAUSE,
    COMMAND_RESUME,
    COMMAND_CLOSE,
    COMMAND_RELEASE,
    COMMAND_ISSUE,
    COMMAND_ISSUE_MANY, /* always the only command of its batch */
    COMMAND_SET,
    COMMAND_SUSPEND,
    COMMAND_RESUME_ISSUER,
};

enum { REQUEST_KEY_BYTES = 16, FINGERPRINT_BYTES = 16, ISSUE_MANY_MAX = 10000 };

/* Names one request for ever (I4): who with which Idempotency-Key, doing what. Unpadded, compared as bytes.
 */
struct request_id {
    uint8_t key_hash[REQUEST_KEY_BYTES]; /* of API key name and Idempotency-Key */
    uint8_t operation[8];                /* of the kind and the campaign in the path */
};

struct command {
    struct command *next; /* in its slice's queue */
    enum command_kind kind;
    int16_t slice;         /* of the campaign: where its events go */
    int16_t request_slice; /* where its idempotency row is; differs from `slice` only for COMMAND_CREATE */
    struct request_id id;
    uint8_t fingerprint[FINGERPRINT_BYTES]; /* of the payload */
    struct span campaign_id;
    struct span user_id;                /* ISSUE */
    const struct span *user_ids;        /* ISSUE_MANY: who, in order; in the arena */
    size_t users_count;                 /* 1..ISSUE_MANY_MAX */
    int64_t quantity;                   /* RELEASE */
    struct span name;                   /* SET: of the setting; SUSPEND, RESUME_ISSUER: of the API key */
    struct span value;                  /* SET: as text; empty: the profile's again */
    struct campaign_created definition; /* CREATE */
    struct span actor;                  /* name of the API key */
    uint8_t trace_bytes[TRACE_BYTES];
    struct span trace;   /* trace_bytes, or absent */
    int64_t deadline_us; /* monotonic; past it nothing new is begun for it */
    bool
        commit_was_sent; /* an earlier attempt may have taken effect: its outcome must be read, not guessed */

    struct http_request *request; /* answered exactly once, then NULL */
    struct json_doc *doc;         /* what the texts above point into */
    struct arena arena;
    char campaign_id_text[CAMPAIGN_ID_MAX]; /* for a generated id */
};

/* "issue": in logs and in the hash that names a request, so never changed. */
const char *command_name(enum command_kind kind);
/* Whether it is about the service itself (settings, kill switches) instead of a campaign. */
bool command_is_control(enum command_kind kind);
struct command *command_create(enum command_kind kind, struct http_request *request);
void command_destroy(struct command *command); /* accepts NULL; the request must have been answered */

static inline struct span request_id_span(const struct request_id *id)
{
    return (struct span){(const char *)id, sizeof *id};
}
