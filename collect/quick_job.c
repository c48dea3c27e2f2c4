/* Reads programs, and zip files of programs about which everything is plain, for base/quick.
 * Everything else, and everything that is not right, is left to collect/job.c by giving no answer:
 * what is answered here must be what that would answer. */
#define _GNU_SOURCE
#include "collect/quick_job.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/zip_cipher.h"
#include "base/zip_directory.h"
#include "collect/job.h"
#include "collect/pe.h"
#include "collect/pe_features.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

/* Bits of the general purpose flags that change nothing: encrypted, the deflater's level, sizes
 * behind the data, names in UTF-8. */
enum {
    FLAGS_PLAIN = 0x080f,
    NAME_MAX_BYTES = 255,
    PROOF_BYTES = 4, /* on fewer bytes a checksum proves no password */
    ENTRIES_MAX = 256,
    ZIP_LOCAL_BYTES = 30, /* of a local header, without its name */
    TEXT_MAX_BYTES = 64 << 10,
    GAP_BYTES = 16 << 10 /* a name, and features of 10 KiB at most */
};

struct quick {
    struct ms_span file;
    struct ms_quick_answer *answer;
    uint64_t entry_bytes, entries, left_bytes; /* limits; of total_bytes */
    struct ms_span passwords[MS_LIMIT_UNPACK_PASSWORDS];
    size_t password_count;
    ptrdiff_t last_password;
    bool zip_named; /* see ms_unpack_input: what is no whole zip file may be the end of one */
    struct ms_zip_directory directory;
    struct ms_job_summary summary;
};

bool ms_quick_job_may(const uint8_t head[4], uint64_t size)
{
    return size <= MS_LIMIT_QUICK_INPUT_BYTES &&
           (memcmp(head, "MZ", 2) == 0 || memcmp(head, "PK\3\4", 4) == 0);
}

static uint64_t limit_or(uint64_t given, uint64_t standard)
{
    return given ? given : standard;
}

/* What ms_job_argument wrote. */
static bool read_argument(struct quick *self, struct ms_span arg)
{
    uint64_t depth, entries, total, entry, flags, parts, n;
    if (!ms_span_take_varint(&arg, &depth) || !ms_span_take_varint(&arg, &entries) ||
        !ms_span_take_varint(&arg, &total) || !ms_span_take_varint(&arg, &entry) ||
        !ms_span_take_varint(&arg, &flags) || !ms_span_take_varint(&arg, &parts) ||
        (flags & ~(uint64_t)MS_JOB_ORDER_ZIP_NAMED) || parts)
        return false;
    self->zip_named = flags != 0;
    self->entries = limit_or(entries, MS_LIMIT_UNPACK_ENTRIES);
    self->left_bytes = limit_or(total, MS_LIMIT_UNPACK_TOTAL_BYTES);
    self->entry_bytes = limit_or(entry, MS_LIMIT_UNPACK_ENTRY_BYTES);
    while (self->password_count < MS_LIMIT_UNPACK_PASSWORDS && ms_span_take_varint(&arg, &n) &&
           ms_span_take(&arg, n, &self->passwords[self->password_count]))
        self->password_count++;
    return true;
}

/* ---- one program ----------------------------------------------------------------------------- */

/* A gap for what is told of a program before its bytes, then the bytes' frame. NULL: no room.
 * `scratch` bytes will be worked in behind it. */
static uint8_t *begin(struct quick *self, size_t n, size_t scratch, size_t *mark)
{
    ms_quick_ready(self->answer, GAP_BYTES + n + scratch);
    *mark = ms_quick_mark(self->answer);
    return ms_quick_gap(self->answer, GAP_BYTES) ? ms_quick_frame(self->answer, MS_JOB_DATA, n)
                                                 : NULL;
}

