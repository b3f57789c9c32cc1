/* SPDX-License-Identifier: Apache-2.0 */
/* From a parsed command to its slice's queue: who asks, under which name (I4), until when, and whether there
 * is room. Runs on HTTP threads, never blocks. */
#pragma once

#include "command-service/http/routes.h"

enum key_rule { KEY_REQUIRED, KEY_OPTIONAL };

/* Takes the command over and answers its request, now or when it is decided. What the command is about and
 * its payload must be set; actor, names, slices and deadlines are set here. */
void submit(struct api *api, struct command *command, enum key_rule rule);
/* The same for ISSUE, whose `asked` lies on the caller's stack and has what its request asks for: a crowd at
 * a campaign that refuses everybody is refused before a command is made. */
void submit_issue(struct api *api, struct command *asked);
/* The same for a command about every slice: one is made for each and all are answered together. */
void submit_to_all(struct api *api, struct command *command);
/* Goes on with what was held until the settings are known: see control_hold. `context` is a struct api. */
void submit_held(struct command *command, void *context);
/* What became of the requests with the key (as it was sent). */
void submit_question(struct api *api, struct http_request *request, struct span key);
/* What the campaign is that the first parameter of the route names. */
void submit_campaign_question(struct api *api, struct http_request *request);

/* On an event loop, before the body is read: whether a request about a coupon would be queued (http_admit).
 * Refusing must cost far less than deciding, or a service that has more to do than it can does ever less. */
http_admit submit_admit;

/* What names a request besides its key: kind and target, as eight bytes of a hash that are kept (I4). */
void submit_operation(enum command_kind kind, struct span target, uint8_t ret[8]);
/* The target: what names the thing in the path. Borrows from the command or from `room`. */
enum { SUBMIT_TARGET_MAX = 64 };
struct span submit_target(const struct command *command, struct buf *room);
