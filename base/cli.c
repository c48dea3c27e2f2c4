/* Parsing of command lines against a tool's table. Help, man page and completion are made in
 * cli_help.c, the frame of main in cli_main.c. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/cli.h"

#include "base/cli_table.h"
#include "base/log.h"
#include "base/span.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_MAX_BYTES = 256 << 20, WORD_SHOWN_BYTES = 96 };

#define COMMON(field) offsetof(struct ms_common, field)
const struct ms_option ms_cli_common_options[] = {
    {.name = "corpus",
     .kind = MS_OPT_TEXT,
     .arg = "DIR",
     .offset = COMMON(corpus),
     .help = "the corpus folder; else $MALSEQ_CORPUS, else ./corpus"},
    {.name = "jobs",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = COMMON(jobs),
     .min = 1,
     .max = 64,
     .help = "work on N things at once (default: the processors available)"},
    {.name = "seed",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = COMMON(seed),
     .help = "seed of everything random (default: 1)"},
    {.name = "dry-run",
     .kind = MS_OPT_FLAG,
     .offset = COMMON(dry_run),
     .help = "say what would be done, change nothing"},
    {.name = "json",
     .kind = MS_OPT_FLAG,
     .offset = COMMON(json),
     .help = "print results as JSON, one object a line"},
    {.name = "progress",
     .kind = MS_OPT_CHOICE,
     .choices = "auto|always|never",
     .offset = COMMON(progress),
     .help = "show progress: auto (the default) on a terminal only"},
    {.name = "quiet",
     .letter = 'q',
     .kind = MS_OPT_FLAG,
     .offset = COMMON(quiet),
     .help = "print warnings and errors only"},
    {.name = "verbose",
     .letter = 'v',
     .kind = MS_OPT_COUNT,
     .offset = COMMON(verbose),
     .help = "say more; may be given twice"},
    {.name = "no-confine",
     .kind = MS_OPT_FLAG,
     .offset = COMMON(no_confine),
     .help = "work even where the reader of untrusted files cannot be confined"},
};
const size_t ms_cli_common_count = sizeof ms_cli_common_options / sizeof *ms_cli_common_options;

const struct ms_option ms_cli_meta_options[] = {
    {.name = "help", .letter = 'h', .help = "show this help"},
    {.name = "version", .letter = 'V', .help = "show the version"},
    {.name = "print-man", .hidden = true, .help = "print the man page"},
    {.name = "print-completion", .hidden = true, .help = "print the bash completion"},
};
const size_t ms_cli_meta_count = sizeof ms_cli_meta_options / sizeof *ms_cli_meta_options;

/* The state of one parse. */
struct parse {
    const struct ms_tool *tool;
    struct ms_cli *out;
    int argc;
    char **argv; /* the caller's, whose secrets are overwritten */
    int next;    /* index of the word to read next */
    struct ms_error *err;
};

const struct ms_verb *ms_cli_find_verb(const struct ms_tool *tool, const char *name)
{
    for (size_t i = 0; i < tool->verb_count; i++)
        if (strcmp(tool->verbs[i].name, name) == 0)
            return &tool->verbs[i];
    return NULL;
}

/* Changes between two short words, a swap of neighbours being one change; 99 for long words. */
static unsigned distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    unsigned rows[3][MAX + 1]; /* row i of the table is rows[i % 3] */
    size_t la = strlen(a), lb = strlen(b);
    if (la > MAX || lb > MAX)
        return 99;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && higher[j - 2] + 1 < best)
                best = higher[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[la % 3][lb];
}

