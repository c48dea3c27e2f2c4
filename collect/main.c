/* collect: samples from repositories and folders into the corpus. The verbs; the options are in
 * collect/options, the work in collect/session. */
#include "collect/session.h"

#include <stddef.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct ms_verb verbs[] = {
    {.name = "",
     .synopsis = "--github-list FILE | --url-list FILE | --dir PATH…",
     .summary = "collect Windows programs from repositories and folders",
     .options = ms_collect_run_options,
     .option_count = MS_COLLECT_RUN_OPTIONS,
     .options_bytes = sizeof(struct ms_collect_options),
     .defaults = ms_collect_defaults,
     .max_operands = SIZE_MAX,
     .run = ms_collect_run},
    {.name = "cat",
     .synopsis = "HASH",
     .summary = "write the bytes of a sample to a pipe (live malware: handle with care)",
     .options_bytes = sizeof(struct ms_collect_options),
     .min_operands = 1,
     .max_operands = 1,
     .run = ms_collect_cat},
    {.name = "adopt",
     .synopsis = "",
     .summary = "give stored samples that no row names a row of their own, as 'malseq fsck "
                "--repair' does",
     .options_bytes = sizeof(struct ms_collect_options),
     .run = ms_collect_adopt},
    {.name = "forget",
     .synopsis = "HASH|ORIGIN…",
     .summary = "remove a sample or everything seen only at an origin, for good",
     .options_bytes = sizeof(struct ms_collect_options),
     .min_operands = 1,
     .max_operands = SIZE_MAX,
     .run = ms_collect_forget},
};

static const struct ms_tool tool = {
    .name = "collect",
    .summary = "collect Windows PE files from GitHub repositories and folders",
    .description =
        "collect looks through repositories and local folders, opens archives (nested ones and "
        "password-protected ones too), and keeps every Windows PE file it finds in the corpus, "
        "with where it was seen: repository, commit, path, and the names inside archives.\n\n"
        "Everything is decided by content, never by a file's name. Untrusted bytes are read in a "
        "process without network, files and exec; samples are stored so that they can neither be "
        "run nor be matched by scanners. A file that cannot be read costs itself alone: what "
        "became of it is recorded, and it is not opened again until the unpacker or the passwords "
        "change.\n\n"
        "Repositories of other hosts than GitHub, and GitHub's where no token is given, are read "
        "by "
        "git's smart HTTP protocol (version 2) without a login: trees first, then the blobs that "
        "the corpus does not know, many in a request.\n\n"
        "A second run asks each repository once and downloads only what is new. When GitHub's rate "
        "limit is reached the tool ends with exit code 75 and says when to go on. A repository "
        "that "
        "moved is followed to its new name; one whose name belongs to another repository now is "
        "refused.\n\n"
        "Being found in a repository of malware does not make a file malware: --claim and claim= "
        "are recorded as what the origin says, and label decides.",
    .verbs = verbs,
    .verb_count = COUNT(verbs),
    .examples =
        "# what a list of repositories holds\nmalseq collect --github-list repos.txt\n"
        "# clean programs from a local folder\nmalseq collect --dir /srv/clean --claim benign\n"
        "# look before doing\nmalseq collect --dir ~/incoming --dry-run --json\n"
        "# a sample's bytes into another program\n"
        "malseq collect cat 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f | "
        "sha256sum\n",
};

int main(int argc, char **argv)
{
    return ms_cli_main(&tool, argc, argv);
}
