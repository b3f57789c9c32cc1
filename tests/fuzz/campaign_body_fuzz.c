/* SPDX-License-Identifier: Apache-2.0 */
/* The body that creates a campaign: what is accepted can be encoded as an event and decoded again. */
#include "command-service/http/campaign_routes.h"
#include "events/codec.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(campaign_body)
{
    struct json_fault fault;
    struct command *command = command_create(COMMAND_CREATE, NULL);
    struct json_doc *doc = json_parse(fuzz_text(data, size), &fault);
    if (doc && campaign_body_read(command, json_root(doc), &fault)) {
        struct event event = {.type = EVENT_CampaignCreated, .version = 1};
        struct buf out;
        event.version = event_describe(EVENT_CampaignCreated)->version;
        event.campaign_created = *command->create;
        event.campaign_created.created_by = SPAN("fuzz");
        buf_init(&out, EVENT_DATA_MAX);
        event_encode(&event, &out);
        CHECK(!out.overflow);
        event.data = buf_span(&out);
        CHECK(event_decode(&event, &command->arena) == CODEC_OK);
        CHECK(event.campaign_created.quantity == command->create->quantity);
        buf_deinit(&out);
    }
    command_destroy(command);
    json_destroy(doc);
    return 0;
}
