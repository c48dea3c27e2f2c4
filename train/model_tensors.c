/* The numbers of a model as named tensors, in the order of its file. */
#include "train/model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ms_model_tensors_release(struct ms_model_tensors *self)
{
    free(self->list);
    *self = (struct ms_model_tensors){0};
}

void ms_model_tensors_add(struct ms_model_tensors *self, const struct ms_model_tensor *tensor)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 64;
        struct ms_model_tensor *list = realloc(self->list, capacity * sizeof *list);
        if (!list) {
            self->failed = true;
            return;
        }
        self->list = list;
        self->capacity = capacity;
    }
    self->list[self->count++] = *tensor;
}

static void add(struct ms_model_tensors *self, const char *prefix, const char *name, bool whole,
                uint64_t rows, uint64_t columns, void *data)
{
    struct ms_model_tensor t = {.whole = whole, .rows = rows, .columns = columns, .data = data};
    (void)snprintf(t.name, sizeof t.name, "%s%s", prefix, name);
    ms_model_tensors_add(self, &t);
}

static bool is_bias(const struct ms_net_tensor *t)
{
    size_t n = strlen(t->name);
    return t->rows == 1 && n >= 5 && strcmp(t->name + n - 5, ".bias") == 0;
}

static void add_net(struct ms_model_tensors *self, const char *prefix, struct ms_net *net)
{
    size_t count;
    const struct ms_net_tensor *tensors = ms_net_tensors(net, &count);
    for (size_t i = 0; i < count; i++)
        add(self, prefix, tensors[i].name, false, is_bias(&tensors[i]) ? 0 : tensors[i].rows,
            tensors[i].columns, ms_net_params(net) + tensors[i].offset);
}

static void add_trees(struct ms_model_tensors *self, const char *prefix, const struct ms_trees *t)
{
    add(self, prefix, "trees.start", true, 0, (uint64_t)t->tree_count + 1, t->start);
    add(self, prefix, "trees.output", true, 0, t->tree_count, t->output);
    add(self, prefix, "trees.feature", true, 0, t->node_count, t->feature);
    add(self, prefix, "trees.right", true, 0, t->node_count, t->right);
    add(self, prefix, "trees.absent", true, 0, t->node_count, t->absent);
    add(self, prefix, "trees.value", false, 0, t->node_count, t->value);
}

void ms_model_tensors_members(struct ms_model_tensors *self, const struct ms_model_parts *parts)
{
    for (uint32_t i = 0; i < parts->member_count; i++) {
        const struct ms_member *m = &parts->members[i];
        char prefix[24] = "";
        if (parts->member_count > 1)
            (void)snprintf(prefix, sizeof prefix, "member%u.", i);
        if (m->kind == MS_MEMBER_NET)
            add_net(self, prefix, m->net);
        else if (m->kind == MS_MEMBER_TREES)
            add_trees(self, prefix, &m->trees);
        else if (m->kind == MS_MEMBER_LINEAR) {
            add(self, prefix, "linear.kernel", false, m->linear.size, m->linear.outputs,
                m->linear.kernel);
            add(self, prefix, "linear.bias", false, 0, m->linear.outputs, m->linear.bias);
        }
    }
}

void ms_model_tensors_ngrams(struct ms_model_tensors *self, uint64_t size, int32_t *calls,
                             float *weights)
{
    if (size == 0)
        return;
    add(self, "", "ngrams.calls", true, size, MS_GRAM_MOST, calls);
    add(self, "", "ngrams.weight", false, 0, size, weights);
}

size_t ms_model_tensor_bytes(const struct ms_model_tensor *self)
{
    return (size_t)((self->rows ? self->rows : 1) * self->columns * 4);
}

json_t *ms_model_tensor_shape(const struct ms_model_tensor *self)
{
    return self->rows ? json_pack("[II]", (json_int_t)self->rows, (json_int_t)self->columns)
                      : json_pack("[I]", (json_int_t)self->columns);
}
