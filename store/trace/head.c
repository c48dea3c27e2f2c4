/* The head of an encoded trace: counts, dictionary, list of blocks; and the check sum. It unpacks
 * nothing. */
#include "store/trace/block.h"

#include <string.h>

enum ms_status ms_trace_damaged(struct ms_error *err, const char *what)
{
    return ms_error_set(err, MS_REJECT, "damaged trace: %s", what);
}

uint32_t ms_block_sum(const uint8_t *bytes, size_t n)
{
    const uint64_t odd = 0x9e3779b97f4a7c15U;
    uint64_t sum = (n + 1) * odd;
    for (size_t at = 0; at < n; at += 8) {
        uint64_t word = 0;
        if (n - at >= 8)
            memcpy(&word, bytes + at, 8);
        else
            memcpy(&word, bytes + at, n - at);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        sum = (sum ^ word) * odd;
        sum ^= sum >> 29;
    }
    return (uint32_t)(sum >> 32);
}

enum ms_status ms_head_take(struct ms_span *rest, uint8_t *version, struct ms_trace_head *out,
                            struct ms_error *err)
{
    uint64_t apis;
    if (!ms_span_take_u8(rest, version) || !ms_span_take_varint(rest, &out->calls) ||
        !ms_span_take_varint(rest, &out->expanded) || !ms_span_take_varint(rest, &apis))
        return ms_trace_damaged(err, "its head is cut short");
    if (*version < 1 || *version > MS_TRACE_VERSION)
        return ms_trace_damaged(err, "it has an unknown version");
    if (out->calls > MS_LIMIT_CALLS || apis > MS_TRACE_APIS || apis > out->calls ||
        out->expanded < out->calls || (out->calls && !apis) || (!out->calls && out->expanded))
        return ms_trace_damaged(err, "its counts are out of range");
    out->apis = (uint32_t)apis;
    return MS_OK;
}

bool ms_head_take_api(struct ms_span *rest, uint32_t *out)
{
    uint64_t id;
    if (!ms_span_take_varint(rest, &id) || id > UINT32_MAX)
        return false;
    *out = (uint32_t)id;
    return true;
}

bool ms_index_take(struct ms_span *index, size_t *calls, uint64_t *bytes)
{
    uint64_t n;
    if (!ms_span_take_varint(index, &n) || !ms_span_take_varint(index, bytes) || n < 1 ||
        n > MS_TRACE_BLOCK)
        return false;
    *calls = (size_t)n;
    return true;
}

enum ms_status ms_head_take_index(struct ms_span *rest, const struct ms_trace_head *head,
                                  struct ms_span *index, uint64_t *bytes, struct ms_error *err)
{
    uint64_t count = 0, calls = 0;
    *bytes = 0;
    *index = ms_span_of(rest->data, 0);
    if (!head->calls)
        return MS_OK;
    if (!ms_span_take_varint(rest, &count) || count > head->calls)
        return ms_trace_damaged(err, "its list of blocks is out of range");
    const struct ms_span begin = *rest;
    for (uint64_t i = 0; i < count; i++) {
        size_t n;
        uint64_t length;
        if (!ms_index_take(rest, &n, &length) || !ms_add_u64(*bytes, length, bytes))
            return ms_trace_damaged(err, "its list of blocks is damaged");
        calls += n;
    }
    *index = ms_span_of(begin.data, begin.len - rest->len);
    return calls == head->calls ? MS_OK
                                : ms_trace_damaged(err, "its blocks do not hold all of its calls");
}

enum ms_status ms_trace_head_read(struct ms_span blob, struct ms_trace_head *out,
                                  struct ms_error *err)
{
    uint8_t version;
    return ms_head_take(&blob, &version, out, err);
}

enum ms_status ms_trace_head_check(struct ms_span head, uint64_t block_bytes,
                                   struct ms_trace_head *out, struct ms_error *err)
{
    uint8_t version;
    uint32_t id;
    uint64_t bytes = 0;
    struct ms_span index;
    enum ms_status status = ms_head_take(&head, &version, out, err);
    if (status != MS_OK)
        return status;
    if (version != MS_TRACE_VERSION)
        return ms_trace_damaged(err, "it has an unknown version");
    for (uint32_t i = 0; i < out->apis; i++)
        if (!ms_head_take_api(&head, &id))
            return ms_trace_damaged(err, "its dictionary is cut short");
    status = ms_head_take_index(&head, out, &index, &bytes, err);
    if (status == MS_OK && (head.len || bytes != block_bytes))
        return ms_trace_damaged(err, "its blocks have another length");
    return status;
}

enum ms_status ms_trace_mentions(struct ms_span blob, const uint32_t *ids, size_t count,
                                 bool *found, struct ms_error *err)
{
    struct ms_trace_head head;
    uint8_t version;
    enum ms_status status = ms_head_take(&blob, &version, &head, err);
    *found = false;
    for (uint32_t i = 0; status == MS_OK && i < head.apis && !*found; i++) {
        uint32_t id;
        if (!ms_head_take_api(&blob, &id))
            return ms_trace_damaged(err, "its dictionary is cut short");
        for (size_t k = 0; k < count; k++)
            *found = *found || ids[k] == id;
    }
    return status;
}

enum ms_status ms_trace_remap(struct ms_span blob, const uint32_t *ids, size_t count,
                              struct ms_buf *out, struct ms_error *err)
{
    struct ms_trace_head head;
    uint8_t version;
    enum ms_status status = ms_head_take(&blob, &version, &head, err);
    if (status != MS_OK)
        return status;
    ms_buf_append_byte(out, version);
    ms_buf_append_varint(out, head.calls);
    ms_buf_append_varint(out, head.expanded);
    ms_buf_append_varint(out, head.apis);
    for (uint32_t i = 0; i < head.apis; i++) {
        uint32_t id;
        if (!ms_head_take_api(&blob, &id) || id >= count)
            return ms_trace_damaged(err, "its dictionary names an unknown API");
        ms_buf_append_varint(out, ids[id]);
    }
    ms_buf_append(out, blob.data, blob.len);
    return out->failed ? ms_error_set(err, MS_REJECT, "a trace is too large") : MS_OK;
}
