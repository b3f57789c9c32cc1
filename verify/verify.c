/* SPDX-License-Identifier: Apache-2.0 */
/* What is verified in which order, how far it is, and how it ends. */
#include "verify/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "verify/models.h"

enum {
    EXIT_CLEAN = 0,
    EXIT_DIFFERENT = 1,
    EXIT_BAD_USAGE = 64,
    EXIT_UNAVAILABLE = 69,
    EXIT_CANNOT_WRITE = 74,
    EXIT_FORBIDDEN = 77,
    REDRAW_US = 100 * US_PER_MS,
};

struct verify {
    const struct verify_options *options;
    struct verify_report report;
    struct verify_totals totals;
    struct verify_source *sources[SHARDS_MAX]; /* by the shard's number */
    struct verify_source *source;              /* the one that is being read */
    const struct shard *shard;                 /* and whose it is */
    struct verify_models *models;              /* NULL: only the log */
    struct verify_log log;
    struct verify_quota quota;
    int64_t heads[SLICE_COUNT];
    bool write_failed;
    char trouble[200];
    int exit_code;
    /* progress */
    bool terminal;
    int64_t started_us, drawn_us, read_before, to_read; /* events */
};

/* --- output --- */

static void write_line(void *context, struct span line)
{
    struct verify *verify = context;
    if (verify->terminal)
        fputs("\r\033[K", stderr); /* the progress line makes room */
    bool written = fwrite(line.ptr, 1, line.len, stdout) == line.len && fflush(stdout) == 0;
    verify->write_failed |= !written;
}

/* Only the first trouble is reported: what follows, follows from it. */
static void trouble(struct verify *verify, int exit_code, const char *what)
{
    if (verify->exit_code != EXIT_CLEAN)
        return;
    verify->exit_code = exit_code;
    snprintf(verify->trouble, sizeof verify->trouble, "%s", what);
}

static bool read_ok(struct verify *verify, enum verify_status status)
{
    char what[200];
    if (status == VERIFY_OK)
        return true;
    if (status == VERIFY_ELSEWHERE)
        snprintf(what, sizeof what, "postgresql: the database of slices %s does not own all of them",
                 verify->shard->name);
    else
        snprintf(what, sizeof what, "postgresql: %.180s", verify_source_error(verify->source));
    trouble(verify, status == VERIFY_FORBIDDEN ? EXIT_FORBIDDEN : EXIT_UNAVAILABLE, what);
    return false;
}

/* --- progress --- */

static void draw_progress(void *context, int64_t events)
{
    struct verify *verify = context;
    int64_t now_us = clock_mono_us(), done = verify->read_before + events;
    if (!verify->terminal || now_us - verify->drawn_us < REDRAW_US)
        return;
    verify->drawn_us = now_us;
    double rate = (double)done * US_PER_S / (double)(now_us - verify->started_us + 1);
    int64_t left = verify->to_read > done ? verify->to_read - done : 0;
    fprintf(stderr,
            "\rverify: log, slice %d  %lld of %lld events  %.0f/s  ETA %.0f s  %lld differences\033[K",
            verify->log.slice, (long long)done, (long long)verify->to_read, rate,
            rate > 0 ? (double)left / rate : 0, (long long)verify->report.differences);
    fflush(stderr);
}

/* --- the log --- */

static void use_shard(struct verify *verify, size_t number)
{
    verify->source = verify->sources[number];
    verify->shard = &verify->options->shards->list[number];
}

static bool verify_slice(struct verify *verify, int16_t slice)
{
    use_shard(verify, verify->options->shards->of[slice]);
    verify_log_begin(&verify->log, slice);
    do {
        if (!read_ok(verify, verify_source_pass(verify->source, &verify->log, draw_progress, verify)))
            return false;
        verify->read_before += verify->log.position;
        if (!verify->log.whole)
            verify->to_read += verify->log.position;
    } while (verify_log_again(&verify->log));
    return true;
}

static bool wanted(const struct verify *verify, int16_t slice)
{
    return verify->options->slice < 0 || verify->options->slice == slice;
}

static bool verify_slices(struct verify *verify)
{
    bool good = true;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (wanted(verify, slice))
            verify->to_read += verify->heads[slice];
    for (int16_t slice = 0; slice < SLICE_COUNT && good && !verify->write_failed; slice++)
        good = !wanted(verify, slice) || verify_slice(verify, slice);
    return good;
}

