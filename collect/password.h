/* Candidate passwords of one archive, in the order in which they are worth trying. Opens nothing.
 */
#ifndef MS_COLLECT_PASSWORD_H
#define MS_COLLECT_PASSWORD_H

#include "base/arena.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a candidate comes from, in the order of trying. */
enum ms_password_source {
    MS_PASSWORD_WORKED, /* opened something of the same origin before */
    MS_PASSWORD_LIST,   /* --password-list */
    MS_PASSWORD_BESIDE, /* a .pass or password*.txt file in the same folder */
    MS_PASSWORD_README, /* named in a README */
    MS_PASSWORD_BUILTIN,
    MS_PASSWORD_NAME, /* the archive's own name, and its origin's */
    MS_PASSWORD_SOURCES
};

struct ms_password_part {
    struct ms_span *items;
    size_t count, cap;
};

/* Bytes are copied into the arena, which must outlive the set. */
struct ms_passwords {
    struct ms_arena *arena;
    struct ms_password_part parts[MS_PASSWORD_SOURCES];
};

/* An empty set with the built-in list ("infected" first). */
enum ms_status ms_passwords_init(struct ms_passwords *self, struct ms_arena *arena,
                                 struct ms_error *err) MS_MUST_USE;
/* Empty ones, those with a NUL, longer than 127 bytes, and doubles are passed over. */
enum ms_status ms_passwords_add(struct ms_passwords *self, enum ms_password_source source,
                                struct ms_span password, struct ms_error *err) MS_MUST_USE;
bool ms_passwords_has(const struct ms_passwords *self, enum ms_password_source source,
                      struct ms_span password);
/* One a line, exactly as it stands there (CR and LF removed); lines that change when blanks at
 * their ends are trimmed count twice, untrimmed first. */
enum ms_status ms_passwords_add_lines(struct ms_passwords *self, enum ms_password_source source,
                                      struct ms_span text, struct ms_error *err) MS_MUST_USE;
/* What a README calls the password: the words and quoted strings that follow "password". */
enum ms_status ms_passwords_add_readme(struct ms_passwords *self, struct ms_span text,
                                       struct ms_error *err) MS_MUST_USE;
/* What the names say: the file name without one, two and three suffixes, "infected666" and the last
 * character of the first of these (contagio's scheme), and the last part of the origin's name
 * without ".git". */
enum ms_status ms_passwords_add_names(struct ms_passwords *self, struct ms_span path,
                                      struct ms_span origin, struct ms_error *err) MS_MUST_USE;
/* A set that begins with what another one holds, whose bytes it borrows. */
enum ms_status ms_passwords_init_from(struct ms_passwords *self, const struct ms_passwords *from,
                                      struct ms_arena *arena, struct ms_error *err) MS_MUST_USE;

/* The candidates to try, at most max, each once. Every source keeps a share, so that a long list
 * does not push the built-in ones out. Returns how many. */
size_t ms_passwords_candidates(const struct ms_passwords *self, struct ms_span *out, size_t max);

/* A digest of the whole set, whatever the order, and of `extra` (ids of files that may name
 * passwords but have not been read): when it changes, closed archives are worth another try. */
enum ms_status ms_passwords_digest(const struct ms_passwords *self, struct ms_span extra,
                                   uint8_t out[32], struct ms_error *err) MS_MUST_USE;

/* Is this file name (the last part of a path) one that holds passwords, or a README? */
bool ms_password_is_beside(struct ms_span name);
bool ms_password_is_readme(struct ms_span name);

#endif
