/* Operands of an import to items, in the order of the operands and, in folders, of the names. */
#define _GNU_SOURCE /* realpath */
#include "extract/import_list.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "extract/intake.h"
#include "extract/report/read.h"
#include "store/analysis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "no memory for the list of reports");
}

static void release_item(struct ms_import_item *item)
{
    free(item->path);
    free(item->metadata);
    free(item->origin);
    *item = (struct ms_import_item){0};
}

void ms_import_list_release(struct ms_import_list *self)
{
    for (size_t i = 0; i < self->count; i++)
        release_item(&self->items[i]);
    free(self->items);
    *self = (struct ms_import_list){0};
}

/* Takes what the item owns over, also when it fails. */
static enum ms_status put(struct ms_import_list *self, struct ms_import_item item,
                          struct ms_error *err)
{
    bool whole = item.path && item.origin;
    if (whole && self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        struct ms_import_item *items = realloc(self->items, cap * sizeof *items);
        whole = items != NULL;
        self->items = items ? items : self->items;
        self->cap = items ? cap : self->cap;
    }
    if (!whole) {
        release_item(&item);
        return no_memory(err);
    }
    item.named = ms_report_is_named(ms_span_of(item.path, strlen(item.path)));
    self->items[self->count++] = item;
    return MS_OK;
}

struct folder {
    struct ms_import_list *list;
    const char *origin;
    ms_import_trouble trouble;
    void *ctx;
};

static enum ms_status visit(void *ctx, const char *path, const struct stat *st, int errnum,
                            struct ms_error *err)
{
    struct folder *self = ctx;
    if (!st) {
        self->trouble(self->ctx, path, errnum);
        return MS_OK;
    }
    return put(self->list,
               (struct ms_import_item){
                   .path = strdup(path), .origin = strdup(self->origin), .found = true},
               err);
}

/* ---- folders of one analysis ------------------------------------------------------------------
 */

/* The part of an analysis's folder that lies between two indexes of the list: a walk visits a
 * folder and all below it without leaving it. */
struct range {
    size_t from, to;
    size_t dir_len; /* with the slash */
    const char *dir;
};

static struct range range_of(const struct ms_import_list *list, size_t from, size_t index,
                             size_t name_len)
{
    const char *path = list->items[index].path;
    struct range range = {.dir = path, .dir_len = strlen(path) - name_len};
    for (range.from = index; range.from > from; range.from--)
        if (strncmp(list->items[range.from - 1].path, path, range.dir_len) != 0)
            break;
    for (range.to = index + 1; range.to < list->count; range.to++)
        if (strncmp(list->items[range.to].path, path, range.dir_len) != 0)
            break;
    return range;
}

/* The item of the folder with this name, plain or compressed; `count` when there is none. */
static size_t find(const struct ms_import_list *list, const struct range *range, const char *name)
{
    static const char *const ends[] = {"", ".gz", ".zst"};
    size_t n = strlen(name);
    for (size_t i = range->from; i < range->to; i++) {
        const char *rest = list->items[i].path + range->dir_len;
        for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
            if (strncmp(rest, name, n) == 0 && strcmp(rest + n, ends[k]) == 0)
                return i;
    }
    return list->count;
}

static size_t find_any(const struct ms_import_list *list, const struct range *range,
                       const char *const *names, size_t n)
{
    size_t at = list->count;
    for (size_t i = 0; i < n && at == list->count; i++)
        at = find(list, range, names[i]);
    return at;
}

/* Leaves one item of the range. */
static void join(struct ms_import_list *list, const struct range *range, size_t metadata,
                 size_t report)
{
    struct ms_import_item one = {0};
    bool missing = report >= list->count;
    one = list->items[missing ? metadata : report];
    list->items[missing ? metadata : report] = (struct ms_import_item){0};
    if (missing) {
        one.metadata = one.path ? strdup(one.path) : NULL;
        one.missing = one.metadata != NULL;
    } else {
        one.metadata = list->items[metadata].path;
        list->items[metadata].path = NULL;
        one.found = false;
    }
    for (size_t i = range->from; i < range->to; i++)
        release_item(&list->items[i]);
    list->items[range->from] = one;
    memmove(&list->items[range->from + 1], &list->items[range->to],
            (list->count - range->to) * sizeof *list->items);
    list->count -= range->to - range->from - 1;
}

/* Is the item at `index` what says whose a folder's report is? Then the folder becomes one item. */
static bool join_at(struct ms_import_list *list, size_t from, size_t index, size_t *next)
{
    static const char *const logs[] = {"drakmon.log", "apimon.log", "syscall.log"};
    static const char *const others[] = {"inject.log", "procmon.log", "drakrun.log", "drakvuf.log"};
    static const char *const cuckoo[] = {"reports/report.json"};
    const char *path = list->items[index].path, *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t report = list->count;
    bool drakvuf = strcmp(name, "metadata.json") == 0;
    if (!drakvuf && strcmp(name, "task.json") != 0)
        return false;
    struct range range = range_of(list, from, index, strlen(name));
    if (drakvuf) {
        report = find_any(list, &range, logs, sizeof logs / sizeof *logs);
        if (report == list->count &&
            find_any(list, &range, others, sizeof others / sizeof *others) == list->count)
            return false;
    } else {
        if (find(list, &range, "analysis.log") == list->count)
            return false;
        report = find_any(list, &range, cuckoo, 1);
    }
    join(list, &range, index, report);
    *next = range.from + 1;
    return true;
}

