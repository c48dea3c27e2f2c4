/* Keeps a thread on one processor, so that what it starts and waits for runs there as well. */
#ifndef MS_BASE_PROCESSOR_H
#define MS_BASE_PROCESSOR_H

#include <stdbool.h>

/* Keeps the calling thread, and what it starts from now on, on one of the processors it may use:
 * those are counted from the one that `first` names, round and round, and the index-th is taken.
 * First is what ms_processor_now said to whoever starts several threads, so that two programs do
 * not both begin with the same. False, and nothing changes, when there is only one, or the system
 * refuses. */
bool ms_processor_keep(int first, unsigned index);
/* The same for exactly this processor. */
bool ms_processor_keep_to(int processor);
/* The processor that the calling thread runs on; 0 where that cannot be told. */
int ms_processor_now(void);
/* The only processor that the calling thread may use, or -1 when there are several. */
int ms_processor_only(void);

#endif
