/* The list of releases, their assets as entries of a crawl, and downloads. Opens nothing itself. */
#include "collect/releases.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/lfs.h"
#include "collect/source.h"
#include "store/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No name of a branch: a colon is in none. */
#define RELEASES_REF ":releases"

enum { A_PAGE = 100 };

struct asset {
    uint8_t key[MS_SHA1_BYTES];
    int64_t id;
    bool has_sha256;
    struct ms_lfs_pointer content;
};

struct releases {
    struct ms_collect *session;
    struct ms_github *github;
    const struct ms_releases_repo *repo;
    struct ms_origin origin;
    bool claims_changed;
    struct ms_entries *entries; /* of the list; NULL while it is only looked up */
    struct asset *assets;       /* sorted by key once loaded */
    size_t count, cap;
    bool loaded;
    char etag[MS_GITHUB_ETAG_BYTES]; /* of the list as it is now; "": none that stands for it all */
    enum ms_github_answer answer;
    char reason[256];
};

/* ---- the list -------------------------------------------------------------------------------- */

/* What the blob row of an asset goes by. */
static enum ms_status key_of(const struct releases *self, const json_t *item, struct asset *asset,
                             struct ms_error *err)
{
    char text[512];
    char hex[MS_HASH_HEX_MAX];
    ms_hex_encode(asset->content.oid, MS_SHA256_BYTES, hex);
    int n = asset->has_sha256
                ? snprintf(text, sizeof text,
                           "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %llu\n",
                           hex, (unsigned long long)asset->content.size)
                : snprintf(text, sizeof text, "asset %.200s %lld %.64s %llu", self->github->web,
                           (long long)asset->id, ms_json_string_at(item, "updated_at", ""),
                           (unsigned long long)asset->content.size);
    if (n < 0 || (size_t)n >= sizeof text || ms_hash_git_blob(text, (size_t)n, asset->key) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    return MS_OK;
}

static enum ms_status keep_asset(struct releases *self, const struct asset *asset,
                                 struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        struct asset *grown = realloc(self->assets, cap * sizeof *grown);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->assets = grown;
        self->cap = cap;
    }
    self->assets[self->count++] = *asset;
    return MS_OK;
}

/* One asset of a release; what has no id, name or size, or is not uploaded whole, is passed over.
 */
static enum ms_status add_asset(struct releases *self, const json_t *tag, const json_t *item,
                                struct ms_error *err)
{
    static const char kind[] = "sha256:";
    const json_t *name = json_object_get(item, "name");
    const char *digest = ms_json_string_at(item, "digest", "");
    int64_t size = ms_json_int_at(item, "size", -1);
    struct asset asset = {.id = ms_json_int_at(item, "id", 0), .content.size = (uint64_t)size};
    struct ms_buf path;
    if (asset.id <= 0 || size < 0 || !json_is_string(name) || !json_string_length(name) ||
        strcmp(ms_json_string_at(item, "state", "uploaded"), "uploaded") != 0)
        return MS_OK;
    asset.has_sha256 = strncmp(digest, kind, sizeof kind - 1) == 0 &&
                       ms_hex_decode(digest + sizeof kind - 1, MS_SHA256_BYTES, asset.content.oid);
    ms_buf_init(&path, MS_LIMIT_NAME_BYTES);
    (void)ms_buf_append_text(&path, "releases/");
    (void)ms_buf_append(&path, json_string_value(tag), json_string_length(tag));
    (void)ms_buf_append_byte(&path, '/');
    (void)ms_buf_append(&path, json_string_value(name), json_string_length(name));
    enum ms_status status = MS_OK;
    if (!path.failed) {
        status = key_of(self, item, &asset, err);
        if (status == MS_OK)
            status = keep_asset(self, &asset, err);
        if (status == MS_OK && self->entries)
            status = ms_entries_add(self->entries, ms_span_of(path.data, path.len), asset.key, size,
                                    err);
    }
    ms_buf_release(&path);
    return status;
}

static enum ms_status add_release(struct releases *self, const json_t *release,
                                  struct ms_error *err)
{
    const json_t *tag = json_object_get(release, "tag_name");
    enum ms_status status = MS_OK;
    size_t index;
    json_t *item;
    if (!json_is_string(tag) || json_is_true(json_object_get(release, "draft")))
        return MS_OK;
    json_array_foreach(json_object_get(release, "assets"), index, item)
    {
        status = add_asset(self, tag, item, err);
        if (status != MS_OK)
            break;
    }
    return status;
}

