/* SPDX-License-Identifier: Apache-2.0 */
/* The event loops of the HTTP server: whose turn it is. A loop learns of all sockets that have something for
 * it before it serves the first of them, puts their connections into one queue, and serves that in order,
 * each for no more than its share (HTTP_TURN_REQUESTS, HTTP_TURN_BYTES). Every TURN_US it learns of sockets
 * again, so that it knows when what a connection sent arrived: after it last learned of sockets, or while it
 * slept. The time that a request then waits for its turn counts as its age.
 *
 * Who has been slow so far, with a head, a body or an answer, has a queue of its own, of which one is served
 * for each few of the others: thousands of them that each send a byte at the same moment would else be a
 * crowd in front of somebody's whole request.
 *
 * Sockets are registered once and edge-triggered: a request on a kept connection costs one recv and one
 * send. What the loop knows of a socket is `readable` and `writable`, which an edge sets, and a recv or send
 * that found less than it asked for clears. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/http/internal.h"

enum {
    EVENTS_MAX = 256,
    EVENT_ROUNDS_MAX = 64,
    TURN_US = 2000,
    SLEPT_US = 200,
    TICK_MS = 100,
    SLOW_TURN_MS = 200,   /* somebody who is in the middle of something for longer is slow, */
    SLOW_TURN = 4,        /* and has every fourth turn where others have something to do */
    REFUSALS_SAVED = 100, /* as many are refused at once after a pause */
    EVICT_AGAIN_MS = 100  /* when nobody could go, nobody can a moment later */
};

/* --- Waiting for admission --- */

/* Who is refused asks again, and at once where a crowd is impatient: tens of thousands a second, which take
 * the processors from the committers, who would make the room that is missing. Goodput falls, more are
 * refused, and so on for as long as the crowd stays. So a loop refuses only some at once. The others wait in
 * their connections, with their bodies unread, for room and not for long; each in the line of what it waits
 * for, so that where there is none for one there may be for another. */
bool http_loop_rations(const struct http_loop *loop)
{
    return loop->now_us < loop->refuse_us;
}

void http_loop_refused(struct http_loop *loop)
{
    int64_t each_us = atomic_load_explicit(&loop->server->refusal_us, memory_order_relaxed);
    int64_t least_us = loop->now_us - REFUSALS_SAVED * each_us;
    loop->refuse_us = (loop->refuse_us > least_us ? loop->refuse_us : least_us) + each_us;
}

void http_loop_hold_back(struct http_conn *conn)
{
    struct http_loop *loop = conn->request.loop;
    CHECK(!conn->ready && !conn->held_back && conn->request.line < HTTP_LINES);
    conn->held_back = &loop->held_back[conn->request.line];
    TAILQ_INSERT_TAIL(conn->held_back, conn, in_ready);
    loop->held_back_count++;
    metric_add(conn->request.server->waiting_gauge, 1);
}

static void let_go_on(struct http_conn *conn)
{
    TAILQ_REMOVE(conn->held_back, conn, in_ready);
    conn->held_back = NULL;
    conn->request.loop->held_back_count--;
    metric_add(conn->request.server->waiting_gauge, (uint64_t)-1);
}

/* --- One connection --- */

static enum http_step handler_step(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    if (conn->away)
        return HTTP_STEP_WAIT;
    if (!request->deferred) {
        request->endpoint->route->handler(request, request->server->options.context);
        /* If it is deferred another thread may have answered it by now: nothing else may be looked at. */
        conn->away = request->deferred;
        if (conn->away)
            return HTTP_STEP_WAIT;
    }
    CHECK(request->answered);
    http_output_begin(conn);
    return HTTP_STEP_ON;
}

static enum http_step conn_step(struct http_conn *conn)
{
    switch (conn->phase) {
    case HTTP_PHASE_HANDLER:
        return handler_step(conn);
    case HTTP_PHASE_SENDING:
        return http_output_step(conn);
    default:
        return http_input_step(conn);
    }
}

static bool is_slow(const struct http_conn *conn)
{
    bool at_something = conn->phase != HTTP_PHASE_IDLE && conn->phase != HTTP_PHASE_HANDLER;
    return at_something && conn->request.loop->now_us - conn->since_us > SLOW_TURN_MS * US_PER_MS;
}

void http_conn_ready(struct http_conn *conn, int64_t since_us)
{
    struct http_loop *loop = conn->request.loop;
    if (conn->ready || conn->away || conn->held_back)
        return;
    conn->ready = is_slow(conn) ? &loop->ready_slow : &loop->ready;
    conn->ready_us = since_us;
    TAILQ_INSERT_TAIL(conn->ready, conn, in_ready);
}

