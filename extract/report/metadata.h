/* What lies beside a report and says whose it is: DRAKVUF Sandbox's metadata.json, Cuckoo's
 * task.json. */
#ifndef MS_EXTRACT_REPORT_METADATA_H
#define MS_EXTRACT_REPORT_METADATA_H

#include "base/scan.h"
#include "store/trace/trace.h"

/* Reads the document to its end and gives the hashes and the name of the sample to sink->info,
 * whatever of them there is: `sample_sha256`, or sha256, sha1, md5 and name in `file`, `sample` or
 * `target.file`. The sandbox is told by the shape: "drakvuf" or "cuckoo2". MS_REJECT when it is no
 * JSON object. */
enum ms_status ms_metadata_read(ms_scanner_source source, void *source_ctx,
                                const struct ms_trace_sink *sink, struct ms_error *err) MS_MUST_USE;

#endif
