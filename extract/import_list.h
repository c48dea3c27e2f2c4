/* What an import is to read: files, folders' contents, analyses in folders of their own. Opens no
 * report. */
#ifndef MS_EXTRACT_IMPORT_LIST_H
#define MS_EXTRACT_IMPORT_LIST_H

#include "base/error.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_import_item {
    char *path;     /* of the report; "-" standard input; of the metadata when `missing` */
    char *metadata; /* beside it; NULL none */
    char *origin;   /* the folder it was found in or named from, absolute; "-" standard input */
    bool found;     /* in a folder, not named by the user */
    bool named;     /* like a report */
    bool missing;   /* an analysis without a report */
    bool again;     /* of the vault: */
    uint8_t digest[32];
};

struct ms_import_list {
    struct ms_import_item *items;
    size_t count, cap;
};

void ms_import_list_release(struct ms_import_list *self);

/* Trouble with a path: the listing goes on. */
typedef void (*ms_import_trouble)(void *ctx, const char *path, int errnum);

/* Adds what an operand stands for: a file, standard input ("-"), or all files below a folder. The
 * folder of an analysis of DRAKVUF Sandbox (metadata.json with logs beside it) is one item: its
 * drakmon.log, else apimon.log, else syscall.log, plain or compressed; `missing` when there is none
 * of them. So is that of Cuckoo (task.json and analysis.log): reports/report.json, and nothing else
 * that lies there. */
enum ms_status ms_import_list_add(struct ms_import_list *self, const char *operand,
                                  ms_import_trouble trouble, void *ctx,
                                  struct ms_error *err) MS_MUST_USE;
/* Which reports of the vault: those whose rows an older reader made, or, under `strict`, one that
 * did not check them so; or all. */
struct ms_import_wanted {
    bool all, strict;
    uint64_t passed_over; /* out: by this reader already */
};
/* The reports of the vault that are wanted; or, whatever made them, the one of this digest, or
 * those of the sample with this hash (hexadecimal). MS_E_INPUT when there is none of that hash. */
enum ms_status ms_import_list_add_vault(struct ms_import_list *self, struct ms_corpus *corpus,
                                        const char *hash, struct ms_import_wanted *wanted,
                                        struct ms_error *err) MS_MUST_USE;

#endif
