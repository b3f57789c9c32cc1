/* SPDX-License-Identifier: Apache-2.0 */
/* The table, its file, and the line of progress on a thread of its own. */
#include "tests/drills/drill.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bench/kit/progress.h"
#include "common/base/clock.h"
#include "common/base/process.h"
#include "common/json.h"

enum {
    FIGURES_MAX = 40,
    TEXT_MAX = 64,
    NOTES_MAX = 8,
    NOTE_MAX = 200,
    JSON_MAX = 64 * 1024,
    PATH_BYTES = 1024
};
enum { DRAW_MS = 500 };
enum { ALLOWED_PERCENT = 10, NOTICED_MS = 100 /* by people, of a delay */ };

static struct {
    int number;
    const char *title;
    int64_t usual_seconds, began_us, began_wall_us;
    struct drill_figure figures[FIGURES_MAX];
    size_t figures_count, failed, by_allowance;
    char notes[NOTES_MAX][NOTE_MAX];
    size_t notes_count;
    const char *_Atomic phase;
    const _Atomic int64_t *_Atomic issued;
    const _Atomic uint64_t *_Atomic read;
    atomic_bool over;
    pthread_t thread;
} drill;

/* --- Progress --- */

static void draw(struct progress *progress, void (*show)(struct progress *, int64_t, int64_t, const char *))
{
    char note[160];
    const _Atomic int64_t *issued = drill.issued;
    const _Atomic uint64_t *read = drill.read;
    int64_t seconds = (clock_mono_us() - drill.began_us) / US_PER_S;
    snprintf(note, sizeof note, "issued %lld  read %llu  %s", issued ? (long long)*issued : 0LL,
             read ? (unsigned long long)*read : 0ULL, drill.phase);
    show(progress, seconds, seconds > drill.usual_seconds ? seconds : drill.usual_seconds, note);
}

static void *draw_all(void *context)
{
    struct progress *progress = context;
    const struct timespec pause = {.tv_nsec = DRAW_MS * 1000 * 1000};
    while (!drill.over) {
        draw(progress, progress_update);
        (void)ppoll(NULL, 0, &pause, NULL);
    }
    draw(progress, progress_end);
    return NULL;
}

void drill_begin(int number, const char *title, int64_t usual_seconds)
{
    static struct progress progress;
    static char name[16];
    drill.number = number;
    drill.title = title;
    drill.usual_seconds = usual_seconds;
    drill.began_us = clock_mono_us();
    drill.began_wall_us = clock_wall_us();
    drill.phase = "servers start";
    snprintf(name, sizeof name, "drill-%d", number);
    progress_begin(&progress, name);
    CHECK(pthread_create(&drill.thread, NULL, draw_all, &progress) == 0);
}

void drill_phase(const char *phase)
{
    drill.phase = phase;
}

void drill_watch(const _Atomic int64_t *issued, const _Atomic uint64_t *read)
{
    drill.issued = issued;
    drill.read = read;
}

/* --- Figures --- */

/* What the machine needed for itself counts up to the bar once more, or up to what nobody notices; shares up
 * to so many points. Beyond that a bar is missed: then the machine was measured and not the service. */
static double allowed(const struct drill_figure *figure)
{
    bool time = strcmp(figure->unit, "ms") == 0;
    double most = !time ? ALLOWED_PERCENT : figure->bar > NOTICED_MS ? figure->bar : NOTICED_MS;
    return figure->machine < most ? figure->machine : most;
}

static bool within(const struct drill_figure *figure, double allowance)
{
    return figure->kind == AT_MOST ? figure->value <= figure->bar + allowance
                                   : figure->value >= figure->bar - allowance;
}

static bool kept(const struct drill_figure *figure)
{
    return within(figure, allowed(figure));
}

static bool by_allowance(const struct drill_figure *figure)
{
    return kept(figure) && !within(figure, 0);
}

void drill_expect(const struct drill_figure *figure)
{
    CHECK(drill.figures_count < FIGURES_MAX);
    drill.figures[drill.figures_count++] = *figure;
    drill.failed += !kept(figure);
    drill.by_allowance += by_allowance(figure);
}

void drill_expect_none(const char *what, const char *incident, uint64_t count)
{
    DRILL_EXPECT(what, incident, (double)count, 0, "");
}

int64_t drill_bar_ms(int64_t tenths, int64_t before_us)
{
    int64_t bar_ms = tenths * before_us / 10 / US_PER_MS;
    return bar_ms > NOTICED_MS ? bar_ms : NOTICED_MS;
}

void drill_expect_ms(const char *what, const char *incident, int64_t us, int64_t bar_ms, int64_t machine_us)
{
    DRILL_EXPECT(what, incident, (double)us / US_PER_MS, (double)bar_ms, "ms", AT_MOST,
                 (double)machine_us / US_PER_MS);
}

void drill_note(const char *format, ...)
{
    va_list args;
    CHECK(drill.notes_count < NOTES_MAX);
    va_start(args, format);
    (void)vsnprintf(drill.notes[drill.notes_count++], NOTE_MAX, format, args);
    va_end(args);
}

/* --- The end --- */

