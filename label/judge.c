/* One answer under one policy: reading, counting, class, family, verdict. */
#include "label/derive.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "label/avclass_data.h"
#include "label/malapi2019.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the deriver ---- */

/* The digest of all that decides about classes and families beside the policy. */
static enum ms_status digest_taxonomy(struct ms_deriver *self, const char *avclass,
                                      struct ms_error *err)
{
    struct ms_buf text;
    enum ms_status status = MS_OK;
    ms_buf_init(&text, (size_t)1 << 20);
    ms_taxonomy_describe(&text);
    ms_groups_describe(ms_groups_builtin(), &text);
    (void)ms_buf_printf(&text, "avclass %s\n", avclass);
    if (text.failed)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    else if (ms_hash_sha256(text.data, text.len, self->taxonomy) != MS_OK)
        status = ms_error_set(err, MS_E_BUG, "the hash library failed");
    ms_buf_release(&text);
    return status;
}

static enum ms_status open_families(struct ms_deriver *self, struct ms_error *err)
{
    const char *dir = self->avclass_dir;
    struct ms_avclass_data data;
    struct ms_error why = {0};
    bool absent = false;
    enum ms_status status = ms_avclass_data_read(dir, self->corpus_dir, &data, &absent, &why);
    if (status != MS_OK && absent && !dir)
        return digest_taxonomy(self, "none", err);
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    const struct ms_avclass_rules rules = ms_avclass_data_rules(&data);
    status = ms_avclass_new(&rules, &self->families, err);
    if (status == MS_OK)
        status = digest_taxonomy(self, data.digest, err);
    ms_avclass_data_release(&data);
    return status;
}

enum ms_status ms_deriver_open(struct ms_deriver *self, const struct ms_policy *policy,
                               const char *corpus_dir, const char *avclass_dir, const char *as_of,
                               struct ms_error *err)
{
    *self = (struct ms_deriver){.policy = policy,
                                .corpus_dir = corpus_dir,
                                .avclass_dir = avclass_dir,
                                .before_ms = INT64_MAX};
    if (as_of) {
        int64_t day = ms_day_parse(as_of);
        if (day < 0)
            return ms_error_set(err, MS_E_USAGE, "--as-of wants a day, YYYY-MM-DD");
        self->before_ms = day + 86400000;
    }
    (void)snprintf(self->name, sizeof self->name, "%s%s%s", policy->name, as_of ? "@" : "",
                   as_of ? as_of : "");
    return open_families(self, err);
}

enum ms_status ms_deriver_copy(struct ms_deriver *self, const struct ms_deriver *from,
                               struct ms_error *err)
{
    *self = *from;
    self->corpus = NULL;
    self->worker = NULL;
    self->families = NULL;
    return open_families(self, err);
}

void ms_deriver_close(struct ms_deriver *self)
{
    ms_avclass_free(self->families);
    self->families = NULL;
}

/* ---- one answer ---- */

/* The family by AVClass's rules, in place of our own word. */
static enum ms_status find_family(const struct ms_deriver *self, struct ms_judged *out,
                                  struct ms_error *err)
{
    const struct ms_vt_report *report = &out->report;
    struct ms_avclass_label labels[MS_LIMIT_ENGINES];
    struct ms_avclass_verdict verdict;
    struct ms_avclass_sample sample = {.md5 = ms_span_of(report->md5, strlen(report->md5)),
                                       .sha1 = ms_span_of(report->sha1, strlen(report->sha1)),
                                       .sha256 = ms_span_of(report->sha256, strlen(report->sha256)),
                                       .labels = labels,
                                       .clean = report->format != MS_RECORD_SIMPLE};
    for (size_t i = 0; i < report->engine_count; i++) {
        const struct ms_vt_engine *engine = &report->engines[i];
        if (engine->result && out->tally.ballots[i].detects)
            labels[sample.count++] =
                (struct ms_avclass_label){ms_span_of(engine->name, strlen(engine->name)),
                                          ms_span_of(engine->result, strlen(engine->result))};
    }
    enum ms_status status = ms_avclass_judge(self->families, &sample, &verdict, err);
    if (status != MS_OK)
        return status;
    struct ms_tally *tally = &out->tally;
    tally->family[0] = '\0';
    tally->family_votes = 0;
    tally->family_verified = -1;
    if (verdict.family && verdict.family->name.len < sizeof tally->family) {
        memcpy(tally->family, verdict.family->name.data, verdict.family->name.len);
        tally->family[verdict.family->name.len] = '\0';
        for (char *p = tally->family; *p; p++)
            if (*p < ' ' || *p > '~')
                *p = '?';
        tally->family_votes = (unsigned)verdict.family->count;
        tally->family_verified = verdict.verified;
    }
    return MS_OK;
}

