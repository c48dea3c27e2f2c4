/* What words in engines' labels mean: classes and generic words, and VirusTotal's categories. Small
 * built-in tables of our own; no families. Which engines are related: label/groups. */
#ifndef MS_LABEL_TAXONOMY_H
#define MS_LABEL_TAXONOMY_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The classes a vote can be for. The first eight are those of the data sets people compare with;
 * the others exist so that what they name is not forced into the eight. */
enum ms_class {
    MS_CLASS_ADWARE,
    MS_CLASS_BACKDOOR,
    MS_CLASS_DOWNLOADER,
    MS_CLASS_DROPPER,
    MS_CLASS_SPYWARE,
    MS_CLASS_TROJAN,
    MS_CLASS_VIRUS,
    MS_CLASS_WORM,
    MS_CLASS_RANSOMWARE,
    MS_CLASS_MINER,
    MS_CLASS_EXPLOIT,
    MS_CLASS_ROOTKIT,
    MS_CLASS_TOOL,
    MS_CLASS_PUA,
    MS_CLASS_NONE,
    MS_CLASS_COUNT = MS_CLASS_NONE
};

/* Raised with every change to a rule of label/{tokens,vote} that the tables do not show. */
enum { MS_TAXONOMY_VERSION = 2 };

/* "Adware", …, "none". */
const char *ms_class_name(enum ms_class class_);

/* The class with that name, case ignored; "Worms" (the seed data's spelling) is Worm; NONE when it
 * is no class. */
enum ms_class ms_class_by_name(const char *name);

/* Trojan and PUA say little: inside one label, and among the votes, any other class beats them. */
bool ms_class_is_weak(enum ms_class class_);

/* What a lower-case token without trailing digits stands for: a class, NONE for most; *generic is
 * true for words that name neither a class nor a family: platforms, methods, confidence. hash: its
 * ms_word_hash. Two-letter tokens (dl, dr, tr) are left to the caller, who knows where they stand:
 * ms_class_of_short. Thread-safe. */
enum ms_class ms_word_find(const char *token, size_t n, uint32_t hash, bool *generic);
uint32_t ms_word_hash(const char *text, size_t n); /* FNV-1a, also a byte at a time */
static inline uint32_t ms_word_hash_byte(uint32_t hash, char c)
{
    return (hash ^ (uint8_t)c) * 16777619u;
}
enum ms_class ms_class_of_short(const char *token);

/* The class one of VirusTotal's popular_threat_category words stands for; NONE for banker, fakeav
 * and phishing, which we do not tell from other classes, and for NULL. */
enum ms_class ms_class_of_vt_category(const char *category);

/* Appends tables and version as text, for digests. */
void ms_taxonomy_describe(struct ms_buf *out);

#endif
