/* A model as an object: its members and what they say together. Files are read and written in
 * model_file.c, model_read.c and model_write.c. */
#include "train/model_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const kinds[MS_MODEL_KINDS] = {"lstm",     "gru",    "linear",  "boosted",
                                                  "ensemble", "pooled", "majority"};

const char *ms_model_kind_name(enum ms_model_kind kind)
{
    return kinds[kind];
}

enum ms_status ms_model_kind_parse(const char *text, enum ms_model_kind *out, struct ms_error *err)
{
    for (int i = 0; i < MS_MODEL_KINDS; i++)
        if (strcmp(text, kinds[i]) == 0) {
            *out = (enum ms_model_kind)i;
            return MS_OK;
        }
    return ms_error_set(err, MS_E_INPUT, "its kind is none that is known");
}

void ms_member_release(struct ms_member *self)
{
    ms_net_free(self->net);
    ms_linear_release(&self->linear);
    ms_trees_release(&self->trees);
    free(self->shares);
    *self = (struct ms_member){0};
}

void ms_model_parts_release(struct ms_model_parts *self)
{
    for (uint32_t i = 0; i < self->member_count; i++)
        ms_member_release(&self->members[i]);
    free(self->members);
    ms_vocabulary_free(self->vocabulary);
    ms_ngrams_free(self->ngrams);
    *self = (struct ms_model_parts){0};
}

static bool net_fits(const struct ms_net *net, const struct ms_model_parts *parts)
{
    const struct ms_net_config *c = ms_net_config_get(net);
    uint32_t sizes[MS_LIMIT_NET_FEATURES], tables = ms_input_options_tables(&parts->inputs, sizes);
    bool fits = ms_net_config_classes(c) == parts->classes &&
                ms_vocabulary_size(parts->vocabulary) <= c->vocabulary &&
                (c->feature_count == 0 || c->feature_count == tables);
    for (uint32_t t = 0; fits && t < c->feature_count; t++)
        fits = c->feature[t].size == sizes[t];
    return fits &&
           (c->wide.size == 0 || (parts->ngrams && c->wide.size == ms_ngrams_size(parts->ngrams)));
}

static bool member_fits(const struct ms_member *m, const struct ms_model_parts *parts)
{
    uint32_t outputs = parts->classes == 2 ? 1 : parts->classes;
    switch (m->kind) {
    case MS_MEMBER_NET:
        return net_fits(m->net, parts);
    case MS_MEMBER_LINEAR:
        return m->linear.outputs == outputs && parts->ngrams &&
               m->linear.size == ms_ngrams_size(parts->ngrams);
    case MS_MEMBER_TREES:
        return m->trees.outputs == outputs && parts->ngrams &&
               m->trees.size == ms_ngrams_size(parts->ngrams);
    case MS_MEMBER_SHARES:
        return m->shares != NULL;
    }
    return false;
}

enum ms_status ms_model_parts_check(const struct ms_model_parts *self, struct ms_error *err)
{
    if (self->classes < 2 || self->classes > MS_LIMIT_NET_CLASSES || self->member_count < 1 ||
        self->member_count > MS_LIMIT_MODEL_MEMBERS || !self->vocabulary ||
        (self->inputs.ngrams.max_n > 0) != (self->ngrams != NULL))
        return ms_error_set(err, MS_E_INPUT, "it has no classes, members or inputs, or too many");
    for (uint32_t i = 0; i < self->member_count; i++)
        if (!member_fits(&self->members[i], self))
            return ms_error_set(err, MS_E_INPUT, "member %u does not fit its classes or inputs", i);
    return MS_OK;
}

enum ms_status ms_model_new(struct ms_model_parts *parts, struct ms_model **out,
                            struct ms_error *err)
{
    enum ms_status status = ms_model_parts_check(parts, err);
    struct ms_model *m = status == MS_OK ? calloc(1, sizeof *m) : NULL;
    if (status == MS_OK && !m)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
    if (status != MS_OK) {
        ms_model_parts_release(parts);
        return status;
    }
    m->parts = *parts;
    *parts = (struct ms_model_parts){0};
    *out = m;
    return MS_OK;
}

void ms_model_free(struct ms_model *self)
{
    if (!self)
        return;
    ms_model_parts_release(&self->parts);
    ms_model_data_release(&self->data); /* the nets were in it */
    json_decref(self->metadata);
    json_decref(self->classes);
    free(self->class_names);
    free(self);
}

const struct ms_model_parts *ms_model_parts_get(const struct ms_model *self)
{
    return &self->parts;
}

const struct ms_vocabulary *ms_model_vocabulary(const struct ms_model *self)
{
    return self->parts.vocabulary;
}

const struct ms_model_facts *ms_model_facts_get(const struct ms_model *self)
{
    return &self->facts;
}

void ms_model_recipe(const struct ms_model *self, struct ms_input_recipe *out)
{
    const struct ms_model_parts *p = &self->parts;
    *out = (struct ms_input_recipe){.vocabulary = p->vocabulary,
                                    .ngrams = p->ngrams,
                                    .options = p->inputs,
                                    .cut = p->cut,
                                    .steps = MS_LIMIT_NET_STEPS};
    for (uint32_t i = 0; i < p->member_count; i++)
        if (p->members[i].net) {
            size_t steps = ms_input_steps(ms_net_config_get(p->members[i].net));
            out->steps = steps < out->steps ? steps : out->steps;
        }
}

uint64_t ms_model_parameters(const struct ms_model *self)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < self->parts.member_count; i++) {
        const struct ms_member *m = &self->parts.members[i];
        n += m->net ? ms_net_param_count(m->net) : 0;
        n += ((uint64_t)m->linear.size + 1) * m->linear.outputs + m->trees.node_count;
    }
    return n;
}

const json_t *ms_model_metadata(const struct ms_model *self)
{
    return self->metadata;
}
