/* Reading AVClass's data files from a folder, and downloading them into one. */
#include "label/avclass_data.h"

#include "base/file.h"
#include "base/http.h"
#include "base/limits.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 4, RULE_FILES = 3, PATH_BYTES = 4096 };

/* As of MS_AVCLASS_COMMIT. */
static const struct {
    const char *name; /* on disk */
    const char *path; /* in the repository */
    const char *sha256;
} files[FILES] = {
    {"default.taxonomy", "avclass/data/default.taxonomy",
     "f56aed38b6380527b1f8a49b31e213f3f6f4e5f5ae484ed846772771353e2e16"},
    {"default.tagging", "avclass/data/default.tagging",
     "3d02935d1883bd05bf7bff66fc9c55f2cdb47608a64a89f6d29fdc38526a317d"},
    {"default.expansion", "avclass/data/default.expansion",
     "1c5671efc498e4f6b06330241a912d37198f06af757655ede1a39b458259807d"},
    {"LICENSE", "LICENSE", "94b37559e0610f307d3820dc330831d1fb0b6a395f10cbe3822f0c444522dbf3"},
};

static enum ms_status join(const char *dir, const char *name, char *out, struct ms_error *err)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", dir, name);
    if (n < 0 || n >= PATH_BYTES)
        return ms_error_set(err, MS_E_USAGE, "the folder for AVClass's files has too long a name");
    return MS_OK;
}

static enum ms_status hex_digest(const struct ms_buf *bytes, char out[MS_HASH_HEX_MAX],
                                 uint8_t raw[MS_SHA256_BYTES], struct ms_error *err)
{
    if (ms_hash_sha256(bytes->data, bytes->len, raw) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "cannot compute a digest");
    ms_hex_encode(raw, MS_SHA256_BYTES, out);
    return MS_OK;
}

static enum ms_status digest_all(struct ms_avclass_data *self, struct ms_error *err)
{
    uint8_t all[RULE_FILES * MS_SHA256_BYTES], sum[MS_SHA256_BYTES];
    const struct ms_buf *texts[RULE_FILES] = {&self->taxonomy, &self->tagging, &self->expansion};
    char hex[MS_HASH_HEX_MAX];
    self->pinned = true;
    for (size_t i = 0; i < RULE_FILES; i++) {
        enum ms_status status = hex_digest(texts[i], hex, all + i * MS_SHA256_BYTES, err);
        if (status != MS_OK)
            return status;
        self->pinned = self->pinned && strcmp(hex, files[i].sha256) == 0;
    }
    if (ms_hash_sha256(all, sizeof all, sum) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "cannot compute a digest");
    ms_hex_encode(sum, sizeof sum, self->digest);
    return MS_OK;
}

static enum ms_status read_folder(struct ms_avclass_data *self, const char *dir,
                                  struct ms_error *err)
{
    struct ms_buf *texts[RULE_FILES] = {&self->taxonomy, &self->tagging, &self->expansion};
    char path[PATH_BYTES];
    for (size_t i = 0; i < RULE_FILES; i++) {
        enum ms_status status = join(dir, files[i].name, path, err);
        if (status == MS_OK)
            status = ms_file_read(path, texts[i], err);
        if (status != MS_OK)
            return status;
    }
    return digest_all(self, err);
}

enum ms_status ms_avclass_data_read(const char *dir, const char *corpus,
                                    struct ms_avclass_data *out, bool *absent, struct ms_error *err)
{
    char folder[PATH_BYTES], shown[512], path[PATH_BYTES + 32];
    enum ms_status status = MS_OK;
    *out = (struct ms_avclass_data){.pinned = false};
    ms_buf_init(&out->taxonomy, MS_LIMIT_AVCLASS_BYTES);
    ms_buf_init(&out->tagging, MS_LIMIT_AVCLASS_BYTES);
    ms_buf_init(&out->expansion, MS_LIMIT_AVCLASS_BYTES);
    if (!dir)
        status = join(corpus, "avclass", folder, err);
    else if (strlen(dir) >= sizeof folder)
        status = ms_error_set(err, MS_E_USAGE, "the name of AVClass's folder is too long");
    else
        memcpy(folder, dir, strlen(dir) + 1);
    if (status != MS_OK)
        return status;
    (void)snprintf(path, sizeof path, "%s/%s", folder, files[0].name);
    bool missing = access(path, F_OK) != 0;
    if (absent) {
        /* Half a folder is a damaged one, not none: families must not change without a word. */
        *absent = missing;
        for (size_t i = 1; i < RULE_FILES && *absent; i++) {
            (void)snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
            *absent = access(path, F_OK) != 0;
        }
    }
    if (missing)
        return ms_error_set(
            err, MS_E_INPUT,
            "'%s' has no file %s of AVClass; `label avclass --fetch-data` downloads "
            "the files, --avclass-data DIR names a folder that has them",
            ms_escape_text(folder, shown, sizeof shown), files[0].name);
    status = read_folder(out, folder, err);
    if (status != MS_OK)
        ms_avclass_data_release(out);
    return status;
}

void ms_avclass_data_release(struct ms_avclass_data *self)
{
    ms_buf_release(&self->taxonomy);
    ms_buf_release(&self->tagging);
    ms_buf_release(&self->expansion);
}

