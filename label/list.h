/* Lists of hashes in text files. Asks nobody. */
#ifndef MS_LABEL_LIST_H
#define MS_LABEL_LIST_H

#include "base/error.h"
#include "base/hash.h"

#include <stdint.h>

/* Calls visit for each line of the file ("-": standard input) that says something: `hash` is its
 * first field (up to a blank, comma, semicolon or quote) in lower case when that is an MD5, SHA-1
 * or SHA-256 in hexadecimal, else NULL; `text` is the field as it stands (escaped, cut). Empty
 * lines, what follows '#', a byte-order mark of UTF-8 and a heading of CSV ("sha256,name") are
 * skipped; lines end with LF or CRLF. Read as it comes, a line at a time; lines with another hash
 * behind the first are told of in one warning at the end. MS_E_INPUT when the file cannot be read,
 * is UTF-16 or larger than MS_LIMIT_LIST_BYTES, and at its end when none of its lines has a hash.
 */
typedef enum ms_status (*ms_list_visit)(void *ctx, uint64_t line, const char *hash,
                                        const char *text, struct ms_error *err);
enum ms_status ms_list_read(const char *path, ms_list_visit visit, void *ctx,
                            struct ms_error *err) MS_MUST_USE;

#endif
