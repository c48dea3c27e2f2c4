/* Files of one origin that look like the parts of one archive: found by their names, which say no
 * more than where the parts would be and in which order. Whether they are a set is decided by their
 * content, elsewhere. Opens no file. */
#ifndef MS_COLLECT_VOLUMES_H
#define MS_COLLECT_VOLUMES_H

#include "collect/crawl.h"

enum ms_volume_style {
    MS_VOLUME_RAW,      /* NAME.001 .002 …: pieces of one file */
    MS_VOLUME_ZIP,      /* NAME.z01 .z02 … .zip */
    MS_VOLUME_RAR_PART, /* NAME.part1.rar .part2.rar …, or part01 … */
    MS_VOLUME_RAR_OLD   /* NAME.rar .r00 .r01 … .r99 .s00 … */
};

/* What a name says. */
struct ms_volume_name {
    enum ms_volume_style style;
    struct ms_span stem; /* the path in front of what differs between the parts */
    uint32_t number;     /* from 0, in the order of the bytes; MS_VOLUME_LAST: the .zip */
    unsigned digits;
};

#define MS_VOLUME_LAST UINT32_MAX

/* False when the name is none of a part's. A plain NAME.zip or NAME.rar is one. */
bool ms_volume_name_read(struct ms_span path, struct ms_volume_name *out) MS_MUST_USE;

/* The name (without folders) of the part with that number, beside the file at `path`; cut where it
 * does not fit. False when `path` is no part's, or the style has no such part. */
bool ms_volume_sibling(struct ms_span path, uint32_t number, char *out, size_t out_bytes);

/* A set with its first `count` parts: what is behind a part that is missing is not in it. */
struct ms_volume_set {
    /* Stands for the set: at the path that names it (its first part, or the .zip), of the size of
     * all parts, under an id that follows from the style and the ids of all parts in their order;
     * its own `set` is this one. */
    struct ms_entry entry;
    enum ms_volume_style style;
    const struct ms_entry **parts; /* in the order of their bytes */
    size_t count;
    bool apart; /* the parts are files of their own */
    unsigned visits;
};

struct ms_volumes {
    struct ms_arena arena;
    const struct ms_entries *entries;
    struct ms_volume_set *sets;
    size_t count;
};

/* Finds the sets among entries that ms_entries_sort has sorted, and sets `set` of each part; parts
 * belong together when they lie in one folder of one tree (that of the same commit) and have the
 * same stem. Two files with one number: the one written like the first part, or the first, is in
 * the set. A first part alone, without any other, makes no set. At most MS_LIMIT_VOLUME_PARTS
 * parts. */
enum ms_status ms_volumes_find(const struct ms_entries *entries, struct ms_volumes *out,
                               struct ms_error *err) MS_MUST_USE;
/* Clears `set` of the entries too. */
void ms_volumes_release(struct ms_volumes *self);

/* The name of the part that a set lacks when its content says that there are more, or that a part
 * found alone lacks; "" when the name tells none. */
void ms_volume_missing(const struct ms_entry *entry, char *out, size_t out_bytes);

/* What the corpus is to be asked about when the entry's bytes may be wanted: its set, or itself. */
const struct ms_entry *ms_volume_whole(const struct ms_entry *entry);

/* Does a part begin as one of a set would? Asked before others are fetched. `number` is its place
 * in the set. */
bool ms_volume_may_be(const struct ms_volume_set *set, size_t number, int fd) MS_MUST_USE;

#endif