const char *ms_cli_nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    unsigned limit = (unsigned)(strlen(word) / 3);
    unsigned least = (limit ? limit : 1) + 1;
    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(word, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

void *ms_cli_new_options(const struct ms_verb *verb, struct ms_arena *memory)
{
    void *options = ms_arena_alloc(memory, verb->options_bytes);
    if (options && verb->defaults)
        verb->defaults(options);
    return options;
}

static uint64_t processors_available(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > 64 ? 64 : (uint64_t)n;
}

static enum ms_status unknown_option(struct parse *self, const char *word, size_t n)
{
    char name[64], shown[WORD_SHOWN_BYTES];
    const char *names[128];
    size_t count = 0;
    const struct ms_verb *verb = self->out->verb;
    for (size_t i = 0; verb && i < verb->option_count && count < 96; i++)
        if (!verb->options[i].hidden)
            names[count++] = verb->options[i].name;
    for (size_t i = 0; i < ms_cli_common_count; i++)
        names[count++] = ms_cli_common_options[i].name;
    for (size_t i = 0; i < ms_cli_meta_count; i++)
        names[count++] = ms_cli_meta_options[i].name;
    (void)snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), word);
    const char *near = ms_cli_nearest(name, names, count);
    return ms_error_set(self->err, MS_E_USAGE, "unknown option '--%s'%s%s%s",
                        ms_escape_bytes(word, n, shown, sizeof shown),
                        near ? "; did you mean '--" : "", near ? near : "", near ? "'?" : "");
}

static bool same_name(const struct ms_option *option, const char *word, size_t n)
{
    return strlen(option->name) == n && memcmp(option->name, word, n) == 0;
}

/* Where an option was found. */
struct found {
    const struct ms_option *option;
    void *base; /* the struct its offset is into; NULL for the meta options */
};

/* By name (n bytes at `word`) or, when word is NULL, by letter. */
static bool look_up(const struct parse *self, const char *word, size_t n, char letter,
                    struct found *out)
{
    const struct ms_verb *verb = self->out->verb;
    const struct {
        const struct ms_option *options;
        size_t count;
        void *base;
    } tables[] = {
        {verb ? verb->options : NULL, verb ? verb->option_count : 0, self->out->options},
        {ms_cli_common_options, ms_cli_common_count, &self->out->common},
        {ms_cli_meta_options, ms_cli_meta_count, NULL},
    };
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct ms_option *option = &tables[t].options[i];
            if (word ? same_name(option, word, n) : letter == option->letter && letter) {
                *out = (struct found){option, tables[t].base};
                return true;
            }
        }
    return false;
}

static bool takes_value(const struct ms_option *option)
{
    return option->kind != MS_OPT_FLAG && option->kind != MS_OPT_COUNT;
}

static enum ms_status set_number(struct parse *self, const struct ms_option *option,
                                 const char *value, uint64_t *out)
{
    char shown[WORD_SHOWN_BYTES], upper[48] = "";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    bool digits = *value >= '0' && *value <= '9' && *end == '\0' && errno == 0;
    if (digits && number >= option->min && (option->max == 0 || number <= option->max)) {
        *out = number;
        return MS_OK;
    }
    if (option->max)
        (void)snprintf(upper, sizeof upper, " to %llu", (unsigned long long)option->max);
    return ms_error_set(self->err, MS_E_USAGE, "--%s wants a whole number from %llu%s, not '%s'",
                        option->name, (unsigned long long)option->min, upper,
                        ms_escape_text(value, shown, sizeof shown));
}

/* "512M" of a number of bytes; false when it is none. */
static bool read_bytes(const char *value, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || errno != 0)
        return false;
    /* Not strchr, which finds the NUL that a blank becomes. */
    const char *unit = *end ? memchr(units, *end & ~0x20, sizeof units - 1) : NULL;
    *out = number;
    if (!unit)
        return *end == '\0';
    return end[1] == '\0' && ms_mul_u64(number, (uint64_t)1 << 10 * (unit - units + 1), out);
}

static enum ms_status set_size(struct parse *self, const struct ms_option *option,
                               const char *value, uint64_t *out)
{
    char shown[WORD_SHOWN_BYTES], least[24], most[24], upper[48] = "";
    uint64_t number;
    if (read_bytes(value, &number) && number >= option->min &&
        (option->max == 0 || number <= option->max)) {
        *out = number;
        return MS_OK;
    }
    if (option->max)
        (void)snprintf(upper, sizeof upper, " to %s", ms_cli_bytes_text(option->max, most));
    return ms_error_set(self->err, MS_E_USAGE,
                        "--%s wants a number of bytes, or one with K, M, G or T, from %s%s, not "
                        "'%s'",
                        option->name, ms_cli_bytes_text(option->min, least), upper,
                        ms_escape_text(value, shown, sizeof shown));
}

