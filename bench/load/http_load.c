/* SPDX-License-Identifier: Apache-2.0 */
/* The load engine. Edge-triggered epoll, so a request that fits the socket costs one send and one recv.
 *
 * A connection is RESTING (until retry_us), CONNECTING, IDLE (on the idle stack) or BUSY. CONNECTING and BUSY
 * ones are in `clock`, a list in the order they began: one timeout for all makes its head the next to expire.
 */
#include "bench/load/http_load.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"

enum {
    EVENTS_MAX = 256,
    INPUT_FIRST = 4096,
    BACKOFF_FIRST_MS = 5,
    BACKOFF_MAX_MS = 500,
    BACKOFF_DOUBLINGS = 7
};

enum connection_state { RESTING, CONNECTING, IDLE, BUSY };

struct connection {
    enum connection_state state;
    int fd;                             /* -1 while RESTING */
    unsigned failures;                  /* since the last answer */
    int64_t free_us;                    /* since when it could have carried a request */
    int64_t retry_us;                   /* RESTING */
    int64_t began_us;                   /* CONNECTING, BUSY: when the timeout started */
    size_t idle_at;                     /* IDLE: place on the idle stack */
    struct connection *earlier, *later; /* in the clock */
    struct buf request;
    size_t written;
    char *input;
    size_t input_len, input_size;
    uint64_t tag;
    int64_t intended_us;
};

struct load {
    struct load_options options;
    struct load_driver driver;
    struct load_stats stats;
    int epoll;
    struct connection *connections;
    struct connection **idle;
    size_t idle_count, busy_count, resting_count;
    struct connection *clock_first, *clock_last;
    int64_t rest_until_us; /* no connection rests past this unseen */
    int64_t ask_us;        /* when to ask the driver again; INT64_MAX: after a result */
    bool ended;
};

/* --- States --- */

static void clock_add(struct load *load, struct connection *c, int64_t now_us)
{
    c->began_us = now_us;
    c->later = NULL;
    c->earlier = load->clock_last;
    *(c->earlier ? &c->earlier->later : &load->clock_first) = c;
    load->clock_last = c;
}

static void clock_remove(struct load *load, struct connection *c)
{
    *(c->earlier ? &c->earlier->later : &load->clock_first) = c->later;
    *(c->later ? &c->later->earlier : &load->clock_last) = c->earlier;
}

static void leave_state(struct load *load, struct connection *c)
{
    switch (c->state) {
    case RESTING:
        load->resting_count--;
        break;
    case CONNECTING:
        clock_remove(load, c);
        break;
    case IDLE:
        load->idle[c->idle_at] = load->idle[--load->idle_count];
        load->idle[c->idle_at]->idle_at = c->idle_at;
        break;
    case BUSY:
        clock_remove(load, c);
        load->busy_count--;
        break;
    }
}

static void enter_resting(struct load *load, struct connection *c, int64_t retry_us)
{
    leave_state(load, c);
    c->state = RESTING;
    c->retry_us = retry_us;
    load->resting_count++;
    if (retry_us < load->rest_until_us)
        load->rest_until_us = retry_us;
}

static void enter_idle(struct load *load, struct connection *c)
{
    leave_state(load, c);
    c->state = IDLE;
    c->idle_at = load->idle_count;
    load->idle[load->idle_count++] = c;
    load->ask_us = 0; /* the driver may have waited for one more to be free */
}

static void enter_clocked(struct load *load, struct connection *c, enum connection_state state,
                          int64_t now_us)
{
    leave_state(load, c);
    c->state = state;
    load->busy_count += state == BUSY;
    clock_add(load, c, now_us);
}

/* --- Ends of connections and requests --- */

/* 5 ms, doubling to 500 ms, each between half and the whole of it: a crowd must not come back in step. */
static int64_t backoff_us(const struct connection *c)
{
    unsigned doublings = c->failures - 1 < BACKOFF_DOUBLINGS ? c->failures - 1 : BACKOFF_DOUBLINGS;
    int64_t ms = (int64_t)BACKOFF_FIRST_MS << doublings;
    uint32_t half_us = (uint32_t)(ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS) * US_PER_MS / 2;
    return half_us + crypto_random_below(half_us + 1);
}

