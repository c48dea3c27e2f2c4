/* The unpacker: right members out of right archives, a named fault for every wrong one, and never a
 * wrong member. */
#define _GNU_SOURCE
#include "base/buf.h"
#include "base/rng.h"
#include "base/unpack.h"
#include "base/worker.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- making archives ------------------------------------------------------------------------- */

struct file {
    const char *name;
    const void *data;
    size_t n;
    unsigned type;    /* 0: AE_IFREG */
    const char *link; /* symlink or hard link target */
    bool hard;
};

struct bytes {
    uint8_t *data;
    size_t n;
};

static uint8_t noise[1000];
static const char text[] = "harmless text, harmless text, harmless text, harmless text";

static void write_file(struct archive *a, const struct file *file)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, file->name);
    archive_entry_set_filetype(entry, file->type ? file->type : AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)file->n);
    if (file->link && file->hard)
        archive_entry_set_hardlink(entry, file->link);
    else if (file->link)
        archive_entry_set_symlink(entry, file->link);
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    if (file->n)
        assert_int_equal(archive_write_data(a, file->data, file->n), file->n);
    archive_entry_free(entry);
}

/* options: libarchive's ("zip:encryption=aes256"); filter: an ARCHIVE_FILTER code, 0 for none. */
static struct bytes make(int format, int filter, const char *options, const char *password,
                         const struct file *files, size_t count)
{
    static uint8_t space[8 << 20];
    size_t used = 0;
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format(a, format), ARCHIVE_OK);
    assert_true(archive_write_add_filter(a, filter) == ARCHIVE_OK);
    if (options)
        assert_int_equal(archive_write_set_options(a, options), ARCHIVE_OK);
    if (password)
        assert_int_equal(archive_write_set_passphrase(a, password), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(a, 1);
    assert_int_equal(archive_write_open_memory(a, space, sizeof space, &used), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++)
        write_file(a, &files[i]);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    struct bytes out = {malloc(used), used};
    memcpy(out.data, space, used);
    return out;
}

static struct bytes make_raw(int filter, const void *data, size_t n)
{
    struct file file = {.name = "x", .data = data, .n = n};
    return make(ARCHIVE_FORMAT_RAW, filter, NULL, NULL, &file, 1);
}

static int file_of(const void *bytes, size_t n)
{
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    return fd;
}

/* ---- walking --------------------------------------------------------------------------------- */

enum { SEEN_MAX = 128 };

struct seen_member {
    char chain[512];
    uint8_t data[4096];
    size_t n;
    uint64_t size;
    int password;
    unsigned depth;
    bool container;
};

struct seen_fault {
    char chain[512];
    enum ms_unpack_fault fault;
    char detail[256];
};

struct seen {
    size_t members, faults;
    bool no_descend;
    enum ms_status answer;
    struct seen_member member[SEEN_MAX];
    struct seen_fault fault[SEEN_MAX];
};

static void copy_span(char *out, size_t cap, struct ms_span span)
{
    size_t n = span.len < cap - 1 ? span.len : cap - 1;
    memcpy(out, span.data, n);
    out[n] = '\0';
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct seen *seen = ctx;
    assert_int_equal(lseek(member->fd, 0, SEEK_CUR), 0);
    if (seen->members < SEEN_MAX) {
        struct seen_member *to = &seen->member[seen->members];
        copy_span(to->chain, sizeof to->chain, member->chain);
        to->n = (size_t)read(member->fd, to->data, sizeof to->data);
        to->size = member->size;
        to->password = member->password_index;
        to->depth = member->depth;
        to->container = member->is_container;
    }
    seen->members++;
    if (seen->no_descend)
        *descend = false;
    return seen->answer == MS_OK ? MS_OK : ms_error_set(err, seen->answer, "stop");
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    if (seen->faults < SEEN_MAX) {
        struct seen_fault *to = &seen->fault[seen->faults];
        copy_span(to->chain, sizeof to->chain, chain);
        copy_span(to->detail, sizeof to->detail, detail);
        to->fault = fault;
    }
    seen->faults++;
    return MS_OK;
}

static struct seen seen;

