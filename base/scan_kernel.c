/* Which kernel a scanner uses, and what the kernels leave to plain code: learning what stands
 * between the values of objects. It reads no values. */
#include "base/scan_kernel.h"

#include "base/scan_private.h"

#include <string.h>

const struct ms_scanner_kernel ms_scanner_bytes = {"bytes", NULL, NULL};
static const struct ms_scanner_kernel *forced;

bool ms_scanner_kernel_can(const struct ms_scanner_kernel *kernel)
{
    if (kernel == &ms_scanner_bytes)
        return true;
#if defined(__x86_64__)
    if (!kernel->skip || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("pclmul") ||
        !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
        return false;
    return kernel != &ms_scanner_avx512 ||
           (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl"));
#else
    return false;
#endif
}

const struct ms_scanner_kernel *ms_scanner_kernel_best(void)
{
    if (forced)
        return forced;
    if (ms_scanner_kernel_can(&ms_scanner_avx512))
        return &ms_scanner_avx512;
    return ms_scanner_kernel_can(&ms_scanner_avx2) ? &ms_scanner_avx2 : &ms_scanner_bytes;
}

void ms_scanner_kernel_force(const struct ms_scanner_kernel *kernel)
{
    forced = kernel;
}

static const uint8_t *past_white(const uint8_t *p, const uint8_t *end)
{
    while (p < end && ms_scanner_is_space(*p))
        p++;
    return p;
}

/* Over `,` and white space to the opening bracket of an array's next object, and over that. */
static const uint8_t *learn_object(const uint8_t *p, const uint8_t *end)
{
    p = past_white(p, end);
    if (p == end || *p != ',')
        return NULL;
    p = past_white(p + 1, end);
    return p < end && *p == '{' ? past_white(p + 1, end) : NULL;
}

/* From a key's opening quote to the value behind it. */
static const uint8_t *learn_key(const uint8_t *p, const uint8_t *end, struct ms_span *key)
{
    if (p == end || *p != '"')
        return NULL;
    const uint8_t *close = ms_scanner_past_plain(p + 1, end);
    if (close == end || *close != '"')
        return NULL;
    *key = ms_span_of(p + 1, (size_t)(close - p - 1));
    p = past_white(close + 1, end);
    return p < end && *p == ':' ? past_white(p + 1, end) : NULL;
}

static uint8_t name_of(const struct ms_scanner_form *self, struct ms_span key)
{
    for (size_t i = 0; i < self->name_count; i++)
        if (self->names[i].len == key.len && memcmp(self->names[i].at, key.data, key.len) == 0)
            return (uint8_t)i;
    return MS_SCAN_FORM_OTHER;
}

/* The node with these bytes, an old one or a new one; 0 when the table is full. */
static uint8_t node_of(struct ms_scanner_form *self, const uint8_t *bytes, size_t len, uint8_t name)
{
    for (size_t i = 1; i < self->node_count; i++)
        if (self->nodes[i].len == len && self->nodes[i].name == name &&
            memcmp(self->nodes[i].bytes, bytes, len) == 0)
            return (uint8_t)i;
    if (self->node_count == MS_SCAN_FORM_NODES) {
        /* A report with that many forms: those of now are worth more than those of once. */
        self->node_count = 1;
        self->nodes[0].next[0] = self->nodes[0].next[1] = 0;
        memset(self->stretches, 0, sizeof self->stretches);
        return 0;
    }
    struct ms_scanner_node *node = &self->nodes[self->node_count];
    *node = (struct ms_scanner_node){
        .mask = UINT64_MAX >> (64 - len), .len = (uint8_t)len, .name = name};
    memcpy(node->bytes, bytes, len);
    return (uint8_t)self->node_count++;
}

uint8_t ms_scanner_form_learn(struct ms_scanner_form *self, uint8_t from, const uint8_t *p,
                              const uint8_t *end)
{
    const uint8_t *begun = p;
    struct ms_span key = {0};
    uint8_t name = MS_SCAN_FORM_END;
    bool first = from == 0, comma = false;
    p = first ? learn_object(p, end) : past_white(p, end);
    if (!first && p < end && *p == ',') {
        comma = true;
        p = past_white(p + 1, end);
    }
    if (!p || p == end)
        return 0;
    if (*p == '}' && !comma) {
        p++;
    } else {
        p = first || comma ? learn_key(p, end, &key) : NULL;
        name = name_of(self, key);
    }
    if (!p || p == end || (size_t)(p - begun) > sizeof self->nodes->bytes)
        return 0;
    uint8_t at = node_of(self, begun, (size_t)(p - begun), name);
    struct ms_scanner_node *behind = &self->nodes[from];
    if (at) {
        behind->next[1] = behind->next[0];
        behind->next[0] = at;
    }
    return at;
}

void ms_scanner_stretch_learn(struct ms_scanner_form *self, uint8_t at, const uint8_t *from,
                              const uint8_t *p, uint8_t target)
{
    /* What is never the same again is not worth a copy for every object. */
    enum { TRIES = 8, PAUSE = 200 };
    struct ms_scanner_stretch *stretch = &self->stretches[at];
    const size_t len = (size_t)(p - from);
    if (stretch->wait) {
        stretch->wait--;
        return;
    }
    if (stretch->score || len > sizeof stretch->bytes)
        return;
    stretch->mask = UINT64_MAX >> (64 - len);
    stretch->len = (uint8_t)len;
    stretch->target = target;
    stretch->replaced++;
    if (stretch->replaced == TRIES) {
        stretch->replaced = 0;
        stretch->wait = PAUSE;
    }
    memcpy(stretch->bytes, from, len);
}