/* A connection that had worked is made again at once. */
static void hang_up(struct load *load, struct connection *c, int64_t now_us)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    enter_resting(load, c, c->failures ? now_us + backoff_us(c) : now_us);
}

static void report(struct load *load, struct connection *c, struct load_result *result)
{
    result->tag = c->tag;
    result->intended_us = c->intended_us;
    result->sent_us = c->began_us;
    c->free_us = result->done_us;
    load->driver.done(load->driver.context, result);
    load->ask_us = 0;
}

static void fail_request(struct load *load, struct connection *c, enum load_outcome outcome)
{
    struct load_result result = {.outcome = outcome, .done_us = clock_mono_us()};
    c->failures++;
    hang_up(load, c, result.done_us);
    report(load, c, &result);
}

static void fail_connection(struct load *load, struct connection *c, int error)
{
    load->stats.connects_failed++;
    load->stats.errno_last = error;
    c->failures++;
    hang_up(load, c, clock_mono_us());
}

/* --- Sending --- */

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* false: the connection broke. An answer may still lie in it, so the caller reads before it gives up. */
static bool write_request(struct connection *c)
{
    while (c->written < c->request.len) {
        ssize_t n = send(c->fd, c->request.data + c->written, c->request.len - c->written, MSG_NOSIGNAL);
        if (n < 0)
            return would_block(errno);
        c->written += (size_t)n;
    }
    return true;
}

static void read_answer(struct load *load, struct connection *c, bool closing);

static void send_job(struct load *load, struct connection *c, const struct load_job *job)
{
    CHECK(!c->request.overflow && c->request.len > 0);
    c->tag = job->tag;
    c->intended_us = job->due_us > c->free_us ? job->due_us : c->free_us;
    c->written = c->input_len = 0;
    load->stats.sent++;
    enter_clocked(load, c, BUSY, clock_mono_us());
    if (!write_request(c))
        read_answer(load, c, true);
}

/* Hands out jobs while there are both, jobs and free connections. */
static void dispatch(struct load *load)
{
    while (load->idle_count && !load->ended && load->ask_us <= clock_mono_us()) {
        struct connection *c = load->idle[load->idle_count - 1];
        struct load_job job = {0};
        buf_clear(&c->request);
        enum load_next next = load->driver.next(load->driver.context, load->idle_count, &job, &c->request);
        if (next == LOAD_SEND)
            send_job(load, c, &job);
        else if (next == LOAD_WAIT)
            load->ask_us = job.due_us;
        else
            load->ended = true;
    }
}

/* --- Receiving --- */

enum input { INPUT_SOME, INPUT_NONE, INPUT_END };

static enum input read_some(struct load *load, struct connection *c)
{
    size_t size_max = load->options.body_max + RESPONSE_HEAD_MAX;
    if (c->input_len == c->input_size) {
        c->input_size = c->input_size ? 2 * c->input_size : INPUT_FIRST;
        c->input_size = c->input_size < size_max ? c->input_size : size_max;
        c->input = mem_realloc(c->input, c->input_size);
    }
    CHECK(c->input_len < c->input_size); /* an answer that fills it is complete or malformed */
    ssize_t n = recv(c->fd, c->input + c->input_len, c->input_size - c->input_len, 0);
    if (n > 0)
        c->input_len += (size_t)n;
    return n > 0 ? INPUT_SOME : n < 0 && would_block(errno) ? INPUT_NONE : INPUT_END;
}

/* One answer is what one request brings: anything after it means that the two ends disagree on framing. */
static void finish_request(struct load *load, struct connection *c, struct http_response *response,
                           bool closing)
{
    struct load_result result = {.outcome = LOAD_ANSWERED, .response = *response, .done_us = clock_mono_us()};
    c->failures = 0;
    load->stats.answered++;
    if (closing || response->close)
        hang_up(load, c, result.done_us);
    else
        enter_idle(load, c);
    report(load, c, &result);
}