static void put_votes(struct ms_judged *out, size_t *used, const char *name, unsigned votes)
{
    if (votes == 0)
        return;
    int n = snprintf(out->votes + *used, sizeof out->votes - *used, "%s\"%s\":%u",
                     *used > 1 ? "," : "", name, votes);
    *used += n > 0 ? (size_t)n : 0;
}

static enum ms_status find_seed_class(struct ms_judged *out, struct ms_error *err)
{
    struct ms_malapi seed;
    size_t used = 1;
    enum ms_status status = ms_malapi_count(&out->report, &seed, err);
    if (status != MS_OK)
        return status;
    out->class_ = seed.class_;
    out->class_votes = seed.votes;
    out->margin = seed.margin;
    out->votes[0] = '{';
    for (unsigned i = 0; i < MS_MALAPI_CLASSES; i++)
        put_votes(out, &used, ms_malapi_class_name(i), seed.classes[i]);
    if (seed.class_ && strcmp(seed.class_, "Undefined") == 0)
        put_votes(out, &used, seed.class_, seed.votes);
    out->votes[used] = '}';
    out->votes[used + 1] = '\0';
    return MS_OK;
}

static enum ms_status find_class(const struct ms_deriver *self, struct ms_judged *out,
                                 struct ms_error *err)
{
    const struct ms_tally *tally = &out->tally;
    out->class_ = NULL;
    if (self->policy->rule == MS_RULE_MALAPI2019)
        return find_seed_class(out, err);
    if (tally->class_ != MS_CLASS_NONE && (self->policy->classes & 1u << tally->class_) != 0)
        out->class_ = ms_class_name(tally->class_);
    out->class_votes = tally->class_ != MS_CLASS_NONE ? tally->votes[tally->class_] : 0;
    out->margin = tally->margin;
    ms_tally_votes_json(tally, out->votes);
    return MS_OK;
}

enum ms_status ms_judge_report(const struct ms_deriver *self, struct ms_vt_report *report,
                               struct ms_judged *out, struct ms_error *err)
{
    out->report = *report;
    enum ms_status status = ms_tally_count(&out->tally, &out->report, &self->policy->who, err);
    if (status == MS_OK && self->families)
        status = find_family(self, out, err);
    if (status == MS_OK)
        status = find_class(self, out, err);
    if (status != MS_OK) {
        ms_judged_release(out);
        return status;
    }
    out->verdict = ms_policy_judge(self->policy, &out->report, &out->tally);
    return MS_OK;
}

enum ms_status ms_judge_body(const struct ms_deriver *self, struct ms_span body,
                             struct ms_judged *out, struct ms_error *err)
{
    struct ms_vt_report report;
    enum ms_status status = ms_vtjson_read(self->worker, body, &report, err);
    return status == MS_OK ? ms_judge_report(self, &report, out, err) : status;
}

void ms_judged_release(struct ms_judged *self)
{
    ms_tally_release(&self->tally);
    ms_vt_report_release(&self->report);
}

bool ms_judged_is_about(const struct ms_judged *self, const char *hash)
{
    return strcmp(hash, self->report.sha256) == 0 || strcmp(hash, self->report.sha1) == 0 ||
           strcmp(hash, self->report.md5) == 0;
}
