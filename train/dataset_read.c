/* Threads that take turns at the corpus and normalise side by side. */
#include "train/dataset_read.h"

#include "base/progress.h"
#include "store/analysis.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { JOBS_MAX = 64 };

struct shared {
    const struct ms_row_reading *reading;
    struct ms_row *rows;
    struct ms_sequence_hash *keys;
    char **why;
    size_t count;
    pthread_mutex_t gram_lock; /* guards the index of n-grams */
    pthread_mutex_t lock;      /* guards the corpus and what follows */
    size_t next, done;
    enum ms_status status; /* the first failure */
    struct ms_error error;
};

/* What one thread needs. */
struct reader {
    struct shared *shared;
    struct ms_arena blobs; /* of one row */
    struct ms_normal_process *processes;
    size_t process_count, process_capacity;
    struct ms_sequence sequence;
    struct ms_gram_set *grams;   /* of one row; NULL: not wanted */
    uint64_t *times;             /* by api id; zero between rows */
    struct ms_row_count *counts; /* of a row: as many as there are api ids at most */
    uint32_t *gram_ids;          /* of a row */
    size_t gram_capacity;
    struct ms_row_numbers row; /* what is kept of a row, borrowed from the above */
    struct ms_buf scratch;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the traces");
}

static enum ms_status on_process(void *ctx, const struct ms_process_row *process,
                                 struct ms_error *err)
{
    struct reader *r = ctx;
    if (r->process_count == r->process_capacity) {
        size_t capacity = r->process_capacity ? r->process_capacity * 2 : 64;
        struct ms_normal_process *p = realloc(r->processes, capacity * sizeof *p);
        if (!p)
            return no_memory(err);
        r->processes = p;
        r->process_capacity = capacity;
    }
    char *blob = ms_arena_copy(&r->blobs, process->trace.data, process->trace.len);
    if (!blob)
        return no_memory(err);
    r->processes[r->process_count++] = (struct ms_normal_process){
        .first_seen_us = process->first_seen_us,
        .ord = process->ord,
        .tracked = process->tracked,
        .trace = ms_span_of(blob, process->trace.len),
    };
    return MS_OK;
}

/* Counts the calls of the whole trace and takes its digests, as it is and with runs collapsed. */
static void scan_whole(struct reader *r, struct ms_row *row, struct ms_sequence_hash *key)
{
    const uint32_t *calls = r->sequence.calls;
    size_t touched = 0, n = r->sequence.n;
    ms_sequence_hash_init(&key[MS_ROW_RAW]);
    ms_sequence_hash_init(&key[MS_ROW_COLLAPSED]);
    struct ms_sequence_hash sequence;
    ms_sequence_hash_init(&sequence);
    row->whole_length = 0;
    for (size_t i = 0, next; i < n; i = next) {
        uint64_t length = 0;
        /* A run goes on across the border of two processes, as it would in the plain sequence. */
        for (next = i; next < n && calls[next] == calls[i]; next++)
            length += r->sequence.run_lengths[next];
        ms_sequence_hash_add(&key[MS_ROW_COLLAPSED], calls[i]);
        ms_sequence_hash_add(&sequence, (uint32_t)r->shared->reading->name_hash[calls[i]]);
        ms_sequence_hash_add(&sequence, (uint32_t)(r->shared->reading->name_hash[calls[i]] >> 32));
        ms_sequence_hash_add(&key[MS_ROW_RAW], calls[i]);
        ms_sequence_hash_add(&key[MS_ROW_RAW], (uint32_t)length);
        ms_sequence_hash_add(&key[MS_ROW_RAW], (uint32_t)(length >> 32));
        if (r->times[calls[i]] == 0)
            r->counts[touched++].symbol = calls[i];
        r->times[calls[i]] += length;
        row->whole_length += length;
    }
    row->sequence[0] = sequence.a;
    row->sequence[1] = sequence.b;
    for (size_t i = 0; i < touched; i++) {
        r->counts[i].times = r->times[r->counts[i].symbol];
        r->times[r->counts[i].symbol] = 0;
    }
    r->row = (struct ms_row_numbers){.counts = r->counts, .count_n = touched};
}

static void keep_view(struct reader *r, struct ms_sequence_hash *key)
{
    const bool runs = r->shared->reading->want_runs;
    r->row.calls = r->sequence.calls;
    r->row.n = r->sequence.n;
    r->row.run_lengths = runs ? r->sequence.run_lengths : NULL;
    r->row.run_counts = runs ? r->sequence.run_counts : NULL;
    ms_sequence_hash_init(&key[MS_ROW_VIEW]);
    for (size_t i = 0; i < r->row.n; i++)
        ms_sequence_hash_add(&key[MS_ROW_VIEW], r->row.calls[i]);
}

static enum ms_status keep_grams(struct reader *r, struct ms_row *row, struct ms_error *err)
{
    const struct ms_row_reading *reading = r->shared->reading;
    enum ms_status status =
        ms_grams_read(r->processes, r->process_count, &reading->apis, r->grams, err);
    if (status != MS_OK)
        return status;
    size_t n = ms_gram_set_count(r->grams);
    if (n >= r->gram_capacity) {
        free(r->gram_ids);
        r->gram_capacity = 0;
        r->gram_ids = calloc(n * 2 + 1, sizeof *r->gram_ids);
        if (!r->gram_ids)
            return no_memory(err);
        r->gram_capacity = n * 2 + 1;
    }
    (void)pthread_mutex_lock(&r->shared->gram_lock);
    status = ms_gram_index_add(reading->grams, r->grams, r->gram_ids, err);
    (void)pthread_mutex_unlock(&r->shared->gram_lock);
    r->row.grams = r->gram_ids;
    r->row.gram_n = n;
    row->grams_cut = ms_gram_set_cut(r->grams);
    return status;
}

