/* Temporary files without a name: gone with the process, however that ends. */
#ifndef MS_MALSEQ_SPOOL_H
#define MS_MALSEQ_SPOOL_H

#include "base/error.h"

#include <stddef.h>
#include <stdio.h>

/* A new file for writing and reading on the file system where `beside` will be (it need not be
 * there). MS_E_IO. */
enum ms_status malseq_spool_open(const char *beside, FILE **out, struct ms_error *err) MS_MUST_USE;
/* Writes n bytes; back to the front; reads exactly n bytes. MS_E_IO. */
enum ms_status malseq_spool_put(FILE *spool, const void *bytes, size_t n,
                                struct ms_error *err) MS_MUST_USE;
enum ms_status malseq_spool_rewind(FILE *spool, struct ms_error *err) MS_MUST_USE;
enum ms_status malseq_spool_get(FILE *spool, void *bytes, size_t n,
                                struct ms_error *err) MS_MUST_USE;

#endif
