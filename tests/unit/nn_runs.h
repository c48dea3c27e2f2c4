/* Nets made and trained for tests that look at what comes out. */
#ifndef MS_TESTS_NN_RUNS_H
#define MS_TESTS_NN_RUNS_H

#include "train/nn/net.h"

#include <string.h>

static struct ms_net *new_net(const struct ms_net_config *config, unsigned jobs,
                              enum ms_optimizer_kind kind)
{
    struct ms_error err;
    struct ms_net *net = NULL;
    struct ms_optimizer o;
    if (ms_net_new(config, 5, jobs, &net, &err) != MS_OK)
        fail_msg("%s", err.text);
    ms_optimizer_defaults(kind, &o);
    o.clip_norm = 1;
    assert_int_equal(ms_net_set_optimizer(net, &o, &err), MS_OK);
    return net;
}

static void train(struct ms_net *net, const struct ms_net_batch *batch, int steps)
{
    struct ms_error err;
    struct ms_net_result result;
    for (int i = 0; i < steps; i++)
        if (ms_net_train_batch(net, batch, .01, &result, &err) != MS_OK)
            fail_msg("%s", err.text);
}

static void refuse_config(const struct ms_net_config *c, const char *reason)
{
    struct ms_error err = {0};
    struct ms_net *net = NULL;
    assert_int_equal(ms_net_new(c, 1, 1, &net, &err), MS_E_INPUT);
    assert_null(net);
    if (!strstr(err.text, reason))
        fail_msg("'%s' does not say '%s'", err.text, reason);
}

#endif