/* A turn of one connection: as many steps as it can take, up to its share. */
static void conn_run(struct http_conn *conn)
{
    enum http_step step = HTTP_STEP_ON;
    conn->turn_bytes = conn->turn_requests = 0;
    while (step == HTTP_STEP_ON && conn->turn_bytes < HTTP_TURN_BYTES &&
           conn->turn_requests < HTTP_TURN_REQUESTS)
        step = conn_step(conn);
    if (step == HTTP_STEP_END)
        http_conn_destroy(conn);
    else if (step == HTTP_STEP_ON)
        http_conn_ready(conn, conn->request.loop->now_us);
}

/* An accepted socket on its way to a loop. */
struct http_newcomer {
    STAILQ_ENTRY(http_newcomer) next;
    struct http_address *address;
    struct in6_addr peer;
    int fd;
    int64_t accepted_us;
    enum http_reason full; /* HTTP_REASON_COUNT: there is room */
    unsigned tried;        /* loops that have nobody who could go */
};

static void conn_create(struct http_loop *loop, const struct http_newcomer *newcomer)
{
    struct http_conn *conn = mem_zalloc(sizeof *conn);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
    http_request_init(&conn->request, loop->server);
    buf_init(&conn->output, HTTP_REPLY_MAX);
    conn->request.loop = loop;
    conn->fd = newcomer->fd;
    conn->peer = conn->client = newcomer->peer;
    conn->from_proxy = http_proxies_trust(&loop->server->proxies, &conn->peer);
    conn->address = newcomer->address;
    conn->readable = conn->writable = true; /* the first recv says whether */
    http_limits_enter(loop, conn);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        http_conn_destroy(conn);
        return;
    }
    http_conn_ready(conn, newcomer->accepted_us);
}

void http_conn_destroy(struct http_conn *conn)
{
    struct http_loop *loop = conn->request.loop;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    CHECK(!conn->away);
    if (conn->ready)
        TAILQ_REMOVE(conn->ready, conn, in_ready);
    if (conn->held_back)
        let_go_on(conn);
    /* Not all of a stream was sent, and to a client of HTTP/1.0 the end of the connection would be its end.
     */
    if (conn->request.stream.release)
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    http_finish(conn); /* a request that came to no answer */
    http_limits_leave(loop, conn);
    atomic_fetch_sub(&loop->connections, 1);
    close(conn->fd);
    http_request_deinit(&conn->request);
    buf_deinit(&conn->output);
    mem_free(conn->input.data);
    mem_free(conn);
}

/* --- Handing over to a loop --- */

/* Under loop.lock, which whoever hands something over holds until the descriptor is written: when the loop
 * has what it was given, and perhaps ends, nobody is about to write any more. */
static void wake_locked(struct http_loop *loop)
{
    uint64_t one = 1;
    if (loop->sleeping)
        CHECK(write(loop->wake_fd, &one, sizeof one) == sizeof one);
    loop->sleeping = false;
}

static void loop_wake(struct http_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    wake_locked(loop);
    pthread_mutex_unlock(&loop->lock);
}

static void newcomer_put(struct http_loop *loop, struct http_newcomer *newcomer)
{
    atomic_fetch_add(&loop->connections, 1);
    pthread_mutex_lock(&loop->lock);
    STAILQ_INSERT_TAIL(&loop->newcomers, newcomer, next);
    wake_locked(loop);
    pthread_mutex_unlock(&loop->lock);
}

void http_loop_add(struct http_server *server, int fd, const struct sockaddr *peer,
                   struct http_address *address, enum http_reason full)
{
    struct http_loop *best = &server->loops[0];
    for (unsigned i = 1; i < server->loops_count; i++)
        if (atomic_load(&server->loops[i].connections) < atomic_load(&best->connections))
            best = &server->loops[i];
    struct http_newcomer *newcomer = mem_zalloc(sizeof *newcomer);
    *newcomer = (struct http_newcomer){
        .fd = fd,
        .accepted_us = clock_mono_us(),
        .peer = http_address_mapped(peer),
        .address = address,
        .full = full,
    };
    newcomer_put(best, newcomer);
}

/* Where somebody has to go first and this loop has nobody, the next one may. true: it is off to there. */
static bool newcomer_passed_on(struct http_loop *loop, struct http_newcomer *newcomer)
{
    struct http_server *server = loop->server;
    struct http_address *whose = newcomer->full == HTTP_REASON_ADDRESS ? newcomer->address : NULL;
    if (newcomer->full == HTTP_REASON_COUNT)
        return false;
    _Atomic int64_t *again_us = http_evict_again(&server->door, newcomer->address, newcomer->full);
    bool looks = atomic_load(again_us) <= loop->now_us;
    if (looks && http_limits_evict(loop, whose)) {
        newcomer->full = HTTP_REASON_COUNT;
    } else if (looks && ++newcomer->tried < server->loops_count && !atomic_load(&loop->stop_wanted)) {
        newcomer_put(&server->loops[(size_t)(loop - server->loops + 1) % server->loops_count], newcomer);
        atomic_fetch_sub(&loop->connections, 1);
        return true;
    } else if (looks) {
        atomic_store(again_us, loop->now_us + EVICT_AGAIN_MS * US_PER_MS);
    }
    http_door_displaced(&server->door);
    return false;
}