/* One page. *more: it was full. */
static enum ms_status load_page(struct releases *self, unsigned page, const char *etag, bool *more,
                                struct ms_error *err)
{
    char path[256];
    struct ms_http_response response;
    json_t *root = NULL;
    size_t index;
    json_t *release;
    *more = false;
    (void)snprintf(path, sizeof path, "/repos/%s/releases?per_page=%d&page=%u", self->repo->name,
                   A_PAGE, page);
    struct ms_github_request request = {.path = path, .etag = page == 1 ? etag : NULL};
    ms_http_response_init(&response);
    enum ms_status status =
        ms_github_get(self->github, &request, &response, &self->answer, self->reason, err);
    /* What these would say of a commit they cannot say of releases. */
    if (self->answer == MS_GITHUB_EMPTY || self->answer == MS_GITHUB_NO_REF)
        self->answer = MS_GITHUB_ERROR;
    if (status == MS_OK && self->answer == MS_GITHUB_OK &&
        (ms_json_parse(response.body.data, response.body.len, &root, NULL) != MS_OK ||
         !json_is_array(root))) {
        self->answer = MS_GITHUB_ERROR;
        (void)snprintf(self->reason, sizeof self->reason, "the answer is no list of releases");
    }
    if (status == MS_OK && self->answer == MS_GITHUB_OK) {
        *more = json_array_size(root) >= A_PAGE;
        self->etag[0] = '\0';
        /* The validator of one page says nothing of the others. */
        if (page == 1 && !*more)
            (void)ms_http_header(&response, "etag", self->etag, sizeof self->etag);
        if (strlen(self->etag) == sizeof self->etag - 1)
            self->etag[0] = '\0'; /* cut: no validator */
        json_array_foreach(root, index, release)
        {
            status = add_release(self, release, err);
            if (status != MS_OK)
                break;
        }
    }
    json_decref(root);
    ms_http_response_release(&response);
    return status;
}

static int by_key(const void *a, const void *b)
{
    return memcmp(((const struct asset *)a)->key, ((const struct asset *)b)->key, MS_SHA1_BYTES);
}

static enum ms_status load_list(struct releases *self, const char *etag, struct ms_error *err)
{
    bool more = true;
    enum ms_status status = MS_OK;
    self->count = 0;
    for (unsigned page = 1; more && status == MS_OK; page++) {
        if (page > MS_LIMIT_RELEASE_PAGES) {
            ms_log(MS_LOG_WARNING, "%s has more than %d releases; the oldest are left out",
                   self->repo->listed, MS_LIMIT_RELEASE_PAGES * A_PAGE);
            break;
        }
        status = load_page(self, page, etag, &more, err);
        more = more && self->answer == MS_GITHUB_OK;
    }
    if (status == MS_OK && self->answer == MS_GITHUB_OK) {
        if (self->count)
            qsort(self->assets, self->count, sizeof *self->assets, by_key);
        self->loaded = true;
    }
    return status;
}

/* ---- downloads ------------------------------------------------------------------------------- */

static const struct asset *find_asset(const struct releases *self, const struct ms_entry *entry)
{
    struct asset wanted;
    if (!self->loaded || !self->count)
        return NULL;
    memcpy(wanted.key, entry->git_id, sizeof wanted.key);
    return bsearch(&wanted, self->assets, self->count, sizeof wanted, by_key);
}

static const uint8_t *sha256_of(void *ctx, const struct ms_entry *entry)
{
    const struct asset *asset = find_asset(ctx, entry);
    return asset && asset->has_sha256 ? asset->content.oid : NULL;
}

static enum ms_status download(struct releases *self, const struct asset *asset, int fd,
                               const char **outcome, struct ms_error *err)
{
    char path[256];
    char reason[256];
    enum ms_github_answer answer = MS_GITHUB_ERROR;
    struct ms_http_response response;
    (void)snprintf(path, sizeof path, "/repos/%s/releases/assets/%lld", self->repo->name,
                   (long long)asset->id);
    struct ms_github_request request = {.path = path,
                                        .accept = "application/octet-stream",
                                        .sink_fd = fd,
                                        .max_bytes = asset->content.size + 1};
    ms_http_response_init(&response);
    enum ms_status status = ms_github_get(self->github, &request, &response, &answer, reason, err);
    uint64_t got = response.body_bytes;
    ms_http_response_release(&response);
    if (status != MS_OK)
        return status;
    if (answer == MS_GITHUB_LIMITED)
        return MS_E_LATER;
    if (answer != MS_GITHUB_OK) {
        *outcome = answer == MS_GITHUB_GONE ? "gone" : "error";
        return ms_error_set(err, MS_REJECT, "%s", reason);
    }
    if (got != asset->content.size ||
        (asset->has_sha256 && !ms_lfs_is_content(fd, &asset->content))) {
        *outcome = "mismatch";
        return ms_error_set(err, MS_REJECT, "the bytes received are not those of the asset");
    }
    return MS_OK;
}

