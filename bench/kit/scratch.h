/* SPDX-License-Identifier: Apache-2.0 */
/* Databases beside the product's, in the same PostgreSQL server and with the same schema, for what a
 * benchmark must not do to the product's tables; and single queries. Whatever fails here ends the process
 * with status 2, because then nothing can be measured. */
#pragma once

#include "common/pg/pg.h"

/* The URL of another database of the same server and user; writes into `ret`. */
void scratch_url(const char *url, const char *database, char *ret, size_t ret_size);
/* A fresh copy of `template_name`, never analysed. Replaces one of the same name. */
void scratch_create(const char *superuser_url, const char *name, const char *template_name);

/* One statement, once, without arguments; the first column of its first row (0 for none) or, where it returns
 * no rows, how many it touched. `sql` may run for `timeout_ms`. */
int64_t scratch_number(const char *url, const char *sql, int64_t timeout_ms);

/* Puts events of coupons that nobody asked for into one slice, with idempotency rows, and one campaign
 * (`campaign_id`) that is still to be issued from. Users and keys are in no order. Shows progress. */
struct scratch_preload {
    const char *url; /* of the owner */
    const char *campaign_id;
    int16_t slice;
    int64_t events;
};
void scratch_preload(const struct scratch_preload *preload);
/* One more campaign that is to be issued from, of whatever slice, without an event. */
void scratch_campaign(const char *url, const char *campaign_id, int16_t slice);

/* CampaignCreated as an event of its slice, for a log whose coupons are to be projected. */
void scratch_created(const char *url, const char *campaign_id, int16_t slice, int64_t position);
