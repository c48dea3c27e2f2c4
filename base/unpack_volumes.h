/* Joins the parts of a multi-volume archive into one that the walk reads; for base/unpack*.c alone.
 * Runs in the worker only. Decides by content whether they are parts of one at all. */
#ifndef MS_BASE_UNPACK_VOLUMES_H
#define MS_BASE_UNPACK_VOLUMES_H

#include "base/unpack_walk.h"

enum ms_join {
    MS_JOIN_AS_IS, /* what the input has is the archive */
    MS_JOIN_DONE,  /* the joined archive is in *out */
    MS_JOIN_NONE   /* nothing to walk: that was told */
};

/* The input's parts lie one behind the other. Faults told: MS_UNPACK_INCOMPLETE, MS_UNPACK_APART,
 * and what is wrong with the parts themselves. *out is accounted in walk->held_bytes; close it with
 * ms_walk_memory_close in any case. */
enum ms_status ms_walk_join(struct ms_walk *walk, const struct ms_unpack_input *input,
                            struct ms_walk_memory *out, enum ms_join *how,
                            struct ms_error *err) MS_MUST_USE;

/* The same for RAR volumes, several of them. *mine false: the first part is none. */
enum ms_status ms_walk_join_rar(struct ms_walk *walk, const struct ms_unpack_input *input,
                                struct ms_walk_memory *out, bool *mine, enum ms_join *how,
                                struct ms_error *err) MS_MUST_USE;

#endif
