/* How collect says what it found: JSON lines for programs, a table for people. Decides nothing. */
#include "base/json.h"
#include "base/log.h"
#include "collect/pe.h"
#include "collect/session.h"

#include <stdio.h>
#include <string.h>

static json_t *hex(const uint8_t *bytes, size_t n)
{
    char text[MS_HASH_HEX_MAX];
    ms_hex_encode(bytes, n, text);
    return json_string(text);
}

static enum ms_status tell_sample(const struct ms_intake_blob *blob,
                                  const struct ms_intake_program *program, struct ms_error *err)
{
    char flags[128];
    ms_pe_flag_names(program->flags, flags);
    json_t *line = json_object();
    (void)json_object_set_new(line, "type", json_string("sample"));
    (void)json_object_set_new(line, "sha256", hex(program->digests.sha256, MS_SHA256_BYTES));
    (void)json_object_set_new(line, "sha1", hex(program->digests.sha1, MS_SHA1_BYTES));
    (void)json_object_set_new(line, "md5", hex(program->digests.md5, MS_MD5_BYTES));
    (void)json_object_set_new(line, "size", json_integer((json_int_t)program->size));
    (void)json_object_set_new(line, "kind", json_string(program->kind));
    (void)json_object_set_new(line, "machine", json_integer(program->machine));
    (void)json_object_set_new(line, "flags", json_string(flags));
    (void)json_object_set_new(line, "origin", ms_json_text(blob->origin_name));
    (void)json_object_set_new(line, "path", ms_json_bytes(blob->path.data, blob->path.len));
    (void)json_object_set_new(line, "chain",
                              ms_json_bytes(program->chain.data, program->chain.len));
    (void)json_object_set_new(line, "password",
                              program->password.data
                                  ? ms_json_bytes(program->password.data, program->password.len)
                                  : json_null());
    (void)json_object_set_new(line, "side_file", ms_json_text(program->side_file));
    (void)json_object_set_new(line, "new", json_boolean(program->inserted));
    (void)json_object_set_new(line, "forgotten", json_boolean(program->forgotten));
    return ms_json_line(stdout, line, err);
}

enum ms_status ms_collect_tell_failure(struct ms_collect *self, const char *origin,
                                       struct ms_span path, const uint8_t *git_id,
                                       const char *outcome, const char *reason,
                                       struct ms_error *err)
{
    char shown[512];
    char name[256];
    if (!self->cli->common.json) {
        (void)ms_escape_bytes(path.data, path.len, shown, sizeof shown);
        (void)ms_escape_text(origin, name, sizeof name);
        ms_log(MS_LOG_WARNING, "%s%s%s: %s%s%s%s", name, path.len ? "/" : "", shown, outcome,
               reason ? " (" : "", reason ? reason : "", reason ? ")" : "");
        return MS_OK;
    }
    json_t *line = json_object();
    (void)json_object_set_new(line, "type", json_string(path.len ? "blob" : "origin"));
    (void)json_object_set_new(line, "origin", ms_json_text(origin));
    if (path.len) {
        (void)json_object_set_new(line, "path", ms_json_bytes(path.data, path.len));
        (void)json_object_set_new(line, "git_id",
                                  git_id ? hex(git_id, MS_SHA1_BYTES) : json_null());
        (void)json_object_set_new(line, "outcome", json_string(outcome));
    } else {
        (void)json_object_set_new(line, "state", json_string(outcome));
    }
    (void)json_object_set_new(line, "reason", ms_json_text(reason));
    return ms_json_line(stdout, line, err);
}

enum ms_status ms_collect_tell_blob(struct ms_collect *self, const struct ms_intake_blob *blob,
                                    const struct ms_intake_result *result, bool *closed,
                                    struct ms_error *err)
{
    enum ms_status status = MS_OK;
    *closed = strcmp(result->outcome, "need_password") == 0;
    for (size_t i = 0; i < result->program_count && status == MS_OK; i++) {
        const struct ms_intake_program *program = &result->programs[i];
        self->counts.samples += !program->forgotten;
        self->counts.added += program->inserted;
        self->counts.skipped_forgotten += program->forgotten;
        if (self->cli->common.json) {
            status = tell_sample(blob, program, err);
        } else {
            char sha256[MS_HASH_HEX_MAX];
            ms_hex_encode(program->digests.sha256, MS_SHA256_BYTES, sha256);
            ms_log(MS_LOG_DEBUG, "%s %s %.*s%s%.*s%s", sha256, program->kind, (int)blob->path.len,
                   (const char *)blob->path.data, program->chain.len ? "!" : "",
                   (int)program->chain.len, (const char *)program->chain.data,
                   program->forgotten ? " (removed by forget, stays out)" : "");
        }
    }
    bool good = *closed || strcmp(result->outcome, "ok") == 0 ||
                strcmp(result->outcome, "no_pe") == 0 || strcmp(result->outcome, "apart") == 0;
    self->counts.failed += !good;
    if (status == MS_OK && !good)
        status = ms_collect_tell_failure(self, blob->origin_name, blob->path, blob->git_id,
                                         result->outcome, result->reason, err);
    return status;
}

void ms_collect_tell_origin(const struct ms_collect *self, const char *name, const char *state,
                            const struct ms_collect_counts *before)
{
    const struct ms_collect_counts *now = &self->counts;
    char shown[256];
    if (self->cli->common.json)
        return;
    (void)printf("%-40s %-8s %6llu files %6llu opened %6llu samples %6llu new %4llu failed\n",
                 ms_escape_text(name, shown, sizeof shown), state,
                 (unsigned long long)(now->files - before->files),
                 (unsigned long long)(now->opened - before->opened),
                 (unsigned long long)(now->samples - before->samples),
                 (unsigned long long)(now->added - before->added),
                 (unsigned long long)(now->failed - before->failed));
}
