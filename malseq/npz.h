/* NumPy's .npz: a zip of stored .npy members, written front to back into a file that can seek. The
 * same arrays give the same bytes: all members have the zip format's first date, 1980-01-01. */
#ifndef MS_MALSEQ_NPZ_H
#define MS_MALSEQ_NPZ_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { MALSEQ_NPZ_MEMBERS = 24, MALSEQ_NPZ_NAME_BYTES = 32 };

/* Zip64 throughout, as numpy.savez writes it: members may pass 4 GiB. */
struct malseq_npz {
    FILE *out;
    size_t count;
    struct {
        char name[MALSEQ_NPZ_NAME_BYTES]; /* with ".npy" */
        uint32_t crc;
        uint64_t bytes, offset;
    } members[MALSEQ_NPZ_MEMBERS];
};

void malseq_npz_init(struct malseq_npz *self, FILE *out);
/* Begins a member NAME.npy: a one-dimensional array of `count` elements of `descr` ("<i8"). */
enum ms_status malseq_npz_begin(struct malseq_npz *self, const char *name, const char *descr,
                                uint64_t count, struct ms_error *err) MS_MUST_USE;
/* Bytes of the elements, little-endian. */
enum ms_status malseq_npz_put(struct malseq_npz *self, const void *bytes, size_t n,
                              struct ms_error *err) MS_MUST_USE;
/* One element of "<U{width}": the text's characters, zeros behind them; what is not UTF-8 becomes
 * U+FFFD byte by byte. */
enum ms_status malseq_npz_put_text(struct malseq_npz *self, const void *text, size_t n,
                                   size_t width, struct ms_error *err) MS_MUST_USE;
/* Ends the member; fills in its head. */
enum ms_status malseq_npz_end(struct malseq_npz *self, struct ms_error *err) MS_MUST_USE;
/* Writes the directory. */
enum ms_status malseq_npz_finish(struct malseq_npz *self, struct ms_error *err) MS_MUST_USE;

/* Characters of a text as put_text counts them. */
size_t malseq_npz_width(const void *text, size_t n);

#endif
