/* malseq-reader: the small program whose children read, for collect, what can be read quickly. It
 * has that one job and nothing else: no network, no database, no secrets. */
#include "collect/quick_job.h"

int main(void)
{
    return ms_quick_program(ms_quick_job_work, ms_quick_job_prepare);
}
