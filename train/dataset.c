/* Makes rows of labelled traces: who takes part, classes as numbers, names as symbols, copies. The
 * traces are read in dataset_read.c. */
#include "train/dataset.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "store/analysis.h"
#include "store/dataset.h"
#include "train/dataset_copies.h"
#include "train/dataset_digest.h"
#include "train/dataset_grams.h"
#include "train/dataset_read.h"
#include "train/dataset_statics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t PURPOSE_LABELS = 0x6c6162656c73;

/* What the loading needs beside the result. */
struct loader {
    struct ms_corpus *corpus;
    const struct ms_dataset_request *request;
    struct ms_dataset *set;
    struct ms_span *api_names; /* by api id; data NULL: not in use */
    size_t api_count;
    uint32_t *fold;
    bool *pseudo;
    uint64_t *name_hash;    /* by api id: of its folded name */
    uint32_t *symbol_of;    /* by api id, + 1; 0: not yet */
    const char **row_class; /* of set->rows, before labels are numbers */
    bool *row_malicious;
    struct ms_sequence_hash *keys; /* N x MS_ROW_KEYS */
    struct ms_names *policies;
    struct ms_gram_index *grams; /* of api ids, as they were read; NULL: not wanted */
    uint32_t *gram_of;           /* their places in set->grams, + 1; 0: not yet */
    char **why;                  /* N: why a trace is damaged */
    size_t why_count;
    struct ms_row_numbers numbers; /* of the row at hand */
    struct ms_buf scratch;
};

enum ms_status ms_target_parse(const char *text, struct ms_target *out, struct ms_error *err)
{
    *out = (struct ms_target){MS_TARGET_MALWARE, NULL};
    if (strcmp(text, "malware") == 0)
        return MS_OK;
    out->kind = MS_TARGET_CLASS;
    if (strcmp(text, "class") == 0)
        return MS_OK;
    if (strncmp(text, "class=", 6) == 0 && text[6] != '\0') {
        *out = (struct ms_target){MS_TARGET_ONE_CLASS, text + 6};
        return MS_OK;
    }
    char shown[128];
    return ms_error_set(err, MS_E_USAGE, "--target '%s': must be malware, class or class=NAME",
                        ms_escape_text(text, shown, sizeof shown));
}

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the dataset");
}

static enum ms_status on_api(void *ctx, uint32_t id, enum ms_api_space space, const char *name,
                             struct ms_error *err)
{
    (void)space;
    struct loader *l = ctx;
    if (id >= l->api_count) {
        size_t count = l->api_count ? l->api_count * 2 : 1024;
        while (count <= id)
            count *= 2;
        struct ms_span *names = realloc(l->api_names, count * sizeof *names);
        if (!names)
            return no_memory(err);
        memset(names + l->api_count, 0, (count - l->api_count) * sizeof *names);
        l->api_names = names;
        l->api_count = count;
    }
    size_t n = strlen(name);
    char *copy = ms_arena_copy(&l->set->arena, name, n);
    if (!copy)
        return no_memory(err);
    l->api_names[id] = ms_span_of(copy, n);
    return MS_OK;
}

/* What stands for a name in digests that must not depend on the corpus's numbers. */
static enum ms_status hash_names(struct loader *l, struct ms_error *err)
{
    for (size_t i = 0; i < l->api_count; i++) {
        uint8_t folded[MS_LIMIT_NAME_BYTES], digest[MS_SHA256_BYTES];
        struct ms_span name = l->api_names[i];
        if (!name.data)
            continue;
        size_t n = ms_fold_name(&l->request->view, name, folded);
        if (ms_hash_sha256(folded, n, digest) != MS_OK)
            return no_memory(err);
        for (size_t k = 0; k < sizeof *l->name_hash; k++)
            l->name_hash[i] = l->name_hash[i] << 8 | digest[k];
    }
    return MS_OK;
}

