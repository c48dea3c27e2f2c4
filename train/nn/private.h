/* What the files of the net share. Not for others.
 *
 * Legend of dimension letters:
 *
 *     B  rows (sequences) of one pass        T  steps of the longest
 *     N  packed rows: sum of the lengths     V  vocabulary
 *     E  embedding                           H  hidden units a direction
 *     D  directions, 1 or 2                  I  width of a layer's input
 *     W  width of a layer's output           P  width after pooling
 *     U  distinct embedding rows of a pass   C  outputs
 *     F  feature tables                      A  units of attention
 *     G  columns of all gates: 4H or 3H
 *
 * Matrices are row-major. */
#ifndef MS_TRAIN_NN_PRIVATE_H
#define MS_TRAIN_NN_PRIVATE_H

#include "train/nn/kernel.h"
#include "train/nn/net.h"
#include "train/nn/packed.h"
#include "train/nn/workers.h"

/* Gradients are summed over shards in this fixed number at most, whatever the number of threads. */
enum {
    MS_NET_SHARDS = 8,
    /* embedding, features, wide kernel: of a batch few rows matter */
    MS_NET_TABLES = 1 + MS_LIMIT_NET_FEATURES + 1,
    /* and recurrent layers, attention, wide bias, dense layers, output */
    MS_NET_TENSORS =
        MS_NET_TABLES + MS_LIMIT_NET_RECURRENT * 6 + 3 + 1 + MS_LIMIT_NET_DENSES * 2 + 2
};

/* Memory of one thread, handed out piece by piece and taken back as a whole; grows to what a pass
 * needs and stays. */
struct ms_scratch_block;
struct ms_scratch {
    struct ms_scratch_block *head;
    size_t used_bytes;  /* of the head */
    size_t total_bytes; /* handed out since the reset */
    bool failed;
};
void ms_scratch_release(struct ms_scratch *self);
void ms_scratch_reset(struct ms_scratch *self);
/* count elements of size bytes, not zeroed, 64-byte aligned. Never NULL-checked one by one: after a
 * failure `failed` is set and the result is NULL. */
void *ms_scratch_take(struct ms_scratch *self, size_t count, size_t size);
ms_real *ms_scratch_reals(struct ms_scratch *self, size_t count);

/* Sums of one shard of the batch. */
struct ms_shard {
    ms_real *grads;          /* parameter block; rows of the tables are valid where touched */
    uint8_t *touched;        /* ms_net.table_rows */
    ms_real *d_projected[2]; /* V x G a direction: gradients of ms_shared.projected */
    double loss;
    size_t correct;
    enum ms_status status;
};

enum { MS_KERNEL = 0, MS_RECURRENT = 1, MS_BIAS = 2, MS_ATTENTION_VECTOR = 2 };

/* A tensor whose rows are looked up. The tables lie at the start of the parameter block. */
struct ms_table {
    size_t offset, rows, columns;
    size_t first; /* number of its row 0 among the rows of all tables */
};

/* See shared.c. */
struct ms_shared {
    bool on;               /* for this batch */
    ms_real *projected[2]; /* V x G a direction */
    size_t shards;
};

enum ms_init { MS_INIT_ZERO = 0, MS_INIT_GLOROT, MS_INIT_UNIFORM, MS_INIT_NORMAL };

