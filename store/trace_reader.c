/* Reads one trace after another out of the corpus and normalises it. */
#include "base/arena.h"
#include "base/limits.h"
#include "store/analysis.h"
#include "store/trace/near.h"
#include "store/traces.h"

#include <stdlib.h>
#include <string.h>

struct ms_trace_reader {
    struct ms_corpus *corpus;
    struct ms_normal_options options;
    struct ms_arena names; /* of the table of calls */
    struct ms_span *api_names;
    size_t api_count;
    uint32_t *fold;
    bool *pseudo;
    uint32_t *symbol_of; /* by api id, + 1; 0: not met yet */
    struct ms_names *symbols;
    /* of the present trace */
    struct ms_arena blobs;
    struct ms_normal_process *processes;
    size_t process_count, process_capacity;
    struct ms_sequence whole, view;
    uint64_t *times_of;   /* by api id; zero between traces */
    uint32_t *set, *sort; /* api_count each */
    uint64_t *times;
    struct ms_gram_set *gram_set; /* NULL: never asked for */
    struct ms_gram *grams;
    uint64_t *near;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the traces");
}

static enum ms_status on_api(void *ctx, uint32_t id, enum ms_api_space space, const char *name,
                             struct ms_error *err)
{
    struct ms_trace_reader *self = ctx;
    (void)space;
    if (id >= self->api_count) {
        size_t count = self->api_count ? self->api_count : 1024;
        while (count <= id)
            count *= 2;
        struct ms_span *names = realloc(self->api_names, count * sizeof *names);
        if (!names)
            return no_memory(err);
        memset(names + self->api_count, 0, (count - self->api_count) * sizeof *names);
        self->api_names = names;
        self->api_count = count;
    }
    char *copy = ms_arena_copy(&self->names, name, strlen(name));
    if (!copy)
        return no_memory(err);
    self->api_names[id] = ms_span_of(copy, strlen(copy));
    return MS_OK;
}

static enum ms_status load_names(struct ms_trace_reader *self, struct ms_error *err)
{
    enum ms_status status = ms_api_foreach(self->corpus, on_api, self, err);
    size_t n = self->api_count + 1;
    if (status != MS_OK)
        return status;
    self->fold = calloc(n, sizeof *self->fold);
    self->pseudo = calloc(n, sizeof *self->pseudo);
    self->symbol_of = calloc(n, sizeof *self->symbol_of);
    self->times_of = calloc(n, sizeof *self->times_of);
    self->set = calloc(n, sizeof *self->set);
    self->sort = calloc(n, sizeof *self->sort);
    self->times = calloc(n, sizeof *self->times);
    if (!self->fold || !self->pseudo || !self->symbol_of || !self->times_of || !self->set ||
        !self->sort || !self->times)
        return no_memory(err);
    return ms_normal_apis_fill(&self->options, self->api_names, self->api_count, self->fold,
                               self->pseudo, err);
}

