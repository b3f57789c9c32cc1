/* SPDX-License-Identifier: Apache-2.0 */
/* The operators' console as the services serve it: the files of console/ and the JavaScript client, at GET
 * /console, open without a key: the page has none, who uses it gives one. Both services have the same
 * routes, so that it survives the loss of either. */
#pragma once

#include "common/http/http.h"

void console_page_get(struct http_request *request, void *context);
void console_page_get_file(struct http_request *request, void *context);
void console_page_get_nested(struct http_request *request, void *context);

#define CONSOLE_PAGE_ROUTES                                                 \
    {HTTP_GET, "/console", 0, 0, console_page_get},                         \
        {HTTP_GET, "/console/{file}", 0, 0, console_page_get_file},         \
    {                                                                       \
        HTTP_GET, "/console/{folder}/{file}", 0, 0, console_page_get_nested \
    }
