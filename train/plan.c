/* The presets, and a plan as text. */
#include "train/plan.h"

#include "train/default_ensemble.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The branch beside the recurrent layers, and the n-grams that it sees. */
static const struct ms_net_wide wide_branch = {
    .units = 64, .activation = MS_NET_RELU, .input_dropout = .5};
static const struct ms_ngram_options wide_ngrams = {
    .max_n = 3, .min_df = 3, .max_size = 50000, .idf = true, .l2 = true};

/* What linear and boosted models are, whatever the preset. */
static void plan_others(struct ms_plan *out)
{
    out->linear_ngrams = (struct ms_ngram_options){.max_n = 3, .min_df = 2, .max_size = 200000};
    out->cost = 1;
    out->boost_ngrams = (struct ms_ngram_options){.max_n = 2, .min_df = 5, .max_size = 2000};
    ms_boost_defaults(&out->boost);
    out->seeds = MS_DEFAULT_NETS;
    out->baselines = true;
    out->fit.jobs = 1;
}

void ms_plan_article(struct ms_plan *out)
{
    *out = (struct ms_plan){
        .preset = "article",
        .kind = MS_MODEL_LSTM,
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
        .tuning = {.threshold = .5},
        .fit = {.rate = .001, .epochs = 10, .batch = 1000},
    };
    plan_others(out);
    out->parts = MS_PART_BIT(MS_PART_RECURRENT) | MS_PART_BIT(MS_PART_HYBRID);
    ms_net_config_article(&out->fit.config);
    ms_optimizer_defaults(MS_OPTIMIZER_RMSPROP, &out->fit.optimizer);
}

uint32_t ms_plan_default_parts(bool boosts)
{
    uint32_t parts = 0;
    const char *text = boosts ? MS_DEFAULT_PARTS : MS_DEFAULT_PARTS_WITHOUT_TREES;
    if (ms_parts_parse(text, &parts, NULL) != MS_OK)
        return 0; /* refused by whatever trains it; a test reads the lines */
    return parts;
}

