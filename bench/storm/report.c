/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over a attempts, and printing them. */
#include "bench/storm/report.h"

#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

/* Above this share of its wall time a load thread is what limits the rate. */
enum { BOUND_PERCENT = 85 };

void report_add(struct report *report, const struct load_stats *stats, uint32_t unresolved)
{
    struct load_stats *all = &report->stats;
    report->threads++;
    report->unresolved += unresolved;
    all->connects += stats->connects;
    all->connects_failed += stats->connects_failed;
    all->sent += stats->sent;
    all->answered += stats->answered;
    all->cpu_us += stats->cpu_us;
    all->run_delay_us += stats->run_delay_us;
    all->wall_us = stats->wall_us > all->wall_us ? stats->wall_us : all->wall_us;
    all->errno_last = stats->errno_last ? stats->errno_last : all->errno_last;
    report->client_bound |= stats->cpu_us * 100 >= stats->wall_us * BOUND_PERCENT;
    report->client_starved |= (stats->cpu_us + stats->run_delay_us) * 100 >= stats->wall_us * BOUND_PERCENT;
}

/* --- Sums --- */

static bool answered(const struct attempt *attempt)
{
    return attempt->status != 0;
}

static int compare_us(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The smallest latency that at least so many of a hundred do not exceed. */
static int64_t percentile(const int64_t *sorted, size_t count, size_t percent)
{
    return sorted[(count * percent + 99) / 100 - 1];
}

static void latencies(struct report *report, const struct attempts *attempts)
{
    int64_t *us = mem_alloc(attempts->count * sizeof *us + 1);
    size_t count = 0;
    for (size_t i = 0; i < attempts->count; i++)
        if (answered(&attempts->list[i]))
            us[count++] = attempts->list[i].done_us - attempts->list[i].intended_us;
    if (count) {
        qsort(us, count, sizeof *us, compare_us);
        report->p50_us = percentile(us, count, 50);
        report->p95_us = percentile(us, count, 95);
        report->p99_us = percentile(us, count, 99);
        report->max_us = us[count - 1];
    }
    mem_free(us);
}

static void issued_keys(struct report *report, const struct attempts *attempts)
{
    uint32_t keys = 0;
    for (size_t i = 0; i < attempts->count; i++)
        keys = attempts->list[i].key >= keys ? attempts->list[i].key + 1 : keys;
    bool *seen = mem_zalloc(keys + UINT64_C(1));
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        if (attempt->outcome == OUTCOME_ISSUED && !seen[attempt->key]) {
            seen[attempt->key] = true;
            report->issued_keys++;
            report->recovered_keys += attempt->replayed;
        }
    }
    mem_free(seen);
}

void report_attempts(struct report *report, const struct attempts *attempts)
{
    int64_t first_us = INT64_MAX, last_us = 0, last_issued_us = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->list[i];
        report->outcomes[attempt->outcome]++;
        report->problems[attempt->outcome][attempt->problem]++;
        report->answers += answered(attempt);
        if (attempt->intended_us < first_us)
            first_us = attempt->intended_us;
        if (answered(attempt) && attempt->done_us > last_us)
            last_us = attempt->done_us;
        if (attempt->outcome == OUTCOME_ISSUED && !attempt->replayed && attempt->done_us > last_issued_us)
            last_issued_us = attempt->done_us;
    }
    report->span_us = last_us > first_us ? last_us - first_us : 0;
    report->issuing_us = last_issued_us > first_us ? last_issued_us - first_us : 0;
    issued_keys(report, attempts);
    latencies(report, attempts);
}

/* --- Printing --- */

static double ms(int64_t us)
{
    return (double)us / US_PER_MS;
}

static double per_second(uint64_t count, int64_t us)
{
    return us > 0 ? (double)count * US_PER_S / (double)us : 0;
}

/* "  sold-out 2197, ended 3" */
static void print_problems(const struct report *report, const struct attempts *attempts, enum outcome outcome)
{
    const char *separator = " (";
    for (size_t i = 1; i < attempts->problems_count; i++) {
        if (report->problems[outcome][i] == 0)
            continue;
        printf("%s%s %" PRIu64, separator, attempts->problems[i], report->problems[outcome][i]);
        separator = ", ";
    }
    if (strcmp(separator, ", ") == 0)
        putchar(')');
}