static enum ms_status set_real(struct parse *self, const struct ms_option *option,
                               const char *value, double *out)
{
    char shown[WORD_SHOWN_BYTES];
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !isfinite(number))
        return ms_error_set(self->err, MS_E_USAGE, "--%s wants a number, not '%s'", option->name,
                            ms_escape_text(value, shown, sizeof shown));
    *out = number;
    return MS_OK;
}

static enum ms_status set_choice(struct parse *self, const struct ms_option *option,
                                 const char *value, const char **out)
{
    char shown[WORD_SHOWN_BYTES];
    size_t n = strlen(value);
    for (const char *p = option->choices; *p;) {
        size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, value, n) == 0) {
            *out = value;
            return MS_OK;
        }
        p += len + (p[len] == '|');
    }
    return ms_error_set(self->err, MS_E_USAGE, "--%s must be one of %s, not '%s'", option->name,
                        option->choices, ms_escape_text(value, shown, sizeof shown));
}

static enum ms_status set_list(struct parse *self, const char *value, struct ms_cli_list *list)
{
    /* No list is longer than the command line; room for all of it is taken at the first item. */
    if (!list->items || list->count == 0)
        list->items =
            ms_arena_alloc_array(&self->out->memory, (size_t)self->argc, sizeof *list->items);
    if (!list->items)
        return ms_error_set(self->err, MS_E_NOMEM, "out of memory");
    list->items[list->count++] = value;
    return MS_OK;
}

/* A literal secret leaves argv, where every user of the machine can read it, before anything
 * else. */
static enum ms_status set_secret(struct parse *self, char *value, struct ms_cli_secret *secret)
{
    secret->given = true;
    secret->spec = NULL;
    secret->wipe = NULL;
    if (!value)
        return MS_OK;
    char *copy = ms_arena_copy(&self->out->memory, value, strlen(value));
    if (!copy)
        return ms_error_set(self->err, MS_E_NOMEM, "out of memory");
    secret->spec = copy;
    if (value[0] == '@' || strncmp(value, "env:", 4) == 0)
        return MS_OK;
    secret->wipe = copy;
    memset(value, '*', strlen(value));
    return MS_OK;
}

static enum ms_status set_value(struct parse *self, const struct found *found, char *value)
{
    const struct ms_option *option = found->option;
    void *field = (char *)found->base + option->offset;
    switch (option->kind) {
    case MS_OPT_FLAG:
        *(bool *)field = true;
        return MS_OK;
    case MS_OPT_COUNT:
        ++*(unsigned *)field;
        return MS_OK;
    case MS_OPT_TEXT:
        *(const char **)field = value;
        return MS_OK;
    case MS_OPT_NUMBER:
        return set_number(self, option, value, field);
    case MS_OPT_SIZE:
        return set_size(self, option, value, field);
    case MS_OPT_REAL:
        return set_real(self, option, value, field);
    case MS_OPT_CHOICE:
        return set_choice(self, option, value, field);
    case MS_OPT_LIST:
        return set_list(self, value, field);
    case MS_OPT_SECRET:
        return set_secret(self, value, field);
    }
    return ms_error_set(self->err, MS_E_BUG, "option --%s has no kind", option->name);
}

/* The value of an option that takes one: `joined` when it came in the same word, else the next
 * word. */
static enum ms_status find_value(struct parse *self, const struct ms_option *option, char *joined,
                                 char **out)
{
    *out = joined;
    if (joined)
        return MS_OK;
    char *next = self->next < self->argc ? self->argv[self->next] : NULL;
    if (option->arg_optional && (!next || next[0] == '-'))
        return MS_OK;
    const char *arg = option->arg ? option->arg : option->choices;
    if (!next)
        return ms_error_set(self->err, MS_E_USAGE, "--%s needs a value (%s)", option->name, arg);
    if (strncmp(next, "--", 2) == 0) {
        char shown[WORD_SHOWN_BYTES];
        return ms_error_set(self->err, MS_E_USAGE,
                            "--%s needs a value (%s) before '%s'; a value that begins with '--' is "
                            "written --%s=VALUE",
                            option->name, arg, ms_escape_text(next, shown, sizeof shown),
                            option->name);
    }
    self->next++;
    *out = next;
    return MS_OK;
}

