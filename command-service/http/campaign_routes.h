/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the bodies of POST and PATCH /v1/campaigns. Pure. */
#pragma once

#include "command-service/core/command.h"
#include "common/json.h"

/* Fills command->create and command->campaign_id (absent where the body has none) from the document's
 * root. Texts are borrowed from the document, lists are in command->arena. */
/* The same of a change: command->change and command->reason, which is left to be looked at. */
bool campaign_change_read(struct command *command, const struct json_value *root,
                          struct json_fault *fault) MUST_USE;
bool campaign_body_read(struct command *command, const struct json_value *root,
                        struct json_fault *fault) MUST_USE;
