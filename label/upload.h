/* label --upload: sends files of the vault that VirusTotal does not know, once somebody said yes.
 * Looks nothing up: the look-up is queued for a later run. */
#ifndef MS_LABEL_UPLOAD_H
#define MS_LABEL_UPLOAD_H

#include "base/cli.h"
#include "store/submission.h"

struct ms_session;

/* MS_E_USAGE where --upload is given without --yes and nobody can be asked (standard input and
 * error are not both a terminal), or --yes without --upload. Before anything is sent. */
enum ms_status ms_upload_check(const struct ms_cli *cli, struct ms_error *err) MS_MUST_USE;

/* Why a file must not be uploaded, in static text; NULL: it may. Never private ones, never what an
 * origin claims is benign or no origin is known of (whoever has it did not choose to publish it),
 * never the empty file, one cut short or above MS_LIMIT_UPLOAD_BYTES, and none within 30 days of an
 * upload that the service took or refused for good. Pure. */
const char *ms_upload_bar(const struct ms_upload *upload, int64_t now_ms);

/* After the look-ups of a run: counts what may be uploaded (of --hashes, where given), asks on the
 * terminal unless --yes, and sends each file once, under its SHA-256 as its name. Each request is
 * booked as a look-up is and counts against --budget, although the service says that it does not
 * charge files it has never seen: what it does charge is found when its own count is read.
 *
 * A file that was taken becomes pending, its look-up due in ten minutes. One that may have arrived
 * (no answer, an answer that says nothing, a crash between) becomes pending too: it is looked up
 * before it could be sent again. A dry run prints what would be sent, and asks nobody. Steps:
 * label.upload.reserved, .answered, .stored. */
enum ms_status ms_upload_run(struct ms_session *session, struct ms_error *err) MS_MUST_USE;

#endif
