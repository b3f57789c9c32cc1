/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the write API share: reading bodies, and handlers that api.c lists as routes. For nobody
 * else. */
#pragma once

#include "command-service/http/submit.h"
#include "common/json.h"

/* Answers with what is wrong with the body, and ends the command. */
void api_refuse(struct command *command, const struct json_fault *fault);
/* Parses the body into command->doc; an empty body counts as {} where `empty` allows it. */
enum empty_body { EMPTY_IS_OBJECT, EMPTY_IS_MALFORMED };
bool api_parse(struct command *command, enum empty_body empty, struct json_fault *fault);
/* Parses the body and reads it against a table, into the command itself. */
bool api_read(struct command *command, const struct json_field *fields, size_t count, enum empty_body empty,
              struct json_fault *fault);
bool api_check_user(const struct command *command, struct json_fault *fault);
/* The `reason` that what steers may have, as an element of a table of fields; its text is looked at apart. */
#define API_REASON_FIELD                                                                      \
    {                                                                                         \
        "reason", JSON_STRING, JSON_OPTIONAL, offsetof(struct command, reason), 1, REASON_MAX \
    }
bool api_check_reason(const struct command *command, struct json_fault *fault);
/* A body that has nothing but a reason, or nothing at all. */
bool api_read_reason(struct command *command, struct json_fault *fault);

/* api_control.c */
http_handler api_get_settings, api_put_setting, api_post_suspend, api_post_resume_issuer;
/* status_routes.c */
http_handler api_get_status;
/* api_coupon.c */
http_handler api_post_reserve, api_post_redeem, api_post_free, api_post_restore, api_post_revoke;
