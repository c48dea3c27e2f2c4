/* The rows of a dataset on their way into the corpus: pairing with classes, samples, labels. Text
 * is taken apart by the worker alone. */
#include "base/cli.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "extract/dataset_row.h"
#include "extract/datasets.h"
#include "store/analysis.h"
#include "store/label.h"
#include "store/trace/encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_CPU_S = 3600, ROWS_WALL_MS = 2 * 3600 * 1000, COMPARE_CALLS = 256 };

/* Mal-API-2019's words and ours. */
static const struct {
    const char *word, *class_;
} class_words[] = {{"Adware", "Adware"},   {"Backdoor", "Backdoor"}, {"Downloader", "Downloader"},
                   {"Dropper", "Dropper"}, {"Spyware", "Spyware"},   {"Trojan", "Trojan"},
                   {"Virus", "Virus"},     {"Worm", "Worm"},         {"Worms", "Worm"}};

enum ms_status ms_dataset_run_job(struct ms_dataset_import *self, const char *job, int fd,
                                  const char *arg, ms_worker_frame on_frame, struct ms_error *err)
{
    const struct ms_worker_limits limits = {
        .cpu_s = ROWS_CPU_S, .wall_ms = ROWS_WALL_MS, .output_bytes = MS_LIMIT_PUBLISHED_BYTES};
    struct ms_worker_result result = {.end = MS_WORKER_DONE};
    enum ms_status status = ms_worker_run(self->worker, job, fd, ms_span_of(arg, strlen(arg)),
                                          &limits, on_frame, self, &result, err);
    if (status == MS_OK && (result.end != MS_WORKER_DONE || result.status != MS_OK))
        status = ms_error_set(err, result.status == MS_E_IO ? MS_E_IO : MS_E_INPUT, "%s",
                              result.error.text);
    if (status == MS_REJECT)
        status = MS_E_INPUT;
    if (status == MS_E_INPUT)
        ms_error_prepend(err, "%s", self->kind->name);
    return status;
}

/* --- classes --- */

/* Without quotation marks and blanks around it, and the byte order mark in front: copies of the
 * list have been through spreadsheets. */
static struct ms_span bare_word(struct ms_span word)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    if (word.len >= sizeof mark && memcmp(word.data, mark, sizeof mark) == 0)
        word = ms_span_of(word.data + sizeof mark, word.len - sizeof mark);
    while (word.len && (*word.data <= ' ' || *word.data == '"'))
        word = ms_span_of(word.data + 1, word.len - 1);
    while (word.len && (word.data[word.len - 1] <= ' ' || word.data[word.len - 1] == '"'))
        word.len--;
    return word;
}

static bool same_word(struct ms_span text, const char *word)
{
    bool same = text.len == strlen(word);
    for (size_t i = 0; same && i < text.len; i++)
        same = (text.data[i] | 0x20) == (word[i] | 0x20);
    return same;
}

