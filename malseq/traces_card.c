/* The dataset card beside an export of traces: what it holds, how it was made, whose it is. Nothing
 * in it depends on when or where the export was made. */
#include "malseq/traces.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static json_t *hex(const uint8_t sha256[MS_SHA256_BYTES])
{
    char text[MS_HASH_HEX_MAX];
    ms_hex_encode(sha256, MS_SHA256_BYTES, text);
    return json_string(text);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* The part of a path behind its last slash: the card and its data move together. */
static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* [{kind, licence, name, traces}] from the joined texts. */
static json_t *sources_json(const struct traces *self)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < malseq_tally_count(&self->origins); i++) {
        uint64_t count;
        struct ms_span text = malseq_tally_at(&self->origins, i, &count);
        const char *kind = (const char *)text.data;
        const char *licence = strchr(kind, '\t') + 1;
        const char *name = strchr(licence, '\t') + 1;
        json_t *source = json_object();
        size_t licence_n = (size_t)(name - 1 - licence);
        (void)json_object_set_new(source, "kind",
                                  ms_json_bytes(kind, (size_t)(licence - 1 - kind)));
        (void)json_object_set_new(source, "name", *name ? ms_json_text(name) : json_null());
        (void)json_object_set_new(source, "licence",
                                  licence_n ? ms_json_bytes(licence, licence_n) : json_null());
        (void)json_object_set_new(source, "traces", number(count));
        (void)json_array_append_new(list, source);
    }
    return list;
}

static json_t *labels_json(const struct traces *self)
{
    json_t *labels = json_object(), *as_of = json_null();
    if (self->as_of_last_ms) {
        as_of = json_object();
        (void)json_object_set_new(as_of, "first_ms", json_integer(self->as_of_first_ms));
        (void)json_object_set_new(as_of, "last_ms", json_integer(self->as_of_last_ms));
    }
    (void)json_object_set_new(labels, "policies", malseq_tally_json(&self->policies));
    (void)json_object_set_new(labels, "as_of", as_of);
    (void)json_object_set_new(labels, "verdicts", malseq_tally_json(&self->verdicts));
    (void)json_object_set_new(labels, "classes", malseq_tally_json(&self->classes));
    (void)json_object_set_new(labels, "families", malseq_tally_json(&self->families));
    (void)json_object_set_new(labels, "unlabelled", number(self->unlabelled));
    return labels;
}

static json_t *normalisation_json(const struct traces *self)
{
    char text[MS_NORMAL_TEXT_BYTES];
    json_t *object = json_object();
    ms_normal_options_text(&self->view, text);
    (void)json_object_set_new(object, "options", json_string(text));
    (void)json_object_set_new(object, "version", json_integer(MS_NORMAL_VERSION));
    (void)json_object_set_new(object, "min_calls", number(self->min_calls));
    (void)json_object_set_new(object, "pseudo_calls_dropped", number(self->pseudo));
    (void)json_object_set_new(object, "untracked_processes_dropped", number(self->untracked));
    (void)json_object_set_new(object, "looped_calls_dropped", number(self->looped));
    (void)json_object_set_new(object, "traces_cut", number(self->cut_rows));
    return object;
}

static json_t *counts_json(const struct traces *self)
{
    json_t *object = json_object();
    (void)json_object_set_new(object, "traces", number(self->rows - self->off_target));
    (void)json_object_set_new(object, "calls", number(self->call_count));
    (void)json_object_set_new(object, "calls_recorded", number(self->whole_calls));
    (void)json_object_set_new(object, "shortest", number(self->shortest));
    (void)json_object_set_new(object, "longest", number(self->longest));
    (void)json_object_set_new(object, "distinct_calls",
                              number(malseq_tally_count(&self->vocabulary)));
    (void)json_object_set_new(object, "left_out_short", number(self->left.too_short));
    (void)json_object_set_new(object, "left_out_damaged", number(self->left.damaged));
    (void)json_object_set_new(object, "left_out_off_target", number(self->off_target));
    return object;
}

