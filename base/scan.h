/* A streaming pull reader of one JSON document in constant memory. It checks all of RFC 8259's
 * grammar and UTF-8, also in what the caller skips (but see ms_scanner_check_skipped), and builds
 * nothing. */
#ifndef MS_BASE_SCAN_H
#define MS_BASE_SCAN_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Gives up to cap bytes of the document; *n = 0 at its end. Any status but MS_OK ends the reading
 * and is what the scanner's functions then return. */
typedef enum ms_status (*ms_scanner_source)(void *ctx, void *buf, size_t cap, size_t *n,
                                            struct ms_error *err);

enum ms_scanner_kind {
    MS_SCAN_OBJECT,
    MS_SCAN_ARRAY,
    MS_SCAN_STRING,
    MS_SCAN_NUMBER,
    MS_SCAN_TRUE,
    MS_SCAN_FALSE,
    MS_SCAN_NULL
};

/* A decoded string, or a number or literal as written; borrowed until the next call on the scanner.
 * Any byte may occur in it, NUL too (`\u0000`). `cut`: it was longer than
 * MS_LIMIT_JSON_STRING_BYTES and ends there (before a character that would be split). */
struct ms_scanner_text {
    struct ms_span bytes;
    bool cut;
};

/* Accepted beyond RFC 8259 (see also ms_scanner_allow_non_finite): a byte order mark in front;
 * escapes of surrogates without their partner (each becomes U+FFFD). Numbers have no range.
 * Duplicate members are handed out like any other. A fault is MS_REJECT with "line L, byte B: why"
 * (lines from 1, bytes from 0) and sticks: every later call returns it again. Nesting beyond
 * MS_LIMIT_JSON_DEPTH is such a fault. */
struct ms_scanner;

/* block_bytes 0: 256 KiB. */
enum ms_status ms_scanner_new(ms_scanner_source source, void *source_ctx, size_t block_bytes,
                              struct ms_scanner **out, struct ms_error *err) MS_MUST_USE;
void ms_scanner_free(struct ms_scanner *self);

/* A scanner of documents in memory, one after the other without a new allocation; it begins with an
 * empty one. It reads them where they lie: a text without escapes is a part of the document and
 * stays as long as that does; only one with escapes ends with the next call. */
enum ms_status ms_scanner_new_memory(struct ms_scanner **out, struct ms_error *err) MS_MUST_USE;
/* Begins with the next document, whatever became of the last; it is borrowed until the next
 * restart. For scanners of ms_scanner_new_memory alone. */
void ms_scanner_restart(struct ms_scanner *self, struct ms_span document);

/* Takes NaN, Infinity and -Infinity for numbers, as Python's json module reads and writes them; off
 * in a new scanner. Survives restart. */
void ms_scanner_allow_non_finite(struct ms_scanner *self, bool allow);

/* How much of a container that is skipped is checked; a new scanner has GRAMMAR. */
enum ms_scanner_check {
    /* All of it. */
    MS_SCAN_CHECK_GRAMMAR,
    /* That strings end, have no raw control characters and are UTF-8; that nothing outside them is
     * a backslash or above U+007F; that brackets match in kind and number, not too deep. Commas,
     * colons, numbers, literals and what follows a backslash may be anything. What is not in a
     * skipped container, members and elements passed over included, has its grammar checked as
     * ever. Several times as fast. */
    MS_SCAN_CHECK_STRUCTURE
};
/* For scanners of a source; those of ms_scanner_new_memory check the grammar of everything. */
void ms_scanner_check_skipped(struct ms_scanner *self, enum ms_scanner_check check);

/* The kind of the value that comes next: the document's, a member's or an element's. Consumes
 * nothing of it. MS_E_BUG where no value is due (see member and element). */
enum ms_status ms_scanner_peek(struct ms_scanner *self, enum ms_scanner_kind *out,
                               struct ms_error *err) MS_MUST_USE;

/* Opens the object or array that comes next. */
enum ms_status ms_scanner_enter(struct ms_scanner *self, struct ms_error *err) MS_MUST_USE;

