/* What the parent makes of a blob: frames from the worker are claims, so sizes are counted and all
 * hashes computed here. */
#define _GNU_SOURCE
#include "collect/intake.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/crawl.h"
#include "collect/job.h"
#include "collect/job_test.h"
#include "collect/pe.h"
#include "collect/pe_features.h"
#include "collect/quick_job.h"
#include "store/sample.h"
#include "store/vault_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MEMBER_ARENA_BYTES = 16 << 10, /* a name of 4 KiB, and features of 10 KiB, at most */
    BESIDE_ARENA_BYTES = 64 << 20,
    FAULTS_KEPT = 1000,
    DETAIL_BYTES = 200
};

#define POINTER_AGAIN_MS ((int64_t)7 * 24 * 3600 * 1000)

/* The frames of one job being read. */
struct reading {
    const struct ms_intake *intake;
    const struct ms_intake_blob *blob;
    struct ms_collect_limits limits; /* settled */
    struct ms_intake_result *result;
    const struct ms_span *candidates;
    size_t candidate_count;
    struct ms_hasher *hasher;
    struct ms_vault_write *write;
    struct ms_intake_program *current; /* NULL between programs */
    uint64_t got_bytes;
    bool summed;
    bool nonsense; /* the worker broke the protocol */
};

void ms_intake_lock(const struct ms_intake *self)
{
    if (self->lock)
        (void)pthread_mutex_lock(self->lock);
}

void ms_intake_unlock(const struct ms_intake *self)
{
    if (self->lock)
        (void)pthread_mutex_unlock(self->lock);
}

void ms_intake_result_release(struct ms_intake_result *self)
{
    ms_vault_group_free(self->group);
    free(self->programs);
    free(self->faults);
    ms_arena_release(&self->arena);
    *self = (struct ms_intake_result){0};
}

static enum ms_status nonsense(struct reading *self, struct ms_error *err)
{
    self->nonsense = true;
    return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
}

static enum ms_status copy_span(struct ms_intake_result *result, struct ms_span from,
                                struct ms_span *out, struct ms_error *err)
{
    char *copy = ms_arena_copy(&result->arena, from.data, from.len);
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    *out = ms_span_of(copy, from.len);
    return MS_OK;
}

static const char *escaped(struct ms_intake_result *result, struct ms_span text)
{
    char shown[DETAIL_BYTES];
    (void)ms_escape_bytes(text.data, text.len, shown, sizeof shown);
    char *copy = ms_arena_copy(&result->arena, shown, strlen(shown));
    return copy ? copy : "";
}

static bool grow(void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    size_t wanted = *cap ? *cap * 2 : 8;
    void *grown = realloc(*items, wanted * size);
    if (!grown)
        return false;
    *items = grown;
    *cap = wanted;
    return true;
}

static enum ms_status begin_program(struct reading *self, struct ms_span bytes,
                                    struct ms_error *err)
{
    struct ms_intake_result *result = self->result;
    struct ms_job_member head;
    if (self->current || bytes.len < sizeof head ||
        result->program_count > self->limits.unpack.entries)
        return nonsense(self, err);
    memcpy(&head, bytes.data, sizeof head);
    struct ms_span chain = ms_span_of(bytes.data + sizeof head, bytes.len - sizeof head);
    if (head.size > self->limits.unpack.entry_bytes || head.kind > MS_PE_KIND_RESOURCE ||
        head.machine > UINT16_MAX || head.password_index < -1 ||
        head.password_index >= (ptrdiff_t)self->candidate_count ||
        memchr(chain.len ? (const void *)chain.data : "x", 0, chain.len ? chain.len : 1))
        return nonsense(self, err);
    if (!grow((void **)&result->programs, result->program_count, &result->program_cap,
              sizeof *result->programs))
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->current = &result->programs[result->program_count];
    *self->current = (struct ms_intake_program){.size = head.size,
                                                .kind = ms_pe_kind_name((enum ms_pe_kind)head.kind),
                                                .machine = (uint16_t)head.machine,
                                                .flags = head.flags};
    if (head.password_index >= 0)
        self->current->password = self->candidates[head.password_index];
    self->got_bytes = 0;
    enum ms_status status = copy_span(result, chain, &self->current->chain, err);
    if (status == MS_OK && !self->intake->dry && !result->group)
        status = ms_vault_group_new(self->intake->corpus, MS_VAULT_SAMPLE, &result->group, err);
    if (status == MS_OK && result->group)
        status = ms_vault_group_begin(result->group, &self->write, err);
    return status;
}

