/* Bench driver: zip files under ZipCrypto, each with one program of 64 KiB that halves when
 * deflated, opened in three ways. Writes no corpus.
 *
 *     bench_collect_worker make FOLDER COUNT       the zip files
 *     bench_collect_worker confined FOLDER JOBS    collect's own way but for vault and rows: for
 *                                                  each file a child is forked and confined,
 *                                                  unpacks, reads the features and sends all
 * through the pipe, and this process hashes (MD5, SHA-1, SHA-256) bench_collect_worker walked
 * FOLDER JOBS      the same unpacking, features and three hashes in this process
 *     bench_collect_worker libarchive FOLDER JOBS  libarchive told the format and the password, and
 *                                                  SHA-256, in this process
 *
 * The files are read before the clock starts. Prints seconds, and as totals the programs found and
 * a sum over their SHA-256. */
#define _GNU_SOURCE
#include "base/hash.h"
#include "base/limits.h"
#include "base/processor.h"
#include "base/unpack.h"
#include "base/worker.h"
#include "collect/intake.h"
#include "collect/job.h"
#include "collect/password.h"
#include "collect/pe.h"
#include "collect/pe_features.h"
#include "collect/quick_job.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum {
    PROGRAM_BYTES = 64 << 10,
    ZIP_BYTES = 2 * PROGRAM_BYTES,
    THREADS_MAX = 64,
    PATH_BYTES = 4096
};

static const char password[] = "infected";

struct file {
    int fd;
    uint8_t *bytes;
    size_t n;
};

struct bench {
    struct file *files;
    size_t count;
    void (*open_one)(struct bench *self, const struct file *file);
    struct ms_worker *worker;
    struct ms_quick *quick;
    struct ms_passwords passwords;
    atomic_size_t next;
    atomic_uint seated;
    unsigned jobs;
    atomic_uint_fast64_t programs, sum;
};

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(4);
}

/* ---- the zip files --------------------------------------------------------------------------- */

static void put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint8_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint8_t)(*state >> 56);
}

/* Headers of a PE32 file without code, and behind them runs of noise and of zeros. */
static void make_program(size_t index, uint8_t program[PROGRAM_BYTES])
{
    uint64_t state = index + 1;
    memset(program, 0, PROGRAM_BYTES);
    for (size_t i = 0x400; i < PROGRAM_BYTES; i++)
        program[i] = i & 64 ? draw(&state) : 0;
    memcpy(program, "MZ", 2);
    put(program + 0x3c, 0x40, 4);
    memcpy(program + 0x40, "PE\0\0", 4);
    put(program + 0x44, 0x14c, 2);
    put(program + 0x46, 1, 2);
    put(program + 0x54, 0xe0, 2);
    put(program + 0x56, 0x102, 2);
    put(program + 0x58, 0x10b, 2);
    put(program + 0x58 + 28, 0x400000, 4);
    put(program + 0x58 + 68, 2, 2);
    put(program + 0x58 + 92, 16, 4);
    uint8_t *section = program + 0x58 + 0xe0;
    memcpy(section, ".data", 5);
    put(section + 8, PROGRAM_BYTES - 0x400, 4);
    put(section + 12, 0x1000, 4);
    put(section + 16, PROGRAM_BYTES - 0x400, 4);
    put(section + 20, 0x400, 4);
}

static void feed(uint32_t keys[3], uint8_t plain)
{
    const z_crc_t *table = get_crc_table();
    keys[0] = (uint32_t)table[(keys[0] ^ plain) & 0xff] ^ keys[0] >> 8;
    keys[1] = (keys[1] + (keys[0] & 0xff)) * 134775813u + 1;
    keys[2] = (uint32_t)table[(keys[2] ^ keys[1] >> 24) & 0xff] ^ keys[2] >> 8;
}

static void encrypt(uint8_t *bytes, size_t n)
{
    uint32_t keys[3] = {0x12345678, 0x23456789, 0x34567890};
    for (const char *at = password; *at; at++)
        feed(keys, (uint8_t)*at);
    for (size_t i = 0; i < n; i++) {
        uint32_t word = (keys[2] | 2) & 0xffff;
        uint8_t plain = bytes[i];
        bytes[i] ^= (uint8_t)(word * (word ^ 1) >> 8);
        feed(keys, plain);
    }
}

static size_t deflated(const uint8_t *from, size_t n, uint8_t *to, size_t cap)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)from,
                  .avail_in = (uInt)n,
                  .next_out = to,
                  .avail_out = (uInt)cap};
    if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflate(&z, Z_FINISH) != Z_STREAM_END)
        fail("zlib", "cannot deflate");
    deflateEnd(&z);
    return z.total_out;
}

/* What both headers have in common, from the version on. */
static void put_common(uint8_t *to, uint32_t crc, size_t packed, size_t name_bytes)
{
    put(to, 20, 2);
    put(to + 2, 1, 2);
    put(to + 4, 8, 2);
    put(to + 6, 0x58216000, 4);
    put(to + 10, crc, 4);
    put(to + 14, packed, 4);
    put(to + 18, PROGRAM_BYTES, 4);
    put(to + 22, name_bytes, 2);
    put(to + 24, 0, 2);
}

