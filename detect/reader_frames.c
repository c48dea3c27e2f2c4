/* The parent's side of the frames. The worker may be in an attacker's hands: every number is
 * checked before it is used, every amount has a bound. */
#include "detect/reader_frames.h"

#include "base/limits.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = MS_LIMIT_APIS_PER_REPORT + 1 };

void ms_read_trace_init(struct ms_read_trace *self)
{
    *self = (struct ms_read_trace){0};
    ms_buf_init(&self->name_bytes, (size_t)NAMES_MAX * (MS_LIMIT_API_NAME_BYTES + 8));
    ms_buf_init(&self->process_names, (size_t)MS_LIMIT_PROCESSES * MS_LIMIT_PROCESS_NAME_BYTES);
    ms_buf_init(&self->member_bytes, MS_LIMIT_NAME_BYTES);
}

void ms_read_trace_release(struct ms_read_trace *self)
{
    ms_buf_release(&self->name_bytes);
    ms_buf_release(&self->process_names);
    ms_buf_release(&self->member_bytes);
    free(self->calls);
    free(self->name_end);
    free(self->indexes);
    free(self->lengths.list);
    free(self->counts.list);
    free(self->name_list);
    free(self->gram_list);
    free(self->origin_list);
    free(self->process_list);
    *self = (struct ms_read_trace){0};
}

void ms_read_trace_reset(struct ms_read_trace *self)
{
    ms_buf_clear(&self->name_bytes);
    ms_buf_clear(&self->process_names);
    ms_buf_clear(&self->member_bytes);
    self->member = ms_span_of(NULL, 0);
    self->state = MS_REPORT_INVALID;
    self->foreign = MS_FOREIGN_NO;
    self->reason[0] = '\0';
    self->n = self->name_count = self->origin_count = self->process_count = 0;
    self->lengths.n = self->counts.n = self->symbol_count = self->gram_count = 0;
    self->whole_length = 0;
    self->grams_cut = self->opcodes = self->statics = false;
    self->complete = false;
}

enum ms_status ms_read_trace_add_statics(struct ms_read_trace *self, const struct ms_span *names,
                                         size_t n, bool alone, struct ms_error *err)
{
    const size_t first = alone ? 0 : self->gram_count;
    struct ms_span *list = realloc(self->name_list, (self->symbol_count + n + 1) * sizeof *list);
    if (list)
        self->names = self->name_list = list;
    struct ms_gram *grams = realloc(self->gram_list, (first + n + 1) * sizeof *grams);
    if (grams) {
        self->grams = self->gram_list = grams;
        self->gram_cap = first + n + 1;
        self->gram_count = first;
    }
    if (!list || !grams)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for static features");
    for (size_t i = 0; i < n; i++) {
        list[self->symbol_count] = names[i];
        grams[self->gram_count++] =
            (struct ms_gram){{(uint32_t)self->symbol_count++, MS_GRAM_NONE, MS_GRAM_NONE}};
    }
    self->statics = true;
    return MS_OK;
}

static enum ms_status malformed(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the worker's answer is malformed");
}

/* What a worker may say has its end, and so has memory. */
static enum ms_status take_bytes(struct ms_buf *to, struct ms_span bytes, struct ms_error *err)
{
    enum ms_status status = ms_buf_append(to, bytes.data, bytes.len);
    if (status == MS_E_NOMEM)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a trace");
    return status == MS_OK ? MS_OK : malformed(err);
}

/* Room for one more item in a list. */
static enum ms_status reserve(void **items, size_t count, size_t *capacity, size_t item_bytes,
                              struct ms_error *err)
{
    if (count < *capacity)
        return MS_OK;
    size_t bigger = *capacity ? *capacity * 2 : 512;
    void *moved = realloc(*items, bigger * item_bytes);
    if (!moved)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a trace");
    *items = moved;
    *capacity = bigger;
    return MS_OK;
}

static enum ms_status take_member(struct ms_read_trace *t, struct ms_span bytes,
                                  struct ms_error *err)
{
    if (t->member_bytes.len || !bytes.len)
        return malformed(err);
    return take_bytes(&t->member_bytes, bytes, err);
}