struct ms_net {
    struct ms_net_config config;
    uint64_t seed;
    unsigned jobs;
    const struct ms_kernels *kernels;
    size_t param_count;
    size_t tensor_count;
    struct ms_net_tensor tensor[MS_NET_TENSORS];
    enum ms_init init[MS_NET_TENSORS];
    double init_scale[MS_NET_TENSORS]; /* of uniform and normal */
    size_t table_count;                /* embedding, features, wide kernel if there is one */
    struct ms_table table[MS_NET_TABLES];
    size_t table_rows;                                 /* of all tables */
    size_t tables_end;                                 /* elements of the block that are tables */
    size_t recurrent_at[MS_LIMIT_NET_RECURRENT][2][3]; /* layer, direction, MS_KERNEL.. : offsets */
    size_t dense_at[MS_LIMIT_NET_DENSES + 1][2]; /* the last one used is the output; kernel, bias */
    size_t attention_at[3];                      /* kernel, bias, vector */
    size_t wide_at[2];                           /* kernel, bias */
    ms_real *params, *grads, *moment1, *moment2; /* blocks */
    bool placed;                                 /* params is borrowed, and there are no grads */
    struct ms_optimizer optimizer;
    bool has_optimizer;
    uint64_t step;
    struct ms_workers *workers;
    struct ms_scratch *scratch; /* jobs */
    struct ms_shard shard[MS_NET_SHARDS];
    struct ms_shared shared;
    uint64_t *sorted; /* rows of a batch, longest first: falling length and row in one key */
    uint32_t *order;  /* the same rows as dealt to shards or passes */
    size_t order_capacity;
    double *chunk_square;              /* sum of squares of each chunk of the gradient block */
    uint8_t *touched, *touched_before; /* table_rows: by any shard of this batch; of the last, whose
                                          gradients are still in the block */
};

/* The rows of one pass, sorted by falling length and packed by time: step t of all sequences that
 * reach it is a block of active[t] rows at offset[t], so that a sequence keeps its row number and
 * the batch shrinks as sequences end. */
struct ms_pack {
    size_t rows, steps, total; /* B, T, N */
    const uint32_t *row;       /* B  number in the caller's batch */
    uint32_t *length;          /* B */
    uint32_t *active;          /* T */
    size_t *offset;            /* T + 1 */
    uint32_t *slot;            /* N  which distinct embedding row each packed row shows */
    size_t distinct;           /* U */
    uint32_t *distinct_token;  /* U */
    uint32_t *distinct_row;    /* U  whose dropout mask applies */
    int32_t *distinct_feature; /* U x F */
};

struct ms_recurrent_side {
    ms_real *gates;     /* N x G */
    ms_real *candidate; /* N x H, GRU: the candidate's recurrent product and bias */
    ms_real *cell;      /* N x H, LSTM */
    ms_real *cell_act;  /* N x H, LSTM */
    ms_real
        *hidden_prev; /* N x H  h of the step before, times the recurrent mask; 0 at the start */
    ms_real *mask;    /* B x H or NULL */
    /* First layer: the projections of the distinct rows, which its steps start from
     * instead of `gates`, and their gradient. NULL elsewhere. */
    const ms_real *projected; /* U x G */
    ms_real *d_projected;     /* U x G */
};

struct ms_recurrent_layer {
    size_t in, hidden, width; /* I, H, W = D H */
    size_t gates;             /* G / H: 4 for an LSTM, 3 for a GRU */
    const ms_real *input;     /* N x I, after dropout; U x E for the first layer */
    ms_real *mask;            /* B x I or NULL; the first layer's is in ms_pass.mask */
    ms_real *output;          /* N x W */
    struct ms_recurrent_side side[2];
};

struct ms_dense_layer {
    size_t in, units;
    enum ms_net_activation activation;
    const ms_real *input; /* B x in */
    ms_real *active;      /* B x units, before dropout */
    ms_real *mask;        /* B x units or NULL */
    ms_real *output;      /* B x units */
};

struct ms_wide_pass {
    size_t *start;   /* B + 1: where each sequence's entries begin */
    uint32_t *ids;   /* those that dropout left */
    ms_real *values; /* of them, scaled up */
    ms_real *active; /* B x units, before dropout */
    ms_real *mask;   /* B x units or NULL */
    ms_real *output; /* B x units */
};

