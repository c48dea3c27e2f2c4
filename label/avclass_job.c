/* Reads reports line by line in the confined process, as AVClass reads files, and judges them. */
#include "label/avclass_job.h"

#include "base/limits.h"
#include "base/stream.h"
#include "label/avclass_lines.h"
#include "label/avclass_text.h"
#include "label/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FLUSH_BYTES = 256 << 10, OUT_BYTES = 256 << 20 };
enum { OPTION_TAGS = 1, OPTION_PUP = 2, OPTION_VTT = 4, OPTION_FILTERED = 8, OPTION_JSON = 16 };

struct job {
    struct ms_avclass_options options;
    struct ms_avclass *engine;
    struct ms_record_reader *reader;
    enum ms_record_format format; /* that of the first report which has all that its form needs */
    struct ms_avclass_label *labels;
    size_t label_cap;
    struct ms_buf text;
    struct ms_worker_out *out;
    uint64_t reports, rejected;
};

/* ---- argument ---------------------------------------------------------------------------- */

static void put_span(struct ms_buf *out, struct ms_span bytes)
{
    (void)ms_buf_append_varint(out, bytes.len);
    (void)ms_buf_append(out, bytes.data, bytes.len);
}

static bool take_span(struct ms_span *from, struct ms_span *out)
{
    uint64_t n;
    return ms_span_take_varint(from, &n) && ms_span_take(from, n, out);
}

enum ms_status ms_avclass_job_pack(const struct ms_avclass_options *options,
                                   const struct ms_avclass_rules *rules, struct ms_buf *out,
                                   struct ms_error *err)
{
    ms_buf_clear(out);
    (void)ms_buf_append_byte(
        out, (uint8_t)((options->tags ? OPTION_TAGS : 0) | (options->pup ? OPTION_PUP : 0) |
                       (options->vtt ? OPTION_VTT : 0) | (options->json ? OPTION_JSON : 0) |
                       (options->filtered ? OPTION_FILTERED : 0)));
    (void)ms_buf_append_byte(out, (uint8_t)options->hash);
    put_span(out, rules->taxonomy);
    put_span(out, rules->tagging);
    put_span(out, rules->expansion);
    (void)ms_buf_append_varint(out, options->engine_count);
    for (size_t i = 0; i < options->engine_count; i++)
        put_span(out, options->engines[i]);
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

static enum ms_status set_filter(struct job *job, struct ms_span *arg, struct ms_error *err)
{
    uint64_t count = 0;
    if (!ms_span_take_varint(arg, &count) || count > arg->len)
        return ms_error_set(err, MS_E_BUG, "a malformed job");
    struct ms_span *names = calloc(count + 1, sizeof *names);
    if (!names)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++)
        ok = take_span(arg, &names[i]);
    enum ms_status status = ok ? MS_OK : ms_error_set(err, MS_E_BUG, "a malformed job");
    if (ok && job->options.filtered)
        status = ms_avclass_only(job->engine, names, count, err);
    free(names);
    return status;
}

static enum ms_status unpack(struct job *job, struct ms_span arg, struct ms_error *err)
{
    uint8_t flags, hash;
    struct ms_avclass_rules rules;
    if (!ms_span_take_u8(&arg, &flags) || !ms_span_take_u8(&arg, &hash) ||
        !take_span(&arg, &rules.taxonomy) || !take_span(&arg, &rules.tagging) ||
        !take_span(&arg, &rules.expansion))
        return ms_error_set(err, MS_E_BUG, "a malformed job");
    job->options = (struct ms_avclass_options){.tags = flags & OPTION_TAGS,
                                               .pup = flags & OPTION_PUP,
                                               .vtt = flags & OPTION_VTT,
                                               .json = flags & OPTION_JSON,
                                               .filtered = flags & OPTION_FILTERED,
                                               .hash = (enum ms_hash_kind)hash};
    enum ms_status status = ms_avclass_new(&rules, &job->engine, err);
    return status == MS_OK ? set_filter(job, &arg, err) : status;
}

/* ---- one report -------------------------------------------------------------------------- */

/* Python's `if not label`. */
static bool is_nothing(const struct ms_record_text *text)
{
    return text->kind == MS_RECORD_NULL || text->kind == MS_RECORD_FALSE ||
           (text->kind == MS_RECORD_STRING && text->len == 0);
}

/* The reader cuts texts that are longer, in front of a character that would be split. */
static bool is_cut(const struct ms_record_text *text)
{
    return text->len > MS_LIMIT_JSON_STRING_BYTES - 4;
}

