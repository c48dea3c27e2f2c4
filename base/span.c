/* Checked reads from borrowed bytes. */
#include "base/span.h"

#include <string.h>

bool ms_span_sub(struct ms_span self, uint64_t offset, uint64_t len, struct ms_span *out)
{
    if (offset > self.len || len > self.len - offset)
        return false;
    *out = (struct ms_span){self.data ? self.data + offset : NULL, (size_t)len};
    return true;
}

static bool read_le(struct ms_span self, uint64_t offset, unsigned bytes, uint64_t *out)
{
    struct ms_span part;
    if (!ms_span_sub(self, offset, bytes, &part))
        return false;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)part.data[i] << (8 * i);
    *out = value;
    return true;
}

bool ms_span_u8(struct ms_span self, uint64_t offset, uint8_t *out)
{
    uint64_t value;
    if (!read_le(self, offset, 1, &value))
        return false;
    *out = (uint8_t)value;
    return true;
}

bool ms_span_u16le(struct ms_span self, uint64_t offset, uint16_t *out)
{
    uint64_t value;
    if (!read_le(self, offset, 2, &value))
        return false;
    *out = (uint16_t)value;
    return true;
}

bool ms_span_u32le(struct ms_span self, uint64_t offset, uint32_t *out)
{
    uint64_t value;
    if (!read_le(self, offset, 4, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

bool ms_span_u64le(struct ms_span self, uint64_t offset, uint64_t *out)
{
    return read_le(self, offset, 8, out);
}

bool ms_span_u32be(struct ms_span self, uint64_t offset, uint32_t *out)
{
    uint32_t value;
    if (!ms_span_u32le(self, offset, &value))
        return false;
    *out = __builtin_bswap32(value);
    return true;
}

bool ms_span_take(struct ms_span *self, uint64_t len, struct ms_span *out)
{
    if (!ms_span_sub(*self, 0, len, out))
        return false;
    if (len)
        self->data += len;
    self->len -= (size_t)len;
    return true;
}

bool ms_span_take_u8(struct ms_span *self, uint8_t *out)
{
    if (!self->len)
        return false;
    *out = *self->data++;
    self->len--;
    return true;
}

bool ms_span_take_u32le(struct ms_span *self, uint32_t *out)
{
    struct ms_span part;
    return ms_span_take(self, 4, &part) && ms_span_u32le(part, 0, out);
}

bool ms_span_take_u64le(struct ms_span *self, uint64_t *out)
{
    struct ms_span part;
    return ms_span_take(self, 8, &part) && ms_span_u64le(part, 0, out);
}

bool ms_span_take_long_varint(struct ms_span *self, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < self->len; i++) {
        uint8_t byte = self->data[i];
        if (i == 9 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            self->data += i + 1;
            self->len -= i + 1;
            *out = value;
            return true;
        }
    }
    return false;
}

bool ms_span_equal(struct ms_span a, struct ms_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool ms_span_equal_text(struct ms_span a, const char *text)
{
    return ms_span_equal(a, ms_span_of(text, strlen(text)));
}