static void newcomer_enter(struct http_loop *loop, struct http_newcomer *newcomer)
{
    if (newcomer_passed_on(loop, newcomer))
        return;
    if (newcomer->full == HTTP_REASON_COUNT) {
        conn_create(loop, newcomer);
    } else {
        http_limits_forget(loop->server, newcomer->address);
        atomic_fetch_sub(&loop->connections, 1);
        http_door_refuse(loop->server, newcomer->fd, newcomer->full);
    }
    mem_free(newcomer);
}

void http_loop_answered(struct http_request *request)
{
    struct http_loop *loop = request->loop;
    pthread_mutex_lock(&loop->lock);
    STAILQ_INSERT_TAIL(&loop->answered, request, next_answered);
    wake_locked(loop);
    pthread_mutex_unlock(&loop->lock);
}

/* What is answered goes out before anything else is begun. */
static void take_handed_over(struct http_loop *loop)
{
    struct http_newcomers newcomers = STAILQ_HEAD_INITIALIZER(newcomers);
    struct http_requests answered = STAILQ_HEAD_INITIALIZER(answered);
    pthread_mutex_lock(&loop->lock);
    loop->sleeping = false;
    STAILQ_CONCAT(&answered, &loop->answered);
    STAILQ_CONCAT(&newcomers, &loop->newcomers);
    pthread_mutex_unlock(&loop->lock);
    while (!STAILQ_EMPTY(&answered)) {
        struct http_conn *conn = (struct http_conn *)STAILQ_FIRST(&answered); /* its first member */
        STAILQ_REMOVE_HEAD(&answered, next_answered);
        conn->away = false;
        conn->ready_us = loop->now_us;
        conn_run(conn);
    }
    while (!STAILQ_EMPTY(&newcomers)) {
        struct http_newcomer *newcomer = STAILQ_FIRST(&newcomers);
        STAILQ_REMOVE_HEAD(&newcomers, next);
        newcomer_enter(loop, newcomer);
    }
}

/* --- The loop --- */

/* Of a line those that wait longest first, up to the first that has to go on waiting. */
static void serve_line(struct http_loop *loop, struct http_conns *line, int64_t end_us)
{
    struct http_conn *conn;
    for (; (conn = TAILQ_FIRST(line)) && loop->now_us < end_us; loop->now_us = clock_mono_us()) {
        conn->request.may_wait = loop->now_us - conn->since_us < HTTP_HELD_BACK_MAX_MS * US_PER_MS;
        http_screen_admission(&conn->request);
        if (conn->request.waits)
            return;
        let_go_on(conn);
        enum http_step step = http_input_admitted(conn);
        if (step == HTTP_STEP_END)
            http_conn_destroy(conn);
        else if (step == HTTP_STEP_ON)
            conn_run(conn);
    }
}

static void take_event(const struct epoll_event *event, int64_t heard_us)
{
    struct http_conn *conn = event->data.ptr;
    if (!conn)
        return; /* the loop was woken; being edge-triggered its descriptor need not be read */
    bool broken = event->events & (EPOLLHUP | EPOLLERR);
    conn->ended |= broken || (event->events & EPOLLRDHUP);
    conn->readable |= conn->ended || (event->events & EPOLLIN);
    conn->writable |= broken || (event->events & EPOLLOUT);
    http_conn_ready(conn, heard_us);
}

static struct http_conn *next_ready(const struct http_loop *loop)
{
    struct http_conn *slow = TAILQ_FIRST(&loop->ready_slow), *conn = TAILQ_FIRST(&loop->ready);
    return slow && (!conn || loop->turns % SLOW_TURN == 0) ? slow : conn;
}

/* How long this thread may sleep; if at all, it says so. */
static int sleep_ms(struct http_loop *loop)
{
    if (next_ready(loop))
        return 0;
    pthread_mutex_lock(&loop->lock);
    loop->sleeping =
        STAILQ_EMPTY(&loop->answered) && STAILQ_EMPTY(&loop->newcomers) && !atomic_load(&loop->stop_wanted);
    int64_t until_us = loop->tick_us, soon_us = loop->now_us + TURN_US;
    if (loop->held_back_count > 0 && soon_us < until_us)
        until_us = soon_us;
    int timeout_ms = loop->sleeping ? clock_remaining_ms(until_us) : 0;
    pthread_mutex_unlock(&loop->lock);
    return timeout_ms;
}