static enum ms_status add_features(struct reading *self, struct ms_span bytes, struct ms_error *err)
{
    struct ms_pe_features features;
    if (!self->current || self->current->features.data || self->got_bytes ||
        !ms_pe_features_unpack(bytes, &features))
        return nonsense(self, err);
    return copy_span(self->result, bytes, &self->current->features, err);
}

static enum ms_status add_bytes(struct reading *self, struct ms_span bytes, struct ms_error *err)
{
    if (!self->current || !self->current->features.data ||
        bytes.len > self->current->size - self->got_bytes ||
        (self->got_bytes == 0 && (bytes.len < 2 || memcmp(bytes.data, "MZ", 2) != 0)))
        return nonsense(self, err);
    self->got_bytes += bytes.len;
    ms_hasher_update(self->hasher, bytes.data, bytes.len);
    return self->write ? ms_vault_append(self->write, bytes.data, bytes.len, err) : MS_OK;
}

/* Whether a run that is not dry would insert it; of copies within one dry run each counts. */
static enum ms_status look_up(const struct ms_intake *self, struct ms_intake_program *program,
                              struct ms_error *err)
{
    const struct ms_sample sample = {
        .has_sha256 = true, .has_sha1 = true, .has_md5 = true, .digests = program->digests};
    int64_t id = 0;
    enum ms_status status =
        self->corpus ? ms_sample_find_same(self->corpus, &sample, &id, err) : MS_OK;
    program->inserted = status == MS_OK && id == 0 && !program->forgotten;
    return status;
}

static enum ms_status end_program(struct reading *self, struct ms_error *err)
{
    struct ms_intake_program *program = self->current;
    bool over = false; /* its bytes were given up: known, and not kept again */
    if (!program || self->got_bytes != program->size)
        return nonsense(self, err);
    enum ms_status status = ms_hasher_finish(self->hasher, &program->digests, err);
    ms_intake_lock(self->intake);
    if (status == MS_OK && self->intake->corpus)
        status = ms_sample_is_forgotten(self->intake->corpus, program->digests.sha256,
                                        &program->forgotten, err);
    if (status == MS_OK && self->intake->corpus)
        status = ms_sample_is_over(self->intake->corpus, program->digests.sha256, &over, err);
    if (status == MS_OK && self->intake->dry)
        status = look_up(self->intake, program, err);
    ms_intake_unlock(self->intake);
    if (status == MS_OK && self->write && (program->forgotten || over)) {
        ms_vault_abort(self->write);
        self->write = NULL;
    } else if (status == MS_OK && self->write) {
        uint8_t sha256[MS_SHA256_BYTES];
        uint64_t size;
        struct ms_vault_write *write = self->write;
        self->write = NULL;
        status = ms_vault_group_add(self->result->group, write, sha256, &size, err);
        if (status == MS_OK && memcmp(sha256, program->digests.sha256, sizeof sha256) != 0)
            status = ms_error_set(err, MS_E_BUG, "the vault hashed other bytes");
    }
    if (status == MS_OK)
        self->result->program_count++;
    self->current = NULL;
    return status;
}

