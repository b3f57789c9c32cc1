/* SPDX-License-Identifier: Apache-2.0 */
/* Publisher and subscriber in one process, over TCP and Unix sockets. Messages may be lost while a connection
 * is being made, so these tests publish until something arrives. */
#include "common/bus.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"

enum { BOUND_MS = 20000, PATIENCE_MS = 100, MARKER_BYTES = 7 };

struct inbox {
    atomic_int count;
    atomic_size_t largest_len;
    atomic_int largest_sum;
    atomic_int marker;
};

/* A marker is MARKER_BYTES long: its number is in the first byte. */
static void receive(struct span message, void *context)
{
    struct inbox *inbox = context;
    int sum = 0;
    for (size_t i = 0; i < message.len; i++)
        sum += (unsigned char)message.ptr[i];
    if (message.len >= inbox->largest_len) {
        inbox->largest_len = message.len;
        inbox->largest_sum = sum;
    }
    if (message.len == MARKER_BYTES)
        inbox->marker = (unsigned char)message.ptr[0];
    inbox->count++;
}

static void pause_briefly(void)
{
    const struct timespec pause = {.tv_nsec = 2 * 1000 * 1000};
    (void)ppoll(NULL, 0, &pause, NULL);
}

/* A port that was free a moment ago. */
static void free_url(char *url, size_t url_size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    snprintf(url, url_size, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
}

static struct bus_publisher *publish_to(const char *urls)
{
    char reason[256] = "";
    struct bus_publisher *publisher = bus_publisher_create(urls, reason, sizeof reason);
    if (!publisher)
        fail_msg("%s", reason);
    return publisher;
}

static struct bus_subscriber *listen_on(const char *url, struct inbox *inbox)
{
    char reason[256] = "";
    struct bus_subscriber *subscriber = bus_subscriber_create(url, receive, inbox, reason, sizeof reason);
    if (!subscriber)
        fail_msg("%s", reason);
    return subscriber;
}

static bool arrives(struct inbox *inbox, int marker)
{
    int64_t deadline_us = clock_deadline_us(PATIENCE_MS);
    while (inbox->marker != marker && clock_remaining_ms(deadline_us) > 0)
        pause_briefly();
    return inbox->marker == marker;
}

/* Publishes a new marker until that very one arrives. Order is kept, so nothing is under way any more then:
 * nng is closed in peace (see bus.c). */
static void settle(struct bus_publisher *publisher, struct inbox *inbox)
{
    static unsigned char marker;
    int64_t deadline_us = clock_deadline_us(BOUND_MS);
    for (bool arrived = false; !arrived;) {
        char message[MARKER_BYTES] = {(char)++marker};
        if (clock_remaining_ms(deadline_us) == 0)
            fail_msg("nothing arrives");
        bus_publish(publisher, (struct span){message, sizeof message});
        arrived = arrives(inbox, marker);
    }
}

static void messages_arrive(void **)
{
    char url[64];
    struct inbox inbox = {0};
    char large[BUS_MESSAGE_MAX];
    memset(large, 255, sizeof large);
    free_url(url, sizeof url);
    struct bus_publisher *publisher = publish_to(url);
    struct bus_subscriber *subscriber = listen_on(url, &inbox);
    settle(publisher, &inbox);
    int before = inbox.count;
    bus_publish(publisher, SPAN("1234567\0\xff"));
    settle(publisher, &inbox);
    assert_int_equal(inbox.largest_len, 9);
    bus_publish(publisher, (struct span){large, sizeof large});
    bus_publish(publisher, SPAN(""));
    settle(publisher, &inbox);
    assert_int_equal(inbox.largest_len, sizeof large);
    assert_int_equal(inbox.largest_sum, 255 * (int)sizeof large);
    assert_int_equal(inbox.count, before + 5);
    bus_subscriber_destroy(subscriber);
    bus_publisher_destroy(publisher);
}

/* Publishers come and go, subscribers come back on the same address. */
static void both_ends_find_each_other_again(void **)
{
    char url[64];
    struct inbox inbox = {0};
    free_url(url, sizeof url);
    struct bus_publisher *publisher = publish_to(url);
    for (int i = 0; i < 3; i++) {
        struct bus_subscriber *subscriber = listen_on(url, &inbox);
        settle(publisher, &inbox);
        bus_subscriber_destroy(subscriber);
        bus_publish(publisher, SPAN("nobody hears this"));
    }
    struct bus_subscriber *subscriber = listen_on(url, &inbox);
    for (int i = 0; i < 3; i++) {
        bus_publisher_destroy(publisher);
        publisher = publish_to(url);
        settle(publisher, &inbox);
    }
    bus_publisher_destroy(publisher);
    bus_subscriber_destroy(subscriber);
}

static void several_subscribers(void **)
{
    char urls[3][64], list[256];
    struct inbox inboxes[3] = {0};
    struct bus_subscriber *subscribers[3];
    snprintf(urls[0], sizeof urls[0], "ipc:///tmp/firstcome-bus-test-%d", (int)getpid());
    free_url(urls[1], sizeof urls[1]);
    free_url(urls[2], sizeof urls[2]);
    for (int i = 0; i < 3; i++)
        subscribers[i] = listen_on(urls[i], &inboxes[i]);
    snprintf(list, sizeof list, "%s,%s,%s,tcp://127.0.0.1:1", urls[0], urls[1], urls[2]);
    struct bus_publisher *publisher = publish_to(list);
    for (int i = 0; i < 3; i++)
        settle(publisher, &inboxes[i]);
    bus_publisher_destroy(publisher);
    for (int i = 0; i < 3; i++)
        bus_subscriber_destroy(subscribers[i]);
}

static void *publish_many(void *argument)
{
    for (int i = 0; i < 20000; i++)
        bus_publish(argument, SPAN("hint"));
    return NULL;
}

static void several_threads_publish(void **)
{
    char url[64];
    pthread_t threads[3];
    struct inbox inbox = {0};
    free_url(url, sizeof url);
    struct bus_publisher *publisher = publish_to(url);
    struct bus_subscriber *subscriber = listen_on(url, &inbox);
    settle(publisher, &inbox);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, publish_many, publisher), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    settle(publisher, &inbox);
    bus_publisher_destroy(publisher);
    bus_subscriber_destroy(subscriber);
}

