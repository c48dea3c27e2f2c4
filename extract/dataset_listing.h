/* The files of Microsoft's BIG 2015, pushed in pieces of any size and read in constant memory:
 * IDA's listings and dumps of bytes. Names and labels are not its business. */
#ifndef MS_EXTRACT_DATASET_LISTING_H
#define MS_EXTRACT_DATASET_LISTING_H

#include "base/error.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MS_LISTING_KEPT = 512,    /* bytes of a line that are looked at; the mnemonic stands before */
    MS_MNEMONIC_BYTES = 24,   /* of one; longer words are none */
    MS_LISTING_SEGMENT = 128, /* bytes of a segment's name */
};

/* A line of a listing is `SEGMENT:ADDRESS`, the bytes in hexadecimal (`??` unknown; `+` behind the
 * last when there are more), and the text, between blanks and tabs. An instruction is a line with
 * bytes whose text begins with a word of small letters and digits that is no directive (db, dd,
 * align, extrn, ...) and names no datum (`word db ...`, `word = ...`). Of an instruction with a
 * prefix that word is the prefix (`rep movsd`: rep), as in the literature on this dataset. All
 * segments count, since packed programs have their code elsewhere than in .text. */
struct ms_listing {
    void *ctx;
    enum ms_status (*instruction)(void *ctx, struct ms_span mnemonic, struct ms_error *err);
    uint64_t lines;        /* all; also of other text */
    uint64_t listed;       /* that begin with a segment and an address */
    uint64_t instructions; /* told to the callback */
    size_t len;            /* of the present line, as far as kept */
    uint8_t line[MS_LISTING_KEPT];
};

/* All zero but ctx and instruction is the start. */
enum ms_status ms_listing_take(struct ms_listing *self, const uint8_t *bytes, size_t n,
                               struct ms_error *err) MS_MUST_USE;
/* MS_REJECT when no line was one of a listing. */
enum ms_status ms_listing_end(struct ms_listing *self, struct ms_error *err) MS_MUST_USE;

/* A dump: lines of an address (8 to 16 hexadecimal digits) and bytes in hexadecimal, `??` for one
 * that is not known, one blank between them. All zero is the start. */
struct ms_dump {
    uint64_t lines; /* whole ones done */
    uint64_t bytes; /* known and unknown ones */
    unsigned digits;
    bool in_byte, unknown; /* behind the address; the present pair is of question marks */
    bool open;             /* the line has something */
};

/* MS_REJECT for anything else; self->lines + 1 is the line. */
enum ms_status ms_dump_take(struct ms_dump *self, const uint8_t *bytes, size_t n,
                            struct ms_error *err) MS_MUST_USE;
enum ms_status ms_dump_end(struct ms_dump *self, struct ms_error *err) MS_MUST_USE;

#endif
