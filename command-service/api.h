/* SPDX-License-Identifier: Apache-2.0 */
/* The write API (design §9): from HTTP requests to commands in their slice's queue. Runs on HTTP threads,
 * never blocks. */
#pragma once

#include "command-service/committer.h"
#include "command-service/gate.h"

struct api {
    struct committers *committers;
    struct control *control;
    struct gate gate;
    int64_t request_deadline_ms;
};

/* Handlers get a struct api as context. */
extern const struct http_route api_routes[];
extern const size_t api_routes_count;

/* --- What the files of the API share; a command belongs to one handler until it is handed on --- */

enum empty_body { EMPTY_IS_OBJECT, EMPTY_IS_MALFORMED };
/* Parses the body into command->doc; an empty body counts as {} where `empty` allows it. */
bool api_parse_body(struct command *command, enum empty_body empty, struct json_fault *fault) MUST_USE;
/* Answers with what was wrong and frees the command. */
void api_refuse(struct command *command, const struct json_fault *fault);
/* Names the command, stamps it and hands it to its committer, or answers why not. Consumes the command. */
void api_submit(struct api *api, struct command *command);
