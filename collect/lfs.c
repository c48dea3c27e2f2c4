/* Git LFS pointers, the batch API, and downloads of objects. Opens and stores nothing. */
#define _GNU_SOURCE
#include "collect/lfs.h"

#include "base/clock.h"
#include "base/http_url.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/span.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    POINTER_BYTES = 1024, /* the specification: a pointer is smaller */
    HEADER_BYTES = 8192,  /* name and value of one header */
    LIMIT_WAIT_MS = 60000
};

/* ---- pointers -------------------------------------------------------------------------------- */

/* A decimal number without sign and leading zeros, at most what an off_t holds. */
static bool read_size(struct ms_span text, uint64_t *out)
{
    uint64_t value = 0;
    if (!text.len || (text.data[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || !ms_mul_u64(value, 10, &value) ||
            !ms_add_u64(value, (uint64_t)(text.data[i] - '0'), &value) || value > INT64_MAX)
            return false;
    }
    *out = value;
    return true;
}

static bool read_oid(struct ms_span text, uint8_t out[MS_SHA256_BYTES])
{
    static const char kind[] = "sha256:";
    char hex[MS_HASH_HEX_MAX] = "";
    if (text.len != sizeof kind - 1 + 2 * MS_SHA256_BYTES ||
        memcmp(text.data, kind, sizeof kind - 1) != 0)
        return false;
    memcpy(hex, text.data + sizeof kind - 1, 2 * (size_t)MS_SHA256_BYTES);
    return ms_hex_decode(hex, MS_SHA256_BYTES, out);
}

bool ms_lfs_pointer_parse(const char *text, size_t n, struct ms_lfs_pointer *out)
{
    static const char first[] = "version https://git-lfs.github.com/spec/v1\n";
    unsigned oids = 0, sizes = 0;
    if (n >= POINTER_BYTES || n < sizeof first || memcmp(text, first, sizeof first - 1) != 0)
        return false;
    struct ms_span rest = ms_span_of(text + sizeof first - 1, n - (sizeof first - 1));
    while (rest.len) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        if (!end)
            return false;
        struct ms_span line = ms_span_of(rest.data, (size_t)(end - rest.data));
        const uint8_t *blank = line.len ? memchr(line.data, ' ', line.len) : NULL;
        if (!blank)
            return false;
        struct ms_span key = ms_span_of(line.data, (size_t)(blank - line.data));
        struct ms_span value = ms_span_of(blank + 1, line.len - key.len - 1);
        if (ms_span_equal_text(key, "oid") && (++oids > 1 || !read_oid(value, out->oid)))
            return false;
        if (ms_span_equal_text(key, "size") && (++sizes > 1 || !read_size(value, &out->size)))
            return false;
        rest = ms_span_of(end + 1, rest.len - line.len - 1);
    }
    return oids == 1 && sizes == 1;
}

bool ms_lfs_pointer_read(int fd, uint64_t size, struct ms_lfs_pointer *out)
{
    char text[POINTER_BYTES];
    if (size >= sizeof text)
        return false;
    ssize_t n = pread(fd, text, sizeof text, 0);
    return n > 0 && (uint64_t)n == size && ms_lfs_pointer_parse(text, (size_t)n, out);
}

/* ---- the batch ------------------------------------------------------------------------------- */

void ms_lfs_object_release(struct ms_lfs_object *self)
{
    for (size_t i = 0; i < self->header_count; i++) {
        explicit_bzero(self->headers[i], strlen(self->headers[i])); /* tokens, often */
        free(self->headers[i]);
    }
    free(self->href);
    self->href = NULL;
    self->header_count = 0;
}

static void refuse(struct ms_lfs_object *self, const char *outcome, const char *why)
{
    ms_lfs_object_release(self);
    self->outcome = outcome;
    (void)snprintf(self->reason, sizeof self->reason, "Git LFS: %s", why);
}

static char *make_body(const struct ms_lfs_object *objects, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char oid[MS_HASH_HEX_MAX];
        ms_hex_encode(objects[i].pointer.oid, MS_SHA256_BYTES, oid);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I}", "oid", oid, "size", (json_int_t)objects[i].pointer.size));
    }
    json_t *root = json_pack("{s:s, s:[s], s:s, s:o}", "operation", "download", "transfers",
                             "basic", "hash_algo", "sha256", "objects", list);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

