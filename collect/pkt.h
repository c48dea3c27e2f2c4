/* pkt-lines, the framing of git's wire protocol, and the answers of protocol version 2 that are
 * made of them. Works on bytes in memory; knows no HTTP and no packs. */
#ifndef MS_COLLECT_PKT_H
#define MS_COLLECT_PKT_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/span.h"

/* Documentation/gitprotocol-common.txt: four hexadecimal digits of length, themselves included. */
enum ms_pkt_kind {
    MS_PKT_DATA,
    MS_PKT_FLUSH, /* 0000 */
    MS_PKT_DELIM, /* 0001 */
    MS_PKT_END,   /* 0002 */
    MS_PKT_NONE   /* nothing left */
};

struct ms_pkt {
    enum ms_pkt_kind kind;
    struct ms_span data; /* of DATA; borrowed */
};

/* The next packet. MS_REJECT when the length makes no sense or reaches beyond the end, and for a
 * packet "ERR …": its text is escaped into err. */
enum ms_status ms_pkt_take(struct ms_span *in, struct ms_pkt *out,
                           struct ms_error *err) MS_MUST_USE;

/* Append; look at out->failed at the end. The text must be short of 65516 bytes. */
void ms_pkt_add(struct ms_buf *out, const char *fmt, ...) MS_PRINTF(2, 3);
void ms_pkt_add_flush(struct ms_buf *out);
void ms_pkt_add_delim(struct ms_buf *out);

/* What a server can do: the answer to GET info/refs?service=git-upload-pack. */
struct ms_git_features {
    bool filter;  /* fetch takes a filter */
    bool shallow; /* fetch takes deepen */
};
/* MS_REJECT with the reason for version 0 and 1, for repositories of SHA-256 ids, and for what is
 * no advertisement at all. */
enum ms_status ms_git_features_read(struct ms_span body, struct ms_git_features *out,
                                    struct ms_error *err) MS_MUST_USE;

/* The commit that the answer to ls-refs gives for `ref` ("": HEAD; else a branch, a tag or a full
 * ref name, in this order, tags peeled). Where the answer has no HEAD but branches, one of them
 * stands in for it: main, master, or the first. *found false when it is not there. MS_REJECT when
 * the answer is none. */
enum ms_status ms_git_refs_read(struct ms_span body, const char *ref, bool *found,
                                uint8_t id[MS_SHA1_BYTES], struct ms_error *err) MS_MUST_USE;

/* What branches and tags stand for; tags peeled. Sorted, each once, after ms_git_tips_read. */
struct ms_git_tips {
    uint8_t (*ids)[MS_SHA1_BYTES];
    size_t count, cap;
    bool cut; /* there are more than MS_LIMIT_GIT_REFS */
};
/* HEAD and everything under refs/heads and refs/tags in the answer to ls-refs. *out is released by
 * the caller in any case. */
enum ms_status ms_git_tips_read(struct ms_span body, struct ms_git_tips *out,
                                struct ms_error *err) MS_MUST_USE;
/* Appends, out of order. */
enum ms_status ms_git_tips_add(struct ms_git_tips *self, const uint8_t id[MS_SHA1_BYTES],
                               struct ms_error *err) MS_MUST_USE;
void ms_git_tips_sort(struct ms_git_tips *self);
bool ms_git_tips_has(const struct ms_git_tips *self, const uint8_t id[MS_SHA1_BYTES]);
void ms_git_tips_release(struct ms_git_tips *self);

/* Takes the pack out of an answer to fetch: sections and sideband removed. `pack` holds at least
 * body.len bytes. MS_REJECT when the answer is cut short, has no pack, or reports an error (ERR or
 * sideband 3, whose text is escaped into err). */
enum ms_status ms_git_pack_take(struct ms_span body, uint8_t *pack, size_t *pack_bytes,
                                struct ms_error *err) MS_MUST_USE;

#endif
