/* malseq audit: reads the labelled traces in short and runs the tables. */
#define _GNU_SOURCE
#include "malseq/audit.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "malseq/csv.h"
#include "malseq/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the audit");
}

const uint32_t *malseq_audit_set(const struct audit *self, size_t row)
{
    return (const uint32_t *)(const void *)(self->map + self->rows[row].spool);
}

/* Sets are padded to an even number, so that what is behind them is aligned. */
static size_t set_bytes(uint32_t n)
{
    return ((size_t)n + 1) / 2 * 8;
}

const uint64_t *malseq_audit_shingles(const struct audit *self, size_t row, size_t *n)
{
    const struct audit_row *r = &self->rows[row];
    *n = (size_t)r->shingle_n;
    return (const uint64_t *)(const void *)(self->map + r->spool + set_bytes(r->set_n));
}

static enum ms_status reserve_symbols(struct audit *self, struct ms_error *err)
{
    size_t need = ms_names_count(ms_trace_reader_symbols(self->reader)), n = self->symbols;
    if (need <= n)
        return MS_OK;
    while (n < need)
        n = n ? n * 2 : 1024;
    uint64_t *calls = realloc(self->symbol_calls, n * sizeof *calls);
    self->symbol_calls = calls ? calls : self->symbol_calls;
    uint64_t *rows = realloc(self->symbol_rows, n * sizeof *rows);
    self->symbol_rows = rows ? rows : self->symbol_rows;
    if (!calls || !rows)
        return no_memory(err);
    memset(calls + self->symbols, 0, (n - self->symbols) * sizeof *calls);
    memset(rows + self->symbols, 0, (n - self->symbols) * sizeof *rows);
    self->symbols = n;
    return MS_OK;
}

static enum ms_status spool_row(struct audit *self, const struct ms_trace_read *read,
                                struct audit_row *row, struct ms_error *err)
{
    static const uint32_t padding = 0;
    size_t n = 0;
    const uint64_t *shingles = NULL;
    enum ms_status status = ms_trace_reader_near(self->reader, &shingles, &n, err);
    row->spool = self->map_bytes;
    row->set_n = (uint32_t)read->set_n;
    row->shingle_n = n;
    if (status == MS_OK)
        status = malseq_spool_put(self->spool, read->set, read->set_n * sizeof *read->set, err);
    if (status == MS_OK && read->set_n % 2)
        status = malseq_spool_put(self->spool, &padding, sizeof padding, err);
    if (status == MS_OK)
        status = malseq_spool_put(self->spool, shingles, n * sizeof *shingles, err);
    self->map_bytes += set_bytes(row->set_n) + n * sizeof *shingles;
    return status;
}

/* The finest that is known: the class of malware that has one, else the verdict. */
static const char *label_of(const struct ms_trace_row *row)
{
    bool malicious = strcmp(row->verdict, "malicious") == 0;
    return malicious && row->class_ ? row->class_ : row->verdict;
}

static enum ms_status add_row(void *ctx, const struct ms_trace_row *found,
                              const struct ms_trace_read *read, struct ms_error *err)
{
    struct audit *self = ctx;
    if (self->count >= MS_LIMIT_DATASET_ROWS)
        return ms_error_set(err, MS_E_LIMIT, "more than %d labelled traces", MS_LIMIT_DATASET_ROWS);
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 1024;
        struct audit_row *rows = realloc(self->rows, capacity * sizeof *rows);
        if (!rows)
            return no_memory(err);
        self->rows = rows;
        self->capacity = capacity;
    }
    const char *label = label_of(found);
    struct audit_row row = {.keys = {read->raw, read->collapsed, read->as_set, read->view},
                            .whole_length = read->whole_length,
                            .collapsed_length = read->run_n};
    enum ms_status status = reserve_symbols(self, err);
    if (status == MS_OK)
        status = malseq_tally_add(&self->labels, label, strlen(label), 1, &row.label, err);
    if (status == MS_OK)
        status = malseq_tally_add(&self->sources, found->sandbox, strlen(found->sandbox), 1,
                                  &row.source, err);
    if (status == MS_OK)
        status = spool_row(self, read, &row, err);
    if (status == MS_OK)
        status = malseq_spool_put(self->keys, found->key, strlen(found->key) + 1, err);
    if (status != MS_OK)
        return status;
    for (size_t i = 0; i < read->set_n; i++) {
        self->symbol_calls[read->set[i]] += read->times[i];
        self->symbol_rows[read->set[i]]++;
    }
    self->rows[self->count++] = row;
    ms_progress_update(self->count);
    return MS_OK;
}

static enum ms_status map_spool(struct audit *self, struct ms_error *err)
{
    void *map = MAP_FAILED;
    errno = 0;
    if (fflush(self->spool) == 0 && self->map_bytes)
        map = mmap(NULL, self->map_bytes, PROT_READ, MAP_SHARED, fileno(self->spool), 0);
    if (map == MAP_FAILED && self->map_bytes)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot read a temporary file");
    self->map = map == MAP_FAILED ? NULL : map;
    return MS_OK;
}

