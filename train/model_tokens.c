/* From folded call names to token numbers to scores; the same in training and in detection. */
#include "train/model.h"

#include <stdlib.h>
#include <string.h>

void ms_tokens_release(struct ms_tokens *self)
{
    free(self->ids);
    *self = (struct ms_tokens){0};
}

/* Rows are predicted in slices: memory for the activations of one slice at a time. */
enum { SLICE_ROWS = 512, ROOM = 64 };

enum ms_status ms_tokens_make(const struct ms_vocabulary *vocabulary,
                              const struct ms_net_config *config,
                              const struct ms_normal_options *view, const struct ms_span *calls,
                              size_t n, struct ms_tokens *out, struct ms_error *err)
{
    out->n = 0;
    for (size_t i = 0; i < n;) {
        size_t left = out->capacity - out->n;
        size_t many =
            left ? ms_vocabulary_tokens(vocabulary, calls[i], out->ids + out->n, left) : 1;
        if (many <= left) {
            out->n += many;
            i++;
            continue;
        }
        size_t capacity = (out->capacity + many + n + ROOM) * 3 / 2;
        int32_t *ids = realloc(out->ids, capacity * sizeof *ids);
        if (!ids)
            return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu tokens", capacity);
        out->ids = ids;
        out->capacity = capacity;
    }
    size_t max = config->mask_padding ? MS_LIMIT_NET_STEPS : config->pad_length;
    if (out->n > max) {
        if (view->cut == MS_CUT_TAIL)
            memmove(out->ids, out->ids + (out->n - max), max * sizeof *out->ids);
        out->n = max;
    }
    return MS_OK;
}

static enum ms_status score_slice(struct ms_net *net, uint32_t classes,
                                  const struct ms_tokens *rows, size_t count, double *scores,
                                  struct ms_error *err)
{
    const int32_t *tokens[SLICE_ROWS];
    uint32_t lengths[SLICE_ROWS];
    size_t outputs = ms_net_config_get(net)->outputs;
    for (size_t i = 0; i < count; i++) {
        tokens[i] = rows[i].ids;
        lengths[i] = (uint32_t)rows[i].n;
    }
    ms_real *raw = calloc(count * outputs, sizeof *raw);
    if (!raw)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu scores", count * outputs);
    const struct ms_net_batch batch = {.rows = count, .tokens = tokens, .lengths = lengths};
    enum ms_status status = ms_net_predict(net, &batch, raw, err);
    for (size_t i = 0; status == MS_OK && i < count; i++)
        for (size_t c = 0; c < classes; c++)
            scores[i * classes + c] = outputs == 1 ? (c == 0 ? (double)raw[i] : 1 - (double)raw[i])
                                                   : (double)raw[i * outputs + c];
    free(raw);
    return status;
}

enum ms_status ms_model_scores(struct ms_net *net, uint32_t classes, const struct ms_tokens *rows,
                               size_t count, double *scores, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t at = 0; at < count && status == MS_OK; at += SLICE_ROWS) {
        size_t n = count - at < SLICE_ROWS ? count - at : SLICE_ROWS;
        status = score_slice(net, classes, rows + at, n, scores + at * classes, err);
    }
    return status;
}

uint32_t ms_model_decide(const double *scores, uint32_t classes, double threshold)
{
    if (classes == 2)
        return scores[0] >= threshold ? 0 : 1;
    uint32_t best = 0;
    for (uint32_t c = 1; c < classes; c++)
        if (scores[c] > scores[best])
            best = c;
    return best;
}
