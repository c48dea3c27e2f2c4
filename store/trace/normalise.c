/* The normaliser: filter, fold, collapse, cut; merging by time is in normalise_merge.c. Everything
 * here is decided by the trace and the options alone. */
#include "store/trace/normalise.h"

#include "base/limits.h"
#include "store/trace/encode.h"
#include "store/trace/normalise_merge.h"

#include <stdlib.h>
#include <string.h>

void ms_sequence_init(struct ms_sequence *self)
{
    *self = (struct ms_sequence){0};
}

void ms_sequence_release(struct ms_sequence *self)
{
    free(self->calls);
    free(self->run_lengths);
    free(self->run_counts);
    free(self->processes);
    free(self->entries);
    ms_trace_decoder_close(self->decoder);
    ms_sequence_init(self);
}

static enum ms_status reserve(struct ms_sequence *self, size_t need, struct ms_error *err)
{
    if (need <= self->cap)
        return MS_OK;
    if (need > MS_LIMIT_SEQUENCE)
        return ms_error_set(err, MS_REJECT, "the normalised sequence is too long");
    size_t cap = self->cap ? self->cap : 1024;
    while (cap < need)
        cap *= 2;
    uint32_t **arrays[] = {&self->calls, &self->run_lengths, &self->run_counts, &self->processes,
                           &self->entries};
    for (size_t i = 0; i < (self->keep_origins ? 5 : 3); i++) {
        uint32_t *bigger = realloc(*arrays[i], cap * sizeof **arrays[i]);
        if (!bigger)
            return ms_error_set(err, MS_E_NOMEM, "no memory for a sequence");
        *arrays[i] = bigger;
    }
    self->cap = cap;
    return MS_OK;
}

/* A run of equal calls, as steps 5 to 7 see it. */
struct run {
    uint32_t api;
    bool first;              /* of its call in the trace */
    uint32_t process, entry; /* where it begins */
    uint64_t length;         /* before step 5 */
    uint64_t keep;           /* after it */
};

enum { WINDOW = 2 * MS_NORMAL_LOOP_REACH };

/* The state of one normalisation. Kept calls go to out->calls: the first `head` in order, then a
 * ring of the last `tail` ones. */
struct normaliser {
    const struct ms_normal_options *options;
    const struct ms_normal_apis *apis;
    struct ms_sequence *out;
    uint32_t *runs_of; /* runs seen of each id */
    size_t head, tail; /* SIZE_MAX head: everything is kept */
    size_t ring_at;    /* next place in the ring to be overwritten */
    bool in_run;
    uint32_t run_api;
    uint64_t run_length;
    uint32_t run_process, run_entry;
    int64_t stretch;    /* ord of the process whose calls are coming */
    struct run *window; /* the last runs kept, which step 6 may still drop; NULL without loops */
    size_t window_n;
};

static uint32_t cap_u32(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/* One call that passed steps 1 to 7. */
static enum ms_status put(struct normaliser *self, const struct run *run, struct ms_error *err)
{
    struct ms_sequence *out = self->out;
    size_t at = out->n;
    if (at >= self->head && at - self->head >= self->tail) {
        if (!self->tail)
            return MS_OK;
        at = self->head + self->ring_at;
        self->ring_at = (self->ring_at + 1) % self->tail;
    } else {
        enum ms_status status = reserve(out, at + 1, err);
        if (status != MS_OK)
            return status;
        out->n++;
    }
    out->calls[at] = run->api;
    out->run_lengths[at] = cap_u32(run->length);
    if (out->keep_origins) {
        out->processes[at] = run->process;
        out->entries[at] = run->entry;
    }
    return MS_OK;
}

/* Steps 7 and 8. */
static enum ms_status put_run(struct normaliser *self, const struct run *run, struct ms_error *err)
{
    uint64_t keep = self->options->once ? run->first : run->keep;
    if (!ms_add_u64(self->out->whole_length, keep, &self->out->whole_length))
        return ms_error_set(err, MS_REJECT, "the normalised sequence is too long");
    /* More equal calls than the head's free places and the whole ring change nothing. */
    if (self->head != SIZE_MAX) {
        uint64_t most = self->tail + (self->out->n < self->head ? self->head - self->out->n : 0);
        keep = keep < most ? keep : most;
    }
    for (uint64_t i = 0; i < keep; i++) {
        enum ms_status status = put(self, run, err);
        if (status != MS_OK)
            return status;
    }
    return MS_OK;
}

/* Hands the first n runs of the window on. */
static enum ms_status flush(struct normaliser *self, size_t n, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < n && status == MS_OK; i++)
        status = put_run(self, &self->window[i], err);
    self->window_n -= n;
    if (n)
        memmove(self->window, self->window + n, self->window_n * sizeof *self->window);
    return status;
}

