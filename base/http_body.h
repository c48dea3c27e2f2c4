/* The body of one HTTP answer on its way in: gzip decoded, counted, capped, delivered to a buffer
 * or a file. Used by base/http alone. */
#ifndef MS_BASE_HTTP_BODY_H
#define MS_BASE_HTTP_BODY_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>

struct ms_http_body {
    struct ms_buf *buf; /* where it goes … */
    int fd;             /* … unless this is > 0 */
    uint64_t max_bytes; /* of the decoded body */
    uint64_t bytes;     /* decoded so far */
    uint64_t raw_bytes; /* as received */
    bool gzip;
    bool inflating; /* z is live */
    bool ended;     /* the last gzip member is complete */
    z_stream z;
};

/* encoding: the answer's Content-Encoding, lower case, "" for none. A regular file behind fd is
 * truncated. MS_E_REMOTE for an encoding we do not read (never asked for). */
enum ms_status ms_http_body_init(struct ms_http_body *self, struct ms_buf *buf, int fd,
                                 uint64_t max_bytes, const char *encoding,
                                 struct ms_error *err) MS_MUST_USE;
void ms_http_body_release(struct ms_http_body *self);

/* Raw bytes from the wire. MS_E_LIMIT past max_bytes, MS_E_REMOTE for damaged gzip, MS_E_IO when
 * the file cannot be written. */
enum ms_status ms_http_body_write(struct ms_http_body *self, const void *bytes, size_t n,
                                  struct ms_error *err) MS_MUST_USE;

/* The end: MS_E_REMOTE when a gzip body is cut short. An empty body is fine under any encoding. */
enum ms_status ms_http_body_finish(struct ms_http_body *self, struct ms_error *err) MS_MUST_USE;

#endif