enum ms_status ms_trace_reader_new(struct ms_corpus *corpus,
                                   const struct ms_normal_options *options,
                                   struct ms_trace_reader **out, struct ms_error *err)
{
    struct ms_trace_reader *self = calloc(1, sizeof *self);
    if (!self)
        return no_memory(err);
    self->corpus = corpus;
    self->options = *options;
    ms_arena_init(&self->names, SIZE_MAX / 2);
    ms_arena_init(&self->blobs, SIZE_MAX / 2);
    ms_sequence_init(&self->whole);
    ms_sequence_init(&self->view);
    enum ms_status status = ms_names_new(MS_LIMIT_VOCABULARY, &self->symbols, err);
    if (status == MS_OK)
        status = load_names(self, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_trace_reader_free(self);
    return status;
}

void ms_trace_reader_free(struct ms_trace_reader *self)
{
    if (!self)
        return;
    ms_arena_release(&self->names);
    ms_arena_release(&self->blobs);
    ms_sequence_release(&self->whole);
    ms_sequence_release(&self->view);
    ms_names_free(self->symbols);
    free(self->api_names);
    free(self->fold);
    free(self->pseudo);
    free(self->symbol_of);
    free(self->processes);
    free(self->times_of);
    free(self->set);
    free(self->sort);
    free(self->times);
    ms_gram_set_free(self->gram_set);
    free(self->grams);
    free(self->near);
    free(self);
}

const struct ms_names *ms_trace_reader_symbols(const struct ms_trace_reader *self)
{
    return self->symbols;
}

static enum ms_status on_process(void *ctx, const struct ms_process_row *process,
                                 struct ms_error *err)
{
    struct ms_trace_reader *self = ctx;
    if (self->process_count == self->process_capacity) {
        size_t capacity = self->process_capacity ? self->process_capacity * 2 : 64;
        struct ms_normal_process *p = realloc(self->processes, capacity * sizeof *p);
        if (!p)
            return no_memory(err);
        self->processes = p;
        self->process_capacity = capacity;
    }
    char *blob = ms_arena_copy(&self->blobs, process->trace.data, process->trace.len);
    if (!blob)
        return no_memory(err);
    self->processes[self->process_count++] =
        (struct ms_normal_process){.first_seen_us = process->first_seen_us,
                                   .ord = process->ord,
                                   .tracked = process->tracked,
                                   .trace = ms_span_of(blob, process->trace.len)};
    return MS_OK;
}

static enum ms_status name_calls(struct ms_trace_reader *self, uint32_t *calls, size_t n,
                                 struct ms_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t *known = &self->symbol_of[calls[i]], symbol = 0;
        if (*known == 0) {
            uint8_t folded[MS_LIMIT_NAME_BYTES];
            size_t len = ms_fold_name(&self->options, self->api_names[calls[i]], folded);
            enum ms_status status =
                ms_names_intern(self->symbols, ms_span_of(folded, len), &symbol, err);
            if (status != MS_OK)
                return status;
            *known = symbol + 1;
        }
        calls[i] = *known - 1;
    }
    return MS_OK;
}

