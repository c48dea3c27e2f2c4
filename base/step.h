/* Named steps at which a test may kill the process, to prove that a crash there loses nothing. */
#ifndef MS_BASE_STEP_H
#define MS_BASE_STEP_H

/* Marks the point `name` (TOOL.PHASE.STEP, static text). Free of effect unless MALSEQ_TEST_STEPS
 * names a file (the name is appended to it) or MALSEQ_TEST_KILL is "NAME:K" (SIGKILL at the K-th
 * time the point is reached). */
void ms_step(const char *name);

#endif
