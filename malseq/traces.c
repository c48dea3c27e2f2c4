/* malseq export --what traces: which traces, their counts and spools; formats and card are
 * elsewhere. */
#include "malseq/traces.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "malseq/npz.h"
#include "malseq/spool.h"
#include "store/export.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 64 << 20 };

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the export");
}

enum ms_status malseq_traces_put(struct traces *self, const void *bytes, size_t n,
                                 struct ms_error *err)
{
    errno = 0;
    if (fwrite(bytes, 1, n, self->out) == n)
        return MS_OK;
    return errno ? ms_error_set_errno(err, MS_E_IO, errno, "cannot write the export")
                 : ms_error_set(err, MS_E_IO, "cannot write the export");
}

enum ms_status malseq_traces_put_line(struct traces *self, struct ms_error *err)
{
    if (self->line.failed)
        return no_memory(err);
    enum ms_status status = malseq_traces_put(self, self->line.data, self->line.len, err);
    ms_buf_clear(&self->line);
    return status;
}

enum ms_status malseq_traces_beside(const struct traces *self, const char *suffix,
                                    struct ms_file_stream *out, struct ms_error *err)
{
    struct ms_buf path;
    ms_buf_init(&path, 1 << 16);
    (void)ms_buf_printf(&path, "%s%s", self->path, suffix);
    enum ms_status status =
        path.failed ? no_memory(err) : ms_file_stream_open(ms_buf_text(&path), 0666, out, err);
    ms_buf_release(&path);
    return status;
}

/* ---- counts ---------------------------------------------------------------------------------- */

static enum ms_status count_text(struct malseq_tally *tally, const char *text, int32_t *number,
                                 struct ms_error *err)
{
    uint32_t id = 0;
    *number = -1;
    if (!text)
        return MS_OK;
    enum ms_status status = malseq_tally_add(tally, text, strlen(text), 1, &id, err);
    *number = (int32_t)id;
    return status;
}

/* What a policy is called does not say what it says: its digest does. */
static enum ms_status count_policy(struct traces *self, const struct ms_trace_row *row,
                                   struct ms_error *err)
{
    char text[256], digest[MS_HASH_HEX_MAX] = "";
    int32_t ignored;
    if (!row->policy) {
        self->unlabelled++;
        return MS_OK;
    }
    if (row->policy_digest.data && row->policy_digest.len == MS_SHA256_BYTES)
        ms_hex_encode(row->policy_digest.data, MS_SHA256_BYTES, digest);
    (void)snprintf(text, sizeof text, "%s%s%s", row->policy, *digest ? " sha256:" : "", digest);
    /* The labels that a dataset came with are as old as their import. */
    if (row->as_of_ms && strncmp(row->policy, "dataset:", 8) != 0) {
        if (!self->as_of_first_ms || row->as_of_ms < self->as_of_first_ms)
            self->as_of_first_ms = row->as_of_ms;
        if (row->as_of_ms > self->as_of_last_ms)
            self->as_of_last_ms = row->as_of_ms;
    }
    return count_text(&self->policies, text, &ignored, err);
}

/* Kind, licence and, where names are wanted, the name: folders tell about who collected. */
static enum ms_status count_origin(struct traces *self, const struct ms_trace_row *row,
                                   struct ms_error *err)
{
    struct ms_buf text;
    bool named =
        self->options->names || (row->origin_kind && (strcmp(row->origin_kind, "dataset") == 0 ||
                                                      strcmp(row->origin_kind, "github") == 0));
    ms_buf_init(&text, MS_LIMIT_NAME_BYTES);
    (void)ms_buf_printf(&text, "%s\t%s\t%s", row->origin_kind ? row->origin_kind : "unknown",
                        row->licence ? row->licence : "", named && row->origin ? row->origin : "");
    enum ms_status status =
        text.failed ? ms_error_set(err, MS_E_STORE, "the name of an origin is too long")
                    : malseq_tally_add(&self->origins, text.data, text.len, 1, NULL, err);
    ms_buf_release(&text);
    return status;
}

