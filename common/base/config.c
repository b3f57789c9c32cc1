/* SPDX-License-Identifier: Apache-2.0 */
/* Options from argv and the environment, and the --help that lists them. Values are never repeated in
 * messages: some are passwords. */
#include "common/base/config.h"

#include "common/base/process.h"

#include <errno.h>
#include <sysexits.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"

enum { NAME_LEN_MAX = 63, REASON_LEN_MAX = 255, COLUMN_MAX = 28, FROM_FILES_MAX = 64, LINE_MAX_BYTES = 8192 };

/* A flag that was found on the command line. */
struct given {
    const struct config_option *option;
    const char *text;
};

struct parse {
    const struct config_program *program;
    struct given *given;
    size_t given_count;
};

static _Noreturn void usage_error(const struct config_program *program, const char *what, const char *reason)
{
    fprintf(stderr, "%s: %s: %s\nSee %s --help\n", program->name, what, reason, program->name);
    exit(EX_USAGE);
}

/* What the environment calls it without a prefix, still as a flag is written; NULL: it has the prefix. */
static const char *plain_name(const struct config_program *program, const struct config_option *option)
{
    for (size_t i = 0; program->plain && program->plain[i]; i++) {
        struct span other = span_of(program->plain[i]), flag = span_cut(&other, '=');
        if (span_is(flag, option->name))
            return other.ptr ? other.ptr : option->name;
    }
    return NULL;
}

static void env_name(const struct config_program *program, const struct config_option *option,
                     char ret[NAME_LEN_MAX + 1])
{
    const char *plain = plain_name(program, option);
    int len = snprintf(ret, NAME_LEN_MAX + 1, "%s%s", plain || !program->prefix ? "" : program->prefix,
                       plain ? plain : option->name);
    CHECK(len > 0 && len <= NAME_LEN_MAX);
    for (char *at = ret; *at; at++)
        *at = *at == '-' ? '_' : *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
}

/* --- Values --- */

static bool set_int(const struct config_option *option, const char *text, int64_t *ret, char *reason,
                    size_t reason_size)
{
    if (parse_i64(span_of(text), option->min, option->max, ret))
        return true;
    bool unit = option->unit && option->unit[0];
    snprintf(reason, reason_size, "must be a whole number from %jd to %jd%s%s, in decimal",
             (intmax_t)option->min, (intmax_t)option->max, unit ? " " : "", unit ? option->unit : "");
    return false;
}

static bool set_string(const struct config_option *option, const char *text, const char **ret, char *reason,
                       size_t reason_size)
{
    int64_t len = (int64_t)strlen(text);
    if (len >= option->min && len <= option->max) {
        *ret = text;
        return true;
    }
    snprintf(reason, reason_size, "must be %jd to %jd characters long", (intmax_t)option->min,
             (intmax_t)option->max);
    return false;
}

static bool set_flag(const char *text, bool *ret, char *reason, size_t reason_size)
{
    struct span value = span_of(text);
    bool yes = span_is(value, "true") || span_is(value, "1");
    if (yes || span_is(value, "false") || span_is(value, "0")) {
        *ret = yes;
        return true;
    }
    snprintf(reason, reason_size, "must be true or false");
    return false;
}

bool config_set(const struct config_option *option, const char *text, void *options, char *reason,
                size_t reason_size)
{
    void *to = (char *)options + option->offset;
    switch (option->kind) {
    case CONFIG_INT:
        return set_int(option, text, to, reason, reason_size);
    case CONFIG_STRING:
        return set_string(option, text, to, reason, reason_size);
    case CONFIG_FLAG:
        return set_flag(text, to, reason, reason_size);
    }
    UNREACHABLE("every kind is above");
}

/* --- Help --- */

/* The texts of one line of --help. */
struct row {
    char flag[NAME_LEN_MAX + 16], env[NAME_LEN_MAX + 1], fallback[NAME_LEN_MAX + 1], range[96];
};

