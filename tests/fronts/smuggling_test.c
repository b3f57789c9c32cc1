/* SPDX-License-Identifier: Apache-2.0 */
/* What HAProxy and nginx in front of us see as one request, we see as one request: attempts at smuggling
 * (payloads.c) are sent to us directly and through each of them. On each connection of a proxy to us there
 * are as many answers as the proxy sent requests, no answer follows one that closes, and whoever asks through
 * the same proxy afterwards gets the answer to their own question. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/wait.h"

#include "bench/kit/child.h"
#include "common/base/mem.h"
#include "common/base/testing.h"
#include "tests/fronts/payloads.h"
#include "tests/fronts/tap.h"
#include "tests/lib/stack.h"

enum {
    PORT_HAPROXY = 9,
    PORT_NGINX,
    PORT_TAP_HAPROXY,
    PORT_TAP_NGINX,
    PORT_EDGE,
    PORT_TAP_EDGE,
    PORT_ORIGIN,
    PATH_BYTES = 1024,
    ANSWERS_MAX = 1 << 20,
    READ_MS = 20000,
    STILL_MS = 150, /* silence after which the client ends its side */
    LISTEN_MS = 120000
};

struct front {
    const char *name, *program; /* program NULL: none, straight to the service */
    int port, tap_port;
    pid_t pid;
    struct tap *tap;
    int wrong;
};

static struct stack *stack;
static struct front haproxy = {"HAProxy", "/usr/sbin/haproxy", PORT_HAPROXY, PORT_TAP_HAPROXY, 0, NULL, 0};
static struct front edge = {"our edge", "/usr/sbin/haproxy", PORT_EDGE, PORT_TAP_EDGE, 0, NULL, 0};
static struct front nginx = {"nginx", "/usr/sbin/nginx", PORT_NGINX, PORT_TAP_NGINX, 0, NULL, 0};
static struct front direct = {"the service", NULL, 0, 0, 0, NULL, 0};

/* --- Talking --- */

static int connected(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Everything that comes back until the other side closes; our own side is closed after a silence. */
static void talk(const struct front *front, struct span bytes, struct buf *answers)
{
    char part[16384];
    bool open = true;
    int64_t deadline_us = clock_deadline_us(READ_MS);
    int fd = connected(stack_port_base(stack) + front->port);
    assert_true(fd >= 0);
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        bytes = (struct span){bytes.ptr + sent, bytes.len - (size_t)sent};
    }
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, open ? STILL_MS : clock_remaining_ms(deadline_us));
        if (ready == 0 && open) {
            open = false;
            (void)shutdown(fd, SHUT_WR);
            continue;
        }
        if (ready == 0)
            fail_msg("%s keeps a connection that its client has ended", front->name);
        ssize_t got = recv(fd, part, sizeof part, 0);
        if (got <= 0)
            break;
        buf_append(answers, part, (size_t)got);
    }
    close(fd);
}

/* --- Counting --- */

static struct span header_of(struct span head, const char *name)
{
    size_t len = strlen(name);
    while (head.len > 0) {
        struct span line = span_cut(&head, '\n');
        if (line.len > len && line.ptr[len] == ':' && strncasecmp(line.ptr, name, len) == 0) {
            struct span value = {line.ptr + len + 1, line.len - len - 1};
            while (value.len > 0 && value.ptr[0] == ' ')
                value = (struct span){value.ptr + 1, value.len - 1};
            while (value.len > 0 && value.ptr[value.len - 1] == '\r')
                value.len--;
            return value;
        }
    }
    return (struct span){NULL, 0};
}