static enum ms_status walk_limited(const void *bytes, size_t n, const char *const *passwords,
                                   size_t count, const struct ms_unpack_limits *limits)
{
    struct ms_span spans[100];
    for (size_t i = 0; i < count; i++)
        spans[i] = ms_span_of(passwords[i], strlen(passwords[i]));
    struct ms_unpack_events events = {&seen, on_member, on_fault};
    struct ms_error err = {MS_OK, 0, ""};
    int fd = file_of(bytes, n);
    enum ms_status status = ms_unpack_walk(fd, spans, count, limits, &events, &err);
    close(fd);
    return status;
}

static void walk(struct bytes bytes, const char *password)
{
    memset(&seen, 0, sizeof seen);
    assert_int_equal(walk_limited(bytes.data, bytes.n, &password, password ? 1 : 0, NULL), MS_OK);
}

static const struct seen_member *member(const char *chain)
{
    for (size_t i = 0; i < seen.members; i++)
        if (strcmp(seen.member[i].chain, chain) == 0)
            return &seen.member[i];
    for (size_t i = 0; i < seen.members; i++)
        print_error("member '%s'\n", seen.member[i].chain);
    for (size_t i = 0; i < seen.faults; i++)
        print_error("fault '%s' %s: %s\n", seen.fault[i].chain,
                    ms_unpack_fault_name(seen.fault[i].fault), seen.fault[i].detail);
    fail_msg("no member '%s'", chain);
    return NULL;
}

static void assert_member(const char *chain, const void *data, size_t n)
{
    const struct seen_member *at = member(chain);
    assert_int_equal(at->size, n);
    assert_memory_equal(at->data, data, n);
}

static void assert_one_fault(const char *chain, enum ms_unpack_fault fault)
{
    if (seen.faults != 1 || seen.fault[0].fault != fault)
        for (size_t i = 0; i < seen.faults; i++)
            print_error("fault '%s' %s: %s\n", seen.fault[i].chain,
                        ms_unpack_fault_name(seen.fault[i].fault), seen.fault[i].detail);
    assert_int_equal(seen.faults, 1);
    assert_int_equal(seen.fault[0].fault, fault);
    assert_string_equal(seen.fault[0].chain, chain);
}

static const struct file two_files[] = {{.name = "a/x.exe", .data = noise, .n = sizeof noise},
                                        {.name = "read me.txt", .data = text, .n = sizeof text}};

/* ---- formats --------------------------------------------------------------------------------- */

static const struct {
    int format;
    int filter;
} formats[] = {
    {ARCHIVE_FORMAT_ZIP, 0},
    {ARCHIVE_FORMAT_7ZIP, 0},
    {ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, 0},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_BZIP2},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_XZ},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_ZSTD},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_LZ4},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_LZIP},
    {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_LZMA},
    {ARCHIVE_FORMAT_CPIO_POSIX, 0},
    {ARCHIVE_FORMAT_ISO9660, 0},
    {ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_XZ},
};

static void test_formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct bytes bytes = make(formats[i].format, formats[i].filter, NULL, NULL, two_files, 2);
        walk(bytes, NULL);
        assert_int_equal(seen.faults, 0);
        assert_int_equal(seen.members, 3);
        assert_string_equal(seen.member[0].chain, "");
        assert_int_equal(seen.member[0].depth, 0);
        assert_true(seen.member[0].container);
        assert_int_equal(seen.member[0].size, bytes.n);
        if (formats[i].format != ARCHIVE_FORMAT_ISO9660) {
            assert_member("a/x.exe", noise, sizeof noise);
            assert_member("read me.txt", text, sizeof text);
        }
        free(bytes.data);
    }
}

static void test_plain_files_are_no_archives(void **state)
{
    (void)state;
    static const char *const plain[] = {"",
                                        "x",
                                        "MZ",
                                        "hello world\n",
                                        "{\"json\": 1}",
                                        "version https://git-lfs.github.com/spec/v1\n"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        walk((struct bytes){(uint8_t *)(uintptr_t)plain[i], strlen(plain[i])}, NULL);
        assert_int_equal(seen.members, 1);
        assert_false(seen.member[0].container);
        assert_one_fault("", MS_UNPACK_NOT_ARCHIVE);
    }
    walk((struct bytes){noise, sizeof noise}, NULL);
    assert_one_fault("", MS_UNPACK_NOT_ARCHIVE);
    /* A program with a zip behind it is a program. */
    struct bytes zip = make(ARCHIVE_FORMAT_ZIP, 0, NULL, NULL, two_files, 2);
    struct bytes sfx = {malloc(zip.n + 64), zip.n + 64};
    memset(sfx.data, 0, 64);
    memcpy(sfx.data, "MZ", 2);
    memcpy(sfx.data + 64, zip.data, zip.n);
    walk(sfx, NULL);
    assert_int_equal(seen.members, 1);
    assert_one_fault("", MS_UNPACK_NOT_ARCHIVE);
    free(zip.data);
    free(sfx.data);
}

