/* extract: the table of its verbs. Each is at home in a file of its own. */
#include "extract/verbs.h"

int main(int argc, char **argv)
{
    const struct ms_verb verbs[] = {
        ms_extract_detonate_verb, ms_extract_import_verb, ms_extract_dataset_verb,
        ms_extract_opcodes_verb,  ms_extract_retry_verb,  ms_extract_show_verb,
    };
    const struct ms_tool tool = {
        .name = "extract",
        .summary = "get the API calls of samples into the corpus",
        .description =
            "extract reads what sandboxes saw and stores the API calls of every process, as the "
            "sandbox wrote them: nothing is filtered or collapsed before a dataset is made.\n\n"
            "Reports of Cuckoo 2, CAPE, cuckoo-modified, Cuckoo 1 and Speakeasy and logs of "
            "DRAKVUF are told apart by the shape of their fields, "
            "call by call. They are read as a stream in a confined process; each ends in a state "
            "of its own: ok, too_few_calls, no_calls, no_behavior or report_invalid.\n\n"
            "Opcodes are what a disassembly of a sample gives: sequences of their own kind, which "
            "train --sequence opcode takes.",
        .verbs = verbs,
        .verb_count = sizeof verbs / sizeof *verbs,
        .examples =
            "# Submit every sample of the corpus to a Cuckoo and follow it\n"
            "malseq extract --cuckoo http://sandbox:8090 --token @cuckoo.token\n"
            "# The same with two servers, one of them with three times the machines\n"
            "malseq extract --cuckoo http://a:8090,weight=3,token=@a.token --cuckoo http://b:8000\n"
            "# Import a folder of reports\nmalseq extract import reports/\n"
            "# Import the published Mal-API-2019\nmalseq extract dataset mal-api-2019 "
            "malware_api_class/\n"
            "# Disassemble the samples in the vault that were not yet\nmalseq extract opcodes\n"
            "# What is known of a sample\nmalseq extract show HASH\n",
    };
    return ms_cli_main(&tool, argc, argv);
}
