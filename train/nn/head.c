/* Losses, their gradients, decisions and probabilities, in double whatever the net's number type.
 */
#include "train/nn/private.h"

#include <math.h>

static const ms_real *logits_of(const struct ms_pass *p)
{
    return p->dense[p->net->config.dense_count].output;
}

static double sigmoid(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static uint32_t largest(const ms_real *z, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (z[i] > z[best])
            best = i;
    return best;
}

/* log sum exp z, without overflow */
static double log_sum(const ms_real *z, uint32_t n)
{
    double top = (double)z[largest(z, n)];
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)z[i] - top);
    return top + log(sum);
}

/* L = w (y - t)^2, dL/dy = 2 w (y - t) */
static double mse_row(double y, int32_t label, double w, ms_real *d, double scale)
{
    double e = y - (double)label;
    d[0] = (ms_real)(2 * w * e * scale);
    return w * e * e;
}

/* L = w (max(z, 0) - z t + log(1 + e^-|z|)), dL/dz = w (sigmoid(z) - t) */
static double sigmoid_row(double z, double target, double w, ms_real *d, double scale)
{
    d[0] = (ms_real)(w * (sigmoid(z) - target) * scale);
    return w * ((z > 0 ? z : 0) - z * target + log1p(exp(-fabs(z))));
}

/* t_k = (1-e) [k = label] + e/C; L = w (log sum exp z - sum t_k z_k), dL/dz_k = w (softmax_k - t_k)
 */
static double softmax_row(const ms_real *z, uint32_t C, int32_t label, double smoothing, double w,
                          ms_real *d, double scale)
{
    double total = log_sum(z, C);
    double dot = 0;
    for (uint32_t i = 0; i < C; i++) {
        double t = smoothing / C + (i == (uint32_t)label ? 1 - smoothing : 0);
        dot += t * (double)z[i];
        d[i] = (ms_real)(w * (exp((double)z[i] - total) - t) * scale);
    }
    return w * (total - dot);
}

void ms_head_loss(struct ms_pass *p, ms_real *d_logits)
{
    const struct ms_net_config *c = &p->net->config;
    const uint32_t C = c->outputs;
    const ms_real *logits = logits_of(p);
    const double scale = 1 / (double)p->batch->rows;
    for (size_t b = 0; b < p->pack.rows; b++) {
        const ms_real *z = logits + b * C;
        ms_real *d = d_logits + b * C;
        int32_t label = p->batch->labels[p->pack.row[b]];
        double w = c->class_weight[label] > 0 ? c->class_weight[label] : 1;
        double loss = 0;
        int32_t decision = 0;
        switch (c->head) {
        case MS_NET_HEAD_MSE:
            loss = mse_row((double)z[0], label, w, d, scale);
            decision = z[0] > (ms_real).5;
            break;
        case MS_NET_HEAD_SIGMOID: {
            double target = (1 - c->label_smoothing) * (double)label + c->label_smoothing / 2;
            loss = sigmoid_row((double)z[0], target, w, d, scale);
            decision = z[0] > 0;
            break;
        }
        case MS_NET_HEAD_SOFTMAX:
            loss = softmax_row(z, C, label, c->label_smoothing, w, d, scale);
            decision = (int32_t)largest(z, C);
            break;
        }
        p->shard->loss += loss * scale;
        p->shard->correct += decision == label;
    }
}

void ms_head_outputs(struct ms_pass *p, ms_real *outputs)
{
    const struct ms_net_config *c = &p->net->config;
    const uint32_t C = c->outputs;
    const ms_real *logits = logits_of(p);
    for (size_t b = 0; b < p->pack.rows; b++) {
        const ms_real *z = logits + b * C;
        ms_real *out = outputs + (size_t)p->pack.row[b] * C;
        if (c->head == MS_NET_HEAD_MSE) {
            out[0] = z[0];
        } else if (c->head == MS_NET_HEAD_SIGMOID) {
            out[0] = (ms_real)sigmoid((double)z[0]);
        } else {
            double total = log_sum(z, C);
            for (uint32_t i = 0; i < C; i++)
                out[i] = (ms_real)exp((double)z[i] - total);
        }
    }
}
