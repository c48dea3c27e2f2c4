/* The affinity masks of Linux, for threads that are to stay where they are. Sets no priority, and
 * never widens what whoever started the process allowed. */
#define _GNU_SOURCE
#include "base/processor.h"

#include <sched.h>

bool ms_processor_keep_to(int processor)
{
    cpu_set_t one;
    if (processor < 0 || processor >= CPU_SETSIZE)
        return false;
    CPU_ZERO(&one);
    CPU_SET((unsigned)processor, &one);
    return sched_setaffinity(0, sizeof one, &one) == 0;
}

bool ms_processor_keep(int first, unsigned index)
{
    cpu_set_t allowed;
    /* Fails on a machine with more processors than the set has: then threads wander as ever. */
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return false;
    unsigned count = (unsigned)CPU_COUNT(&allowed);
    if (count < 2)
        return false;
    unsigned at = first >= 0 && first < CPU_SETSIZE ? (unsigned)first : 0;
    for (unsigned left = index % count;; at = (at + 1) % CPU_SETSIZE)
        if (CPU_ISSET(at, &allowed) && left-- == 0)
            return ms_processor_keep_to((int)at);
}

int ms_processor_now(void)
{
    int now = sched_getcpu();
    return now < 0 ? 0 : now;
}

int ms_processor_only(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) != 1)
        return -1;
    int at = 0;
    while (!CPU_ISSET((unsigned)at, &allowed))
        at++;
    return at;
}
