/* label avclass: what AVClass 2.8.10 would print for files of antivirus reports. Opens no corpus.
 */
#ifndef MS_LABEL_AVCLASS_VERB_H
#define MS_LABEL_AVCLASS_VERB_H

#include "base/cli.h"

struct ms_avclass_verb_options {
    bool tags, pup, vtt, fetch;
    const char *hash, *data, *engines, *data_url, *data_commit;
};

enum { MS_AVCLASS_OPTIONS = 9 };
extern const struct ms_option ms_avclass_options[MS_AVCLASS_OPTIONS];

/* The verb. Operands are files, folders (the files right in them) and "-" for standard input; all
 * are read in the byte order of their names, each once, as AVClass does. MS_REJECT when reports
 * gave no line, or a file ended early; MS_E_INPUT or MS_E_IO when one could not be opened. */
enum ms_status ms_label_avclass(struct ms_cli *cli, struct ms_error *err);

#endif
