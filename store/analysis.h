/* Analyses, their processes with encoded traces, and the table of API names. Writers need an open
 * transaction. */
#ifndef MS_STORE_ANALYSIS_H
#define MS_STORE_ANALYSIS_H

#include "base/span.h"
#include "store/corpus.h"
#include "store/trace/trace.h"

#include <stdbool.h>
#include <stdint.h>

/* The id of an API name, inserted when new. The name is escaped (base/log.h) and cut at
 * MS_LIMIT_API_NAME_BYTES first; category only counts when new. */
enum ms_status ms_api_intern(struct ms_corpus *corpus, enum ms_api_space space, struct ms_span name,
                             struct ms_span category, uint32_t *id,
                             struct ms_error *err) MS_MUST_USE;
/* Every API by rising id; name borrowed for the call. */
typedef enum ms_status (*ms_api_visit)(void *ctx, uint32_t id, enum ms_api_space space,
                                       const char *name, struct ms_error *err);
enum ms_status ms_api_foreach(struct ms_corpus *corpus, ms_api_visit visit, void *ctx,
                              struct ms_error *err) MS_MUST_USE;

/* `sandbox` of the disassembly of a sample in the vault. */
#define MS_SOURCE_OPCODES "opcodes"

struct ms_analysis {
    int64_t id;
    int64_t sample; /* 0 unknown */
    int64_t origin; /* 0 none */
    const char *sandbox;
    const char *sandbox_version; /* texts may be NULL */
    const char *server;
    const char *task_id;
    const char *settings;
    bool has_settings_digest;
    uint8_t settings_digest[32];
    const char *state;
    const char *reason;
    int64_t attempts;
    int64_t submitted_ms; /* 0 none */
    int64_t deadline_ms;  /* 0 none */
    const char *package;
    bool has_report;
    uint8_t report_sha256[32];
    int64_t report_bytes;
    int64_t processes, calls, calls_expanded;
    int64_t reader;   /* of the report, its version; 0 an older one, or none */
    bool strict;      /* … which checked the grammar of the whole report */
    bool report_gone; /* its object was given up (store/retain); read back only */
    bool opcodes;     /* its calls are the opcodes of a disassembly, not those of a run */
};

enum ms_status ms_analysis_insert(struct ms_corpus *corpus, const struct ms_analysis *analysis,
                                  int64_t now_ms, int64_t run, int64_t *id,
                                  struct ms_error *err) MS_MUST_USE;
/* Writes every field of the row with analysis->id. */
enum ms_status ms_analysis_update(struct ms_corpus *corpus, const struct ms_analysis *analysis,
                                  int64_t now_ms, struct ms_error *err) MS_MUST_USE;
/* Texts are copies owned by *out until ms_analysis_release. MS_REJECT when there is none. */
enum ms_status ms_analysis_get(struct ms_corpus *corpus, int64_t id, struct ms_analysis *out,
                               struct ms_error *err) MS_MUST_USE;
void ms_analysis_release(struct ms_analysis *self);
enum ms_status ms_analysis_find_report(struct ms_corpus *corpus, const uint8_t report_sha256[32],
                                       bool *found, int64_t *id, struct ms_error *err) MS_MUST_USE;
/* The analysis of a sample (0: of none) under these settings. */
enum ms_status ms_analysis_find_settings(struct ms_corpus *corpus, int64_t sample,
                                         const uint8_t settings_digest[32], bool *found,
                                         int64_t *id, struct ms_error *err) MS_MUST_USE;
/* A sample's oldest analysis from this source (`sandbox`). */
enum ms_status ms_analysis_find_source(struct ms_corpus *corpus, int64_t sample,
                                       const char *sandbox, bool *found, int64_t *id,
                                       struct ms_error *err) MS_MUST_USE;
/* Ids of the analyses in a state (of one server when given), oldest first; collected before the
 * first visit. Of a corpus that was opened for reading all visits see one state. */
typedef enum ms_status (*ms_analysis_visit)(void *ctx, int64_t id, struct ms_error *err);
enum ms_status ms_analysis_foreach(struct ms_corpus *corpus, const char *state, const char *server,
                                   ms_analysis_visit visit, void *ctx,
                                   struct ms_error *err) MS_MUST_USE;

/* Ids of a sample's analyses, oldest first; collected before the first visit. */
enum ms_status ms_analysis_foreach_sample(struct ms_corpus *corpus, int64_t sample,
                                          ms_analysis_visit visit, void *ctx,
                                          struct ms_error *err) MS_MUST_USE;

struct ms_process_row {
    int64_t analysis;
    int64_t ord;
    uint64_t pid, parent_pid;
    struct ms_span name;
    int64_t first_seen_us; /* MS_TIME_NONE unknown */
    bool tracked;
    uint64_t calls, calls_expanded;
    struct ms_span trace; /* store/trace/encode.h; dictionary of api ids */
};
enum ms_status ms_process_insert(struct ms_corpus *corpus, const struct ms_process_row *process,
                                 struct ms_error *err) MS_MUST_USE;
/* The same for a trace of trace_bytes that is too large to hold: row->trace does not count, `read`
 * gives the n bytes at a place, in order. */
typedef enum ms_status (*ms_process_read)(void *ctx, uint64_t at, void *out, size_t n,
                                          struct ms_error *err);
enum ms_status ms_process_insert_large(struct ms_corpus *corpus, const struct ms_process_row *row,
                                       uint64_t trace_bytes, ms_process_read read, void *ctx,
                                       struct ms_error *err) MS_MUST_USE;
/* The processes of an analysis by ord; spans borrowed for the call. */
typedef enum ms_status (*ms_process_visit)(void *ctx, const struct ms_process_row *process,
                                           struct ms_error *err);
enum ms_status ms_process_foreach(struct ms_corpus *corpus, int64_t analysis,
                                  ms_process_visit visit, void *ctx,
                                  struct ms_error *err) MS_MUST_USE;
/* Removes the processes of an analysis (a report read again). */
enum ms_status ms_process_remove(struct ms_corpus *corpus, int64_t analysis,
                                 struct ms_error *err) MS_MUST_USE;

#endif