static enum ms_status take_names(struct ms_read_trace *t, struct ms_span bytes,
                                 struct ms_error *err)
{
    while (bytes.len > 0) {
        uint64_t n;
        struct ms_span name;
        void *ends = t->name_end;
        if (!ms_span_take_varint(&bytes, &n) || !ms_span_take(&bytes, n, &name) ||
            t->name_count == NAMES_MAX)
            return malformed(err);
        enum ms_status status =
            reserve(&ends, t->name_count, &t->name_cap, sizeof *t->name_end, err);
        t->name_end = ends;
        if (status == MS_OK)
            status = take_bytes(&t->name_bytes, name, err);
        if (status != MS_OK)
            return status;
        t->name_end[t->name_count++] = t->name_bytes.len;
    }
    return MS_OK;
}

static enum ms_status take_calls(struct ms_read_trace *t, size_t most, struct ms_span bytes,
                                 struct ms_error *err)
{
    while (bytes.len > 0) {
        uint64_t index;
        void *indexes = t->indexes;
        if (!ms_span_take_varint(&bytes, &index) || index >= t->name_count || t->n == most)
            return malformed(err);
        enum ms_status status = reserve(&indexes, t->n, &t->call_cap, sizeof *t->indexes, err);
        t->indexes = indexes;
        if (status != MS_OK)
            return status;
        t->indexes[t->n++] = (uint32_t)index;
    }
    return MS_OK;
}

static enum ms_status take_processes(struct ms_read_trace *t, struct ms_span bytes,
                                     struct ms_error *err)
{
    while (bytes.len > 0) {
        uint64_t pid, n;
        struct ms_span name;
        void *list = t->process_list;
        if (!ms_span_take_varint(&bytes, &pid) || !ms_span_take_varint(&bytes, &n) ||
            n > MS_LIMIT_PROCESS_NAME_BYTES || !ms_span_take(&bytes, n, &name) ||
            t->process_count == MS_LIMIT_PROCESSES)
            return malformed(err);
        enum ms_status status =
            reserve(&list, t->process_count, &t->process_cap, sizeof *t->process_list, err);
        t->process_list = list;
        if (status == MS_OK)
            status = take_bytes(&t->process_names, name, err);
        if (status != MS_OK)
            return status;
        t->process_list[t->process_count++] =
            (struct ms_read_process){pid, ms_span_of(NULL, name.len)};
    }
    return MS_OK;
}

static enum ms_status take_origins(struct ms_read_trace *t, struct ms_span bytes,
                                   struct ms_error *err)
{
    while (bytes.len > 0) {
        uint64_t process, entry;
        void *list = t->origin_list;
        if (!ms_span_take_varint(&bytes, &process) || !ms_span_take_varint(&bytes, &entry) ||
            process >= t->process_count || entry >= MS_LIMIT_CALLS || t->origin_count == t->n)
            return malformed(err);
        enum ms_status status =
            reserve(&list, t->origin_count, &t->origin_cap, sizeof *t->origin_list, err);
        t->origin_list = list;
        if (status != MS_OK)
            return status;
        t->origin_list[t->origin_count++] =
            (struct ms_call_origin){(uint32_t)process, (uint32_t)entry};
    }
    return MS_OK;
}

/* A number for each call. */
static enum ms_status take_runs(const struct ms_read_trace *t, struct ms_run_numbers *runs,
                                struct ms_span bytes, struct ms_error *err)
{
    while (bytes.len > 0) {
        uint64_t number;
        void *list = runs->list;
        if (!ms_span_take_varint(&bytes, &number) || number > UINT32_MAX || runs->n == t->n)
            return malformed(err);
        enum ms_status status = reserve(&list, runs->n, &runs->cap, sizeof *runs->list, err);
        runs->list = list;
        if (status != MS_OK)
            return status;
        runs->list[runs->n++] = (uint32_t)number;
    }
    return MS_OK;
}

