/* SPDX-License-Identifier: Apache-2.0 */
/* Event payloads and hints as MessagePack, driven by the catalogue. */
#include "events/codec.h"

#include <msgpack.h>

#include "events/ids.h"

#include "common/base/be.h"

/* --- the catalogue as data --- */

#define FIELD_ROW(field_key, kind_, member, max_, meaning_) \
    {.key = field_key,                                      \
     .kind = FIELD_##kind_,                                 \
     .offset = offsetof(row, member),                       \
     .max = max_,                                           \
     .name = #member,                                       \
     .meaning = meaning_},

/* A function for each type, because only inside one can `row` mean another struct each time. */
#define DESCRIBE(id, version_, Name, lower, FIELDS, meaning_)                          \
    static const struct event_description *describe_##lower(void)                      \
    {                                                                                  \
        typedef struct lower row;                                                      \
        static const struct event_field fields[] = {FIELDS(FIELD_ROW)};                \
        static const struct event_description is = {.type = EVENT_##Name,              \
                                                    .version = version_,               \
                                                    .name = #Name,                     \
                                                    .meaning = meaning_,               \
                                                    .fields = fields,                  \
                                                    .fields_count = COUNT_OF(fields)}; \
        return &is;                                                                    \
    }
EVENT_CATALOG(DESCRIBE)

#define DESCRIPTION(id, version, Name, lower, FIELDS, meaning) [id] = describe_##lower,
static const struct event_description *(*const descriptions[EVENT_TYPE_END])(void) = {
    EVENT_CATALOG(DESCRIPTION)};

const struct event_description *event_describe(int type)
{
    return type > 0 && type < EVENT_TYPE_END ? descriptions[type]() : NULL;
}

/* All payloads share one union, so its address is any payload's address. */
static const char *payload_of(const struct event *event)
{
    return (const char *)&event->campaign_created;
}

/* --- writing --- */

static int append_to_buf(void *out, const char *data, size_t len)
{
    buf_append(out, data, len);
    return 0;
}

static void pack_text(msgpack_packer *packer, struct span text, int64_t len_max)
{
    CHECK(text.len <= (size_t)len_max);
    msgpack_pack_str(packer, text.len);
    msgpack_pack_str_body(packer, text.ptr, text.len);
}

static void pack_texts(msgpack_packer *packer, const struct text_list *list, int64_t count_max)
{
    CHECK(list->count <= (size_t)count_max);
    msgpack_pack_array(packer, list->count);
    for (size_t i = 0; i < list->count; i++)
        pack_text(packer, list->items[i], EVENT_TEXT_MAX);
}

static void pack_releases(msgpack_packer *packer, const struct release_list *list, int64_t count_max)
{
    CHECK(list->count <= (size_t)count_max);
    msgpack_pack_array(packer, 2 * list->count);
    for (size_t i = 0; i < list->count; i++) {
        CHECK(list->items[i].at_us >= 0);
        CHECK(list->items[i].quantity >= 0 && list->items[i].quantity <= QUANTITY_MAX);
        msgpack_pack_int64(packer, list->items[i].at_us);
        msgpack_pack_int64(packer, list->items[i].quantity);
    }
}

static bool is_default(const struct event_field *field, const char *payload)
{
    const void *at = payload + field->offset;
    switch (field->kind) {
    case FIELD_INT:
        return *(const int64_t *)at == 0;
    case FIELD_TEXT:
        return ((const struct span *)at)->len == 0;
    case FIELD_TEXTS:
        return ((const struct text_list *)at)->count == 0;
    case FIELD_RELEASES:
        return ((const struct release_list *)at)->count == 0;
    }
    UNREACHABLE("every kind has a case");
}

static void pack_field(msgpack_packer *packer, const struct event_field *field, const char *payload)
{
    const void *at = payload + field->offset;
    msgpack_pack_int(packer, field->key);
    switch (field->kind) {
    case FIELD_INT:
        CHECK(*(const int64_t *)at >= 0 && *(const int64_t *)at <= field->max);
        msgpack_pack_int64(packer, *(const int64_t *)at);
        break;
    case FIELD_TEXT:
        pack_text(packer, *(const struct span *)at, field->max);
        break;
    case FIELD_TEXTS:
        pack_texts(packer, at, field->max);
        break;
    case FIELD_RELEASES:
        pack_releases(packer, at, field->max);
        break;
    }
}

