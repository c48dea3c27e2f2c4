/* Bytes that are written once, in order, and read back by place: in memory while they are few, then
 * in a file of the corpus. Knows nothing of what they are. */
#ifndef MS_EXTRACT_SPOOL_H
#define MS_EXTRACT_SPOOL_H

#include "base/buf.h"
#include "store/corpus.h"

#include <stdint.h>

/* How many bytes of traces stay in memory. */
enum { MS_SPOOL_MEMORY_BYTES = 512 << 10 };

/* All zeros is an empty one without a corpus: what passes the memory is then counted and forgotten,
 * for a run that stores nothing reads nothing back. */
struct ms_spool {
    struct ms_corpus *corpus; /* borrowed; any thread may write */
    size_t memory_bytes;
    uint64_t max_bytes;
    struct ms_buf memory;
    int fd; /* valid when has_file */
    bool has_file;
    uint64_t len;
};

/* Up to memory_bytes stay in memory; 0: with a corpus the file has all of them, from its beginning
 * and maybe with old ones behind `len` until ms_spool_file. */
void ms_spool_init(struct ms_spool *self, struct ms_corpus *corpus, size_t memory_bytes,
                   uint64_t max_bytes);
void ms_spool_release(struct ms_spool *self);
/* Forgets the bytes and keeps memory and file. */
void ms_spool_clear(struct ms_spool *self);
/* MS_REJECT beyond max_bytes, MS_E_IO, MS_E_NOMEM. */
enum ms_status ms_spool_append(struct ms_spool *self, const void *bytes, size_t n,
                               struct ms_error *err) MS_MUST_USE;
/* n bytes from `at`; MS_E_BUG when they were never there or are forgotten. */
enum ms_status ms_spool_read(const struct ms_spool *self, uint64_t at, void *out, size_t n,
                             struct ms_error *err) MS_MUST_USE;
/* The file, cut to the bytes that are there, of a spool with a corpus and without memory; borrowed.
 * MS_E_IO; MS_E_BUG when nothing was appended. */
enum ms_status ms_spool_file(const struct ms_spool *self, int *fd,
                             struct ms_error *err) MS_MUST_USE;

#endif
