/* What the files of malseq export --what traces share: the run, and what a format does with a
 * trace. */
#ifndef MS_MALSEQ_TRACES_H
#define MS_MALSEQ_TRACES_H

#include "base/file.h"
#include "base/hash.h"
#include "malseq/malseq.h"
#include "malseq/tally.h"
#include "store/traces.h"

#include <jansson.h>

struct traces;

/* A format. row is called for every trace that is exported; end once, behind the last. */
struct traces_format {
    const char *name;
    bool needs_file; /* it seeks, or writes files beside it */
    bool spools;     /* rows go to the spools; end writes all */
    enum ms_status (*begin)(struct traces *self, struct ms_error *err);
    enum ms_status (*row)(struct traces *self, const struct ms_trace_row *row,
                          const struct ms_trace_read *read, struct ms_error *err);
    enum ms_status (*end)(struct traces *self, struct ms_error *err);
};
extern const struct traces_format malseq_traces_jsonl, malseq_traces_csv, malseq_traces_npz,
    malseq_traces_libsvm;

/* A spooled trace; its key's bytes are in `keys`, its calls in `calls` (uint32_t, symbols of the
 * reader). Numbers of the tallies; -1 none. */
struct traces_meta {
    int32_t verdict, class_, family, sandbox;
    int64_t length, first_submission_ms;
    uint64_t calls;
    uint32_t key_bytes;
    uint32_t cut;
};

struct traces {
    const struct malseq_export *options;
    const struct traces_format *format;
    struct ms_corpus *corpus;
    struct ms_trace_reader *reader;
    struct ms_normal_options view;
    uint64_t min_calls;
    const char *path; /* NULL: standard output */
    FILE *out;
    struct ms_buf line;
    struct ms_hasher *content;
    FILE *meta, *keys, *calls; /* spools; NULL where the format has none */
    /* Texts of the symbols as the format writes them, made when first met. */
    char **texts;
    uint64_t *symbol_calls; /* in the views */
    size_t symbols;
    struct malseq_tally verdicts, classes, families, sandboxes, policies, origins;
    struct malseq_tally vocabulary; /* by falling count; filled before end */
    uint32_t *token_of;             /* by symbol: place in it + 1; 0: in no view */
    uint64_t rows, call_count, shortest, longest, cut_rows, whole_calls;
    struct ms_traces_left left;
    uint64_t unlabelled, off_target, pseudo, looped, untracked;
    int64_t as_of_first_ms, as_of_last_ms;
    size_t key_width;
    uint64_t features; /* libsvm: of the written file */
};

/* Writes bytes to self->out. */
enum ms_status malseq_traces_put(struct traces *self, const void *bytes, size_t n,
                                 struct ms_error *err) MS_MUST_USE;
enum ms_status malseq_traces_put_line(struct traces *self, struct ms_error *err) MS_MUST_USE;

/* The row of spooling formats, and from the front again. */
enum ms_status malseq_traces_spool(struct traces *self, const struct ms_trace_row *row,
                                   const struct ms_trace_read *read,
                                   struct ms_error *err) MS_MUST_USE;

/* Opens SELF->PATH and `suffix` for writing; for files beside the export. */
enum ms_status malseq_traces_beside(const struct traces *self, const char *suffix,
                                    struct ms_file_stream *out, struct ms_error *err) MS_MUST_USE;

/* The dataset card, as JSON and as Markdown, beside an export whose bytes have this digest. */
enum ms_status malseq_traces_card(struct traces *self, const uint8_t sha256[MS_SHA256_BYTES],
                                  uint64_t bytes, struct ms_error *err) MS_MUST_USE;

/* malseq export --what traces. */
enum ms_status malseq_export_traces(struct ms_cli *cli, struct ms_error *err);

#endif