/* Of the shards that are looked at. */
static bool read_heads(struct verify *verify, struct verify_quota *quota)
{
    const struct shards *shards = verify->options->shards;
    bool good = true;
    for (size_t i = 0; good && i < shards->count; i++) {
        if (verify->options->slice >= 0 && !shard_has(&shards->list[i], (int16_t)verify->options->slice))
            continue;
        use_shard(verify, i);
        good =
            read_ok(verify, verify_source_connect(verify->source)) &&
            read_ok(verify, verify_source_heads(verify->source, verify->shard->slices, verify->heads, quota));
    }
    return good;
}

/* Quotas count over all slices, so they are left out where not all are looked at. */
static bool verify_the_log(struct verify *verify)
{
    struct verify_quota *quota = verify->options->slice < 0 ? &verify->quota : NULL;
    size_t memory = (size_t)verify->options->memory_mb * 1024 * 1024;
    verify_log_init(&verify->log, &verify->report, &verify->totals, memory);
    verify->log.quota = quota;
    if (quota)
        verify_quota_init(quota, verify->heads);
    bool good = read_heads(verify, quota) && verify_slices(verify);
    if (good && quota && !verify_quota_end(quota, &verify->report))
        trouble(verify, EXIT_UNAVAILABLE, "too many keys and days to verify creation_quota");
    verify_quota_deinit(&verify->quota);
    verify_log_deinit(&verify->log);
    return good;
}

/* --- the models --- */

static void draw_models(void *context, int64_t keys)
{
    struct verify *verify = context;
    int64_t now_us = clock_mono_us();
    if (!verify->terminal || now_us - verify->drawn_us < REDRAW_US)
        return;
    verify->drawn_us = now_us;
    fprintf(stderr, "\rverify: models, slice %d  %lld keys  %lld keys in all  %lld differences\033[K",
            verify->log.slice, (long long)keys, (long long)verify->totals.keys,
            (long long)verify->report.differences);
    fflush(stderr);
}

static bool models_read(struct verify *verify, enum models_status status)
{
    char what[200];
    if (status == MODELS_OK)
        return true;
    if (status == MODELS_STORE)
        return read_ok(verify, VERIFY_UNAVAILABLE);
    snprintf(what, sizeof what, "redis: %.180s", verify_models_error(verify->models));
    trouble(verify, EXIT_UNAVAILABLE, what);
    return status == MODELS_UNSETTLED; /* another slice may be there */
}

static void verify_the_models(struct verify *verify)
{
    struct verify_models_means means = {
        .report = &verify->report,
        .totals = &verify->totals,
        .tick = draw_models,
        .context = verify,
    };
    bool good = true;
    for (int16_t slice = 0; slice < SLICE_COUNT && good && !verify->write_failed; slice++) {
        verify->log.slice = slice;
        use_shard(verify, verify->options->shards->of[slice]);
        means.source = verify->source;
        means.slices = verify->shard->slices;
        if (wanted(verify, slice))
            good =
                models_read(verify, verify_models_slice(verify->models, &means, slice, verify->heads[slice]));
    }
}

/* --- all of it --- */

/* NULL where the models are not asked for; a URL that cannot be used ends the program. */
static struct verify_models *models_setup(const struct verify_options *options)
{
    char reason[256] = "is needed without --log";
    struct verify_models *models = NULL;
    if (options->log_only)
        return NULL;
    if (*options->redis_url)
        models = verify_models_create(options->redis_url, (size_t)options->memory_mb * 1024 * 1024, reason,
                                      sizeof reason);
    if (models)
        return models;
    fprintf(stderr, "projector: --redis-url: %s\n", reason);
    exit(EXIT_BAD_USAGE);
}

static int exit_code_of(const struct verify *verify)
{
    if (verify->write_failed)
        return EXIT_CANNOT_WRITE;
    return verify->report.differences ? EXIT_DIFFERENT : verify->exit_code;
}

int verify_run(const struct verify_options *options)
{
    struct verify verify = {
        .options = options,
        .report = {.json = options->json, .limit = options->limit, .write = write_line},
        .terminal = isatty(STDERR_FILENO) == 1,
        .started_us = clock_mono_us(),
        .models = models_setup(options),
    };
    verify.report.context = &verify;
    for (size_t i = 0; i < options->shards->count; i++)
        verify.sources[i] = verify_source_create(options->shards->list[i].url, !options->log_only);
    bool good = verify_the_log(&verify);
    verify.totals.log_us = clock_mono_us() - verify.started_us;
    if (good && verify.models)
        verify_the_models(&verify);
    if (verify.models)
        verify.totals.models_us = clock_mono_us() - verify.started_us - verify.totals.log_us;
    verify_summary(&verify.report, &verify.totals, verify.trouble[0] ? verify.trouble : NULL);
    for (size_t i = 0; i < options->shards->count; i++)
        verify_source_destroy(verify.sources[i]);
    verify_models_destroy(verify.models);
    return exit_code_of(&verify);
}
