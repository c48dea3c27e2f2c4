/* Opens a blob in the confined child and sends out the PE files found, with their features. */
#define _GNU_SOURCE
#include "collect/job.h"

#include "collect/gitjob.h"
#include "collect/job_test.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/unpack.h"
#include "collect/pe.h"
#include "collect/pe_features.h"
#include "collect/tarjob.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files below SPARSE_BYTES are mapped as they are, and behind RUNS_MAX holes the rest is. */
enum { SPARSE_BYTES = 1 << 20, RUNS_MAX = 4096, PIECE_BYTES = 256 << 10 };

struct job {
    struct ms_worker_out *out;
    struct ms_unpack_limits limits;
    struct ms_job_summary summary;
    bool test; /* see collect/job_test.h */
};

enum ms_status ms_job_argument(const struct ms_unpack_limits *limits,
                               const struct ms_unpack_input *input, const struct ms_span *passwords,
                               size_t count, struct ms_buf *out, struct ms_error *err)
{
    (void)ms_buf_append_varint(out, limits->depth);
    (void)ms_buf_append_varint(out, limits->entries);
    (void)ms_buf_append_varint(out, limits->total_bytes);
    (void)ms_buf_append_varint(out, limits->entry_bytes);
    (void)ms_buf_append_varint(out, (input->part_named ? MS_JOB_ORDER_PART_NAMED : 0u) |
                                        (input->overlay ? MS_JOB_ORDER_SFX : 0u) |
                                        (input->zip_named ? MS_JOB_ORDER_ZIP_NAMED : 0u) |
                                        (ms_job_test_wanted() ? MS_JOB_ORDER_TEST : 0u));
    (void)ms_buf_append_varint(out, input->part_count);
    for (size_t i = 0; i < input->part_count; i++)
        (void)ms_buf_append_varint(out, input->part_bytes[i]);
    for (size_t i = 0; i < count; i++) {
        (void)ms_buf_append_varint(out, passwords[i].len);
        (void)ms_buf_append(out, passwords[i].data, passwords[i].len);
    }
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

static enum ms_status emit(const struct job *job, uint32_t type, const void *bytes, size_t n,
                           struct ms_error *err)
{
    enum ms_status status = ms_worker_emit(job->out, type, bytes, n);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static enum ms_status send_fault(const struct job *job, struct ms_span chain,
                                 enum ms_unpack_fault fault, struct ms_span detail,
                                 struct ms_error *err)
{
    struct ms_buf frame;
    uint32_t head[2] = {(uint32_t)fault, (uint32_t)chain.len};
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    (void)ms_buf_append(&frame, head, sizeof head);
    (void)ms_buf_append(&frame, chain.data, chain.len);
    (void)ms_buf_append(&frame, detail.data, detail.len);
    enum ms_status status = frame.failed ? ms_error_set(err, MS_E_NOMEM, "out of memory")
                                         : emit(job, MS_JOB_FAULT, frame.data, frame.len, err);
    ms_buf_release(&frame);
    return status;
}

static enum ms_status send_features(const struct job *job, struct ms_span file,
                                    struct ms_error *err)
{
    struct ms_pe_features features;
    struct ms_buf frame;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = ms_pe_features_read(file, &features, err);
    if (status == MS_OK)
        status = ms_pe_features_pack(&features, &frame, err);
    if (status == MS_OK)
        status = emit(job, MS_JOB_FEATURES, frame.data, frame.len, err);
    ms_buf_release(&frame);
    return status;
}

static enum ms_status send_program(const struct job *job, const struct ms_unpack_member *member,
                                   const struct ms_pe *pe, struct ms_span file,
                                   struct ms_error *err)
{
    struct ms_job_member head = {.size = file.len,
                                 .password_index = member->password_index,
                                 .kind = (uint32_t)pe->kind,
                                 .flags = pe->flags,
                                 .machine = pe->machine};
    struct ms_buf frame;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    (void)ms_buf_append(&frame, &head, sizeof head);
    (void)ms_buf_append(&frame, member->chain.data, member->chain.len);
    enum ms_status status = frame.failed ? ms_error_set(err, MS_E_NOMEM, "out of memory")
                                         : emit(job, MS_JOB_MEMBER, frame.data, frame.len, err);
    ms_buf_release(&frame);
    if (status == MS_OK)
        status = send_features(job, file, err);
    for (size_t at = 0; at < file.len && status == MS_OK; at += PIECE_BYTES) {
        size_t n = file.len - at < PIECE_BYTES ? file.len - at : PIECE_BYTES;
        status = emit(job, MS_JOB_DATA, file.data + at, n, err);
    }
    return status == MS_OK ? emit(job, MS_JOB_END, NULL, 0, err) : status;
}

/* A memory file with its holes left as they are: read through a mapping of the file, they would be
 * filled. */
static void *map_file(int fd, size_t n)
{
    if (n < SPARSE_BYTES)
        return mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    uint8_t *base = mmap(NULL, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    off_t at = 0, end = 0, page = (off_t)sysconf(_SC_PAGESIZE);
    for (unsigned runs = 0; base != MAP_FAILED && end < (off_t)n; runs++) {
        at = lseek(fd, end, SEEK_DATA);
        if (at < 0)
            break; /* nothing but a hole, or holes cannot be told: then SEEK_DATA says `end` */
        end = runs < RUNS_MAX ? lseek(fd, at, SEEK_HOLE) : (off_t)n;
        at -= at % page;
        if (end <= at || end > (off_t)n)
            end = (off_t)n;
        if (mmap(base + at, (size_t)(end - at), PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, at) ==
            MAP_FAILED) {
            (void)munmap(base, n);
            return MAP_FAILED;
        }
    }
    return base;
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct job *job = ctx;
    struct ms_pe pe;
    (void)descend;
    if (job->test)
        ms_job_test(member, job->out);
    job->summary.members++;
    if (member->is_container || member->is_dropped || member->size < 2)
        return MS_OK;
    static const char too_large[] = "larger than a program may be";
    if (member->size > job->limits.entry_bytes)
        return send_fault(job, member->chain, MS_UNPACK_LIMIT_ENTRY,
                          ms_span_of(too_large, sizeof too_large - 1), err);
    size_t n = (size_t)member->size;
    void *at = map_file(member->fd, n);
    if (at == MAP_FAILED)
        return send_fault(job, member->chain, MS_UNPACK_LIMIT_MEMORY, ms_span_of("", 0), err);
    enum ms_status status = MS_OK;
    struct ms_span file = ms_span_of(at, n);
    ms_pe_check(file, &pe);
    job->summary.mz_only += pe.verdict == MS_PE_MZ_ONLY;
    if (pe.verdict == MS_PE_YES) {
        job->summary.programs++;
        status = send_program(job, member, &pe, file, err);
    }
    (void)munmap(at, n);
    return status;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    const struct job *job = ctx;
    return fault == MS_UNPACK_NOT_ARCHIVE ? MS_OK : send_fault(job, chain, fault, detail, err);
}

bool ms_job_overlay(int fd, uint64_t size, uint64_t *at, uint64_t *end)
{
    struct ms_pe pe;
    if (size < 2 || size > MS_LIMIT_UNPACK_ENTRY_BYTES)
        return false;
    void *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return false;
    ms_pe_check(ms_span_of(bytes, (size_t)size), &pe);
    (void)munmap(bytes, (size_t)size);
    *at = pe.overlay_at;
    *end = pe.overlay_end;
    return pe.verdict == MS_PE_YES && pe.overlay_at < pe.overlay_end;
}

static enum ms_status run(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                          struct ms_error *err)
{
    struct ms_span passwords[MS_LIMIT_UNPACK_PASSWORDS];
    struct ms_unpack_input input = {.fd = input_fd};
    static uint64_t part_bytes[MS_LIMIT_VOLUME_PARTS]; /* a job is a process of its own */
    size_t count = 0;
    uint64_t n, depth = 0, flags = 0, parts = 0;
    struct job job = {.out = out};
    if (!ms_span_take_varint(&arg, &depth) || !ms_span_take_varint(&arg, &job.limits.entries) ||
        !ms_span_take_varint(&arg, &job.limits.total_bytes) ||
        !ms_span_take_varint(&arg, &job.limits.entry_bytes) || depth > MS_LIMIT_UNPACK_DEPTH_MOST)
        return ms_error_set(err, MS_E_BUG, "no limits for the job");
    job.limits.depth = (unsigned)depth;
    if (!job.limits.entry_bytes)
        job.limits.entry_bytes = MS_LIMIT_UNPACK_ENTRY_BYTES;
    job.limits.wanted = "MZ";
    if (!ms_span_take_varint(&arg, &flags) || !ms_span_take_varint(&arg, &parts) ||
        parts > MS_LIMIT_VOLUME_PARTS)
        return ms_error_set(err, MS_E_BUG, "the order makes no sense");
    while (input.part_count < parts && ms_span_take_varint(&arg, &part_bytes[input.part_count]))
        input.part_count++;
    input.part_bytes = part_bytes;
    input.part_named = flags & MS_JOB_ORDER_PART_NAMED;
    input.zip_named = flags & MS_JOB_ORDER_ZIP_NAMED;
    job.test = flags & MS_JOB_ORDER_TEST;
    input.overlay = flags & MS_JOB_ORDER_SFX ? ms_job_overlay : NULL;
    while (count < MS_LIMIT_UNPACK_PASSWORDS && ms_span_take_varint(&arg, &n) &&
           ms_span_take(&arg, n, &passwords[count]))
        count++;
    struct ms_unpack_events events = {&job, on_member, on_fault};
    enum ms_status status =
        ms_unpack_walk_input(&input, passwords, count, &job.limits, &events, err);
    if (status == MS_OK)
        status = emit(&job, MS_JOB_SUMMARY, &job.summary, sizeof job.summary, err);
    return status;
}

static enum ms_status run_features(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                   struct ms_error *err)
{
    struct job job = {.out = out};
    struct stat info;
    struct ms_pe pe;
    (void)arg;
    if (fstat(input_fd, &info) != 0 || info.st_size < 2)
        return MS_OK;
    void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, input_fd, 0);
    if (at == MAP_FAILED)
        return ms_error_set(err, MS_E_LIMIT, "cannot map the file");
    struct ms_span file = ms_span_of(at, (size_t)info.st_size);
    ms_pe_check(file, &pe);
    enum ms_status status = pe.verdict == MS_PE_YES ? send_features(&job, file, err) : MS_OK;
    (void)munmap(at, (size_t)info.st_size);
    return status;
}

/* The hash library sets itself up with the first hasher. */
static void prepare(void)
{
    struct ms_hasher *hasher;
    ms_unpack_prepare();
    if (ms_hasher_new(MS_HASH_MD5, &hasher, NULL) == MS_OK)
        ms_hasher_free(hasher);
}

const struct ms_worker_kind ms_job_kinds[MS_JOB_KINDS] = {
    [MS_JOB_INTAKE] = {"intake", run, prepare},
    [MS_JOB_FEATURES_OF] = {"features", run_features, prepare},
    [MS_JOB_GIT] = {"git", ms_gitjob_work, ms_gitjob_prepare},
    [MS_JOB_TARBALL] = {"tarball", ms_tarjob_work, ms_gitjob_prepare}};
