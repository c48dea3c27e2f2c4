/* What the checks of malseq doctor share. */
#ifndef MS_MALSEQ_DOCTOR_H
#define MS_MALSEQ_DOCTOR_H

#include "base/log.h"
#include "malseq/malseq.h"
#include "malseq/nightly.h"

#include <stdbool.h>
#include <stdint.h>

enum doctor_state { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAULT };

struct doctor {
    struct ms_cli *cli;
    const struct malseq_doctor *options;
    const struct malseq_nightly_config *config; /* NULL: none */
    const char *corpus;
    unsigned warnings, faults;
    int64_t drift_ms; /* of our clock, by the Date of an answer */
    bool has_drift;
    bool unreadable; /* the corpus, as it is: damaged, or of another version */
};

/* One finding: `check` is static text, todo what to do about it (NULL: nothing), the rest what is
 * so; all are escaped when printed. Names no secret. */
enum ms_status malseq_doctor_say(struct doctor *self, const char *check, enum doctor_state state,
                                 const char *todo, struct ms_error *err, const char *fmt, ...)
    MS_PRINTF(6, 7) MS_MUST_USE;

/* The next section of nightly.conf of that kind that is not off; after NULL: the first. NULL: no
 * more, or no file. */
const struct malseq_section *malseq_doctor_section(const struct doctor *self, const char *kind,
                                                   const struct malseq_section *after);
/* What the option gave, else the first such section that has the key, else the fallback. */
const char *malseq_doctor_text(const struct doctor *self, const char *option, const char *kind,
                               const char *key, const char *fallback);

/* The worker; to be called before any secret is read. */
enum ms_status malseq_doctor_worker(struct doctor *self, struct ms_error *err) MS_MUST_USE;
/* nightly.conf where there is one, read into config, which self borrows: whether a night would
 * begin with it and find what it names, and who can write it. */
enum ms_status malseq_doctor_config(struct doctor *self, struct malseq_nightly_config *config,
                                    struct ms_error *err) MS_MUST_USE;
/* The corpus: programs, folder, database, what runs left, room, how its disk is mounted. */
enum ms_status malseq_doctor_corpus(struct doctor *self, struct ms_error *err) MS_MUST_USE;
/* The sandboxes' part of what follows. */
enum ms_status malseq_doctor_sandboxes(struct doctor *self, struct ms_error *err) MS_MUST_USE;
/* Keys, and unless --offline the services they are for. */
enum ms_status malseq_doctor_services(struct doctor *self, struct ms_error *err) MS_MUST_USE;

#endif
