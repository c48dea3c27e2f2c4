/* The verbs of label, each one run over a corpus. */
#ifndef MS_LABEL_SESSION_H
#define MS_LABEL_SESSION_H

#include "base/cli.h"

struct ms_label_options {
    struct ms_cli_secret vt_key;
    const char *vt_url;
    const char *vt_user;
    const char *hashes;
    const char *policy;
    const char *until;
    const char *as_of;
    const char *avclass_data;
    uint64_t budget; /* 0: no bound */
    bool upload, yes;
};

void ms_label_defaults(void *options);

/* Looks hashes up until all that are due have an answer, or the quota, --budget or --until ends it.
 * MS_REJECT when some hashes were invalid or got no answer; unknown hashes are no fault. */
enum ms_status ms_label_run(struct ms_cli *cli, struct ms_error *err);
/* Derives all labels of a policy again from stored answers. Sends nothing. */
enum ms_status ms_label_relabel(struct ms_cli *cli, struct ms_error *err);
enum ms_status ms_label_explain(struct ms_cli *cli, struct ms_error *err);
/* Asks the service for the key's quota (free) and prints it beside the ledger. */
enum ms_status ms_label_quota(struct ms_cli *cli, struct ms_error *err);

/* Takes in reports from files. MS_REJECT when some records were bad, MS_E_INPUT when all were. */
enum ms_status ms_label_import(struct ms_cli *cli, struct ms_error *err);

#endif
