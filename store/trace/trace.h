/* What a sandbox saw, process by process and call by call: the events a report reader emits and a
 * trace in memory. */
#ifndef MS_STORE_TRACE_TRACE_H
#define MS_STORE_TRACE_TRACE_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum ms_api_space { MS_API_CALL = 0, MS_API_SYSCALL = 1, MS_API_OPCODE = 2 };

/* No time or thread was recorded. */
#define MS_TIME_NONE INT64_MIN
enum { MS_TID_NONE = 0 };

/* One process as its report introduces it. Strings are the report's bytes (any bytes, no
 * NUL-termination), borrowed for the length of the callback. Times are the source clock's
 * microseconds; their zone is unknown (Cuckoo, CAPE). */
struct ms_process_info {
    uint64_t pid;
    uint64_t parent_pid; /* 0 when unknown */
    struct ms_span name;
    int64_t first_seen_us; /* MS_TIME_NONE when unknown */
    bool tracked;          /* false for Cuckoo's `track: false` */
};

/* One entry of `calls`, pseudo-calls (`__…__`) included. `repeated` counts the FURTHER identical
 * calls the entry stands for (CAPE); the expanded length of a process is the sum of 1 + repeated.
 */
struct ms_call_info {
    struct ms_span api;      /* name as the sandbox wrote it */
    struct ms_span category; /* may be empty */
    enum ms_api_space space;
    uint64_t tid;    /* MS_TID_NONE when unknown */
    int64_t time_us; /* MS_TIME_NONE when unknown */
    uint64_t repeated;
};

/* What a report says about itself; any span may be empty. Hashes are as written, not verified. */
struct ms_report_info {
    struct ms_span
        sandbox; /* "cuckoo2", "cape", "cuckoo1", …: the format found by the shape of the fields */
    struct ms_span version;
    struct ms_span package;
    struct ms_span target_sha256; /* hexadecimal text */
    struct ms_span target_sha1;
    struct ms_span target_md5;
    struct ms_span target_name;
    bool has_behavior;  /* the `behavior` member was there */
    bool has_processes; /* behavior.processes was there */
};

/* Receives a report's content in document order: process, its calls, process_end, the next process,
 * …, info once at the end. Any callback may stop the reading by returning other than MS_OK; that
 * status is the reader's result. */
struct ms_trace_sink {
    void *ctx;
    enum ms_status (*process)(void *ctx, const struct ms_process_info *process,
                              struct ms_error *err);
    enum ms_status (*call)(void *ctx, const struct ms_call_info *call, struct ms_error *err);
    enum ms_status (*process_end)(void *ctx, struct ms_error *err);
    enum ms_status (*info)(void *ctx, const struct ms_report_info *info, struct ms_error *err);
    /* NULL, or takes the calls of processes that take turns, packed, in place of `process`, `call`
     * and `process_end`, when a reader would have to hold more of them than it likes: pieces in
     * order, which whoever packed them takes apart again. Empty: all pieces so far are void. */
    enum ms_status (*turns)(void *ctx, struct ms_span piece, struct ms_error *err);
};

/* A report's process can give its name or first_seen after its calls: `process_end` may therefore
 * be preceded by a second `process` call for the same process with the completed fields; the last
 * one rules. */

#endif
