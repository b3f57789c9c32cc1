/* SPDX-License-Identifier: Apache-2.0 */
/* Running pgbench and reading what it says. */
#include "bench/peers/pgbench.h"

#include <fcntl.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "common/base/bytes.h"

enum { PATH_BYTES = 4096, TEXT_BYTES = 8192, PATIENCE_MS = 30000 };

static const char pgbench_path[] = "/usr/lib/postgresql/15/bin/pgbench";

static double number_after(const char *text, const char *label)
{
    const char *found = strstr(text, label);
    struct span rest = span_of(found ? found + strlen(label) : "");
    uint64_t whole = 0;
    return parse_u64(span_cut(&rest, '.'), INT64_MAX, &whole) ? (double)whole : 0;
}

double tps_of(const char *const *argv, const char *options, const char *run_dir, int64_t ms)
{
    char output[PATH_BYTES], variable[PATH_BYTES], text[TEXT_BYTES];
    snprintf(output, sizeof output, "%s/tps.out", run_dir);
    snprintf(variable, sizeof variable, "PGOPTIONS=%s", options ? options : "");
    (void)unlink(output);
    const char *environment[] = {variable, NULL};
    pid_t pid =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = output});
    int status = child_wait(pid, ms + PATIENCE_MS);
    if (status == -1)
        child_kill(pid);
    int fd = open(output, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    if (fd >= 0)
        close(fd);
    if (status != 0) {
        fprintf(stderr, "bench: %s: %s\n", argv[0], text);
        exit(2);
    }
    return number_after(text, "tps = ");
}

double pgbench_per_second(const struct pgbench *pgbench)
{
    char clients[16], seconds[16];
    snprintf(clients, sizeof clients, "%d", pgbench->clients);
    snprintf(seconds, sizeof seconds, "%d", (int)((pgbench->ms + 999) / 1000));
    const char *argv[] = {pgbench_path,
                          "-n",
                          "-M",
                          "prepared",
                          "-c",
                          clients,
                          "-j",
                          pgbench->clients > 1 ? "2" : "1",
                          "-T",
                          seconds,
                          "-f",
                          pgbench->script,
                          "-D",
                          pgbench->define ? pgbench->define : "nothing=0",
                          "-D",
                          pgbench->define_too ? pgbench->define_too : "nothing_too=0",
                          pgbench->database,
                          NULL};
    return tps_of(argv, pgbench->options, pgbench->run_dir, pgbench->ms);
}
