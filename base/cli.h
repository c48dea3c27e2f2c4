/* One option table a tool: parsing, --help, the man page's OPTIONS and the bash completion all come
 * from it. */
#ifndef MS_BASE_CLI_H
#define MS_BASE_CLI_H

#include "base/arena.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_opt_kind {
    MS_OPT_FLAG,   /* bool: set to true */
    MS_OPT_COUNT,  /* unsigned: raised by one each time (-v -v) */
    MS_OPT_TEXT,   /* const char * */
    MS_OPT_NUMBER, /* uint64_t within [min, max] */
    MS_OPT_SIZE, /* uint64_t within [min, max], bytes: a whole number, then K, M, G or T (powers of
                    1024) or nothing */
    MS_OPT_REAL, /* double */
    MS_OPT_CHOICE, /* const char *, one of `choices` ("auto|always|never") */
    MS_OPT_LIST,   /* struct ms_cli_list: may be given several times */
    MS_OPT_SECRET  /* struct ms_cli_secret: @FILE, env:NAME or a value */
};

struct ms_cli_list {
    const char **items;
    size_t count;
};

/* `spec` is a copy: the word in argv is overwritten while parsing. `wipe` is that same copy when
 * the value is literal (not @FILE or env:NAME), for ms_secret_read to overwrite and warn about;
 * NULL otherwise. */
struct ms_cli_secret {
    bool given;
    const char *spec; /* NULL: given without a value */
    char *wipe;
};

struct ms_option {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    enum ms_opt_kind kind;
    const char *arg;  /* "DIR"; NULL for flags */
    const char *help; /* one sentence, no full stop needed; "%D" is not expanded */
    size_t offset;    /* of the field in the verb's options struct */
    const char *choices;
    uint64_t min, max; /* for NUMBER and SIZE; max 0: no upper bound */
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

/* What the command line asks for. */
enum ms_cli_ask { MS_CLI_RUN, MS_CLI_HELP, MS_CLI_VERSION, MS_CLI_MAN, MS_CLI_COMPLETION };

/* What a verb's function gets. `options` is the verb's own struct, zeroed and then given its
 * defaults by `defaults`. All pointers live until ms_cli_release. */
struct ms_cli {
    const struct ms_tool *tool;
    const struct ms_verb *verb;
    struct ms_common common;
    void *options;
    const char **operands;
    size_t operand_count;
    int argc; /* the command line as typed, literal secrets as "***"; for run provenance */
    char **argv;
    enum ms_cli_ask ask; /* MS_CLI_RUN whenever a verb's run is called */
    struct ms_arena memory;
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
    bool passthrough; /* every word behind the verb becomes an operand unread, options too: for
                         programs run by exec */
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

/* Options may stand before, between and behind operands; "--" ends them; "-" is an operand. Common
 * options may precede the verb; any other option in front selects the default verb (""). A value
 * that begins with "--" must be given as --name=value. LIST takes one value each time it is given:
 * further words are operands, which the verb may treat as more of the same.
 *
 * The whole of main: locale, log, progress, parse, run, message, exit code. Handles -h, -V,
 * --print-man and --print-completion. Closed standard descriptors are replaced first, so that no
 * file opened later can be mistaken for one; output that cannot be written ends with 4. */
int ms_cli_main(const struct ms_tool *tool, int argc, char **argv);

/* Parsing alone, for tests: MS_E_USAGE with the reason. release frees what it allocated. */
enum ms_status ms_cli_parse(const struct ms_tool *tool, int argc, char **argv, struct ms_cli *out,
                            struct ms_error *err) MS_MUST_USE;
void ms_cli_release(struct ms_cli *self);

#endif