static enum ms_status add_fault(struct reading *self, struct ms_span bytes, struct ms_error *err)
{
    struct ms_intake_result *result = self->result;
    uint32_t head[2];
    struct ms_span chain;
    if (self->current || bytes.len < sizeof head)
        return nonsense(self, err);
    memcpy(head, bytes.data, sizeof head);
    struct ms_span rest = ms_span_of(bytes.data + sizeof head, bytes.len - sizeof head);
    if (head[0] == MS_UNPACK_OK || head[0] > MS_UNPACK_APART ||
        !ms_span_take(&rest, head[1], &chain))
        return nonsense(self, err);
    result->ended_by |= ms_collect_limit_of((enum ms_unpack_fault)head[0]);
    if (result->fault_count == FAULTS_KEPT)
        return MS_OK;
    if (!grow((void **)&result->faults, result->fault_count, &result->fault_cap,
              sizeof *result->faults))
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    struct ms_intake_fault *fault = &result->faults[result->fault_count];
    *fault = (struct ms_intake_fault){.fault = (enum ms_unpack_fault)head[0],
                                      .detail = escaped(result, rest)};
    enum ms_status status = copy_span(result, chain, &fault->chain, err);
    if (status == MS_OK)
        result->fault_count++;
    return status;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct reading *self = ctx;
    struct ms_job_summary summary;
    if (self->summed)
        return nonsense(self, err);
    switch (type) {
    case MS_JOB_MEMBER:
        return begin_program(self, bytes, err);
    case MS_JOB_FEATURES:
        return add_features(self, bytes, err);
    case MS_JOB_DATA:
        return add_bytes(self, bytes, err);
    case MS_JOB_END:
        return end_program(self, err);
    case MS_JOB_FAULT:
        return add_fault(self, bytes, err);
    case MS_JOB_SUMMARY:
        if (bytes.len != sizeof summary || self->current)
            return nonsense(self, err);
        memcpy(&summary, bytes.data, sizeof summary);
        self->result->members = summary.members;
        self->result->mz_only = summary.mz_only;
        self->summed = true;
        return MS_OK;
    default:
        return nonsense(self, err);
    }
}

/* The blob's outcome from its faults: the one that another attempt may mend first. */
static void judge_faults(const struct ms_intake_blob *blob, struct ms_intake_result *result)
{
    static const struct {
        enum ms_unpack_fault first, last;
        const char *outcome;
    } order[] = {{MS_UNPACK_APART, MS_UNPACK_APART, "apart"},
                 {MS_UNPACK_NEED_PASSWORD, MS_UNPACK_NEED_PASSWORD, "need_password"},
                 {MS_UNPACK_UNSUPPORTED, MS_UNPACK_UNSUPPORTED, "unsupported"},
                 {MS_UNPACK_LIMIT_DEPTH, MS_UNPACK_LIMIT_MEMORY, "limit"},
                 {MS_UNPACK_INCOMPLETE, MS_UNPACK_INCOMPLETE, "incomplete"},
                 {MS_UNPACK_CORRUPT, MS_UNPACK_CORRUPT, "corrupt"}};
    result->outcome = result->program_count ? "ok" : "no_pe";
    for (size_t o = 0; o < sizeof order / sizeof *order; o++)
        for (size_t i = 0; i < result->fault_count; i++) {
            const struct ms_intake_fault *fault = &result->faults[i];
            if (fault->fault < order[o].first || fault->fault > order[o].last)
                continue;
            char chain[DETAIL_BYTES];
            char text[3 * DETAIL_BYTES];
            (void)ms_escape_bytes(fault->chain.data, fault->chain.len, chain, sizeof chain);
            const char *name = ms_unpack_fault_name(fault->fault);
            bool said = strcmp(name, order[o].outcome) == 0;
            (void)snprintf(text, sizeof text, "%s%s%s%s%s", chain, chain[0] ? ": " : "",
                           said ? "" : name, said || !fault->detail[0] ? "" : ": ", fault->detail);
            result->outcome = order[o].outcome;
            if (fault->fault == MS_UNPACK_INCOMPLETE && blob->missing && blob->missing[0] &&
                (!fault->chain.len || blob->part_named)) {
                (void)ms_escape_text(blob->missing, chain, sizeof chain);
                (void)snprintf(text, sizeof text, "'%s' is missing", chain);
            }
            result->reason = ms_arena_copy(&result->arena, text, strlen(text));
            return;
        }
    if (result->outcome[0] == 'n' && result->mz_only)
        result->reason = "16-bit or DOS program";
}

static void judge(struct reading *self, const struct ms_worker_result *end)
{
    static const char *const ends[] = {"error", "crash", "timeout", "timeout", "limit"};
    struct ms_intake_result *result = self->result;
    if (self->nonsense) {
        result->outcome = "crash";
        result->reason = "the worker's answer made no sense";
        return;
    }
    if (end->end == MS_WORKER_DONE && end->status == MS_OK && self->summed) {
        judge_faults(self->blob, result);
        return;
    }
    result->outcome = ends[end->end];
    if (end->end == MS_WORKER_CPU || end->end == MS_WORKER_TIMEOUT)
        result->ended_by |= MS_COLLECT_MAX_TIME;
    if (end->end == MS_WORKER_OUTPUT && end->error.status == MS_E_LIMIT)
        result->ended_by |= MS_COLLECT_MAX_UNPACKED;
    else if (end->end == MS_WORKER_OUTPUT)
        result->outcome = "crash"; /* frames that are none */
    if (end->end == MS_WORKER_DONE && (end->status == MS_E_NOMEM || end->status == MS_E_LIMIT))
        result->outcome = "limit";
    result->reason =
        end->end == MS_WORKER_DONE && end->status == MS_OK
            ? "the worker's answer is not complete"
            : escaped(result, ms_span_of(end->error.text, strnlen(end->error.text, DETAIL_BYTES)));
}

