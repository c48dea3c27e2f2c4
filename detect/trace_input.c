/* The same numbers under the names that models know. */
#include "detect/trace_input.h"

struct ms_gram_table ms_read_trace_table(const struct ms_read_trace *self)
{
    return (struct ms_gram_table){self->names, (uint32_t)self->symbol_count, self->grams,
                                  (uint32_t)self->gram_count};
}

struct ms_input_trace ms_read_trace_input(const struct ms_read_trace *self)
{
    return (struct ms_input_trace){.calls = self->symbols,
                                   .n = self->n,
                                   .run_lengths = self->run_lengths,
                                   .run_counts = self->run_counts,
                                   .grams = {NULL, self->gram_count}};
}
