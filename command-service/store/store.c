/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of the store, and what its errors mean. */
#include "command-service/store/internal.h"

#include <endian.h>

/* Two bytes of a filter for each coupon's user and for its key: 8 million coupons of the campaigns that issue
 * now. */
enum { KNOWN_CAMPAIGNS_MAX = 256 + BATCH_MAX, FILTER_BYTES_MAX = 32 * 1024 * 1024 };

void store_statements_of(const int16_t *slice, struct pg_statement ret[SQL_COUNT])
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        char *sql = NULL;
        if (slice) {
            char number[8];
            int len = snprintf(number, sizeof number, "%*d", (int)strlen(STORE_SLICE), *slice);
            sql = mem_strdup(store_statements[i].sql);
            for (char *at = strstr(sql, STORE_SLICE); at; at = strstr(at, STORE_SLICE))
                memcpy(at, number, (size_t)len);
        }
        mem_free((char *)ret[i].sql);
        ret[i] = (struct pg_statement){store_statements[i].name, sql};
    }
}

struct store *store_create(const char *database_url, bool has_all)
{
    struct store *store = mem_zalloc(sizeof *store);
    store->pg = pg_create(&(struct pg_options){
        .url = database_url,
        .role = "firstcome_command",
        .application = "firstcome command",
        .statement_timeout_ms = 800,
        .lock_timeout_ms = 300,
        .idle_in_transaction_timeout_ms = 1000,
        .read_write = true,
        .statements = store->statements,
        .statements_count = SQL_COUNT,
        .schema = SCHEMA_MIN,
        .first_few = true,
    });
    pg_args_init(&store->args);
    store->has_all = has_all;
    store->known = known_create(KNOWN_CAMPAIGNS_MAX, FILTER_BYTES_MAX);
    store->slice = -1;
    return store;
}

void store_forget(struct store *store)
{
    for (size_t i = 0; i < store->results_count; i++)
        pg_rows_destroy(store->results[i]);
    store->results_count = 0;
}

void store_destroy(struct store *store)
{
    if (!store)
        return;
    store_forget(store);
    pg_destroy(store->pg);
    store_statements_of(NULL, store->statements);
    pg_args_deinit(&store->args);
    known_destroy(store->known);
    mem_free(store);
}

static const char not_owned[] = "the database does not own this slice, or owns all: the shard map is another";

enum store_status store_left(struct store *store)
{
    store->fault = not_owned;
    pg_disconnect(store->pg);
    return STORE_LOST;
}

static const char *server_fault(const struct pg_rows *rows)
{
    enum { DURABLE, OWNED };
    if (!pg_i64(rows, 0, DURABLE))
        return "read-only, or fsync is off, or synchronous_commit is off or leaves out the standby, so that "
               "a "
               "commit would not be durable";
    return pg_i64(rows, 0, OWNED) ? NULL : not_owned;
}

enum store_status store_check(struct store *store, int16_t slice, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, slice);
    pg_arg_bool(&store->args, store->has_all);
    enum pg_status status = pg_call(store->pg, SQL_DURABLE, &store->args, deadline_us, &rows);
    const char *fault = status == PG_OK ? server_fault(rows) : NULL;
    pg_rows_destroy(rows);
    if (status == PG_OK && !fault)
        return STORE_OK;
    store->fault = fault;
    pg_disconnect(store->pg);
    return STORE_LOST;
}

enum store_status store_connect(struct store *store, int16_t slice, int64_t deadline_us)
{
    store->fault = NULL;
    store->slice = -1;
    known_clear(store->known);
    store->connected_for = slice;
    store_statements_of(&slice, store->statements);
    return pg_connect(store->pg, deadline_us) == PG_OK ? store_check(store, slice, deadline_us) : STORE_LOST;
}

int64_t store_evict(struct store *store, int64_t deadline_us)
{
    static const enum statement round[] = {SQL_BEGIN, SQL_AS_LOGIN, SQL_EVICT, SQL_ROLLBACK};
    struct pg_rows *rows[COUNT_OF(round)] = {NULL};
    for (size_t i = 0; i < COUNT_OF(round); i++)
        pg_send(store->pg, round[i], NULL);
    pg_sync(store->pg);
    bool done = store_receive(store, COUNT_OF(round), rows, deadline_us) == PG_OK;
    int64_t count = done ? pg_i64(rows[2], 0, 0) : 0;
    for (size_t i = 0; i < COUNT_OF(round); i++)
        pg_rows_destroy(rows[i]);
    return count;
}

bool store_connected(const struct store *store)
{
    return pg_connected(store->pg);
}

const char *store_error(const struct store *store)
{
    return store->fault ? store->fault : pg_error(store->pg);
}

/* What a refused statement means for the batch. Classes by SQLSTATE, see appendix A of the PostgreSQL manual.
 */
