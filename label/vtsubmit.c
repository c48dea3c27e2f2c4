/* New analyses and uploads, as requests. */
#include "label/vtsubmit.h"

#include "base/json.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

/* A slow line moves 64 kB/s. Behind the last byte of a large file the service is silent while it
 * takes it in: a stall there must not pass for a lost upload. */
enum { UPLOAD_BYTES_A_SECOND = 65536, UPLOAD_BASE_MS = 240000, UPLOAD_STALL_MS = 180000 };

/* 200 with {"data": {"type": "analysis", "id": …}}, or 409: taken. */
static void judge_taken(struct ms_vt_answer *out)
{
    json_t *root = NULL;
    if (out->status == 409 && strcmp(out->code, "AlreadyExistsError") == 0) {
        out->outcome = MS_VT_FOUND;
        return;
    }
    if (out->status == 413)
        out->outcome = MS_VT_BAD_HASH;
    if (out->outcome != MS_VT_FOUND)
        return;
    bool descriptor = ms_json_parse(out->body.data, out->body.len, &root, NULL) == MS_OK &&
                      ms_json_string_at(root, "data.id", "")[0];
    json_decref(root);
    if (descriptor)
        return;
    out->outcome = MS_VT_TRANSIENT;
    (void)snprintf(out->why, sizeof out->why, "the answer is not the descriptor of an analysis");
}

enum ms_status ms_vt_analyse(struct ms_vt *self, const char *hash, struct ms_vt_answer *out,
                             struct ms_error *err)
{
    char path[160];
    const struct ms_vt_call call = {.method = "POST", .path = path};
    (void)snprintf(path, sizeof path, "/files/%s/analyse", hash);
    enum ms_status status = ms_vt_send(self, &call, out, err);
    if (status == MS_OK)
        judge_taken(out);
    return status;
}

/* "www.virustotal.com" belongs to the site "virustotal.com". Without the list of public suffixes no
 * other label can be dropped safely: "vt.example.co.uk" is its own site. */
static const char *site_of(const char *host)
{
    const char *rest = strncmp(host, "www.", 4) == 0 ? host + 4 : host;
    return strchr(rest, '.') ? rest : host;
}

bool ms_vt_may_upload_to(const struct ms_url *base, const struct ms_url *to)
{
    if (strcmp(base->origin, to->origin) == 0)
        return true;
    if (!base->https || !to->https || base->port != to->port || base->loopback || to->loopback)
        return false;
    const char *site = site_of(base->host);
    size_t n = strlen(site), m = strlen(to->host);
    if (m == n)
        return strcmp(site, to->host) == 0;
    return m > n && to->host[m - n - 1] == '.' && strcmp(to->host + (m - n), site) == 0;
}

/* The URL in a 200's body; *fault when there is none that may be used. */
static enum ms_status read_url(const struct ms_vt *self, struct ms_span body, struct ms_url *out,
                               struct ms_error *fault)
{
    struct ms_url base;
    json_t *root = NULL;
    enum ms_status status = ms_json_parse(body.data, body.len, &root, fault);
    if (status == MS_OK)
        status = ms_url_parse(ms_json_string_at(root, "data", ""), out, fault);
    json_decref(root);
    if (status == MS_OK)
        status = ms_url_parse(ms_vt_base(self), &base, fault);
    if (status == MS_OK && !ms_vt_may_upload_to(&base, out))
        status = ms_error_set(fault, MS_REJECT, "it leads to %s, which is not %s", out->origin,
                              base.origin);
    return status;
}

enum ms_status ms_vt_upload_url(struct ms_vt *self, struct ms_url *url, struct ms_vt_answer *out,
                                struct ms_error *err)
{
    const struct ms_vt_call call = {.method = "GET", .path = "/files/upload_url"};
    struct ms_error fault = {0};
    enum ms_status status = ms_vt_send(self, &call, out, err);
    if (status != MS_OK || out->outcome != MS_VT_FOUND)
        return status;
    if (read_url(self, out->body, url, &fault) != MS_OK) {
        out->outcome = MS_VT_BAD_HASH;
        (void)snprintf(out->why, sizeof out->why, "the upload URL cannot be used: %.200s",
                       fault.text);
    }
    return MS_OK;
}

enum ms_status ms_vt_upload(struct ms_vt *self, const struct ms_url *url, int fd, uint64_t bytes,
                            const char *name, struct ms_vt_answer *out, struct ms_error *err)
{
    const struct ms_http_part part = {
        .name = "file", .fd = fd, .fd_bytes = bytes, .filename = name};
    const struct ms_vt_call call = {
        .method = "POST",
        .path = "/files",
        .url = url ? url->text : NULL,
        .parts = &part,
        .part_count = 1,
        .timeout_ms = (uint32_t)(UPLOAD_BASE_MS + bytes / UPLOAD_BYTES_A_SECOND * 1000),
        .stall_ms = UPLOAD_STALL_MS};
    if (bytes > MS_LIMIT_UPLOAD_BYTES)
        return ms_error_set(err, MS_E_BUG, "an upload of too many bytes");
    enum ms_status status = ms_vt_send(self, &call, out, err);
    if (status == MS_OK)
        judge_taken(out);
    return status;
}