/* The list is published without a first line of names; copies have one. */
static bool is_head(struct ms_span label)
{
    static const char *const heads[] = {"class", "label", "labels", "type", "family", "malware"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (same_word(label, heads[i]))
            return true;
    return false;
}

static enum ms_status on_class(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct ms_dataset_import *self = ctx;
    struct ms_dataset_row row;
    char word[80];
    enum ms_status status = type == MS_FRAME_ROW
                                ? ms_dataset_row_take(bytes, &row, err)
                                : ms_error_set(err, MS_REJECT, "an unexpected answer");
    if (status != MS_OK)
        return status;
    if (self->class_count == self->class_cap) {
        size_t cap = self->class_cap ? self->class_cap * 2 : 1024;
        const char **classes = realloc(self->classes, cap * sizeof *classes);
        if (!classes)
            return ms_error_set(err, MS_E_NOMEM, "no memory for classes");
        self->classes = classes;
        self->class_cap = cap;
    }
    struct ms_span label = bare_word(row.label);
    for (size_t i = 0; i < sizeof class_words / sizeof *class_words; i++) {
        if (same_word(label, class_words[i].word)) {
            self->classes[self->class_count++] = class_words[i].class_;
            return MS_OK;
        }
    }
    if (row.line == 1 && !self->class_head && is_head(label)) {
        self->class_head = true;
        return MS_OK;
    }
    return ms_error_set(err, MS_E_INPUT,
                        "labels.csv, line %" PRIu64 ": '%s' is none of the eight classes", row.line,
                        ms_escape_bytes(row.label.data, row.label.len, word, sizeof word));
}

enum ms_status ms_dataset_read_classes(struct ms_dataset_import *self, struct ms_error *err)
{
    return ms_dataset_run_job(self, "classes", self->classes_fd, "", on_class, err);
}

/* --- rows --- */

/* The next blocks of two traces say the same. */
static enum ms_status same_calls(struct ms_span ours, struct ms_span theirs, bool *same,
                                 struct ms_error *err)
{
    struct ms_trace_decoder *a = NULL, *b = NULL;
    struct ms_trace_call left[COMPARE_CALLS], right[COMPARE_CALLS];
    size_t n = 1, m = 1;
    enum ms_status status = ms_trace_decoder_open(ours, &a, err);
    if (status == MS_OK)
        status = ms_trace_decoder_open(theirs, &b, err);
    *same = true;
    while (status == MS_OK && *same && n) {
        status = ms_trace_decoder_next(a, left, COMPARE_CALLS, &n, err);
        if (status == MS_OK)
            status = ms_trace_decoder_next(b, right, COMPARE_CALLS, &m, err);
        if (status != MS_OK)
            break;
        *same = n == m;
        for (size_t i = 0; *same && i < n; i++)
            *same = left[i].api == right[i].api;
    }
    ms_trace_decoder_close(a);
    ms_trace_decoder_close(b);
    return status;
}

struct compare {
    struct ms_span trace;
    bool same;
};

static enum ms_status compare_process(void *ctx, const struct ms_process_row *process,
                                      struct ms_error *err)
{
    struct compare *self = ctx;
    if (self->trace.len == process->trace.len &&
        memcmp(self->trace.data, process->trace.data, self->trace.len) == 0) {
        self->same = true;
        return MS_OK;
    }
    return same_calls(self->trace, process->trace, &self->same, err);
}

/* A row that is there already must say the same: row numbers name samples, and another edition of
 * the dataset would mix two numberings. */
static enum ms_status check_known(struct ms_dataset_import *self, int64_t analysis,
                                  struct ms_error *err)
{
    struct compare compare = {.same = false};
    enum ms_status status =
        ms_trace_rows_blob(&self->rows, &self->received, 0, &compare.trace, err);
    if (status == MS_OK)
        status = ms_process_foreach(self->corpus, analysis, compare_process, &compare, err);
    if (status == MS_OK && !compare.same)
        return ms_error_set(err, MS_E_INPUT,
                            "row %" PRIu64 " differs from the one in the corpus, which holds "
                            "another edition of this dataset: import into another corpus",
                            self->row);
    return status;
}

static enum ms_status find_sample(struct ms_dataset_import *self, const struct ms_dataset_row *row,
                                  int64_t *sample, struct ms_error *err)
{
    char number[32];
    bool inserted;
    (void)snprintf(number, sizeof number, "%" PRIu64, self->row);
    struct ms_span external = ms_span_of(number, strlen(number));
    if (self->kind->key == MS_DATASET_KEY_NONE)
        return ms_sample_by_alias(self->corpus, self->kind->name, external, self->run, sample,
                                  &inserted, err);
    struct ms_sample known = {.size = -1, .machine = -1};
    if (!ms_dataset_read_key(self->kind->key, row->key, &known))
        return ms_error_set(err, MS_REJECT, "its hash is none");
    enum ms_status status =
        ms_sample_upsert(self->corpus, &known, self->run, sample, &inserted, err);
    if (status == MS_OK)
        status = ms_sample_add_alias(self->corpus, *sample, self->kind->name, external, err);
    return status;
}

enum ms_status ms_dataset_put_label(struct ms_dataset_import *self, const struct ms_label *label,
                                    struct ms_error *err)
{
    struct ms_label before;
    bool changed;
    /* Row numbers name one sample each: only hashes can contradict themselves. */
    if (self->kind->key != MS_DATASET_KEY_NONE) {
        struct ms_error none = {.status = MS_OK};
        enum ms_status status =
            ms_label_get(self->corpus, label->sample, label->policy, &before, &none);
        if (status == MS_OK) {
            self->contradicting += strcmp(before.verdict, label->verdict) != 0;
            ms_label_release(&before);
        } else if (status != MS_REJECT) {
            if (err)
                *err = none;
            return status;
        }
    }
    return ms_label_put(self->corpus, label, ms_clock_wall_ms(), self->run, &changed, err);
}

static enum ms_status put_label(struct ms_dataset_import *self, const struct ms_dataset_row *row,
                                int64_t sample, struct ms_error *err)
{
    char policy[64];
    (void)snprintf(policy, sizeof policy, "dataset:%s", self->kind->name);
    struct ms_label label = {.sample = sample,
                             .policy = policy,
                             .verdict = "malicious",
                             .margin = -1,
                             .positives = -1,
                             .responding = -1,
                             .groups = -1,
                             .as_of_ms = self->kind->as_of_ms};
    if (self->kind->classes)
        label.class_ = self->classes[self->row - 1];
    else if (ms_span_equal_text(row->label, "0"))
        label.verdict = "benign";
    return ms_dataset_put_label(self, &label, err);
}

static enum ms_status put_analysis(struct ms_dataset_import *self, const struct ms_dataset_row *row,
                                   int64_t sample, bool *known, struct ms_error *err)
{
    char sandbox[64], settings[96];
    const struct ms_received_process *process = &self->received.processes[0];
    (void)snprintf(sandbox, sizeof sandbox, "dataset:%s", self->kind->name);
    (void)snprintf(settings, sizeof settings, "dataset %s row %" PRIu64, self->kind->name,
                   self->row);
    struct ms_analysis analysis = {.sample = sample,
                                   .origin = self->origin,
                                   .sandbox = sandbox,
                                   .settings = settings,
                                   .has_settings_digest = true,
                                   .state = row->calls ? "ok" : "no_calls",
                                   .processes = 1,
                                   .calls = (int64_t)process->calls,
                                   .calls_expanded = (int64_t)process->calls_expanded};
    enum ms_status status = ms_hash_sha256(settings, strlen(settings), analysis.settings_digest);
    if (status == MS_OK)
        status = ms_analysis_find_settings(self->corpus, sample, analysis.settings_digest, known,
                                           &analysis.id, err);
    if (status != MS_OK)
        return status;
    if (*known)
        return check_known(self, analysis.id, err);
    self->fresh++;
    status = ms_analysis_insert(self->corpus, &analysis, ms_clock_wall_ms(), self->run,
                                &analysis.id, err);
    if (status == MS_OK)
        status = ms_trace_rows_insert(&self->rows, &self->received, 0, analysis.id, 0, err);
    return status;
}

bool ms_dataset_read_key(enum ms_dataset_key kind, struct ms_span text, struct ms_sample *out)
{
    char hex[MS_HASH_HEX_MAX] = "";
    size_t bytes = kind == MS_DATASET_KEY_MD5 ? MS_MD5_BYTES : MS_SHA256_BYTES;
    if (text.len != 2 * bytes)
        return false;
    memcpy(hex, text.data, text.len);
    out->has_md5 = kind == MS_DATASET_KEY_MD5;
    out->has_sha256 = kind == MS_DATASET_KEY_SHA256;
    return ms_hex_decode(hex, bytes, out->has_md5 ? out->digests.md5 : out->digests.sha256);
}

/* Why a row cannot be taken; NULL when it can. `room` holds the worker's words. */
static const char *fault_of(const struct ms_dataset_import *self, const struct ms_dataset_row *row,
                            char *room, size_t n)
{
    struct ms_sample ignored;
    if (row->reason.len)
        return ms_escape_bytes(row->reason.data, row->reason.len, room, n);
    if (self->kind->key == MS_DATASET_KEY_NONE)
        return NULL;
    if (!ms_dataset_read_key(self->kind->key, row->key, &ignored))
        return self->kind->key == MS_DATASET_KEY_MD5 ? "its first column is no MD5"
                                                     : "its first column is no SHA-256";
    if (!ms_span_equal_text(row->label, "0") && !ms_span_equal_text(row->label, "1"))
        return "its label is neither 0 nor 1";
    return NULL;
}

static enum ms_status store_row(struct ms_dataset_import *self, const struct ms_dataset_row *row,
                                struct ms_error *err)
{
    int64_t sample;
    bool known = false;
    enum ms_status status = find_sample(self, row, &sample, err);
    if (status == MS_OK)
        status = put_analysis(self, row, sample, &known, err);
    /* Rows of one hash can contradict each other: the last rules, and must not be fought over again
     * at each import. */
    if (status == MS_OK && (self->kind->classes || !known))
        status = put_label(self, row, sample, err);
    return status;
}

static enum ms_status end_row(struct ms_dataset_import *self, struct ms_span bytes,
                              struct ms_error *err)
{
    struct ms_dataset_row row;
    enum ms_status status = ms_dataset_row_take(bytes, &row, err);
    if (status != MS_OK)
        return status;
    if (self->received.process_count != 1 || self->received.processes[0].calls != row.calls)
        return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
    self->row++;
    if (self->kind->classes && self->row > self->class_count)
        return ms_error_set(err, MS_E_INPUT,
                            "labels.csv has %zu lines, and the text has more: they do not belong "
                            "together",
                            self->class_count);
    struct ms_error why = {.status = MS_OK};
    char room[200];
    const char *fault = fault_of(self, &row, room, sizeof room);
    if (fault)
        status = ms_error_set(&why, MS_REJECT, "%s", fault);
    else if (self->corpus)
        status = store_row(self, &row, &why);
    if (status == MS_REJECT) {
        self->rejected++;
        ms_log(MS_LOG_WARNING, "%s, line %" PRIu64 ": %s", self->kind->name, row.line, why.text);
    } else if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    } else {
        self->samples++;
        self->calls += row.calls;
        self->empty += row.calls == 0;
    }
    ms_trace_received_next(&self->received);
    ms_progress_update(self->row);
    if (self->row % 256 == 0)
        ms_step("extract.dataset.some");
    return MS_OK;
}

