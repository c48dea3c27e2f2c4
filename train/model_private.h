/* What the files of the model share. Not for others. */
#ifndef MS_TRAIN_MODEL_PRIVATE_H
#define MS_TRAIN_MODEL_PRIVATE_H

#include "train/model.h"

#include <jansson.h>

/* Of the file; raised whenever an older one would be read wrongly. */
#define MS_MODEL_FORMAT "malseq-model-2"

/* The tensors of a file, in memory that nobody else can write to, aligned for any number. */
struct ms_model_data {
    uint8_t *at;
    size_t len;
    bool *doubtful; /* each piece of the bytes: something in it would as F32 not be finite */
};
/* Not zeroed; no piece is in doubt yet. MS_E_NOMEM. */
enum ms_status ms_model_data_make(size_t len, struct ms_model_data *out,
                                  struct ms_error *err) MS_MUST_USE;
void ms_model_data_release(struct ms_model_data *self);
/* Where piece number i is; false behind the last. And a look at it, best while it is in the cache.
 */
bool ms_model_data_piece(const struct ms_model_data *self, size_t i, size_t *from, size_t *bytes);
void ms_model_data_look(struct ms_model_data *self, size_t i);
/* After all pieces were looked at: F32 at [from, from + bytes), which is within. */
bool ms_model_data_finite(const struct ms_model_data *self, size_t from, size_t bytes);

struct ms_model {
    struct ms_model_parts parts;
    struct ms_model_data data; /* nets that were read from a file compute with it in place */
    struct ms_model_facts facts;
    json_t *metadata; /* owns the facts' texts; NULL unless read from a file */
    json_t *classes;
    const char **class_names;
};

/* A tensor of a model file, and where its numbers are in memory. */
struct ms_model_tensor {
    char name[64];
    bool whole;       /* I32 instead of F32 */
    uint64_t rows;    /* 0: one dimension */
    uint64_t columns; /* over 0 */
    void *data;       /* borrowed */
};
struct ms_model_tensors {
    struct ms_model_tensor *list;
    size_t count, capacity;
    bool failed;
};
void ms_model_tensors_release(struct ms_model_tensors *self);
void ms_model_tensors_add(struct ms_model_tensors *self, const struct ms_model_tensor *tensor);
/* Those of the members; the n-grams' two are the caller's, who has or has not the numbers yet. */
void ms_model_tensors_members(struct ms_model_tensors *self, const struct ms_model_parts *parts);
void ms_model_tensors_ngrams(struct ms_model_tensors *self, uint64_t size, int32_t *calls,
                             float *weights);
size_t ms_model_tensor_bytes(const struct ms_model_tensor *self);
/* Its "shape"; new reference. */
json_t *ms_model_tensor_shape(const struct ms_model_tensor *self);

/* The three steps of reading a file: the length that its first 8 bytes give, of which `left` follow
 * in the file; the header, of which the facts are known then (*header is the caller's, also when it
 * fails); and, with m->data in place, the rest. */
enum ms_status ms_model_header_check(uint64_t length, uint64_t left,
                                     struct ms_error *err) MS_MUST_USE;
enum ms_status ms_model_read_header(struct ms_model *m, struct ms_span text, json_t **header,
                                    struct ms_error *err) MS_MUST_USE;
enum ms_status ms_model_read_numbers(struct ms_model *m, const json_t *header, unsigned jobs,
                                     struct ms_error *err) MS_MUST_USE;

/* Whether the members fit the classes and the inputs. */
enum ms_status ms_model_parts_check(const struct ms_model_parts *self,
                                    struct ms_error *err) MS_MUST_USE;

#endif
