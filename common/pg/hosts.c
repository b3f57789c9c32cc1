/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of hosts, their order and their shares of a deadline. */
#include "common/pg/hosts.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

/* As libpq counts them: an empty text is one empty entry. 0 for none at all. */
static size_t entries(const char *list)
{
    size_t count = list ? 1 : 0;
    for (; list && *list; list++)
        count += *list == ',';
    return count;
}

/* Ends the first entry of a list with NUL, moves the list behind it and returns it. */
static const char *cut(char **list)
{
    char *entry = *list, *comma = entry ? strchr(entry, ',') : NULL;
    if (comma)
        *comma = '\0';
    *list = comma ? comma + 1 : NULL;
    return entry;
}

static bool fits(size_t entries_count, size_t count)
{
    return entries_count == 0 || entries_count == count;
}

void pg_hosts_init(struct pg_hosts *hosts, const char *names, const char *addresses, const char *ports)
{
    const char *given[] = {names, addresses, ports};
    size_t ports_count = entries(ports), count = entries(addresses ? addresses : names);
    bool whole = count > 1 && fits(entries(names), count) && (ports_count == 1 || fits(ports_count, count));
    *hosts = (struct pg_hosts){.count = whole ? count : 1};
    hosts->list = mem_zalloc(hosts->count * sizeof *hosts->list);
    for (size_t i = 0; i < COUNT_OF(given); i++)
        hosts->texts[i] = given[i] ? mem_strdup(given[i]) : NULL;
    if (!whole) {
        hosts->list[0] = (struct pg_host){hosts->texts[0], hosts->texts[1], hosts->texts[2]};
        return;
    }
    char *rest[] = {hosts->texts[0], hosts->texts[1], hosts->texts[2]};
    for (size_t i = 0; i < count; i++) {
        const char *name = cut(&rest[0]), *address = cut(&rest[1]);
        const char *port = ports_count == 1 ? hosts->texts[2] : cut(&rest[2]);
        hosts->list[i] = (struct pg_host){name, address, port};
    }
}

void pg_hosts_deinit(struct pg_hosts *hosts)
{
    for (size_t i = 0; i < COUNT_OF(hosts->texts); i++)
        mem_free(hosts->texts[i]);
    mem_free(hosts->list);
    *hosts = (struct pg_hosts){0};
}

static size_t index_of(const struct pg_hosts *hosts, size_t attempt)
{
    CHECK(attempt < hosts->count);
    return (hosts->preferred + attempt) % hosts->count;
}

const struct pg_host *pg_hosts_nth(const struct pg_hosts *hosts, size_t attempt)
{
    return &hosts->list[index_of(hosts, attempt)];
}

int64_t pg_hosts_deadline_us(const struct pg_hosts *hosts, size_t attempt, int64_t now_us,
                             int64_t deadline_us)
{
    CHECK(attempt < hosts->count);
    int64_t left_us = deadline_us > now_us ? deadline_us - now_us : 0;
    return now_us + left_us / (int64_t)(hosts->count - attempt);
}

void pg_hosts_prefer(struct pg_hosts *hosts, size_t attempt)
{
    hosts->preferred = index_of(hosts, attempt);
}

void pg_hosts_distrust(struct pg_hosts *hosts)
{
    hosts->preferred = (hosts->preferred + 1) % hosts->count;
}

void pg_parameters_put(struct pg_parameters *parameters, const char *keyword, const char *value)
{
    if (!value)
        return;
    CHECK(parameters->count + 1 < PG_PARAMETERS_MAX);
    parameters->keywords[parameters->count] = keyword;
    parameters->values[parameters->count++] = value;
}

const char *pg_hosts_parameter(const struct pg_hosts *hosts, const struct pg_host *host, const char *keyword,
                               const char *given)
{
    if (hosts->count > 1 && strcmp(keyword, "host") == 0)
        return host->name;
    if (hosts->count > 1 && strcmp(keyword, "hostaddr") == 0)
        return host->address;
    return hosts->count > 1 && strcmp(keyword, "port") == 0 ? host->port : given;
}
