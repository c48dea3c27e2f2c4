/* The presets, and a plan as text. */
#include "train/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void ms_plan_article(struct ms_plan *out)
{
    *out = (struct ms_plan){
        .preset = "article",
        .view = {.fold_case = true,
                 .expand = true,
                 .keep_pseudo = true,
                 .cut = MS_CUT_TAIL,
                 .length = 100},
        .min_calls = 1,
        .text = MS_VOCABULARY_KERAS,
        .vocabulary_limit = 800,
        .count_whole = true,
        .one_output_mse = true,
        .split = {.test_share = .15},
        .threshold = .5,
        .fit = {.rate = .001, .epochs = 10, .batch = 1000},
    };
    ms_net_config_article(&out->fit.config);
    ms_optimizer_defaults(MS_OPTIMIZER_RMSPROP, &out->fit.optimizer);
}

void ms_plan_default(struct ms_plan *out)
{
    *out = (struct ms_plan){
        .preset = "default",
        .view = {.fold_case = true,
                 .expand = true,
                 .collapse = 1,
                 .once = true,
                 .cut = MS_CUT_HEAD,
                 .length = 400},
        .min_calls = 5,
        .text = MS_VOCABULARY_NAME,
        .unknown = true,
        .vocabulary_rows = 2,
        .split = {.test_share = .2},
        .threshold = .5,
        .fit = {.config = {.embedding = 48,
                           .embedding_init = MS_NET_EMBEDDING_NORMAL,
                           .embedding_scale = .3,
                           .spatial_dropout = .2,
                           .recurrent_count = 1,
                           .recurrent =
                               {{.hidden = 64, .activation = MS_NET_TANH, .bidirectional = true}},
                           .mask_padding = true,
                           .pooling = MS_NET_POOL_MEAN_MAX_LAST,
                           .pool_dropout = .4,
                           .label_smoothing = .1},
                .rate = .003,
                .cosine = true,
                .token_dropout = .1,
                .epochs = 20,
                .batch = 32,
                .by_length = true},
    };
    ms_optimizer_defaults(MS_OPTIMIZER_ADAMW, &out->fit.optimizer);
    out->fit.optimizer.weight_decay = .01;
    out->fit.optimizer.clip_norm = 1;
}

enum ms_status ms_plan_config(const struct ms_plan *self, uint32_t classes, bool binary,
                              uint32_t vocabulary, struct ms_net_config *out, struct ms_error *err)
{
    *out = self->fit.config;
    if (out->vocabulary < vocabulary)
        out->vocabulary = vocabulary < 2 ? 2 : vocabulary;
    out->outputs = binary ? 1 : classes;
    out->head = !binary                ? MS_NET_HEAD_SOFTMAX
                : self->one_output_mse ? MS_NET_HEAD_MSE
                                       : MS_NET_HEAD_SIGMOID;
    return ms_net_config_check(out, err);
}

enum ms_status ms_plan_text(const struct ms_plan *self, const char *target, bool shuffled_labels,
                            struct ms_buf *out)
{
    char normal[MS_NORMAL_TEXT_BYTES], split[MS_PARTITION_NAME_BYTES];
    const struct ms_fit_options *f = &self->fit;
    ms_normal_options_text(&self->view, normal);
    ms_partition_name(&self->split, split);
    if (self->split_file) /* the file's own name for it is in the manifest, whose digest counts */
        (void)snprintf(split, sizeof split, "file");
    (void)ms_buf_printf(out, "preset=%s target=%s split=%s epochs=%u batch=%u lr=%.9g",
                        self->preset, target, split, f->epochs, f->batch, f->rate);
    (void)ms_buf_printf(out, " schedule=%s optimizer=%d decay=%.9g clip=%.9g smoothing=%.9g",
                        f->cosine ? "cosine" : "constant", (int)f->optimizer.kind,
                        f->optimizer.weight_decay, f->optimizer.clip_norm,
                        f->config.label_smoothing);
    (void)ms_buf_printf(out,
                        " token-dropout=%.9g by-length=%d min-calls=%" PRIu64
                        " vocabulary-rows=%u vocabulary-limit=%u seed=%" PRIu64 "%s [%s]",
                        f->token_dropout, (int)f->by_length, self->min_calls, self->vocabulary_rows,
                        self->vocabulary_limit, f->seed, shuffled_labels ? " labels=shuffled" : "",
                        normal);
    return out->failed ? MS_E_NOMEM : MS_OK;
}
