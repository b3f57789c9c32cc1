/* SPDX-License-Identifier: Apache-2.0 */
/* Answers made piece by piece: how they are framed, what a client sees of one that breaks off, and what a
 * slow one may cost. */
#include "common/http/test_kit.h"

enum { BIG_PIECES = 200 };

/* A stream of `count` pieces; the next one is made by the worker of the kit, or here. */
struct source {
    struct kit *kit;
    size_t count, made, piece_bytes;
    size_t breaks_at; /* this piece is broken; 0: none */
    bool later;       /* pieces come from another thread */
    struct http_request *waiting;
};

static struct kit *kit;
static atomic_uint pieces_made;

static void release(void *owner)
{
    struct source *source = owner;
    atomic_fetch_add(&source->kit->released, 1);
    mem_free(source);
}

static enum http_piece make(struct source *source, struct buf *out)
{
    char letter = (char)('a' + source->made % 26);
    source->made++;
    atomic_fetch_add(&pieces_made, 1);
    for (size_t i = 0; i < source->piece_bytes; i++)
        buf_append_char(out, letter);
    if (source->made == source->breaks_at)
        return HTTP_PIECE_BROKEN;
    return source->made == source->count ? HTTP_PIECE_LAST : HTTP_PIECE_MORE;
}

static void *make_later(void *context)
{
    struct source *source = context;
    struct http_request *request = source->waiting;
    http_reply_piece(request, make(source, http_reply_body(request)));
    return NULL;
}

static void next(struct http_request *request, void *owner)
{
    struct source *source = owner;
    pthread_t thread;
    if (!source->later) {
        http_reply_piece(request, make(source, http_reply_body(request)));
        return;
    }
    source->waiting = request;
    assert_int_equal(pthread_create(&thread, NULL, make_later, source), 0);
    pthread_detach(thread);
}

static size_t number_of(const struct http_request *request, const char *name, size_t otherwise)
{
    uint64_t number;
    struct span text = http_query(request, name);
    return text.ptr && parse_u64(text, SIZE_MAX, &number) ? number : otherwise;
}

static void stream(struct http_request *request, void *context)
{
    struct source *source = mem_zalloc(sizeof *source);
    *source = (struct source){.kit = context,
                              .count = number_of(request, "pieces", 3),
                              .piece_bytes = number_of(request, "bytes", 5),
                              .breaks_at = number_of(request, "breaks", 0),
                              .later = http_query(request, "later").ptr != NULL};
    http_add_header(request, "X-Name", SPAN("1"));
    http_reply_stream(
        request, 200, "text/csv", make(source, http_reply_body(request)),
        &(struct http_stream){.next = next,
                              .release = release,
                              .owner = source,
                              .deadline_us = clock_deadline_us((int64_t)number_of(request, "ms", 60000))});
}

static const struct http_route routes[] = {{HTTP_GET, "/stream", 0, 0, stream},
                                           {HTTP_GET, "/v1/touch", 0, 0, kit_touch}};

static void start(struct http_options options)
{
    options.routes = routes;
    options.routes_count = COUNT_OF(routes);
    atomic_store(&pieces_made, 0);
    kit = kit_start(options);
}

static struct kit_talk *ask(const char *text)
{
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, span_of(text)));
    return talk;
}

/* All that comes until the server closes. *ret_reset: it broke the connection. */
static void read_all(struct kit_talk *talk, bool *ret_reset)
{
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    ssize_t got;
    do {
        char data[65536];
        struct pollfd wait = {.fd = talk->fd, .events = POLLIN};
        assert_int_not_equal(poll(&wait, 1, clock_remaining_ms(deadline_us)), 0);
        got = recv(talk->fd, data, sizeof data, 0);
        if (got > 0)
            buf_append(&talk->text, data, (size_t)got);
    } while (got > 0);
    *ret_reset = got < 0 && errno == ECONNRESET;
}

static bool has(const struct kit_talk *talk, const char *text)
{
    return memmem(talk->text.data, talk->text.len, text, strlen(text)) != NULL;
}