static void write_number(char ret[TEXT_MAX], double value, const char *unit)
{
    bool whole = value == (double)(int64_t)value;
    (void)snprintf(ret, TEXT_MAX, "%.*f%s%s",
                   whole        ? 0
                   : value < 10 ? 2
                                : 1,
                   value, unit[0] ? " " : "", unit);
}

static void write_bar(const struct drill_figure *figure, char ret[TEXT_MAX])
{
    char bar[TEXT_MAX], machine[TEXT_MAX];
    write_number(bar, figure->bar, figure->unit);
    write_number(machine, allowed(figure), figure->unit);
    const char *sign = figure->kind == AT_LEAST ? ">= " : figure->bar > 0 ? "<= " : "";
    (void)snprintf(ret, TEXT_MAX, "%s%.16s%s%.16s%s", sign, bar, figure->machine > 0 ? ", allowed " : "",
                   figure->machine > 0 ? machine : "", figure->machine > allowed(figure) ? " at most" : "");
}

static const char *verdict_on(const struct drill_figure *figure)
{
    return !kept(figure) ? "FAIL" : by_allowance(figure) ? "pass, by what the machine is allowed" : "pass";
}

static void print_table(bool whole)
{
    printf("\ndrill-%d: %s\n%-48s | %-22s | %-11s | %-38s |\n", drill.number, drill.title, "what",
           "the incident", "here", "bar");
    for (size_t i = 0; i < drill.figures_count; i++) {
        const struct drill_figure *figure = &drill.figures[i];
        char value[TEXT_MAX], bar[TEXT_MAX];
        write_number(value, figure->value, figure->unit);
        write_bar(figure, bar);
        printf("%-48s | %-22s | %11s | %-38s | %s\n", figure->what, figure->incident, value, bar,
               verdict_on(figure));
    }
    for (size_t i = 0; i < drill.notes_count; i++)
        printf("  %s\n", drill.notes[i]);
    printf("drill-%d: %s, %zu of %zu bars kept, %zu of them by what the machine is allowed, %lld s\n\n",
           drill.number,
           !whole         ? "FAIL, broken off"
           : drill.failed ? "FAIL"
                          : "pass",
           drill.figures_count - drill.failed, drill.figures_count, drill.by_allowance,
           (long long)((clock_mono_us() - drill.began_us) / US_PER_S));
    fflush(stdout);
}

static void put_double(struct buf *out, const char *key, double value)
{
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof text, "%.3f", value);
    json_put_raw(out, key, span_of(text));
}

static void put_figure(struct buf *out, const struct drill_figure *figure)
{
    json_open(out, NULL, '{');
    json_put_string(out, "what", span_of(figure->what));
    json_put_string(out, "incident", span_of(figure->incident));
    put_double(out, "value", figure->value);
    json_put_string(out, "unit", span_of(figure->unit));
    json_put_string(out, "kind", figure->kind == AT_MOST ? SPAN("at-most") : SPAN("at-least"));
    put_double(out, "bar", figure->bar);
    put_double(out, "machine", figure->machine);
    put_double(out, "allowed", allowed(figure));
    json_put_bool(out, "pass", kept(figure));
    json_put_bool(out, "by_allowance", by_allowance(figure));
    json_close(out, '}');
}

const char *drill_path(const char *name)
{
    static char path[PATH_BYTES];
    const char *folder = getenv("RESULTS_DIR");
    folder = folder && folder[0] ? folder : "build/gameday";
    (void)mkdir(folder, 0755); /* where it is there already, the better */
    (void)snprintf(path, sizeof path, "%s/drill-%d%s", folder, drill.number, name);
    return path;
}

static void write_json(bool whole)
{
    struct buf out;
    double load[3] = {-1, -1, -1};
    (void)getloadavg(load, 3);
    buf_init(&out, JSON_MAX);
    json_open(&out, NULL, '{');
    json_put_int(&out, "drill", drill.number);
    json_put_string(&out, "title", span_of(drill.title));
    json_put_string(&out, "version", span_of(program_version()));
    json_put_time(&out, "began_at", drill.began_wall_us);
    json_put_int(&out, "seconds", (clock_mono_us() - drill.began_us) / US_PER_S);
    put_double(&out, "load_average", load[0]);
    json_put_bool(&out, "whole", whole);
    json_put_bool(&out, "pass", whole && drill.failed == 0);
    json_put_int(&out, "by_allowance", (int64_t)drill.by_allowance);
    json_open(&out, "figures", '[');
    for (size_t i = 0; i < drill.figures_count; i++)
        put_figure(&out, &drill.figures[i]);
    json_close(&out, ']');
    json_close(&out, '}');
    buf_append_char(&out, '\n');
    FILE *file = fopen(drill_path(".json"), "we");
    if (!file || fwrite(out.data, 1, out.len, file) != out.len || fclose(file) != 0)
        fprintf(stderr, "drill: %s cannot be written\n", drill_path(".json"));
    buf_deinit(&out);
}

bool drill_end(bool whole)
{
    drill.over = true;
    CHECK(pthread_join(drill.thread, NULL) == 0);
    print_table(whole);
    write_json(whole);
    return whole && drill.failed == 0;
}