/* Digest of the names in their order, a line each. */
static enum ms_status vocabulary_digest(const struct traces *self, uint8_t out[MS_SHA256_BYTES],
                                        struct ms_error *err)
{
    struct ms_digests digests;
    for (uint32_t i = 0; i < malseq_tally_count(&self->vocabulary); i++) {
        struct ms_span name = malseq_tally_at(&self->vocabulary, i, NULL);
        ms_hasher_update(self->content, name.data, name.len);
        ms_hasher_update(self->content, "\n", 1);
    }
    enum ms_status status = ms_hasher_finish(self->content, &digests, err);
    if (status == MS_OK)
        memcpy(out, digests.sha256, MS_SHA256_BYTES);
    return status;
}

static json_t *features_json(const struct traces *self)
{
    const struct malseq_export *options = self->options;
    if (strcmp(self->format->name, "libsvm") != 0)
        return json_null();
    json_t *object = json_object();
    (void)json_object_set_new(object, "target", json_string(options->target));
    (void)json_object_set_new(object, "ngrams", number(options->ngrams));
    (void)json_object_set_new(object, "indexes",
                              json_string(options->hash_bits ? "hashed" : "vocabulary"));
    (void)json_object_set_new(object, "count", number(self->features));
    return object;
}

static enum ms_status make_card(struct traces *self, const uint8_t sha256[MS_SHA256_BYTES],
                                uint64_t bytes, json_t **out, struct ms_error *err)
{
    struct ms_digests content;
    uint8_t vocabulary[MS_SHA256_BYTES];
    enum ms_status status = ms_hasher_finish(self->content, &content, err);
    if (status == MS_OK)
        status = vocabulary_digest(self, vocabulary, err);
    if (status != MS_OK)
        return status;
    json_t *card = json_object();
    (void)json_object_set_new(card, "what", json_string("traces"));
    (void)json_object_set_new(card, "format", json_string(self->format->name));
    (void)json_object_set_new(card, "file", ms_json_text(file_name(self->path)));
    (void)json_object_set_new(card, "bytes", number(bytes));
    (void)json_object_set_new(card, "sha256", hex(sha256));
    (void)json_object_set_new(card, "content_sha256", hex(content.sha256));
    (void)json_object_set_new(card, "vocabulary_sha256", hex(vocabulary));
    (void)json_object_set_new(card, "tool", json_string("malseq " MS_VERSION));
    (void)json_object_set_new(card, "counts", counts_json(self));
    (void)json_object_set_new(card, "labels", labels_json(self));
    (void)json_object_set_new(card, "normalisation", normalisation_json(self));
    (void)json_object_set_new(card, "sandboxes", malseq_tally_json(&self->sandboxes));
    (void)json_object_set_new(card, "sources", sources_json(self));
    (void)json_object_set_new(card, "features", features_json(self));
    (void)json_object_set_new(card, "names", json_boolean(self->options->names));
    *out = card;
    return MS_OK;
}

/* ---- Markdown -------------------------------------------------------------------------------- */

