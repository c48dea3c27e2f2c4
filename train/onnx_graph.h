/* An ONNX graph while it is being put together: values, nodes, constants, and the bytes of the
 * file. Knows the format, nothing of nets. */
#ifndef MS_TRAIN_ONNX_GRAPH_H
#define MS_TRAIN_ONNX_GRAPH_H

#include "base/arena.h"
#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the format's element types those that are used here. */
enum ms_onnx_type { MS_ONNX_FLOAT = 1, MS_ONNX_INT32 = 6, MS_ONNX_INT64 = 7, MS_ONNX_BOOL = 9 };

/* A value is a name; names live as long as the graph. NULL is the value of what failed: every
 * function takes it, gives NULL on, and the failure is told once, by ms_onnx_graph_encode. */
typedef const char *ms_onnx_value;

struct ms_onnx_graph;

/* MS_E_NOMEM. */
enum ms_status ms_onnx_graph_new(struct ms_onnx_graph **out, struct ms_error *err) MS_MUST_USE;
void ms_onnx_graph_free(struct ms_onnx_graph *self);

/* Memory that lives as long as the graph; NULL, and the graph failed, without it. */
void *ms_onnx_take(struct ms_onnx_graph *self, size_t count, size_t size) MS_MUST_USE;

/* A dimension of an input or output: `value`, or when it is 0 any size, known by `name`. */
struct ms_onnx_dim {
    const char *name;
    uint32_t value;
};
/* An input of the graph, or a value that is made its output under `name` by an Identity node. */
ms_onnx_value ms_onnx_input(struct ms_onnx_graph *self, const char *name, enum ms_onnx_type type,
                            const struct ms_onnx_dim *dims, size_t rank, const char *doc);
void ms_onnx_output(struct ms_onnx_graph *self, const char *name, ms_onnx_value value,
                    enum ms_onnx_type type, const struct ms_onnx_dim *dims, size_t rank,
                    const char *doc);

/* A constant; the numbers are borrowed until the graph is freed. `name` is copied, and may not have
 * been given before. */
ms_onnx_value ms_onnx_floats(struct ms_onnx_graph *self, const char *name, const int64_t *dims,
                             size_t rank, const float *data);
/* Constants of a few numbers, copied; count 0 gives a scalar of the first. Named by number. */
ms_onnx_value ms_onnx_int64s(struct ms_onnx_graph *self, const int64_t *data, size_t count);
ms_onnx_value ms_onnx_scalar(struct ms_onnx_graph *self, float value);

/* A node of the operator `op` with `count` inputs ("" leaves an optional one out); gives its first
 * output. Attributes and further outputs belong to the node that was made last. */
ms_onnx_value ms_onnx_node(struct ms_onnx_graph *self, const char *op, const ms_onnx_value *inputs,
                           size_t count);
/* The operator is one of ai.onnx.ml, the set for models that are no nets. */
void ms_onnx_ml(struct ms_onnx_graph *self);
void ms_onnx_attribute_int(struct ms_onnx_graph *self, const char *name, int64_t value);
void ms_onnx_attribute_ints(struct ms_onnx_graph *self, const char *name, const int64_t *values,
                            size_t count);
void ms_onnx_attribute_floats(struct ms_onnx_graph *self, const char *name, const float *values,
                              size_t count);
void ms_onnx_attribute_text(struct ms_onnx_graph *self, const char *name, const char *text);
void ms_onnx_attribute_texts(struct ms_onnx_graph *self, const char *name, const char *const *texts,
                             size_t count);

/* The file: IR version 7, operator set 13 (and ai.onnx.ml 2 where it is used), the members of
 * `metadata` (texts) as its metadata. MS_E_NOMEM; MS_E_LIMIT by out's maximum and where the
 * format's own, 2 GiB, is passed. The same calls give the same bytes. */
enum ms_status ms_onnx_graph_encode(struct ms_onnx_graph *self, const char *name,
                                    const json_t *metadata, struct ms_buf *out,
                                    struct ms_error *err) MS_MUST_USE;

#endif
