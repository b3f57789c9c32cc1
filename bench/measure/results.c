/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the results folder. */
#include "bench/measure/results.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/kit/plot.h"
#include "bench/kit/scratch.h"
#include "common/base/clock.h"
#include "common/json.h"

enum { PATH_BYTES = 4200, FILE_MAX = 256 * 1024, CALL_MS = 10000 };

static struct plot plot;

static void write_file(const struct bench *bench, const char *name, const char *mode, struct span text)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", bench->options.results_dir, name);
    FILE *file = fopen(path, mode);
    if (!file || fwrite(text.ptr, 1, text.len, file) != text.len || fclose(file) != 0)
        bench_die(path, "cannot be written");
}

/* What follows "<label>\t: " in /proc/cpuinfo. */
static void put_processor(struct buf *out)
{
    static const char label[] = "model name\t: ";
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, label, sizeof label - 1) == 0) {
            struct span rest = span_of(line + sizeof label - 1);
            json_put_string(out, "processor", span_cut(&rest, '\n'));
            break;
        }
    if (file)
        fclose(file);
}

static void put_machine(const struct bench *bench, struct buf *out)
{
    struct utsname kernel;
    double load[3] = {-1, -1, -1};
    CHECK(uname(&kernel) == 0);
    (void)getloadavg(load, 3);
    json_open(out, NULL, '{');
    put_processor(out);
    json_put_int(out, "processors", sysconf(_SC_NPROCESSORS_ONLN));
    json_put_int(out, "memory_mib", sysconf(_SC_PHYS_PAGES) / 1024 * (sysconf(_SC_PAGESIZE) / 1024));
    json_put_string(out, "kernel", span_of(kernel.release));
    json_put_string(out, "compiler", span_of(__VERSION__));
    json_put_int(out, "postgresql",
                 scratch_number(bench->options.superuser_url,
                                "SELECT current_setting('server_version_num')::bigint", CALL_MS));
    json_put_time(out, "begun_at", clock_wall_us());
    json_open(out, "load_average", '[');
    for (size_t i = 0; i < COUNT_OF(load); i++) {
        char text[32];
        snprintf(text, sizeof text, "%.2f", load[i]);
        json_put_raw(out, NULL, span_of(text));
    }
    json_close(out, ']');
    json_put_int(out, "rounds", bench->options.rounds);
    json_put_int(out, "sample_ms", bench->options.sample_ms);
    json_close(out, '}');
    buf_append_char(out, '\n');
}

void results_begin(const struct bench *bench)
{
    struct buf out;
    if (!bench->options.results_dir[0])
        return;
    (void)mkdir(bench->options.results_dir, 0755); /* where it is there already, the better */
    buf_init(&out, FILE_MAX);
    put_machine(bench, &out);
    write_file(bench, "machine.json", "we", buf_span(&out));
    write_file(bench, "figures.jsonl", "we", SPAN(""));
    buf_deinit(&out);
}

void results_add(const struct bench *bench, const struct figure *figure)
{
    struct buf out;
    if (!bench->options.results_dir[0])
        return;
    plot_add(&plot, figure);
    buf_init(&out, FILE_MAX);
    figure_write_json(figure, &out);
    write_file(bench, "figures.jsonl", "ae", buf_span(&out));
    buf_deinit(&out);
}

void results_end_table(const struct bench *bench)
{
    char name[64];
    struct buf out;
    if (bench->options.results_dir[0] && plot.count > 0) {
        buf_init(&out, FILE_MAX);
        plot_write(&plot, bench->metric, &out);
        snprintf(name, sizeof name, "%s.svg", bench->metric);
        write_file(bench, name, "we", buf_span(&out));
        buf_deinit(&out);
    }
    plot.count = 0;
}