static bool same_run(const struct run *a, const struct run *b)
{
    return a->api == b->api && a->keep == b->keep;
}

/* Step 6 for the run that was just put at the window's end. What is left ends with the same run, so
 * that neighbours stay different; and it is what it was at an earlier time, which had no loop. */
static void drop_loop(struct normaliser *self)
{
    const struct run *end = self->window + self->window_n;
    for (size_t p = 2; p <= self->options->loops && 2 * p <= self->window_n; p++) {
        size_t same = 0;
        while (same < p && same_run(end - 1 - same, end - 1 - same - p))
            same++;
        if (same < p)
            continue;
        for (size_t i = 1; i <= p; i++)
            self->out->looped_dropped += (end - i)->keep;
        self->window_n -= p;
        return;
    }
}

/* Step 5 for the run that just ended, and on. */
static enum ms_status end_run(struct normaliser *self, struct ms_error *err)
{
    if (!self->in_run)
        return MS_OK;
    self->in_run = false;
    const struct ms_normal_options *options = self->options;
    uint32_t *runs = &self->runs_of[self->run_api];
    if (*runs < UINT32_MAX)
        (*runs)++;
    struct run run = {.api = self->run_api,
                      .first = *runs == 1,
                      .process = self->run_process,
                      .entry = self->run_entry,
                      .length = self->run_length,
                      .keep = self->run_length};
    if (options->collapse && run.keep > options->collapse)
        run.keep = options->collapse;
    if (!self->window)
        return put_run(self, &run, err);
    enum ms_status status = MS_OK;
    if (self->window_n == WINDOW)
        status = flush(self, WINDOW - MS_NORMAL_LOOP_REACH, err);
    self->window[self->window_n++] = run;
    drop_loop(self);
    return status;
}

static enum ms_status end_stretch(struct normaliser *self, struct ms_error *err)
{
    enum ms_status status = end_run(self, err);
    return status == MS_OK ? flush(self, self->window_n, err) : status;
}

/* Steps 2 to 4: entry number `entry` of the process at position ord. */
static enum ms_status add(void *ctx, int64_t ord, uint64_t entry, const struct ms_trace_call *call,
                          struct ms_error *err)
{
    struct normaliser *self = ctx;
    enum ms_status status = MS_OK;
    const struct ms_normal_apis *apis = self->apis;
    if (call->api >= apis->count)
        return ms_error_set(err, MS_REJECT, "a trace names an unknown API");
    if (apis->pseudo && apis->pseudo[call->api]) {
        self->out->pseudo_dropped++;
        return MS_OK;
    }
    uint32_t api = apis->fold ? apis->fold[call->api] : call->api;
    if (api >= apis->count)
        return ms_error_set(err, MS_E_BUG, "the folding table points outside of itself");
    uint64_t length = self->options->expand ? 1 + call->repeated : 1;
    if (ord != self->stretch)
        status = end_stretch(self, err);
    self->stretch = ord;
    if (self->in_run && self->run_api == api) {
        self->run_length += length;
        return status;
    }
    if (status == MS_OK)
        status = end_run(self, err);
    self->in_run = true;
    self->run_api = api;
    self->run_length = length;
    self->run_process = (uint32_t)ord;
    self->run_entry = cap_u32(entry);
    return status;
}

static enum ms_status add_process(struct normaliser *self, const struct ms_normal_process *process,
                                  struct ms_error *err)
{
    struct ms_trace_call block[256];
    size_t n = 1;
    uint64_t entry = 0;
    enum ms_status status = MS_OK;
    struct ms_trace_decoder **decoder = &self->out->decoder; /* for one trace after another */
    if (!*decoder)
        status = ms_trace_decoder_new(decoder, err);
    if (status == MS_OK)
        status = ms_trace_decoder_load(*decoder, process->trace, err);
    while (status == MS_OK && n) {
        status = ms_trace_decoder_next(*decoder, block, sizeof block / sizeof *block, &n, err);
        for (size_t i = 0; status == MS_OK && i < n; i++)
            status = add(self, process->ord, entry++, &block[i], err);
    }
    return status;
}

