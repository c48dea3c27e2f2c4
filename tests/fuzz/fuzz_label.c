/* Fuzz target: VirusTotal file objects, from bytes to votes and verdicts. Checks that the numbers
 * agree with each other whatever the object says. */
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
    for (size_t i = 0; i < ms_policy_count; i++) {
        enum ms_verdict verdict = ms_policy_judge(&ms_policies[i], &report, &tally);
        check(verdict != MS_VERDICT_NOT_FOUND);
        check(ms_policy_due_ms(&ms_policies[i], verdict, &report, 3, 1700000000000) >
              1700000000000);
    }
    ms_tally_release(&tally);
    ms_vt_report_release(&report);
    return 0;
}
