/* Walks archives and compressed files, nested ones too, handing out each member's bytes. Runs in
 * the worker only; the one user of libarchive. It decides by content, never by suffix, and knows
 * nothing of PE files: the caller's callback looks at the bytes. */
#ifndef MS_BASE_UNPACK_H
#define MS_BASE_UNPACK_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Raised whenever a change can open what was not opened before; stored with each blob so that old
 * failures are tried again. */
enum { MS_UNPACKER_VERSION = 5 };

/* Why a container, or a member of it, could not be read. Each is a state of its own in the corpus.
 */
enum ms_unpack_fault {
    MS_UNPACK_OK = 0,
    MS_UNPACK_NOT_ARCHIVE,   /* top level only: no format we read */
    MS_UNPACK_CORRUPT,       /* damaged or cut short */
    MS_UNPACK_NEED_PASSWORD, /* encrypted, and no candidate fits */
    MS_UNPACK_UNSUPPORTED,   /* encryption or method that is not supported */
    MS_UNPACK_LIMIT_DEPTH,
    MS_UNPACK_LIMIT_ENTRIES,
    MS_UNPACK_LIMIT_TOTAL,
    MS_UNPACK_LIMIT_ENTRY,
    MS_UNPACK_LIMIT_WORK,   /* key derivation would cost more than one blob may */
    MS_UNPACK_LIMIT_MEMORY, /* a decoder asked for more than the worker may have */
    MS_UNPACK_INCOMPLETE,   /* a part of a multi-volume set is missing */
    MS_UNPACK_APART         /* the input's parts are no set: nothing was walked */
};
const char *ms_unpack_fault_name(
    enum ms_unpack_fault fault); /* "ok", "not_archive", "corrupt", "need_password", … */

struct ms_unpack_member;

/* The bytes of a member as they come out of its container, and filling buf unless they end; *n = 0
 * at their end. MS_REJECT when they cannot go on, limits included; why, its fault will tell.
 * MS_E_IO: the memory file cannot be read. */
struct ms_unpack_reading;
enum ms_status ms_unpack_read(struct ms_unpack_reading *self, void *buf, size_t cap, size_t *n,
                              struct ms_error *err) MS_MUST_USE;

/* Members that are read as they come, because they may be too large to be held. `begin` is asked of
 * every member that is larger than undecided_bytes and no container, by its first bytes in
 * member->fd (size and password are not known yet). It may take it: read it, as far as it likes,
 * and set *taken. The walk reads the rest, and only then the checks come: a member that passes them
 * comes as an event `member` with is_streamed; anything else that is told next, the walk's end
 * included, says that what was read is void. */
struct ms_unpack_streaming {
    void *ctx;
    enum ms_status (*begin)(void *ctx, const struct ms_unpack_member *member,
                            struct ms_unpack_reading *reading, bool *taken, struct ms_error *err);
};

struct ms_unpack_limits { /* 0: the value in base/limits.h */
    unsigned depth;
    uint64_t entries;
    uint64_t total_bytes;
    uint64_t entry_bytes;
    /* NULL: every member is held in memory. Otherwise one of more than undecided_bytes that neither
     * begins with this text nor like a container is read to its checksum and not held, and what
     * begins with it and passes entry_bytes is read to its end as well, counted, and not held: the
     * fault LIMIT_ENTRY tells its size and SHA-256. At most 16 characters. */
    const char *wanted;
    uint64_t undecided_bytes; /* at least 64 KiB, so that an ISO image shows what it is */
    /* Of the plain form of a compressed tar, cpio or ar archive no more is held; a larger one is
     * read twice, and its first reading counts by itself against total_bytes. */
    uint64_t stream_bytes;
    /* NULL: every member is whole before it is handed out. Not with `wanted`. */
    const struct ms_unpack_streaming *streaming;
};

/* A regular member whose bytes came out whole and whose checksum was right, where the format has
 * one (gzip and zstd are checked to their end before anything inside is handed out; tar alone has
 * none). `fd` is a memory file positioned at 0, borrowed. `chain` is the path of names inside the
 * blob, outermost first, members joined by '!' ("b.7z!x.exe"), any bytes but NUL (libarchive ends a
 * name there), each name cut at MS_LIMIT_NAME_BYTES; a member whose name cannot be had is
 * "member-N". A compressed archive (x.tar.gz) is one link of the chain, a compressed single file
 * has one member: its name without the suffix, or "data". password_index: index into the
 * candidates, -1 when none was needed. */
struct ms_unpack_member {
    struct ms_span chain;
    int fd;
    uint64_t size;
    int password_index;
    unsigned depth;    /* 0: the blob itself */
    bool is_dropped;   /* unwanted: `fd` is empty, only size and checksum were looked at */
    bool is_streamed;  /* dropped, and read before, see ms_unpack_streaming */
    bool is_container; /* its members follow (or it failed: see fault) */
};

struct ms_unpack_events {
    void *ctx;
    /* Every member, containers included, and the blob itself first (depth 0, empty chain; one that
     * is wanted and larger than entry_bytes is a fault alone). Set *descend to false to leave a
     * container unopened. */
    enum ms_status (*member)(void *ctx, const struct ms_unpack_member *member, bool *descend,
                             struct ms_error *err);
    /* A container or member that could not be read (chain names it). The walk goes on beside it
     * where the format allows. */
    enum ms_status (*fault)(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                            struct ms_span detail, struct ms_error *err);
};

/* Walks the blob in fd (seekable: a memfd or regular file). passwords: candidates, tried one an
 * open in the given order (libarchive loses members when it is given several at once, its issue
 * 920); the one that worked last is tried first for the next container of the same blob; empty ones
 * and those with a NUL are passed over. Folders, links and devices are passed over. A file that
 * begins with "MZ" is never a container, whatever lies behind it (but see ms_unpack_input). MS_OK
 * when the walk ended, faults and all; LIMIT_TOTAL and LIMIT_ENTRIES end it. */
enum ms_status ms_unpack_walk(int fd, const struct ms_span *passwords, size_t password_count,
                              const struct ms_unpack_limits *limits,
                              const struct ms_unpack_events *events,
                              struct ms_error *err) MS_MUST_USE;

/* What is walked: one file, or the parts of a multi-volume set. */
struct ms_unpack_input {
    int fd;                     /* as above; parts lie one behind the other, in their order */
    const uint64_t *part_bytes; /* their sizes, which make up the whole input */
    size_t part_count;          /* 0 or 1: one file */
    bool part_named; /* the file, or the first part, is named like a part of a set: an archive that
                        ends too early lacks a part */
    bool zip_named;  /* named like the last part of a split zip file, which looks like nothing */
    /* NULL: nothing is looked for in programs. Asked of every file that begins with "MZ", the blob
     * and members: true when it is a program with bytes behind its last section, from *at to *end.
     * When an archive (7z, RAR, zip, cab) begins there, its members follow as those of a container
     * do: the program's name is a link of the chain. */
    bool (*overlay)(int fd, uint64_t size, uint64_t *at, uint64_t *end);
};

/* ms_unpack_walk over an input. Of a set the joined archive is the blob: its name is in no chain.
 * Joined are pieces of one file, split zip files and RAR volumes. */
enum ms_status ms_unpack_walk_input(const struct ms_unpack_input *input,
                                    const struct ms_span *passwords, size_t password_count,
                                    const struct ms_unpack_limits *limits,
                                    const struct ms_unpack_events *events,
                                    struct ms_error *err) MS_MUST_USE;

/* Loads what libarchive and iconv load lazily; call it before confinement (ms_worker_kind.prepare).
 */
void ms_unpack_prepare(void);

#endif
