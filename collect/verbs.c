/* The small verbs: cat (a sample's bytes to a pipe) and forget (take-down). */
#include "base/log.h"
#include "collect/list.h"
#include "collect/session.h"
#include "store/run.h"
#include "store/sample.h"
#include "store/vault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum ms_status write_out(void *ctx, const void *bytes, size_t n, struct ms_error *err)
{
    (void)ctx;
    const char *at = bytes;
    while (n) {
        ssize_t done = write(STDOUT_FILENO, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot write the sample");
        at += done;
        n -= (size_t)done;
    }
    return MS_OK;
}

/* Live malware belongs neither on a terminal nor, by a slip, in a file. */
static enum ms_status check_output(struct ms_error *err)
{
    struct stat st;
    if (isatty(STDOUT_FILENO))
        return ms_error_set(err, MS_E_USAGE,
                            "a sample's bytes are not written to a terminal; use a pipe");
    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        return ms_error_set(err, MS_E_USAGE,
                            "a sample's bytes are not written to a file; pipe them into the "
                            "program that needs them");
    return MS_OK;
}

enum ms_status ms_collect_cat(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    struct ms_sample sample;
    int64_t id;
    char shown[128];
    enum ms_status status = check_output(err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &corpus, err);
    if (status == MS_OK)
        status = ms_sample_find(corpus, cli->operands[0], &id, err);
    if (status == MS_OK)
        status = ms_sample_get(corpus, id, &sample, err);
    if (status == MS_OK && (!sample.has_sha256 || !sample.vaulted))
        status = ms_error_set(err, MS_REJECT, "the corpus knows this sample, but not its bytes");
    if (status == MS_OK)
        status =
            ms_vault_read(corpus, MS_VAULT_SAMPLE, sample.digests.sha256, write_out, NULL, err);
    if (status == MS_REJECT) { /* nothing else was asked for: not a finding, a failure */
        ms_error_prepend(err, "%s", ms_escape_text(cli->operands[0], shown, sizeof shown));
        err->status = MS_E_INPUT;
        status = MS_E_INPUT;
    }
    ms_corpus_close(corpus);
    return status;
}

static bool is_hash(const char *text)
{
    size_t n = strlen(text);
    return (n == 32 || n == 40 || n == 64) && strspn(text, "0123456789abcdefABCDEF") == n;
}

/* An origin under the name given, or under the one that a list makes of it: owner/repo in any case
 * or by its URL, a git server's repository with or without .git. */
static enum ms_status forget_origin(struct ms_corpus *corpus, const char *what, int64_t run,
                                    uint64_t *samples, struct ms_error *err)
{
    struct ms_repo repo;
    struct ms_list_url line;
    bool empty = true;
    char names[3][MS_REPO_URL_BYTES + sizeof ".git"];
    size_t count = 0;
    struct ms_error why;
    struct ms_span text = ms_span_of(what, strlen(what));
    enum ms_status status = ms_forget_origin(corpus, what, run, samples, err);
    if (status != MS_REJECT)
        return status;
    if (ms_repo_parse(text, &repo, &empty, NULL) == MS_OK && !empty) {
        const char *name = repo.url[0] ? repo.url : repo.name;
        size_t n = strlen(name);
        bool suffixed = n > 4 && strcmp(name + n - 4, ".git") == 0;
        (void)snprintf(names[count++], sizeof names[0], "%s", name);
        if (repo.url[0])
            (void)snprintf(names[count++], sizeof names[0], "%.*s%s", (int)(suffixed ? n - 4 : n),
                           name, suffixed ? "" : ".git");
    }
    if (ms_list_url_parse(text, &line, &empty, NULL) == MS_OK && !empty &&
        strlen(line.url.text) < sizeof names[0])
        (void)snprintf(names[count++], sizeof names[0], "%.*s", (int)sizeof names[0] - 1,
                       line.url.text);
    for (size_t i = 0; i < count && status == MS_REJECT; i++) {
        status = ms_forget_origin(corpus, names[i], run, samples, &why);
        if (status != MS_OK && status != MS_REJECT)
            *err = why;
    }
    return status;
}

static enum ms_status forget_one(struct ms_corpus *corpus, const char *what, int64_t run,
                                 struct ms_error *err)
{
    char shown[256];
    (void)ms_escape_text(what, shown, sizeof shown);
    if (is_hash(what)) {
        int64_t id;
        enum ms_status status = ms_sample_find(corpus, what, &id, err);
        if (status == MS_OK)
            status = ms_forget_sample(corpus, id, run, err);
        if (status == MS_OK)
            ms_log(MS_LOG_INFO, "%s is forgotten and stays out", shown);
        return status;
    }
    uint64_t samples = 0;
    enum ms_status status = forget_origin(corpus, what, run, &samples, err);
    if (status == MS_OK)
        ms_log(MS_LOG_INFO, "%s is forgotten and stays out, with %llu samples seen only there",
               shown, (unsigned long long)samples);
    return status;
}

enum ms_status ms_collect_forget(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    int64_t run = 0;
    bool unknown = false;
    enum ms_status status = ms_corpus_open(cli->common.corpus, MS_CORPUS_WRITE, &corpus, err);
    if (status == MS_OK)
        status = ms_run_begin(corpus, cli->tool->name, cli->argc, cli->argv, cli->common.seed, &run,
                              err);
    for (size_t i = 0; i < cli->operand_count && status == MS_OK; i++) {
        status = forget_one(corpus, cli->operands[i], run, err);
        if (status == MS_REJECT) {
            ms_log(MS_LOG_WARNING, "%s", err->text);
            err->text[0] = '\0';
            unknown = true;
            status = MS_OK;
        }
    }
    if (status == MS_OK && unknown)
        status = MS_REJECT;
    if (run) {
        struct ms_error end_err;
        enum ms_status ended =
            ms_run_end(corpus, run, ms_status_exit_code(status), NULL, NULL, &end_err);
        if (status == MS_OK && ended != MS_OK) {
            *err = end_err;
            status = ended;
        }
    }
    ms_corpus_close(corpus);
    return status;
}
