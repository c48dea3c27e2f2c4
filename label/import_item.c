/* What is done with each record in a thread of the pool. Writes nothing to the corpus. */
#include "label/import_item.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/zstd.h"
#include "label/import_job.h"
#include "label/lookup.h"
#include "store/label.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Level 2 takes an eighth of the time of the level for answers that come one by one, and gives
 * bodies a twentieth larger; level 1 is no faster on them, and those below 0 save less time than
 * writing the larger bodies costs. */
enum { PACK_LEVEL = 2, KEPT_BYTES = 256 << 10, WIRE_BYTES = 4 << 20 };

struct ms_import_desk {
    struct ms_deriver rules;
    struct ms_corpus *corpus; /* a connection of its own, for reading; NULL: nothing to be found */
    struct ms_zstd_packer *packer;
    struct ms_buf body, packed;
};

/* ---- sources ---- */

enum ms_status ms_import_source_new(int fd, struct ms_import_source **out, struct ms_error *err)
{
    struct ms_import_source *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->fd = fd;
    self->users = 1;
    *out = self;
    return MS_OK;
}

enum ms_status ms_import_source_memory(struct ms_import_source **out, struct ms_error *err)
{
    int fd = -1;
    enum ms_status status = ms_file_memory("reports", &fd, err);
    if (status == MS_OK)
        status = ms_import_source_new(fd, out, err);
    if (status != MS_OK && fd >= 0)
        (void)close(fd);
    return status;
}

struct ms_import_source *ms_import_source_share(struct ms_import_source *self)
{
    (void)__atomic_add_fetch(&self->users, 1, __ATOMIC_RELAXED);
    return self;
}