enum ms_status malseq_audit_read(struct audit *self, struct ms_error *err)
{
    const struct ms_traces_wanted wanted = {.policy = self->options->policy,
                                            .min_calls = self->min_calls,
                                            .visit = add_row,
                                            .damaged = malseq_tell_damaged,
                                            .ctx = self};
    const char *folder = getenv("TMPDIR");
    struct ms_buf beside;
    ms_buf_init(&beside, 1 << 16);
    (void)ms_buf_printf(&beside, "%s/", folder && *folder ? folder : "/tmp");
    enum ms_status status = malseq_spool_open(ms_buf_text(&beside), &self->spool, err);
    if (status == MS_OK)
        status = malseq_spool_open(ms_buf_text(&beside), &self->keys, err);
    ms_buf_release(&beside);
    ms_progress_begin("reading traces", 0, "traces");
    if (status == MS_OK)
        status = ms_traces_read(self->corpus, self->reader, &wanted, &self->left, err);
    ms_progress_end();
    if (status == MS_OK && self->count == 0)
        return ms_error_set(err, MS_E_INPUT,
                            "no labelled traces: see 'malseq status', then run label and extract "
                            "(or extract dataset)");
    if (status == MS_OK)
        status = map_spool(self, err);
    if (status == MS_OK)
        status = malseq_tally_sort(&self->labels, false, err);
    return status == MS_OK ? malseq_tally_sort(&self->sources, false, err) : status;
}

/* ---- --groups -------------------------------------------------------------------------------- */

static enum ms_status put_groups(const struct audit *self, FILE *out, struct ms_error *err)
{
    static const char head[] = "id,label,source,raw,collapsed,set,view,near\r\n";
    struct ms_buf line;
    char key[512];
    ms_buf_init(&line, 1 << 16);
    enum ms_status status = malseq_spool_put(out, head, sizeof head - 1, err);
    if (status == MS_OK)
        status = malseq_spool_rewind(self->keys, err);
    for (size_t i = 0; i < self->count && status == MS_OK; i++) {
        size_t n = 0;
        int c;
        while (n < sizeof key && (c = getc(self->keys)) > 0)
            key[n++] = (char)c;
        struct ms_span label = ms_names_get(self->labels.names, self->rows[i].label);
        struct ms_span source = ms_names_get(self->sources.names, self->rows[i].source);
        ms_buf_clear(&line);
        malseq_csv_text(&line, ms_span_of(key, n));
        (void)ms_buf_append_byte(&line, ',');
        malseq_csv_text(&line, label);
        (void)ms_buf_append_byte(&line, ',');
        malseq_csv_text(&line, source);
        for (int kind = 0; kind < AUDIT_KINDS; kind++)
            (void)ms_buf_printf(&line, ",%" PRIu32, self->groups[kind][i]);
        (void)ms_buf_printf(&line, ",%" PRIu32 "\r\n", self->near_groups[i]);
        status = line.failed ? no_memory(err) : malseq_spool_put(out, line.data, line.len, err);
    }
    ms_buf_release(&line);
    return status;
}

static enum ms_status write_groups(const struct audit *self, struct ms_error *err)
{
    struct ms_file_stream file = {NULL, NULL, NULL};
    enum ms_status status = ms_file_stream_open(self->options->groups, 0666, &file, err);
    if (status == MS_OK)
        status = put_groups(self, file.file, err);
    if (status == MS_OK)
        status = ms_file_stream_commit(&file, err);
    ms_file_stream_abort(&file);
    return status;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static void release(struct audit *self)
{
    if (self->map)
        (void)munmap((void *)(uintptr_t)self->map, self->map_bytes);
    if (self->spool)
        (void)fclose(self->spool);
    if (self->keys)
        (void)fclose(self->keys);
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        free(self->groups[kind]);
    free(self->near_groups);
    free(self->rows);
    free(self->symbol_calls);
    free(self->symbol_rows);
    free(self->symbol_labels);
    free(self->label_of);
    free(self->source_of);
    free(self->lengths);
    malseq_tally_release(&self->labels);
    malseq_tally_release(&self->sources);
    ms_trace_reader_free(self->reader);
    ms_corpus_close(self->corpus);
}

static enum ms_status prepare(struct audit *self, struct ms_cli *cli, struct ms_error *err)
{
    const struct malseq_audit *options = self->options;
    if (!(options->near > 0 && options->near <= 1))
        return ms_error_set(err, MS_E_USAGE, "--near %g: must be over 0 and at most 1",
                            options->near);
    self->seed = cli->common.seed;
    self->view.expand = true;
    self->min_calls = 1;
    enum ms_status status =
        ms_normal_request_apply(&options->normal, &self->view, &self->min_calls, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &self->corpus, err);
    if (status == MS_OK)
        status = malseq_check_policy(self->corpus, options->policy, err);
    if (status == MS_OK)
        status = malseq_tally_init(&self->labels, err);
    if (status == MS_OK)
        status = malseq_tally_init(&self->sources, err);
    return status == MS_OK ? ms_trace_reader_new(self->corpus, &self->view, &self->reader, err)
                           : status;
}

enum ms_status malseq_audit(struct ms_cli *cli, struct ms_error *err)
{
    struct audit self = {.options = cli->options};
    enum ms_status status = prepare(&self, cli, err);
    if (status == MS_OK)
        status = malseq_audit_read(&self, err);
    if (status == MS_OK)
        status = malseq_audit_find(&self, err);
    if (status == MS_OK)
        status = malseq_audit_leaks(&self, err);
    if (status == MS_OK && self.options->groups)
        status = write_groups(&self, err);
    if (status == MS_OK && cli->common.json)
        status = ms_json_line(stdout, malseq_audit_json(&self), err);
    else if (status == MS_OK)
        malseq_audit_show(&self, stdout);
    if (status == MS_OK && self.left.damaged)
        status = MS_REJECT;
    release(&self);
    return status;
}