void event_encode(const struct event *event, struct buf *out)
{
    const struct event_description *is = event_describe((int)event->type);
    const char *payload = payload_of(event);
    size_t present = 0, start = out->len;
    CHECK(is);
    for (size_t i = 0; i < is->fields_count; i++)
        present += !is_default(&is->fields[i], payload);
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, append_to_buf);
    msgpack_pack_map(&packer, present);
    for (size_t i = 0; i < is->fields_count; i++)
        if (!is_default(&is->fields[i], payload))
            pack_field(&packer, &is->fields[i], payload);
    CHECK(!out->overflow && out->len - start <= EVENT_DATA_MAX);
}

/* --- reading --- */

static bool read_int(const msgpack_object *object, int64_t max, int64_t *ret)
{
    if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER || object->via.u64 > (uint64_t)max)
        return false;
    *ret = (int64_t)object->via.u64;
    return true;
}

static bool read_text(const msgpack_object *object, int64_t len_max, struct span *ret)
{
    if (object->type != MSGPACK_OBJECT_STR || object->via.str.size > (uint64_t)len_max)
        return false;
    *ret = (struct span){object->via.str.ptr, object->via.str.size};
    return true;
}

static bool read_texts(const msgpack_object *object, int64_t count_max, struct arena *arena,
                       struct text_list *ret)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size > (uint64_t)count_max)
        return false;
    size_t count = object->via.array.size;
    struct span *items = arena_alloc(arena, count * sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!read_text(&object->via.array.ptr[i], EVENT_TEXT_MAX, &items[i]))
            return false;
    *ret = (struct text_list){items, count};
    return true;
}

static bool read_releases(const msgpack_object *object, int64_t count_max, struct arena *arena,
                          struct release_list *ret)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size % 2 != 0 ||
        object->via.array.size / 2 > (uint64_t)count_max)
        return false;
    size_t count = object->via.array.size / 2;
    struct release *items = arena_alloc(arena, count * sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!read_int(&object->via.array.ptr[2 * i], INT64_MAX, &items[i].at_us) ||
            !read_int(&object->via.array.ptr[2 * i + 1], QUANTITY_MAX, &items[i].quantity))
            return false;
    *ret = (struct release_list){items, count};
    return true;
}

static bool read_field(const struct event_field *field, const msgpack_object *object, struct arena *arena,
                       char *payload)
{
    void *at = payload + field->offset;
    switch (field->kind) {
    case FIELD_INT:
        return read_int(object, field->max, at);
    case FIELD_TEXT:
        return read_text(object, field->max, at);
    case FIELD_TEXTS:
        return read_texts(object, field->max, arena, at);
    case FIELD_RELEASES:
        return read_releases(object, field->max, arena, at);
    }
    UNREACHABLE("every kind has a case");
}

static const struct event_field *field_by_key(const struct event_description *is, uint64_t key)
{
    for (size_t i = 0; i < is->fields_count; i++)
        if ((uint64_t)is->fields[i].key == key)
            return &is->fields[i];
    return NULL;
}

static bool read_map(const msgpack_object *root, const struct event_description *is, struct arena *arena,
                     char *payload)
{
    uint64_t before = 0;
    if (root->type != MSGPACK_OBJECT_MAP)
        return false;
    for (uint32_t i = 0; i < root->via.map.size; i++) {
        const msgpack_object_kv *entry = &root->via.map.ptr[i];
        if (entry->key.type != MSGPACK_OBJECT_POSITIVE_INTEGER || entry->key.via.u64 <= before)
            return false; /* keys are positive and ascend, so none comes twice */
        before = entry->key.via.u64;
        const struct event_field *field = field_by_key(is, before);
        if (field && !read_field(field, &entry->val, arena, payload))
            return false;
    }
    return true;
}

/* What one object begins with: bytes that follow its first byte, and how many objects are inside. */
struct object_head {
    uint64_t bytes, objects;
};