static enum ms_status load_apis(struct loader *l, struct ms_error *err)
{
    enum ms_status status = ms_api_foreach(l->corpus, on_api, l, err);
    if (status != MS_OK)
        return status;
    size_t n = l->api_count ? l->api_count : 1;
    l->fold = calloc(n, sizeof *l->fold);
    l->pseudo = calloc(n, sizeof *l->pseudo);
    l->symbol_of = calloc(n, sizeof *l->symbol_of);
    l->name_hash = calloc(n, sizeof *l->name_hash);
    if (!l->fold || !l->pseudo || !l->symbol_of || !l->name_hash)
        return no_memory(err);
    status = hash_names(l, err);
    if (status != MS_OK)
        return status;
    return ms_normal_apis_fill(&l->request->view, l->api_names, l->api_count, l->fold, l->pseudo,
                               err);
}

/* Whether a labelled program takes part, and under which name; NULL: not. */
static const char *class_of(const struct ms_target *target, const struct ms_labelled *row)
{
    bool malicious = strcmp(row->verdict, "malicious") == 0;
    bool benign = strcmp(row->verdict, "benign") == 0;
    switch (target->kind) {
    case MS_TARGET_MALWARE:
        return malicious ? "malware" : benign ? "benign" : NULL;
    case MS_TARGET_CLASS:
        return malicious ? row->class_ : NULL;
    case MS_TARGET_ONE_CLASS:
        return malicious ? row->class_ : benign ? "" : NULL;
    }
    return NULL;
}

static const char *key_of(struct loader *l, const struct ms_labelled *row)
{
    char text[512];
    if (row->sha256.data && row->sha256.len == MS_SHA256_BYTES)
        ms_hex_encode(row->sha256.data, row->sha256.len, text);
    else
        (void)ms_escape_bytes(row->alias.data, row->alias.len, text, sizeof text);
    return ms_arena_copy(&l->set->arena, text, strlen(text));
}

static enum ms_status on_labelled(void *ctx, const struct ms_labelled *row, struct ms_error *err)
{
    struct loader *l = ctx;
    struct ms_dataset *set = l->set;
    const char *name = class_of(&l->request->target, row);
    if (!name) {
        set->dropped_other++;
        return MS_OK;
    }
    if (set->count >= MS_LIMIT_DATASET_ROWS)
        return ms_error_set(err, MS_E_LIMIT, "more than %d labelled traces", MS_LIMIT_DATASET_ROWS);
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 1024;
        struct ms_row *rows = realloc(set->rows, capacity * sizeof *rows);
        if (rows)
            set->rows = rows;
        const char **names = realloc(l->row_class, capacity * sizeof *names);
        if (names)
            l->row_class = names;
        if (!rows || !names)
            return no_memory(err);
        set->capacity = capacity;
    }
    uint32_t policy;
    const char *copy = ms_arena_copy(&set->arena, name, strlen(name));
    struct ms_row made = {.analysis = row->analysis,
                          .sample = row->sample,
                          .key = key_of(l, row),
                          .first_seen_ms = row->first_seen_ms};
    if (!copy || !made.key)
        return no_memory(err);
    enum ms_status status = ms_names_intern(
        set->sources, ms_span_of(row->sandbox, strlen(row->sandbox)), &made.source, err);
    if (status == MS_OK)
        status = ms_names_intern(l->policies, ms_span_of(row->policy, strlen(row->policy)), &policy,
                                 err);
    l->row_class[set->count] = copy;
    set->rows[set->count++] = made;
    return status;
}

static enum ms_status symbol_for(struct loader *l, uint32_t api, uint32_t *symbol,
                                 struct ms_error *err)
{
    if (l->symbol_of[api] == 0) {
        uint8_t folded[MS_LIMIT_NAME_BYTES];
        struct ms_span name = l->api_names[api];
        size_t n = ms_fold_name(&l->request->view, name, folded);
        enum ms_status status =
            ms_names_intern(l->set->symbols, ms_span_of(folded, n), symbol, err);
        if (status != MS_OK)
            return status;
        l->symbol_of[api] = *symbol + 1;
    }
    *symbol = l->symbol_of[api] - 1;
    return MS_OK;
}