static void test_compressed_single_files(void **state)
{
    (void)state;
    static const struct {
        int filter;
        const char *suffix;
    } kinds[] = {{ARCHIVE_FILTER_GZIP, "gz"}, {ARCHIVE_FILTER_BZIP2, "bz2"},
                 {ARCHIVE_FILTER_XZ, "xz"},   {ARCHIVE_FILTER_ZSTD, "zst"},
                 {ARCHIVE_FILTER_LZ4, "lz4"}, {ARCHIVE_FILTER_COMPRESS, "Z"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct bytes packed = make_raw(kinds[i].filter, noise, sizeof noise);
        walk(packed, NULL);
        assert_int_equal(seen.faults, 0);
        assert_int_equal(seen.members, 2);
        assert_member("data", noise, sizeof noise);
        char name[32];
        char chain[64];
        (void)snprintf(name, sizeof name, "dir/x.exe.%s", kinds[i].suffix);
        (void)snprintf(chain, sizeof chain, "%s!x.exe", name);
        struct file file = {.name = name, .data = packed.data, .n = packed.n};
        struct bytes zip = make(ARCHIVE_FORMAT_ZIP, 0, NULL, NULL, &file, 1);
        walk(zip, NULL);
        assert_int_equal(seen.faults, 0);
        assert_member(chain, noise, sizeof noise);
        assert_int_equal(member(chain)->depth, 2);
        assert_true(member(name)->container);
        free(zip.data);
        free(packed.data);
    }
}

/* ---- passwords ------------------------------------------------------------------------------- */

static const char *const encryptions[] = {"zip:encryption=zipcrypt,zip:compression=store",
                                          "zip:encryption=zipcrypt,zip:compression=deflate",
                                          "zip:encryption=aes128,zip:compression=deflate",
                                          "zip:encryption=aes256,zip:compression=store",
                                          "zip:encryption=aes256,zip:compression=deflate"};

static void test_passwords(void **state)
{
    (void)state;
    static const char *const candidates[] = {"", "wrong", "password", "infected", "other"};
    for (size_t i = 0; i < sizeof encryptions / sizeof *encryptions; i++) {
        struct bytes zip = make(ARCHIVE_FORMAT_ZIP, 0, encryptions[i], "infected", two_files, 2);
        memset(&seen, 0, sizeof seen);
        assert_int_equal(walk_limited(zip.data, zip.n, candidates, 5, NULL), MS_OK);
        assert_int_equal(seen.faults, 0);
        assert_int_equal(seen.members, 3);
        assert_member("a/x.exe", noise, sizeof noise);
        assert_member("read me.txt", text, sizeof text);
        assert_int_equal(member("a/x.exe")->password, 3);
        walk(zip, NULL);
        assert_int_equal(seen.members, 1);
        assert_one_fault("", MS_UNPACK_NEED_PASSWORD);
        walk(zip, "wrong");
        assert_int_equal(seen.members, 1);
        assert_one_fault("", MS_UNPACK_NEED_PASSWORD);
        free(zip.data);
    }
}

/* ZipCrypto checks one byte: about one wrong password in 256 passes it, and a stored member then
 * comes out as garbage with ARCHIVE_OK until its checksum. None may be handed out, and the right
 * password behind a false one must still be tried. */
static void test_accepted_wrong_passwords(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct bytes zip = make(ARCHIVE_FORMAT_ZIP, 0, encryptions[i], "infected", two_files, 1);
        unsigned accepted = 0;
        char words[64][32];
        const char *candidates[64];
        for (unsigned batch = 0; batch < 32; batch++) {
            for (unsigned w = 0; w < 63; w++) {
                (void)snprintf(words[w], sizeof words[w], "wrong%u", batch * 63 + w);
                candidates[w] = words[w];
            }
            candidates[63] = "infected";
            memset(&seen, 0, sizeof seen);
            assert_int_equal(walk_limited(zip.data, zip.n, candidates, 63, NULL), MS_OK);
            assert_int_equal(seen.members, 1);
            assert_one_fault("", MS_UNPACK_NEED_PASSWORD);
            bool fooled = strstr(seen.fault[0].detail, "accepted") != NULL;
            accepted += fooled;
            if (!fooled)
                continue;
            memset(&seen, 0, sizeof seen);
            assert_int_equal(walk_limited(zip.data, zip.n, candidates, 64, NULL), MS_OK);
            assert_int_equal(seen.members, 2);
            assert_int_equal(seen.faults, 0);
            assert_member("a/x.exe", noise, sizeof noise);
            assert_int_equal(seen.member[1].password, 63);
        }
        assert_true(accepted > 0);
        free(zip.data);
    }
}

