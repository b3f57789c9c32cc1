/* SPDX-License-Identifier: Apache-2.0 */
/* Differences as lines of text or of JSON. */
#include "verify/report.h"

#include "common/base/clock.h"
#include "common/json.h"

enum { DETAIL_MAX = 240 };

const struct verify_rule_description *verify_rule_describe(enum verify_rule rule)
{
    static const struct verify_rule_description table[] = {
#define VERIFY_RULE_ROW(name, label, invariant, holds) {label, invariant, holds},
        VERIFY_RULES(VERIFY_RULE_ROW)
#undef VERIFY_RULE_ROW
    };
    CHECK(rule < VERIFY_RULE_COUNT);
    return &table[rule];
}

static void write_line(struct verify_report *report, struct buf *line)
{
    buf_append_char(line, '\n');
    report->write(report->context, buf_span(line));
    buf_deinit(line);
}

/* Keys of Redis and ids from a tampered log may be any bytes; a terminal gets none that it would act on. */
static void append_printable(struct buf *line, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        buf_append_char(line, text.ptr[i] > ' ' && text.ptr[i] < 0x7f ? text.ptr[i] : '?');
}

static void write_text(struct buf *line, const struct verify_rule_description *rule,
                       const struct verify_place *place, const char *detail)
{
    buf_printf(line, "%-4s %-12s", rule->invariant, rule->label);
    if (place->slice >= 0)
        buf_printf(line, " slice %d", place->slice);
    if (place->position)
        buf_printf(line, " position %lld", (long long)place->position);
    if (place->campaign.len) {
        buf_append_text(line, " campaign ");
        append_printable(line, place->campaign);
    }
    if (place->key.len) {
        buf_append_text(line, " key ");
        append_printable(line, place->key);
    }
    buf_printf(line, ": %s", detail);
}

static void write_json(struct buf *line, const struct verify_rule_description *rule,
                       const struct verify_place *place, const char *detail)
{
    json_open(line, NULL, '{');
    json_put_string(line, "kind", SPAN("difference"));
    json_put_string(line, "rule", span_of(rule->label));
    json_put_string(line, "invariant", span_of(rule->invariant));
    if (place->slice >= 0)
        json_put_int(line, "slice", place->slice);
    if (place->position)
        json_put_int(line, "position", place->position);
    if (place->campaign.len)
        json_put_string(line, "campaign", place->campaign);
    if (place->key.len)
        json_put_string(line, "key", place->key);
    json_put_string(line, "detail", span_of(detail));
    json_close(line, '}');
}

void verify_differ(struct verify_report *report, enum verify_rule rule, const struct verify_place *place,
                   const char *format, ...)
{
    char detail[DETAIL_MAX];
    struct buf line;
    va_list args;
    report->by_rule[rule]++;
    if (report->differences++ >= report->limit)
        return;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    buf_init(&line, VERIFY_LINE_MAX);
    (report->json ? write_json : write_text)(&line, verify_rule_describe(rule), place, detail);
    write_line(report, &line);
}

static int64_t per_second(int64_t count, int64_t us)
{
    return us > 0 ? (int64_t)((double)count * US_PER_S / (double)us) : 0;
}

static void summary_json(struct buf *line, const struct verify_report *report,
                         const struct verify_totals *totals, const char *trouble)
{
    json_open(line, NULL, '{');
    json_put_string(line, "kind", SPAN("summary"));
    json_put_bool(line, "complete", !trouble);
    json_put_string(line, "trouble", span_of(trouble));
    json_put_int(line, "differences", report->differences);
    json_open(line, "by_rule", '{');
    for (int rule = 0; rule < VERIFY_RULE_COUNT; rule++)
        if (report->by_rule[rule])
            json_put_int(line, verify_rule_describe((enum verify_rule)rule)->label, report->by_rule[rule]);
    json_close(line, '}');
    json_put_int(line, "slices", totals->slices);
    json_put_int(line, "events", totals->events);
    json_put_int(line, "batches", totals->batches);
    json_put_int(line, "rows", totals->rows);
    json_put_int(line, "keys", totals->keys);
    json_put_int(line, "passes", totals->passes);
    json_put_int(line, "log_events_per_second", per_second(totals->events, totals->log_us));
    json_put_int(line, "model_keys_per_second", per_second(totals->keys, totals->models_us));
    json_close(line, '}');
}

static void summary_text(struct buf *line, const struct verify_report *report,
                         const struct verify_totals *totals, const char *trouble)
{
    for (int rule = 0; rule < VERIFY_RULE_COUNT; rule++) {
        const struct verify_rule_description *is = verify_rule_describe((enum verify_rule)rule);
        if (report->by_rule[rule])
            buf_printf(line, "%-4s %-12s %lld broken: %s\n", is->invariant, is->label,
                       (long long)report->by_rule[rule], is->holds);
    }
    if (report->differences > report->limit)
        buf_printf(line, "(the first %lld are written out)\n", (long long)report->limit);
    buf_printf(line, "log    %lld events in %lld batches of %lld slices, %lld state rows, %lld events/s\n",
               (long long)totals->events, (long long)totals->batches, (long long)totals->slices,
               (long long)totals->rows, (long long)per_second(totals->events, totals->log_us));
    if (totals->models_us)
        buf_printf(line, "redis  %lld keys, %lld keys/s\n", (long long)totals->keys,
                   (long long)per_second(totals->keys, totals->models_us));
    if (trouble)
        buf_printf(line, "NOT ALL WAS LOOKED AT: %s\n", trouble);
    if (report->differences)
        buf_printf(line, "%lld differences", (long long)report->differences);
    else
        buf_append_text(line, trouble ? "no differences as far as it got" : "no differences");
}

void verify_summary(struct verify_report *report, const struct verify_totals *totals, const char *trouble)
{
    struct buf line;
    buf_init(&line, 8 * VERIFY_LINE_MAX);
    (report->json ? summary_json : summary_text)(&line, report, totals, trouble);
    write_line(report, &line);
}
