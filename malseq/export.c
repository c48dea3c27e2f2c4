/* malseq export: the samples of a corpus as JSON lines or CSV, in the order of their hashes, one at
 * a time. What may be exported is decided in store/. */
#include "malseq/malseq.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "malseq/csv.h"
#include "malseq/export.h"
#include "malseq/traces.h"
#include "store/export.h"
#include "store/traces.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One line without its sightings; one sighting: a path of 16 KiB and a chain of as many names of 4
 * KiB as --max-depth allows, both told twice, and six bytes for each where it must be escaped. */
enum { LINE_BYTES = 16 << 20, PLACE_BYTES = 4 << 20 };
#define DEFAULT_POLICY "ember2024"

struct export
{
    const struct malseq_export *options;
    const char *policy;
    struct ms_corpus *corpus;
    FILE *out;
    struct ms_scanner *scanner;
    struct ms_buf line, place;
    uint64_t samples, sightings, damaged; /* sightings: of the present sample */
};

static enum ms_status put(struct export *self, const void *bytes, size_t n, struct ms_error *err)
{
    errno = 0;
    if (fwrite(bytes, 1, n, self->out) == n)
        return MS_OK;
    return errno ? ms_error_set_errno(err, MS_E_IO, errno, "cannot write the export")
                 : ms_error_set(err, MS_E_IO, "cannot write the export");
}

static enum ms_status put_buf(struct export *self, struct ms_buf *bytes, struct ms_error *err)
{
    if (bytes->failed)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    return put(self, bytes->data, bytes->len, err);
}

static enum ms_status put_text(struct export *self, const char *text, struct ms_error *err)
{
    return put(self, text, strlen(text), err);
}

static void hex(const uint8_t *bytes, size_t n, bool known, char out[MS_HASH_HEX_MAX])
{
    out[0] = '\0';
    if (known)
        ms_hex_encode(bytes, n, out);
}

/* Where a sample was seen, in one line: repo@commit:path!a.zip!b.7z!x.exe */
static void join_place(struct export *self, const struct ms_export_sighting *sighting)
{
    struct ms_buf *out = &self->place;
    ms_buf_clear(out);
    (void)ms_buf_append_text(out, sighting->origin ? sighting->origin : "");
    if (sighting->commit_id.data) {
        (void)ms_buf_append_byte(out, '@');
        for (size_t i = 0; i < sighting->commit_id.len; i++)
            (void)ms_buf_printf(out, "%02x", sighting->commit_id.data[i]);
    } else if (sighting->ref && *sighting->ref) {
        (void)ms_buf_printf(out, "@%s", sighting->ref);
    }
    (void)ms_buf_append_byte(out, ':');
    (void)ms_buf_append(out, sighting->path.data, sighting->path.len);
    if (sighting->chain.len) {
        (void)ms_buf_append_byte(out, '!');
        (void)ms_buf_append(out, sighting->chain.data, sighting->chain.len);
    }
}

/* The features are embedded as they stand in the corpus, for numbers up to 2^64-1 are in them. They
 * are ours; what a damaged database says in their place must not break the line. */
static bool features_are_good(struct export *self, struct ms_span features)
{
    struct ms_error why;
    for (size_t i = 0; i < features.len; i++)
        if (features.data[i] < 0x20 || features.data[i] > 0x7e)
            return false;
    ms_scanner_restart(self->scanner, features);
    return ms_scanner_finish(self->scanner, &why) == MS_OK;
}

static void tell_damaged(struct export *self, const struct ms_export_sample *sample)
{
    char name[MS_HASH_HEX_MAX];
    hex(sample->digests.sha256, MS_SHA256_BYTES, sample->has_sha256, name);
    ms_log(MS_LOG_WARNING, "the features of sample %s are damaged and left out", name);
    self->damaged++;
}

/* ---- JSON lines ------------------------------------------------------------------------------ */

static json_t *digest(const uint8_t *bytes, size_t n, bool known)
{
    char text[MS_HASH_HEX_MAX];
    hex(bytes, n, known, text);
    return known ? json_string(text) : json_null();
}

static json_t *label_of(const struct export *self, const struct ms_export_sample *sample)
{
    if (!sample->verdict)
        return json_null();
    json_t *label = json_object();
    (void)json_object_set_new(label, "policy", ms_json_text(self->policy));
    (void)json_object_set_new(label, "verdict", ms_json_text(sample->verdict));
    (void)json_object_set_new(label, "class", ms_json_text(sample->class_));
    (void)json_object_set_new(label, "family", ms_json_text(sample->family));
    return label;
}