/* Objects with a length of 1, 2 or 4 bytes after the first byte, which is at `at`. */
static bool read_sized(struct span data, size_t at, struct object_head *ret)
{
    enum { BIN = 0xC4, EXT = 0xC7, STR = 0xD9, ARRAY = 0xDC, MAP = 0xDE };
    unsigned first = (unsigned char)data.ptr[at];
    unsigned base = first >= MAP     ? MAP
                    : first >= ARRAY ? ARRAY
                    : first >= STR   ? STR
                    : first >= EXT   ? EXT
                                     : BIN;
    size_t width = (size_t)1 << (first - base + (base >= ARRAY));
    if (data.len - at - 1 < width)
        return false;
    uint64_t size = be_get(data.ptr + at + 1, width);
    *ret = (struct object_head){.bytes = width};
    if (base >= ARRAY)
        ret->objects = base == MAP ? 2 * size : size;
    else
        ret->bytes += size + (base == EXT);
    return true;
}

static bool read_head(struct span data, size_t at, struct object_head *ret)
{
    static const uint8_t numbers[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17}; /* 0xCA..0xD8 */
    unsigned first = (unsigned char)data.ptr[at];
    *ret = (struct object_head){0};
    if ((first >= 0xC4 && first <= 0xC9) || (first >= 0xD9 && first <= 0xDF))
        return read_sized(data, at, ret);
    if (first >= 0x80 && first <= 0x9F)
        ret->objects = first < 0x90 ? 2 * (first & 0x0F) : first & 0x0F;
    else if (first >= 0xA0 && first <= 0xBF)
        ret->bytes = first & 0x1F;
    else if (first >= 0xCA && first <= 0xD8)
        ret->bytes = numbers[first - 0xCA];
    return true;
}

/* Whether every length in the bytes is covered by bytes. msgpack-c reserves memory for as many objects as an
 * array claims before it looks for them: 100 GB for five bytes. */
static bool lengths_are_real(struct span data)
{
    uint64_t awaited = 1; /* objects; each is at least one byte */
    struct object_head head;
    for (size_t at = 0; awaited > 0; at += 1 + (size_t)head.bytes) {
        if (awaited > data.len - at || !read_head(data, at, &head) || head.bytes > data.len - at - 1)
            return false;
        awaited += head.objects - 1;
    }
    return true;
}

/* Parses exactly one object that fills `data`. */
static bool unpack(struct span data, msgpack_unpacked *ret)
{
    size_t used = 0;
    msgpack_unpacked_init(ret);
    if (data.len == 0 || data.len > EVENT_DATA_MAX || !lengths_are_real(data))
        return false;
    return msgpack_unpack_next(ret, data.ptr, data.len, &used) == MSGPACK_UNPACK_SUCCESS && used == data.len;
}

enum codec_status event_decode(struct event *event, struct arena *arena)
{
    const struct event_description *is = event_describe((int)event->type);
    if (!is || event->version > is->version)
        return CODEC_UNKNOWN_TYPE;
    if (event->version < 1)
        return CODEC_CORRUPT;
    msgpack_unpacked unpacked;
    char *payload = (char *)&event->campaign_created;
    memset(payload, 0, sizeof *event - offsetof(struct event, campaign_created));
    bool good = unpack(event->data, &unpacked) && read_map(&unpacked.data, is, arena, payload);
    msgpack_unpacked_destroy(&unpacked); /* texts point into event->data, lists into the arena */
    return good ? CODEC_OK : CODEC_CORRUPT;
}

/* --- hints --- */

enum hint_key {
    HINT_SLICE = 1,
    HINT_POSITION = 2,
    HINT_CAMPAIGNS = 3,
    HINT_USERS = 4,
    HINT_RANKINGS = 5,
    HINT_EVERYTHING = 6,
    HINT_OPENING = 7,
};

static void pack_hint_lists(msgpack_packer *packer, const struct hint *hint)
{
    CHECK(hint->campaigns_count <= HINT_CAMPAIGNS_MAX && hint->users_count <= HINT_USERS_MAX);
    if (hint->campaigns_count > 0) {
        msgpack_pack_int(packer, HINT_CAMPAIGNS);
        msgpack_pack_array(packer, hint->campaigns_count);
        for (size_t i = 0; i < hint->campaigns_count; i++)
            pack_text(packer, hint->campaigns[i], CAMPAIGN_ID_MAX);
    }
    if (hint->users_count > 0) {
        msgpack_pack_int(packer, HINT_USERS);
        msgpack_pack_array(packer, hint->users_count);
        for (size_t i = 0; i < hint->users_count; i++)
            msgpack_pack_int(packer, hint->users[i]);
    }
}

