/* SPDX-License-Identifier: Apache-2.0 */
/* The contract as the services serve it: docs/openapi.json at GET /openapi.json and docs/openapi.html at GET
 * /docs, open without a key. Both services have the same two routes, so that either can be asked. */
#pragma once

#include "common/http/http.h"

void api_document_get_json(struct http_request *request, void *context); /* any origin may read it */
void api_document_get_page(struct http_request *request, void *context);

#define API_DOCUMENT_ROUTES                                   \
    {HTTP_GET, "/openapi.json", 0, 0, api_document_get_json}, \
    {                                                         \
        HTTP_GET, "/docs", 0, 0, api_document_get_page        \
    }
