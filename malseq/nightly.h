/* A night: what its configuration says, the runs of the tools that follow from it, and what became
 * of them. Used by malseq/nightly*.c and their unit test alone. */
#ifndef MS_MALSEQ_NIGHTLY_H
#define MS_MALSEQ_NIGHTLY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/cli.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum malseq_stage {
    MALSEQ_STAGE_COLLECT,
    MALSEQ_STAGE_LABEL,
    MALSEQ_STAGE_EXTRACT,
    MALSEQ_STAGE_TRAIN,
    MALSEQ_STAGE_AUDIT,
    MALSEQ_STAGES
};
/* "collect" and so on; static text. */
const char *malseq_stage_name(enum malseq_stage stage);
/* False when there is no such stage. */
bool malseq_stage_parse(const char *name, enum malseq_stage *out);

/* ---- nightly.conf ---- */

/* What a value must look like; what becomes of it is nightly_config.c's business. */
enum malseq_key_kind {
    MALSEQ_KEY_TEXT,     /* as it is; must not begin with '-' */
    MALSEQ_KEY_PATH,     /* relative to the file's folder */
    MALSEQ_KEY_FLAG,     /* yes or no; yes gives the option */
    MALSEQ_KEY_NUMBER,   /* a whole number within [min, max] */
    MALSEQ_KEY_REAL,     /* a number over 0 */
    MALSEQ_KEY_SIZE,     /* bytes, with K, M, G, T */
    MALSEQ_KEY_DURATION, /* 90s, 30m, 8h, 2d; kept in ms */
    MALSEQ_KEY_CHOICE,   /* one of choices, "a|b" */
    MALSEQ_KEY_SECRET,   /* @FILE or env:NAME */
    MALSEQ_KEY_SERVER    /* a URL of a sandbox, with ,token=@FILE and the like behind it */
};

struct malseq_key {
    const char *section; /* "collect" */
    const char *name;    /* "github-list" */
    enum malseq_key_kind kind;
    bool list;           /* several lines, or several times */
    bool own;            /* not an option of the tool: nightly's */
    const char *choices; /* of CHOICE */
    uint64_t min, max;   /* of NUMBER; max 0: none */
};

struct malseq_value {
    const struct malseq_key *key;
    const char *text; /* ready to be an argument: paths and secrets' paths joined to the folder */
    uint64_t number;  /* of FLAG (0, 1), NUMBER and DURATION (ms) */
    unsigned line;
    struct malseq_value *next;
};

/* A section, as "[train]" or "[train classes]"; values in the order of the file. */
struct malseq_section {
    char kind[16];
    const char *name; /* what stands behind the kind; "" for none */
    unsigned line;
    struct malseq_value *values, **end;
    struct malseq_section *next;
};

struct malseq_nightly_config {
    const char *path;   /* as given; for messages */
    const char *folder; /* what paths are relative to */
    struct malseq_section *sections, **end;
    struct ms_arena *memory; /* borrowed; owns all texts */
};

/* Reads the file. MS_E_IO when it cannot be read; MS_E_INPUT with file, line and what to do
 * otherwise: an unknown section or key, a value that is not one, a secret in clear, a key given
 * twice. All texts are the arena's. */
enum ms_status malseq_nightly_config_read(const char *path, struct ms_arena *memory,
                                          struct malseq_nightly_config *out,
                                          struct ms_error *err) MS_MUST_USE;
/* The same of bytes in memory; path names them in messages and gives the folder. */
enum ms_status malseq_nightly_config_parse(const void *bytes, size_t n, const char *path,
                                           struct ms_arena *memory,
                                           struct malseq_nightly_config *out,
                                           struct ms_error *err) MS_MUST_USE;

/* All keys; *count of them. */
const struct malseq_key *malseq_nightly_keys(size_t *count);
/* The first value of a key in a section of that kind without a name, or NULL. */
const struct malseq_value *malseq_config_find(const struct malseq_nightly_config *self,
                                              const char *kind, const char *key);
const struct malseq_value *malseq_section_find(const struct malseq_section *self, const char *key);
/* It says enabled = no. */
bool malseq_section_is_off(const struct malseq_section *self);
/* Its text or number, or the fallback. */
const char *malseq_config_text(const struct malseq_nightly_config *self, const char *kind,
                               const char *key, const char *fallback);