static json_t *json_head(const struct export *self, const struct ms_export_sample *sample)
{
    const struct ms_digests *digests = &sample->digests;
    json_t *line = json_object();
    (void)json_object_set_new(line, "sha256",
                              digest(digests->sha256, MS_SHA256_BYTES, sample->has_sha256));
    (void)json_object_set_new(line, "sha1", digest(digests->sha1, MS_SHA1_BYTES, sample->has_sha1));
    (void)json_object_set_new(line, "md5", digest(digests->md5, MS_MD5_BYTES, sample->has_md5));
    (void)json_object_set_new(line, "size",
                              sample->size < 0 ? json_null() : json_integer(sample->size));
    (void)json_object_set_new(line, "kind", ms_json_text(sample->kind));
    (void)json_object_set_new(line, "machine",
                              sample->machine < 0 ? json_null() : json_integer(sample->machine));
    (void)json_object_set_new(line, "flags", ms_json_text(sample->flags));
    (void)json_object_set_new(line, "stored", json_boolean(sample->vaulted));
    if (self->options->times)
        (void)json_object_set_new(line, "first_ms",
                                  sample->first_ms ? json_integer(sample->first_ms) : json_null());
    (void)json_object_set_new(line, "label", label_of(self, sample));
    return line;
}

static enum ms_status json_sighting(void *ctx, const struct ms_export_sighting *sighting,
                                    struct ms_error *err)
{
    struct export *self = ctx;
    struct ms_span commit_id = sighting->commit_id;
    json_t *place = json_object();
    join_place(self, sighting);
    (void)json_object_set_new(place, "where", ms_json_bytes(self->place.data, self->place.len));
    (void)json_object_set_new(place, "kind", ms_json_text(sighting->kind));
    (void)json_object_set_new(place, "origin", ms_json_text(sighting->origin));
    (void)json_object_set_new(place, "ref", ms_json_text(sighting->ref));
    (void)json_object_set_new(
        place, "commit",
        digest(commit_id.data, commit_id.len, commit_id.data && commit_id.len <= MS_SHA256_BYTES));
    (void)json_object_set_new(place, "path",
                              ms_json_bytes(sighting->path.data, sighting->path.len));
    (void)json_object_set_new(place, "chain",
                              ms_json_bytes(sighting->chain.data, sighting->chain.len));
    (void)json_object_set_new(place, "password",
                              sighting->password.data
                                  ? ms_json_bytes(sighting->password.data, sighting->password.len)
                                  : json_null());
    (void)json_object_set_new(place, "claim", ms_json_text(sighting->claim));
    (void)json_object_set_new(place, "side_file", ms_json_text(sighting->side_file));
    (void)json_object_set_new(place, "gone", json_boolean(sighting->gone));
    if (self->options->times)
        (void)json_object_set_new(place, "seen_ms", json_integer(sighting->seen_ms));
    ms_buf_clear(&self->place);
    if (self->sightings++)
        (void)ms_buf_append_byte(&self->place, ',');
    enum ms_status status = ms_json_append(&self->place, place, err);
    return status == MS_OK ? put_buf(self, &self->place, err) : status;
}

