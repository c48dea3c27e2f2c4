/* Bench driver: writes a table of call sequences in the form of MalBehavD-V1 (sha256,labels,calls)
 * to standard output, as long as asked. Lengths follow Mal-API-2019's, cut at 5,000 calls; a
 * sequence is loops and passages of its family with some calls of its own, so that it packs as real
 * ones do. The same arguments give the same bytes. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { APIS = 240, FAMILIES = 64, PASSAGES = 12, PASSAGE_CALLS = 24, NAME_BYTES = 24 };

/* Twentieths of the lengths of 808 traces of Mal-API-2019; the longest three are longer. */
static const unsigned lengths[] = {12,  35,  58,   93,   159,  223,  287,  369,  441,  528, 630,
                                   738, 874, 1060, 1371, 2070, 2993, 5000, 5000, 5000, 5000};
enum { STEPS = sizeof lengths / sizeof *lengths - 1 };

static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint8_t passages[FAMILIES][PASSAGES][PASSAGE_CALLS];
static char names[APIS][NAME_BYTES];
static size_t name_bytes[APIS];

static void make_families(void)
{
    static const char *const verbs[] = {"Create", "Open", "Query", "Set",  "Close", "Read",
                                        "Write",  "Find", "Load",  "Free", "Map",   "Delay"};
    static const char *const things[] = {"File", "Key",    "Value",  "Process", "Thread",
                                         "Dll",  "Memory", "Mutant", "Socket",  "Service"};
    uint64_t state = 1;
    for (unsigned i = 0; i < APIS; i++)
        name_bytes[i] = (size_t)snprintf(names[i], NAME_BYTES, ",Nt%s%s%c", verbs[i % 12],
                                         things[i / 12 % 10], i < 120 ? 'A' : 'W');
    for (unsigned f = 0; f < FAMILIES; f++)
        for (unsigned p = 0; p < PASSAGES; p++)
            for (unsigned c = 0; c < PASSAGE_CALLS; c++)
                passages[f][p][c] = (uint8_t)(mix(&state) % 3 ? mix(&state) % 40 * (f % 6 + 1)
                                                              : mix(&state) % APIS);
}

static unsigned draw_length(uint64_t *state)
{
    uint64_t at = mix(state), part = at % STEPS, within = at / STEPS % 1000;
    return lengths[part] + (unsigned)((lengths[part + 1] - lengths[part]) * within / 1000);
}

static void put_calls(uint64_t *state, unsigned family, unsigned count)
{
    while (count > 0) {
        const uint8_t *passage = passages[family][mix(state) % PASSAGES];
        uint64_t draw = mix(state);
        unsigned first = (unsigned)(draw % PASSAGE_CALLS), n = (unsigned)(draw >> 8) % 12 + 1;
        unsigned times = (draw >> 16) % 4 ? 1 : (unsigned)(draw >> 20) % 60 + 1;
        for (unsigned t = 0; t < times && count > 0; t++)
            for (unsigned i = 0; i < n && count > 0; i++, count--) {
                unsigned api = passage[(first + i) % PASSAGE_CALLS] % APIS;
                (void)fwrite(names[api], 1, name_bytes[api], stdout);
            }
        if ((draw >> 40) % 3 == 0 && count > 0) {
            unsigned api = (unsigned)(draw >> 48) % APIS;
            (void)fwrite(names[api], 1, name_bytes[api], stdout);
            count--;
        }
    }
}

int main(int argc, char **argv)
{
    static char block[1 << 20];
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    (void)setvbuf(stdout, block, _IOFBF, sizeof block);
    make_families();
    (void)fputs("sha256,labels,calls\n", stdout);
    for (uint64_t row = 0; row < rows; row++) {
        uint64_t state = row * 0x2545f4914f6cdd1du + 7, digest[4];
        for (int i = 0; i < 4; i++)
            digest[i] = mix(&state);
        unsigned family = (unsigned)(mix(&state) % FAMILIES);
        (void)printf("%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 ",%d", digest[0],
                     digest[1], digest[2], digest[3], family >= FAMILIES / 2);
        put_calls(&state, family, draw_length(&state));
        (void)putchar('\n');
    }
    return ferror(stdout) || fflush(stdout) != 0;
}
