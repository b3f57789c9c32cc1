/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of a chaos run. */
#include "tests/chaos/stats.h"

#include <inttypes.h>

void stats_attempts(const struct history *history, FILE *out)
{
    uint64_t counts[OP_KIND_COUNT][OUTCOME_COUNT] = {{0}}, repeated[OP_KIND_COUNT] = {0};
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        counts[history->ops[attempt->op].kind][attempt->outcome]++;
        repeated[history->ops[attempt->op].kind] += attempt->replayed;
    }
    fprintf(out, "\n%zu operations in %zu attempts\n%-16s", history->ops_count, history->attempts_count, "");
    for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++)
        fprintf(out, "%10s", outcome_text((enum outcome)outcome));
    fprintf(out, "%10s\n", "replayed");
    for (int kind = 0; kind < OP_KIND_COUNT; kind++) {
        fprintf(out, "%-16s", op_kind_name((enum op_kind)kind));
        for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++)
            fprintf(out, "%10" PRIu64, counts[kind][outcome]);
        fprintf(out, "%10" PRIu64 "\n", repeated[kind]);
    }
}

void stats_reads(const struct readings *reads, FILE *out)
{
    uint64_t counts[READ_KIND_COUNT][4] = {{0}};
    for (size_t i = 0; i < reads->count; i++) {
        const struct read *read = &reads->list[i];
        uint16_t status = read->status_code;
        size_t column = status == 200 || status == 404 ? 0 : status ? 2 : 3;
        counts[read->kind][column]++;
        counts[read->kind][1] += column == 0 && read->from_store;
    }
    fprintf(out, "\n%zu reads\n%-20s%10s%10s%10s%10s\n", reads->count, "", "answered", "by store", "later",
            "lost");
    for (int kind = 0; kind < READ_KIND_COUNT; kind++)
        fprintf(out, "%-20s%10" PRIu64 "%10" PRIu64 "%10" PRIu64 "%10" PRIu64 "\n",
                read_kind_name((enum read_kind)kind), counts[kind][0], counts[kind][1], counts[kind][2],
                counts[kind][3]);
}

void stats_faults(const struct nemesis *nemesis, FILE *out)
{
    uint64_t kills = 0, all = 0;
    fprintf(out, "\nFaults\n");
    for (int fault = 0; fault < FAULT_COUNT; fault++) {
        uint64_t struck = nemesis_struck(nemesis, (enum fault)fault);
        if (!fault_fits((enum fault)fault, nemesis_patroni(nemesis)))
            continue;
        fprintf(out, "%6" PRIu64 "  %s\n", struck, fault_text((enum fault)fault));
        all += struck;
        kills += fault_kills((enum fault)fault) ? struck : 0;
    }
    fprintf(out, "%6" PRIu64 "  in all, %" PRIu64 " of them kills; %" PRIu64 " could not be carried out\n",
            all, kills, nemesis_missed(nemesis));
}

void stats_judgement(const struct judgement *judgement, uint64_t seed, FILE *out)
{
    fprintf(out, "\n%10s %10s\n", "checked", "violated");
    for (int rule = 0; rule < JUDGE_RULE_COUNT; rule++) {
        const struct judge_rule_text *text = judge_rule_text((enum judge_rule)rule);
        fprintf(out, "%10" PRIu64 " %10" PRIu64 "  %-3s %s (%s)\n", judgement->checked[rule],
                judgement->violated[rule], text->invariant, text->holds, text->counted);
    }
    for (uint64_t i = 0; i < judgement->violations && i < JUDGE_KEPT; i++)
        fprintf(out, "VIOLATION %s: %s\n", judge_rule_text(judgement->first[i].rule)->invariant,
                judgement->first[i].text);
    fprintf(out, "seed %" PRIu64 ": %" PRIu64 " violations\n", seed, judgement->violations);
    fflush(out);
}

void stats_history(const struct history *history, FILE *out)
{
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        const struct operation *op = &history->ops[attempt->op];
        fprintf(out,
                "client %u operation %u key %u attempt %u: %s campaign %u user %u coupon c%d-%" PRId64
                " order %u amount %" PRId64 " service %u: sent %" PRId64 " done %" PRId64
                " %s %u %s%s%s token %d.%" PRId64 "\n",
                op->client, op->number, op->key, attempt->number, op_kind_name(op->kind), op->campaign,
                op->user, op->coupon.slice, op->coupon.position, op->order, op->amount, attempt->service,
                attempt->sent_us, attempt->done_us, outcome_text((enum outcome)attempt->outcome),
                attempt->status, attempt->problem, attempt->replayed ? " replayed" : "",
                attempt->closing ? " closing" : "", attempt->token.slice, attempt->token.position);
    }
}
