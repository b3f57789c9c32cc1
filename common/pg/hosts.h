/* SPDX-License-Identifier: Apache-2.0 */
/* The servers that one database URL names: in which order they are tried, and how much of a deadline each may
 * use. For pg.c; knows neither libpq nor sockets. Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pg_host {
    const char *name, *address, *port; /* NULL where the URL says nothing, "" where it leaves one out */
};

struct pg_hosts {
    struct pg_host *list;
    size_t count;     /* at least 1 */
    size_t preferred; /* tried first: whoever answered last and did not fall silent */
    char *texts[3];   /* what the list points into */
};

/* Cuts the comma-separated lists of libpq's parameters host, hostaddr and port (NULL: not given). A single
 * port is everybody's. Lists of different lengths make one entry as it was given: libpq names the mistake. */
void pg_hosts_init(struct pg_hosts *hosts, const char *names, const char *addresses, const char *ports);
void pg_hosts_deinit(struct pg_hosts *hosts);

/* The host to try at the nth attempt (from 0, below count) of one connect. */
const struct pg_host *pg_hosts_nth(const struct pg_hosts *hosts, size_t attempt);
/* Until when that attempt may take: an equal share of what is left for each host that is still to be tried,
 * so that one that swallows packets leaves the others theirs. Monotonic µs. */
int64_t pg_hosts_deadline_us(const struct pg_hosts *hosts, size_t attempt, int64_t now_us,
                             int64_t deadline_us);
/* The host of that attempt answered. */
void pg_hosts_prefer(struct pg_hosts *hosts, size_t attempt);
/* The preferred host fell silent: the next connect tries it last, because it may take connections and go on
 * to say nothing. Not during a connect. */
void pg_hosts_distrust(struct pg_hosts *hosts);

/* Parameters of a connect as libpq takes them: texts are borrowed, both lists end with NULL. */
enum { PG_PARAMETERS_MAX = 96 };
struct pg_parameters {
    const char *keywords[PG_PARAMETERS_MAX], *values[PG_PARAMETERS_MAX];
    size_t count;
};
void pg_parameters_put(struct pg_parameters *parameters, const char *keyword,
                       const char *value); /* NULL: no */
/* The value of a parameter for a connect to this one host; `given` is what the URL says. */
const char *pg_hosts_parameter(const struct pg_hosts *hosts, const struct pg_host *host, const char *keyword,
                               const char *given);
