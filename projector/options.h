/* SPDX-License-Identifier: Apache-2.0 */
/* The projector's commands and what can be set on each. */
#pragma once

#include "common/service.h"
#include "projector/rebuild/rebuild.h"
#include "projector/run/loop.h"
#include "verify/verify.h"

enum command { COMMAND_RUN, COMMAND_STATUS, COMMAND_VERIFY, COMMAND_REBUILD, COMMAND_PREWARM };

struct options {
    struct service_options service; /* first: common tables point into it. Of `run` only */
    const char *database_url, *shards_file, *redis_url;
    const char *slices;                 /* of `run` only: the line of the map that it follows */
    const char *bus_url;                /* of `run` only */
    const char *trace_url;              /* the same */
    const char *bus_publish_url;        /* of `run` and `prewarm` */
    const char *prewarm_campaign;       /* of `prewarm` only */
    struct projector_options projector; /* of `run` only */
    bool json;                          /* of `status` and `rebuild` */
    struct rebuild_options rebuild;     /* of `rebuild` only; without what other members say */
    struct verify_options verify;       /* of `verify` only */
};

/* Reads the command line and the environment; exits on --help and on what it does not understand. */
enum command options_parse(int argc, char **argv, struct options *ret);
