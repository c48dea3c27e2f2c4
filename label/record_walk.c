/* The way through an antivirus report: one pass over the document, whatever its format and the
 * order of its members. Of a member that occurs twice the last counts, so that each begins with
 * forgetting what it said before. Chooses no format. */
#include "label/record_private.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_TAGS = 32 };

static enum ms_status read_tags(struct ms_record_reader *self, size_t list, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    bool more = false;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    self->tag_count[list] = 0;
    if (status != MS_OK)
        return status;
    self->tags_kind[list] = ms_record_kind_of(kind);
    if (kind != MS_SCAN_ARRAY)
        return ms_scanner_skip(self->scan, err);
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        if (self->tag_count[list] == self->tag_cap[list]) {
            size_t cap = self->tag_cap[list] ? 2 * self->tag_cap[list] : FIRST_TAGS;
            struct ms_record_text *tags = realloc(self->tags[list], cap * sizeof *tags);
            if (!tags)
                return ms_record_no_memory(err);
            self->tags[list] = tags;
            self->tag_cap[list] = cap;
        }
        status = ms_record_take_text(self, &self->tags[list][self->tag_count[list]++], err);
    }
    return status;
}

/* The popular category with the highest count; the list is sorted, but nothing promises it. */
struct popular {
    struct ms_record_text value;
    int64_t count;
};

static enum ms_status popular_member(struct ms_record_reader *self,
                                     const struct ms_scanner_text *key, void *ctx,
                                     struct ms_error *err)
{
    struct popular *item = ctx;
    if (IS(*key, "value"))
        return ms_record_take_text(self, &item->value, err);
    return IS(*key, "count") ? ms_record_take_integer(self, 0, &item->count, err) : MS_OK;
}

static enum ms_status read_popular(struct ms_record_reader *self, struct ms_record_text *out,
                                   struct ms_error *err)
{
    enum ms_scanner_kind kind;
    enum ms_record_kind item_kind;
    int64_t most = -1;
    bool more = false;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    *out = (struct ms_record_text){0};
    if (status != MS_OK || kind != MS_SCAN_ARRAY)
        return status != MS_OK ? status : ms_scanner_skip(self->scan, err);
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        struct popular item = {0};
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = ms_record_each_member(self, popular_member, &item, &item_kind, err);
        if (item.value.at && item.count > most) {
            most = item.count;
            *out = item.value;
        }
    }
    return status;
}

static enum ms_status classification_member(struct ms_record_reader *self,
                                            const struct ms_scanner_text *key, void *ctx,
                                            struct ms_error *err)
{
    struct ms_record_part *part = ctx;
    if (IS(*key, "suggested_threat_label"))
        return ms_record_take_text(self, &part->suggested, err);
    return IS(*key, "popular_threat_category") ? read_popular(self, &part->category, err) : MS_OK;
}

static enum ms_status trusted_member(struct ms_record_reader *self,
                                     const struct ms_scanner_text *key, void *ctx,
                                     struct ms_error *err)
{
    struct ms_record_part *part = ctx;
    struct ms_record_text word;
    if (!IS(*key, "verdict"))
        return MS_OK;
    enum ms_status status = ms_record_take_text(self, &word, err);
    if (status == MS_OK)
        part->goodware = word.at && ms_span_equal_text(ms_span_of(word.at, word.len), "goodware");
    return status;
}

/* Members that several formats have at their place. *taken false: it is none of them. */
static enum ms_status common_member(struct ms_record_reader *self,
                                    const struct ms_scanner_text *key, struct ms_record_part *part,
                                    bool *taken, struct ms_error *err)
{
    *taken = true;
    if (IS(*key, "md5"))
        return ms_record_take_text(self, &part->md5, err);
    if (IS(*key, "sha1"))
        return ms_record_take_text(self, &part->sha1, err);
    if (IS(*key, "sha256"))
        return ms_record_take_text(self, &part->sha256, err);
    if (IS(*key, "size") || IS(*key, "file_size")) {
        enum ms_status status = ms_record_take_integer(self, -1, &part->size, err);
        if (part->size < 0)
            part->size = -1;
        return status;
    }
    *taken = false;
    return MS_OK;
}