/* Takes a head off the text; an absent span where there is no whole one. */
static struct span take_head(struct span *text)
{
    const char *end = text->len ? memmem(text->ptr, text->len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return (struct span){NULL, 0};
    struct span head = {text->ptr, (size_t)(end - text->ptr) + 2};
    *text = (struct span){end + 4, text->len - head.len - 2};
    return head;
}

static bool drop(struct span *text, uint64_t bytes)
{
    if (bytes > text->len)
        return false;
    *text = (struct span){text->ptr + bytes, text->len - (size_t)bytes};
    return true;
}

/* The chunks of a body that a proxy wrote, which are plain ones. */
static bool drop_chunks(struct span *text)
{
    for (;;) {
        const char *end = text->len ? memmem(text->ptr, text->len, "\r\n", 2) : NULL;
        uint64_t size = 0;
        if (!end)
            return false;
        for (const char *c = text->ptr; c < end && *c != ';'; c++) {
            int digit = *c >= '0' && *c <= '9'                     ? *c - '0'
                        : (*c | 0x20) >= 'a' && (*c | 0x20) <= 'f' ? (*c | 0x20) - 'a' + 10
                                                                   : -1;
            if (digit < 0)
                return false;
            size = size * 16 + (uint64_t)digit;
        }
        if (!drop(text, (uint64_t)(end - text->ptr) + 2))
            return false;
        if (size == 0) {
            while (text->len >= 2 && memcmp(text->ptr, "\r\n", 2) != 0) { /* trailers */
                const char *line = memmem(text->ptr, text->len, "\r\n", 2);
                if (!line || !drop(text, (uint64_t)(line - text->ptr) + 2))
                    return false;
            }
            return drop(text, 2);
        }
        if (!drop(text, size + 2))
            return false;
    }
}

/* Requests that a proxy wrote: `whole` ones, and whether one more had begun. */
static size_t count_requests(struct span text, bool *ret_begun)
{
    size_t whole = 0;
    *ret_begun = false;
    while (text.len > 0) {
        uint64_t length = 0;
        *ret_begun = true;
        struct span head = take_head(&text);
        if (!head.ptr)
            return whole;
        struct span digits = header_of(head, "Content-Length");
        bool good = header_of(head, "Transfer-Encoding").ptr
                        ? drop_chunks(&text)
                        : !digits.ptr || (parse_u64(digits, INT64_MAX, &length) && drop(&text, length));
        if (!good)
            return whole;
        whole++;
        *ret_begun = false;
    }
    return whole;
}

/* Answers of our service; interim ones do not count, and those to HEAD have no body. */
static size_t count_answers(struct span text, bool *ret_after_close)
{
    size_t count = 0;
    bool closed = false;
    *ret_after_close = false;
    while (text.len > 0) {
        uint64_t length = 0;
        struct span head = take_head(&text);
        if (!head.ptr)
            break;
        if (memcmp(head.ptr, "HTTP/1.1 1", 10) == 0)
            continue;
        count++;
        *ret_after_close |= closed;
        struct span connection = header_of(head, "Connection");
        closed = connection.ptr && strncasecmp(connection.ptr, "close", 5) == 0;
        bool bodiless = text.len == 0 || (text.len >= 7 && memcmp(text.ptr, "HTTP/1.", 7) == 0);
        if (!bodiless && parse_u64(header_of(head, "Content-Length"), INT64_MAX, &length) &&
            !drop(&text, length))
            break;
    }
    return count;
}

/* --- The fronts --- */

static void write_configuration(const char *name, const char *text, char *ret_path)
{
    snprintf(ret_path, PATH_BYTES, "%s/%s", stack_directory(stack), name);
    FILE *file = fopen(ret_path, "we");
    assert_true(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* `text` NULL: argv[2] is the path of a configuration that is there. */
static void front_start(struct front *front, const char *text, const char *const *argv,
                        const char *const *environment)
{
    char log[PATH_BYTES], path[PATH_BYTES];
    if (text)
        write_configuration(argv[2], text, path);
    else
        snprintf(path, sizeof path, "%s", argv[2]);
    const char *arguments[] = {argv[0], argv[1], path, argv[3], argv[3] ? stack_directory(stack) : NULL,
                               NULL};
    snprintf(log, sizeof log, "%s/log/%s.log", stack_directory(stack), front->name);
    front->tap = tap_start(stack_port_base(stack) + front->tap_port, stack_port_base(stack));
    front->pid = child_start(&(struct child_spec){.argv = arguments,
                                                  .environment = environment,
                                                  .output_path = log,
                                                  .directory = stack_directory(stack)});
    int fd = -1;
    WAIT_UNTIL((fd = connected(stack_port_base(stack) + front->port)) >= 0, LISTEN_MS);
    close(fd);
}

static void haproxy_start(void)
{
    char text[2048];
    int base = stack_port_base(stack);
    snprintf(text, sizeof text,
             "global\n maxconn 256\ndefaults\n mode http\n timeout connect 5s\n timeout client 1s\n"
             " timeout server 5s\n timeout http-request 1s\n timeout http-keep-alive 1s\n http-reuse always\n"
             " retries 0\nfrontend f\n bind 127.0.0.1:%d\n default_backend b\n"
             "backend b\n server s 127.0.0.1:%d\n",
             base + PORT_HAPROXY, base + PORT_TAP_HAPROXY);
    front_start(&haproxy, text, (const char *[]){haproxy.program, "-f", "haproxy.cfg", NULL},
                (const char *[]){NULL});
}

/* With what it has for the write API alone; that /readyz is asked through the tap as well makes no
 * difference. */
static void edge_start(void)
{
    char bind[64], origin[64], command[64], query[64], *path = realpath("compose/edge/haproxy.cfg", NULL);
    int base = stack_port_base(stack);
    assert_non_null(path);
    snprintf(bind, sizeof bind, "EDGE_WRITE_BIND=127.0.0.1:%d", base + PORT_EDGE);
    snprintf(origin, sizeof origin, "EDGE_BIND=127.0.0.1:%d", base + PORT_ORIGIN);
    snprintf(command, sizeof command, "COMMAND_ADDRESS=127.0.0.1:%d", base + PORT_TAP_EDGE);
    snprintf(query, sizeof query, "QUERY_ADDRESS=127.0.0.1:%d", base + PORT_TAP_EDGE);
    front_start(&edge, NULL, (const char *[]){edge.program, "-f", path, NULL},
                (const char *[]){bind, origin, command, query, NULL});
    free(path);
}

static void nginx_start(void)
{
    char text[2048];
    int base = stack_port_base(stack);
    snprintf(text, sizeof text,
             "daemon off; worker_processes 1; pid nginx.pid; error_log stderr;\nevents { worker_connections "
             "256; }\n"
             "http { access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; "
             "uwsgi_temp_path u; scgi_temp_path s; client_header_timeout 1s; client_body_timeout 1s; "
             "keepalive_timeout 1s; lingering_timeout 1s;\n"
             "upstream b { server 127.0.0.1:%d; keepalive 8; }\n"
             "server { listen 127.0.0.1:%d; location / { proxy_pass http://b; proxy_http_version 1.1; "
             "proxy_set_header Connection \"\"; proxy_request_buffering off; proxy_read_timeout 5s; "
             "proxy_next_upstream off; } } }\n",
             base + PORT_TAP_NGINX, base + PORT_NGINX);
    front_start(&nginx, text, (const char *[]){nginx.program, "-c", "nginx.conf", "-p"},
                (const char *[]){NULL});
}

/* --- Payload by payload --- */

static void wrong(struct front *front, const char *name, const char *what)
{
    printf("%s, %s: %s\n", front->name, name, what);
    front->wrong++;
}

/* Two questions with different answers: neither may get another one's. */
static void ask_innocently(struct front *front, const char *name)
{
    static const struct {
        struct span request;
        const char *answer;
    } probes[] = {
        {SPAN("GET /livez?innocent HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 "},
        {SPAN("GET /nothing-here HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"), "HTTP/1.1 404 "}};
    for (size_t i = 0; i < COUNT_OF(probes); i++) {
        struct buf answer;
        buf_init(&answer, ANSWERS_MAX);
        talk(front, probes[i].request, &answer);
        if (!span_starts(buf_span(&answer), span_of(probes[i].answer)))
            wrong(front, name, "the next one gets another answer than their own");
        buf_deinit(&answer);
    }
}

static void attempt(void *context, int number, const char *name, struct span bytes)
{
    struct front *front = context;
    struct buf answers;
    bool after_close;
    buf_init(&answers, ANSWERS_MAX);
    if (front->tap)
        tap_label(front->tap, number);
    talk(front, bytes, &answers);
    (void)count_answers(buf_span(&answers), &after_close);
    if (after_close)
        wrong(front, name, "an answer follows the one that closes");
    ask_innocently(front, name);
    buf_deinit(&answers);
}

static void judge(struct front *front)
{
    size_t requests = 0, answers = 0;
    tap_stop(front->tap);
    for (size_t i = 0; i < tap_count(front->tap); i++) {
        const struct tapped *said = tap_at(front->tap, i);
        char name[64];
        bool begun, after_close;
        size_t asked = count_requests(buf_span(&said->asked), &begun);
        size_t got = count_answers(buf_span(&said->answered), &after_close);
        snprintf(name, sizeof name, "attempts %d to %d", said->first_label, said->last_label);
        if (got > asked + begun)
            wrong(front, name, "more answers than requests");
        if (got < asked && said->service_closed && !after_close && got + 1 < asked)
            wrong(front, name, "fewer answers than requests");
        if (after_close)
            wrong(front, name, "on its connection to us an answer follows the one that closes");
        requests += asked;
        answers += got;
    }
    printf("%s: %zu connections to us, %zu whole requests, %zu answers\n", front->name, tap_count(front->tap),
           requests, answers);
    tap_destroy(front->tap);
}

static void through(struct front *front, void (*start)(void))
{
    if (access(front->program, X_OK) != 0) {
        printf("%s is not installed\n", front->name);
        skip();
    }
    start();
    size_t count = payloads_each(attempt, front);
    child_stop(front->pid);
    judge(front);
    printf("%s: %zu attempts, %d wrong\n", front->name, count, front->wrong);
    assert_int_equal(front->wrong, 0);
}

static void straight(void **)
{
    size_t count = payloads_each(attempt, &direct);
    printf("straight: %zu attempts, %d wrong\n", count, direct.wrong);
    assert_int_equal(direct.wrong, 0);
}

static void through_haproxy(void **)
{
    through(&haproxy, haproxy_start);
}

static void through_our_edge(void **)
{
    through(&edge, edge_start);
}

static void through_nginx(void **)
{
    through(&nginx, nginx_start);
}

static int setup(void **)
{
    stack = stack_start(STACK_COMMAND);
    return 0;
}

static int teardown(void **)
{
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(straight),
        cmocka_unit_test(through_haproxy),
        cmocka_unit_test(through_our_edge),
        cmocka_unit_test(through_nginx),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
