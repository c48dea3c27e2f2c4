/* A run of collect: its options, the corpus, the worker, the counts, and how results are told. */
#ifndef MS_COLLECT_SESSION_H
#define MS_COLLECT_SESSION_H

#include "base/cli.h"
#include "base/secret.h"
#include "collect/intake.h"
#include "collect/password.h"

struct ms_collect_options {
    const char *github_list;
    const char *github_url;
    const char *url_list;
    struct ms_cli_secret github_token;
    struct ms_cli_list dirs;
    const char *password_list;
    struct ms_cli_list git_hosts;
    bool history;
    const char *claim;
    bool private_;
    bool recheck;
    bool releases;
    uint64_t max_store_bytes; /* UINT64_MAX: no quota */
    uint64_t keep_free_bytes; /* UINT64_MAX: the vault's default */
    bool recurse_sfx;
    uint64_t max_members, max_unpacked, max_member, max_depth, max_file;
    uint64_t max_time; /* 0: by the others */
};

struct ms_collect_counts {
    uint64_t origins, origins_failed;
    uint64_t files; /* entries looked at */
    uint64_t opened;
    uint64_t samples; /* programs found in what was opened */
    uint64_t added;   /* of them new in the corpus */
    uint64_t failed;  /* files that could not be read whole */
    uint64_t skipped_forgotten;
    uint64_t bad_lines;
};

/* Origins found unchanged whose rows are written together: one sync to disk for all of them. */
enum { MS_COLLECT_SAME = 256 };

struct ms_collect {
    struct ms_cli *cli;
    const struct ms_collect_options *options;
    struct ms_corpus *corpus; /* NULL in a dry run on a corpus that is not there yet */
    struct ms_worker *worker;
    struct ms_quick *quick; /* NULL: it could not be started, and the worker reads everything */
    struct ms_secret *token;
    struct ms_intake intake;
    pthread_mutex_t lock; /* intake's */
    struct ms_arena arena;
    struct ms_passwords passwords; /* --password-list and the built-in ones */
    struct ms_collect_counts counts;
    int64_t same[MS_COLLECT_SAME]; /* see ms_source_save_same */
    size_t same_count;
    bool remote_failed; /* a service gave no proper answer for some origin */
};

/* The options of a run. */
enum { MS_COLLECT_RUN_OPTIONS = 21 };
extern const struct ms_option ms_collect_run_options[MS_COLLECT_RUN_OPTIONS];

/* Verbs. */
void ms_collect_defaults(void *options);
enum ms_status ms_collect_run(struct ms_cli *cli, struct ms_error *err);
enum ms_status ms_collect_cat(struct ms_cli *cli, struct ms_error *err);
enum ms_status ms_collect_adopt(struct ms_cli *cli, struct ms_error *err);
enum ms_status ms_collect_forget(struct ms_cli *cli, struct ms_error *err);

/* Telling: JSON lines on stdout with --json; otherwise failures as warnings, samples only with -v.
 * A blob that needs a password is neither counted nor told as failed, but sets *closed: one may
 * still be learned. */
enum ms_status ms_collect_tell_blob(struct ms_collect *self, const struct ms_intake_blob *blob,
                                    const struct ms_intake_result *result, bool *closed,
                                    struct ms_error *err) MS_MUST_USE;
/* A file or origin that could not be had; git_id may be NULL. */
enum ms_status ms_collect_tell_failure(struct ms_collect *self, const char *origin,
                                       struct ms_span path, const uint8_t *git_id,
                                       const char *outcome, const char *reason,
                                       struct ms_error *err) MS_MUST_USE;
/* The line an origin ends with (people only). */
void ms_collect_tell_origin(const struct ms_collect *self, const char *name, const char *state,
                            const struct ms_collect_counts *before);

#endif
