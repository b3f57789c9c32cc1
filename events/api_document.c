/* SPDX-License-Identifier: Apache-2.0 */
/* The contract, embedded by the assembler. */
#include "events/api_document.h"

/* Paths are from the project's root, where the compiler runs; the Makefile knows that this file depends on
 * them. */
__asm__(".section .rodata\n"
        ".global api_document_json, api_document_json_end, api_document_page, api_document_page_end\n"
        "api_document_json: .incbin \"build/openapi.json\"\n"
        "api_document_json_end:\n"
        "api_document_page: .incbin \"build/openapi.html\"\n"
        "api_document_page_end:\n"
        ".previous\n");

extern const char api_document_json[], api_document_json_end[], api_document_page[], api_document_page_end[];

static void kept(void *owner)
{
    (void)owner; /* nothing to release: it is part of the program */
}

void api_document_get_json(struct http_request *request, void *context)
{
    (void)context;
    http_add_header(request, "Access-Control-Allow-Origin", SPAN("*"));
    http_add_header(request, "Cache-Control", SPAN("max-age=300"));
    http_reply_shared(request, 200, "application/json",
                      (struct span){api_document_json, (size_t)(api_document_json_end - api_document_json)},
                      kept, NULL);
}

void api_document_get_page(struct http_request *request, void *context)
{
    (void)context;
    http_add_header(request, "Cache-Control", SPAN("max-age=300"));
    http_add_header(request, "X-Content-Type-Options", SPAN("nosniff"));
    http_reply_shared(request, 200, "text/html; charset=utf-8",
                      (struct span){api_document_page, (size_t)(api_document_page_end - api_document_page)},
                      kept, NULL);
}