static enum ms_status normalise_row(struct reader *r, struct ms_row *row,
                                    struct ms_sequence_hash *key, struct ms_error *err)
{
    const struct ms_row_reading *reading = r->shared->reading;
    struct ms_normal_options whole = *reading->view;
    /* As runs and their lengths: a program that calls one API without end, or a report that claims
     * so, costs a number and not the memory of its calls. */
    whole.collapse = 1;
    whole.once = false;
    whole.loops = 0;
    whole.length = 0;
    enum ms_status status =
        ms_normalise(r->processes, r->process_count, &reading->apis, &whole, &r->sequence, err);
    if (status != MS_OK)
        return status;
    scan_whole(r, row, key);
    status = ms_normalise(r->processes, r->process_count, &reading->apis, reading->view,
                          &r->sequence, err);
    if (status != MS_OK)
        return status;
    keep_view(r, key);
    status = r->grams ? keep_grams(r, row, err) : MS_OK;
    return status == MS_OK ? ms_row_pack(&row->pack, &r->row, &r->scratch, err) : status;
}

/* Takes the next row's blobs out of the corpus; false when there is none or something failed. */
static bool take_row(struct reader *r, size_t *index)
{
    struct shared *s = r->shared;
    bool taken = false;
    (void)pthread_mutex_lock(&s->lock);
    if (s->status == MS_OK && s->next < s->count) {
        *index = s->next++;
        r->process_count = 0;
        ms_arena_reset(&r->blobs);
        s->status = ms_process_foreach(s->reading->corpus, s->rows[*index].analysis, on_process, r,
                                       &s->error);
        taken = s->status == MS_OK;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return taken;
}

static void end_row(struct reader *r, size_t index, enum ms_status status,
                    const struct ms_error *fault)
{
    struct shared *s = r->shared;
    (void)pthread_mutex_lock(&s->lock);
    if (status == MS_REJECT) {
        s->why[index] = strdup(fault->text);
        if (!s->why[index] && s->status == MS_OK)
            s->status = no_memory(&s->error);
    } else if (status != MS_OK && s->status == MS_OK) {
        s->status = status;
        s->error = *fault;
    }
    ms_progress_update(++s->done);
    (void)pthread_mutex_unlock(&s->lock);
}

static void *read_rows(void *ctx)
{
    struct reader *r = ctx;
    size_t index;
    while (take_row(r, &index)) {
        struct ms_error fault = {0};
        enum ms_status status = normalise_row(r, &r->shared->rows[index],
                                              r->shared->keys + index * MS_ROW_KEYS, &fault);
        end_row(r, index, status, &fault);
    }
    return NULL;
}

static enum ms_status reader_make(struct reader *r, struct shared *shared, struct ms_error *err)
{
    size_t apis = shared->reading->apis.count + 1;
    *r = (struct reader){.shared = shared};
    ms_arena_init(&r->blobs, SIZE_MAX / 2);
    ms_sequence_init(&r->sequence);
    r->times = calloc(apis, sizeof *r->times);
    r->counts = calloc(apis, sizeof *r->counts);
    ms_buf_init(&r->scratch, SIZE_MAX / 2);
    if (!r->times || !r->counts)
        return no_memory(err);
    return shared->reading->grams ? ms_gram_set_new(&r->grams, err) : MS_OK;
}

static void reader_release(struct reader *r)
{
    ms_arena_release(&r->blobs);
    ms_sequence_release(&r->sequence);
    ms_gram_set_free(r->grams);
    free(r->processes);
    free(r->times);
    free(r->counts);
    free(r->gram_ids);
    ms_buf_release(&r->scratch);
}

enum ms_status ms_rows_read(const struct ms_row_reading *reading, struct ms_row *rows, size_t count,
                            struct ms_sequence_hash *keys, char **why, struct ms_error *err)
{
    struct shared shared = {
        .reading = reading, .rows = rows, .keys = keys, .why = why, .count = count};
    struct reader readers[JOBS_MAX];
    pthread_t threads[JOBS_MAX];
    unsigned jobs = reading->jobs < 1          ? 1
                    : reading->jobs > JOBS_MAX ? JOBS_MAX
                                               : reading->jobs,
             made = 0, started = 0;
    (void)pthread_mutex_init(&shared.lock, NULL);
    (void)pthread_mutex_init(&shared.gram_lock, NULL);
    while (made < jobs && shared.status == MS_OK)
        shared.status = reader_make(&readers[made++], &shared, &shared.error);
    bool ready = shared.status == MS_OK; /* from here on the status is for who holds the lock */
    ms_progress_begin("reading traces", count, "samples");
    /* one thread less than jobs: this one reads too, and alone where no other can be had */
    while (ready && started + 1 < jobs &&
           pthread_create(&threads[started], NULL, read_rows, &readers[started + 1]) == 0)
        started++;
    if (made > 0)
        (void)read_rows(&readers[0]);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    ms_progress_end();
    for (unsigned i = 0; i < made; i++)
        reader_release(&readers[i]);
    (void)pthread_mutex_destroy(&shared.lock);
    (void)pthread_mutex_destroy(&shared.gram_lock);
    if (shared.status != MS_OK && err)
        *err = shared.error;
    return shared.status;
}
