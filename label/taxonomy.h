/* What words in engines' labels mean: classes, generic words, and which engines share one detection
 * engine. Small built-in tables of our own; no families. */
#ifndef MS_LABEL_TAXONOMY_H
#define MS_LABEL_TAXONOMY_H

#include <stdbool.h>
#include <stddef.h>

/* The classes a vote can be for. The first eight are those a sample may get; the others exist so
 * that what they name is not forced into the eight. */
enum ms_class {
    MS_CLASS_ADWARE,
    MS_CLASS_BACKDOOR,
    MS_CLASS_DOWNLOADER,
    MS_CLASS_DROPPER,
    MS_CLASS_SPYWARE,
    MS_CLASS_TROJAN,
    MS_CLASS_VIRUS,
    MS_CLASS_WORM,
    MS_CLASS_LAST_OF_EIGHT = MS_CLASS_WORM,
    MS_CLASS_RANSOMWARE,
    MS_CLASS_MINER,
    MS_CLASS_EXPLOIT,
    MS_CLASS_ROOTKIT,
    MS_CLASS_TOOL,
    MS_CLASS_PUA,
    MS_CLASS_NONE,
    MS_CLASS_COUNT = MS_CLASS_NONE
};

/* Raised with every change to a table or rule below label/; stored in the provenance of runs. */
enum { MS_TAXONOMY_VERSION = 1 };

/* "Adware", …, "none". */
const char *ms_class_name(enum ms_class class_);

/* The class with that name, case ignored; "Worms" (the seed data's spelling) is Worm; NONE when it
 * is no class. */
enum ms_class ms_class_by_name(const char *name);

/* Trojan and PUA say little: inside one label, and among the votes, any other class beats them. */
bool ms_class_is_weak(enum ms_class class_);

/* The class a lower-case token without trailing digits stands for, NONE for most. Two-letter tokens
 * (dl, dr, tr) are left to the caller, who knows where they stand: ms_class_of_short. */
enum ms_class ms_class_of_token(const char *token);
enum ms_class ms_class_of_short(const char *token);

/* True for words that name neither a class nor a family: platforms, methods, confidence. */
bool ms_token_is_generic(const char *token);

/* The group of engines `engine` belongs to, by the name of its leader: engines that license each
 * other's detection give one vote. Names are compared by their letters and digits alone, case
 * ignored. An engine of no group is a group of its own (the result is then `engine`). Groups are
 * the transitive closure of the table (union-find), so the order of engines in a report does not
 * matter. As of 2024: who licenses from whom changes. Thread-safe after the first call. */
const char *ms_engine_group(const char *engine);

#endif
