/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions for people. */
#include "query-service/history/decision.h"

#include "common/json.h"
#include "events/problems.h"

enum { SENTENCE_MAX = 512 };

/* One sentence for each outcome, with the figures it may use: %1$lld stock released, %2$lld the last place
 * that was given, %3$lld how many the user held, %4$lld how many a user may hold. */
struct sentence {
    const struct problem *refusal; /* NULL: the coupon would be issued */
    const char *en, *ko;
};

static const struct sentence sentences[] = {
    {NULL, "At that time a coupon was available to you; place %2$lld was the last one given before.",
     "해당 시점에는 쿠폰을 받으실 수 있었습니다. 직전에 발급된 순번은 %2$lld번입니다."},
    {&problem_sold_out,
     "All %1$lld coupons had been given out; the last one, place %2$lld, went before your request.",
     "준비된 쿠폰 %1$lld장이 모두 소진되었습니다. 마지막 순번 %2$lld번이 고객님의 요청보다 먼저 "
     "발급되었습니다."},
    {&problem_already_issued, "You already held %3$lld of the %4$lld coupons each customer may have.",
     "고객님은 이미 쿠폰 %3$lld장을 받으셨습니다. 한 분당 최대 %4$lld장까지 받으실 수 있습니다."},
    {&problem_paused, "Coupons were not being given out at that time; the promotion was paused.",
     "해당 시점에는 쿠폰 발급이 일시 중지되어 있었습니다."},
    {&problem_not_started, "The promotion had not started yet.",
     "해당 시점에는 아직 행사가 시작되지 않았습니다."},
    {&problem_ended, "The promotion had ended.", "해당 시점에는 행사가 이미 종료되었습니다."},
    {&problem_unknown_campaign, "The promotion did not exist at that time.",
     "해당 시점에는 해당 행사가 존재하지 않았습니다."},
};

static const struct sentence *sentence_of(const struct problem *refusal)
{
    for (size_t i = 0; i < COUNT_OF(sentences); i++)
        if (sentences[i].refusal == refusal)
            return &sentences[i];
    UNREACHABLE("every refusal of the rule has a sentence");
}

/* The formats are the table's own; every one may use any of the same four figures. */
static void put_sentence(struct buf *out, const char *key, const char *format,
                         const struct campaign *campaign, int64_t held)
{
    static const struct campaign none = {0};
    const struct campaign *is = campaign ? campaign : &none;
    const struct {
        const char *mark;
        int64_t value;
    } figures[] = {{"%1$lld", is->released},
                   {"%2$lld", is->issued},
                   {"%3$lld", held},
                   {"%4$lld", is->definition.per_user_limit}};
    struct buf text;
    buf_init(&text, SENTENCE_MAX);
    while (*format) {
        size_t skip = 0;
        for (size_t i = 0; i < COUNT_OF(figures) && !skip; i++)
            if (strncmp(format, figures[i].mark, strlen(figures[i].mark)) == 0) {
                buf_append_i64(&text, figures[i].value);
                skip = strlen(figures[i].mark);
            }
        if (!skip)
            buf_append_char(&text, *format);
        format += skip ? skip : 1;
    }
    json_put_string(out, key, buf_span(&text));
    buf_deinit(&text);
}

void decision_write(struct buf *out, const struct decision_facts *facts)
{
    struct campaign at = {0};
    const struct problem *refusal = &problem_unknown_campaign;
    if (facts->campaign) {
        at = campaign_at(facts->campaign, facts->as_of_us);
        refusal = campaign_issue_refusal(&at, facts->held, facts->as_of_us);
    }
    const struct sentence *sentence = sentence_of(refusal);
    const struct campaign *campaign = facts->campaign ? &at : NULL;
    json_open(out, NULL, '{');
    json_put_string(out, "decision", refusal ? span_of(refusal->code) : SPAN("issued"));
    json_put_string(out, "campaign_id", facts->campaign_id);
    json_put_string(out, "user_id", facts->user_id);
    json_put_time(out, "as_of", facts->as_of_us);
    json_open(out, "position", '{');
    json_put_int(out, "slice", facts->at.slice);
    json_put_int(out, "position", facts->at.position);
    json_close(out, '}');
    json_put_int(out, "issued", at.issued);
    json_put_int(out, "released", at.released);
    if (at.issued)
        json_put_int(out, "last_sequence", at.issued); /* I5: dense from 1 */
    else
        json_put_null(out, "last_sequence");
    json_put_int(out, "held", facts->held);
    json_put_int(out, "per_user_limit", at.definition.per_user_limit);
    json_open(out, "message", '{');
    put_sentence(out, "en", sentence->en, campaign, facts->held);
    put_sentence(out, "ko", sentence->ko, campaign, facts->held);
    json_close(out, '}');
    json_close(out, '}');
}