void ms_plan_default(struct ms_plan *out)
{
    *out = (struct ms_plan){
        .preset = "default",
        .kind = MS_MODEL_ENSEMBLE,
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
        .inputs = {.run_length = true,
                   .run_count = true,
                   .bigram_buckets = 4096,
                   .trigram_buckets = 4096},
        .feature_scale = .1,
        .split = {.folds = 5, .test_share = .2},
        .tuning = {.calibrate = MS_TUNE_FREE, .threshold = .5},
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
    plan_others(out);
    ms_plan_take_parts(out, ms_plan_default_parts(ms_boost_is_built()));
    out->stands_in = ms_plan_parts(out) != ms_plan_default_parts(true);
    ms_optimizer_defaults(MS_OPTIMIZER_ADAMW, &out->fit.optimizer);
    out->fit.optimizer.weight_decay = .01;
    out->fit.optimizer.clip_norm = 1;
}

uint32_t ms_plan_parts(const struct ms_plan *self)
{
    return self->inputs.wide ? self->parts : self->parts & ~ms_parts_wide(self->parts);
}

void ms_plan_take_parts(struct ms_plan *self, uint32_t parts)
{
    self->kind = MS_MODEL_ENSEMBLE;
    self->parts = parts;
    self->inputs.ngrams = ms_parts_sparse(parts) ? wide_ngrams : (struct ms_ngram_options){0};
    self->inputs.wide = ms_parts_wide(parts) != 0;
    self->fit.config.wide = self->inputs.wide ? wide_branch : (struct ms_net_wide){0};
}

void ms_plan_take_wide(struct ms_plan *self, bool wide)
{
    self->inputs.wide = wide;
    self->inputs.ngrams = wide ? wide_ngrams : (struct ms_ngram_options){0};
    self->fit.config.wide = wide ? wide_branch : (struct ms_net_wide){0};
}

static void drop_recurrence(struct ms_net_config *c)
{
    c->recurrent_count = 0;
    memset(c->recurrent, 0, sizeof c->recurrent);
    if (c->pooling == MS_NET_POOL_LAST)
        c->pooling = MS_NET_POOL_MEAN;
}

enum ms_status ms_plan_config(const struct ms_plan *self, uint32_t classes, bool binary,
                              const struct ms_plan_shape *shape, struct ms_net_config *out,
                              struct ms_error *err)
{
    uint32_t sizes[MS_LIMIT_NET_FEATURES];
    *out = self->fit.config;
    if (out->vocabulary < shape->vocabulary)
        out->vocabulary = shape->vocabulary < 2 ? 2 : shape->vocabulary;
    out->feature_count = ms_input_options_tables(&self->inputs, sizes);
    for (uint32_t t = 0; t < out->feature_count; t++)
        out->feature[t] = (struct ms_net_feature){sizes[t], self->feature_scale};
    out->wide.size = shape->ngrams;
    if (shape->ngrams == 0)
        memset(&out->wide, 0, sizeof out->wide);
    if (shape->pooled)
        drop_recurrence(out);
    for (uint32_t i = 0; shape->gru && i < out->recurrent_count; i++)
        out->recurrent[i].cell = MS_NET_GRU;
    out->outputs = binary ? 1 : classes;
    out->head = !binary                ? MS_NET_HEAD_SOFTMAX
                : self->one_output_mse ? MS_NET_HEAD_MSE
                                       : MS_NET_HEAD_SIGMOID;
    return ms_net_config_check(out, err);
}

static void boost_text(const struct ms_boost_options *b, struct ms_buf *out)
{
    (void)ms_buf_printf(out, " rounds=%u depth=%u rate=%.9g rows=%.9g columns=%.9g", b->rounds,
                        b->depth, b->rate, b->rows, b->columns);
}

static void nets_text(const struct ms_plan *self, struct ms_buf *out)
{
    const struct ms_fit_options *f = &self->fit;
    char inputs[MS_INPUT_TEXT_BYTES];
    ms_input_options_text(&self->inputs, inputs);
    (void)ms_buf_printf(out, " epochs=%u batch=%u lr=%.9g", f->epochs, f->batch, f->rate);
    (void)ms_buf_printf(out, " schedule=%s optimizer=%d decay=%.9g clip=%.9g smoothing=%.9g",
                        f->cosine ? "cosine" : "constant", (int)f->optimizer.kind,
                        f->optimizer.weight_decay, f->optimizer.clip_norm,
                        f->config.label_smoothing);
    (void)ms_buf_printf(out, " token-dropout=%.9g by-length=%d patience=%u average=%d",
                        f->token_dropout, (int)f->by_length, f->patience, (int)f->average);
    if (self->kind == MS_MODEL_ENSEMBLE) {
        char parts[MS_PARTS_TEXT_BYTES];
        ms_parts_text(ms_plan_parts(self), parts);
        (void)ms_buf_printf(out, " parts=%s seeds=%u", parts, self->seeds);
        if (ms_plan_parts(self) & MS_PART_BIT(MS_PART_LINEAR))
            (void)ms_buf_printf(out, " cost=%.9g", self->cost);
        if (ms_plan_parts(self) & MS_PART_BIT(MS_PART_BOOSTED))
            boost_text(&self->boost, out);
    }
    (void)ms_buf_printf(out, " (%s)", inputs);
}

static void ngrams_text(const struct ms_ngram_options *o, struct ms_buf *out)
{
    (void)ms_buf_printf(out, " ngrams=%u min-df=%u size=%u", o->max_n, o->min_df, o->max_size);
}

enum ms_status ms_plan_text(const struct ms_plan *self, const char *target, bool shuffled_labels,
                            struct ms_buf *out)
{
    char normal[MS_NORMAL_TEXT_BYTES], split[MS_PARTITION_NAME_BYTES];
    ms_normal_options_text(&self->view, normal);
    ms_partition_name(&self->split, split);
    if (self->split_file) /* the file's own name for it is in the manifest, whose digest counts */
        (void)snprintf(split, sizeof split, "file");
    (void)ms_buf_printf(out, "preset=%s kind=%s target=%s split=%s", self->preset,
                        ms_model_kind_name(self->kind), target, split);
    if (self->opcodes)
        (void)ms_buf_append_text(out, " sequence=opcode");
    if (self->statics)
        (void)ms_buf_printf(out, " static=%s", ms_static_use_name(self->statics));
    if (self->kind == MS_MODEL_LINEAR) {
        (void)ms_buf_printf(out, " cost=%.9g", self->cost);
        ngrams_text(&self->linear_ngrams, out);
    } else if (self->kind == MS_MODEL_BOOSTED) {
        boost_text(&self->boost, out);
        ngrams_text(&self->boost_ngrams, out);
    } else
        nets_text(self, out);
    (void)ms_buf_printf(out,
                        " class-weights=%s copies=%s min-calls=%" PRIu64
                        " vocabulary-rows=%u vocabulary-limit=%u seed=%" PRIu64 "%s [%s]",
                        self->balanced ? "balanced" : "none", self->one_copy ? "one" : "all",
                        self->min_calls, self->vocabulary_rows, self->vocabulary_limit,
                        self->fit.seed, shuffled_labels ? " labels=shuffled" : "", normal);
    ms_tune_text(&self->tuning, out);
    return out->failed ? MS_E_NOMEM : MS_OK;
}
