/* One member of an archive as a stream, for files too large to hold. Runs in the worker only. */
#ifndef MS_BASE_UNPACK_MEMBER_H
#define MS_BASE_UNPACK_MEMBER_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct ms_unpack_stream;

/* Finds the first member named `name` (its whole path in the archive) in the unencrypted archive in
 * fd, which must be seekable and stays the caller's. MS_REJECT when fd is no archive, or has no
 * such member. */
enum ms_status ms_unpack_stream_open(int fd, const char *name, struct ms_unpack_stream **out,
                                     struct ms_error *err) MS_MUST_USE;
void ms_unpack_stream_close(struct ms_unpack_stream *self);

/* Up to cap bytes; *n = 0 at the end. MS_REJECT when the member is damaged or cut short, MS_E_LIMIT
 * when it would give more than max_bytes in all. */
enum ms_status ms_unpack_stream_read(struct ms_unpack_stream *self, uint64_t max_bytes, void *buf,
                                     size_t cap, size_t *n, struct ms_error *err) MS_MUST_USE;

#endif
