/* AVClass's lines of output. Judges nothing. */
#ifndef MS_LABEL_AVCLASS_TEXT_H
#define MS_LABEL_AVCLASS_TEXT_H

#include "label/avclass_job.h"
#include "label/record.h"

struct ms_avclass_line {
    struct ms_span hash;
    const struct ms_avclass_verdict *verdict;
    size_t labels; /* of all engines; 0: the line says that there are none */
    const struct ms_record_text *vt_tags;
    size_t vt_tag_count;
};

/* Appends the line, LF included. Fails as ms_buf_append does. */
enum ms_status ms_avclass_line_put(const struct ms_avclass_options *options,
                                   const struct ms_avclass_line *line, struct ms_buf *out);

#endif