static void print_errors(const struct report *report, const struct attempts *attempts)
{
    static const enum outcome kinds[] = {OUTCOME_LATER,     OUTCOME_UNKNOWN,   OUTCOME_LOST,
                                         OUTCOME_TIMED_OUT, OUTCOME_MALFORMED, OUTCOME_UNEXPECTED};
    uint64_t all = 0;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        all += report->outcomes[kinds[i]];
    printf("errors      %" PRIu64, all);
    const char *separator = ": ";
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (report->outcomes[kinds[i]] == 0)
            continue;
        printf("%s%" PRIu64 " %s", separator, report->outcomes[kinds[i]], attempt_outcome_text(kinds[i]));
        print_problems(report, attempts, kinds[i]);
        separator = ", ";
    }
    putchar('\n');
    if (report->unresolved)
        printf("unanswered  %" PRIu32 " users never got a definite answer\n", report->unresolved);
    if (report->stats.connects_failed)
        printf("connecting  failed %" PRIu64 " times, last: %s\n", report->stats.connects_failed,
               strerror(report->stats.errno_last));
}

static void print_client(const struct report *report)
{
    const struct load_stats *stats = &report->stats;
    double wall = (double)stats->wall_us * report->threads / 100;
    printf("client      %d thread%s, %.0f %% busy, %.0f %% waiting for a processor", report->threads,
           report->threads == 1 ? "" : "s", wall > 0 ? (double)stats->cpu_us / wall : 0,
           wall > 0 ? (double)stats->run_delay_us / wall : 0);
    puts(report->client_bound     ? "; THE CLIENT IS THE BOTTLENECK: the service could do more"
         : report->client_starved ? "; all processors are taken: the client was kept waiting too"
                                  : "");
}

void report_print(const struct report *report, const struct attempts *attempts)
{
    uint64_t issued = report->issued_keys, again = report->outcomes[OUTCOME_ISSUED] - issued;
    printf("issued      %" PRIu64 ", and %" PRIu64 " times the same answer again\n", issued, again);
    if (report->recovered_keys)
        printf("recovered   %" PRIu64 " of them by asking again, after the first answer was lost\n",
               report->recovered_keys);
    printf("refused     %" PRIu64, report->outcomes[OUTCOME_REFUSED]);
    print_problems(report, attempts, OUTCOME_REFUSED);
    printf("\nin flight   %" PRIu64 "\n", report->outcomes[OUTCOME_IN_FLIGHT]);
    print_errors(report, attempts);
    printf("rate        %.0f requests/s (%" PRIu64 " in %.3f s), %.0f issued/s\n",
           per_second(report->answers, report->span_us), report->answers, (double)report->span_us / US_PER_S,
           per_second(issued, report->issuing_us));
    printf("latency     p50 %.1f ms, p95 %.1f ms, p99 %.1f ms, max %.1f ms\n", ms(report->p50_us),
           ms(report->p95_us), ms(report->p99_us), ms(report->max_us));
    print_client(report);
}

void report_verdict(const struct verdict *verdict)
{
    puts("checker");
    for (int i = 0; i < RULE_COUNT_OF; i++) {
        const struct rule_description *rule = rule_describe((enum rule)i);
        uint64_t checked = verdict->checked[i], violated = verdict->violated[i];
        const char *word = violated ? "FAIL" : checked ? "ok" : "-";
        printf("  %-4s  %-3s  %s", word, rule->invariant, rule->holds);
        if (violated)
            printf(": %" PRIu64 " of %" PRIu64 " %s do not\n", violated, checked, rule->counted);
        else if (checked)
            printf(" (%" PRIu64 " %s)\n", checked, rule->counted);
        else
            puts(" (nothing to check)");
    }
    uint64_t kept = verdict->violations < VIOLATIONS_KEPT ? verdict->violations : VIOLATIONS_KEPT;
    for (uint64_t i = 0; i < kept; i++)
        printf("violation   %s %s\n", rule_describe(verdict->first[i].rule)->invariant,
               verdict->first[i].text);
    if (verdict->violations > kept)
        printf("            and %" PRIu64 " more\n", verdict->violations - kept);
    printf("verdict     %s\n", verdict->violations ? "VIOLATED" : "every promise was kept");
}