static enum ms_status fetch_asset(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                  const char **outcome, struct ms_error *err)
{
    struct releases *self = ctx;
    enum ms_status status = MS_OK;
    *outcome = "error";
    /* The tree of the last time names no ids: the list is needed after all. */
    if (!self->loaded) {
        self->entries = NULL;
        status = load_list(self, NULL, err);
        if (status == MS_OK && self->answer == MS_GITHUB_LIMITED)
            return MS_E_LATER;
        if (status == MS_OK && self->answer != MS_GITHUB_OK)
            return ms_error_set(err, MS_REJECT, "%s", self->reason);
    }
    const struct asset *asset = find_asset(self, entry);
    if (status == MS_OK && !asset) {
        *outcome = "gone";
        return ms_error_set(err, MS_REJECT, "no release has this file any more");
    }
    if (status == MS_OK)
        status = ms_file_memory("asset", fd, err);
    if (status == MS_OK)
        status = download(self, asset, *fd, outcome, err);
    ms_step("collect.releases.fetched");
    if (status == MS_OK) {
        *size = asset->content.size;
    } else if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return status;
}

/* ---- the origin ------------------------------------------------------------------------------ */

/* The list was not to be had. */
static enum ms_status give_up(struct releases *self, struct ms_error *err)
{
    struct ms_error limited = {MS_OK, 0, ""};
    const char *state = ms_github_state(self->answer);
    bool later = self->answer == MS_GITHUB_LIMITED;
    if (later)
        limited = *err;
    enum ms_status status = ms_source_save(self->session, &self->origin, state, self->reason, err);
    if (status != MS_OK)
        return status;
    if (later) {
        *err = limited;
        return MS_E_LATER;
    }
    self->session->counts.origins_failed++;
    self->session->remote_failed |= self->answer == MS_GITHUB_ERROR;
    (void)snprintf(self->reason + strlen(self->reason), sizeof self->reason - strlen(self->reason),
                   "; its releases");
    return ms_collect_tell_failure(self->session, self->repo->listed, ms_span_of(NULL, 0), NULL,
                                   state, self->reason, err);
}

static enum ms_status take_in(struct releases *self, const struct ms_entries *entries,
                              bool unchanged, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    uint64_t opened = session->counts.opened;
    struct ms_crawl crawl = {.origin = self->origin.id,
                             .name = self->repo->listed,
                             .claim = self->repo->claim,
                             .private_ = self->repo->private_,
                             .max_blob_bytes = MS_LIMIT_LFS_BYTES,
                             .fetch = fetch_asset,
                             .fetch_ctx = self,
                             .sha256_of = sha256_of};
    enum ms_status status = ms_crawl_files(session, &crawl, entries, err);
    struct ms_origin row = self->origin;
    row.reason = NULL;
    if (status == MS_E_LATER) {
        struct ms_error limited = *err;
        row.validator = NULL; /* the list was not gone through */
        status = ms_source_save(session, &row, "limited", limited.text, err);
        *err = limited;
        return status == MS_OK ? MS_E_LATER : status;
    }
    row.state = crawl.incomplete ? "partial" : "ok";
    if (crawl.incomplete)
        row.validator = NULL;
    else if (!unchanged)
        row.validator = self->etag[0] ? self->etag : NULL;
    if (status == MS_OK && unchanged && !crawl.incomplete && session->counts.opened == opened)
        return ms_source_save(session, &row, row.state, NULL, err);
    row.checked_ms = ms_clock_wall_ms();
    return status == MS_OK ? ms_crawl_finish(session, &crawl, entries, &row, err) : status;
}

static enum ms_status run(struct releases *self, struct ms_entries *entries, struct ms_error *err)
{
    /* New claims must reach the sightings, and what was not to be had is tried again. */
    bool fresh = self->claims_changed || !self->origin.validator || !self->origin.state ||
                 strcmp(self->origin.state, "ok") != 0;
    enum ms_status status = load_list(self, fresh ? NULL : self->origin.validator, err);
    ms_step("collect.releases.listed");
    if (status != MS_OK)
        return status;
    bool unchanged = !fresh && self->answer == MS_GITHUB_UNCHANGED;
    if (unchanged)
        status = ms_crawl_last_tree(self->session, self->origin.id, entries, err);
    else if (self->answer != MS_GITHUB_OK)
        return give_up(self, err);
    ms_entries_sort(entries);
    return status == MS_OK ? take_in(self, entries, unchanged, err) : status;
}

enum ms_status ms_releases_collect(struct ms_collect *session, struct ms_github *github,
                                   const struct ms_releases_repo *repo, struct ms_error *err)
{
    struct ms_entries entries;
    struct releases self = {
        .session = session, .github = github, .repo = repo, .entries = &entries};
    ms_entries_init(&entries);
    const struct ms_origin row = {.kind = "github",
                                  .name = repo->listed,
                                  .ref = RELEASES_REF,
                                  .claim = repo->claim,
                                  .private_ = repo->private_};
    enum ms_status status = ms_source_open(session, &row, &self.origin, &self.claims_changed, err);
    if (status == MS_OK)
        status = run(&self, &entries, err);
    ms_entries_release(&entries);
    ms_origin_release(&self.origin);
    free(self.assets);
    return status;
}