static enum response_progress parse_input(const struct load *load, struct connection *c,
                                          struct http_response *ret)
{
    size_t used = 0;
    struct span input = {c->input, c->input_len};
    enum response_progress progress = http_response_parse(input, load->options.body_max, ret, &used);
    return progress == RESPONSE_COMPLETE && used != c->input_len ? RESPONSE_MALFORMED : progress;
}

/* `closing`: the peer has closed, or sending failed; what it still said may be there to read. A short read
 * means that the socket is empty (edge-triggered epoll tells of anything later), so one recv is the rule. */
static void read_answer(struct load *load, struct connection *c, bool closing)
{
    for (;;) {
        struct http_response response;
        enum input input = read_some(load, c);
        enum response_progress progress =
            input == INPUT_SOME ? parse_input(load, c, &response) : RESPONSE_NEED_MORE;
        if (progress == RESPONSE_COMPLETE) {
            finish_request(load, c, &response, closing);
            return;
        }
        if (progress == RESPONSE_MALFORMED || input == INPUT_END) {
            fail_request(load, c, progress == RESPONSE_MALFORMED ? LOAD_MALFORMED : LOAD_LOST);
            return;
        }
        if (input == INPUT_NONE && !closing)
            return;
        if (input == INPUT_NONE) { /* send failed, yet no end in sight: nothing will come */
            fail_request(load, c, LOAD_LOST);
            return;
        }
    }
}

/* --- Connecting --- */

static void begin_connecting(struct load *load, struct connection *c, int64_t now_us)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = c}};
    if (c->free_us == 0)
        c->free_us = now_us;
    c->fd = target_connect(load->options.target);
    if (c->fd >= 0 && epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) == 0)
        enter_clocked(load, c, CONNECTING, now_us);
    else
        fail_connection(load, c, errno);
}

static void finish_connecting(struct load *load, struct connection *c, bool closing)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0 || closing) {
        fail_connection(load, c, error ? error : ECONNRESET);
        return;
    }
    load->stats.connects++;
    enter_idle(load, c);
}

static void wake_resting(struct load *load, int64_t now_us)
{
    if (load->resting_count == 0 || now_us < load->rest_until_us || load->ended)
        return;
    load->rest_until_us = INT64_MAX;
    for (size_t i = 0; i < load->options.connections; i++) {
        struct connection *c = &load->connections[i];
        if (c->state != RESTING)
            continue;
        if (c->retry_us <= now_us)
            begin_connecting(load, c, now_us);
        else if (c->retry_us < load->rest_until_us)
            load->rest_until_us = c->retry_us;
    }
}

/* --- The loop --- */

static void expire(struct load *load, int64_t now_us, int64_t timeout_us)
{
    while (load->clock_first && now_us - load->clock_first->began_us >= timeout_us) {
        struct connection *c = load->clock_first;
        if (c->state == BUSY)
            fail_request(load, c, LOAD_TIMED_OUT);
        else
            fail_connection(load, c, ETIMEDOUT);
    }
}

static void handle(struct load *load, const struct epoll_event *event)
{
    struct connection *c = event->data.ptr;
    bool closing = event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    bool readable = closing || (event->events & EPOLLIN);
    switch (c->state) {
    case RESTING:
        break;
    case CONNECTING:
        if (closing || (event->events & EPOLLOUT))
            finish_connecting(load, c, closing);
        break;
    case IDLE:
        if (readable) { /* closed by the server, or something nobody asked for */
            c->failures++;
            hang_up(load, c, clock_mono_us());
        }
        break;
    case BUSY:
        if (c->written < c->request.len && (event->events & EPOLLOUT) && !write_request(c))
            closing = readable = true;
        if (readable)
            read_answer(load, c, closing);
        break;
    }
}

