/* SPDX-License-Identifier: Apache-2.0 */
/* One atomic word and an eventfd between the bus thread and the projector. */
#include "projector/run/wakeup.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "events/codec.h"

void hints_init(struct hints *hints)
{
    atomic_init(&hints->slices, 0);
    hints->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(hints->wake_fd >= 0);
}

void hints_deinit(struct hints *hints)
{
    close(hints->wake_fd);
}

void hints_wake(struct hints *hints)
{
    uint64_t one = 1;
    ssize_t written = write(hints->wake_fd, &one, sizeof one);
    (void)written; /* it is full of wake-ups already */
}

void hints_receive(struct span message, void *context)
{
    struct hints *hints = context;
    struct hint hint;
    if (!hint_decode(message, &hint))
        return;
    unsigned bit = 1U << hint.slice;
    if (!(atomic_fetch_or(&hints->slices, bit) & bit))
        hints_wake(hints);
}

unsigned hints_take(struct hints *hints)
{
    return atomic_exchange(&hints->slices, 0);
}

void hints_wait(struct hints *hints, int64_t deadline_us)
{
    struct pollfd wake = {.fd = hints->wake_fd, .events = POLLIN};
    uint64_t count;
    if (poll(&wake, 1, clock_remaining_ms(deadline_us)) <= 0)
        return;
    ssize_t got = read(hints->wake_fd, &count, sizeof count);
    (void)got; /* nobody else reads it; and an early return from a wait is none the worse */
}
