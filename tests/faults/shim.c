/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD: makes one call of a kind fail, the nth since the test armed it (FAULT_CONTROL names the file
 * that both map). Knows nothing of what it is loaded into, and allocates nothing. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/faults/faults.h"

enum { EARLY_BYTES = 64 * 1024, DAY_S = 86400 };

static struct fault_control *control;

/* dlsym itself allocates before the real calloc is known. Only the thread that looks takes memory here: the
 * others, which allocate at the same time, would soon have used all of it. */
static _Alignas(16) char early[EARLY_BYTES];
static atomic_size_t early_used;
static __thread bool looking __attribute__((tls_model("initial-exec")));

static void *early_alloc(size_t size)
{
    size_t padded = (size + 15) & ~(size_t)15, at = atomic_fetch_add(&early_used, padded);
    return at + padded <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *ptr)
{
    return (const char *)ptr >= early && (const char *)ptr < early + sizeof early;
}

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static bool fails(enum fault_kind kind)
{
    if (!control)
        return false;
    atomic_fetch_add_explicit(&control->calls[kind], 1, memory_order_relaxed);
    if (atomic_load_explicit(&control->armed, memory_order_acquire) != (int)kind ||
        atomic_fetch_sub(&control->countdown, 1) != 1)
        return false;
    atomic_store(&control->armed, FAULT_NONE);
    atomic_store(&control->injected, 1);
    return true;
}

static void *look_up(const char *name)
{
    looking = true;
    void *found = dlsym(RTLD_NEXT, name);
    looking = false;
    return found;
}

/* The next definition of a function, looked up once; threads that look at the same time find the same. */
#define REAL(name)                                                               \
    static _Atomic(__typeof__(&name)) found;                                     \
    __typeof__(&name) real = atomic_load_explicit(&found, memory_order_relaxed); \
    if (!real) {                                                                 \
        *(void **)&real = look_up(#name);                                        \
        atomic_store_explicit(&found, real, memory_order_relaxed);               \
    }

/* --- Memory --- */

void *malloc(size_t size)
{
    if (looking)
        return early_alloc(size);
    REAL(malloc);
    if (fails(FAULT_MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(size);
}

void *calloc(size_t count, size_t size)
{
    if (looking)
        return early_alloc(count * size); /* zeroed, and never given back */
    REAL(calloc);
    if (fails(FAULT_MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(count, size);
}

void *realloc(void *ptr, size_t size)
{
    REAL(realloc);
    if (is_early(ptr) || fails(FAULT_MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(ptr, size);
}

void free(void *ptr)
{
    REAL(free);
    if (!is_early(ptr))
        real(ptr);
}

/* --- Files and sockets --- */

int fsync(int fd)
{
    REAL(fsync);
    if (!fails(FAULT_FSYNC))
        return real(fd);
    errno = EIO;
    return -1;
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    if (!fails(FAULT_FSYNC))
        return real(fd);
    errno = EIO;
    return -1;
}

/* An event counter cannot fail, and whoever writes to one may say so. */
static bool is_file_or_socket(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode));
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (!is_file_or_socket(fd) || !fails(FAULT_WRITE))
        return real(fd, data, size);
    errno = EIO;
    return -1;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(writev);
    if (!fails(FAULT_WRITE))
        return real(fd, parts, count);
    errno = EIO;
    return -1;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    REAL(send);
    if (!fails(FAULT_WRITE))
        return real(fd, data, size, flags);
    errno = ECONNRESET;
    return -1;
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t len)
{
    REAL(sendto);
    if (!fails(FAULT_WRITE))
        return real(fd, data, size, flags, to, len);
    errno = ECONNRESET;
    return -1;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    if (!fails(FAULT_WRITE))
        return real(fd, message, flags);
    errno = ECONNRESET;
    return -1;
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    REAL(connect);
    if (!fails(FAULT_CONNECT))
        return real(fd, to, len);
    errno = ECONNREFUSED;
    return -1;
}

int accept(int fd, struct sockaddr *from, socklen_t *len)
{
    REAL(accept);
    if (!fails(FAULT_ACCEPT))
        return real(fd, from, len);
    errno = EMFILE;
    return -1;
}

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    REAL(accept4);
    if (!fails(FAULT_ACCEPT))
        return real(fd, from, len, flags);
    errno = EMFILE;
    return -1;
}

/* --- Time --- */

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    REAL(clock_gettime);
    int result = real(clock, ret);
    if (clock == CLOCK_REALTIME && fails(FAULT_CLOCK))
        ret->tv_sec += DAY_S;
    return result;
}