struct ms_avclass_rules ms_avclass_data_rules(const struct ms_avclass_data *self)
{
    return (struct ms_avclass_rules){ms_span_of(self->taxonomy.data, self->taxonomy.len),
                                     ms_span_of(self->tagging.data, self->tagging.len),
                                     ms_span_of(self->expansion.data, self->expansion.len)};
}

/* ---- download ---------------------------------------------------------------------------- */

static enum ms_status get(struct ms_http *http, const char *url, struct ms_http_response *response,
                          struct ms_error *err)
{
    const struct ms_http_request request = {.method = "GET",
                                            .url = url,
                                            .peer = MS_HTTP_PEER_PUBLIC,
                                            .idempotent = true,
                                            .ask_gzip = true,
                                            .max_body_bytes = MS_LIMIT_AVCLASS_BYTES};
    enum ms_status status = ms_http_perform(http, &request, response, err);
    if (status == MS_OK && response->status != 200)
        status = ms_error_set(err, MS_E_REMOTE, "the server answered %d", response->status);
    return status;
}

/* One file into `out`, checked when its digest is known. *absent: the server has no such file. */
static enum ms_status download(struct ms_http *http, const char *base, const char *commit,
                               size_t file, bool check, struct ms_buf *out, bool *absent,
                               struct ms_error *err)
{
    char url[MS_LIMIT_URL_BYTES], hex[MS_HASH_HEX_MAX];
    uint8_t raw[MS_SHA256_BYTES];
    struct ms_http_response response;
    struct ms_buf encoded;
    ms_buf_init(&encoded, MS_LIMIT_URL_BYTES);
    ms_http_response_init(&response);
    enum ms_status status = ms_http_encode(&encoded, commit, false);
    size_t n = strlen(base);
    while (n > 0 && base[n - 1] == '/')
        n--;
    int written = snprintf(url, sizeof url, "%.*s/%s/%s", (int)(n < sizeof url ? n : sizeof url),
                           base, ms_buf_text(&encoded), files[file].path);
    ms_buf_release(&encoded);
    if (status != MS_OK || written < 0 || (size_t)written >= sizeof url)
        status = ms_error_set(err, MS_E_USAGE, "the address of AVClass's files is too long");
    if (status == MS_OK)
        status = get(http, url, &response, err);
    *absent = status == MS_E_REMOTE && response.status == 404;
    if (status == MS_OK)
        status = hex_digest(&response.body, hex, raw, err);
    if (status == MS_OK && check && strcmp(hex, files[file].sha256) != 0)
        status = ms_error_set(
            err, MS_E_REMOTE,
            "what came is not the file of AVClass " MS_AVCLASS_VERSION " (SHA-256 %s)", hex);
    if (status == MS_OK) {
        ms_buf_release(out);
        *out = response.body;
        ms_buf_init(&response.body, 0);
    }
    ms_http_response_release(&response);
    if (status != MS_OK)
        ms_error_prepend(err, "%s", files[file].name);
    return status;
}

static enum ms_status store(const char *dir, const struct ms_buf bodies[FILES],
                            struct ms_error *err)
{
    char path[PATH_BYTES];
    enum ms_status status = ms_file_make_dirs(dir, err);
    for (size_t i = 0; i < FILES && status == MS_OK; i++) {
        status = join(dir, files[i].name, path, err);
        if (status == MS_OK)
            status = ms_file_write_atomic(path, bodies[i].data, bodies[i].len, 0644, err);
    }
    return status;
}

static enum ms_status download_all(struct ms_http *http, const char *base, const char *commit,
                                   bool check, struct ms_buf bodies[FILES], bool *absent,
                                   struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < FILES && status == MS_OK; i++)
        status = download(http, base, commit, i, check, &bodies[i], absent, err);
    return status;
}

enum ms_status ms_avclass_data_fetch(const char *dir, const char *url, const char *commit,
                                     bool *verified, struct ms_error *err)
{
    const struct ms_http_options options = {.user_agent = "malseq/" MS_VERSION, .max_attempts = 3};
    struct ms_http *http = NULL;
    struct ms_buf bodies[FILES];
    bool absent = false;
    for (size_t i = 0; i < FILES; i++)
        ms_buf_init(&bodies[i], MS_LIMIT_AVCLASS_BYTES);
    url = url ? url : MS_AVCLASS_URL;
    *verified = !commit || strcmp(commit, MS_AVCLASS_COMMIT) == 0;
    enum ms_status status = ms_http_new(&options, &http, err);
    if (status == MS_OK)
        status = ms_http_trust(http, url, false, err);
    if (status == MS_OK)
        status = download_all(http, url, commit ? commit : MS_AVCLASS_COMMIT, *verified, bodies,
                              &absent, err);
    /* A server may not know the commit by its short name. The digests say whether the branch still
     * has the same files. */
    if (absent && !commit)
        status = download_all(http, url, MS_AVCLASS_BRANCH, true, bodies, &absent, err);
    if (status == MS_OK)
        status = store(dir, bodies, err);
    for (size_t i = 0; i < FILES; i++)
        ms_buf_release(&bodies[i]);
    ms_http_free(http);
    return status;
}
