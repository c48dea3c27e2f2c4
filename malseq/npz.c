/* The zip container (APPNOTE 6.3: stored members, Zip64) and the head of .npy, version 1.0. */
#include "malseq/npz.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    LOCAL = 0x04034b50,
    CENTRAL = 0x02014b50,
    END = 0x06054b50,
    END64 = 0x06064b50,
    LOCATOR = 0x07064b50,
    NEED = 45,         /* version 4.5: Zip64 */
    DATE = 0x21,       /* 1980-01-01 */
    EXTRA_LOCAL = 20,  /* Zip64: both sizes */
    EXTRA_CENTRAL = 28 /* and the offset */
};

static uint32_t crc_of(uint32_t crc, const uint8_t *bytes, size_t n)
{
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++)
                c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
            table[i] = c;
        }
    crc = ~crc;
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
    return ~crc;
}

static void le(struct ms_buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        (void)ms_buf_append_byte(out, (uint8_t)(value >> 8 * i));
}

static enum ms_status fail(struct ms_error *err)
{
    int errnum = errno ? errno : EIO;
    return ms_error_set_errno(err, MS_E_IO, errnum, "cannot write the export");
}

static enum ms_status write_all(struct malseq_npz *self, const void *bytes, size_t n,
                                struct ms_error *err)
{
    errno = 0;
    return fwrite(bytes, 1, n, self->out) == n ? MS_OK : fail(err);
}

/* Writes the buffer and releases it. */
static enum ms_status write_buf(struct malseq_npz *self, struct ms_buf *bytes, struct ms_error *err)
{
    enum ms_status status = bytes->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory")
                                          : write_all(self, bytes->data, bytes->len, err);
    ms_buf_release(bytes);
    return status;
}

void malseq_npz_init(struct malseq_npz *self, FILE *out)
{
    *self = (struct malseq_npz){.out = out};
}

/* The last member's head, with what is known of it by now. */
static enum ms_status write_head(struct malseq_npz *self, struct ms_error *err)
{
    size_t at = self->count - 1, name = strlen(self->members[at].name);
    struct ms_buf head;
    ms_buf_init(&head, 1024);
    le(&head, LOCAL, 4);
    le(&head, NEED, 2);
    le(&head, 0, 2); /* flags */
    le(&head, 0, 2); /* stored */
    le(&head, 0, 2); /* time */
    le(&head, DATE, 2);
    le(&head, self->members[at].crc, 4);
    le(&head, UINT32_MAX, 4); /* sizes: in the extra field */
    le(&head, UINT32_MAX, 4);
    le(&head, name, 2);
    le(&head, EXTRA_LOCAL, 2);
    (void)ms_buf_append_text(&head, self->members[at].name);
    le(&head, 1, 2); /* Zip64 */
    le(&head, EXTRA_LOCAL - 4, 2);
    le(&head, self->members[at].bytes, 8);
    le(&head, self->members[at].bytes, 8);
    return write_buf(self, &head, err);
}

enum ms_status malseq_npz_begin(struct malseq_npz *self, const char *name, const char *descr,
                                uint64_t count, struct ms_error *err)
{
    if (self->count == MALSEQ_NPZ_MEMBERS || strlen(name) + 5 > MALSEQ_NPZ_NAME_BYTES)
        return ms_error_set(err, MS_E_BUG, "too many arrays in a file");
    off_t offset = ftello(self->out);
    if (offset < 0)
        return fail(err);
    size_t at = self->count++;
    (void)snprintf(self->members[at].name, MALSEQ_NPZ_NAME_BYTES, "%s.npy", name);
    self->members[at].offset = (uint64_t)offset;
    enum ms_status status = write_head(self, err);
    if (status != MS_OK)
        return status;
    char dict[160];
    int n = snprintf(dict, sizeof dict,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ",), }", descr,
                     count);
    struct ms_buf head;
    ms_buf_init(&head, 1024);
    (void)ms_buf_append(&head, "\x93NUMPY\x01\x00", 8);
    size_t padded = (10 + (size_t)n + 1 + 63) / 64 * 64; /* the data begins on a multiple of 64 */
    le(&head, padded - 10, 2);
    (void)ms_buf_append_text(&head, dict);
    while (head.len < padded - 1)
        (void)ms_buf_append_byte(&head, ' ');
    (void)ms_buf_append_byte(&head, '\n');
    status = malseq_npz_put(self, head.data, head.len, err);
    ms_buf_release(&head);
    return status;
}