/* In an object: the next member's key, its value being due next; or *more = false, and the object
 * is left. A value that was due and not taken is skipped. */
enum ms_status ms_scanner_member(struct ms_scanner *self, bool *more, struct ms_scanner_text *key,
                                 struct ms_error *err) MS_MUST_USE;

/* In an array: whether an element is due next; false: the array is left. Skips as member does. */
enum ms_status ms_scanner_element(struct ms_scanner *self, bool *more,
                                  struct ms_error *err) MS_MUST_USE;

/* Takes the string, number or literal that comes next as text. */
enum ms_status ms_scanner_text(struct ms_scanner *self, struct ms_scanner_text *out,
                               struct ms_error *err) MS_MUST_USE;

/* Takes the value that comes next, whatever it is: its kind, and a string, number or literal as
 * text; a container is skipped and gives an empty text. */
enum ms_status ms_scanner_take(struct ms_scanner *self, enum ms_scanner_kind *kind,
                               struct ms_scanner_text *out, struct ms_error *err) MS_MUST_USE;

/* Takes the value that comes next, whatever it holds, and keeps nothing. */
enum ms_status ms_scanner_skip(struct ms_scanner *self, struct ms_error *err) MS_MUST_USE;

/* A value of a container that is taken whole. text: as ms_scanner_text gives it; of a container,
 * its source with the brackets. */
struct ms_scanner_field {
    enum ms_scanner_kind kind;
    bool found;
    struct ms_scanner_text text;
    size_t held_at; /* the scanner's own */
};

struct ms_scanner_name {
    const char *at;
    size_t len; /* > 0 */
};
#define MS_SCAN_NAME(literal)          \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }

/* For documents in memory: takes the object that comes next whole. out[i] is the value of the last
 * member called names[i], the others are passed over. Texts are borrowed until the next call, those
 * without escapes as long as the document. A way of few steps for many small objects. */
enum ms_status ms_scanner_fields(struct ms_scanner *self, const struct ms_scanner_name *names,
                                 size_t count, struct ms_scanner_field *out,
                                 struct ms_error *err) MS_MUST_USE;

/* The same for the array that comes next: the first max elements, and how many there are. */
enum ms_status ms_scanner_items(struct ms_scanner *self, size_t max, struct ms_scanner_field *out,
                                size_t *count, struct ms_error *err) MS_MUST_USE;

/* What many objects of one array have in common; learned as they are read. names[i] of ones that
 * are wanted (at most 32) are borrowed until free. */
struct ms_scanner_form;
enum ms_status ms_scanner_form_new(const struct ms_scanner_name *names, size_t count,
                                   struct ms_scanner_form **out, struct ms_error *err) MS_MUST_USE;
void ms_scanner_form_free(struct ms_scanner_form *self);

/* In an array, in a loop with ms_scanner_element: whether the next element was taken whole, being
 * an object like those before. Bit i of *found: it has names[i], once, with fields[i].kind and
 * .text (a container's is its source), borrowed until the next call. False: nothing was consumed;
 * ms_scanner_element and so on tell what it is, or what is wrong with it. That can be for any
 * reason, but never of an object that they would have refused or read otherwise. */
bool ms_scanner_next_alike(struct ms_scanner *self, struct ms_scanner_form *form,
                           struct ms_scanner_field *fields, uint32_t *found) MS_MUST_USE;

/* Outside of all containers: skips the document's value if it was not taken, and faults unless only
 * white space is left. */
enum ms_status ms_scanner_finish(struct ms_scanner *self, struct ms_error *err) MS_MUST_USE;

/* Makes a fault of the caller's own at the present place ("line L, byte B: …"), sticking as the
 * scanner's do; `why` is static text. */
enum ms_status ms_scanner_fault(struct ms_scanner *self, const char *why, struct ms_error *err);

/* Where the reading stands, or where the fault was found: line from 1, byte from 0. */
uint64_t ms_scanner_line(const struct ms_scanner *self);
uint64_t ms_scanner_byte(const struct ms_scanner *self);

#endif
