/* Tags, family and PUP mark of a sample from what antivirus engines call it, as AVClass 2.8.10
 * finds them (Sebastian et al., RAID 2016; Sebastian and Caballero, ACSAC 2020; MIT licence). Reads
 * no file and no report: rules and labels come as bytes in memory.
 *
 * The rules are AVClass's own three data files, read at run time:
 * taxonomy   CATEGORY:prefix:…:name a line; of several lines for one name the first counts
 * tagging    word, then the tags it stands for, separated by blanks; lines of one word add up
 * expansion  tag, then the tags it brings along, in the same form
 * Lines that begin with '#' and empty ones are skipped; a rule without a destination says nothing.
 * Letters are ASCII's: other bytes are kept as they are and have no case. */
#ifndef MS_LABEL_AVCLASS_H
#define MS_LABEL_AVCLASS_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The compiled rules and the memory that judging works in: one for each thread. */
struct ms_avclass;

struct ms_avclass_rules {
    struct ms_span taxonomy, tagging, expansion; /* borrowed during ms_avclass_new; may be empty */
};

/* MS_E_LIMIT when a file is larger than MS_LIMIT_AVCLASS_BYTES or the rules give more tags than
 * MS_LIMIT_AVCLASS_TAGS, MS_E_NOMEM. No content is an error: AVClass takes any line for something.
 */
enum ms_status ms_avclass_new(const struct ms_avclass_rules *rules, struct ms_avclass **out,
                              struct ms_error *err) MS_MUST_USE;
void ms_avclass_free(struct ms_avclass *self);

/* Counts the labels of these engines alone from now on (names compared byte for byte), as a file
 * given to AVClass with -av does. An empty list keeps all labels, but makes vt_count 0: so does
 * AVClass. The names are copied. */
enum ms_status ms_avclass_only(struct ms_avclass *self, const struct ms_span *engines, size_t count,
                               struct ms_error *err) MS_MUST_USE;

struct ms_avclass_label {
    struct ms_span engine, label; /* an empty label counts in vt_count and nowhere else */
};

struct ms_avclass_sample {
    struct ms_span md5, sha1, sha256; /* as the report has them: words that are prefixes of them say
                                         nothing about the sample. Case matters */
    const struct ms_avclass_label *labels; /* in the report's order, which can matter */
    size_t count;
    bool clean; /* drop what is not printable ASCII from the labels, and white space from their
                   ends, as AVClass does for all formats but its simplified one */
};

/* A tag that more than one label supports. */
struct ms_avclass_tag {
    struct ms_span name; /* "zbot" */
    struct ms_span path; /* "FAM:zbot", "CLASS:grayware:adware"; "UNK:name" when it is in no
                            taxonomy; the name alone when the taxonomy has no category for it */
    size_t count;        /* labels */
    bool family;         /* category FAM or UNK: can name a family */
    bool known;          /* in the taxonomy */
};

struct ms_avclass_verdict {
    const struct ms_avclass_tag *tags; /* falling by count, then by name; borrowed until the next
                                          judgement */
    size_t tag_count;
    const struct ms_avclass_tag *family; /* one of tags; NULL: none (AVClass's SINGLETON) */
    bool verified;   /* the family is one of the taxonomy, not just a word that engines repeat */
    bool pup;        /* potentially unwanted: the first CLASS tag lies under grayware, and has half
                        the first tag's labels at least */
    size_t vt_count; /* labels, before copies are dropped */
};

/* MS_E_NOMEM only. Time and memory are linear in the labels' bytes. */
enum ms_status ms_avclass_judge(struct ms_avclass *self, const struct ms_avclass_sample *sample,
                                struct ms_avclass_verdict *out, struct ms_error *err) MS_MUST_USE;

#endif