/* Rounded up to whole milliseconds: waking early would only spin. */
static int wait_ms(const struct load *load, int64_t now_us, int64_t deadline_us)
{
    int64_t until = deadline_us;
    if (load->resting_count && !load->ended && load->rest_until_us < until)
        until = load->rest_until_us;
    if (load->idle_count && !load->ended && load->ask_us < until)
        until = load->ask_us;
    if (load->clock_first) {
        int64_t expiry = load->clock_first->began_us + load->options.timeout_ms * US_PER_MS;
        until = expiry < until ? expiry : until;
    }
    return until > now_us ? clock_remaining_ms(until) : 0;
}

static void run(struct load *load, int64_t deadline_us)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t timeout_us = load->options.timeout_ms * US_PER_MS;
    for (;;) {
        int64_t now_us = clock_mono_us();
        if (now_us >= deadline_us)
            load->ended = true;
        expire(load, now_us, now_us < deadline_us ? timeout_us : 0);
        wake_resting(load, now_us);
        dispatch(load);
        if (load->ended && load->busy_count == 0)
            return;
        int n = epoll_wait(load->epoll, events, EVENTS_MAX, wait_ms(load, now_us, deadline_us));
        CHECK(n >= 0 || errno == EINTR);
        for (int i = 0; i < n; i++) {
            handle(load, &events[i]);
            dispatch(
                load); /* at once: a free connection that waits for the rest of the events is idle time */
        }
    }
}

/* --- Accounts of the thread --- */

static int64_t thread_cpu_us(void)
{
    struct timespec cpu;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu) == 0);
    return (int64_t)cpu.tv_sec * US_PER_S + cpu.tv_nsec / 1000;
}

/* The second number of schedstat: ns spent waiting on a run queue. */
static int64_t thread_run_delay_us(void)
{
    char text[128];
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    struct span rest = {text, len > 0 ? (size_t)len : 0};
    uint64_t ns = 0;
    span_cut(&rest, ' ');
    return parse_u64(span_cut(&rest, ' '), INT64_MAX, &ns) ? (int64_t)(ns / 1000) : 0;
}

void load_run(struct load *load, int64_t deadline_us)
{
    int64_t wall_us = clock_mono_us(), cpu_us = thread_cpu_us(), delay_us = thread_run_delay_us();
    run(load, deadline_us);
    load->stats.wall_us = clock_mono_us() - wall_us;
    load->stats.cpu_us = thread_cpu_us() - cpu_us;
    load->stats.run_delay_us = thread_run_delay_us() - delay_us;
}

/* --- Lifecycle --- */

struct load *load_create(const struct load_options *options, const struct load_driver *driver)
{
    CHECK(options->connections > 0 && options->timeout_ms > 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return NULL;
    struct load *load = mem_zalloc(sizeof *load);
    load->options = *options;
    load->driver = *driver;
    load->epoll = epoll;
    load->connections = mem_zalloc(options->connections * sizeof *load->connections);
    load->idle = mem_alloc(options->connections * sizeof(struct connection *));
    for (size_t i = 0; i < options->connections; i++) {
        load->connections[i].fd = -1;
        buf_init(&load->connections[i].request, LOAD_REQUEST_MAX);
    }
    load->resting_count = options->connections; /* zeroed: RESTING, due at once */
    return load;
}

void load_destroy(struct load *load)
{
    if (!load)
        return;
    for (size_t i = 0; i < load->options.connections; i++) {
        struct connection *c = &load->connections[i];
        if (c->fd >= 0)
            close(c->fd);
        buf_deinit(&c->request);
        mem_free(c->input);
    }
    close(load->epoll);
    mem_free(load->idle);
    mem_free(load->connections);
    mem_free(load);
}

const struct load_stats *load_stats(const struct load *load)
{
    return &load->stats;
}

bool load_allow_descriptors(size_t needed)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return false;
    if (limit.rlim_cur >= needed)
        return true;
    limit.rlim_cur = needed;
    return limit.rlim_max >= needed && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}