/* Headers that steer the transport are ours to set. */
static bool may_send(const char *name)
{
    static const char *const ours[] = {"host",    "connection", "content-length",
                                       "upgrade", "te",         "transfer-encoding",
                                       "trailer", "expect",     "proxy-authorization",
                                       "range",   "keep-alive", "accept-encoding"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(name, ours[i]) == 0)
            return false;
    return n && n < 128 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

static bool is_plain(const char *value)
{
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p < ' ' || *p >= 0x7f)
            return false;
    return true;
}

static const char *take_headers(struct ms_lfs_object *self, json_t *headers)
{
    const char *name;
    json_t *value;
    json_object_foreach(headers, name, value)
    {
        char *line = NULL;
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value) || !is_plain(text) ||
            !may_send(name) || strlen(text) > HEADER_BYTES || self->header_count == MS_LFS_HEADERS)
            return "the server asks for a header that cannot be sent";
        if (asprintf(&line, "%s: %s", name, text) < 0)
            return "out of memory";
        self->headers[self->header_count++] = line;
    }
    return NULL;
}

/* Takes where one object is, or why it is nowhere. */
static void take_action(const struct ms_lfs *self, struct ms_lfs_object *object, const json_t *item)
{
    const json_t *error = json_object_get(item, "error");
    const char *href = ms_json_string_at(item, "actions.download.href", "");
    json_t *headers = ms_json_at(item, "actions.download.header");
    char shown[120];
    char why[180];
    if (json_is_object(error)) {
        int64_t code = ms_json_int_at(error, "code", 0);
        (void)snprintf(why, sizeof why, "%lld: %s", (long long)code,
                       ms_escape_text(ms_json_string_at(error, "message", "no reason given"), shown,
                                      sizeof shown));
        refuse(object, code >= 500 && code != 507 && code != 509 ? "error" : "lfs_pointer", why);
        return;
    }
    struct ms_url *url = malloc(sizeof *url);
    if (!url || ms_url_parse(href, url, NULL) != MS_OK) {
        refuse(object, "lfs_pointer", "the server names no place for the file");
    } else if (!url->https && strcmp(url->origin, self->origin) != 0) {
        refuse(object, "lfs_pointer", "the server names a place that is not https");
    } else {
        const char *bad = take_headers(object, headers);
        object->href = bad ? NULL : strdup(href);
        if (bad || !object->href)
            refuse(object, "lfs_pointer", bad ? bad : "out of memory");
        else
            object->outcome = NULL;
    }
    free(url);
}

static void read_answer(const struct ms_lfs *self, const struct ms_http_response *response,
                        struct ms_lfs_object *objects, size_t count)
{
    json_t *root = NULL;
    size_t index;
    json_t *item;
    for (size_t i = 0; i < count; i++)
        refuse(&objects[i], "error", "the server's answer does not mention the file");
    if (ms_json_parse(response->body.data, response->body.len, &root, NULL) != MS_OK)
        return;
    json_array_foreach(json_object_get(root, "objects"), index, item)
    {
        uint8_t oid[MS_SHA256_BYTES];
        if (!ms_hex_decode(ms_json_string_at(item, "oid", ""), MS_SHA256_BYTES, oid))
            continue;
        for (size_t i = 0; i < count; i++)
            if (!objects[i].href && memcmp(objects[i].pointer.oid, oid, sizeof oid) == 0)
                take_action(self, &objects[i], item);
    }
    json_decref(root);
}

/* An answer that concerns the whole batch. 507 and 509: the owner's storage or bandwidth is spent.
 */
static enum ms_status read_refusal(const struct ms_http_response *response,
                                   struct ms_lfs_object *objects, size_t count,
                                   struct ms_error *err)
{
    int code = response->status;
    char why[160];
    char shown[100] = "";
    json_t *root = NULL;
    if (code == 429) {
        (void)ms_error_set(err, MS_E_LATER,
                           "the rate limit of Git LFS is reached; what was collected is kept");
        if (err)
            err->resume_at_ms =
                ms_clock_wall_ms() +
                (response->retry_after_ms >= 0 ? response->retry_after_ms : LIMIT_WAIT_MS);
        return MS_E_LATER;
    }
    if (ms_json_parse(response->body.data, response->body.len, &root, NULL) == MS_OK)
        (void)ms_escape_text(ms_json_string_at(root, "message", ""), shown, sizeof shown);
    json_decref(root);
    (void)snprintf(why, sizeof why, "HTTP %d%s%s", code, shown[0] ? ": " : "", shown);
    bool passes = code < 400 || (code >= 500 && code != 501 && code != 507 && code != 509);
    for (size_t i = 0; i < count; i++)
        refuse(&objects[i], passes ? "error" : "lfs_pointer", why);
    return MS_OK;
}