void ms_import_source_drop(struct ms_import_source *self)
{
    if (!self || __atomic_sub_fetch(&self->users, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    (void)close(self->fd);
    free(self);
}

/* ---- work ---- */

void ms_import_work_init(struct ms_import_work *self)
{
    *self = (struct ms_import_work){.item = {.kind = MS_ITEM_FILE}};
    ms_buf_init(&self->body, MS_LIMIT_SCAN_BYTES);
    ms_buf_init(&self->wire, WIRE_BYTES);
    ms_buf_init(&self->item.packed, (size_t)2 * MS_LIMIT_SCAN_BYTES);
}

static void clear_buf(struct ms_buf *buf)
{
    if (buf->cap > KEPT_BYTES)
        ms_buf_release(buf);
    ms_buf_clear(buf);
}

void ms_import_work_clear(struct ms_import_work *self)
{
    struct ms_buf packed = self->item.packed;
    if (self->item.has_judged)
        ms_judged_release(&self->item.judged);
    if (self->item.has_report)
        ms_vt_report_release(&self->item.report);
    ms_import_source_drop(self->source);
    self->source = NULL;
    clear_buf(&packed);
    clear_buf(&self->body);
    clear_buf(&self->wire);
    self->item = (struct ms_import_item){.packed = packed};
}

void ms_import_work_release(struct ms_import_work *self)
{
    ms_import_work_clear(self);
    ms_buf_release(&self->item.packed);
    ms_buf_release(&self->body);
    ms_buf_release(&self->wire);
}

const struct ms_vt_report *ms_import_item_report(const struct ms_import_item *self)
{
    return self->has_judged ? &self->judged.report : &self->report;
}

enum ms_status ms_import_desk_new(const struct ms_deriver *rules, const char *corpus,
                                  struct ms_import_desk **out, struct ms_error *err)
{
    struct ms_import_desk *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    ms_buf_init(&self->body, MS_LIMIT_SCAN_BYTES);
    ms_buf_init(&self->packed, (size_t)2 * MS_LIMIT_SCAN_BYTES);
    bool any = false;
    enum ms_status status = ms_deriver_copy(&self->rules, rules, err);
    if (status == MS_OK)
        status = ms_zstd_packer_new(PACK_LEVEL, &self->packer, err);
    if (status == MS_OK && corpus)
        status = ms_corpus_open(corpus, MS_CORPUS_READ, &self->corpus, err);
    if (status == MS_OK && corpus)
        status = ms_scan_any(self->corpus, &any, err);
    /* Where no scan was when the reading began, none has a known body but those that this run
     * stores, and they are found when the record is put. */
    if (status == MS_OK && corpus && !any) {
        ms_corpus_close(self->corpus);
        self->corpus = NULL;
    }
    if (status != MS_OK)
        ms_import_desk_free(self);
    else
        *out = self;
    return status;
}

void ms_import_desk_free(struct ms_import_desk *self)
{
    if (!self)
        return;
    ms_deriver_close(&self->rules);
    ms_corpus_close(self->corpus);
    ms_zstd_packer_free(self->packer);
    ms_buf_release(&self->body);
    ms_buf_release(&self->packed);
    free(self);
}

static enum ms_status reject(struct ms_import_work *self, const char *why)
{
    self->item.status = MS_REJECT;
    (void)snprintf(self->item.why, sizeof self->item.why, "%s", why);
    return MS_OK;
}

/* The bytes the reader read, from the file that it read them from. NULL data: they are others by
 * now. */
static enum ms_status fetch(struct ms_import_work *self, struct ms_import_desk *desk,
                            struct ms_span *out, struct ms_error *err)
{
    size_t n = (size_t)self->item.body_bytes, done = 0;
    *out = ms_span_of(self->body.data, self->body.len);
    if (self->source) {
        ms_buf_clear(&desk->body);
        if (ms_buf_reserve(&desk->body, n) != MS_OK)
            return ms_error_set(err, MS_E_NOMEM, "no memory for a report of %zu bytes", n);
        while (done < n) {
            off_t at = (off_t)(self->source->start + self->at + done);
            ssize_t got = pread(self->source->fd, desk->body.data + done, n - done, at);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                break;
            done += (size_t)got;
        }
        *out = ms_span_of(desk->body.data, done);
    }
    if (out->len != n || ms_import_sum(*out) != self->sum)
        *out = ms_span_of(NULL, 0);
    return MS_OK;
}

/* What the judgement rests on takes 64 KB and more a report, and thousands wait in line; one
 * thread's next report finds the same memory still near. */
static void forget_engines(struct ms_import_item *item)
{
    struct ms_vt_report *report = &item->judged.report;
    ms_tally_release(&item->judged.tally);
    item->judged.tally.ballot_count = 0;
    if (report->category)
        (void)snprintf(item->category, sizeof item->category, "%s", report->category);
    ms_arena_release(&report->arena);
    report->category = report->category ? item->category : NULL;
    report->suggested = NULL;
    report->engines = NULL;
    report->engine_count = 0;
}

static enum ms_status pack_and_judge(struct ms_import_work *self, struct ms_import_desk *desk,
                                     struct ms_span body, struct ms_error *err)
{
    struct ms_import_item *item = &self->item;
    ms_buf_clear(&desk->packed);
    enum ms_status status = ms_zstd_pack(desk->packer, body.data, body.len, &desk->packed, err);
    if (status == MS_OK && ms_buf_append(&item->packed, desk->packed.data, desk->packed.len))
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status != MS_OK)
        return status;
    item->has_report = false; /* the judge takes it over, whatever comes */
    status = ms_judge_report(&desk->rules, &item->report, &item->judged, err);
    item->has_judged = status == MS_OK;
    if (item->has_judged)
        forget_engines(item);
    return status;
}

/* What no record may be. */
static const char *objection(const struct ms_vt_report *report)
{
    if (!report->sha256[0] && !report->sha1[0] && !report->md5[0])
        return "names no MD5, SHA-1 or SHA-256";
    if (ms_is_empty_file(report->sha256) || ms_is_empty_file(report->sha1) ||
        ms_is_empty_file(report->md5))
        return "is about the empty file";
    return NULL;
}

enum ms_status ms_import_work_do(struct ms_import_work *self, struct ms_import_desk *desk,
                                 struct ms_error *err)
{
    struct ms_import_item *item = &self->item;
    struct ms_error why = {.status = MS_OK};
    struct ms_span body;
    int64_t scan = 0;
    enum ms_status status = fetch(self, desk, &body, err);
    if (status != MS_OK)
        return status;
    if (!body.data)
        return reject(self, "the file changes while it is read");
    if (ms_hash_sha256(body.data, body.len, item->sha256) != MS_OK)
        return ms_error_set(err, MS_E_BUG, "the hash library failed");
    if (ms_vt_report_decode(ms_span_of(self->wire.data, self->wire.len), &item->report, &why))
        return reject(self, why.text);
    item->has_report = true;
    item->format = item->report.format;
    item->queued = item->format == MS_RECORD_VT2 && item->report.response_code == -2;
    item->absent =
        item->queued || (item->format == MS_RECORD_VT2 && item->report.response_code == 0);
    const char *no = objection(&item->report);
    if (no)
        return reject(self, no);
    if (item->absent)
        return MS_OK;
    if (desk->corpus)
        status = ms_scan_find_body(desk->corpus, 0, item->sha256, &scan, err);
    item->known = scan != 0;
    return status == MS_OK && !item->known ? pack_and_judge(self, desk, body, err) : status;
}

enum ms_status ms_import_work_finish(struct ms_import_work *self, struct ms_import_desk *desk,
                                     struct ms_error *err)
{
    struct ms_span body;
    enum ms_status status = fetch(self, desk, &body, err);
    if (status == MS_OK && !body.data)
        return ms_error_set(err, MS_REJECT, "the file changes while it is read");
    return status == MS_OK ? pack_and_judge(self, desk, body, err) : status;
}
