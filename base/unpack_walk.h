/* The state of a walk and what its parts do for each other; for base/unpack*.c alone. */
#ifndef MS_BASE_UNPACK_WALK_H
#define MS_BASE_UNPACK_WALK_H

#include "base/buf.h"
#include "base/decrypt.h"
#include "base/unpack_private.h"

struct ms_walk {
    const struct ms_span *passwords;
    size_t password_count;
    ptrdiff_t last_password; /* -1: none worked yet */
    struct ms_unpack_limits limits;
    const struct ms_unpack_events *events;
    struct ms_buf chain;
    uint64_t entries;
    uint64_t produced_bytes;
    uint64_t
        verified_bytes; /* of compressed archives that are not held, from their first reading */
    uint64_t held_bytes;
    struct ms_decrypt_keys *keys; /* NULL until an encrypted container needs it */
    bool stopped;                 /* a limit of the whole blob */
    bool part_named;              /* see ms_unpack_input */
    bool (*overlay)(int fd, uint64_t size, uint64_t *at, uint64_t *end); /* may be NULL */
};

/* A container being walked. */
struct ms_walk_level {
    struct ms_walk *walk;
    int fd;
    const struct ms_unpack_source *source; /* where it is not NULL: read instead of fd */
    unsigned depth;                        /* of the container */
    uint32_t *pending;                     /* indexes of encrypted members not opened yet, rising */
    size_t pending_count;
    size_t pending_cap;
    bool damaged; /* a header was unreadable, and that was told */
    bool cut;     /* a member whose password was accepted ends too early */
    /* The members from open_from on were never listed: libarchive has to read through encrypted
     * data to find them (a zip without its central directory). */
    bool open_ended;
    uint32_t open_from;
    bool opened;                      /* a password opened a member */
    uint64_t beyond;                  /* encrypted members no password would open */
    const char *beyond_why;           /* static text */
    char accepted[160];               /* a password was accepted, yet: */
    bool rewritten;                   /* what is read was decrypted by base/decrypt */
    const struct ms_decrypt *decrypt; /* by whom; NULL when not rewritten */
    size_t member;                    /* the current one, in the order of what was written */
    bool proven;  /* a member's checksum has shown that the password in use is right */
    bool refused; /* a method libarchive cannot read, whatever the password */
    bool spoiled; /* no header may be read from this handle, see ms_unpack_keeps_pieces */
    unsigned renewals;
};

/* A member's bytes in a memory file; large ones that nobody can use are only counted. */
struct ms_walk_memory {
    int fd;
    uint64_t bytes;  /* with holes, or not held at all: what there is of it */
    bool may_drop;   /* set by the owner: nobody needs the bytes for themselves */
    bool decided;    /* whether it is held */
    bool dropped;    /* it is not: the file is empty, or has the beginning alone */
    bool may_stream; /* set by the owner: it may be read as it comes */
    bool offered;    /* … and is to be asked about now */
    bool streamed;   /* it was */
    bool holes;      /* its end may be one */
    uint8_t *tail;   /* of what is dropped: the last bytes */
    size_t tail_bytes;
    struct ms_walk_oversize *oversize; /* of what is dropped: it passed the limit; else NULL */
};

/* The chain so far, borrowed; one more name at its end; cut it by setting chain.len back. */
struct ms_span ms_walk_chain(const struct ms_walk *walk);
enum ms_status ms_walk_push(struct ms_walk *walk, const char *name, struct ms_error *err);

/* Tells a fault of what the chain names; the second form ends the walk as well. */
enum ms_status ms_walk_fault(struct ms_walk *walk, enum ms_unpack_fault fault, const char *text,
                             struct ms_error *err);
enum ms_status ms_walk_stop(struct ms_walk *walk, enum ms_unpack_fault fault, const char *text,
                            struct ms_error *err);

enum ms_status ms_walk_memory_open(struct ms_walk_memory *memory, struct ms_error *err);
void ms_walk_memory_close(struct ms_walk *walk, struct ms_walk_memory *memory);
bool ms_walk_write(const struct ms_walk_memory *memory, const void *bytes, size_t n, uint64_t at);
/* A piece of a member, which is counted: pages of zeros become holes, and what has become large and
 * may be dropped is, when no container's first bytes and nothing wanted stand there. n = 0 leaves a
 * hole before `at`. False with the fault and its text. After the last piece the file is to be
 * finished, which sets its length. */
bool ms_walk_put(struct ms_walk *walk, struct ms_walk_memory *memory, const void *bytes, size_t n,
                 uint64_t at, uint64_t max_bytes, enum ms_unpack_fault *fault, const char **text);