enum ms_status ms_lfs_ask(const struct ms_lfs *self, struct ms_lfs_object *objects, size_t count,
                          struct ms_error *err)
{
    static const char *const headers[] = {"Accept: application/vnd.git-lfs+json",
                                          "Content-Type: application/vnd.git-lfs+json"};
    char url[MS_LIMIT_URL_BYTES];
    struct ms_error why = {MS_OK, 0, ""};
    struct ms_http_response response;
    char *body = make_body(objects, count);
    if (!body)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    (void)snprintf(url, sizeof url, "%s/objects/batch", self->url);
    struct ms_http_request request = {.method = "POST",
                                      .url = url,
                                      .peer = MS_HTTP_PEER_PUBLIC,
                                      .headers = headers,
                                      .header_count = 2,
                                      .body = body,
                                      .body_bytes = strlen(body),
                                      .idempotent = true,
                                      .follow_redirects = true,
                                      .ask_gzip = true};
    ms_http_response_init(&response);
    enum ms_status status = ms_http_perform(self->http, &request, &response, &why);
    if (status == MS_OK && response.status == 200) {
        read_answer(self, &response, objects, count);
    } else if (status == MS_OK) {
        status = read_refusal(&response, objects, count, err);
    } else if (status == MS_E_REMOTE || status == MS_E_LIMIT || status == MS_REJECT) {
        for (size_t i = 0; i < count; i++)
            refuse(&objects[i], "error", why.text);
        status = MS_OK;
    } else if (err) {
        *err = why;
    }
    ms_http_response_release(&response);
    free(body);
    return status;
}

/* ---- one object ------------------------------------------------------------------------------ */

bool ms_lfs_is_content(int fd, const struct ms_lfs_pointer *want)
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    uint8_t block[64 << 10];
    uint64_t done = 0;
    ssize_t n;
    if (ms_hasher_new(MS_HASH_SHA256, &hasher, NULL) != MS_OK)
        return false;
    while ((n = pread(fd, block, sizeof block, (off_t)done)) > 0) {
        ms_hasher_update(hasher, block, (size_t)n);
        done += (uint64_t)n;
    }
    bool good = ms_hasher_finish(hasher, &digests, NULL) == MS_OK && done == want->size &&
                memcmp(digests.sha256, want->oid, MS_SHA256_BYTES) == 0;
    ms_hasher_free(hasher);
    return good;
}

enum ms_status ms_lfs_fetch(const struct ms_lfs *self, const struct ms_lfs_object *object, int fd,
                            const char **outcome, struct ms_error *err)
{
    struct ms_error why = {MS_OK, 0, ""};
    struct ms_http_response response;
    struct ms_http_request request = {.method = "GET",
                                      .url = object->href,
                                      .peer = MS_HTTP_PEER_PUBLIC,
                                      .headers = (const char *const *)object->headers,
                                      .header_count = object->header_count,
                                      .idempotent = true,
                                      .follow_redirects = true,
                                      /* one more than is due shows a body that is too long */
                                      .max_body_bytes = object->pointer.size + 1,
                                      .sink_fd = fd};
    ms_http_response_init(&response);
    *outcome = "error";
    enum ms_status status = ms_http_perform(self->http, &request, &response, &why);
    int code = response.status;
    ms_http_response_release(&response);
    if (status == MS_E_LIMIT ||
        (status == MS_OK && code == 200 && !ms_lfs_is_content(fd, &object->pointer))) {
        *outcome = "mismatch";
        return ms_error_set(err, MS_REJECT,
                            "Git LFS: the bytes received are not those of the file");
    }
    if (status == MS_E_REMOTE || status == MS_REJECT)
        return ms_error_set(err, MS_REJECT, "Git LFS: %s", why.text);
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    if (code != 200) {
        *outcome = code == 404 || code == 410 ? "lfs_pointer" : "error";
        return ms_error_set(err, MS_REJECT, "Git LFS: HTTP %d", code);
    }
    return MS_OK;
}
