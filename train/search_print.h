/* The outcome of a search as text and as JSON. */
#ifndef MS_TRAIN_SEARCH_PRINT_H
#define MS_TRAIN_SEARCH_PRINT_H

#include "train/search.h"

#include <jansson.h>

/* What was searched; borrowed. */
struct ms_search_report {
    const struct ms_plan *plan;
    const struct ms_search_request *request;
    const struct ms_dataset *set;
    const struct ms_search *search;
    const char *target, *settings;
};

/* As schemas/train-search.schema.json says. New reference; NULL without memory. */
json_t *ms_search_json(const struct ms_search_report *report) MS_MUST_USE;
/* On standard output. */
void ms_search_show(const struct ms_search_report *report);

#endif
