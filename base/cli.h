/* One option table a tool: parsing, --help, the man page's OPTIONS and the bash completion all come
 * from it. */
#ifndef MS_BASE_CLI_H
#define MS_BASE_CLI_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_opt_kind {
    MS_OPT_FLAG,   /* bool: set to true */
    MS_OPT_COUNT,  /* unsigned: raised by one each time (-v -v) */
    MS_OPT_TEXT,   /* const char * */
    MS_OPT_NUMBER, /* uint64_t within [min, max] */
    MS_OPT_REAL,   /* double */
    MS_OPT_CHOICE, /* const char *, one of `choices` ("auto|always|never") */
    MS_OPT_LIST,   /* struct ms_cli_list: may be given several times */
    MS_OPT_SECRET  /* struct ms_cli_secret: @FILE, env:NAME or a value */
};

struct ms_cli_list {
    const char **items;
    size_t count;
};

struct ms_cli_secret {
    bool given;
    const char *spec; /* NULL: given without a value */
    char *wipe;       /* the argv bytes of a literal value, for ms_secret_read */
};

struct ms_option {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    enum ms_opt_kind kind;
    const char *arg;  /* "DIR"; NULL for flags */
    const char *help; /* one sentence, no full stop needed; "%D" is not expanded */
    size_t offset;    /* of the field in the verb's options struct */
    const char *choices;
    uint64_t min, max; /* for NUMBER; max 0: no upper bound */
    bool arg_optional; /* SECRET only: the value may be missing (then the next word is not taken if
                          it begins with '-') */
    bool hidden;       /* parsed, but in no help (--seed aliases and the like) */
};

/* The options every tool has (DESIGN 1). */
struct ms_common {
    const char *corpus; /* --corpus, else MALSEQ_CORPUS, else ./corpus */
    uint64_t jobs;      /* --jobs, else the processors available, at most 64 */
    uint64_t seed;      /* --seed, else 1 */
    bool dry_run;
    bool json;
    bool quiet;
    bool no_confine;
    unsigned verbose;
    const char *progress;
};

/* What a verb's function gets. `options` is the verb's own struct, zeroed and then given its
 * defaults by `defaults`. */
struct ms_cli {
    const struct ms_tool *tool;
    const struct ms_verb *verb;
    struct ms_common common;
    void *options;
    const char **operands;
    size_t operand_count;
    int argc; /* the command line as typed, secrets wiped; for run provenance */
    char **argv;
};

struct ms_verb {
    const char *name;     /* "" for the tool's default action */
    const char *synopsis; /* operands and main options: "PATH…" */
    const char *summary;  /* one line */
    const struct ms_option *options;
    size_t option_count;
    size_t options_bytes;              /* size of the options struct */
    void (*defaults)(void *options);   /* may be NULL */
    size_t min_operands, max_operands; /* max SIZE_MAX: any number */
    /* Does the work. MS_OK exits 0; MS_REJECT exits 1 ("done, with findings", no message printed
     * unless err.text is not empty); others print err and exit by ms_status_exit_code. */
    enum ms_status (*run)(struct ms_cli *cli, struct ms_error *err);
};

struct ms_tool {
    const char *name;        /* "collect" */
    const char *summary;     /* one line */
    const char *description; /* paragraphs separated by \n\n, for --help and the man page */
    const struct ms_verb *verbs;
    size_t verb_count;
    const char *examples; /* lines "# what it does\ncommand\n" for the man page; may be NULL */
};

/* The whole of main: locale, log, progress, parse, run, message, exit code. Handles -h, -V,
 * --print-man and --print-completion. */
int ms_cli_main(const struct ms_tool *tool, int argc, char **argv);

/* Parsing alone, for tests: MS_E_USAGE with the reason. release frees what it allocated. */
enum ms_status ms_cli_parse(const struct ms_tool *tool, int argc, char **argv, struct ms_cli *out,
                            struct ms_error *err) MS_MUST_USE;
void ms_cli_release(struct ms_cli *self);

#endif
