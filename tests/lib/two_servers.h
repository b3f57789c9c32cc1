/* SPDX-License-Identifier: Apache-2.0 */
/* Two PostgreSQL servers with eight slices each, and services that go by a map of them. What goes wrong here
 * fails the test. One thread at a time. */
#pragma once

#include <limits.h>

#include "common/base/bytes.h"
#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/stack.h"

enum { LONG_MS = 120000, SERVERS = 2 };

struct two {
    struct stack *stacks[SERVERS];                          /* slices 0-7, with the settings; slices 8-15 */
    struct instance *command, *query, *projectors[SERVERS]; /* on the first one's ports */
    struct api_client api;                                  /* of these */
    char command_map[PATH_MAX], query_map[PATH_MAX], projector_map[PATH_MAX], owner_map[PATH_MAX];
    char swapped_map[PATH_MAX];            /* takes one server for the other */
    char moved_map[PATH_MAX];              /* the owner's, with slice 7 at the second server */
    const char *slices_of_server[SERVERS]; /* for maps that are written */
    int first_of_second;
    char which[SERVERS][32]; /* the same in the environment of the projectors */
};
extern struct two two;

/* Fixtures: the servers and maps, with each database still owning all; and the end of all. */
int two_setup(void **state);
int two_teardown(void **state);

/* --- maps and who goes by them --- */

/* `url_of`: a variable of the env file, for whom the map is. */
void two_write_map(const char *name, const char *url_of, bool swapped, char ret[PATH_MAX]);
void two_write_maps(void); /* those of the services, by slices_of_server */
int two_migrate(const char *map);
void two_start_query(void); /* before the command service */
void two_start_command(void);
void two_start_projectors(void);
/* `projector` with the map and up to five words, ended by NULL; what it exits with. */
int two_run_projector(const char *const *words);
#define TWO_PROJECTOR(...) two_run_projector((const char *[]){__VA_ARGS__, NULL})

/* --- a server goes away and comes back --- */

void two_end(int server);
void two_restart(int server);

/* --- what is written and read --- */

int two_server_of(const char *campaign);
/* A campaign in one of the two, with an id nobody has had yet; valid until the next call but three. */
const char *two_fresh_id(int server);
struct http_answer two_create(const char *id, const char *key);
void two_create_in_the_end(const char *id);
const char *two_created(int server);
/* A request of the write side that cannot be done: an answer in time that says so. */
void two_refused_in_time(const struct http_answer *answer, int64_t from_us);
struct http_answer two_await_answer(const char *path); /* to a read: the first that is no 503 */
/* Whether walks in pages of several sizes give the same list, of so many. */
void two_same_in_any_pages(const char *path, const char *id, size_t expected);
size_t two_count_in_both(const char *sql);
