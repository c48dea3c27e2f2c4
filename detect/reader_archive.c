/* Finds the reports of an archive. Reads none of them. */
#include "detect/reader_archive.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/unpack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 256 << 10 };

struct walk {
    ms_archive_member visit;
    void *ctx;
    unsigned reports, faults;
    char fault[160]; /* the first */
};

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct walk *self = ctx;
    bool is_report = false;
    (void)descend;
    if (member->is_container || member->is_dropped || !member->depth)
        return MS_OK;
    enum ms_status status = self->visit(self->ctx, member->fd, member->chain, &is_report, err);
    self->reports += is_report;
    return status;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    struct walk *self = ctx;
    (void)chain;
    (void)err;
    if (!self->faults++)
        (void)snprintf(self->fault, sizeof self->fault, ": %s%s%.*s", ms_unpack_fault_name(fault),
                       detail.len ? ": " : "", (int)(detail.len < 100 ? detail.len : 100),
                       detail.len ? (const char *)detail.data : "");
    return MS_OK;
}

/* What comes only once waits in memory. */
static enum ms_status hold(struct ms_stream *stream, int *fd, struct ms_error *err)
{
    uint64_t total = 0;
    size_t n = 1;
    uint8_t *block = malloc(BLOCK_BYTES);
    if (!block)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read an archive");
    enum ms_status status = ms_file_memory("archive", fd, err);
    while (status == MS_OK && n) {
        status = ms_stream_read(stream, block, BLOCK_BYTES, &n, err);
        total += status == MS_OK ? n : 0;
        if (total > MS_LIMIT_BLOB_BYTES)
            status = ms_error_set(err, MS_REJECT, "an archive too large to be read from a pipe");
        if (status == MS_OK)
            status = ms_file_write_all(*fd, block, n, err);
    }
    free(block);
    return status;
}

enum ms_status ms_reader_archive(struct ms_stream *stream, int fd, ms_archive_member visit,
                                 void *ctx, struct ms_archive_seen *seen, struct ms_error *err)
{
    static const char password[] = "infected";
    const struct ms_span passwords[] = {ms_span_of(password, sizeof password - 1)};
    const struct ms_unpack_limits limits = {.entries = MS_LIMIT_UNPACK_ENTRIES_MOST,
                                            .total_bytes = MS_LIMIT_IMPORT_BYTES,
                                            .entry_bytes = MS_LIMIT_UNPACK_ENTRY_BYTES_MOST};
    struct walk walk = {.visit = visit, .ctx = ctx};
    const struct ms_unpack_events events = {&walk, on_member, on_fault};
    int held = -1;
    enum ms_status status = MS_OK;
    if (lseek(fd, 0, SEEK_CUR) < 0)
        status = hold(stream, &held, err);
    if (status == MS_OK)
        status = ms_unpack_walk(held >= 0 ? held : fd, passwords, 1, &limits, &events, err);
    if (held >= 0)
        (void)close(held);
    seen->reports = walk.reports;
    seen->faults = walk.faults;
    if (status == MS_OK && walk.reports == 0)
        status = ms_error_set(err, MS_REJECT, "an archive without a report%s", walk.fault);
    else if (status == MS_OK && walk.faults)
        status = ms_error_set(err, MS_REJECT, "%u of an archive's members could not be opened%s",
                              walk.faults, walk.fault);
    return status;
}
