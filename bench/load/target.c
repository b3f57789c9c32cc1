/* SPDX-License-Identifier: Apache-2.0 */
/* Base URLs and connecting sockets. */
#include "bench/load/target.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* "host", "host:port" or "[v6]:port" into its parts, as NUL-terminated texts. */
static bool split_authority(struct span authority, char *host, size_t host_size, char port[6])
{
    struct span name = authority, digits = {NULL, 0};
    uint64_t number = 80;
    const char *close = memchr(authority.ptr, ']', authority.len);
    const char *from = close ? close : authority.ptr;
    const char *colon = memchr(from, ':', authority.len - (size_t)(from - authority.ptr));
    if (colon) {
        name.len = (size_t)(colon - authority.ptr);
        digits = (struct span){colon + 1, authority.len - name.len - 1};
        if (!parse_u64(digits, 65535, &number) || number == 0)
            return false;
    }
    if (close) {
        if (name.ptr[0] != '[' || name.ptr[name.len - 1] != ']')
            return false;
        name = (struct span){name.ptr + 1, name.len - 2};
    }
    if (name.len == 0 || name.len >= host_size)
        return false;
    memcpy(host, name.ptr, name.len);
    host[name.len] = '\0';
    snprintf(port, 6, "%u", (unsigned)number);
    return true;
}

static bool resolve(struct target *target, const char *host, const char *port, char *reason,
                    size_t reason_size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) {
        snprintf(reason, reason_size, "the host cannot be resolved: %s", gai_strerror(error));
        return false;
    }
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

bool target_init(struct target *target, const char *url, char *reason, size_t reason_size)
{
    char host[256], port[6];
    struct span rest = span_of(url), scheme = SPAN("http://");
    *target = (struct target){0};
    if (span_starts(rest, scheme)) {
        rest = (struct span){rest.ptr + scheme.len, rest.len - scheme.len};
        struct span authority = span_cut(&rest, '/');
        bool whole = rest.len == 0 && authority.len > 0 && authority.len <= TARGET_AUTHORITY_MAX;
        if (whole && split_authority(authority, host, sizeof host, port)) {
            memcpy(target->authority, authority.ptr, authority.len);
            return resolve(target, host, port, reason, reason_size);
        }
    }
    snprintf(reason, reason_size, "must be http://host:port without a path");
    return false;
}

int target_connect(const struct target *target)
{
    int one = 1;
    int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* slower without, not wrong */
    if (connect(fd, (const struct sockaddr *)&target->address, target->address_len) == 0 ||
        errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}
