/* Fuzz target: VirusTotal file objects, from bytes to votes and verdicts. Checks that the numbers
 * agree with each other whatever the object says. */
#include "label/malapi2019.h"
#include "label/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ms_vt_report report;
    struct ms_tally tally;
    char votes[256];
    unsigned sum = 0;
    if (ms_vtjson_parse(ms_span_of(data, size), &report, NULL) != MS_OK)
        return 0;
    check(ms_tally_count(&tally, &report, NULL, NULL) == MS_OK);
    check(tally.ballot_count == report.engine_count);
    check(tally.groups <= tally.positives && tally.positives <= tally.responding);
    check(tally.responding <= report.engine_count && tally.groups <= tally.responding_groups);
    for (int i = 0; i < MS_CLASS_COUNT; i++)
        sum += tally.votes[i];
    check(sum <= tally.groups && tally.margin <= tally.groups);
    check(tally.class_ == MS_CLASS_NONE || tally.votes[tally.class_] >= 2);
    check(strlen(tally.family) < MS_FAMILY_BYTES &&
          (tally.family[0] == '\0') == (tally.family_votes == 0));
    ms_tally_votes_json(&tally, votes);
    check(votes[0] == '{' && votes[strlen(votes) - 1] == '}');
    const struct ms_policy *policy;
    for (size_t i = 0; (policy = ms_policy_builtin(i)) != NULL; i++) {
        enum ms_verdict verdict = ms_policy_judge(policy, &report, &tally);
        check(verdict != MS_VERDICT_NOT_FOUND || report.format == MS_RECORD_VT2);
        check(verdict != MS_VERDICT_GRAYWARE || tally.class_ != MS_CLASS_NONE);
    }
    struct ms_malapi seed;
    check(ms_malapi_count(&report, &seed, NULL) == MS_OK);
    check((seed.class_ == NULL) == (seed.votes == 0) && seed.margin <= seed.votes);
    ms_tally_release(&tally);
    ms_vt_report_release(&report);
    return 0;
}
