/* Fuzz target: the job that reads the reports of an archive. The first byte says what the rest is:
 * 'm' records of which a zip file is written (tests/fuzz/sealed.h), so that changed members have
 * the right checksum; anything else is the archive itself. The second chooses what is asked for.
 * Checks that the frames come in their order and are what the storing side takes, and that what was
 * said of a member is what reading its plain bytes gives. */
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/unpack.h"
#include "base/worker_private.h"
#include "extract/report_job.h"
#include "extract/trace_frames.h"
#include "sealed.h"
#include "worker_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLAIN_MAX_BYTES = 16 << 20, MEMBERS_MAX = 64 };

/* The digests of the members of an archive, read by themselves. */
struct members {
    uint8_t sha256[MEMBERS_MAX][MS_SHA256_BYTES];
    size_t count, reports;
};

/* What was sent of the present member. */
struct member {
    struct ms_trace_received received;
    struct ms_buf plain;
    bool begun, digested;
    uint8_t sha256[MS_SHA256_BYTES];
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* ---- the same report, read here ---------------------------------------------------------------
 */

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct ms_span *left = ctx;
    (void)err;
    *n = left->len < cap ? left->len : cap;
    if (*n)
        memcpy(buf, left->data, *n);
    *left = ms_span_of(left->data + *n, left->len - *n);
    return MS_OK;
}

static enum ms_status pass_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    (void)ctx, (void)p, (void)err;
    return MS_OK;
}

static enum ms_status pass_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    (void)ctx, (void)call, (void)err;
    return MS_OK;
}

static enum ms_status pass_end(void *ctx, struct ms_error *err)
{
    (void)ctx, (void)err;
    return MS_OK;
}

static enum ms_status pass_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    (void)ctx, (void)info, (void)err;
    return MS_OK;
}

static void compare(const struct member *self, bool strict)
{
    static const struct ms_trace_sink sink = {NULL,     pass_process, pass_call,
                                              pass_end, pass_info,    NULL};
    const struct ms_report_result *said = &self->received.result;
    struct ms_span plain = ms_span_of(self->plain.data, self->plain.len);
    struct ms_report_result result = {.state = MS_REPORT_INVALID};
    struct ms_error err;
    enum ms_status status =
        ms_report_read(give, &plain, strict ? MS_SCAN_CHECK_GRAMMAR : MS_SCAN_CHECK_STRUCTURE,
                       &sink, &result, &err);
    if (status == MS_OK)
        check(said->state == result.state && said->calls == result.calls &&
              said->calls_expanded == result.calls_expanded);
    else
        check(said->state == MS_REPORT_INVALID);
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static bool asks(struct ms_span arg, char letter)
{
    return arg.len && memchr(arg.data, letter, arg.len);
}

static bool is_known(const uint8_t *sha256, const struct members *known)
{
    for (size_t i = 0; i < known->count && i < MEMBERS_MAX; i++)
        if (memcmp(known->sha256[i], sha256, MS_SHA256_BYTES) == 0)
            return true;
    return known->count > MEMBERS_MAX;
}

static void drop_member(struct member *self)
{
    ms_trace_received_release(&self->received);
    ms_buf_release(&self->plain);
    *self = (struct member){.begun = false};
}

static void end_member(struct member *self, struct ms_span arg, const struct members *known)
{
    uint8_t sha256[MS_SHA256_BYTES];
    if (!self->begun)
        return;
    check(self->received.has_result);
    /* What is read is read to its end, unless it may be passed over. */
    if (asks(arg, MS_REPORT_DIGEST) && !asks(arg, MS_REPORT_NO_JSON) &&
        !asks(arg, MS_REPORT_NO_TEXT))
        check(self->digested);
    if (self->digested)
        check(is_known(self->sha256, known));
    if (asks(arg, MS_REPORT_PLAIN) && self->digested) {
        check(ms_hash_sha256(self->plain.data, self->plain.len, sha256) == MS_OK);
        check(memcmp(sha256, self->sha256, sizeof sha256) == 0);
        compare(self, asks(arg, MS_REPORT_STRICT));
    }
    drop_member(self);
}

static void take_fault(struct ms_span frame)
{
    uint64_t len;
    struct ms_span chain;
    check(ms_span_take_varint(&frame, &len) && ms_span_take(&frame, len, &chain) && frame.len);
    check(frame.len < MS_ERROR_TEXT_BYTES);
}

static void take(struct member *self, uint32_t type, struct ms_span bytes, struct ms_span arg,
                 const struct members *known)
{
    if (type == MS_FRAME_MEMBER) {
        end_member(self, arg, known);
        check(bytes.len && !memchr(bytes.data, 0, bytes.len));
        self->begun = true;
        ms_trace_received_init(&self->received);
        ms_buf_init(&self->plain, PLAIN_MAX_BYTES);
    } else if (type == MS_FRAME_VOID) {
        check(self->begun && self->received.has_result && !bytes.len);
        drop_member(self);
    } else if (type == MS_FRAME_FAULT) {
        end_member(self, arg, known);
        take_fault(bytes);
    } else {
        check(self->begun && !self->received.has_result);
        if (type == MS_FRAME_PLAIN) {
            (void)ms_buf_append(&self->plain, bytes.data, bytes.len);
        } else if (type == MS_FRAME_DIGEST) {
            check(bytes.len == sizeof self->sha256 && !self->digested && !self->plain.failed);
            memcpy(self->sha256, bytes.data, bytes.len);
            self->digested = true;
        } else {
            check(ms_trace_received_frame(&self->received, type, bytes, NULL) == MS_OK);
        }
    }
}

/* How many members were told of. */
static size_t read_frames(int fd, struct ms_span arg, const struct members *known)
{
    static uint8_t bytes[MS_LIMIT_FRAME_BYTES];
    struct member member = {.begun = false};
    struct ms_worker_frame_head head;
    size_t members = 0;
    ssize_t n;
    check(lseek(fd, 0, SEEK_SET) == 0);
    while ((n = read(fd, &head, sizeof head)) > 0) {
        check(n == (ssize_t)sizeof head && head.len <= sizeof bytes);
        check(read(fd, bytes, head.len) == (ssize_t)head.len);
        members += head.type == MS_FRAME_MEMBER;
        members -= head.type == MS_FRAME_VOID;
        take(&member, head.type, ms_span_of(bytes, head.len), arg, known);
    }
    end_member(&member, arg, known);
    return members;
}

static void hash_member(int fd, uint8_t sha256[MS_SHA256_BYTES])
{
    static uint8_t piece[64 << 10];
    struct ms_hasher *hasher = NULL;
    struct ms_digests digests;
    off_t at = 0;
    ssize_t n;
    check(ms_hasher_new(MS_HASH_SHA256, &hasher, NULL) == MS_OK);
    for (; (n = pread(fd, piece, sizeof piece, at)) > 0; at += n)
        ms_hasher_update(hasher, piece, (size_t)n);
    check(ms_hasher_finish(hasher, &digests, NULL) == MS_OK);
    memcpy(sha256, digests.sha256, MS_SHA256_BYTES);
    ms_hasher_free(hasher);
}

/* Counts those that begin like a report, too. */
static enum ms_status count_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                   struct ms_error *err)
{
    struct members *members = ctx;
    uint8_t first;
    (void)descend, (void)err;
    if (member->is_container || !member->depth || pread(member->fd, &first, 1, 0) != 1)
        return MS_OK;
    members->reports += first == '{';
    if (members->count < MEMBERS_MAX)
        hash_member(member->fd, members->sha256[members->count]);
    members->count++;
    return MS_OK;
}

