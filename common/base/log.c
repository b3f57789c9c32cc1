/* SPDX-License-Identifier: Apache-2.0 */
/* Writes log lines to stderr, one write(2) each, and holds back what repeats too fast. It never waits long
 * for whoever reads stderr: a line that cannot be written is dropped and counted, and the next line says how
 * many. */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/json.h"

enum {
    MESSAGE_LEN_MAX = 1024,
    LINE_LEN_MAX = 4096, /* PIPE_BUF: lines of several processes on one pipe do not mix */
    ID_SLOTS = 256,
    ID_PROBES = 8,
    WRITE_WAIT_MS = 20
};

/* How often one id was written in the current second. Ids are literals, so borrowing them is safe. */
struct id_slot {
    const char *id;
    int64_t second;
    uint64_t written, suppressed;
};

/* The lock also keeps lines in the order of their times. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct id_slot slots[ID_SLOTS];
static uint64_t dropped;
static char service_name[64] = "-";
static _Atomic int level_min = LOG_INFO, level_at_start = LOG_INFO;
static struct metric *lines_metric[LOG_ERROR + 1], *suppressed_metric, *dropped_metric, *level_metric;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

void log_setup(const char *service, enum log_level min_level)
{
    static const char lost[] = "Log lines not written, by reason";
    pthread_mutex_lock(&lock);
    snprintf(service_name, sizeof service_name, "%s", service);
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        char label[32];
        snprintf(label, sizeof label, "level=\"%s\"", level_names[level]);
        lines_metric[level] = metric_counter("coupon_log_lines_total", "Log lines written", label);
    }
    suppressed_metric = metric_counter("coupon_log_lost_total", lost, "reason=\"repeated\"");
    level_metric =
        metric_gauge("coupon_log_level", "Least level of log lines: 1 debug, 2 info, 3 warn, 4 error", NULL);
    metric_set(level_metric, (int64_t)min_level + 1);
    dropped_metric = metric_counter("coupon_log_lost_total", lost, "reason=\"unwritable\"");
    pthread_mutex_unlock(&lock);
    atomic_store_explicit(&level_at_start, (int)min_level, memory_order_relaxed);
    atomic_store_explicit(&level_min, (int)min_level, memory_order_relaxed);
}

void log_use_level(int64_t level)
{
    int wanted = level > 0 ? (int)level - 1 : atomic_load_explicit(&level_at_start, memory_order_relaxed);
    CHECK(wanted <= LOG_ERROR);
    metric_set(level_metric, wanted + 1);
    atomic_store_explicit(&level_min, wanted, memory_order_relaxed);
}

bool log_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = dup2(fd, STDERR_FILENO) >= 0;
    int error = errno;
    close(fd);
    errno = error;
    return good;
}

/* The slot of an id. When its neighbourhood is full it shares the last one looked at: the limit is then
 * common to both, which loses lines but never grows. */
static struct id_slot *slot_of(const char *id)
{
    size_t at = span_hash(span_of(id)) % ID_SLOTS;
    for (size_t i = 0; i < ID_PROBES; i++) {
        struct id_slot *slot = &slots[(at + i) % ID_SLOTS];
        if (!slot->id)
            slot->id = id;
        if (slot->id == id || strcmp(slot->id, id) == 0)
            return slot;
    }
    return &slots[(at + ID_PROBES - 1) % ID_SLOTS];
}

static void hold_back(struct id_slot *slot)
{
    slot->suppressed++;
    if (suppressed_metric) /* not before log_setup */
        metric_add(suppressed_metric, 1);
}

static bool slot_admit(struct id_slot *slot, int64_t second)
{
    if (slot->second != second) {
        slot->second = second;
        slot->written = 0;
    }
    if (slot->written >= LOG_PER_SECOND_MAX)
        return false;
    slot->written++;
    return true;
}

/* What all ids together may write in a second: the last quarter is for errors, so that no amount of other
 * lines keeps one of them out. */
static bool bytes_admit(size_t len, enum log_level level, int64_t second)
{
    const size_t most = level == LOG_ERROR ? LOG_BYTES_PER_SECOND_MAX : LOG_BYTES_PER_SECOND_MAX / 4 * 3;
    static int64_t current;
    static size_t written;
    if (current != second) {
        current = second;
        written = 0;
    }
    if (written + len > most)
        return false;
    written += len;
    return true;
}

/* Cuts at `len_max`, but not inside a UTF-8 sequence. */
static struct span cut_text(struct span text, size_t len_max)
{
    if (text.len <= len_max)
        return text;
    while (len_max > 0 && ((unsigned char)text.ptr[len_max] & 0xC0) == 0x80)
        len_max--;
    return (struct span){text.ptr, len_max};
}

struct line {
    enum log_level level;
    const char *id;
    struct span message;
    uint64_t suppressed;
};

static void line_render(const struct line *line, struct buf *out)
{
    json_open(out, NULL, '{');
    json_put_time(out, "ts", clock_wall_us());
    json_put_string(out, "level", span_of(level_names[line->level]));
    json_put_string(out, "service", span_of(service_name));
    json_put_string(out, "id", span_of(line->id));
    json_put_string(out, "msg", line->message);
    if (line->suppressed)
        json_put_int(out, "suppressed", (int64_t)line->suppressed);
    if (dropped)
        json_put_int(out, "dropped", (int64_t)dropped);
    json_close(out, '}');
    buf_append_char(out, '\n');
}

/* A reader of stderr that has stopped gets a little patience once, then none until it reads again. One that
 * is gone is not written to at all: that would be a SIGPIPE. */
static bool line_write(struct span line)
{
    struct pollfd target = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t written;
    if (poll(&target, 1, dropped ? 0 : WRITE_WAIT_MS) <= 0 || target.revents != POLLOUT)
        return false;
    do
        written = write(STDERR_FILENO, line.ptr, line.len);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)line.len;
}

static void write_locked(struct line *line)
{
    struct buf out;
    struct id_slot *slot = slot_of(line->id);
    int64_t second = clock_mono_us() / US_PER_S;
    if (!slot_admit(slot, second)) {
        hold_back(slot);
        return;
    }
    line->suppressed = slot->suppressed;
    buf_init(&out, LINE_LEN_MAX);
    line_render(line, &out);
    while (out.overflow) { /* escapes made it too long */
        CHECK(line->message.len > 0);
        line->message = cut_text(line->message, line->message.len / 2);
        buf_clear(&out);
        line_render(line, &out);
    }
    if (!bytes_admit(out.len, line->level, second)) {
        hold_back(slot);
    } else if (line_write(buf_span(&out))) {
        slot->suppressed = 0;
        dropped = 0;
        if (lines_metric[line->level])
            metric_add(lines_metric[line->level], 1);
    } else {
        dropped++;
        if (dropped_metric)
            metric_add(dropped_metric, 1);
    }
    buf_deinit(&out);
}

void log_write(enum log_level level, const char *id, const char *format, ...)
{
    char text[MESSAGE_LEN_MAX + 4]; /* so that a cut inside a UTF-8 sequence can be seen */
    int saved_errno = errno;
    va_list args;
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed))
        return;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t held = len < 0 ? 0 : (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    struct line line = {
        .level = level, .id = id, .message = cut_text((struct span){text, held}, MESSAGE_LEN_MAX)};
    pthread_mutex_lock(&lock);
    write_locked(&line);
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}