static size_t make_zip(const uint8_t program[PROGRAM_BYTES], const char *name,
                       uint8_t zip[ZIP_BYTES])
{
    size_t name_bytes = strlen(name);
    uint32_t crc = (uint32_t)crc32(0, program, PROGRAM_BYTES);
    uint8_t *data = zip + 30 + name_bytes;
    memset(data, 0, 12);
    memcpy(data, program + 0x500, 11);
    data[11] = (uint8_t)(crc >> 24);
    size_t packed = 12 + deflated(program, PROGRAM_BYTES, data + 12, PROGRAM_BYTES + 1024);
    encrypt(data, packed);
    memcpy(zip, "PK\3\4", 4);
    put_common(zip + 4, crc, packed, name_bytes);
    memcpy(zip + 30, name, name_bytes);
    uint8_t *central = data + packed, *end = central + 46 + name_bytes;
    memset(central, 0, 46 + name_bytes + 22);
    memcpy(central, "PK\1\2", 4);
    put(central + 4, 20, 2);
    put_common(central + 6, crc, packed, name_bytes);
    memcpy(central + 46, name, name_bytes);
    memcpy(end, "PK\5\6", 4);
    put(end + 8, 1, 2);
    put(end + 10, 1, 2);
    put(end + 12, (uint64_t)(end - central), 4);
    put(end + 16, (uint64_t)(central - zip), 4);
    return (size_t)(end - zip) + 22;
}

static void path_of(char path[PATH_BYTES], const char *folder, size_t index)
{
    (void)snprintf(path, PATH_BYTES, "%s/%06zu.zip", folder, index);
}

static void make(const char *folder, size_t count)
{
    static uint8_t program[PROGRAM_BYTES], zip[ZIP_BYTES];
    char path[PATH_BYTES], name[32];
    (void)mkdir(folder, 0700);
    for (size_t i = 0; i < count; i++) {
        path_of(path, folder, i);
        (void)snprintf(name, sizeof name, "program-%06zu.exe", i);
        make_program(i, program);
        size_t n = make_zip(program, name, zip);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, zip, n) != (ssize_t)n || close(fd) != 0)
            fail(path, "cannot write");
    }
}

static void load(struct bench *self, const char *folder)
{
    char path[PATH_BYTES];
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    for (;; self->count++) {
        static uint8_t zip[ZIP_BYTES];
        path_of(path, folder, self->count);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            break;
        ssize_t n = read(fd, zip, sizeof zip);
        close(fd);
        struct file *grown = realloc(self->files, (self->count + 1) * sizeof *grown);
        int memory = memfd_create("blob", MFD_CLOEXEC);
        if (!grown || n <= 0 || memory < 0 || write(memory, zip, (size_t)n) != n)
            fail(path, "cannot hold it in memory");
        self->files = grown;
        void *bytes = mmap(NULL, (size_t)n, PROT_READ, MAP_SHARED | MAP_POPULATE, memory, 0);
        if (bytes == MAP_FAILED)
            fail(path, "cannot map it");
        grown[self->count] = (struct file){memory, bytes, (size_t)n};
    }
}

/* ---- the three ways -------------------------------------------------------------------------- */

static void count_program(struct bench *self, const uint8_t sha256[MS_SHA256_BYTES])
{
    uint64_t word = 0;
    for (unsigned i = 0; i < 4; i++)
        word = word << 8 | sha256[i];
    atomic_fetch_add(&self->programs, 1);
    atomic_fetch_add(&self->sum, word);
}

static void open_confined(struct bench *self, const struct file *file)
{
    struct ms_intake intake = {.worker = self->worker, .quick = self->quick, .dry = true};
    struct ms_intake_blob blob = {
        .fd = file->fd, .size = file->n, .path = ms_span_of("x", 1), .passwords = &self->passwords};
    struct ms_intake_result result;
    struct ms_error err;
    if (ms_intake_open(&intake, &blob, &result, &err) != MS_OK)
        fail("the worker", err.text);
    for (size_t i = 0; i < result.program_count; i++)
        count_program(self, result.programs[i].digests.sha256);
    ms_intake_result_release(&result);
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    static _Thread_local struct ms_pe_features features;
    static _Thread_local struct ms_hasher *hasher;
    struct ms_digests digests;
    struct ms_pe pe;
    (void)descend;
    if (member->is_container || member->size < 2)
        return MS_OK;
    void *at = mmap(NULL, (size_t)member->size, PROT_READ, MAP_PRIVATE, member->fd, 0);
    if (at == MAP_FAILED)
        fail("a member", "cannot map it");
    struct ms_span file = ms_span_of(at, (size_t)member->size);
    ms_pe_check(file, &pe);
    enum ms_status status = ms_pe_features_read(file, &features, err);
    if (status == MS_OK && !hasher)
        status = ms_hasher_new(MS_HASH_MD5 | MS_HASH_SHA1 | MS_HASH_SHA256, &hasher, err);
    if (status == MS_OK)
        ms_hasher_update(hasher, at, file.len);
    if (status == MS_OK)
        status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK && pe.verdict == MS_PE_YES)
        count_program(ctx, digests.sha256);
    (void)munmap(at, (size_t)member->size);
    return status;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    (void)ctx;
    (void)chain;
    (void)err;
    fprintf(stderr, "%s: %.*s\n", ms_unpack_fault_name(fault), (int)detail.len,
            (const char *)detail.data);
    return MS_OK;
}