static void wait_released(unsigned count)
{
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    while (atomic_load(&kit->released) < count && clock_mono_us() < deadline_us)
        poll(NULL, 0, 1);
    assert_int_equal(atomic_load(&kit->released), count);
}

#define GET(query, more) "GET /stream" query " HTTP/1.1\r\n" KIT_HOST more "\r\n"

static void pieces_are_chunks(void **)
{
    static const char *const requests[] = {GET("", "Connection: close\r\n"),
                                           GET("?later=1", "Connection: close\r\n")};
    start((struct http_options){.port = 0});
    for (unsigned i = 0; i < COUNT_OF(requests); i++) {
        bool reset;
        struct kit_talk *talk = ask(requests[i]);
        read_all(talk, &reset);
        assert_false(reset);
        assert_true(has(talk, "\r\nTransfer-Encoding: chunked\r\n"));
        assert_true(has(talk, "\r\nContent-Type: text/csv\r\n"));
        assert_true(has(talk, "\r\nX-Name: 1\r\n"));
        assert_false(has(talk, "Content-Length"));
        assert_true(has(talk, "\r\n\r\n5\r\naaaaa\r\n5\r\nbbbbb\r\n5\r\nccccc\r\n0\r\n\r\n"));
        kit_close(talk);
        wait_released(i + 1);
    }
    kit_stop(kit);
}

/* An empty piece is no chunk: that would be the end. */
static void pieces_may_be_empty(void **)
{
    bool reset;
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask(GET("?bytes=0", "Connection: close\r\n"));
    read_all(talk, &reset);
    assert_true(has(talk, "\r\n\r\n0\r\n\r\n"));
    assert_false(has(talk, "0\r\n\r\n0\r\n"));
    assert_int_equal(atomic_load(&pieces_made), 3);
    kit_close(talk);
    kit_stop(kit);
}

static void the_connection_goes_on_behind_it(void **)
{
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask(GET("?pieces=1", "") GET("?later=1&pieces=2", "") KIT_TOUCH
                                "GET /v1/touch HTTP/1.1\r\n" KIT_HOST "Connection: close\r\n\r\n");
    bool reset;
    read_all(talk, &reset);
    assert_false(reset);
    const char *second = strstr(talk->text.data, "5\r\naaaaa\r\n0\r\n\r\nHTTP/1.1 200");
    assert_non_null(second);
    assert_non_null(strstr(second, "5\r\naaaaa\r\n5\r\nbbbbb\r\n0\r\n\r\nHTTP/1.1 200"));
    assert_non_null(strstr(second, "{\"ok\":true}HTTP/1.1 200"));
    kit_close(talk);
    kit_stop(kit);
}

static void head_has_no_piece(void **)
{
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask("HEAD /stream HTTP/1.1\r\n" KIT_HOST "\r\nHEAD /stream HTTP/1.1\r\n" KIT_HOST
                                "Connection: close\r\n\r\n");
    bool reset;
    read_all(talk, &reset);
    assert_false(reset);
    assert_true(has(talk, "\r\n\r\nHTTP/1.1 200 OK"));
    assert_false(has(talk, "aaaaa"));
    assert_int_equal(atomic_load(&pieces_made), 2); /* the first of each, which is not sent */
    wait_released(2);
    kit_close(talk);
    kit_stop(kit);
}

/* HTTP/1.0 knows no chunks: the end of the connection is the end. */
static void http_1_0_gets_it_plain(void **)
{
    bool reset;
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    read_all(talk, &reset);
    assert_false(reset);
    assert_true(has(talk, "\r\nConnection: close\r\n"));
    assert_false(has(talk, "Transfer-Encoding"));
    assert_true(has(talk, "\r\n\r\naaaaabbbbbccccc"));
    kit_close(talk);
    kit_stop(kit);
}