/* Members of one archive under two passwords, beside one in the clear. */
static void test_mixed_passwords(void **state)
{
    (void)state;
    struct file one = {.name = "one", .data = text, .n = sizeof text};
    struct file two = {.name = "two", .data = noise, .n = sizeof noise};
    struct bytes a = make(ARCHIVE_FORMAT_ZIP, 0, encryptions[1], "first", &one, 1);
    struct bytes b = make(ARCHIVE_FORMAT_ZIP, 0, encryptions[4], "second", &two, 1);
    struct file both[] = {{.name = "a.zip", .data = a.data, .n = a.n},
                          {.name = "b.zip", .data = b.data, .n = b.n},
                          {.name = "clear", .data = text, .n = sizeof text}};
    struct bytes outer = make(ARCHIVE_FORMAT_ZIP, 0, encryptions[0], "second", both, 3);
    static const char *const candidates[] = {"first", "second"};
    memset(&seen, 0, sizeof seen);
    assert_int_equal(walk_limited(outer.data, outer.n, candidates, 2, NULL), MS_OK);
    assert_int_equal(seen.faults, 0);
    assert_int_equal(seen.members, 6);
    assert_member("a.zip!one", text, sizeof text);
    assert_member("b.zip!two", noise, sizeof noise);
    assert_int_equal(member("a.zip!one")->password, 0);
    assert_int_equal(member("b.zip!two")->password, 1);
    assert_int_equal(member("a.zip")->password, 1);
    free(a.data);
    free(b.data);
    free(outer.data);
}

/* ---- nesting and limits ---------------------------------------------------------------------- */

static struct bytes nest(unsigned depth, int format, const char *options, const char *password)
{
    struct bytes inner = {malloc(sizeof noise), sizeof noise};
    memcpy(inner.data, noise, sizeof noise);
    for (unsigned i = 0; i < depth; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, i ? "%u.zip" : "x.exe", i);
        struct file file = {.name = name, .data = inner.data, .n = inner.n};
        struct bytes outer = make(format, 0, options, password, &file, 1);
        free(inner.data);
        inner = outer;
    }
    return inner;
}

static void test_nesting(void **state)
{
    (void)state;
    struct bytes three = nest(3, ARCHIVE_FORMAT_ZIP, encryptions[4], "infected");
    walk(three, "infected");
    assert_int_equal(seen.faults, 0);
    assert_int_equal(seen.members, 4);
    assert_member("2.zip!1.zip!x.exe", noise, sizeof noise);
    assert_int_equal(member("2.zip!1.zip!x.exe")->depth, 3);
    memset(&seen, 0, sizeof seen);
    seen.no_descend = true;
    assert_int_equal(walk_limited(three.data, three.n, NULL, 0, NULL), MS_OK);
    assert_int_equal(seen.members, 1);
    assert_int_equal(seen.faults, 0);
    free(three.data);
    struct bytes hundred = nest(100, ARCHIVE_FORMAT_ZIP, NULL, NULL);
    walk(hundred, NULL);
    assert_int_equal(seen.members, 9); /* the blob and eight levels */
    assert_one_fault("99.zip!98.zip!97.zip!96.zip!95.zip!94.zip!93.zip!92.zip",
                     MS_UNPACK_LIMIT_DEPTH);
    free(hundred.data);
    /* Compressed streams in compressed streams count too. */
    struct bytes stream = {malloc(4), 4};
    memcpy(stream.data, "abcd", 4);
    for (unsigned i = 0; i < 20; i++) {
        struct bytes outer =
            make_raw(i % 2 ? ARCHIVE_FILTER_GZIP : ARCHIVE_FILTER_BZIP2, stream.data, stream.n);
        free(stream.data);
        stream = outer;
    }
    walk(stream, NULL);
    assert_int_equal(seen.members, 1);
    assert_one_fault("", MS_UNPACK_LIMIT_DEPTH);
    free(stream.data);
}

