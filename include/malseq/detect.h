/* libmalseq-detect: verdicts on sequences of Windows API calls with a model that malseq trained.
 * No corpus, no network, no other process: a model file is loaded, calls are fed, a verdict comes
 * out, the one that `detect` gives on a report of the same calls.
 *
 *     struct malseq_error why;
 *     struct malseq_model *model;
 *     struct malseq_trace *trace;
 *     struct malseq_verdict verdict = MALSEQ_VERDICT_INIT;
 *     if (malseq_model_open("model.safetensors", &model, &why) == MALSEQ_OK &&
 *         malseq_trace_new(model, &trace, &why) == MALSEQ_OK) {
 *         malseq_trace_add(trace, 2044, "NtOpenFile", MALSEQ_NO_TIME, &why);
 *         ...
 *         malseq_trace_verdict(trace, &verdict, &why);
 *
 * Errors. Functions that can fail return a code of enum malseq_code as an int. Where that is not
 * MALSEQ_OK they fill `err`, which is the caller's and may be NULL, and leave their outputs as they
 * were; otherwise they leave `err` alone. The library prints nothing and ends no process, with one
 * exception: jansson, which reads a model's header, may abort the process where memory ends while
 * it does.
 *
 * Threads. What may be shared: a model, by any number of threads and traces; it does not change
 * while it is open. A trace is one thread's at a time. Different traces of one model are fed at
 * once; their verdicts take turns, for a model keeps what it computes with. Who wants verdicts at
 * once opens the model several times. A model is closed when none of its traces is left.
 *
 * The host. No handlers, no threads; no files but the model's while it is opened, and /dev/urandom,
 * of which jansson takes a seed once. Whatever the process's locale, numbers are read and written
 * in the C one.
 *
 * Trust. Model files and calls may be hostile: they are checked, and bounded in time and memory.
 * The bounds are wide: a model file has up to 2 GiB, and one made for it may cost many times that,
 * and minutes. Who opens a stranger's sets limits of the process. What is borrowed from a model
 * (target, names of classes) is as the file has it. A model decides what the verdict is: take
 * models only from whom you would take verdicts.
 *
 * The ABI of soname 0 grows, but nothing of it changes: structures that may grow say their size. */
#ifndef MALSEQ_DETECT_H
#define MALSEQ_DETECT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MALSEQ_API __attribute__((visibility("default")))
#else
#define MALSEQ_API
#endif

enum malseq_code {
    MALSEQ_OK = 0,
    MALSEQ_E_USAGE = 1,  /* an argument is NULL or makes no sense */
    MALSEQ_E_MODEL = 2,  /* the model file is not there, damaged, or reads more than calls */
    MALSEQ_E_MEMORY = 3, /* out of memory */
    MALSEQ_E_LIMIT = 4,  /* more than a trace may hold */
    MALSEQ_E_BUG = 5     /* a fault of the library */
};

/* `text` is UTF-8 for people, without a line's end; what came from outside is escaped in it. */
struct malseq_error {
    int32_t code; /* enum malseq_code */
    char text[508];
};

/* The version of the library that runs, such as "0.1.0"; static. */
MALSEQ_API const char *malseq_detect_version(void);

/* ---- models ---- */

struct malseq_model;

/* Loads a model: a regular file, or a folder with a model.safetensors. The caller closes it. Models
 * that read opcodes or static features of files are refused, for calls alone are no input for them.
 * MALSEQ_E_MODEL, MALSEQ_E_MEMORY. */
MALSEQ_API int malseq_model_open(const char *path, struct malseq_model **out,
                                 struct malseq_error *err);
/* After the last of its traces was freed. NULL: nothing. */
MALSEQ_API void malseq_model_close(struct malseq_model *self);

/* What it was trained to tell: "malware" (from benign), "class" (which class of malware) or
 * "class=NAME" (that class from the others). Borrowed from the model. */
MALSEQ_API const char *malseq_model_target(const struct malseq_model *self);
/* Its classes, at least 2; of two the positive one comes first. NULL beyond the last. Borrowed.
 * UTF-8 as the model file has it, not escaped: control characters and all. */
