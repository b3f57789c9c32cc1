/* SPDX-License-Identifier: Apache-2.0 */
/* Progress bar. */
#include "bench/kit/progress.h"

#include <inttypes.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { BAR_WIDTH = 24, REDRAW_MS = 100, LINE_MS = 1000 };

void progress_begin(struct progress *progress, const char *title)
{
    const char *term = getenv("TERM");
    *progress = (struct progress){
        .title = title,
        .terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0),
        .started_us = clock_mono_us(),
    };
    progress->drawn_us = progress->started_us;
}

static void draw(struct progress *progress, int64_t done, int64_t total, const char *note)
{
    static const char full[] = "########################", none[] = "                        ";
    _Static_assert(sizeof full == BAR_WIDTH + 1 && sizeof none == BAR_WIDTH + 1, "the bar has its width");
    int64_t now_us = clock_mono_us(), took_us = now_us - progress->started_us;
    double rate = took_us > 0 ? (double)done * US_PER_S / (double)took_us : 0;
    int64_t left_s = rate > 0 ? (int64_t)((double)(total - done) / rate + 0.5) : 0;
    int percent = total > 0 ? (int)(100 * done / total) : 100, filled = BAR_WIDTH * percent / 100;
    if (progress->terminal)
        fprintf(stderr, "\r%s [%.*s%.*s] ", progress->title, filled, full, BAR_WIDTH - filled, none);
    else
        fprintf(stderr, "%s: ", progress->title);
    fprintf(stderr, "%3d%%  %" PRId64 "/%" PRId64 "  %.0f/s  ETA %" PRId64 " s  %s", percent, done, total,
            rate, left_s, note);
    fputs(progress->terminal ? "\033[K" : "\n", stderr);
    fflush(stderr);
    progress->drawn_us = now_us;
}

void progress_update(struct progress *progress, int64_t done, int64_t total, const char *note)
{
    int64_t pause_us = (progress->terminal ? REDRAW_MS : LINE_MS) * US_PER_MS;
    if (clock_mono_us() - progress->drawn_us >= pause_us)
        draw(progress, done, total, note);
}

void progress_end(struct progress *progress, int64_t done, int64_t total, const char *note)
{
    draw(progress, done, total, note);
    if (progress->terminal)
        fputc('\n', stderr);
}
