/* Reads a model, writes its ONNX file, says what the file's inputs are. The conversion is in
 * onnx.c. */
#include "train/onnx_command.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "train/model.h"
#include "train/onnx.h"

#include <stdio.h>
#include <stdlib.h>

/* Names and shapes of what the file reads, as onnx.h describes them. */
static void describe(const struct ms_onnx_inputs *all, json_t *inputs)
{
    const struct ms_net_config *c = &all->net;
    const json_int_t steps = c->mask_padding ? 0 : (json_int_t)c->pad_length;
    json_t *any = json_string("steps");
    json_t *length = steps ? json_integer(steps) : json_incref(any);
    if (all->steps)
        (void)json_object_set_new(inputs, "tokens", json_pack("[s, O]", "batch", length));
    if (all->steps && c->mask_padding)
        (void)json_object_set_new(inputs, "lengths", json_pack("[s]", "batch"));
    for (uint32_t i = 0; i < c->feature_count; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "feature%u", i);
        (void)json_object_set_new(inputs, name, json_pack("[s, O]", "batch", length));
    }
    if (all->wide)
        (void)json_object_set_new(inputs, "wide",
                                  json_pack("[s, I]", "batch", (json_int_t)all->wide));
    json_decref(length);
    json_decref(any);
}

static enum ms_status write_file(const char *path, const struct ms_buf *bytes, struct ms_error *err)
{
    struct ms_file_stream stream;
    enum ms_status status = ms_file_stream_open(path, 0666, &stream, err);
    if (status != MS_OK)
        return status;
    if (fwrite(bytes->data, 1, bytes->len, stream.file) != bytes->len) {
        ms_file_stream_abort(&stream);
        char shown[256];
        return ms_error_set(err, MS_E_IO, "cannot write '%s'",
                            ms_escape_text(path, shown, sizeof shown));
    }
    return ms_file_stream_commit(&stream, err);
}

static enum ms_status print_result(const struct ms_cli *cli, const char *output, size_t bytes,
                                   const struct ms_onnx_request *request,
                                   const struct ms_onnx_inputs *all, struct ms_error *err)
{
    json_t *inputs = json_object();
    json_int_t of[MS_MEMBER_SHARES + 1] = {0};
    for (size_t i = 0; i < request->count; i++)
        of[request->members[i].kind]++;
    describe(all, inputs);
    if (cli->common.json)
        return ms_json_line(stdout,
                            json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:[s, I]}", "output",
                                      ms_json_text(output), "bytes", (json_int_t)bytes, "nets",
                                      of[MS_MEMBER_NET], "linear", of[MS_MEMBER_LINEAR], "boosted",
                                      of[MS_MEMBER_TREES], "inputs", inputs, "scores", "batch",
                                      (json_int_t)request->classes),
                            err);
    char shown[4096];
    const char *name;
    json_t *shape;
    (void)printf("%s  %zu bytes\n", ms_escape_text(output, shown, sizeof shown), bytes);
    json_object_foreach(inputs, name, shape)
    {
        char *text = json_dumps(shape, JSON_COMPACT | JSON_ENCODE_ANY);
        (void)printf("  in   %-9s %s\n", name, text ? text : "");
        free(text);
    }
    (void)printf("  out  %-9s [\"batch\",%u]\n", "scores", request->classes);
    json_decref(inputs);
    return MS_OK;
}

enum ms_status ms_onnx_run(struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_onnx_options *o = cli->options;
    if (!o->output)
        return ms_error_set(err, MS_E_USAGE, "--output FILE says where to write it");
    struct ms_model *model;
    enum ms_status status = ms_model_open(cli->operands[0], 1, &model, err);
    if (status != MS_OK)
        return status;
    const struct ms_model_parts *parts = ms_model_parts_get(model);
    const struct ms_onnx_request request = {parts->members, parts->member_count, parts->classes,
                                            ms_model_metadata(model)};
    struct ms_onnx_inputs inputs;
    struct ms_buf bytes;
    ms_buf_init(&bytes, MS_LIMIT_MODEL_BYTES);
    status = ms_onnx_inputs(&request, &inputs, err);
    if (status == MS_OK)
        status = ms_onnx_encode(&request, &bytes, err);
    if (status == MS_OK && !cli->common.dry_run)
        status = write_file(o->output, &bytes, err);
    if (status == MS_OK)
        status = print_result(cli, o->output, bytes.len, &request, &inputs, err);
    ms_buf_release(&bytes);
    ms_model_free(model);
    return status;
}
