/* Bench driver: antivirus reports through label/record from memory, with every engine's label
 * looked at. Prints seconds and totals as JSON; stores nothing.
 *
 *     bench_record [-n ROUNDS] [-w] FILE…     a report a line; -w: each file is one report */
#include "label/record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct totals {
    uint64_t records, rejects, engines, label_bytes, bytes;
};

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_one(struct ms_record_reader *reader, struct ms_span document,
                     struct totals *totals)
{
    struct ms_record record;
    totals->bytes += document.len;
    if (ms_record_read(reader, document, MS_RECORD_UNKNOWN, &record, NULL) != MS_OK) {
        totals->rejects++;
        return;
    }
    totals->records++;
    for (size_t i = 0; i < record.engine_count; i++) {
        totals->engines += record.engines[i].counts;
        totals->label_bytes += record.engines[i].label.len;
    }
}

static int read_file(struct ms_record_reader *reader, const char *path, bool whole, long rounds,
                     struct totals *totals)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= 0) {
        perror(path);
        return 4;
    }
    size_t size = (size_t)st.st_size;
    const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED) {
        perror(path);
        return 4;
    }
    for (; rounds > 0; rounds--) {
        for (size_t at = 0; at < size;) {
            const uint8_t *feed = whole ? NULL : memchr(bytes + at, '\n', size - at);
            size_t n = feed ? (size_t)(feed - bytes) - at : size - at;
            if (n > 0)
                read_one(reader, ms_span_of(bytes + at, n), totals);
            at += n + 1;
        }
    }
    (void)munmap((void *)(uintptr_t)bytes, size);
    return 0;
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    struct ms_record_reader *reader = NULL;
    bool whole = false;
    long rounds = 1;
    int option, code = 0;
    while ((option = getopt(argc, argv, "n:w")) != -1) {
        if (option == 'n')
            rounds = strtol(optarg, NULL, 10);
        else if (option == 'w')
            whole = true;
        else
            return 2;
    }
    if (optind == argc || ms_record_reader_new(&reader, NULL) != MS_OK)
        return 2;
    double begun = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = optind; i < argc && code == 0; i++)
        code = read_file(reader, argv[i], whole, rounds, &totals);
    double seconds = clock_s(CLOCK_MONOTONIC) - begun;
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    ms_record_reader_free(reader);
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"megabytes_per_cpu_second\": %.1f, "
           "\"totals\": [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "]}\n",
           seconds, cpu, (double)totals.bytes / 1e6 / cpu, totals.records, totals.rejects,
           totals.engines, totals.label_bytes);
    return code;
}
