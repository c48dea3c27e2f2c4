/* Rows that several tests of the store begin with. */
#ifndef MS_TESTS_STORE_ROWS_H
#define MS_TESTS_STORE_ROWS_H

#include "store_fixture.h"

#include "store/analysis.h"
#include "store/internal.h"
#include "store/sample.h"

static inline int64_t scalar(struct ms_corpus *corpus, const char *sql)
{
    int64_t value = -1;
    struct ms_error err;
    assert_ok(ms_db_scalar(corpus, sql, &value, &err), &err);
    return value;
}

static inline struct ms_span text_span(const char *text)
{
    return ms_span_of(text, strlen(text));
}

static inline struct ms_sample sample_of(uint8_t seed)
{
    struct ms_sample sample = {
        .has_sha256 = true, .has_sha1 = true, .has_md5 = true, .size = 100, .machine = 0x14c};
    memset(sample.digests.sha256, seed, 32);
    memset(sample.digests.sha1, seed + 1, 20);
    memset(sample.digests.md5, seed + 2, 16);
    return sample;
}

static inline int64_t add_sample(struct ms_corpus *corpus, uint8_t seed)
{
    struct ms_sample sample = sample_of(seed);
    struct ms_error err;
    int64_t id;
    bool inserted;
    assert_ok(ms_sample_upsert(corpus, &sample, 0, &id, &inserted, &err), &err);
    return id;
}

static inline void put_sighting(struct ms_corpus *corpus, int64_t sample, int64_t origin,
                                uint8_t blob, const char *path)
{
    struct ms_sighting sighting = {.sample = sample,
                                   .origin = origin,
                                   .path = text_span(path),
                                   .chain = text_span("a.zip!x.exe"),
                                   .password = text_span("infected")};
    struct ms_error err;
    memset(sighting.git_blob, blob, 20);
    assert_ok(ms_sighting_put(corpus, &sighting, 1000, 0, &err), &err);
}

static inline int64_t add_origin(struct ms_corpus *corpus, const char *name)
{
    struct ms_origin origin = {.kind = "github", .name = name, .claim = "malware"};
    struct ms_error err;
    int64_t id;
    assert_ok(ms_origin_open(corpus, &origin, &id, &err), &err);
    return id;
}

static inline enum ms_status count_ids(void *ctx, int64_t id, struct ms_error *err)
{
    (void)id;
    (void)err;
    ++*(int *)ctx;
    return MS_OK;
}

static inline int64_t add_analysis(struct ms_corpus *corpus, int64_t sample, int64_t origin,
                                   uint8_t report)
{
    struct ms_analysis analysis = {.sample = sample,
                                   .origin = origin,
                                   .sandbox = "cape",
                                   .state = "ok",
                                   .server = "http://127.0.0.1",
                                   .has_settings_digest = true,
                                   .has_report = true,
                                   .report_bytes = 3};
    struct ms_error err;
    int64_t id;
    memset(analysis.report_sha256, report, 32);
    memset(analysis.settings_digest, report, 32);
    assert_ok(ms_analysis_insert(corpus, &analysis, 10, 0, &id, &err), &err);
    return id;
}

#endif