static void row_fill(struct row *row, const struct config_program *program,
                     const struct config_option *option)
{
    bool flag = option->kind == CONFIG_FLAG;
    const char *unit = option->unit && option->unit[0] ? option->unit : NULL;
    const char *fallback = option->fallback ? option->fallback[0] ? option->fallback : "\"\""
                           : flag           ? "false"
                                            : "required";
    snprintf(row->flag, sizeof row->flag, "--%s%s", option->name,
             flag                         ? ""
             : option->kind == CONFIG_INT ? " N"
                                          : " TEXT");
    env_name(program, option, row->env);
    snprintf(row->fallback, sizeof row->fallback, "%.*s", NAME_LEN_MAX, fallback);
    if (flag)
        snprintf(row->range, sizeof row->range, "true, false");
    else
        snprintf(row->range, sizeof row->range, "%jd..%jd %.40s", (intmax_t)option->min,
                 (intmax_t)option->max,
                 unit                            ? unit
                 : option->kind == CONFIG_STRING ? "characters"
                                                 : "");
}

/* A column is as wide as its widest text, but one long default does not push all the others aside. */
static void widen(int *width, const char *text)
{
    int len = (int)strlen(text);
    if (len > *width)
        *width = len < COLUMN_MAX ? len : COLUMN_MAX;
}

static const struct config_option *option_after(const struct config_program *program, size_t *table,
                                                size_t *index)
{
    for (; program->tables[*table]; ++*table, *index = 0)
        if (program->tables[*table][*index].name)
            return &program->tables[*table][(*index)++];
    return NULL;
}

static _Noreturn void help(const struct config_program *program)
{
    const struct row titles = {"OPTION", "ENVIRONMENT", "DEFAULT", "RANGE"};
    const struct config_option *option;
    struct row row = titles;
    int flag = 0, env = 0, fallback = 0, range = 0;
    for (size_t table = 0, index = 0; (option = option_after(program, &table, &index));) {
        row_fill(&row, program, option);
        widen(&flag, row.flag), widen(&env, row.env);
        widen(&fallback, row.fallback), widen(&range, row.range);
    }
    printf("%s: %s\n\nUsage: %s [OPTION]... %s\n\n", program->name, program->purpose, program->name,
           program->usage ? program->usage : "");
    printf("A flag wins over the environment. --name VALUE and --name=VALUE are the same; -- ends the "
           "flags.\n"
           "ENVIRONMENT_FILE=PATH reads the value of a TEXT option from the first line of a file.\n\n");
    row = titles;
    const char *text = "WHAT";
    for (size_t table = 0, index = 0;;) {
        printf("  %-*s  %-*s  %-*s  %-*s  %s\n", flag, row.flag, env, row.env, fallback, row.fallback, range,
               row.range, text);
        if (!(option = option_after(program, &table, &index)))
            break;
        row_fill(&row, program, option);
        text = option->help;
    }
    printf("  %-*s  %-*s  %-*s  %-*s  %s\n", flag, "--help", env, "", fallback, "", range, "",
           "print this and exit");
    exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

/* --- The command line --- */

static const struct config_option *find_option(const struct config_program *program, struct span name)
{
    const struct config_option *option;
    for (size_t table = 0, index = 0; (option = option_after(program, &table, &index));)
        if (span_is(name, option->name))
            return option;
    return NULL;
}

/* Takes the flag argv[*at] with its value; *at moves to the last argument taken. */
static void take_flag(struct parse *parse, char **argv, int *at)
{
    char *flag = argv[*at];
    struct span value = span_of(flag + 2), name = span_cut(&value, '=');
    const struct config_option *option = find_option(parse->program, name);
    const char *text = value.ptr;
    if (!option) {
        flag[2 + name.len] = '\0'; /* what was given to it may be a password */
        usage_error(parse->program, flag, "there is no such option");
    }
    if (!text && option->kind == CONFIG_FLAG) {
        text = "true";
    } else if (!text) {
        text = argv[*at + 1];
        if (!text || strncmp(text, "--", 2) == 0)
            usage_error(parse->program, flag, "needs a value (--name=VALUE where the value begins with --)");
        ++*at;
    }
    parse->given[parse->given_count++] = (struct given){option, text};
}

static void asked_for_help(const struct config_program *program, char **argv)
{
    for (int i = 1; argv[i] && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program->name, program_version());
            exit(0);
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            help(program);
    }
}