static int by_number(const void *x, const void *y)
{
    const uint32_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

/* Digests of the whole trace and the set of its calls, all still api ids. Borders of stretches do
 * not count: a run goes on across them, as it would in the plain sequence. */
static void scan_whole(struct ms_trace_reader *self, struct ms_trace_read *out)
{
    struct ms_sequence *whole = &self->whole;
    size_t runs = 0;
    ms_sequence_hash_init(&out->raw);
    ms_sequence_hash_init(&out->collapsed);
    ms_sequence_hash_init(&out->as_set);
    for (size_t i = 0, next; i < whole->n; i = next) {
        uint64_t length = 0;
        uint32_t call = whole->calls[i];
        for (next = i; next < whole->n && whole->calls[next] == call; next++)
            length += whole->run_lengths[next];
        ms_sequence_hash_add(&out->collapsed, call);
        ms_sequence_hash_add(&out->raw, call);
        ms_sequence_hash_add(&out->raw, (uint32_t)length);
        ms_sequence_hash_add(&out->raw, (uint32_t)(length >> 32));
        if (self->times_of[call] == 0)
            self->set[out->set_n++] = call;
        self->times_of[call] += length;
        out->whole_length += length;
        whole->calls[runs++] = call;
    }
    out->run_n = runs;
    for (size_t i = 0; i < out->set_n; i++) {
        self->times[i] = self->times_of[self->set[i]];
        self->times_of[self->set[i]] = 0;
        self->sort[i] = self->set[i];
    }
    if (out->set_n)
        qsort(self->sort, out->set_n, sizeof *self->sort, by_number);
    for (size_t i = 0; i < out->set_n; i++)
        ms_sequence_hash_add(&out->as_set, self->sort[i]);
}

static enum ms_status normalise(struct ms_trace_reader *self, struct ms_trace_read *out,
                                struct ms_error *err)
{
    const struct ms_normal_apis apis = {self->api_count, self->fold, self->pseudo};
    struct ms_normal_options whole = self->options;
    /* As runs and their lengths: a program that calls one API without end, or a report that claims
     * so, costs a number and not the memory of its calls. */
    whole.collapse = 1;
    whole.loops = 0;
    whole.once = false;
    whole.length = 0;
    enum ms_status status =
        ms_normalise(self->processes, self->process_count, &apis, &whole, &self->whole, err);
    if (status != MS_OK)
        return status;
    scan_whole(self, out);
    status =
        ms_normalise(self->processes, self->process_count, &apis, &self->options, &self->view, err);
    ms_sequence_hash_init(&out->view);
    for (size_t i = 0; status == MS_OK && i < self->view.n; i++)
        ms_sequence_hash_add(&out->view, self->view.calls[i]);
    return status;
}

enum ms_status ms_trace_reader_read(struct ms_trace_reader *self, int64_t analysis,
                                    struct ms_trace_read *out, struct ms_error *err)
{
    *out = (struct ms_trace_read){0};
    self->process_count = 0;
    ms_arena_reset(&self->blobs);
    enum ms_status status = ms_process_foreach(self->corpus, analysis, on_process, self, err);
    if (status == MS_OK)
        status = normalise(self, out, err);
    if (status == MS_OK)
        status = name_calls(self, self->set, out->set_n, err);
    if (status == MS_OK)
        status = name_calls(self, self->whole.calls, out->run_n, err);
    if (status == MS_OK)
        status = name_calls(self, self->view.calls, self->view.n, err);
    if (status != MS_OK)
        return status;
    out->calls = self->view.calls;
    out->n = self->view.n;
    out->cut = self->view.cut;
    out->view_length = self->view.whole_length;
    out->pseudo_dropped = self->view.pseudo_dropped;
    out->looped_dropped = self->view.looped_dropped;
    out->untracked_dropped = self->view.untracked_dropped;
    out->runs = self->whole.calls;
    out->set = self->set;
    out->times = self->times;
    return MS_OK;
}

enum ms_status ms_trace_reader_near(struct ms_trace_reader *self, const uint64_t **items, size_t *n,
                                    struct ms_error *err)
{
    const struct ms_normal_apis apis = {self->api_count, self->fold, self->pseudo};
    enum ms_status status = self->gram_set ? MS_OK : ms_gram_set_new(&self->gram_set, err);
    if (status == MS_OK)
        status = ms_grams_read(self->processes, self->process_count, &apis, self->gram_set, err);
    if (status != MS_OK)
        return status;
    size_t count = ms_gram_set_count(self->gram_set);
    struct ms_gram *grams = realloc(self->grams, (count + 1) * sizeof *grams);
    self->grams = grams ? grams : self->grams;
    uint64_t *near = realloc(self->near, (count + 1) * sizeof *near);
    self->near = near ? near : self->near;
    if (!grams || !near)
        return no_memory(err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        grams[i] = ms_gram_set_get(self->gram_set, i);
        status = name_calls(self, grams[i].symbol, ms_gram_length(grams[i]), err);
    }
    *items = near;
    *n = ms_near_items(grams, count, near);
    return status;
}

/* ---- with their rows ------------------------------------------------------------------------- */

struct reading {
    struct ms_trace_reader *reader;
    const struct ms_traces_wanted *wanted;
    struct ms_traces_left *left;
};

static enum ms_status on_row(void *ctx, const struct ms_trace_row *row, struct ms_error *err)
{
    struct reading *self = ctx;
    struct ms_trace_read read;
    struct ms_error why = {0};
    enum ms_status status = ms_trace_reader_read(self->reader, row->analysis, &read, &why);
    if (status == MS_REJECT) {
        self->wanted->damaged(row, why.text);
        self->left->damaged++;
        return MS_OK;
    }
    if (status != MS_OK) {
        *err = why;
        return status;
    }
    if (read.whole_length < self->wanted->min_calls || read.n == 0) {
        self->left->too_short++;
        return MS_OK;
    }
    return self->wanted->visit(self->wanted->ctx, row, &read, err);
}

enum ms_status ms_traces_read(struct ms_corpus *corpus, struct ms_trace_reader *reader,
                              const struct ms_traces_wanted *wanted, struct ms_traces_left *left,
                              struct ms_error *err)
{
    struct reading self = {reader, wanted, left};
    *left = (struct ms_traces_left){0, 0};
    return ms_traces_foreach(corpus, wanted->policy, wanted->unlabelled, on_row, &self, err);
}
