/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on a connection, through all of the server: every answer is a whole one, and none comes
 * after the one that says it is the last. */
#include <arpa/inet.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>

#include "bench/load/http_response.h"
#include "common/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/http_room.h"

enum { ANSWERS_MAX = 1 << 20, INPUT_MAX = 64 * 1024, PAUSE_MS = 2, WAIT_MS = 120000 };

static int connected(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(room_server()->door.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void exchange(struct span input, struct buf *answers)
{
    char part[16384];
    int64_t deadline_us = clock_deadline_us(WAIT_MS);
    int fd = connected();
    while (input.len) {
        ssize_t sent = send(fd, input.ptr, input.len, MSG_NOSIGNAL);
        if (sent <= 0)
            break; /* the server has closed: it has said what it had to say */
        input = (struct span){input.ptr + sent, input.len - (size_t)sent};
    }
    /* Not in one piece with the input: such an end is noticed a second later. */
    struct pollfd first = {.fd = fd, .events = POLLIN};
    (void)poll(&first, 1, PAUSE_MS);
    (void)shutdown(fd, SHUT_WR);
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        CHECK(poll(&wait, 1, clock_remaining_ms(deadline_us)) == 1); /* a half-closed connection is ended */
        ssize_t got = recv(fd, part, sizeof part, 0);
        if (got <= 0)
            break;
        buf_append(answers, part, (size_t)got);
    }
    close(fd);
}

/* Answers to HEAD and interim ones have no body; the parser does not know what was asked. */
static bool readable(struct span input)
{
    for (size_t i = 0; i + 4 <= input.len; i++)
        if (strncasecmp(input.ptr + i, "HEAD", 4) == 0 || strncasecmp(input.ptr + i, "xpec", 4) == 0)
            return false;
    return true;
}

static void read_answers(struct span answers)
{
    bool closed = false;
    while (answers.len) {
        struct http_response response;
        size_t used = 0;
        CHECK(!closed);
        CHECK(http_response_parse(answers, ANSWERS_MAX, &response, &used) == RESPONSE_COMPLETE);
        closed = response.close;
        answers = (struct span){answers.ptr + used, answers.len - used};
    }
}

FUZZ_TARGET(http_wire)
{
    struct buf answers;
    struct span input = fuzz_text(data, size);
    if (size > INPUT_MAX)
        return 0;
    buf_init(&answers, ANSWERS_MAX);
    exchange(input, &answers);
    CHECK(!answers.overflow);
    if (readable(input))
        read_answers(buf_span(&answers));
    buf_deinit(&answers);
    return 0;
}