/* The frames of the fast lane, when it has an answer: then *end is that of a job that ended well.
 */
static enum ms_status read_quickly(struct reading *self, const struct ms_unpack_input *input,
                                   struct ms_span argument, struct ms_worker_result *end,
                                   bool *answered, struct ms_error *err)
{
    uint8_t head[4];
    *answered = false;
    if (!self->intake->quick || input->part_count || input->part_named || input->overlay ||
        ms_job_test_wanted() ||
        pread(self->blob->fd, head, sizeof head, 0) != (ssize_t)sizeof head ||
        !ms_quick_job_may(head, self->blob->size))
        return MS_OK;
    *end = (struct ms_worker_result){MS_WORKER_DONE, MS_OK, 0, {MS_OK, 0, ""}};
    enum ms_status status =
        ms_quick_run(self->intake->quick, self->blob->fd, argument, on_frame, self, answered, err);
    if (*answered)
        ms_step("collect.intake.quick");
    return status;
}

enum ms_status ms_intake_open(const struct ms_intake *self, const struct ms_intake_blob *blob,
                              struct ms_intake_result *result, struct ms_error *err)
{
    struct ms_span candidates[MS_LIMIT_UNPACK_PASSWORDS];
    struct reading reading = {.intake = self, .blob = blob, .result = result};
    struct ms_worker_result end;
    struct ms_buf argument;
    memset(&end, 0, sizeof end);
    *result = (struct ms_intake_result){0};
    reading.limits = ms_collect_limits_settle(&self->limits);
    struct ms_worker_limits worker_limits = ms_collect_limits_worker(&reading.limits);
    ms_arena_init(&result->arena,
                  BESIDE_ARENA_BYTES + (size_t)reading.limits.unpack.entries * MEMBER_ARENA_BYTES);
    ms_buf_init(&argument, (size_t)1 << 20);
    reading.candidates = candidates;
    reading.candidate_count =
        ms_passwords_candidates(blob->passwords, candidates, MS_LIMIT_UNPACK_PASSWORDS);
    ms_step("collect.intake.open");
    const struct ms_unpack_input input = {.part_bytes = blob->part_bytes,
                                          .part_count = blob->part_count,
                                          .part_named = blob->part_named,
                                          .zip_named = blob->zip_named,
                                          .overlay = self->sfx ? ms_job_overlay : NULL};
    enum ms_status status = ms_job_argument(&reading.limits.unpack, &input, candidates,
                                            reading.candidate_count, &argument, err);
    if (status == MS_OK)
        status = ms_hasher_new(MS_HASH_MD5 | MS_HASH_SHA1 | MS_HASH_SHA256, &reading.hasher, err);
    const struct ms_span order = ms_span_of(argument.data, argument.len);
    bool answered = false;
    if (status == MS_OK)
        status = read_quickly(&reading, &input, order, &end, &answered, err);
    if (status == MS_OK && !answered && lseek(blob->fd, 0, SEEK_SET) != 0)
        status = ms_error_set(err, MS_E_IO, "cannot seek in the file");
    if (status == MS_OK && !answered)
        status = ms_worker_run(self->worker, ms_job_kinds[MS_JOB_INTAKE].name, blob->fd, order,
                               &worker_limits, on_frame, &reading, &end, err);
    if (reading.write)
        ms_vault_abort(reading.write);
    if (result->group)
        ms_vault_group_rest(result->group);
    if (status == MS_OK || reading.nonsense) {
        status = MS_OK;
        judge(&reading, &end);
        ms_step("collect.intake.opened");
    }
    ms_hasher_free(reading.hasher);
    ms_buf_release(&argument);
    return status;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The features of a program as JSON, appended to out. */
static enum ms_status features_json(const struct ms_intake_program *program, struct ms_buf *out,
                                    struct ms_error *err)
{
    struct ms_pe_features features;
    if (!ms_pe_features_unpack(program->features, &features))
        return ms_error_set(err, MS_E_BUG, "features were stored unchecked");
    return ms_pe_features_json(&features, out, err);
}

enum ms_status ms_intake_put_sample(const struct ms_intake *self,
                                    const struct ms_intake_program *program, bool private_,
                                    int64_t *id, bool *inserted, struct ms_error *err)
{
    char flags[128];
    struct ms_buf features;
    ms_pe_flag_names(program->flags, flags);
    ms_buf_init(&features, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = features_json(program, &features, err);
    struct ms_sample sample = {.has_sha256 = true,
                               .has_sha1 = true,
                               .has_md5 = true,
                               .digests = program->digests,
                               .size = (int64_t)program->size,
                               .vaulted = true,
                               .private_ = private_,
                               .kind = program->kind,
                               .machine = program->machine,
                               .flags = flags[0] ? flags : NULL,
                               .features = ms_buf_text(&features)};
    if (status == MS_OK)
        status = ms_sample_upsert(self->corpus, &sample, self->run, id, inserted, err);
    ms_buf_release(&features);
    return status;
}

static enum ms_status store_program(const struct ms_intake *self, const struct ms_intake_blob *blob,
                                    struct ms_intake_program *program, int64_t now_ms,
                                    struct ms_error *err)
{
    int64_t id;
    enum ms_status status =
        ms_intake_put_sample(self, program, blob->private_, &id, &program->inserted, err);
    if (status != MS_OK)
        return status;
    struct ms_sighting sighting = {.sample = id,
                                   .origin = blob->origin,
                                   .path = blob->path,
                                   .chain = program->chain,
                                   .commit_id = blob->commit_id,
                                   .password = program->password,
                                   .claim = blob->claim,
                                   .side_file = program->side_file,
                                   .private_ = blob->private_};
    memcpy(sighting.git_blob, blob->git_id, sizeof sighting.git_blob);
    return ms_sighting_put(self->corpus, &sighting, now_ms, self->run, err);
}

/* Each password counts once a blob. */
static enum ms_status store_passwords(const struct ms_intake *self,
                                      const struct ms_intake_blob *blob,
                                      const struct ms_intake_result *result, struct ms_error *err)
{
    const uint8_t *counted[MS_LIMIT_UNPACK_PASSWORDS]; /* programs borrow the candidates' bytes */
    size_t count = 0;
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < result->program_count && status == MS_OK; i++) {
        struct ms_span password = result->programs[i].password;
        bool earlier = false;
        for (size_t k = 0; k < count && !earlier; k++)
            earlier = counted[k] == password.data;
        if (!password.data || earlier || count == MS_LIMIT_UNPACK_PASSWORDS)
            continue;
        counted[count++] = password.data;
        status = ms_origin_password_used(self->corpus, blob->origin, password, err);
    }
    return status;
}

static struct ms_blob blob_row(const struct ms_intake *self, const struct ms_intake_blob *blob,
                               const char *outcome, const char *reason, unsigned ended_by,
                               uint64_t samples)
{
    struct ms_collect_limits limits = ms_collect_limits_settle(&self->limits);
    struct ms_blob row = {.size = blob->size,
                          .sfx = self->sfx,
                          .reason = reason,
                          .unpacker_version = MS_UNPACKER_VERSION,
                          .samples = samples};
    memcpy(row.git_id, blob->git_id, sizeof row.git_id);
    /* Of use to closed ones only; for others it would depend on what was learned just before. */
    if (strcmp(outcome, "need_password") == 0)
        memcpy(row.password_set, blob->password_set, sizeof row.password_set);
    (void)snprintf(row.outcome, sizeof row.outcome, "%s", outcome);
    ms_collect_limits_text(&limits, ended_by, row.limits);
    return row;
}

/* The blob's own row, and the parts of a set. */
static enum ms_status put_blob(const struct ms_intake *self, const struct ms_intake_blob *blob,
                               const struct ms_blob *row, int64_t now_ms, struct ms_error *err)
{
    enum ms_status status = ms_blob_put(self->corpus, row, now_ms, self->run, err);
    for (size_t i = 0; i < blob->part_count && status == MS_OK; i++)
        status = ms_volume_put(self->corpus, blob->git_id, i, blob->parts[i]->git_id, err);
    return status;
}

static enum ms_status store_rows(const struct ms_intake *self, const struct ms_intake_blob *blob,
                                 struct ms_intake_result *result, struct ms_error *err)
{
    int64_t now_ms = ms_clock_wall_ms();
    uint64_t kept = 0;
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < result->program_count && status == MS_OK; i++) {
        if (result->programs[i].forgotten)
            continue;
        status = store_program(self, blob, &result->programs[i], now_ms, err);
        kept++;
    }
    if (status == MS_OK)
        status = store_passwords(self, blob, result, err);
    struct ms_blob row =
        blob_row(self, blob, result->outcome, result->reason, result->ended_by, kept);
    if (status == MS_OK)
        status = put_blob(self, blob, &row, now_ms, err);
    for (size_t i = 0; i < result->fault_count && status == MS_OK; i++)
        status = ms_blob_fault_put(self->corpus, blob->git_id, result->faults[i].chain,
                                   ms_unpack_fault_name(result->faults[i].fault),
                                   result->faults[i].detail, err);
    return status;
}

