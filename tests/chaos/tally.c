/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of a chaos run. */
#include "tests/chaos/tally.h"

#include <inttypes.h>

void tally_story(const struct story *story, FILE *out)
{
    uint64_t counts[ASK_KIND_COUNT][TOLD_COUNT] = {{0}}, repeated[ASK_KIND_COUNT] = {0};
    for (size_t i = 0; i < story->attempts_count; i++) {
        const struct attempt *attempt = &story->attempts[i];
        counts[story->asks[attempt->ask].kind][attempt->told]++;
        repeated[story->asks[attempt->ask].kind] += attempt->replayed;
    }
    fprintf(out, "\n%zu asks in %zu attempts\n%-16s", story->asks_count, story->attempts_count, "");
    for (int told = 0; told < TOLD_COUNT; told++)
        fprintf(out, "%10s", told_text((enum told)told));
    fprintf(out, "%10s\n", "replayed");
    for (int kind = 0; kind < ASK_KIND_COUNT; kind++) {
        fprintf(out, "%-16s", ask_kind_name((enum ask_kind)kind));
        for (int told = 0; told < TOLD_COUNT; told++)
            fprintf(out, "%10" PRIu64, counts[kind][told]);
        fprintf(out, "%10" PRIu64 "\n", repeated[kind]);
    }
}

void tally_faults(const struct nemesis *nemesis, FILE *out)
{
    uint64_t kills = 0, all = 0;
    fprintf(out, "\nFaults\n");
    for (int fault = 0; fault < FAULT_COUNT; fault++) {
        uint64_t struck = nemesis_struck(nemesis, (enum fault)fault);
        fprintf(out, "%6" PRIu64 "  %s\n", struck, fault_text((enum fault)fault));
        all += struck;
        kills += fault_kills((enum fault)fault) ? struck : 0;
    }
    fprintf(out, "%6" PRIu64 "  in all, %" PRIu64 " of them kills; %" PRIu64 " could not be carried out\n",
            all, kills, nemesis_missed(nemesis));
}

void tally_judgement(const struct judgement *judgement, uint64_t seed, FILE *out)
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

void tally_history(const struct story *story, FILE *out)
{
    for (size_t i = 0; i < story->attempts_count; i++) {
        const struct attempt *attempt = &story->attempts[i];
        const struct ask *ask = &story->asks[attempt->ask];
        fprintf(out,
                "client %u ask %u key %u attempt %u: %s campaign %u user %u coupon c%d-%" PRId64
                " order %u amount %" PRId64 " service %u: sent %" PRId64 " done %" PRId64
                " %s %u %s%s%s token %d.%" PRId64 "\n",
                ask->client, ask->number, ask->key, attempt->number, ask_kind_name(ask->kind), ask->campaign,
                ask->user, ask->coupon.slice, ask->coupon.position, ask->order, ask->amount, attempt->service,
                attempt->sent_us, attempt->done_us, told_text((enum told)attempt->told), attempt->status,
                attempt->problem, attempt->replayed ? " replayed" : "", attempt->closing ? " closing" : "",
                attempt->token.slice, attempt->token.position);
    }
}