MALSEQ_API uint32_t malseq_model_class_count(const struct malseq_model *self);
MALSEQ_API const char *malseq_model_class_name(const struct malseq_model *self, uint32_t at);
/* The score from which on a trace is of the positive class, when there are two. */
MALSEQ_API double malseq_model_threshold(const struct malseq_model *self);
/* Traces with fewer calls get no verdict. */
MALSEQ_API uint64_t malseq_model_min_calls(const struct malseq_model *self);

/* ---- traces ---- */

/* The calls of one analysis, of all its processes. */
struct malseq_trace;

/* MALSEQ_E_MEMORY. Borrows the model. The caller frees it. */
MALSEQ_API int malseq_trace_new(struct malseq_model *model, struct malseq_trace **out,
                                struct malseq_error *err);
/* NULL: nothing. */
MALSEQ_API void malseq_trace_free(struct malseq_trace *self);
/* Forgets its calls, for the next analysis; cheaper than a new trace. */
MALSEQ_API int malseq_trace_clear(struct malseq_trace *self, struct malseq_error *err);

#define MALSEQ_NO_TIME INT64_MIN

/* Adds the next call. Those of one process come in the order they were made; processes may take
 * turns. `pid` tells processes apart (of one number that was given again, the second needs
 * another). `name` as the sandbox writes it, copied; time_us: microseconds of any one clock, or
 * MALSEQ_NO_TIME: models look at it, if at all, to order processes. One call more costs a few
 * bytes. Names are cut at 256 bytes; beyond 4,096 distinct ones the others are one pseudo-call.
 * MALSEQ_E_LIMIT: more than 65,536 processes, or more calls than a report may
 * have (64 Mi of a process, 256 MiB packed, and as many again during a verdict); the call was not
 * taken, what was taken before stays, and a verdict on it can still be had. MALSEQ_E_MEMORY. */
MALSEQ_API int malseq_trace_add(struct malseq_trace *self, uint64_t pid, const char *name,
                                int64_t time_us, struct malseq_error *err);
/* Calls taken. */
MALSEQ_API uint64_t malseq_trace_calls(const struct malseq_trace *self);

/* ---- verdicts ---- */

enum malseq_verdict_kind {
    MALSEQ_UNKNOWN = 0,    /* no verdict; `reason` says why */
    MALSEQ_MALICIOUS = 1,  /* of target class=NAME: of that class */
    MALSEQ_BENIGN = 2,     /* of target malware only */
    MALSEQ_OTHER = 3,      /* not of that class, which does not make it benign */
    MALSEQ_CLASSIFIED = 4, /* of target class: `label`, given that it is malware */
};
/* "unknown", "malicious", "benign", "other", "classified"; static. NULL for any other number. */
MALSEQ_API const char *malseq_verdict_name(int32_t kind);

struct malseq_verdict {
    size_t size;       /* set by the caller: MALSEQ_VERDICT_INIT */
    int32_t kind;      /* enum malseq_verdict_kind */
    double score;      /* calibrated, of the positive class or (classified) of `label`; NAN: none */
    const char *label; /* the class decided for, see malseq_model_class_name; NULL: none. An unknown
                          may have one: the score lies in the model's band of doubt */
    uint64_t calls;    /* of the trace, as the model counts them */
    uint64_t tokens;   /* that it was shown */
    char reason[160];  /* for unknown; else empty */
};
#define MALSEQ_VERDICT_INIT                                 \
    {                                                       \
        sizeof(struct malseq_verdict), 0, 0, NULL, 0, 0, "" \
    }

/* The verdict on the calls so far; more may be added after it. Each costs the time of all calls so
 * far. A trace of which nothing can be said is no error: its kind is MALSEQ_UNKNOWN.
 * MALSEQ_E_MEMORY. */
MALSEQ_API int malseq_trace_verdict(struct malseq_trace *self, struct malseq_verdict *out,
                                    struct malseq_error *err);

#ifdef __cplusplus
}
#endif

#endif
