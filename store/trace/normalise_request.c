/* From the words of a command line to the options of the normalisation. */
#include "store/trace/normalise_request.h"

#include <string.h>

void ms_normal_request_init(struct ms_normal_request *self)
{
    *self = (struct ms_normal_request){.collapse = MS_NORMAL_UNSET,
                                       .loops = MS_NORMAL_UNSET,
                                       .max_calls = MS_NORMAL_UNSET,
                                       .min_calls = MS_NORMAL_UNSET};
}

static void set_number(uint64_t typed, uint32_t *out)
{
    if (typed != MS_NORMAL_UNSET)
        *out = (uint32_t)typed;
}

static void set_word(const char *typed, const char *yes, bool *out)
{
    if (typed)
        *out = strcmp(typed, yes) == 0;
}

enum ms_status ms_normal_request_apply(const struct ms_normal_request *self,
                                       struct ms_normal_options *options, uint64_t *min_calls,
                                       struct ms_error *err)
{
    if (self->order)
        options->order = strcmp(self->order, "time") == 0 ? MS_ORDER_TIME : MS_ORDER_PROCESS;
    if (self->cut)
        options->cut = strcmp(self->cut, "head") == 0   ? MS_CUT_HEAD
                       : strcmp(self->cut, "tail") == 0 ? MS_CUT_TAIL
                                                        : MS_CUT_MIDDLE;
    set_word(self->pseudo, "keep", &options->keep_pseudo);
    set_word(self->repeated, "expand", &options->expand);
    set_word(self->once, "yes", &options->once);
    set_number(self->collapse, &options->collapse);
    set_number(self->loops, &options->loops);
    set_number(self->max_calls, &options->length);
    if (self->min_calls != MS_NORMAL_UNSET)
        *min_calls = self->min_calls;
    return self->fold ? ms_normal_fold_parse(self->fold, options, err) : MS_OK;
}
