/* What a worker does when a test tells it to. Reached only where MALSEQ_TEST_WORKER is set. */
#define _GNU_SOURCE
#include "collect/job_test.h"

#include "collect/job.h"

#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile uintptr_t nowhere; /* stays 0 */
static const char magic[] = "malseq-test-worker: ";

bool ms_job_test_wanted(void)
{
    return getenv("MALSEQ_TEST_WORKER") != NULL;
}

static _Noreturn void spin(void)
{
    for (volatile unsigned count = 0;;)
        count = count + 1;
}

static _Noreturn void hang(void)
{
    /* Not a sleep: the filter refuses that at once. */
    sem_t never;
    for (;;)
        if (sem_init(&never, 0, 0) == 0)
            (void)sem_wait(&never);
}

/* Frames that are well formed and come out of turn. */
static void nonsense(struct ms_worker_out *out)
{
    if (ms_worker_emit(out, MS_JOB_DATA, "MZ", 2) == MS_OK)
        hang();
}

static void flood(struct ms_worker_out *out)
{
    static const uint8_t fault[1 << 20] = {MS_UNPACK_CORRUPT};
    while (ms_worker_emit(out, MS_JOB_FAULT, fault, sizeof fault) == MS_OK)
        ;
}

/* A sanitizer's handler would end the process by itself, without the signal. */
static _Noreturn void die_of(int number)
{
    (void)signal(number, SIG_DFL);
    if (number == SIGSEGV)
        *(volatile int *)nowhere = 1;
    abort();
}

void ms_job_test(const struct ms_unpack_member *member, struct ms_worker_out *out)
{
    char text[sizeof magic + 15] = "";
    if (pread(member->fd, text, sizeof text - 1, 0) <= 0 ||
        strncmp(text, magic, sizeof magic - 1) != 0)
        return;
    const char *word = text + sizeof magic - 1;
    if (strncmp(word, "spin", 4) == 0)
        spin();
    if (strncmp(word, "hang", 4) == 0)
        hang();
    if (strncmp(word, "segv", 4) == 0)
        die_of(SIGSEGV);
    if (strncmp(word, "abort", 5) == 0)
        die_of(SIGABRT);
    if (strncmp(word, "nonsense", 8) == 0)
        nonsense(out);
    if (strncmp(word, "flood", 5) == 0)
        flood(out);
}
