/* The room a corpus takes, by folder, and what is left on its disk. */
#ifndef MS_MALSEQ_DISK_H
#define MS_MALSEQ_DISK_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes as the file system counts them (blocks), not as files are long. */
struct malseq_disk {
    uint64_t database, samples, reports, models, other;
    uint64_t free, size; /* of the file system, for those who are not root; 0 unknown */
    bool estimated;      /* samples or reports are of a part of the vault, multiplied */
};

/* Looks at everything but the vault, and at that: its objects lie evenly in 256 folders by their
 * digests, so that where there are many, some folders tell of all (within a few percent).
 * exact: looks at every object. MS_E_IO. */
enum ms_status malseq_disk_measure(const char *corpus, bool exact, struct malseq_disk *out,
                                   struct ms_error *err) MS_MUST_USE;

#endif
