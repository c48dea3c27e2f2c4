/* Rows of new analyses and uploads, for people and as JSON. */
#include "label/submission.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

#include <stdio.h>

static enum ms_status json_row(const struct ms_submission_row *row, struct ms_error *err)
{
    char due[32];
    ms_clock_format(row->due_ms, due);
    json_t *object =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "action", ms_json_text(row->action), "hash",
                  ms_json_text(row->hash), "outcome", ms_json_text(row->outcome), "reason",
                  ms_json_text(row->reason && row->reason[0] ? row->reason : NULL), "bytes",
                  row->bytes >= 0 ? json_integer(row->bytes) : json_null(), "due",
                  ms_json_text(row->due_ms > 0 ? due : NULL));
    return object ? ms_json_line(stdout, object, err)
                  : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

enum ms_status ms_submission_show(const struct ms_submission_row *row, bool json,
                                  struct ms_error *err)
{
    char reason[300] = "", due[32] = "";
    enum ms_status status = MS_OK;
    if (json) {
        status = json_row(row, err);
    } else {
        if (row->reason && row->reason[0])
            (void)ms_escape_text(row->reason, reason, sizeof reason);
        if (row->due_ms > 0)
            ms_clock_format(row->due_ms, due);
        (void)printf("%-64s %-6s %-12s", row->hash, row->action, row->outcome);
        if (row->bytes >= 0)
            (void)printf(" %lld bytes", (long long)row->bytes);
        (void)printf("%s%s%s%s\n", due[0] ? "  look-up due " : "", due, reason[0] ? "  " : "",
                     reason);
    }
    (void)fflush(stdout); /* four a minute: whoever reads along wants them as they come */
    return status;
}

bool ms_submission_hash(const struct ms_sample *sample, char out[MS_HASH_HEX_MAX])
{
    if (sample->has_sha256)
        ms_hex_encode(sample->digests.sha256, MS_SHA256_BYTES, out);
    else if (sample->has_sha1)
        ms_hex_encode(sample->digests.sha1, MS_SHA1_BYTES, out);
    else if (sample->has_md5)
        ms_hex_encode(sample->digests.md5, MS_MD5_BYTES, out);
    else
        return false;
    return true;
}

enum ms_status ms_submission_mend(struct ms_corpus *corpus, struct ms_error *err)
{
    uint64_t count = 0;
    enum ms_status status = ms_submission_recover(
        corpus, ms_clock_wall_ms() - MS_SUBMISSION_AGAIN_MS, MS_SUBMISSION_WAIT_MS, &count, err);
    if (status == MS_OK && count > 0)
        ms_log(MS_LOG_INFO,
               "%llu uploads or new analyses of an earlier run were cut short; they are looked up "
               "before anything is sent again",
               (unsigned long long)count);
    return status;
}