static enum store_status classify(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        enum store_status status;
    } classes[] = {
        {"55P03", STORE_BUSY}, {"57014", STORE_BUSY}, {"40", STORE_BUSY},
        {"53100", STORE_FULL}, {"53", STORE_BUSY},
    };
    for (size_t i = 0; i < COUNT_OF(classes); i++)
        if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) == 0)
            return classes[i].status;
    return STORE_BROKEN;
}

enum store_status store_end(struct store *store, enum store_status status, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    enum pg_status ended = pg_call(store->pg, SQL_ROLLBACK, NULL, deadline_us, &rows);
    pg_rows_destroy(rows);
    return ended == PG_OK ? status : STORE_LOST;
}

enum store_status store_rolled_back(struct store *store)
{
    const char *sqlstate = pg_sqlstate(store->pg);
    if (strcmp(sqlstate, "23505") == 0 && !store->probe_all) {
        /* Somebody is there who should not be: what is known is wrong, so everything is looked for the next
         * time. */
        known_clear(store->known);
        store->probe_all = true;
        return STORE_BUSY;
    }
    return classify(sqlstate);
}

enum pg_status store_receive(struct store *store, size_t count, struct pg_rows **ret, int64_t deadline_us)
{
    enum pg_status worst = PG_OK;
    for (size_t i = 0; i < count; i++) {
        enum pg_status status = pg_receive(store->pg, deadline_us, &ret[i]);
        if (status != PG_OK)
            worst = status;
        if (status == PG_LOST || status == PG_TIMEOUT)
            break;
    }
    return worst;
}

void store_key(const struct request_id *id, uint8_t ret[KEY_BYTES])
{
    memcpy(ret, id->key_hash, 12);
    memcpy(ret + 12, id->operation, 4);
}

struct span store_key_hash(const struct request_id *id)
{
    return (struct span){(const char *)id->key_hash, sizeof id->key_hash};
}

int64_t store_operation(const struct request_id *id)
{
    uint64_t number;
    memcpy(&number, id->operation, sizeof number);
    return (int64_t)be64toh(number);
}

uint64_t store_hash64(const uint8_t bytes[8])
{
    uint64_t hash;
    memcpy(&hash, bytes, sizeof hash);
    return hash;
}

struct cell {
    bool absent;
    int64_t number;
    struct span bytes;
};

static struct cell cell_at(const struct store_column *column, const char *row)
{
    struct cell cell = {0};
    switch (column->element) {
    case PG_INT2:
    case PG_INT8:
    case PG_TIMESTAMPTZ:
        memcpy(&cell.number, row + column->at, sizeof cell.number);
        cell.absent = cell.number == (column->element == PG_TIMESTAMPTZ ? 0 : STORE_NULL);
        break;
    default:
        memcpy(&cell.bytes, row + column->at, sizeof cell.bytes);
        cell.absent = !cell.bytes.ptr;
    }
    return cell;
}

static bool cell_equal(const struct cell *a, const struct cell *b)
{
    return a->absent == b->absent && a->number == b->number && span_equal(a->bytes, b->bytes);
}

static void push(struct pg_args *args, enum pg_element element, const struct cell *cell)
{
    switch (cell->absent ? PG_BYTEA : element) {
    case PG_INT2:
        pg_array_i16(args, (int16_t)cell->number);
        break;
    case PG_INT8:
        pg_array_i64(args, cell->number);
        break;
    case PG_TIMESTAMPTZ:
        pg_array_time(args, cell->number);
        break;
    default:
        pg_array_bytes(args, cell->bytes); /* absent: NULL */
    }
}

static void push_once(struct pg_args *args, enum pg_element element, const struct cell *cell)
{
    CHECK(element == PG_INT2 || element == PG_TEXT); /* no others are said once */
    if (element == PG_INT2 && !cell->absent)
        pg_arg_i16(args, (int16_t)cell->number);
    else
        pg_arg_bytes(args, cell->bytes); /* absent: NULL */
}

void store_columns(struct pg_args *args, const struct store_column *columns, size_t columns_count,
                   const void *rows, size_t rows_count, size_t row_size)
{
    static const struct cell absent = {.absent = true};
    bool any = false;
    for (size_t i = 0; i < columns_count; i++) {
        const struct store_column *column = &columns[i];
        const struct cell first = cell_at(column, rows);
        bool same = first.absent || column->once;
        for (size_t row = 1; same && row < rows_count; row++) {
            struct cell cell = cell_at(column, (const char *)rows + row * row_size);
            same = cell_equal(&cell, &first);
        }
        if (column->once)
            push_once(args, column->element, same ? &first : &absent);
        if (same) {
            pg_arg_null(args);
            continue;
        }
        any = true;
        pg_array_begin(args, column->element);
        for (size_t row = 0; row < rows_count; row++) {
            struct cell cell = cell_at(column, (const char *)rows + row * row_size);
            push(args, column->element, &cell);
        }
        pg_array_end(args);
    }
    CHECK(any); /* or unnest() would give no row at all */
}