enum ms_status ms_intake_sync(const struct ms_intake_item *items, size_t count,
                              struct ms_error *err)
{
    struct ms_vault_group *all = NULL;
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        struct ms_vault_group *group = items[i].result->group;
        if (group && all)
            status = ms_vault_group_join(all, group, err);
        else if (group)
            all = group;
    }
    if (status == MS_OK && all)
        status = ms_vault_group_sync(all, err);
    ms_step("collect.intake.vaulted");
    return status;
}

enum ms_status ms_intake_store(const struct ms_intake *self, const struct ms_intake_item *items,
                               size_t count, struct ms_error *err)
{
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    for (size_t i = 0; i < count && status == MS_OK; i++)
        status = store_rows(self, items[i].blob, items[i].result, err);
    ms_step("collect.intake.rows");
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    ms_step("collect.intake.committed");
    return status;
}

enum ms_status ms_intake_note(const struct ms_intake *self, const struct ms_intake_blob *blob,
                              const char *outcome, const char *reason, struct ms_error *err)
{
    unsigned ended_by = blob->local && strcmp(outcome, "too_big") == 0 ? MS_COLLECT_MAX_FILE : 0;
    struct ms_blob row = blob_row(self, blob, outcome, reason, ended_by, 0);
    enum ms_status status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = put_blob(self, blob, &row, ms_clock_wall_ms(), err);
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    return status;
}

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* A file that its LFS server did not give is asked for once a week. A time ahead of ours is no
 * reason to wait. */