static void pack_flag(msgpack_packer *packer, enum hint_key key, bool set)
{
    if (!set)
        return;
    msgpack_pack_int(packer, (int)key);
    msgpack_pack_int(packer, 1);
}

void hint_encode(const struct hint *hint, struct buf *out)
{
    size_t start = out->len;
    size_t fields = 2u + (hint->campaigns_count > 0) + (hint->users_count > 0) + hint->rankings +
                    hint->everything + hint->opening;
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, append_to_buf);
    msgpack_pack_map(&packer, fields);
    msgpack_pack_int(&packer, HINT_SLICE);
    msgpack_pack_int(&packer, hint->slice);
    msgpack_pack_int(&packer, HINT_POSITION);
    msgpack_pack_int64(&packer, hint->position);
    pack_hint_lists(&packer, hint);
    pack_flag(&packer, HINT_RANKINGS, hint->rankings);
    pack_flag(&packer, HINT_EVERYTHING, hint->everything);
    pack_flag(&packer, HINT_OPENING, hint->opening);
    CHECK(!out->overflow && out->len - start <= HINT_BYTES_MAX);
}

static bool read_hint_campaigns(const msgpack_object *list, struct hint *ret)
{
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > HINT_CAMPAIGNS_MAX)
        return false;
    ret->campaigns_count = list->via.array.size;
    for (size_t i = 0; i < ret->campaigns_count; i++)
        if (!read_text(&list->via.array.ptr[i], CAMPAIGN_ID_MAX, &ret->campaigns[i]) ||
            !campaign_id_valid(ret->campaigns[i]))
            return false;
    return true;
}

static bool read_hint_users(const msgpack_object *list, struct hint *ret)
{
    int64_t bucket;
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > HINT_USERS_MAX)
        return false;
    ret->users_count = list->via.array.size;
    for (size_t i = 0; i < ret->users_count; i++) {
        if (!read_int(&list->via.array.ptr[i], USER_GROUPS - 1, &bucket))
            return false;
        ret->users[i] = (int16_t)bucket;
    }
    return true;
}

static bool read_flag(const msgpack_object *object, bool *ret)
{
    int64_t value;
    if (!read_int(object, 1, &value))
        return false;
    *ret = value != 0;
    return true;
}

static bool read_hint_field(uint64_t key, const msgpack_object *value, int64_t *ret_slice, struct hint *ret)
{
    switch (key) {
    case HINT_SLICE:
        return read_int(value, SLICE_COUNT - 1, ret_slice);
    case HINT_POSITION:
        return read_int(value, INT64_MAX, &ret->position);
    case HINT_CAMPAIGNS:
        return read_hint_campaigns(value, ret);
    case HINT_USERS:
        return read_hint_users(value, ret);
    case HINT_RANKINGS:
        return read_flag(value, &ret->rankings);
    case HINT_EVERYTHING:
        return read_flag(value, &ret->everything);
    case HINT_OPENING:
        return read_flag(value, &ret->opening);
    default:
        return true; /* a key from the future */
    }
}

static bool read_hint(const msgpack_object *root, struct hint *ret)
{
    int64_t slice = -1;
    struct hint hint = {.position = -1};
    if (root->type != MSGPACK_OBJECT_MAP)
        return false;
    for (uint32_t i = 0; i < root->via.map.size; i++) {
        const msgpack_object_kv *entry = &root->via.map.ptr[i];
        if (entry->key.type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
            !read_hint_field(entry->key.via.u64, &entry->val, &slice, &hint))
            return false;
    }
    if (slice < 0 || hint.position < 0)
        return false;
    *ret = hint;
    ret->slice = (int16_t)slice;
    return true;
}

bool hint_decode(struct span message, struct hint *ret)
{
    msgpack_unpacked unpacked;
    bool good = unpack(message, &unpacked) && read_hint(&unpacked.data, ret);
    msgpack_unpacked_destroy(&unpacked);
    return good;
}
