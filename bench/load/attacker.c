/* SPDX-License-Identifier: Apache-2.0 */
/* One round every ROUND_MS: what was closed is forgotten, some are opened, and each sends what is its turn.
 */
#include "bench/load/attacker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum {
    ROUND_MS = 20,
    EVENTS_MAX = 256,
    BETWEEN_MS = 1000,
    PIECE_BYTES = 8192 /* of a body, a second */,
    RECEIVE_BYTES = 4096,
    ASKS = 20 /* a second, at most */
};

enum kind { HEAD, BODY, UNREAD };

struct victim {
    enum kind kind;
    int fd; /* -1: none */
    size_t sent;
    int64_t next_us; /* when it sends again */
};

struct attack {
    struct attack_options options;
    struct victim *all;
    size_t count, next; /* next: to be looked at for being opened */
    int epoll;
    atomic_size_t connections;
    atomic_ullong made;
    atomic_bool stop;
    pthread_t thread;
};

static void forget(struct attack *attack, struct victim *victim)
{
    close(victim->fd);
    victim->fd = -1;
    atomic_fetch_sub(&attack->connections, 1);
}

static void take_closed(struct attack *attack)
{
    struct epoll_event events[EVENTS_MAX];
    int count = EVENTS_MAX;
    while (count == EVENTS_MAX) {
        count = epoll_wait(attack->epoll, events, EVENTS_MAX, 0);
        for (int i = 0; i < count; i++)
            forget(attack, events[i].data.ptr);
    }
}

static void begin(struct attack *attack, struct victim *victim)
{
    int small = RECEIVE_BYTES;
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = victim};
    int fd = target_connect(attack->options.target);
    if (fd < 0)
        return;
    if (victim->kind == UNREAD)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (epoll_ctl(attack->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return;
    }
    *victim = (struct victim){victim->kind, fd, 0, 0};
    atomic_fetch_add(&attack->connections, 1);
    atomic_fetch_add(&attack->made, 1);
}

static void open_some(struct attack *attack, size_t most)
{
    for (size_t looked = 0; looked < attack->count && most > 0; looked++) {
        struct victim *victim = &attack->all[attack->next];
        attack->next = (attack->next + 1) % attack->count;
        if (victim->fd < 0) {
            begin(attack, victim);
            most--;
        }
    }
}

/* What comes next of it: of a head byte by byte, of a body piece by piece; asking goes on while the socket
 * takes it. */
static struct span next_piece(const struct attack *attack, const struct victim *victim)
{
    static const char head[] = "GET /v1/settings HTTP/1.1\r\nHost: x\r\nX-Slow: ", filler[PIECE_BYTES] = "x";
    const struct attack_options *options = &attack->options;
    struct span asks = options->asks, post = options->post;
    size_t left = sizeof filler;
    switch (victim->kind) {
    case HEAD:
        return victim->sent < sizeof head - 1 ? (struct span){head + victim->sent, 1} : SPAN("x");
    case UNREAD:
        return (struct span){asks.ptr + victim->sent % asks.len, asks.len - victim->sent % asks.len};
    case BODY:
        break;
    }
    if (victim->sent < post.len)
        return (struct span){post.ptr + victim->sent, post.len - victim->sent};
    if (left > post.len + ATTACK_BODY - 1 - victim->sent)
        left = post.len + ATTACK_BODY - 1 - victim->sent;
    return (struct span){filler, left};
}

static void send_some(const struct attack *attack, struct victim *victim, int64_t now_us)
{
    ssize_t sent;
    size_t asked = 0;
    do {
        struct span piece = next_piece(attack, victim);
        sent = piece.len ? send(victim->fd, piece.ptr, piece.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        victim->sent += sent > 0 ? (size_t)sent : 0;
    } while (victim->kind == UNREAD && sent > 0 && ++asked < ASKS);
    victim->next_us = now_us + BETWEEN_MS * US_PER_MS;
}

static void *run(void *context)
{
    struct attack *attack = context;
    int64_t opened_us = clock_mono_us();
    struct timespec pause = {0, ROUND_MS * US_PER_MS * 1000};
    while (!atomic_load(&attack->stop)) {
        int64_t now_us = clock_mono_us();
        take_closed(attack);
        open_some(attack, (size_t)((now_us - opened_us) * attack->options.opens_per_second / US_PER_S));
        opened_us = now_us;
        for (size_t i = 0; i < attack->count; i++)
            if (attack->all[i].fd >= 0 && attack->all[i].next_us <= now_us)
                send_some(attack, &attack->all[i], now_us);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

struct attack *attack_start(const struct attack_options *options)
{
    struct attack *attack = mem_zalloc(sizeof *attack);
    attack->options = *options;
    attack->count = options->heads + options->bodies + options->unread;
    attack->all = mem_alloc(attack->count * sizeof *attack->all);
    attack->epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(attack->epoll >= 0);
    for (size_t i = 0; i < attack->count; i++) {
        enum kind kind = i < options->heads ? HEAD : i < options->heads + options->bodies ? BODY : UNREAD;
        attack->all[i] = (struct victim){.kind = kind, .fd = -1};
    }
    CHECK(pthread_create(&attack->thread, NULL, run, attack) == 0);
    return attack;
}

size_t attack_connections(const struct attack *attack)
{
    return atomic_load(&attack->connections);
}

uint64_t attack_made(const struct attack *attack)
{
    return atomic_load(&attack->made);
}

void attack_stop(struct attack *attack)
{
    if (!attack)
        return;
    atomic_store(&attack->stop, true);
    CHECK(pthread_join(attack->thread, NULL) == 0);
    for (size_t i = 0; i < attack->count; i++)
        if (attack->all[i].fd >= 0)
            close(attack->all[i].fd);
    close(attack->epoll);
    mem_free(attack->all);
    mem_free(attack);
}
