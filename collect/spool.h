/* Blobs that a worker sends, one behind the other in a memory file, each verified against its git
 * id: what the worker says of them counts for nothing. Knows no service. */
#ifndef MS_COLLECT_SPOOL_H
#define MS_COLLECT_SPOOL_H

#include "base/error.h"
#include "base/hash.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_blob_spool {
    int fd; /* memory file; -1: none */
    uint64_t bytes;
    struct ms_hasher *hasher;
    /* The blob that is being sent. */
    bool open;
    uint8_t id[MS_SHA1_BYTES];
    uint64_t left_bytes;
};

void ms_blob_spool_init(struct ms_blob_spool *self);
void ms_blob_spool_release(struct ms_blob_spool *self);
/* Empties it and makes it ready. `name` is the memory file's. */
enum ms_status ms_blob_spool_renew(struct ms_blob_spool *self, const char *name,
                                   struct ms_error *err) MS_MUST_USE;

/* One blob: begin, add…, end. *offset is where its bytes will stand. MS_REJECT when they come out
 * of order, are too many or too few, or are not those of the id. */
enum ms_status ms_blob_spool_begin(struct ms_blob_spool *self, const uint8_t id[MS_SHA1_BYTES],
                                   uint64_t size, uint64_t *offset,
                                   struct ms_error *err) MS_MUST_USE;
enum ms_status ms_blob_spool_add(struct ms_blob_spool *self, struct ms_span bytes,
                                 struct ms_error *err) MS_MUST_USE;
enum ms_status ms_blob_spool_end(struct ms_blob_spool *self, struct ms_error *err) MS_MUST_USE;

/* A blob's bytes in a memory file of their own; *fd is the caller's in any case. */
enum ms_status ms_blob_spool_copy(const struct ms_blob_spool *self, uint64_t offset, uint64_t size,
                                  int *fd, struct ms_error *err) MS_MUST_USE;

#endif