/* One forward (and backward) computation over some rows of a batch. */
struct ms_pass {
    struct ms_net *net;
    const struct ms_net_batch *batch;
    struct ms_scratch *scratch;
    struct ms_shard *shard; /* NULL: prediction */
    bool dropout;
    uint64_t mask_step;
    struct ms_pack pack;
    ms_real *mask;     /* B x E  spatial and input dropout of the first layer, or NULL */
    ms_real *distinct; /* U x E  embedding rows, masked */
    struct ms_recurrent_layer recurrent[MS_LIMIT_NET_RECURRENT];
    const ms_real *features; /* N x W  what is pooled */
    uint32_t *max_at;        /* B x W  packed row of the largest */
    ms_real *pooled;         /* B x P */
    ms_real *pool_mask;      /* B x P or NULL */
    const ms_real *d_last;   /* B x W  gradient of the last states, where nothing else is pooled */
    ms_real *attention;      /* N x A  tanh(h W + b) */
    ms_real *attention_weight; /* N */
    struct ms_wide_pass wide;
    ms_real *joined; /* B x (P + units of the wide branch); pooled without one */
    struct ms_dense_layer dense[MS_LIMIT_NET_DENSES + 1];
    ms_real *zeros; /* three times the largest H, zeros */
};

/* C = A B + beta C and its transposed forms, single-threaded, beta 0 or 1; any of the sizes may be
 * 0. A is m x k, B is k x n after transposition. */
void ms_gemm(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
             size_t ldb, ms_real beta, ms_real *c, size_t ldc);
void ms_gemm_ta(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
                size_t ldb, ms_real beta, ms_real *c, size_t ldc); /* A stored k x m */
void ms_gemm_tb(size_t m, size_t n, size_t k, const ms_real *a, size_t lda, const ms_real *b,
                size_t ldb, ms_real beta, ms_real *c, size_t ldc); /* B stored n x k */

/* Where a dropout mask applies; each has its own random stream a row and step. */
enum {
    MS_SITE_SPATIAL = 0,
    MS_SITE_POOL = 1,
    MS_SITE_WIDE_INPUT = 2,
    MS_SITE_WIDE = 3,
    MS_SITE_INPUT = 16,     /* + layer */
    MS_SITE_RECURRENT = 32, /* + 2 layer + direction */
    MS_SITE_DENSE = 64      /* + layer */
};
/* B x n: each element 0 with probability rate, else 1 / (1 - rate); NULL when the pass has no
 * dropout or rate is 0. */
ms_real *ms_mask_new(struct ms_pass *p, unsigned site, double rate, size_t n);
/* The same for row b of the pass alone. */
void ms_mask_fill(const struct ms_pass *p, unsigned site, double rate, size_t b, size_t n,
                  ms_real *out);
/* rows of `tensor` (packed, N x n) times the mask of their sequence; out may be the tensor. */
void ms_mask_apply_packed(const struct ms_pass *p, const ms_real *mask, size_t n,
                          const ms_real *tensor, ms_real *out);

/* A row of the shard's gradient of a table, zeros the first time. */
ms_real *ms_table_grad(const struct ms_net *net, struct ms_shard *shard, size_t table, size_t row);
/* Before the sums: finds the rows that any of the shards touched. */
void ms_table_mark(struct ms_net *net, size_t shards);
/* Sums elements [from, to) of the tables over the shards into the gradient block; false: all are
 * zero. */
bool ms_table_sum(struct ms_net *net, size_t shards, size_t from, size_t to);

enum ms_status ms_batch_check(const struct ms_net *self, const struct ms_net_batch *batch,
                              bool labelled, struct ms_error *err) MS_MUST_USE;

/* Each returns false when the scratch is spent. */
bool ms_pack_build(struct ms_pass *p, const uint32_t *rows, size_t count, bool by_row);
uint32_t ms_pack_length(const struct ms_net_config *config, const struct ms_net_batch *batch,
                        size_t row);
/* Before the passes of a batch of so many steps (shards 0: of a prediction), in each shard before
 * its passes, in each pass behind ms_pack_build if ms_shared.on, and behind all passes. */
void ms_shared_begin(struct ms_net *net, size_t steps, size_t passes, size_t shards, bool dropout);
void ms_shared_clear(struct ms_net *net, struct ms_shard *shard);
void ms_shared_pack(struct ms_pass *p);
void ms_shared_finish(struct ms_net *net, size_t shards);
void ms_shared_free(struct ms_net *net);
bool ms_embed_forward(struct ms_pass *p);
bool ms_embed_backward(struct ms_pass *p, const ms_real *d_distinct);
/* Rows of a chunk of the sum of a recurrent kernel's gradient: with the sum itself it fits the
 * second cache. */