static struct ms_span span_of(const struct ms_record_text *text)
{
    return text->at ? ms_span_of(text->at, text->len) : (struct ms_span){(const uint8_t *)"", 0};
}

/* The engine rows that AVClass takes; NULL, or what makes it break off. A label of the simplified
 * form that Python holds for false is passed over, any other that is no text ends the line. */
static const char *gather(struct job *job, const struct ms_record *record,
                          struct ms_avclass_sample *sample)
{
    for (size_t i = 0; i < record->engine_count; i++) {
        const struct ms_record_engine *row = &record->engines[i];
        if (row->malformed)
            return "the row of an engine is malformed";
        if (!row->counts)
            continue;
        bool simple = record->format == MS_RECORD_SIMPLE;
        if (row->label.kind != MS_RECORD_STRING && !(simple && is_nothing(&row->label)))
            return "an engine's label is no text";
        if (is_cut(&row->label))
            return "an engine's label is too long";
        if (row->name.kind == MS_RECORD_ARRAY || row->name.kind == MS_RECORD_OBJECT)
            return "an engine's name is no text";
        job->labels[sample->count++] =
            (struct ms_avclass_label){span_of(&row->name), span_of(&row->label)};
    }
    return NULL;
}

static bool has_hashes(const struct ms_record *record)
{
    return record->md5.kind == MS_RECORD_STRING && record->sha1.kind == MS_RECORD_STRING &&
           record->sha256.kind == MS_RECORD_STRING;
}

static const struct ms_record_text *name_of(const struct job *job, const struct ms_record *record)
{
    return job->options.hash == MS_HASH_MD5    ? &record->md5
           : job->options.hash == MS_HASH_SHA1 ? &record->sha1
                                               : &record->sha256;
}

/* NULL, or why the report gives no line: where AVClass warns and goes on, where it ends with a
 * trace, and where its line would be a trace. */
static const char *check(const struct job *job, const struct ms_record *record)
{
    if (record->missing)
        return record->missing;
    bool simple = record->format == MS_RECORD_SIMPLE;
    if (record->engines_kind != (simple ? MS_RECORD_ARRAY : MS_RECORD_OBJECT) &&
        !(simple &&
          (record->engines_kind == MS_RECORD_NULL || record->engines_kind == MS_RECORD_FALSE)))
        return "the engines' results are no list";
    if (!has_hashes(record))
        return "a hash is no text";
    if (is_cut(name_of(job, record)))
        return "a hash is too long";
    if (!job->options.vtt || job->options.tags)
        return NULL;
    for (size_t i = 0; i < record->tag_count; i++)
        if (record->tags[i].kind != MS_RECORD_STRING)
            return "one of VirusTotal's tags is no text";
    return NULL;
}

