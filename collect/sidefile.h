/* Files of digests beside others (x.zip.md5, x.sha256): found, read, and compared with what came
 * out of the file. They are somebody's claim: what they say is recorded, and keeps nothing out. */
#ifndef MS_COLLECT_SIDEFILE_H
#define MS_COLLECT_SIDEFILE_H

#include "collect/crawl.h"
#include "collect/hints.h"

enum { MS_SIDE_DIGESTS = 64, MS_SIDE_NAME_BYTES = 96 };

struct ms_side_digest {
    uint8_t bytes[MS_SHA256_BYTES];
    size_t n;                      /* 16 MD5, 20 SHA-1, 32 SHA-256 */
    char name[MS_SIDE_NAME_BYTES]; /* of the file it is said to be of, without folders; "": not said
                                      (or longer) */
};

struct ms_side_digests {
    struct ms_side_digest items[MS_SIDE_DIGESTS];
    size_t count;
};

/* Appends the digests of a text, one a line at most: "HASH", "HASH  name", "HASH *name",
 * "MD5 (name) = HASH", "MD5: HASH", in either case; blanks, CR LF, byte order marks and UTF-16 are
 * seen through. Anything else is passed over. */
void ms_side_parse(struct ms_side_digests *self, struct ms_span text);

/* May a file of this path hold digests? By its suffix: .md5 .md5sum .sha .sha1 .sha1sum .sha256
 * .sha256sum .shasum */
bool ms_side_is(struct ms_span path);

/* The side files of one crawl; the last ones read are kept, so that each is fetched once, whether
 * in its own turn or for its neighbour's sake. */
struct ms_sides {
    struct ms_crawl *crawl;
    struct ms_hints *hints;
    const struct ms_entries *entries; /* sorted */
    struct ms_side_text *kept;        /* a ring, made when it is needed */
    size_t next;
};

void ms_sides_init(struct ms_sides *self, struct ms_crawl *crawl, struct ms_hints *hints,
                   const struct ms_entries *entries);
void ms_sides_release(struct ms_sides *self);

/* ms_hints_fetch through what is kept. */
enum ms_status ms_sides_fetch(struct ms_sides *self, const struct ms_entry *entry, int *fd,
                              uint64_t *size, const char **outcome,
                              struct ms_error *err) MS_MUST_USE;

/* Compares an opened file's programs, and the file itself (blob->fd), with what lies beside it, and
 * sets side_file of each program. Warns of what fits neither. What cannot be had says nothing. */
void ms_sides_judge(struct ms_sides *self, const struct ms_entry *entry,
                    const struct ms_intake_blob *blob, struct ms_intake_result *result);

#endif