static bool is_old(int64_t last_ms)
{
    int64_t now_ms = ms_clock_wall_ms();
    return last_ms > now_ms || now_ms - last_ms >= POINTER_AGAIN_MS;
}

enum ms_status ms_intake_look_up(const struct ms_intake *self, const uint8_t git_id[MS_SHA1_BYTES],
                                 enum ms_intake_state *state, uint8_t password_set[32],
                                 struct ms_error *err)
{
    static const char *const final_words[] = {"ok", "too_big"};
    static const char *const passing[] = {"mismatch", "gone", "error"};
    struct ms_blob blob;
    bool found = false;
    *state = MS_INTAKE_NEW;
    if (!self->corpus)
        return MS_OK;
    enum ms_status status = ms_blob_find(self->corpus, git_id, &found, &blob, err);
    if (status != MS_OK || !found)
        return status;
    struct ms_collect_limits limits = ms_collect_limits_settle(&self->limits);
    if ((self->sfx && !blob.sfx && blob.samples) || ms_collect_limits_raised(&limits, blob.limits))
        *state = MS_INTAKE_NEW;
    else if (is_one_of(blob.outcome, final_words, sizeof final_words / sizeof *final_words))
        *state = MS_INTAKE_KNOWN;
    else if (is_one_of(blob.outcome, passing, sizeof passing / sizeof *passing))
        *state = MS_INTAKE_PASSING;
    else if (strcmp(blob.outcome, "lfs_pointer") == 0)
        *state = is_old(blob.last_ms) ? MS_INTAKE_PASSING : MS_INTAKE_KNOWN;
    else if (blob.unpacker_version != MS_UNPACKER_VERSION)
        *state = MS_INTAKE_NEW;
    else
        *state = strcmp(blob.outcome, "need_password") == 0 ? MS_INTAKE_CLOSED
                 : strcmp(blob.outcome, "apart") == 0       ? MS_INTAKE_APART
                                                            : MS_INTAKE_KNOWN;
    memcpy(password_set, blob.password_set, sizeof blob.password_set);
    return MS_OK;
}

