/* The run of detect: paths to lines. */
#ifndef MS_DETECT_COMMAND_H
#define MS_DETECT_COMMAND_H

#include "base/cli.h"

struct ms_detect_options {
    const char *model;
    uint64_t min_calls;  /* 0: the model's */
    double threshold;    /* NAN: the model's */
    const char *unknown; /* "FROM:TO"; NULL: none */
    bool explain, early, fast;
    uint64_t top;
    bool follow;
    uint64_t every;   /* 0: when the verdict changes */
    uint64_t until_s; /* 0: no end */
};
void ms_detect_defaults(void *options);

/* MS_REJECT (exit 1) when something malicious was found, MS_OK when nothing was, MS_E_INPUT for a
 * bad model; a path that cannot be read is told, the rest goes on, and MS_E_INPUT or MS_E_IO comes
 * at the end unless something malicious was found. */
enum ms_status ms_detect_run(struct ms_cli *cli, struct ms_error *err) MS_MUST_USE;

#endif
