/* Bytes that are written once, in order, and read back by place: in memory while they are few, then
 * in a file of the corpus. Knows nothing of what they are. */
#ifndef MS_EXTRACT_SPOOL_H
#define MS_EXTRACT_SPOOL_H

#include "base/buf.h"
#include "store/corpus.h"

#include <stdint.h>

/* How many bytes stay in memory. */
enum { MS_SPOOL_MEMORY_BYTES = 512 << 10 };

/* All zeros is an empty one without a corpus: what passes the memory is then counted and forgotten,
 * for a run that stores nothing reads nothing back. */
struct ms_spool {
    struct ms_corpus *corpus; /* borrowed; any thread may write */
    struct ms_buf memory;
    int fd; /* valid when has_file */
    bool has_file;
    uint64_t len;
};

void ms_spool_init(struct ms_spool *self, struct ms_corpus *corpus);
void ms_spool_release(struct ms_spool *self);
/* Forgets the bytes and keeps memory and file. */
void ms_spool_clear(struct ms_spool *self);
/* MS_REJECT beyond MS_LIMIT_REPORT_TRACES_BYTES, MS_E_IO, MS_E_NOMEM. */
enum ms_status ms_spool_append(struct ms_spool *self, const void *bytes, size_t n,
                               struct ms_error *err) MS_MUST_USE;
/* n bytes from `at`; MS_E_BUG when they were never there or are forgotten. */
enum ms_status ms_spool_read(const struct ms_spool *self, uint64_t at, void *out, size_t n,
                             struct ms_error *err) MS_MUST_USE;

#endif