/* Learns of every socket that has something for this loop; waits for one where nothing else is to be done. */
static void take_events(struct http_loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    int timeout_ms = sleep_ms(loop), count = EVENTS_MAX;
    int64_t before_us = clock_mono_us(), heard_us = loop->learned_us;
    if (before_us - heard_us > TURN_US)
        timeout_ms = 0; /* what came meanwhile must not be taken for what comes now */
    bool sleeps = timeout_ms > 0;
    for (int round = 0; count == EVENTS_MAX && round < EVENT_ROUNDS_MAX; round++, timeout_ms = 0) {
        count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, timeout_ms);
        loop->now_us = clock_mono_us();
        if (round == 0 && sleeps && loop->now_us - before_us > SLEPT_US)
            heard_us = loop->now_us;
        for (int i = 0; i < count; i++)
            take_event(&events[i], heard_us);
    }
    loop->learned_us = before_us > heard_us ? before_us : heard_us;
}

static void serve(struct http_loop *loop)
{
    int64_t end_us = loop->now_us + TURN_US;
    struct http_conn *conn;
    for (size_t i = 0; loop->held_back_count > 0 && i < HTTP_LINES; i++)
        serve_line(loop, &loop->held_back[(loop->first_line + i) % HTTP_LINES], end_us - TURN_US / 2);
    loop->first_line++;
    while ((conn = next_ready(loop)) && loop->now_us < end_us) {
        TAILQ_REMOVE(conn->ready, conn, in_ready);
        conn->ready = NULL;
        loop->turns++;
        conn_run(conn);
        loop->now_us = clock_mono_us();
    }
}

static void *loop_run(void *argument)
{
    struct http_loop *loop = argument;
    heartbeat_begin(&loop->heartbeat);
    while (!atomic_load(&loop->stop_wanted)) {
        take_events(loop);
        heartbeat_beat(&loop->heartbeat, loop->now_us);
        take_handed_over(loop);
        if (atomic_load_explicit(&loop->server->hanging_up, memory_order_relaxed))
            http_limits_hang_up(loop);
        serve(loop);
        if (loop->now_us >= loop->tick_us) {
            loop->tick_us = loop->now_us + TICK_MS * US_PER_MS;
            http_limits_tick(loop);
        }
    }
    heartbeat_end(&loop->heartbeat);
    return NULL;
}

bool http_loop_start(struct http_server *server, struct http_loop *loop)
{
    struct epoll_event woken = {.events = EPOLLIN | EPOLLET};
    loop->server = server;
    loop->now_us = loop->learned_us = clock_mono_us();
    TAILQ_INIT(&loop->ready);
    TAILQ_INIT(&loop->ready_slow);
    for (size_t i = 0; i < HTTP_LINES; i++)
        TAILQ_INIT(&loop->held_back[i]);
    STAILQ_INIT(&loop->answered);
    STAILQ_INIT(&loop->newcomers);
    for (int i = 0; i < HTTP_PHASES; i++)
        TAILQ_INIT(&loop->phases[i]);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &woken) != 0) {
        int saved = errno;
        if (loop->epoll_fd >= 0)
            close(loop->epoll_fd);
        if (loop->wake_fd >= 0)
            close(loop->wake_fd);
        errno = saved;
        return false;
    }
    CHECK(pthread_mutex_init(&loop->lock, NULL) == 0);
    /* Signals are for the main thread. */
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    CHECK(pthread_create(&loop->thread, NULL, loop_run, loop) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    pthread_setname_np(loop->thread, "http-loop");
    return true;
}

void http_loops_hang_up(struct http_server *server)
{
    atomic_store(&server->hanging_up, true);
    for (unsigned i = 0; i < server->loops_count; i++)
        loop_wake(&server->loops[i]);
}

void http_loop_stop(struct http_loop *loop)
{
    atomic_store(&loop->stop_wanted, true);
    loop_wake(loop);
    pthread_join(loop->thread, NULL);
}

void http_loop_deinit(struct http_loop *loop)
{
    struct http_conn *conn;
    do /* so that they are closed with the others; what is streamed may come back once more */
        take_handed_over(loop);
    while (!STAILQ_EMPTY(&loop->answered));
    for (int i = 0; i < HTTP_PHASES; i++)
        while ((conn = TAILQ_FIRST(&loop->phases[i])))
            http_conn_destroy(conn);
    close(loop->epoll_fd);
    close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
}