static enum ms_status apply(struct parse *self, const struct found *found, char *joined)
{
    char *value = NULL;
    if (!found->base) {
        self->out->ask = (enum ms_cli_ask)(MS_CLI_HELP + (found->option - ms_cli_meta_options));
        return MS_OK;
    }
    if (takes_value(found->option)) {
        enum ms_status status = find_value(self, found->option, joined, &value);
        if (status != MS_OK)
            return status;
    }
    return set_value(self, found, value);
}

static enum ms_status read_long(struct parse *self, char *word)
{
    struct found found;
    size_t n = strcspn(word, "=");
    if (!look_up(self, word, n, 0, &found))
        return unknown_option(self, word, n);
    if (word[n] == '=' && (!found.base || !takes_value(found.option)))
        return ms_error_set(self->err, MS_E_USAGE, "--%s takes no value", found.option->name);
    return apply(self, &found, word[n] == '=' ? word + n + 1 : NULL);
}

/* "-qv", "-n5": letters until one takes a value, which may be the rest of the word. */
static enum ms_status read_letters(struct parse *self, char *word)
{
    for (char *p = word; *p; p++) {
        struct found found;
        if (!look_up(self, NULL, 0, *p, &found)) {
            char shown[WORD_SHOWN_BYTES];
            return ms_error_set(self->err, MS_E_USAGE, "unknown option '-%s'",
                                ms_escape_bytes(p, 1, shown, sizeof shown));
        }
        bool rest = found.base && takes_value(found.option) && p[1];
        enum ms_status status = apply(self, &found, rest ? p + 1 : NULL);
        if (status != MS_OK || rest || self->out->ask != MS_CLI_RUN)
            return status;
    }
    return MS_OK;
}

/* Finds the verb: the first word that is neither a common option nor its value, when it names one.
 * Everything else belongs to the default verb. Returns the verb's index in argv, or 0. */
static int find_verb(struct parse *self)
{
    for (int i = 1; i < self->argc; i++) {
        const char *word = self->argv[i];
        struct found found;
        /* Where every run has a verb, "--" in front of it ends the common options. */
        bool ended = strcmp(word, "--") == 0 && !ms_cli_find_verb(self->tool, "");
        if (ended && i + 1 < self->argc)
            word = self->argv[++i];
        if (ended || word[0] != '-' || word[1] == '\0') {
            const struct ms_verb *verb = *word ? ms_cli_find_verb(self->tool, word) : NULL;
            if (verb)
                self->out->verb = verb;
            return verb ? i : 0;
        }
        if (word[1] != '-')
            continue;
        size_t n = strcspn(word + 2, "=");
        if (!look_up(self, word + 2, n, 0, &found))
            return 0;
        if (found.base && takes_value(found.option) && word[2 + n] != '=')
            i++;
    }
    return 0;
}

static enum ms_status no_verb(struct parse *self)
{
    const char *names[64];
    size_t count = 0;
    char shown[WORD_SHOWN_BYTES];
    const char *word = NULL;
    for (int i = 1; i < self->argc && !word; i++)
        if (self->argv[i][0] != '-')
            word = self->argv[i];
    if (!word)
        return ms_error_set(self->err, MS_E_USAGE, "no verb given");
    for (size_t i = 0; i < self->tool->verb_count && count < 64; i++)
        names[count++] = self->tool->verbs[i].name;
    const char *near = ms_cli_nearest(word, names, count);
    return ms_error_set(self->err, MS_E_USAGE, "unknown verb '%s'%s%s%s",
                        ms_escape_text(word, shown, sizeof shown), near ? "; did you mean '" : "",
                        near ? near : "", near ? "'?" : "");
}

