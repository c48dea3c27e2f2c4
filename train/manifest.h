/* The file that says which rows of a dataset train and which are judged. Divides nothing itself. */
#ifndef MS_TRAIN_MANIFEST_H
#define MS_TRAIN_MANIFEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/span.h"
#include "train/split.h"

#include <stdbool.h>
#include <stdint.h>

/* What may not be torn apart. grouped: rows with the same sequence, as recorded or with runs
 * collapsed; near: also rows that are nearly the same (store/trace/near.h); time: as grouped, and
 * what trains was seen before what is judged; naive: nothing. */
enum ms_partition_how {
    MS_PARTITION_GROUPED,
    MS_PARTITION_NAIVE,
    MS_PARTITION_NEAR,
    MS_PARTITION_TIME
};
/* "grouped|naive|near|time", and one of the words; MS_E_USAGE when it is none. */
#define MS_PARTITION_HOW_WORDS "grouped|naive|near|time"
const char *ms_partition_how_name(enum ms_partition_how how);
enum ms_status ms_partition_how_parse(const char *text, enum ms_partition_how *out,
                                      struct ms_error *err) MS_MUST_USE;

enum {
    MS_PARTITION_REPEATS_MAX = 100,
    MS_PARTITION_NAME_BYTES = 96,
    MS_PARTITION_WINDOWS_MAX = 1200 /* months of a century */
};
/* In part_of: the row takes no part, it neither trains nor is judged. */
#define MS_PARTITION_OUT UINT32_MAX

/* Legend: N rows by rising key, R repeats. */
struct ms_manifest {
    const char *name;    /* of the split; borrowed, as all texts */
    const char *dataset; /* digest of the dataset that it was made for, in hexadecimal */
    enum ms_partition_how how;
    uint32_t folds;                              /* K; 0: hold-out */
    uint32_t repeats;                            /* R */
    uint64_t seed;                               /* of the first repeat */
    int64_t split_date_ms;                       /* of a split by time; else 0 */
    uint64_t undated, moved, one_sided, thinned; /* as struct ms_partition's */
    uint32_t window_count;                       /* months that are judged, of a split by time */
    int64_t *windows_ms;                         /* their first instants, rising */
    /* Digest, in hexadecimal, of the manifest that this was before samples were forgotten
     * (store/forget_models.h); NULL: nothing was. The last `forgotten` rows have tombstones as
     * keys, in any order. Not written. */
    const char *redacted_from;
    size_t forgotten;
    size_t rows;              /* N */
    const char **keys;        /* N */
    uint64_t (*sequences)[2]; /* N: struct ms_row's */
    uint32_t *groups;         /* N, below N: rows of one have one part in each repeat */
    uint32_t *part_of;        /* R x N, repeat by repeat: below K (of a hold-out MS_SPLIT_TRAIN or
                                 MS_SPLIT_TEST), or MS_PARTITION_OUT */
    uint32_t *window_of;      /* N: the month of a row that is judged in some repeat; else
                                 MS_PARTITION_OUT. NULL without windows */
    /* private */
    struct ms_arena arena;
};

/* The file, models/NAME/split.jsonl: JSON lines, first the header
 *   {"format":"malseq-split-1","name":TEXT,"how":WORD,"folds":K,"repeats":R,"seed":N,
 *    "split_date_ms":N,"undated":N,"moved":N,"one_sided":N,"thinned":N,"windows_ms":[N…],"dataset":HEX,"rows":N,"rows_sha256":HEX}
 * whose last member is the SHA-256 of all bytes behind the header's newline, then a line a row, by
 * rising key:
 *   {"key":KEY,"sequence":HEX,"group":G,"parts":[P or null, a repeat each],"window":W}
 * "window" only where the row has one. A file from which samples were forgotten has
 * "redacted":{"from":HEX,"rows":N} in its header, and N rows with tombstones behind the others. The
 * same manifest gives the same bytes; their SHA-256 is the split's digest. Appends to `out` and
 * sets the digest. MS_E_NOMEM, MS_E_LIMIT by out's maximum. */
enum ms_status ms_manifest_encode(const struct ms_manifest *self, struct ms_buf *out,
                                  uint8_t digest[MS_SHA256_BYTES],
                                  struct ms_error *err) MS_MUST_USE;

/* Reads such a file from any bytes: MS_E_INPUT with the line when anything is missing, out of
 * bounds or contradictory, when the rows are not those that the header has the digest of, are out
 * of order, or a group is torn apart (but for a naive split). Release with ms_manifest_release,
 * also after a failure. */
enum ms_status ms_manifest_decode(struct ms_span bytes, struct ms_manifest *out,
                                  struct ms_error *err) MS_MUST_USE;
/* The same from a path. `bytes` (initialised) gets the file. MS_E_INPUT also when there is none. */
enum ms_status ms_manifest_open(const char *path, struct ms_buf *bytes, struct ms_manifest *out,
                                struct ms_error *err) MS_MUST_USE;
void ms_manifest_release(struct ms_manifest *self);

#endif