bool ms_walk_memory_finish(struct ms_walk_memory *memory);
/* Was something dropped whose end is a zip file's? */
bool ms_walk_memory_ends_like_zip(const struct ms_walk_memory *memory);
/* What is held of it is not from here on, but for its beginning where it is offered. */
bool ms_walk_memory_drop(struct ms_walk *walk, struct ms_walk_memory *memory);
const char *ms_walk_limit_text(enum ms_unpack_fault fault);

/* What passes walk->limits.entry_bytes and is wanted is dropped, and only looked at from there on:
 * before the piece that passes it, sets memory->oversize, or leaves it NULL. */
void ms_walk_oversize_begin(struct ms_walk *walk, struct ms_walk_memory *memory, const void *bytes,
                            size_t n, uint64_t at);
void ms_walk_oversize_add(struct ms_walk_oversize *self, uint64_t hole_bytes, const void *bytes,
                          size_t n);
uint32_t ms_walk_oversize_crc32(const struct ms_walk_oversize *self);
/* Of a member that came out whole: LIMIT_ENTRY when it is oversize, *text with size and SHA-256,
 * good until the memory is closed. */
void ms_walk_oversize_tell(struct ms_walk_memory *memory, enum ms_unpack_fault *fault,
                           const char **text);
void ms_walk_oversize_free(struct ms_walk_oversize *self);
/* The same of the blob itself. *told: it is oversize, and its fault was told. */
enum ms_status ms_walk_oversize_blob(struct ms_walk *walk, int fd, uint64_t size, bool *told,
                                     struct ms_error *err);

/* A member's next bytes, borrowed until the call after, and where they belong: what lies before is
 * a hole, and they may be none. False: its end, or *fault. */
struct ms_walk_source {
    void *ctx;
    bool (*next)(void *ctx, struct ms_span *bytes, uint64_t *at, enum ms_unpack_fault *fault,
                 const char **text);
};

/* Copies a member's data; depth is that of the member, whose name the chain has. *fault says how it
 * went, *text why not. Only memory files that came out whole are left in *out. The status is that
 * of who took it as it came. */
enum ms_status ms_walk_copy(struct ms_walk *walk, const struct ms_walk_source *source,
                            uint64_t max_bytes, unsigned depth, struct ms_walk_memory *out,
                            enum ms_unpack_fault *fault, const char **text,
                            struct ms_error *err) MS_MUST_USE;
/* The same of the archive's current member. */
enum ms_status ms_walk_extract(struct ms_walk *walk, struct archive *a, uint64_t max_bytes,
                               unsigned depth, struct ms_walk_memory *out,
                               enum ms_unpack_fault *fault, const char **text,
                               struct ms_error *err) MS_MUST_USE;
/* What `out` was offered for: asks, and has it read to its end when it is taken. */
enum ms_status ms_walk_offer(struct ms_walk *walk, const struct ms_walk_source *source,
                             uint64_t max_bytes, unsigned depth, struct ms_walk_memory *out,
                             enum ms_unpack_fault *fault, const char **text,
                             struct ms_error *err) MS_MUST_USE;

/* A whole member; goes into it when it is a container. password: -1 for none. */
enum ms_status ms_walk_deliver(struct ms_walk *walk, const struct ms_walk_memory *memory,
                               unsigned depth, ptrdiff_t password, struct ms_error *err);
enum ms_status ms_walk_open(struct ms_walk *walk, int fd, enum ms_unpack_shape shape,
                            unsigned depth, struct ms_error *err);
/* An archive of a sequential format that was read to its end before. */
enum ms_status ms_walk_sequential(struct ms_walk *walk, const struct ms_unpack_source *source,
                                  unsigned depth, struct ms_error *err);
enum ms_status ms_walk_stream(struct ms_walk *walk, int fd, enum ms_unpack_shape shape,
                              unsigned depth, struct ms_error *err);
/* The archive behind a program, if there is one and the walk is to look for it; passes over every
 * other file. */
enum ms_status ms_walk_program(struct ms_walk *walk, int fd, uint64_t size, unsigned depth,
                               struct ms_error *err);
/* Takes the current member out of the archive with the given password (-1: none). *miss: the
 * password did not fit, and nothing was told. */
enum ms_status ms_walk_take_member(struct ms_walk_level *level, struct archive *a,
                                   struct archive_entry *entry, uint32_t index, ptrdiff_t password,
                                   bool *miss, struct ms_error *err);

/* Replaces a spoiled handle by one that stands behind so many headers, or, when there is no way
 * there, by NULL, which is told. */
enum ms_status ms_walk_renew(struct ms_walk_level *level, int fd, uint32_t headers,
                             struct archive **a, struct ms_error *err);

/* Walks a container that base/decrypt opens. *mine: it did, or told why it could not; otherwise
 * the container is libarchive's business. */
enum ms_status ms_walk_encrypted(struct ms_walk *walk, int fd, unsigned depth, bool *mine,
                                 struct ms_error *err);

#endif
