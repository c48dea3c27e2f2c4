/* label rescan: asks for new analyses of samples whose label rests on a scan that came too early.
 * Looks nothing up: the look-up is queued for a later run. */
#ifndef MS_LABEL_RESCAN_H
#define MS_LABEL_RESCAN_H

#include "base/cli.h"

enum { MS_RESCAN_BUDGET = 20 }; /* requests of a run that names no --budget */

enum { MS_RESCAN_OPTIONS = 7 };
extern const struct ms_option ms_rescan_options[MS_RESCAN_OPTIONS];

/* ms_label_defaults, and the small budget. */
void ms_rescan_defaults(void *options);

/* The verb. Samples that are immature under the policy and of age by now, then uncertain and
 * contested ones whose last scan is 30 days old; or those of --hashes, whatever their label. One
 * request each, booked as a look-up is; none for private samples and the empty file, and none for a
 * sample within 30 days of the last one unless --hashes names it. MS_REJECT when one failed or was
 * refused. Steps: label.rescan.reserved, .answered, .stored. */
enum ms_status ms_label_rescan(struct ms_cli *cli, struct ms_error *err);

#endif