static void join_folders(struct ms_import_list *list, size_t from)
{
    for (size_t i = from, next; i < list->count; i = next) {
        next = i + 1;
        (void)join_at(list, from, i, &next);
    }
}

/* ---- operands ---------------------------------------------------------------------------------
 */

/* The absolute path of the folder an operand is, or lies in. */
static char *folder_of(const char *operand, bool is_folder)
{
    char *whole = realpath(operand, NULL);
    char *slash = whole && !is_folder ? strrchr(whole, '/') : NULL;
    if (slash)
        slash[slash == whole ? 1 : 0] = '\0';
    return whole ? whole : strdup(operand);
}

enum ms_status ms_import_list_add(struct ms_import_list *self, const char *operand,
                                  ms_import_trouble trouble, void *ctx, struct ms_error *err)
{
    struct stat st;
    size_t from = self->count;
    if (strcmp(operand, "-") == 0)
        return put(self, (struct ms_import_item){.path = strdup("-"), .origin = strdup("-")}, err);
    if (stat(operand, &st) != 0 || !S_ISDIR(st.st_mode))
        return put(
            self,
            (struct ms_import_item){.path = strdup(operand), .origin = folder_of(operand, false)},
            err);
    char *origin = folder_of(operand, true);
    if (!origin)
        return no_memory(err);
    struct folder folder = {self, origin, trouble, ctx};
    enum ms_status status = ms_file_walk(operand, visit, &folder, err);
    free(origin);
    if (status == MS_OK)
        join_folders(self, from);
    return status;
}

/* ---- the vault --------------------------------------------------------------------------------
 */

struct vault_walk {
    struct ms_import_list *list;
    struct ms_corpus *corpus;
    struct ms_import_wanted *wanted;
};

static enum ms_status put_digest(struct ms_import_list *list, const uint8_t digest[32],
                                 struct ms_error *err)
{
    char hex[MS_HASH_HEX_MAX], path[sizeof "reports/ab/cd/.zst" + MS_HASH_HEX_MAX];
    ms_hex_encode(digest, MS_SHA256_BYTES, hex);
    (void)snprintf(path, sizeof path, "reports/%.2s/%.2s/%s.zst", hex, hex + 2, hex);
    struct ms_import_item item = {.path = strdup(path), .origin = strdup("-"), .again = true};
    memcpy(item.digest, digest, sizeof item.digest);
    return put(list, item, err);
}

/* A report without a row is wanted as well. */
static enum ms_status is_wanted(struct vault_walk *self, const uint8_t digest[32], bool *yes,
                                struct ms_error *err)
{
    int64_t id;
    bool found;
    struct ms_analysis row;
    *yes = true;
    if (self->wanted->all)
        return MS_OK;
    enum ms_status status = ms_analysis_find_report(self->corpus, digest, &found, &id, err);
    if (status != MS_OK || !found)
        return status;
    status = ms_analysis_get(self->corpus, id, &row, err);
    if (status != MS_OK)
        return status;
    *yes = row.reader < MS_REPORT_READER || (self->wanted->strict && !row.strict);
    self->wanted->passed_over += !*yes;
    ms_analysis_release(&row);
    return MS_OK;
}

static enum ms_status visit_object(void *ctx, const uint8_t digest[32], bool good_name,
                                   const char *name, struct ms_error *err)
{
    struct vault_walk *self = ctx;
    bool yes = false;
    (void)name;
    enum ms_status status = good_name ? is_wanted(self, digest, &yes, err) : MS_OK;
    return status == MS_OK && yes ? put_digest(self->list, digest, err) : status;
}

static enum ms_status visit_analysis(void *ctx, int64_t id, struct ms_error *err)
{
    struct vault_walk *self = ctx;
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->corpus, id, &row, err);
    if (status != MS_OK)
        return status;
    bool kept = row.has_report && ms_vault_has(self->corpus, MS_VAULT_REPORT, row.report_sha256);
    if (kept)
        status = put_digest(self->list, row.report_sha256, err);
    ms_analysis_release(&row);
    return status;
}

enum ms_status ms_import_list_add_vault(struct ms_import_list *self, struct ms_corpus *corpus,
                                        const char *hash, struct ms_import_wanted *wanted,
                                        struct ms_error *err)
{
    struct vault_walk walk = {self, corpus, wanted};
    uint8_t digest[MS_SHA256_BYTES];
    int64_t sample;
    size_t before = self->count;
    if (!hash)
        return ms_vault_foreach(corpus, MS_VAULT_REPORT, visit_object, &walk, err);
    if (ms_hex_decode(hash, sizeof digest, digest) && ms_vault_has(corpus, MS_VAULT_REPORT, digest))
        return put_digest(self, digest, err);
    struct ms_error ignored = {.status = MS_OK};
    enum ms_status status = ms_sample_find(corpus, hash, &sample, &ignored);
    if (status == MS_OK)
        status = ms_analysis_foreach_sample(corpus, sample, visit_analysis, &walk, err);
    else if (status == MS_REJECT || status == MS_E_USAGE || status == MS_E_INPUT)
        status = MS_OK;
    else if (err)
        *err = ignored;
    if (status == MS_OK && self->count == before) {
        char shown[80];
        return ms_error_set(err, MS_E_INPUT, "no report of '%s' is in the vault",
                            ms_escape_text(hash, shown, sizeof shown));
    }
    return status;
}
