/* Hashes out of a small document beside a report. Calls are not its business. */
#include "extract/report/metadata.h"

#include <string.h>

enum { FIELD_BYTES = 512, DEPTH_MAX = 2 };

struct field {
    size_t len;
    uint8_t bytes[FIELD_BYTES];
};

struct metadata {
    struct ms_scanner *scan;
    struct field sha256, sha1, md5, name;
    bool cuckoo;
};

static struct field *field_of(struct metadata *self, struct ms_span key, unsigned depth)
{
    if (ms_span_equal_text(key, "sample_sha256"))
        return &self->sha256;
    if (ms_span_equal_text(key, "file_name"))
        return &self->name;
    if (!depth)
        return NULL;
    if (ms_span_equal_text(key, "sha256"))
        return &self->sha256;
    if (ms_span_equal_text(key, "sha1"))
        return &self->sha1;
    if (ms_span_equal_text(key, "md5"))
        return &self->md5;
    return ms_span_equal_text(key, "name") ? &self->name : NULL;
}

static bool holds_sample(struct ms_span key)
{
    return ms_span_equal_text(key, "file") || ms_span_equal_text(key, "sample") ||
           ms_span_equal_text(key, "target");
}

static enum ms_status read_object(struct metadata *self, unsigned depth, struct ms_error *err);

static enum ms_status read_member(struct metadata *self, struct ms_span key, unsigned depth,
                                  struct ms_error *err)
{
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    struct field *field = field_of(self, key, depth);
    bool inside = holds_sample(key) && depth < DEPTH_MAX;
    self->cuckoo =
        self->cuckoo || ms_span_equal_text(key, "sample") || ms_span_equal_text(key, "added_on");
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (inside && kind == MS_SCAN_OBJECT)
        return read_object(self, depth + 1, err);
    if (!field || kind != MS_SCAN_STRING)
        return ms_scanner_skip(self->scan, err);
    status = ms_scanner_text(self->scan, &text, err);
    if (status != MS_OK)
        return status;
    field->len = text.bytes.len < sizeof field->bytes ? text.bytes.len : sizeof field->bytes;
    if (field->len)
        memcpy(field->bytes, text.bytes.data, field->len);
    return MS_OK;
}

static enum ms_status read_object(struct metadata *self, unsigned depth, struct ms_error *err)
{
    enum ms_status status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct ms_scanner_text key;
        bool more;
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        status = read_member(self, key.bytes, depth, err);
    }
    return status;
}

static struct ms_span view(const struct field *field)
{
    return ms_span_of(field->bytes, field->len);
}

enum ms_status ms_metadata_read(ms_scanner_source source, void *source_ctx,
                                const struct ms_trace_sink *sink, struct ms_error *err)
{
    struct metadata self = {.scan = NULL};
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_new(source, source_ctx, 0, &self.scan, err);
    if (status == MS_OK)
        status = ms_scanner_peek(self.scan, &kind, err);
    if (status == MS_OK && kind != MS_SCAN_OBJECT)
        status = ms_scanner_fault(self.scan, "no object", err);
    if (status == MS_OK)
        status = read_object(&self, 0, err);
    if (status == MS_OK)
        status = ms_scanner_finish(self.scan, err);
    const char *sandbox = self.cuckoo ? "cuckoo2" : "drakvuf";
    const struct ms_report_info info = {.sandbox = ms_span_of(sandbox, strlen(sandbox)),
                                        .target_sha256 = view(&self.sha256),
                                        .target_sha1 = view(&self.sha1),
                                        .target_md5 = view(&self.md5),
                                        .target_name = view(&self.name)};
    if (status == MS_OK)
        status = sink->info(sink->ctx, &info, err);
    ms_scanner_free(self.scan);
    return status;
}