static int by_key(const void *a, const void *b)
{
    const struct ms_row *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : (x->sample > y->sample) - (x->sample < y->sample);
}

/* By key; `label` says where a row was, so that its class is still found. */
static void sort_rows(struct loader *l)
{
    struct ms_dataset *set = l->set;
    for (size_t i = 0; i < set->count; i++)
        set->rows[i].label = (uint32_t)i;
    if (set->count > 1)
        qsort(set->rows, set->count, sizeof *set->rows, by_key);
}

/* The place of an n-gram in the dataset's list, at its end when it is new. */
static enum ms_status place_gram(struct loader *l, uint32_t *gram, struct ms_error *err)
{
    struct ms_dataset *set = l->set;
    enum ms_status status = MS_OK;
    if (l->gram_of[*gram] == 0) {
        struct ms_gram g = ms_gram_index_get(l->grams, *gram);
        for (uint32_t i = 0; i < MS_GRAM_MOST && status == MS_OK; i++)
            if (g.symbol[i] != MS_GRAM_NONE)
                status = symbol_for(l, g.symbol[i], &g.symbol[i], err);
        set->grams[set->gram_count++] = g;
        l->gram_of[*gram] = set->gram_count;
    }
    *gram = l->gram_of[*gram] - 1;
    return status;
}

/* Api ids become symbols, in the order of the rows and of first occurrence in them, so that the
 * numbers do not depend on who read what when. */
static enum ms_status number_calls(struct loader *l, struct ms_row_pack *pack, struct ms_error *err)
{
    struct ms_row_numbers *row = &l->numbers;
    enum ms_status status = ms_row_unpack(pack, row, err);
    for (size_t i = 0; i < row->count_n && status == MS_OK; i++)
        status = symbol_for(l, row->counts[i].symbol, &row->counts[i].symbol, err);
    for (size_t i = 0; i < row->n && status == MS_OK; i++)
        status = symbol_for(l, row->calls[i], &row->calls[i], err);
    for (size_t i = 0; i < row->gram_n && status == MS_OK; i++)
        status = place_gram(l, &row->grams[i], err);
    return status == MS_OK ? ms_row_pack(pack, row, &l->scratch, err) : status;
}

static enum ms_status prepare_grams(struct loader *l, struct ms_error *err)
{
    if (!l->grams)
        return MS_OK;
    size_t n = ms_gram_index_count(l->grams) + 1u;
    l->gram_of = calloc(n, sizeof *l->gram_of);
    l->set->grams = calloc(n, sizeof *l->set->grams);
    return l->gram_of && l->set->grams ? MS_OK : no_memory(err);
}

/* Keeps the rows that can be learnt from and closes the gaps. */
static enum ms_status sift_rows(struct loader *l, struct ms_error *err)
{
    struct ms_dataset *set = l->set;
    enum ms_status status = prepare_grams(l, err);
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct ms_row *row = &set->rows[i];
        bool few = row->whole_length < l->request->min_calls || row->pack.n == 0;
        if (l->why[i])
            ms_log(MS_LOG_WARNING, "%s: trace left out: %s", row->key, l->why[i]);
        else if (row->grams_cut)
            ms_log(MS_LOG_WARNING, "%s: only its first %" PRIu32 " n-grams are looked at", row->key,
                   row->pack.gram_n);
        set->dropped_damaged += l->why[i] != NULL;
        set->dropped_short += !l->why[i] && few;
        if (l->why[i] || few || status != MS_OK) {
            ms_row_pack_release(&row->pack);
            continue;
        }
        status = number_calls(l, &row->pack, err);
        memmove(l->keys + kept * MS_ROW_KEYS, l->keys + i * MS_ROW_KEYS,
                MS_ROW_KEYS * sizeof *l->keys);
        if (kept != i) {
            set->rows[kept] = *row;
            row->pack = (struct ms_row_pack){0};
        }
        kept++;
    }
    set->count = kept;
    return status;
}