/* Moves flags out of argv into parse->given; what is left are the positional arguments. */
static void take_flags(struct parse *parse, int *argc, char **argv)
{
    int kept = 1;
    bool ended = false;
    for (int i = 1; i < *argc; i++) {
        if (ended || argv[i][0] != '-' || argv[i][1] == '\0')
            argv[kept++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            ended = true;
        else if (argv[i][1] == '-')
            take_flag(parse, argv, &i);
        else
            usage_error(parse->program, argv[i], "there is no such option");
    }
    argv[kept] = NULL;
    *argc = kept;
}

/* The first line of the file that NAME_FILE names: for what is a secret, or has one in it, and must stand
 * neither in the environment nor in an argument. NULL where there is no such variable. */
static const char *value_from_file(const struct parse *parse, const char *env)
{
    static char *kept[FROM_FILES_MAX]; /* they live as long as the process */
    static size_t kept_count;
    char name[NAME_LEN_MAX + 6], reason[REASON_LEN_MAX + 1], line[LINE_MAX_BYTES];
    snprintf(name, sizeof name, "%s_FILE", env);
    const char *path = getenv(name);
    if (!path)
        return NULL;
    FILE *file = fopen(path, "re");
    bool read = file && fgets(line, sizeof line, file);
    snprintf(reason, sizeof reason, "%s", file ? "is empty or cannot be read" : strerror(errno));
    if (file)
        (void)fclose(file);
    if (!read)
        usage_error(parse->program, name, reason);
    line[strcspn(line, "\r\n")] = '\0';
    CHECK(kept_count < FROM_FILES_MAX);
    return kept[kept_count++] = mem_strdup(line);
}

static void set_option(const struct parse *parse, const struct config_option *option, void *options)
{
    char env[NAME_LEN_MAX + 1], what[2 * NAME_LEN_MAX + 32], reason[REASON_LEN_MAX + 1];
    const char *text = NULL;
    env_name(parse->program, option, env);
    snprintf(what, sizeof what, "--%s", option->name);
    for (size_t i = 0; i < parse->given_count; i++)
        if (parse->given[i].option == option)
            text = parse->given[i].text; /* the last one wins */
    if (!text && (text = getenv(env)))
        snprintf(what, sizeof what, "%s (in the environment, --%s)", env, option->name);
    if (!text && option->kind == CONFIG_STRING && (text = value_from_file(parse, env)))
        snprintf(what, sizeof what, "%s_FILE (--%s)", env, option->name);
    if (!text)
        text = option->fallback;
    if (!text && option->kind == CONFIG_FLAG)
        text = "false";
    if (!text) {
        snprintf(reason, sizeof reason, "must be given, here or as %s in the environment", env);
        usage_error(parse->program, what, reason);
    }
    if (!config_set(option, text, options, reason, sizeof reason))
        usage_error(parse->program, what, reason);
}

void config_parse(const struct config_program *program, int *argc, char **argv, void *options)
{
    struct parse parse = {.program = program};
    const struct config_option *option;
    asked_for_help(program, argv);
    parse.given = mem_alloc((size_t)*argc * sizeof *parse.given);
    take_flags(&parse, argc, argv);
    for (size_t table = 0, index = 0; (option = option_after(program, &table, &index));)
        set_option(&parse, option, options);
    mem_free(parse.given);
}
