/* What the reading worker says to detect, in frames. Shared by the two halves of the reader alone.
 */
#ifndef MS_DETECT_READER_FRAMES_H
#define MS_DETECT_READER_FRAMES_H

#include "detect/reader.h"

enum ms_reader_frame {
    MS_READER_NAMES = 1, /* names, each with its length in front (varint) */
    MS_READER_CALLS,     /* varints: numbers of names in the order they were sent */
    MS_READER_RESULT /* varints: state, foreign, length of the whole trace; the reason to the end */
};

#endif
