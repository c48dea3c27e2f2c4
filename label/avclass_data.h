/* AVClass's three data files on disk: where they are, reading them, getting them. Compiles nothing.
 */
#ifndef MS_LABEL_AVCLASS_DATA_H
#define MS_LABEL_AVCLASS_DATA_H

#include "base/buf.h"
#include "base/hash.h"
#include "label/avclass.h"

#include <stdbool.h>

/* The version whose files are known by their digests, and the commit they are from. */
#define MS_AVCLASS_VERSION "2.8.10"
#define MS_AVCLASS_COMMIT "35b0c15"
#define MS_AVCLASS_BRANCH "master"
#define MS_AVCLASS_URL "https://raw.githubusercontent.com/malicialab/avclass"

struct ms_avclass_data {
    struct ms_buf taxonomy, tagging, expansion;
    char digest[MS_HASH_HEX_MAX]; /* SHA-256 over the SHA-256 of taxonomy, tagging and expansion:
                                     what families found by these files go back to */
    bool pinned;                  /* the files are those of MS_AVCLASS_VERSION */
};

/* Reads default.taxonomy, default.tagging and default.expansion of a folder: of `dir`, which must
 * have them (MS_E_INPUT), or, when it is NULL, of the corpus's folder avclass/. MS_E_INPUT when
 * that one has none of them: *absent is then true, and the text says how to get the files. absent
 * may be NULL. release after MS_OK. */
enum ms_status ms_avclass_data_read(const char *dir, const char *corpus,
                                    struct ms_avclass_data *out, bool *absent,
                                    struct ms_error *err) MS_MUST_USE;
void ms_avclass_data_release(struct ms_avclass_data *self);

/* The files as the engine takes them; borrowed. */
struct ms_avclass_rules ms_avclass_data_rules(const struct ms_avclass_data *self);

/* Downloads the files, and their licence, into a folder (made when missing), each of them whole or
 * not at all. url: NULL for MS_AVCLASS_URL; https, or http on loopback. commit: NULL for
 * MS_AVCLASS_COMMIT (or MS_AVCLASS_BRANCH where the server has no such commit), whose files are
 * checked against known digests (MS_E_REMOTE when one differs, and nothing is replaced then); those
 * of another are taken as they come, and *verified is false.
 */
enum ms_status ms_avclass_data_fetch(const char *dir, const char *url, const char *commit,
                                     bool *verified, struct ms_error *err) MS_MUST_USE;

#endif
