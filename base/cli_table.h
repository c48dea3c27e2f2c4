/* What the parts of the command-line library share: the common options, and the texts made from a
 * tool's table. Tools include base/cli.h. */
#ifndef MS_BASE_CLI_TABLE_H
#define MS_BASE_CLI_TABLE_H

#include "base/buf.h"
#include "base/cli.h"

/* The options every tool has; offsets are into struct ms_common. */
extern const struct ms_option ms_cli_common_options[];
extern const size_t ms_cli_common_count;
/* --help, --version, --print-man, --print-completion; they set no field. */
extern const struct ms_option ms_cli_meta_options[];
extern const size_t ms_cli_meta_count;

const struct ms_verb *ms_cli_find_verb(const struct ms_tool *tool, const char *name);

/* The name in `names` nearest to `word` by edit distance (at most a third of its length, at least
 * 1, changes), or NULL. */
const char *ms_cli_nearest(const char *word, const char *const *names, size_t count);

/* verb NULL: the whole tool. All append to `out`, whose `failed` tells of trouble. */
void ms_cli_help(const struct ms_tool *tool, const struct ms_verb *verb, struct ms_buf *out);
void ms_cli_man(const struct ms_tool *tool, struct ms_buf *out);
void ms_cli_completion(const struct ms_tool *tool, struct ms_buf *out);

/* "512M", or the plain number where no unit fits; returns out. */
const char *ms_cli_bytes_text(uint64_t bytes, char out[24]);
/* " [default: 15]" for an option whose default is worth a word, else "". */
const char *ms_cli_default_text(const struct ms_option *option, const void *defaults, char *out,
                                size_t n);
/* The verb's options struct with its defaults, from `memory`; NULL without memory. */
void *ms_cli_new_options(const struct ms_verb *verb, struct ms_arena *memory) MS_MUST_USE;

#endif
