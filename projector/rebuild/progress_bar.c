/* SPDX-License-Identifier: Apache-2.0 */
/* The bar and the lines. */
#include "projector/rebuild/progress_bar.h"

#include <unistd.h>

#include "common/base/clock.h"
#include "common/json.h"

enum { BAR = 30, TERMINAL_MS = 100, LINES_MS = 1000, LINE_MAX = 512 };

void report_init(struct report *report, bool json)
{
    *report = (struct report){.terminal = !json && isatty(STDOUT_FILENO) == 1};
}

void report_phase(struct report *report, const char *phase, int64_t done)
{
    report_end(report);
    snprintf(report->phase, sizeof report->phase, "%s", phase);
    report->began_us = clock_mono_us();
    report->first = done;
    report->shown_us = 0;
}

struct report_figures report_figures(int64_t done, int64_t first, int64_t total, int64_t elapsed_us)
{
    struct report_figures figures = {.share = 1, .left_s = -1};
    if (total > 0)
        figures.share = done < total ? (double)done / (double)total : 1;
    if (elapsed_us > 0 && done > first)
        figures.rate = (double)(done - first) * US_PER_S / (double)elapsed_us;
    if (figures.rate > 0)
        figures.left_s = done < total ? (int64_t)((double)(total - done) / figures.rate + 0.5) : 0;
    return figures;
}

static void write_bar(const struct report *report, const struct report_figures *figures, int64_t done,
                      int64_t total)
{
    char bar[BAR + 1];
    int filled = (int)(figures->share * BAR);
    for (int i = 0; i < BAR; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR] = '\0';
    printf("\r%-10s [%s] %5.1f %%  %lld of %lld events, %.0f/s", report->phase, bar, figures->share * 100,
           (long long)done, (long long)total, figures->rate);
    if (figures->left_s >= 0)
        printf(", %lld s left", (long long)figures->left_s);
    printf("\033[K");
}

static void write_line(const struct report *report, const struct report_figures *figures, int64_t done,
                       int64_t total)
{
    struct buf out;
    buf_init(&out, LINE_MAX);
    json_open(&out, NULL, '{');
    json_put_string(&out, "phase", span_of(report->phase));
    json_put_int(&out, "generation", report->generation);
    json_put_int(&out, "events", done);
    json_put_int(&out, "total", total);
    json_put_int(&out, "events_per_second", (int64_t)figures->rate);
    if (figures->left_s >= 0)
        json_put_int(&out, "seconds_left", figures->left_s);
    else
        json_put_null(&out, "seconds_left");
    json_close(&out, '}');
    printf("%.*s\n", (int)out.len, out.data);
    buf_deinit(&out);
}

void report_progress(struct report *report, int64_t done, int64_t total)
{
    int64_t now_us = clock_mono_us();
    int64_t pause_us = (report->terminal ? TERMINAL_MS : LINES_MS) * (int64_t)US_PER_MS;
    if (report->shown_us != 0 && now_us - report->shown_us < pause_us && done < total)
        return;
    report->shown_us = now_us;
    struct report_figures figures = report_figures(done, report->first, total, now_us - report->began_us);
    if (report->terminal)
        write_bar(report, &figures, done, total);
    else
        write_line(report, &figures, done, total);
    report->open = report->terminal;
    fflush(stdout);
}

void report_say(struct report *report, const char *what)
{
    report_end(report);
    if (report->terminal) {
        printf("%s\n", what);
    } else {
        struct buf out;
        buf_init(&out, LINE_MAX);
        json_open(&out, NULL, '{');
        json_put_string(&out, "phase", span_of(report->phase));
        json_put_int(&out, "generation", report->generation);
        json_put_string(&out, "message", span_of(what));
        json_close(&out, '}');
        printf("%.*s\n", (int)out.len, out.data);
        buf_deinit(&out);
    }
    fflush(stdout);
}

void report_end(struct report *report)
{
    if (report->open)
        printf("\n");
    report->open = false;
    fflush(stdout);
}