uint64_t malseq_config_number(const struct malseq_nightly_config *self, const char *kind,
                              const char *key, uint64_t fallback);

/* ---- the steps that follow from it ---- */

enum { MALSEQ_STEP_WORDS = 256, MALSEQ_STEPS_MAX = 64 };

enum malseq_step_kind {
    MALSEQ_STEP_PLAIN,
    MALSEQ_STEP_TRAIN, /* first with --dry-run, to see whether its dataset is another one */
    MALSEQ_STEP_AUDIT  /* reads alone: needs no hold of the corpus; its JSON is kept */
};

enum malseq_step_state {
    MALSEQ_STEP_WAITING,   /* not begun */
    MALSEQ_STEP_DONE,      /* exit code 0 */
    MALSEQ_STEP_REJECTS,   /* 1: done, some records rejected */
    MALSEQ_STEP_UNCHANGED, /* train: same dataset, settings and version as the model has */
    MALSEQ_STEP_LATER,     /* 75: quota, rate limit, or the corpus is held */
    MALSEQ_STEP_STOPPED,   /* its time was over, or nightly was asked to end */
    MALSEQ_STEP_SKIPPED,   /* not run, for the reason told */
    MALSEQ_STEP_FAILED     /* any other end */
};
const char *malseq_step_state_name(enum malseq_step_state state);

struct malseq_step {
    enum malseq_stage stage;
    enum malseq_step_kind kind;
    const char *tool;  /* one of the five, or "malseq" */
    const char *name;  /* "extract import", "train classes" */
    const char *model; /* of train: the folder under models/ */
    const char
        *words[MALSEQ_STEP_WORDS]; /* the command line, from the tool's name; ends with NULL */
    size_t word_count;
    uint64_t min_samples; /* of train */

    enum malseq_step_state state;
    int code;           /* exit code, 128 + a signal; -1: it did not run */
    char why[320];      /* the tool's own last error, or ours; "" for none; escaped */
    char resume_at[32]; /* "2026-…Z"; "" when nothing was said */
    int64_t ran_ms, allowed_ms;
    uint64_t warnings;
    char basis[65];  /* of train and audit: digest of what it rests on; "" when not taken */
    json_t *counts;  /* what the run's row in the corpus counted; NULL: none */
    json_t *figures; /* of train: the model's, as they are after this step; of audit: what it
                        printed; NULL: none */
};

struct malseq_plan {
    struct malseq_step steps[MALSEQ_STEPS_MAX];
    size_t count;
    uint64_t share[MALSEQ_STAGES];
    bool off[MALSEQ_STAGES]; /* by the file, or not among those asked for */
};

/* Makes the steps of the stages wanted (a bit each, 1 << stage); the corpus' folder as an argument
 * of each. MS_E_INPUT with file and line for a section that has nothing to do. */
enum ms_status malseq_plan_make(const struct malseq_nightly_config *config, const char *corpus,
                                const struct ms_common *common, unsigned wanted,
                                struct malseq_plan *out, struct ms_error *err) MS_MUST_USE;
void malseq_plan_release(struct malseq_plan *self);
/* The command line as a person would type it. */
void malseq_step_show(const struct malseq_step *self, struct ms_buf *out);

/* ---- running them ---- */

struct malseq_night {
    struct ms_cli *cli;
    const struct malseq_nightly_config *config;
    struct malseq_plan *plan;
    const char *corpus;
    char folder[4096]; /* nights/NNNNNN of the corpus */
    uint64_t number;
    int64_t started_ms, ended_ms;         /* UTC */
    int64_t started_mono_ms, end_mono_ms; /* end: when the whole time is over */
    int64_t budget_ms, grace_ms, wait_ms;
    int stage; /* whose time stage_until_ms is; -1: none yet */
    int64_t stage_until_ms;
    bool echo;              /* what tools say goes to our stderr too */
    bool held;              /* the corpus: another run did not let go of it in time */
    char holder[320];       /* in that case: what was said of who holds it */
    json_t *before, *after; /* census: section -> name -> count; NULL: no corpus */
    int64_t first_run;      /* the newest row of run when the night began */
    int64_t last_run;       /* and when it ended */
    const json_t *last;     /* the record of the last night that ended; NULL: none */
    json_t *record;         /* what is written as night.json */
};