enum ms_status ms_intake_is_whole(const struct ms_intake *self, const uint8_t git_id[MS_SHA1_BYTES],
                                  bool *whole, struct ms_error *err)
{
    static const char *const words[] = {"ok", "no_pe"};
    struct ms_blob blob;
    bool found = false;
    *whole = false;
    if (!self->corpus)
        return MS_OK;
    enum ms_status status = ms_blob_find(self->corpus, git_id, &found, &blob, err);
    if (status == MS_OK && found)
        *whole = blob.unpacker_version == MS_UNPACKER_VERSION &&
                 is_one_of(blob.outcome, words, sizeof words / sizeof *words);
    return status;
}

static enum ms_status store_known(const struct ms_intake *self, const struct ms_intake_blob *blob,
                                  const uint8_t sha256[MS_SHA256_BYTES], bool forgotten,
                                  struct ms_error *err)
{
    int64_t now_ms = ms_clock_wall_ms();
    int64_t id;
    bool inserted;
    struct ms_sample sample = {
        .has_sha256 = true, .size = -1, .machine = -1, .private_ = blob->private_};
    struct ms_blob row = blob_row(self, blob, "ok", NULL, 0, !forgotten);
    memcpy(sample.digests.sha256, sha256, MS_SHA256_BYTES);
    enum ms_status status =
        forgotten ? MS_OK : ms_sample_upsert(self->corpus, &sample, self->run, &id, &inserted, err);
    if (status == MS_OK && !forgotten) {
        struct ms_sighting sighting = {.sample = id,
                                       .origin = blob->origin,
                                       .path = blob->path,
                                       .commit_id = blob->commit_id,
                                       .claim = blob->claim,
                                       .private_ = blob->private_};
        memcpy(sighting.git_blob, blob->git_id, sizeof sighting.git_blob);
        status = ms_sighting_put(self->corpus, &sighting, now_ms, self->run, err);
    }
    return status == MS_OK ? ms_blob_put(self->corpus, &row, now_ms, self->run, err) : status;
}

static enum ms_status is_vaulted(const struct ms_intake *self,
                                 const uint8_t sha256[MS_SHA256_BYTES], bool *vaulted,
                                 struct ms_error *err)
{
    char hex[MS_HASH_HEX_MAX];
    struct ms_sample sample;
    struct ms_error why;
    int64_t id;
    *vaulted = false;
    ms_hex_encode(sha256, MS_SHA256_BYTES, hex);
    enum ms_status status = ms_sample_find(self->corpus, hex, &id, &why);
    if (status == MS_OK)
        status = ms_sample_get(self->corpus, id, &sample, &why);
    if (status == MS_OK)
        *vaulted = sample.vaulted;
    if (status == MS_OK && !*vaulted)
        status = ms_sample_is_over(self->corpus, sha256, vaulted, &why);
    if (status != MS_OK && status != MS_REJECT && err)
        *err = why;
    return status == MS_REJECT ? MS_OK : status;
}

enum ms_status ms_intake_know(const struct ms_intake *self, const struct ms_intake_blob *blob,
                              const uint8_t sha256[MS_SHA256_BYTES], bool *known, bool *forgotten,
                              struct ms_error *err)
{
    *known = *forgotten = false;
    if (!self->corpus)
        return MS_OK;
    enum ms_status status = ms_sample_is_forgotten(self->corpus, sha256, forgotten, err);
    if (status == MS_OK && !*forgotten)
        status = is_vaulted(self, sha256, known, err);
    *known |= *forgotten;
    if (status != MS_OK || !*known || self->dry)
        return status;
    status = ms_corpus_begin(self->corpus, err);
    if (status == MS_OK)
        status = store_known(self, blob, sha256, *forgotten, err);
    ms_step("collect.intake.known");
    if (status == MS_OK)
        status = ms_corpus_commit(self->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(self->corpus);
    return status;
}
