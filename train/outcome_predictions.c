/* What the models of a run said of the judged rows, as the file that compare reads. */
#include "train/outcome.h"
#include "train/predictions.h"

#include <stdlib.h>
#include <string.h>

/* Every entry's arrays behind one another. */
static enum ms_status gather(const struct ms_experiment *e, uint32_t classes,
                             struct ms_predictions *p, struct ms_error *err)
{
    size_t n = e->judged_count;
    p->predicted = calloc(n * e->entry_count + 1, sizeof *p->predicted);
    p->scores = calloc(n * e->entry_count * classes + 1, sizeof *p->scores);
    if (!p->predicted || !p->scores)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the predictions");
    for (size_t i = 0; i < e->entry_count; i++) {
        memcpy(p->predicted + i * n, e->entries[i].predicted, n * sizeof *p->predicted);
        memcpy(p->scores + i * n * classes, e->entries[i].scores, n * classes * sizeof *p->scores);
    }
    return MS_OK;
}

enum ms_status ms_outcome_predictions(const struct ms_outcome *self, struct ms_buf *out,
                                      struct ms_error *err)
{
    const struct ms_experiment *e = self->experiment;
    const char *names[MS_ENTRIES_MAX];
    const char **keys = calloc(e->judged_count + 1, sizeof *keys);
    struct ms_predictions p = {.model = self->name,
                               .classes = self->set->classes,
                               .entries = e->entry_count,
                               .repeats = e->partition.repeats,
                               .folds = e->partition.folds,
                               .binary = self->set->binary,
                               .threshold = e->tuning.threshold,
                               .class_names = (const char **)self->set->class_names,
                               .entry_names = names,
                               .count = e->judged_count,
                               .keys = keys,
                               .groups = e->judged_groups,
                               .repeat = e->repeat_of,
                               .fold = e->fold_of,
                               .truth = e->truth};
    memcpy(p.split, e->partition.digest, sizeof p.split);
    for (uint32_t i = 0; i < e->entry_count; i++)
        names[i] = e->entries[i].name;
    for (size_t i = 0; keys && i < e->judged_count; i++)
        keys[i] = self->set->rows[e->judged[i]].key;
    enum ms_status status =
        keys ? gather(e, self->set->classes, &p, err)
             : ms_error_set(err, MS_E_NOMEM, "out of memory for the predictions");
    if (status == MS_OK)
        status = ms_predictions_encode(&p, out, err);
    free(keys);
    free(p.predicted);
    free(p.scores);
    return status;
}
