/* The number type of the net: float, and double where the gradients are checked (-DMS_REAL_DOUBLE).
 */
#ifndef MS_TRAIN_NN_REAL_H
#define MS_TRAIN_NN_REAL_H

#ifdef MS_REAL_DOUBLE
typedef double ms_real;
#else
typedef float ms_real;
#endif

#endif