enum ms_status malseq_npz_put(struct malseq_npz *self, const void *bytes, size_t n,
                              struct ms_error *err)
{
    size_t at = self->count - 1;
    if (n == 0)
        return MS_OK;
    self->members[at].crc = crc_of(self->members[at].crc, bytes, n);
    self->members[at].bytes += n;
    return write_all(self, bytes, n, err);
}

/* The next character, and how many bytes it takes. */
static size_t next_char(const uint8_t *p, size_t n, uint32_t *code)
{
    size_t len = ms_utf8_decode(p, n, code);
    if (len == 0)
        *code = 0xfffd;
    return len ? len : 1;
}

size_t malseq_npz_width(const void *text, size_t n)
{
    const uint8_t *p = text;
    size_t width = 0;
    uint32_t code;
    for (size_t i = 0; i < n; width++)
        i += next_char(p + i, n - i, &code);
    return width;
}

enum ms_status malseq_npz_put_text(struct malseq_npz *self, const void *text, size_t n,
                                   size_t width, struct ms_error *err)
{
    const uint8_t *p = text;
    struct ms_buf out;
    uint32_t code;
    ms_buf_init(&out, 4 * width + 4);
    for (size_t i = 0; i < n && out.len < 4 * width;) {
        i += next_char(p + i, n - i, &code);
        le(&out, code, 4);
    }
    while (out.len < 4 * width && !out.failed)
        le(&out, 0, 4);
    enum ms_status status = out.failed ? ms_error_set(err, MS_E_NOMEM, "out of memory")
                                       : malseq_npz_put(self, out.data, out.len, err);
    ms_buf_release(&out);
    return status;
}

enum ms_status malseq_npz_end(struct malseq_npz *self, struct ms_error *err)
{
    errno = 0;
    if (fseeko(self->out, (off_t)self->members[self->count - 1].offset, SEEK_SET) != 0)
        return fail(err);
    enum ms_status status = write_head(self, err);
    errno = 0;
    if (status == MS_OK && fseeko(self->out, 0, SEEK_END) != 0)
        return fail(err);
    return status;
}

static void central(const struct malseq_npz *self, size_t at, struct ms_buf *out)
{
    le(out, CENTRAL, 4);
    le(out, NEED, 2); /* made by: FAT, 4.5 */
    le(out, NEED, 2);
    le(out, 0, 2);
    le(out, 0, 2);
    le(out, 0, 2);
    le(out, DATE, 2);
    le(out, self->members[at].crc, 4);
    le(out, UINT32_MAX, 4);
    le(out, UINT32_MAX, 4);
    le(out, strlen(self->members[at].name), 2);
    le(out, EXTRA_CENTRAL, 2);
    le(out, 0, 2); /* comment */
    le(out, 0, 2); /* disk */
    le(out, 0, 2); /* attributes */
    le(out, 0, 4);
    le(out, UINT32_MAX, 4); /* offset: in the extra field */
    (void)ms_buf_append_text(out, self->members[at].name);
    le(out, 1, 2);
    le(out, EXTRA_CENTRAL - 4, 2);
    le(out, self->members[at].bytes, 8);
    le(out, self->members[at].bytes, 8);
    le(out, self->members[at].offset, 8);
}

enum ms_status malseq_npz_finish(struct malseq_npz *self, struct ms_error *err)
{
    off_t start = ftello(self->out);
    if (start < 0)
        return fail(err);
    struct ms_buf out;
    ms_buf_init(&out, 1 << 16);
    for (size_t i = 0; i < self->count; i++)
        central(self, i, &out);
    uint64_t size = out.len, end = (uint64_t)start + size;
    le(&out, END64, 4);
    le(&out, 44, 8); /* of the rest of this record */
    le(&out, NEED, 2);
    le(&out, NEED, 2);
    le(&out, 0, 4);
    le(&out, 0, 4);
    le(&out, self->count, 8);
    le(&out, self->count, 8);
    le(&out, size, 8);
    le(&out, (uint64_t)start, 8);
    le(&out, LOCATOR, 4);
    le(&out, 0, 4);
    le(&out, end, 8);
    le(&out, 1, 4);
    le(&out, END, 4);
    le(&out, 0, 4); /* disks */
    le(&out, self->count, 2);
    le(&out, self->count, 2);
    le(&out, UINT32_MAX, 4); /* size and offset: in the record above */
    le(&out, UINT32_MAX, 4);
    le(&out, 0, 2);
    return write_buf(self, &out, err);
}