static enum ms_status reject(struct job *job, uint64_t line, const char *why, struct ms_error *err)
{
    struct ms_buf frame;
    ms_buf_init(&frame, 4096);
    (void)ms_buf_append_varint(&frame, line);
    (void)ms_buf_append_text(&frame, why);
    enum ms_status status = ms_worker_emit(job->out, MS_AVCLASS_REJECT, frame.data, frame.len);
    ms_buf_release(&frame);
    job->rejected++;
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static enum ms_status judge(struct job *job, const struct ms_record *record, const char **why,
                            struct ms_error *err)
{
    struct ms_avclass_verdict verdict;
    struct ms_avclass_sample sample = {.md5 = span_of(&record->md5),
                                       .sha1 = span_of(&record->sha1),
                                       .sha256 = span_of(&record->sha256),
                                       .clean = record->format != MS_RECORD_SIMPLE};
    *why = check(job, record);
    if (*why)
        return MS_OK;
    if (record->engine_count > job->label_cap) {
        free(job->labels);
        job->label_cap = 2 * record->engine_count;
        job->labels = calloc(job->label_cap, sizeof *job->labels);
        if (!job->labels) {
            job->label_cap = 0;
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        }
    }
    sample.labels = job->labels;
    *why = gather(job, record, &sample);
    if (*why)
        return MS_OK;
    enum ms_status status = ms_avclass_judge(job->engine, &sample, &verdict, err);
    if (status != MS_OK)
        return status;
    const struct ms_avclass_line line = {.hash = span_of(name_of(job, record)),
                                         .verdict = &verdict,
                                         .labels = sample.count,
                                         .vt_tags = record->tags,
                                         .vt_tag_count = record->tag_count};
    if (ms_avclass_line_put(&job->options, &line, &job->text) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a line of output");
    return MS_OK;
}

/* ---- the stream -------------------------------------------------------------------------- */

static enum ms_status flush(struct job *job, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t at = 0; at < job->text.len && status == MS_OK;) {
        size_t n = job->text.len - at;
        n = n < MS_LIMIT_FRAME_BYTES ? n : MS_LIMIT_FRAME_BYTES;
        status = ms_worker_emit(job->out, MS_AVCLASS_TEXT, job->text.data + at, n);
        at += n;
    }
    ms_buf_clear(&job->text);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

/* White space alone is no report. */
static bool is_blank(struct ms_span line)
{
    size_t i = 0;
    while (i < line.len && (line.data[i] == ' ' || line.data[i] == '\t'))
        i++;
    return i == line.len;
}

static enum ms_status take_line(struct job *job, struct ms_span line, uint64_t number,
                                struct ms_error *err)
{
    struct ms_record record;
    struct ms_error fault = {0};
    const char *why = NULL;
    char missing[128];
    job->reports++;
    enum ms_status status = ms_record_read(job->reader, line, job->format, &record, &fault);
    if (status == MS_REJECT)
        return reject(job, number, fault.text, err);
    if (status == MS_OK && !record.missing)
        job->format = record.format;
    if (status == MS_OK)
        status = judge(job, &record, &why, &fault);
    if (status != MS_OK) {
        *err = fault;
        return status;
    }
    if (why && why == record.missing) {
        (void)snprintf(missing, sizeof missing, "no scans: the report has no member %s", why);
        why = missing;
    }
    return why ? reject(job, number, why, err) : MS_OK;
}

static enum ms_status read_lines(struct job *job, struct ms_avclass_lines *lines, bool eager,
                                 struct ms_error *err)
{
    struct ms_span line;
    enum ms_status status = MS_OK;
    while (status == MS_OK) {
        bool more = false;
        if (job->text.len >= FLUSH_BYTES ||
            (eager && job->text.len && ms_avclass_lines_waits(lines)))
            status = flush(job, err);
        if (status == MS_OK)
            status = ms_avclass_lines_next(lines, &line, &more, err);
        if (status == MS_REJECT && more)
            status = reject(job, lines->number, err->text, err);
        else if (status != MS_OK || !more)
            break;
        else if (!is_blank(line))
            status = take_line(job, line, lines->number, err);
    }
    if (status != MS_OK && status != MS_REJECT)
        return status;
    enum ms_status flushed = flush(job, err);
    return flushed == MS_OK ? status : flushed;
}

static enum ms_status send_counts(struct job *job, struct ms_error *err)
{
    struct ms_buf frame;
    ms_buf_init(&frame, 64);
    (void)ms_buf_append_varint(&frame, job->reports);
    (void)ms_buf_append_varint(&frame, job->rejected);
    enum ms_status status = ms_worker_emit(job->out, MS_AVCLASS_COUNTS, frame.data, frame.len);
    ms_buf_release(&frame);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static enum ms_status run(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                          struct ms_error *err)
{
    struct job job = {.out = out};
    struct ms_stream *stream = NULL;
    struct ms_avclass_lines lines = {0};
    struct stat st;
    ms_buf_init(&job.text, OUT_BYTES);
    /* Whoever feeds a pipe line by line wants the answers as they come. */
    bool eager = fstat(input_fd, &st) != 0 || !S_ISREG(st.st_mode);
    enum ms_status status = unpack(&job, arg, err);
    if (status == MS_OK)
        status = ms_record_reader_new(&job.reader, err);
    if (status == MS_OK)
        status = ms_stream_open(input_fd, MS_LIMIT_LABEL_FILE_BYTES, &stream, err);
    if (status == MS_OK) {
        const char *foreign = ms_stream_foreign(stream);
        ms_avclass_lines_init(&lines, stream);
        status = foreign ? ms_error_set(err, MS_REJECT, "%s", foreign)
                         : read_lines(&job, &lines, eager, err);
        enum ms_status counted = send_counts(&job, err);
        status = status == MS_OK ? counted : status;
    }
    ms_avclass_lines_release(&lines);
    ms_stream_close(stream);
    ms_record_reader_free(job.reader);
    ms_avclass_free(job.engine);
    ms_buf_release(&job.text);
    free(job.labels);
    return status;
}

const struct ms_worker_kind ms_avclass_kind = {"avclass", run, NULL};