static void test_bombs(void **state)
{
    (void)state;
    size_t n = (size_t)4 << 20;
    uint8_t *zeros = calloc(1, n);
    struct file files[] = {{.name = "small", .data = text, .n = sizeof text},
                           {.name = "bomb", .data = zeros, .n = n},
                           {.name = "behind", .data = text, .n = sizeof text}};
    static const struct {
        int format, filter;
    } kinds[] = {{ARCHIVE_FORMAT_ZIP, 0},
                 {ARCHIVE_FORMAT_7ZIP, 0},
                 {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP},
                 {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_XZ}};
    for (size_t i = 0; i < 4; i++) {
        struct bytes bomb = make(kinds[i].format, kinds[i].filter, NULL, NULL, files, 3);
        struct ms_unpack_limits limits = {.entry_bytes = 1 << 20};
        memset(&seen, 0, sizeof seen);
        assert_int_equal(walk_limited(bomb.data, bomb.n, NULL, 0, &limits), MS_OK);
        assert_int_equal(seen.members, 3);
        assert_one_fault("bomb", MS_UNPACK_LIMIT_ENTRY);
        assert_member("behind", text, sizeof text);
        limits = (struct ms_unpack_limits){.total_bytes = 1 << 20};
        memset(&seen, 0, sizeof seen);
        assert_int_equal(walk_limited(bomb.data, bomb.n, NULL, 0, &limits), MS_OK);
        assert_int_equal(seen.faults, 1);
        assert_int_equal(seen.fault[0].fault, MS_UNPACK_LIMIT_TOTAL);
        assert_true(seen.members <= 2);
        limits = (struct ms_unpack_limits){.entries = 2};
        memset(&seen, 0, sizeof seen);
        assert_int_equal(walk_limited(bomb.data, bomb.n, NULL, 0, &limits), MS_OK);
        assert_one_fault("", MS_UNPACK_LIMIT_ENTRIES);
        assert_true(seen.members <= 3);
        free(bomb.data);
    }
    /* The same bytes many times over count together. */
    struct bytes twice = nest(2, ARCHIVE_FORMAT_ZIP, NULL, NULL);
    struct ms_unpack_limits limits = {.total_bytes = sizeof noise + 100};
    memset(&seen, 0, sizeof seen);
    assert_int_equal(walk_limited(twice.data, twice.n, NULL, 0, &limits), MS_OK);
    assert_one_fault("1.zip!x.exe", MS_UNPACK_LIMIT_TOTAL);
    free(twice.data);
    free(zeros);
}

