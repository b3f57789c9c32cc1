/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of the replay are the command service's own: compares them with its source, so that a change
 * there is not forgotten here. */
#include "bench/kit/replay.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/base/testing.h"

enum { SOURCE_MAX = 1024 * 1024 };

/* The source, found from where this program lies: <root>/build/<kind>/bin/test/... */
static FILE *open_source(const char *name)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(len > 0);
    path[len] = '\0';
    char *build = strstr(path, "/build/");
    size_t room = build ? sizeof path - (size_t)(build - path) : 0;
    assert_non_null(build);
    assert_true((size_t)snprintf(build, room, "/command-service/store/%s", name) < room);
    return fopen(path, "re");
}

static void read_source(const char *name, struct buf *ret)
{
    char chunk[4096];
    FILE *file = open_source(name);
    assert_non_null(file);
    for (size_t len; (len = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buf_append(ret, chunk, len);
    fclose(file);
    assert_false(ret->overflow);
}

/* The literals that a macro of one line, or of lines joined by backslashes, stands for. */
static struct span macro_text(const struct buf *header, const char *name)
{
    const char *at = strstr(header->data, name), *end;
    assert_non_null(at);
    for (end = strchr(at, '\n'); end && end[-1] == '\\'; end = strchr(end + 1, '\n'))
        ;
    assert_non_null(end);
    at += strlen(name);
    return (struct span){at, (size_t)(end - at)};
}

/* store.c with CAMPAIGN_COLUMNS written out. */
static void read_statements(struct buf *ret)
{
    static const char macro[] = "CAMPAIGN_COLUMNS";
    struct buf source, header;
    buf_init(&source, SOURCE_MAX);
    buf_init(&header, SOURCE_MAX);
    read_source("store.c", &source);
    read_source("campaign_row.h", &header);
    struct span text = macro_text(&header, macro);
    const char *at = source.data, *found;
    while ((found = strstr(at, macro))) {
        buf_append(ret, at, (size_t)(found - at));
        buf_append_span(ret, text);
        at = found + strlen(macro);
    }
    buf_append_text(ret, at);
    buf_deinit(&header);
    buf_deinit(&source);
}

/* Past the quote; the end where there is none. */
static const char *past_quote(const char *at, const char *end)
{
    const char *quote = at < end ? memchr(at, '"', (size_t)(end - at)) : NULL;
    return quote ? quote + 1 : end;
}

static bool only_space(const char *from, const char *to)
{
    while (from < to && strchr(" \n\t\\", *from))
        from++;
    return from == to;
}

/* The texts of all string literals, adjacent ones joined, others apart by a newline. Statements have no
 * escapes. */
static void join_literals(struct span source, struct buf *ret)
{
    const char *end = source.ptr + source.len, *at = past_quote(source.ptr, end);
    while (at < end) {
        const char *closed = past_quote(at, end);
        buf_append(ret, at, (size_t)(closed - at) - 1);
        at = past_quote(closed, end);
        if (at < end && !only_space(closed, at - 1))
            buf_append_char(ret, '\n');
    }
    buf_append_char(ret, '\n');
}

static void statements_are_those_of_the_service(void **state)
{
    struct buf source, literals;
    (void)state;
    buf_init(&source, SOURCE_MAX);
    buf_init(&literals, SOURCE_MAX);
    read_statements(&source);
    join_literals(buf_span(&source), &literals);
    for (size_t i = 0; i < replay_statements_count; i++) {
        char line[4096];
        snprintf(line, sizeof line, "\n%s\n", replay_statements[i].sql);
        if (!strstr(literals.data, line))
            fail_msg("'%s' is not what command-service/store/store.c sends", replay_statements[i].name);
    }
    buf_deinit(&source);
    buf_deinit(&literals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(statements_are_those_of_the_service)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