static void idle_subscriber_ends_at_once(void **)
{
    char url[64];
    struct inbox inbox = {0};
    free_url(url, sizeof url);
    struct bus_subscriber *subscriber = listen_on(url, &inbox);
    int64_t start_us = clock_mono_us();
    bus_subscriber_destroy(subscriber);
    assert_in_range(clock_mono_us() - start_us, 0, 5 * US_PER_S);
    assert_int_equal(inbox.count, 0);
    bus_subscriber_destroy(NULL);
    bus_publisher_destroy(NULL);
}

static void bad_urls_have_reasons(void **)
{
    static const char *const bad[] = {"", "nonsense", "tcp://127.0.0.1:1,", "udp://x:1", ","};
    char reason[256], url[64], nine[512] = "";
    struct inbox inbox = {0};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        reason[0] = '\0';
        if (bus_publisher_create(bad[i], reason, sizeof reason))
            fail_msg("accepted: %s", bad[i]);
        assert_string_not_equal(reason, "");
    }
    for (int i = 0; i <= BUS_URLS_MAX; i++)
        snprintf(nine + strlen(nine), sizeof nine - strlen(nine), "%stcp://127.0.0.1:1", i ? "," : "");
    assert_null(bus_publisher_create(nine, reason, sizeof reason));
    assert_null(bus_subscriber_create("nonsense", receive, &inbox, reason, sizeof reason));
    free_url(url, sizeof url);
    struct bus_subscriber *subscriber = listen_on(url, &inbox);
    assert_null(bus_subscriber_create(url, receive, &inbox, reason, sizeof reason));
    assert_non_null(strstr(reason, "in use"));
    bus_subscriber_destroy(subscriber);
}

/* nng may hang when it closes a busy socket, and is of no use in that process any more. The hang must not be
 * passed on. Called in a process of its own, before nng has started in this one. */
static void end_busy_subscriber(void)
{
    char url[64], reason[256];
    pthread_t thread;
    struct inbox inbox = {0};
    free_url(url, sizeof url);
    struct bus_publisher *publisher = bus_publisher_create(url, reason, sizeof reason);
    struct bus_subscriber *subscriber = bus_subscriber_create(url, receive, &inbox, reason, sizeof reason);
    CHECK(publisher && subscriber);
    CHECK(pthread_create(&thread, NULL, publish_many, publisher) == 0);
    int64_t deadline_us = clock_deadline_us(BOUND_MS);
    while (inbox.count < 10 && clock_remaining_ms(deadline_us) > 0)
        bus_publish(publisher, SPAN("more"));
    bus_subscriber_destroy(subscriber);
    CHECK(pthread_join(thread, NULL) == 0);
    bus_publisher_destroy(publisher);
}

static void busy_subscriber_ends(void **)
{
    int status = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        end_busy_subscriber();
        _exit(0);
    }
    int fd = pidfd_open(child, 0);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, BOUND_MS);
    close(fd);
    if (ready != 1)
        kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(busy_subscriber_ends), /* first: it forks */
        cmocka_unit_test(messages_arrive),
        cmocka_unit_test(both_ends_find_each_other_again),
        cmocka_unit_test(several_subscribers),
        cmocka_unit_test(several_threads_publish),
        cmocka_unit_test(idle_subscriber_ends_at_once),
        cmocka_unit_test(bad_urls_have_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
