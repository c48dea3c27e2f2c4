/* Fuzz target: the frames that the reading worker sends to detect. An answer that is taken must
 * make an input. The bytes are frames: a letter for the type (any other byte is the type itself),
 * length (two bytes, lowest first), bytes. */
#include "base/limits.h"
#include "detect/reader_frames.h"
#include "detect/trace_input.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ms_normal_options VIEW = {.collapse = 1, .length = 400};
static const struct ms_input_options OPTIONS = {true, true, 64, 64, true, {3, 1, 1000, true, true}};

static struct ms_vocabulary *make_vocabulary(void)
{
    struct ms_vocabulary *v;
    if (ms_vocabulary_new(MS_VOCABULARY_NAME, true, &v, NULL) != MS_OK ||
        ms_vocabulary_count(v, ms_span_of("a", 1), 2, NULL) != MS_OK ||
        ms_vocabulary_count(v, ms_span_of("b", 1), 1, NULL) != MS_OK ||
        ms_vocabulary_finish(v, 0, NULL) != MS_OK)
        abort();
    return v;
}

/* a, b, ab, aba */
static struct ms_ngrams *make_ngrams(void)
{
    const struct ms_span names[] = {ms_span_of("a", 1), ms_span_of("b", 1)};
    static const int32_t places[] = {0, -1, -1, 1, -1, -1, 0, 1, -1, 0, 1, 0};
    static const float weights[] = {1, 2, 3, 4};
    const struct ms_ngrams_file file = {OPTIONS.ngrams, names, 2, places, weights, 4};
    struct ms_ngrams *n;
    if (ms_ngrams_load(&file, &n, NULL) != MS_OK)
        abort();
    return n;
}

static void check(const struct ms_read_trace *trace)
{
    static struct ms_input_recipe recipe;
    struct ms_gram_table table = ms_read_trace_table(trace);
    struct ms_input_trace input = ms_read_trace_input(trace);
    struct ms_input_maker *maker;
    struct ms_input_row row = {0};
    if (!recipe.vocabulary)
        recipe =
            (struct ms_input_recipe){make_vocabulary(), make_ngrams(), OPTIONS, MS_CUT_TAIL, 100};
    if (ms_input_maker_new(&recipe, &table, &maker, NULL) != MS_OK ||
        ms_input_row_make(maker, &input, &row, NULL) != MS_OK)
        abort();
    if (row.n > 100 || row.known > row.n || row.count > 4)
        abort();
    for (uint32_t i = 0; i < row.count; i++)
        if (row.ids[i] >= 4 || (i && row.ids[i] <= row.ids[i - 1]) || !(row.values[i] > 0))
            abort();
    for (size_t i = 0; i < row.n * 4; i++)
        if (row.features[i] < -1 || row.features[i] >= (i % 4 < 2 ? MS_INPUT_LOG_BUCKETS : 64))
            abort();
    ms_input_maker_free(maker);
    ms_input_row_release(&row);
}

/* So that seeds outlive a new type. */
static uint32_t type_of(uint8_t letter)
{
    switch (letter) {
    case 'm':
        return MS_READER_MEMBER;
    case 'n':
        return MS_READER_NAMES;
    case 'c':
        return MS_READER_CALLS;
    case 'l':
        return MS_READER_LENGTHS;
    case 'k':
        return MS_READER_COUNTS;
    case 'p':
        return MS_READER_PROCESSES;
    case 'o':
        return MS_READER_ORIGINS;
    case 'g':
        return MS_READER_GRAMS;
    case 'r':
        return MS_READER_RESULT;
    default:
        return letter;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ms_read_trace trace;
    ms_read_trace_init(&trace);
    while (size >= 3) {
        size_t n = data[1] | (size_t)data[2] << 8;
        if (n > size - 3)
            n = size - 3;
        enum ms_status status =
            ms_read_trace_take(&trace, &VIEW, type_of(data[0]), ms_span_of(data + 3, n), NULL);
        if (status != MS_OK)
            break;
        if (trace.complete) {
            check(&trace);
            ms_read_trace_reset(&trace);
        }
        data += 3 + n;
        size -= 3 + n;
    }
    ms_read_trace_release(&trace);
    return 0;
}
