/* `extract show HASH|ID`: the analyses of a sample, or one analysis, with their processes. */
#include "base/cli.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "extract/verbs.h"
#include "store/analysis.h"
#include "store/sample.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct show {
    struct ms_corpus *corpus;
    bool json;
    json_t *processes; /* of the analysis being shown */
    uint64_t analyses;
};

static enum ms_status add_process(void *ctx, const struct ms_process_row *process,
                                  struct ms_error *err)
{
    struct show *self = ctx;
    (void)err;
    if (!self->json) {
        char name[256];
        ms_escape_bytes(process->name.data ? (const void *)process->name.data : "",
                        process->name.len, name, sizeof name);
        printf("  %3" PRId64 "  pid %-6" PRIu64 " parent %-6" PRIu64 " %10" PRIu64
               " calls %10" PRIu64 " expanded  %s%s\n",
               process->ord, process->pid, process->parent_pid, process->calls,
               process->calls_expanded, name, process->tracked ? "" : " (not tracked)");
        return MS_OK;
    }
    json_t *object = json_object();
    json_object_set_new(object, "pid", json_integer((json_int_t)process->pid));
    json_object_set_new(object, "parent", json_integer((json_int_t)process->parent_pid));
    json_object_set_new(object, "name",
                        process->name.data ? ms_json_bytes(process->name.data, process->name.len)
                                           : json_null());
    json_object_set_new(object, "first_seen_us",
                        process->first_seen_us == MS_TIME_NONE
                            ? json_null()
                            : json_integer(process->first_seen_us));
    json_object_set_new(object, "tracked", json_boolean(process->tracked));
    json_object_set_new(object, "calls", json_integer((json_int_t)process->calls));
    json_object_set_new(object, "calls_expanded",
                        json_integer((json_int_t)process->calls_expanded));
    json_array_append_new(self->processes, object);
    return MS_OK;
}

static const char *report_hex(const struct ms_analysis *row, char hex[MS_HASH_HEX_MAX])
{
    if (!row->has_report)
        return NULL;
    ms_hex_encode(row->report_sha256, MS_SHA256_BYTES, hex);
    return hex;
}

static enum ms_status print_json(struct show *self, const struct ms_analysis *row,
                                 struct ms_error *err)
{
    char hex[MS_HASH_HEX_MAX];
    json_t *line = json_object();
    json_object_set_new(line, "analysis", json_integer(row->id));
    json_object_set_new(line, "status", ms_json_text(row->state));
    json_object_set_new(line, "reason", ms_json_text(row->reason));
    json_object_set_new(line, "sandbox", ms_json_text(row->sandbox));
    json_object_set_new(line, "sandbox_version", ms_json_text(row->sandbox_version));
    json_object_set_new(line, "server", ms_json_text(row->server));
    json_object_set_new(line, "task", ms_json_text(row->task_id));
    json_object_set_new(line, "package", ms_json_text(row->package));
    json_object_set_new(line, "report", ms_json_text(report_hex(row, hex)));
    json_object_set_new(line, "calls", json_integer(row->calls));
    json_object_set_new(line, "calls_expanded", json_integer(row->calls_expanded));
    self->processes = json_array();
    enum ms_status status = ms_process_foreach(self->corpus, row->id, add_process, self, err);
    json_object_set_new(line, "processes", self->processes);
    if (status == MS_OK)
        return ms_json_line(stdout, line, err);
    json_decref(line);
    return status;
}

static enum ms_status print_text(struct show *self, const struct ms_analysis *row,
                                 struct ms_error *err)
{
    char hex[MS_HASH_HEX_MAX];
    const char *report = report_hex(row, hex);
    printf("analysis %" PRId64 ": %s, %s%s%s, %" PRId64 " processes, %" PRId64 " calls, %" PRId64
           " expanded\n",
           row->id, row->state, row->sandbox, row->sandbox_version ? " " : "",
           row->sandbox_version ? row->sandbox_version : "", row->processes, row->calls,
           row->calls_expanded);
    if (row->reason)
        printf("  reason: %s\n", row->reason);
    if (report)
        printf("  report: %s\n", report);
    return ms_process_foreach(self->corpus, row->id, add_process, self, err);
}

static enum ms_status show_analysis(void *ctx, int64_t id, struct ms_error *err)
{
    struct show *self = ctx;
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->corpus, id, &row, err);
    if (status != MS_OK)
        return status;
    self->analyses++;
    status = self->json ? print_json(self, &row, err) : print_text(self, &row, err);
    ms_analysis_release(&row);
    return status;
}

/* A report's digest names its analysis too. */
static enum ms_status show_hash(struct show *self, const char *hex, struct ms_error *err)
{
    uint8_t digest[MS_SHA256_BYTES];
    bool found = false;
    int64_t id;
    enum ms_status status = MS_OK;
    if (ms_hex_decode(hex, sizeof digest, digest))
        status = ms_analysis_find_report(self->corpus, digest, &found, &id, err);
    if (status == MS_OK && found)
        return show_analysis(self, id, err);
    if (status == MS_OK)
        status = ms_sample_find(self->corpus, hex, &id, err);
    if (status == MS_OK)
        status = ms_analysis_foreach_sample(self->corpus, id, show_analysis, self, err);
    return status;
}

static enum ms_status run_show(struct ms_cli *cli, struct ms_error *err)
{
    struct show self = {.json = cli->common.json};
    const char *what = cli->operands[0];
    char name[128];
    enum ms_status status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &self.corpus, err);
    if (status != MS_OK)
        return status;
    size_t digits = strspn(what, "0123456789");
    if (digits && digits < 19 && what[digits] == '\0')
        status = show_analysis(&self, strtoll(what, NULL, 10), err);
    else
        status = show_hash(&self, what, err);
    ms_corpus_close(self.corpus);
    if (status == MS_REJECT || (status == MS_OK && !self.analyses))
        return ms_error_set(err, MS_E_INPUT, "no analysis of '%s' is known",
                            ms_escape_text(what, name, sizeof name));
    return status;
}

const struct ms_verb ms_extract_show_verb = {
    .name = "show",
    .synopsis = "HASH|ID",
    .summary = "show the analyses of a sample (by hash), or one (by its id or its report's digest)",
    .min_operands = 1,
    .max_operands = 1,
    .run = run_show,
};