/* The bytes stand in their frame: tells of them, or takes them back when they are no program. */
static bool finish(struct quick *self, size_t mark, struct ms_span name, int password,
                   struct ms_span bytes)
{
    static struct ms_pe_features features; /* a job is a process of its own */
    static uint8_t told[sizeof(struct ms_job_member) + NAME_MAX_BYTES];
    struct ms_buf packed;
    struct ms_pe pe;
    ms_pe_check(bytes, &pe);
    self->summary.mz_only += pe.verdict == MS_PE_MZ_ONLY;
    if (pe.verdict != MS_PE_YES) {
        ms_quick_back(self->answer, mark);
        return true;
    }
    const struct ms_job_member head = {.size = bytes.len,
                                       .password_index = password,
                                       .kind = (uint32_t)pe.kind,
                                       .flags = pe.flags,
                                       .machine = pe.machine};
    memcpy(told, &head, sizeof head);
    if (name.len)
        memcpy(told + sizeof head, name.data, name.len);
    ms_buf_init(&packed, GAP_BYTES);
    bool good = ms_pe_features_read(bytes, &features, NULL) == MS_OK &&
                ms_pe_features_pack(&features, &packed, NULL) == MS_OK;
    const struct ms_quick_part parts[] = {{MS_JOB_MEMBER, ms_span_of(told, sizeof head + name.len)},
                                          {MS_JOB_FEATURES, ms_span_of(packed.data, packed.len)}};
    good = good && ms_quick_fill(self->answer, mark, parts, sizeof parts / sizeof *parts) &&
           ms_quick_frame(self->answer, MS_JOB_END, 0);
    ms_buf_release(&packed);
    self->summary.programs++;
    return good;
}

static bool is_program(struct ms_span bytes)
{
    return bytes.len >= 2 && memcmp(bytes.data, "MZ", 2) == 0;
}

/* Nothing but lines of ASCII, and not the beginning of one of the formats that are written in it:
 * whatever else it may be, it is no container. */
static bool is_text(struct ms_span bytes)
{
    static const char *const magics[] = {"!<arch>", "0707", "BZh", "LZIP", "MSCF", "PK", "Rar!"};
    if (bytes.len > TEXT_MAX_BYTES || (bytes.len > 3 && memcmp(bytes.data + 2, "-l", 2) == 0))
        return false;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (bytes.len >= strlen(magics[i]) && memcmp(bytes.data, magics[i], strlen(magics[i])) == 0)
            return false;
    for (size_t i = 0; i < bytes.len; i++)
        if ((bytes.data[i] < 0x20 || bytes.data[i] > 0x7e) && !memchr("\t\r\n", bytes.data[i], 3))
            return false;
    return true;
}

static bool read_program(struct quick *self)
{
    size_t mark;
    uint8_t *to = begin(self, self->file.len, 0, &mark);
    if (!to || self->zip_named || self->file.len > self->entry_bytes)
        return false;
    memcpy(to, self->file.data, self->file.len);
    self->summary.members++;
    return finish(self, mark, ms_span_of("", 0), -1, ms_span_of(to, self->file.len));
}

/* ---- zip files ------------------------------------------------------------------------------- */

/* Would libarchive hand it out under the very name that the directory has, as a file? */
static bool is_plain_entry(const struct ms_zip_entry *entry)
{
    unsigned system = entry->made_by >> 8, type = entry->attributes >> 28;
    if (!entry->name.len || entry->name.len > NAME_MAX_BYTES ||
        entry->name.data[entry->name.len - 1] == '/' || entry->disagrees || entry->why ||
        !entry->has_crc || entry->flags & ~(unsigned)FLAGS_PLAIN ||
        (entry->method != MS_ZIP_STORE && entry->method != MS_ZIP_DEFLATE) ||
        (entry->cipher != MS_ZIP_PLAIN && entry->cipher != MS_ZIP_CRYPTO))
        return false;
    for (size_t i = 0; i < entry->name.len; i++)
        if (entry->name.data[i] < 0x20 || entry->name.data[i] > 0x7e || entry->name.data[i] == '\\')
            return false;
    /* A file of Unix by its mode, of DOS by its attributes. */
    return (system == 3 && (type == 8 || type == 0)) ||
           (system == 0 && !(entry->attributes & 0x10) && type == 0);
}

static bool is_folder(const struct ms_zip_entry *entry)
{
    return entry->name.len && entry->name.data[entry->name.len - 1] == '/' && !entry->size_bytes &&
           entry->cipher == MS_ZIP_PLAIN && !entry->disagrees;
}

/* Other formats that begin with anything, and that libarchive would prefer. */
static bool is_another_too(struct ms_span file)
{
    struct ms_span part;
    return (ms_span_sub(file, 32769, 5, &part) && memcmp(part.data, "CD001", 5) == 0) ||
           (ms_span_sub(file, 257, 5, &part) && memcmp(part.data, "ustar", 5) == 0);
}