enum ms_status ms_dataset_take_trace(struct ms_dataset_import *self, uint32_t type,
                                     struct ms_span bytes, struct ms_error *err)
{
    if (type != MS_FRAME_API && type != MS_FRAME_TRACE && type != MS_FRAME_PROCESS)
        return ms_error_set(err, MS_REJECT, "an unexpected answer");
    enum ms_status status = ms_trace_received_frame(&self->received, type, bytes, err);
    if (status == MS_OK && type == MS_FRAME_API) {
        self->apis++;
        if (self->corpus)
            status = ms_trace_rows_add_api(&self->rows, &self->received, err);
    }
    return status;
}

static enum ms_status on_row(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct ms_dataset_import *self = ctx;
    if (type == MS_FRAME_ROW)
        return end_row(self, bytes, err);
    return ms_dataset_take_trace(self, type, bytes, err);
}

enum ms_status ms_dataset_read_rows(struct ms_dataset_import *self, struct ms_error *err)
{
    ms_trace_received_init(&self->received);
    ms_trace_received_keep(&self->received, self->corpus);
    enum ms_status status = ms_trace_rows_init(&self->rows, self->corpus, &self->received, err);
    if (status == MS_OK)
        status = ms_dataset_run_job(self, self->kind->job, self->rows_fd, self->form, on_row, err);
    if (status == MS_OK && self->kind->classes && self->row != self->class_count)
        status = ms_error_set(err, MS_E_INPUT,
                              "the text has %" PRIu64 " rows, labels.csv %zu: they do not belong "
                              "together",
                              self->row, self->class_count);
    return status;
}

void ms_dataset_import_release(struct ms_dataset_import *self)
{
    free(self->classes);
    ms_trace_received_release(&self->received);
    ms_trace_rows_release(&self->rows);
}
