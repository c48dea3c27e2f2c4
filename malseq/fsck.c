/* malseq fsck: what is wrong with a corpus, or its digest. The checks are made in store/. */
#include "malseq/malseq.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "store/query.h"

#include <stdio.h>

enum { PATH_BYTES = 8192 };

struct findings {
    bool json;
};

static enum ms_status on_finding(void *ctx, const char *where, const char *what, bool repaired,
                                 struct ms_error *err)
{
    const struct findings *self = ctx;
    char place[512], text[512];
    if (self->json) {
        json_t *object = json_object();
        json_object_set_new(object, "where", ms_json_text(where));
        json_object_set_new(object, "what", ms_json_text(what));
        json_object_set_new(object, "repaired", json_boolean(repaired));
        return ms_json_line(stdout, object, err);
    }
    printf("%s: %s%s\n", ms_escape_text(where, place, sizeof place),
           ms_escape_text(what, text, sizeof text), repaired ? " (repaired)" : "");
    return MS_OK;
}

static enum ms_status print_digest(struct ms_corpus *corpus, bool json, struct ms_error *err)
{
    uint8_t digest[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    enum ms_status status = ms_corpus_digest(corpus, digest, err);
    if (status != MS_OK)
        return status;
    ms_hex_encode(digest, sizeof digest, hex);
    if (!json) {
        printf("%s\n", hex);
        return MS_OK;
    }
    json_t *object = json_object();
    json_object_set_new(object, "digest", ms_json_text(hex));
    return ms_json_line(stdout, object, err);
}

static enum ms_status check(struct ms_corpus *corpus, const struct malseq_fsck *options, bool json,
                            struct ms_error *err)
{
    struct findings findings = {json};
    struct ms_fsck_counts counts = {0};
    enum ms_status status =
        ms_fsck_run(corpus, options->repair, on_finding, &findings, &counts, err);
    if (status != MS_OK)
        return status;
    if (!json)
        printf("%llu samples, %llu reports, %llu traces checked: %llu findings, %llu repaired\n",
               (unsigned long long)counts.samples, (unsigned long long)counts.reports,
               (unsigned long long)counts.traces, (unsigned long long)counts.findings,
               (unsigned long long)counts.repaired);
    if (counts.findings > counts.repaired && !options->repair)
        ms_log(MS_LOG_WARNING, "'malseq fsck --repair' repairs what can be repaired");
    return counts.findings > counts.repaired ? MS_REJECT : MS_OK;
}

static enum ms_status count_orphan(void *ctx, const uint8_t sha256[MS_SHA256_BYTES],
                                   const char *name, struct ms_error *err)
{
    uint64_t *count = ctx;
    (void)sha256;
    (void)name;
    (void)err;
    ++*count;
    return MS_OK;
}

/* What a stored sample is can be told only by reading it, confined: collect does that. */
static enum ms_status run_adopt(const struct ms_cli *cli, struct ms_error *err)
{
    const char *argv[] = {"collect", "adopt", "--corpus", cli->common.corpus, NULL, NULL, NULL};
    size_t words = 4;
    struct malseq_child child;
    struct ms_buf path;
    int code = 0;
    if (cli->common.json)
        argv[words++] = "--json";
    if (cli->common.no_confine)
        argv[words++] = "--no-confine";
    ms_buf_init(&path, PATH_BYTES);
    enum ms_status status = malseq_find_tool("collect", &path, err);
    if (status == MS_OK)
        status = malseq_spawn(ms_buf_text(&path), argv, -1, 0, &child, err);
    if (status == MS_OK)
        status = malseq_wait(&child, &code, err);
    if (status == MS_OK && code > 1)
        status = ms_error_set(err, code == 75 ? MS_E_LATER : MS_E_STORE,
                              "samples without a row could not be adopted: see above");
    ms_buf_release(&path);
    return status;
}

static enum ms_status adopt_orphans(const struct ms_cli *cli, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    uint64_t count = 0;
    enum ms_status status = ms_corpus_open(cli->common.corpus, MS_CORPUS_WRITE, &corpus, err);
    if (status == MS_OK)
        status = ms_fsck_foreach_orphan(corpus, count_orphan, &count, err);
    ms_corpus_close(corpus);
    return status == MS_OK && count ? run_adopt(cli, err) : status;
}

enum ms_status malseq_fsck(struct ms_cli *cli, struct ms_error *err)
{
    const struct malseq_fsck *options = cli->options;
    struct ms_corpus *corpus = NULL;
    if (options->digest && options->repair)
        return ms_error_set(err, MS_E_USAGE, "--digest and --repair do not go together");
    bool repair = options->repair && !cli->common.dry_run;
    struct malseq_fsck effective = {.repair = repair};
    enum ms_status status = repair ? adopt_orphans(cli, err) : MS_OK;
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, repair ? MS_CORPUS_WRITE : MS_CORPUS_READ,
                                &corpus, err);
    if (status == MS_OK)
        status = options->digest ? print_digest(corpus, cli->common.json, err)
                                 : check(corpus, &effective, cli->common.json, err);
    ms_corpus_close(corpus);
    return status;
}