enum { MS_RECURRENT_SUM_ROWS = 64 };
bool ms_recurrent_forward(struct ms_pass *p, uint32_t layer);
/* d_output N x W, or NULL: ms_pass.d_last is the gradient of the sequences' last states, and there
 * is none of the others; d_input N x I (U x E for the first layer), overwritten. */
bool ms_recurrent_backward(struct ms_pass *p, uint32_t layer, const ms_real *d_output,
                           ms_real *d_input);
/* The step that a direction computes as number s of T. */
size_t ms_recurrent_step(const struct ms_pack *k, int direction, size_t s);
/* The step before t in the direction, and how many of t's rows were alive then: forward all of
 * them, backward only those whose sequence goes on after t. */
size_t ms_recurrent_before(const struct ms_pack *k, int direction, size_t t, size_t *before);
/* hidden_prev of step t: the outputs of the step before times the recurrent mask; zeros for rows
 * that start here. */
void ms_recurrent_take_hidden(struct ms_pass *p, struct ms_recurrent_layer *l, int direction,
                              size_t t, size_t before, size_t with_previous);
/* The hidden states of the step before that step t multiplies with U: those of ms_recurrent_before,
 * a stride apart. With a recurrent mask they are in hidden_prev, taken there by the call above,
 * without one they are read where they are. */
const ms_real *ms_recurrent_hidden(const struct ms_pass *p, const struct ms_recurrent_layer *l,
                                   int direction, size_t t, size_t before, size_t *stride);
/* dL/dh (B x H) behind the last computed step of each sequence: zeros, or what ms_pass.d_last says.
 */
void ms_recurrent_start_back(const struct ms_pass *p, const struct ms_recurrent_layer *l,
                             int direction, const ms_real *d_output, ms_real *d_hidden);
/* One direction of a layer whose gates hold the projected input; and back from the last computed
 * step to the first, leaving the gradient of the projection in place of the gates. */
bool ms_lstm_forward_side(struct ms_pass *p, uint32_t layer, int direction);
bool ms_lstm_backward_side(struct ms_pass *p, uint32_t layer, int direction,
                           const ms_real *d_output);
bool ms_gru_forward_side(struct ms_pass *p, uint32_t layer, int direction);
bool ms_gru_backward_side(struct ms_pass *p, uint32_t layer, int direction,
                          const ms_real *d_output);
bool ms_pool_forward(struct ms_pass *p);
/* d_pooled B x P is spoilt; d_features N x W, overwritten; NULL: d_pooled becomes ms_pass.d_last.
 */
bool ms_pool_backward(struct ms_pass *p, ms_real *d_pooled, ms_real *d_features);
/* Added to zeroed p->pooled, and to d_features. */
bool ms_attention_forward(struct ms_pass *p);
bool ms_attention_backward(struct ms_pass *p, const ms_real *d_pooled, ms_real *d_features);
/* The wide branch, and its output behind the pooled vector; only with a branch: back. */
bool ms_join_forward(struct ms_pass *p);
bool ms_join_backward(struct ms_pass *p, const ms_real *d_joined, ms_real *d_pooled);
bool ms_dense_forward(struct ms_pass *p);
/* d_logits B x C in, d_joined B x (P + units of the wide branch) out. */
bool ms_dense_backward(struct ms_pass *p, ms_real *d_logits, ms_real *d_joined);
/* Loss and decisions of the pass added to the shard; d_logits B x C. */
void ms_head_loss(struct ms_pass *p, ms_real *d_logits);
/* logits B x C to outputs: rows of the caller's batch. */
void ms_head_outputs(struct ms_pass *p, ms_real *outputs);

/* Forward, and with a shard loss and backward, over `count` rows of the batch. */
enum ms_status ms_pass_run(struct ms_pass *p, const uint32_t *rows, size_t count, ms_real *outputs);

/* Draws every parameter of a blank net. */
enum ms_status ms_net_init_params(struct ms_net *self, struct ms_error *err) MS_MUST_USE;

#endif
