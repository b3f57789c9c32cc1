/* SPDX-License-Identifier: Apache-2.0 */
/* Writes down what was asked and answered, for the check against docs/openapi.yaml (tools/contract-check):
 * one JSON line for each exchange in $EXCHANGES_DIR/<pid>.jsonl, nothing where that is not set. No token is
 * written. */
#pragma once

#include "tests/lib/http_client.h"

void exchange_note(const struct http_call *call, const struct http_answer *answer);