/* Room for symbols up to the reader's newest. */
static enum ms_status reserve_symbols(struct traces *self, struct ms_error *err)
{
    size_t need = ms_names_count(ms_trace_reader_symbols(self->reader)), n = self->symbols;
    if (need <= n)
        return MS_OK;
    while (n < need)
        n = n ? n * 2 : 1024;
    uint64_t *calls = realloc(self->symbol_calls, n * sizeof *calls);
    self->symbol_calls = calls ? calls : self->symbol_calls;
    char **texts = realloc(self->texts, n * sizeof *texts);
    self->texts = texts ? texts : self->texts;
    if (!calls || !texts)
        return no_memory(err);
    for (size_t i = self->symbols; i < n; i++) {
        self->symbol_calls[i] = 0;
        self->texts[i] = NULL;
    }
    self->symbols = n;
    return MS_OK;
}

/* The content, whatever the format: key, label, then the names of the calls, a line each. */
static void digest_row(struct traces *self, const struct ms_trace_row *row,
                       const struct ms_trace_read *read)
{
    const char *texts[] = {row->key, row->verdict, row->class_, row->family};
    const struct ms_names *symbols = ms_trace_reader_symbols(self->reader);
    uint8_t block[16384];
    size_t used = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ms_hasher_update(self->content, texts[i] ? texts[i] : "",
                         texts[i] ? strlen(texts[i]) + 1 : 1);
    for (size_t i = 0; i < read->n; i++) {
        struct ms_span name = ms_names_get(symbols, read->calls[i]);
        if (used + name.len + 1 > sizeof block) {
            ms_hasher_update(self->content, block, used);
            used = 0;
        }
        memcpy(block + used, name.data, name.len);
        used += name.len;
        block[used++] = '\n';
    }
    ms_hasher_update(self->content, block, used);
    ms_hasher_update(self->content, "", 1);
}

static void count_row(struct traces *self, const struct ms_trace_read *read)
{
    self->shortest = self->rows == 0 || read->whole_length < self->shortest ? read->whole_length
                                                                            : self->shortest;
    self->longest = read->whole_length > self->longest ? read->whole_length : self->longest;
    self->rows++;
    self->call_count += read->n;
    self->whole_calls += read->whole_length;
    self->cut_rows += read->cut;
    self->pseudo += read->pseudo_dropped;
    self->looped += read->looped_dropped;
    self->untracked += read->untracked_dropped;
    for (size_t i = 0; i < read->n; i++)
        self->symbol_calls[read->calls[i]]++;
}

/* ---- spools ---------------------------------------------------------------------------------- */

static enum ms_status open_spools(struct traces *self, struct ms_error *err)
{
    FILE **spools[] = {&self->meta, &self->keys, &self->calls};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < 3 && self->format->spools && status == MS_OK; i++)
        status = malseq_spool_open(self->path, spools[i], err);
    return status;
}

enum ms_status malseq_traces_spool(struct traces *self, const struct ms_trace_row *row,
                                   const struct ms_trace_read *read, struct ms_error *err)
{
    size_t key = strlen(row->key);
    struct traces_meta meta;
    memset(&meta, 0, sizeof meta); /* padding too: it goes to a file */
    meta.length = (int64_t)read->whole_length;
    meta.first_submission_ms = row->first_submission_ms;
    meta.calls = read->n;
    meta.key_bytes = (uint32_t)key;
    meta.cut = read->cut;
    enum ms_status status = MS_OK;
    struct {
        struct malseq_tally *tally;
        const char *text;
        int32_t *number;
    } texts[] = {{&self->verdicts, row->verdict, &meta.verdict},
                 {&self->classes, row->class_, &meta.class_},
                 {&self->families, row->family, &meta.family},
                 {&self->sandboxes, row->sandbox, &meta.sandbox}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == MS_OK; i++) {
        uint32_t id = 0;
        *texts[i].number = -1;
        if (texts[i].text) { /* counted already: this only finds the number */
            status =
                malseq_tally_add(texts[i].tally, texts[i].text, strlen(texts[i].text), 0, &id, err);
            *texts[i].number = (int32_t)id;
        }
    }
    size_t width = malseq_npz_width(row->key, key);
    self->key_width = width > self->key_width ? width : self->key_width;
    if (status == MS_OK)
        status = malseq_spool_put(self->meta, &meta, sizeof meta, err);
    if (status == MS_OK)
        status = malseq_spool_put(self->keys, row->key, key, err);
    if (status == MS_OK)
        status = malseq_spool_put(self->calls, read->calls, read->n * sizeof *read->calls, err);
    return status;
}

/* ---- the run --------------------------------------------------------------------------------- */