/* Text for a cell: what Markdown or HTML would read is escaped. */
static void md_text(struct ms_buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\`*_{}[]<>|#!&", *text))
            (void)ms_buf_append_byte(out, '\\');
        (void)ms_buf_append_byte(out, (uint8_t)*text);
    }
}

static void md_table(struct ms_buf *out, const char *title, const char *first, const json_t *counts)
{
    const char *key;
    json_t *value;
    if (json_object_size(counts) == 0)
        return;
    (void)ms_buf_printf(out, "\n## %s\n\n| %s | traces |\n|---|---:|\n", title, first);
    json_object_foreach((json_t *)(uintptr_t)counts, key, value)
    {
        (void)ms_buf_append_text(out, "| ");
        md_text(out, key);
        (void)ms_buf_printf(out, " | %lld |\n", (long long)json_integer_value(value));
    }
}

static void md_sources(struct ms_buf *out, const json_t *sources)
{
    (void)ms_buf_append_text(out, "\n## Sources\n\n| kind | name | licence | traces |\n"
                                  "|---|---|---|---:|\n");
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *source = json_array_get(sources, i);
        (void)ms_buf_append_text(out, "| ");
        md_text(out, ms_json_string_at(source, "kind", ""));
        (void)ms_buf_append_text(out, " | ");
        md_text(out, ms_json_string_at(source, "name", "not told"));
        (void)ms_buf_append_text(out, " | ");
        md_text(out, ms_json_string_at(source, "licence", "not known"));
        (void)ms_buf_printf(out, " | %lld |\n", (long long)ms_json_int_at(source, "traces", 0));
    }
}

static long long at(const json_t *card, const char *path)
{
    return (long long)ms_json_int_at(card, path, 0);
}

static void md_head(struct ms_buf *out, const json_t *card)
{
    (void)ms_buf_append_text(out, "# Data card: ");
    md_text(out, ms_json_string_at(card, "file", ""));
    (void)ms_buf_printf(
        out,
        "\n\n%lld traces of API calls, %lld calls (%lld as recorded), %lld distinct ones; a trace "
        "has %lld to %lld calls as recorded.\n\nLeft out: %lld too short, %lld damaged, %lld "
        "without the label asked for; everything private. A sample has one trace, that of its "
        "newest analysis. Copies of a trace are still there: split by groups ('malseq audit').\n\n",
        at(card, "counts.traces"), at(card, "counts.calls"), at(card, "counts.calls_recorded"),
        at(card, "counts.distinct_calls"), at(card, "counts.shortest"), at(card, "counts.longest"),
        at(card, "counts.left_out_short"), at(card, "counts.left_out_damaged"),
        at(card, "counts.left_out_off_target"));
    (void)ms_buf_printf(
        out,
        "| | |\n|---|---|\n| made with | %s |\n| normalisation | `%s`, at least %lld calls |\n"
        "| SHA-256 of the file | `%s` |\n| of the content, in any format | `%s` |\n"
        "| of the vocabulary | `%s` |\n",
        ms_json_string_at(card, "tool", ""), ms_json_string_at(card, "normalisation.options", ""),
        at(card, "normalisation.min_calls"), ms_json_string_at(card, "sha256", ""),
        ms_json_string_at(card, "content_sha256", ""),
        ms_json_string_at(card, "vocabulary_sha256", ""));
    (void)ms_buf_printf(out,
                        "\nThe normalisation dropped %lld pseudo-calls, %lld untracked processes "
                        "and %lld calls in loops, and cut %lld traces.\n",
                        at(card, "normalisation.pseudo_calls_dropped"),
                        at(card, "normalisation.untracked_processes_dropped"),
                        at(card, "normalisation.looped_calls_dropped"),
                        at(card, "normalisation.traces_cut"));
}

static enum ms_status write_beside(const struct traces *self, const char *suffix,
                                   const struct ms_buf *text, struct ms_error *err)
{
    struct ms_file_stream file = {NULL, NULL, NULL};
    if (text->failed)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the card");
    enum ms_status status = malseq_traces_beside(self, suffix, &file, err);
    if (status == MS_OK && fwrite(text->data, 1, text->len, file.file) != text->len)
        status = ms_error_set(err, MS_E_IO, "cannot write the card");
    if (status == MS_OK)
        status = ms_file_stream_commit(&file, err);
    ms_file_stream_abort(&file);
    return status;
}

enum ms_status malseq_traces_card(struct traces *self, const uint8_t sha256[MS_SHA256_BYTES],
                                  uint64_t bytes, struct ms_error *err)
{
    json_t *card = NULL;
    struct ms_buf text;
    ms_buf_init(&text, 64 << 20);
    enum ms_status status = make_card(self, sha256, bytes, &card, err);
    if (status != MS_OK)
        return status;
    md_head(&text, card);
    md_table(&text, "Labels", "policy", ms_json_at(card, "labels.policies"));
    md_table(&text, "Verdicts", "verdict", ms_json_at(card, "labels.verdicts"));
    md_table(&text, "Classes", "class", ms_json_at(card, "labels.classes"));
    md_table(&text, "Sandboxes", "sandbox", ms_json_at(card, "sandboxes"));
    md_sources(&text, ms_json_at(card, "sources"));
    status = write_beside(self, ".md", &text, err);
    ms_buf_clear(&text);
    char *json = json_dumps(card, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (json)
        (void)ms_buf_printf(&text, "%s\n", json);
    if (!json)
        text.failed = true;
    free(json);
    if (status == MS_OK)
        status = write_beside(self, ".json", &text, err);
    json_decref(card);
    ms_buf_release(&text);
    return status;
}