static enum ms_status load_rows(struct loader *l, struct ms_error *err)
{
    struct ms_dataset *set = l->set;
    size_t n = set->count ? set->count : 1;
    l->keys = calloc(n * MS_ROW_KEYS, sizeof *l->keys);
    l->why = calloc(n, sizeof *l->why);
    if (!l->keys || !l->why)
        return no_memory(err);
    l->why_count = set->count;
    enum ms_status status = MS_OK;
    if (l->request->want_grams)
        status = ms_gram_index_new(&l->grams, err);
    const struct ms_row_reading reading = {.corpus = l->corpus,
                                           .view = &l->request->view,
                                           .apis = {l->api_count, l->fold, l->pseudo},
                                           .name_hash = l->name_hash,
                                           .want_runs = l->request->want_runs,
                                           .grams = l->grams,
                                           .jobs = l->request->jobs};
    if (status == MS_OK)
        status = ms_rows_read(&reading, set->rows, set->count, l->keys, l->why, err);
    if (l->grams)
        ms_gram_index_close(l->grams);
    return status == MS_OK ? sift_rows(l, err) : status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The distinct classes of the rows, in the order of the report. */
static enum ms_status name_classes(struct loader *l, struct ms_error *err)
{
    struct ms_dataset *set = l->set;
    const struct ms_target *target = &l->request->target;
    char **all = calloc(set->count + 2, sizeof *all);
    if (!all)
        return no_memory(err);
    set->class_names = all;
    if (target->kind == MS_TARGET_CLASS) {
        for (size_t i = 0; i < set->count; i++)
            all[i] = (char *)(uintptr_t)l->row_class[set->rows[i].label];
        qsort(all, set->count, sizeof *all, by_text);
        for (size_t i = 0; i < set->count; i++)
            if (i == 0 || strcmp(all[i], all[set->classes - 1]) != 0)
                all[set->classes++] = all[i];
        return MS_OK;
    }
    set->binary = true;
    set->classes = 2;
    const char *positive = target->kind == MS_TARGET_MALWARE ? "malware" : target->name;
    size_t n = strlen(positive);
    all[0] = ms_arena_copy(&set->arena, positive, n);
    all[1] = ms_arena_alloc(&set->arena, n + 8);
    if (!all[0] || !all[1])
        return no_memory(err);
    memcpy(all[1], "not ", 4);
    memcpy(all[1] + 4, positive, n);
    if (target->kind == MS_TARGET_MALWARE)
        memcpy(all[1], "benign", 7);
    return MS_OK;
}

static enum ms_status number_labels(struct loader *l, struct ms_error *err)
{
    struct ms_dataset *set = l->set;
    enum ms_status status = name_classes(l, err);
    set->labels = calloc(set->count ? set->count : 1, sizeof *set->labels);
    if (status != MS_OK || !set->labels)
        return status != MS_OK ? status : no_memory(err);
    for (size_t i = 0; i < set->count; i++) {
        const char *name = l->row_class[set->rows[i].label];
        uint32_t label = 0;
        if (set->binary)
            label = strcmp(name, set->class_names[0]) != 0;
        else
            while (strcmp(name, set->class_names[label]) != 0)
                label++;
        set->labels[i] = label;
    }
    if (l->request->shuffle_labels) {
        struct ms_rng rng;
        ms_rng_init(&rng, l->request->seed, PURPOSE_LABELS, 0);
        ms_rng_shuffle(&rng, set->labels, set->count);
    }
    for (size_t i = 0; i < set->count; i++)
        set->rows[i].label = set->labels[i];
    return MS_OK;
}

static enum ms_status check_classes(const struct ms_dataset *set,
                                    const struct ms_dataset_request *request, struct ms_error *err)
{
    char shown[128];
    if (set->count == 0)
        return ms_error_set(
            err, MS_E_INPUT,
            "no labelled traces of %s%s: %llu labelled otherwise, %llu too short, %llu damaged; "
            "see 'malseq status', then run label and %s",
            set->opcodes ? "opcodes" : "calls",
            set->statics ? " whose sample's static features are known" : "",
            (unsigned long long)set->dropped_other, (unsigned long long)set->dropped_short,
            (unsigned long long)set->dropped_damaged,
            set->opcodes ? "extract opcodes (or extract dataset big-2015)"
                         : "extract (or extract dataset); --sequence opcode takes opcodes");
    if (request->one_class)
        return MS_OK;
    uint64_t first = 0;
    for (size_t i = 0; i < set->count; i++)
        first += set->labels[i] == 0;
    if (request->target.kind == MS_TARGET_ONE_CLASS && first == 0)
        return ms_error_set(
            err, MS_E_INPUT,
            "no trace of class '%s' among %zu labelled ones; --target class lists them",
            ms_escape_text(request->target.name, shown, sizeof shown), set->count);
    if (first == set->count || first == 0)
        return ms_error_set(
            err, MS_E_INPUT, "all %zu traces are '%s': there is nothing to tell apart; import %s",
            set->count, ms_escape_text(set->class_names[first == 0], shown, sizeof shown),
            set->binary && request->target.kind == MS_TARGET_MALWARE
                ? "traces of both malicious and benign programs"
                : "traces of other classes");
    return MS_OK;
}

static enum ms_status group_by(struct loader *l, const int *kinds, size_t kind_count,
                               uint32_t **groups, uint32_t *count, struct ms_copies *copies,
                               struct ms_error *err)
{
    size_t n = l->set->count;
    struct ms_sequence_hash *keys = calloc(n * kind_count, sizeof *keys);
    *groups = calloc(n, sizeof **groups);
    if (!keys || !*groups) {
        free(keys);
        return no_memory(err);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < kind_count; k++)
            keys[i * kind_count + k] = l->keys[i * MS_ROW_KEYS + (size_t)kinds[k]];
    enum ms_status status = ms_groups_make(keys, n, kind_count, *groups, count, err);
    free(keys);
    if (status != MS_OK)
        return status;
    const struct ms_split_rows rows = {n, l->set->classes, l->set->labels, *groups};
    return ms_copies_count(&rows, copies, err);
}

static enum ms_status group_rows(struct loader *l, struct ms_error *err)
{
    struct ms_dataset *set = l->set;
    static const int raw[1] = {MS_ROW_RAW}, any[3] = {MS_ROW_RAW, MS_ROW_COLLAPSED, MS_ROW_VIEW},
                     view[1] = {MS_ROW_VIEW};
    const size_t kinds = set->statics == MS_STATIC_ALONE ? 3 : 2; /* the view is the features */
    uint32_t ignored;
    enum ms_status status = group_by(l, raw, 1, &set->raw_groups, &ignored, &set->raw_copies, err);
    if (status == MS_OK)
        status = group_by(l, any, kinds, &set->groups, &set->group_count, &set->copies, err);
    if (status == MS_OK)
        status = group_by(l, view, 1, &set->view_groups, &ignored, &set->view_copies, err);
    return status;
}

/* With one_copy: of rows with one trace one stays. */
static enum ms_status thin_rows(struct loader *l, struct ms_error *err)
{
    struct ms_dataset *set = l->set;
    bool *keep = calloc(set->count + 1, sizeof *keep);
    enum ms_status status = keep ? group_rows(l, err) : no_memory(err);
    if (status == MS_OK) {
        const struct ms_split_rows rows = ms_dataset_split_rows(set, true);
        status = ms_copies_thin(&rows, keep, &set->dropped_copies, &set->dropped_undecided, err);
    }
    size_t kept = 0;
    for (size_t i = 0; status == MS_OK && i < set->count; i++) {
        if (!keep[i]) {
            ms_row_pack_release(&set->rows[i].pack);
            continue;
        }
        memmove(l->keys + kept * MS_ROW_KEYS, l->keys + i * MS_ROW_KEYS,
                MS_ROW_KEYS * sizeof *l->keys);
        set->labels[kept] = set->labels[i];
        set->rows[kept++] = set->rows[i];
    }
    set->count = status == MS_OK ? kept : set->count;
    free(keep);
    free(set->raw_groups);
    free(set->groups);
    free(set->view_groups);
    set->raw_groups = set->groups = set->view_groups = NULL;
    return status;
}

static int by_span(const void *a, const void *b)
{
    const struct ms_span *x = a, *y = b;
    return strcmp((const char *)x->data, (const char *)y->data);
}

/* The policies' names, sorted, so that the text does not depend on which row came first. */
static enum ms_status name_policies(struct loader *l, struct ms_error *err)
{
    uint32_t n = ms_names_count(l->policies);
    struct ms_span *names = calloc(n + 1u, sizeof *names);
    if (!names)
        return no_memory(err);
    for (uint32_t i = 0; i < n; i++)
        names[i] = ms_names_get(l->policies, i);
    if (n > 1)
        qsort(names, n, sizeof *names, by_span);
    struct ms_buf text;
    ms_buf_init(&text, 1 << 20);
    for (uint32_t i = 0; i < n; i++)
        (void)ms_buf_printf(&text, "%s%s", i ? ", " : "", (const char *)names[i].data);
    (void)ms_escape_text(ms_buf_text(&text), l->set->policies, sizeof l->set->policies);
    ms_buf_release(&text);
    free(names);
    return MS_OK;
}

/* How far the source alone tells the classes apart. */
static enum ms_status judge_sources(struct ms_dataset *set, struct ms_error *err)
{
    uint32_t *group = calloc(set->count, sizeof *group), *all = calloc(set->count, sizeof *all);
    uint32_t *number = calloc(ms_names_count(set->sources) + 1u, sizeof *number), used = 0;
    struct ms_copies copies = {0};
    enum ms_status status = group && all && number ? MS_OK : no_memory(err);
    for (size_t i = 0; status == MS_OK && i < set->count; i++) {
        uint32_t *n = &number[set->rows[i].source];
        *n = *n ? *n : ++used;
        group[i] = *n - 1;
    }
    const struct ms_split_rows by_source = {set->count, set->classes, set->labels, group};
    const struct ms_split_rows together = {set->count, set->classes, set->labels, all};
    if (status == MS_OK)
        status = ms_copies_count(&by_source, &copies, err);
    set->source_accuracy = copies.ceiling;
    if (status == MS_OK)
        status = ms_copies_count(&together, &copies, err);
    set->majority = copies.ceiling;
    free(group);
    free(all);
    free(number);
    return status;
}

/* The symbols as an array. */
static enum ms_status list_names(struct ms_dataset *set, struct ms_error *err)
{
    uint32_t n = ms_names_count(set->symbols);
    set->names = calloc(n + 1u, sizeof *set->names);
    if (!set->names)
        return no_memory(err);
    for (uint32_t i = 0; i < n; i++)
        set->names[i] = ms_names_get(set->symbols, i);
    return MS_OK;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static enum ms_status quantiles(struct ms_dataset *set, struct ms_error *err)
{
    uint64_t *lengths = calloc(set->count, sizeof *lengths);
    if (!lengths)
        return no_memory(err);
    for (size_t i = 0; i < set->count; i++)
        lengths[i] = set->rows[i].whole_length;
    qsort(lengths, set->count, sizeof *lengths, by_number);
    for (size_t q = 0; q < 5; q++) {
        size_t at = (set->count - 1) * q / 4, part = (set->count - 1) * q % 4;
        uint64_t low = lengths[at], high = lengths[part ? at + 1 : at];
        set->length_quantiles[q] = low + (high - low) * part / 4;
    }
    free(lengths);
    return MS_OK;
}

static void loader_release(struct loader *l)
{
    free(l->api_names);
    free(l->fold);
    free(l->pseudo);
    free(l->symbol_of);
    free(l->name_hash);
    free(l->row_class);
    free(l->keys);
    for (size_t i = 0; i < l->why_count; i++)
        free(l->why[i]);
    free(l->why);
    free(l->gram_of);
    ms_gram_index_free(l->grams);
    ms_names_free(l->policies);
    ms_row_numbers_release(&l->numbers);
    ms_buf_release(&l->scratch);
}

enum ms_status ms_dataset_load(struct ms_corpus *corpus, const struct ms_dataset_request *request,
                               struct ms_dataset *out, struct ms_error *err)
{
    *out = (struct ms_dataset){.opcodes = request->opcodes, .statics = request->statics};
    const struct ms_labelled_query query = {.policy = request->policy,
                                            .opcodes = request->opcodes,
                                            .features = request->statics != MS_STATIC_NO};
    struct loader l = {.corpus = corpus, .request = request, .set = out};
    ms_buf_init(&l.scratch, SIZE_MAX / 2);
    ms_arena_init(&out->arena, SIZE_MAX / 2);
    ms_normal_options_text(&request->view, out->normalisation);
    enum ms_status status = ms_names_new(MS_LIMIT_VOCABULARY, &out->symbols, err);
    if (status == MS_OK)
        status = ms_names_new(MS_LIMIT_VOCABULARY, &out->sources, err);
    if (status == MS_OK)
        status = ms_names_new(MS_LIMIT_VOCABULARY, &l.policies, err);
    if (status == MS_OK)
        status = load_apis(&l, err);
    if (status == MS_OK)
        status = ms_labelled_foreach(corpus, &query, on_labelled, &l, err);
    if (status == MS_OK) {
        sort_rows(&l);
        status = load_rows(&l, err);
    }
    if (status == MS_OK && request->statics)
        status = ms_dataset_add_statics(corpus, out, l.keys, err);
    if (status == MS_OK)
        status = list_names(out, err);
    if (status == MS_OK)
        status = number_labels(&l, err);
    if (status == MS_OK && request->one_copy && out->count > 0)
        status = thin_rows(&l, err);
    if (status == MS_OK)
        status = check_classes(out, request, err);
    if (status == MS_OK)
        status = group_rows(&l, err);
    if (status == MS_OK)
        status = judge_sources(out, err);
    if (status == MS_OK)
        status = name_policies(&l, err);
    if (status == MS_OK)
        status = quantiles(out, err);
    if (status == MS_OK)
        status = ms_dataset_digest(out, request, err);
    loader_release(&l);
    return status;
}

void ms_dataset_release(struct ms_dataset *self)
{
    for (size_t i = 0; i < self->count; i++)
        ms_row_pack_release(&self->rows[i].pack);
    free(self->rows);
    free(self->names);
    free(self->grams);
    free(self->class_names);
    free(self->labels);
    free(self->raw_groups);
    free(self->groups);
    free(self->view_groups);
    ms_names_free(self->symbols);
    ms_names_free(self->sources);
    ms_arena_release(&self->arena);
    *self = (struct ms_dataset){0};
}

struct ms_gram_table ms_dataset_table(const struct ms_dataset *self)
{
    return (struct ms_gram_table){self->names, ms_names_count(self->symbols), self->grams,
                                  self->gram_count};
}

enum ms_status ms_dataset_trace(const struct ms_dataset *self, size_t row,
                                struct ms_row_numbers *numbers, struct ms_input_trace *out,
                                struct ms_error *err)
{
    const struct ms_row_numbers *r = numbers;
    const bool alone = self->statics == MS_STATIC_ALONE;
    enum ms_status status = ms_row_unpack(&self->rows[row].pack, numbers, err);
    if (status != MS_OK)
        return status;
    const struct ms_gram_row grams = {r->grams && alone ? r->grams + r->gram_n : r->grams,
                                      alone ? r->static_n : r->gram_n + r->static_n};
    *out = (struct ms_input_trace){.calls = r->calls,
                                   .n = r->n,
                                   .run_lengths = r->run_lengths,
                                   .run_counts = r->run_counts,
                                   .grams = grams};
    return MS_OK;
}

struct ms_split_rows ms_dataset_split_rows(const struct ms_dataset *self, bool grouped)
{
    return (struct ms_split_rows){self->count, self->classes, self->labels,
                                  grouped ? self->groups : NULL};
}
