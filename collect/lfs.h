/* Git LFS: the texts that stand in a repository for large files, and getting the files by the batch
 * API. Opens and stores nothing. Sources: git-lfs docs/spec.md, docs/api/batch.md,
 * docs/api/basic-transfers.md. */
#ifndef MS_COLLECT_LFS_H
#define MS_COLLECT_LFS_H

#include "base/hash.h"
#include "base/http.h"

#include <stdbool.h>
#include <stdint.h>

/* Objects of one batch request (GitHub allows no more). */
enum { MS_LFS_BATCH = 100, MS_LFS_HEADERS = 16 };

struct ms_lfs_pointer {
    uint8_t oid[MS_SHA256_BYTES]; /* SHA-256 of the file */
    uint64_t size;
};

/* Reads a pointer: a text below 1 KiB of "key value" lines, "version" first, one "oid sha256:…" and
 * one "size". False for anything else, which is then a file like others. */
bool ms_lfs_pointer_read(int fd, uint64_t size, struct ms_lfs_pointer *out);
bool ms_lfs_pointer_parse(const char *text, size_t n, struct ms_lfs_pointer *out);

/* Does the file hold these bytes, and no more? */
bool ms_lfs_is_content(int fd, const struct ms_lfs_pointer *want);

struct ms_lfs {
    struct ms_http *http;
    const char *url;    /* the repository's LFS server, as "https://github.com/o/r.git/info/lfs" */
    const char *origin; /* of the server: "scheme://host:port"; what is not https may come from here
                           alone */
};

/* One file of a batch. pointer is the caller's; the rest is set by ms_lfs_ask. */
struct ms_lfs_object {
    struct ms_lfs_pointer pointer;
    const char *outcome; /* NULL: ms_lfs_fetch may be called; else the blob's outcome */
    char reason[200];    /* of an outcome; escaped */
    char *href;
    char *headers[MS_LFS_HEADERS]; /* "Name: value", for href alone */
    size_t header_count;
};

/* Asks where the objects are, at most MS_LFS_BATCH of them. Outcomes: lfs_pointer (the server does
 * not give the file: not there, no leave, its owner's quota spent), error (worth another try). An
 * href that is not https, or is no URL, is not taken. MS_E_LATER with the time to resume on a rate
 * limit; other statuses are reasons to stop. Release the objects in any case. */
enum ms_status ms_lfs_ask(const struct ms_lfs *self, struct ms_lfs_object *objects, size_t count,
                          struct ms_error *err) MS_MUST_USE;
void ms_lfs_object_release(struct ms_lfs_object *self);

/* The object's bytes into `fd` (a memory file), size and SHA-256 verified. No private or loopback
 * address is asked but the server's own; the batch answer's headers go to no other host after a
 * redirect. MS_REJECT when it is not to be had: *outcome says what the blob is (lfs_pointer,
 * mismatch, error), err why. */
enum ms_status ms_lfs_fetch(const struct ms_lfs *self, const struct ms_lfs_object *object, int fd,
                            const char **outcome, struct ms_error *err) MS_MUST_USE;

#endif
