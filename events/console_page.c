/* SPDX-License-Identifier: Apache-2.0 */
/* The console, embedded by the assembler. */
#include "events/console_page.h"

#include "common/base/crypto.h"

#define HTML "text/html; charset=utf-8"
#define CSS  "text/css; charset=utf-8"
#define JS   "text/javascript; charset=utf-8"
#define SVG  "image/svg+xml"

/* X(name, path below /console/, file, type). Paths of files are from the project's root, where the compiler
 * runs. A test compares this with the folder. */
#define CONSOLE_FILES(X)                                                          \
    X(index, "", "console/index.html", HTML)                                      \
    X(app_css, "app.css", "console/app.css", CSS)                                 \
    X(icon_svg, "icon.svg", "console/icon.svg", SVG)                              \
    X(api_js, "api.js", "console/api.js", JS)                                     \
    X(app_js, "app.js", "console/app.js", JS)                                     \
    X(dom_js, "dom.js", "console/dom.js", JS)                                     \
    X(h_js, "h.js", "console/h.js", JS)                                           \
    X(core_action_js, "core/action.js", "console/core/action.js", JS)             \
    X(core_bottleneck_js, "core/bottleneck.js", "console/core/bottleneck.js", JS) \
    X(core_burndown_js, "core/burndown.js", "console/core/burndown.js", JS)       \
    X(core_fleet_js, "core/fleet.js", "console/core/fleet.js", JS)                \
    X(core_format_js, "core/format.js", "console/core/format.js", JS)             \
    X(core_guess_js, "core/guess.js", "console/core/guess.js", JS)                \
    X(core_kinds_js, "core/kinds.js", "console/core/kinds.js", JS)                \
    X(core_mask_js, "core/mask.js", "console/core/mask.js", JS)                   \
    X(core_metrics_js, "core/metrics.js", "console/core/metrics.js", JS)          \
    X(core_poll_js, "core/poll.js", "console/core/poll.js", JS)                   \
    X(core_route_js, "core/route.js", "console/core/route.js", JS)                \
    X(i18n_en_js, "i18n/en.js", "console/i18n/en.js", JS)                         \
    X(i18n_index_js, "i18n/index.js", "console/i18n/index.js", JS)                \
    X(i18n_ko_js, "i18n/ko.js", "console/i18n/ko.js", JS)                         \
    X(views_ask_js, "views/ask.js", "console/views/ask.js", JS)                   \
    X(views_chart_js, "views/chart.js", "console/views/chart.js", JS)             \
    X(views_control_js, "views/control.js", "console/views/control.js", JS)       \
    X(views_dialog_js, "views/dialog.js", "console/views/dialog.js", JS)          \
    X(views_frame_js, "views/frame.js", "console/views/frame.js", JS)             \
    X(views_lists_js, "views/lists.js", "console/views/lists.js", JS)             \
    X(views_parts_js, "views/parts.js", "console/views/parts.js", JS)             \
    X(views_sale_js, "views/sale.js", "console/views/sale.js", JS)                \
    X(client_errors_js, "client/errors.js", "clients/js/src/errors.js", JS)       \
    X(client_index_js, "client/index.js", "clients/js/src/index.js", JS)          \
    X(client_transport_js, "client/transport.js", "clients/js/src/transport.js", JS)

#define EMBED(name, path, file, type)                    \
    ".global console_" #name ", console_" #name "_end\n" \
    "console_" #name ": .incbin \"" file "\"\n"          \
    "console_" #name "_end:\n"
__asm__(".section .rodata\n" CONSOLE_FILES(EMBED) ".previous\n");
#undef EMBED

#define DECLARE(name, path, file, type) extern const char console_##name[], console_##name##_end[];
CONSOLE_FILES(DECLARE)
#undef DECLARE

static const struct console_file {
    const char *path, *type, *begin, *end;
} files[] = {
#define ROW(name, path, file, type) {path, type, console_##name, console_##name##_end},
    CONSOLE_FILES(ROW)
#undef ROW
};

/* Scripts and styles of this origin and nothing else: nothing inline, no frame, no form that is sent, and no
 * text that becomes markup. User ids are in addresses the page asks for, so no referrer says them. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'";

enum { TAG_BYTES = 16, TAG_MAX = 2 * TAG_BYTES + 2 };

static void kept(void *owner)
{
    (void)owner; /* nothing to release: it is part of the program */
}

/* Of what is served: another version of the page has another tag, the same one the same in every process. */
static void tag_of(struct buf *tag, struct span body)
{
    uint8_t hash[TAG_BYTES];
    crypto_hash(NULL, body, hash, sizeof hash);
    buf_append_text(tag, "\"");
    hex_encode(tag, hash, sizeof hash);
    buf_append_text(tag, "\"");
}

/* If-None-Match is a list of tags in quotes, of which none is part of another. */
static bool has_it(const struct http_request *request, struct span tag)
{
    struct span line;
    for (size_t nth = 0; (line = http_header_nth(request, "If-None-Match", nth)).ptr; nth++)
        if (span_is(line, "*") || memmem(line.ptr, line.len, tag.ptr, tag.len))
            return true;
    return false;
}

static void serve(struct http_request *request, const struct console_file *file)
{
    struct span body = {file->begin, (size_t)(file->end - file->begin)};
    struct buf tag;
    buf_init(&tag, TAG_MAX);
    tag_of(&tag, body);
    CHECK(!tag.overflow);
    bool same = has_it(request, buf_span(&tag));
    http_add_header(request, "ETag", buf_span(&tag));
    buf_deinit(&tag);
    /* Asked each time, for the modules of one page must be of one version; what is the same is not sent. */
    http_add_header(request, "Cache-Control", SPAN("no-cache"));
    http_add_header(request, "Content-Security-Policy", span_of(policy));
    http_add_header(request, "X-Content-Type-Options", SPAN("nosniff"));
    http_add_header(request, "Referrer-Policy", SPAN("no-referrer"));
    http_add_header(request, "Cross-Origin-Opener-Policy", SPAN("same-origin"));
    if (same)
        http_reply(request, 304);
    else
        http_reply_shared(request, 200, file->type, body, kept, NULL);
}

/* Only what is in the table has a path: there is no folder that somebody could climb out of. */
static void serve_path(struct http_request *request, struct span folder, struct span name)
{
    bool whole = memchr(name.ptr, '/', name.len) == NULL; /* it was a segment, and is decoded */
    for (size_t i = 0; whole && i < COUNT_OF(files); i++) {
        struct span path = span_of(files[i].path);
        bool nested = folder.len > 0;
        size_t skip = nested ? folder.len + 1 : 0;
        if (path.len == skip + name.len && memcmp(path.ptr + skip, name.ptr, name.len) == 0 &&
            (!nested || (memcmp(path.ptr, folder.ptr, folder.len) == 0 && path.ptr[folder.len] == '/'))) {
            serve(request, &files[i]);
            return;
        }
    }
    http_fail(request, &problem_unknown_route, NULL);
}

void console_page_get(struct http_request *request, void *context)
{
    (void)context;
    serve(request, &files[0]);
}

void console_page_get_file(struct http_request *request, void *context)
{
    (void)context;
    serve_path(request, SPAN(""), http_param(request, 0));
}

void console_page_get_nested(struct http_request *request, void *context)
{
    (void)context;
    serve_path(request, http_param(request, 0), http_param(request, 1));
}