static int compare_processes(const void *left, const void *right)
{
    const struct ms_normal_process *a = left, *b = right;
    bool a_late = a->first_seen_us == MS_TIME_NONE, b_late = b->first_seen_us == MS_TIME_NONE;
    if (a_late != b_late)
        return a_late ? 1 : -1;
    if (a->first_seen_us != b->first_seen_us)
        return a->first_seen_us < b->first_seen_us ? -1 : 1;
    return (a->ord > b->ord) - (a->ord < b->ord);
}

static void reverse(uint32_t *items, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        uint32_t item = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = item;
    }
}

static void rotate(uint32_t *items, size_t n, size_t by)
{
    reverse(items, by);
    reverse(items + by, n - by);
    reverse(items, n);
}

/* The ring into order, and the counts that are only known now. */
static void settle(struct normaliser *self)
{
    struct ms_sequence *out = self->out;
    if (self->ring_at) {
        rotate(out->calls + self->head, self->tail, self->ring_at);
        rotate(out->run_lengths + self->head, self->tail, self->ring_at);
        if (out->keep_origins) {
            rotate(out->processes + self->head, self->tail, self->ring_at);
            rotate(out->entries + self->head, self->tail, self->ring_at);
        }
    }
    for (size_t i = 0; i < out->n; i++)
        out->run_counts[i] = self->runs_of[out->calls[i]];
    out->cut = out->n < out->whole_length;
}

static void set_cut(struct normaliser *self)
{
    size_t length = self->options->length;
    self->head = length ? length : SIZE_MAX;
    self->tail = 0;
    if (length && self->options->cut != MS_CUT_HEAD) {
        self->tail = self->options->cut == MS_CUT_TAIL ? length : length / 2;
        self->head = length - self->tail;
    }
}

size_t ms_normal_sort(struct ms_normal_process *processes, size_t count)
{
    size_t tracked = 0;
    if (count > 1)
        qsort(processes, count, sizeof *processes, compare_processes);
    for (size_t i = 0; i < count; i++) {
        struct ms_normal_process process = processes[i];
        if (!process.tracked)
            continue;
        processes[i] = processes[tracked];
        processes[tracked++] = process;
    }
    return tracked;
}

static void sequence_clear(struct ms_sequence *out)
{
    out->n = 0;
    out->whole_length = out->pseudo_dropped = out->looped_dropped = 0;
    out->untracked_dropped = 0;
    out->cut = false;
}

enum ms_status ms_normalise(struct ms_normal_process *processes, size_t count,
                            const struct ms_normal_apis *apis,
                            const struct ms_normal_options *options, struct ms_sequence *out,
                            struct ms_error *err)
{
    struct normaliser self = {.options = options, .apis = apis, .out = out};
    bool loops = options->loops > 1;
    if (options->loops > MS_NORMAL_LOOP_MOST)
        return ms_error_set(err, MS_E_BUG, "loops of more than %d calls", MS_NORMAL_LOOP_MOST);
    sequence_clear(out);
    self.runs_of = calloc(apis->count ? apis->count : 1, sizeof *self.runs_of);
    self.window = loops ? calloc(WINDOW, sizeof *self.window) : NULL;
    enum ms_status status = MS_OK;
    if (!self.runs_of || (loops && !self.window))
        status = ms_error_set(err, MS_E_NOMEM, "no memory for a sequence");
    set_cut(&self);
    size_t tracked = ms_normal_sort(processes, count);
    out->untracked_dropped = (uint32_t)(count - tracked);
    if (status == MS_OK && options->order == MS_ORDER_TIME)
        status = ms_normal_merge(processes, tracked, add, &self, err);
    else
        for (size_t i = 0; status == MS_OK && i < tracked; i++)
            status = add_process(&self, &processes[i], err);
    if (status == MS_OK)
        status = end_stretch(&self, err);
    if (status == MS_OK)
        settle(&self);
    free(self.runs_of);
    free(self.window);
    return status;
}
