/* The class of a sample as the authors of Mal-API-2019 found it (Catak et al., 2020; their
 * scripts), for comparison with data labelled so. Its faults are kept: see the README. Pure. */
#ifndef MS_LABEL_MALAPI2019_H
#define MS_LABEL_MALAPI2019_H

#include "label/vtjson.h"

/* The words a label can be read as; what is none of them votes for itself. */
enum { MS_MALAPI_CLASSES = 15 };

struct ms_malapi {
    const char *class_; /* "Trojan", "Worms", …; "Undefined" when a label that is no class won; NULL
                           when nothing voted */
    unsigned votes;     /* engines for it */
    unsigned margin;    /* above the runner-up */
    unsigned classes[MS_MALAPI_CLASSES]; /* engines a class */
};

/* The rule: the rows that detect become one text, "engine_label," each, which is cut at commas, and
 * each part behind its first '_'; a part without one says nothing. Lower case and without blanks,
 * the first word of a list found in it decides the class; "unsafe", "unclassified" and "unknown" do
 * not vote; a label without any of the words is its own class. The class with most votes wins; of
 * equal ones that which comes first in a table of six buckets (bucket: sum of its code points
 * modulo 6; in it, in order of appearance). Time n log n in the labels. MS_E_NOMEM only. */
enum ms_status ms_malapi_count(const struct ms_vt_report *report, struct ms_malapi *out,
                               struct ms_error *err) MS_MUST_USE;

/* "Worms" …; i below MS_MALAPI_CLASSES. */
const char *ms_malapi_class_name(unsigned i);

#endif