static enum ms_status attributes_member(struct ms_record_reader *self,
                                        const struct ms_scanner_text *key, void *ctx,
                                        struct ms_error *err)
{
    struct ms_record_part *part = ctx;
    enum ms_record_kind kind;
    bool taken;
    enum ms_status status = common_member(self, key, part, &taken, err);
    if (taken)
        return status;
    if (IS(*key, "last_analysis_results"))
        return ms_record_read_vt3(self, err);
    if (IS(*key, "tags"))
        return read_tags(self, 0, err);
    if (IS(*key, "first_submission_date"))
        return ms_record_take_seconds(self, &part->first_ms, err);
    if (IS(*key, "last_analysis_date"))
        return ms_record_take_seconds(self, &part->last_ms, err);
    if (IS(*key, "popular_threat_classification")) {
        part->category = part->suggested = (struct ms_record_text){0};
        return ms_record_each_member(self, classification_member, part, &kind, err);
    }
    if (IS(*key, "trusted_verdict")) {
        part->goodware = false;
        return ms_record_each_member(self, trusted_member, part, &kind, err);
    }
    if (IS(*key, "nsrl_info")) {
        enum ms_scanner_kind found;
        status = ms_scanner_peek(self->scan, &found, err);
        part->in_nsrl = status == MS_OK && found == MS_SCAN_OBJECT;
        return status;
    }
    return MS_OK;
}

/* Forgets a part but for the names around it. */
static void reset_part(struct ms_record_part *part)
{
    *part = (struct ms_record_part){.size = -1, .response_code = MS_RECORD_NO_RESPONSE};
}

static enum ms_status read_attributes(struct ms_record_reader *self, struct ms_error *err)
{
    struct ms_record_part *part = &self->vt3;
    const struct ms_record_text id = part->id, type = part->type;
    reset_part(part);
    part->id = id;
    part->type = type;
    self->vt3_rows.kind = MS_RECORD_ABSENT;
    self->vt3_rows.count = 0;
    self->tags_kind[0] = MS_RECORD_ABSENT;
    self->tag_count[0] = 0;
    return ms_record_each_member(self, attributes_member, part, &part->kind, err);
}

/* A v3 object: the document itself, or its "data". */
static enum ms_status object_member(struct ms_record_reader *self,
                                    const struct ms_scanner_text *key, void *ctx,
                                    struct ms_error *err)
{
    (void)ctx;
    if (IS(*key, "attributes"))
        return read_attributes(self, err);
    if (IS(*key, "id"))
        return ms_record_take_text(self, &self->vt3.id, err);
    return IS(*key, "type") ? ms_record_take_text(self, &self->vt3.type, err) : MS_OK;
}

static enum ms_status read_data(struct ms_record_reader *self, struct ms_error *err)
{
    enum ms_record_kind kind;
    enum ms_scanner_kind found;
    enum ms_status status = ms_scanner_peek(self->scan, &found, err);
    self->has_data = true;
    self->listed = (struct ms_span){0};
    reset_part(&self->vt3);
    self->vt3_rows.kind = MS_RECORD_ABSENT;
    self->tags_kind[0] = MS_RECORD_ABSENT;
    if (status != MS_OK)
        return status;
    size_t from = (size_t)ms_scanner_byte(self->scan);
    status = ms_record_each_member(self, object_member, NULL, &kind, err);
    if (status == MS_OK && found == MS_SCAN_ARRAY)
        self->listed =
            ms_span_of(self->document.data + from, (size_t)ms_scanner_byte(self->scan) - from);
    return status;
}

static enum ms_status scan_results_member(struct ms_record_reader *self,
                                          const struct ms_scanner_text *key, void *ctx,
                                          struct ms_error *err)
{
    (void)ctx;
    if (IS(*key, "scan_details"))
        return ms_record_read_opswat(self, err);
    return IS(*key, "start_time") ? ms_record_take_date(self, &self->opswat.last_ms, err) : MS_OK;
}