static void test_names_and_types(void **state)
{
    (void)state;
    static char longest[6000];
    memset(longest, 'n', sizeof longest - 1);
    struct file files[] = {{.name = "../../etc/passwd", .data = text, .n = 5},
                           {.name = "/abs/olute", .data = text, .n = 6},
                           {.name = "ctl\x01\x1b[2J", .data = text, .n = 7},
                           {.name = "latin\xff\xfe", .data = text, .n = 8},
                           {.name = "\xe6\x97\xa5\xe6\x9c\xac.exe ", .data = text, .n = 9},
                           {.name = "twin", .data = text, .n = 10},
                           {.name = "twin", .data = text, .n = 11},
                           {.name = longest, .data = text, .n = 12},
                           {.name = "folder", .type = AE_IFDIR},
                           {.name = "link", .type = AE_IFLNK, .link = "/etc/passwd"},
                           {.name = "hard", .link = "twin", .hard = true},
                           {.name = "device", .type = AE_IFCHR},
                           {.name = "fifo", .type = AE_IFIFO}};
    struct bytes tar = make(ARCHIVE_FORMAT_TAR_GNUTAR, 0, NULL, NULL, files, 13);
    walk(tar, NULL);
    assert_int_equal(seen.faults, 0);
    assert_int_equal(seen.members, 9);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(seen.member[i + 1].chain, files[i].name);
        assert_int_equal(seen.member[i + 1].size, files[i].n);
    }
    free(tar.data);
    struct bytes zip = make(ARCHIVE_FORMAT_ZIP, 0, NULL, NULL, files, 5);
    walk(zip, NULL);
    assert_int_equal(seen.faults, 0);
    assert_int_equal(seen.members, 6);
    for (size_t i = 0; i < 5; i++) /* bytes that claim to be UTF-8 and are not: no name to be had */
        assert_string_equal(seen.member[i + 1].chain, i == 3 ? "member-3" : files[i].name);
    /* The same without the UTF-8 flag: the bytes as they are. */
    for (size_t at = 0; at + 10 < zip.n; at++)
        if (memcmp(zip.data + at, "PK\3\4", 4) == 0 || memcmp(zip.data + at, "PK\1\2", 4) == 0)
            zip.data[at + (zip.data[at + 2] == 3 ? 7 : 9)] &= (uint8_t)~8U;
    walk(zip, NULL);
    assert_int_equal(seen.faults, 0);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(seen.member[i + 1].chain, files[i].name);
    free(zip.data);
}

static void test_callback_stops(void **state)
{
    (void)state;
    struct bytes zip = make(ARCHIVE_FORMAT_ZIP, 0, NULL, NULL, two_files, 2);
    memset(&seen, 0, sizeof seen);
    seen.answer = MS_E_STORE;
    assert_int_equal(walk_limited(zip.data, zip.n, NULL, 0, NULL), MS_E_STORE);
    assert_int_equal(seen.members, 1);
    free(zip.data);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void assert_no_wrong_member(void)
{
    for (size_t i = 1; i < seen.members && i < SEEN_MAX; i++) {
        const struct seen_member *at = &seen.member[i];
        bool right = (at->n == sizeof noise && memcmp(at->data, noise, at->n) == 0) ||
                     (at->n == sizeof text && memcmp(at->data, text, at->n) == 0);
        if (!right)
            print_error("'%s': %zu bytes\n", at->chain, at->n);
        assert_true(right);
    }
}

static const struct {
    int format, filter;
    const char *options;
} damageable[] = {{ARCHIVE_FORMAT_ZIP, 0, NULL},
                  {ARCHIVE_FORMAT_ZIP, 0, "zip:encryption=aes256,zip:compression=deflate"},
                  {ARCHIVE_FORMAT_ZIP, 0, "zip:encryption=zipcrypt,zip:compression=store"},
                  {ARCHIVE_FORMAT_7ZIP, 0, NULL},
                  {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP, NULL},
                  {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_XZ, NULL}};

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damageable / sizeof *damageable; i++) {
        struct bytes whole = make(damageable[i].format, damageable[i].filter, damageable[i].options,
                                  damageable[i].options ? "infected" : NULL, two_files, 2);
        size_t clean = 0;
        for (size_t cut = 0; cut < whole.n; cut++) {
            walk((struct bytes){whole.data, cut}, "infected");
            assert_no_wrong_member();
            clean += seen.faults == 0;
        }
        /* A zip that is cut in its central directory is read by its local headers: all there. */
        assert_in_range(clean, 0, damageable[i].format == ARCHIVE_FORMAT_ZIP ? 200 : 0);
        free(whole.data);
    }
}

static void test_flipped_bytes(void **state)
{
    (void)state;
    struct ms_rng rng;
    ms_rng_init(&rng, 7, 7, 7);
    for (size_t i = 0; i < sizeof damageable / sizeof *damageable; i++) {
        struct bytes whole = make(damageable[i].format, damageable[i].filter, damageable[i].options,
                                  damageable[i].options ? "infected" : NULL, two_files, 2);
        size_t noticed = 0;
        for (unsigned round = 0; round < 500; round++) {
            size_t at = (size_t)ms_rng_below(&rng, whole.n);
            uint8_t was = whole.data[at];
            whole.data[at] = (uint8_t)(was ^ (1U + (unsigned)ms_rng_below(&rng, 255)));
            walk(whole, "infected");
            assert_no_wrong_member();
            noticed += seen.faults > 0;
            whole.data[at] = was;
        }
        assert_true(noticed > 50);
        free(whole.data);
    }
}

