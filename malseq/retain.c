/* malseq retain: gives up reports and programs that have had their time. What the rules are as
 * statements, and how the removal survives a death, is in store/retain. */
#include "malseq/malseq.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stop.h"
#include "store/backup.h"
#include "store/retain.h"
#include "store/run.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_MS ((int64_t)86400000)

static const char *const rule_names[] = {"reports", "benign", "unlabelled"};

struct retention {
    uint64_t objects, plain_bytes;
};

static enum ms_status on_object(void *ctx, enum ms_vault_kind kind, const uint8_t sha256[32],
                                int64_t bytes, struct ms_error *err)
{
    struct retention *self = ctx;
    char path[MS_OBJECT_PATH_BYTES];
    (void)err;
    ms_object_path(kind, sha256, path);
    ms_log(MS_LOG_DEBUG, "%s, %lld bytes", path, (long long)bytes);
    self->objects++;
    self->plain_bytes += bytes > 0 ? (uint64_t)bytes : 0;
    return MS_OK;
}

static enum ms_status apply(struct ms_corpus *corpus, enum ms_retain_rule rule, uint64_t days,
                            bool dry_run, bool json, json_t *counts, struct ms_error *err)
{
    struct retention self = {0, 0};
    int64_t now_ms = ms_clock_wall_ms();
    int64_t before_ms = now_ms - (int64_t)days * DAY_MS;
    enum ms_status status =
        dry_run ? ms_retain_foreach(corpus, rule, before_ms, on_object, &self, err)
                : ms_retain_run(corpus, rule, before_ms, now_ms, on_object, &self, err);
    json_object_set_new(counts, rule_names[rule], json_integer((json_int_t)self.objects));
    if (!json)
        printf("%-12s %llu objects %s, %llu bytes before compression\n", rule_names[rule],
               (unsigned long long)self.objects, dry_run ? "would go" : "gone",
               (unsigned long long)self.plain_bytes);
    else {
        enum ms_status printed =
            ms_json_line(stdout,
                         json_pack("{s:s,s:I,s:I,s:I,s:b}", "rule", rule_names[rule], "days",
                                   (json_int_t)days, "objects", (json_int_t)self.objects,
                                   "plain_bytes", (json_int_t)self.plain_bytes, "dry_run", dry_run),
                         status == MS_OK ? err : NULL);
        status = status == MS_OK ? printed : status;
    }
    return status;
}

static enum ms_status end_run(struct ms_corpus *corpus, int64_t run, enum ms_status status,
                              json_t *counts, struct ms_error *err)
{
    char *text = json_dumps(counts, JSON_COMPACT);
    struct ms_error *to = status == MS_OK ? err : NULL;
    enum ms_status ended = ms_run_end(corpus, run, ms_status_exit_code(status), text, NULL, to);
    free(text);
    return status == MS_OK ? ended : status;
}

enum ms_status malseq_retain(struct ms_cli *cli, struct ms_error *err)
{
    const struct malseq_retain *options = cli->options;
    const uint64_t days[] = {options->reports, options->benign, options->unlabelled};
    bool dry_run = cli->common.dry_run;
    struct ms_corpus *corpus = NULL;
    int64_t run = 0;
    if (options->reports == 0 && options->benign == 0 && options->unlabelled == 0)
        return ms_error_set(err, MS_E_USAGE,
                            "nothing is asked for: say --reports, --benign or --unlabelled DAYS");
    json_t *counts = json_object();
    if (!counts)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    ms_stop_watch();
    enum ms_status status = ms_corpus_open(
        cli->common.corpus, dry_run ? MS_CORPUS_READ : MS_CORPUS_WRITE, &corpus, err);
    if (status == MS_OK && !dry_run)
        status = ms_run_begin(corpus, "malseq", cli->argc, cli->argv, cli->common.seed, &run, err);
    if (status == MS_OK)
        status = ms_retain_check_clock(corpus, ms_clock_wall_ms(), err);
    for (int rule = MS_RETAIN_REPORTS; rule <= MS_RETAIN_UNLABELLED && status == MS_OK; rule++)
        if (days[rule])
            status = apply(corpus, (enum ms_retain_rule)rule, days[rule], dry_run, cli->common.json,
                           counts, err);
    if (run)
        status = end_run(corpus, run, status, counts, err);
    json_decref(counts);
    ms_corpus_close(corpus);
    return status;
}