static enum ms_status take_grams(struct ms_read_trace *t, struct ms_span bytes,
                                 struct ms_error *err)
{
    while (bytes.len > 0) {
        struct ms_gram gram = {{MS_GRAM_NONE, MS_GRAM_NONE, MS_GRAM_NONE}};
        uint64_t length, symbol;
        void *list = t->gram_list;
        if (!ms_span_take_varint(&bytes, &length) || length > MS_GRAM_MOST || t->grams_cut)
            return malformed(err);
        for (uint64_t i = 0; i < length; i++) {
            if (!ms_span_take_varint(&bytes, &symbol) || symbol >= t->name_count)
                return malformed(err);
            gram.symbol[i] = (uint32_t)symbol;
        }
        t->grams_cut = length == 0;
        if (t->grams_cut)
            continue;
        if (t->gram_count == MS_LIMIT_TRACE_GRAMS)
            return malformed(err);
        enum ms_status status =
            reserve(&list, t->gram_count, &t->gram_cap, sizeof *t->gram_list, err);
        t->gram_list = list;
        if (status != MS_OK)
            return status;
        t->gram_list[t->gram_count++] = gram;
    }
    return MS_OK;
}

static enum ms_status resolve_names(struct ms_read_trace *t, struct ms_error *err)
{
    struct ms_span *names = realloc(t->name_list, (t->name_count + 1) * sizeof *names);
    if (!names)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a trace");
    for (size_t i = 0, from = 0; i < t->name_count; from = t->name_end[i++]) {
        size_t n = t->name_end[i] - from;
        names[i] = ms_span_of(n ? t->name_bytes.data + from : NULL, n);
    }
    t->name_list = names;
    t->names = names;
    t->symbol_count = t->name_count;
    return MS_OK;
}

/* Nothing moves any more: numbers become views. */
static enum ms_status resolve(struct ms_read_trace *t, struct ms_error *err)
{
    enum ms_status status = resolve_names(t, err);
    if (status != MS_OK)
        return status;
    struct ms_span *calls = realloc(t->calls, (t->n ? t->n : 1) * sizeof *calls);
    if (!calls)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a trace");
    t->calls = calls;
    for (size_t i = 0; i < t->n; i++)
        t->calls[i] = t->names[t->indexes[i]];
    for (size_t i = 0, at = 0; i < t->process_count; i++) {
        struct ms_span *name = &t->process_list[i].name;
        name->data = name->len ? t->process_names.data + at : NULL;
        at += name->len;
    }
    t->symbols = t->indexes;
    t->run_lengths = t->lengths.list;
    t->run_counts = t->counts.list;
    t->grams = t->gram_list;
    t->processes = t->process_list;
    t->origins = t->origin_list;
    t->member = ms_span_of(t->member_bytes.data, t->member_bytes.len);
    return MS_OK;
}

static enum ms_status take_result(struct ms_read_trace *t, struct ms_span bytes,
                                  struct ms_error *err)
{
    uint64_t state, foreign;
    if (!ms_span_take_varint(&bytes, &state) || state > MS_REPORT_INVALID ||
        !ms_span_take_varint(&bytes, &foreign) || foreign > MS_FOREIGN_JSON ||
        !ms_span_take_varint(&bytes, &t->whole_length) || t->origin_count != t->n ||
        t->lengths.n != t->n || t->counts.n != t->n)
        return malformed(err);
    t->state = (enum ms_report_state)state;
    t->foreign = (enum ms_report_foreign)foreign;
    ms_escape_bytes(bytes.len ? (const void *)bytes.data : "", bytes.len, t->reason,
                    sizeof t->reason);
    enum ms_status status = resolve(t, err);
    t->complete = status == MS_OK;
    return status;
}

enum ms_status ms_read_trace_take(struct ms_read_trace *self, const struct ms_normal_options *view,
                                  uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    const size_t most = view->length ? view->length : MS_LIMIT_SEQUENCE;
    if (self->complete)
        return malformed(err);
    switch (type) {
    case MS_READER_MEMBER:
        return take_member(self, bytes, err);
    case MS_READER_NAMES:
        return take_names(self, bytes, err);
    case MS_READER_CALLS:
        return take_calls(self, most, bytes, err);
    case MS_READER_LENGTHS:
        return take_runs(self, &self->lengths, bytes, err);
    case MS_READER_COUNTS:
        return take_runs(self, &self->counts, bytes, err);
    case MS_READER_GRAMS:
        return take_grams(self, bytes, err);
    case MS_READER_PROCESSES:
        return take_processes(self, bytes, err);
    case MS_READER_ORIGINS:
        return take_origins(self, bytes, err);
    case MS_READER_RESULT:
        return take_result(self, bytes, err);
    default:
        return malformed(err);
    }
}
