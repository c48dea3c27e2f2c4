/* Members of an archive as streams, for files too large to hold. Runs in the worker only. */
#ifndef MS_BASE_UNPACK_MEMBER_H
#define MS_BASE_UNPACK_MEMBER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_unpack_stream;

/* Finds the first member named `name` (its whole path in the archive) in the unencrypted archive in
 * fd, which must be seekable and stays the caller's. MS_REJECT when fd is no archive, or has no
 * such member. */
enum ms_status ms_unpack_stream_open(int fd, const char *name, struct ms_unpack_stream **out,
                                     struct ms_error *err) MS_MUST_USE;
void ms_unpack_stream_close(struct ms_unpack_stream *self);

/* The same archive from its beginning, member by member. */
enum ms_status ms_unpack_stream_begin(int fd, struct ms_unpack_stream **out,
                                      struct ms_error *err) MS_MUST_USE;
/* Goes to the next file, passing over what is left of the present one; *more false behind the last.
 * *name is its whole path in the archive that holds it ("" when it cannot be had), borrowed until
 * the next call. MS_REJECT when the archive is damaged: then none follows, but for those behind an
 * archive that was entered, for which call it again. */
enum ms_status ms_unpack_stream_next(struct ms_unpack_stream *self, const char **name, bool *more,
                                     struct ms_error *err) MS_MUST_USE;
/* The present file is a zip or tar archive: its files are next, then those behind it. One level
 * deep. MS_REJECT when it is none that can be read from front to end, or the level is used up. */
enum ms_status ms_unpack_stream_enter(struct ms_unpack_stream *self,
                                      struct ms_error *err) MS_MUST_USE;

/* Up to cap bytes of the present file; *n = 0 at the end. MS_REJECT when it is damaged or cut
 * short, MS_E_LIMIT when it would give more than max_bytes in all. */
enum ms_status ms_unpack_stream_read(struct ms_unpack_stream *self, uint64_t max_bytes, void *buf,
                                     size_t cap, size_t *n, struct ms_error *err) MS_MUST_USE;

#endif
