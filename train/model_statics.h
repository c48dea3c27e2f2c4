/* Static features of a PE file as named marks, which a model takes like n-grams of one call. Pure;
 * what the features are is collect's business (schemas/features.schema.json). */
#ifndef MS_TRAIN_MODEL_STATICS_H
#define MS_TRAIN_MODEL_STATICS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether a model looks at them: not; beside the n-grams of the calls, where these go; in their
 * place. */
enum ms_static_use { MS_STATIC_NO, MS_STATIC_JOINED, MS_STATIC_ALONE };
#define MS_STATIC_WORDS "no|joined|alone"
/* "no", "joined", "alone"; static. And back: MS_E_INPUT. */
const char *ms_static_use_name(enum ms_static_use use);
enum ms_status ms_static_use_parse(const char *text, enum ms_static_use *out,
                                   struct ms_error *err) MS_MUST_USE;

/* Every mark's name begins with this byte, which no name of a call in a corpus has: those are
 * escaped there. */
#define MS_STATIC_MARK "\x01"

/* The marks of one file: names in byte order, each once. Zeroed before first use; reused from file
 * to file, and what it gave before is gone then. */
struct ms_statics {
    struct ms_span *names;
    size_t count;
    /* private */
    struct ms_buf bytes;
    size_t *ends;
    size_t capacity;
    bool ready;
};
void ms_statics_release(struct ms_statics *self);

/* Reads features as stored (JSON). Each mark is present or not; a number becomes steps, so that
 * "more than" can be learnt of it by linear models and trees alike and no scale has to be kept:
 *   NAME>=2^k       sizes, addresses and counts, for every k up to the number's logarithm
 *   NAME=VALUE      machine, magic, subsystem, versions of linker, system and subsystem, image
 * base, alignments, size of the optional header, number of directories NAME&0xBIT      each bit of
 * characteristics and dll_characteristics timestamp>=YEAR checksum=0 directory.D,
 * directory.D.size>=2^k section.NAME, section.NAME.entropy>=E (in steps of a half),
 * entry.section=NAME, entry.entropy>=E, sections.entropy>=E (the largest), sections.write+execute,
 * .no-bytes import=LIBRARY (small letters), imports.*>=2^k, delay_imports.*>=2^k, exports.*>=2^k
 * imphash and rich_hash are not among them: they name programs rather than describe them.
 * MS_REJECT when the text holds no features, or another version of them. */
enum ms_status ms_statics_read(const char *json, struct ms_statics *out,
                               struct ms_error *err) MS_MUST_USE;

#endif