/* A download that broke off: the password is right, so "need_password" would be the wrong advice.
 */
static void test_cut_with_the_right_password(void **state)
{
    (void)state;
    struct bytes zip = make(ARCHIVE_FORMAT_ZIP, 0, encryptions[1], "infected", two_files, 2);
    walk((struct bytes){zip.data, 500}, "infected");
    assert_int_equal(seen.members, 1);
    assert_one_fault("", MS_UNPACK_CORRUPT);
    free(zip.data);
}

/* ---- in the worker --------------------------------------------------------------------------- */

struct emitter {
    struct ms_worker_out *out;
};

static enum ms_status emit_member(void *ctx, const struct ms_unpack_member *at, bool *descend,
                                  struct ms_error *err)
{
    (void)descend, (void)err;
    const struct emitter *emitter = ctx;
    return ms_worker_emit(emitter->out, 1, at->chain.data, at->chain.len);
}

static enum ms_status emit_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                                 struct ms_span detail, struct ms_error *err)
{
    (void)chain, (void)fault, (void)err;
    const struct emitter *emitter = ctx;
    return ms_worker_emit(emitter->out, 2, detail.data, detail.len);
}

static enum ms_status job_unpack(int fd, struct ms_span arg, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    struct emitter emitter = {out};
    struct ms_unpack_events events = {&emitter, emit_member, emit_fault};
    return ms_unpack_walk(fd, &arg, 1, NULL, &events, err);
}

static struct ms_worker *worker;

static int start(void **state)
{
    (void)state;
    static const struct ms_worker_kind kinds[] = {{"unpack", job_unpack, ms_unpack_prepare}};
    static const struct ms_worker_options options = {kinds, 1, false};
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 1, 1);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i % 512 < 300 ? ms_rng_u64(&rng) & 255 : i % 11);
    ms_unpack_prepare();
    return ms_worker_start(&options, &worker, NULL) == MS_OK ? 0 : 1;
}

static int stop(void **state)
{
    (void)state;
    ms_worker_stop(worker);
    return 0;
}

struct frames {
    unsigned members, faults;
};

static enum ms_status count_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                  struct ms_error *err)
{
    struct frames *frames = ctx;
    (void)err;
    frames->members += type == 1;
    frames->faults += type == 2;
    if (type == 2)
        print_error("fault: %.*s\n", (int)bytes.len, (const char *)bytes.data);
    return MS_OK;
}

/* Everything that worked above works behind the system call filter. */
static void test_confined(void **state)
{
    (void)state;
    size_t plain = sizeof formats / sizeof *formats;
    for (size_t i = 0; i < plain + sizeof encryptions / sizeof *encryptions; i++) {
        struct bytes bytes =
            i < plain
                ? make(formats[i].format, formats[i].filter, NULL, NULL, two_files, 2)
                : make(ARCHIVE_FORMAT_ZIP, 0, encryptions[i - plain], "infected", two_files, 2);
        int fd = file_of(bytes.data, bytes.n);
        struct frames frames = {0, 0};
        struct ms_worker_result result;
        assert_int_equal(ms_worker_run(worker, "unpack", fd, ms_span_of("infected", 8), NULL,
                                       count_frame, &frames, &result, NULL),
                         MS_OK);
        if (result.end != MS_WORKER_DONE)
            print_error("%zu: %s\n", i, result.error.text);
        assert_int_equal(result.end, MS_WORKER_DONE);
        assert_int_equal(result.status, MS_OK);
        assert_int_equal(frames.members, 3);
        assert_int_equal(frames.faults, 0);
        close(fd);
        free(bytes.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_plain_files_are_no_archives),
        cmocka_unit_test(test_compressed_single_files),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_accepted_wrong_passwords),
        cmocka_unit_test(test_mixed_passwords),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_names_and_types),
        cmocka_unit_test(test_callback_stops),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_cut_with_the_right_password),
        cmocka_unit_test(test_confined),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
