/* SPDX-License-Identifier: Apache-2.0 */
/* Who is not let in: suspended issuers, whoever comes too often, and writes that the disk has no room for. On
 * the HTTP thread, before anything is queued, so that a refusal costs PostgreSQL nothing.
 *
 * Asked from the narrowest to the widest (user, address, key), so that one user who is refused uses up
 * nothing of the key that everybody shares. What changes settings or suspends and resumes is only asked for
 * the kill switch: in an incident it must come through, whatever the limits are and however full the disk is.
 */
#pragma once

#include "command-service/control.h"
#include "command-service/core/command.h"
#include "command-service/disk_guard.h"
#include "common/base/rate_limit.h"
#include "common/http/http.h"

enum {
    /* 16 bytes each; see common/base/rate_limit.h for what holds when more are active than that. */
    GATE_USERS = 1 << 17,
    GATE_ADDRESSES = 1 << 16,
    GATE_KEYS = 1 << 13, /* eight times AUTH_KEYS_MAX, so that no set is ever short of places */
};

struct gate {
    struct control *control; /* borrowed */
    struct disk_guard *disk; /* borrowed */
    struct rate_limit *users, *addresses, *keys;
};

enum gate_class {
    GATE_CREATE,  /* begins something new */
    GATE_WRITE,   /* goes on with what there is */
    GATE_READ,    /* asks what became of a request: takes no disk */
    GATE_CONTROL, /* settings and kill switches */
};

/* Why not. X(name, label of the metric) */
#define GATE_REASONS(X)                  \
    X(GATE_UNKNOWN, "settings_unknown")  \
    X(GATE_SUSPENDED, "suspended")       \
    X(GATE_USER_RATE, "user_rate")       \
    X(GATE_ADDRESS_RATE, "address_rate") \
    X(GATE_KEY_RATE, "key_rate")         \
    X(GATE_DISK_CREATE, "disk_create")   \
    X(GATE_DISK_WRITE, "disk_write")
#define GATE_REASON_ENUM(name, label) name,
enum gate_reason { GATE_OPEN, GATE_REASONS(GATE_REASON_ENUM) GATE_REASON_COUNT };

/* Who wants what. */
struct gate_visit {
    enum gate_class class;
    const struct api_key *key;
    struct span user;    /* absent where the request is not about one user */
    struct span address; /* as http_address() has it */
    enum disk_verdict disk;
};

/* The rate that refused, for the answer's headers. */
struct gate_limit {
    const char *policy; /* "user", "address", "key" */
    struct rate rate;
    struct rate_verdict verdict;
};

void gate_init(struct gate *gate, struct control *control, struct disk_guard *disk);
void gate_deinit(struct gate *gate);

/* The decision; counts the visit against its limits. Any thread. *ret_limit is set for the three rates. */
enum gate_reason gate_judge(struct gate *gate, const struct control_state *state,
                            const struct gate_visit *visit, int64_t now_us, struct gate_limit *ret_limit);
/* true: go on. false: the command's request was answered with a refusal, and command->request is NULL. */
bool gate_admit(struct gate *gate, struct command *command) MUST_USE;
/* The same for a request that only asks what became of others; false: it was answered. */
bool gate_admit_question(struct gate *gate, struct http_request *request) MUST_USE;

/* The headers of draft-ietf-httpapi-ratelimit-headers: `"user";q=10;w=1` and `"user";r=0;t=1`. */
enum { GATE_HEADER_MAX = 80 };
void gate_policy_write(struct buf *out, const struct gate_limit *limit);
void gate_limit_write(struct buf *out, const struct gate_limit *limit, int64_t retry_after_ms);