static enum ms_status pass_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                                 struct ms_span detail, struct ms_error *err)
{
    (void)ctx, (void)chain, (void)fault, (void)detail, (void)err;
    return MS_OK;
}

static bool read_members(int fd, struct members *members)
{
    const struct ms_span password = ms_span_of(SEALED_PASSWORD, strlen(SEALED_PASSWORD));
    const struct ms_unpack_events events = {members, count_member, pass_fault};
    members->count = members->reports = 0;
    check(lseek(fd, 0, SEEK_SET) == 0);
    return ms_unpack_walk(fd, &password, 1, NULL, &events, NULL) == MS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char letters[] = {MS_REPORT_PLAIN, MS_REPORT_STRICT, MS_REPORT_DIGEST,
                                   MS_REPORT_NO_JSON, MS_REPORT_NO_TEXT};
    static struct members members;
    static bool prepared;
    char arg[sizeof letters];
    size_t n = 0;
    struct ms_buf file;
    struct ms_worker_out out;
    int fd;
    if (size < 2)
        return 0;
    if (!prepared)
        ms_archive_prepare();
    prepared = true;
    for (size_t i = 0; i < sizeof letters; i++)
        if (data[1] >> i & 1)
            arg[n++] = letters[i];
    ms_buf_init(&file, SEALED_MAX_BYTES);
    if (data[0] == 'm')
        seal_zip(ms_span_of(data + 2, size - 2), &file);
    else
        (void)ms_buf_append(&file, data + 2, size - 2);
    check(ms_file_memory("fuzz", &fd, NULL) == MS_OK);
    check(ms_file_write_all(fd, file.data, file.len, NULL) == MS_OK);
    check(ms_file_memory("answers", &out.fd, NULL) == MS_OK);
    if (ms_archive_job(fd, ms_span_of(arg, n), &out, NULL) == MS_OK && read_members(fd, &members))
        check(read_frames(out.fd, ms_span_of(arg, n), &members) >= members.reports);
    (void)close(out.fd);
    (void)close(fd);
    ms_buf_release(&file);
    return 0;
}