/* The end record is the last thing in the file, no other is near, and the directory lies right
 * before it: readers differ in what they take where a comment holds another one or bytes lie
 * between (APPNOTE 4.3.16). */
static bool ends_plainly(struct ms_span file)
{
    enum { END_RECORD_BYTES = 22, LOOKED_AT_BYTES = END_RECORD_BYTES + UINT16_MAX };
    size_t n = file.len < LOOKED_AT_BYTES ? file.len : LOOKED_AT_BYTES;
    const uint8_t *tail = file.data + (file.len - n), *first = memmem(tail, n, "PK\5\6", 4);
    if (!first || (size_t)(tail + n - first) != END_RECORD_BYTES)
        return false;
    uint64_t end_at = file.len - END_RECORD_BYTES;
    uint32_t directory_bytes, directory_at;
    return ms_span_u32le(file, end_at + 12, &directory_bytes) &&
           ms_span_u32le(file, end_at + 16, &directory_at) &&
           (uint64_t)directory_at + directory_bytes == end_at;
}

/* The packed bytes into exactly n. */
static bool unpack(const struct ms_zip_entry *entry, struct ms_span packed, uint8_t *to, size_t n)
{
    if (entry->method == MS_ZIP_STORE) {
        if (packed.len != n)
            return false;
        memcpy(to, packed.data, n);
    } else {
        z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.data,
                      .avail_in = (uInt)packed.len,
                      .next_out = to,
                      .avail_out = (uInt)n};
        if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
            return false;
        bool good = inflate(&z, Z_FINISH) == Z_STREAM_END && !z.avail_in && !z.avail_out;
        (void)inflateEnd(&z);
        if (!good)
            return false;
    }
    return crc32(0, to, (uInt)n) == entry->crc;
}

/* With one password. */
static bool decrypt(struct quick *self, const struct ms_zip_entry *entry, struct ms_span password,
                    struct ms_span packed, uint8_t *to, size_t n)
{
    struct ms_zip_cipher_state cipher;
    struct ms_span head, rest = packed;
    if (!password.len || memchr(password.data, 0, password.len) ||
        !ms_span_take(&rest, MS_ZIP_CRYPTO_HEAD_BYTES, &head) ||
        !ms_zip_cipher_init_crypto(&cipher, password, head.data, entry->check))
        return false;
    uint8_t *plain = ms_quick_scratch(self->answer, rest.len);
    if (!plain)
        return false;
    ms_zip_cipher_crypto(&cipher, rest.data, plain, rest.len);
    return unpack(entry, ms_span_of(plain, rest.len), to, n);
}

/* The candidate that opens it, in the order in which they are tried: what worked last, then all.
 * -1: none. */
static ptrdiff_t find_password(struct quick *self, const struct ms_zip_entry *entry,
                               struct ms_span packed, uint8_t *to, size_t n)
{
    ptrdiff_t last = self->last_password;
    if (last >= 0)
        return decrypt(self, entry, self->passwords[last], packed, to, n) ? last : -1;
    for (size_t i = 0; i < self->password_count; i++)
        if (decrypt(self, entry, self->passwords[i], packed, to, n))
            return (ptrdiff_t)i;
    return -1;
}

static bool read_entry(struct quick *self, const struct ms_zip_entry *entry)
{
    struct ms_span packed;
    ptrdiff_t password = -1;
    size_t n = (size_t)entry->size_bytes, mark;
    if (!is_plain_entry(entry) || entry->size_bytes > self->entry_bytes ||
        entry->size_bytes > self->left_bytes || n < PROOF_BYTES ||
        !ms_span_sub(self->file, entry->data_at, entry->packed_bytes, &packed))
        return false;
    size_t scratch = entry->cipher == MS_ZIP_CRYPTO ? packed.len : 0;
    uint8_t *to = entry->size_bytes <= MS_LIMIT_QUICK_BYTES ? begin(self, n, scratch, &mark) : NULL;
    if (!to)
        return false;
    if (entry->cipher == MS_ZIP_CRYPTO) {
        self->last_password = password = find_password(self, entry, packed, to, n);
        if (password < 0)
            return false;
    } else if (!unpack(entry, packed, to, n)) {
        return false;
    }
    struct ms_span bytes = ms_span_of(to, n);
    self->left_bytes -= n;
    self->summary.members++;
    if (is_program(bytes))
        return finish(self, mark, entry->name, (int)password, bytes);
    ms_quick_back(self->answer, mark);
    return is_text(bytes);
}

