/* The options of the normalisation as every tool's option table has them: the same names, words and
 * meaning in train, export and audit. detect has them from its model alone. */
#ifndef MS_STORE_TRACE_NORMALISE_REQUEST_H
#define MS_STORE_TRACE_NORMALISE_REQUEST_H

#include "base/cli.h"
#include "store/trace/normalise.h"

/* As typed; texts NULL and numbers MS_NORMAL_UNSET where nothing was. */
#define MS_NORMAL_UNSET UINT64_MAX
struct ms_normal_request {
    const char *order, *fold, *pseudo, *repeated, *once, *cut;
    uint64_t collapse, loops, max_calls, min_calls;
};
/* For a verb's `defaults`: nothing was typed. */
void ms_normal_request_init(struct ms_normal_request *self);

/* Changes in *options and *min_calls what was typed. MS_E_USAGE when --fold cannot be read. */
enum ms_status ms_normal_request_apply(const struct ms_normal_request *self,
                                       struct ms_normal_options *options, uint64_t *min_calls,
                                       struct ms_error *err) MS_MUST_USE;

/* Rows of an option table for the member `m` (struct ms_normal_request) of the options `t`. */
#define MS_NORMAL_CHOICE(t, m, option, field, words, text)                           \
    {                                                                                \
        .name = (option), .kind = MS_OPT_CHOICE, .arg = (words), .choices = (words), \
        .offset = offsetof(t, m.field), .help = (text)                               \
    }
#define MS_NORMAL_NUMBER(t, m, option, field, most, text)                   \
    {                                                                       \
        .name = (option), .kind = MS_OPT_NUMBER, .arg = "N", .max = (most), \
        .offset = offsetof(t, m.field), .help = (text)                      \
    }
#define MS_NORMAL_OPTIONS(t, m)                                                               \
    MS_NORMAL_CHOICE(t, m, "order", order, "process|time",                                    \
                     "calls process by process, by first seen, or merged by their times"),    \
        {.name = "fold",                                                                      \
         .kind = MS_OPT_TEXT,                                                                 \
         .arg = "WORDS",                                                                      \
         .offset = offsetof(t, m.fold),                                                       \
         .help = "names that are one: case (CreateFileW, createfilew), suffix (CreateFileA, " \
                 "CreateFileW), native (NtClose, ZwClose), with + between, or none"},         \
        MS_NORMAL_CHOICE(t, m, "pseudo", pseudo, "drop|keep",                                 \
                         "what a sandbox notes between the calls, as __exception__"),         \
        MS_NORMAL_CHOICE(t, m, "repeated", repeated, "expand|entry",                          \
                         "an entry with `repeated` is as many calls, or one"),                \
        MS_NORMAL_NUMBER(t, m, "collapse", collapse, UINT32_MAX,                              \
                         "of a run of equal calls keep the first N (0: all)"),                \
        MS_NORMAL_NUMBER(t, m, "loops", loops, MS_NORMAL_LOOP_MOST,                           \
                         "of repeated blocks of 2 to N runs keep one (0: all)"),              \
        MS_NORMAL_CHOICE(t, m, "once", once, "yes|no",                                        \
                         "keep only the first occurrence of each call"),                      \
        MS_NORMAL_CHOICE(t, m, "cut", cut, "head|tail|middle",                                \
                         "which calls of a longer trace are kept: the first, the last, or "   \
                         "half of each"),                                                     \
        MS_NORMAL_NUMBER(t, m, "max-calls", max_calls, UINT32_MAX,                            \
                         "keep at most N calls of a trace (0: all)"),                         \
        MS_NORMAL_NUMBER(t, m, "min-calls", min_calls, UINT32_MAX,                            \
                         "leave out traces with fewer calls, before any is collapsed")

#endif