static enum ms_status export_row(void *ctx, const struct ms_trace_row *row,
                                 const struct ms_trace_read *read, struct ms_error *err)
{
    struct traces *self = ctx;
    int32_t ignored;
    enum ms_status status = reserve_symbols(self, err);
    if (status == MS_OK)
        status = count_text(&self->verdicts, row->verdict, &ignored, err);
    if (status == MS_OK)
        status = count_text(&self->classes, row->class_, &ignored, err);
    if (status == MS_OK)
        status = count_text(&self->families, row->family, &ignored, err);
    if (status == MS_OK)
        status = count_text(&self->sandboxes, row->sandbox, &ignored, err);
    if (status == MS_OK)
        status = count_policy(self, row, err);
    if (status == MS_OK)
        status = count_origin(self, row, err);
    if (status != MS_OK)
        return status;
    count_row(self, read);
    digest_row(self, row, read);
    ms_progress_update(self->rows);
    return self->format->row(self, row, read, err);
}

/* What the formats and the card need of the counts once all are known. */
static enum ms_status settle(struct traces *self, struct ms_error *err)
{
    const struct ms_names *symbols = ms_trace_reader_symbols(self->reader);
    enum ms_status status = MS_OK;
    self->token_of = calloc(self->symbols + 1, sizeof *self->token_of);
    uint32_t *number = calloc(self->symbols + 1, sizeof *number);
    if (!self->token_of || !number)
        status = no_memory(err);
    for (uint32_t i = 0; i < self->symbols && status == MS_OK; i++) {
        if (self->symbol_calls[i] == 0)
            continue;
        struct ms_span name = ms_names_get(symbols, i);
        status = malseq_tally_add(&self->vocabulary, name.data, name.len, self->symbol_calls[i],
                                  &number[i], err);
    }
    if (status == MS_OK)
        status = malseq_tally_sort(&self->vocabulary, true, err);
    for (uint32_t i = 0; i < self->symbols && status == MS_OK; i++)
        if (self->symbol_calls[i])
            self->token_of[i] = self->vocabulary.rank[number[i]] + 1;
    free(number);
    struct malseq_tally *tallies[] = {&self->verdicts,  &self->classes,  &self->families,
                                      &self->sandboxes, &self->policies, &self->origins};
    for (size_t i = 0; i < sizeof tallies / sizeof *tallies && status == MS_OK; i++)
        status = malseq_tally_sort(tallies[i], false, err);
    return status;
}

static enum ms_status write_all(struct traces *self, struct ms_error *err)
{
    const struct ms_traces_wanted wanted = {.policy = self->options->policy,
                                            .unlabelled = self->options->unlabelled,
                                            .min_calls = self->min_calls,
                                            .visit = export_row,
                                            .damaged = malseq_tell_damaged,
                                            .ctx = self};
    enum ms_status status = self->format->begin ? self->format->begin(self, err) : MS_OK;
    ms_progress_begin("exporting traces", 0, "traces");
    if (status == MS_OK)
        status = ms_traces_read(self->corpus, self->reader, &wanted, &self->left, err);
    ms_progress_end();
    if (status == MS_OK)
        status = settle(self, err);
    if (status == MS_OK && self->format->end)
        status = self->format->end(self, err);
    errno = 0;
    if (status == MS_OK && fflush(self->out) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot write the export");
    return status;
}

/* Digest and length of what was written, before it gets its name. */
static enum ms_status digest_file(const char *path, uint8_t sha256[MS_SHA256_BYTES],
                                  uint64_t *bytes, struct ms_error *err)
{
    static uint8_t block[1 << 16];
    struct ms_hasher *hasher = NULL;
    struct ms_digests digests;
    FILE *file = fopen(path, "rb");
    size_t n;
    *bytes = 0;
    enum ms_status status = file
                                ? ms_hasher_new(MS_HASH_SHA256, &hasher, err)
                                : ms_error_set_errno(err, MS_E_IO, errno, "cannot read the export");
    while (status == MS_OK && (n = fread(block, 1, sizeof block, file)) > 0) {
        ms_hasher_update(hasher, block, n);
        *bytes += n;
    }
    if (status == MS_OK && ferror(file))
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot read the export");
    if (status == MS_OK)
        status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK)
        memcpy(sha256, digests.sha256, MS_SHA256_BYTES);
    ms_hasher_free(hasher);
    if (file)
        (void)fclose(file);
    return status;
}