static void who_reads_sees_that_it_broke(void **)
{
    static const char *const requests[] = {GET("?breaks=3", ""), GET("?breaks=3&later=1", ""),
                                           "GET /stream?breaks=3 HTTP/1.0\r\n\r\n"};
    start((struct http_options){.port = 0});
    for (unsigned i = 0; i < COUNT_OF(requests); i++) {
        bool reset;
        struct kit_talk *talk = ask(requests[i]);
        read_all(talk, &reset);
        assert_true(reset);
        assert_false(has(talk, "0\r\n\r\n"));
        assert_false(has(talk, "ccccc"));
        kit_close(talk);
        wait_released(i + 1);
    }
    kit_stop(kit);
}

static struct kit_talk *ask_with_small_window(const char *text)
{
    struct kit_talk *talk = kit_open(kit);
    int bytes = 64 << 10;
    assert_int_equal(setsockopt(talk->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    assert_true(kit_send(talk, span_of(text)));
    return talk;
}

/* A reader that takes nothing: what is made for it is what fits between here and there, and one piece. */
static void a_slow_reader_holds_one_piece(void **)
{
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    unsigned before = 0, made;
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask_with_small_window(GET("?bytes=200000&pieces=200", ""));
    while ((made = atomic_load(&pieces_made)) == 0 || made != before) { /* until no more is made */
        assert_true(clock_mono_us() < deadline_us);
        before = made;
        poll(NULL, 0, 200);
    }
    assert_true(made < BIG_PIECES / 2);
    assert_true(atomic_load(&kit->server->door.held) >= HTTP_PIECE_MAX);
    assert_true(atomic_load(&kit->server->door.held) < 2 * HTTP_PIECE_MAX);
    kit_close(talk);
    wait_released(1);
    kit_stop(kit);
}

/* Long before it would be over for standing still. */
static void its_deadline_holds_while_the_reader_is_slow(void **)
{
    bool reset;
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask_with_small_window(GET("?bytes=200000&pieces=200&ms=300", ""));
    wait_released(1);
    read_all(talk, &reset);
    assert_true(reset);
    assert_false(has(talk, "0\r\n\r\n"));
    kit_close(talk);
    kit_stop(kit);
}

static void who_goes_away_costs_no_more(void **)
{
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask(GET("?bytes=200000&pieces=1000000&later=1", ""));
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    while (atomic_load(&pieces_made) < 2 && clock_mono_us() < deadline_us)
        poll(NULL, 0, 1);
    kit_close(talk);
    wait_released(1);
    assert_true(atomic_load(&pieces_made) < 1000);
    kit_stop(kit);
}

static void there_must_be_room_for_a_piece(void **)
{
    start((struct http_options){.port = 0, .bytes_max = HTTP_PIECE_MAX, .connections_max = 2});
    kit_expect(kit, GET("", ""), 503, "\"code\":\"overloaded\"");
    wait_released(1);
    kit_expect(kit, KIT_TOUCH, 200, "ok");
    kit_stop(kit);
}

/* Destroyed in the middle of one that has no end. */
static void the_server_may_end_first(void **)
{
    start((struct http_options){.port = 0});
    struct kit_talk *talk = ask(GET("?bytes=200000&pieces=1000000", ""));
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    while (atomic_load(&pieces_made) < 2 && clock_mono_us() < deadline_us)
        poll(NULL, 0, 1);
    assert_false(http_server_drain(kit->server, clock_deadline_us(50)));
    kit_stop(kit);
    kit_close(talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_chunks),
        cmocka_unit_test(pieces_may_be_empty),
        cmocka_unit_test(the_connection_goes_on_behind_it),
        cmocka_unit_test(head_has_no_piece),
        cmocka_unit_test(http_1_0_gets_it_plain),
        cmocka_unit_test(who_reads_sees_that_it_broke),
        cmocka_unit_test(a_slow_reader_holds_one_piece),
        cmocka_unit_test(its_deadline_holds_while_the_reader_is_slow),
        cmocka_unit_test(who_goes_away_costs_no_more),
        cmocka_unit_test(there_must_be_room_for_a_piece),
        cmocka_unit_test(the_server_may_end_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
