/* What the files of the umbrella share: its verbs, and running other programs. */
#ifndef MS_MALSEQ_MALSEQ_H
#define MS_MALSEQ_MALSEQ_H

#include "base/buf.h"
#include "base/cli.h"
#include "store/corpus.h"
#include "store/trace/normalise_request.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct malseq_status {
    bool exact; /* every object of the vault is looked at */
};
enum { MALSEQ_STATUS_OPTIONS = 1 };
extern const struct ms_option malseq_status_options[MALSEQ_STATUS_OPTIONS];

struct malseq_query {
    uint64_t limit;     /* rows; 0: all */
    uint64_t timeout_s; /* 0: none */
    bool csv;
};

struct malseq_fsck {
    bool repair;
    bool digest;
};
enum { MALSEQ_FSCK_OPTIONS = 2 };
extern const struct ms_option malseq_fsck_options[MALSEQ_FSCK_OPTIONS];

struct malseq_backup {
    bool objects; /* the vault's files too */
    bool link;    /* as second names of the same files */
};
enum { MALSEQ_BACKUP_OPTIONS = 2 };
extern const struct ms_option malseq_backup_options[MALSEQ_BACKUP_OPTIONS];

struct malseq_doctor {
    const char *config; /* NULL: nightly.conf in the corpus, where there is one */
    bool offline;
    struct ms_cli_secret vt_key, github_token, token;
    const char *vt_url, *vt_user, *github_url, *sandbox;
    struct ms_cli_list cuckoo;
};
enum { MALSEQ_DOCTOR_OPTIONS = 10 };
extern const struct ms_option malseq_doctor_options[MALSEQ_DOCTOR_OPTIONS];

struct malseq_retain {
    uint64_t reports, benign, unlabelled; /* days; 0: not asked for */
};
enum { MALSEQ_RETAIN_OPTIONS = 3 };
extern const struct ms_option malseq_retain_options[MALSEQ_RETAIN_OPTIONS];

struct malseq_export {
    const char *what;   /* samples, traces */
    const char *format; /* NULL: jsonl, or csv with --csv */
    bool csv;
    bool sightings;
    bool times;
    const char *policy; /* NULL: the default one */
    const char *out;    /* NULL: standard output */
    /* of traces */
    bool names, no_names, unlabelled;
    const char *target;
    uint64_t ngrams, hash_bits; /* hash_bits 0: a vocabulary */
    struct ms_normal_request normal;
};
enum { MALSEQ_EXPORT_OPTIONS = 23 };
extern const struct ms_option malseq_export_options[MALSEQ_EXPORT_OPTIONS];
void malseq_export_defaults(void *options);

struct malseq_audit {
    const char *policy; /* NULL: a dataset's own, else ember2024 */
    double near;
    uint64_t top;
    const char *groups; /* NULL: none are written */
    struct ms_normal_request normal;
};
enum { MALSEQ_AUDIT_OPTIONS = 14 };
extern const struct ms_option malseq_audit_options[MALSEQ_AUDIT_OPTIONS];
void malseq_audit_defaults(void *options);

struct malseq_demo {
    uint64_t samples;
    bool shuffle_labels;
    const char *keep;        /* folder of the run; NULL: a new one under TMPDIR */
    const char *dataset_url; /* where the published files of mal-api-2019 are downloaded from */
};

struct malseq_nightly {
    const char *config;        /* NULL: nightly.conf in the corpus */
    struct ms_cli_list stages; /* none: all */
};

enum { MALSEQ_NIGHTLY_OPTIONS = 2 };
extern const struct ms_option malseq_nightly_options[MALSEQ_NIGHTLY_OPTIONS];

/* The verbs: struct ms_verb's run. */
enum ms_status malseq_exec(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_status(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_query(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_fsck(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_backup(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_doctor(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_retain(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_export(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_audit(struct ms_cli *cli, struct ms_error *err);
enum ms_status malseq_demo(struct ms_cli *cli, struct ms_error *err);
void malseq_demo_defaults(void *options);
enum ms_status malseq_nightly(struct ms_cli *cli, struct ms_error *err);

/* For struct ms_traces_wanted: a warning. */
struct ms_trace_row;
void malseq_tell_damaged(const struct ms_trace_row *row, const char *why);
/* MS_E_INPUT when a policy that was asked for (not NULL) has no label in the corpus. */
enum ms_status malseq_check_policy(struct ms_corpus *corpus, const char *policy,
                                   struct ms_error *err) MS_MUST_USE;

/* Where the files live that come with malseq: `relative` below share/malseq of an installation, or
 * below the source tree's tests/ when run from a build folder inside it. Appends the path.
 * MS_E_IO when there is none. */
enum ms_status malseq_find_data(const char *relative, struct ms_buf *path,
                                struct ms_error *err) MS_MUST_USE;
/* The path of one of the five tools: libexec/malseq of the installation, else beside this program.
 * In this order, because another package's program of the same name may lie beside it. */
enum ms_status malseq_find_tool(const char *name, struct ms_buf *path,
                                struct ms_error *err) MS_MUST_USE;

/* Of this program itself, or of what was installed in its place since it began; appended. */
enum ms_status malseq_find_self(struct ms_buf *path, struct ms_error *err) MS_MUST_USE;

/* A child process. */
struct malseq_child {
    pid_t pid;
    int stdin_fd; /* write end, when asked for; else -1 */
};
enum { MALSEQ_STDIN_PIPE = 1 };

/* Starts argv[0] (a path, or a name looked up in PATH) with argv, which ends with NULL. stdout_fd
 * is where its results go (-1: ours). The child gets SIGTERM when this process dies. */
enum ms_status malseq_spawn(const char *path, const char *const *argv, int stdout_fd,
                            unsigned flags, struct malseq_child *out,
                            struct ms_error *err) MS_MUST_USE;
/* The same with what its standard input, output and error are (-1: ours); they stay the caller's.
 */
enum ms_status malseq_spawn_with(const char *path, const char *const *argv, const int standard[3],
                                 struct malseq_child *out, struct ms_error *err) MS_MUST_USE;
/* Waits for its end; *code is its exit code, or 128 + the signal that killed it. */
enum ms_status malseq_wait(struct malseq_child *child, int *code, struct ms_error *err) MS_MUST_USE;
/* True when it has ended already (it is waited for then). */
bool malseq_ended(struct malseq_child *child, int *code);

/* The demo on Mal-API-2019: import, train, confusion matrix. `work` is a folder of its own. */
enum ms_status malseq_demo_dataset(struct ms_cli *cli, const char *folder, const char *work,
                                   struct ms_error *err) MS_MUST_USE;

/* Runs a tool of ours, its command line shown first as a person would type it. argv without the
 * tool's name, ended by NULL. Exit codes 0 and 1 are MS_OK; others end the demo with the status
 * they stand for. */
enum ms_status malseq_demo_tool(const char *tool, const char *const *argv, int stdout_fd,
                                struct ms_error *err) MS_MUST_USE;

#endif