/* The data first, then what speaks of it: a card is never there without its data. */
static enum ms_status write_file(struct traces *self, struct ms_error *err)
{
    struct ms_file_stream file = {NULL, NULL, NULL};
    uint8_t sha256[MS_SHA256_BYTES];
    uint64_t bytes = 0;
    enum ms_status status = ms_file_stream_open(self->path, 0666, &file, err);
    self->out = file.file;
    if (status == MS_OK)
        status = open_spools(self, err);
    if (status == MS_OK)
        status = write_all(self, err);
    if (status == MS_OK)
        status = digest_file(file.temporary, sha256, &bytes, err);
    if (status == MS_OK)
        status = ms_file_stream_commit(&file, err);
    ms_file_stream_abort(&file);
    return status == MS_OK ? malseq_traces_card(self, sha256, bytes, err) : status;
}

static enum ms_status prepare(struct traces *self, struct ms_cli *cli, struct ms_error *err)
{
    static const struct traces_format *const formats[] = {
        &malseq_traces_jsonl, &malseq_traces_csv, &malseq_traces_npz, &malseq_traces_libsvm};
    const struct malseq_export *options = self->options;
    const char *name = options->format ? options->format : options->csv ? "csv" : "jsonl";
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i]->name, name) == 0)
            self->format = formats[i];
    self->path = options->out && strcmp(options->out, "-") != 0 ? options->out : NULL;
    if (self->format->needs_file && !self->path)
        return ms_error_set(err, MS_E_USAGE, "--format %s needs --out FILE", name);
    if (options->sightings || options->times)
        return ms_error_set(err, MS_E_USAGE, "--sightings and --times are for --what samples");
    if (options->names && self->format->spools)
        return ms_error_set(err, MS_E_USAGE, "--names is for the formats jsonl and csv");
    self->view.expand = true;
    self->min_calls = 1;
    enum ms_status status =
        ms_normal_request_apply(&options->normal, &self->view, &self->min_calls, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &self->corpus, err);
    if (status == MS_OK)
        status = malseq_check_policy(self->corpus, options->policy, err);
    if (status == MS_OK)
        status = ms_hasher_new(MS_HASH_SHA256, &self->content, err);
    struct malseq_tally *tallies[] = {&self->verdicts,  &self->classes,  &self->families,
                                      &self->sandboxes, &self->policies, &self->origins,
                                      &self->vocabulary};
    for (size_t i = 0; i < sizeof tallies / sizeof *tallies && status == MS_OK; i++)
        status = malseq_tally_init(tallies[i], err);
    if (status == MS_OK)
        status = ms_trace_reader_new(self->corpus, &self->view, &self->reader, err);
    return status;
}

static void release(struct traces *self)
{
    FILE *spools[] = {self->meta, self->keys, self->calls};
    struct malseq_tally *tallies[] = {&self->verdicts,  &self->classes,  &self->families,
                                      &self->sandboxes, &self->policies, &self->origins,
                                      &self->vocabulary};
    for (size_t i = 0; i < sizeof spools / sizeof *spools; i++)
        if (spools[i])
            (void)fclose(spools[i]);
    for (size_t i = 0; i < sizeof tallies / sizeof *tallies; i++)
        malseq_tally_release(tallies[i]);
    for (size_t i = 0; i < self->symbols; i++)
        free(self->texts[i]);
    free(self->texts);
    free(self->symbol_calls);
    free(self->token_of);
    ms_hasher_free(self->content);
    ms_trace_reader_free(self->reader);
    ms_corpus_close(self->corpus);
    ms_buf_release(&self->line);
}

enum ms_status malseq_export_traces(struct ms_cli *cli, struct ms_error *err)
{
    struct traces self = {.options = cli->options, .out = stdout};
    ms_buf_init(&self.line, LINE_BYTES);
    enum ms_status status = prepare(&self, cli, err);
    if (status == MS_OK)
        status = self.path ? write_file(&self, err) : write_all(&self, err);
    if (status == MS_OK && !cli->common.quiet)
        ms_log(MS_LOG_INFO, "%" PRIu64 " traces, %" PRIu64 " calls%s", self.rows, self.call_count,
               self.left.damaged ? "; some are damaged: 'malseq fsck'" : "");
    if (status == MS_OK && self.rows == 0)
        ms_log(MS_LOG_WARNING, "no trace%s: see 'malseq status'",
               self.options->unlabelled ? "" : " with a label; --unlabelled takes the others too");
    if (status == MS_OK && self.left.damaged)
        status = MS_REJECT;
    release(&self);
    return status;
}