static enum ms_status read_words(struct parse *self, int verb_at)
{
    struct ms_cli *out = self->out;
    bool options = true;
    while (self->next < self->argc) {
        int at = self->next++;
        char *word = self->argv[at];
        enum ms_status status = MS_OK;
        if (at == verb_at) {
            options = !out->verb->passthrough;
            continue;
        }
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && strncmp(word, "--", 2) == 0)
            status = read_long(self, word + 2);
        else if (options && word[0] == '-' && word[1])
            status = read_letters(self, word + 1);
        else
            out->operands[out->operand_count++] = word;
        if (status != MS_OK || out->ask != MS_CLI_RUN)
            return status;
    }
    return MS_OK;
}

static enum ms_status check_operands(struct parse *self)
{
    const struct ms_cli *out = self->out;
    const struct ms_verb *verb = out->verb;
    char shown[WORD_SHOWN_BYTES];
    if (out->operand_count > verb->max_operands)
        return ms_error_set(self->err, MS_E_USAGE, "unexpected argument '%s'",
                            ms_escape_text(out->operands[verb->max_operands], shown, sizeof shown));
    if (out->operand_count < verb->min_operands)
        return ms_error_set(self->err, MS_E_USAGE, "%s%smissing argument: %s", verb->name,
                            *verb->name ? ": " : "", verb->synopsis);
    return MS_OK;
}

/* The command line for the record, taken after parsing, when literal secrets are asterisks. */
static enum ms_status keep_argv(struct parse *self)
{
    struct ms_cli *out = self->out;
    out->argv = ms_arena_alloc_array(&out->memory, (size_t)self->argc + 1, sizeof *out->argv);
    for (int i = 0; out->argv && i < self->argc; i++) {
        size_t n = strlen(self->argv[i]);
        const char *stars = strstr(self->argv[i], "=*");
        /* The length of a secret is not kept either. */
        if (n && strspn(self->argv[i], "*") == n)
            out->argv[i] = ms_arena_copy(&out->memory, "***", 3);
        else if (stars && strspn(stars + 1, "*") == strlen(stars + 1)) {
            size_t head = (size_t)(stars - self->argv[i]) + 1;
            out->argv[i] = ms_arena_alloc(&out->memory, head + 4);
            if (out->argv[i]) {
                memcpy(out->argv[i], self->argv[i], head);
                memcpy(out->argv[i] + head, "***", 4);
            }
        } else
            out->argv[i] = ms_arena_copy(&out->memory, self->argv[i], n);
        if (!out->argv[i])
            return ms_error_set(self->err, MS_E_NOMEM, "out of memory");
    }
    out->argc = self->argc;
    return out->argv ? MS_OK : ms_error_set(self->err, MS_E_NOMEM, "out of memory");
}

enum ms_status ms_cli_parse(const struct ms_tool *tool, int argc, char **argv, struct ms_cli *out,
                            struct ms_error *err)
{
    struct parse self = {
        .tool = tool, .out = out, .argc = argc, .argv = argv, .next = 1, .err = err};
    *out = (struct ms_cli){.tool = tool};
    ms_arena_init(&out->memory, MEMORY_MAX_BYTES);
    const char *corpus = getenv("MALSEQ_CORPUS");
    out->common = (struct ms_common){.corpus = corpus && *corpus ? corpus : "./corpus",
                                     .jobs = processors_available(),
                                     .seed = 1,
                                     .progress = "auto"};
    out->operands = ms_arena_alloc_array(&out->memory, (size_t)argc + 1, sizeof *out->operands);
    int verb_at = find_verb(&self);
    if (!out->verb)
        out->verb = ms_cli_find_verb(tool, "");
    if (out->verb)
        out->options = ms_cli_new_options(out->verb, &out->memory);
    if (!out->operands || (out->verb && !out->options))
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = read_words(&self, verb_at);
    /* A wrong word in the place of the verb says more than an option unknown without its verb. */
    if (!out->verb && out->ask == MS_CLI_RUN && (status == MS_OK || out->operand_count))
        status = no_verb(&self);
    if (status == MS_OK && out->ask == MS_CLI_RUN)
        status = check_operands(&self);
    if (status == MS_OK)
        status = keep_argv(&self);
    return status;
}

void ms_cli_release(struct ms_cli *self)
{
    ms_arena_release(&self->memory);
}
