/* What the scanner has for wide vectors: skipping by bitmaps and taking objects of a known form.
 * Chosen once by what the processor can do; ms_scanner_bytes has the scanner go byte by byte, to
 * the same verdict, place and texts. Private to the scanner, but for tests, which force a path. */
#ifndef MS_BASE_SCAN_KERNEL_H
#define MS_BASE_SCAN_KERNEL_H

#include "base/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far the skipping of a container has come. */
struct ms_scanner_skip {
    uint64_t in_string; /* all ones within a string, else 0 */
    uint64_t escaped;   /* 1: a backslash stands before the next byte */
    size_t depth;       /* open brackets … */
    size_t floor;       /* … and how many are left when the container is closed */
    uint8_t *open;      /* which ones: '{' or '[' */
};

enum {
    MS_SCAN_FORM_NODES = 48,
    MS_SCAN_FORM_NAMES = 32, /* what fits a bit mask */
    MS_SCAN_FORM_OTHER = 0xFE,
    MS_SCAN_FORM_END = 0xFF
};

/* What stands between two values of one of the objects: `, "key": ` with its white space. It was
 * checked byte by byte when it was seen first; to find the very bytes again is to check them. */
struct ms_scanner_node {
    uint8_t bytes[64];
    uint64_t mask;   /* a bit for each of them */
    uint8_t len;     /* 0: none */
    uint8_t name;    /* index of the member's name, or OTHER; END behind the object's last value */
    uint8_t next[2]; /* the nodes that came behind this one */
};

/* What stood behind a node's value up to the next one that is wanted, members that are not among
 * it: mostly the same in the next object, and so one comparison instead of one a member. `target`
 * is the node it ends with. */
struct ms_scanner_stretch {
    uint8_t bytes[64];
    uint64_t mask;
    uint8_t len; /* 0: none */
    uint8_t target;
    uint8_t score;    /* found more often than not, by so much; replaced at 0 */
    uint8_t replaced; /* without having been found since */
    uint8_t wait;     /* so many times it is not to be replaced */
};

/* Node 0 has no bytes: from there an object begins. */
struct ms_scanner_form {
    const struct ms_scanner_name *names;
    size_t name_count;
    size_t node_count;
    struct ms_scanner_node nodes[MS_SCAN_FORM_NODES];
    struct ms_scanner_stretch stretches[MS_SCAN_FORM_NODES]; /* behind each node's value */
};

/* What a form's reading needs and gives. */
struct ms_scanner_take {
    struct ms_scanner_form *form;
    struct ms_scanner_field *fields;
    uint32_t found;
    uint8_t *open;
    size_t depth; /* with the object's own bracket */
};

struct ms_scanner_kernel {
    const char *name;
    /* Goes on while 64 bytes are left. Returns behind the bracket that closes the container
     * (depth == floor), or where the byte-wise way must take over: near the end, or no more than 64
     * bytes before a fault. [p, end) and 64 bytes behind it are readable. */
    const uint8_t *(*skip)(const uint8_t *p, const uint8_t *end, struct ms_scanner_skip *state);
    /* From behind an array's element over the whole next one; NULL where that is not an object of
     * plain members that lies in the block, and then nothing has happened. [end, end + 64) holds
     * zeros. */
    const uint8_t *(*take)(const uint8_t *p, const uint8_t *end, struct ms_scanner_take *take);
};

/* Learns the node that stands at p, behind `from`; 0 where none does that fits. */
uint8_t ms_scanner_form_learn(struct ms_scanner_form *self, uint8_t from, const uint8_t *p,
                              const uint8_t *end);

/* Learns that [from, p) stood behind the value of the node `at`, `target` being the last in it.
 * Every member of it was looked at one by one, and none has a container that is not empty: what
 * that may hold depends on the depth. */
void ms_scanner_stretch_learn(struct ms_scanner_form *self, uint8_t at, const uint8_t *from,
                              const uint8_t *p, uint8_t target);

/* All there are; ms_scanner_bytes has no functions, and neither have those that the compiler could
 * not build. */
extern const struct ms_scanner_kernel ms_scanner_bytes, ms_scanner_avx2, ms_scanner_avx512;
/* Whether this processor runs one. */
bool ms_scanner_kernel_can(const struct ms_scanner_kernel *kernel);
/* The best of this processor, what new scanners take. */
const struct ms_scanner_kernel *ms_scanner_kernel_best(void);
/* For tests: what is best from now on in this process; NULL: what is. */
void ms_scanner_kernel_force(const struct ms_scanner_kernel *kernel);

#endif