struct malseq_running {
    int64_t until_mono_ms; /* SIGTERM then */
    int64_t grace_ms;      /* SIGKILL so much later */
    const char *log;       /* where its stderr goes; NULL: nowhere */
    const char *output;    /* where its stdout goes; NULL: nowhere */
    bool echo;             /* stderr also to ours */
};
struct malseq_ran {
    int code;
    bool stopped; /* SIGTERM was sent: time was over, or we were asked to end */
    bool killed;  /* and SIGKILL after it */
    int64_t ran_ms;
    uint64_t warnings;
    char error[320];
    char resume_at[32];
};
/* Runs one program to its end, within its time. What it prints beyond the caps of base/limits.h is
 * read and dropped. */
enum ms_status malseq_run_tool(const char *tool, const char *const *words,
                               const struct malseq_running *how, struct malseq_ran *out,
                               struct ms_error *err) MS_MUST_USE;

/* The newest row of run in the corpus of folder dir; 0 where there is none yet, or none that can
 * be read. */
int64_t malseq_night_newest_run(const char *dir);

/* Runs one step of the night and sets its state. Fails only when the night cannot go on. */
enum ms_status malseq_step_run(struct malseq_night *night, struct malseq_step *step, size_t number,
                               struct ms_error *err) MS_MUST_USE;

/* ---- what came of it ---- */

/* Reads the earlier nights' records, oldest first, at most `most` of the newest. New reference to
 * an array; nights that cannot be read are left out. */
enum ms_status malseq_nights_read(const char *corpus, size_t most, json_t **out,
                                  struct ms_error *err) MS_MUST_USE;
/* Makes nights/NNNNNN with the number after the highest; fills folder and number. A folder that
 * cannot be made (a full disk) is warned of and no error. */
enum ms_status malseq_nights_begin(const char *corpus, struct malseq_night *night,
                                   struct ms_error *err) MS_MUST_USE;
/* Writes down what there was when the night began, for the night that ends if this one does not. */
enum ms_status malseq_night_note_begin(const struct malseq_night *night,
                                       struct ms_error *err) MS_MUST_USE;
/* What there was before all that no summary has told of yet: the census of the last night that
 * ended and could read the corpus, else what the oldest night noted. New reference; NULL where
 * nothing is known. */
enum ms_status malseq_nights_base(const struct malseq_night *night, const json_t *history,
                                  json_t **out, struct ms_error *err) MS_MUST_USE;
/* Removes what is older than the newest `keep` nights, and of those beyond `keep_logs` all but the
 * record. Nights that never ended go with the next that does. */
enum ms_status malseq_nights_prune(const char *corpus, uint64_t keep, uint64_t keep_logs,
                                   struct ms_error *err) MS_MUST_USE;

/* section -> name -> count; *out NULL when there is no corpus yet. */
enum ms_status malseq_census_json(const char *dir, json_t **out, struct ms_error *err) MS_MUST_USE;
/* Fills night->record from the night and the nights before. */
enum ms_status malseq_night_record(struct malseq_night *night, const json_t *history,
                                   struct ms_error *err) MS_MUST_USE;
/* The exit code of the night as a status, its text in err when it is not MS_OK. */
enum ms_status malseq_night_verdict(const struct malseq_night *night, struct ms_error *err);
/* The record as text for people. */
void malseq_night_text(const json_t *record, struct ms_buf *out);
/* A count of the record's map "census" or "new"; and the sum of a section there. 0: not there. */
json_int_t malseq_night_count(const json_t *record, const char *map, const char *section,
                              const char *name);
json_int_t malseq_night_sum(const json_t *record, const char *map, const char *section);
/* Appends one chart a model, and those of the corpus and the disk, over the nights before and this
 * one. */
void malseq_night_curves(const json_t *record, const json_t *history, struct ms_buf *out);
/* The record as one HTML page, with the nights before for its curves. */
enum ms_status malseq_night_page(const json_t *record, const json_t *history, struct ms_buf *out,
                                 struct ms_error *err) MS_MUST_USE;

#endif
