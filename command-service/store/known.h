/* SPDX-License-Identifier: Apache-2.0 */
/* What a process knows of the campaigns of one slice, so that nothing is asked of the database that is known:
 * their definitions, decoded once; and of those that issue much, a filter of all who hold a coupon and of all
 * keys that issued one. A filter is exact in one direction only: who is not in a complete filter is not
 * there; who is in it has to be looked for. The unique indexes stay the guard. Bounded: what was not used for
 * longest is forgotten. Owned by one thread. Pure. */
#pragma once

#include "common/base/mem.h"
#include "events/campaign.h"

struct known;

struct known_campaign {
    char id_text[CAMPAIGN_ID_MAX];
    struct span id;
    uint64_t used; /* the batch that used it last, by number */

    /* The definition: what `data` decodes to; borrows from the arena. */
    struct arena arena;
    struct span data;
    int16_t version;
    struct campaign_created definition;

    /* The filter. */
    bool followed;
    bool complete;    /* as of the last load: `covered` was all that was issued */
    int64_t covered;  /* coupons up to this sequence are in it */
    int64_t run;      /* first sequence of the last run that was read */
    int64_t position; /* of the last event that was read */
    struct known_layer *layers;
    size_t layers_count;
    size_t bytes;
};

struct known *known_create(size_t campaigns_max, size_t bytes_max); /* bytes: of all filters */
void known_destroy(struct known *known);                            /* accepts NULL */
void known_clear(struct known *known);
/* Another batch begins: forgets what was not used for longest until there is room for `campaigns` more.
 * Entries live until this or known_clear is called. */
void known_trim(struct known *known, size_t campaigns);
struct known_campaign *known_find(struct known *known, struct span id); /* NULL: not known */
struct known_campaign *known_get(struct known *known, struct span id);  /* added where it is not known */

/* Decodes the definition where it is not what was decoded last. false: it cannot be. */
bool known_define(struct known_campaign *campaign, int16_t version, struct span data,
                  struct campaign_created *ret) MUST_USE;

/* Begins an empty filter that covers nothing. */
void known_follow(struct known *known, struct known_campaign *campaign);
/* Adds a hash; where there is no room for it, the filter is given up. */
void known_add(struct known *known, struct known_campaign *campaign, uint64_t hash);
/* Whether it may be there. Always true where the campaign is not followed. */
bool known_has(const struct known_campaign *campaign, uint64_t hash);
size_t known_bytes(const struct known *known);