static void open_walked(struct bench *self, const struct file *file)
{
    struct ms_span candidates[MS_LIMIT_UNPACK_PASSWORDS];
    struct ms_unpack_events events = {self, on_member, on_fault};
    struct ms_error err;
    size_t count = ms_passwords_candidates(&self->passwords, candidates, MS_LIMIT_UNPACK_PASSWORDS);
    if (ms_unpack_walk(file->fd, candidates, count, NULL, &events, &err) != MS_OK)
        fail("the walk", err.text);
}

static void open_libarchive(struct bench *self, const struct file *file)
{
    static _Thread_local uint8_t member[PROGRAM_BYTES + 1];
    uint8_t sha256[MS_SHA256_BYTES];
    struct archive_entry *entry;
    struct archive *a = archive_read_new();
    if (!a || archive_read_support_format_zip(a) != ARCHIVE_OK ||
        archive_read_add_passphrase(a, password) != ARCHIVE_OK ||
        archive_read_open_memory(a, file->bytes, file->n) != ARCHIVE_OK)
        fail("libarchive", "cannot open a zip file");
    while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
        la_ssize_t n = archive_read_data(a, member, sizeof member);
        if (n < 0 || ms_hash_sha256(member, (size_t)n, sha256) != MS_OK)
            fail("libarchive", "cannot read a member");
        if (n > 2 && memcmp(member, "MZ", 2) == 0)
            count_program(self, sha256);
    }
    (void)archive_read_free(a);
}

static void *work(void *ctx)
{
    struct bench *self = ctx;
    /* As the threads of collect/pool.c do. */
    if (self->jobs > 1 && self->quick)
        (void)ms_processor_keep(0, atomic_fetch_add(&self->seated, 1));
    for (size_t i; (i = atomic_fetch_add(&self->next, 1)) < self->count;)
        self->open_one(self, &self->files[i]);
    return NULL;
}

static int run(struct bench *self, unsigned jobs)
{
    pthread_t threads[THREADS_MAX];
    self->jobs = jobs;
    double begun = clock_s(CLOCK_MONOTONIC), cpu = -clock_s(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned i = 1; i < jobs; i++)
        if (pthread_create(&threads[i], NULL, work, self) != 0)
            fail("a thread", "cannot start it");
    (void)work(self);
    for (unsigned i = 1; i < jobs; i++)
        (void)pthread_join(threads[i], NULL);
    double seconds = clock_s(CLOCK_MONOTONIC) - begun;
    cpu += clock_s(CLOCK_PROCESS_CPUTIME_ID);
    ms_quick_stop(self->quick);
    ms_worker_stop(self->worker); /* its children's time shows when it is gone */
    struct rusage below;
    if (getrusage(RUSAGE_CHILDREN, &below) == 0)
        cpu += (double)(below.ru_utime.tv_sec + below.ru_stime.tv_sec) +
               1e-6 * (double)(below.ru_utime.tv_usec + below.ru_stime.tv_usec);
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%" PRIu64 ", %" PRIu64 "]}\n",
           seconds, cpu, (uint64_t)self->programs, (uint64_t)self->sum);
    return self->count && self->programs == self->count ? 0 : 4;
}

int main(int argc, char **argv)
{
    static struct bench self;
    static struct ms_arena arena;
    struct ms_error err = {MS_OK, 0, ""};
    long number = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    if (argc != 4 || number < 1)
        return 2;
    if (strcmp(argv[1], "make") == 0) {
        make(argv[2], (size_t)number);
        return 0;
    }
    self.open_one = strcmp(argv[1], "confined") == 0 || strcmp(argv[1], "worker") == 0
                        ? open_confined
                    : strcmp(argv[1], "walked") == 0 ? open_walked
                                                     : open_libarchive;
    struct ms_worker_options options = {.kinds = ms_job_kinds, .kind_count = MS_JOB_KINDS};
    if (self.open_one == open_confined && ms_worker_start(&options, &self.worker, &err) != MS_OK)
        fail("the worker", err.text);
    struct ms_quick_options quick = {.program = MS_QUICK_PROGRAM};
    if (strcmp(argv[1], "confined") == 0 && ms_quick_start(&quick, &self.quick, &err) != MS_OK)
        fail("the reader", err.text);
    ms_arena_init(&arena, (size_t)64 << 20);
    if (ms_passwords_init(&self.passwords, &arena, &err) != MS_OK)
        fail("passwords", err.text);
    ms_unpack_prepare();
    load(&self, argv[2]);
    return run(&self, number < THREADS_MAX ? (unsigned)number : THREADS_MAX);
}