static enum ms_status file_info_member(struct ms_record_reader *self,
                                       const struct ms_scanner_text *key, void *ctx,
                                       struct ms_error *err)
{
    bool taken;
    return common_member(self, key, ctx, &taken, err);
}

static enum ms_status opswat_member(struct ms_record_reader *self,
                                    const struct ms_scanner_text *key, struct ms_error *err)
{
    struct ms_record_part *part = &self->opswat;
    enum ms_record_kind kind;
    if (IS(*key, "scan_results")) {
        self->opswat_rows.kind = MS_RECORD_ABSENT;
        self->opswat_rows.count = 0;
        part->last_ms = 0;
        return ms_record_each_member(self, scan_results_member, NULL, &part->kind, err);
    }
    part->sha256 = part->sha1 = part->md5 = (struct ms_record_text){0};
    part->size = -1;
    return ms_record_each_member(self, file_info_member, part, &kind, err);
}

static enum ms_status top_vt2_member(struct ms_record_reader *self,
                                     const struct ms_scanner_text *key, struct ms_error *err)
{
    if (IS(*key, "scans"))
        return ms_record_read_vt2(self, err);
    if (IS(*key, "response_code"))
        return ms_record_take_integer(self, MS_RECORD_NO_RESPONSE, &self->top.response_code, err);
    if (IS(*key, "resource"))
        return ms_record_take_text(self, &self->top.id, err);
    return IS(*key, "tags") ? read_tags(self, 1, err) : MS_OK;
}

static enum ms_status top_member(struct ms_record_reader *self, const struct ms_scanner_text *key,
                                 void *ctx, struct ms_error *err)
{
    const enum ms_record_format wanted = self->wanted;
    bool any = wanted == MS_RECORD_UNKNOWN, taken;
    (void)ctx;
    if (any || wanted == MS_RECORD_VT3) {
        if (IS(*key, "data"))
            return read_data(self, err);
        if (!self->has_data && (IS(*key, "attributes") || IS(*key, "id") || IS(*key, "type")))
            return object_member(self, key, NULL, err);
    }
    if ((any || wanted == MS_RECORD_OPSWAT) && (IS(*key, "scan_results") || IS(*key, "file_info")))
        return opswat_member(self, key, err);
    if (wanted == MS_RECORD_VT3 || wanted == MS_RECORD_OPSWAT)
        return MS_OK;
    enum ms_status status = common_member(self, key, &self->top, &taken, err);
    if (taken)
        return status;
    if (IS(*key, "scan_date"))
        return ms_record_take_date(self, &self->top.last_ms, err);
    if (IS(*key, "first_seen"))
        return ms_record_take_date(self, &self->top.first_ms, err);
    if (wanted != MS_RECORD_VT2 && IS(*key, "av_labels"))
        return ms_record_read_pairs(self, err);
    return wanted == MS_RECORD_SIMPLE ? MS_OK : top_vt2_member(self, key, err);
}

enum ms_status ms_record_walk(struct ms_record_reader *self, struct ms_error *err)
{
    reset_part(&self->vt3);
    reset_part(&self->top);
    reset_part(&self->opswat);
    self->vt3_rows.kind = self->vt2_rows.kind = MS_RECORD_ABSENT;
    self->opswat_rows.kind = self->simple_rows.kind = MS_RECORD_ABSENT;
    self->vt3_rows.count = self->vt2_rows.count = 0;
    self->opswat_rows.count = self->simple_rows.count = 0;
    self->tags_kind[0] = self->tags_kind[1] = MS_RECORD_ABSENT;
    self->tag_count[0] = self->tag_count[1] = 0;
    self->has_data = false;
    self->listed = (struct ms_span){0};
    return ms_record_each_member(self, top_member, NULL, &self->top.kind, err);
}
