/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of events, driven by the catalogue. */
#include "events/event_json.h"

#include "common/json.h"

enum { KEY_MAX = 64 };

/* The name in JSON, and whether the field is an instant. */
static bool key_of(const struct event_field *field, char ret[KEY_MAX])
{
    static const char ending[] = "_us";
    size_t len = strlen(field->name), cut = sizeof ending - 1;
    CHECK(len < KEY_MAX);
    memcpy(ret, field->name, len + 1);
    bool is_time = field->kind == FIELD_INT && len > cut && strcmp(field->name + len - cut, ending) == 0;
    if (is_time)
        ret[len - cut] = '\0';
    return is_time;
}

static void put_texts(struct buf *out, const char *key, const struct text_list *list)
{
    json_open(out, key, '[');
    for (size_t i = 0; i < list->count; i++)
        json_put_string(out, NULL, list->items[i]);
    json_close(out, ']');
}

static void put_releases(struct buf *out, const char *key, const struct release_list *list)
{
    json_open(out, key, '[');
    for (size_t i = 0; i < list->count; i++) {
        json_open(out, NULL, '{');
        json_put_time(out, "at", list->items[i].at_us);
        json_put_int(out, "quantity", list->items[i].quantity);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_field(struct buf *out, const struct event_field *field, const char *payload)
{
    char key[KEY_MAX];
    const void *at = payload + field->offset;
    bool is_time = key_of(field, key);
    switch (field->kind) {
    case FIELD_INT:
        if (is_time)
            json_put_time(out, key, *(const int64_t *)at);
        else
            json_put_int(out, key, *(const int64_t *)at);
        return;
    case FIELD_TEXT: {
        struct span text = *(const struct span *)at;
        json_put_string(out, key, text.ptr ? text : SPAN(""));
        return;
    }
    case FIELD_TEXTS:
        put_texts(out, key, at);
        return;
    case FIELD_RELEASES:
        put_releases(out, key, at);
        return;
    }
    UNREACHABLE("every kind has a case");
}

static void put_data(struct buf *out, const struct event *event, const struct event_description *is)
{
    json_open(out, "data", '{');
    for (size_t i = 0; i < is->fields_count; i++)
        put_field(out, &is->fields[i], (const char *)&event->campaign_created);
    json_close(out, '}');
}

static void put_trace(struct buf *out, struct span trace)
{
    struct buf hex;
    if (trace.len != TRACE_BYTES)
        return;
    buf_init(&hex, 64);
    hex_encode(&hex, trace.ptr, 16);
    json_put_string(out, "trace_id", buf_span(&hex));
    buf_deinit(&hex);
}

static void open_event(struct buf *out, const struct event *event, const struct event_description *is,
                       int64_t type_id)
{
    json_open(out, NULL, '{');
    json_put_int(out, "slice", event->slice);
    json_put_int(out, "position", event->position);
    json_put_string(out, "type", is ? span_of(is->name) : (struct span){NULL, 0});
    json_put_int(out, "type_id", type_id);
    json_put_int(out, "version", event->version);
}

void event_write_json_bare(struct buf *out, const struct event *event, bool decoded, int64_t type_id)
{
    open_event(out, event, decoded ? event_describe((int)event->type) : NULL, type_id);
    json_close(out, '}');
}

void event_write_json(struct buf *out, const struct event *event, bool decoded, int64_t type_id)
{
    const struct event_description *is = decoded ? event_describe((int)event->type) : NULL;
    open_event(out, event, is, type_id);
    json_put_time(out, "recorded_at", event->recorded_at_us);
    json_put_string(out, "campaign_id", event->campaign_id);
    json_put_string(out, "user_id", event->user_id);
    json_put_string(out, "coupon_id", event->coupon_id);
    put_trace(out, event->trace);
    if (is)
        put_data(out, event, is);
    json_close(out, '}');
}

/* A text of the payload by its name; absent where the type has none, or it is empty. */
static struct span text_field(const struct event *event, const struct event_description *is, const char *name)
{
    for (size_t i = 0; i < is->fields_count; i++) {
        const struct event_field *field = &is->fields[i];
        const struct span *text = (const void *)((const char *)&event->campaign_created + field->offset);
        if (field->kind == FIELD_TEXT && strcmp(field->name, name) == 0 && text->len)
            return *text;
    }
    return (struct span){NULL, 0};
}

void event_write_history_json(struct buf *out, const struct event *event)
{
    const struct event_description *is = event_describe((int)event->type);
    struct span actor = text_field(event, is, "actor");
    json_open(out, NULL, '{');
    json_put_string(out, "type", span_of(is->name));
    json_put_time(out, "recorded_at", event->recorded_at_us);
    json_put_string(out, "actor", actor.ptr ? actor : text_field(event, is, "created_by"));
    json_put_string(out, "reason", text_field(event, is, "reason"));
    json_open(out, "position", '{');
    json_put_int(out, "slice", event->slice);
    json_put_int(out, "position", event->position);
    json_close(out, '}');
    put_trace(out, event->trace);
    json_put_string(out, "campaign_id", event->campaign_id);
    json_put_string(out, "coupon_id", event->coupon_id);
    json_put_string(out, "user_id", event->user_id);
    put_data(out, event, is);
    json_close(out, '}');
}

bool event_type_parse(struct span name, enum event_type *ret)
{
    for (int type = 1; type < EVENT_TYPE_END; type++)
        if (span_is(name, event_describe(type)->name)) {
            *ret = (enum event_type)type;
            return true;
        }
    return false;
}
