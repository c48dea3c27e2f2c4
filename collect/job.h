/* The worker's job of collect: opens one blob, finds the PE files in it, and the frames in which it
 * tells the parent. Runs confined; stores nothing. */
#ifndef MS_COLLECT_JOB_H
#define MS_COLLECT_JOB_H

#include "base/buf.h"
#include "base/span.h"
#include "base/unpack.h"
#include "base/worker.h"

#include <stdint.h>

/* Frame types. A PE file is MEMBER, FEATURES, DATA…, END; the rest stand alone. Integers as in
 * memory: both ends are one program. */
enum ms_job_frame {
    MS_JOB_MEMBER = 1, /* struct ms_job_member, then the chain */
    MS_JOB_DATA = 2,
    MS_JOB_END = 3,
    MS_JOB_FAULT = 4,   /* uint32_t fault, uint32_t bytes of the chain, chain, detail */
    MS_JOB_SUMMARY = 5, /* struct ms_job_summary, once at the end */
    MS_JOB_FEATURES = 6 /* what ms_pe_features_pack writes */
};

struct ms_job_member {
    uint64_t size;
    int32_t password_index;
    uint32_t kind;  /* enum ms_pe_kind */
    uint32_t flags; /* enum ms_pe_flag */
    uint32_t machine;
};

struct ms_job_summary {
    uint64_t members; /* the blob included */
    uint64_t programs;
    uint64_t mz_only; /* begin like a program and are none of Windows */
};

/* In the argument of "intake": what the input is. */
enum ms_job_order {
    MS_JOB_ORDER_PART_NAMED = 1,
    MS_JOB_ORDER_SFX = 2,
    MS_JOB_ORDER_ZIP_NAMED = 4,
    MS_JOB_ORDER_TEST = 8
};

/* What the worker of collect can do: "intake" opens a blob and sends all of the above; "features"
 * sends the one frame FEATURES of the program that is its input, none when that is no program. */
enum {
    MS_JOB_INTAKE,
    MS_JOB_FEATURES_OF,
    MS_JOB_GIT,     /* collect/gitjob.h */
    MS_JOB_TARBALL, /* collect/tarjob.h */
    MS_JOB_KINDS
};
extern const struct ms_worker_kind ms_job_kinds[MS_JOB_KINDS];

/* What lies behind a program: for ms_unpack_input. */
bool ms_job_overlay(int fd, uint64_t size, uint64_t *at, uint64_t *end);

/* The argument of "intake": limits (0: the default), what the input is (its fd is not looked at),
 * and the candidate passwords. */
enum ms_status ms_job_argument(const struct ms_unpack_limits *limits,
                               const struct ms_unpack_input *input, const struct ms_span *passwords,
                               size_t count, struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

#endif