/* Nothing but the times and owners that Info-ZIP and 7-Zip write, in their usual sizes: what a
 * reader makes of others, or of bytes that are no fields, is its own business. */
static bool extra_is_usual(struct ms_span extra)
{
    enum { UNIX_TIMES = 0x5455, UNIX_OWNER = 0x7875, NTFS_TIMES = 0x000a };
    struct ms_span head, body;
    while (ms_span_take(&extra, 4, &head)) {
        unsigned id = head.data[0] | (unsigned)head.data[1] << 8;
        unsigned n = head.data[2] | (unsigned)head.data[3] << 8;
        if (!ms_span_take(&extra, n, &body) ||
            !((id == UNIX_TIMES && (n == 5 || n == 9 || n == 13)) ||
              (id == UNIX_OWNER && n == 11) || (id == NTFS_TIMES && n == 32)))
            return false;
    }
    return extra.len == 0;
}

/* The header before the data has the same name as the directory, and neither says anything unusual:
 * of what is a folder by the one and a file by the other, libarchive believes the header. */
static bool agrees_with_header(const struct quick *self, const struct ms_zip_entry *entry)
{
    struct ms_span head, name, extra;
    uint64_t at = entry->local_at + ZIP_LOCAL_BYTES;
    return ms_span_sub(self->file, entry->local_at, ZIP_LOCAL_BYTES, &head) &&
           (size_t)(head.data[26] | head.data[27] << 8) == entry->name.len &&
           ms_span_sub(self->file, at, entry->name.len, &name) &&
           (!name.len || memcmp(name.data, entry->name.data, name.len) == 0) &&
           ms_span_sub(self->file, at + name.len, head.data[28] | (uint64_t)head.data[29] << 8,
                       &extra) &&
           extra_is_usual(extra) && extra_is_usual(entry->extra);
}

/* All members in order and of one kind: those that are not encrypted would come first. */
static bool read_zip(struct quick *self, int fd)
{
    struct ms_zip_directory *directory = &self->directory;
    if (is_another_too(self->file) || !ends_plainly(self->file) ||
        ms_zip_directory_read(fd, directory, NULL) != MS_OK)
        return false;
    bool good = directory->count && directory->count <= self->entries &&
                directory->count <= ENTRIES_MAX &&
                ms_zip_directory_check(fd, directory, NULL) == MS_OK && !directory->overlap;
    self->summary.members++;
    for (size_t i = 0; good && i < directory->count; i++)
        if (!agrees_with_header(self, &directory->entries[i]))
            good = false;
        else if (!is_folder(&directory->entries[i]))
            good = directory->entries[i].cipher == directory->entries[0].cipher &&
                   read_entry(self, &directory->entries[i]);
    return good;
}

/* ---- the job --------------------------------------------------------------------------------- */

/* A job is a process of its own: what it maps and allocates is left to the end of that. */
static struct quick self;

bool ms_quick_job_work(int fd, struct ms_span arg, struct ms_quick_answer *answer)
{
    struct stat info;
    self.answer = answer;
    self.last_password = -1;
    if (!read_argument(&self, arg) || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) ||
        info.st_size < 4 || (uint64_t)info.st_size > MS_LIMIT_QUICK_INPUT_BYTES)
        return false;
    void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED)
        return false;
    self.file = ms_span_of(at, (size_t)info.st_size);
    bool good = is_program(self.file) ? read_program(&self) : read_zip(&self, fd);
    void *to = good ? ms_quick_frame(answer, MS_JOB_SUMMARY, sizeof self.summary) : NULL;
    if (!to)
        return false;
    memcpy(to, &self.summary, sizeof self.summary);
    return true;
}

void ms_quick_job_forget(void)
{
    ms_zip_directory_release(&self.directory);
    if (self.file.len)
        (void)munmap((void *)(uintptr_t)self.file.data, self.file.len);
    self = (struct quick){.file = {NULL, 0}};
}

void ms_quick_job_prepare(void)
{
    /* The hash library sets itself up with the first hasher. */
    struct ms_hasher *hasher;
    if (ms_hasher_new(MS_HASH_MD5, &hasher, NULL) == MS_OK)
        ms_hasher_free(hasher);
    (void)get_crc_table();
}
