/* malseq demo mal-api-2019: finds or downloads the published files, imports them and trains on them
 * by the real tools. */
#include "malseq/malseq.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/http.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The published archive is about 30 MB; guards the disk and the memory it is checked in. */
enum { FILE_MAX_BYTES = 256 << 20, DOWNLOAD_MS = 600000 };

/* As published by the authors; a git blob id names the bytes. */
static const struct {
    const char *name, *blob;
} published[] = {
    {"mal-api-2019.zip", "ae111745b153084c29ecb935eca238c93bd924db"},
    {"labels.csv", "a1551ce6fc5ce192360ae0327beb2489d87a7e7f"},
};

static enum ms_status check_blob(const char *path, size_t at, struct ms_error *err)
{
    struct ms_buf bytes;
    uint8_t id[MS_SHA1_BYTES];
    char hex[MS_HASH_HEX_MAX];
    ms_buf_init(&bytes, FILE_MAX_BYTES);
    enum ms_status status = ms_file_read(path, &bytes, err);
    if (status == MS_OK && ms_hash_git_blob(bytes.data, bytes.len, id) != MS_OK)
        status = ms_error_set(err, MS_E_BUG, "the hash library failed");
    ms_buf_release(&bytes);
    if (status != MS_OK)
        return status;
    ms_hex_encode(id, sizeof id, hex);
    if (strcmp(hex, published[at].blob) != 0)
        return ms_error_set(err, MS_E_REMOTE,
                            "%s is not the published file: its git blob id is %s, not %s",
                            published[at].name, hex, published[at].blob);
    printf("%s: git blob %s, as published\n", published[at].name, hex);
    return MS_OK;
}

static enum ms_status fetch(struct ms_http *http, const char *base, size_t at, const char *path,
                            struct ms_error *err)
{
    struct ms_http_response response;
    char url[2048];
    int n = snprintf(url, sizeof url, "%s/%s", base, published[at].name);
    if (n < 0 || (size_t)n >= sizeof url)
        return ms_error_set(err, MS_E_USAGE, "the URL is too long");
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot create '%s'", published[at].name);
    const struct ms_http_request request = {.method = "GET",
                                            .url = url,
                                            .peer = MS_HTTP_PEER_PUBLIC,
                                            .idempotent = true,
                                            .follow_redirects = true,
                                            .sink_fd = fd,
                                            .max_body_bytes = FILE_MAX_BYTES};
    ms_http_response_init(&response);
    ms_log(MS_LOG_INFO, "downloading %s", url);
    enum ms_status status = ms_http_perform(http, &request, &response, err);
    if (status == MS_OK && response.status != 200)
        status = ms_error_set(err, MS_E_REMOTE, "%s answered with %d", url, response.status);
    ms_http_response_release(&response);
    close(fd);
    return status == MS_OK ? check_blob(path, at, err) : status;
}

/* Downloads both files into work/mal-api-2019; a file that is not the published one is removed. */
static enum ms_status download(const struct malseq_demo *options, const char *folder,
                               struct ms_error *err)
{
    const struct ms_http_options http_options = {.user_agent = "malseq/" MS_VERSION,
                                                 .total_timeout_ms = DOWNLOAD_MS};
    struct ms_http *http = NULL;
    enum ms_status status = ms_file_make_dirs(folder, err);
    if (status == MS_OK)
        status = ms_http_new(&http_options, &http, err);
    if (status == MS_OK)
        status = ms_http_trust(http, options->dataset_url, false, err);
    for (size_t i = 0; i < sizeof published / sizeof *published && status == MS_OK; i++) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/%s", folder, published[i].name);
        if (n < 0 || (size_t)n >= sizeof path)
            status = ms_error_set(err, MS_E_IO, "the folder's name is too long");
        else if ((status = fetch(http, options->dataset_url, i, path, err)) != MS_OK)
            (void)unlink(path);
    }
    ms_http_free(http);
    return status;
}

static bool holds_dataset(const char *folder)
{
    struct stat st;
    char path[4096];
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        int n = snprintf(path, sizeof path, "%s/%s", folder, published[i].name);
        if (n < 0 || (size_t)n >= sizeof path || stat(path, &st) != 0)
            return false;
    }
    return true;
}

/* DIR, else the data folder's subset, else a download. */
static enum ms_status find_dataset(const struct ms_cli *cli, const char *given, const char *work,
                                   char *out, size_t n, struct ms_error *err)
{
    const char *data = getenv("MALSEQ_DATA");
    char shown[256];
    if (given) {
        (void)snprintf(out, n, "%s", given);
        return holds_dataset(out)
                   ? MS_OK
                   : ms_error_set(err, MS_E_INPUT,
                                  "'%s' does not hold mal-api-2019.zip and labels.csv",
                                  ms_escape_text(given, shown, sizeof shown));
    }
    if (data && *data) {
        (void)snprintf(out, n, "%s/mal-api-2019-subset", data);
        if (holds_dataset(out))
            return MS_OK;
    }
    (void)snprintf(out, n, "%s/mal-api-2019", work);
    return download(cli->options, out, err);
}

enum ms_status malseq_demo_dataset(struct ms_cli *cli, const char *folder, const char *work,
                                   struct ms_error *err)
{
    char data[4096], corpus[4096], seed[24], jobs[24];
    enum ms_status status = find_dataset(cli, folder, work, data, sizeof data, err);
    if (status != MS_OK)
        return status;
    (void)snprintf(corpus, sizeof corpus, "%s/corpus", work);
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)cli->common.seed);
    (void)snprintf(jobs, sizeof jobs, "%llu", (unsigned long long)cli->common.jobs);
    const char *const import[] = {"dataset", "mal-api-2019", data, "--corpus", corpus, NULL};
    const char *const article[] = {
        "--corpus",           corpus,   "--preset", "article", "--target", "class=Virus", "--name",
        "virus-as-published", "--seed", seed,       "--jobs",  jobs,       NULL};
    const char *const virus[] = {"--corpus",    corpus,    "--preset", "article", "--target",
                                 "class=Virus", "--batch", "32",       "--name",  "virus",
                                 "--seed",      seed,      "--jobs",   jobs,      NULL};
    const char *const classes[] = {"--corpus", corpus,      "--target", "class",        "--name",
                                   "classes",  "--members", "1",        "--test-share", ".2",
                                   "--seed",   seed,        "--jobs",   jobs,           NULL};
    status = malseq_demo_tool("extract", import, -1, err);
    if (status == MS_OK)
        status = malseq_demo_tool("train", article, -1, err);
    if (status == MS_OK)
        printf("\nThe batch of 1000 that was published leaves a set of this size a handful of "
               "steps. The same net\nwith a batch of 32:\n");
    if (status == MS_OK)
        status = malseq_demo_tool("train", virus, -1, err);
    if (status == MS_OK)
        status = malseq_demo_tool("train", classes, -1, err);
    if (status == MS_OK)
        printf("\nReports with training curves and confusion matrices:\n"
               "  %s/models/virus-as-published/report.html\n  %s/models/virus/report.html\n"
               "  %s/models/classes/report.html\nEverything of this run lies in %s\n",
               corpus, corpus, corpus, work);
    return status;
}