static enum ms_status json_sample(void *ctx, const struct ms_export_sample *sample,
                                  struct ms_error *err)
{
    struct export *self = ctx;
    struct ms_span features = sample->features;
    ms_buf_clear(&self->line);
    enum ms_status status = ms_json_append(&self->line, json_head(self, sample), err);
    if (status != MS_OK)
        return status;
    self->line.len--; /* the closing brace: more follows */
    if (features.data && !features_are_good(self, features)) {
        tell_damaged(self, sample);
        features = ms_span_of(NULL, 0);
    }
    (void)ms_buf_append_text(&self->line, ",\"features\":");
    if (features.data)
        (void)ms_buf_append(&self->line, features.data, features.len);
    else
        (void)ms_buf_append_text(&self->line, "null");
    status = put_buf(self, &self->line, err);
    self->samples++;
    if (status == MS_OK && self->options->sightings) {
        self->sightings = 0;
        status = put_text(self, ",\"sightings\":[", err);
        if (status == MS_OK)
            status = ms_export_sightings(self->corpus, sample->id, json_sighting, self, err);
        if (status == MS_OK)
            status = put_text(self, "]", err);
    }
    return status == MS_OK ? put_text(self, "}\n", err) : status;
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static void csv_cell(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append_byte(out, ',');
    if (text)
        malseq_csv_text(out, ms_span_of(text, strlen(text)));
}

static void csv_bytes(struct ms_buf *out, struct ms_span bytes)
{
    (void)ms_buf_append_byte(out, ',');
    if (bytes.data)
        malseq_csv_text(out, bytes);
}

static void csv_number(struct ms_buf *out, bool known, int64_t number)
{
    (void)ms_buf_append_byte(out, ',');
    if (known)
        (void)ms_buf_printf(out, "%" PRId64, number);
}

static enum ms_status csv_head(struct export *self, struct ms_error *err)
{
    struct ms_buf *out = &self->line;
    (void)ms_buf_append_text(out, "sha256,sha1,md5,size,kind,machine,flags,stored");
    if (self->options->times)
        (void)ms_buf_append_text(out, ",first_ms");
    (void)ms_buf_append_text(out, ",policy,verdict,class,family");
    malseq_columns_head(out);
    if (self->options->sightings)
        (void)ms_buf_append_text(out,
                                 ",where,origin_kind,origin,ref,commit,path,chain,password,claim,"
                                 "side_file,gone");
    if (self->options->sightings && self->options->times)
        (void)ms_buf_append_text(out, ",seen_ms");
    (void)ms_buf_append_text(out, "\r\n");
    return put_buf(self, out, err);
}

/* All columns of the sample, into self->line. */
static enum ms_status csv_columns(struct export *self, const struct ms_export_sample *sample,
                                  struct ms_error *err)
{
    struct ms_buf *out = &self->line;
    char text[3][MS_HASH_HEX_MAX];
    struct ms_error why = {MS_OK, 0, ""};
    hex(sample->digests.sha256, MS_SHA256_BYTES, sample->has_sha256, text[0]);
    hex(sample->digests.sha1, MS_SHA1_BYTES, sample->has_sha1, text[1]);
    hex(sample->digests.md5, MS_MD5_BYTES, sample->has_md5, text[2]);
    ms_buf_clear(out);
    (void)ms_buf_printf(out, "%s,%s,%s", text[0], text[1], text[2]);
    csv_number(out, sample->size >= 0, sample->size);
    csv_cell(out, sample->kind);
    csv_number(out, sample->machine >= 0, sample->machine);
    csv_cell(out, sample->flags);
    csv_number(out, true, sample->vaulted);
    if (self->options->times)
        csv_number(out, sample->first_ms != 0, sample->first_ms);
    csv_cell(out, sample->verdict ? self->policy : NULL);
    csv_cell(out, sample->verdict);
    csv_cell(out, sample->class_);
    csv_cell(out, sample->family);
    enum ms_status status = malseq_columns_row(self->scanner, sample->features, out, &why);
    if (status == MS_REJECT) {
        tell_damaged(self, sample);
        status = MS_OK;
    } else if (status != MS_OK) {
        *err = why;
    }
    return status;
}

static enum ms_status csv_sighting(void *ctx, const struct ms_export_sighting *sighting,
                                   struct ms_error *err)
{
    struct export *self = ctx;
    char commit_id[MS_HASH_HEX_MAX];
    enum ms_status status = put_buf(self, &self->line, err);
    join_place(self, sighting);
    struct ms_buf row;
    ms_buf_init(&row, PLACE_BYTES);
    csv_bytes(&row, ms_span_of(self->place.data, self->place.len));
    csv_cell(&row, sighting->kind);
    csv_cell(&row, sighting->origin);
    csv_cell(&row, sighting->ref);
    hex(sighting->commit_id.data, sighting->commit_id.len,
        sighting->commit_id.data && sighting->commit_id.len <= MS_SHA256_BYTES, commit_id);
    (void)ms_buf_printf(&row, ",%s", commit_id);
    csv_bytes(&row, sighting->path);
    csv_bytes(&row, sighting->chain);
    csv_bytes(&row, sighting->password);
    csv_cell(&row, sighting->claim);
    csv_cell(&row, sighting->side_file);
    csv_number(&row, true, sighting->gone);
    if (self->options->times)
        csv_number(&row, true, sighting->seen_ms);
    (void)ms_buf_append_text(&row, "\r\n");
    row.failed |= self->place.failed;
    if (status == MS_OK)
        status = put_buf(self, &row, err);
    ms_buf_release(&row);
    self->sightings++;
    return status;
}

/* With --sightings one row a sighting, the sample's columns repeated; one with empty cells for a
 * sample that was seen nowhere. */
static enum ms_status csv_sample(void *ctx, const struct ms_export_sample *sample,
                                 struct ms_error *err)
{
    struct export *self = ctx;
    enum ms_status status = csv_columns(self, sample, err);
    self->samples++;
    self->sightings = 0;
    if (status == MS_OK && self->options->sightings)
        status = ms_export_sightings(self->corpus, sample->id, csv_sighting, self, err);
    if (status != MS_OK || self->sightings)
        return status;
    status = put_buf(self, &self->line, err);
    if (status == MS_OK && self->options->sightings)
        status = put_text(self, self->options->times ? ",,,,,,,,,,,," : ",,,,,,,,,,,", err);
    return status == MS_OK ? put_text(self, "\r\n", err) : status;
}

/* ---- the verb -------------------------------------------------------------------------------- */

/* A policy that was typed wrong would give an export without labels, and no word about it. */
enum ms_status malseq_check_policy(struct ms_corpus *corpus, const char *policy,
                                   struct ms_error *err)
{
    char shown[128];
    bool has = false;
    if (!policy)
        return MS_OK;
    enum ms_status status = ms_export_has_policy(corpus, policy, &has, err);
    if (status != MS_OK || has)
        return status;
    return ms_error_set(err, MS_E_INPUT,
                        "no label of the corpus is of policy '%s': 'malseq status' lists those "
                        "there are, 'label relabel --policy' makes new ones",
                        ms_escape_text(policy, shown, sizeof shown));
}

static enum ms_status write_all(struct export *self, struct ms_error *err)
{
    bool csv = self->options->csv;
    enum ms_status status = csv ? csv_head(self, err) : MS_OK;
    if (status == MS_OK)
        status = ms_export_samples(self->corpus, self->policy, csv ? csv_sample : json_sample, self,
                                   err);
    if (status == MS_OK && fflush(self->out) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot write the export");
    return status;
}

static bool was_typed(const struct ms_normal_request *self)
{
    struct ms_normal_request none;
    ms_normal_request_init(&none);
    return self->order || self->fold || self->pseudo || self->repeated || self->once || self->cut ||
           self->collapse != none.collapse || self->loops != none.loops ||
           self->max_calls != none.max_calls || self->min_calls != none.min_calls;
}

static enum ms_status check_options(struct malseq_export *options, bool json, struct ms_error *err)
{
    const char *format = options->format;
    if (options->csv && (json || (format && strcmp(format, "csv") != 0)))
        return ms_error_set(err, MS_E_USAGE, "--%s and --csv do not go together",
                            json ? "json" : "format");
    if (json && format && strcmp(format, "jsonl") != 0)
        return ms_error_set(err, MS_E_USAGE, "--json and --format %s do not go together", format);
    options->csv |= format && strcmp(format, "csv") == 0;
    options->names &= !options->no_names;
    if (strcmp(options->what, "traces") == 0)
        return MS_OK;
    if (format && (strcmp(format, "npz") == 0 || strcmp(format, "libsvm") == 0))
        return ms_error_set(err, MS_E_USAGE, "--format %s is for --what traces", format);
    if (was_typed(&options->normal) || options->names || options->unlabelled)
        return ms_error_set(err, MS_E_USAGE,
                            "--names, --unlabelled and how calls are normalised are for --what "
                            "traces");
    return MS_OK;
}

static enum ms_status export_samples(struct ms_cli *cli, struct ms_error *err)
{
    const struct malseq_export *options = cli->options;
    struct export self = {.options = options,
                          .policy = options->policy ? options->policy : DEFAULT_POLICY,
                          .out = stdout};
    struct ms_file_stream file = {NULL, NULL, NULL};
    bool to_file = options->out && strcmp(options->out, "-") != 0;
    ms_buf_init(&self.line, LINE_BYTES);
    ms_buf_init(&self.place, PLACE_BYTES);
    enum ms_status status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &self.corpus, err);
    if (status == MS_OK)
        status = malseq_check_policy(self.corpus, options->policy, err);
    if (status == MS_OK)
        status = ms_scanner_new_memory(&self.scanner, err);
    if (status == MS_OK && to_file) {
        status = ms_file_stream_open(options->out, 0666, &file, err);
        self.out = file.file;
    }
    if (status == MS_OK)
        status = write_all(&self, err);
    if (status == MS_OK && to_file)
        status = ms_file_stream_commit(&file, err);
    ms_file_stream_abort(&file);
    if (status == MS_OK && !cli->common.quiet)
        ms_log(MS_LOG_INFO, "%llu samples%s", (unsigned long long)self.samples,
               self.damaged ? "; the features of some are damaged: 'malseq fsck'" : "");
    if (status == MS_OK && self.damaged)
        status = MS_REJECT;
    ms_scanner_free(self.scanner);
    ms_corpus_close(self.corpus);
    ms_buf_release(&self.line);
    ms_buf_release(&self.place);
    return status;
}

enum ms_status malseq_export(struct ms_cli *cli, struct ms_error *err)
{
    struct malseq_export *options = cli->options;
    enum ms_status status = check_options(options, cli->common.json, err);
    if (status != MS_OK)
        return status;
    return strcmp(options->what, "traces") == 0 ? malseq_export_traces(cli, err)
                                                : export_samples(cli, err);
}

void malseq_tell_damaged(const struct ms_trace_row *row, const char *why)
{
    ms_log(MS_LOG_WARNING, "%s: trace left out: %s", row->key, why);
}
